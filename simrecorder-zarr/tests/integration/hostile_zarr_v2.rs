//! Arbitrary metadata and names of Zarr V2: each operation soon returns records or an error that
//! names the key, and never panics, loops endlessly or aborts the process.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};
use simrecorder_core::{ErrorKind, OpenMode, Recorder, Result, prelude::*, verify};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::{assert_success, hostile_values, json_pointers, python_with_zarr2};

fn written(kind: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let program = "simrecorder-zarr/tests/python/write_zarr_v2.py";
    assert_success(python_with_zarr2(program).arg(kind).arg(&path));
    (folder, path)
}

fn open(path: &Path, storage: ZarrStorage) -> Recorder {
    let options = ZarrDataStore::options().storage(storage);
    Recorder::new(options.mode(OpenMode::Read).open(path).unwrap())
}

/// An error names the key, and blames neither this library nor the user.
#[track_caller]
fn check(result: Result<()>, what: &str) {
    if let Err(error) = result {
        assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error:?}");
        assert!(error.key().is_some(), "{what}: {error:?}");
    }
}

fn read(recorder: &Recorder, key: &str, what: &str) {
    check(recorder.attributes(key).map(drop), what);
    check(recorder.get(key).map(drop), what);
    let view = match recorder.get_all(key) {
        Ok(view) => view,
        Err(error) => return check(Err(error), what),
    };
    check(view.get(5).map(drop), what);
    check(view.get(view.len().wrapping_sub(1)).map(drop), what);
    check(view.read_value().map(drop), what);
    check(view.read_text().map(drop), what);
    check(view.read_records(1..view.len(), 64).map(drop), what);
    if let Ok(part) = view.select(-3..) {
        check(part.read_value().map(drop), what);
    }
}

const ARRAYS: [&str; 10] = [
    "codecs/zlib_1",
    "codecs/zstd_1",
    "codecs/blosc_lz4_1",
    "codecs/two_filters",
    "codecs/fletcher32",
    "layouts/scalar",
    "layouts/F_order_3",
    "texts/default",
    "texts/<U8_gzip",
    "types/c16>",
];

#[test]
fn any_metadata_of_zarr_v2_ends_in_an_error_or_in_records() {
    let (_folder, path) = written("directory");
    let large = [1 << 12, 1 << 40, 1 << 60, 1 << 63, u64::MAX];
    let mut nasty = hostile_values(&large);
    nasty.push(json!("NaN"));
    nasty.extend(
        [
            "<f8",
            "<U8",
            "|S99999999",
            "<U4000000000",
            ">i2",
            "|b1",
            "|O",
            "<c16",
            "<M8[ns]",
            "é",
            "<é",
            "|V0",
        ]
        .map(Json::from),
    );
    nasty.extend(
        ["zlib", "zstd", "blosc", "shuffle", "vlen-utf8", "pickle"].map(|id| json!({ "id": id })),
    );
    nasty.extend([
        json!([{ "id": "shuffle", "elementsize": 0 }]),
        json!([{ "id": "vlen-utf8" }]),
    ]);
    let mut case = 0;
    for key in ARRAYS {
        let file = path.join(key).join(".zarray");
        let text = fs::read(&file).unwrap();
        let json: Json = serde_json::from_slice(&text).unwrap();
        for pointer in json_pointers(&json) {
            for value in &nasty {
                // All of them take minutes, so some are left out; which ones depends on the
                // pointer.
                case += 1;
                if case % 5 != 0 {
                    continue;
                }
                let mut damaged = json.clone();
                *damaged.pointer_mut(&pointer).unwrap() = value.clone();
                fs::write(&file, damaged.to_string()).unwrap();
                let recorder = open(&path, ZarrStorage::Directory);
                read(&recorder, key, &format!("{key} {pointer} {value}"));
            }
        }
        fs::write(file, text).unwrap();
    }
    assert!(case > 2000);
}

#[test]
fn shapes_of_zarr_v2_of_any_length_end_in_an_error_or_in_records() {
    let (_folder, path) = written("directory");
    let lens = [0, 1, 3, 1 << 12, 1 << 40, 1 << 60, u64::MAX];
    for key in [
        "codecs/zlib_1",
        "codecs/zstd_1",
        "texts/default",
        "texts/<U8_gzip",
    ] {
        let file = path.join(key).join(".zarray");
        let json: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let axes = json["shape"].as_array().unwrap().len();
        for len in lens {
            for chunk in lens {
                let mut damaged = json.clone();
                damaged["shape"] = json!([&[len][..], &[3].repeat(axes - 1)].concat());
                damaged["chunks"] = json!([&[chunk][..], &[2].repeat(axes - 1)].concat());
                fs::write(&file, damaged.to_string()).unwrap();
                let recorder = open(&path, ZarrStorage::Directory);
                read(&recorder, key, &format!("{key} {len} {chunk}"));
            }
        }
    }
}

#[test]
fn malformed_json_of_zarr_v2_is_an_error_of_its_key() {
    let (_folder, path) = written("directory");
    let deep = format!(
        "{{\"a\": {}NaN{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for text in ["", "[]", "{", "null", "{\"a\": NaNs}", "\u{feff}{}", &deep] {
        for name in [
            "layouts/named/.zattrs",
            "layouts/a/.zgroup",
            "layouts/default/.zarray",
        ] {
            let file = path.join(name);
            let before = fs::read(&file).ok();
            fs::write(&file, text).unwrap();
            let recorder = open(&path, ZarrStorage::Directory);
            let (key, _) = name.rsplit_once('/').unwrap();
            let error = recorder.attributes(key).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::Corrupt,
                "{name} {text:.9}: {error}"
            );
            assert_eq!(error.key(), Some(key), "{error}");
            // It hides no other key.
            assert!(recorder.get_all("layouts/one_axis").is_ok());
            assert!(
                recorder
                    .keys()
                    .unwrap()
                    .iter()
                    .any(|key| key.as_str() == "layouts/one_axis")
            );
            fs::write(&file, before.unwrap()).unwrap();
        }
    }
}

#[test]
fn links_and_pipes_in_zarr_v2_are_not_followed() {
    let (folder, path) = written("directory");
    fs::write(folder.path().join("secret"), "{\"zarr_format\": 2}").unwrap();
    for name in [".zarray", "0", ".zattrs"] {
        let file = path.join("layouts/one_axis").join(name);
        let before = fs::read(&file).ok();
        let _ = fs::remove_file(&file);
        std::os::unix::fs::symlink(folder.path().join("secret"), &file).unwrap();
        let read = || {
            let recorder = open(&path, ZarrStorage::Directory);
            recorder.get_all("layouts/one_axis")?.read_value().map(drop)
        };
        let error = read().unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        fs::remove_file(&file).unwrap();
        assert_success(Command::new("mkfifo").arg(&file));
        let error = read().unwrap_err().to_string();
        assert!(error.contains("no plain file"), "{error}");
        fs::remove_file(&file).unwrap();
        before
            .into_iter()
            .for_each(|before| fs::write(&file, before).unwrap());
    }
}

#[test]
fn keys_of_lmdb_that_are_not_paths_are_left_out() {
    let (_folder, path) = written("names");
    let recorder = open(&path, ZarrStorage::Lmdb);
    let keys: Vec<_> = recorder
        .keys()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(keys, ["a/good"]);
    assert_eq!(
        recorder
            .get_all("a/good")
            .unwrap()
            .read::<f64>()
            .unwrap()
            .sum(),
        45.0
    );
    assert!(
        verify(&ZarrDataStore::open(&path).unwrap())
            .unwrap()
            .is_sound()
    );
}
