//! Recorders with extreme options.

use std::sync::Arc;
use std::time::Duration;

use simrecorder_core::{
    DataStore, ErrorKind, InMemoryDataStore, OpenMode, Recorder, RecorderOptions, prelude::*,
};

#[test]
fn a_recorder_without_stores_refuses_records_instead_of_dropping_them() {
    let recorder = Recorder::new(Vec::<Arc<dyn DataStore>>::new());
    let error = recorder.record("x", 1.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(recorder.keys().unwrap().is_empty());
    recorder.close().unwrap();
}

#[test]
fn flush_and_checkpoint_of_a_read_only_recorder_have_nothing_to_do() {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.open(OpenMode::Read).unwrap());
    recorder.flush().unwrap();
    recorder.checkpoint().unwrap();
    assert_eq!(
        recorder.record("x", 1.0).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    recorder.close().unwrap();
    assert_eq!(recorder.flush().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn no_interval_and_no_memory_are_taken_as_very_little() {
    let options = RecorderOptions::new()
        .commit_interval(Duration::ZERO)
        .memory_bound(0);
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), options);
    for i in 0..1000 {
        recorder.record("x", [i; 100]).unwrap();
    }
    recorder.close().unwrap();
    let recorder = Recorder::new(store.open(OpenMode::Read).unwrap());
    assert_eq!(recorder.get_all("x").unwrap().len(), 1000);
}
