//! The anonymous memory of a process that records into Zarr stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{Durability, OpenMode};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::memory::{
    assert_large_noise_takes_the_memory_of_one, assert_large_records_take_the_memory_of_one,
    assert_timeline_stays_within_the_bound, exceeded,
};

/// One test contains all cases, because they measure the whole process.
#[test]
fn memory_stays_within_the_bound_with_one_key_and_with_ten_thousand() {
    let mut failures = Vec::new();
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        let create = |folder: &Path| store_in(folder, storage);
        failures.extend(exceeded(&format!("{storage:?}"), create));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn store_in(folder: &Path, storage: ZarrStorage) -> ZarrDataStore {
    let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
    let options = options.storage(storage).durability(Durability::Process);
    options.open(folder.join("run")).unwrap()
}

#[test]
fn memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series_in_lmdb() {
    let test = "memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series_in_lmdb";
    let create = |folder: &Path| store_in(folder, ZarrStorage::Lmdb);
    assert_timeline_stays_within_the_bound(test, create);
}

#[test]
fn memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series_in_a_directory() {
    let test =
        "memory_stays_within_the_bound_with_a_timeline_of_ten_thousand_series_in_a_directory";
    let create = |folder: &Path| store_in(folder, ZarrStorage::Directory);
    assert_timeline_stays_within_the_bound(test, create);
}

fn store(path: &Path, storage: ZarrStorage) -> ZarrDataStore {
    let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
    options.storage(storage).open(path).unwrap()
}

#[test]
fn large_records_in_lmdb_take_the_memory_of_one() {
    let test = "large_records_in_lmdb_take_the_memory_of_one";
    let create = |path: &Path| store(path, ZarrStorage::Lmdb);
    assert_large_records_take_the_memory_of_one(test, 0, create);
}

#[test]
fn large_records_in_a_directory_take_the_memory_of_one() {
    let test = "large_records_in_a_directory_take_the_memory_of_one";
    let create = |path: &Path| store(path, ZarrStorage::Directory);
    assert_large_records_take_the_memory_of_one(test, 0, create);
}

#[test]
fn large_noise_in_lmdb_takes_the_memory_of_one_record() {
    let test = "large_noise_in_lmdb_takes_the_memory_of_one_record";
    let create = |path: &Path| store(path, ZarrStorage::Lmdb);
    assert_large_noise_takes_the_memory_of_one(test, 0, create);
}

#[test]
fn large_noise_in_a_directory_takes_the_memory_of_one_record() {
    let test = "large_noise_in_a_directory_takes_the_memory_of_one_record";
    let create = |path: &Path| store(path, ZarrStorage::Directory);
    assert_large_noise_takes_the_memory_of_one(test, 0, create);
}

#[test]
fn large_records_in_two_stores_take_the_memory_of_one() {
    let test = "large_records_in_two_stores_take_the_memory_of_one";
    let create = |path: &Path| {
        let second = path.with_file_name("second");
        (
            store(path, ZarrStorage::Lmdb),
            store(&second, ZarrStorage::Directory),
        )
    };
    assert_large_records_take_the_memory_of_one(test, 32 << 20, create);
}
