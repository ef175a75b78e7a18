//! Series that never filled a chunk, and series that are not in the file yet.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};
use simrecorder_core::{
    Blob, Change, ChunkPolicy, Commit, Compression, DataStore, DataStoreExt, Durability, ErrorKind,
    Key, NodeKind, OpenMode, Ragged, Recorder, RecorderOptions, Result, Schema, View,
};
use simrecorder_hdf5::Hdf5DataStore;
use tempfile::TempDir;

use crate::support;

use support::system_calls::{FAILED, Strike, Traced, act};
use support::{Partner, output_within_a_minute, python, role, this_test};

fn open(path: &Path, mode: OpenMode) -> Hdf5DataStore {
    let options = Hdf5DataStore::options().durability(Durability::Process);
    options.mode(mode).open(path).unwrap()
}

fn recorder(path: &Path, mode: OpenMode) -> Recorder {
    Recorder::new(open(path, mode))
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    (folder, path)
}

/// The output of `layouts.py`.
fn layouts(arguments: &[&str], path: &Path) -> Json {
    let (what, others) = arguments.split_first().unwrap();
    let mut command = python("layouts.py");
    let output = output_within_a_minute(command.arg(what).arg(path).args(others));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Copies an open recording, as a kill would leave it.
fn killed(path: &Path, name: &str) -> PathBuf {
    let copy = path.with_file_name(name);
    for suffix in ["", ".journal"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(with(path), with(&copy)).unwrap();
    }
    copy
}

fn records(count: u64) -> ChunkPolicy {
    ChunkPolicy::records(count)
}

#[test]
fn series_that_never_filled_a_chunk_have_no_chunks() {
    let (_folder, path) = folder();
    let recorder = recorder(&path, OpenMode::CreateNew);
    let plain = Schema::array::<f64>([1000]).with_compression(Compression::None);
    recorder.declare("plain", plain).unwrap();
    recorder.declare("nothing", Schema::scalar::<u8>()).unwrap();
    let chunked = Schema::scalar::<u64>().with_chunk_policy(records(4));
    recorder.declare("chunked", chunked).unwrap();
    for i in 0..5_u64 {
        recorder.record("chunked", i).unwrap();
        recorder.record("group/scalar", i).unwrap();
        recorder.record("text", format!("text {i}")).unwrap();
        recorder.record("bytes", Blob(&[i as u8; 3][..])).unwrap();
        recorder.record("rows", Ragged([i, i])).unwrap();
        recorder.record("frame", [i; 1000]).unwrap();
        recorder.record("large", [0.5 * i as f64; 4000]).unwrap();
        recorder.record("plain", [0.5 * i as f64; 1000]).unwrap();
    }
    recorder.close().unwrap();
    let expected = json!({
        "chunked": ["chunked", [5]],
        "group/scalar": ["compact", [5]],
        "text": ["compact", [5]],
        "bytes": ["compact", [5]],
        "rows/ends": ["compact", [5]],
        "rows/values": ["compact", [10]],
        "frame": ["contiguous", [5, 1000]],
        // With filters it is smaller than a dataset without chunks would be.
        "large": ["chunked", [5, 4000]],
        "plain": ["contiguous", [5, 1000]],
        "nothing": ["chunked", [0]],
    });
    assert_eq!(layouts(&["show"], &path), expected);
    assert_eq!(
        layouts(&["values", "group/scalar"], &path),
        json!([0, 1, 2, 3, 4])
    );
}

#[test]
fn a_thousand_groups_with_one_record_each_take_little_more_than_the_records() {
    let (_folder, path) = folder();
    let recorder = recorder(&path, OpenMode::CreateNew);
    for i in 0..1000 {
        recorder
            .record(format!("group{i:04}/v"), [0.5_f32; 50])
            .unwrap();
    }
    recorder.close().unwrap();
    let len = fs::metadata(&path).unwrap().len();
    // h5py takes 1600 bytes for each.
    assert!(len < 800_000, "{len}");
}

/// Series of several kinds, with chunks of a hundred rows, and their records.
const KINDS: [&str; 5] = ["scalar", "array", "rows", "text", "rounded"];

fn declare_kinds(recorder: &Recorder) {
    let rounded = Compression::lossy(0.01).unwrap();
    let schemas = [
        ("scalar", Schema::scalar::<u64>().with_fill_value(7_u64)),
        ("array", Schema::array::<u64>([3])),
        ("rows", Schema::ragged::<u64>([])),
        ("rounded", Schema::scalar::<f64>().with_compression(rounded)),
    ];
    for (name, schema) in schemas {
        recorder
            .declare(name, schema.with_chunk_policy(records(100)))
            .unwrap();
    }
}

fn record_kinds(recorder: &Recorder, range: std::ops::Range<u64>) {
    try_record_kinds(recorder, range).unwrap();
}

fn try_record_kinds(recorder: &Recorder, range: std::ops::Range<u64>) -> Result<()> {
    for i in range {
        recorder.record("scalar", i)?;
        recorder.record("array", [i, i + 1, i + 2])?;
        recorder.record("rows", Ragged(&vec![i; i as usize % 3]))?;
        recorder.record("text", i.to_string())?;
        recorder.record("rounded", i as f64)?;
    }
    Ok(())
}

fn check_kind(view: &View, len: u64) {
    assert_eq!(view.len(), len);
    for (i, record) in (0..).zip(view.iter()) {
        let record = record.unwrap();
        match view.key().as_str() {
            "scalar" => assert_eq!(u64::try_from(record).unwrap(), i),
            "array" => assert_eq!(Vec::<u64>::try_from(record).unwrap(), [i, i + 1, i + 2]),
            "rows" => assert_eq!(
                Vec::<u64>::try_from(record).unwrap(),
                vec![i; i as usize % 3]
            ),
            "text" => assert_eq!(String::try_from(record).unwrap(), i.to_string()),
            _ => assert!((f64::try_from(record).unwrap() - i as f64).abs() <= 0.01),
        }
    }
}

fn views(store: &Hdf5DataStore) -> Vec<View> {
    let views = KINDS
        .iter()
        .map(|name| store.view(&key(name)).unwrap().unwrap());
    views.collect()
}

#[test]
fn a_short_series_that_is_resumed_gets_chunks_and_views_read_on() {
    let (_folder, path) = folder();
    let mut opened = Vec::new();
    let mut mode = OpenMode::CreateNew;
    let mut len = 0;
    // Short, longer, longer than a chunk within a run, and longer still.
    for (next, is_short) in [(40, true), (90, true), (310, false), (320, false)] {
        let store = open(&path, mode);
        let recorder = Recorder::new(store.clone());
        if mode == OpenMode::CreateNew {
            declare_kinds(&recorder);
        }
        let check = |opened: &[(Vec<View>, u64)]| {
            for (views, len) in opened {
                views.iter().for_each(|view| check_kind(view, *len));
            }
        };
        for start in (len..next).step_by(25) {
            let end = next.min(start + 25);
            record_kinds(&recorder, start..end);
            recorder.flush().unwrap();
            for store in [store.clone(), open(&path, OpenMode::Read)] {
                opened.push((views(&store), end));
            }
            check(&opened);
            if start % 50 == 0 {
                recorder.checkpoint().unwrap();
                check(&opened);
            }
        }
        recorder.close().unwrap();
        check(&opened);
        opened.push((views(&open(&path, OpenMode::Read)), next));
        let shown = layouts(&["show"], &path);
        for name in ["scalar", "array", "rows/ends", "rounded"] {
            assert_eq!(shown[name][0] != "chunked", is_short, "{name}");
            assert_eq!(shown[name][1][0], next, "{name}");
        }
        (mode, len) = (OpenMode::Append, next);
    }
    let expected: Vec<u64> = (0..len).collect();
    assert_eq!(layouts(&["values", "scalar"], &path), json!(expected));
}

/// Reads the views of all states that it has found, until the file `stop` exists.
fn read_until(path: &Path, stop: impl Fn() -> bool) {
    let store = open(path, OpenMode::Read);
    let mut opened = Vec::new();
    while !stop() {
        let view = store.view(&key("s/0")).unwrap().unwrap();
        let view = |i: u64| match i {
            0 => view.refresh().unwrap(),
            i => store.view(&key(&format!("s/{i}"))).unwrap().unwrap(),
        };
        opened.extend((0..SERIES).map(view));
        // Old ones among them.
        if opened.len() > 400 {
            opened.drain(100..300);
        }
        for view in &opened {
            let read: Vec<u64> = view.read::<u64>().unwrap().into_iter().collect();
            assert!(read.into_iter().eq(0..view.len()));
        }
    }
}

const SERIES: u64 = 8;

#[test]
fn views_are_read_by_others_while_series_outgrow_their_datasets() {
    let name = "views_are_read_by_others_while_series_outgrow_their_datasets";
    if let Some(path) = role() {
        println!("ready");
        std::io::stdout().flush().unwrap();
        let stop = path.with_file_name("stop");
        return read_until(&path, || stop.exists());
    }
    let (_folder, path) = folder();
    let start = recorder(&path, OpenMode::CreateNew);
    for i in 0..SERIES {
        let schema = Schema::scalar::<u64>().with_chunk_policy(records(100 * (i + 1)));
        start.declare(format!("s/{i}"), schema).unwrap();
        start.record(format!("s/{i}"), 0_u64).unwrap();
    }
    start.close().unwrap();
    let store = open(&path, OpenMode::Append);
    let recorder = Recorder::new(store.clone());
    let other = Partner::start(&mut this_test(name, &path));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers =
            [0, 1].map(|_| scope.spawn(|| read_until(&path, || stop.load(Ordering::Relaxed))));
        let views = scope.spawn(|| {
            let views: Vec<View> = (0..SERIES)
                .map(|i| store.view(&key(&format!("s/{i}"))).unwrap().unwrap())
                .collect();
            while !stop.load(Ordering::Relaxed) {
                for view in &views {
                    let read: Vec<u64> = view.read::<u64>().unwrap().into_iter().collect();
                    assert!(read.into_iter().eq(0..view.len()));
                }
            }
        });
        for record in 1..100 * SERIES + 10 {
            for i in 0..SERIES {
                recorder.record(format!("s/{i}"), record).unwrap();
            }
            if record % 10 == 0 {
                recorder.flush().unwrap();
            }
            if record % 130 == 0 {
                recorder.checkpoint().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
        views.join().unwrap();
    });
    fs::write(path.with_file_name("stop"), "").unwrap();
    other.finish();
    recorder.close().unwrap();
}

#[test]
fn series_that_are_not_in_the_file_yet_are_nodes_like_others() {
    let (_folder, path) = folder();
    let store = open(&path, OpenMode::CreateNew);
    let recorder = Recorder::new(store.clone());
    for name in [
        "kept", "renamed", "removed", "cut", "noted", "in/group", "empty",
    ] {
        let schema = Schema::scalar::<u64>().with_units("mV");
        recorder.declare(name, schema).unwrap();
    }
    for i in 0..10_u64 {
        for name in ["kept", "renamed", "removed", "cut", "noted", "in/group"] {
            recorder.record(name, i).unwrap();
        }
        recorder
            .record("rows", Ragged(&vec![i; i as usize]))
            .unwrap();
    }
    recorder.flush().unwrap();
    assert_eq!(layouts(&["show"], &path), json!({}));
    let reader = open(&path, OpenMode::Read);
    let old = store.view(&key("removed")).unwrap().unwrap();
    let own = store.view(&key("kept")).unwrap().unwrap();
    assert_eq!(old.len(), 10);
    for store in [&store, &reader] {
        let children = store.children(&Key::ROOT).unwrap();
        let names: Vec<_> = children.iter().map(|child| child.key.as_str()).collect();
        let all = [
            "cut", "empty", "in", "kept", "noted", "removed", "renamed", "rows",
        ];
        assert_eq!(names, all);
        assert_eq!(children[1].kind, NodeKind::Series);
        assert_eq!(store.children(&key("in")).unwrap().len(), 1);
        assert!(store.children(&key("rows")).unwrap().is_empty());
        let view = store.view(&key("empty")).unwrap().unwrap();
        assert_eq!(view.schema().attributes()["units"], "mV");
    }
    for below in ["kept/x", "rows/ends"] {
        let error = recorder.record(below, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KindMismatch, "{error}");
    }
    // A kill would leave the same.
    let left = killed(&path, "left.h5");
    let resumed = self::recorder(&left, OpenMode::Append);
    assert_eq!(resumed.get_all("rows").unwrap().len(), 10);
    resumed.record("kept", 10_u64).unwrap();
    resumed.close().unwrap();
    let shown = layouts(&["show"], &left);
    assert_eq!(shown["kept"], json!(["compact", [11]]));
    assert_eq!(shown["in/group"], json!(["compact", [10]]));

    recorder.rename("renamed", "new/name").unwrap();
    recorder.remove("removed").unwrap();
    recorder
        .set_attributes("noted", json!({"a": 1}).as_object().unwrap().clone())
        .unwrap();
    recorder.flush().unwrap();
    let cut = Change::Truncate {
        key: key("cut"),
        len: 4,
    };
    store.commit(Commit::new(vec![cut])).unwrap();
    assert_eq!(own.read::<u64>().unwrap().len(), 10);
    let error = old.read::<u64>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}");
    assert!(store.node(&key("removed")).unwrap().is_none());
    assert_eq!(store.view(&key("cut")).unwrap().unwrap().len(), 4);
    recorder.record("removed", 1_i8).unwrap();
    recorder.flush().unwrap();
    assert_eq!(
        old.read::<u64>().unwrap_err().kind(),
        ErrorKind::OutOfBounds
    );
    recorder.close().unwrap();
    assert_eq!(own.read::<u64>().unwrap().len(), 10);
    let shown = layouts(&["show"], &path);
    assert_eq!(shown["new/name"], json!(["compact", [10]]));
    assert_eq!(shown["cut"], json!(["compact", [4]]));
    assert_eq!(shown["removed"], json!(["compact", [1]]));
    assert_eq!(shown["empty"], json!(["chunked", [0]]));
    assert_eq!(
        layouts(&["values", "new/name"], &path),
        json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    );
}

#[test]
fn a_short_series_is_cut_and_appended_to() {
    let (_folder, path) = folder();
    let start = recorder(&path, OpenMode::CreateNew);
    declare_kinds(&start);
    record_kinds(&start, 0..60);
    start.close().unwrap();
    for (cut, len) in [(50, 70), (65, 66), (20, 250), (90, 95), (0, 10)] {
        let store = open(&path, OpenMode::Append);
        let old = views(&store);
        let cuts = KINDS.map(|name| Change::Truncate {
            key: key(name),
            len: cut,
        });
        store.commit(Commit::new(cuts.into())).unwrap();
        for view in &old {
            let error = view
                .get(0)
                .and_then(|_| view.get(view.len() - 1))
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}");
        }
        views(&store).iter().for_each(|view| check_kind(view, cut));
        let recorder = Recorder::new(store.clone());
        record_kinds(&recorder, cut..len);
        recorder.flush().unwrap();
        views(&store).iter().for_each(|view| check_kind(view, len));
        recorder.close().unwrap();
        views(&open(&path, OpenMode::Read))
            .iter()
            .for_each(|view| check_kind(view, len));
        let shown = layouts(&["show"], &path);
        assert_eq!(shown["scalar"][1], json!([len]));
    }
}

#[test]
fn dimensions_of_a_series_stay_when_it_gets_chunks() {
    let (_folder, path) = folder();
    let schema = |shape: &[u64], names: &[&str]| {
        let schema = Schema::array::<f64>(shape.to_vec()).with_chunk_policy(records(100));
        schema.with_dimension_names(names.iter().copied())
    };
    let record = |recorder: &Recorder, range: std::ops::Range<u64>| {
        for i in range {
            recorder.record("net/time", i as f64).unwrap();
            recorder.record("net/v", [i as f64; 3]).unwrap();
        }
        recorder.close().unwrap();
    };
    let recorder = recorder(&path, OpenMode::CreateNew);
    recorder
        .declare("net/time", schema(&[], &["time"]))
        .unwrap();
    recorder
        .declare("net/v", schema(&[3], &["time", "cell"]))
        .unwrap();
    record(&recorder, 0..50);
    let scales = json!(["/net/time", "/net/cell"]);
    assert_eq!(layouts(&["scales", "net/v"], &path), scales);
    for (len, layout) in [(60, "compact"), (250, "chunked")] {
        let recorder = self::recorder(&path, OpenMode::Append);
        record(&recorder, recorder.get_all("net/v").unwrap().len()..len);
        let shown = layouts(&["show"], &path);
        assert_eq!(shown["net/time"], json!([layout, [len]]));
        assert_eq!(layouts(&["scales", "net/v"], &path), scales);
        layouts(&["lens", &len.to_string()], &path);
    }
}

#[test]
fn attributes_of_any_type_stay_when_a_series_gets_chunks() {
    let (_folder, path) = folder();
    for (mode, len, layout) in [
        (OpenMode::CreateNew, 10, "compact"),
        (OpenMode::Append, 20, "compact"),
        (OpenMode::Append, 250, "chunked"),
    ] {
        let recorder = recorder(&path, mode);
        let schema = Schema::scalar::<u64>().with_chunk_policy(records(100));
        recorder.declare("v", schema).unwrap();
        for i in recorder.get_all("v").unwrap().len()..len {
            recorder.record("v", i).unwrap();
        }
        recorder.close().unwrap();
        if mode == OpenMode::CreateNew {
            layouts(&["decorate", "v"], &path);
        }
        layouts(&["decorated", "v"], &path);
        assert_eq!(layouts(&["show"], &path), json!({"v": [layout, [len]]}));
    }
}

/// The number of records of short series at the start, and with those that are recorded during the
/// test.
const STARTED: u64 = 40;
const OUTGROWN: u64 = 130;

/// Records into short series until they have chunks, with occasional flushes.
fn outgrow(path: &Path) -> Result<()> {
    let store = Hdf5DataStore::options().mode(OpenMode::Append).open(path)?;
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    for start in (STARTED..OUTGROWN).step_by(30) {
        let recorded = try_record_kinds(&recorder, start..start + 30);
        if let Err(error) = recorded.and_then(|()| recorder.flush()) {
            let _ = recorder.close();
            return Err(error);
        }
        println!("flushed {}", start + 30);
    }
    recorder.close()?;
    println!("settled {OUTGROWN}");
    Ok(())
}

/// Interrupts a writer at calls that change a file while series get chunks; at all calls if
/// `SIMRECORDER_KILL_POINTS` is `all`.
fn strike_while_outgrowing(test: &str, strike: Strike) {
    if let Some(path) = role() {
        assert_eq!(act(), "outgrow");
        if let Err(error) = outgrow(&path) {
            println!("{FAILED}{error:?}");
        }
        return;
    }
    let folder = support::quick_folder();
    let path = folder.path().join("run.h5");
    let start = recorder(&path, OpenMode::CreateNew);
    declare_kinds(&start);
    record_kinds(&start, 0..STARTED);
    start.close().unwrap();
    let short = fs::read(&path).unwrap();
    let traced = Traced {
        test,
        act: "outgrow",
    };
    let points = traced.points(&path);
    let is_long = std::env::var("SIMRECORDER_KILL_POINTS").is_ok_and(|points| points == "all");
    let step = if is_long {
        1
    } else {
        points.len().div_ceil(25)
    };
    let mut struck = 0;
    for point in points.iter().step_by(step) {
        let _ = fs::remove_file(path.with_extension("h5.journal"));
        fs::write(&path, &short).unwrap();
        let progress = traced.struck(&path, point, strike);
        struck += usize::from(progress.was_struck);
        let reader = open(&path, OpenMode::Read);
        let found = views(&reader);
        let len = found[0].len();
        let least = progress.flushed.max(STARTED);
        assert!(
            (least..=OUTGROWN).contains(&len) && len % 30 == 10,
            "{point:?}: {len} of {least}"
        );
        found.iter().for_each(|view| check_kind(view, len));
        let resumed = recorder(&path, OpenMode::Append);
        record_kinds(&resumed, len..len + 100);
        resumed.close().unwrap();
        views(&open(&path, OpenMode::Read))
            .iter()
            .for_each(|view| check_kind(view, len + 100));
        found.iter().for_each(|view| check_kind(view, len));
    }
    eprintln!("{} calls, struck at {struck}", points.len());
    assert!(
        points.len() > 20 && struck > 15,
        "{} calls, struck at {struck}",
        points.len()
    );
}

#[test]
fn a_kill_while_series_outgrow_their_datasets_loses_nothing_that_was_flushed() {
    let name = "a_kill_while_series_outgrow_their_datasets_loses_nothing_that_was_flushed";
    strike_while_outgrowing(name, Strike::Kill);
}

#[test]
fn a_failure_while_series_outgrow_their_datasets_loses_nothing_that_was_flushed() {
    let name = "a_failure_while_series_outgrow_their_datasets_loses_nothing_that_was_flushed";
    strike_while_outgrowing(name, Strike::Fail);
}
