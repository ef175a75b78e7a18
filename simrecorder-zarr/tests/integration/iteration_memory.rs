//! Iterating over a series takes bounded memory, however long the series is.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::Durability;
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::memory::assert_iteration_is_bounded;

fn check(test: &str, storage: ZarrStorage) {
    assert_iteration_is_bounded(test, |path, mode| {
        let options = ZarrDataStore::options().mode(mode).storage(storage);
        options.durability(Durability::Process).open(path).unwrap()
    });
}

#[test]
fn iterating_over_a_long_series_in_lmdb_takes_bounded_memory() {
    let name = "iterating_over_a_long_series_in_lmdb_takes_bounded_memory";
    check(name, ZarrStorage::Lmdb);
}

#[test]
fn iterating_over_a_long_series_in_a_directory_takes_bounded_memory() {
    let name = "iterating_over_a_long_series_in_a_directory_takes_bounded_memory";
    check(name, ZarrStorage::Directory);
}
