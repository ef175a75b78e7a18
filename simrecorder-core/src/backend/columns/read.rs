//! Reading rows of a column: the older ones from chunks, the newest from the tail.

use std::ops::Range;

use crate::backend::columns::source::ColumnSource;
use crate::backend::memory::zeroed;
use crate::backend::rows::{RowSize, Rows};
use crate::error::Result;
use crate::reading::region_copy::{Block, copy_block};
use crate::reading::selection::Region;
use crate::store::errors::shortened;

/// Reads `region`, which is within the shape of the column, into `out`, which has its size.
pub(super) fn read_region<S: ColumnSource>(
    source: &S,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    let column = source.column();
    let size = column.layout().element_size();
    // Reads the part in chunks if `stored` rows are in chunks; returns the rest.
    let read_stored = |region: &Region, stored, out| {
        let (old, new) = region.split_at_record(stored);
        let (old_out, new_out) = <[u8]>::split_at_mut(out, old.len().unwrap_or(0) * size);
        if !old.is_empty() && !old_out.is_empty() {
            source.read_elements(&old, old_out)?;
        }
        Ok((new, new_out))
    };
    let (new, out) = read_stored(region, column.stored, out)?;
    if new.is_empty() || out.is_empty() {
        return Ok(());
    }
    let (stored, tail) = source.read_tail()?;
    let (new, out) = read_stored(&new, stored, out)?;
    let mut origin = vec![0; new.axes().len()];
    let (Some(rows), Some(first)) = (new.axes().first(), origin.first_mut()) else {
        return Ok(());
    };
    if rows.count > 0 && rows.bounds().end > stored.saturating_add(tail.count) {
        return Err(shortened());
    }
    *first = stored;
    let block = Block {
        data: &tail.data,
        origin: &origin,
        shape: &column.layout().shape(tail.count),
    };
    copy_block(block, &new, out, size)
}

/// Reads the rows of `range` of a column with elements.
pub fn read_rows<S: ColumnSource>(source: &S, range: Range<u64>) -> Result<Vec<u8>> {
    let column = source.column();
    let region = Region::records(range, &column.layout().shape(column.len));
    let size = column.layout().element_size();
    let bytes = region.len().and_then(|len| len.checked_mul(size));
    let mut data = zeroed(bytes.unwrap_or(usize::MAX))?;
    read_region(source, &region, &mut data)?;
    Ok(data)
}

/// Reads rows of variable length from the start of `range` on: at least one, up to about `max_bytes`.
pub(super) fn read_variable<S: ColumnSource>(
    source: &S,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut stored = source.column().stored;
    let mut tail: Option<Rows> = None;
    let mut next = range.start;
    while next < range.end && (rows.count == 0 || rows.bytes() < max_bytes) {
        let read;
        let (first, some, end) = match &tail {
            Some(tail) if next >= stored => (stored, tail, range.end),
            None if next >= stored => {
                // The row may have moved to a chunk.
                let (now_stored, now) = source.read_tail()?;
                stored = now_stored;
                tail = Some(now);
                continue;
            }
            _ => {
                let end = range.end.min(stored);
                let left = max_bytes.saturating_sub(rows.bytes());
                read = source.read_variable(next..end, left)?;
                (read.0, &read.1, end)
            }
        };
        let end = end.min(first.saturating_add(some.count));
        if end <= next {
            return Err(shortened());
        }
        let some = some.as_rows_ref();
        rows.extend_from(some.slice(next - first, end - first, RowSize::Variable));
        next = end;
    }
    Ok(rows)
}

/// Reads the rows of `range` of any column.
pub(super) fn read_all<S: ColumnSource>(source: &S, range: Range<u64>) -> Result<Rows> {
    match source.column().layout().row_size() {
        RowSize::Variable => read_variable(source, range, usize::MAX),
        RowSize::Fixed(_) => Ok(Rows {
            count: range.end.saturating_sub(range.start),
            data: read_rows(source, range)?,
            ends: Vec::new(),
        }),
    }
}
