//! The thread that commits and does checkpoints at regular intervals.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backend::fork::check_threads_start;
use crate::backend::sync::{Condvar, Mutex, MutexGuard};

use super::buffers::Buffers;
use super::options::RecorderOptions;
use super::pipeline::{Barrier, BarrierKind, WhenFull};
use super::stores::Stores;
use crate::error::ErrorKind;

/// Commits the records of a recorder at regular intervals, until it is stopped.
#[derive(Debug)]
pub(super) struct CommitTimer {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Commits and does checkpoints without waiting for them.
#[derive(Debug)]
struct BackgroundCommits {
    stores: Arc<Stores>,
    buffers: Arc<Buffers>,
    commits: Schedule,
    checkpoints: Schedule,
    /// The last barriers of each store.
    last: Vec<LastBarriers>,
    /// The series to begin with: the one that found no room the last time, so that every series gets its turn.
    next_series: usize,
}

#[derive(Clone, Debug, Default)]
struct LastBarriers {
    commit: Option<Arc<Barrier>>,
    checkpoint: Option<Arc<Barrier>>,
}

/// A regular interval, if there is one.
#[derive(Debug)]
struct Schedule {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl CommitTimer {
    pub(super) fn start(
        options: &RecorderOptions,
        stores: &Arc<Stores>,
        buffers: &Arc<Buffers>,
    ) -> Self {
        let stopped = Arc::<(Mutex<bool>, Condvar)>::default();
        let commits = BackgroundCommits::new(options, Arc::clone(stores), Arc::clone(buffers));
        let is_needed = stores.is_threaded() && commits.pause().is_some();
        let thread = is_needed.then(|| {
            let stopped = Arc::clone(&stopped);
            let timer = std::thread::Builder::new().name("simrecorder-timer".into());
            check_threads_start().and_then(|()| timer.spawn(move || run(commits, &stopped)))
        });
        let thread = thread.and_then(|thread| {
            if let Err(error) = &thread {
                tracing::error!(%error, "the thread for regular commits could not be started; only flush() commits");
            }
            thread.ok()
        });
        Self {
            stopped,
            thread: Mutex::new(thread),
        }
    }

    /// Ends the thread. Does nothing if it has ended.
    pub(super) fn stop(&self) {
        *self.stopped.0.lock() = true;
        self.stopped.1.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // The thread does not panic.
            drop(thread.join());
        }
    }
}

fn run(mut commits: BackgroundCommits, stopped: &(Mutex<bool>, Condvar)) {
    let mut stop = stopped.0.lock();
    while let Some(pause) = commits.pause() {
        if !*stop {
            stopped.1.wait_for(&mut stop, pause);
        }
        if *stop {
            return;
        }
        MutexGuard::unlocked(&mut stop, || commits.commit());
    }
}

impl Schedule {
    fn new(interval: Option<Duration>) -> Self {
        // A time that overflows never comes.
        let next = interval.and_then(|interval| Instant::now().checked_add(interval));
        Self { interval, next }
    }

    /// Whether the time has come. If so, the next one is an interval later.
    fn is_due(&mut self) -> bool {
        let is_due = self.next.is_some_and(|next| Instant::now() >= next);
        if is_due {
            *self = Self::new(self.interval);
        }
        is_due
    }
}

impl BackgroundCommits {
    fn new(options: &RecorderOptions, stores: Arc<Stores>, buffers: Arc<Buffers>) -> Self {
        let last = vec![LastBarriers::default(); stores.pipelines().len()];
        Self {
            stores,
            buffers,
            commits: Schedule::new(options.commit_interval),
            checkpoints: Schedule::new(options.checkpoint_interval),
            last,
            next_series: 0,
        }
    }

    /// How long to wait for the next time; `None` if there is none.
    fn pause(&self) -> Option<Duration> {
        let times = [self.commits.next, self.checkpoints.next];
        let next = times.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn commit(&mut self) {
        // Continues after a failure that stopped the recorder, so that the other stores get the records.
        if self.stores.is_closed() {
            return;
        }
        let is_checkpoint = self.checkpoints.is_due();
        if !(self.commits.is_due() || is_checkpoint) {
            return;
        }
        let without_room = self.buffers.send_all(WhenFull::Fail, self.next_series);
        self.next_series = without_room.unwrap_or(0);
        for (pipeline, last) in self.stores.pipelines().iter().zip(&mut self.last) {
            if last.wants_checkpoint(is_checkpoint) {
                last.checkpoint = Some(pipeline.send_barrier(BarrierKind::TimedCheckpoint));
            } else if last.commit.as_ref().is_none_or(|it| it.is_complete()) {
                // Sends a slow store no second barrier.
                last.commit = Some(pipeline.send_barrier(BarrierKind::Flush));
            }
        }
    }
}

impl LastBarriers {
    /// Whether a store gets a checkpoint now: because it is time and the last one is done, or because another program
    /// had the store open the last time.
    fn wants_checkpoint(&self, is_due: bool) -> bool {
        match self.checkpoint.as_ref().map(|barrier| barrier.result()) {
            None => is_due,
            Some(None) => false,
            Some(Some(Err(error))) if error.kind() == ErrorKind::Locked => true,
            Some(Some(_)) => is_due,
        }
    }
}
