//! The type of the rows of a column, and how they are cut into chunks.

use crate::backend::chunk_grid::ChunkGrid;
use crate::backend::filled::fill_elements;
use crate::backend::memory::{with_scratch, zeroed};
use crate::backend::rows::{RowSize, Rows, RowsRef, write_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::model::compression::Compression;
use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::schema::Schema;
use crate::reading::selection::Region;

/// The type of the rows of a column, and how they are cut into chunks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ColumnLayout {
    /// The type of the elements; `None` for rows of variable length.
    pub dtype: Option<DType>,
    /// The shapes of a row (all axes but the first) and of a chunk.
    pub grid: ChunkGrid,
    /// How chunks are compressed; `None` for a compression that simrecorder does not write.
    pub compression: Option<Compression>,
    /// The bytes of an element, or of a row of variable length, that was never written; `None`
    /// for zeros.
    pub fill_value: Option<Vec<u8>>,
}

impl ColumnLayout {
    /// Makes a layout, or returns [`ErrorKind::Corrupt`] if its chunks or rows cannot be addressed.
    pub fn new(
        dtype: Option<DType>,
        grid: ChunkGrid,
        compression: Option<Compression>,
        fill_value: Option<Vec<u8>>,
    ) -> Result<Self> {
        let is_addressed = |shape: &[u64]| {
            let size = dtype.map_or(1, DType::size);
            let bytes = shape.iter().try_fold(size, |bytes, &len| {
                bytes.checked_mul(usize::try_from(len).ok()?)
            });
            bytes.is_some_and(|bytes| bytes < isize::MAX as usize)
        };
        if !is_addressed(grid.chunk_shape()) || !is_addressed(grid.record_shape()) {
            let message = format!("chunks of {:?} are too large", grid.chunk_shape());
            return Err(Error::new(ErrorKind::Corrupt, "read metadata", message));
        }
        Ok(Self {
            dtype,
            grid,
            compression,
            fill_value,
        })
    }

    /// Returns the size of an element in bytes; 1 for rows of variable length.
    pub fn element_size(&self) -> usize {
        self.dtype.map_or(1, DType::size)
    }

    /// Returns the size of rows.
    pub fn row_size(&self) -> RowSize {
        match self.dtype {
            Some(_) => RowSize::Fixed(self.bytes_of(self.grid.record_shape())),
            None => RowSize::Variable,
        }
    }

    /// Returns the number of rows in a chunk.
    pub fn chunk_rows(&self) -> u64 {
        self.grid.chunk_records()
    }

    /// Sets the number of rows in a chunk.
    #[must_use]
    pub fn with_chunk_rows(&self, rows: u64) -> Self {
        let mut chunk_shape = self.grid.chunk_shape().to_vec();
        chunk_shape
            .iter_mut()
            .take(1)
            .for_each(|first| *first = rows);
        let record_shape = self.grid.record_shape().to_vec();
        Self {
            grid: ChunkGrid::new(chunk_shape, record_shape),
            ..self.clone()
        }
    }

    /// Returns the size of a chunk of elements in memory, in bytes.
    pub fn chunk_bytes(&self) -> usize {
        self.bytes_of(self.grid.chunk_shape())
    }

    fn bytes_of(&self, shape: &[u64]) -> usize {
        let elements: usize = shape.iter().map(|&len| len as usize).product();
        elements * self.element_size()
    }

    /// Returns the shape of a column with `len` rows.
    pub fn shape(&self, len: u64) -> Vec<u64> {
        let axes = self.grid.record_shape().iter().copied();
        std::iter::once(len).chain(axes).collect()
    }

    /// Returns the schema of records of `kind` whose elements are in such a column, as far as the layout determines it.
    pub fn schema(&self, kind: Kind) -> Result<Schema> {
        let row_shape = self.grid.record_shape();
        match (kind, self.dtype) {
            (Kind::Array, Some(dtype)) => Ok(Schema::array_of(dtype, row_shape)),
            (Kind::Ragged, Some(dtype)) => Ok(Schema::ragged_of(dtype, row_shape)),
            (Kind::Text, _) => Ok(Schema::text()),
            (Kind::Bytes, _) => Ok(Schema::bytes()),
            (Kind::Object, _) => Ok(Schema::object()),
            _ => {
                let message = format!("a series of kind {kind} has no elements");
                Err(Error::new(ErrorKind::Corrupt, "read", message))
            }
        }
    }

    /// Checks that records of `schema` fit [`schema`](Self::schema).
    pub(super) fn check_schema(&self, kind: Kind, schema: &Schema) -> Result<()> {
        let checked = self.schema(kind)?.check_same_records(schema);
        checked.map_err(|e| e.with_operation("commit"))
    }

    /// Returns `count` elements, or rows of variable length, with the fill value.
    pub fn filled(&self, count: usize) -> Result<Vec<u8>> {
        let fill_value = self.fill_value.as_ref().map_or(0, Vec::len);
        let size = self.dtype.map_or(fill_value, DType::size);
        let mut filled = zeroed(count.saturating_mul(size))?;
        fill_elements(&mut filled, self.fill_value.as_deref());
        Ok(filled)
    }

    /// Returns `count` rows with the fill value; they have a fixed size unless there are none.
    pub fn filled_rows(&self, count: u64) -> Result<Rows> {
        let row: u64 = self.grid.record_shape().iter().product();
        let elements = usize::try_from(count.saturating_mul(row)).unwrap_or(usize::MAX);
        Ok(Rows {
            count,
            data: self.filled(elements)?,
            ends: Vec::new(),
        })
    }

    /// Writes the fill value to the elements of `region` in the chunk at `origin`, which was never written.
    pub fn fill_chunk(&self, origin: &[u64], region: &Region, out: &mut [u8]) -> Result<()> {
        let filled = |count| self.filled(count);
        let size = self.element_size();
        self.grid.fill_chunk(origin, region, out, size, filled)
    }

    fn is_lossy(&self) -> bool {
        matches!(self.compression, Some(Compression::Lossy(_)))
    }

    /// Rounds elements if the compression is lossy. Elements with the fill value do not change, since those in chunks that
    /// are not written are not rounded either.
    fn round(&self, elements: &mut [u8]) {
        let (Some(Compression::Lossy(bound)), Some(dtype)) = (self.compression, self.dtype) else {
            return;
        };
        let fill_value = self.fill_value.as_deref().unwrap_or_default();
        let mut rounded = fill_value.to_vec();
        bound.round(dtype, &mut rounded);
        if rounded == fill_value {
            return bound.round(dtype, elements);
        }
        for element in elements.chunks_exact_mut(fill_value.len()) {
            if element != fill_value {
                bound.round(dtype, element);
            }
        }
    }

    /// Whether the bytes of rows that fill a chunk are those of its elements, without a change.
    pub fn keeps_elements(&self) -> bool {
        let chunk_shape = self.grid.chunk_shape().get(1..).unwrap_or_default();
        !self.is_lossy() && self.grid.record_shape() == chunk_shape
    }

    /// Calls `encode` with the elements of the chunk `indices`, made of rows that begin where the chunk does. Missing rows
    /// at its end and elements outside the array have the fill value.
    pub fn with_chunk<T>(
        &self,
        rows: RowsRef<'_>,
        indices: &[u64],
        encode: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        if rows.count == self.chunk_rows() && self.keeps_elements() {
            return encode(rows.data);
        }
        with_scratch(self.chunk_bytes(), |chunk| {
            fill_elements(chunk, self.fill_value.as_deref());
            let size = self.element_size();
            self.grid
                .place_records(rows.count, rows.data, indices, chunk, size)?;
            self.round(chunk);
            encode(chunk)
        })
    }

    /// Appends a frame of a tail with `rows`, the first of which has the index `first`, to `out`. The elements are those
    /// that a chunk will have, since reads must return the same before and after.
    pub(super) fn write_frame(&self, out: &mut Vec<u8>, first: u64, rows: RowsRef<'_>) {
        write_frame(out, first, rows, |elements| self.round(elements));
    }
}
