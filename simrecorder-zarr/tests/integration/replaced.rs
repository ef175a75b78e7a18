//! Recordings in directories that are replaced by others: the remains of the first are not mixed
//! with the second.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};
use simrecorder_core::{
    ChunkPolicy, CopyOptions, DataStore, DataStoreExt, ErrorKind, Key, OpenMode, Recorder, Result,
    Schema, View, copy, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::*;

const MODES: [OpenMode; 3] = [OpenMode::Read, OpenMode::Append, OpenMode::OpenOrCreate];

fn try_open(path: &Path, mode: OpenMode) -> Result<ZarrDataStore> {
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    options.mode(mode).open(path)
}

fn open(path: &Path, mode: OpenMode) -> ZarrDataStore {
    try_open(path, mode).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Records `count` numbers from `first` on as series of all kinds, and flushes them.
fn record(recorder: &Recorder, first: u64, count: u64) {
    for name in ["n", "rows", "text"] {
        let schema = match name {
            "n" => Schema::scalar::<u64>(),
            "rows" => Schema::ragged::<u64>([]),
            _ => Schema::text(),
        };
        let policy = ChunkPolicy::records(4);
        recorder
            .declare(name, schema.with_chunk_policy(policy))
            .unwrap();
    }
    for i in first..first + count {
        recorder.record("n", i).unwrap();
        recorder.record("rows", Ragged(vec![i; 2])).unwrap();
        recorder.record("text", i.to_string()).unwrap();
    }
    recorder.flush().unwrap();
}

fn numbers(store: &ZarrDataStore) -> Vec<u64> {
    let view = store.series_view(&key("n")).unwrap();
    view.read::<u64>().unwrap().into_iter().collect()
}

fn journal_of(path: &Path) -> PathBuf {
    path.with_file_name("run.zarr.journal")
}

/// Leaves what a killed writer leaves: a directory, with its journal applied or not, and a journal.
fn killed(path: &Path, settled: bool) {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("run.zarr");
    let recorder = Recorder::new(open(&written, OpenMode::CreateNew));
    record(&recorder, 0, 10);
    if settled {
        recorder.checkpoint().unwrap();
        recorder.record("n", 10_u64).unwrap();
        recorder.flush().unwrap();
    }
    let mut copy = Command::new("cp");
    copy.arg("-r").args([&written, &journal_of(&written)]);
    assert_success(copy.arg(path.parent().unwrap()));
    assert_eq!(path.join("zarr.json").exists(), settled);
}

/// Creates a group of other software with one array.
fn foreign(path: &Path) {
    let root = json!({"zarr_format": 3, "node_type": "group", "attributes": {"title": "t"}});
    let array = json!({
        "zarr_format": 3, "node_type": "array", "shape": [3], "data_type": "uint64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3]}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 7,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    });
    fs::create_dir_all(path.join("n")).unwrap();
    fs::write(path.join("zarr.json"), root.to_string()).unwrap();
    fs::write(path.join("n/zarr.json"), array.to_string()).unwrap();
}

fn root(path: &Path) -> Json {
    serde_json::from_slice(&fs::read(path.join("zarr.json")).unwrap()).unwrap()
}

fn id(path: &Path) -> String {
    let root = root(path);
    let id = root["attributes"]["simrecorder"]["id"].as_str();
    id.unwrap().to_owned()
}

#[test]
fn a_journal_is_not_read_into_a_recording_that_took_the_place_of_its_own() {
    for settled in [false, true] {
        for is_foreign in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run.zarr");
            killed(&path, settled);
            fs::remove_dir_all(&path).unwrap();
            let expected = if is_foreign {
                foreign(&path);
                vec![7; 3]
            } else {
                let elsewhere = folder.path().join("other.zarr");
                let recorder = Recorder::new(open(&elsewhere, OpenMode::CreateNew));
                record(&recorder, 100, 5);
                recorder.close().unwrap();
                fs::rename(elsewhere, &path).unwrap();
                (100..105).collect()
            };
            let before = all_files(folder.path());
            for mode in MODES {
                let error = try_open(&path, mode).unwrap_err();
                let words = ["run.zarr.journal", "belongs to another recording", "move"];
                expect(error, ErrorKind::Corrupt, &words);
                assert!(all_files(folder.path()) == before, "{mode:?}");
            }
            fs::rename(journal_of(&path), folder.path().join("away")).unwrap();
            for mode in MODES {
                assert_eq!(numbers(&open(&path, mode)), expected);
            }
            // An empty recording needs no journal.
            fs::rename(folder.path().join("away"), journal_of(&path)).unwrap();
            let store = open(&path, OpenMode::Truncate);
            assert!(store.children(&Key::ROOT).unwrap().is_empty());
        }
    }
}

#[test]
fn a_journal_is_not_read_into_a_hierarchy_of_zarr_v2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    killed(&path, true);
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    let before = all_files(folder.path());
    for mode in MODES {
        match try_open(&path, mode) {
            Ok(store) => assert!(store.children(&Key::ROOT).unwrap().is_empty()),
            Err(error) => expect(error, ErrorKind::Unsupported, &["this is Zarr V2"]),
        }
        assert!(all_files(folder.path()) == before, "{mode:?}");
    }
    assert!(try_open(&path, OpenMode::Read).is_ok());
}

#[test]
fn a_reader_that_is_open_notices_a_journal_of_another_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    killed(&path, true);
    let reader = open(&path, OpenMode::Read);
    assert_eq!(numbers(&reader), (0..11).collect::<Vec<_>>());
    fs::remove_dir_all(&path).unwrap();
    foreign(&path);
    let error = reader.series_view(&key("n")).unwrap_err();
    expect(error, ErrorKind::Corrupt, &["belongs to another recording"]);
    fs::remove_file(journal_of(&path)).unwrap();
    assert_eq!(numbers(&reader), [7; 3]);
}

#[test]
fn a_recording_keeps_its_id_and_its_journal() {
    for settled in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        killed(&path, settled);
        let count = if settled { 11 } else { 10 };
        let mut expected: Vec<u64> = (0..count).collect();
        assert_eq!(numbers(&open(&path, OpenMode::Read)), expected);
        let recorder = Recorder::new(open(&path, OpenMode::Append));
        recorder.record("n", 99_u64).unwrap();
        expected.push(99);
        let own = json!({"id": "mine"});
        let attributes = [
            ("title".to_owned(), json!("t")),
            ("simrecorder".to_owned(), own),
        ];
        recorder
            .set_attributes("", attributes.into_iter().collect())
            .unwrap();
        recorder.close().unwrap();
        let first = id(&path);
        assert_eq!(first.len(), 32);
        let attributes = &root(&path)["attributes"];
        assert_eq!(attributes["_simrecorder"]["id"], "mine");

        let recorder = Recorder::new(open(&path, OpenMode::Append));
        recorder.record("n", 100_u64).unwrap();
        expected.push(100);
        recorder.flush().unwrap();
        assert_eq!(numbers(&open(&path, OpenMode::Read)), expected);
        recorder.close().unwrap();
        assert_eq!(id(&path), first);

        // A copy and the recording that replaces it are different recordings.
        let copied = folder.path().join("copy.zarr");
        let (from, to) = (
            open(&path, OpenMode::Read),
            open(&copied, OpenMode::CreateNew),
        );
        copy(&from, &to, CopyOptions::new()).unwrap();
        to.close().unwrap();
        assert_ne!(id(&copied), first);
        open(&path, OpenMode::Truncate).close().unwrap();
        assert_ne!(id(&path), first);
    }
}

#[test]
fn a_hierarchy_of_other_software_gets_an_id_when_it_is_first_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    foreign(&path);
    let before = all_files(folder.path());
    assert_eq!(numbers(&open(&path, OpenMode::Read)), [7; 3]);
    assert!(all_files(folder.path()) == before);

    let reader = open(&path, OpenMode::Read);
    let old = reader.series_view(&key("n")).unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    let first = id(&path);
    recorder.record("n", 8_u64).unwrap();
    recorder.flush().unwrap();
    assert_eq!(old.read::<u64>().unwrap().as_slice().unwrap(), [7; 3]);
    // What a kill would leave now.
    let killed = folder.path().join("killed/run.zarr");
    fs::create_dir(killed.parent().unwrap()).unwrap();
    foreign(&killed);
    fs::copy(path.join("zarr.json"), killed.join("zarr.json")).unwrap();
    fs::copy(journal_of(&path), journal_of(&killed)).unwrap();
    recorder.close().unwrap();
    assert_eq!(id(&path), first);
    assert_eq!(root(&path)["attributes"]["title"], "t");
    for path in [&path, &killed] {
        assert_eq!(numbers(&open(path, OpenMode::Append)), [7, 7, 7, 8]);
    }
}

#[test]
fn metadata_that_has_no_room_for_an_id_stays_as_it_is() {
    for attributes in [json!({"simrecorder": 5}), json!(5)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        foreign(&path);
        let root = json!({"zarr_format": 3, "node_type": "group", "attributes": attributes});
        fs::write(path.join("zarr.json"), root.to_string()).unwrap();
        for more in 0..3 {
            let recorder = Recorder::new(open(&path, OpenMode::Append));
            recorder.record("n", 8_u64).unwrap();
            recorder.close().unwrap();
            assert_eq!(
                fs::read_to_string(path.join("zarr.json")).unwrap(),
                root.to_string()
            );
            assert_eq!(numbers(&open(&path, OpenMode::Read)).len(), 4 + more);
        }
    }
}

#[test]
fn a_view_gives_no_records_of_the_recording_that_took_the_place_of_its_own() {
    for (checkpoint_before, checkpoint_after) in [(false, false), (false, true), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.zarr");
        let writer = open(&path, OpenMode::CreateNew);
        let recorder = Recorder::new(writer.clone());
        record(&recorder, 0, 10);
        let shared = open(&path, OpenMode::Read);
        if checkpoint_before {
            recorder.checkpoint().unwrap();
        }
        let early = [&writer, &shared].map(|store| store.series_view(&key("n")).unwrap());
        recorder.close().unwrap();
        let reader = open(&path, OpenMode::Read);
        let mut views: Vec<View> = early.into();
        for store in [&writer, &shared, &reader] {
            for name in ["n", "rows", "text"] {
                views.push(store.series_view(&key(name)).unwrap());
            }
        }
        // More records, each as large as the earlier ones.
        let recorder = Recorder::new(open(&path, OpenMode::Truncate));
        record(&recorder, 1000, 20);
        if checkpoint_after {
            recorder.checkpoint().unwrap();
        }
        for view in &views {
            let errors = [
                view.read_records(0..10, usize::MAX).unwrap_err(),
                view.get(9).unwrap_err(),
                view.check_records(0..10).unwrap_err(),
            ];
            for error in errors {
                let words = ["another recording", "take a new view", view.key().as_str()];
                expect(error, ErrorKind::OutOfBounds, &words);
            }
            assert_eq!(view.refresh().unwrap().len(), 20);
        }
        assert_eq!(numbers(&reader), (1000..1020).collect::<Vec<_>>());
        recorder.close().unwrap();
        assert_eq!(numbers(&shared), (1000..1020).collect::<Vec<_>>());
    }
}

#[test]
fn a_view_of_a_recording_that_was_replaced_by_one_of_another_form_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew));
    record(&recorder, 0, 10);
    recorder.close().unwrap();
    let reader = open(&path, OpenMode::Read);
    let view = reader.series_view(&key("n")).unwrap();
    let recorder = Recorder::new(open(&path, OpenMode::Truncate));
    let schema = Schema::array::<f32>([2, 3]).with_chunk_policy(ChunkPolicy::records(4));
    recorder.declare("n", schema).unwrap();
    for i in 0..20 {
        recorder.record("n", [[i as f32; 3]; 2]).unwrap();
    }
    recorder.checkpoint().unwrap();
    let error = view.read::<u64>().unwrap_err();
    expect(error, ErrorKind::OutOfBounds, &["another recording"]);
}

#[test]
fn a_view_returns_no_records_of_a_recording_that_another_process_puts_in_its_place() {
    let name = "a_view_returns_no_records_of_a_recording_that_another_process_puts_in_its_place";
    let open = |path: &Path, mode| {
        let storage = match path.ends_with("run.mdb") {
            true => ZarrStorage::Lmdb,
            false => ZarrStorage::Directory,
        };
        let options = ZarrDataStore::options().storage(storage);
        options.mode(mode).open(path).unwrap()
    };
    if let Some(path) = role() {
        let recorder = Recorder::new(open(&path, OpenMode::Truncate));
        record(&recorder, 1000, 20);
        return recorder.close().unwrap();
    }
    for file in ["run.mdb", "run.zarr"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        let recorder = Recorder::new(open(&path, OpenMode::CreateNew));
        record(&recorder, 0, 10);
        recorder.close().unwrap();
        drop(recorder);
        let reader = open(&path, OpenMode::Read);
        let view = reader.series_view(&key("n")).unwrap();
        assert_success(&mut this_test(name, &path));
        match view.read::<u64>() {
            // LMDB keeps the file of the earlier recording open.
            Ok(read) if file == "run.mdb" => assert!(read.into_iter().eq(0..10)),
            read => {
                let words = ["another recording"];
                expect(read.unwrap_err(), ErrorKind::OutOfBounds, &words);
            }
        }
        drop((view, reader));
        assert_eq!(numbers(&open(&path, OpenMode::Read)).len(), 20);
    }
}
