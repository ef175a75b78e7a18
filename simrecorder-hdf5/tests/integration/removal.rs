//! Removing and renaming keys, in addition to the promises of all backends.

use std::path::Path;

use simrecorder_core::{Durability, OpenMode, Result};
use simrecorder_hdf5::Hdf5DataStore;
use simrecorder_testkit::removal::removed_space_is_used_again;

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore> {
    let options = Hdf5DataStore::options().durability(Durability::Process);
    options.mode(mode).open(path)
}

#[test]
fn the_space_of_removed_series_is_used_again() {
    removed_space_is_used_again(open);
}
