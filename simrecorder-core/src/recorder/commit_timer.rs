//! The thread that commits at regular times.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::buffers::Buffers;
use super::pipeline::{Barrier, BarrierKind, WhenFull};
use super::stores::Stores;

/// Commits what a recorder holds at every interval, until it is stopped.
#[derive(Debug)]
pub(super) struct CommitTimer {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Commits without waiting for them.
#[derive(Debug)]
struct BackgroundCommits {
    stores: Arc<Stores>,
    buffers: Arc<Buffers>,
    /// The last barrier of each store.
    last: Vec<Option<Arc<Barrier>>>,
    /// The series to begin with: the one that found no room, so that not always the same ones find
    /// none.
    next_series: usize,
}

impl CommitTimer {
    pub(super) fn start(
        interval: Option<Duration>,
        stores: &Arc<Stores>,
        buffers: &Arc<Buffers>,
    ) -> Self {
        let stopped = Arc::<(Mutex<bool>, Condvar)>::default();
        let interval = interval.filter(|_| stores.is_threaded());
        let thread = interval.and_then(|interval| {
            let commits = BackgroundCommits::new(Arc::clone(stores), Arc::clone(buffers));
            let stopped = Arc::clone(&stopped);
            let timer = std::thread::Builder::new().name("simrecorder-timer".into());
            let thread = timer.spawn(move || run(commits, &stopped, interval));
            if let Err(error) = &thread {
                tracing::error!(%error, "no thread for timed commits; only flush() will commit");
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
            // It only calls code of this crate that does not panic.
            drop(thread.join());
        }
    }
}

fn run(mut commits: BackgroundCommits, stopped: &(Mutex<bool>, Condvar), interval: Duration) {
    let mut stop = stopped.0.lock();
    while !*stop {
        stopped.1.wait_for(&mut stop, interval);
        if *stop {
            return;
        }
        MutexGuard::unlocked(&mut stop, || commits.commit());
    }
}

impl BackgroundCommits {
    fn new(stores: Arc<Stores>, buffers: Arc<Buffers>) -> Self {
        let last = vec![None; stores.pipelines().len()];
        Self {
            stores,
            buffers,
            last,
            next_series: 0,
        }
    }

    fn commit(&mut self) {
        // Also after a failure that stopped the recorder: other stores get what was recorded.
        if self.stores.is_closed() {
            return;
        }
        let without_room = self.buffers.send_all(WhenFull::Fail, self.next_series);
        self.next_series = without_room.unwrap_or(0);
        for (pipeline, last) in self.stores.pipelines().iter().zip(&mut self.last) {
            // A store that is behind does not get another barrier.
            if last.as_ref().is_none_or(|barrier| barrier.is_complete()) {
                *last = Some(pipeline.send_barrier(BarrierKind::Flush));
            }
        }
    }
}
