//! Flushed records are synced, so that they survive a power failure.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::OpenMode;
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::syncs::assert_synced_as_asked;

fn check(test: &str, storage: ZarrStorage) {
    assert_synced_as_asked(test, |path, durability| {
        let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
        let options = options.storage(storage).durability(durability);
        options.open(path).unwrap()
    });
}

#[test]
fn a_flush_to_lmdb_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived() {
    let name =
        "a_flush_to_lmdb_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived";
    check(name, ZarrStorage::Lmdb);
}

#[test]
fn a_flush_to_a_directory_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived() {
    let name = "a_flush_to_a_directory_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived";
    check(name, ZarrStorage::Directory);
}
