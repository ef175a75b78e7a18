//! Barriers: points in the queue of a store that a caller can wait for.

use std::time::Instant;

use super::sync::{Condvar, Mutex};
use crate::error::Result;
use crate::model::key::Key;

/// What a store does once it has committed every change before the barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    Flush,
    Remove(Key),
    Rename {
        from: Key,
        to: Key,
    },
    Checkpoint,
    /// A regular checkpoint, which is left out while another program has the store open.
    TimedCheckpoint,
    Close,
}

/// A point in the queue of a store. It tells when the store has reached it.
#[derive(Debug)]
pub(crate) struct Barrier {
    pub(super) kind: BarrierKind,
    result: Mutex<Option<Result<()>>>,
    changed: Condvar,
}

impl Barrier {
    pub(super) fn new(kind: BarrierKind) -> Self {
        Self {
            kind,
            result: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Wakes all threads that wait for it.
    pub(super) fn complete(&self, result: Result<()>) {
        *self.result.lock() = Some(result);
        self.changed.notify_all();
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.result.lock().is_some()
    }

    /// The result, if the store has reached the barrier.
    pub(crate) fn result(&self) -> Option<Result<()>> {
        self.result.lock().clone()
    }

    /// Waits for the store; `None` if `deadline` passed first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        let mut result = self.result.lock();
        while result.is_none() {
            match deadline {
                Some(deadline) => {
                    if self.changed.wait_until(&mut result, deadline).timed_out() {
                        break;
                    }
                }
                None => self.changed.wait(&mut result),
            }
        }
        result.clone()
    }
}
