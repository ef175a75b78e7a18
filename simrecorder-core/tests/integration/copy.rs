//! The commits of copies, and copies between stores that fail.

use std::ops::ControlFlow;

use simrecorder_core::{
    CopyOptions, ErrorKind, InMemoryDataStore, Key, OpenMode, Recorder, copy, prelude::*,
};

use crate::support;

use support::*;

fn open(store: &InMemoryDataStore) -> Recorder {
    let store = store.open(OpenMode::Append).expect("it can be opened");
    Recorder::with_options(store, no_timer().inline(true))
}

/// 20 MiB of arrays, in one series.
fn large() -> InMemoryDataStore {
    let store = InMemoryDataStore::new();
    let recorder = open(&store);
    for i in 0..160 {
        recorder.record("a", vec![i as f64; 1 << 14]).expect("room");
    }
    recorder.close().expect("memory");
    store
}

#[test]
fn commits_are_about_8_mib_of_whole_chunks_and_a_checkpoint_ends_the_copy() {
    let to = CountingStore::new();
    copy(&large(), &to, CopyOptions::new()).expect("a copy");
    to.assert_no_gaps(0);
    let commits = to.commits();
    assert_eq!(commits.len(), 3);
    assert!(
        commits.iter().all(|seen| seen.bytes <= 9 << 20),
        "{commits:?}"
    );
    // A chunk has 8 records.
    assert!(
        to.batches("a")
            .iter()
            .all(|(start, count)| start % 8 == 0 && count % 8 == 0)
    );
    assert_eq!((to.checkpoints(), to.closes()), (1, 0));
}

#[test]
fn a_million_tiny_records_and_ten_thousand_keys_take_few_commits() {
    let from = InMemoryDataStore::new();
    let recorder = open(&from);
    for i in 0..1_000_000_u64 {
        recorder.record("number", i).expect("room");
        recorder.record("row", Ragged([0_u8; 0])).expect("room");
    }
    for key in 0..10_000_u64 {
        recorder.record(format!("group/{key}"), key).expect("room");
    }
    recorder.close().expect("memory");
    let to = CountingStore::new();
    let copied = copy(&from, &to, CopyOptions::new()).expect("a copy");
    assert_eq!((copied.key_count, copied.record_count), (10_002, 2_010_000));
    to.assert_no_gaps(0);
    assert!(to.commits().len() < 20, "{} commits", to.commits().len());
    assert_eq!(numbers(&to, "number").len(), 1_000_000);
    assert_eq!(numbers(&to, "group/9999"), [9999]);
}

#[test]
fn records_larger_than_a_commit_are_copied() {
    let from = InMemoryDataStore::new();
    let recorder = open(&from);
    for i in 0..3 {
        recorder.record("a", vec![i; 20 << 20]).expect("room");
        recorder.record("b", Blob(vec![i; 20 << 20])).expect("room");
    }
    recorder.set("c", Blob(vec![7; 20 << 20])).expect("room");
    recorder.close().expect("memory");
    let to = InMemoryDataStore::new();
    copy(&from, &to, CopyOptions::new()).expect("a copy");
    for name in ["a", "b"] {
        let key = Key::new(name).expect("a key");
        let [found, expected] = [&to, &from].map(|store| store.series_view(&key).expect("a view"));
        for i in 0..3 {
            assert!(found.get(i).expect("a record") == expected.get(i).expect("a record"));
        }
    }
    assert!(
        to.value(&Key::new("c").expect("a key"))
            .expect("memory")
            .is_some()
    );
}

#[test]
fn a_store_that_fails_ends_the_copy_with_its_error() {
    let ops = [
        (Op::Commit, 2),
        (Op::Commit, 3),
        (Op::Prepare, 9),
        (Op::Checkpoint, 1),
        (Op::Plan, 1),
    ];
    for (op, at) in ops {
        let to = FaultStore::new(op, at);
        let mut calls = 0;
        let options = CopyOptions::new().on_progress(|_| {
            calls += 1;
            ControlFlow::Continue(())
        });
        let error = copy(&large(), &to, options).expect_err("a fault");
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{op:?}: {error}");
        let records = match to
            .store
            .view(&Key::new("a").expect("a key"))
            .expect("memory")
        {
            Some(view) => view.len() / 64,
            None => 0,
        };
        // Each commit except the last has 64 records.
        let expected = match op {
            Op::Commit => at as u64 - 1,
            Op::Prepare => 1,
            Op::Checkpoint => 2,
            _ => 0,
        };
        assert_eq!(records, expected, "{op:?}");
        assert!(calls <= 3, "{op:?}: {calls}");
    }
}

#[test]
fn a_source_that_fails_ends_the_copy_with_its_error() {
    let from = FaultStore::new(Op::Nodes, 2);
    open(&from.store).record("a", 1).expect("room");
    let to = CountingStore::new();
    let error = copy(&from, &to, CopyOptions::new()).expect_err("a fault");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!((to.commits().len(), to.checkpoints()), (0, 0));
}
