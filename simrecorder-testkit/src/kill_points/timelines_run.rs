//! A fast and a slow timeline, which are rewound once, in commits of a few ticks.

use std::ops::Range;

use simrecorder_core::{
    DataStore, InMemoryDataStore, OnStoreError, OpenMode, Recorder, RecorderOptions, Result,
};

use super::{Known, Run, inline, report};
use crate::timelines::{SLOW, Tick, Timelines, check_timelines, time};

/// The recorders of the run, and the positions that each of them records.
const PARTS: [(OpenMode, Range<u64>); 2] = [
    (OpenMode::CreateNew, 0..40),
    (OpenMode::Append, 40..TimelinesRun::END),
];
/// The position at which the run rewinds.
const BACK_AT: u64 = 30;
/// The number of steps that remain then.
const BACK_TO: u64 = 18;
/// The position of a checkpoint.
const CHECKPOINT_AT: u64 = 21;
/// The ticks that the resuming program records.
const MORE: u64 = 3;

/// Timelines. A position is the number of recorded ticks of the fast one, and one for the rewind.
/// Commits happen whenever a few ticks wait.
#[derive(Clone, Copy, Debug)]
pub struct TimelinesRun;

impl Run for TimelinesRun {
    const END: u64 = 54;

    fn write<S: DataStore + 'static>(self, open: impl Fn(OpenMode) -> Result<S>) -> Result<()> {
        for (mode, positions) in PARTS {
            let recorder = Recorder::with_options(open(mode)?, options());
            let end = positions.end;
            let result = record(&recorder, positions);
            if result.is_err() {
                let closed = recorder.close();
                assert!(closed.is_err(), "a store that failed closes well");
                return result;
            }
            recorder.close()?;
            println!("settled {end}");
        }
        Ok(())
    }

    fn write_beside<S: DataStore + 'static>(
        self,
        open: impl Fn(OpenMode) -> Result<S>,
    ) -> Result<()> {
        let memory = InMemoryDataStore::new();
        for (mode, positions) in PARTS {
            let stores = (open(mode)?, memory.open(OpenMode::Append)?);
            let options = options().on_store_error(OnStoreError::Detach);
            let recorder = Recorder::with_options(stores, options);
            let end = positions.end;
            record(&recorder, positions).unwrap();
            let closed = recorder.close();
            let reader = Recorder::new(memory.open(OpenMode::Read)?);
            let known = Known {
                is_closed: true,
                ..Known::default()
            };
            assert_eq!(self.check(&reader, known), end);
            closed?;
            println!("settled {end}");
        }
        Ok(())
    }

    fn resume<S: DataStore + 'static>(self, store: S, report: fn(&str, u64)) -> Result<u64> {
        let recorder = Recorder::with_options(store, options());
        let before = position(&check_timelines(&recorder).unwrap_or_default()[0]);
        let mut timelines = Timelines::open(&recorder)?;
        let start = self.cut_to(before);
        let kept = ticks(start);
        recorder.rewind("time", kept.last().map_or(-1.0, |tick| time(tick.step)))?;
        // The slow one may have fewer commits.
        let missing = timelines.slow.len() * SLOW;
        for tick in kept.into_iter().filter(|tick| tick.step >= missing) {
            timelines.record_slow(tick)?;
        }
        for position in start..start + MORE {
            record_one(&recorder, &mut timelines, position)?;
        }
        let end = self.resumed(before);
        timelines.finish()?;
        recorder.flush()?;
        report("flushed", end);
        recorder.close()?;
        report("settled", end);
        Ok(end)
    }

    fn check(self, recorder: &Recorder, known: Known) -> u64 {
        let [fast, slow] = check_timelines(recorder).unwrap_or_default();
        // The recording may have been resumed twice.
        let positions = || known.flushed..=Self::END + 2 * MORE;
        let is_moment = |&(of_fast, of_slow): &(u64, u64)| {
            let is_one_moment = match known.is_closed {
                true => of_fast == of_slow,
                // Both are rewound in one commit.
                false => (of_fast > BACK_AT) == (of_slow > BACK_AT),
            };
            is_one_moment && ticks(of_fast) == fast && slow_ticks(of_slow) == slow
        };
        let pairs = positions().flat_map(|fast| positions().map(move |slow| (fast, slow)));
        let found = pairs.into_iter().find(is_moment);
        assert!(
            found.is_some(),
            "{known:?}: the ticks are those of no moment: {fast:?} and {slow:?}"
        );
        position(&fast)
    }

    fn commits(self, flushed: u64) -> Vec<u64> {
        (flushed..=Self::END).map(earliest).collect()
    }

    fn cut_to(self, position: u64) -> u64 {
        earliest(position.saturating_sub(1))
    }

    fn resumed(self, position: u64) -> u64 {
        earliest(self.cut_to(position) + MORE)
    }

    fn resuming(self, position: u64) -> Vec<u64> {
        // A commit happens whenever a few ticks wait.
        let start = self.cut_to(position);
        let after = (start..=start + MORE).map(earliest);
        after.chain([position]).collect()
    }
}

/// With so little memory, the ticks between two flushes need more than one commit.
fn options() -> RecorderOptions {
    inline().memory_bound(1 << 16)
}

fn record(recorder: &Recorder, positions: Range<u64>) -> Result<()> {
    let mut timelines = Timelines::open(recorder)?;
    // A flush does not complete a tick that needs a fill value.
    let completed = |timelines: &Timelines, position| {
        let is_complete = timelines.next_step() > tick_at(position).step;
        position + u64::from(is_complete)
    };
    for position in positions {
        record_one(recorder, &mut timelines, position)?;
        if position % 8 == 7 {
            recorder.flush()?;
            report(recorder, "flushed", completed(&timelines, position));
        }
        if position == CHECKPOINT_AT {
            recorder.checkpoint()?;
            report(recorder, "settled", completed(&timelines, position));
        }
    }
    timelines.finish()
}

/// Records the next step at a position.
fn record_one(recorder: &Recorder, timelines: &mut Timelines, position: u64) -> Result<()> {
    match position {
        BACK_AT => recorder.rewind("time", time(BACK_TO - 1)),
        position => timelines.record(tick_at(position)),
    }
}

/// The next tick at a position.
fn tick_at(position: u64) -> Tick {
    let (attempt, step) = match position.checked_sub(BACK_AT + 1) {
        None => (0, position),
        Some(since) => (1, BACK_TO + since),
    };
    Tick { attempt, step }
}

/// The ticks of the fast timeline at a position.
fn ticks(position: u64) -> Vec<Tick> {
    match position > BACK_AT {
        false => (0..position).map(tick_at).collect(),
        true => (0..BACK_TO)
            .chain(BACK_AT + 1..position)
            .map(tick_at)
            .collect(),
    }
}

/// The ticks of the slow one at a position.
fn slow_ticks(position: u64) -> Vec<Tick> {
    let mut ticks = ticks(position);
    ticks.retain(|tick| tick.step.is_multiple_of(SLOW));
    ticks
}

/// The first position at which the fast timeline has these ticks.
fn position(ticks: &[Tick]) -> u64 {
    let len = ticks.len() as u64;
    match ticks.iter().any(|tick| tick.attempt > 0) {
        false => len,
        true => BACK_AT + 1 + len - BACK_TO,
    }
}

/// The first position at which there are the same ticks.
fn earliest(of: u64) -> u64 {
    position(&ticks(of))
}
