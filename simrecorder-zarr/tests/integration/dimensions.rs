//! Names of dimensions in other software: xarray refuses a group in which one name has two lengths.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{OpenMode, Result};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::dimensions::*;

fn open(path: &Path, mode: OpenMode) -> Result<ZarrDataStore> {
    let storage = match path.extension().is_some_and(|it| it == "zarr") {
        true => ZarrStorage::Directory,
        false => ZarrStorage::Lmdb,
    };
    ZarrDataStore::options()
        .storage(storage)
        .mode(mode)
        .open(path)
}

#[test]
fn xarray_opens_a_directory_whatever_lengths_share_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    arrays_share_a_name_only_while_they_are_equally_long(&path, |mode| open(&path, mode));
}

#[test]
fn xarray_opens_a_directory_after_a_kill() {
    let name = "xarray_opens_a_directory_after_a_kill";
    names_are_right_when_a_killed_recording_was_closed(name, "run.zarr", open);
}

#[test]
fn xarray_selects_in_a_directory_by_coordinates_that_were_declared_and_by_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    every_kind_of_array_shares_names_or_does_not(&path, open(&path, OpenMode::CreateNew).unwrap());
}

#[test]
fn xarray_opens_lmdb_whatever_lengths_share_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    arrays_share_a_name_only_while_they_are_equally_long(&path, |mode| open(&path, mode));
}

#[test]
fn xarray_opens_lmdb_after_a_kill() {
    let name = "xarray_opens_lmdb_after_a_kill";
    names_are_right_when_a_killed_recording_was_closed(name, "run.mdb", open);
}

#[test]
fn xarray_selects_in_lmdb_by_coordinates_that_were_declared_and_by_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    every_kind_of_array_shares_names_or_does_not(&path, open(&path, OpenMode::CreateNew).unwrap());
}
