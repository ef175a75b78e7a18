//! Creating and truncating a recording deletes only a recording or an empty folder.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{Error, ErrorKind, OpenMode, Recorder};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::lmdb;
use support::*;

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Result<ZarrDataStore, Error> {
    ZarrDataStore::options()
        .storage(storage)
        .mode(mode)
        .open(path)
}

/// Records one number, and closes the recording.
fn record(store: ZarrDataStore, number: u64) {
    let recorder = Recorder::new(store);
    recorder.record("n", number).unwrap();
    recorder.close().unwrap();
}

fn numbers(path: &Path, storage: ZarrStorage) -> Vec<u64> {
    let recorder = Recorder::new(open(path, storage, OpenMode::Read).unwrap());
    let numbers = recorder.get_all("n").unwrap().read().unwrap();
    numbers.into_raw_vec_and_offset().0
}

/// Truncating fails with an error that contains `parts`, and changes no file.
#[track_caller]
fn not_erased(folder: &Path, path: &Path, storage: ZarrStorage, parts: &[&str]) {
    let before = all_files(folder);
    let error = open(path, storage, OpenMode::Truncate).unwrap_err();
    expect(error, ErrorKind::InvalidArgument, parts);
    let is_lock = |path: &Path| path.ends_with("lock.mdb");
    let mut after = all_files(folder);
    after.retain(|(path, _)| !is_lock(path));
    let before = before.into_iter().filter(|(path, _)| !is_lock(path));
    assert!(before.eq(after), "files changed");
}

#[test]
fn truncating_leaves_a_zarr_directory_of_other_software_alone() {
    const GROUP: &str = r#"{"zarr_format":3,"node_type":"group","attributes":{"a":1}}"#;
    for (metadata, what) in [(GROUP, "other software"), ("{", "damaged")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        fs::create_dir_all(path.join("x/c")).unwrap();
        fs::write(path.join("zarr.json"), metadata).unwrap();
        fs::write(path.join("x/c/0"), "chunk").unwrap();
        not_erased(
            folder.path(),
            &path,
            ZarrStorage::Directory,
            &["run.zarr", what],
        );
    }
    // A part of a recording is not a recording.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = open(&path, ZarrStorage::Directory, OpenMode::CreateNew).unwrap();
    let recorder = Recorder::new(recorder);
    recorder.record("net/v", 1.0).unwrap();
    recorder.close().unwrap();
    let group = path.join("net");
    not_erased(folder.path(), &group, ZarrStorage::Directory, &["net"]);
}

#[test]
fn truncating_a_directory_names_files_that_are_not_part_of_it() {
    for name in ["notes.txt", "net/plot.png"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        record(
            open(&path, ZarrStorage::Directory, OpenMode::CreateNew).unwrap(),
            1,
        );
        fs::create_dir_all(path.join("net")).unwrap();
        fs::write(path.join(name), "mine").unwrap();
        not_erased(
            folder.path(),
            &path,
            ZarrStorage::Directory,
            &["run.zarr", name],
        );
        fs::remove_file(path.join(name)).unwrap();
        record(
            open(&path, ZarrStorage::Directory, OpenMode::Truncate).unwrap(),
            2,
        );
        assert_eq!(numbers(&path, ZarrStorage::Directory), [2]);
    }
}

#[test]
fn files_of_other_software_next_to_a_directory_stay() {
    let names = [
        "run.zarr.journal",
        "run.zarr.journal.tmp/notes.txt",
        "run.zarr.lock",
    ];
    for name in names {
        for is_there in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run.zarr");
            if is_there {
                record(
                    open(&path, ZarrStorage::Directory, OpenMode::CreateNew).unwrap(),
                    1,
                );
            }
            let beside = folder.path().join(name);
            fs::create_dir_all(beside.parent().unwrap()).unwrap();
            fs::write(&beside, "Dear diary").unwrap();
            let before = all_files(folder.path());
            for mode in [OpenMode::OpenOrCreate, OpenMode::Truncate, OpenMode::Append] {
                if mode == OpenMode::Append && !is_there {
                    continue;
                }
                let error = open(&path, ZarrStorage::Directory, mode).unwrap_err();
                let beside = name.split('/').next().unwrap();
                assert!(error.to_string().contains(beside), "{error}");
            }
            assert!(before == all_files(folder.path()), "{name} {is_there}");
        }
    }
}

#[test]
fn truncating_leaves_an_lmdb_database_of_other_software_alone() {
    // Not written by this library.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    lmdb::recording(&path);
    fs::remove_file(path.join("writer.lock")).unwrap();
    not_erased(
        folder.path(),
        &path,
        ZarrStorage::Lmdb,
        &["run.mdb", "LMDB"],
    );
    assert_eq!(
        lmdb::refused(&path, OpenMode::Truncate).kind(),
        ErrorKind::InvalidArgument
    );
    assert!(!path.join("writer.lock").exists());
    // Written through the storage, by other software.
    let path = folder.path().join("zarrs.mdb");
    lmdb::recording(&path);
    not_erased(
        folder.path(),
        &path,
        ZarrStorage::Lmdb,
        &["zarrs.mdb", "LMDB"],
    );
    let storage = lmdb::open(&path, OpenMode::Append);
    let group = r#"{"zarr_format":3,"node_type":"group"}"#;
    lmdb::set(&storage, "zarr.json", group);
    drop(storage);
    not_erased(
        folder.path(),
        &path,
        ZarrStorage::Lmdb,
        &["zarrs.mdb", "Zarr"],
    );
    // Next to files of other software, only the files of LMDB are deleted.
    let path = folder.path().join("notes.mdb");
    record(
        open(&path, ZarrStorage::Lmdb, OpenMode::CreateNew).unwrap(),
        1,
    );
    fs::write(path.join("notes.txt"), "mine").unwrap();
    record(
        open(&path, ZarrStorage::Lmdb, OpenMode::Truncate).unwrap(),
        2,
    );
    assert_eq!(numbers(&path, ZarrStorage::Lmdb), [2]);
    assert_eq!(fs::read(path.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn truncating_erases_a_recording_or_an_empty_folder() {
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::create_dir(&path).unwrap();
        record(open(&path, storage, OpenMode::Truncate).unwrap(), 1);
        record(open(&path, storage, OpenMode::Truncate).unwrap(), 2);
        assert_eq!(numbers(&path, storage), [2]);
        // A recording without records, and one that was only flushed.
        drop(open(&path, storage, OpenMode::Truncate).unwrap());
        let store = open(&path, storage, OpenMode::Truncate).unwrap();
        let recorder = Recorder::new(store);
        recorder.record("n", 3_u64).unwrap();
        recorder.flush().unwrap();
        drop(recorder);
        record(open(&path, storage, OpenMode::Truncate).unwrap(), 4);
        assert_eq!(numbers(&path, storage), [4]);
    }
}
