//! Forks: which inherited values a child may use, and which it creates again.
//!
//! A fork copies the memory of a process, but only the thread that forks. In the child, a lock of another thread is
//! never released, values that the thread was changing are half changed, and no thread serves a queue. So
//!
//! - values of open recordings are [`ProcessLocal`]: the child gets an error instead, and never drops them;
//! - values that a process has once are [`PerProcess`], which the child creates again, or are changed in
//!   [`uninterrupted()`] work, for which a fork waits;
//! - a file lock is [`NotInherited`], so that it ends with the process that took it.
//!
//! Locks are those of the standard library ([`sync`](super::sync)), which have no list of waiting threads; in a child,
//! such a list would contain threads of the parent.

#![allow(
    unsafe_code,
    reason = "the system calls back at a fork, and values are dropped by hand"
)]

mod descriptors;
mod per_process;
mod threads;
mod uninterrupted;

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};

pub use descriptors::NotInherited;
pub use per_process::PerProcess;
pub use threads::check_threads_start;
pub use uninterrupted::uninterrupted;

use crate::error::{Error, ErrorKind, Result};

/// The number of forks between the first process that used this library and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

#[inline(always)]
fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether this process was forked from one that used this library.
pub fn is_child() -> bool {
    generation() != 0
}

/// A value that only the process that created it may use, with its threads, locks and connections.
///
/// In a forked child, [`get`](Self::get) returns an error, and dropping does nothing, so that the value is leaked.
#[derive(Debug)]
pub struct ProcessLocal<T> {
    generation: u32,
    value: ManuallyDrop<T>,
}

impl<T> ProcessLocal<T> {
    /// Makes a value of this process.
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

    /// Returns the value, for an operation that an error names.
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

    /// Returns the mutable value, for an operation that an error names.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`] in a child.
    pub fn get_mut(&mut self, operation: &'static str) -> Result<&mut T> {
        match self.is_inherited() {
            false => Ok(&mut self.value),
            true => Err(inherited(operation)),
        }
    }

    /// Returns the value even in a child, for parts of it that no thread changes and no lock guards.
    pub fn constants(&self) -> &T {
        &self.value
    }

    /// Makes a value of the same process from constants of this one.
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

/// Makes the error of an operation on a value of a parent process.
#[cold]
pub fn inherited(operation: &'static str) -> Error {
    let message = "this process was forked from the one that opened the recording; open the \
                   recording again in this process, or create the recorder after the fork";
    Error::new(ErrorKind::Forked, operation, message)
}

/// Registers this library with the system for forks.
#[cfg(all(unix, not(miri)))]
fn watch_forks() {
    /// 0 before the handlers are registered, then the process that registers them, then `DONE`.
    static STATE: AtomicU32 = AtomicU32::new(0);
    const DONE: u32 = u32::MAX;

    #[cold]
    fn register() {
        let me = std::process::id();
        loop {
            match STATE.load(Ordering::Acquire) {
                DONE => return,
                // Another thread of this process is registering them.
                other if other == me => std::thread::yield_now(),
                // No thread, or one of the parent that did not complete it.
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
        // The child has one thread, and the handlers of its parent.
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
