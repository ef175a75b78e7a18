//! Reads series in blocks of records.

use std::ops::Range;

use simrecorder::backend::Records;
use simrecorder::{ArrayView, Error, View};

use crate::progress::Progress;

/// The approximate number of bytes that are read at once.
pub(crate) const BLOCK_BYTES: usize = 8 << 20;

/// The number of records of variable size that are read at once.
const VARIABLE_RECORDS: u64 = 1 << 16;

/// Visits all records of a view, in order, within bounded memory.
pub(crate) fn for_each_block(
    view: &View,
    mut visit: impl FnMut(Range<u64>, &Records) -> Result<(), Error>,
) -> Result<(), Error> {
    let record = view.schema().record_bytes().unwrap_or(usize::MAX).max(1);
    let fitting = match view.kind().is_fixed() {
        true => (BLOCK_BYTES / record).max(1) as u64,
        false => VARIABLE_RECORDS,
    };
    let progress = Progress::new();
    let mut next = 0;
    while next < view.len() {
        let end = view.len().min(next + fitting);
        let records = view.read_records(next..end, BLOCK_BYTES)?;
        let read = next..next + records.len().max(1);
        visit(read.clone(), &records)?;
        next = read.end;
        progress.show_records(next, view.len());
    }
    Ok(())
}
