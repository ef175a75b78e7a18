//! Hierarchies that zarr-python 2 wrote are read: in a directory, in a folder of LMDB and in a
//! single file of LMDB.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::{Path, PathBuf};

use serde_json::json;
use simrecorder_core::{
    CopyOptions, Durability, ErrorKind, Node, NodeKind, OpenMode, Recorder, Result, Value, copy,
    prelude::*, verify,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::counting::{check, child_names, numbers};
use support::{assert_success, python_with_zarr2};

/// The kinds of hierarchies that zarr-python writes, and the storage of each.
const KINDS: [(&str, ZarrStorage); 3] = [
    ("directory", ZarrStorage::Directory),
    ("lmdb", ZarrStorage::Lmdb),
    ("file", ZarrStorage::Lmdb),
];

fn written(kind: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let program = "simrecorder-zarr/tests/python/write_zarr_v2.py";
    assert_success(python_with_zarr2(program).arg(kind).arg(&path));
    (folder, path)
}

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Result<ZarrDataStore> {
    ZarrDataStore::options()
        .storage(storage)
        .mode(mode)
        .open(path)
}

/// Calls `read` with a recorder on each kind of hierarchy.
fn with_each(read: impl Fn(&Recorder)) {
    for (kind, storage) in KINDS {
        let (_folder, path) = written(kind);
        read(&Recorder::new(
            open(&path, storage, OpenMode::Read).unwrap(),
        ));
    }
}

/// The keys of arrays that are written completely.
fn full(recorder: &Recorder) -> Vec<String> {
    let groups = ["layouts", "codecs", "types", "texts", "layouts/a/b/c"];
    let keys = groups
        .into_iter()
        .flat_map(|group| child_names(recorder, group));
    let others = ["layouts/a", "texts/zero"];
    let is_other = |key: &str| others.contains(&key) || key.starts_with("texts/missing");
    let keys: Vec<_> = keys.filter(|key| !is_other(key)).collect();
    assert!(keys.len() > 80, "{keys:?}");
    keys
}

#[test]
fn every_layout_codec_and_type_of_zarr_v2_is_read_bit_for_bit() {
    with_each(|recorder| {
        for key in full(recorder) {
            check(recorder, &key);
        }
        let keys = child_names(recorder, "layouts");
        for name in [
            "%percent",
            "__dunder",
            "zarr.json",
            "slashes",
            "no_elements",
        ] {
            assert!(
                keys.contains(&format!("layouts/{name}")),
                "{name}: {keys:?}"
            );
        }
    });
}

#[test]
fn chunks_of_zarr_v2_that_were_never_written_are_the_fill_value_or_zero() {
    with_each(|recorder| {
        let keys = child_names(recorder, "missing");
        assert_eq!(keys.len(), 31, "{keys:?}");
        for key in keys {
            let Value::Array(array) = recorder.get_all(&key).unwrap().read_value().unwrap() else {
                panic!("{key}")
            };
            let fill = match key.as_str() {
                "missing/nan" => f64::NAN.to_ne_bytes().to_vec(),
                "missing/infinity" => f64::NEG_INFINITY.to_ne_bytes().to_vec(),
                "missing/complex" => [f64::NAN, f64::INFINITY].map(f64::to_ne_bytes).concat(),
                null if null.contains("null") => vec![0; array.dtype().size()],
                _ => numbers(array.dtype(), 7..8),
            };
            assert_eq!(array.as_bytes(), fill.repeat(60), "{key}");
        }
        let texts = |key: &str| recorder.get_all(key).unwrap().read_text().unwrap();
        assert_eq!(texts("texts/missing"), ["größe"; 3]);
        assert_eq!(texts("texts/zero"), [""; 3]);
        assert_eq!(texts("texts/missing_U"), ["größe"; 3]);
        assert_eq!(texts("texts/missing_S"), [""; 3]);
        let partly = recorder.get_all("partly").unwrap().read::<f64>().unwrap();
        for (at, &x) in partly.indexed_iter() {
            let is_written = at[0] < 4 && at[1] < 3;
            let expected = if is_written {
                (at[0] * 6 + at[1]) as f64
            } else {
                -1.0
            };
            assert_eq!(x, expected, "{at:?}");
        }
    });
}

#[test]
fn attributes_and_dimension_names_of_zarr_v2_are_read() {
    with_each(|recorder| {
        let attributes = recorder.attributes("").unwrap().unwrap();
        assert_eq!(attributes["title"], "by zarr-python 2");
        assert_eq!(attributes["simrecorder"], json!({"node": "series"}));
        // Numbers that are not JSON.
        let why = recorder.attributes("unreadable").unwrap().unwrap();
        assert_eq!(why["why"], json!(["NaN", "NaN", "-Infinity"]));
        let view = recorder.get_all("layouts/named").unwrap();
        let names = view.schema().dimension_names().unwrap().to_vec();
        assert_eq!(names, [Some("time".to_owned()), Some("x".to_owned())]);
        assert!(
            recorder
                .attributes("layouts/named")
                .unwrap()
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn what_cannot_be_read_of_zarr_v2_is_listed_and_says_why() {
    let causes = [
        ("JSON", "'json2'"),
        ("MsgPack", "'msgpack2'"),
        (
            "Pickle",
            "pickled Python objects, which simrecorder never loads",
        ),
        ("VLenBytes", "'vlen-bytes'"),
        ("bz2", "'bz2'"),
        ("datetime", "dates ('<M8[ns]')"),
        ("delta", "'delta'"),
        ("filled_bytes", "Base64"),
        ("lz4", "'lz4'"),
        ("lzma", "'lzma'"),
        ("raw", "raw bytes ('|V4')"),
        ("structured", "structures"),
        ("texts_2d", "texts and has more than one axis"),
        ("timedelta", "durations ('<m8[s]')"),
        ("objects/0", "pickled Python objects"),
    ];
    with_each(|recorder| {
        let mut listed = child_names(recorder, "unreadable");
        assert_eq!(
            recorder.kind_of("unreadable/objects").unwrap(),
            Some(NodeKind::Group)
        );
        assert_eq!(child_names(recorder, "unreadable/objects").len(), 3);
        listed.retain(|key| key != "unreadable/objects");
        assert_eq!(listed.len(), causes.len() - 1, "{listed:?}");
        let root = recorder.group("unreadable").unwrap();
        for (name, cause) in causes {
            let key = format!("unreadable/{name}");
            let error = recorder.get_all(&key).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert_eq!(error.key(), Some(&*key), "{error}");
            assert!(error.to_string().contains(cause), "{error}");
            let is_listed = root
                .nodes()
                .any(|(it, node)| it == name && matches!(node, Node::Unreadable { .. }));
            assert!(is_listed || name.contains('/'), "{name}");
        }
    });
}

#[test]
fn zarr_v2_is_verified_and_copied_into_a_recording_of_its_own() {
    for (kind, storage) in KINDS {
        let (folder, path) = written(kind);
        let from = open(&path, storage, OpenMode::Read).unwrap();
        let report = verify(&from).unwrap();
        let damaged: Vec<_> = report
            .damaged()
            .map(|damaged| damaged.key.as_str())
            .collect();
        assert!(
            damaged.iter().all(|key| key.starts_with("unreadable/")),
            "{damaged:?}"
        );
        assert!(!damaged.is_empty());

        let copied = folder.path().join("copy.zarr");
        let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
        let options = options
            .mode(OpenMode::CreateNew)
            .durability(Durability::Process);
        let to = options.open(&copied).unwrap();
        copy(&from, &to, CopyOptions::new().exclude("unreadable/**")).unwrap();
        to.close().unwrap();
        let read = Recorder::new(open(&copied, ZarrStorage::Directory, OpenMode::Append).unwrap());
        for key in full(&Recorder::new(from)) {
            check(&read, &key);
        }
        // The copy has chunks, checksums and tails like any other recording.
        let view = read.get_all("codecs/simrecorder").unwrap();
        assert!(view.chunk_shape()[0] > 1, "{:?}", view.chunk_shape());
        read.record("codecs/simrecorder", [[0_f32; 2]; 3]).unwrap();
        read.close().unwrap();
    }
}

#[test]
fn zarr_v2_is_not_written_and_the_error_says_what_to_do() {
    for (kind, storage) in KINDS {
        let (_folder, path) = written(kind);
        let files = || {
            let folder = path.is_dir().then_some(&*path).or(path.parent()).unwrap();
            let files = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            files.collect::<std::collections::BTreeSet<_>>()
        };
        let before = files();
        for mode in [OpenMode::Append, OpenMode::OpenOrCreate] {
            let error = open(&path, storage, mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(
                error.to_string().contains("copy it into a new recording"),
                "{error}"
            );
        }
        let error = open(&path, storage, OpenMode::CreateNew).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(open(&path, storage, OpenMode::Truncate).is_err());
        assert_eq!(files(), before);
        let store = open(&path, storage, OpenMode::Read).unwrap();
        assert!(store.is_read_only());
        let error = Recorder::new(store).record("x", 1.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
}
