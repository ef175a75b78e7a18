//! Many threads that record, flush, set and close at the same time.

use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use simrecorder_core::{
    DataStore, Error, ErrorKind, InMemoryDataStore, Recorder, RecorderOptions, Result, prelude::*,
};
use support::{
    CountingStore, StallStore, count_up, kind_of, no_hang, no_timer, numbers, wait_until,
};

const THREADS: u64 = 12;
/// Numbers below this belong to one thread.
const STRIDE: u64 = 1 << 32;

/// A simple generator, so that each run does the same.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Each thread records its own numbers in order, into its key and into a common one.
fn record_on_many_threads(options: RecorderOptions, count: u64) -> Result<CountingStore> {
    let store = CountingStore::new();
    let recorder = Recorder::with_options(store.clone(), options);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mut recorder = recorder.clone();
            std::thread::spawn(move || {
                let mut dice = Dice(thread + 1);
                let handle = recorder.series::<u64>("common")?;
                for number in 0..count {
                    let value = thread * STRIDE + number;
                    match dice.throw(3) {
                        0 => handle.record(value)?,
                        1 => recorder.record("common", value)?,
                        _ => recorder.record("/common", value)?,
                    }
                    recorder.record(format!("own/{thread}"), value)?;
                    match dice.throw(500) {
                        0 => recorder.flush()?,
                        1 => recorder = recorder.clone(),
                        2 => drop(handle.clone()),
                        3 => recorder.set("last", value)?,
                        _ => {}
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    // The threads keep the recorder open.
    drop(recorder);
    no_hang("all threads have recorded", move || {
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    Ok(store)
}

#[track_caller]
fn assert_complete(store: &CountingStore, count: u64) {
    let common = numbers(store, "common");
    assert_eq!(common.len() as u64, THREADS * count);
    for thread in 0..THREADS {
        let wanted: Vec<_> = (0..count).map(|number| thread * STRIDE + number).collect();
        let in_common: Vec<_> = common
            .iter()
            .copied()
            .filter(|number| number / STRIDE == thread)
            .collect();
        assert_eq!(in_common, wanted);
        assert_eq!(numbers(store, &format!("own/{thread}")), wanted);
    }
    store.assert_no_gaps(0);
}

#[test]
fn the_order_of_each_thread_and_key_is_kept() -> Result<()> {
    let store = record_on_many_threads(RecorderOptions::new(), 3000)?;
    assert_complete(&store, 3000);
    Ok(())
}

#[test]
fn the_order_is_kept_when_memory_is_short_and_commits_are_frequent() -> Result<()> {
    let options = RecorderOptions::new()
        .memory_bound(64 << 10)
        .commit_interval(Duration::from_micros(100));
    let store = record_on_many_threads(options, 2000)?;
    assert_complete(&store, 2000);
    Ok(())
}

#[test]
fn the_order_is_kept_without_threads_of_the_recorder() -> Result<()> {
    for bound in [256 << 20, 64 << 10] {
        let options = no_timer().inline(true).memory_bound(bound);
        let store = record_on_many_threads(options, 1000)?;
        assert_complete(&store, 1000);
    }
    Ok(())
}

/// Records until the recorder refuses; returns how many records each of the three kinds of keys
/// got.
fn record_until_closed(recorder: &Recorder, thread: u64, started: &AtomicU64) -> [u64; 3] {
    let mut taken = [0; 3];
    let mut open = [true; 3];
    while open.contains(&true) {
        let results = [
            recorder.record(format!("own/{thread}"), taken[0]),
            recorder.record("common", 7_u64),
            // New keys all the time.
            recorder.record(format!("new/{thread}/{}", taken[2]), 7_u64),
        ];
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => {
                    assert!(open[index], "taken after a record was refused");
                    taken[index] += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Closed);
                    open[index] = false;
                }
            }
        }
        started.fetch_add(1, Ordering::Relaxed);
    }
    taken
}

#[test]
fn what_is_recorded_before_close_is_stored_and_after_it_refused() -> Result<()> {
    for round in 0..20_u64 {
        let store = CountingStore::new();
        let options = RecorderOptions::new()
            .inline(round % 4 == 3)
            .memory_bound(if round % 2 == 0 { 256 << 20 } else { 32 << 10 });
        let recorder = Recorder::with_options(store.clone(), options);
        let started = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (recorder, started) = (recorder.clone(), Arc::clone(&started));
                std::thread::spawn(move || record_until_closed(&recorder, thread, &started))
            })
            .collect();
        wait_until("threads record", || {
            started.load(Ordering::Relaxed) > round * 20
        });
        let closing = recorder.clone();
        no_hang("the recorder closes", move || closing.close())?;
        recorder.close()?;
        let mut common = 0;
        for (thread, taken) in threads.into_iter().enumerate() {
            let taken = no_hang("the thread ends", move || thread_result(taken));
            let own = numbers(&store, &format!("own/{thread}"));
            assert_eq!(own, (0..taken[0]).collect::<Vec<_>>());
            common += taken[1];
            for number in 0..taken[2] {
                assert_eq!(numbers(&store, &format!("new/{thread}/{number}")), [7]);
            }
        }
        assert_eq!(numbers(&store, "common").len() as u64, common);
        assert_eq!(store.closes(), 1);
    }
    Ok(())
}

fn thread_result<T>(thread: std::thread::JoinHandle<T>) -> T {
    thread.join().expect("no panic")
}

#[test]
fn a_second_close_waits_for_the_first() -> Result<()> {
    let store = StallStore::stalled();
    let recorder = Recorder::with_options(store.clone(), no_timer());
    recorder.record("n", 1_u64)?;
    let first = {
        let recorder = recorder.clone();
        std::thread::spawn(move || recorder.close())
    };
    store.wait_until_stalled();
    let done = Arc::new(AtomicBool::new(false));
    let second = {
        let (recorder, done, store) = (recorder.clone(), Arc::clone(&done), store.clone());
        std::thread::spawn(move || {
            let result = recorder.close();
            // The record is stored when `close` returns.
            assert_eq!(numbers(&store, "n"), [1]);
            done.store(true, Ordering::SeqCst);
            result
        })
    };
    assert_eq!(kind_of(recorder.record("n", 2_u64)), ErrorKind::Closed);
    std::thread::yield_now();
    assert!(!done.load(Ordering::SeqCst));
    store.release();
    no_hang("both end", move || {
        thread_result(first).and(thread_result(second))
    })
}

#[test]
fn close_and_flush_at_the_same_time_do_not_hang() -> Result<()> {
    for _ in 0..50 {
        let store = InMemoryDataStore::new();
        let recorder = Recorder::with_options(store.clone(), no_timer());
        recorder.record("n", 0_u64)?;
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let recorder = recorder.clone();
                std::thread::spawn(move || {
                    while recorder.flush().is_ok() && recorder.get_all("n").is_ok() {
                        drop(recorder.record("n", 1_u64));
                        assert!(recorder.status().record_count > 0);
                    }
                })
            })
            .collect();
        let records = no_hang("all end", move || {
            let result = recorder.close();
            threads.into_iter().for_each(thread_result);
            result.map(|()| recorder.status().record_count)
        })?;
        assert_eq!(numbers(&store, "n").len() as u64, records);
    }
    Ok(())
}

#[test]
fn sets_of_one_thread_take_effect_in_their_order() -> Result<()> {
    let store = CountingStore::new();
    let options = RecorderOptions::new().memory_bound(256 << 10);
    let recorder = Recorder::with_options(store.clone(), options);
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let recorder = recorder.clone();
            std::thread::spawn(move || {
                for number in 0..1000 {
                    recorder.set("common", thread * STRIDE + number)?;
                    recorder.set(format!("own/{thread}"), number)?;
                    if number % 100 == 0 {
                        let read = recorder.get_as::<u64>(format!("own/{thread}"))?;
                        assert_eq!(read, Some(number));
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(thread_result)?;
    let last = recorder.get_as::<u64>("common")?.expect("a value");
    assert_eq!(last % STRIDE, 999, "the last record of a thread is last");
    for thread in 0..8 {
        assert_eq!(recorder.get_as::<u64>(format!("own/{thread}"))?, Some(999));
    }
    recorder.close()?;
    let sets = store.commits().into_iter().flat_map(|seen| seen.others);
    let mut counts = BTreeMap::<String, u64>::new();
    sets.for_each(|(_, key)| *counts.entry(key).or_default() += 1);
    assert_eq!(counts["common"], 8000);
    Ok(())
}

#[test]
fn while_a_store_stalls_status_and_other_keys_answer() -> Result<()> {
    let store = StallStore::stalled();
    let recorder = Recorder::with_options(store.clone(), no_timer().memory_bound(1 << 20));
    recorder.record("other", 0_u64)?;
    recorder.record("other", 1_u64)?;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let recorder = recorder.clone();
            std::thread::spawn(move || count_up(&recorder, "n", 50_000))
        })
        .collect();
    wait_until("the queue is full", || {
        recorder.status().stores[0].queued_bytes > (1 << 18)
    });
    let asking = recorder.clone();
    no_hang(
        "status answers and there is room in other buffers",
        move || {
            assert!(asking.status().record_count > 2);
            asking.record("other", 2_u64)
        },
    )?;
    store.release();
    writers.into_iter().try_for_each(thread_result)?;
    recorder.close()?;
    assert_eq!(numbers(&store, "n").len(), 200_000);
    assert_eq!(numbers(&store, "other"), [0, 1, 2]);
    Ok(())
}

#[test]
fn a_handle_is_shared_among_threads_before_the_first_record() -> Result<()> {
    for _ in 0..50 {
        let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
        let handle = Arc::new(recorder.series::<f64>("rate")?);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let handle = Arc::clone(&handle);
                std::thread::spawn(move || (0..10).try_for_each(|_| handle.record(0.5)))
            })
            .collect();
        threads.into_iter().try_for_each(thread_result)?;
        assert_eq!(recorder.get_all("rate")?.shape(), [40]);
    }
    Ok(())
}

#[test]
fn a_flush_covers_what_its_thread_recorded() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), no_timer());
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (recorder, store) = (recorder.clone(), store.clone());
            std::thread::spawn(move || {
                let key = format!("own/{thread}");
                for number in 0..200_u64 {
                    recorder.record(&key, number)?;
                    recorder.flush()?;
                    // Through another handle, without the recorder.
                    assert_eq!(
                        numbers(&store as &dyn DataStore, &key).len() as u64,
                        number + 1
                    );
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(thread_result)?;
    recorder.close()
}

#[test]
fn inline_commits_of_many_threads_stay_in_order() -> Result<()> {
    let store = CountingStore::new();
    let recorder = Recorder::with_options(store.clone(), no_timer().inline(true));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let recorder = recorder.clone();
            std::thread::spawn(move || {
                (0..1000).try_for_each(|number| {
                    recorder.record("common", number)?;
                    recorder.flush()
                })
            })
        })
        .collect();
    threads.into_iter().try_for_each(thread_result)?;
    assert_eq!(recorder.get_all("common")?.shape(), [8000]);
    recorder.close()?;
    store.assert_no_gaps(0);
    Ok(())
}
