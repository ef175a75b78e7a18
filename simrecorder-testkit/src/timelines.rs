//! Two timelines whose records can be checked one by one, for writers that are killed and readers that
//! follow them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use simrecorder_core::{
    ChunkPolicy, Coordinate, DataStore, ErrorKind, Group, OpenMode, Recorder, RecorderOptions,
    Result, Schema, Timeline, Value, prelude::*,
};

use crate::damage::Numbers;
use crate::steps::kill_writers;
use crate::{ACT, Partner, role, this_test};

/// The number of steps for each tick of the slow timeline.
pub const SLOW: u64 = 5;
/// The step at which the fast timeline gets another member; earlier ticks have its fill value.
pub const LATE: u64 = 20;
/// The elements of a record of the widest member.
const WIDE: u64 = 300;
/// The fill value of a member.
const FILL: f64 = -1.0;
/// The members of each timeline, without its coordinate. The last one joins late.
const FAST: [&str; 7] = ["n", "wide", "spikes", "note", "state", "gap", "late"];
const SLOW_MEMBERS: [&str; 2] = ["n", "weight"];

/// A tick: its step, and the number of rewinds before it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The number of rewinds.
    pub attempt: u64,
    /// The step.
    pub step: u64,
}

impl Tick {
    const STEPS: u64 = 1_000_000;

    /// A unique number, from which all its records are computed.
    fn number(self) -> u64 {
        self.attempt * Self::STEPS + self.step
    }

    fn of_number(number: u64) -> Self {
        Self {
            attempt: number / Self::STEPS,
            step: number % Self::STEPS,
        }
    }

    fn is_recorded(self, member: &str) -> bool {
        match member {
            "gap" => self.step.is_multiple_of(3) || self.step.is_multiple_of(SLOW),
            "late" => self.number() >= LATE,
            _ => true,
        }
    }

    /// The record of a series in this tick.
    fn record(self, name: &str) -> Value {
        let number = self.number();
        let record = match name {
            "time" => Value::new(time(self.step)),
            "n" => Value::new(number),
            // The record does not compress.
            "wide" => Value::new(noise(number)),
            "spikes" => Value::new(vec![number; (number % 4) as usize]),
            "note" => Value::new(format!("tick {number}")),
            "state" => Value::new(Object((number, "x"))),
            "weight" => Value::new(vec![number; 20]),
            "gap" | "late" if self.is_recorded(name) => Value::new(number as f64),
            "gap" | "late" => Value::new(FILL),
            other => panic!("there is no series '{other}'"),
        };
        record.unwrap()
    }
}

fn noise(number: u64) -> Vec<u64> {
    let mut numbers = Numbers::new(number as usize);
    let next = |_| numbers.below(usize::MAX) as u64;
    (0..WIDE).map(next).collect()
}

/// The coordinate of a step.
pub fn time(step: u64) -> f64 {
    step as f64 * 0.5
}

/// The timelines of a run: one with a tick for each step, one with a tick for each fifth step.
#[derive(Debug)]
pub struct Timelines {
    /// A tick for each step.
    pub fast: Timeline<f64>,
    /// A tick for each fifth step.
    pub slow: Timeline<f64>,
    has_late: bool,
}

impl Timelines {
    /// Opens them, and declares the series with small chunks or a fill value.
    pub fn open(recorder: &Recorder) -> Result<Self> {
        let time = || Coordinate::new("time").units("ms");
        let mut fast = recorder.timeline("fast", time())?;
        let wide = Schema::array::<u64>([WIDE]).with_chunk_policy(ChunkPolicy::records(4));
        fast.declare("wide", wide)?;
        let spikes = Schema::ragged::<u64>([]).with_chunk_policy(ChunkPolicy::records(8));
        fast.declare("spikes", spikes)?;
        fast.declare("gap", Schema::scalar::<f64>().with_fill_value(FILL))?;
        let slow = recorder.timeline("slow", time())?;
        Ok(Self {
            fast,
            slow,
            has_late: false,
        })
    }

    /// Records a step.
    pub fn record(&mut self, tick: Tick) -> Result<()> {
        if tick.number() >= LATE && !self.has_late {
            self.has_late = true;
            let late = Schema::scalar::<f64>().with_fill_value(FILL);
            self.fast.declare("late", late)?;
        }
        record_tick(&mut self.fast, &FAST, tick)?;
        self.record_slow(tick)
    }

    /// Records a step of the slow timeline only, if it has a tick then.
    pub fn record_slow(&mut self, tick: Tick) -> Result<()> {
        match tick.step.is_multiple_of(SLOW) {
            true => record_tick(&mut self.slow, &SLOW_MEMBERS, tick),
            false => Ok(()),
        }
    }

    /// Completes the last ticks and drops the handles.
    pub fn finish(self) -> Result<()> {
        self.fast.finish().and(self.slow.finish())
    }

    /// The step after the last tick.
    pub fn next_step(&self) -> u64 {
        let step = |last: f64| (last * 2.0) as u64 + 1;
        self.fast.last().map_or(0, step)
    }
}

fn record_tick(timeline: &mut Timeline<f64>, members: &[&str], tick: Tick) -> Result<()> {
    timeline.advance(time(tick.step))?;
    for member in members {
        let record = tick.record(member);
        match *member {
            "spikes" => timeline.record(member, Ragged(record))?,
            member if tick.is_recorded(member) => timeline.record(member, record)?,
            _ => {}
        }
    }
    Ok(())
}

/// A timeline as of one moment.
#[derive(Debug)]
pub struct Snapshot {
    group: Group,
    /// The number of its ticks.
    pub len: u64,
}

impl Snapshot {
    /// Takes a snapshot of a timeline and checks that all its series have the same length; `None` if it
    /// does not exist yet.
    pub fn take(recorder: &Recorder, timeline: &str) -> Option<Self> {
        let group = match recorder.group(timeline) {
            Ok(group) => group,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        let series = || group.series().map(|(name, view)| (name, view.len()));
        assert_eq!(series().count(), group.nodes().count(), "{group:?}");
        let time = group.view("time").expect("a timeline has its coordinate");
        let len = time.len();
        assert!(
            series().all(|(_, other)| other == len),
            "'{timeline}' is out of step: {:?}",
            series().collect::<Vec<_>>()
        );
        Some(Self { group, len })
    }

    /// Returns the last `count` ticks, or all, after a check of all their records.
    pub fn last_ticks(&self, count: u64) -> Result<Vec<Tick>> {
        let range = self.len.saturating_sub(count)..self.len;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = self.group.view("n").expect("a tick has its number");
        let numbers = numbers.select(range.clone())?.read::<u64>()?;
        let ticks: Vec<_> = numbers.into_iter().map(Tick::of_number).collect();
        for (name, view) in self.group.series() {
            for (tick, found) in ticks.iter().zip(&view.select(range.clone())?) {
                assert!(found? == tick.record(name), "'{name}' of {tick:?}");
            }
        }
        let is_next = |pair: &[Tick]| pair[0].step < pair[1].step;
        assert!(ticks.windows(2).all(is_next), "{ticks:?}");
        Ok(ticks)
    }
}

/// Returns all ticks of the fast timeline and of the slow one, after a check of all their records; `None` if
/// nothing was committed yet.
pub fn check_timelines(recorder: &Recorder) -> Option<[Vec<Tick>; 2]> {
    let [fast, slow] = ["fast", "slow"].map(|timeline| {
        let snapshot = Snapshot::take(recorder, timeline)?;
        Some(snapshot.last_ticks(u64::MAX).unwrap())
    });
    Some([fast?, slow.unwrap_or_default()])
}

/// Checks that the steps of both timelines are consecutive, from 0 on; returns their numbers of ticks.
pub fn check_steps(recorder: &Recorder) -> [u64; 2] {
    let [fast, slow] = check_timelines(recorder).unwrap_or_default();
    let steps = |ticks: &[Tick]| ticks.iter().map(|tick| tick.step).collect::<Vec<_>>();
    assert!(steps(&fast).into_iter().eq(0..fast.len() as u64));
    let multiples = (0..slow.len() as u64).map(|i| i * SLOW);
    assert!(steps(&slow).into_iter().eq(multiples));
    [fast.len() as u64, slow.len() as u64]
}

/// Resumes after the last step whose state was saved, and records for ever; flushes, does checkpoints, and rewinds now and
/// then. Prints the number of flushed steps.
fn record_for_ever(store: impl DataStore + 'static) -> ! {
    // Large enough only for a few ticks, so that there are commits between the flushes too.
    let options = RecorderOptions::new()
        .commit_interval(Duration::from_millis(3))
        .memory_bound(1 << 19);
    let recorder = Recorder::with_options(store, options);
    let attempts = recorder.get_as::<u64>("attempts").unwrap();
    let mut attempt = attempts.map_or(0, |attempts| attempts + 1);
    recorder.set("attempts", attempt).unwrap();
    recorder.flush().unwrap();
    let mut timelines = Timelines::open(&recorder).unwrap();
    let saved = recorder.get_as::<u64>("saved").unwrap();
    let resume_at = saved.map_or(-1.0, time);
    recorder.rewind("time", resume_at).unwrap();
    let mut step = timelines.next_step();
    assert_eq!(step, saved.map_or(0, |saved| saved + 1));
    assert_eq!(timelines.slow.len(), step.div_ceil(SLOW));
    for count in 0_u64.. {
        timelines.record(Tick { attempt, step }).unwrap();
        if step.is_multiple_of(7) {
            recorder.flush().unwrap();
            // A tick that needs a fill value is still open.
            let complete = timelines.next_step();
            println!("flushed {complete}");
            recorder.set("saved", complete.saturating_sub(1)).unwrap();
        }
        if count % 60 == 40 {
            recorder.checkpoint().unwrap();
        }
        if count % 60 == 59 {
            step -= 10;
            attempt += 1;
            recorder.set("saved", step).unwrap();
            recorder.set("attempts", attempt).unwrap();
            recorder.flush().unwrap();
            println!("flushed {}", step + 1);
            recorder.rewind("time", time(step)).unwrap();
        }
        step += 1;
    }
    std::process::exit(0)
}

/// Takes snapshots until the parent has seen enough: with a store that stays open, and with new ones.
fn follow<S: DataStore + 'static>(open: impl Fn() -> Result<S>) {
    let follower = Recorder::new(open().unwrap());
    println!("ready");
    let told = std::thread::spawn(|| std::io::stdin().read(&mut [0]));
    let (mut count, mut longest) = (0_u64, 0);
    while !told.is_finished() || count < 20 {
        let other = (count % 2 == 1).then(|| Recorder::new(open().unwrap()));
        for timeline in ["fast", "slow"] {
            let snapshot = Snapshot::take(other.as_ref().unwrap_or(&follower), timeline);
            let snapshot = snapshot.unwrap_or_else(|| panic!("snapshot {count}: no '{timeline}'"));
            match snapshot.last_ticks(12) {
                // The writer has rewound since.
                Err(error) if error.kind() == ErrorKind::OutOfBounds => {}
                ticks => {
                    longest = longest.max(ticks.map_or_else(|e| panic!("{e}"), |_| snapshot.len))
                }
            }
        }
        count += 1;
        std::thread::sleep(Duration::from_micros(count * 1237 % 3000));
    }
    assert!(longest > 0);
}

/// Kills a writer of two timelines at random moments and lets it resume, while another process takes
/// snapshots: the series of each timeline have the same length in every snapshot and after every kill, no
/// value is wrong, and nothing that was flushed is lost.
///
/// `name` is the test that calls this; `place` returns the path of each recording for `open`.
pub fn killed_writers_leave_whole_ticks<S: DataStore + 'static>(
    name: &str,
    place: impl Fn(&Path, u64) -> PathBuf,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    if let Some(path) = role() {
        if std::env::var(ACT).is_ok_and(|act| act == "follow") {
            return follow(|| open(&path, OpenMode::Read));
        }
        record_for_ever(open(&path, OpenMode::OpenOrCreate).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |number| place(folder.path(), number);
    let mut reader: Option<(PathBuf, Partner)> = None;
    kill_writers(name, place, |path, safe| {
        let recorder = Recorder::new(open(path, OpenMode::Read).unwrap());
        let [fast, slow] = check_steps(&recorder);
        assert!(
            fast >= safe && slow >= safe.div_ceil(SLOW),
            "{fast} and {slow} ticks, flushed {safe} steps"
        );
        if reader.as_ref().is_none_or(|(followed, _)| followed != path) {
            if let Some((_, reader)) = reader.take() {
                reader.finish();
            }
            let mut command = this_test(name, path);
            let partner = Partner::start(command.env(ACT, "follow"));
            reader = Some((path.to_owned(), partner));
        }
    });
    reader.unwrap().1.finish();
}
