//! Forked children of a test program.

#![allow(unsafe_code, reason = "forks and signals have no safe form")]

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::backend::fork::check_threads_start;

/// How long a child may take. It is far more than any child needs, so a child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child of this process, forked while other threads run.
///
/// It is killed when this is dropped.
#[derive(Debug)]
pub struct ForkedChild {
    process: libc::pid_t,
    /// Its error output; open while it runs.
    output: PipeReader,
    has_ended: bool,
}

/// How a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once, as after `_exit`.
    AtOnce,
    /// Like a program: with everything that was registered for the end of the process.
    Normal,
}

impl ForkedChild {
    /// Forks, and does `work` in the child, which then ends.
    ///
    /// A child in which threads of the standard library do not start is replaced by another, so `work` may start some.
    ///
    /// # Panics
    /// If the system forks no process.
    pub fn start(ending: Ending, work: impl FnOnce()) -> Self {
        let mut work = Some(work);
        loop {
            let mut child = Self::start_once(ending, |output| {
                if check_threads_start().is_ok() {
                    output.write_all(&[0]).unwrap();
                    work.take().unwrap()();
                }
            });
            if child.output.read_exact(&mut [0]).is_ok() {
                return child;
            }
        }
    }

    /// Forks, and does `work` in the child, whatever the threads of this process do; see [`start`](Self::start).
    pub(crate) fn start_once(ending: Ending, work: impl FnOnce(&mut PipeWriter)) -> Self {
        let (output, mut input) = pipe().unwrap();
        // SAFETY: the child does only what this library supports in a child, and ends here.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                // Ends a child that hangs after its parent has gone.
                // SAFETY: it changes nothing else.
                unsafe { libc::alarm(2 * PATIENCE.as_secs() as libc::c_uint) };
                let code = match catch_unwind(AssertUnwindSafe(|| work(&mut input))) {
                    Ok(()) => 0,
                    Err(panic) => {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                        let _ = input.write_all(text.unwrap_or("it panicked").as_bytes());
                        1
                    }
                };
                match ending {
                    // SAFETY: nothing in this process is used afterwards.
                    Ending::AtOnce => unsafe { libc::_exit(code) },
                    // SAFETY: it runs what is registered for the end of the process, as C programs and
                    // Python do. `std::process::exit` would first take a lock of the standard library,
                    // which is never released if another thread started or ended during the fork.
                    Ending::Normal => unsafe { libc::exit(code) },
                }
            }
            process => Self {
                process,
                output,
                has_ended: false,
            },
        }
    }

    /// Waits until the child has succeeded.
    ///
    /// # Panics
    /// If it fails or hangs.
    pub fn finish(mut self) {
        let start = Instant::now();
        let mut text = String::new();
        let mut poll = libc::pollfd {
            fd: self.output.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let patience = i32::try_from(PATIENCE.as_millis()).unwrap();
        // SAFETY: one structure, which outlives the call.
        if unsafe { libc::poll(&raw mut poll, 1, patience) } <= 0 {
            panic!(
                "the child hangs: it has not ended after {:?}",
                start.elapsed()
            );
        }
        self.output.read_to_string(&mut text).unwrap();
        let status = self.wait();
        assert!(status == 0, "the child failed (status {status:#x}): {text}");
    }

    /// Kills the child, and waits until it has ended.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.has_ended {
            // SAFETY: the child was not waited for, so the number is still its own.
            unsafe { libc::kill(self.process, libc::SIGKILL) };
            self.wait();
        }
    }

    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: there is room for the status.
        let waited = unsafe { libc::waitpid(self.process, &raw mut status, 0) };
        assert_eq!(waited, self.process, "{}", std::io::Error::last_os_error());
        self.has_ended = true;
        status
    }
}

impl Drop for ForkedChild {
    fn drop(&mut self) {
        self.end();
    }
}
