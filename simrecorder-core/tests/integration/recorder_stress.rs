//! All operations at the same time: threads that record, flush, checkpoint, read, and drop clones, on
//! stores of different speed.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simrecorder_core::{
    Commit, DataStore, Error, InMemoryDataStore, Recorder, RecorderOptions, Result, prelude::*,
};
use support::{Adapter, CountingStore, Hook, Op, no_hang, numbers};

const THREADS: u64 = 16;
const RECORDS: u64 = 1500;
/// Numbers below this belong to one thread.
const STRIDE: u64 = 1 << 32;

/// A simple generator, so that each thread does the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A store with slow commits.
#[derive(Debug)]
struct Slow;

impl Hook for Slow {
    fn before(&self, op: Op, _: Option<&Commit>) -> Result<()> {
        if op == Op::Commit {
            std::thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }
}

/// Records the numbers of one thread in order, into its own key and a shared one, and reads them back now and then.
fn work(mut recorder: Recorder, thread: u64) -> Result<()> {
    let own = format!("own/{thread}");
    let mut dice = Dice(thread + 1);
    let mut clones = Vec::new();
    for number in 0..RECORDS {
        let value = thread * STRIDE + number;
        recorder.record("common", value)?;
        recorder.record(&own, value)?;
        match dice.throw(200) {
            0 => recorder.flush()?,
            1 => recorder.checkpoint()?,
            2 => clones.push(recorder.clone()),
            3 => {
                // Drops the handle that it used so far, or another one.
                let other = recorder.clone();
                clones.push(std::mem::replace(&mut recorder, other));
                let index = dice.throw(clones.len() as u64) as usize;
                drop(clones.swap_remove(index));
            }
            4 => {
                // A recorder reads its own records.
                let view = recorder.get_all(&own)?;
                assert_eq!(view.len(), number + 1);
                assert_eq!(view.get(number)?.scalar::<u64>()?, value);
            }
            5 => recorder.set(format!("last/{thread}"), value)?,
            6 => recorder.record(format!("new/{thread}/{number}"), value)?,
            _ => {}
        }
    }
    recorder.set(format!("last/{thread}"), RECORDS)
}

/// Reads a store until `done`: its series only grow, and are in order.
fn watch(store: &dyn DataStore, done: &AtomicBool) {
    let mut seen = 0;
    while !done.load(Ordering::Acquire) {
        for thread in 0..THREADS {
            let own = numbers(store, &format!("own/{thread}"));
            assert!(own.iter().copied().eq((thread * STRIDE..).take(own.len())));
        }
        let common = numbers(store, "common").len();
        assert!(common >= seen, "{common} records after {seen}");
        seen = common;
    }
}

fn assert_complete(store: &dyn DataStore) {
    let common = numbers(store, "common");
    assert_eq!(common.len() as u64, THREADS * RECORDS);
    for thread in 0..THREADS {
        let wanted = (0..RECORDS).map(|number| thread * STRIDE + number);
        let of_thread = common.iter().filter(|number| **number / STRIDE == thread);
        assert!(
            of_thread.copied().eq(wanted.clone()),
            "thread {thread} in common"
        );
        assert!(
            numbers(store, &format!("own/{thread}"))
                .into_iter()
                .eq(wanted)
        );
    }
}

fn stress(options: RecorderOptions) -> Result<()> {
    let (memory, counting) = (InMemoryDataStore::new(), CountingStore::new());
    let slow = Adapter::with_hook("slow", Slow);
    let stores: Vec<Arc<dyn DataStore>> = vec![
        Arc::new(memory.clone()),
        Arc::new(slow.clone()),
        Arc::new(counting.clone()),
    ];
    let recorder = Recorder::with_options(stores.clone(), options);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let recorder = recorder.clone();
            std::thread::spawn(move || work(recorder, thread))
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = [Arc::clone(&stores[0]), Arc::clone(&stores[1])]
        .into_iter()
        .map(|store| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || watch(&*store, &done))
        })
        .collect();
    // The threads keep the recorder open; the last of them closes it.
    drop(recorder);
    no_hang("all threads have ended", move || {
        let result = threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"));
        done.store(true, Ordering::Release);
        watchers
            .into_iter()
            .for_each(|watcher| watcher.join().expect("no panic"));
        result
    })?;
    for store in &stores {
        assert_complete(&**store);
    }
    counting.assert_no_gaps(0);
    Ok::<_, Error>(())
}

#[test]
fn order_and_completeness_hold_on_three_stores_with_sixteen_threads() -> Result<()> {
    stress(RecorderOptions::new())
}

#[test]
fn order_and_completeness_hold_when_memory_is_short() -> Result<()> {
    let options = RecorderOptions::new()
        .memory_bound(128 << 10)
        .commit_interval(Duration::from_millis(1));
    stress(options)
}
