//! Anonymous memory of a process that records into HDF5 stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use simrecorder_core::{Durability, OpenMode};
use simrecorder_hdf5::Hdf5DataStore;

mod support;

use support::memory::{assert_large_records_take_the_memory_of_one, exceeded};

#[test]
fn memory_stays_within_the_bound_with_one_key_and_with_ten_thousand() {
    let failures = exceeded("hdf5", |folder| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        let options = options.durability(Durability::Process);
        options.open(folder.join("run.h5")).unwrap()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn large_records_in_hdf5_take_the_memory_of_one() {
    let test = "large_records_in_hdf5_take_the_memory_of_one";
    assert_large_records_take_the_memory_of_one(test, 8 << 20, |path| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        options.open(path).unwrap()
    });
}
