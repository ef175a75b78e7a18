//! Several stores of one recorder: stores that fail, panic and stall, and stores that
//! differ.

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use simrecorder_core::{
    Commit, DataStore, ErrorKind, InMemoryDataStore, Key, Named, OnDivergence, OnStoreError,
    OpenMode, Recorder, RecorderOptions, Result, StoreState, prelude::*,
};
use support::{
    Adapter, CountingStore, FaultStore, Hook, Op, count_up, kind_of, no_hang, no_timer, numbers,
    wait_until,
};

fn detach() -> RecorderOptions {
    no_timer().on_store_error(OnStoreError::Detach)
}

fn is_prefix(part: &[u64], whole: &[u64]) -> bool {
    whole.starts_with(part)
}

#[test]
fn every_store_gets_every_record() -> Result<()> {
    let stores = [InMemoryDataStore::new(), InMemoryDataStore::new()];
    let recorder = Recorder::new(stores.clone());
    count_up(&recorder, "n", 1000)?;
    recorder.close()?;
    for store in &stores {
        assert_eq!(numbers(store, "n"), (0..1000).collect::<Vec<_>>());
    }
    Ok(())
}

// ---- stores that fail ------------------------------------------------------------------------

#[test]
fn the_first_failed_commit_is_returned_by_flush_and_by_all_after_it() -> Result<()> {
    let store = FaultStore::new(Op::Commit, 2);
    let recorder = Recorder::with_options(store.clone(), no_timer());
    recorder.record("n", 0_u64)?;
    recorder.flush()?;
    recorder.record("n", 1_u64)?;
    let results = [
        recorder.flush(),
        recorder.record("n", 2_u64),
        recorder.record("other", 2_u64),
        recorder.set("value", 1),
        recorder.flush(),
        recorder.checkpoint(),
        recorder.close(),
    ];
    for result in results {
        let error = result.expect_err("the failure stays");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let text = error.to_string();
        assert!(text.contains("store 'faulty'"), "{text}");
        assert!(text.contains("fault at Commit number 2"), "{text}");
    }
    assert_eq!(numbers(&store, "n"), [0]);
    Ok(())
}

#[test]
fn a_failed_timed_commit_is_returned_by_a_later_record() {
    let store = FaultStore::new(Op::Commit, 1);
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(1));
    let recorder = Recorder::with_options(store, options);
    let mut result = recorder.record("n", 0_u64);
    wait_until("the failure shows", || {
        matches!(recorder.status().stores[0].state, StoreState::Failed(_))
    });
    if result.is_ok() {
        result = recorder.record("n", 1_u64);
    }
    assert_eq!(kind_of(result), ErrorKind::StorageFull);
}

#[test]
fn a_failure_that_only_close_meets_is_returned_by_close_each_time() -> Result<()> {
    for op in [Op::Commit, Op::Prepare, Op::Close] {
        let recorder = Recorder::with_options(FaultStore::new(op, 1), no_timer());
        recorder.record("n", 0_u64)?;
        for _ in 0..2 {
            let error = recorder.close().expect_err("the store failed");
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::StorageFull, "close")
            );
        }
        assert_eq!(kind_of(recorder.record("n", 1_u64)), ErrorKind::Closed);
    }
    Ok(())
}

#[test]
fn a_close_that_was_locked_out_is_tried_again_by_the_next_one() -> Result<()> {
    for inline in [false, true] {
        let store = FaultStore::new(Op::Close, 1).kind(ErrorKind::Locked);
        let recorder = Recorder::with_options(store, no_timer().inline(inline));
        recorder.record("n", 0_u64)?;
        assert_eq!(kind_of(recorder.close()), ErrorKind::Locked);
        assert!(matches!(
            recorder.status().stores[0].state,
            StoreState::Closed
        ));
        recorder.close()?;
        recorder.close()?;
    }
    Ok(())
}

#[test]
fn a_failed_checkpoint_is_returned() -> Result<()> {
    let recorder = Recorder::with_options(FaultStore::new(Op::Checkpoint, 1), no_timer());
    recorder.record("n", 0_u64)?;
    recorder.flush()?;
    assert_eq!(kind_of(recorder.checkpoint()), ErrorKind::StorageFull);
    assert_eq!(kind_of(recorder.flush()), ErrorKind::StorageFull);
    Ok(())
}

#[test]
fn a_checkpoint_that_another_program_holds_up_can_be_tried_again() -> Result<()> {
    let store = FaultStore::new(Op::Checkpoint, 1).kind(ErrorKind::Locked);
    let recorder = Recorder::with_options(store, no_timer());
    recorder.record("n", 0_u64)?;
    assert_eq!(kind_of(recorder.checkpoint()), ErrorKind::Locked);
    recorder.record("n", 1_u64)?;
    recorder.flush()?;
    recorder.checkpoint()?;
    recorder.close()
}

#[test]
fn after_a_failure_the_other_stores_get_what_was_recorded() -> Result<()> {
    let healthy = InMemoryDataStore::new();
    let recorder = Recorder::with_options(
        (FaultStore::new(Op::Commit, 1), healthy.clone()),
        RecorderOptions::new().commit_interval(Duration::from_millis(1)),
    );
    let mut taken = 0;
    while recorder.record("n", taken).is_ok() {
        taken += 1;
    }
    // Even without `close`.
    wait_until("the healthy store has all", || {
        numbers(&healthy, "n").len() as u64 == taken
    });
    assert_eq!(kind_of(recorder.close()), ErrorKind::StorageFull);
    assert_eq!(numbers(&healthy, "n"), (0..taken).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn with_detach_the_run_continues_and_status_and_close_report_the_error() -> Result<()> {
    let (faulty, healthy) = (FaultStore::new(Op::Commit, 2), CountingStore::new());
    let recorder = Recorder::with_options((faulty.clone(), healthy.clone()), detach());
    for number in 0..100_u64 {
        recorder.record("n", number)?;
        recorder.flush()?;
    }
    recorder.set("last", 99)?;
    let status = recorder.status();
    match &status.stores[0].state {
        StoreState::Failed(error) => assert_eq!(error.kind(), ErrorKind::StorageFull),
        other => panic!("the store failed, not {other:?}"),
    }
    assert!(matches!(status.stores[1].state, StoreState::Healthy));
    assert_eq!(status.stores[1].committed_record_count, 100);
    assert_eq!(faulty.count(), 2, "a detached store is left alone");

    let error = recorder.close().expect_err("a store failed");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().contains("'faulty'"), "{error}");
    assert_eq!(numbers(&healthy, "n"), (0..100).collect::<Vec<_>>());
    assert_eq!(numbers(&faulty, "n"), [0]);
    Ok(())
}

#[test]
fn after_a_detach_reading_goes_to_a_healthy_store() -> Result<()> {
    let recorder = Recorder::with_options(
        (FaultStore::new(Op::Commit, 2), InMemoryDataStore::new()),
        detach(),
    );
    for number in 0..10_u64 {
        recorder.record("n", number)?;
        recorder.set("at", number)?;
        recorder.flush()?;
    }
    assert_eq!(recorder.get_all("n")?.shape(), [10]);
    assert_eq!(recorder.get_as::<u64>("at")?, Some(9));
    assert_eq!(recorder.keys()?.len(), 2);
    // The failed store can still be read by its name.
    assert_eq!(recorder.store("faulty")?.get_all("n")?.shape(), [1]);
    Ok(())
}

#[test]
fn when_all_stores_are_detached_recording_stops_with_the_error() -> Result<()> {
    let stores = (
        FaultStore::new(Op::Commit, 1).named("first"),
        FaultStore::new(Op::Commit, 3).named("second"),
    );
    let recorder = Recorder::with_options(stores, detach());
    for number in 0..2_u64 {
        recorder.record("n", number)?;
        recorder.flush()?;
    }
    recorder.record("n", 2_u64)?;
    assert_eq!(kind_of(recorder.flush()), ErrorKind::StorageFull);
    assert_eq!(kind_of(recorder.record("n", 3_u64)), ErrorKind::StorageFull);
    let text = recorder.close().expect_err("both failed").to_string();
    assert!(
        text.contains("store 'first'") && text.contains("store 'second'"),
        "close names all that failed: {text}"
    );
    Ok(())
}

#[test]
fn close_returns_the_errors_of_all_stores_that_failed() -> Result<()> {
    let stores = (
        FaultStore::new(Op::Close, 1).named("first"),
        InMemoryDataStore::new(),
        FaultStore::new(Op::Commit, 1).named("third"),
    );
    let recorder = Recorder::with_options(stores, no_timer());
    recorder.record("n", 1_u64)?;
    let text = recorder.close().expect_err("two failed").to_string();
    for part in ["'first'", "Close number 1", "'third'", "Commit number 1"] {
        assert!(text.contains(part), "{part} is in: {text}");
    }
    assert!(!text.contains("'memory'"), "{text}");
    Ok(())
}

/// A short run with all operations; returns how many records of each series were accepted.
fn short_run(recorder: &Recorder) -> (Vec<u64>, Vec<u64>) {
    let mut taken = (Vec::new(), Vec::new());
    for number in 0..20_u64 {
        if recorder.record("group/a", number).is_ok() {
            taken.0.push(number);
        }
        if number > 10 && recorder.record("b", number).is_ok() {
            taken.1.push(number);
        }
        if number % 4 == 3 {
            drop(recorder.flush());
            drop(recorder.set("value", number));
        }
        if number % 8 == 7 {
            drop(recorder.checkpoint());
        }
    }
    taken
}

#[test]
fn a_failure_or_panic_at_any_operation_leaves_a_prefix_there_and_all_elsewhere() {
    let ops = [
        Op::Nodes,
        Op::Plan,
        Op::Prepare,
        Op::Commit,
        Op::Checkpoint,
        Op::Close,
    ];
    for op in ops {
        for (at, mode) in (1..12).flat_map(|at| [(at, 0), (at, 1), (at, 2), (at, 3)]) {
            let faulty = match mode {
                0 => FaultStore::new(op, at),
                1 => FaultStore::from(op, at),
                _ => FaultStore::panicking(op, at),
            };
            let healthy = CountingStore::new();
            let options = detach().inline(mode == 3);
            let stores = (faulty.clone(), healthy.clone());
            let recorder = Recorder::with_options(stores, options);
            let taken = no_hang("the run ends", move || {
                let taken = short_run(&recorder);
                drop(recorder.close());
                taken
            });
            let name = format!("{op:?} {at} mode {mode}");
            assert_eq!(numbers(&healthy, "group/a"), taken.0, "{name}");
            assert_eq!(numbers(&healthy, "b"), taken.1, "{name}");
            assert!(
                is_prefix(&numbers(&faulty.store, "group/a"), &taken.0),
                "{name} {:?}",
                numbers(&faulty.store, "group/a")
            );
            assert!(is_prefix(&numbers(&faulty.store, "b"), &taken.1), "{name}");
            healthy.assert_no_gaps(0);
            assert_eq!(taken.0.len(), 20, "{name}: the run continued");
        }
    }
}

#[test]
fn a_panic_inside_a_store_becomes_an_error() -> Result<()> {
    for op in [Op::Prepare, Op::Commit, Op::Checkpoint, Op::Close] {
        let recorder = Recorder::with_options(FaultStore::panicking(op, 1), no_timer());
        recorder.record("n", 1_u64)?;
        let result = no_hang("the panic is reported", move || {
            let result = recorder.checkpoint();
            result.and(recorder.close())
        });
        let error = result.expect_err("the store panicked");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("the fault panics"), "{error}");
        assert_eq!(error.operation(), format!("{op:?}").to_lowercase());
    }
    for op in [Op::Nodes, Op::Plan] {
        let recorder = Recorder::with_options(FaultStore::panicking(op, 1), no_timer());
        let result = recorder.record("n", 1_u64);
        assert_eq!(kind_of(result), ErrorKind::Internal);
        recorder.record("n", 2_u64)?;
        recorder.close()?;
    }
    Ok(())
}

#[test]
fn a_failing_prepare_is_a_failure_of_its_store() -> Result<()> {
    let faulty = FaultStore::new(Op::Prepare, 2);
    let recorder = Recorder::with_options((faulty.clone(), InMemoryDataStore::new()), detach());
    for number in 0..5_u64 {
        recorder.record("n", number)?;
        recorder.flush()?;
    }
    assert!(matches!(
        recorder.status().stores[0].state,
        StoreState::Failed(_)
    ));
    assert_eq!(recorder.get_all("n")?.shape(), [5]);
    assert_eq!(kind_of(recorder.close()), ErrorKind::StorageFull);
    assert_eq!(numbers(&faulty, "n"), [0]);
    Ok(())
}

#[test]
fn a_store_that_refuses_a_new_key_leaves_nothing_half_made() -> Result<()> {
    for op in [Op::Nodes, Op::Plan] {
        for at in 1..=2 {
            // The recorder asks the healthy store first.
            let (counting, faulty) = (CountingStore::new(), FaultStore::new(op, at));
            let recorder = Recorder::with_options((counting.clone(), faulty.clone()), no_timer());
            let mut failures = 0;
            for _ in 0..3 {
                failures += usize::from(recorder.record("a/b", 7_u64).is_err());
                recorder.flush()?;
                assert_eq!(
                    counting.store.keys_within(&Key::ROOT)?.len(),
                    faulty.store.keys_within(&Key::ROOT)?.len()
                );
            }
            assert_eq!(failures, usize::from(op == Op::Nodes || at == 1));
            recorder.close()?;
            assert_eq!(numbers(&counting, "a/b").len(), 3 - failures);
            assert_eq!(numbers(&faulty, "a/b").len(), 3 - failures);
        }
    }
    Ok(())
}

#[test]
fn a_refused_key_does_not_make_the_keys_above_it_groups() -> Result<()> {
    let recorder = Recorder::with_options(FaultStore::from(Op::Plan, 1), no_timer());
    assert!(recorder.record("a/b/c", 1_u64).is_err());
    assert!(recorder.set("a/b/c", 1_u64).is_err());
    assert!(
        recorder
            .set_attributes("a/b/c", Default::default())
            .is_err()
    );

    let recorder = Recorder::with_options(FaultStore::new(Op::Plan, 1), no_timer());
    assert!(recorder.record("a/b/c", 1_u64).is_err());
    recorder.record("a/b", 1_u64)?;
    recorder.set("c", 1_u64)?;
    recorder.close()
}

#[test]
fn a_key_below_a_value_is_refused_each_time_and_does_no_harm() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    recorder.set("a", 1_u64)?;
    for _ in 0..3 {
        let result = recorder.record("a/b/c/d", 1_u64);
        assert_eq!(kind_of(result), ErrorKind::KindMismatch);
        let result = recorder.set("a/b/c", 1_u64);
        assert_eq!(kind_of(result), ErrorKind::KindMismatch);
        let result = recorder.set_attributes("a/b/c", Default::default());
        assert_eq!(kind_of(result), ErrorKind::KindMismatch);
    }
    recorder.flush()?;
    recorder.close()
}

#[test]
fn attributes_make_no_group_in_a_store_where_others_have_a_value() -> Result<()> {
    let [first, second] = [InMemoryDataStore::new(), InMemoryDataStore::new()];
    let recorder = Recorder::new(first.clone());
    recorder.set("meta/seed", 42)?;
    recorder.close()?;
    let stores = [first.open(OpenMode::Append)?, second.clone()];
    let recorder = Recorder::with_options(stores, no_timer());
    let unit = json!({"unit": "1"});
    let attributes = unit.as_object().cloned().unwrap_or_default();
    recorder.set_attributes("meta/seed", attributes.into_iter().collect())?;
    recorder.flush()?;
    recorder.set("meta/seed", 43)?;
    recorder.close()?;
    let key = Key::new("meta/seed")?;
    for store in [first, second] {
        assert_eq!(store.value(&key)?.map(i32::try_from).transpose()?, Some(43));
    }
    Ok(())
}

/// Another program creates a value and a series during the lookup.
#[derive(Debug)]
struct MadeMeanwhile(InMemoryDataStore);

impl Hook for MadeMeanwhile {
    fn before(&self, op: Op, _: Option<&Commit>) -> Result<()> {
        if op == Op::Nodes && self.0.keys_within(&Key::ROOT)?.is_empty() {
            let recorder = Recorder::new(self.0.open(OpenMode::OpenOrCreate)?);
            recorder.set("value", 1)?;
            recorder.record("series", 1)?;
            recorder.close()?;
        }
        Ok(())
    }
}

#[test]
fn what_is_created_during_a_lookup_is_found_or_not_yet() -> Result<()> {
    for look_for_value in [true, false] {
        let store = InMemoryDataStore::new();
        let followed = Adapter {
            name: "followed",
            hook: Arc::new(MadeMeanwhile(store.clone())),
            store,
        };
        let reader = Recorder::new(followed);
        match look_for_value {
            true => assert_eq!(reader.get_as::<i32>("value")?, Some(1)),
            false => assert_eq!(reader.get_all("series")?.len(), 1),
        }
    }
    Ok(())
}

// ---- stores that stall -----------------------------------------------------------------------

/// Two stores with `a` and `b` records of the series `n`.
fn diverged(a: u64, b: u64) -> Result<[InMemoryDataStore; 2]> {
    let stores = [InMemoryDataStore::new(), InMemoryDataStore::new()];
    for (store, count) in stores.iter().zip([a, b]) {
        if count > 0 {
            let recorder = Recorder::new(store.clone());
            count_up(&recorder, "n", count)?;
            recorder.close()?;
        }
    }
    Ok([
        stores[0].open(OpenMode::OpenOrCreate)?,
        stores[1].open(OpenMode::OpenOrCreate)?,
    ])
}

#[test]
fn stores_of_different_length_are_an_error_that_names_the_numbers() -> Result<()> {
    for (a, b) in [(5, 3), (3, 5), (4, 0), (0, 4)] {
        let stores = diverged(a, b)?;
        let recorder = Recorder::with_options(stores.clone(), no_timer());
        for _ in 0..2 {
            let error = recorder.record("n", 9_u64).expect_err("they differ");
            assert_eq!(error.kind(), ErrorKind::Diverged);
            assert_eq!(error.key(), Some("n"));
            let text = error.to_string();
            assert!(text.contains(&format!("'memory' {a}")), "{text}");
            assert!(text.contains(&format!("'memory-2' {b}")), "{text}");
            assert!(text.contains("CutToShortest"), "{text}");
        }
        assert_eq!(
            kind_of(recorder.series::<u64>("n").and(Ok(()))),
            ErrorKind::Diverged
        );
        recorder.record("other", 1_u64)?;
        recorder.close()?;
        assert_eq!(numbers(&stores[0], "n").len() as u64, a);
        assert_eq!(numbers(&stores[1], "n").len() as u64, b);
    }
    Ok(())
}

#[test]
fn cut_to_shortest_cuts_and_continues() -> Result<()> {
    for (a, b) in [(5, 3), (3, 5), (4, 4), (4, 0), (0, 4)] {
        let stores = diverged(a, b)?;
        let options = no_timer().on_divergence(OnDivergence::CutToShortest);
        let recorder = Recorder::with_options(stores.clone(), options);
        recorder.record("n", 100_u64)?;
        recorder.close()?;
        let wanted: Vec<_> = (0..a.min(b)).chain([100]).collect();
        assert_eq!(numbers(&stores[0], "n"), wanted);
        assert_eq!(numbers(&stores[1], "n"), wanted);
    }
    Ok(())
}

// ---- names -----------------------------------------------------------------------------------

#[test]
fn stores_have_names_and_a_second_one_of_a_kind_gets_a_number() -> Result<()> {
    let recorder = Recorder::new((
        InMemoryDataStore::new(),
        Named::new("live", InMemoryDataStore::new()),
        InMemoryDataStore::new(),
    ));
    recorder.record("n", 1_u64)?;
    for name in ["memory", "live", "memory-2"] {
        assert_eq!(recorder.store(name)?.get_all("n")?.shape(), [1]);
    }
    let error = recorder.store("zarr").expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("memory, live, memory-2"), "{text}");
    Ok(())
}

#[test]
fn stores_that_get_the_same_name_can_still_be_told_apart() -> Result<()> {
    let stores = [
        Named::new("a", InMemoryDataStore::new()),
        Named::new("a-2", InMemoryDataStore::new()),
        Named::new("a", InMemoryDataStore::new()),
    ];
    let recorder = Recorder::new(stores);
    let mut names: Vec<_> = recorder
        .status()
        .stores
        .into_iter()
        .map(|s| s.name)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
    Ok(())
}

#[test]
fn stores_come_as_one_a_tuple_a_vec_or_shared() -> Result<()> {
    let memory = InMemoryDataStore::new;
    let shared: Vec<Arc<dyn DataStore>> = vec![Arc::new(memory()), Arc::new(CountingStore::new())];
    let recorders = [
        (Recorder::new(memory()), 1),
        (Recorder::new((memory(), CountingStore::new())), 2),
        (Recorder::new(vec![memory(), memory(), memory()]), 3),
        (Recorder::new(shared), 2),
        (Recorder::new(Arc::new(memory())), 1),
    ];
    for (recorder, count) in recorders {
        assert_eq!(recorder.status().stores.len(), count);
        recorder.record("n", 1_u64)?;
        recorder.close()?;
    }
    Ok(())
}
