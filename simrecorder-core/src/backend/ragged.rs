//! Ragged records as two columns: the end of each record, in items, and the items.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::memory::zeroed;
use crate::error::{Error, ErrorKind, Result};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::Region;
use crate::store::array_view::ArrayView;

/// Returns the number of records in a range, which must be within a view of the shape `shape`.
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

/// Reads the ends of the records of `range`, in items, and the index of the first item.
///
/// `read_ends` reads rows of the column with the ends, which are `u64` in little-endian order;
/// `items` is the number of items.
///
/// # Errors
/// Those of `read_ends`; [`ErrorKind::Corrupt`] if the ends decrease or exceed `items`.
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

/// Reads the records of `range`, which is not empty, or the first ones up to `max_bytes`; at least one. `read_items` reads
/// rows of the column with the items.
///
/// # Errors
/// As for [`read_record_ends`], and those of `read_items`.
pub fn read_ragged(
    schema: &Arc<Schema>,
    range: Range<u64>,
    max_bytes: usize,
    items: u64,
    read_ends: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
    read_items: impl FnOnce(Range<u64>) -> Result<Vec<u8>>,
) -> Result<Records> {
    let item_bytes = schema.record_bytes().unwrap_or(1).max(1) as u64;
    // As many ends as there can be records if each has one item.
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

/// Reads records of a fixed size with [`read_into`](ArrayView::read_into), from the start of `range`, which is within the
/// view, up to `max_bytes`; at least one if the range is not empty.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if there is not enough memory, and those of the view.
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
