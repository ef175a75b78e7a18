//! Timelines on stores that count, stall and fail: each commit has the same ticks of all series.

use crate::support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use simrecorder_core::{
    Coordinate, DataStore, ErrorKind, InMemoryDataStore, Key, MemoryPolicy, NodeKind, OnStoreError,
    Recorder, RecorderOptions, Result, Schema, Timeline, View, prelude::*,
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

/// Records a tick of scalars of several sizes.
fn record_scalars(net: &mut Timeline<u64>, step: u64) -> Result<()> {
    net.advance(step)?;
    net.record("n", step)?;
    net.record("small", step as u8)?;
    net.record("half", step as f32 / 2.0)
}

fn check_scalars(store: &dyn DataStore, steps: u64) -> Result<()> {
    check_numbers(store, steps);
    let view = |key: &str| -> Result<View> { Ok(store.view(&Key::new(key)?)?.expect("a series")) };
    let small = view("net/small")?.read::<u8>()?;
    assert!(small.iter().copied().eq((0..steps).map(|step| step as u8)));
    let half = view("net/half")?.read::<f32>()?;
    assert!(
        half.iter()
            .copied()
            .eq((0..steps).map(|step| step as f32 / 2.0))
    );
    Ok(())
}

#[test]
fn ticks_of_scalars_are_whole_and_in_step_whatever_other_threads_do_meanwhile() -> Result<()> {
    const TICKS: u64 = 60_000;
    let tiny = RecorderOptions::new().memory_bound(1 << 16);
    for options in [
        tiny.clone()
            .commit_interval(Duration::from_millis(1))
            .inline(true),
        tiny.commit_interval(Duration::from_millis(1)),
        RecorderOptions::new().commit_interval(Duration::from_millis(1)),
        no_timer(),
    ] {
        let store = CountingStore::new();
        let recorder = Recorder::with_options(store.clone(), options);
        let mut net = open(&recorder)?;
        record_scalars(&mut net, 0)?;
        let is_done = AtomicBool::new(false);
        let written = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let others = [0, 1, 2].map(|role| {
                let (recorder, is_done, written) = (&recorder, &is_done, &written);
                scope.spawn(move || -> Result<u64> {
                    let mut rounds = 0;
                    while !is_done.load(Ordering::Acquire) {
                        let before = written.load(Ordering::Acquire);
                        match role {
                            0 => recorder.flush()?,
                            1 => assert!(recorder.get_all("net/half")?.len() >= before),
                            _ => assert!(recorder.status().record_count >= before),
                        }
                        rounds += 1;
                    }
                    Ok(rounds)
                })
            });
            let recorded = (1..TICKS).try_for_each(|step| {
                record_scalars(&mut net, step)?;
                // The previous tick is completely recorded.
                written.store(step, Ordering::Release);
                Ok(())
            });
            is_done.store(true, Ordering::Release);
            for other in others {
                assert!(other.join().expect("no panic")? > 0);
            }
            recorded
        })?;
        // A flush may have completed the last tick.
        assert!(net.len() >= TICKS - 1 && net.last() == Some(net.len() - 1));
        net.finish()?;
        recorder.close()?;
        assert_eq!(lens_after_commits(&store).last(), Some(&TICKS));
        check_scalars(&store, TICKS)?;
    }
    Ok(())
}

#[test]
fn a_flush_has_each_tick_that_was_recorded_before_it() -> Result<()> {
    for pause in [1, 2, 31, 32, 33, 100] {
        let store = InMemoryDataStore::new();
        let recorder = Recorder::with_options(store.clone(), no_timer());
        let mut net = open(&recorder)?;
        for step in 0..400 {
            record_scalars(&mut net, step)?;
            if step % pause == 0 {
                recorder.flush()?;
                assert_eq!(numbers(&store, "net/n").len() as u64, net.len());
                // The first tick stays open, since other series may join it.
                assert_eq!(net.len(), if step == 0 { 0 } else { step + 1 }, "{pause}");
            }
        }
        recorder.close()?;
        check_scalars(&store, 400)?;
    }
    Ok(())
}

#[test]
fn mistakes_between_ticks_of_scalars_leave_the_ticks_before_and_after_them() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), no_timer());
    let mut net = open(&recorder)?;
    let mut step = 0;
    for round in 0..200 {
        for _ in 0..=round {
            record_scalars(&mut net, step)?;
            step += 1;
        }
        let refused = |result: Result<()>, words: &str| {
            let error = result.expect_err(words);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(words), "{error}");
        };
        match round % 6 {
            0 => refused(net.advance(step - 1), "not larger"),
            1 => refused(net.record("n", 0_u64), "already has a record"),
            2 => {
                net.advance(step)?;
                net.record("n", u64::MAX)?;
                refused(net.advance(step + 1), "no record of");
                net.discard_tick();
                refused(net.record("n", 0_u64), "advance()");
            }
            3 => {
                // The last tick is whole: a flush completes it.
                recorder.flush()?;
                refused(net.record("n", 0_u64), "advance()");
            }
            4 => {
                let back = step - step.min(40);
                net.rewind(back)?;
                step = back + 1;
            }
            _ => {
                recorder.rewind("step", step - step.min(3))?;
                step -= step.min(3) - 1;
            }
        }
        assert_eq!(net.last().map_or(0, |last| last + 1), net.len());
    }
    recorder.close()?;
    check_scalars(&store, step)
}
