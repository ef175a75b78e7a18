//! The anonymous memory of a process that copies is bounded, whatever the size of the recording.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{
    ChunkPolicy, CopyOptions, DataStore, Durability, OpenMode, Recorder, Schema, copy, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::memory::{noise, peak_of};

fn create(path: &Path, storage: ZarrStorage) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(storage);
    let options = options.mode(OpenMode::CreateNew);
    options.durability(Durability::Process).open(path).unwrap()
}

/// Records 200 MiB: in one series of arrays and one of rows, or in ten thousand keys.
fn recording(path: &Path, keys: u64) -> ZarrDataStore {
    let store = create(path, ZarrStorage::Lmdb);
    let recorder = Recorder::new(store.clone());
    // Records cross the ends of chunks.
    let policy = ChunkPolicy::target_bytes(300_000);
    let rows = Schema::ragged::<u64>([]).with_chunk_policy(policy);
    recorder.declare("rows", rows).unwrap();
    let (records, len) = (800 / keys.min(800), 25_600_000 / keys.max(800) as usize);
    for record in 0..records {
        for key in 1..keys {
            let data = noise(key + record, len);
            recorder.record(format!("group/{key}"), data).unwrap();
        }
        recorder.record("rows", Ragged(noise(record, len))).unwrap();
    }
    recorder.close().unwrap();
    store
}

/// One test contains all cases, because they measure the whole process.
#[test]
fn the_memory_of_a_copy_is_bounded_with_two_keys_and_with_ten_thousand() {
    let mut failures = Vec::new();
    for (keys, cases) in [
        (
            2,
            [(ZarrStorage::Lmdb, true), (ZarrStorage::Directory, false)],
        ),
        (
            10_000,
            [(ZarrStorage::Lmdb, false), (ZarrStorage::Directory, true)],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let from = recording(&folder.path().join("original"), keys);
        for (storage, reencode) in cases {
            let path = folder.path().join(format!("{storage:?}"));
            let peak = peak_of(|| {
                let to = create(&path, storage);
                copy(&from, &to, CopyOptions::new().reencode(reencode)).unwrap();
                to.close().unwrap();
            });
            let allowed = (128 << 20) + keys * 2048;
            let what = format!("{keys} keys, {storage:?}, {reencode}: {peak} bytes of {allowed}");
            eprintln!("{what}");
            failures.extend((peak > allowed).then_some(what));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
