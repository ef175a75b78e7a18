//! Series that begin with filled records: on the disk, in other software, and after damage and kills.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{
    ArrayView, Batch, Change, ChunkPolicy, Commit, DataStore, DataStoreExt, Key, OpenMode, Records,
    Schema, verify,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::filled::{
    append_after_filled, assert_filled_series_survive_a_kill, check_after_filled, declare_filled,
};
use crate::support::{all_files, allocated_bytes, assert_success, chunks, python};

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(storage).mode(mode);
    options.open(path).unwrap()
}

fn assert_other_software_reads(medium: &str, storage: ZarrStorage) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let store = open(&path, storage, OpenMode::CreateNew);
    declare_filled(&store);
    let read = |count: u64| {
        let mut program = python("read_filled.py");
        assert_success(program.arg(medium).arg(&path).arg(count.to_string()));
    };
    let mut count = 0;
    for appended in [0, 1, 14, 30] {
        append_after_filled(&store, count..count + appended);
        count += appended;
        store.checkpoint().unwrap();
        read(count);
    }
    store.close().unwrap();
    read(count);
    assert!(
        allocated_bytes(&path) < 1 << 20,
        "{}",
        allocated_bytes(&path)
    );
    assert!(all_files(&path).len() < 30, "{:?}", all_files(&path).len());
}

#[test]
fn zarr_python_xarray_and_tensorstore_show_the_fill_value_in_a_directory() {
    assert_other_software_reads("directory", ZarrStorage::Directory);
}

#[test]
fn zarr_python_and_xarray_show_the_fill_value_in_lmdb() {
    assert_other_software_reads("lmdb", ZarrStorage::Lmdb);
}

#[test]
fn filled_series_in_a_directory_survive_a_kill() {
    let test = "filled_series_in_a_directory_survive_a_kill";
    assert_filled_series_survive_a_kill(test, |path, mode| {
        open(path, ZarrStorage::Directory, mode)
    });
}

#[test]
fn filled_series_in_lmdb_survive_a_kill() {
    let test = "filled_series_in_lmdb_survive_a_kill";
    assert_filled_series_survive_a_kill(test, |path, mode| open(path, ZarrStorage::Lmdb, mode));
}

#[test]
fn a_follower_sees_records_after_the_filled_ones() {
    for storage in [ZarrStorage::Directory, ZarrStorage::Lmdb] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let writer = open(&path, storage, OpenMode::CreateNew);
        declare_filled(&writer);
        let reader = open(&path, storage, OpenMode::Read);
        check_after_filled(&reader, 0);
        for count in 0..30 {
            append_after_filled(&writer, count..count + 1);
            check_after_filled(&reader, count + 1);
            if count % 10 == 9 {
                writer.checkpoint().unwrap();
                check_after_filled(&reader, count + 1);
            }
        }
    }
}

const CHUNK: u64 = 10;

fn schema() -> Schema {
    let schema = Schema::scalar::<u64>().with_fill_value(7_u64);
    schema.with_chunk_policy(ChunkPolicy::records(CHUNK))
}

fn append(store: &dyn DataStore, numbers: std::ops::Range<u64>) {
    let (count, start) = (numbers.end - numbers.start, numbers.start);
    let data = numbers.flat_map(u64::to_ne_bytes).collect();
    let records = Records::fixed(schema().into(), count, data).unwrap();
    let append = Change::Append {
        batch: Batch::new(Key::new("n").unwrap(), start, records).into(),
        prepared: None,
    };
    store.commit(Commit::new(vec![append])).unwrap();
}

/// A series of 25 filled records and others up to 45; without those after `cut` of the first ones.
fn write(path: &Path, cut: Option<u64>) {
    let store = open(path, ZarrStorage::Directory, OpenMode::CreateNew);
    let key = Key::new("n").unwrap();
    let declare = Change::Declare {
        key: key.clone(),
        schema: schema().into(),
        filled: 25,
    };
    store.commit(Commit::new(vec![declare])).unwrap();
    append(&store, 25..45);
    if let Some(len) = cut {
        let truncate = Change::Truncate { key, len };
        store.commit(Commit::new(vec![truncate])).unwrap();
        append(&store, len..45);
    }
    store.close().unwrap();
}

#[test]
fn only_chunks_of_filled_records_may_be_missing() {
    for (cut, present) in [
        (None, 2..5),
        (Some(15), 1..5),
        (Some(20), 2..5),
        (Some(0), 0..5),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        write(&path, cut);
        for chunk in 0..5 {
            let place = chunks::place(&path, &format!("n/c/{chunk}"));
            let Some(bytes) = place.read() else {
                assert!(!present.contains(&chunk), "chunk {chunk} cut to {cut:?}");
                continue;
            };
            assert!(present.contains(&chunk), "chunk {chunk} cut to {cut:?}");
            place.remove();
            let report = verify(&open(&path, ZarrStorage::Directory, OpenMode::Read)).unwrap();
            let damaged: Vec<_> = report.damaged().flat_map(|key| &key.damage).collect();
            let [damage] = damaged[..] else {
                panic!("{report}")
            };
            let records = chunk * CHUNK..45.min((chunk + 1) * CHUNK);
            assert_eq!(damage.records, Some(records), "{report}");
            place.write(&bytes);
        }
        let store = open(&path, ZarrStorage::Directory, OpenMode::Read);
        assert!(verify(&store).unwrap().is_sound());
    }
}

/// Metadata with a wrong number of filled records hides no others.
#[test]
fn wrong_numbers_of_filled_records_do_not_panic() {
    for filled in ["0", "45", "18446744073709551615", "-1", "\"x\"", "null"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        write(&path, None);
        let file = path.join("n/zarr.json");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"filled\":25"), "{text}");
        let wrong = text.replace("\"filled\":25", &format!("\"filled\":{filled}"));
        fs::write(&file, wrong).unwrap();
        let store = open(&path, ZarrStorage::Directory, OpenMode::Append);
        let view = store.view(&Key::new("n").unwrap()).unwrap().unwrap();
        assert!(view.filled() <= view.len());
        let numbers = view.read::<u64>().unwrap();
        assert!((0..45).all(|i| numbers[i] == if i < 25 { 7 } else { i as u64 }));
        append(&store, 45..60);
        store.close().unwrap();
        let numbers = view.refresh().unwrap().read::<u64>().unwrap();
        assert!((0..60).all(|i| numbers[i] == if i < 25 { 7 } else { i as u64 }));
    }
}
