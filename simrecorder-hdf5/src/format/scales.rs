//! Dimension names as dimension scales, which netCDF-4 and therefore xarray use.
//!
//! A checkpoint connects series and values with their scales. Commits only preserve the connections
//! that other software made.
//!
//! A scale is a dataset with the name of the dimension, in the group of the series. Series list
//! their scales in `DIMENSION_LIST`, scales list their series in `REFERENCE_LIST` (see the HDF5
//! Dimension Scale Specification). A dimension of which only the name was recorded has a dataset
//! that netCDF calls "a dimension but not a variable". It does not appear in the hierarchy, and is
//! replaced when something is recorded under its name.

use std::collections::BTreeSet;
use std::ffi::c_void;

use hdf5_metno_sys::h5a::{H5Aget_space, H5Aread};
use hdf5_metno_sys::h5i::H5I_type_t;
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use hdf5_metno_sys::h5r::{H5Rdereference2, hobj_ref_t};
use hdf5_metno_sys::h5t::{
    H5T_STD_I32LE, H5T_STD_REF_OBJ, H5T_class_t, H5Tcreate, H5Tinsert, H5Tvlen_create, hvl_t,
};
use serde_json::json;
use simrecorder_core::{DType, Error, ErrorKind, Result};

use crate::format::attributes::{self, read_metadata, write_labels, write_metadata, write_text};
use crate::format::dataset::{Dataset, NewDataset, Storage};
use crate::format::datatype::{StoredType, element_type};
use crate::format::filters::Pipeline;
use crate::library::{
    H5R_OBJECT, Handle, extent, has_link, locked, open_object, read_ok, reclaim, reference,
    simple_space, unlink, write_ok,
};

const CLASS: &str = "CLASS";
const NAME: &str = "NAME";
const DIMENSION_LIST: &str = "DIMENSION_LIST";
pub(crate) const REFERENCE_LIST: &str = "REFERENCE_LIST";
pub(crate) const LABELS: &str = "DIMENSION_LABELS";

/// The name that netCDF gives a scale without values. The length of the dimension follows.
pub(crate) const NO_VARIABLE: &str = "This is a netCDF dimension but not a netCDF variable.";

/// The number of elements in a chunk of a scale without values.
const CHUNK: [u64; 1] = [1024];

/// A dataset that uses a scale, by reference, and the axis for which it uses it: an element of
/// `REFERENCE_LIST`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScaleUser {
    dataset: hobj_ref_t,
    axis: i32,
}

impl ScaleUser {
    pub(crate) fn new(dataset: hobj_ref_t, axis: usize) -> Self {
        Self {
            dataset,
            axis: axis as i32,
        }
    }

    pub(crate) fn dataset(&self) -> hobj_ref_t {
        self.dataset
    }
}

/// A scale that was replaced by another object, and the datasets that use it.
#[derive(Debug, Default)]
pub(crate) struct RemovedScale {
    scale: hobj_ref_t,
    users: Vec<ScaleUser>,
}

impl RemovedScale {
    /// The scale `object`, if it is one.
    pub(crate) fn of(object: &Handle) -> Result<Self> {
        Ok(Self {
            scale: reference(object, ".")?,
            users: users(object)?,
        })
    }

    /// Makes the object that replaced the scale the scale of the datasets that used it. If it
    /// cannot be a scale, they lose their scales.
    pub(crate) fn replace_with(self, root: &Handle, object: &Handle, name: &str) -> Result<()> {
        let Self { scale, users } = self;
        if users.is_empty() {
            return Ok(());
        }
        let new = reference(object, ".")?;
        let is_scale = can_be_scale(object)?;
        if is_scale {
            mark_as_scale(object, name)?;
        }
        let mut replaced = Vec::new();
        for user in users {
            let dataset = dereference(root, user.dataset)?;
            let mut scales = read_scales(&dataset)?;
            match scales.get_mut(user.axis as usize) {
                Some(axis) if *axis == scale => *axis = new,
                _ => continue,
            }
            match is_scale {
                true => write_scales(&dataset, &scales)?,
                false => attributes::remove_if_there(&dataset, DIMENSION_LIST)?,
            }
            replaced.push(user);
        }
        match is_scale {
            true => write_users(object, &replaced),
            false => Ok(()),
        }
    }
}

/// Removes a scale without values that has the name of a new node. Other objects with the name
/// stay, even if they are not nodes.
pub(crate) fn make_room(group: &Handle, name: &str) -> Result<RemovedScale> {
    if !has_link(group, name)? {
        return Ok(RemovedScale::default());
    }
    let object = open_object(group, name)?;
    if object.kind() != H5I_type_t::H5I_DATASET {
        let message = "the file has a data type of this name, which cannot be replaced";
        return Err(Error::new(ErrorKind::KindMismatch, "commit", message));
    }
    let removed = RemovedScale::of(&object)?;
    unlink(group, name)?;
    Ok(removed)
}

/// Whether a link can have this name.
pub(crate) fn is_link_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// The scale without values of this name, which is recreated unless it has the length `len`; `None`
/// for an axis that grows. Returns `None` if the name is taken.
pub(crate) fn dimension(
    root: &Handle,
    group: &Handle,
    name: &str,
    len: Option<u64>,
) -> Result<Option<Handle>> {
    let mut removed = RemovedScale::default();
    if has_link(group, name)? {
        let object = open_object(group, name)?;
        let Some(dataset) = Dataset::borrow(&object)? else {
            return Ok(None);
        };
        if !is_own_dimension(&object)? {
            return Ok(is_dimension(&object)?.then_some(object));
        }
        let has_len = match len {
            None => dataset.grows()?,
            Some(len) => !dataset.grows()? && dataset.shape()? == [len],
        };
        if has_len {
            return Ok(Some(object));
        }
        removed = RemovedScale::of(&object)?;
        unlink(group, name)?;
    }
    let type_ = element_type(DType::F32)?;
    let none = Pipeline::default();
    let new = NewDataset {
        type_: &type_,
        shape: &[len.unwrap_or(0)],
        storage: match len {
            None => Storage::Chunks(&CHUNK, &none),
            Some(_) => Storage::Contiguous,
        },
        fill_value: None,
    };
    let scale = new.create(group, name)?;
    write_text(scale.handle(), CLASS, "DIMENSION_SCALE")?;
    let no_variable = format!("{NO_VARIABLE}{:10}", len.unwrap_or(0));
    write_text(scale.handle(), NAME, &no_variable)?;
    let metadata = [("node".to_owned(), json!("dimension"))];
    write_metadata(scale.handle(), metadata.into_iter().collect())?;
    removed.replace_with(root, scale.handle(), name)?;
    Ok(Some(scale.into_handle()))
}

/// Connects the scales of a dataset with its replacement, which lists them, too.
pub(crate) fn move_user(root: &Handle, from: &Handle, to: &Handle) -> Result<()> {
    let scales = read_scales(from)?;
    if scales.is_empty() {
        return Ok(());
    }
    let (old, new) = (reference(from, ".")?, reference(to, ".")?);
    for scale in scales {
        let Ok(scale) = dereference(root, scale) else {
            continue;
        };
        let mut users = users(&scale)?;
        for user in users.iter_mut().filter(|user| user.dataset == old) {
            user.dataset = new;
        }
        if !users.is_empty() {
            write_users(&scale, &users)?;
        }
    }
    Ok(())
}

/// Whether this library created an object only for the name of a dimension.
pub(crate) fn is_own_dimension(object: &Handle) -> Result<bool> {
    let metadata = read_metadata(object)?;
    Ok(metadata.is_some_and(|metadata| metadata.get("node") == Some(&json!("dimension"))))
}

/// Whether an object is a list of numbers that has no scales itself.
pub(crate) fn can_be_scale(object: &Handle) -> Result<bool> {
    let Some(dataset) = Dataset::borrow(object)? else {
        return Ok(false);
    };
    let is_list = dataset.shape()?.len() == 1
        && matches!(
            dataset.describe().map(|it| it.type_),
            Ok(StoredType::Elements { .. })
        )
        && read_metadata(object)?
            .is_none_or(|metadata| metadata.get("kind") == Some(&json!("array")));
    Ok(is_list && read_scales(object)?.is_empty())
}

/// Whether other software created a dataset only for the name of a dimension.
pub(crate) fn is_dimension(dataset: &Handle) -> Result<bool> {
    let name = attributes::read_named(dataset, NAME)?;
    let name = name.as_ref().and_then(serde_json::Value::as_str);
    Ok(name.is_some_and(|name| name.starts_with(NO_VARIABLE)))
}

/// Disconnects datasets, which are at `places`, from scales elsewhere, and scales among them from
/// datasets elsewhere. They stay connected with each other.
pub(crate) fn detach(root: &Handle, places: &[hobj_ref_t]) -> Result<()> {
    let places: BTreeSet<_> = places.iter().copied().collect();
    for place in &places {
        let object = dereference(root, *place)?;
        let mut scales = read_scales(&object)?;
        scales.retain(|scale| !places.contains(scale));
        for scale in scales.iter().filter(|&&scale| scale != 0) {
            let scale = dereference(root, *scale)?;
            let mut users = users(&scale)?;
            users.retain(|user| !places.contains(&user.dataset));
            write_users(&scale, &users)?;
        }
        if !scales.is_empty() {
            attributes::remove_if_there(&object, DIMENSION_LIST)?;
        }
        let (inner, others): (Vec<_>, Vec<_>) = users(&object)?
            .into_iter()
            .partition(|user| places.contains(&user.dataset));
        for user in &others {
            attributes::remove_if_there(&dereference(root, user.dataset)?, DIMENSION_LIST)?;
        }
        if !others.is_empty() {
            write_users(&object, &inner)?;
        }
    }
    Ok(())
}

/// Whether an object is marked as a scale.
pub(crate) fn is_scale(object: &Handle) -> Result<bool> {
    Ok(attributes::read_named(object, CLASS)? == Some(json!("DIMENSION_SCALE")))
}

/// The name of the scale, if an object is marked as one.
pub(crate) fn scale_name(object: &Handle) -> Result<Option<String>> {
    if !is_scale(object)? {
        return Ok(None);
    }
    let name = attributes::read_named(object, NAME)?;
    Ok(Some(
        name.as_ref()
            .and_then(|name| name.as_str())
            .unwrap_or_default()
            .to_owned(),
    ))
}

/// Marks an object as the scale of this name.
pub(crate) fn mark_as_scale(object: &Handle, name: &str) -> Result<()> {
    write_text(object, CLASS, "DIMENSION_SCALE")?;
    write_text(object, NAME, name)
}

/// Removes the mark of a scale. Datasets of other software that use it lose their scales.
pub(crate) fn unmark(root: &Handle, object: &Handle) -> Result<()> {
    let scale = reference(object, ".")?;
    for user in users(object)? {
        if let Some(dataset) = user_of(root, scale, user)? {
            attributes::remove_if_there(&dataset, DIMENSION_LIST)?;
        }
    }
    for name in [CLASS, NAME, REFERENCE_LIST] {
        attributes::remove_if_there(object, name)?;
    }
    Ok(())
}

/// The dataset that uses a scale, if it still does.
fn user_of(root: &Handle, scale: hobj_ref_t, user: ScaleUser) -> Result<Option<Handle>> {
    // A removed dataset leaves a reference that leads nowhere, or to another object.
    let Ok(dataset) = dereference(root, user.dataset) else {
        return Ok(None);
    };
    let scales = match dataset.kind() {
        H5I_type_t::H5I_DATASET => read_scales(&dataset)?,
        _ => Vec::new(),
    };
    let is_used = scales.get(user.axis as usize) == Some(&scale);
    Ok(is_used.then_some(dataset))
}

/// The length of the datasets that use a scale without values of other software; `None` if it is
/// not such a scale, or no dataset uses it.
pub(crate) fn used_len(root: &Handle, scale: &Handle) -> Result<Option<u64>> {
    let Some(dataset) = Dataset::borrow(scale)?.filter(|_| is_dimension(scale).unwrap_or(false))
    else {
        return Ok(None);
    };
    if !dataset.grows()? {
        return Ok(Some(dataset.len()?));
    }
    let place = reference(scale, ".")?;
    let mut longest = None;
    for user in users(scale)? {
        if let Some(object) = user_of(root, place, user)?
            && let Some(dataset) = Dataset::from_handle(object)
        {
            let len = dataset.shape()?.get(user.axis as usize).copied();
            longest = longest.max(len);
        }
    }
    Ok(longest)
}

/// Stores in a scale which datasets use it: these, and all others for which `is_known` returns
/// false. Returns how many use it, and whether the list changed.
pub(crate) fn note_users(
    root: &Handle,
    scale: &Handle,
    mut used_by: Vec<ScaleUser>,
    is_known: impl Fn(hobj_ref_t) -> bool,
) -> Result<(usize, bool)> {
    let place = reference(scale, ".")?;
    let mut noted = users(scale)?;
    for &user in &noted {
        if !is_known(user.dataset) && user_of(root, place, user)?.is_some() {
            used_by.push(user);
        }
    }
    used_by.sort_unstable();
    noted.sort_unstable();
    let is_noted = noted == used_by;
    match used_by.is_empty() {
        _ if is_noted => {}
        true => attributes::remove_if_there(scale, REFERENCE_LIST)?,
        false => write_users(scale, &used_by)?,
    }
    Ok((used_by.len(), is_noted))
}

/// Connects a dataset with the scale of each of its axes, or with none. Returns whether this
/// changed it.
pub(crate) fn set_scales(dataset: &Handle, scales: &[hobj_ref_t]) -> Result<bool> {
    if read_scales(dataset)? == scales {
        return Ok(false);
    }
    match scales.is_empty() {
        true => attributes::remove_if_there(dataset, DIMENSION_LIST)?,
        false => write_scales(dataset, scales)?,
    }
    Ok(true)
}

/// Stores the names that the user gave to the axes of a dataset.
pub(crate) fn write_axis_labels(dataset: &Handle, names: &[Option<String>]) -> Result<()> {
    let labels = names.iter().map(|name| name.clone().unwrap_or_default());
    attributes::remove_if_there(dataset, LABELS)?;
    write_labels(dataset, LABELS, labels.collect())
}

pub(crate) fn dereference(root: &Handle, reference: hobj_ref_t) -> Result<Handle> {
    // SAFETY: the pointer is to a reference of this kind.
    locked(|| unsafe {
        let id = H5Rdereference2(
            root.id(),
            H5P_DEFAULT,
            H5R_OBJECT,
            (&raw const reference).cast(),
        );
        Handle::read(id, "follow a reference")
    })
}

/// The datasets that use a scale.
pub(crate) fn users(scale: &Handle) -> Result<Vec<ScaleUser>> {
    let Some((attribute, _, count)) = open_list(scale, REFERENCE_LIST)? else {
        return Ok(Vec::new());
    };
    let mut users = vec![
        ScaleUser {
            dataset: 0,
            axis: 0
        };
        count
    ];
    let type_ = user_type()?;
    locked(|| {
        // SAFETY: there is room for all elements, and the type is that of `ScaleUser`.
        let status = unsafe { H5Aread(attribute.id(), type_.id(), users.as_mut_ptr().cast()) };
        read_ok(status, "read an attribute")
    })?;
    Ok(users)
}

fn write_users(scale: &Handle, users: &[ScaleUser]) -> Result<()> {
    write_list(
        scale,
        REFERENCE_LIST,
        &user_type()?,
        users.len(),
        users.as_ptr().cast(),
    )
}

/// The type of [`ScaleUser`].
fn user_type() -> Result<Handle> {
    let what = "create a data type";
    // SAFETY: names end with a NUL, and offsets are those of the fields.
    locked(|| unsafe {
        let type_ = H5Tcreate(H5T_class_t::H5T_COMPOUND, size_of::<ScaleUser>());
        let type_ = Handle::write(type_, what)?;
        let at = std::mem::offset_of!(ScaleUser, dataset);
        write_ok(
            H5Tinsert(type_.id(), c"dataset".as_ptr(), at, *H5T_STD_REF_OBJ),
            what,
        )?;
        let at = std::mem::offset_of!(ScaleUser, axis);
        write_ok(
            H5Tinsert(type_.id(), c"dimension".as_ptr(), at, *H5T_STD_I32LE),
            what,
        )?;
        Ok(type_)
    })
}

fn scales_type() -> Result<Handle> {
    locked(|| {
        // SAFETY: no pointers.
        let id = unsafe { H5Tvlen_create(*H5T_STD_REF_OBJ) };
        Handle::write(id, "create a data type")
    })
}

/// The scale of each axis of a dataset, the last one if there are several; empty if it has none.
pub(crate) fn read_scales(dataset: &Handle) -> Result<Vec<hobj_ref_t>> {
    let Some((attribute, space, count)) = open_list(dataset, DIMENSION_LIST)? else {
        return Ok(Vec::new());
    };
    let type_ = scales_type()?;
    let mut lists = Vec::new();
    lists.resize_with(count, hvl_t::default);
    // SAFETY: there is room for all elements; the library allocates the lists, of the lengths that
    // it reports, and frees them again.
    locked(|| unsafe {
        let status = H5Aread(attribute.id(), type_.id(), lists.as_mut_ptr().cast());
        read_ok(status, "read an attribute")?;
        let last = lists.iter().map(|list| match list.len {
            0 => 0,
            len => list.p.cast::<hobj_ref_t>().add(len - 1).read_unaligned(),
        });
        let scales = last.collect();
        reclaim(&type_, &space, lists.as_mut_ptr().cast());
        Ok(scales)
    })
}

fn write_scales(dataset: &Handle, scales: &[hobj_ref_t]) -> Result<()> {
    let lists: Vec<hvl_t> = scales
        .iter()
        .map(|scale| hvl_t {
            len: 1,
            p: (&raw const *scale).cast_mut().cast(),
        })
        .collect();
    write_list(
        dataset,
        DIMENSION_LIST,
        &scales_type()?,
        lists.len(),
        lists.as_ptr().cast(),
    )
}

fn open_list(object: &Handle, name: &str) -> Result<Option<(Handle, Handle, usize)>> {
    let Some(attribute) = attributes::open(object, name)? else {
        return Ok(None);
    };
    let space = locked(|| {
        // SAFETY: the handle is an attribute.
        let space = unsafe { H5Aget_space(attribute.id()) };
        Handle::read(space, "get the shape of an attribute")
    })?;
    let (shape, _) = extent(&space)?;
    match shape[..] {
        [count] => Ok(Some((
            attribute,
            space,
            usize::try_from(count).unwrap_or(0),
        ))),
        _ => Ok(None),
    }
}

/// Writes a list of `count` elements, replacing an existing one.
fn write_list(
    object: &Handle,
    name: &str,
    type_: &Handle,
    count: usize,
    elements: *const c_void,
) -> Result<()> {
    attributes::remove_if_there(object, name)?;
    let space = simple_space(&[count as u64], None)?;
    // SAFETY: the caller passes `count` elements of the type.
    unsafe { attributes::create(object, name, type_, &space, elements) }
}
