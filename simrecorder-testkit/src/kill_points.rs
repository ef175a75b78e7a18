//! A short recording that is struck at each call that changes a file, and so is what goes on
//! with it; whatever is left is opened, holds all that was flushed and no part of a commit, and can
//! be gone on with.

use std::fmt::Debug;
use std::fs;
use std::ops::Range;
use std::path::Path;

use simrecorder_core::ndarray::ArrayViewD;
use simrecorder_core::{
    ChunkPolicy, DataStore, DataStoreExt, ErrorKind, InMemoryDataStore, Key, OnStoreError,
    OpenMode, Recorder, RecorderOptions, Result, Schema, StoreState,
};

use crate::damage::Numbers;
use crate::steps::{check_prefixes, cut, try_declare_steps, try_record_step};
use crate::system_calls::{FAILED, Progress, Strike, Traced, act};
use crate::{quick_folder, role};

/// Steps of the whole run.
const STEPS: u64 = 50;
/// The recorders of the run, and what each of them records.
const HALVES: [(OpenMode, Range<u64>); 2] = [
    (OpenMode::CreateNew, 0..STEPS - 20),
    (OpenMode::Append, STEPS - 20..STEPS),
];
/// After so many steps, a series is renamed, and after so many removed. Each is a commit of its own.
const RENAMED_AT: u64 = 16;
const REMOVED_AT: u64 = 24;
/// The records of that series.
const TRIAL: u64 = 3;
/// Steps that are recorded by what goes on.
const MORE: u64 = 3;

/// When a recording is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// As the writer left it.
    Struck,
    /// As the writer left it, with a commit that it had not reported yet.
    Unreported,
    /// After it was opened, read and dropped.
    Read,
    /// After it was gone on with and closed, so many steps long.
    Closed(u64),
}

/// What [`Attack::run`] did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Calls of the undisturbed run that change a file.
    pub calls: usize,
    /// Writers that were struck at one of them.
    pub strikes: usize,
    /// Readers and writers that opened what those had left, and were struck as well.
    pub recoveries: usize,
    /// Those of them that had found a part of a commit.
    pub torn: usize,
}

/// A store under attack.
#[derive(Debug)]
pub struct Attack<'a, O, L> {
    /// The test that calls this, which is run again as the writer.
    pub test: &'a str,
    /// The name of the file or folder of the recording.
    pub file: &'a str,
    /// Opens a store.
    pub open: O,
    /// Looks at what is there. At [`Moment::Struck`] it says whether recovery is worth an attack, at
    /// [`Moment::Unreported`] whether it took a part of the commit away, as if that had been struck
    /// while it was written.
    pub look: L,
}

impl<'a, S, O, L> Attack<'a, O, L>
where
    S: DataStore + 'static,
    O: Fn(&Path, OpenMode) -> Result<S>,
    L: FnMut(&Path, Moment, Progress) -> bool,
{
    /// Strikes a writer at its calls, one after the other, and then some of those that go on with
    /// what it left. At all calls if `SIMRECORDER_KILL_POINTS` is `all`, else at `sample` of them.
    ///
    /// Returns nothing in the process that is the writer.
    pub fn run(mut self, strike: Strike, sample: usize) -> Option<Figures> {
        if let Some(path) = role() {
            self.act(&path);
            return None;
        }
        let all = takes_all();
        let folder = quick_folder();
        let writer = self.traced(match strike {
            Strike::ReadOnly => "write beside",
            _ => "write",
        });
        let points = writer.points(&folder.path().join(self.file));
        let mut figures = Figures {
            calls: points.len(),
            ..Figures::default()
        };
        let (mut recoverable, mut torn) = (Vec::new(), Vec::new());
        let struck = some(&points, if all { points.len() } else { sample });
        for (number, point) in struck.into_iter().enumerate() {
            let place = folder.path().join("strike");
            fs::create_dir(&place).unwrap();
            let path = place.join(self.file);
            let progress = writer.struck(&path, point, strike);
            figures.strikes += usize::from(progress.was_struck);
            assert!(
                strike == Strike::Kill
                    || progress.was_struck == progress.has_failed
                    // What it tidies up may be left.
                    || progress.settled == STEPS,
                "{point:?} {progress:?}: a failure came out nowhere"
            );
            let kept = folder.path().join(format!("kept_{number}"));
            copy_all(&place, &kept);
            let is_worth_it = (self.look)(&path, Moment::Struck, progress);
            let commits = [progress.flushed, commit_after(progress.flushed)];
            let found = self.check(&path, progress, &commits, None, point);
            fs::remove_dir_all(place).unwrap();
            if progress.flushed > 0 && is_worth_it {
                recoverable.push((kept, progress));
            } else if progress.flushed > 0
                && found > progress.flushed
                && (self.look)(&kept.join(self.file), Moment::Unreported, progress)
                // Otherwise it had been brought to its place already.
                && self.steps(&kept.join(self.file)) == progress.flushed
            {
                torn.push((kept, progress));
            } else {
                fs::remove_dir_all(kept).unwrap();
            }
        }
        let (recordings, sample) = if all {
            (10, usize::MAX)
        } else {
            (2, sample / 8)
        };
        for (list, is_torn) in [(&recoverable, false), (&torn, true)] {
            for (kept, progress) in some(list, recordings) {
                for role in ["read", "append"] {
                    let strikes = self.recoveries(kept, *progress, strike, role, sample);
                    figures.recoveries += strikes;
                    figures.torn += if is_torn { strikes } else { 0 };
                }
            }
        }
        Some(figures)
    }

    /// Has the power fail at calls of a writer, at all if `SIMRECORDER_KILL_POINTS` is `all`, else at `sample`
    /// of them, three times each: nothing, a part or all of what was not synced is left. Returns how many
    /// times it failed, and nothing in the process that is the writer.
    pub fn fail_power(mut self, sample: usize) -> Option<usize> {
        if let Some(path) = role() {
            self.act(&path);
            return None;
        }
        let all = takes_all();
        let folder = quick_folder();
        let place = folder.path().canonicalize().unwrap().join("place");
        fs::create_dir(&place).unwrap();
        let trace = self.traced("write").trace(&place.join(self.file));
        let moments: Vec<usize> = (0..=trace.len()).collect();
        let remains = folder.path().join("remains");
        let mut failures = 0;
        for &at in some(&moments, if all { moments.len() } else { sample }) {
            let settled = trace.printed("settled ", at);
            let progress = Progress {
                flushed: trace.printed("flushed ", at).max(settled),
                settled,
                ..Progress::default()
            };
            for percent in [0, 50, 100] {
                fs::create_dir(&remains).unwrap();
                let mut numbers = Numbers::new(at * 100 + percent);
                trace.write_remains((&place, &remains), at, percent, &mut numbers);
                let path = remains.join(self.file);
                let commits = [progress.flushed, commit_after(progress.flushed)];
                // A recording that is being created may be damaged.
                if progress.flushed > 0 || (self.open)(&path, OpenMode::OpenOrCreate).is_ok() {
                    self.check(&path, progress, &commits, None, &(at, percent));
                }
                fs::remove_dir_all(&remains).unwrap();
                failures += 1;
            }
        }
        Some(failures)
    }

    fn steps(&self, path: &Path) -> u64 {
        steps(&(self.open)(path, OpenMode::Read).unwrap()).unwrap()
    }

    fn traced(&self, act: &'static str) -> Traced<'a> {
        Traced {
            test: self.test,
            act,
        }
    }

    /// Strikes who opens copies of what is `kept`; returns how often.
    fn recoveries(
        &mut self,
        kept: &Path,
        before: Progress,
        strike: Strike,
        role: &'static str,
        sample: usize,
    ) -> usize {
        let place = kept.with_extension("copy");
        let path = place.join(self.file);
        copy_all(kept, &place);
        let steps = self.steps(&path);
        fs::remove_dir_all(&place).unwrap();
        copy_all(kept, &place);
        let points = self.traced(role).points(&path);
        fs::remove_dir_all(&place).unwrap();
        let points = some(&points, sample);
        let mut strikes = 0;
        for point in points {
            copy_all(kept, &place);
            let mut progress = self.traced(role).struck(&path, point, strike);
            strikes += usize::from(progress.was_struck);
            progress.flushed = progress.flushed.max(before.flushed);
            progress.settled = progress.settled.max(before.settled);
            (self.look)(&path, Moment::Struck, progress);
            let commits = match role {
                _ if progress.flushed > steps => vec![gone_on(steps)],
                "append" => vec![steps, cut_to(steps), gone_on(steps)],
                _ => vec![steps],
            };
            self.check(&path, progress, &commits, Some(steps), point);
            fs::remove_dir_all(&place).unwrap();
        }
        strikes
    }

    /// What the process does that is struck.
    fn act(&self, path: &Path) {
        let result = match act().as_str() {
            "write" => self.write(path),
            "write beside" => self.write_beside(path),
            "read" => (self.open)(path, OpenMode::Read).map(|store| {
                Recorder::new(store).keys().unwrap();
            }),
            _ => self.append(path),
        };
        if let Err(error) = result {
            println!("{FAILED}{error:?}");
        }
    }

    /// A run with all that happens in one: keys that appear throughout, flushes, a checkpoint, a
    /// close, and the same run gone on with.
    fn write(&self, path: &Path) -> Result<()> {
        for (mode, steps) in HALVES {
            let recorder = inline((self.open)(path, mode)?);
            let end = steps.end;
            let result = declare(&recorder).and_then(|()| record(&recorder, steps));
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

    /// The same, beside a store in memory that must get all of it whatever happens.
    fn write_beside(&self, path: &Path) -> Result<()> {
        let memory = InMemoryDataStore::new();
        for (mode, steps) in HALVES {
            let stores = ((self.open)(path, mode)?, memory.open(OpenMode::Append)?);
            let options = RecorderOptions::new()
                .inline(true)
                .on_store_error(OnStoreError::Detach);
            let recorder = Recorder::with_options(stores, options);
            let end = steps.end;
            declare(&recorder).unwrap();
            record(&recorder, steps).unwrap();
            let closed = recorder.close();
            let reader = Recorder::new(memory.open(OpenMode::Read)?);
            assert_eq!(check_series(&reader), end);
            check_values(&reader, end);
            closed?;
            println!("settled {end}");
        }
        Ok(())
    }

    fn append(&self, path: &Path) -> Result<()> {
        let store = (self.open)(path, OpenMode::OpenOrCreate)?;
        go_on(store, |what, steps| println!("{what} {steps}")).map(drop)
    }

    /// Opens what was left, which must be as of one of these `commits`, named by the steps that
    /// all series have then; goes on with it, and closes it. Returns what there was. The values must be those of
    /// `written` steps, or of the ones that there are.
    fn check(
        &mut self,
        path: &Path,
        progress: Progress,
        commits: &[u64],
        written: Option<u64>,
        point: &dyn Debug,
    ) -> u64 {
        let mut found = 0;
        match (self.open)(path, OpenMode::Read) {
            Err(error) => {
                let is_missing = error.kind() == ErrorKind::NotFound;
                assert!(
                    is_missing && commits.contains(&0),
                    "{point:?} {progress:?}: {error}"
                );
            }
            Ok(store) => {
                let recorder = Recorder::new(store);
                found = check_series(&recorder);
                assert!(
                    commits.contains(&found),
                    "{point:?} {progress:?}: {found} steps, none of {commits:?}"
                );
                check_values(&recorder, written.unwrap_or(found));
                check_trial(&recorder, written.unwrap_or(found));
            }
        }
        (self.look)(path, Moment::Read, progress);
        let store = (self.open)(path, OpenMode::OpenOrCreate).unwrap();
        let steps = go_on(store, |_, _| ()).unwrap();
        assert_eq!(steps, gone_on(found));
        (self.look)(path, Moment::Closed(steps), progress);
        let recorder = Recorder::new((self.open)(path, OpenMode::Read).unwrap());
        assert_eq!(check_series(&recorder), steps, "{point:?} {progress:?}");
        check_values(&recorder, written.unwrap_or(found));
        check_trial(&recorder, written.unwrap_or(found));
        found
    }
}

/// Whether all calls are struck, not a sample of them.
fn takes_all() -> bool {
    std::env::var("SIMRECORDER_KILL_POINTS").is_ok_and(|points| points == "all")
}

/// All in this thread, so that calls come in the same order each time.
fn inline(store: impl DataStore + 'static) -> Recorder {
    Recorder::with_options(store, RecorderOptions::new().inline(true))
}

fn declare(recorder: &Recorder) -> Result<()> {
    try_declare_steps(recorder, 8)?;
    let field = Schema::array::<u32>([FIELD as u64]).with_chunk_policy(ChunkPolicy::records(6));
    recorder.declare("field", field)?;
    let outgrown = Schema::array::<u32>([OUTGROWN as u64]);
    let outgrown = outgrown.with_chunk_policy(ChunkPolicy::records(24));
    recorder.declare("outgrown", outgrown)
}

fn record(recorder: &Recorder, steps: Range<u64>) -> Result<()> {
    for step in steps {
        record_one(recorder, step)?;
        if step % 10 == 0 {
            recorder.set(format!("parameters/{step}"), step)?;
        }
        if step == RENAMED_AT - 1 {
            for number in 0..TRIAL {
                recorder.record("trial/0", field(number))?;
            }
        }
        if step % 8 == 7 {
            recorder.set("last", step)?;
            recorder.flush()?;
            report(recorder, "flushed", step + 1);
        }
        match step + 1 {
            RENAMED_AT => recorder.rename("trial", "moved")?,
            REMOVED_AT => recorder.remove("moved/0")?,
            _ => {}
        }
        if step == 20 {
            recorder.checkpoint()?;
            report(recorder, "settled", step + 1);
        }
    }
    Ok(())
}

/// Prints how far the first store came, unless it has failed.
fn report(recorder: &Recorder, what: &str, steps: u64) {
    if let StoreState::Healthy = recorder.status().stores[0].state {
        println!("{what} {steps}");
    }
}

fn record_one(recorder: &Recorder, step: u64) -> Result<()> {
    try_record_step(recorder, step)?;
    recorder.record("frames", [step as f32; 500])?;
    recorder.record("field", field(step))?;
    recorder.record("outgrown", &field(step)[..OUTGROWN])
}

/// Elements of a large record.
const FIELD: usize = 4000;
/// Elements of a record of a series that is short at the checkpoint, and fills a chunk with the next flush.
const OUTGROWN: usize = 200;

/// A large record that does not compress.
fn field(step: u64) -> Vec<u32> {
    let mut noise = step;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (noise >> 32) as u32
    };
    (0..FIELD).map(|_| next()).collect()
}

/// The commit that [`record`] makes after the one of so many steps: one at each flush, one at the
/// checkpoint, and one when each half is closed.
fn commit_after(steps: u64) -> u64 {
    let commits = (1..=STEPS).filter(|end| end % 8 == 0 || [21, STEPS - 20, STEPS].contains(end));
    commits
        .into_iter()
        .find(|&end| end > steps)
        .unwrap_or(STEPS)
}

/// The steps that are left when a recording of `steps` is gone on with.
fn cut_to(steps: u64) -> u64 {
    steps.saturating_sub(1)
}

/// How many steps there are after it was gone on with.
fn gone_on(steps: u64) -> u64 {
    cut_to(steps) + MORE
}

/// Cuts the last step off, records some more, and closes; returns how many steps there are then.
fn go_on(store: impl DataStore + 'static, report: fn(&str, u64)) -> Result<u64> {
    let before = steps(&store)?;
    cut(&store, cut_to(before))?;
    let end = gone_on(before);
    let recorder = inline(store);
    declare(&recorder)?;
    for step in cut_to(before)..end {
        record_one(&recorder, step)?;
    }
    recorder.flush()?;
    report("flushed", end);
    recorder.close()?;
    report("settled", end);
    Ok(end)
}

/// How many steps there are.
fn steps(store: &impl DataStore) -> Result<u64> {
    let view = store.view(&Key::new("n")?)?;
    Ok(view.map_or(0, |view| view.len()))
}

/// Checks the values that are set while so many steps are recorded and committed.
fn check_values(recorder: &Recorder, steps: u64) {
    let last = (0..steps).rfind(|step| step % 8 == 7);
    assert_eq!(recorder.get_as::<u64>("last").unwrap(), last, "{steps}");
    for step in (0..STEPS).step_by(10) {
        let parameter = recorder.get_as(format!("parameters/{step}")).unwrap();
        assert_eq!(parameter, (step < steps).then_some(step), "{steps}");
    }
}

/// Checks that the series that is renamed and then removed is at one key, whole, or gone.
fn check_trial(recorder: &Recorder, steps: u64) {
    let places = ["trial/0", "moved/0"].map(|key| {
        recorder.kind_of(key).unwrap().map(|_| {
            let found = recorder.get_all(key).unwrap().read::<u32>().unwrap();
            let is_whole = |(number, row): (usize, ArrayViewD<'_, u32>)| {
                row.iter().copied().eq(field(number as u64))
            };
            assert_eq!(
                found.len(),
                TRIAL as usize * FIELD,
                "'{key}' after {steps} steps"
            );
            assert!(found.outer_iter().enumerate().all(is_whole), "'{key}'");
        })
    });
    let expected: &[_] = match steps {
        RENAMED_AT => &[[true, false], [false, true]],
        REMOVED_AT => &[[false, true], [false, false]],
        steps if (RENAMED_AT..REMOVED_AT).contains(&steps) => &[[false, true]],
        _ => &[[false, false]],
    };
    let found = places.map(|place| place.is_some());
    assert!(expected.contains(&found), "{found:?} after {steps} steps");
}

/// Checks that all series are true prefixes of one length, and returns it; 0 if nothing was
/// committed yet.
fn check_series(recorder: &Recorder) -> u64 {
    if recorder.keys().unwrap().is_empty() {
        return 0;
    }
    let mut lengths = check_prefixes(recorder);
    let frames = recorder.get_all("frames").unwrap();
    for (step, frame) in frames.read::<f32>().unwrap().outer_iter().enumerate() {
        assert!(frame.iter().all(|&x| x == step as f32));
    }
    let fields = recorder.get_all("field").unwrap();
    for (step, record) in fields.read::<u32>().unwrap().outer_iter().enumerate() {
        assert!(record.iter().copied().eq(field(step as u64)));
    }
    let outgrown = recorder.get_all("outgrown").unwrap();
    for (step, record) in outgrown.read::<u32>().unwrap().outer_iter().enumerate() {
        assert!(record.iter().eq(&field(step as u64)[..OUTGROWN]));
    }
    lengths.extend([frames.len(), fields.len(), outgrown.len()]);
    let length = frames.len();
    assert!(
        lengths.iter().all(|&other| other == length),
        "a part of a commit: {lengths:?}"
    );
    length
}

/// So many elements of a list, evenly spread, the first and the last among them.
fn some<T>(list: &[T], count: usize) -> Vec<&T> {
    match count.min(list.len()) {
        0 => Vec::new(),
        1 => vec![&list[0]],
        count => (0..count)
            .map(|i| &list[i * (list.len() - 1) / (count - 1)])
            .collect(),
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &copy),
            false => drop(fs::copy(entry.path(), copy).unwrap()),
        }
    }
}
