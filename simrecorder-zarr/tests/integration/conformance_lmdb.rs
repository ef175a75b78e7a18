//! Zarr over LMDB keeps the promises that every backend makes.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::sync::Arc;

use simrecorder_core::conformance::Harness;
use simrecorder_core::{DataStore, Durability, OpenMode, Result};
use simrecorder_zarr::ZarrDataStore;
use tempfile::TempDir;

#[derive(Debug)]
struct Lmdb(TempDir);

impl Lmdb {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

// The suite makes thousands of commits; other tests wait for the disk.
impl Harness for Lmdb {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        let path = self.0.path().join("run.mdb");
        Ok(Arc::new(
            ZarrDataStore::options()
                .mode(mode)
                .durability(Durability::Process)
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

simrecorder_core::conformance_tests!(Lmdb::new());
