//! Changes of columns, as the engine gives them to a backend.

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::columns::source::ColumnSource;
use crate::backend::rows::RowsRef;
use crate::error::{Error, ErrorKind, Result};

/// How a column was cut to fewer rows.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The least number of rows that it had.
    pub len: u64,
    /// How many rows were stored before.
    pub stored_before: u64,
    /// How many of them were [filled](Column::filled).
    pub filled_before: u64,
}

/// What a commit does to columns: it writes at once, or collects changes for later.
pub trait ColumnSink {
    /// How the columns are stored.
    type Format: ColumnFormat;
    /// A column that is open, with what was stored of it and in its tail before the commit.
    type Source: ColumnSource<Format = Self::Format>;

    /// Opens a column.
    fn open(&self, column: &Column<Self::Format>) -> Result<Self::Source>;

    /// Sets how many rows are stored, before they are written, and the format of the column if that
    /// [changed](ColumnFormat::resized). If the column was cut, what was stored after them is removed, and
    /// views of the rows that were cut are going to fail.
    fn set_stored(&mut self, to: &Self::Source, stored: u64, cut: Option<Cut>) -> Result<()>;

    /// Writes the chunk `indices`. `repeats` says that it has the rows that it had before in the same
    /// format, if it was there, so that writing it early does no harm.
    fn write_chunk(
        &mut self,
        to: &Self::Source,
        indices: &[u64],
        chunk: &<Self::Format as ColumnFormat>::Chunk,
        repeats: bool,
    ) -> Result<()>;

    /// Encodes and writes the chunk `indices`, out of rows that begin where the chunk does.
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

    /// Replaces the last `bytes` bytes of the tail, which are whole frames, by `frames`: so a tail has at most
    /// [`MAX_FRAMES`](super::MAX_FRAMES), however often it is committed to.
    fn replace_tail_end(&mut self, column: &Column<Self::Format>, bytes: u64, frames: Vec<u8>);

    /// Removes the tail.
    fn clear_tail(&mut self, column: &Column<Self::Format>);
}
