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

/// A column has no more rows than this, so that sums with the rows of a chunk do not overflow.
const MAX_ROWS: u64 = i64::MAX as u64;

/// How the rows of a column are stored: all that does not change while it grows.
pub trait ColumnFormat: fmt::Debug + Send + Sync + Sized + 'static {
    /// An encoded chunk.
    type Chunk: fmt::Debug + Send + Sync;

    /// What the rows are, and how they are cut into chunks.
    fn layout(&self) -> &ColumnLayout;

    /// Encodes the chunk `indices` out of rows that begin where the chunk does; see
    /// [`ColumnLayout::with_chunk`].
    fn encode(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<Self::Chunk>;

    /// Whether the chunks of a column with the format `other` are chunks of this one too.
    fn encodes_like(&self, other: &Self) -> bool;

    /// Whether rows are written chunk by chunk, and not with
    /// [`ColumnSink::write_rows`](super::ColumnSink::write_rows).
    fn writes_chunks(&self) -> bool {
        true
    }

    /// How many rows are to be stored, and not in the tail, when a column gets `len` rows. `stored`
    /// are stored already, the new ones have `new_bytes`. By default, those that fill chunks.
    fn stored_of(&self, len: u64, stored: u64, new_bytes: usize) -> u64 {
        let _ = new_bytes;
        let chunk_rows = self.layout().chunk_rows();
        (len / chunk_rows * chunk_rows).max(stored)
    }

    /// The format of a column of which `before` rows are stored, when `stored` of them are: a column that
    /// never filled a chunk may have one of its own length. By default, a format stays.
    ///
    /// Rows of chunks after the first are the same in all formats of a column.
    fn resized(self: &Arc<Self>, before: u64, stored: u64) -> Arc<Self> {
        let _ = (before, stored);
        Arc::clone(self)
    }

    /// The format of a column of which `before` rows are stored, when it takes chunks of a column with the
    /// format `other`, which [encodes like](Self::encodes_like) it; `None` if it cannot.
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

/// One stored array of a series as of one commit: its older rows are in chunks, the newest are in
/// the tail.
#[derive(Debug)]
pub struct Column<F> {
    /// The path of the array.
    pub path: Arc<str>,
    /// How its rows are stored.
    pub format: Arc<F>,
    /// How many rows are in chunks, or filled; the others are in the tail.
    pub stored: u64,
    /// How many rows there are.
    pub len: u64,
    /// How many rows at its beginning are filled: they have the fill value, and chunks that have no
    /// other rows were not written. They count as stored.
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
    /// A column with `tail` rows after the `stored` ones, if there can be so many.
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

    /// The same with so many filled rows, as far as they are stored.
    #[must_use]
    pub fn with_filled(self, filled: u64) -> Self {
        Self {
            filled: filled.min(self.stored),
            ..self
        }
    }

    /// How many rows are stored, or 0 if all of these are filled, so that there is no chunk yet.
    pub fn written(&self) -> u64 {
        match self.stored > self.filled {
            true => self.stored,
            false => 0,
        }
    }

    /// Whether the row of chunks `index` may be missing, since it has no rows but filled ones.
    pub fn may_be_missing(&self, index: u64) -> bool {
        let chunk_rows = self.layout().chunk_rows();
        self.written() == 0 || index < self.filled / chunk_rows
    }

    /// The same with the frames of its tail.
    #[must_use]
    pub fn with_frames(self, frames: impl Into<Arc<[FrameSize]>>) -> Self {
        Self {
            frames: frames.into(),
            ..self
        }
    }

    /// What its rows are, and how they are cut into chunks.
    pub fn layout(&self) -> &ColumnLayout {
        self.format.layout()
    }

    /// The error of a chunk that is damaged.
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
    /// Where each record ends, in items, as [`ENDS_DTYPE`]; and the items of all records.
    #[allow(missing_docs, reason = "said above")]
    Ragged { ends: C, items: C },
}

impl<C> Columns<C> {
    /// The column with one row for each record.
    pub fn records(&self) -> &C {
        match self {
            Self::Single(column) | Self::Ragged { ends: column, .. } => column,
        }
    }

    /// The column with the elements of the records.
    pub fn elements(&self) -> &C {
        match self {
            Self::Single(column) | Self::Ragged { items: column, .. } => column,
        }
    }

    /// The columns that `change` makes of these.
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

/// What the records of a series are, and their columns.
#[derive(Clone, Debug)]
pub struct Series<C> {
    /// The kind of the records.
    pub kind: Kind,
    /// Their columns.
    pub columns: Columns<C>,
}

/// The policy for arrays whose rows are no records: a number of records, or a shape, says nothing
/// about them.
pub fn policy_by_size(policy: &ChunkPolicy) -> ChunkPolicy {
    match policy.fixed_records() {
        Some(_) => ChunkPolicy::default().with_shard_bytes(policy.shard_bytes()),
        None => policy.clone(),
    }
}

/// The shapes of the chunks of a new series of two columns: first that of the ends.
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
