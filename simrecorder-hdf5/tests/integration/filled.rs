//! Series that begin with filled records: in the file, in other software, and after kills.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{DataStore, OpenMode};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support::filled::{
    append_after_filled, assert_filled_series_survive_a_kill, check_after_filled, declare_filled,
};
use crate::support::{allocated_bytes, assert_success, python};

fn open(path: &Path, mode: OpenMode) -> Hdf5DataStore {
    Hdf5DataStore::options().mode(mode).open(path).unwrap()
}

#[test]
fn h5py_and_xarray_show_the_fill_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let store = open(&path, OpenMode::CreateNew);
    declare_filled(&store);
    let read = |count: u64| {
        let mut program = python("read_filled.py");
        assert_success(program.arg(&path).arg(count.to_string()));
    };
    let mut count = 0;
    for appended in [0, 1, 14, 30] {
        append_after_filled(&store, count..count + appended);
        count += appended;
        check_after_filled(&store, count);
        store.checkpoint().unwrap();
        read(count);
    }
    store.close().unwrap();
    read(count);
    let bytes = allocated_bytes(folder.path());
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn filled_series_in_hdf5_survive_a_kill() {
    assert_filled_series_survive_a_kill("filled_series_in_hdf5_survive_a_kill", open);
}

#[test]
fn a_follower_sees_records_after_the_filled_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let writer = open(&path, OpenMode::CreateNew);
    declare_filled(&writer);
    let reader = open(&path, OpenMode::Read);
    check_after_filled(&reader, 0);
    for count in 0..30 {
        append_after_filled(&writer, count..count + 1);
        check_after_filled(&reader, count + 1);
        if count % 10 == 9 {
            writer.checkpoint().unwrap();
            check_after_filled(&reader, count + 1);
        }
    }
}
