//! Zarr in a directory keeps the promises that every backend makes.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::sync::Arc;

use simrecorder_core::conformance::Harness;
use simrecorder_core::{DataStore, Durability, OpenMode, Result};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
use tempfile::TempDir;

#[derive(Debug)]
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

// The suite makes thousands of commits; other tests wait for the disk.
impl Harness for Directory {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        let path = self.0.path().join("run.zarr");
        Ok(Arc::new(
            ZarrDataStore::options()
                .mode(mode)
                .durability(Durability::Process)
                .storage(ZarrStorage::Directory)
                .open(path)?,
        ))
    }

    fn another(&self) -> Box<dyn Harness> {
        Box::new(Self::new())
    }

    fn longest_key(&self) -> usize {
        200
    }
}

simrecorder_core::conformance_tests!(Directory::new());
