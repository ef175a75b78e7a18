//! HDF5 keeps the promises that every backend makes.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::sync::Arc;

use simrecorder_core::conformance::Harness;
use simrecorder_core::{DataStore, Durability, OpenMode, Result};
use simrecorder_hdf5::Hdf5DataStore;
use tempfile::TempDir;

#[derive(Debug)]
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

// The suite makes thousands of commits; other tests wait for the disk.
impl Harness for File {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        let path = self.0.path().join("run.h5");
        Ok(Arc::new(
            Hdf5DataStore::options()
                .mode(mode)
                .durability(Durability::Process)
                .open(path)?,
        ))
    }

    fn another(&self) -> Box<dyn Harness> {
        Box::new(Self::new())
    }
}

simrecorder_core::conformance_tests!(File::new());
