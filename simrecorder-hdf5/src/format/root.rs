//! The root group: the version of the recording, and the number by which its journal knows it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use hdf5_metno_sys::h5f::{
    H5F_ACC_TRUNC, H5F_libver_t, H5F_scope_t, H5Fcreate, H5Fflush, H5Fget_file_image,
};
use hdf5_metno_sys::h5p::{
    H5P_CLS_FILE_ACCESS, H5P_DEFAULT, H5Pset_fapl_core, H5Pset_libver_bounds,
};
use serde_json::json;
use simrecorder_core::backend::random_number;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::driver::superblock::renew_checksum;
use crate::format::attributes::{Own, read_own, write_own};
use crate::format::node::{FORMAT, check_version};
use crate::library::{Handle, failed, locked, open_object, property_list, write_ok};
use crate::recording::OpenFile;

/// A number that no other recording has.
pub(crate) type FileId = [u8; 16];

const ID: &str = "id";

pub(crate) fn new_id() -> FileId {
    let mut id = [0; 16];
    for half in id.as_chunks_mut::<8>().0 {
        *half = random_number().to_le_bytes();
    }
    id
}

fn id_text(id: FileId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn noted_id(own: &Own) -> Option<FileId> {
    let text = own.get(ID)?.as_str()?;
    let number = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32)?;
    Some(number.to_be_bytes())
}

fn note_root(own: &mut Own, id: FileId) {
    own.insert("format".into(), json!(FORMAT));
    own.insert("requires".into(), json!([]));
    own.insert(
        "writer".into(),
        json!(concat!("simrecorder ", env!("CARGO_PKG_VERSION"))),
    );
    own.insert(ID.into(), json!(id_text(id)));
}

/// Makes an HDF5 file without nodes.
pub(crate) fn create_file(path: &Path, id: FileId) -> Result<()> {
    let image = empty_image(id)?;
    let mut options = File::options();
    let created = options.write(true).create_new(true).open(path);
    created
        .and_then(|mut file| file.write_all(&image))
        .map_err(|error| Error::io("open", path, error))
}

/// The bytes of an HDF5 file without nodes.
///
/// It is made in memory: processes that are started meanwhile by other threads would inherit a file
/// that libhdf5 has open, and its lock, for as long as they run.
fn empty_image(id: FileId) -> Result<Vec<u8>> {
    let what = "make an empty file";
    locked(|| {
        let access = property_list(*H5P_CLS_FILE_ACCESS)?;
        // SAFETY: the list is ours; the name ends with a NUL; `image` has room for what is asked for,
        // which is all of the file.
        unsafe {
            let (low, high) = (H5F_libver_t::H5F_LIBVER_V18, H5F_libver_t::H5F_LIBVER_V110);
            write_ok(H5Pset_libver_bounds(access.id(), low, high), what)?;
            write_ok(H5Pset_fapl_core(access.id(), 1 << 16, 0), what)?;
            let name = c"simrecorder".as_ptr();
            let file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access.id());
            let file = Handle::write(file, what)?;
            let root = open_object(&file, "/")?;
            let mut own = Own::new();
            note_root(&mut own, id);
            write_own(&root, own)?;
            drop(root);
            write_ok(H5Fflush(file.id(), H5F_scope_t::H5F_SCOPE_LOCAL), what)?;
            let mut image = Vec::new();
            let len = H5Fget_file_image(file.id(), std::ptr::null_mut(), 0);
            image.resize(usize::try_from(len).unwrap_or(0), 0);
            let read = H5Fget_file_image(file.id(), image.as_mut_ptr().cast(), image.len());
            if read <= 0 || read != len {
                return Err(failed(ErrorKind::Io, what));
            }
            file.close(what)?;
            // The library takes marks of an open file out of the image, and leaves the checksum.
            renew_checksum(&mut image);
            Ok(image)
        }
    })
}

/// Checks the version of a recording, and that its journal is its own.
pub(crate) fn check(open: &OpenFile) -> Result<()> {
    let own = read_own(&open.root)?.unwrap_or_default();
    check_version(&own)?;
    let noted = noted_id(&own);
    if let Some(id) = noted {
        open.set_id(id);
    }
    match (open.log.file_id(), noted) {
        (Some(of_journal), Some(of_file)) if of_journal != of_file => {
            let message =
                "the journal beside the file belongs to another file; move one of them away";
            Err(Error::new(ErrorKind::Corrupt, "open", message))
        }
        _ => Ok(()),
    }
}

/// Gives a file that is written the marks of a recording, if it has none; returns whether that
/// changed it.
pub(crate) fn mark(open: &OpenFile) -> Result<bool> {
    let mut own = read_own(&open.root)?.unwrap_or_default();
    let (id, is_new) = match noted_id(&own) {
        Some(id) => (id, false),
        None => (open.log.file_id().unwrap_or_else(new_id), true),
    };
    open.log.set_file_id(id)?;
    open.set_id(id);
    if is_new {
        note_root(&mut own, id);
        write_own(&open.root, own)?;
    }
    Ok(is_new)
}
