//! Each operation of a short run goes wrong once, on every store, alone and with another one: which call returns the
//! error, and what each store has afterwards.
#![cfg(any(feature = "zarr", feature = "hdf5", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simrecorder::{
    Coordinate, DataStore, InMemoryDataStore, OnStoreError, OpenMode, OpenOptions, Recorder,
    RecorderOptions, Result, StoreState, Timeline, Value, prelude::*,
};
use simrecorder_testkit::faulty::{Fault, FaultyStore, MESSAGE};
use simrecorder_testkit::steps::try_declare_steps;

const STEPS: u64 = 24;

fn open(url: &str, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    simrecorder::open_with(url, &OpenOptions::new().mode(mode))
}

/// The configuration of a run in which something goes wrong.
#[derive(Clone, Copy, Debug)]
struct Way {
    inline: bool,
    /// Whether an in-memory store is recorded to as well.
    beside: bool,
    on_error: OnStoreError,
}

/// The last call that may return the error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    /// The next call, since the record was accepted.
    Record,
    /// This call, without threads.
    Set,
    /// This call, which waits for everything.
    Flush,
}

/// The members of the timeline, without its coordinate `step`.
const MEMBERS: [&str; 2] = ["n", "spikes"];

/// The record of a step.
fn value(key: &str, step: u64) -> Value {
    match key {
        "n" | "step" => Value::new(step),
        "spikes" => Value::new(vec![step; (step % 4) as usize]),
        "log" => Value::new(format!("step {step}")),
        _ => Value::new([step; 200]),
    }
    .unwrap()
}

/// A run with its results.
struct Run<'a> {
    recorder: &'a Recorder,
    store: &'a FaultyStore<Arc<dyn DataStore>>,
    fault: Fault,
    at: usize,
    way: Way,
    /// Whether the operation that goes wrong was reached by the last call.
    is_reached: bool,
    /// The accepted steps of each key.
    taken: BTreeMap<String, Vec<u64>>,
    /// How many of them were flushed while the store worked.
    flushed: BTreeMap<String, usize>,
    /// The value that was set last, and the last one that was flushed.
    last: Option<u64>,
    last_flushed: Option<u64>,
    timeline: Option<Timeline<u64>>,
    /// The complete accepted ticks, and those of them that were flushed.
    ticks: u64,
    ticks_flushed: u64,
}

impl Run<'_> {
    /// Checks the result of a call, and fails if the run ends with it.
    fn check(&mut self, call: Call, result: Result<()>) -> Result<()> {
        let was_reached = self.is_reached;
        self.is_reached = self.has_gone_wrong();
        let what = format!("{call:?}, {result:?}");
        if let Err(error) = &result {
            assert!(self.is_reached, "{what}");
            assert!(error.to_string().contains(MESSAGE), "{what}");
        }
        if self.way.on_error == OnStoreError::Stop {
            let is_due = match (self.way.inline, call) {
                (_, Call::Flush) => self.is_reached,
                (true, Call::Set) => self.is_reached,
                (true, Call::Record) => was_reached,
                (false, _) => false,
            };
            assert!(result.is_err() || !is_due, "{what} of a store that failed");
            return result;
        }
        // A call returns only errors of operations in this call.
        assert!(
            result.is_ok() || !was_reached && call != Call::Flush,
            "{what}"
        );
        if call == Call::Flush {
            let state = &self.recorder.status().stores[0].state;
            let is_failed =
                matches!(state, StoreState::Failed(error) if error.to_string().contains(MESSAGE));
            assert_eq!(is_failed, self.is_reached, "{state:?}");
        }
        Ok(())
    }

    /// Whether an operation failed.
    fn has_gone_wrong(&self) -> bool {
        self.store.operations() > self.at && self.fault != Fault::Delay
    }

    fn record(&mut self, key: &str, step: u64) -> Result<()> {
        let result = match key {
            "n" => self.recorder.record(key, step),
            "spikes" => self.recorder.record(key, Ragged(value(key, step))),
            _ => self.recorder.record(key, value(key, step)),
        };
        if result.is_ok() {
            self.taken.entry(key.to_owned()).or_default().push(step);
        }
        self.check(Call::Record, result)
    }

    fn set(&mut self, last: u64) -> Result<()> {
        let result = self.recorder.set("last", last);
        if result.is_ok() {
            self.last = Some(last);
        }
        self.check(Call::Set, result)
    }

    /// Calls the recorder until it succeeds or the run ends. It calls again if the call reached a store.
    fn call(&mut self, call: Call, mut make: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for _ in 0..2 {
            let result = make(self);
            let is_done = result.is_ok();
            self.check(call, result)?;
            if is_done {
                return Ok(());
            }
        }
        panic!("{call:?} fails twice");
    }

    fn tick(&mut self, step: u64) -> Result<()> {
        if self.timeline.is_none() {
            self.call(Call::Set, |run| {
                let timeline = run.recorder.timeline("net", Coordinate::new("step"))?;
                run.timeline = Some(timeline);
                Ok(())
            })?;
        }
        fn timeline<'a>(run: &'a mut Run<'_>) -> &'a mut Timeline<u64> {
            run.timeline.as_mut().unwrap()
        }
        self.call(Call::Record, |run| timeline(run).advance(step))?;
        for member in MEMBERS {
            self.call(Call::Record, |run| match (member, value(member, step)) {
                ("spikes", row) => timeline(run).record(member, Ragged(row)),
                (_, value) => timeline(run).record(member, value),
            })?;
        }
        self.ticks = step + 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let result = self.recorder.flush();
        self.check(Call::Flush, result)?;
        if !self.is_reached {
            let counts = self
                .taken
                .iter()
                .map(|(key, steps)| (key.clone(), steps.len()));
            self.flushed = counts.collect();
            self.last_flushed = self.last;
            self.ticks_flushed = self.ticks;
        }
        Ok(())
    }

    fn steps(&mut self, steps: Range<u64>) -> Result<()> {
        let end = steps.end;
        for step in steps {
            let late = format!("late/{}", step / 10);
            for key in ["n", "spikes", "log", "field", &late] {
                self.record(key, step)?;
            }
            self.tick(step)?;
        }
        self.set(end)?;
        self.flush()
    }

    /// A short run: series that appear late, flushes, a checkpoint, a close. Returns the first
    /// error.
    fn all(&mut self) -> Result<()> {
        let declared = try_declare_steps(self.recorder, 5);
        let result = self
            .check(Call::Set, declared)
            .and_then(|()| self.steps(0..9))
            .and_then(|()| self.steps(9..14))
            .and_then(|()| {
                let result = self.recorder.checkpoint();
                self.check(Call::Flush, result)
            })
            .and_then(|()| self.steps(14..STEPS));
        // The in-memory store gets everything, even after an error.
        let closed = self.recorder.close();
        result.and(closed)
    }

    /// Checks that a store has the accepted records: all of them, or at least the flushed ones.
    fn check_store(&self, store: Arc<dyn DataStore>, has_all: bool) {
        let reader = Recorder::new(store);
        for (key, steps) in &self.taken {
            let count = self.flushed.get(key).copied().unwrap_or(0);
            if !has_all && count == 0 && reader.kind_of(key).unwrap().is_none() {
                continue;
            }
            let found: Vec<_> = reader
                .get_all(key)
                .unwrap()
                .iter()
                .map(Result::unwrap)
                .collect();
            let is_long_enough = match has_all {
                true => found.len() == steps.len(),
                false => (count..=steps.len()).contains(&found.len()),
            };
            assert!(
                is_long_enough,
                "{key}: {} of {count}, {steps:?}",
                found.len()
            );
            let taken = steps.iter().map(|&step| value(key, step));
            assert!(
                taken.zip(&found).all(|(taken, found)| taken == *found),
                "{key}"
            );
        }
        self.check_timeline(&reader, has_all);
        let last = reader.get_as::<u64>("last").unwrap();
        match has_all {
            true => assert_eq!(last, self.last),
            false => assert!((self.last_flushed..=self.last).contains(&last), "{last:?}"),
        }
    }
}

impl Run<'_> {
    /// Checks that a store has whole ticks: all of them, or at least the flushed ones.
    fn check_timeline(&self, reader: &Recorder, has_all: bool) {
        if reader.kind_of("net").unwrap().is_none() {
            assert_eq!(
                if has_all {
                    self.ticks
                } else {
                    self.ticks_flushed
                },
                0
            );
            return;
        }
        let net = reader.group("net").unwrap();
        // Closing completes the first tick, to which more series could have been added.
        let all = self.ticks.max(1);
        let lens: Vec<_> = net.series().map(|(_, view)| view.len()).collect();
        for (name, view) in net.series() {
            let is_long_enough = match has_all && self.ticks > 0 {
                true => view.len() == all,
                false => (self.ticks_flushed..=all).contains(&view.len()),
            };
            assert!(is_long_enough, "{name}: {lens:?}, {} ticks", self.ticks);
            for (step, found) in (0..).zip(view) {
                assert_eq!(found.unwrap(), value(name, step), "{name}");
            }
        }
        // Half of a commit is not a commit of the recorder.
        if has_all || self.fault != Fault::HalfWay {
            assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
        }
    }
}

/// One run in which operation `at` goes wrong; returns whether there was such an operation.
fn go_wrong(url: &str, fault: Fault, at: usize, way: Way) -> bool {
    let store = FaultyStore::new(open(url, OpenMode::CreateNew).unwrap(), fault, at);
    let memory = InMemoryDataStore::new();
    let options = RecorderOptions::new()
        .inline(way.inline)
        .on_store_error(way.on_error)
        .commit_interval(None);
    let recorder = match way.beside {
        false => Recorder::with_options(store.clone(), options),
        true => Recorder::with_options((store.clone(), memory.clone()), options),
    };
    let mut run = Run {
        recorder: &recorder,
        store: &store,
        fault,
        at,
        way,
        is_reached: false,
        taken: BTreeMap::new(),
        flushed: BTreeMap::new(),
        last: None,
        last_flushed: None,
        timeline: None,
        ticks: 0,
        ticks_flushed: 0,
    };
    let result = run.all();
    match run.has_gone_wrong() {
        false => {
            result.unwrap();
            assert_eq!(run.last_flushed, Some(STEPS));
        }
        true => {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(MESSAGE), "{error}");
        }
    }
    run.check_store(open(url, OpenMode::Read).unwrap(), !run.has_gone_wrong());
    if way.beside {
        run.check_store(Arc::new(memory.open(OpenMode::Read).unwrap()), true);
    }
    let is_reached = store.operations() > at;
    drop(run);
    drop((recorder, store));
    let again = Recorder::new(open(url, OpenMode::Append).unwrap());
    again.record("afterwards", 1_u64).unwrap();
    again.close().unwrap();
    is_reached
}

/// Like [`go_wrong`], on another thread, and fails if that does not end.
fn go_wrong_in_time(url: String, fault: Fault, at: usize, way: Way) -> bool {
    let thread = std::thread::spawn({
        let url = url.clone();
        move || go_wrong(&url, fault, at, way)
    });
    let start = Instant::now();
    while !thread.is_finished() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{url}, {fault:?} {at}, {way:?} hangs"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    let result = thread.join();
    result.unwrap_or_else(|_| panic!("{url}, {fault:?} of operation {at}, {way:?}"))
}

/// Every operation goes wrong in every way, on a store at the URLs that `url` returns: alone and
/// with another one, with threads and without, and with a recorder that continues without it.
fn all_go_wrong(url: impl Fn(usize) -> String) {
    use Fault::{After, Before, Delay, HalfWay};
    let mut runs = 0;
    for (inline, beside, on_error, faults) in [
        (
            true,
            false,
            OnStoreError::Stop,
            &[Before, HalfWay, After][..],
        ),
        (true, true, OnStoreError::Stop, &[HalfWay]),
        (true, true, OnStoreError::Detach, &[Before]),
        (false, true, OnStoreError::Stop, &[Before, After, Delay]),
        (false, true, OnStoreError::Detach, &[Before, HalfWay, After]),
    ] {
        let way = Way {
            inline,
            beside,
            on_error,
        };
        for &fault in faults {
            for at in 0.. {
                runs += 1;
                if !go_wrong_in_time(url(runs), fault, at, way) {
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
