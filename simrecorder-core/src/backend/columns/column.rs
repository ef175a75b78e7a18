//! Columns, and how their rows are stored.

use std::fmt;
use std::sync::Arc;

use crate::backend::columns::layout::ColumnLayout;
use crate::backend::rows::{FrameSize, RowsRef};
use crate::error::{Error, ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::schema::Schema;

/// The element type of the ends of records.
pub const ENDS_DTYPE: DType = DType::U64;

/// The most rows of a column, so that sums with the rows of a chunk do not overflow.
const MAX_ROWS: u64 = i64::MAX as u64;

/// How the rows of a column are stored: everything that does not change while it grows.
pub trait ColumnFormat: fmt::Debug + Send + Sync + Sized + 'static {
    /// An encoded chunk.
    type Chunk: fmt::Debug + Send + Sync;

    /// Returns the type of the rows, and how they are cut into chunks.
    fn layout(&self) -> &ColumnLayout;

    /// Encodes the chunk `indices` from rows that begin where the chunk does; see
    /// [`ColumnLayout::with_chunk`].
    fn encode(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<Self::Chunk>;

    /// Whether the chunks of a column with the format `other` are chunks of this one too.
    fn encodes_like(&self, other: &Self) -> bool;

    /// Whether rows are written chunk by chunk, and not with
    /// [`ColumnSink::write_rows`](super::ColumnSink::write_rows).
    fn writes_chunks(&self) -> bool {
        true
    }

    /// Returns how many rows to store outside of the tail when a column gets `len` rows. `stored` rows are stored already,
    /// the new ones have `new_bytes`. By default, the rows that fill chunks.
    fn stored_of(&self, len: u64, stored: u64, new_bytes: usize) -> u64 {
        let _ = new_bytes;
        let chunk_rows = self.layout().chunk_rows();
        (len / chunk_rows * chunk_rows).max(stored)
    }

    /// Returns the format of a column whose number of stored rows changes from `before` to `stored`: a column that
    /// never filled a chunk may have one chunk of its own length. By default, the format does not change.
    ///
    /// Rows of chunks after the first are the same in all formats of a column.
    fn resized(self: &Arc<Self>, before: u64, stored: u64) -> Arc<Self> {
        let _ = (before, stored);
        Arc::clone(self)
    }

    /// Returns the format of a column with `before` stored rows when it takes chunks of a column with the
    /// format `other`, which [encodes like](Self::encodes_like) it; `None` if it cannot take them.
    fn resized_like(self: &Arc<Self>, before: u64, other: &Self) -> Option<Arc<Self>> {
        let _ = (before, other);
        Some(Arc::clone(self))
    }

    /// Checks that rows can be stored, before anything is written.
    fn check(&self, rows: RowsRef<'_>) -> Result<()> {
        let _ = rows;
        Ok(())
    }
}

/// One stored array of a series as of one commit. Its older rows are in chunks, the newest are in the tail.
#[derive(Debug)]
pub struct Column<F> {
    /// The path of the array.
    pub path: Arc<str>,
    /// How its rows are stored.
    pub format: Arc<F>,
    /// How many rows are in chunks, or filled; the others are in the tail.
    pub stored: u64,
    /// The number of rows.
    pub len: u64,
    /// How many rows at its beginning are filled: they have the fill value, and chunks without other rows were not
    /// written. They count as stored.
    pub filled: u64,
    /// The frames of the tail.
    pub frames: Arc<[FrameSize]>,
}

impl<F> Clone for Column<F> {
    fn clone(&self) -> Self {
        Self {
            path: Arc::clone(&self.path),
            format: Arc::clone(&self.format),
            stored: self.stored,
            len: self.len,
            filled: self.filled,
            frames: Arc::clone(&self.frames),
        }
    }
}

impl<F: ColumnFormat> Column<F> {
    /// Makes a column with `tail` rows after the `stored` ones.
    pub fn new(path: impl Into<Arc<str>>, format: Arc<F>, stored: u64, tail: u64) -> Result<Self> {
        let len = stored.checked_add(tail).filter(|&len| len <= MAX_ROWS);
        let too_long = || Error::new(ErrorKind::Corrupt, "read", "the array is too long");
        Ok(Self {
            path: path.into(),
            format,
            stored,
            len: len.ok_or_else(too_long)?,
            filled: 0,
            frames: Arc::default(),
        })
    }

    /// Sets the number of filled rows, up to the number of stored ones.
    #[must_use]
    pub fn with_filled(self, filled: u64) -> Self {
        Self {
            filled: filled.min(self.stored),
            ..self
        }
    }

    /// Returns the number of stored rows, or 0 if all of them are filled, so that there is no chunk yet.
    pub fn written(&self) -> u64 {
        match self.stored > self.filled {
            true => self.stored,
            false => 0,
        }
    }

    /// Whether the row of chunks `index` may be missing, since it has only filled rows.
    pub fn may_be_missing(&self, index: u64) -> bool {
        let chunk_rows = self.layout().chunk_rows();
        self.written() == 0 || index < self.filled / chunk_rows
    }

    /// Sets the frames of the tail.
    #[must_use]
    pub fn with_frames(self, frames: impl Into<Arc<[FrameSize]>>) -> Self {
        Self {
            frames: frames.into(),
            ..self
        }
    }

    /// Returns the type of its rows, and how they are cut into chunks.
    pub fn layout(&self) -> &ColumnLayout {
        self.format.layout()
    }

    /// Makes the error of a damaged chunk.
    pub fn damaged_chunk(&self, indices: &[u64], cause: Error) -> Error {
        let message = format!(
            "chunk {indices:?} of the array '{}' is damaged; the other chunks are not affected",
            self.path
        );
        Error::new(cause.kind(), "read", message).with_source(cause)
    }
}

/// The columns of a series.
#[derive(Clone, Debug)]
pub enum Columns<C> {
    /// One row for each record.
    Single(C),
    /// The end of each record, in items, as [`ENDS_DTYPE`], and the items of all records.
    #[allow(missing_docs, reason = "said above")]
    Ragged { ends: C, items: C },
}

impl<C> Columns<C> {
    /// Returns the column with one row for each record.
    pub fn records(&self) -> &C {
        match self {
            Self::Single(column) | Self::Ragged { ends: column, .. } => column,
        }
    }

    /// Returns the column with the elements of the records.
    pub fn elements(&self) -> &C {
        match self {
            Self::Single(column) | Self::Ragged { items: column, .. } => column,
        }
    }

    /// Applies `change` to each column.
    pub fn map<D>(self, mut change: impl FnMut(C) -> Result<D>) -> Result<Columns<D>> {
        Ok(match self {
            Self::Single(column) => Columns::Single(change(column)?),
            Self::Ragged { ends, items } => Columns::Ragged {
                items: change(items)?,
                ends: change(ends)?,
            },
        })
    }
}

/// The kind of the records of a series, and their columns.
#[derive(Clone, Debug)]
pub struct Series<C> {
    /// The kind of the records.
    pub kind: Kind,
    /// Their columns.
    pub columns: Columns<C>,
}

/// Returns the policy for arrays whose rows are not records, to which a number of records or a shape does not apply.
pub fn policy_by_size(policy: &ChunkPolicy) -> ChunkPolicy {
    match policy.fixed_records() {
        Some(_) => ChunkPolicy::default().with_shard_bytes(policy.shard_bytes()),
        None => policy.clone(),
    }
}

/// Returns the chunk shapes of a new series of two columns: that of the ends, and that of the items.
pub fn ragged_chunk_shapes(policy: &ChunkPolicy, schema: &Schema) -> Result<(Vec<u64>, Vec<u64>)> {
    let by_size = policy_by_size(policy);
    let item_size = schema.dtype().map_or(1, DType::size);
    let items = by_size.chunk_shape(schema.record_shape(), item_size)?;
    let ends = match policy.fixed_records() {
        Some(rows) => vec![rows],
        None => by_size.chunk_shape(&[], ENDS_DTYPE.size())?,
    };
    Ok((ends, items))
}
