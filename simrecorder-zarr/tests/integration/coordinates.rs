//! Coordinates of arrays that xarray wrote, and of timelines that it reads.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::OpenMode;
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::coordinates::*;

#[test]
fn a_directory_of_xarray_is_selected_by_its_coordinates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    what_xarray_wrote_is_selected_by_coordinates(&path, &[], |mode| {
        let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
        options.mode(mode).open(&path)
    });
}

#[test]
fn xarray_selects_by_the_coordinates_of_timelines() {
    for (file, storage) in [
        ("run.zarr", ZarrStorage::Directory),
        ("run.mdb", ZarrStorage::Lmdb),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        let options = ZarrDataStore::options().storage(storage);
        let store = options.mode(OpenMode::CreateNew).open(&path).unwrap();
        other_software_selects_by_the_coordinate_of_a_timeline(&path, store);
    }
}
