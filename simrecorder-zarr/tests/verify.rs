//! What `verify` reports of damaged recordings, and what can still be read of them.

use std::fs;
use std::ops::Range;
use std::path::Path;

use simrecorder_core::{
    ChunkPolicy, Compression, Key, OpenMode, Recorder, Schema, VerifyReport, prelude::*, verify,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

/// Series of all ways of encoding, in chunks of ten records, and values.
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

/// The only damage that a report names: its key and records.
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

/// Changes one byte of a file, looks, and changes it back.
fn with_changed_byte(file: &Path, at: usize, look: impl FnOnce()) {
    let sound = fs::read(file).unwrap();
    let mut damaged = sound.clone();
    damaged[at] ^= 0x10;
    fs::write(file, damaged).unwrap();
    look();
    fs::write(file, sound).unwrap();
}

#[test]
fn every_changed_byte_of_a_chunk_is_found_and_the_other_chunks_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let store = open(&path, ZarrStorage::Directory);
    assert!(verify(&store).unwrap().is_sound());
    let chunks = [
        ("v/None", "v/None/c/2/0", 20..30),
        ("v/Fast", "v/Fast/c/1/0", 10..20),
        ("v/Small", "v/Small/c/0/0", 0..10),
        // The last one, of which only half holds records.
        ("v/Fast", "v/Fast/c/4/0", 40..45),
        ("log", "log/c/3", 30..40),
        ("spikes", "spikes/ends/c/1", 10..20),
    ];
    for (key, chunk, records) in chunks {
        let file = path.join(chunk);
        for at in 0..fs::metadata(&file).unwrap().len() as usize {
            with_changed_byte(&file, at, || {
                let report = verify(&store).unwrap();
                let damaged: Vec<_> = report.damaged().map(|it| it.key.as_str()).collect();
                assert_eq!(damaged, [key], "byte {at} of {chunk}: {report}");
                let damage = report.damaged().flat_map(|it| &it.damage);
                let found: Vec<_> = damage.filter_map(|it| it.records.clone()).collect();
                // The records behind those whose ends are damaged begin there too.
                let end = if key == "spikes" {
                    20..30
                } else {
                    records.clone()
                };
                assert!(
                    found == [records.clone()] || found == [records.start..end.end],
                    "byte {at} of {chunk}: {report}"
                );
            });
        }
        let view = store.series_view(&Key::new(key).unwrap()).unwrap();
        with_changed_byte(&file, 0, || {
            assert!(view.get(records.start).is_err(), "{chunk}");
            let sound = if records.start == 0 { 30 } else { 0 };
            assert!(view.get(sound).is_ok(), "{chunk}");
        });
    }
}

#[test]
fn damaged_items_of_ragged_rows_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let store = open(&path, ZarrStorage::Directory);
    let file = path.join("spikes/values/c/0");
    for at in 0..fs::metadata(&file).unwrap().len() as usize {
        with_changed_byte(&file, at, || {
            let report = verify(&store).unwrap();
            let (key, records) = only_damage(&report);
            // All items are in one chunk.
            assert_eq!((key, records), ("spikes", Some(0..45)), "{report}");
        });
    }
}

#[test]
fn chunks_that_were_deleted_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let store = open(&path, ZarrStorage::Directory);
    let files = [
        ("v/Fast/c/2/0", "v/Fast", 20..30),
        ("log/c/0", "log", 0..10),
        ("spikes/ends/c/4", "spikes", 40..45),
        ("spikes/values/c/0", "spikes", 0..45),
    ];
    for (chunk, key, records) in files {
        let aside = folder.path().join("aside");
        fs::rename(path.join(chunk), &aside).unwrap();
        let report = verify(&store).unwrap();
        assert_eq!(only_damage(&report), (key, Some(records)), "{chunk}");
        fs::rename(&aside, path.join(chunk)).unwrap();
    }
    assert!(verify(&store).unwrap().is_sound());
}

#[test]
fn damaged_metadata_and_values_are_found_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    for (file, key) in [("v/Fast/zarr.json", "v/Fast"), ("seed/c/0", "seed")] {
        with_changed_byte(&path.join(file), 0, || {
            let report = verify(&open(&path, ZarrStorage::Directory)).unwrap();
            let keys: Vec<_> = report.damaged().map(|it| it.key.as_str()).collect();
            assert_eq!(keys, [key], "{report}");
            let records: u64 = report.keys.iter().map(|it| it.records).sum();
            assert!(records >= 45 * 4, "{report}");
        });
    }
}

/// The bytes of a chunk are looked for in the file.
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
        let bytes = fs::read(plain.join(chunk)).unwrap();
        let mut places = content.windows(bytes.len());
        let start = places.position(|window| window == bytes).unwrap();
        for at in start..start + bytes.len() {
            with_changed_byte(&file, at, || {
                let report = verify(&open(&path, ZarrStorage::Lmdb)).unwrap();
                assert_eq!(
                    only_damage(&report),
                    (key, Some(records.clone())),
                    "{chunk}"
                );
            });
        }
    }
}

/// Other software leaves out chunks that hold nothing but the fill value.
#[test]
fn missing_chunks_of_other_software_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    write(&path, ZarrStorage::Directory);
    let file = path.join("v/Fast/zarr.json");
    let metadata = fs::read_to_string(&file).unwrap();
    let other = metadata.replace("\"clevel\":1", "\"clevel\":5");
    assert_ne!(metadata, other);
    fs::write(&file, other).unwrap();
    fs::remove_file(path.join("v/Fast/c/2/0")).unwrap();
    let report = verify(&open(&path, ZarrStorage::Directory)).unwrap();
    assert!(report.is_sound(), "{report}");
}
