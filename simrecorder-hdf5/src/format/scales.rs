//! Dimension names as dimension scales, as netCDF-4 and so xarray know them.
//!
//! A scale is a dataset with the name of the dimension, in the group of the series. Series list
//! their scales in `DIMENSION_LIST`, scales list their series in `REFERENCE_LIST` (the HDF5
//! Dimension Scale Specification). A dimension of which nothing but the name was recorded has a
//! dataset that netCDF calls "a dimension but not a variable"; it does not show in the hierarchy.
//! It gives way when something is recorded under its name; a list of numbers then becomes the
//! scale.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

use hdf5_metno_sys::h5a::{H5Aget_space, H5Aread};
use hdf5_metno_sys::h5i::H5I_type_t;
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use hdf5_metno_sys::h5r::{H5Rdereference2, hobj_ref_t};
use hdf5_metno_sys::h5t::{
    H5T_STD_I32LE, H5T_STD_REF_OBJ, H5T_class_t, H5Tcreate, H5Tinsert, H5Tvlen_create, hvl_t,
};
use serde_json::json;
use simrecorder_core::{DType, Error, ErrorKind, Key, Kind, Result, Schema};

use crate::format::attributes::{self, read_metadata, write_labels, write_metadata, write_text};
use crate::format::dataset::{Dataset, NewDataset};
use crate::format::datatype::{StoredType, element_type};
use crate::format::filters::Pipeline;
use crate::format::node_path::{ENDS, part_path, path_of};
use crate::library::{
    H5R_OBJECT, Handle, extent, has_link, locked, open_object, read_ok, reclaim, reference,
    simple_space, unlink, write_ok,
};

const CLASS: &str = "CLASS";
const NAME: &str = "NAME";
const DIMENSION_LIST: &str = "DIMENSION_LIST";
const REFERENCE_LIST: &str = "REFERENCE_LIST";
const LABELS: &str = "DIMENSION_LABELS";

/// What netCDF writes as the name of a scale without values; the length of the dimension follows.
const NO_VARIABLE: &str = "This is a netCDF dimension but not a netCDF variable.";

/// How many elements a chunk of a scale without values would have.
const CHUNK: [u64; 1] = [1024];

/// A dataset that uses a scale, by reference, and with which of its axes: an element of
/// `REFERENCE_LIST`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScaleUser {
    dataset: hobj_ref_t,
    axis: i32,
}

/// Scales and series that a commit is going to connect.
#[derive(Debug, Default)]
pub(crate) struct ScaleLinks {
    /// By the path of the scale, the datasets that use it.
    users: BTreeMap<String, Vec<ScaleUser>>,
    /// By the path of the dataset, the scale of each axis.
    scales: BTreeMap<String, Vec<String>>,
}

impl ScaleLinks {
    /// Notes the names of the axes of a new series.
    pub(crate) fn declare(&mut self, root: &Handle, key: &Key, schema: &Schema) -> Result<()> {
        let Some(names) = schema.dimension_names() else {
            return Ok(());
        };
        let path = match schema.kind() {
            Kind::Ragged => part_path(&path_of(key), ENDS),
            _ => path_of(key),
        };
        let dataset = open_object(root, &path)?;
        let labels = names.iter().map(|name| name.clone().unwrap_or_default());
        write_labels(&dataset, LABELS, labels.collect())?;
        let names: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(axis, name)| match name {
                Some(name) => name.clone(),
                None => format!("{}_axis_{axis}", key.name()),
            })
            .collect();
        // A list of numbers of the same name is the scale itself.
        if names[..] == [key.name()] {
            return mark_as_scale(&dataset, key.name());
        }
        let parent = key.parent().map_or("/".into(), |parent| path_of(&parent));
        let group = open_object(root, &parent)?;
        let lens: Vec<Option<u64>> = std::iter::once(None)
            .chain(schema.record_shape().iter().map(|&len| Some(len)))
            .collect();
        for (name, len) in names.iter().zip(lens) {
            if !is_link_name(name) || !ensure_scale(&group, name, len)? {
                // HDF5 has no place for such a name but the labels.
                return Ok(());
            }
        }
        let user = reference(root, &path)?;
        let scales = names.iter().map(|name| join(&parent, name));
        let scales: Vec<String> = scales.collect();
        for (axis, scale) in scales.iter().enumerate() {
            self.users
                .entry(scale.clone())
                .or_default()
                .push(ScaleUser {
                    dataset: user,
                    axis: axis as i32,
                });
        }
        self.scales.insert(path, scales);
        Ok(())
    }

    /// Makes the new node at `key` the scale of the datasets that used the one it took the place
    /// of. If it cannot be one, they lose their scales.
    pub(crate) fn attach_again(
        &mut self,
        root: &Handle,
        key: &Key,
        users: Vec<ScaleUser>,
    ) -> Result<()> {
        let path = path_of(key);
        let waiting = self.users.remove(&path).unwrap_or_default();
        if users.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        let object = open_object(root, &path)?;
        let scale = match can_be_scale(&object)? {
            true => {
                mark_as_scale(&object, key.name())?;
                Some(reference(root, &path)?)
            }
            false => None,
        };
        for user in users {
            let dataset = dereference(root, user.dataset)?;
            let mut scales = read_scales(&dataset)?;
            let axis = scales.get_mut(user.axis as usize);
            match (scale, axis) {
                (Some(scale), Some(axis)) => {
                    *axis = scale;
                    write_scales(&dataset, &scales)?;
                    self.users.entry(path.clone()).or_default().push(user);
                }
                _ => attributes::remove_if_there(&dataset, DIMENSION_LIST)?,
            }
        }
        match scale {
            Some(_) => self.users.entry(path).or_default().extend(waiting),
            None => self.scales.retain(|_, scales| !scales.contains(&path)),
        }
        Ok(())
    }

    /// Connects them.
    pub(crate) fn write(self, root: &Handle) -> Result<()> {
        for (path, scales) in self.scales {
            let references = scales.iter().map(|scale| reference(root, scale));
            let references = references.collect::<Result<Vec<_>>>()?;
            write_scales(&open_object(root, &path)?, &references)?;
        }
        for (path, new) in self.users {
            let scale = open_object(root, &path)?;
            let mut users = users(&scale)?;
            users.extend(new);
            write_users(&scale, &users)?;
        }
        Ok(())
    }
}

/// Takes a scale without values away that has the name of a new node; returns who used it. What
/// else has the name, though it is no node, stays.
pub(crate) fn make_room(group: &Handle, name: &str) -> Result<Vec<ScaleUser>> {
    if !has_link(group, name)? {
        return Ok(Vec::new());
    }
    let object = open_object(group, name)?;
    if object.kind() != H5I_type_t::H5I_DATASET {
        let message = "the file has a data type of this name, which nothing can take the place of";
        return Err(Error::new(ErrorKind::KindMismatch, "commit", message));
    }
    let users = users(&object)?;
    unlink(group, name)?;
    Ok(users)
}

fn join(group: &str, name: &str) -> String {
    match group {
        "/" => format!("/{name}"),
        group => format!("{group}/{name}"),
    }
}

fn is_link_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Makes a scale of this name, unless there is one; returns whether there is one then. An axis
/// without `len` grows.
fn ensure_scale(group: &Handle, name: &str, len: Option<u64>) -> Result<bool> {
    if has_link(group, name)? {
        let object = open_object(group, name)?;
        let is_one = attributes::read_named(&object, CLASS)? == Some(json!("DIMENSION_SCALE"));
        return Ok(match is_one || !can_be_scale(&object)? {
            true => is_one,
            false => {
                mark_as_scale(&object, name)?;
                true
            }
        });
    }
    let type_ = element_type(DType::F32)?;
    let none = Pipeline::default();
    let new = NewDataset {
        type_: &type_,
        shape: &[len.unwrap_or(0)],
        chunks: len.is_none().then_some((&CHUNK[..], &none)),
        fill_value: None,
    };
    let scale = new.create(group, name)?;
    write_text(scale.handle(), CLASS, "DIMENSION_SCALE")?;
    let no_variable = format!("{NO_VARIABLE}{:10}", len.unwrap_or(0));
    write_text(scale.handle(), NAME, &no_variable)?;
    let metadata = [("node".to_owned(), json!("dimension"))];
    write_metadata(scale.handle(), metadata.into_iter().collect())?;
    Ok(true)
}

/// Whether an object is a list of numbers that has no scales itself.
fn can_be_scale(object: &Handle) -> Result<bool> {
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

/// Whether other software made a dataset for the name of a dimension only.
pub(crate) fn is_dimension(dataset: &Handle) -> Result<bool> {
    let name = attributes::read_named(dataset, NAME)?;
    let name = name.as_ref().and_then(serde_json::Value::as_str);
    Ok(name.is_some_and(|name| name.starts_with(NO_VARIABLE)))
}

/// Takes datasets away from their scales, and scales among them from the datasets that use them. What is
/// among them stays connected with each other if `inner` says so.
pub(crate) fn detach(root: &Handle, objects: &[Handle], inner: bool) -> Result<()> {
    let references = objects.iter().map(|object| reference(object, "."));
    let references: BTreeSet<_> = references.collect::<Result<_>>()?;
    let stays = |other: hobj_ref_t| inner && references.contains(&other);
    for object in objects {
        let scales = read_scales(object)?;
        for scale in scales.iter().filter(|&&scale| scale != 0 && !stays(scale)) {
            let scale = dereference(root, *scale)?;
            let mut users = users(&scale)?;
            users.retain(|user| !references.contains(&user.dataset));
            write_users(&scale, &users)?;
        }
        if scales.iter().any(|&scale| !stays(scale)) {
            attributes::remove_if_there(object, DIMENSION_LIST)?;
        }
        let mut users = users(object)?;
        if users.is_empty() {
            continue;
        }
        for user in users.iter().filter(|user| !stays(user.dataset)) {
            attributes::remove_if_there(&dereference(root, user.dataset)?, DIMENSION_LIST)?;
        }
        users.retain(|user| stays(user.dataset));
        write_users(object, &users)?;
    }
    Ok(())
}

fn mark_as_scale(object: &Handle, name: &str) -> Result<()> {
    write_text(object, CLASS, "DIMENSION_SCALE")?;
    write_text(object, NAME, name)
}

fn dereference(root: &Handle, reference: hobj_ref_t) -> Result<Handle> {
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
    let what = "make a data type";
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
        Handle::write(id, "make a data type")
    })
}

/// The scale of each axis of a dataset, the last one where there are several; empty if it has
/// none.
fn read_scales(dataset: &Handle) -> Result<Vec<hobj_ref_t>> {
    let Some((attribute, space, count)) = open_list(dataset, DIMENSION_LIST)? else {
        return Ok(Vec::new());
    };
    let type_ = scales_type()?;
    let mut lists = Vec::new();
    lists.resize_with(count, hvl_t::default);
    // SAFETY: there is room for all elements; the library allocates the lists, of as many
    // references as it says, and frees them again.
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
        Handle::read(space, "tell the shape of an attribute")
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

/// Writes a list of `count` elements, in place of one that is there.
fn write_list(
    object: &Handle,
    name: &str,
    type_: &Handle,
    count: usize,
    elements: *const c_void,
) -> Result<()> {
    attributes::remove_if_there(object, name)?;
    let space = simple_space(&[count as u64], None)?;
    // SAFETY: the caller gives `count` elements of the type.
    unsafe { attributes::create(object, name, type_, &space, elements) }
}
