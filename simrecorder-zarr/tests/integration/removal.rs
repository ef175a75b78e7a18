//! Removing and renaming keys, in addition to the promises of all backends.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{Durability, OpenMode, Recorder, Result};
use simrecorder_testkit::removal::removed_space_is_used_again;
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

fn opener(storage: ZarrStorage) -> impl Fn(&Path, OpenMode) -> Result<ZarrDataStore> {
    move |path, mode| {
        let options = ZarrDataStore::options().storage(storage);
        options
            .durability(Durability::Process)
            .mode(mode)
            .open(path)
    }
}

#[test]
fn the_space_of_removed_series_is_used_again_in_lmdb() {
    removed_space_is_used_again(opener(ZarrStorage::Lmdb));
}

#[test]
fn the_space_of_removed_series_is_used_again_in_a_directory() {
    removed_space_is_used_again(opener(ZarrStorage::Directory));
}

/// A node with unreadable metadata.
#[test]
fn a_damaged_series_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let open = opener(ZarrStorage::Directory);
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    recorder.record("net/v", 1.5).unwrap();
    recorder.close().unwrap();
    fs::write(path.join("net/v/zarr.json"), "damaged").unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    recorder.get_all("net/v").unwrap_err();
    recorder.remove("net/v").unwrap();
    recorder.record("net/v", "text").unwrap();
    assert_eq!(recorder.get_all("net/v").unwrap().len(), 1);
    recorder.close().unwrap();
}

/// The remains of a renaming that was killed before its commit.
#[test]
fn a_renaming_replaces_chunks_that_are_in_no_series() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder =
        Recorder::new(opener(ZarrStorage::Directory)(&path, OpenMode::CreateNew).unwrap());
    recorder.record("a", vec![7_u64; 10_000]).unwrap();
    recorder.checkpoint().unwrap();
    fs::create_dir_all(path.join("b/c/0")).unwrap();
    fs::write(path.join("b/c/0/0"), "left").unwrap();
    recorder.rename("a", "b").unwrap();
    let found = recorder.get_all("b").unwrap().read::<u64>().unwrap();
    assert!(found.iter().all(|&x| x == 7));
    recorder.close().unwrap();
    assert!(!path.join("a").exists());
}
