//! Iterating over a series takes bounded memory, however long the series is.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::Durability;
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::memory::assert_iteration_is_bounded;

#[test]
fn iterating_over_a_long_series_takes_bounded_memory() {
    let name = "iterating_over_a_long_series_takes_bounded_memory";
    assert_iteration_is_bounded(name, |path, mode| {
        let options = Hdf5DataStore::options().mode(mode);
        options.durability(Durability::Process).open(path).unwrap()
    });
}
