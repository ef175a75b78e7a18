//! Anonymous memory of a process that records into Zarr stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use simrecorder_core::{Durability, OpenMode, Recorder, RecorderOptions};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::memory::peak_of;

/// All cases stand in one test: they measure the whole process.
#[test]
fn memory_stays_within_the_bound_with_one_key_and_with_ten_thousand() {
    const BOUND: u64 = 64 << 20;
    let mut failures = Vec::new();
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        for (keys, records, len) in [
            (1_u64, 600_u64, 100_000),
            (100, 10, 60_000),
            (10_000, 20, 250),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let peak = peak_of(|| {
                let store = ZarrDataStore::options()
                    .mode(OpenMode::CreateNew)
                    .storage(storage)
                    .durability(Durability::Process)
                    .open(folder.path().join("run"))
                    .unwrap();
                let options = RecorderOptions::new().memory_bound(BOUND as usize);
                let recorder = Recorder::with_options(store, options);
                let names: Vec<_> = (0..keys).map(|key| format!("group/{key}")).collect();
                let mut data: Vec<f64> = vec![0.0; len];
                for record in 0..records {
                    for (key, name) in names.iter().enumerate() {
                        data[(record as usize * 31 + key) % len] = record as f64 * 0.1;
                        recorder.record(name, &data).unwrap();
                    }
                }
                recorder.close().unwrap();
            });
            let allowed = BOUND + (64 << 20) + keys * 2048;
            let what = format!("{storage:?} {keys} keys: {peak} bytes of {allowed}");
            eprintln!("{what}");
            failures.extend((peak > allowed).then_some(what));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
