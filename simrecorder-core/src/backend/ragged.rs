//! Ragged records that are kept as two columns: where each record ends, in items, and the items.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::memory::zeroed;
use crate::error::{Error, ErrorKind, Result};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::Region;
use crate::store::array_view::ArrayView;

/// How many records a range has, which must lie within a view of the shape `shape`.
///
/// # Errors
/// [`ErrorKind::OutOfBounds`].
pub fn count_records(range: &Range<u64>, shape: &[u64]) -> Result<u64> {
    let count = range.end.saturating_sub(range.start);
    let records = shape.get(..1).unwrap_or_default();
    Region::records(range.clone(), records).check(
        records,
        1,
        usize::try_from(count).unwrap_or(usize::MAX),
    )?;
    Ok(count)
}

/// Reads where the records of `range` end, in items, and the index of the first item.
///
/// `read_ends` reads rows of the column with the ends, which are `u64` in little-endian order;
/// `items` is how many items there are.
///
/// # Errors
/// What `read_ends` returns; [`ErrorKind::Corrupt`] if the ends do not rise up to `items`.
pub fn read_record_ends(
    range: Range<u64>,
    items: u64,
    read_ends: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
) -> Result<(u64, Vec<u64>)> {
    let before = range.start.saturating_sub(1);
    let data = read_ends(before..range.end)?;
    let record_ends = data.as_chunks().0.iter();
    let mut record_ends: Vec<u64> = record_ends
        .map(|bytes| u64::from_le_bytes(*bytes))
        .collect();
    let first = match range.start {
        0 => 0,
        _ if record_ends.is_empty() => 0,
        _ => record_ends.remove(0),
    };
    let sound = first <= record_ends.first().copied().unwrap_or(first)
        && record_ends.is_sorted()
        && record_ends.last().is_none_or(|&last| last <= items);
    match sound {
        true => Ok((first, record_ends)),
        false => {
            let message = "the ends of the records do not increase";
            Err(Error::new(ErrorKind::Corrupt, "read", message))
        }
    }
}

/// Reads the records of `range`, which is not empty, or those from its start on that take
/// `max_bytes`; at least one.
///
/// # Errors
/// As [`read_record_ends`], and what `read_items` returns, which reads rows of the column with the items.
pub fn read_ragged(
    schema: &Arc<Schema>,
    range: Range<u64>,
    max_bytes: usize,
    items: u64,
    read_ends: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
    read_items: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
) -> Result<Records> {
    let item_bytes = schema.record_bytes().unwrap_or(1).max(1) as u64;
    // Ends for as many records as fit if each had one item.
    let most = (max_bytes as u64 / item_bytes).clamp(1, 1 << 20);
    let end = range.end.min(range.start.saturating_add(most));
    let (first, mut record_ends) = read_record_ends(range.start..end, items, read_ends)?;
    let fits = |end: &u64| (end - first).saturating_mul(item_bytes) <= max_bytes as u64;
    record_ends.truncate(record_ends.partition_point(fits).max(1));
    let last = record_ends.last().copied().unwrap_or(first);
    let data = read_items(first..last)?;
    let ends = record_ends
        .into_iter()
        .map(|end| (end - first) * item_bytes);
    Records::variable(Arc::clone(schema), ends.collect(), data)
}

/// Reads records of one size through [`read_into`](ArrayView::read_into), from the start of `range`
/// on, which lies within the view: at least one if it is not empty, and no more than `max_bytes` hold.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is no memory for them, and those of the view.
pub fn read_fixed(
    view: &(impl ArrayView + ?Sized),
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Records> {
    let schema = view.schema();
    let size = schema.record_bytes().unwrap_or(usize::MAX);
    let fitting = (max_bytes / size.max(1)).max(1) as u64;
    let count = fitting.min(range.end.saturating_sub(range.start));
    let mut data = zeroed(size.saturating_mul(count as usize))?;
    let range = range.start..range.start + count;
    view.read_into(&Region::records(range, view.shape()), &mut data)?;
    Records::fixed(Arc::clone(schema), count, data)
}
