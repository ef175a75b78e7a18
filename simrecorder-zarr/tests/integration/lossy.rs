//! Lossy compression in Zarr: numbers are rounded before they are stored, as `ErrorBound::round`
//! promises, whether they reach a chunk through the tail or directly.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use simrecorder_core::ndarray::{ArrayView2, s};
use simrecorder_core::{
    Change, ChunkPolicy, Commit, Compression, DType, Durability, Element, ErrorBound, Key,
    OpenMode, Recorder, RecorderOptions, Schema, Value, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrOptions, ZarrStorage};

use crate::support::chunks;

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];
const MAX_ERROR: f64 = 0.003;

fn lossy() -> Compression {
    Compression::lossy(MAX_ERROR).unwrap()
}

fn options(storage: ZarrStorage, mode: OpenMode) -> ZarrOptions {
    let options = ZarrDataStore::options().storage(storage).mode(mode);
    options.durability(Durability::Process)
}

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode, inline: bool) -> Recorder {
    let store = options(storage, mode).open(path).unwrap();
    Recorder::with_options(store, RecorderOptions::new().inline(inline))
}

/// Numbers that use all bits.
fn noise(range: std::ops::Range<u64>) -> Vec<f64> {
    let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    range
        .map(|i| hash(i) as f64 / 2_f64.powi(60) - 8.0)
        .collect()
}

fn rounded(numbers: &[f64]) -> Vec<f64> {
    let mut bytes = f64::bytes_of(numbers).to_vec();
    ErrorBound::new(MAX_ERROR)
        .unwrap()
        .round(DType::F64, &mut bytes);
    let (numbers, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    numbers
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect()
}

fn read(recorder: &Recorder, key: &str) -> Vec<f64> {
    let view = recorder.get_all(key).unwrap();
    let records = view
        .iter()
        .map(|record| record.unwrap().array::<f64>().unwrap());
    records
        .flat_map(|record| record.into_iter().collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_same_numbers_are_read_from_tails_and_from_chunks_and_after_reopening() {
    const WIDTH: u64 = 10;
    // Four records in a chunk, then a record in three chunks.
    for chunk in [[4, WIDTH], [1, 4]] {
        for (storage, inline) in BOTH.into_iter().flat_map(|s| [(s, true), (s, false)]) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run");
            let schema = Schema::array::<f64>([WIDTH])
                .with_chunk_policy(ChunkPolicy::shape(chunk).unwrap())
                .with_compression(lossy());
            let mut recorder = open(&path, storage, OpenMode::CreateNew, inline);
            recorder.declare("v", schema).unwrap();
            let mut len = 0;
            let check = |recorder: &Recorder, len: u64| {
                assert_eq!(
                    read(recorder, "v"),
                    rounded(&noise(0..len * WIDTH)),
                    "{len} records"
                );
            };
            for (round, more) in [1, 2, 4, 9, 3].into_iter().enumerate() {
                for index in len..len + more {
                    recorder
                        .record("v", noise(index * WIDTH..(index + 1) * WIDTH))
                        .unwrap();
                }
                len += more;
                check(&recorder, len);
                recorder.flush().unwrap();
                check(&recorder, len);
                match round {
                    1 => {
                        recorder.close().unwrap();
                        drop(recorder);
                        // The bound comes from the recording, not from these options.
                        recorder = open(&path, storage, OpenMode::Append, inline);
                    }
                    2 => recorder.checkpoint().unwrap(),
                    _ => {}
                }
                check(&recorder, len);
            }
            recorder.close().unwrap();
            drop(recorder);
            check(&open(&path, storage, OpenMode::Read, inline), len);
        }
    }
}

#[test]
fn parts_of_a_large_chunk_are_read() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let recorder = open(&path, storage, OpenMode::CreateNew, true);
        let schema = Schema::array::<f64>([50]).with_compression(lossy());
        recorder.declare("v", schema).unwrap();
        let numbers = noise(0..100_000);
        for record in numbers.chunks(50) {
            recorder.record("v", record).unwrap();
        }
        recorder.close().unwrap();
        drop(recorder);
        let view = open(&path, storage, OpenMode::Read, true)
            .get_all("v")
            .unwrap();
        let all = ArrayView2::from_shape((2000, 50), &numbers).unwrap();
        for (rows, column) in [(0..1, 49), (777..1901, 3), (1500..2000, 0)] {
            let part = view
                .select(s![rows.clone(), column..])
                .unwrap()
                .read::<f64>()
                .unwrap();
            let recorded: Vec<f64> = all.slice(s![rows, column..]).iter().copied().collect();
            assert_eq!(part.into_iter().collect::<Vec<_>>(), rounded(&recorded));
        }
    }
}

#[test]
fn a_series_that_is_cut_within_its_tail_reads_as_before() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let recorder = open(&path, storage, OpenMode::CreateNew, true);
        let schema = Schema::scalar::<f64>().with_chunk_policy(ChunkPolicy::records(8));
        recorder
            .declare("v", schema.with_compression(lossy()))
            .unwrap();
        for number in noise(0..13) {
            recorder.record("v", number).unwrap();
        }
        recorder.flush().unwrap();
        let before = read(&recorder, "v");
        drop(recorder);
        let store = options(storage, OpenMode::Append).open(&path).unwrap();
        let cut = Change::Truncate {
            key: Key::new("v").unwrap(),
            len: 11,
        };
        store.commit(Commit::new(vec![cut])).unwrap();
        let recorder = Recorder::new(store);
        assert_eq!(read(&recorder, "v"), before[..11]);
        recorder.checkpoint().unwrap();
        assert_eq!(read(&recorder, "v"), before[..11]);
    }
}

#[test]
fn a_lossy_store_rounds_series_of_floating_point_numbers_and_nothing_else() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let store = options(storage, OpenMode::CreateNew)
            .compression(lossy())
            .open(&path)
            .unwrap();
        let recorder = Recorder::new(store);
        let numbers = noise(0..40);
        let integers: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
        recorder.set("value", &numbers).unwrap();
        let exact = Schema::array::<f64>([40]).with_compression(Compression::Fast);
        recorder.declare("exact", exact).unwrap();
        recorder.record("exact", &numbers).unwrap();
        recorder.record("v", &numbers).unwrap();
        recorder.record("rows", Ragged(&numbers)).unwrap();
        recorder.record("integers", &integers).unwrap();
        recorder.record("integer rows", Ragged(&integers)).unwrap();
        recorder.record("text", "0.1").unwrap();
        recorder.record("object", Object(0.1)).unwrap();
        recorder.close().unwrap();
        drop(recorder);

        let recorder = open(&path, storage, OpenMode::Read, true);
        assert_eq!(
            recorder.get_as::<Vec<f64>>("value").unwrap().unwrap(),
            numbers
        );
        assert_eq!(read(&recorder, "exact"), numbers);
        assert_eq!(read(&recorder, "v"), rounded(&numbers));
        assert_eq!(read(&recorder, "rows"), rounded(&numbers));
        let first = |key| recorder.get_all(key).unwrap().get(0).unwrap();
        for key in ["integers", "integer rows"] {
            assert_eq!(first(key), Value::new(&integers).unwrap(), "{key}");
        }
        assert_eq!(first("text"), Value::new("0.1").unwrap());
        assert_eq!(first("object"), Value::new(Object(0.1)).unwrap());
        let compression = |key| {
            recorder
                .get_all(key)
                .unwrap()
                .schema()
                .compression()
                .unwrap()
        };
        assert_eq!(compression("exact"), Compression::Fast);
        assert_eq!(compression("rows"), lossy());
        assert_eq!(compression("integer rows"), Compression::Small);
        assert_eq!(compression("text"), Compression::Small);
    }
}

fn directory(path: &Path, mode: OpenMode) -> Recorder {
    open(path, ZarrStorage::Directory, mode, true)
}

fn document(path: &Path, array: &str) -> Json {
    let file = path.join(array).join("zarr.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_bound_is_in_the_metadata_of_the_array_and_survives_other_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = directory(&path, OpenMode::CreateNew);
    let bound = 1e-300;
    let compression = Compression::lossy(bound).unwrap();
    let scalar = Schema::scalar::<f32>().with_units("mV");
    recorder
        .declare("v", scalar.with_compression(compression))
        .unwrap();
    let rows = Schema::ragged::<f64>([2]).with_compression(compression);
    recorder.declare("rows", rows).unwrap();
    let integers = Schema::scalar::<u32>().with_compression(compression);
    recorder.declare("integers", integers).unwrap();
    recorder
        .set_attributes(
            "v",
            [("units".to_owned(), json!("V"))].into_iter().collect(),
        )
        .unwrap();
    recorder.close().unwrap();
    drop(recorder);
    for array in ["v", "rows/values"] {
        let own = &document(&path, array)["attributes"]["simrecorder"];
        assert_eq!(own["max_error"].as_f64(), Some(bound), "{array}");
    }
    for array in ["rows", "rows/ends", "integers"] {
        let own = &document(&path, array)["attributes"]["simrecorder"];
        assert_eq!(own.get("max_error"), None, "{array}");
    }
    let view = directory(&path, OpenMode::Read).get_all("v").unwrap();
    assert_eq!(view.schema().compression(), Some(compression));
    assert_eq!(view.attributes().len(), 1);
}

#[test]
fn series_that_differ_in_their_bound_alone_each_keep_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let bounds = [0.5, 0.25, 0.125];
    let recorder = directory(&path, OpenMode::CreateNew);
    for bound in bounds {
        let compression = Compression::lossy(bound).unwrap();
        let schema = Schema::scalar::<f64>().with_compression(compression);
        recorder.declare(bound.to_string(), schema).unwrap();
        recorder.record(bound.to_string(), 0.3).unwrap();
    }
    recorder.close().unwrap();
    drop(recorder);
    let recorder = directory(&path, OpenMode::Append);
    for (bound, expected) in bounds.into_iter().zip([0.0, 0.5, 0.25]) {
        recorder.record(bound.to_string(), 0.3).unwrap();
        assert_eq!(
            read(&recorder, &bound.to_string()),
            [expected; 2],
            "{bound}"
        );
    }
}

#[test]
fn a_bound_that_is_none_leaves_every_number_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = directory(&path, OpenMode::CreateNew);
    let numbers = noise(0..20);
    for bound in [
        json!(0),
        json!(-1e-3),
        json!("0.1"),
        json!(null),
        json!([1]),
    ] {
        let key = bound.to_string();
        recorder.declare(&key, Schema::scalar::<f64>()).unwrap();
        recorder.checkpoint().unwrap();
        let mut document = document(&path, &key);
        document["attributes"]["simrecorder"]["max_error"] = bound;
        fs::write(path.join(&key).join("zarr.json"), document.to_string()).unwrap();
    }
    recorder.close().unwrap();
    drop(recorder);
    let recorder = directory(&path, OpenMode::Append);
    for key in recorder.keys().unwrap() {
        for number in &numbers {
            recorder.record(&key, *number).unwrap();
        }
        assert_eq!(read(&recorder, key.as_str()), numbers, "{key}");
    }
    recorder.close().unwrap();
}

#[test]
fn noise_below_the_bound_takes_no_space() {
    let folder = tempfile::tempdir().unwrap();
    let size = |compression: Compression| {
        let path = folder
            .path()
            .join(format!("{}.zarr", compression.to_string().len()));
        let store = options(ZarrStorage::Directory, OpenMode::CreateNew);
        let recorder = Recorder::new(store.compression(compression).open(&path).unwrap());
        recorder.record("v", noise(0..100_000)).unwrap();
        recorder.close().unwrap();
        let chunk = chunks::place(&path, "v/c/0/0").read();
        chunk.unwrap().len()
    };
    // About 12 of 64 bits are above the bound.
    assert!(3 * size(lossy()) < size(Compression::Small));
}
