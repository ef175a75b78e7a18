//! The root group: the version of the recording, and the number by which its journal knows it.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hdf5_metno_sys::h5f::{H5F_ACC_EXCL, H5F_libver_t, H5Fcreate};
use hdf5_metno_sys::h5p::{H5P_CLS_FILE_ACCESS, H5P_DEFAULT, H5Pset_libver_bounds};
use serde_json::json;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::attributes::{Own, read_own, write_own};
use crate::library::{Handle, locked, open_object, property_list, write_ok};
use crate::node::{FORMAT, check_version};
use crate::recording::OpenFile;

/// A number that no other recording has.
pub(crate) type FileId = [u8; 16];

const ID: &str = "id";

pub(crate) fn new_id() -> FileId {
    let mut id = [0; 16];
    for half in id.as_chunks_mut::<8>().0 {
        // Its keys are random.
        *half = RandomState::new().build_hasher().finish().to_le_bytes();
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

/// Makes an HDF5 file without nodes, through the library's own driver.
pub(crate) fn create_file(path: &Path, id: FileId) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "open", "a path holds no NUL").with_source(error)
    })?;
    locked(|| {
        let access = property_list(*H5P_CLS_FILE_ACCESS)?;
        // SAFETY: the list is ours; the name ends with a NUL and outlives the call.
        unsafe {
            let (low, high) = (H5F_libver_t::H5F_LIBVER_V18, H5F_libver_t::H5F_LIBVER_V110);
            let status = H5Pset_libver_bounds(access.id(), low, high);
            write_ok(status, "choose the version of the file")?;
            let id_of_file = H5Fcreate(name.as_ptr(), H5F_ACC_EXCL, H5P_DEFAULT, access.id());
            let file = Handle::write(id_of_file, "make a file")?;
            let root = open_object(&file, "/")?;
            let mut own = Own::new();
            note_root(&mut own, id);
            write_own(&root, own)?;
            drop(root);
            file.close("close a new file")
        }
    })
}

/// Checks the version of a recording, and that its journal is its own.
pub(crate) fn check(open: &OpenFile) -> Result<()> {
    let own = read_own(&open.root)?.unwrap_or_default();
    check_version(&own)?;
    match (open.log.file_id(), noted_id(&own)) {
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
    if is_new {
        note_root(&mut own, id);
        write_own(&open.root, own)?;
    }
    Ok(is_new)
}
