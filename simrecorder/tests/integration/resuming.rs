//! Runs with timelines that are killed and resumed from the last saved state.
#![cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::in_each_store;
use simrecorder::{DataStore, OpenMode, OpenOptions, Recorder, RecorderOptions, Result};
use simrecorder_testkit::timelines::{SLOW, Tick, Timelines, check_timelines, time};
use simrecorder_testkit::{Partner, role, this_test, wait_for_parent};

/// The environment variable that tells a process to be killed what to do.
const PART: &str = "SIMRECORDER_TEST_PART";
/// The step before the first one.
const BEFORE: i64 = -1;

fn open(url: &str, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    simrecorder::open_with(url, &OpenOptions::new().mode(mode))
}

/// One start of a simulation: the step of the saved state, if it rewinds to one, and the last step that it records. It
/// saves its state every five steps, and at the last one if it flushes then.
#[derive(Clone, Copy, Debug)]
struct Start {
    saved: Option<i64>,
    last: u64,
    flushes: bool,
}

/// Rewinds to a state, records, and saves states, in the process that is killed afterwards.
fn simulate(recorder: &Recorder, attempt: u64, start: Start) {
    let mut timelines = Timelines::open(recorder).unwrap();
    let lens = recorder.status().stores.into_iter().map(|store| {
        let store = recorder.store(&store.name).unwrap();
        store.get_all("fast/time").unwrap().len()
    });
    let lens: Vec<_> = lens.collect();
    assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
    if let Some(saved) = start.saved {
        recorder.rewind("time", time_of(saved)).unwrap();
        assert_eq!(timelines.fast.last(), (saved >= 0).then(|| time_of(saved)));
    }
    for step in timelines.next_step()..=start.last {
        timelines.record(Tick { attempt, step }).unwrap();
        if step % 5 == 0 {
            recorder.flush().unwrap();
        }
    }
    if start.flushes {
        timelines.finish().unwrap();
        recorder.flush().unwrap();
        wait_for_parent();
    } else {
        wait_for_parent();
        drop(timelines);
    }
}

fn time_of(step: i64) -> f64 {
    u64::try_from(step).map_or(-1.0, time)
}

/// The ticks of both timelines after these starts.
fn ticks_after(starts: &[Start]) -> [Vec<Tick>; 2] {
    let mut fast: Vec<Tick> = Vec::new();
    for (attempt, start) in (0..).zip(starts) {
        let kept = start.saved.map_or(fast.len() as i64, |saved| saved + 1);
        fast.truncate(kept as usize);
        let steps = fast.len() as u64..=start.last;
        fast.extend(steps.map(|step| Tick { attempt, step }));
    }
    let mut slow = fast.clone();
    slow.retain(|tick| tick.step.is_multiple_of(SLOW));
    [fast, slow]
}

/// For each of `starts`, starts a run in another process, which opens `place`, kills it when it is done, checks the stores
/// at `urls`, and calls `between`.
fn run_and_kill(
    test: &str,
    place: &str,
    urls: &[String],
    starts: &[Start],
    between: impl Fn(u64, u64),
) {
    for (attempt, start) in starts.iter().enumerate() {
        let saved = start.saved.unwrap_or(i64::MIN);
        let part = format!("{attempt} {saved} {} {}", start.last, start.flushes);
        let mut command = this_test(test, Path::new(place));
        let mut run = Partner::start(command.env(PART, part));
        run.0.kill().unwrap();
        run.0.wait().unwrap();
        let all = ticks_after(&starts[..=attempt]);
        let flushed = match start.flushes {
            true => start.last,
            false => start.last / 5 * 5,
        };
        for url in urls {
            let reader = Recorder::new(open(url, OpenMode::Read).unwrap());
            let found = check_timelines(&reader).unwrap();
            for (found, all) in found.iter().zip(&all) {
                let safe = all.iter().filter(|tick| tick.step < flushed).count();
                assert!(found.len() >= safe, "{url}: {found:?} after {start:?}");
                assert_eq!(*found, all[..found.len()], "{url}: after {start:?}");
            }
        }
        between(attempt as u64, flushed);
    }
}

/// The same with one store.
fn run_and_kill_one(test: &str, url: &str, starts: &[Start]) {
    run_and_kill(test, url, &[url.to_owned()], starts, |_, _| ());
}

/// The work of the process that is killed, if this is one.
fn is_killed(open: impl Fn(&str) -> Recorder) -> bool {
    let Some(url) = role() else {
        return false;
    };
    let part = std::env::var(PART).unwrap();
    let mut words = part.split(' ');
    let mut next = || words.next().unwrap();
    let attempt = next().parse().unwrap();
    let saved: i64 = next().parse().unwrap();
    let start = Start {
        saved: (saved != i64::MIN).then_some(saved),
        last: next().parse().unwrap(),
        flushes: next().parse().unwrap(),
    };
    simulate(&open(url.to_str().unwrap()), attempt, start);
    true
}

fn open_or_create(url: &str) -> Recorder {
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(1));
    Recorder::with_options(open(url, OpenMode::OpenOrCreate).unwrap(), options)
}

fn start(saved: impl Into<Option<i64>>, last: u64, flushes: bool) -> Start {
    let saved = saved.into();
    Start {
        saved,
        last,
        flushes,
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_has_each_tick_once() {
    let name = "a_run_that_is_killed_again_and_again_has_each_tick_once";
    if is_killed(open_or_create) {
        return;
    }
    in_each_store(|url| {
        let starts = [
            start(None, 12, true),
            start(10, 16, false),
            // Killed before it saved a state, it resumes from the same one.
            start(10, 13, true),
            start(10, 20, true),
            start(15, 29, true),
        ];
        run_and_kill_one(name, url, &starts);
    });
}

#[test]
fn one_call_takes_a_fast_and_a_slow_timeline_back_to_the_same_step() {
    let name = "one_call_takes_a_fast_and_a_slow_timeline_back_to_the_same_step";
    if is_killed(open_or_create) {
        return;
    }
    in_each_store(|url| {
        let starts = [start(None, 1049, true), start(1000, 1060, true)];
        run_and_kill_one(name, url, &starts);
    });
}

#[test]
fn a_killed_run_goes_back_into_chunks_and_ragged_rows_and_before_its_first_tick() {
    let name = "a_killed_run_goes_back_into_chunks_and_ragged_rows_and_before_its_first_tick";
    if is_killed(open_or_create) {
        return;
    }
    in_each_store(|url| {
        // Chunks have four records of the one series, and eight of the other.
        let starts = [
            start(None, 40, true),
            start(33, 36, true),
            start(17, 19, true),
            start(4, 30, true),
            start(BEFORE, 22, true),
            start(BEFORE, 3, true),
            start(0, 9, true),
        ];
        run_and_kill_one(name, url, &starts);
    });
}

/// Two files whose writer is killed, one of which may have later commits, continue from the same tick.
#[cfg(all(feature = "zarr", feature = "hdf5"))]
#[test]
fn two_stores_that_are_killed_continue_from_the_same_tick() {
    let name = "two_stores_that_are_killed_continue_from_the_same_tick";
    let urls = |folder: &str| {
        [
            format!("zarr:{folder}/run.mdb"),
            format!("hdf5:{folder}/run.h5"),
        ]
    };
    let open_both = |folder: &str| {
        let stores = urls(folder).map(|url| open(&url, OpenMode::OpenOrCreate).unwrap());
        let options = RecorderOptions::new()
            .commit_interval(Duration::from_millis(1))
            .on_divergence(simrecorder::OnDivergence::CutToShortest);
        Recorder::with_options(Vec::from(stores), options)
    };
    if is_killed(open_both) {
        return;
    }
    let folder = simrecorder_testkit::quick_folder();
    let folder = folder.path().to_str().unwrap();
    let starts: Vec<_> = (0..8)
        .map(|i| start((i > 0).then_some(i * 10), 13 + i as u64 * 10, i % 2 == 0))
        .collect();
    run_and_kill(name, folder, &urls(folder), &starts, |attempt, last| {
        // One of them gets some further ticks, as if the other had been slower.
        let recorder = open_or_create(&urls(folder)[attempt as usize % 2]);
        let mut timelines = Timelines::open(&recorder).unwrap();
        for step in timelines.next_step()..last + 20 {
            timelines.record(Tick { attempt, step }).unwrap();
        }
        timelines.finish().unwrap();
        recorder.close().unwrap();
    });
}
