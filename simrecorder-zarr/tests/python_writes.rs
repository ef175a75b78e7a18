//! What zarr-python and TensorStore wrote is read, and gone on with where that makes sense.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::Range;
use std::path::{Path, PathBuf};

use simrecorder_core::half::{bf16, f16};
use simrecorder_core::ndarray::s;
use simrecorder_core::{
    ArrayValue, DType, ErrorKind, NodeKind, OpenMode, Recorder, Value, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

mod support;

use support::assert_success;
use support::python::python;

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

/// The elements `range` of those that `numbers` of `foreign.py` makes.
fn numbers(dtype: DType, range: Range<usize>) -> Vec<u8> {
    let element = |i: usize| -> Vec<u8> {
        let (single, double) = (i as f32, i as f64);
        match dtype {
            DType::Bool => vec![u8::from(i % 2 == 1)],
            DType::F16 => f16::from_f32(single).to_ne_bytes().to_vec(),
            DType::BF16 => bf16::from_f32(single).to_ne_bytes().to_vec(),
            DType::F32 => single.to_ne_bytes().to_vec(),
            DType::F64 => double.to_ne_bytes().to_vec(),
            DType::Complex64 => [single, 0.0 - single].map(f32::to_ne_bytes).concat(),
            DType::Complex128 => [double, 0.0 - double].map(f64::to_ne_bytes).concat(),
            integer => i.to_le_bytes()[..integer.size()].to_vec(),
        }
    };
    range.flat_map(element).collect()
}

fn text(i: usize) -> String {
    format!("text {i}")
}

fn child_names(recorder: &Recorder, group: &str) -> Vec<String> {
    let children = recorder.children(group).unwrap();
    children.iter().map(|child| child.key.to_string()).collect()
}

#[track_caller]
fn assert_numbers(value: &Value, range: Range<usize>, key: &str) {
    let array = value.as_array().unwrap();
    assert_eq!(
        array.as_bytes(),
        numbers(array.dtype(), range),
        "{key}: {array:?}"
    );
}

/// Checks that the elements of a value or series are 0, 1, 2, …, read whole and in parts.
fn check(recorder: &Recorder, key: &str) {
    if recorder.kind_of(key).unwrap() == Some(NodeKind::Value) {
        match recorder.get(key).unwrap().unwrap() {
            Value::Text(value) => assert_eq!(value, text(0), "{key}"),
            value => assert_numbers(&value, 0..1, key),
        }
        return;
    }
    let view = recorder
        .get_all(key)
        .unwrap_or_else(|e| panic!("{key}: {e}"));
    let len = view.len() as usize;
    if view.dtype().is_none() {
        let expected: Vec<_> = (0..len).map(text).collect();
        assert_eq!(view.read_text().unwrap(), expected, "{key}");
        return;
    }
    let row = view.shape()[1..].iter().product::<u64>() as usize;
    let whole = view.read_value().unwrap_or_else(|e| panic!("{key}: {e}"));
    assert_numbers(&whole, 0..len * row, key);
    for i in 0..len {
        assert_numbers(&view.get(i as u64).unwrap(), i * row..(i + 1) * row, key);
    }
    if let &[rows, columns] = view.shape()
        && rows >= 6
        && columns > 1
    {
        let part = view.select(s![1..6;2, 1..]).unwrap().read_value().unwrap();
        let expected = (1..6).step_by(2).flat_map(|i| {
            let first = (i * columns) as usize;
            numbers(view.dtype().unwrap(), first + 1..first + columns as usize)
        });
        assert!(
            part.as_array()
                .unwrap()
                .as_bytes()
                .iter()
                .copied()
                .eq(expected),
            "{key}"
        );
    }
}

/// Appends rows that go on with 0, 1, 2, ….
fn append(recorder: &Recorder, key: &str, rows: usize) {
    let view = recorder.get_all(key).unwrap();
    let shape: Vec<usize> = view.shape().iter().map(|&len| len as usize).collect();
    let row = shape[1..].iter().product::<usize>();
    for i in shape[0]..shape[0] + rows {
        let value = match view.dtype() {
            None => Value::Text(text(i)),
            Some(dtype) => {
                let data = numbers(dtype, i * row..(i + 1) * row);
                Value::Array(ArrayValue::from_bytes(dtype, shape[1..].to_vec(), data).unwrap())
            }
        };
        recorder
            .record(key, value)
            .unwrap_or_else(|e| panic!("{key}: {e}"));
    }
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

/// Arrays that were not written in full.
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
    // In a shard that is there, and in one that is not.
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
fn a_hierarchy_of_zarr_v2_is_refused_as_such() {
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
        assert!(error.to_string().contains("Zarr V2"), "{error}");
    }
}
