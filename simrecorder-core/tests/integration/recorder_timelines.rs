//! Timelines on stores that count, stall and fail: each commit has the same ticks of all series.

use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use simrecorder_core::{
    Coordinate, DataStore, ErrorKind, InMemoryDataStore, Key, MemoryPolicy, NodeKind, OnStoreError,
    Recorder, RecorderOptions, Result, Schema, Timeline, prelude::*,
};
use support::{
    CountingStore, FaultStore, Op, StallStore, kind_of, no_hang, no_timer, numbers, wait_until,
};

fn open(recorder: &Recorder) -> Result<Timeline<u64>> {
    recorder.timeline("net", Coordinate::new("step"))
}

/// Records a tick of five series, one of them `wide`.
fn record_tick(net: &mut Timeline<u64>, step: u64, wide: usize) -> Result<()> {
    net.advance(step)?;
    net.record("n", step)?;
    net.record("wide", vec![step; wide])?;
    net.record("rows", Ragged(vec![step; step as usize % 4]))?;
    net.record("note", format!("tick {step}"))?;
    net.record("state", Object((step, "x")))
}

/// Checks that after each commit of a timeline all its series have the same length; returns those lengths.
#[track_caller]
fn lens_after_commits(store: &CountingStore) -> Vec<u64> {
    store.assert_no_gaps(0);
    let (mut ends, mut lens) = (BTreeMap::new(), Vec::new());
    for seen in store.commits() {
        for (key, start, count) in seen.batches {
            ends.insert(key, start + count);
        }
        if let Some(&len) = ends.values().next() {
            assert!(
                ends.values().all(|end| *end == len),
                "out of step: {ends:?}"
            );
            lens.push(len);
        }
    }
    lens
}

#[track_caller]
fn check_numbers(store: &dyn DataStore, steps: u64) {
    for key in ["net/step", "net/n"] {
        assert_eq!(numbers(store, key), (0..steps).collect::<Vec<_>>(), "{key}");
    }
}

#[test]
fn every_kind_of_commit_has_the_same_ticks_of_all_series() -> Result<()> {
    const TICKS: u64 = 3000;
    let tiny = RecorderOptions::new().memory_bound(1 << 16);
    for options in [
        no_timer().inline(true),
        tiny.clone().commit_interval(None).inline(true),
        tiny.clone().commit_interval(None),
        tiny.commit_interval(Duration::from_millis(1)),
        RecorderOptions::new().commit_interval(Duration::from_millis(1)),
    ] {
        let store = CountingStore::new();
        let recorder = Recorder::with_options(store.clone(), options);
        let mut net = open(&recorder)?;
        for step in 0..TICKS {
            record_tick(&mut net, step, 40)?;
            match step % 700 {
                100 => recorder.flush()?,
                200 => assert_eq!(recorder.get_all("net/n")?.len(), net.len()),
                _ => {}
            }
        }
        recorder.close()?;
        let lens = lens_after_commits(&store);
        assert_eq!(lens.last(), Some(&TICKS));
        check_numbers(&store, TICKS);
    }
    Ok(())
}

#[test]
fn a_tick_that_is_larger_than_the_memory_bound_passes_alone_and_whole() -> Result<()> {
    const TICKS: u64 = 6;
    for (inline, policy) in [
        (true, MemoryPolicy::Block),
        (false, MemoryPolicy::Block),
        (true, MemoryPolicy::Error),
        (false, MemoryPolicy::Error),
    ] {
        let store = CountingStore::new();
        let options = no_timer().memory_bound(1 << 20).memory_policy(policy);
        let recorder = Recorder::with_options(store.clone(), options.inline(inline));
        let mut net = open(&recorder)?;
        let retry = |net: &mut Timeline<u64>, record: &dyn Fn(&mut Timeline<u64>) -> Result<()>| {
            for _ in 0..4 {
                match record(net) {
                    Err(error) if error.kind() == ErrorKind::BufferFull => recorder.flush()?,
                    result => return result,
                }
            }
            panic!("a record is refused again after all was committed");
        };
        for step in 0..TICKS {
            retry(&mut net, &|net| net.advance(step))?;
            retry(&mut net, &|net| net.record("n", step))?;
            for name in ["a", "b", "c"] {
                retry(&mut net, &|net| net.record(name, vec![step; 1 << 17]))?;
            }
        }
        recorder.close()?;
        assert_eq!(lens_after_commits(&store).last(), Some(&TICKS));
        check_numbers(&store, TICKS);
    }
    Ok(())
}

#[test]
fn a_large_series_and_a_thousand_scalars_have_the_same_length() -> Result<()> {
    const TICKS: u64 = 20;
    for inline in [true, false] {
        let store = CountingStore::new();
        let options = RecorderOptions::new()
            .memory_bound(16 << 20)
            .commit_interval(Duration::from_millis(2));
        let recorder = Recorder::with_options(store.clone(), options.inline(inline));
        let mut net = open(&recorder)?;
        let names: Vec<_> = (0..1000).map(|i| format!("s{i}")).collect();
        for step in 0..TICKS {
            net.advance(step)?;
            net.record("n", step)?;
            net.record("large", vec![step; 1 << 17])?;
            for name in &names {
                net.record(name, step)?;
            }
        }
        recorder.close()?;
        let lens = lens_after_commits(&store);
        assert!(lens.len() > 1 && lens.last() == Some(&TICKS), "{lens:?}");
        check_numbers(&store, TICKS);
        assert_eq!(numbers(&store, "net/s999").len() as u64, TICKS);
    }
    Ok(())
}

#[test]
fn a_record_that_a_full_buffer_refuses_can_be_tried_again_in_its_tick() -> Result<()> {
    let store = StallStore::stalled();
    let options = no_timer()
        .memory_bound(1 << 18)
        .memory_policy(MemoryPolicy::Error);
    let recorder = Recorder::with_options(store.clone(), options);
    // Opening it waits for the store.
    store.release();
    let mut net = open(&recorder)?;
    recorder.flush()?;
    store.shut();
    let mut refused = 0;
    for step in 0..2000 {
        let mut retry = |record: &dyn Fn(&mut Timeline<u64>) -> Result<()>| {
            let Err(error) = record(&mut net) else {
                return Ok(());
            };
            assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}");
            refused += 1;
            // A failed attempt loses nothing.
            assert_eq!(kind_of(record(&mut net)), ErrorKind::BufferFull);
            store.release();
            recorder.flush()?;
            store.shut();
            record(&mut net)
        };
        retry(&|net| net.advance(step))?;
        retry(&|net| net.record("wide", vec![step; 100]))?;
        if step == 0 {
            store.release();
        }
        retry(&|net| net.record("n", step))?;
        store.shut();
    }
    store.release();
    recorder.close()?;
    assert!(refused > 2, "{refused} records were refused");
    check_numbers(&store, 2000);
    let net = Recorder::new(store.clone()).group("net")?;
    assert!(net.series().all(|(_, view)| view.len() == 2000), "{net:?}");
    Ok(())
}

#[test]
fn while_one_store_stalls_another_gets_whole_ticks() -> Result<()> {
    const TICKS: u64 = 500;
    let (stalling, healthy) = (StallStore::stalled(), CountingStore::new());
    stalling.release();
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(1));
    let recorder = Recorder::with_options((stalling.clone(), healthy.clone()), options);
    let mut net = open(&recorder)?;
    record_tick(&mut net, 0, 10)?;
    recorder.flush()?;
    stalling.shut();
    for step in 1..TICKS {
        record_tick(&mut net, step, 10)?;
    }
    stalling.wait_until_stalled();
    wait_until("the timed commit brings all but the open tick", || {
        numbers(&healthy, "net/step").len() as u64 == TICKS - 1
    });
    assert!((numbers(&stalling, "net/n").len() as u64) < TICKS - 1);
    stalling.release();
    no_hang("the recorder closes", move || recorder.close())?;
    lens_after_commits(&healthy);
    check_numbers(&healthy, TICKS);
    check_numbers(&stalling, TICKS);
    Ok(())
}

#[test]
fn a_store_that_fails_has_whole_ticks_and_the_others_all_of_them() -> Result<()> {
    const TICKS: u64 = 200;
    for (inline, at) in (1..12).flat_map(|at| [(true, at), (false, at)]) {
        let (failing, healthy) = (FaultStore::from(Op::Commit, at), InMemoryDataStore::new());
        let options = RecorderOptions::new()
            .memory_bound(1 << 16)
            .on_store_error(OnStoreError::Detach)
            .inline(inline);
        let recorder = Recorder::with_options((failing.clone(), healthy.clone()), options);
        let mut net = open(&recorder)?;
        for step in 0..TICKS {
            record_tick(&mut net, step, 60)?;
            if step == TICKS / 2 {
                let late = Schema::scalar::<u64>().with_fill_value(7_u64);
                net.declare("late", late)?;
            }
        }
        net.finish()?;
        assert!(recorder.close().is_err(), "operation {at} did not fail");
        check_numbers(&healthy, TICKS);
        let lens = |store: &dyn DataStore| -> Result<Vec<u64>> {
            let series = store.keys_within(&Key::ROOT)?.into_iter();
            let series = series.filter(|it| it.kind == NodeKind::Series);
            series
                .map(|it| Ok(store.view(&it.key)?.map_or(0, |view| view.len())))
                .collect()
        };
        for (store, is_whole) in [(&healthy as &dyn DataStore, true), (&failing.store, false)] {
            let lens = lens(store)?;
            assert!(lens.iter().all(|len| *len == lens[0]), "{at}: {lens:?}");
            assert!(!is_whole || lens.len() == 7 && lens[0] == TICKS, "{lens:?}");
        }
    }
    Ok(())
}
