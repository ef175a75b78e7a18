//! The anonymous memory of a process that records into HDF5 stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{Durability, OpenMode, Recorder, RecorderOptions};
use simrecorder_hdf5::Hdf5DataStore;

mod support;

use support::memory::{
    assert_large_records_take_the_memory_of_one, assert_timeline_stays_within_the_bound, exceeded,
    peak_of,
};
use support::{assert_success, role, this_test};

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
fn memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series() {
    let test = "memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series";
    assert_timeline_stays_within_the_bound(test, |folder| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        let options = options.durability(Durability::Process);
        options.open(folder.join("run.h5")).unwrap()
    });
}

#[test]
fn large_records_in_hdf5_take_the_memory_of_one() {
    let test = "large_records_in_hdf5_take_the_memory_of_one";
    assert_large_records_take_the_memory_of_one(test, 8 << 20, |path| {
        let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
        options.open(path).unwrap()
    });
}

/// Commits each of these ticks of a large series and a thousand small ones. Returns the memory that
/// this took.
fn peak_of_ticks(folder: &Path, ticks: u64) -> u64 {
    const SMALL: u64 = 1000;
    let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
    let options = options.durability(Durability::Process);
    let store = options.open(folder.join(format!("{ticks}.h5"))).unwrap();
    let names: Vec<_> = (0..SMALL).map(|key| format!("small/{key}")).collect();
    peak_of(|| {
        let options = RecorderOptions::new().memory_bound(32 << 20);
        let recorder = Recorder::with_options(store, options);
        for tick in 0..ticks {
            recorder.record("large", [tick; 4096]).unwrap();
            for name in &names {
                recorder.record(name, tick).unwrap();
            }
            recorder.flush().unwrap();
        }
        let len = recorder.get_all(&names[7]).unwrap().len();
        assert_eq!(len, ticks);
        // Closing would fold the tails of the thousand others.
        std::mem::forget(recorder);
    })
}

#[test]
fn a_thousand_small_series_take_no_more_memory_the_more_often_they_are_committed() {
    let test = "a_thousand_small_series_take_no_more_memory_the_more_often_they_are_committed";
    let Some(folder) = role() else {
        let folder = tempfile::tempdir().unwrap();
        return assert_success(&mut this_test(test, folder.path()));
    };
    let few = peak_of_ticks(&folder, 270);
    let many = peak_of_ticks(&folder, 1100);
    // Each frame takes 40 bytes, and there would be as many frames as commits. In the longer run,
    // another journal replaces the first.
    assert!(many < few + (20 << 20), "{few} and {many} bytes");
}
