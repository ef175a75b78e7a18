//! Forks: what a child may use of what it inherits, and what it makes again.
//!
//! A fork copies the memory of a process, and of its threads only the one that forks. In the child,
//! a lock that another thread held is held for ever, what that thread was changing is half changed,
//! and nobody answers a queue. So
//!
//! - what belongs to open recordings is a [`ProcessLocal`], which gives the child an error in its
//!   place, and which the child never drops;
//! - what the process has once is a [`PerProcess`], which the child makes again, or is changed in work
//!   that is [`uninterrupted()`], for which a fork waits;
//! - a file lock is [`NotInherited`], so that it ends with the process that took it.
//!
//! Our locks are those of the standard library ([`sync`](super::sync)), which keep no list of the
//! threads that wait: in one, threads of the parent would remain.

#![allow(
    unsafe_code,
    reason = "the system calls back at a fork, and values are dropped by hand"
)]

mod descriptors;
mod per_process;
mod uninterrupted;

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};

pub use descriptors::NotInherited;
pub use per_process::PerProcess;
pub use uninterrupted::uninterrupted;

use crate::error::{Error, ErrorKind, Result};

/// How many forks lie between the first process that used this library and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

#[inline(always)]
fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether this process was forked from one that used this library.
pub fn is_child() -> bool {
    generation() != 0
}

/// A value that only the process that made it may use, with all its threads, locks and connections.
///
/// In a forked child, [`get`](Self::get) is an error, and dropping does nothing: the value is
/// leaked there.
#[derive(Debug)]
pub struct ProcessLocal<T> {
    generation: u32,
    value: ManuallyDrop<T>,
}

impl<T> ProcessLocal<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        watch_forks();
        Self {
            generation: generation(),
            value: ManuallyDrop::new(value),
        }
    }

    /// Whether the value belongs to a process that this one was forked from.
    #[inline(always)]
    pub fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// The value, for an operation that is named in the error.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`] in a child.
    #[inline(always)]
    pub fn get(&self, operation: &'static str) -> Result<&T> {
        match self.is_inherited() {
            false => Ok(&self.value),
            true => Err(inherited(operation)),
        }
    }

    /// The value to be changed, for an operation that is named in the error.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`] in a child.
    pub fn get_mut(&mut self, operation: &'static str) -> Result<&mut T> {
        match self.is_inherited() {
            false => Ok(&mut self.value),
            true => Err(inherited(operation)),
        }
    }

    /// The value even in a child, for parts of it that no thread changes and no lock guards.
    pub fn constants(&self) -> &T {
        &self.value
    }

    /// A value that belongs to the same process as this one, made of constants of this one.
    pub fn map<U>(&self, make: impl FnOnce(&T) -> U) -> ProcessLocal<U> {
        ProcessLocal {
            generation: self.generation,
            value: ManuallyDrop::new(make(&self.value)),
        }
    }
}

/// A clone belongs to the same process as the original.
impl<T: Clone> Clone for ProcessLocal<T> {
    fn clone(&self) -> Self {
        self.map(T::clone)
    }
}

impl<T> Drop for ProcessLocal<T> {
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: the value is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// The error of an operation on what a parent process opened.
#[cold]
pub fn inherited(operation: &'static str) -> Error {
    let message = "this process was forked from the one that opened the recording; open the \
                   recording again in this process, or create the recorder after the fork";
    Error::new(ErrorKind::Forked, operation, message)
}

/// Has the system tell this library of forks from now on.
#[cfg(all(unix, not(miri)))]
fn watch_forks() {
    /// Nobody has registered the handlers yet; else the process that does so, or `DONE`.
    static STATE: AtomicU32 = AtomicU32::new(0);
    const DONE: u32 = u32::MAX;

    #[cold]
    fn register() {
        let me = std::process::id();
        loop {
            match STATE.load(Ordering::Acquire) {
                DONE => return,
                // Another thread of this process does it now.
                other if other == me => std::thread::yield_now(),
                // Nobody, or a thread of the parent that did not come to it.
                other => {
                    let mine =
                        STATE.compare_exchange(other, me, Ordering::AcqRel, Ordering::Relaxed);
                    if mine.is_ok() {
                        break;
                    }
                }
            }
        }
        // SAFETY: the handlers take no arguments and do not unwind.
        let failed = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if failed != 0 {
            tracing::error!(
                "the system has no memory to register a fork handler; do not fork this process"
            );
        }
        STATE.store(DONE, Ordering::Release);
    }

    extern "C" fn before() {
        uninterrupted::hold();
    }
    extern "C" fn in_parent() {
        uninterrupted::release(|_| {});
    }
    extern "C" fn in_child() {
        // Only one thread is left, and the handlers of its parent were registered.
        STATE.store(DONE, Ordering::Relaxed);
        GENERATION.fetch_add(1, Ordering::Relaxed);
        uninterrupted::release(descriptors::give_up);
    }

    if STATE.load(Ordering::Acquire) != DONE {
        register();
    }
}

/// Other systems have no forks.
#[cfg(not(all(unix, not(miri))))]
fn watch_forks() {}

#[cfg(all(test, feature = "conformance", unix, not(miri)))]
mod tests;
