//! The flag that stops a recorder.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The one flag that every `record` looks at: the recorder was closed, or so many stores failed
/// that it stops.
#[derive(Debug)]
pub(crate) struct Stop {
    flag: AtomicBool,
    failures_left: AtomicUsize,
}

impl Stop {
    pub(super) fn new(failures: usize) -> Self {
        Self {
            flag: AtomicBool::new(false),
            failures_left: AtomicUsize::new(failures),
        }
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Counts a store that failed; `true` if the recorder stops.
    pub(crate) fn count_failure(&self) -> bool {
        let stops = self.failures_left.fetch_sub(1, Ordering::AcqRel) <= 1;
        if stops {
            self.set();
        }
        stops
    }
}
