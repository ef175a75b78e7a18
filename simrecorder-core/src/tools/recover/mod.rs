//! Copying what is sound of a damaged recording.

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

/// Copies all that is sound of a recording into another store, and says what is not.
///
/// First [`verify`](crate::verify()) reads everything, then what it found to be sound is [copied](crate::copy), with the same
/// options. [`on_progress`](CopyOptions::on_progress) is called while it reads, too, with totals of 0. No value
/// is invented: what is damaged is not in the copy.
///
/// - A damaged value, and a key that cannot be read at all, is left out. So are the attributes of a group that
///   cannot be read, and what is below a group that cannot be listed.
/// - A **series** keeps the records before the first damaged one, under its key and with their indices. The
///   sound records after each damaged part go into a series of their own, whose name ends with `@` and the
///   index of its first record: if records 100 to 199 of 1000 are damaged, `log` has 100 records and `log@200`
///   has 800.
/// - A **timeline** loses each tick at which one of its series is damaged, from all of its series, so that
///   these stay equally long and the coordinate says which record is which. A series of which nothing is sound
///   is left out instead. To keep the other series whole,
///   [exclude](CopyOptions::exclude) the damaged one, and recover it alone.
/// - A timeline whose series are out of step, or whose coordinate does not increase, becomes a group of plain
///   series.
///
/// Ragged rows, text, bytes and objects may lose up to 64 records around a damaged one.
///
/// ```
/// use simrecorder_core::{CopyOptions, InMemoryDataStore, Recorder, recover};
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
/// As [`copy`](crate::copy()), and [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if the source
/// has a key such as `log@200` already.
pub fn recover(
    from: &dyn DataStore,
    to: &dyn DataStore,
    mut options: CopyOptions<'_>,
) -> Result<Recovery> {
    if to.is_read_only() {
        // Before all of the source is read.
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

/// What [`recover`] copied, and what it did not.
///
/// `Display` gives a line for each part that was left out or moved, and one that counts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// What was copied.
    pub copied: CopyProgress,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// Which records are under another key.
    pub moved: Vec<MovedRecords>,
}

impl Recovery {
    /// Whether nothing was left out, so that the copy is a whole one.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }
}

/// A part of a recording that [`recover`] left out. `Display` gives it as one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// The key.
    pub key: Key,
    /// The records, counted as [`View::get`](crate::View) counts them. `None` if it is the key itself, its value or
    /// its attributes.
    pub records: Option<Range<u64>>,
    /// Why: what reading them reported, or which series of the timeline is damaged there.
    pub error: Error,
}

/// Records that [`recover`] copied to another key. `Display` gives it as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedRecords {
    /// The key in the source.
    pub from: Key,
    /// The records, counted as [`View::get`](crate::View) counts them.
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
