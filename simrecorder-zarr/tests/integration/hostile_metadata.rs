//! Arbitrary metadata: each operation soon returns records or an error that names the key, and
//! never panics, loops endlessly or aborts the process.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value as Json, json};
use simrecorder_core::{
    Change, ChunkPolicy, Commit, CopyOptions, DataStore, Durability, ErrorKind, Key, OpenMode,
    Recorder, RecorderOptions, Result, Schema, View, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::{hostile_values, json_pointers};

fn open(path: &Path, mode: OpenMode) -> Result<ZarrDataStore> {
    ZarrDataStore::options()
        .storage(ZarrStorage::Directory)
        .durability(Durability::Process)
        .mode(mode)
        .open(path)
}

fn recorder(store: ZarrDataStore) -> Recorder {
    Recorder::with_options(store, RecorderOptions::new().inline(true))
}

fn record(recorder: &Recorder, i: u64) -> [Result<()>; 6] {
    [
        recorder.record("n", i),
        recorder.record("v", [[i as f32; 3]; 2]),
        recorder.record("rows", Ragged(vec![i; i as usize % 3])),
        recorder.record("text", format!("text {i}")),
        recorder.record("blob", Blob(vec![i as u8; 5])),
        recorder.set("value", vec![i; 40]),
    ]
}

fn recording(path: &Path) {
    let recorder = recorder(open(path, OpenMode::CreateNew).unwrap());
    let small = ChunkPolicy::records(4);
    for (key, schema) in [
        ("n", Schema::scalar::<u64>()),
        ("v", Schema::array::<f32>([2, 3])),
        ("rows", Schema::ragged::<u64>([])),
        ("text", Schema::text()),
        ("blob", Schema::bytes()),
    ] {
        recorder
            .declare(key, schema.with_chunk_policy(small.clone()))
            .unwrap();
    }
    recorder.set("text value", "a text").unwrap();
    for i in 0..10 {
        record(&recorder, i)
            .into_iter()
            .for_each(|result| result.unwrap());
    }
    recorder.close().unwrap();
}

const SERIES: [&str; 5] = ["n", "v", "rows", "text", "blob"];

/// The error of a damaged key names the key, and blames neither this library nor the user.
#[track_caller]
fn check(result: Result<()>, what: &str) {
    if let Err(error) = result {
        assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error:?}");
        assert!(error.key().is_some(), "{what}: {error:?}");
    }
}

fn read_everything(recorder: &Recorder, what: &str) {
    check(recorder.keys().map(drop), what);
    for key in ["value", "text value"] {
        check(recorder.get(key).map(drop), what);
    }
    for key in SERIES {
        check(recorder.attributes(key).map(drop), what);
        let view = match recorder.get_all(key) {
            Ok(view) => view,
            Err(error) => {
                check(Err(error), what);
                continue;
            }
        };
        check(view.get(5).map(drop), what);
        check(view.get(view.len().wrapping_sub(1)).map(drop), what);
        check(view.read_value().map(drop), what);
        check(view.read_text().map(drop), what);
        check(view.read_ragged::<u64>().map(drop), what);
        for part in [view.select(..3), view.select(-3..), view.select(1..2)] {
            match part {
                Ok(part) => read_part(&part, what),
                Err(error) => check(Err(error), what),
            }
        }
        // Not with `iter`, which may look for a hundred thousand missing chunks at once.
        for start in [0, 3, 7] {
            check(view.read_records(start..view.len(), 64).map(drop), what);
            let encoded = view.as_encoded().unwrap();
            check(encoded.read_encoded(start..view.len(), 64).map(drop), what);
        }
    }
}

fn read_part(part: &View, what: &str) {
    check(part.read_value().map(drop), what);
    check(part.get(0).map(drop), what);
    check(part.iter().next().transpose().map(drop), what);
    check(part.read_records(0..1, 64).map(drop), what);
}

fn write_everything(store: ZarrDataStore, what: &str) {
    for key in SERIES {
        let change = Change::Truncate {
            key: Key::new(key).unwrap(),
            len: 5,
        };
        check(store.commit(Commit::new(vec![change])), what);
    }
    let recorder = recorder(store);
    for i in 0..3 {
        for result in record(&recorder, i) {
            check(result, what);
        }
    }
    check(recorder.flush(), what);
    check(recorder.close(), what);
}

/// Copies each key separately into a new recording, and stops at the first commit: there may be an
/// endless number of records.
fn copy_everything(from: &Path, to: &Path, what: &str) {
    let from = open(from, OpenMode::Read).unwrap();
    let to = open(to, OpenMode::Truncate).unwrap();
    for key in SERIES.iter().chain(&["value", "text value"]) {
        let options = CopyOptions::new().only(Key::new(key).unwrap());
        let options = options.on_progress(|_| ControlFlow::Break(()));
        match simrecorder_core::copy(&from, &to, options) {
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            result => check(result.map(drop), what),
        }
    }
    to.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn any_metadata_ends_in_an_error_or_in_records() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    recording(&sound);
    let large = [
        1 << 12,
        1 << 40,
        1 << 53,
        1 << 60,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ];
    let mut nasty = hostile_values(&large);
    nasty.extend(large.map(|n| json!([n])));
    nasty.extend([json!([1_u64 << 60, 0]), json!([1_u64 << 40, 1_u64 << 40])]);
    nasty.extend(["uint8", "string", "float64", "bool", "complex64"].map(Json::from));
    nasty.extend(["series", "value", "group", "text", "bytes", "ragged"].map(Json::from));
    let documents = [
        "n",
        "v",
        "rows",
        "rows/ends",
        "rows/values",
        "text",
        "blob/values",
    ];
    let documents = documents
        .into_iter()
        .chain(["blob/ends", "value", "text value"]);
    let mut case = 0;
    for document in documents {
        let entry = format!("{document}/zarr.json");
        let text = fs::read(sound.join(&entry)).unwrap();
        let json: Json = serde_json::from_slice(&text).unwrap();
        for pointer in json_pointers(&json) {
            for value in &nasty {
                // Each of them takes minutes, so some are left out; which ones depends on the
                // pointer.
                case += 1;
                if case % 41 != 0 {
                    continue;
                }
                let mut damaged = json.clone();
                *damaged.pointer_mut(&pointer).unwrap() = value.clone();
                let what = format!("{entry} {pointer} {value}");
                fs::write(sound.join(&entry), damaged.to_string()).unwrap();
                read_everything(&recorder(open(&sound, OpenMode::Read).unwrap()), &what);
                // Writing to a copy takes longer.
                if case % 3 == 0 {
                    copy_everything(&sound, &folder.path().join("to"), &what);
                    let path = folder.path().join("copy");
                    copy(&sound, &path);
                    write_everything(open(&path, OpenMode::Append).unwrap(), &what);
                    fs::remove_dir_all(path).unwrap();
                }
            }
        }
        fs::write(sound.join(&entry), text).unwrap();
    }
}

/// Shape and chunk shape together, which single changes do not reach.
#[test]
fn shapes_of_any_length_end_in_an_error_or_in_records() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    recording(&sound);
    let lengths = [
        0,
        1,
        3,
        1 << 12,
        1 << 40,
        1 << 60,
        i64::MAX as u64,
        u64::MAX,
    ];
    for document in ["n", "text", "rows/ends", "rows/values", "value", "v"] {
        let entry = sound.join(document).join("zarr.json");
        let text = fs::read(&entry).unwrap();
        let json: Json = serde_json::from_slice(&text).unwrap();
        for (i, len) in lengths.into_iter().enumerate() {
            for (j, chunk) in lengths.into_iter().enumerate() {
                for row in [0, 1, 1 << 40, 1 << 62] {
                    let mut damaged = json.clone();
                    let (mut shape, mut chunks) = (vec![len], vec![chunk]);
                    if document == "v" || row == 0 {
                        shape.extend([row, 3]);
                        chunks.extend([chunk.min(7), 1]);
                    } else if row > 1 {
                        continue;
                    }
                    damaged["shape"] = json!(shape);
                    damaged["chunk_grid"]["configuration"]["chunk_shape"] = json!(chunks);
                    damaged["dimension_names"] = Json::Null;
                    let what = format!("{document} {shape:?} {chunks:?}");
                    fs::write(&entry, damaged.to_string()).unwrap();
                    read_everything(&recorder(open(&sound, OpenMode::Read).unwrap()), &what);
                    if (i + j) % 5 == 0 {
                        copy_everything(&sound, &folder.path().join("to"), &what);
                        let path = folder.path().join("copy");
                        copy(&sound, &path);
                        write_everything(open(&path, OpenMode::Append).unwrap(), &what);
                        fs::remove_dir_all(path).unwrap();
                    }
                }
            }
        }
        fs::write(entry, text).unwrap();
    }
}

#[test]
fn chunks_that_no_program_could_hold_are_refused_when_they_are_declared() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(open(&folder.path().join("run"), OpenMode::CreateNew).unwrap());
    for records in [1 << 40, u64::MAX] {
        for schema in [
            Schema::scalar::<u8>(),
            Schema::text(),
            Schema::bytes(),
            Schema::ragged::<u8>([]),
        ] {
            let schema = schema.with_chunk_policy(ChunkPolicy::records(records));
            let error = recorder.declare("x", schema).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
    }
    recorder.record("x", 1_u64).unwrap();
    recorder.close().unwrap();
}

#[test]
fn attributes_that_could_not_be_read_again_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = recorder(open(&folder.path().join("run"), OpenMode::CreateNew).unwrap());
    let nested = |depth| (0..depth).fold(json!(1), |json, _| json!([json]));
    let schema = |depth| Schema::text().with_attribute("deep", nested(depth));
    let error = recorder.declare("x", schema(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    recorder.declare("x", schema(100)).unwrap();
    recorder.record("x", "text").unwrap();
    recorder.flush().unwrap();
    let attributes = recorder.attributes("x").unwrap().unwrap();
    assert_eq!(attributes["deep"], nested(100));
}
