//! The root group: the version of the recording, and the id that its journal contains.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use hdf5_metno_sys::h5f::{
    H5F_ACC_TRUNC, H5F_libver_t, H5F_scope_t, H5Fcreate, H5Fflush, H5Fget_file_image,
};
use hdf5_metno_sys::h5p::{
    H5P_CLS_FILE_ACCESS, H5P_DEFAULT, H5Pset_fapl_core, H5Pset_libver_bounds,
};
use serde_json::{Value as Json, json};
use simrecorder_core::backend::random_number;
use simrecorder_core::{Error, ErrorKind, RecordingInfo, Result};

use crate::driver::superblock::renew_checksum;
use crate::format::attributes::{self, Metadata, read_metadata, write_metadata};
use crate::format::node::{FORMAT, check_version};
use crate::library::{Handle, failed, locked, open_object, property_list, write_ok};

/// The unique id of a recording.
pub(crate) type FileId = [u8; 16];

const ID: &str = "id";
const CUT_BASE: &str = "cut_base";

/// The maximum number of cuts of a dataset.
const MAX_CUTS: u64 = 1 << 20;

/// The attribute of the root of a file that is being written, or was not closed.
const UNFINISHED: &str = attributes::UNFINISHED;

/// The text that other software shows for such a file.
const UNFINISHED_TEXT: &str = "This file is being written, or its writer ended without close(): \
    newer records are in the file of the same name with .journal at its end. Close all other programs \
    that have it open, then open it with simrecorder for appending and close it.";

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

fn id_of(metadata: &Metadata) -> Option<FileId> {
    let text = metadata.get(ID)?.as_str()?;
    let number = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32)?;
    Some(number.to_be_bytes())
}

fn mark_root(metadata: &mut Metadata, id: FileId) {
    metadata.insert("format".into(), json!(FORMAT));
    metadata.insert("requires".into(), json!([]));
    metadata.insert(
        "writer".into(),
        json!(concat!("simrecorder ", env!("CARGO_PKG_VERSION"))),
    );
    metadata.insert(ID.into(), json!(id_text(id)));
}

/// Creates an HDF5 file without nodes.
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
/// The file is created in memory: processes that other threads start meanwhile would inherit a file
/// that libhdf5 has open, with its lock, as long as they run.
fn empty_image(id: FileId) -> Result<Vec<u8>> {
    let what = "create an empty file";
    locked(|| {
        let access = property_list(*H5P_CLS_FILE_ACCESS)?;
        // SAFETY: the list is ours; the name ends with a NUL; `image` has room for the requested
        // size, which is the whole file.
        unsafe {
            let (low, high) = (H5F_libver_t::H5F_LIBVER_V18, H5F_libver_t::H5F_LIBVER_V110);
            write_ok(H5Pset_libver_bounds(access.id(), low, high), what)?;
            write_ok(H5Pset_fapl_core(access.id(), 1 << 16, 0), what)?;
            let name = c"simrecorder".as_ptr();
            let file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access.id());
            let file = Handle::write(file, what)?;
            let root = open_object(&file, "/")?;
            let mut metadata = Metadata::new();
            mark_root(&mut metadata, id);
            write_metadata(&root, metadata)?;
            mark_unfinished(&root)?;
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
            // libhdf5 removes the marks of an open file from the image, but does not update the
            // checksum.
            renew_checksum(&mut image);
            Ok(image)
        }
    })
}

/// Adds what the root group says about a recording.
pub(crate) fn add_info(root: &Handle, info: &mut RecordingInfo) -> Result<()> {
    info.add_root(&read_metadata(root)?.unwrap_or_default());
    Ok(())
}

/// Checks the version of a recording, and returns its id; `None` for a file of other software.
pub(crate) fn read_id(root: &Handle) -> Result<Option<FileId>> {
    let metadata = read_metadata(root)?.unwrap_or_default();
    check_version(&metadata)?;
    Ok(id_of(&metadata))
}

/// The number from which the cuts of new datasets are counted.
pub(crate) fn cut_base(root: &Handle) -> Result<u64> {
    let metadata = read_metadata(root)?.unwrap_or_default();
    Ok(metadata.get(CUT_BASE).and_then(Json::as_u64).unwrap_or(0))
}

/// Raises that number above the cuts of all existing datasets, so that a dataset that replaces a
/// removed one has a different number.
pub(crate) fn raise_cut_base(root: &Handle) -> Result<u64> {
    let base = cut_base(root)? + MAX_CUTS;
    let mut metadata = read_metadata(root)?.unwrap_or_default();
    metadata.insert(CUT_BASE.into(), json!(base));
    write_metadata(root, metadata)?;
    Ok(base)
}

/// Whether this library created the file or wrote to it, in any version.
pub(crate) fn is_recording(root: &Handle) -> Result<bool> {
    let metadata = read_metadata(root)?;
    Ok(metadata.is_some_and(|metadata| id_of(&metadata).is_some()))
}

/// Marks a file that is being written with an attribute. Returns whether the mark is new.
///
/// libhdf5 shows the attribute to other software, which sees the file as of its last checkpoint.
pub(crate) fn mark_unfinished(root: &Handle) -> Result<bool> {
    let is_marked = attributes::open(root, UNFINISHED)?.is_some();
    if !is_marked {
        attributes::write_note(root, UNFINISHED, UNFINISHED_TEXT)?;
    }
    Ok(!is_marked)
}

/// Removes the attribute.
pub(crate) fn unmark_unfinished(root: &Handle) -> Result<()> {
    attributes::remove_if_there(root, UNFINISHED)
}

/// Makes a file of other software a recording with this id.
pub(crate) fn write_id(root: &Handle, id: FileId) -> Result<()> {
    let mut metadata = read_metadata(root)?.unwrap_or_default();
    mark_root(&mut metadata, id);
    write_metadata(root, metadata)
}
