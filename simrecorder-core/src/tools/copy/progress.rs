//! The progress of a copy.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::model::key::Key;

/// The progress of a copy: what the target has committed. [`copy`](crate::copy()) returns the last one.
///
/// `Display` prints one line: `net/v: 3 of 12 keys, 12000 of 50000 records, 34.1 MiB`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::ops::ControlFlow;
///
/// use simrecorder::{CopyOptions, CopyProgress};
///
/// let options = CopyOptions::new().on_progress(|progress: &CopyProgress| {
///     eprint!("\r{} of {} records", progress.record_count, progress.record_total);
///     ControlFlow::Continue(())
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// The key that was copied last; the root if there was none.
    pub key: Key,
    /// The number of complete values and series.
    pub key_count: u64,
    /// The number of values and series to copy.
    pub key_total: u64,
    /// The number of copied records of all series.
    pub record_count: u64,
    /// The number of records to copy.
    pub record_total: u64,
    /// About how many bytes were passed to the target: those of encoded chunks, or those of records and values.
    pub bytes: u64,
}

impl fmt::Display for CopyProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of {} keys, {} of {} records, {:.1} MiB",
            self.key,
            self.key_count,
            self.key_total,
            self.record_count,
            self.record_total,
            self.bytes as f64 / (1 << 20) as f64
        )
    }
}

pub(super) fn cancelled() -> Error {
    let message = "the copy was stopped before it was complete; delete the partial copy";
    Error::new(ErrorKind::Cancelled, "copy", message)
}

pub(super) fn no_thread(error: std::io::Error) -> Error {
    let message = "the system could not start a thread for the copy";
    Error::new(ErrorKind::Io, "copy", message).with_source(error)
}
