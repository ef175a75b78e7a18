//! The path of nearly every record: into the buffer of a series that is known.

use std::sync::Arc;

use super::key_cache::KeyCache;
use super::series_buffer::SeriesBuffer;
use super::stop_flag::StopFlag;

/// Takes records where that is a matter of copying them. It takes no lock except that of the series.
#[derive(Debug)]
pub(super) struct FastPath {
    stop: Arc<StopFlag>,
    keys: Arc<KeyCache>,
}

impl FastPath {
    pub(super) fn new(stop: Arc<StopFlag>, keys: Arc<KeyCache>) -> Self {
        Self { stop, keys }
    }

    /// Whether records are refused.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Pushes a record into the series that `key` is known to lead to; `false` if anything else is
    /// to be done.
    #[inline]
    pub(super) fn push_by_key(&self, key: &str, push: impl FnOnce(&SeriesBuffer) -> bool) -> bool {
        self.keys
            .get(key)
            .is_some_and(|series| self.push(series, push))
    }

    /// Pushes a record into a series; `false` if anything else is to be done.
    #[inline]
    pub(super) fn push(
        &self,
        series: &SeriesBuffer,
        push: impl FnOnce(&SeriesBuffer) -> bool,
    ) -> bool {
        !self.is_stopped() && push(series)
    }
}
