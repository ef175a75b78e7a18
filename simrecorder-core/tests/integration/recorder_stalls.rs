//! Stores that stall: separate queues, the memory bound, and what happens when it is reached.
//! differ.

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use simrecorder_core::{
    Error, ErrorKind, InMemoryDataStore, Key, MemoryPolicy, Recorder, RecorderOptions, Result,
    prelude::*,
};
use support::{CountingStore, StallStore, count_up, no_hang, no_timer, numbers, wait_until};

#[test]
fn while_one_store_stalls_another_commits_what_is_recorded() -> Result<()> {
    let (stalling, healthy) = (StallStore::stalled(), CountingStore::new());
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(1));
    let recorder = Recorder::with_options((stalling.clone(), healthy.clone()), options);
    for number in 0..5_u64 {
        recorder.record("n", number)?;
        wait_until("the timed commit brings the record", || {
            numbers(&healthy, "n").len() as u64 == number + 1
        });
    }
    stalling.wait_until_stalled();
    assert_eq!(numbers(&stalling, "n"), [] as [u64; 0]);
    assert_eq!(recorder.status().record_count, 5);
    // Reading from one store does not wait for the other.
    assert_eq!(recorder.store("counting")?.get_all("n")?.shape(), [5]);
    stalling.release();
    recorder.close()?;
    assert_eq!(numbers(&stalling, "n"), [0, 1, 2, 3, 4]);
    Ok(())
}

#[test]
fn what_the_first_store_has_is_read_while_the_second_stalls() -> Result<()> {
    let (healthy, stalling) = (InMemoryDataStore::new(), StallStore::stalled());
    let recorder = Recorder::with_options((healthy, stalling.clone()), no_timer());
    recorder.record("n", 1_u64)?;
    recorder.set("value", 2_u64)?;
    assert_eq!(recorder.get_all("n")?.shape(), [1]);
    assert_eq!(recorder.get_as::<u64>("value")?, Some(2));
    stalling.release();
    recorder.close()
}

const BOUND: usize = 1 << 20;

#[test]
fn block_waits_and_continues_when_the_store_is_released() -> Result<()> {
    let stalling = StallStore::stalled();
    let recorder = Recorder::with_options(stalling.clone(), no_timer().memory_bound(BOUND));
    let writer = {
        let recorder = recorder.clone();
        std::thread::spawn(move || count_up(&recorder, "n", 300_000))
    };
    stalling.wait_until_stalled();
    wait_until("the recorder waits", || {
        let before = recorder.status().record_count;
        std::thread::sleep(Duration::from_millis(5));
        before > 30_000 && before == recorder.status().record_count
    });
    // Meanwhile the recorder responds, and its memory is bounded.
    let status = recorder.status();
    assert!(!writer.is_finished());
    assert!(status.stores[0].queued_bytes <= BOUND / 2, "{status:?}");
    assert!(status.buffered_bytes <= BOUND / 2, "{status:?}");
    stalling.release();
    no_hang("the writer continues", move || {
        writer.join().expect("no panic")
    })?;
    recorder.close()?;
    assert_eq!(numbers(&stalling, "n"), (0..300_000).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_queue_of_a_store_stays_within_its_share() -> Result<()> {
    let stalling = StallStore::stalled();
    let options = no_timer()
        .memory_bound(BOUND)
        .memory_policy(MemoryPolicy::Error);
    let stores = (stalling.clone(), CountingStore::new());
    let recorder = Recorder::with_options(stores, options);
    let row = vec![1_u64; 500];
    let mut refused = 0;
    for number in 0..2000 {
        let key = format!("n{}", number % 7);
        refused += usize::from(recorder.record(key, &row).is_err());
        for store in recorder.status().stores {
            assert!(store.queued_bytes <= BOUND / 4, "{store:?}");
        }
    }
    assert!(refused > 0);
    stalling.release();
    recorder.close()
}

#[test]
fn the_error_policy_loses_nothing_and_continues_after_the_release() -> Result<()> {
    let stalling = StallStore::stalled();
    let options = no_timer()
        .memory_bound(BOUND)
        .memory_policy(MemoryPolicy::Error);
    let recorder = Recorder::with_options(stalling.clone(), options);
    recorder.record("n", 0_u64)?;
    let mut taken = 1;
    let error = loop {
        match recorder.record("n", taken) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert_eq!(error.key(), Some("n"));
    // Neither new keys nor values wait, so that the loop does not stall.
    let results = no_hang("nothing waits", {
        let recorder = recorder.clone();
        move || {
            let handle = recorder.series::<u64>("n")?;
            let kind = |result: Result<()>| result.err().map(|error| error.kind());
            let blob = [0_u8; BOUND / 2];
            Ok::<_, Error>([
                kind(handle.record(0_u64)),
                kind(recorder.set("value", Blob(&blob))),
                kind(recorder.record("other", Blob(&blob))),
            ])
        }
    })?;
    assert_eq!(results[0], Some(ErrorKind::BufferFull));
    assert_eq!(results[1], Some(ErrorKind::BufferFull));

    stalling.release();
    recorder.flush()?;
    recorder.record("n", taken)?;
    recorder.close()?;
    assert_eq!(numbers(&stalling, "n"), (0..=taken).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_record_larger_than_the_bound_goes_through_alone() -> Result<()> {
    for inline in [false, true] {
        for policy in [MemoryPolicy::Block, MemoryPolicy::Error] {
            let store = CountingStore::new();
            let options = no_timer()
                .memory_bound(BOUND / 4)
                .memory_policy(policy)
                .inline(inline);
            let recorder = Recorder::with_options(store.clone(), options);
            let large = vec![3_u64; BOUND / 8];
            for number in 0..4_u64 {
                recorder.record("n", number)?;
                recorder.flush()?;
                recorder.record("large", &large)?;
                recorder.flush()?;
            }
            recorder.close()?;
            assert_eq!(numbers(&store, "n"), [0, 1, 2, 3]);
            let view = store.view(&Key::new("large")?)?.expect("a series");
            assert_eq!(view.shape(), [4, BOUND as u64 / 8]);
        }
    }
    Ok(())
}

#[test]
fn a_refused_record_makes_the_store_commit_so_that_the_next_is_taken() -> Result<()> {
    let options = no_timer()
        .memory_bound(BOUND)
        .memory_policy(MemoryPolicy::Error);
    let recorder = Recorder::with_options(CountingStore::new(), options);
    let (small, large) = (vec![1_u64; BOUND / 64], vec![2_u64; BOUND / 8]);
    recorder.record("small", &small)?;
    let error = recorder.record("large", &large).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    wait_until("there is room again", || {
        recorder.record("large", &large).is_ok()
    });
    recorder.close()
}

#[test]
fn a_large_record_gets_its_turn_while_others_record() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store, no_timer().memory_bound(BOUND / 4));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let others: Vec<_> = (0..3)
        .map(|thread| {
            let (recorder, stop) = (recorder.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let row = vec![0_u64; 2000];
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    recorder.record(format!("n{thread}"), &row)?;
                    // Many small buffers are filled again as soon as they are sent.
                    let mut keys = 0..if thread == 0 { 1000 } else { 0 };
                    keys.try_for_each(|key| recorder.record(format!("small/{key}"), 1_u64))?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    let large = vec![3_u64; BOUND / 8];
    let writer = recorder.clone();
    no_hang("the large records go through", move || {
        (0..10).try_for_each(|_| writer.record("large", &large))
    })?;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for other in others {
        other.join().expect("no panic")?;
    }
    assert_eq!(recorder.get_all("large")?.shape()[0], 10);
    recorder.close()
}

// ---- stores that differ ----------------------------------------------------------------------
