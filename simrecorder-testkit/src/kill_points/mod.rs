//! A short recording whose writer is struck at each call that changes a file, and so is the program that resumes it. The
//! recording can always be opened and resumed, and contains everything that was flushed and no part of a commit.

mod steps_run;
mod timelines_run;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use simrecorder_core::{
    DataStore, ErrorKind, OpenMode, Recorder, RecorderOptions, Result, StoreState,
};

pub use steps_run::StepsRun;
pub use timelines_run::TimelinesRun;

use crate::damage::Numbers;
use crate::system_calls::{FAILED, Progress, Strike, Traced, act};
use crate::{quick_folder, role};

/// The work of a writer under attack. A position counts what was recorded; printed positions never decrease.
pub trait Run: Copy {
    /// The position at which everything is recorded and closed.
    const END: u64;

    /// Records everything in two parts; closes the recording and opens it again in between.
    fn write<S: DataStore + 'static>(self, open: impl Fn(OpenMode) -> Result<S>) -> Result<()>;

    /// The same with an additional in-memory store, which must get everything in any case.
    fn write_beside<S: DataStore + 'static>(
        self,
        open: impl Fn(OpenMode) -> Result<S>,
    ) -> Result<()>;

    /// Resumes a recording: rewinds a step, records some more, and closes it. Returns the position.
    fn resume<S: DataStore + 'static>(self, store: S, report: fn(&str, u64)) -> Result<u64>;

    /// Checks everything in a recording; returns its position.
    fn check(self, recorder: &Recorder, known: Known) -> u64;

    /// The possible positions if `flushed` was reported last.
    fn commits(self, flushed: u64) -> Vec<u64>;

    /// The position to which [`resume`](Self::resume) rewinds.
    fn cut_to(self, position: u64) -> u64;

    /// The position at which [`resume`](Self::resume) ends.
    fn resumed(self, position: u64) -> u64;

    /// The possible positions if [`resume`](Self::resume) does not complete.
    fn resuming(self, position: u64) -> Vec<u64>;
}

/// What is known about a recording to be checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The position that its writer reported as flushed.
    pub flushed: u64,
    /// The position of the writer when it was struck, if another one has resumed the recording since.
    pub written: Option<u64>,
    /// Whether it was closed.
    pub is_closed: bool,
}

/// The moment at which a recording is inspected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// As the writer left it.
    Struck,
    /// As the writer left it, with a commit that it had not reported yet.
    Unreported,
    /// After it was opened, read and dropped.
    Read,
    /// After it was resumed and closed, at this position.
    Closed(u64),
}

/// What [`Attack::strike`] did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// The number of calls of the undisturbed run that change a file.
    pub calls: usize,
    /// The number of writers that were struck at one of them.
    pub strikes: usize,
    /// The number of readers and writers that opened a recording of these, and were struck too.
    pub recoveries: usize,
    /// The number of those that found a part of a commit.
    pub torn: usize,
}

/// A store under attack.
#[derive(Debug)]
pub struct Attack<'a, R, O, L> {
    /// The work that is recorded.
    pub run: R,
    /// The test that calls this, which is run again as the writer.
    pub test: &'a str,
    /// The name of the file or folder of the recording.
    pub file: &'a str,
    /// Opens a store.
    pub open: O,
    /// Inspects the recording. At [`Moment::Struck`] it returns whether recovery is worth an attack, at
    /// [`Moment::Unreported`] whether it removed a part of the commit, as if the writer had been struck while it wrote the
    /// commit.
    pub look: L,
}

impl<'a, R, S, O, L> Attack<'a, R, O, L>
where
    R: Run,
    S: DataStore + 'static,
    O: Fn(&Path, OpenMode) -> Result<S>,
    L: FnMut(&Path, Moment, Progress) -> bool,
{
    /// Strikes a writer at its calls, one after the other, and then some of the programs that continue its recordings. At all
    /// calls if `SIMRECORDER_KILL_POINTS` is `all`, otherwise at `sample` of them.
    ///
    /// Returns `None` in the process that is the writer.
    pub fn strike(mut self, strike: Strike, sample: usize) -> Option<Figures> {
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
                    // Files that it was removing may remain.
                    || progress.settled == R::END,
                "{point:?} {progress:?}: a failure came out nowhere"
            );
            let kept = folder.path().join(format!("kept_{number}"));
            copy_all(&place, &kept);
            let is_worth_it = (self.look)(&path, Moment::Struck, progress);
            let found = self.check_struck(&path, progress, point);
            fs::remove_dir_all(place).unwrap();
            if progress.flushed > 0 && is_worth_it {
                recoverable.push((kept, progress));
            } else if progress.flushed > 0
                && found > progress.flushed
                && (self.look)(&kept.join(self.file), Moment::Unreported, progress)
                // Otherwise it was already moved to its place.
                && self.position(&kept.join(self.file)) == progress.flushed
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

    /// Simulates power failures at calls of a writer: at all if `SIMRECORDER_KILL_POINTS` is `all`, otherwise at `sample` of
    /// them. Each is simulated three times, with nothing, a part or all of the unsynced data left. Returns the number of
    /// failures, and `None` in the process that is the writer.
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
                // A recording that is being created may be damaged.
                if progress.flushed > 0 || (self.open)(&path, OpenMode::OpenOrCreate).is_ok() {
                    self.check_struck(&path, progress, &(at, percent));
                }
                fs::remove_dir_all(&remains).unwrap();
                failures += 1;
            }
        }
        Some(failures)
    }

    fn position(&self, path: &Path) -> u64 {
        let recorder = Recorder::new((self.open)(path, OpenMode::Read).unwrap());
        self.run.check(&recorder, Known::default())
    }

    fn traced(&self, act: &'static str) -> Traced<'a> {
        Traced {
            test: self.test,
            act,
        }
    }

    /// Strikes programs that open copies of the `kept` recordings; returns how often.
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
        let position = self.position(&path);
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
            let commits = match role {
                _ if progress.flushed > 0 => vec![self.run.resumed(position)],
                "append" => self.run.resuming(position),
                _ => vec![position],
            };
            progress.flushed = progress.flushed.max(before.flushed);
            // The resuming program rewinds a step first.
            let settled = match role {
                "append" => before.settled.min(self.run.cut_to(position)),
                _ => before.settled,
            };
            progress.settled = progress.settled.max(settled);
            (self.look)(&path, Moment::Struck, progress);
            let known = Known {
                written: Some(position),
                ..Known::default()
            };
            self.check(&path, progress, &commits, known, point);
            fs::remove_dir_all(&place).unwrap();
        }
        strikes
    }

    /// The work of the process that is struck.
    fn act(&self, path: &Path) {
        let open = |mode| (self.open)(path, mode);
        let result = match act().as_str() {
            "write" => self.run.write(open),
            "write beside" => self.run.write_beside(open),
            "read" => open(OpenMode::Read).map(|store| {
                Recorder::new(store).keys().unwrap();
            }),
            _ => open(OpenMode::OpenOrCreate).and_then(|store| {
                let report = |what: &str, position| println!("{what} {position}");
                self.run.resume(store, report).map(drop)
            }),
        };
        if let Err(error) = result {
            println!("{FAILED}{error:?}");
        }
    }

    /// [`check`](Self::check) of the recording of a writer that was struck.
    fn check_struck(&mut self, path: &Path, progress: Progress, point: &dyn Debug) -> u64 {
        let known = Known {
            flushed: progress.flushed,
            ..Known::default()
        };
        let commits = self.run.commits(progress.flushed);
        self.check(path, progress, &commits, known, point)
    }

    /// Opens a recording, which must be as of one of these `commits`, named by their positions; resumes and closes it. Returns
    /// the position that it found.
    fn check(
        &mut self,
        path: &Path,
        progress: Progress,
        commits: &[u64],
        known: Known,
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
                found = self.run.check(&Recorder::new(store), known);
                assert!(
                    commits.contains(&found),
                    "{point:?} {progress:?}: {found} steps, none of {commits:?}"
                );
            }
        }
        (self.look)(path, Moment::Read, progress);
        let store = (self.open)(path, OpenMode::OpenOrCreate).unwrap();
        let end = self.run.resume(store, |_, _| ()).unwrap();
        assert_eq!(end, self.run.resumed(found));
        (self.look)(path, Moment::Closed(end), progress);
        let recorder = Recorder::new((self.open)(path, OpenMode::Read).unwrap());
        let closed = Known {
            flushed: 0,
            written: known.written.or(Some(found)),
            is_closed: true,
        };
        let closed = self.run.check(&recorder, closed);
        assert_eq!(closed, end, "{point:?} {progress:?}");
        found
    }
}

/// Whether all calls are struck, not a sample of them.
fn takes_all() -> bool {
    std::env::var("SIMRECORDER_KILL_POINTS").is_ok_and(|points| points == "all")
}

/// All work in this thread, so that calls are in the same order each time.
fn inline() -> RecorderOptions {
    RecorderOptions::new().inline(true)
}

/// Prints the position of the first store, unless it has failed.
fn report(recorder: &Recorder, what: &str, position: u64) {
    if let StoreState::Healthy = recorder.status().stores[0].state {
        println!("{what} {position}");
    }
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
