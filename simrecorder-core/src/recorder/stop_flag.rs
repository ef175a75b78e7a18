//! The flag that stops a recorder.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The one flag that every `record` checks: the recorder was closed, or stopped because stores failed.
#[derive(Debug)]
pub(super) struct StopFlag {
    is_set: AtomicBool,
    failures_left: AtomicUsize,
}

impl StopFlag {
    /// A flag that is set after this many failures of stores.
    pub(super) fn new(failures: usize) -> Self {
        Self {
            is_set: AtomicBool::new(false),
            failures_left: AtomicUsize::new(failures),
        }
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
    }

    /// Counts a store that failed; `true` if the recorder stops.
    pub(super) fn count_failure(&self) -> bool {
        let stops = self.failures_left.fetch_sub(1, Ordering::AcqRel) <= 1;
        if stops {
            self.set();
        }
        stops
    }
}
