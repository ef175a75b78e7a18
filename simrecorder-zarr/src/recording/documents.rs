//! Finding documents.

use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::metadata::Document;
use crate::format::node_path::{METADATA_OF_ZARR_V2, entry};
use crate::storage::Snapshot;

/// The document at `path` in a snapshot.
pub(crate) fn document_at(snapshot: &dyn Snapshot, path: &str) -> Result<Option<Document>> {
    if let Some(document) = snapshot.document(path)? {
        return Ok(Some(document));
    }
    for name in METADATA_OF_ZARR_V2 {
        if snapshot.entry(&entry(path, name))?.is_some() {
            let message = "this is Zarr V2 within Zarr V3, which simrecorder does not \
                read; open it on its own";
            return Err(Error::new(ErrorKind::Unsupported, "read metadata", message));
        }
    }
    Ok(None)
}
