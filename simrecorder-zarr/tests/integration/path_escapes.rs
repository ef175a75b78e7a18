//! Recordings from other people do not lead out of their directory, neither when reading nor when
//! writing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use simrecorder_core::{Error, ErrorKind, Key, OpenMode, Recorder, prelude::*};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::*;

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Result<Recorder, Error> {
    let options = ZarrDataStore::options().storage(storage).mode(mode);
    options.open(path).map(Recorder::new)
}

fn recording(path: &Path, storage: ZarrStorage) {
    let recorder = open(path, storage, OpenMode::CreateNew).unwrap();
    for i in 0..10_u64 {
        recorder.record("net/n", i).unwrap();
        recorder.record("other", i).unwrap();
    }
    recorder.close().unwrap();
}

#[track_caller]
fn check(recorder: &Recorder, key: &str) {
    let n = recorder.get_all(key).unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq(0..10));
}

#[test]
fn a_link_inside_a_directory_recording_is_followed_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, outside) = (folder.path().join("run"), folder.path().join("outside"));
    recording(&path, ZarrStorage::Directory);
    recording(&outside, ZarrStorage::Directory);
    let before = all_files(&outside);
    // A group, a chunk and metadata are elsewhere, and a folder leads to itself.
    fs::remove_dir_all(path.join("net")).unwrap();
    symlink(&outside, path.join("net")).unwrap();
    let chunk = chunks::place(&outside, "other/c/0").file;
    symlink(&chunk, path.join("other/c.1")).unwrap();
    symlink(".", path.join("circle")).unwrap();
    symlink(".", path.join("another")).unwrap();
    fs::create_dir(path.join("third")).unwrap();
    symlink(
        outside.join("other/zarr.json"),
        path.join("third/zarr.json"),
    )
    .unwrap();

    let recorder = open(&path, ZarrStorage::Directory, OpenMode::Read).unwrap();
    check(&recorder, "other");
    for key in ["net/n", "net/other", "circle/other", "third"] {
        let error = recorder.get_all(key).unwrap_err();
        expect(error, ErrorKind::InvalidArgument, &["symbolic link"]);
    }
    let keys = recorder.keys().unwrap_or_default();
    assert!(keys.iter().all(|key| key.as_str() != "net/n"), "{keys:?}");
    drop(recorder);

    for key in ["net/n", "net/new", "net/other", "third", "circle/new"] {
        let recorder = open(&path, ZarrStorage::Directory, OpenMode::Append).unwrap();
        let recorded = recorder.record(key, 1_u64).and_then(|()| recorder.flush());
        expect(
            recorded.unwrap_err(),
            ErrorKind::InvalidArgument,
            &["symbolic link"],
        );
        drop(recorder.close());
    }
    let recorder = open(&path, ZarrStorage::Directory, OpenMode::Append).unwrap();
    recorder.record("other", 10_u64).unwrap();
    recorder.close().unwrap();
    open(&path, ZarrStorage::Directory, OpenMode::Truncate)
        .unwrap()
        .close()
        .unwrap();
    assert_eq!(all_files(&outside), before);
}

#[test]
fn files_next_to_a_recording_may_not_be_links_or_pipes() {
    for (storage, names) in [
        (ZarrStorage::Directory, ["run.journal", "run.lock"]),
        (ZarrStorage::Lmdb, ["run/writer.lock", "run/lock.mdb"]),
    ] {
        for name in names {
            let folder = tempfile::tempdir().unwrap();
            let victim = folder.path().join("victim");
            fs::write(&victim, "precious").unwrap();
            let path = folder.path().join("run");
            recording(&path, storage);
            let link = folder.path().join(name);
            drop(fs::remove_file(&link));
            symlink(&victim, &link).unwrap();
            let error = open(&path, storage, OpenMode::Append).unwrap_err();
            expect(error, ErrorKind::InvalidArgument, &["symbolic link"]);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
            fs::remove_file(&link).unwrap();
            assert_success(Command::new("mkfifo").arg(&link));
            let error = open(&path, storage, OpenMode::Append).unwrap_err();
            expect(error, ErrorKind::InvalidArgument, &["no plain file"]);
        }
    }
}

#[test]
fn a_pipe_in_the_place_of_a_chunk_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    recording(&path, ZarrStorage::Directory);
    let chunk = chunks::place(&path, "net/n/c/0").file;
    fs::remove_file(&chunk).unwrap();
    assert_success(Command::new("mkfifo").arg(&chunk));
    let recorder = open(&path, ZarrStorage::Directory, OpenMode::Read).unwrap();
    let error = recorder
        .get_all("net/n")
        .unwrap()
        .read::<u64>()
        .unwrap_err();
    expect(error, ErrorKind::InvalidArgument, &["no plain file"]);
    check(&recorder, "other");
}

#[test]
fn a_pipe_in_the_place_of_the_data_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    recording(&path, ZarrStorage::Lmdb);
    fs::remove_file(path.join("data.mdb")).unwrap();
    assert_success(Command::new("mkfifo").arg(path.join("data.mdb")));
    for mode in [OpenMode::Read, OpenMode::Append, OpenMode::CreateNew] {
        let error = open(&path, ZarrStorage::Lmdb, mode).unwrap_err();
        expect(error, ErrorKind::Corrupt, &["not a file"]);
    }
}

#[test]
fn a_link_to_a_whole_recording_is_followed() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        recording(&folder.path().join("disk/run"), storage);
        let link = folder.path().join("link");
        symlink("disk/run", &link).unwrap();
        check(&open(&link, storage, OpenMode::Read).unwrap(), "net/n");
        let recorder = open(&link, storage, OpenMode::Append).unwrap();
        recorder.record("other", 10_u64).unwrap();
        recorder.close().unwrap();
        let recorder = open(&folder.path().join("disk/run"), storage, OpenMode::Read).unwrap();
        assert_eq!(recorder.get_all("other").unwrap().len(), 11);
    }
}

/// Whatever text a key is, nothing is written next to the recording.
#[test]
fn no_key_leads_out_of_a_recording() {
    let keys = [
        "../x",
        "a/../../x",
        "..",
        ".",
        "a/./b",
        "/etc/x",
        "//x",
        "a//b",
        "~/x",
        "\0",
        "a\0b",
        "zarr.json",
        "a/zarr.json",
        "c/0",
        "__x",
        "a/__tail",
        ".zgroup",
        "C:\\x",
        "..\\x",
        "a\nb",
        "con",
        "%2e%2e/x",
        "..%2fx",
        "a/.. ",
        "\u{202e}x",
        "x ",
        "data.mdb",
        "writer.lock",
    ];
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let recorder = open(&path, storage, OpenMode::CreateNew).unwrap();
        let mut taken = Vec::new();
        for key in keys {
            match recorder.record(key, 1_u64) {
                Ok(()) => taken.push(key),
                Err(error) => expect(error, ErrorKind::InvalidKey, &[]),
            }
        }
        recorder.flush().unwrap();
        recorder.close().unwrap();
        let mut beside = names_in(folder.path());
        beside.retain(|name| !name.starts_with("run"));
        assert!(beside.is_empty(), "{beside:?}");
        let store = ZarrDataStore::options()
            .storage(storage)
            .open(&path)
            .unwrap();
        for key in &taken {
            let view = store.view(&Key::new(key).unwrap()).unwrap().unwrap();
            assert_eq!(view.len(), 1, "{key}");
        }
        assert!(taken.contains(&"data.mdb"));
    }
}
