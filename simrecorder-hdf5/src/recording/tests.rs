//! What views read while others close, cut or replace their data.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

use simrecorder_core::{
    Change, ChunkPolicy, DataStore, DataStoreExt, ErrorKind, Key, OpenMode, Recorder, Schema, View,
};

use crate::recording::commit::CommitBuilder;
use crate::store::Hdf5DataStore;

fn path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    (folder, path)
}

fn key() -> Key {
    Key::new("n").unwrap()
}

fn open(path: &PathBuf, mode: OpenMode) -> Hdf5DataStore {
    Hdf5DataStore::options().mode(mode).open(path).unwrap()
}

/// Records these numbers. The last of them do not fill a chunk.
fn record(store: &Hdf5DataStore, numbers: std::ops::Range<u64>) -> Recorder {
    let recorder = Recorder::new(store.clone());
    let n = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(100));
    recorder.declare("n", n).unwrap();
    numbers.for_each(|i| recorder.record("n", i).unwrap());
    recorder.flush().unwrap();
    recorder
}

fn view(store: &Hdf5DataStore) -> View {
    store.view(&key()).unwrap().unwrap()
}

fn read(view: &View) -> simrecorder_core::Result<Vec<u64>> {
    Ok(view.read::<u64>()?.into_raw_vec_and_offset().0)
}

#[test]
fn a_view_is_read_while_its_file_is_closed_and_opened_again() {
    let (_folder, path) = path();
    let store = open(&path, OpenMode::CreateNew);
    let _recorder = record(&store, 0..250);
    let recording = store.recording();
    let (tried, has_tried) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut state = recording.state.write();
        state.open.flush().unwrap();
        state.open.close().unwrap();
        let reader = scope.spawn(move || {
            recording.with_open(|open| {
                let len = open.dataset("/n").and_then(|dataset| dataset.len());
                tried.send(()).unwrap();
                len
            })
        });
        has_tried.recv().unwrap();
        recording.roll_back(&mut state).unwrap();
        drop(state);
        assert_eq!(reader.join().unwrap().unwrap(), 200);
    });
}

#[test]
fn a_view_does_not_read_rows_that_a_commit_is_cutting_and_continues_if_the_commit_fails() {
    let (_folder, path) = path();
    let store = open(&path, OpenMode::CreateNew);
    let _recorder = record(&store, 0..250);
    let view = view(&store);
    let recording = store.recording();
    {
        let state = recording.state.read();
        let mut builder = CommitBuilder::new(recording, &state);
        let (key, len) = (key(), 50);
        builder.add(Change::Truncate { key, len }).unwrap();
        builder.finish().unwrap();
        let error = read(&view).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}");
    }
    recording.roll_back(&mut recording.state.write()).unwrap();
    assert!(read(&view).unwrap().into_iter().eq(0..250));
}

#[test]
fn tails_are_kept_when_a_file_cannot_be_opened_again_after_a_failure() {
    let (_folder, path) = path();
    let store = open(&path, OpenMode::CreateNew);
    let _recorder = record(&store, 0..250);
    let journal = path.with_extension("h5.journal");
    let whole = fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    damaged[72..].fill(0);
    fs::write(&journal, damaged).unwrap();
    let recording = store.recording();
    recording
        .roll_back(&mut recording.state.write())
        .unwrap_err();
    fs::write(&journal, whole).unwrap();
    // Whether or not it reports that it cannot read the tails.
    let _ = store.close();
    drop(store);
    let store = open(&path, OpenMode::Read);
    assert!(read(&view(&store)).unwrap().into_iter().eq(0..250));
}

#[test]
fn a_view_does_not_read_from_a_recording_that_replaced_its_own() {
    let (_folder, path) = path();
    let old = open(&path, OpenMode::CreateNew);
    record(&old, 0..250).close().unwrap();
    let reader = open(&path, OpenMode::Read);
    let views = [view(&old), view(&reader)];
    for view in &views {
        assert!(read(view).unwrap().into_iter().eq(0..250));
    }
    let new = open(&path, OpenMode::Truncate);
    let recorder = record(&new, 1000..1250);
    for _ in 0..2 {
        for view in &views {
            let error = read(view).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}");
            let again = read(&view.refresh().unwrap()).unwrap();
            assert!(again.into_iter().eq(1000..1250));
        }
        recorder.close().unwrap();
    }
}
