//! The cost of a flush depends only on the new records.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::{Durability, OpenMode};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::flush_cost::assert_flushes_write_what_is_new;

fn check(test: &str, storage: ZarrStorage) {
    assert_flushes_write_what_is_new(test, |path| {
        let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
        let options = options.storage(storage).durability(Durability::Process);
        options.open(path).unwrap()
    });
}

#[test]
fn flushes_of_a_thousand_slow_series_rewrite_no_chunks_in_lmdb() {
    let name = "flushes_of_a_thousand_slow_series_rewrite_no_chunks_in_lmdb";
    check(name, ZarrStorage::Lmdb);
}

#[test]
fn flushes_of_a_thousand_slow_series_rewrite_no_chunks_in_a_directory() {
    let name = "flushes_of_a_thousand_slow_series_rewrite_no_chunks_in_a_directory";
    check(name, ZarrStorage::Directory);
}
