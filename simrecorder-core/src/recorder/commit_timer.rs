//! The thread that commits at regular times.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::committing::TimedCommits;
use super::inner::Inner;

/// Commits what a recorder holds at every interval, until it is stopped.
#[derive(Debug)]
pub(crate) struct CommitTimer {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl CommitTimer {
    pub(crate) fn start(inner: &Arc<Inner>) -> Self {
        let stopped = Arc::<(Mutex<bool>, Condvar)>::default();
        let interval = inner
            .options
            .commit_interval
            .filter(|_| inner.has_threads());
        let thread = interval.and_then(|interval| {
            let (weak, stopped) = (Arc::downgrade(inner), Arc::clone(&stopped));
            let timer = std::thread::Builder::new().name("simrecorder-timer".into());
            let thread = timer.spawn(move || run(&weak, &stopped, interval));
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
    pub(crate) fn stop(&self) {
        *self.stopped.0.lock() = true;
        self.stopped.1.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // It only calls code of this crate that does not panic.
            drop(thread.join());
        }
    }
}

fn run(inner: &Weak<Inner>, stopped: &(Mutex<bool>, Condvar), interval: Duration) {
    let mut timed = TimedCommits::default();
    let mut stop = stopped.0.lock();
    while !*stop {
        stopped.1.wait_for(&mut stop, interval);
        if *stop {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        parking_lot::MutexGuard::unlocked(&mut stop, || inner.commit_in_background(&mut timed));
    }
}
