//! Datasets that h5py and h5netcdf wrote are read and, where it makes sense, appended to.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::{Path, PathBuf};

use serde_json::json;
use simrecorder_core::ndarray::s;
use simrecorder_core::{
    ArrayValue, Attributes, DType, Error, ErrorKind, Key, NodeKind, OpenMode, Recorder, Value,
    prelude::*,
};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::counting::*;
use support::{assert_success, expect, python};

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    assert_success(python("foreign.py").arg("write").arg(folder.path()));
    let path = folder.path().to_owned();
    (folder, path)
}

fn open(path: &Path, mode: OpenMode) -> Recorder {
    Recorder::new(Hdf5DataStore::options().mode(mode).open(path).unwrap())
}

/// The groups that are read, and appended to if they grow.
const READABLE: [&str; 5] = ["layouts", "growing", "filters", "types", "texts"];

fn readable(recorder: &Recorder) -> Vec<String> {
    let groups = READABLE.iter();
    let keys: Vec<_> = groups
        .flat_map(|group| child_names(recorder, group))
        .collect();
    assert!(keys.len() > 170, "{keys:?}");
    keys
}

fn is_series(recorder: &Recorder, key: &str) -> bool {
    recorder.kind_of(key).unwrap() == Some(NodeKind::Series)
}

/// Whether a series of `foreign.py` grows and has a type that this library writes.
fn grows(key: &str) -> bool {
    let (group, name) = key.split_once('/').unwrap_or(("", key));
    match group {
        "growing" | "filters" => true,
        // Enumerations in the other byte order can only be read.
        "types" => !["fixed", "scalar", "enum_i2"]
            .iter()
            .any(|part| name.contains(part)),
        "texts" => matches!(name, "utf8" | "ascii" | "gzip"),
        "" => matches!(name, "growing" | "all_axes"),
        _ => false,
    }
}

fn check_bytes(recorder: &Recorder) {
    let view = recorder.get_all("bytes/bytes").unwrap();
    for i in 0..view.len() {
        let Value::Bytes(bytes) = view.get(i).unwrap() else {
            panic!("no bytes")
        };
        assert_eq!(bytes, vec![i as u8; i as usize % 4]);
    }
}

/// Appends to every growing series of a file, twice.
fn append_all(path: &Path, keys: &[String]) {
    let recorder = open(path, OpenMode::Append);
    for rows in [1, 11] {
        for key in keys {
            append(&recorder, key, rows);
            check(&recorder, key);
        }
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
}

#[test]
fn what_h5py_wrote_is_read_and_appended_to_and_read_by_it_again() {
    let (_folder, path) = written();
    let main = path.join("main.h5");
    let recorder = open(&main, OpenMode::Read);
    let title = &recorder.attributes("").unwrap().unwrap()["title"];
    assert_eq!(title, "by h5py");
    let keys = readable(&recorder);
    for key in &keys {
        check(&recorder, key);
    }
    check_bytes(&recorder);
    let deep: String = (0..50).map(|level| format!("level {level}/")).collect();
    check(&recorder, &format!("{deep}x"));
    drop(recorder);

    let (growing, fixed): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| grows(key));
    append_all(&main, &growing);
    let recorder = open(&main, OpenMode::Append);
    for i in 10..20_u8 {
        let bytes = Blob(vec![i; usize::from(i) % 4]);
        recorder.record("bytes/bytes", bytes).unwrap();
    }
    for key in fixed.iter().filter(|key| is_series(&recorder, key)) {
        let first = recorder.get_all(key).unwrap().get(0);
        let empty = || ArrayValue::from_bytes(DType::F64, vec![6], vec![0; 48]);
        let value = first.unwrap_or_else(|_| Value::Array(empty().unwrap()));
        let error = recorder.record(key, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.key(), Some(key.as_str()), "{error}");
    }
    recorder.set("layouts/scalar", 0.0).unwrap();
    recorder.set("texts/scalar_utf8", text(0)).unwrap();
    recorder.record("new/series", 0.0).unwrap();
    recorder.record("layouts/new", [0.0, 1.0]).unwrap();
    recorder.set("new/value", text(0)).unwrap();
    recorder.close().unwrap();
    for name in ["earliest", "v108", "v110", "page", "aggregate", "order"] {
        append_all(&path.join(format!("{name}.h5")), &small_growing());
    }
    for size in [512, 1024, 65536] {
        append_all(&path.join(format!("block_{size}.h5")), &small_growing());
    }
    let recorder = open(&main, OpenMode::Read);
    for key in readable(&recorder) {
        check(&recorder, &key);
    }
    check_bytes(&recorder);
    assert_success(python("foreign.py").arg("check").arg(&path));
}

fn small_growing() -> Vec<String> {
    ["growing", "all_axes"].map(str::to_owned).to_vec()
}

#[test]
fn files_of_every_format_and_with_user_blocks_are_read() {
    let (_folder, path) = written();
    for name in [
        "earliest",
        "v108",
        "v110",
        "v112",
        "v114",
        "latest",
        "page",
        "aggregate",
        "order",
        "block_512",
        "block_1024",
        "block_65536",
    ] {
        let recorder = open(&path.join(format!("{name}.h5")), OpenMode::Read);
        assert_eq!(recorder.keys().unwrap().len(), 9, "{name}");
        let mut readable = 0;
        for key in recorder.keys().unwrap() {
            // Older versions of libhdf5 do not support everything that newer ones write.
            if let Err(error) = recorder.kind_of(&key)
                && ["v112", "v114", "latest"].contains(&name)
                && !cfg!(feature = "static")
            {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("newer libhdf5"), "{error}");
                continue;
            }
            readable += 1;
            check(&recorder, key.as_str());
        }
        assert!(readable >= 4, "{name}");
    }
}

/// Record by record, compressed with LZF, in the newest format of h5py at that time, and of h5py
/// today.
#[test]
fn files_of_the_original_simrecorder_are_read_and_appended_to() {
    let (_folder, path) = written();
    for name in ["simrecorder_v110", "simrecorder_latest"] {
        let path = path.join(format!("{name}.h5"));
        let recorder = open(&path, OpenMode::Append);
        for key in ["train/loss", "train/w"] {
            if let Err(error) = recorder.kind_of(key)
                && name == "simrecorder_latest"
                && !cfg!(feature = "static")
            {
                expect(
                    error,
                    ErrorKind::Unsupported,
                    &["newer libhdf5", "hdf5-static"],
                );
                continue;
            }
            check(&recorder, key);
            append(&recorder, key, 5);
            recorder.flush().unwrap();
            check(&open(&path, OpenMode::Read), key);
        }
        recorder.close().unwrap();
    }
}

fn names(recorder: &Recorder, key: &str) -> Vec<String> {
    let view = recorder.get_all(key).unwrap();
    let names = view.dimension_names().unwrap_or_default().iter();
    names.map(|name| name.clone().unwrap_or_default()).collect()
}

#[test]
fn what_netcdf4_wrote_is_read_with_every_option_that_needs_no_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.nc");
    assert_success(python("write_netcdf.py").arg(&path).arg("netCDF4"));
    let recorder = open(&path, OpenMode::Read);
    let groups = ["plain", "zlib", "shuffled", "chunked", "big_endian"];
    let groups = groups.map(|group| child_names(&recorder, &format!("read/{group}")));
    let keys = groups.concat();
    assert_eq!(keys.len(), 50, "{keys:?}");
    for key in &keys {
        check(&recorder, key);
        assert_eq!(names(&recorder, key), ["time", "x"]);
        assert_eq!(recorder.attributes(key).unwrap().unwrap()["units"], "mV");
    }
    for key in ["read/text", "read/scalar", "time", "fixed"] {
        check(&recorder, key);
    }
    // Nothing is added to datasets that netCDF wrote only in part, while their dimension remains.
    check(&recorder, "fill");
    assert_eq!(recorder.get_all("fill").unwrap().shape(), [1, 6]);
    let keys = child_names(&recorder, "unreadable");
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in &keys {
        refused(recorder.get_all(key).and_then(|view| view.get(0)), key);
    }
}

#[test]
fn what_xarray_wrote_with_each_engine_is_read_by_name_and_coordinate() {
    let folder = tempfile::tempdir().unwrap();
    for engine in ["netcdf4", "h5netcdf"] {
        let path = folder.path().join(engine);
        assert_success(python("write_netcdf.py").arg(&path).arg(engine));
        let recorder = open(&path, OpenMode::Read);
        for key in ["v", "packed", "x", "name", "time"] {
            check(&recorder, key);
        }
        assert_eq!(names(&recorder, "v"), ["time", "x"]);
        let attributes = recorder.attributes("packed").unwrap().unwrap();
        assert_eq!(attributes["scale_factor"], json!([0.1]));
        let v = recorder.get_all("v").unwrap();
        assert_eq!(v.select_by("time", 2..5).unwrap().shape(), [3, 6]);
        let flag = recorder.get_all("flag").unwrap().read::<i8>().unwrap();
        assert!(
            flag.iter()
                .enumerate()
                .all(|(i, &flag)| flag == (i % 2) as i8)
        );
        assert_eq!(
            recorder.attributes("").unwrap().unwrap()["title"],
            "by xarray"
        );
    }
}

#[test]
fn a_file_of_netcdf4_is_read_with_its_dimensions_as_series_and_appended_to() {
    let (_folder, path) = written();
    let path = path.join("netcdf.h5");
    for mode in [OpenMode::Read, OpenMode::Append] {
        let recorder = open(&path, mode);
        // The dimension `neuron` has no values.
        let keys = recorder.keys().unwrap();
        let keys: Vec<_> = keys.iter().map(Key::as_str).collect();
        assert_eq!(keys, ["group/w", "time", "v"]);
        for key in keys {
            check(&recorder, key);
        }
        let attributes = recorder.attributes("v").unwrap().unwrap();
        assert_eq!(attributes["units"], "mV");
        if mode == OpenMode::Append {
            for key in ["v", "time", "group/w"] {
                append(&recorder, key, 5);
                check(&recorder, key);
            }
            recorder.close().unwrap();
        }
    }
    assert_success(python("netcdf.py").arg(&path));
}

#[test]
fn ten_thousand_datasets_in_a_group_are_listed_and_read() {
    let (_folder, path) = written();
    let recorder = open(&path.join("many.h5"), OpenMode::Read);
    let keys = recorder.keys().unwrap();
    assert_eq!(keys.len(), 10_000);
    for i in (0..10_000_i64).step_by(97) {
        let value = recorder.get_as::<i64>(format!("many/{i}")).unwrap();
        assert_eq!(value, Some(i));
    }
    let recorder = open(&path.join("many.h5"), OpenMode::Append);
    recorder.set("many/new", 7_i64).unwrap();
    recorder.close().unwrap();
    let recorder = open(&path.join("many.h5"), OpenMode::Read);
    assert_eq!(recorder.children("many").unwrap().len(), 10_001);
}

fn refused<T>(result: Result<T, Error>, key: &str) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.key(), Some(key), "{error}");
}

#[test]
fn what_cannot_be_read_is_listed_and_says_why_and_the_rest_is_read() {
    let (_folder, path) = written();
    let path = path.join("main.h5");
    let recorder = open(&path, OpenMode::Append);
    let mut keys = child_names(&recorder, "unreadable");
    assert_eq!(keys.len(), 13, "{keys:?}");
    keys.retain(|key| key != "unreadable/readable");
    for key in &keys {
        if !key.contains("scalar") {
            refused(recorder.get_all(key).and_then(|view| view.get(0)), key);
            refused(recorder.record(key, 1.0), key);
        }
        if !key.ends_with("filter") {
            refused(recorder.get(key), key);
        }
        assert!(recorder.attributes(key).unwrap().is_some(), "{key}");
    }
    check(&recorder, "unreadable/readable");
    let group = recorder.group("unreadable").unwrap();
    assert_eq!(group.nodes().count(), 13);
    assert!(group.view("readable").is_some());
    recorder.record("unreadable/new", 1.0).unwrap();
    recorder.close().unwrap();
    let recorder = open(&path, OpenMode::Read);
    assert_eq!(child_names(&recorder, "unreadable").len(), 14);
    assert_success(python("foreign.py").arg("unharmed").arg(&path));
}

#[test]
fn links_of_every_sort_lead_where_they_lead_or_say_that_they_do_not() {
    let (_folder, path) = written();
    let recorder = open(&path.join("main.h5"), OpenMode::Read);
    for key in ["soft", "soft_group/x", "hard", "data/x"] {
        check(&recorder, &format!("links/{key}"));
    }
    for key in ["no_target", "no_file", "round"] {
        let key = format!("links/{key}");
        let error = recorder.get_all(&key).map(drop).unwrap_err();
        assert!(error.to_string().contains(&key), "{error}");
    }
    // Groups that contain each other do not cause an endless loop.
    let keys = recorder.keys().unwrap();
    let links = keys.iter().filter(|key| key.as_str().starts_with("links/"));
    assert!(links.count() < 20);
    assert_eq!(recorder.kind_of("links/named_type").unwrap(), None);
}

#[test]
fn a_dataset_of_another_file_is_read_or_said_to_be_out_of_reach() {
    let (_folder, path) = written();
    let recorder = open(&path.join("main.h5"), OpenMode::Read);
    refused(recorder.get_all("links/external"), "links/external");
}

#[test]
fn a_named_type_is_not_a_node_and_no_key_replaces_it() {
    let (_folder, path) = written();
    let path = path.join("main.h5");
    let recorder = open(&path, OpenMode::Append);
    for result in [
        recorder
            .record("links/named_type", 1.0)
            .and_then(|()| recorder.flush()),
        recorder.set("links/named_type", 1.0),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KindMismatch, "{error}");
    }
    drop(recorder);
    assert_success(python("foreign.py").arg("unharmed").arg(&path));
}

#[test]
fn attributes_of_every_sort_are_read_or_left_alone() {
    let (_folder, path) = written();
    let path = path.join("main.h5");
    let recorder = open(&path, OpenMode::Read);
    let attributes = recorder.attributes("attributes/x").unwrap().unwrap();
    for (name, value) in [
        ("int", json!(3)),
        ("big_endian", json!(-5)),
        ("large", json!(u64::MAX)),
        ("float", json!(0.1)),
        ("half", json!(0.5)),
        ("single", json!(0.25)),
        ("infinity", json!("Infinity")),
        ("complex", json!([1.0, -2.0])),
        ("bool", json!(true)),
        ("text", json!("größer 🧠")),
        ("bytes_text", json!("fixed")),
        ("no_text", json!("")),
        ("list", json!([1, 2, 3])),
        ("matrix", json!([[0, 1, 2], [3, 4, 5]])),
        ("texts", json!(["a", "ü"])),
        ("fixed_texts", json!(["a", "bc"])),
        ("bools", json!([true, false])),
        ("no_elements", json!([])),
        ("nothing", json!([])),
        ("enum", json!(1)),
        ("größe 🧠", json!(1)),
        ("long", json!((0..8000).collect::<Vec<i32>>())),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }
    assert_eq!(attributes.len(), 22, "{attributes:?}");
    let many = recorder.attributes("attributes").unwrap().unwrap();
    assert_eq!(many.len(), 100);
    drop(recorder);

    let recorder = open(&path, OpenMode::Append);
    let attributes = Attributes::from_iter([("new".to_owned(), json!("text"))]);
    recorder
        .set_attributes("attributes/x", attributes.clone())
        .unwrap();
    recorder.close().unwrap();
    let recorder = open(&path, OpenMode::Read);
    let read = recorder.attributes("attributes/x").unwrap().unwrap();
    assert_eq!(read, attributes);
    check(&recorder, "attributes/x");
    // What cannot be read is not lost.
    assert_success(python("foreign.py").arg("attributes").arg(&path));
}

#[test]
fn chunks_that_were_never_written_have_the_fill_value_and_may_be_appended_to() {
    let (_folder, path) = written();
    let keys = ["plain", "filled", "gzip", "lzf", "nothing"];
    let expected = |key: &str, new: i64| -> Vec<i64> {
        let fill = if key == "plain" { 0 } else { -7 };
        let stored = |i: i64| match i / 10 {
            0 | 2 if key != "nothing" => i % 10,
            _ => fill,
        };
        (0..35).map(stored).chain(0..new).collect()
    };
    let read = |recorder: &Recorder, key: &str| {
        let array = recorder.get_all(key).unwrap().read::<i64>().unwrap();
        array.into_raw_vec_and_offset().0
    };
    // The second file has another index of chunks.
    for path in ["sparse.h5", "sparse_v110.h5"].map(|name| path.join(name)) {
        let recorder = open(&path, OpenMode::Append);
        for key in keys {
            assert_eq!(read(&recorder, key), expected(key, 0), "{key}");
            for i in [5, 15, 25, 34] {
                let view = recorder.get_all(key).unwrap().select(i..i + 1).unwrap();
                assert_eq!(
                    view.read::<i64>().unwrap()[[0]],
                    expected(key, 0)[i],
                    "{key}"
                );
            }
            (0..8_i64).for_each(|i| recorder.record(key, i).unwrap());
        }
        recorder.close().unwrap();
        let recorder = open(&path, OpenMode::Read);
        for key in keys {
            assert_eq!(read(&recorder, key), expected(key, 8), "{key}");
        }
        assert_success(python("foreign.py").arg("sparse").arg(&path));
    }
}

#[test]
fn datasets_without_elements_are_series_without_records() {
    let (_folder, path) = written();
    let recorder = open(&path.join("main.h5"), OpenMode::Read);
    for key in ["null/number", "null/text"] {
        assert_eq!(recorder.get_all(key).unwrap().len(), 0, "{key}");
        assert_eq!(recorder.get_all(key).unwrap().iter().count(), 0, "{key}");
    }
}

#[test]
fn records_larger_than_any_memory_are_errors_and_parts_of_them_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.h5");
    assert_success(python("edit.py").arg("huge").arg(&path));
    let recorder = open(&path, OpenMode::Read);
    let view = recorder.get_all("x").unwrap();
    for part in [view.select(..), view.select(-2..), view.select(1..2)] {
        let part = part.unwrap();
        let errors = [
            part.read_value().map(drop),
            part.get(0).map(drop),
            part.iter().next().unwrap().map(drop),
            part.read_records(0..1, 64).map(drop),
        ];
        for error in errors {
            expect(error.unwrap_err(), ErrorKind::TooLarge, &["x"]);
        }
    }
    let part = view.select(s![1.., (1_usize << 40) - 3.., ..2]).unwrap();
    assert_eq!(part.read::<f64>().unwrap().shape(), [2, 3, 2]);
}
