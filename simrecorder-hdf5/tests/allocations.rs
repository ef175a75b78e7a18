//! Damaged journals do not make readers allocate memory out of proportion to the size of the
//! journals.

use std::path::Path;

use simrecorder_core::{OpenMode, Recorder};
use simrecorder_hdf5::Hdf5DataStore;

mod support;

use support::allocation::LargestPiece;

#[global_allocator]
static ALLOCATOR: LargestPiece = LargestPiece::new();

const FILES: &[&str] = &["run.journal"];

fn open(path: &Path, mode: OpenMode) -> simrecorder_core::Result<Recorder> {
    Ok(Recorder::new(
        Hdf5DataStore::options().mode(mode).open(path)?,
    ))
}

#[test]
fn no_damage_makes_a_reader_ask_for_much_memory() {
    support::damaged_sizes::no_damage_makes_a_reader_ask_for_much_memory(&ALLOCATOR, FILES, open);
}
