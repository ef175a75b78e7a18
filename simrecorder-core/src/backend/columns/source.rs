//! Stored rows, as a backend reads them.

use std::ops::Range;

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::parallel;
use crate::backend::rows::Rows;
use crate::error::Result;
use crate::reading::selection::Region;

/// An open column, for a view or a commit.
pub trait ColumnSource: Sync + Sized {
    /// How the column is stored.
    type Format: ColumnFormat;

    /// Returns the column.
    fn column(&self) -> &Column<Self::Format>;

    /// Copies the elements of `region` in the chunk `indices` into `out`, which has the shape of the region. The chunk has
    /// stored rows; if it was never written, its elements have the fill value. Damage is the error
    /// [`Column::damaged_chunk`].
    fn read_chunk(&self, indices: &[u64], region: &Region, out: &mut [u8]) -> Result<()>;

    /// Reads a region of stored elements into `out`, which has its size.
    fn read_elements(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        read_chunks(self, region, out)
    }

    /// Reads stored rows of variable length: the first row of `range`, and the following ones up to about `max_bytes`.
    /// The result may also contain rows before and after the range. Returns the index of the first row with the rows.
    fn read_variable(&self, range: Range<u64>, max_bytes: usize) -> Result<(u64, Rows)>;

    /// Reads the rows of the tail; returns the index of the first with the rows. The tail may have more rows than the
    /// column, and rows that were in the tail may have moved to chunks.
    fn read_tail(&self) -> Result<(u64, Rows)>;

    /// Reads the rows from `first` on, which are the last `bytes` bytes of the tail and begin a frame. Only the writer
    /// calls this, so the tail is that of the column.
    fn read_tail_end(&self, first: u64, bytes: u64) -> Result<Rows>;

    /// Returns the stored size of the chunks and the tail in bytes; `None` if that is unknown.
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Checks that the chunks with the rows of `range`, which are stored, exist unless they may be missing.
    fn check_chunks(&self, range: Range<u64>) -> Result<()> {
        let _ = range;
        Ok(())
    }
}

/// The number of rows of chunks that are distributed among threads at a time.
const PARTS: usize = 1 << 14;

/// Reads a region of elements in chunks. The calling thread reads a region within one row of chunks itself: commits read
/// no more than that, and must not wait for threads that may wait for them.
pub fn read_chunks<S: ColumnSource>(source: &S, region: &Region, out: &mut [u8]) -> Result<()> {
    let grid = &source.column().layout().grid;
    let read = |(row, region, out): (u64, Region, &mut [u8])| {
        grid.for_each_touched(row, &region, |chunk| source.read_chunk(chunk, &region, out))
    };
    let mut parts = grid.split(region, out).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return read(part);
        }
        let some = std::iter::once(part).chain(parts.by_ref().take(PARTS));
        parallel::map(some.collect(), read)?;
    }
    Ok(())
}
