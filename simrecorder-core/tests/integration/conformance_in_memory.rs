//! The in-memory store keeps the promises that every backend makes.

use std::sync::Arc;

use simrecorder_core::conformance::Harness;
use simrecorder_core::{DataStore, InMemoryDataStore, OpenMode, Result};

#[derive(Debug, Default)]
struct Memory(InMemoryDataStore);

impl Harness for Memory {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        Ok(Arc::new(self.0.open(mode)?))
    }

    fn another(&self) -> Box<dyn Harness> {
        Box::new(Self::default())
    }

    fn persists(&self) -> bool {
        false
    }

    fn many_writers(&self) -> bool {
        true
    }
}

simrecorder_core::conformance_tests!(Memory::default());
