//! Checkpoints at regular intervals.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use simrecorder_core::{
    Commit, Error, ErrorKind, InMemoryDataStore, Recorder, RecorderOptions, Result, StoreState,
};

use crate::support::{Adapter, Hook, Op, numbers, wait_until};

/// A store that another program has open until it is released.
#[derive(Debug, Default)]
struct Held {
    is_held: AtomicBool,
    refused: AtomicUsize,
    done: AtomicUsize,
    waited: AtomicUsize,
}

impl Hook for Held {
    fn before(&self, op: Op, _: Option<&Commit>) -> Result<()> {
        match op {
            Op::CheckpointAtOnce if self.is_held.load(Ordering::SeqCst) => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                let message = "another program reads this file";
                return Err(Error::new(ErrorKind::Locked, "checkpoint", message));
            }
            Op::CheckpointAtOnce => self.done.fetch_add(1, Ordering::SeqCst),
            Op::Checkpoint => self.waited.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        Ok(())
    }
}

impl Held {
    fn count(&self, of: impl Fn(&Self) -> &AtomicUsize) -> usize {
        of(self).load(Ordering::SeqCst)
    }
}

const OFTEN: Duration = Duration::from_millis(2);

#[test]
fn checkpoints_come_at_regular_times_if_they_are_asked_for() {
    for commits in [None, Some(OFTEN)] {
        let store = Adapter::with_hook("held", Held::default());
        let options = RecorderOptions::new()
            .commit_interval(commits)
            .checkpoint_interval(OFTEN);
        let recorder = Recorder::with_options(store.clone(), options);
        recorder.record("n", 0_u64).unwrap();
        wait_until("there are checkpoints", || {
            store.hook.count(|held| &held.done) > 2
        });
        // A checkpoint includes everything that was recorded before.
        assert_eq!(numbers(&store, "n"), [0]);
        assert_eq!(store.hook.count(|held| &held.waited), 0);
        recorder.close().unwrap();
    }
    let store = Adapter::with_hook("held", Held::default());
    let options = RecorderOptions::new().commit_interval(OFTEN);
    let recorder = Recorder::with_options(store.clone(), options);
    recorder.record("n", 0_u64).unwrap();
    wait_until("there is a commit", || !numbers(&store, "n").is_empty());
    recorder.close().unwrap();
    assert_eq!(store.hook.count(|held| &held.done), 0);
}

#[test]
fn a_store_that_is_held_is_left_out_and_tried_again() {
    let held = Adapter::with_hook("held", Held::default());
    held.hook.is_held.store(true, Ordering::SeqCst);
    let free = Adapter::with_hook("free", Held::default());
    let beside = InMemoryDataStore::new();
    let options = RecorderOptions::new()
        .commit_interval(OFTEN)
        .checkpoint_interval(OFTEN);
    let stores = (held.clone(), free.clone(), beside.clone());
    let recorder = Recorder::with_options(stores, options);
    for number in 0..100_u64 {
        recorder.record("n", number).unwrap();
    }
    wait_until("the other store has checkpoints", || {
        free.hook.count(|held| &held.done) > 2 && held.hook.count(|held| &held.refused) > 2
    });
    assert_eq!(held.hook.count(|held| &held.done), 0);
    recorder.flush().unwrap();
    for store in &recorder.status().stores {
        assert!(matches!(store.state, StoreState::Healthy), "{store:?}");
    }
    for store in [&held.store, &free.store, &beside] {
        assert!(numbers(store, "n").into_iter().eq(0..100));
    }
    held.hook.is_held.store(false, Ordering::SeqCst);
    wait_until("the store has a checkpoint", || {
        held.hook.count(|held| &held.done) > 0
    });
    recorder.close().unwrap();
}

/// It does not wait for the next interval, which may be far away.
#[test]
fn a_store_that_was_held_is_tried_again_with_the_next_commits() {
    let store = Adapter::with_hook("held", Held::default());
    store.hook.is_held.store(true, Ordering::SeqCst);
    let interval = Duration::from_millis(500);
    let options = RecorderOptions::new()
        .commit_interval(OFTEN)
        .checkpoint_interval(interval);
    let recorder = Recorder::with_options(store.clone(), options);
    recorder.record("n", 0_u64).unwrap();
    // Only the first of them is at the interval.
    let start = std::time::Instant::now();
    wait_until("it is tried again", || {
        store.hook.count(|held| &held.refused) > 10
    });
    assert!(start.elapsed() < 5 * interval);
    recorder.close().unwrap();
}

#[test]
fn an_interval_that_never_ends_is_taken_as_none() {
    let options = RecorderOptions::new()
        .commit_interval(Duration::MAX)
        .checkpoint_interval(Duration::MAX);
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), options);
    recorder.record("n", 1_u64).unwrap();
    recorder.close().unwrap();
    assert_eq!(numbers(&store, "n"), [1]);
}
