//! Stored rows, as a backend gives them to the engine.

use std::ops::Range;

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::parallel;
use crate::backend::rows::Rows;
use crate::error::Result;
use crate::reading::selection::Region;

/// A column that is open for reading: as a view shows it, or as a commit finds it.
pub trait ColumnSource: Sync + Sized {
    /// How the column is stored.
    type Format: ColumnFormat;

    /// The column.
    fn column(&self) -> &Column<Self::Format>;

    /// Copies the elements of `region` that are in the chunk `indices` into `out`, which has the
    /// shape of the region. The chunk has rows that are stored; if it was never written, its
    /// elements have the fill value. Damage is an error of [`Column::damaged_chunk`].
    fn read_chunk(&self, indices: &[u64], region: &Region, out: &mut [u8]) -> Result<()>;

    /// Reads a region of elements that are all stored into `out`, which has its size.
    fn read_elements(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        read_chunks(self, region, out)
    }

    /// Reads rows of variable length that are stored: the first row of `range`, and those after it
    /// that take about `max_bytes`, or come with it. The rows may begin before the range and end
    /// after it; returns the index of the first, too.
    fn read_variable(&self, range: Range<u64>, max_bytes: usize) -> Result<(u64, Rows)>;

    /// The rows of the tail, and the index of the first. There may be more rows than the column
    /// has, and some that were in its tail may be in chunks by now.
    fn read_tail(&self) -> Result<(u64, Rows)>;

    /// The rows from `first` on, which are the last `bytes` bytes of the tail and begin a frame. Only a
    /// writer asks for them, so the tail is that of the column.
    fn read_tail_end(&self, first: u64, bytes: u64) -> Result<Rows>;

    /// How many bytes the chunks and the tail take as they are stored; `None` if that is not known.
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Checks that the chunks with the rows of `range`, which are stored, are there, if they have
    /// to be.
    fn check_chunks(&self, range: Range<u64>) -> Result<()> {
        let _ = range;
        Ok(())
    }
}

/// So many rows of chunks are shared out among threads at a time.
const PARTS: usize = 1 << 14;

/// Reads a region of elements that are all in chunks. A part that is in one row of chunks is read
/// on this thread: commits read no more, and must not wait for threads that may wait for them.
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
