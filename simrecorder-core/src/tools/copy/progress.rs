//! How far a copy has come, and how it ends early.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::model::key::Key;

/// How far a copy has come: what is committed.
///
/// `Display` gives one line: `net/v: 3 of 12 keys, 12000 of 50000 records, 34.1 MiB`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// The key that was worked on last; the root if there was none.
    pub key: Key,
    /// How many values and series are whole.
    pub key_count: u64,
    /// How many values and series there are to copy.
    pub key_total: u64,
    /// How many records were copied, of all series together.
    pub record_count: u64,
    /// How many records there are to copy.
    pub record_total: u64,
    /// About how many bytes the target was given: encoded ones where chunks go as they are, else
    /// those of the records and values.
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
