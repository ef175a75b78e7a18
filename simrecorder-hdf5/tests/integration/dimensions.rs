//! Dimension names in other software: h5netcdf, netCDF4 and xarray pad arrays that share a name.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{OpenMode, Result};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support::dimensions::*;

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore> {
    Hdf5DataStore::options().mode(mode).open(path)
}

#[test]
fn nothing_is_padded_to_the_length_of_another_array() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    arrays_share_a_name_only_while_they_are_equally_long(&path, |mode| open(&path, mode));
}

#[test]
fn nothing_is_padded_after_a_kill() {
    let name = "nothing_is_padded_after_a_kill";
    names_are_right_when_a_killed_recording_was_closed(name, "run.h5", open);
}

#[test]
fn xarray_selects_by_coordinates_that_were_declared_and_by_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    every_kind_of_array_shares_names_or_does_not(&path, open(&path, OpenMode::CreateNew).unwrap());
}
