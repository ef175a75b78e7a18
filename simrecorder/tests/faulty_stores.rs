//! Each operation of a short run goes wrong once, on every store, alone and beside another one.
#![cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simrecorder::{
    DataStore, InMemoryDataStore, OpenMode, OpenOptions, Recorder, RecorderOptions, Result,
};
use simrecorder_testkit::faulty::{Fault, FaultyStore, MESSAGE};
use simrecorder_testkit::steps::{check_prefixes, try_declare_steps, try_record_step};

const STEPS: u64 = 24;

fn open(url: &str, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    simrecorder::open_with(url, &OpenOptions::new().mode(mode))
}

/// A short run: a series that appears late, flushes, a checkpoint. Returns how many steps were
/// flushed, and the first error.
fn run(recorder: &Recorder) -> (u64, Result<()>) {
    let mut flushed = 0;
    let mut steps = |steps: Range<u64>| -> Result<()> {
        let end = steps.end;
        for step in steps {
            try_record_step(recorder, step)?;
            recorder.record("field", [step; 200])?;
        }
        recorder.set("last", end)?;
        recorder.flush()?;
        flushed = end;
        Ok(())
    };
    let result = try_declare_steps(recorder, 5)
        .and_then(|()| steps(0..9))
        .and_then(|()| steps(9..14))
        .and_then(|()| recorder.checkpoint())
        .and_then(|()| steps(14..STEPS));
    (flushed, result)
}

/// What is there after a run.
fn check(store: Arc<dyn DataStore>, flushed: u64, what: &str) {
    let reader = Recorder::new(store);
    if reader.kind_of("log").unwrap().is_none() {
        assert_eq!(flushed, 0, "{what}");
        return;
    }
    if reader.kind_of("late").unwrap().is_some() || flushed > 0 {
        let lengths = check_prefixes(&reader);
        assert!(
            lengths.iter().all(|&len| len >= flushed),
            "{what}: {lengths:?} of {flushed}"
        );
    }
}

/// One run in which operation `at` goes wrong; returns whether there was such an operation.
fn go_wrong(url: &str, fault: Fault, at: usize, inline: bool, beside: bool) -> bool {
    let what = format!("{url}, {fault:?} {at}, inline {inline}, beside {beside}");
    let store = FaultyStore::new(open(url, OpenMode::CreateNew).unwrap(), fault, at);
    let memory = InMemoryDataStore::new();
    let options = RecorderOptions::new().inline(inline).commit_interval(None);
    let recorder = match beside {
        false => Recorder::with_options(store.clone(), options),
        true => Recorder::with_options((store.clone(), memory.clone()), options),
    };
    let (flushed, result) = run(&recorder);
    let closed = recorder.close();
    let is_reached = store.operations() > at;
    match (fault, is_reached) {
        (Fault::Delay, _) | (_, false) => {
            result.unwrap();
            closed.unwrap();
            assert_eq!(flushed, STEPS);
        }
        _ => {
            let error = result.and(closed).unwrap_err();
            assert!(error.to_string().contains(MESSAGE), "{what}: {error}");
        }
    }
    drop(recorder);
    drop(store);
    check(open(url, OpenMode::Read).unwrap(), flushed, &what);
    if beside {
        let memory = Arc::new(memory.open(OpenMode::Read).unwrap());
        check(memory, flushed, &what);
    }
    let again = Recorder::new(open(url, OpenMode::Append).unwrap());
    again.record("afterwards", 1_u64).unwrap();
    again.close().unwrap();
    is_reached
}

/// As [`go_wrong`], on a thread of its own, and fails if that does not end.
fn go_wrong_in_time(url: String, fault: Fault, at: usize, inline: bool, beside: bool) -> bool {
    let thread = std::thread::spawn(move || go_wrong(&url, fault, at, inline, beside));
    let start = Instant::now();
    while !thread.is_finished() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{fault:?} {at} hangs"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    thread.join().unwrap()
}

/// Every operation goes wrong in every way, on a store at the URLs that `url` gives: alone without
/// threads, and beside another one with them.
fn all_go_wrong(url: impl Fn(usize) -> String) {
    use Fault::{After, Before, Delay, HalfWay};
    let mut runs = 0;
    for (beside, faults) in [
        (false, [Before, HalfWay, After]),
        (true, [Before, After, Delay]),
    ] {
        for fault in faults {
            for at in 0.. {
                runs += 1;
                if !go_wrong_in_time(url(runs), fault, at, !beside, beside) {
                    assert!(at > 20, "{at} operations");
                    break;
                }
            }
        }
    }
    eprintln!("{runs} runs");
}

#[cfg(any(feature = "zarr", feature = "hdf5"))]
fn all_go_wrong_in(folder: &std::path::Path, scheme: &str) {
    all_go_wrong(|run| format!("{scheme}:{}", folder.join(format!("run{run}")).display()));
}

#[cfg(feature = "zarr")]
#[test]
fn any_fault_on_lmdb_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = simrecorder_testkit::quick_folder();
    all_go_wrong_in(folder.path(), "zarr");
}

#[cfg(feature = "zarr")]
#[test]
fn any_fault_on_a_directory_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = simrecorder_testkit::quick_folder();
    all_go_wrong_in(folder.path(), "zarr+dir");
}

#[cfg(feature = "hdf5")]
#[test]
fn any_fault_on_hdf5_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = simrecorder_testkit::quick_folder();
    all_go_wrong_in(folder.path(), "hdf5");
}

#[cfg(feature = "redis")]
#[test]
fn any_fault_on_redis_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = simrecorder_testkit::quick_folder();
    let server = simrecorder::RedisServer::start(folder.path()).unwrap();
    all_go_wrong(|run| format!("{}?run={run}", server.url()));
    server.stop().unwrap();
}
