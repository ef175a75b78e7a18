//! Threads of the standard library in a forked child.

use std::io::{Error, Result};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::PerProcess;

/// How long the first thread of a process may take to start, which takes microseconds.
const PATIENCE: Duration = Duration::from_secs(10);

static DO_START: PerProcess<bool> = PerProcess::new(do_start);

/// Checks that threads start in this process, before something waits for one.
///
/// In a program whose `main` function is Rust's, a thread takes a lock of the standard library while it starts and while
/// it ends. A child that is forked at that moment inherits the lock, which is never released, and the threads that it
/// starts wait for it for ever. In other programs, such as Python, threads do not take the lock.
///
/// # Errors
/// In such a child. The first call takes 10 s there.
pub fn check_threads_start() -> Result<()> {
    match DO_START.get() {
        true => Ok(()),
        false => Err(Error::other(
            "this process was forked while a thread of its parent started or ended, so its own threads cannot start; \
             fork again, or before the program starts threads",
        )),
    }
}

fn do_start() -> bool {
    let (sender, started) = sync_channel(1);
    let thread = thread::Builder::new().spawn(move || sender.send(()));
    // If the system starts none, the caller's own thread reports why.
    thread.is_err() || started.recv_timeout(PATIENCE).is_ok()
}
