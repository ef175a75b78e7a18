//! A series that never filled a chunk is stored with its own length. It gets full chunks once it
//! fills one, even while others read it.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]
#![allow(clippy::print_stdout, reason = "the other process reads it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value as Json, json};
use simrecorder_core::ndarray::s;
use simrecorder_core::{
    Attributes, ChunkPolicy, Compression, CopyOptions, Durability, OpenMode, Recorder,
    RecorderOptions, Schema, Value, View, copy, prelude::*, verify,
};
use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
use tempfile::TempDir;
use zarrs_storage::{ReadableStorageTraits, StoreKey, WritableStorageTraits};

use crate::support;
use support::{Partner, chunks, names_in, role, this_test};

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];
const CHUNK: u64 = 40;
/// The arrays that grow by a row with each record.
const ARRAYS: [&str; 5] = ["n", "rows/ends", "text", "blob/ends", "wide"];

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(storage).mode(mode);
    options.durability(Durability::Process).open(path).unwrap()
}

fn recorder(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Recorder {
    let options = RecorderOptions::new().inline(true);
    Recorder::with_options(open(path, storage, mode), options)
}

/// Creates a recording with declared series. Returns its folder and its path, too.
fn new_recording(storage: ZarrStorage) -> (TempDir, PathBuf, Recorder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let writer = recorder(&path, storage, OpenMode::CreateNew);
    declare(&writer);
    (folder, path, writer)
}

/// Declares one series of each kind, and one whose records span several chunks.
fn declare(recorder: &Recorder) {
    let small = ChunkPolicy::records(CHUNK);
    for (key, schema) in [
        ("n", Schema::scalar::<u64>()),
        ("rows", Schema::ragged::<u64>([])),
        ("text", Schema::text()),
        ("blob", Schema::bytes()),
    ] {
        let schema = schema.with_chunk_policy(small.clone());
        recorder.declare(key, schema).unwrap();
    }
    let split = ChunkPolicy::shape([CHUNK, 2]).unwrap();
    let wide = Schema::array::<f32>([5]).with_chunk_policy(split);
    recorder.declare("wide", wide).unwrap();
}

fn record(recorder: &Recorder, steps: std::ops::Range<u64>) {
    for step in steps {
        recorder.record("n", step).unwrap();
        let row = vec![step; step as usize % 3];
        recorder.record("rows", Ragged(&row)).unwrap();
        recorder.record("text", format!("step {step}")).unwrap();
        recorder.record("blob", Blob(vec![step as u8; 2])).unwrap();
        recorder.record("wide", [step as f32; 5]).unwrap();
    }
}

/// Checks the records of a view, read at once and in parts.
fn check(view: &View) {
    let len = view.len();
    let numbers = |range: std::ops::Range<u64>| range.map(|step| step as f32);
    match view.key().as_str() {
        "n" => {
            assert!(view.read::<u64>().unwrap().iter().copied().eq(0..len));
            let late = view.select(len / 2..).unwrap().read::<u64>().unwrap();
            assert!(late.iter().copied().eq(len / 2..len));
        }
        "rows" => {
            let rows = view.read_ragged::<u64>().unwrap();
            for (step, row) in rows.rows().enumerate() {
                assert_eq!(row.len(), step % 3);
                assert!(row.iter().all(|&n| n == step as u64));
            }
        }
        "text" => {
            let texts = view.read_text().unwrap();
            let expected = (0..len).map(|step| format!("step {step}"));
            assert!(texts.iter().map(|text| text.to_string()).eq(expected));
        }
        "wide" => {
            let wide = view.read::<f32>().unwrap();
            for (step, row) in numbers(0..len).zip(wide.outer_iter()) {
                assert!(row.iter().all(|&x| x == step));
            }
            let column = view.select(s![.., 3]).unwrap().read::<f32>().unwrap();
            assert!(column.iter().copied().eq(numbers(0..len)));
        }
        _ => {
            for (step, blob) in view.iter().enumerate() {
                assert_eq!(blob.unwrap(), Value::Bytes(vec![step as u8; 2]));
            }
        }
    }
}

fn check_all(recorder: &Recorder, len: u64) {
    for key in ["n", "rows", "text", "blob", "wide"] {
        let view = recorder.get_all(key).unwrap();
        assert_eq!(view.len(), len, "{key}");
        check(&view);
    }
}

/// An entry of a recording that is not being written, read without the library.
fn entry(path: &Path, storage: ZarrStorage, name: &str) -> Option<Vec<u8>> {
    if storage == ZarrStorage::Directory {
        return fs::read(path.join(name)).ok();
    }
    let lmdb = LmdbStorage::open(path, &LmdbOptions::default()).unwrap();
    let bytes = lmdb.get(&StoreKey::new(name).unwrap()).unwrap();
    bytes.map(Into::into)
}

fn metadata(path: &Path, storage: ZarrStorage, array: &str) -> Json {
    let text = entry(path, storage, &format!("{array}/zarr.json")).unwrap();
    assert!(!text.contains(&b'\n'), "the metadata is not compact");
    serde_json::from_slice(&text).unwrap()
}

/// The number of rows of an array, of its chunks, and of its future chunks.
fn rows(path: &Path, storage: ZarrStorage, array: &str) -> [u64; 3] {
    let written = metadata(path, storage, array);
    if storage == ZarrStorage::Directory {
        // Nothing of the other form remains: neither a chunk under its indices nor shards.
        let is_short = written["chunk_key_encoding"]["name"] == "v2";
        let names = names_in(&path.join(array)).into_iter();
        let mut chunks = names.filter(|name| name != "zarr.json");
        assert!(
            chunks.all(|name| name.starts_with('c') != is_short),
            "{array}"
        );
    }
    let metadata = chunks::without_shards(written);
    let places = [
        &metadata["shape"][0],
        &metadata["chunk_grid"]["configuration"]["chunk_shape"][0],
        &metadata["attributes"]["simrecorder"]["chunk_shape"][0],
    ];
    places.map(|rows| rows.as_u64().unwrap())
}

fn verify_all(path: &Path, storage: ZarrStorage) {
    let report = verify(&open(path, storage, OpenMode::Read)).unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_series_that_never_filled_a_chunk_is_stored_in_its_own_length() {
    for storage in BOTH {
        let (_folder, path, writer) = new_recording(storage);
        record(&writer, 0..7);
        writer.close().unwrap();
        for array in ARRAYS {
            assert_eq!(rows(&path, storage, array), [7, 7, CHUNK], "{array}");
        }
        assert_eq!(rows(&path, storage, "blob/values")[..2], [14, 14]);
        let reader = recorder(&path, storage, OpenMode::Read);
        check_all(&reader, 7);
        assert_eq!(reader.get_all("n").unwrap().chunk_shape(), [CHUNK]);
        verify_all(&path, storage);
    }
}

#[test]
fn a_series_that_is_resumed_again_and_again_stays_short_until_it_fills_a_chunk() {
    for storage in BOTH {
        let (_folder, path, writer) = new_recording(storage);
        writer.close().unwrap();
        let mut views = Vec::new();
        for len in (3..=CHUNK * 2 + 3).step_by(3) {
            let writer = recorder(&path, storage, OpenMode::Append);
            check_all(&writer, len - 3);
            record(&writer, len - 3..len);
            check_all(&writer, len);
            writer.close().unwrap();
            let chunk = if len < CHUNK { len } else { CHUNK };
            for array in ARRAYS {
                assert_eq!(rows(&path, storage, array), [len, chunk, CHUNK], "{array}");
            }
            let reader = recorder(&path, storage, OpenMode::Read);
            for key in ["n", "rows", "text", "blob", "wide"] {
                views.push(reader.get_all(key).unwrap());
            }
            views.iter().for_each(check);
        }
        verify_all(&path, storage);
    }
}

#[test]
fn a_series_that_is_recorded_on_and_never_folded_gets_full_chunks_at_once() {
    for storage in BOTH {
        let (_folder, path, writer) = new_recording(storage);
        record(&writer, 0..CHUNK - 1);
        writer.flush().unwrap();
        record(&writer, CHUNK - 1..CHUNK + 1);
        writer.close().unwrap();
        assert_eq!(rows(&path, storage, "n"), [CHUNK + 1, CHUNK, CHUNK]);
        check_all(&recorder(&path, storage, OpenMode::Read), CHUNK + 1);
    }
}

/// Reads views that were opened at each length while a writer folds each record, before and after a
/// chunk is full.
fn read_while_it_grows(path: &Path, storage: ZarrStorage, is_done: impl Fn() -> bool) -> u64 {
    let mut views: Vec<View> = Vec::new();
    let mut reads = 0;
    loop {
        let last_round = is_done();
        let reader = recorder(path, storage, OpenMode::Read);
        for key in ["n", "rows", "text", "blob", "wide"] {
            let known = views.iter().rev().find(|view| view.key().as_str() == key);
            let view = reader.get_all(key).unwrap();
            if known.is_none_or(|known| known.len() < view.len()) {
                views.push(view);
            }
        }
        for view in &views {
            check(view);
            reads += 1;
        }
        if last_round {
            return reads;
        }
    }
}

const GROWN: u64 = CHUNK + 20;

fn grow(writer: &Recorder, grown: impl Fn(u64)) {
    for step in 0..GROWN {
        record(writer, step..step + 1);
        if step % 5 == 4 {
            writer.flush().unwrap();
        }
        writer.checkpoint().unwrap();
        grown(step + 1);
    }
}

#[test]
fn views_of_a_short_series_read_the_same_while_it_grows_beyond_a_chunk() {
    for storage in BOTH {
        let (_folder, path, writer) = new_recording(storage);
        writer.checkpoint().unwrap();
        let (done, folds) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                scope.spawn(|| read_while_it_grows(&path, storage, || done.load(Ordering::SeqCst)))
            });
            grow(&writer, |_| _ = folds.fetch_add(1, Ordering::SeqCst));
            done.store(true, Ordering::SeqCst);
            for reader in readers {
                assert!(reader.join().unwrap() > 100);
            }
        });
        assert_eq!(folds.into_inner(), GROWN);
        check_all(&writer, GROWN);
    }
}

/// The same, with the writer in another process.
fn follow(name: &str, storage: ZarrStorage) {
    if let Some(path) = role() {
        let writer = recorder(&path, storage, OpenMode::CreateNew);
        declare(&writer);
        writer.checkpoint().unwrap();
        println!("ready");
        grow(&writer, |_| ());
        println!("grown");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = Partner::start(&mut this_test(name, &path));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader =
            scope.spawn(|| read_while_it_grows(&path, storage, || done.load(Ordering::SeqCst)));
        writer.wait_for("grown");
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 100);
    });
    check_all(&recorder(&path, storage, OpenMode::Read), GROWN);
    writer.finish();
}

#[test]
fn views_of_a_short_series_in_lmdb_follow_a_writer_in_another_process() {
    let name = "views_of_a_short_series_in_lmdb_follow_a_writer_in_another_process";
    follow(name, ZarrStorage::Lmdb);
}

#[test]
fn views_of_a_short_series_in_a_directory_follow_a_writer_in_another_process() {
    let name = "views_of_a_short_series_in_a_directory_follow_a_writer_in_another_process";
    follow(name, ZarrStorage::Directory);
}

#[test]
fn a_short_series_is_cut_renamed_and_described_and_grows() {
    for storage in BOTH {
        let (_folder, path, writer) = new_recording(storage);
        record(&writer, 0..9);
        writer.checkpoint().unwrap();
        for key in ["n", "rows", "text", "blob", "wide"] {
            writer.truncate(key, 5).unwrap();
        }
        writer.flush().unwrap();
        check_all(&writer, 5);
        let units = Attributes::from_iter([("units".to_owned(), json!("mV"))]);
        writer.set_attributes("n", units).unwrap();
        record(&writer, 5..6);
        writer.checkpoint().unwrap();
        check_all(&writer, 6);
        writer.close().unwrap();
        for array in ARRAYS {
            assert_eq!(rows(&path, storage, array), [6, 6, CHUNK], "{array}");
        }

        // Remove all rows, then append others.
        let writer = recorder(&path, storage, OpenMode::Append);
        for key in ["n", "rows", "text", "blob", "wide"] {
            writer.truncate(key, 0).unwrap();
        }
        writer.checkpoint().unwrap();
        record(&writer, 0..4);
        writer.checkpoint().unwrap();
        check_all(&writer, 4);
        writer.rename("n", "moved/n").unwrap();
        writer.rename("moved/n", "n").unwrap();
        check_all(&writer, 4);
        record(&writer, 4..CHUNK + 3);
        writer.checkpoint().unwrap();
        check_all(&writer, CHUNK + 3);
        // Full chunks stay, however short the series becomes.
        for key in ["n", "rows", "text", "blob", "wide"] {
            writer.truncate(key, 5).unwrap();
        }
        record(&writer, 5..8);
        writer.close().unwrap();
        assert_eq!(rows(&path, storage, "n"), [8, CHUNK, CHUNK]);
        check_all(&recorder(&path, storage, OpenMode::Read), 8);
        verify_all(&path, storage);
    }
}

#[test]
fn a_copy_of_a_short_series_is_short_and_grows() {
    for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(from, to)| (BOTH[from], BOTH[to])) {
        let folder = tempfile::tempdir().unwrap();
        let (source, path) = (folder.path().join("source"), folder.path().join("copy"));
        let writer = recorder(&source, from, OpenMode::CreateNew);
        declare(&writer);
        record(&writer, 0..11);
        writer.close().unwrap();
        let target = open(&path, to, OpenMode::CreateNew);
        copy(
            &open(&source, from, OpenMode::Read),
            &target,
            CopyOptions::new(),
        )
        .unwrap();
        target.close().unwrap();
        for array in ARRAYS {
            assert_eq!(rows(&path, to, array), [11, 11, CHUNK], "{array}");
        }
        // The chunks were not encoded again.
        let chunk = |path: &Path, storage, array: &str, at: [&str; 2]| {
            let chunk = at
                .iter()
                .find_map(|at| entry(path, storage, &format!("{array}/{at}")));
            chunk.unwrap()
        };
        for (array, at) in [("n", ["c/0", "0"]), ("wide", ["c/0/1", "0.1"])] {
            assert_eq!(chunk(&path, to, array, at), chunk(&source, from, array, at));
        }
        for len in [11, 14, CHUNK + 2] {
            let writer = recorder(&path, to, OpenMode::Append);
            let before = writer.get_all("n").unwrap().len();
            record(&writer, before..len);
            check_all(&writer, len);
            writer.close().unwrap();
            assert_eq!(rows(&path, to, "n"), [len, len.min(CHUNK), CHUNK]);
        }
        check_all(&recorder(&path, to, OpenMode::Read), CHUNK + 2);

        // A source with an open writer also has rows in its tail.
        let writer = recorder(&source, from, OpenMode::Append);
        record(&writer, 11..13);
        writer.flush().unwrap();
        let path = folder.path().join("second");
        let target = open(&path, to, OpenMode::CreateNew);
        copy(
            &open(&source, from, OpenMode::Read),
            &target,
            CopyOptions::new(),
        )
        .unwrap();
        target.close().unwrap();
        check_all(&recorder(&path, to, OpenMode::Read), 13);
        assert_eq!(rows(&path, to, "n"), [13, 13, CHUNK]);
    }
}

#[test]
fn fill_values_and_rounding_are_those_of_long_series() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let writer = recorder(&path, storage, OpenMode::CreateNew);
        let lossy = Schema::scalar::<f64>().with_compression(Compression::lossy(0.5).unwrap());
        writer.declare("lossy", lossy).unwrap();
        let filled = Schema::array::<i32>([3]).with_fill_value(7_i32);
        writer.declare("filled", filled).unwrap();
        for step in 0..5 {
            writer.record("lossy", f64::from(step) * 0.7).unwrap();
            writer.record("filled", [step; 3]).unwrap();
        }
        writer.flush().unwrap();
        let before = writer.get_all("lossy").unwrap().read::<f64>().unwrap();
        writer.close().unwrap();
        let reader = recorder(&path, storage, OpenMode::Read);
        let view = reader.get_all("lossy").unwrap();
        assert_eq!(view.read::<f64>().unwrap(), before);
        assert_eq!(view.schema().compression(), Compression::lossy(0.5).ok());
        let filled = reader.get_all("filled").unwrap();
        let fill_value = filled.schema().fill_value().unwrap();
        assert_eq!(fill_value.array::<i32>().unwrap().first(), Some(&7));
        assert_eq!(rows(&path, storage, "lossy")[..2], [5, 5]);
        assert_eq!(metadata(&path, storage, "filled")["fill_value"], 7);
    }
}

#[test]
fn series_of_earlier_recordings_keep_their_full_chunks() {
    let storage = ZarrStorage::Lmdb;
    let (_folder, path, writer) = new_recording(storage);
    writer.close().unwrap();
    // As an earlier version wrote it.
    let lmdb = LmdbOptions::default().mode(OpenMode::Append);
    let lmdb = LmdbStorage::open(&path, &lmdb).unwrap();
    for array in ARRAYS.into_iter().chain(["rows/values", "blob/values"]) {
        let mut old = metadata(&path, storage, array);
        let reserved = old["attributes"]["simrecorder"].as_object_mut().unwrap();
        reserved.remove("chunk_shape").unwrap();
        let key = StoreKey::new(format!("{array}/zarr.json")).unwrap();
        lmdb.set(&key, old.to_string().into()).unwrap();
    }
    lmdb.close().unwrap();
    drop(lmdb);
    for len in [5, 7, CHUNK + 1] {
        let writer = recorder(&path, storage, OpenMode::Append);
        let before = writer.get_all("n").unwrap().len();
        record(&writer, before..len);
        writer.close().unwrap();
        let metadata = metadata(&path, storage, "n");
        assert_eq!(
            metadata["chunk_grid"]["configuration"]["chunk_shape"],
            json!([CHUNK])
        );
        check_all(&recorder(&path, storage, OpenMode::Read), len);
    }
}
