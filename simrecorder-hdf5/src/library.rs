//! Calls of libhdf5: its lock, its handles, its errors.
//!
//! All calls use [`locked`], because the library is not thread-safe.

use std::ffi::{CStr, CString, c_char, c_void};

use hdf5_metno_sys::h5::{H5_index_t, H5_iter_order_t, herr_t, hsize_t};
use hdf5_metno_sys::h5a::H5Aiterate2;
use hdf5_metno_sys::h5i::{H5I_type_t, H5Idec_ref, H5Iget_type, H5Iinc_ref, H5Iis_valid, hid_t};
use hdf5_metno_sys::h5l::{H5Ldelete, H5Lexists, H5Literate, H5Lmove};
use hdf5_metno_sys::h5o::H5Oopen;
use hdf5_metno_sys::h5p::{H5P_DEFAULT, H5Pcreate};
#[cfg(not(hdf5_1_12))]
pub(crate) use hdf5_metno_sys::h5r::H5R_OBJECT;
#[cfg(hdf5_1_12)]
pub(crate) use hdf5_metno_sys::h5r::H5R_OBJECT1 as H5R_OBJECT;
use hdf5_metno_sys::h5r::{H5Rcreate, hobj_ref_t};
use hdf5_metno_sys::h5s::{
    H5S_class_t, H5S_seloper_t, H5Screate, H5Screate_simple, H5Sget_simple_extent_dims,
    H5Sget_simple_extent_ndims, H5Sget_simple_extent_type, H5Sselect_hyperslab,
};
use simrecorder_core::backend::fork::uninterrupted;
use simrecorder_core::{AxisRange, Error, ErrorKind, Result};

/// The maximum number of axes of an HDF5 array.
pub(crate) const MAX_AXES: usize = 32;

/// Runs calls of libhdf5 under its lock. Calls may be nested.
///
/// A fork waits until no thread calls the library or waits for its lock. The lock has a list of
/// waiting threads, which would be wrong in a child.
pub(crate) fn locked<T>(calls: impl FnOnce() -> T) -> T {
    uninterrupted(|| hdf5_metno::sync::sync(calls))
}

/// What libhdf5 reports about its last failure.
fn cause() -> Box<dyn std::error::Error + Send + Sync> {
    match hdf5_metno::h5check(-1 as herr_t) {
        Err(error) => error.to_string().into(),
        Ok(_) => "libhdf5 gave no reason".into(),
    }
}

/// The error of a failed call, which must have been the last one under the lock.
pub(crate) fn failed(kind: ErrorKind, what: &str) -> Error {
    assert_locked();
    let cause = cause();
    let text = cause.to_string();
    let (kind, hint) = match kind {
        ErrorKind::Corrupt if text.contains("bad version number") => (
            ErrorKind::Unsupported,
            match cfg!(feature = "static") {
                true => ": a newer libhdf5 may have written this; open it with a newer simrecorder",
                false => {
                    ": a newer libhdf5 may have written this; build simrecorder with the feature hdf5-static"
                }
            },
        ),
        // The messages of libhdf5 1.10 and 2.
        ErrorKind::Corrupt
            if text.contains("open external file") || text.contains("object: can't open file") =>
        {
            (
                ErrorKind::Unsupported,
                ": the link points to another file; simrecorder does not follow such links",
            )
        }
        kind => (kind, ""),
    };
    let message = format!("libhdf5 could not {what}{hint}");
    Error::new(kind, "call libhdf5", message).with_source(cause)
}

/// Checks that a call was made under the lock, and that the lock is still held: the library keeps
/// one error for all threads.
fn assert_locked() {
    debug_assert!(
        hdf5_metno_sys::LOCK.is_owned_by_current_thread(),
        "libhdf5 is called outside its lock"
    );
}

/// Checks the result of a call that reads, under the same lock as the call.
pub(crate) fn read_ok(status: herr_t, what: &str) -> Result<()> {
    assert_locked();
    match status {
        0.. => Ok(()),
        _ => Err(failed(ErrorKind::Corrupt, what)),
    }
}

/// Checks the result of a call that writes, under the same lock as the call.
pub(crate) fn write_ok(status: herr_t, what: &str) -> Result<()> {
    assert_locked();
    match status {
        0.. => Ok(()),
        _ => Err(failed(ErrorKind::Io, what)),
    }
}

/// An identifier of libhdf5, which is released when dropped.
#[derive(Debug)]
pub(crate) struct Handle(hid_t);

impl Handle {
    /// Takes ownership of an identifier that a call returned, under the same lock as the call.
    pub(crate) fn new(id: hid_t, kind: ErrorKind, what: &str) -> Result<Self> {
        assert_locked();
        match id {
            0.. => Ok(Self(id)),
            _ => Err(failed(kind, what)),
        }
    }

    /// Like [`new`](Self::new), for a call that reads.
    pub(crate) fn read(id: hid_t, what: &str) -> Result<Self> {
        Self::new(id, ErrorKind::Corrupt, what)
    }

    /// Like [`new`](Self::new), for a call that writes.
    pub(crate) fn write(id: hid_t, what: &str) -> Result<Self> {
        Self::new(id, ErrorKind::Io, what)
    }

    pub(crate) fn id(&self) -> hid_t {
        self.0
    }

    /// Another handle on the same object.
    pub(crate) fn share(&self) -> Result<Self> {
        // SAFETY: the identifier is ours, or the call reports that it is no longer valid.
        locked(|| match unsafe { H5Iinc_ref(self.0) } {
            0.. => Ok(Self(self.0)),
            _ => Err(failed(ErrorKind::Io, "keep an object open")),
        })
    }

    pub(crate) fn kind(&self) -> H5I_type_t {
        // SAFETY: any number is allowed.
        locked(|| unsafe { H5Iget_type(self.0) })
    }

    /// Releases it now, and reports errors.
    pub(crate) fn close(self, what: &str) -> Result<()> {
        let id = self.0;
        std::mem::forget(self);
        // SAFETY: the identifier was ours, and is not used again.
        locked(|| write_ok(unsafe { H5Idec_ref(id) }, what))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The file of the identifier may have been closed, and all its identifiers with it. SAFETY:
        // the identifier is ours or no longer valid; the calls check both.
        locked(|| unsafe {
            if H5Iis_valid(self.0) > 0 {
                H5Idec_ref(self.0);
            }
        });
    }
}

/// Text for libhdf5, which ends at a NUL.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|error| {
        Error::new(
            ErrorKind::InvalidKey,
            "call libhdf5",
            "names cannot contain a NUL",
        )
        .with_source(error)
    })
}

/// A property list of a class.
pub(crate) fn property_list(class: hid_t) -> Result<Handle> {
    // SAFETY: the class is one of the library's own.
    locked(|| Handle::write(unsafe { H5Pcreate(class) }, "create a property list"))
}

/// The data space of an array of this shape. Axes whose `max` is `None` can grow.
pub(crate) fn simple_space(shape: &[u64], max: Option<&[Option<u64>]>) -> Result<Handle> {
    let what = "create a data space";
    if shape.is_empty() {
        // SAFETY: no pointers.
        return locked(|| Handle::write(unsafe { H5Screate(H5S_class_t::H5S_SCALAR) }, what));
    }
    let max: Option<Vec<hsize_t>> =
        max.map(|max| max.iter().map(|len| len.unwrap_or(hsize_t::MAX)).collect());
    let max = max.as_ref().map_or(std::ptr::null(), |max| max.as_ptr());
    locked(|| {
        // SAFETY: both arrays have the given number of elements, and outlive the call.
        let id = unsafe { H5Screate_simple(shape.len() as i32, shape.as_ptr(), max) };
        Handle::write(id, what)
    })
}

/// The shape of a data space, and the maximum of each axis (`None`: unlimited). A space without any
/// elements counts as one of length 0.
pub(crate) fn extent(space: &Handle) -> Result<(Vec<u64>, Vec<Option<u64>>)> {
    locked(|| {
        // SAFETY: the arrays have room for the maximum number of axes.
        unsafe {
            if H5Sget_simple_extent_type(space.id()) == H5S_class_t::H5S_NULL {
                return Ok((vec![0], vec![Some(0)]));
            }
            let axes = H5Sget_simple_extent_ndims(space.id());
            let axes = usize::try_from(axes).unwrap_or(usize::MAX);
            if axes > MAX_AXES {
                return Err(failed(ErrorKind::Corrupt, "get the number of axes"));
            }
            let (mut shape, mut max) = (vec![0; axes], vec![0; axes]);
            let status =
                H5Sget_simple_extent_dims(space.id(), shape.as_mut_ptr(), max.as_mut_ptr());
            read_ok(status, "get the shape of an array")?;
            let max = max.iter().map(|&len| (len != hsize_t::MAX).then_some(len));
            Ok((shape, max.collect()))
        }
    })
}

/// Selects a box of elements.
pub(crate) fn select(space: &Handle, axes: &[AxisRange]) -> Result<()> {
    let numbers = |get: fn(&AxisRange) -> u64| -> Vec<hsize_t> { axes.iter().map(get).collect() };
    let start = numbers(|axis| axis.start);
    // The step of a single index may be any number.
    let stride = numbers(|axis| if axis.count > 1 { axis.step } else { 1 });
    let count = numbers(|axis| axis.count);
    // SAFETY: each array has as many elements as the space has axes, and outlives the call.
    locked(|| unsafe {
        let status = H5Sselect_hyperslab(
            space.id(),
            H5S_seloper_t::H5S_SELECT_SET,
            start.as_ptr(),
            stride.as_ptr(),
            count.as_ptr(),
            std::ptr::null(),
        );
        read_ok(status, "select a part of an array")
    })
}

/// Opens the existing object at `path` below `location`.
pub(crate) fn open_object(location: &Handle, path: &str) -> Result<Handle> {
    let name = c_string(path)?;
    locked(|| {
        // SAFETY: the name ends with a NUL and outlives the call.
        let id = unsafe { H5Oopen(location.id(), name.as_ptr(), H5P_DEFAULT) };
        Handle::read(id, "open an object")
    })
}

/// The place in its file of the object at `path` below `location`. It is the same for all links to
/// the object.
pub(crate) fn reference(location: &Handle, path: &str) -> Result<hobj_ref_t> {
    let path = c_string(path)?;
    let mut reference: hobj_ref_t = 0;
    // SAFETY: there is room for a reference of this kind; the path ends with a NUL.
    locked(|| unsafe {
        let status = H5Rcreate(
            (&raw mut reference).cast(),
            location.id(),
            path.as_ptr(),
            H5R_OBJECT,
            -1,
        );
        write_ok(status, "refer to an object")
    })?;
    Ok(reference)
}

/// Whether a group has a link of this name, which contains no `/`.
pub(crate) fn has_link(group: &Handle, name: &str) -> Result<bool> {
    let name = c_string(name)?;
    // SAFETY: the name ends with a NUL and outlives the call.
    locked(
        || match unsafe { H5Lexists(group.id(), name.as_ptr(), H5P_DEFAULT) } {
            0 => Ok(false),
            1.. => Ok(true),
            _ => Err(failed(ErrorKind::Corrupt, "look up a link")),
        },
    )
}

/// Removes a link from a group.
pub(crate) fn unlink(group: &Handle, name: &str) -> Result<()> {
    let name = c_string(name)?;
    locked(|| {
        // SAFETY: the name ends with a NUL and outlives the call.
        let status = unsafe { H5Ldelete(group.id(), name.as_ptr(), H5P_DEFAULT) };
        write_ok(status, "remove a link")
    })
}

/// Moves a link from one group to another.
pub(crate) fn move_link(from: &Handle, name: &str, to: &Handle, new: &str) -> Result<()> {
    let (name, new) = (c_string(name)?, c_string(new)?);
    let links = crate::format::dataset::link_creation()?;
    locked(|| {
        // SAFETY: the names end with a NUL and outlive the call.
        let status = unsafe {
            H5Lmove(
                from.id(),
                name.as_ptr(),
                to.id(),
                new.as_ptr(),
                links.id(),
                H5P_DEFAULT,
            )
        };
        write_ok(status, "move a link")
    })
}

/// The names of all links of a group, except those that are not UTF-8.
pub(crate) fn link_names(group: &Handle) -> Result<Vec<String>> {
    let mut names = Vec::<CString>::new();
    // SAFETY: `names` outlives the call, and nothing else refers to it meanwhile.
    locked(|| unsafe {
        let status = H5Literate(
            group.id(),
            H5_index_t::H5_INDEX_NAME,
            H5_iter_order_t::H5_ITER_NATIVE,
            std::ptr::null_mut(),
            Some(collect_name),
            (&raw mut names).cast(),
        );
        read_ok(status, "list a group")
    })?;
    let names = names.into_iter();
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}

/// The names of all attributes of an object, except those that are not UTF-8.
pub(crate) fn attribute_names(object: &Handle) -> Result<Vec<String>> {
    let names = all_attribute_names(object)?.into_iter();
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}

/// The names of all attributes of an object.
pub(crate) fn all_attribute_names(object: &Handle) -> Result<Vec<CString>> {
    let mut names = Vec::<CString>::new();
    // SAFETY: `names` outlives the call, and nothing else refers to it meanwhile.
    locked(|| unsafe {
        let status = H5Aiterate2(
            object.id(),
            H5_index_t::H5_INDEX_NAME,
            H5_iter_order_t::H5_ITER_NATIVE,
            std::ptr::null_mut(),
            Some(collect_name),
            (&raw mut names).cast(),
        );
        read_ok(status, "list attributes")
    })?;
    Ok(names)
}

/// Adds a name to the `Vec<CString>` at `names`. The type of the other arguments depends on the
/// call and the version of the library.
unsafe extern "C" fn collect_name<Info>(
    _object: hid_t,
    name: *const c_char,
    _info: *const Info,
    names: *mut c_void,
) -> herr_t {
    // SAFETY: libhdf5 passes on the pointer that it was given, and a name that ends with a NUL.
    let (names, name) = unsafe { (&mut *names.cast::<Vec<CString>>(), CStr::from_ptr(name)) };
    names.push(name.to_owned());
    0
}

/// Frees the memory that the library allocated for elements of variable length.
///
/// # Safety
///
/// `elements` has as many elements as `space` selects, which the library read with the type
/// `memory`, and is not used afterwards.
pub(crate) unsafe fn reclaim(memory: &Handle, space: &Handle, elements: *mut c_void) {
    // SAFETY: as the caller promises.
    let status = locked(|| unsafe {
        #[cfg(not(hdf5_2))]
        use hdf5_metno_sys::h5d::H5Dvlen_reclaim as reclaim;
        #[cfg(hdf5_2)]
        use hdf5_metno_sys::h5t::H5Treclaim as reclaim;
        reclaim(memory.id(), space.id(), H5P_DEFAULT, elements)
    });
    if status < 0 {
        tracing::warn!("libhdf5 did not free memory that it had allocated");
    }
}
