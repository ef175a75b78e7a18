//! Creating and truncating a recording deletes only a recording or an empty file.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use simrecorder_core::{Error, ErrorKind, OpenMode, Recorder};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support::{all_files, assert_success, expect, python};

const WRITING: [OpenMode; 4] = [
    OpenMode::Append,
    OpenMode::OpenOrCreate,
    OpenMode::CreateNew,
    OpenMode::Truncate,
];

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore, Error> {
    Hdf5DataStore::options().mode(mode).open(path)
}

/// Records one number, and closes the recording.
fn record(store: Hdf5DataStore, number: u64) {
    let recorder = Recorder::new(store);
    recorder.record("n", number).unwrap();
    recorder.close().unwrap();
}

fn numbers(path: &Path) -> Vec<u64> {
    let recorder = Recorder::new(open(path, OpenMode::Read).unwrap());
    recorder
        .get_all("n")
        .unwrap()
        .read()
        .unwrap()
        .into_raw_vec_and_offset()
        .0
}

fn of_h5py(path: &Path) {
    assert_success(python("edit.py").arg("long").arg(path).arg("1000"));
}

#[test]
fn truncating_leaves_files_of_other_software_alone() {
    type Make = fn(&Path);
    let others: [(Make, &str); 5] = [
        (|path| fs::write(path, "a text").unwrap(), "not HDF5"),
        (|path| of_h5py(path), "an HDF5 file of other software"),
        (
            |path| {
                of_h5py(path);
                let whole = fs::read(path).unwrap();
                fs::write(path, &whole[..whole.len() / 2]).unwrap();
            },
            "a damaged HDF5 file",
        ),
        (
            |path| assert_success(Command::new("mkfifo").arg(path)),
            "not a file",
        ),
        (
            |path| std::os::unix::fs::symlink("nothing", path).unwrap(),
            "a symbolic link to nothing",
        ),
    ];
    for (make, what) in others {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.h5");
        make(&path);
        let content = |path: &Path| path.is_file().then(|| fs::read(path).unwrap());
        let before = content(&path);
        let error = open(&path, OpenMode::Truncate).unwrap_err();
        expect(error, ErrorKind::InvalidArgument, &["run.h5", what]);
        assert_eq!(content(&path), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn truncating_erases_a_recording_or_an_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    fs::write(&path, "").unwrap();
    record(open(&path, OpenMode::Truncate).unwrap(), 1);
    record(open(&path, OpenMode::Truncate).unwrap(), 2);
    assert_eq!(numbers(&path), [2]);
    // What a killed writer leaves.
    let store = open(&path, OpenMode::Append).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 3_u64).unwrap();
    recorder.flush().unwrap();
    let killed = folder.path().join("killed.h5");
    for suffix in ["", ".journal"] {
        let of = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(of(&path), of(&killed)).unwrap();
    }
    drop(recorder);
    record(open(&killed, OpenMode::Truncate).unwrap(), 4);
    assert_eq!(numbers(&killed), [4]);
    // Through a link, like all other modes.
    let link = folder.path().join("link.h5");
    std::os::unix::fs::symlink(&killed, &link).unwrap();
    record(open(&link, OpenMode::Truncate).unwrap(), 5);
    assert_eq!(numbers(&killed), [5]);
    // A file of other software that was recorded to is a recording.
    let adopted = folder.path().join("adopted.h5");
    of_h5py(&adopted);
    record(open(&adopted, OpenMode::Append).unwrap(), 6);
    record(open(&adopted, OpenMode::Truncate).unwrap(), 7);
    assert_eq!(numbers(&adopted), [7]);
}

#[test]
fn files_of_other_software_next_to_a_recording_stay() {
    for suffix in [".journal", ".journal.new", ".new"] {
        for is_there in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run.h5");
            if is_there {
                record(open(&path, OpenMode::CreateNew).unwrap(), 1);
            }
            let beside = folder.path().join(format!("run.h5{suffix}"));
            match suffix {
                ".new" => of_h5py(&beside),
                _ => fs::write(&beside, "Dear diary").unwrap(),
            }
            let before = all_files(folder.path());
            for mode in WRITING {
                let error = open(&path, mode).unwrap_err();
                let name = format!("run.h5{suffix}");
                match (mode, is_there) {
                    (OpenMode::Append, false) => assert_eq!(error.kind(), ErrorKind::NotFound),
                    (OpenMode::CreateNew, true) => {
                        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                    }
                    _ => assert!(error.to_string().contains(&name), "{mode}: {error}"),
                }
            }
            assert!(before == all_files(folder.path()), "{suffix} {is_there}");
            fs::remove_file(&beside).unwrap();
            record(open(&path, OpenMode::Truncate).unwrap(), 2);
            assert_eq!(numbers(&path), [2]);
        }
    }
}
