//! Replaces a dataset by one with another layout, because HDF5 cannot change the layout of a
//! dataset.

use std::ffi::CStr;

use hdf5_metno_sys::h5a::{
    H5Acreate2, H5Aget_create_plist, H5Aget_space, H5Aget_type, H5Aopen, H5Aread, H5Awrite,
};
use hdf5_metno_sys::h5l::H5Ldelete;
use hdf5_metno_sys::h5o::H5Olink;
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use hdf5_metno_sys::h5t::H5Tget_size;
use simrecorder_core::backend::zeroed;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::dataset::{Dataset, NewDataset, link_creation};
use crate::format::scales::{self, REFERENCE_LIST, RemovedScale};
use crate::library::{
    Handle, all_attribute_names, c_string, extent, locked, read_ok, reclaim, write_ok,
};

/// A dataset that will replace another one.
///
/// No link leads to it until all its elements are written, because others may read the dataset by
/// its path meanwhile.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: String,
    old: Dataset,
    pub(crate) new: Dataset,
}

impl Replacement {
    /// Creates a dataset that will replace `old`, with its attributes.
    pub(crate) fn new(
        root: &Handle,
        path: &str,
        old: &Dataset,
        new: &NewDataset<'_>,
    ) -> Result<Self> {
        locked(|| {
            let new = new.create_unlinked(root)?;
            for name in all_attribute_names(old.handle())? {
                // The users of a scale refer to it by its place in the file.
                if name.to_bytes() != REFERENCE_LIST.as_bytes() {
                    copy_attribute(old.handle(), new.handle(), &name)?;
                }
            }
            let old = Dataset::borrow(old.handle())?;
            let old = old.ok_or_else(|| Error::new(ErrorKind::Internal, "commit", "no dataset"))?;
            Ok(Self {
                path: path.to_owned(),
                old,
                new,
            })
        })
    }

    /// Replaces the old one, for everything that looks it up from now on.
    pub(crate) fn link(self, root: &Handle) -> Result<()> {
        let Self { path, old, new } = self;
        let (name, links) = (c_string(&path)?, link_creation()?);
        locked(|| {
            let removed = RemovedScale::of(old.handle())?;
            // SAFETY: the name ends with a NUL and outlives the calls.
            unsafe {
                let status = H5Ldelete(root.id(), name.as_ptr(), H5P_DEFAULT);
                write_ok(status, "remove a link")?;
                let (object, default) = (new.handle().id(), H5P_DEFAULT);
                let status = H5Olink(object, root.id(), name.as_ptr(), links.id(), default);
                write_ok(status, "link a dataset")?;
            }
            scales::move_user(root, old.handle(), new.handle())?;
            let name = path.rsplit('/').next().unwrap_or_default();
            removed.replace_with(root, new.handle(), name)
        })
    }
}

/// Copies an attribute of any type.
fn copy_attribute(from: &Handle, to: &Handle, name: &CStr) -> Result<()> {
    // SAFETY: the name ends with a NUL; there is room for all elements, which are written as they
    // were read, and the memory that the library allocated for them is freed once.
    locked(|| unsafe {
        let attribute = H5Aopen(from.id(), name.as_ptr(), H5P_DEFAULT);
        let attribute = Handle::read(attribute, "open an attribute")?;
        let type_ = Handle::read(H5Aget_type(attribute.id()), "get the type of an attribute")?;
        let space = H5Aget_space(attribute.id());
        let space = Handle::read(space, "get the shape of an attribute")?;
        let list = H5Aget_create_plist(attribute.id());
        let list = Handle::read(list, "get the properties of an attribute")?;
        let (shape, _) = extent(&space)?;
        let size = H5Tget_size(type_.id());
        let bytes = shape.iter().try_fold(size, |bytes, &len| {
            bytes.checked_mul(usize::try_from(len).ok()?)
        });
        let mut elements = zeroed(bytes.unwrap_or(usize::MAX))?;
        let elements = elements.as_mut_ptr().cast();
        let status = H5Aread(attribute.id(), type_.id(), elements);
        read_ok(status, "read an attribute")?;
        let (text, default) = (name.as_ptr(), H5P_DEFAULT);
        let copy = H5Acreate2(to.id(), text, type_.id(), space.id(), list.id(), default);
        let copied = Handle::write(copy, "make an attribute").and_then(|copy| {
            let status = H5Awrite(copy.id(), type_.id(), elements);
            write_ok(status, "write an attribute")
        });
        reclaim(&type_, &space, elements);
        copied
    })
}
