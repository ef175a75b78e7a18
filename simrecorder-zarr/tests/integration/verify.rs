//! What `verify` reports about damaged recordings, and what can still be read.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::ops::Range;
use std::path::Path;

use simrecorder_core::{
    ChunkPolicy, Compression, Key, OpenMode, Recorder, Recovery, Schema, Value, VerifyReport,
    prelude::*, verify,
};
use simrecorder_testkit::recovery::check_recovery;
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::chunks;

/// Records series in all encodings, in chunks of ten records, and values.
fn write(path: &Path, storage: ZarrStorage) {
    let store = ZarrDataStore::options()
        .storage(storage)
        .mode(OpenMode::CreateNew)
        .open(path)
        .unwrap();
    let recorder = Recorder::new(store);
    for compression in [Compression::None, Compression::Fast, Compression::Small] {
        let schema = Schema::array::<f64>([3])
            .with_chunk_policy(ChunkPolicy::records(10))
            .with_compression(compression);
        recorder
            .declare(format!("v/{compression:?}"), schema)
            .unwrap();
    }
    let text = Schema::text().with_chunk_policy(ChunkPolicy::records(10));
    recorder.declare("log", text).unwrap();
    let rows = Schema::ragged::<u32>([]).with_chunk_policy(ChunkPolicy::records(10));
    recorder.declare("spikes", rows).unwrap();
    for i in 0..45_u32 {
        for compression in ["None", "Fast", "Small"] {
            let v = [f64::from(i), f64::from(i).sin(), 0.5];
            recorder.record(format!("v/{compression}"), v).unwrap();
        }
        recorder.record("log", format!("line {i}")).unwrap();
        recorder
            .record("spikes", Ragged(vec![i; i as usize % 4]))
            .unwrap();
    }
    recorder.set("seed", [42_u64; 10]).unwrap();
    recorder.close().unwrap();
}

fn open(path: &Path, storage: ZarrStorage) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(storage);
    options.open(path).unwrap()
}

/// The only damage in a report: its key and records.
#[track_caller]
fn only_damage(report: &VerifyReport) -> (&str, Option<Range<u64>>) {
    let damaged: Vec<_> = report.damaged().collect();
    let [key] = damaged[..] else {
        panic!("{report}")
    };
    let [damage] = &key.damage[..] else {
        panic!("{report}")
    };
    (key.key.as_str(), damage.records.clone())
}

/// Changes one byte of a file, calls `look`, and changes it back.
fn with_changed_byte(file: &Path, at: usize, look: impl FnOnce()) {
    with_changed_bytes(file, &[at], look);
}

fn with_changed_bytes(file: &Path, places: &[usize], look: impl FnOnce()) {
    let sound = fs::read(file).unwrap();
    let mut damaged = sound.clone();
    places.iter().for_each(|&at| damaged[at] ^= 0x10);
    fs::write(file, damaged).unwrap();
    look();
    fs::write(file, sound).unwrap();
}

#[test]
fn every_changed_byte_of_a_chunk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let store = open(&path, ZarrStorage::Directory);
    assert!(verify(&store).unwrap().is_sound());
    let chunks = [
        ("v/None", "v/None/c/2/0", 20..30),
        ("v/Fast", "v/Fast/c/1/0", 10..20),
        ("v/Small", "v/Small/c/0/0", 0..10),
        // The last chunk, of which only half contains records.
        ("v/Fast", "v/Fast/c/4/0", 40..45),
        ("log", "log/c/3", 30..40),
    ];
    for (key, chunk, records) in chunks {
        let place = chunks::place(&path, chunk);
        let (file, bytes) = (&place.file, place.range().unwrap());
        let view = store.series_view(&Key::new(key).unwrap()).unwrap();
        for at in bytes.clone() {
            with_changed_byte(file, at, || {
                assert!(
                    view.check_records(records.clone()).is_err(),
                    "byte {at} of {chunk}"
                );
            });
        }
        for at in [bytes.start, (bytes.start + bytes.end) / 2, bytes.end - 1] {
            with_changed_byte(file, at, || {
                let report = verify(&store).unwrap();
                let damage = only_damage(&report);
                assert_eq!(damage, (key, Some(records.clone())), "{chunk}: {report}");
            });
        }
    }
}

#[test]
fn changed_bytes_of_ragged_rows_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let store = open(&path, ZarrStorage::Directory);
    // The records after a damaged chunk of ends begin where its last record ends, so they may not
    // be found either. All items are in one chunk.
    for (chunk, start, ends) in [("ends/c/1", 10, vec![20, 30]), ("values/c/0", 0, vec![45])] {
        let place = chunks::place(&path, &format!("spikes/{chunk}"));
        let bytes = place.range().unwrap();
        for at in bytes.clone().step_by(1 + bytes.len() / 100) {
            with_changed_byte(&place.file, at, || {
                let report = verify(&store).unwrap();
                let (key, records) = only_damage(&report);
                let records = records.unwrap();
                assert_eq!(
                    (key, records.start),
                    ("spikes", start),
                    "byte {at} of {chunk}"
                );
                assert!(ends.contains(&records.end), "byte {at} of {chunk}");
            });
        }
    }
}

#[test]
fn chunks_that_were_deleted_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let files = [
        ("v/Fast/c/2/0", "v/Fast", 20..30),
        ("log/c/0", "log", 0..10),
        ("spikes/ends/c/4", "spikes", 40..45),
        ("spikes/values/c/0", "spikes", 0..45),
    ];
    for (chunk, key, records) in files {
        let place = chunks::place(&path, chunk);
        let bytes = place.read().unwrap();
        place.remove();
        let report = verify(&open(&path, ZarrStorage::Directory)).unwrap();
        assert_eq!(only_damage(&report), (key, Some(records)), "{chunk}");
        place.write(&bytes);
    }
    let store = open(&path, ZarrStorage::Directory);
    assert!(verify(&store).unwrap().is_sound());
}

#[test]
fn damaged_metadata_and_values_are_found_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    for (file, key) in [("v/Fast/zarr.json", "v/Fast"), ("seed/c.0", "seed")] {
        with_changed_byte(&path.join(file), 0, || {
            let report = verify(&open(&path, ZarrStorage::Directory)).unwrap();
            let keys: Vec<_> = report.damaged().map(|it| it.key.as_str()).collect();
            assert_eq!(keys, [key], "{report}");
            let records: u64 = report.keys.iter().map(|it| it.record_count).sum();
            assert!(records >= 45 * 4, "{report}");
        });
    }
}

/// Searches the file for the bytes of a chunk.
#[test]
fn changed_bytes_of_chunks_in_lmdb_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let [path, plain] = ["run.mdb", "run.zarr"].map(|name| folder.path().join(name));
    write(&path, ZarrStorage::Lmdb);
    write(&plain, ZarrStorage::Directory);
    assert!(verify(&open(&path, ZarrStorage::Lmdb)).unwrap().is_sound());
    let file = path.join("data.mdb");
    let content = fs::read(&file).unwrap();
    for (chunk, key, records) in [
        ("v/None/c/2/0", "v/None", 20..30),
        ("v/Fast/c/1/0", "v/Fast", 10..20),
        ("v/Small/c/0/0", "v/Small", 0..10),
    ] {
        let bytes = chunks::place(&plain, chunk).read().unwrap();
        // Unused pages may contain it, too.
        let windows = content.windows(bytes.len()).enumerate();
        let places: Vec<_> = windows.filter(|(_, it)| *it == bytes).collect();
        for at in (0..bytes.len()).step_by(10) {
            let places: Vec<_> = places.iter().map(|(start, _)| start + at).collect();
            with_changed_bytes(&file, &places, || {
                let report = verify(&open(&path, ZarrStorage::Lmdb)).unwrap();
                let damage = only_damage(&report);
                assert_eq!(damage, (key, Some(records.clone())), "{chunk}");
            });
        }
    }
}

/// Recovers a damaged recording. Each record is either unchanged or reported as left out.
#[track_caller]
fn recover_from(path: &Path, storage: ZarrStorage) -> Recovery {
    let keys = ["v/None", "v/Fast", "v/Small", "log", "spikes"].map(|key| (key, 45));
    check_recovery(&open(path, storage), &keys, |key, i| {
        let value = match key {
            "log" => Value::new(format!("line {i}")),
            "spikes" => Value::new(Ragged(vec![i as u32; i as usize % 4])),
            _ => Value::new([i as f64, (i as f64).sin(), 0.5]),
        };
        value.unwrap()
    })
}

#[test]
fn records_next_to_damaged_chunks_are_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    assert!(recover_from(&path, ZarrStorage::Directory).is_whole());
    let chunks = [
        ("v/None/c/2/0", "v/None", 20..30),
        ("v/Fast/c/0/0", "v/Fast", 0..10),
        ("v/Small/c/4/0", "v/Small", 40..45),
        ("log/c/3", "log", 30..40),
        ("spikes/values/c/0", "spikes", 0..45),
    ];
    let sound = chunks.clone().map(|(chunk, ..)| {
        let place = chunks::place(&path, chunk);
        (place.range().unwrap().start, place)
    });
    for ((chunk, key, records), (at, place)) in chunks.into_iter().zip(&sound) {
        with_changed_byte(&place.file, *at, || {
            let recovery = recover_from(&path, ZarrStorage::Directory);
            let [lost] = &recovery.left_out[..] else {
                panic!("{recovery}")
            };
            assert_eq!(
                (lost.key.as_str(), &lost.records),
                (key, &Some(records)),
                "{chunk}"
            );
        });
    }
    // All of them at once.
    for (at, place) in &sound {
        let mut bytes = fs::read(&place.file).unwrap();
        bytes[*at] ^= 0x10;
        fs::write(&place.file, bytes).unwrap();
    }
    let recovery = recover_from(&path, ZarrStorage::Directory);
    assert_eq!(
        (recovery.left_out.len(), recovery.moved.len()),
        (5, 3),
        "{recovery}"
    );
}

#[test]
fn undamaged_parts_of_damaged_lmdb_files_are_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    write(&path, ZarrStorage::Lmdb);
    assert!(recover_from(&path, ZarrStorage::Lmdb).is_whole());
    let files = fs::read_dir(&path).unwrap().map(|it| it.unwrap().path());
    let mut recovered = 0;
    for file in files.filter(|it| !it.ends_with("lock.mdb")) {
        let len = fs::metadata(&file).unwrap().len() as usize;
        for at in (0..len).step_by(1 + len / 60) {
            with_changed_byte(&file, at, || {
                // If LMDB does not open it, nothing can be recovered.
                let store = ZarrDataStore::options()
                    .storage(ZarrStorage::Lmdb)
                    .open(&path);
                if store.is_ok_and(|store| store.children(&Key::ROOT).is_ok()) {
                    recovered += usize::from(!recover_from(&path, ZarrStorage::Lmdb).is_whole());
                }
            });
        }
    }
    assert!(recovered > 0);
}

/// Other software omits chunks that contain only the fill value.
#[test]
fn missing_chunks_of_other_software_are_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let file = path.join("v/Fast/zarr.json");
    let metadata = fs::read_to_string(&file).unwrap();
    let other = metadata.replace("\"clevel\":1", "\"clevel\":5");
    assert_ne!(metadata, other);
    fs::write(&file, other).unwrap();
    chunks::place(&path, "v/Fast/c/2/0").remove();
    let report = verify(&open(&path, ZarrStorage::Directory)).unwrap();
    assert!(report.is_sound(), "{report}");
}
