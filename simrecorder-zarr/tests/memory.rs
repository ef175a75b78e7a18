//! Anonymous memory of a process that records into Zarr stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use simrecorder_core::{Durability, OpenMode};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::memory::exceeded;

/// All cases stand in one test: they measure the whole process.
#[test]
fn memory_stays_within_the_bound_with_one_key_and_with_ten_thousand() {
    let mut failures = Vec::new();
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        failures.extend(exceeded(&format!("{storage:?}"), |folder| {
            let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
            let options = options.storage(storage).durability(Durability::Process);
            options.open(folder.join("run")).unwrap()
        }));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
