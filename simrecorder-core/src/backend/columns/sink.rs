//! Changes to columns, as a backend gets them.

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::columns::source::ColumnSource;
use crate::backend::rows::RowsRef;
use crate::error::{Error, ErrorKind, Result};

/// A cut of a column to fewer rows.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The smallest number of rows that it had during the commit.
    pub len: u64,
    /// How many rows were stored before.
    pub stored_before: u64,
    /// How many of them were [filled](Column::filled).
    pub filled_before: u64,
}

/// The target of the changes that a commit makes to columns. A backend writes them at once or collects them.
pub trait ColumnSink {
    /// How the columns are stored.
    type Format: ColumnFormat;
    /// An open column, as it was stored before the commit.
    type Source: ColumnSource<Format = Self::Format>;

    /// Opens a column.
    fn open(&self, column: &Column<Self::Format>) -> Result<Self::Source>;

    /// Sets how many rows are stored, before they are written, and the format of the column if that
    /// [changed](ColumnFormat::resized). If the column was cut, removes the stored rows after these, and makes reads of
    /// them through older views fail.
    fn set_stored(&mut self, to: &Self::Source, stored: u64, cut: Option<Cut>) -> Result<()>;

    /// Writes the chunk `indices`. `repeats` says that an existing chunk has the same rows in the same format, so that
    /// writing it early does no harm.
    fn write_chunk(
        &mut self,
        to: &Self::Source,
        indices: &[u64],
        chunk: &<Self::Format as ColumnFormat>::Chunk,
        repeats: bool,
    ) -> Result<()>;

    /// Encodes and writes the chunk `indices` from rows that begin where the chunk does.
    fn encode_chunk(
        &mut self,
        to: &Self::Source,
        indices: &[u64],
        rows: RowsRef<'_>,
        repeats: bool,
    ) -> Result<()> {
        let chunk = to.column().format.encode(rows, indices)?;
        self.write_chunk(to, indices, &chunk, repeats)
    }

    /// Writes rows to a column that is not written chunk by chunk. The first has the index `first`.
    fn write_rows(&mut self, to: &Self::Source, first: u64, rows: RowsRef<'_>) -> Result<()> {
        let _ = (to, first, rows);
        let message = "the array is written chunk by chunk";
        Err(Error::new(ErrorKind::Internal, "commit", message))
    }

    /// Adds frames to the tail.
    fn append_tail(&mut self, column: &Column<Self::Format>, frames: Vec<u8>);

    /// Replaces the last `bytes` bytes of the tail, which are whole frames, with `frames`. This keeps a tail at no more
    /// than [`MAX_FRAMES`](super::MAX_FRAMES) after any number of commits.
    fn replace_tail_end(&mut self, column: &Column<Self::Format>, bytes: u64, frames: Vec<u8>);

    /// Removes the tail.
    fn clear_tail(&mut self, column: &Column<Self::Format>);
}
