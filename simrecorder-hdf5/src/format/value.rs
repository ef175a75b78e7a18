//! Values: datasets that do not grow.

use serde_json::json;
use simrecorder_core::backend::{Rows, zeroed};
use simrecorder_core::{
    ArrayValue, Attributes, DType, Error, ErrorKind, Kind, ObjectValue, Region, Result, Value,
};

use crate::format::attributes::{Metadata, write_attributes, write_json, write_metadata};
use crate::format::dataset::{Dataset, NewDataset, Storage};
use crate::format::datatype::{StoredType, element_type, text_type};
use crate::format::node::StoredNode;
use crate::format::scales::write_axis_labels;
use crate::format::variable::{VariableType, escape};
use crate::library::{Handle, c_string};

/// The elements of a value in HDF5's form: bytes are a list of `uint8`.
struct Elements<'a> {
    dtype: DType,
    shape: Vec<u64>,
    bytes: &'a [u8],
}

impl<'a> Elements<'a> {
    /// `None` for text.
    fn of(value: &'a Value) -> Option<Self> {
        let list = |bytes: &'a [u8]| Self {
            dtype: DType::U8,
            shape: vec![bytes.len() as u64],
            bytes,
        };
        match value {
            Value::Array(array) => Some(Self {
                dtype: array.dtype(),
                shape: array.shape().iter().map(|&len| len as u64).collect(),
                bytes: array.as_bytes(),
            }),
            Value::Bytes(bytes) => Some(list(bytes)),
            Value::Object(object) => Some(list(object.as_msgpack())),
            _ => None,
        }
    }

    fn write(&self, dataset: &Dataset, type_: &Handle) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the data has as many elements of the type as the shape.
        unsafe { dataset.write(type_, &Region::all(&self.shape), self.bytes.as_ptr().cast()) }
    }
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Array(_) => Kind::Array,
        Value::Text(_) => Kind::Text,
        Value::Object(_) => Kind::Object,
        _ => Kind::Bytes,
    }
}

/// Creates the dataset of a value in a group.
pub(crate) fn create_value(
    group: &Handle,
    name: &str,
    value: &Value,
    attributes: &Attributes,
) -> Result<Handle> {
    let (type_, shape) = match Elements::of(value) {
        Some(elements) => (element_type(elements.dtype)?, elements.shape),
        None => (text_type(None)?, Vec::new()),
    };
    let new = NewDataset {
        type_: &type_,
        shape: &shape,
        storage: Storage::Contiguous,
        fill_value: None,
    };
    let dataset = new.create(group, name)?;
    write(&dataset, &type_, value)?;
    let mut metadata = Metadata::new();
    metadata.insert("node".into(), json!("value"));
    metadata.insert("kind".into(), json!(kind(value).as_str()));
    if let Some(names) = value.dimension_names() {
        metadata.insert("dimension_names".into(), json!(names));
        write_axis_labels(dataset.handle(), names)?;
    }
    write_attributes(dataset.handle(), attributes, &mut metadata)?;
    write_json(dataset.handle(), exact_json(value), &mut metadata)?;
    write_metadata(dataset.handle(), metadata)?;
    Ok(dataset.into_handle())
}

fn write(dataset: &Dataset, type_: &Handle, value: &Value) -> Result<()> {
    match (Elements::of(value), value) {
        (Some(elements), _) => elements.write(dataset, type_),
        (None, Value::Text(text)) => {
            let text = c_string(&escape(text))?;
            let pointer = text.as_ptr();
            // SAFETY: one pointer, to text that ends with a NUL and outlives the call.
            unsafe { dataset.write(type_, &Region::all(&[]), (&raw const pointer).cast()) }
        }
        _ => Ok(()),
    }
}

/// Larger values are written to new space, so that little is overwritten.
const LARGE: usize = 1 << 16;

/// Overwrites a value with one of the same type and shape. Returns whether this was possible.
pub(crate) fn overwrite(found: &StoredNode, value: &Value) -> Result<bool> {
    let Some(dataset) = Dataset::borrow(&found.object)? else {
        return Ok(false);
    };
    let description = dataset.describe()?;
    let same = match (&description.type_, Elements::of(value)) {
        (StoredType::Elements { dtype, .. }, Some(elements)) => {
            *dtype == elements.dtype
                && description.shape == elements.shape
                && elements.bytes.len() <= LARGE
        }
        (StoredType::Text(_), None) => description.shape.is_empty(),
        _ => false,
    };
    let same_names = found.dimension_names().as_deref() == value.dimension_names();
    if !same || !same_names || found.stored_kind()? != Some(kind(value)) {
        return Ok(false);
    }
    let type_ = match Elements::of(value) {
        Some(elements) => element_type(elements.dtype)?,
        None => text_type(None)?,
    };
    write(&dataset, &type_, value)?;
    if let Value::Object(_) = value {
        let mut metadata = found.metadata.clone().unwrap_or_default();
        write_json(dataset.handle(), exact_json(value), &mut metadata)?;
        write_metadata(dataset.handle(), metadata)?;
    }
    Ok(true)
}

fn exact_json(value: &Value) -> Option<String> {
    value.as_object().and_then(ObjectValue::exact_json)
}

/// Reads a value.
pub(crate) fn read_value(found: &StoredNode) -> Result<Value> {
    let Some(dataset) = Dataset::borrow(&found.object)? else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "read",
            "a group is marked as a value",
        ));
    };
    let description = dataset.describe()?;
    let shape = &description.shape;
    let bytes = |dtype: DType, memory: &Handle| -> Result<Vec<u8>> {
        let elements = shape
            .iter()
            .try_fold(1_u64, |count, &len| count.checked_mul(len));
        let length = elements
            .and_then(|count| usize::try_from(count).ok()?.checked_mul(dtype.size()))
            .unwrap_or(usize::MAX);
        let mut bytes = zeroed(length)?;
        if length > 0 {
            // SAFETY: there is room for all elements of the type.
            unsafe { dataset.read(memory, &Region::all(shape), bytes.as_mut_ptr().cast())? };
        }
        Ok(bytes)
    };
    let kind = found.stored_kind()?;
    match (&description.type_, kind) {
        (StoredType::Elements { dtype, memory, .. }, None | Some(Kind::Array)) => {
            let bytes = bytes(*dtype, memory)?;
            let shape = shape.iter().map(|&len| len as usize).collect();
            let value = ArrayValue::from_bytes(*dtype, shape, bytes).map(Value::Array)?;
            match found.dimension_names() {
                Some(names) => value.with_dimension_names(names),
                None => Ok(value),
            }
        }
        (StoredType::Elements { dtype, memory, .. }, Some(Kind::Bytes)) => {
            bytes(*dtype, memory).map(Value::Bytes)
        }
        (StoredType::Elements { dtype, memory, .. }, Some(Kind::Object)) => {
            let bytes = bytes(*dtype, memory)?;
            Ok(Value::Object(ObjectValue::from_msgpack(bytes)))
        }
        (type_, kind) => {
            let variable = VariableType::of(type_, found.metadata.is_some());
            let Some(variable) = variable.filter(|_| shape.is_empty()) else {
                let kind = kind.map_or("none", Kind::as_str);
                let message = format!("the contents do not match a value of kind {kind}");
                return Err(Error::new(ErrorKind::Corrupt, "read", message));
            };
            let mut rows = Rows::default();
            variable.read_scalar(&dataset, &mut rows)?;
            match variable.is_text() {
                true => String::from_utf8(rows.data)
                    .map(Value::Text)
                    .map_err(|error| {
                        Error::new(ErrorKind::Corrupt, "read", "a text is not UTF-8")
                            .with_source(error)
                    }),
                false => Ok(Value::Bytes(rows.data)),
            }
        }
    }
}
