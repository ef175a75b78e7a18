//! Looking for documents.

use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::metadata::Document;
use crate::format::node_path::{METADATA_OF_ZARR_V2, entry, metadata_entry};
use crate::storage::Snapshot;

/// The document at `path` in a snapshot.
pub(crate) fn document_at(snapshot: &dyn Snapshot, path: &str) -> Result<Option<Document>> {
    if let Some(bytes) = snapshot.get(&metadata_entry(path))? {
        return Document::parse(&bytes).map(Some);
    }
    for name in METADATA_OF_ZARR_V2 {
        if snapshot.get(&entry(path, name))?.is_some() {
            let message = "this is Zarr V2; simrecorder reads Zarr V3";
            return Err(Error::new(ErrorKind::Unsupported, "read metadata", message));
        }
    }
    Ok(None)
}
