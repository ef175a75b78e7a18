//! The user's attributes as attributes of HDF5, and the metadata of this library.
//!
//! Values that HDF5 can represent are stored in that form, for other software: booleans, numbers,
//! text, and lists of one of these. All others are stored as JSON in the attribute `simrecorder`.

use std::ffi::{CStr, CString, c_char, c_void};

use hdf5_metno_sys::h5a::{
    H5Acreate2, H5Adelete, H5Aexists, H5Aget_space, H5Aget_type, H5Aopen, H5Aopen_by_name, H5Aread,
    H5Awrite,
};
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use serde_json::{Map, Number, Value as Json, json};
use simrecorder_core::{Attributes, DType, Error, ErrorKind, Result};

use crate::format::datatype::{StoredType, element_type, mark_type, text_type};
use crate::library::{
    Handle, attribute_names, c_string, extent, failed, locked, read_ok, reclaim, simple_space,
    write_ok,
};

/// The attribute with the metadata of this library.
pub(crate) const METADATA: &str = "simrecorder";
/// The member of [`METADATA`] with attributes that HDF5 cannot represent.
const OTHER_ATTRIBUTES: &str = "attributes";

/// The attribute with the JSON text of a value that is an object, and the member of [`METADATA`]
/// that marks it.
const JSON: &str = "json";

/// The attribute with the number of cuts of a dataset.
pub(crate) const CUT_COUNT: &str = "simrecorder_cuts";

/// The attribute of the root of a file that is being written.
pub(crate) const UNFINISHED: &str = "simrecorder_unfinished";

/// Names with a meaning for this library, HDF5 or netCDF.
const RESERVED: [&str; 11] = [
    METADATA,
    CUT_COUNT,
    UNFINISHED,
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "DIMENSION_LABELS",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_nc3_strict",
];

/// The maximum number of elements of an attribute, whatever the file says.
const MAX_ELEMENTS: u64 = 1 << 24;

/// What this library stores about an object and HDF5 cannot represent.
pub(crate) type Metadata = Map<String, Json>;

/// Reads the metadata of an object; `None` if this library did not create it.
pub(crate) fn read_metadata(object: &Handle) -> Result<Option<Metadata>> {
    let attribute = open(object, METADATA)?;
    attribute.as_ref().map(parse_metadata).transpose()
}

/// The metadata of the object at a link of a group, without opening the object.
pub(crate) fn read_metadata_at(group: &Handle, link: &str) -> Result<Metadata> {
    let (link, name) = (c_string(link)?, c_string(METADATA)?);
    // SAFETY: both names end with a NUL and outlive the call.
    let attribute = locked(|| unsafe {
        let id = H5Aopen_by_name(
            group.id(),
            link.as_ptr(),
            name.as_ptr(),
            H5P_DEFAULT,
            H5P_DEFAULT,
        );
        Handle::read(id, "open an attribute")
    })?;
    parse_metadata(&attribute)
}

fn parse_metadata(attribute: &Handle) -> Result<Metadata> {
    let damaged = || {
        let message = format!("the attribute '{METADATA}' is damaged");
        Error::new(ErrorKind::Corrupt, "read", message)
    };
    match read(attribute)? {
        Some(Json::String(text)) => match serde_json::from_str(&text) {
            Ok(Json::Object(metadata)) => Ok(metadata),
            Ok(_) => Err(damaged()),
            Err(error) => Err(damaged().with_source(error)),
        },
        _ => Err(damaged()),
    }
}

/// Stores the metadata of an object, replacing any that it has.
pub(crate) fn write_metadata(object: &Handle, metadata: Metadata) -> Result<()> {
    write(
        object,
        METADATA,
        &AttributeValue::Sized(Json::Object(metadata).to_string()),
        true,
    )
}

/// Stores the metadata of an object that has none.
pub(crate) fn write_new_metadata(object: &Handle, metadata: Metadata) -> Result<()> {
    let text = AttributeValue::Sized(Json::Object(metadata).to_string());
    write(object, METADATA, &text, false)
}

/// The user's attributes, given the result of [`read_metadata`].
pub(crate) fn read_attributes(object: &Handle, metadata: Option<&Metadata>) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    let has_json = metadata.is_some_and(has_json);
    for name in attribute_names(object)? {
        if RESERVED.contains(&name.as_str()) || (has_json && name == JSON) {
            continue;
        }
        if let Some(attribute) = open(object, &name)?
            && let Some(value) = read(&attribute)?
        {
            attributes.insert(name, value);
        }
    }
    if let Some(Json::Object(others)) = metadata.and_then(|metadata| metadata.get(OTHER_ATTRIBUTES))
    {
        attributes.extend(others.clone());
    }
    Ok(attributes)
}

/// Writes the user's attributes to an object that has none, and adds those that HDF5 cannot
/// represent to `metadata`.
pub(crate) fn write_attributes(
    object: &Handle,
    attributes: &Attributes,
    metadata: &mut Metadata,
) -> Result<()> {
    metadata.remove(OTHER_ATTRIBUTES);
    if attributes.contains_key(JSON) && has_json(metadata) {
        write_json(object, None, metadata)?;
    }
    let mut others = Map::new();
    for (name, value) in attributes {
        let has_form = !name.is_empty() && !name.contains('\0') && !RESERVED.contains(&&**name);
        match AttributeValue::of(value).filter(|_| has_form) {
            Some(native) => write(object, name, &native, false)?,
            None => {
                others.insert(name.clone(), value.clone());
            }
        }
    }
    if !others.is_empty() {
        metadata.insert(OTHER_ATTRIBUTES.into(), Json::Object(others));
    }
    Ok(())
}

fn has_json(metadata: &Metadata) -> bool {
    metadata.get(JSON) == Some(&Json::Bool(true))
}

/// Stores or removes the JSON text of a value's object, for other software. An attribute of the
/// user with this name stays.
pub(crate) fn write_json(
    object: &Handle,
    text: Option<String>,
    metadata: &mut Metadata,
) -> Result<()> {
    if metadata.remove(JSON).is_some() {
        remove_if_there(object, JSON)?;
    }
    let is_taken = || -> Result<bool> {
        let others = metadata.get(OTHER_ATTRIBUTES);
        let is_other = others.is_some_and(|others| others.get(JSON).is_some());
        Ok(is_other || open(object, JSON)?.is_some())
    };
    if let Some(text) = text
        && !is_taken()?
    {
        write(object, JSON, &AttributeValue::Texts(vec![text], None), true)?;
        metadata.insert(JSON.into(), Json::Bool(true));
    }
    Ok(())
}

/// Removes all of the user's attributes that can be read, and those with the names of `new` ones.
pub(crate) fn remove_attributes(
    object: &Handle,
    metadata: Option<&Metadata>,
    new: &Attributes,
) -> Result<()> {
    let has_json = metadata.is_some_and(has_json);
    for name in attribute_names(object)? {
        let is_of_user = !RESERVED.contains(&name.as_str()) && (name != JSON || !has_json);
        if is_of_user && (new.contains_key(&name) || read_named(object, &name)?.is_some()) {
            remove(object, &name)?;
        }
    }
    Ok(())
}

pub(crate) fn remove_if_there(object: &Handle, name: &str) -> Result<()> {
    match open(object, name)? {
        Some(_) => remove(object, name),
        None => Ok(()),
    }
}

fn remove(object: &Handle, name: &str) -> Result<()> {
    let name = c_string(name)?;
    locked(|| {
        // SAFETY: the name ends with a NUL and outlives the call.
        let status = unsafe { H5Adelete(object.id(), name.as_ptr()) };
        write_ok(status, "remove an attribute")
    })
}

/// A value in a form that HDF5 supports.
enum AttributeValue {
    /// Elements as bytes, and their number if they are a list.
    Elements(DType, Vec<u8>, Option<u64>),
    /// Texts without NUL, and their number if they are a list.
    Texts(Vec<String>, Option<u64>),
    /// A text of fixed size, its own length.
    Sized(String),
    /// An ASCII text of fixed size, its own length and a NUL.
    Mark(CString),
}

impl AttributeValue {
    fn of(value: &Json) -> Option<Self> {
        let (items, count) = match value {
            Json::Array(items) if items.is_empty() => return None,
            Json::Array(items) => (&items[..], Some(items.len() as u64)),
            item => (std::slice::from_ref(item), None),
        };
        fn all<T>(items: &[Json], get: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
            items.iter().map(get).collect()
        }
        let bytes = |dtype, bytes: Vec<[u8; 8]>| Self::Elements(dtype, bytes.concat(), count);
        match &items[0] {
            Json::Bool(_) => {
                let flags = all(items, Json::as_bool)?
                    .into_iter()
                    .map(u8::from)
                    .collect();
                Some(Self::Elements(DType::Bool, flags, count))
            }
            Json::String(_) => {
                let texts = all(items, |item| item.as_str().map(str::to_owned))?;
                let fits = texts.iter().all(|text| !text.contains('\0'));
                fits.then_some(Self::Texts(texts, count))
            }
            Json::Number(_) => all(items, |item| item.as_i64().map(i64::to_le_bytes))
                .map(|numbers| bytes(DType::I64, numbers))
                .or_else(|| {
                    let numbers = all(items, |item| item.as_u64().map(u64::to_le_bytes))?;
                    Some(bytes(DType::U64, numbers))
                })
                .or_else(|| {
                    let float = |item: &Json| item.is_f64().then(|| item.as_f64()).flatten();
                    let numbers = all(items, |item| float(item).map(f64::to_le_bytes))?;
                    Some(bytes(DType::F64, numbers))
                }),
            _ => None,
        }
    }
}

/// Writes an attribute. If `replace` is set, it may exist.
fn write(object: &Handle, name: &str, value: &AttributeValue, replace: bool) -> Result<()> {
    if replace {
        remove_if_there(object, name)?;
    }
    let create = |type_: Handle, count: Option<u64>, elements: *const c_void| {
        let space = simple_space(count.as_slice(), None)?;
        // SAFETY: below, the data has as many elements of the type as the space.
        unsafe { create(object, name, &type_, &space, elements) }
    };
    match value {
        AttributeValue::Elements(dtype, bytes, count) => {
            create(element_type(*dtype)?, *count, bytes.as_ptr().cast())
        }
        AttributeValue::Sized(text) => {
            create(text_type(Some(text.len()))?, None, text.as_ptr().cast())
        }
        AttributeValue::Mark(text) => {
            let type_ = mark_type(text.as_bytes_with_nul().len())?;
            create(type_, None, text.as_ptr().cast())
        }
        AttributeValue::Texts(texts, count) => {
            let texts = texts.iter().map(|text| c_string(text));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
            create(text_type(None)?, *count, pointers.as_ptr().cast())
        }
    }
}

/// Creates an attribute that does not exist.
///
/// # Safety
///
/// `elements` has as many elements of the type as the space.
pub(crate) unsafe fn create(
    object: &Handle,
    name: &str,
    type_: &Handle,
    space: &Handle,
    elements: *const c_void,
) -> Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a NUL and outlives the calls; the elements are as promised.
    locked(|| unsafe {
        let id = H5Acreate2(
            object.id(),
            name.as_ptr(),
            type_.id(),
            space.id(),
            H5P_DEFAULT,
            H5P_DEFAULT,
        );
        let attribute = Handle::write(id, "make an attribute")?;
        let status = H5Awrite(attribute.id(), type_.id(), elements);
        write_ok(status, "write an attribute")
    })
}

/// Writes text of fixed size with a NUL at its end, replacing the existing text. HDF5 requires this
/// form for marks of dimension scales.
pub(crate) fn write_text(object: &Handle, name: &str, text: &str) -> Result<()> {
    write(object, name, &AttributeValue::Mark(c_string(text)?), true)
}

/// Writes text for people, of fixed size.
pub(crate) fn write_note(object: &Handle, name: &str, text: &str) -> Result<()> {
    write(object, name, &AttributeValue::Sized(text.to_owned()), false)
}

/// Writes a list of texts, one for each axis.
pub(crate) fn write_labels(object: &Handle, name: &str, labels: Vec<String>) -> Result<()> {
    // In HDF5, text ends at a NUL.
    let labels: Vec<String> = labels
        .into_iter()
        .map(|label| label.replace('\0', ""))
        .collect();
    let count = labels.len() as u64;
    write(
        object,
        name,
        &AttributeValue::Texts(labels, Some(count)),
        false,
    )
}

/// Writes a number as an attribute, replacing an existing one.
pub(crate) fn write_number(object: &Handle, name: &str, number: u64) -> Result<()> {
    let bytes = number.to_le_bytes().to_vec();
    write(
        object,
        name,
        &AttributeValue::Elements(DType::U64, bytes, None),
        true,
    )
}

/// One attribute as JSON; `None` if it does not exist, or cannot be an attribute of the user.
pub(crate) fn read_named(object: &Handle, name: &str) -> Result<Option<Json>> {
    match open(object, name)? {
        Some(attribute) => read(&attribute),
        None => Ok(None),
    }
}

pub(crate) fn open(object: &Handle, name: &str) -> Result<Option<Handle>> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a NUL and outlives the calls.
    locked(|| unsafe {
        match H5Aexists(object.id(), name.as_ptr()) {
            0 => Ok(None),
            1.. => {
                let id = H5Aopen(object.id(), name.as_ptr(), H5P_DEFAULT);
                Handle::read(id, "open an attribute").map(Some)
            }
            _ => Err(failed(ErrorKind::Corrupt, "look up an attribute")),
        }
    })
}

/// An attribute as JSON; `None` if it cannot be an attribute of the user.
fn read(attribute: &Handle) -> Result<Option<Json>> {
    locked(|| {
        // SAFETY: the handle is an attribute.
        let (type_, space) = unsafe {
            (
                Handle::read(H5Aget_type(attribute.id()), "get the type of an attribute")?,
                Handle::read(
                    H5Aget_space(attribute.id()),
                    "get the shape of an attribute",
                )?,
            )
        };
        let (shape, _) = extent(&space)?;
        let count = shape
            .iter()
            .try_fold(1_u64, |count, &len| count.checked_mul(len));
        let Some(count) = count.filter(|&count| count <= MAX_ELEMENTS) else {
            return Ok(None);
        };
        let items = match StoredType::of(&type_) {
            Ok(StoredType::Elements { dtype, memory, .. }) => {
                let bytes = read_bytes(attribute, &memory, count, dtype.size())?;
                bytes
                    .chunks_exact(dtype.size())
                    .map(|bytes| element(dtype, bytes))
                    .collect()
            }
            Ok(StoredType::Text(memory)) => read_texts(attribute, &memory, &space, count)?,
            Ok(StoredType::FixedText {
                size,
                padding,
                memory,
            }) => {
                let bytes = read_bytes(attribute, &memory, count, size)?;
                bytes
                    .chunks_exact(size)
                    .map(|bytes| fixed_text(bytes, padding).into())
                    .collect()
            }
            Ok(StoredType::Bytes) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(nested(&shape, &mut items.into_iter())))
    })
}

fn read_bytes(attribute: &Handle, memory: &Handle, count: u64, size: usize) -> Result<Vec<u8>> {
    let length = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(size));
    let length = length.filter(|&length| length <= MAX_ELEMENTS as usize * 16);
    let Some(length) = length else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "read",
            "an attribute is too large",
        ));
    };
    let mut bytes = vec![0; length];
    // SAFETY: `bytes` has room for `count` elements of the type, of `size` bytes each.
    let status = unsafe { H5Aread(attribute.id(), memory.id(), bytes.as_mut_ptr().cast()) };
    read_ok(status, "read an attribute")?;
    Ok(bytes)
}

fn read_texts(
    attribute: &Handle,
    memory: &Handle,
    space: &Handle,
    count: u64,
) -> Result<Vec<Json>> {
    let mut pointers: Vec<*mut c_char> = vec![std::ptr::null_mut(); count as usize];
    // SAFETY: `pointers` has room for one pointer per element. The library fills it with texts that
    // end with a NUL, or null, and frees them again.
    unsafe {
        let status = H5Aread(attribute.id(), memory.id(), pointers.as_mut_ptr().cast());
        read_ok(status, "read an attribute")?;
        let texts = pointers.iter().map(|&text| match text.is_null() {
            true => Json::from(""),
            false => CStr::from_ptr(text).to_string_lossy().into(),
        });
        let texts = texts.collect();
        reclaim(memory, space, pointers.as_mut_ptr().cast());
        Ok(texts)
    }
}

/// Text without its padding.
pub(crate) fn fixed_text(bytes: &[u8], padding: u8) -> String {
    let bytes = match padding {
        0 => bytes.split(|&byte| byte == 0).next().unwrap_or_default(),
        _ => bytes.trim_ascii_end(),
    };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Arranges items in row-major order as nested lists.
fn nested(shape: &[u64], items: &mut impl Iterator<Item = Json>) -> Json {
    match shape {
        [] => items.next().unwrap_or_default(),
        [len, rest @ ..] => (0..*len).map(|_| nested(rest, items)).collect(),
    }
}

/// One element as JSON. Numbers that JSON cannot represent become words.
fn element(dtype: DType, bytes: &[u8]) -> Json {
    fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.first_chunk().copied().unwrap_or([0; N])
    }
    let float = |number: f64| match Number::from_f64(number) {
        Some(number) => Json::Number(number),
        None if number.is_nan() => "NaN".into(),
        None if number > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    };
    match dtype {
        DType::Bool => Json::Bool(bytes != [0]),
        DType::I8 => i8::from_le_bytes(of(bytes)).into(),
        DType::I16 => i16::from_le_bytes(of(bytes)).into(),
        DType::I32 => i32::from_le_bytes(of(bytes)).into(),
        DType::I64 => i64::from_le_bytes(of(bytes)).into(),
        DType::U8 => u8::from_le_bytes(of(bytes)).into(),
        DType::U16 => u16::from_le_bytes(of(bytes)).into(),
        DType::U32 => u32::from_le_bytes(of(bytes)).into(),
        DType::U64 => u64::from_le_bytes(of(bytes)).into(),
        DType::F16 => float(simrecorder_core::half::f16::from_le_bytes(of(bytes)).into()),
        DType::BF16 => float(simrecorder_core::half::bf16::from_le_bytes(of(bytes)).into()),
        DType::F32 => float(f32::from_le_bytes(of(bytes)).into()),
        DType::F64 => float(f64::from_le_bytes(of(bytes))),
        DType::Complex64 | DType::Complex128 => {
            let (re, im) = bytes.split_at(bytes.len() / 2);
            let part = if dtype == DType::Complex64 {
                DType::F32
            } else {
                DType::F64
            };
            json!([element(part, re), element(part, im)])
        }
        _ => Json::Null,
    }
}
