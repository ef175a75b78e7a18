//! Arrays that zarr-python and TensorStore wrote are read and, where it makes sense, appended to.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::{Path, PathBuf};

use simrecorder_core::{ErrorKind, NodeKind, OpenMode, Recorder, Value};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::counting::*;
use support::{assert_success, python};

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.zarr");
    assert_success(python("foreign.py").arg("write").arg(&path));
    (folder, path)
}

fn open(path: &Path, mode: OpenMode) -> Recorder {
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    Recorder::new(options.mode(mode).open(path).unwrap())
}

const READABLE: [&str; 7] = [
    "layouts",
    "codecs",
    "shards",
    "types",
    "texts",
    "tensorstore",
    "xarray",
];

/// Arrays that were not written completely.
const PARTLY: [&str; 2] = ["shards/partly", "texts/missing"];

fn readable(recorder: &Recorder) -> Vec<String> {
    let keys = READABLE
        .iter()
        .flat_map(|group| child_names(recorder, group));
    let keys: Vec<_> = keys.filter(|key| !PARTLY.contains(&key.as_str())).collect();
    assert!(keys.len() > 70, "{keys:?}");
    keys
}

#[test]
fn what_other_software_wrote_is_read_and_appended_to_and_read_by_it_again() {
    let (_folder, path) = written();
    let recorder = open(&path, OpenMode::Read);
    assert_eq!(
        recorder.attributes("").unwrap().unwrap()["title"],
        "by zarr-python"
    );
    for key in readable(&recorder) {
        check(&recorder, &key);
    }

    let recorder = open(&path, OpenMode::Append);
    let series = |key: &String| recorder.kind_of(key).unwrap() == Some(NodeKind::Series);
    let keys: Vec<_> = readable(&recorder).into_iter().filter(series).collect();
    for rows in [1, 11] {
        for key in &keys {
            append(&recorder, key, rows);
            check(&recorder, key);
        }
        recorder.flush().unwrap();
    }
    recorder.set("layouts/scalar", 0.0).unwrap();
    recorder.set("texts/scalar", text(0)).unwrap();
    recorder.close().unwrap();
    let recorder = open(&path, OpenMode::Read);
    for key in keys {
        check(&recorder, &key);
    }
    assert_success(python("foreign.py").arg("check").arg(&path));
}

#[test]
fn chunks_that_were_never_written_are_fill_values() {
    let (_folder, path) = written();
    let recorder = open(&path, OpenMode::Read);
    let keys = child_names(&recorder, "missing");
    assert!(keys.len() > 15, "{keys:?}");
    for key in keys {
        let view = recorder.get_all(&key).unwrap();
        let Value::Array(array) = view.read_value().unwrap() else {
            panic!("{key}")
        };
        let fill = match key.as_str() {
            "missing/nan" => f64::NAN.to_ne_bytes().to_vec(),
            "missing/infinity" => f64::NEG_INFINITY.to_ne_bytes().to_vec(),
            _ => numbers(array.dtype(), 7..8),
        };
        assert_eq!(array.as_bytes(), fill.repeat(60), "{key}");
    }
    let texts = recorder
        .get_all("texts/missing")
        .unwrap()
        .read_text()
        .unwrap();
    assert_eq!(texts, ["größe"; 3]);
    // In an existing shard, and in a missing one.
    let partly = recorder
        .get_all("shards/partly")
        .unwrap()
        .read::<f64>()
        .unwrap();
    for ((row, column), x) in partly.indexed_iter().map(|(i, x)| ((i[0], i[1]), *x)) {
        let written = row < 4 && column < 3;
        assert_eq!(
            x,
            if written {
                (row * 6 + column) as f64
            } else {
                0.0
            }
        );
    }
}

#[test]
fn what_cannot_be_read_is_listed_and_says_why() {
    let (_folder, path) = written();
    let recorder = open(&path, OpenMode::Append);
    let causes = [
        ("codec", "example.unheard-of"),
        ("datetime", "numpy.datetime64"),
        ("delta", "numcodecs.delta"),
        ("field", "example.unheard-of"),
        ("fixed_bytes", "null_terminated_bytes"),
        ("fixed_text", "fixed_length_utf32"),
        ("grid", "rectilinear"),
        ("keys", "example.unheard-of"),
        ("raw", "raw_bytes"),
        ("structured", "structured"),
        ("texts_2d", "texts and has more than one axis"),
        ("timedelta", "numpy.timedelta64"),
        ("transformer", "storage transformers"),
        ("v2", "Zarr V2"),
        ("variable_bytes", "variable_length_bytes"),
    ];
    let mut expected: Vec<_> = causes
        .iter()
        .map(|(name, _)| format!("unreadable/{name}"))
        .collect();
    expected.push("unreadable/readable".into());
    expected.sort();
    assert_eq!(child_names(&recorder, "unreadable"), expected);
    let refused = |error: simrecorder_core::Error, key: &str, cause: &str| {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.key(), Some(key), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    };
    for (name, cause) in causes {
        let key = format!("unreadable/{name}");
        refused(recorder.get_all(&key).map(drop).unwrap_err(), &key, cause);
        refused(recorder.get(&key).map(drop).unwrap_err(), &key, cause);
        refused(recorder.record(&key, 1.0).unwrap_err(), &key, cause);
        refused(recorder.set(&key, 1.0).unwrap_err(), &key, cause);
    }
    check(&recorder, "unreadable/readable");
    append(&recorder, "unreadable/readable", 3);
    recorder.close().unwrap();
    check(&open(&path, OpenMode::Read), "unreadable/readable");
}

#[test]
fn an_array_of_zarr_v2_alone_is_not_a_recording() {
    let (_folder, path) = written();
    let path = path.join("unreadable/v2");
    for mode in [
        OpenMode::Read,
        OpenMode::Append,
        OpenMode::OpenOrCreate,
        OpenMode::Truncate,
    ] {
        let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
        let error = options.mode(mode).open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let what = match mode {
            OpenMode::Read => "the root is an array",
            _ => "Zarr V2",
        };
        assert!(error.to_string().contains(what), "{error}");
    }
}
