//! The end of a recorder: closing, dropping, stores that fail or stall, and a panic of the
//! simulation.

use crate::support;

use std::time::Duration;

use simrecorder_core::{
    Attributes, ErrorKind, InMemoryDataStore, Recorder, RecorderOptions, Result, Schema,
    StoreState, prelude::*,
};
use support::{
    CountingStore, FaultStore, Op, StallStore, count_up, counting, kind_of, no_hang, no_timer,
    numbers, wait_until,
};

#[test]
fn after_close_all_handles_report_closed_and_a_second_close_succeeds() -> Result<()> {
    for inline in [false, true] {
        let (store, recorder) = counting(RecorderOptions::new().inline(inline));
        let (clone, handle) = (recorder.clone(), recorder.series::<u64>("n")?);
        let reader = recorder.store("counting")?;
        recorder.record("n", 0_u64)?;
        let view = recorder.get_all("n")?;
        handle.record(1_u64)?;
        recorder.close()?;
        recorder.close()?;
        clone.close()?;
        let results = [
            clone.record("n", 2_u64),
            clone.record("new", 2_u64),
            clone.declare("new", Schema::scalar::<f64>()),
            clone.set("value", 2),
            clone.set_attributes("", Attributes::new()),
            clone.flush(),
            clone.checkpoint(),
            clone.series::<u64>("n").map(drop),
            handle.record(2_u64),
            clone.get("n").map(drop),
            clone.get_all("n").map(drop),
            clone.keys().map(drop),
            reader.keys().map(drop),
        ];
        for result in results {
            assert_eq!(kind_of(result), ErrorKind::Closed);
        }
        assert_eq!(view.read::<u64>()?.len(), 1);
        assert_eq!(view.refresh()?.shape(), [2]);
        assert!(matches!(clone.status().stores[0].state, StoreState::Closed));
        assert_eq!(clone.status().record_count, 2);
        assert_eq!(numbers(&store, "n"), [0, 1]);
        assert_eq!(store.closes(), 1);
    }
    Ok(())
}

#[test]
fn dropping_the_last_handle_does_what_close_does() -> Result<()> {
    for inline in [false, true] {
        let (store, recorder) = counting(RecorderOptions::new().inline(inline));
        let clone = recorder.clone();
        count_up(&recorder, "n", 1000)?;
        drop(recorder);
        clone.record("n", 1000_u64)?;
        assert_eq!(store.closes(), 0);
        drop(clone);
        assert_eq!(numbers(&store, "n").len(), 1001);
        assert_eq!(store.closes(), 1);
    }
    Ok(())
}

#[test]
fn dropping_waits_for_a_stalled_store_only_for_some_time_and_the_others_get_everything()
-> Result<()> {
    for bound in [256 << 20, 64 << 10] {
        let (stalling, healthy) = (StallStore::stalled(), CountingStore::new());
        let options = no_timer()
            .memory_bound(bound)
            .memory_policy(simrecorder_core::MemoryPolicy::Error)
            .drop_timeout(Duration::from_millis(50));
        let recorder = Recorder::with_options((stalling.clone(), healthy.clone()), options);
        let mut taken = 0;
        while taken < 30_000 && recorder.record("n", taken).is_ok() {
            taken += 1;
        }
        // More than one buffer is waiting.
        for number in 0..50_u64 {
            drop(recorder.record("other", number));
        }
        let others = recorder.status().record_count - taken;
        no_hang("the drop ends", move || drop(recorder));
        wait_until("the healthy store is closed", || healthy.closes() == 1);
        assert_eq!(numbers(&healthy, "n"), (0..taken).collect::<Vec<_>>());
        assert_eq!(numbers(&healthy, "other").len() as u64, others);
        // The store may still recover.
        stalling.release();
        wait_until("the other store has all", || {
            numbers(&stalling, "n").len() as u64 == taken
        });
    }
    Ok(())
}

#[test]
fn dropping_with_a_failing_store_neither_panics_nor_hangs() -> Result<()> {
    for op in [Op::Prepare, Op::Commit, Op::Checkpoint, Op::Close] {
        for store in [FaultStore::from(op, 1), FaultStore::panicking(op, 1)] {
            let healthy = InMemoryDataStore::new();
            let recorder = Recorder::new((store, healthy.clone()));
            recorder.record("n", 1_u64)?;
            no_hang("the drop ends", move || drop(recorder));
            assert_eq!(numbers(&healthy, "n"), [1]);
        }
    }
    Ok(())
}

#[test]
fn a_panic_of_the_simulation_loses_nothing() {
    let store = InMemoryDataStore::new();
    let result = std::thread::spawn({
        let store = store.clone();
        move || {
            let recorder = Recorder::new(store);
            for number in 0.. {
                recorder.record("n", number).unwrap();
                assert!(number < 4_u64, "the simulation fails");
            }
        }
    })
    .join();
    assert!(result.is_err());
    assert_eq!(numbers(&store, "n"), [0, 1, 2, 3, 4]);
}

#[test]
fn a_reader_that_outlives_its_recorder_reports_closed() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    recorder.record("n", 1_u64)?;
    let reader = recorder.store("memory")?;
    assert_eq!(reader.get_all("n")?.shape(), [1]);
    drop(recorder);
    assert_eq!(kind_of(reader.get_all("n")), ErrorKind::Closed);
    Ok(())
}
