//! Calls that wait without the interpreter's lock, and that Ctrl-C ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

/// How often a waiting call checks for Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// How often the end of the interpreter checks for running work.
const EXIT_INTERVAL: Duration = Duration::from_millis(1);

/// The process, and the number of running calls of [`interruptible`] in it, including those for
/// which Python no longer waits. The threads of a parent do not exist in a forked child, so the
/// count of a child begins at 0.
static AT_WORK: AtomicU64 = AtomicU64::new(0);

/// Does `work` on another thread and waits for it. After Ctrl-C, or another signal whose handler
/// raises, the call raises at once and the work continues; [`wait_for_all`] waits for it when the
/// interpreter exits.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let at_work = AtWork::begin();
    // Stored where it can be taken back if no thread can be started for it.
    let work = Arc::new(Mutex::new(Some((work, at_work))));
    let for_thread = Arc::clone(&work);
    let spawned = thread::Builder::new()
        .name("simrecorder-python".to_owned())
        .spawn(move || {
            if let Some((work, at_work)) = take(&for_thread) {
                // When Python no longer waits, the result is not needed.
                let _ = sender.send(work());
                drop(at_work);
            }
        });
    if spawned.is_err()
        && let Some((work, _at_work)) = take(&work)
    {
        return Ok(py.detach(work));
    }
    drop(spawned);
    let receiver = Mutex::new(receiver);
    loop {
        let received = py.detach(|| {
            let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv_timeout(SIGNAL_INTERVAL)
        });
        match received {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                let message = "a thread of simrecorder ended without a result; please report it";
                return Err(pyo3::exceptions::PyRuntimeError::new_err(message));
            }
        }
    }
}

fn take<T>(work: &Mutex<Option<T>>) -> Option<T> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A running call, while this exists.
struct AtWork;

impl AtWork {
    fn begin() -> Self {
        let add = |at_work| Some(of_this_process(at_work) + 1);
        // It never fails, because the closure always returns a new value.
        let _ = AT_WORK.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        Self
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::Release);
    }
}

/// The count and the id of this process. The count begins at 0 in a forked child.
fn of_this_process(at_work: u64) -> u64 {
    let process = u64::from(std::process::id()) << 32;
    match at_work >> 32 == process >> 32 {
        true => at_work,
        false => process,
    }
}

/// Waits for all running calls of this process.
pub(crate) fn wait_for_all() {
    let count = || of_this_process(AT_WORK.load(Ordering::Acquire)) & u64::from(u32::MAX);
    while count() > 0 {
        thread::sleep(EXIT_INTERVAL);
    }
}
