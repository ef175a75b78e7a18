//! Shortcuts for the tests of the LMDB storage.

use std::path::Path;

use simrecorder_core::{Error, OpenMode};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use zarrs_storage::{ReadableStorageTraits, StorageError, StoreKey, WritableStorageTraits};

pub(crate) fn open(path: &Path, mode: OpenMode) -> LmdbStorage {
    LmdbStorage::open(path, &LmdbOptions::default().mode(mode)).unwrap()
}

pub(crate) fn refused(path: &Path, mode: OpenMode) -> Error {
    LmdbStorage::open(path, &LmdbOptions::default().mode(mode)).unwrap_err()
}

pub(crate) fn key(key: &str) -> StoreKey {
    StoreKey::new(key).unwrap()
}

pub(crate) fn set(storage: &LmdbStorage, name: &str, value: &str) {
    storage.set(&key(name), value.to_owned().into()).unwrap();
}

pub(crate) fn get(storage: &LmdbStorage, name: &str) -> Option<String> {
    let value = storage.get(&key(name)).unwrap()?;
    Some(String::from_utf8(value.into()).unwrap())
}

/// Creates and closes a recording with `a` = `1`.
pub(crate) fn recording(path: &Path) {
    let storage = open(path, OpenMode::CreateNew);
    // Two commits, so that both meta pages are in use.
    set(&storage, "a", "0");
    set(&storage, "a", "1");
    storage.close().unwrap();
}

pub(crate) fn kind(error: &StorageError) -> std::io::ErrorKind {
    match error {
        StorageError::IOError(error) => error.kind(),
        error => panic!("not an error of the disk: {error}"),
    }
}
