//! Flushed records are synced, so that they survive a power failure.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::OpenMode;
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::syncs::assert_synced_as_asked;

#[test]
fn a_flush_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived() {
    let name = "a_flush_syncs_all_that_it_wrote_and_nothing_if_only_kills_are_to_be_survived";
    assert_synced_as_asked(name, |path, durability| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        options.durability(durability).open(path).unwrap()
    });
}
