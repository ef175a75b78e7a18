//! Copying the sound parts of a damaged recording.

mod plan;
mod sound_store;
mod sound_view;

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::store::data_store::DataStore;
use crate::store::errors;
use crate::tools::copy::{CopyOptions, CopyProgress, copy_selected};
use crate::tools::verify::verify_with;
use plan::Plan;

/// Copies the sound parts of a damaged recording into another store, and reports the rest.
///
/// First, [`verify`](crate::verify()) reads everything. Then the sound parts are [copied](crate::copy), with the same
/// options. [`on_progress`](CopyOptions::on_progress) is also called while `verify` reads, with totals of 0. Damaged
/// records are left out; no value is invented.
///
/// - A damaged value and a key that cannot be read at all are left out, and so are the attributes of a group if they
///   cannot be read, and everything below a group that cannot be listed.
/// - A **series** keeps the records before the first damaged one, with their indices. The sound records after each
///   damaged part are copied to a separate series, whose name ends with `@` and the index of its first record: if
///   records 100 to 199 of 1000 are damaged, `log` has 100 records and `log@200` has 800.
/// - A **timeline** loses each tick at which one of its series is damaged, from all of its series, so that they still
///   have the same length and the coordinate identifies each record. A series without any sound record is left out
///   instead. To keep all ticks of the other series, [exclude](CopyOptions::exclude) the damaged one, and recover it
///   separately.
/// - A timeline whose series have different lengths, or whose coordinate does not increase, becomes a group of
///   free-standing series.
///
/// Ragged rows, text, bytes and objects may lose up to 64 records around a damaged one.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CopyOptions, InMemoryDataStore, Recorder, recover};
///
/// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// let recorder = Recorder::new(from.clone());
/// recorder.record("net/rate", 0.5)?;
/// recorder.close()?;
///
/// let recovered = recover(&from, &to, CopyOptions::new())?;
/// assert!(recovered.is_whole());
/// assert_eq!(recovered.copied.record_count, 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// As for [`copy`](crate::copy()), and [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the source
/// already has a key such as `log@200`.
pub fn recover(
    from: &dyn DataStore,
    to: &dyn DataStore,
    mut options: CopyOptions<'_>,
) -> Result<Recovery> {
    if to.is_read_only() {
        // Checks this before it reads the whole source.
        return Err(errors::read_only("recover"));
    }
    let report = verify_with(from, options.while_verifying())?;
    let Plan {
        store,
        selected,
        left_out,
        moved,
    } = Plan::new(from, &report, options.patterns())?;
    let copied = copy_selected(&store, to, selected, options)?;
    Ok(Recovery {
        copied,
        left_out,
        moved,
    })
}

/// The result of [`recover`].
///
/// `Display` prints a line for each part that was left out or moved, and a line with the totals.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CopyOptions, InMemoryDataStore, Recorder, recover};
///
/// let (from, to) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new(from.clone()).record("net/rate", 0.5)?;
/// let recovery = recover(&from, &to, CopyOptions::new())?;
/// println!("{recovery}");
/// assert!(recovery.is_whole());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// What was copied.
    pub copied: CopyProgress,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// Records that are at another key in the copy.
    pub moved: Vec<MovedRecords>,
}

impl Recovery {
    /// Whether nothing was left out.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }
}

/// A part of a recording that [`recover`] left out. `Display` prints it as one line.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Recovery;
///
/// fn report(recovery: &Recovery) {
///     for part in &recovery.left_out {
///         match &part.records {
///             Some(records) => println!("{}: {} records are lost", part.key, records.end - records.start),
///             None => println!("{} is lost: {}", part.key, part.error),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// The key.
    pub key: Key,
    /// The indices of the records, as for [`View::get`](crate::View#method.get). `None` if the key itself, its value or
    /// its attributes were left out.
    pub records: Option<Range<u64>>,
    /// The reason: the error of reading them, or the series of the timeline that is damaged there.
    pub error: Error,
}

/// Records that [`recover`] copied to another key. `Display` prints it as one line.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Recovery;
///
/// fn report(recovery: &Recovery) {
///     for moved in &recovery.moved {
///         println!("{} now begins with record {} of {}", moved.to, moved.records.start, moved.from);
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedRecords {
    /// The key in the source.
    pub from: Key,
    /// The indices of the records in the source, as for [`View::get`](crate::View#method.get).
    pub records: Range<u64>,
    /// The key in the copy.
    pub to: Key,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.left_out {
            writeln!(f, "{part}")?;
        }
        for moved in &self.moved {
            writeln!(f, "{moved}")?;
        }
        let CopyProgress {
            key_count,
            record_count,
            ..
        } = &self.copied;
        let parts = self.left_out.len();
        write!(
            f,
            "{key_count} keys with {record_count} records copied, {parts} parts left out"
        )
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            records,
            error,
        } = self;
        write!(f, "'{}'", key.as_str().escape_debug())?;
        if let Some(Range { start, end }) = records {
            write!(f, " records {start}..{end}")?;
        }
        write!(f, ": left out: {error}")
    }
}

impl fmt::Display for MovedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, records, to } = self;
        let [from, to] = [from, to].map(|key| key.as_str().escape_debug());
        let Range { start, end } = records;
        write!(f, "'{from}' records {start}..{end}: copied to '{to}'")
    }
}
