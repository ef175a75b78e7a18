//! What the rows of a column are, and how they are cut into chunks.

use crate::backend::chunk_grid::ChunkGrid;
use crate::backend::memory::{with_scratch, zeroed};
use crate::backend::rows::{RowSize, RowsRef, append_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::model::compression::Compression;
use crate::model::dtype::DType;
use crate::model::schema::{Kind, Schema};
use crate::reading::selection::Region;

/// What the rows of a column are, and how they are cut into chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnLayout {
    dtype: Option<DType>,
    grid: ChunkGrid,
    compression: Option<Compression>,
    fill_value: Option<Vec<u8>>,
}

impl ColumnLayout {
    /// The layout of rows with elements of `dtype`; without one, rows have a length of their own.
    ///
    /// - `compression`: how chunks are compressed; `None` for a way that simrecorder does not write.
    /// - `fill_value`: the bytes of an element, or of a row of variable length, that was never
    ///   written; `None` for zeros.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a chunk or a row cannot be addressed.
    pub fn new(
        dtype: Option<DType>,
        grid: ChunkGrid,
        compression: Option<Compression>,
        fill_value: Option<Vec<u8>>,
    ) -> Result<Self> {
        let layout = Self {
            dtype,
            grid,
            compression,
            fill_value,
        };
        let is_addressed = |shape: &[u64]| {
            let bytes = shape.iter().try_fold(layout.element_size(), |bytes, &len| {
                bytes.checked_mul(usize::try_from(len).ok()?)
            });
            bytes.is_some_and(|bytes| bytes < isize::MAX as usize)
        };
        let chunk_shape = layout.grid.chunk_shape();
        if is_addressed(chunk_shape) && is_addressed(layout.grid.record_shape()) {
            return Ok(layout);
        }
        let message = format!("chunks of {chunk_shape:?} are too large");
        Err(Error::new(ErrorKind::Corrupt, "read metadata", message))
    }

    /// The type of the elements; `None` if rows have a length of their own.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// The shapes of a row (all axes but the first) and of a chunk.
    pub fn grid(&self) -> &ChunkGrid {
        &self.grid
    }

    /// How chunks are compressed; `None` for a way that simrecorder does not write.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// The bytes of an element, or of a row of variable length, that was never written, unless
    /// they are zeros.
    pub fn fill_value(&self) -> Option<&[u8]> {
        self.fill_value.as_deref()
    }

    /// The bytes of one element; 1 for rows of variable length.
    pub fn element_size(&self) -> usize {
        self.dtype.map_or(1, DType::size)
    }

    /// How long rows are.
    pub fn row_size(&self) -> RowSize {
        let elements = self.grid.record_shape().iter().map(|&len| len as usize);
        match self.dtype {
            Some(dtype) => RowSize::Fixed(elements.product::<usize>() * dtype.size()),
            None => RowSize::Variable,
        }
    }

    /// How many rows a chunk has.
    pub fn chunk_rows(&self) -> u64 {
        self.grid.chunk_records()
    }

    /// The bytes of a chunk of elements, in memory.
    pub fn chunk_bytes(&self) -> usize {
        let elements = self.grid.chunk_shape().iter().map(|&len| len as usize);
        elements.product::<usize>() * self.element_size()
    }

    /// The shape of a column with `len` rows.
    pub fn shape(&self, len: u64) -> Vec<u64> {
        let axes = self.grid.record_shape().iter().copied();
        std::iter::once(len).chain(axes).collect()
    }

    /// The schema of the records of a series that has its elements in such a column, as far as
    /// the layout tells it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if such a column has no elements, which the kind asks for.
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

    /// Checks that a series of a kind that has its elements in such a column takes records of
    /// `schema`.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`].
    pub fn check_schema(&self, kind: Kind, schema: &Schema) -> Result<()> {
        let stored = self.schema(kind)?;
        let checked = stored.check_same_records(schema);
        checked.map_err(|e| e.with_operation("commit"))
    }

    /// That many elements, or rows of variable length, all of which have the fill value.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if there is no memory for them.
    pub fn filled(&self, count: usize) -> Result<Vec<u8>> {
        let size = match (self.dtype, &self.fill_value) {
            (Some(dtype), _) => dtype.size(),
            (None, fill_value) => fill_value.as_ref().map_or(0, Vec::len),
        };
        let mut filled = zeroed(count.saturating_mul(size))?;
        if let Some(value) = self.fill_value_of_bits() {
            fill(&mut filled, value);
        }
        Ok(filled)
    }

    /// Gives the elements of `region` that are in the chunk at `origin`, which was never written, the
    /// fill value.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if there is no memory for them.
    pub fn fill_chunk(&self, origin: &[u64], region: &Region, out: &mut [u8]) -> Result<()> {
        let filled = |count| self.filled(count);
        let size = self.element_size();
        self.grid.fill_chunk(origin, region, out, size, filled)
    }

    /// The fill value, unless all its bytes are zero.
    fn fill_value_of_bits(&self) -> Option<&[u8]> {
        self.fill_value()
            .filter(|value| value.iter().any(|&byte| byte != 0))
    }

    fn is_lossy(&self) -> bool {
        matches!(self.compression, Some(Compression::Lossy(_)))
    }

    /// Rounds elements, if the compression is lossy.
    fn round(&self, elements: &mut [u8]) {
        if let (Some(Compression::Lossy(bound)), Some(dtype)) = (self.compression, self.dtype) {
            bound.round(dtype, elements);
        }
    }

    /// Whether no chunk has elements outside the array along any axis but the first, and elements
    /// stay as they are.
    pub fn keeps_elements(&self) -> bool {
        let chunk_shape = self.grid.chunk_shape().get(1..).unwrap_or_default();
        !self.is_lossy() && self.grid.record_shape() == chunk_shape
    }

    /// Calls `encode` with the elements of the chunk `indices`, made out of rows that begin where
    /// the chunk does. Rows that are missing at its end, and elements outside the array, have the
    /// fill value.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if there is no memory for them, and those of `encode`.
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
            match self.fill_value_of_bits() {
                Some(value) => fill(chunk, value),
                None => chunk.fill(0),
            }
            let in_row = indices.get(1..).unwrap_or_default();
            let size = self.element_size();
            self.grid
                .place_records(rows.count, rows.data, in_row, chunk, size);
            self.round(chunk);
            encode(chunk)
        })
    }

    /// Appends a frame of a tail with `rows`, the first of which has the index `first`, to `out`:
    /// with the elements that a chunk will have, since what is read must not change then.
    pub fn write_frame(&self, out: &mut Vec<u8>, first: u64, rows: RowsRef<'_>) {
        append_frame(out, first, rows, |elements| self.round(elements));
    }
}

fn fill(elements: &mut [u8], value: &[u8]) {
    for element in elements.chunks_exact_mut(value.len()) {
        element.copy_from_slice(value);
    }
}
