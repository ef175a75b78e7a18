//! Zarr V2, read only.
//!
//! [`ZarrV2Storage`] shows the metadata of Zarr V2 as that of Zarr V3. Chunks are the same in both
//! versions except for their keys, which Zarr V3 can describe. So everything above the storage
//! reads both versions.

mod codecs;
mod metadata;
mod python_json;

use std::fmt;

use simrecorder_core::{Error, ErrorKind, RecordingInfo, Result};

use crate::format::metadata::Document;
use crate::format::node_path::{ESCAPE, METADATA_OF_ZARR_V2, entry, escaped, metadata_entry};
use crate::storage::{Change, Entry, Snapshot, Storage};

/// A storage with a hierarchy of Zarr V2.
pub(crate) struct ZarrV2Storage(Box<dyn Storage>);

impl ZarrV2Storage {
    /// Shows a storage that is open for reading as Zarr V3, if it is Zarr V2.
    pub(crate) fn show(storage: Box<dyn Storage>) -> Result<Box<dyn Storage>> {
        Ok(match is_zarr_v2(&*storage)? {
            true => Box::new(Self(storage)),
            false => storage,
        })
    }
}

/// Whether the root of a storage is a node of Zarr V2.
pub(crate) fn is_zarr_v2(storage: &dyn Storage) -> Result<bool> {
    let mut is_v2 = false;
    storage.read(&mut |snapshot| {
        is_v2 = false;
        if snapshot.entry(&metadata_entry(""))?.is_none() {
            for name in METADATA_OF_ZARR_V2 {
                is_v2 |= snapshot.entry(name)?.is_some();
            }
        }
        Ok(())
    })?;
    Ok(is_v2)
}

/// The error for opening Zarr V2 for writing.
pub(crate) fn read_only() -> Error {
    let message = "this is Zarr V2, which simrecorder reads and does not write; copy it into a new \
                   recording, and write there";
    Error::new(ErrorKind::Unsupported, "open", message)
}

impl fmt::Debug for ZarrV2Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ZarrV2Storage").field(&self.0).finish()
    }
}

impl Storage for ZarrV2Storage {
    fn read(&self, read: &mut dyn FnMut(&dyn Snapshot) -> Result<()>) -> Result<()> {
        self.0.read(&mut |snapshot| read(&ZarrV2Snapshot(snapshot)))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.0.commit(changes)
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.0.close()
    }

    fn keeps_chunks_of_zarr_v3(&self) -> bool {
        false
    }

    fn add_info(&self, info: &mut RecordingInfo) -> Result<()> {
        self.0.add_info(info)?;
        info.format = info.format.replace("V3", "V2");
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        true
    }
}

struct ZarrV2Snapshot<'a>(&'a dyn Snapshot);

impl Snapshot for ZarrV2Snapshot<'_> {
    fn entry(&self, key: &str) -> Result<Option<Entry<'_>>> {
        self.0.entry(&unescaped(key))
    }

    fn document(&self, path: &str) -> Result<Option<Document>> {
        let path = unescaped(path);
        let get = |name| self.0.get(&entry(&path, name));
        if let Some(array) = get(".zarray")? {
            return metadata::array(&array, get(".zattrs")?.as_deref()).map(Some);
        }
        if let Some(group) = get(".zgroup")? {
            return metadata::group(&group, get(".zattrs")?.as_deref()).map(Some);
        }
        if self.0.entry(&metadata_entry(&path))?.is_some() {
            let message = "this is Zarr V3 within Zarr V2, which simrecorder does not \
                read; open it on its own";
            return Err(Error::new(ErrorKind::Unsupported, "read metadata", message));
        }
        Ok(None)
    }

    fn tail(&self, _array: &str) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn tail_len(&self, _array: &str) -> Result<u64> {
        Ok(0)
    }

    fn tail_end(&self, _array: &str, _bytes: u64) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn tails(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn bytes_below(&self, path: &str) -> Result<u64> {
        let path = unescaped(path);
        let mut bytes = self.0.bytes_below(&path)?;
        for name in [".zarray", ".zgroup", ".zattrs"] {
            let metadata = self.0.entry(&entry(&path, name))?;
            bytes -= metadata
                .map_or(0, |metadata| metadata.len() as u64)
                .min(bytes);
        }
        Ok(bytes)
    }

    fn children(&self, path: &str) -> Result<Vec<String>> {
        let names = self.0.children(&unescaped(path))?.into_iter();
        Ok(names.map(escaped).collect())
    }
}

/// A path without the escapes that Zarr V3 needs. Zarr V2 reserves no such names.
fn unescaped(path: &str) -> String {
    let names = path
        .split('/')
        .map(|name| name.strip_prefix(ESCAPE).unwrap_or(name));
    names.collect::<Vec<_>>().join("/")
}
