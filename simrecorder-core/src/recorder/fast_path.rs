//! The path of nearly every record: into the buffer of a known series.

use std::sync::Arc;

use super::key_cache::KeyCache;
use super::series_buffer::SeriesBuffer;
use super::stop_flag::StopFlag;

/// Takes records that only need to be copied. It takes no lock except that of the series.
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

    /// Pushes a record into the known series of `key`; `false` if the record needs more than that.
    #[inline]
    pub(super) fn push_by_key(&self, key: &str, push: impl FnOnce(&SeriesBuffer) -> bool) -> bool {
        self.keys
            .get(key)
            .is_some_and(|series| self.push(series, push))
    }

    /// Pushes a record into a series; `false` if the record needs more than that.
    #[inline]
    pub(super) fn push(
        &self,
        series: &SeriesBuffer,
        push: impl FnOnce(&SeriesBuffer) -> bool,
    ) -> bool {
        !self.is_stopped() && push(series)
    }
}
