//! Damaged files do not make readers allocate memory out of proportion to the size of the files.

use std::path::Path;

use simrecorder_core::{OpenMode, Recorder};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::allocation::LargestPiece;

#[global_allocator]
static ALLOCATOR: LargestPiece = LargestPiece::new();

const FILES: &[&str] = &[
    "run.journal",
    // Two shards, and the only chunk of a short series.
    "run/net/n/c.0",
    "run/log/c.0",
    "run/spikes/ends/0",
];

fn open(path: &Path, mode: OpenMode) -> simrecorder_core::Result<Recorder> {
    Ok(Recorder::new(
        ZarrDataStore::options()
            .storage(ZarrStorage::Directory)
            .mode(mode)
            .open(path)?,
    ))
}

#[test]
fn no_damage_makes_a_reader_ask_for_much_memory() {
    support::damaged_sizes::no_damage_makes_a_reader_ask_for_much_memory(&ALLOCATOR, FILES, open);
}
