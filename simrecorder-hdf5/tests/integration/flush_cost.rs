//! The cost of a flush depends only on the new records.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::{Durability, OpenMode};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::flush_cost::assert_flushes_write_what_is_new;

#[test]
fn flushes_of_a_thousand_slow_series_rewrite_no_chunks() {
    let name = "flushes_of_a_thousand_slow_series_rewrite_no_chunks";
    assert_flushes_write_what_is_new(name, |path| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        options.durability(Durability::Process).open(path).unwrap()
    });
}
