//! How the rows of a dataset of elements are laid out, and its chunks encoded.

use std::cell::RefCell;
use std::sync::Arc;

use simrecorder_core::backend::{ChunkGrid, RowSize, Rows, RowsRef, zeroed};
use simrecorder_core::{
    Block, ChunkPolicy, Compression, DType, Error, ErrorKind, Region, Result, copy_block,
};

use crate::format::dataset::{Dataset, Description};
use crate::format::datatype::{StoredType, element_type};
use crate::format::filters::{EncodedChunk, Pipeline, lend};
use crate::library::Handle;

/// The layout of a dataset of elements, without its length.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) dtype: DType,
    /// The type to ask the library for.
    pub(crate) memory: Arc<Handle>,
    pub(crate) grid: ChunkGrid,
    /// How chunks are compressed; `None` for a way that simrecorder does not write.
    pub(crate) compression: Option<Compression>,
    /// The filters of chunks that are read and written past the library; `None` if that has to
    /// read and write the dataset.
    pipeline: Option<Pipeline>,
    fill_value: Option<Vec<u8>>,
    /// Whether chunks between others may be missing, since other software made the dataset. In
    /// those made here, all are written, and one that is not found is damage.
    is_foreign: bool,
}

thread_local! {
    /// Memory for one chunk, used again: new memory is slow.
    static CHUNK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The same for one as it is in the file.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Deflate's levels. Of floating-point numbers, 1 leaves about as much as others do, and takes much
/// less time; of integers, which shrink more, it leaves half as much again.
const FAST_LEVEL: u32 = 1;
const FAST_INTEGER_LEVEL: u32 = 3;
const SMALL_LEVEL: u32 = 6;

/// Chunks are below 4 GiB in HDF5.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;

impl Layout {
    /// The layout of a new dataset.
    pub(crate) fn new(
        dtype: DType,
        grid: ChunkGrid,
        compression: Compression,
        fill_value: Option<Vec<u8>>,
    ) -> Result<Self> {
        let size = dtype.size();
        let pipeline = match compression {
            Compression::None => Pipeline::default(),
            Compression::Fast if dtype.is_floating() => Pipeline::shuffle_deflate(size, FAST_LEVEL),
            Compression::Fast => Pipeline::shuffle_deflate(size, FAST_INTEGER_LEVEL),
            Compression::Small | Compression::Lossy(_) => {
                Pipeline::shuffle_deflate(size, SMALL_LEVEL)
            }
            other => {
                let message = format!("the HDF5 store has no compression '{other}'");
                return Err(Error::new(ErrorKind::Unsupported, "plan", message));
            }
        };
        let layout = Self {
            dtype,
            memory: Arc::new(element_type(dtype)?),
            grid,
            compression: Some(compression),
            pipeline: Some(pipeline),
            fill_value,
            is_foreign: false,
        };
        layout.check(ErrorKind::InvalidArgument)?;
        Ok(layout)
    }

    /// The layout of a dataset that is there. `compression` is what its metadata names.
    pub(crate) fn of(
        description: &Description,
        compression: Option<Compression>,
        is_foreign: bool,
    ) -> Result<Self> {
        let StoredType::Elements {
            dtype,
            as_in_memory,
            memory,
        } = &description.type_
        else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "read",
                "the dataset has no elements of one size",
            ));
        };
        let record_shape = description.shape.get(1..).unwrap_or_default().to_vec();
        let (chunk_shape, pipeline) = match &description.chunk_shape {
            Some(chunk_shape) => (
                chunk_shape.clone(),
                description.pipeline.clone().filter(|_| *as_in_memory),
            ),
            None => (
                ChunkPolicy::default().chunk_shape(&record_shape, dtype.size())?,
                None,
            ),
        };
        let layout = Self {
            dtype: *dtype,
            memory: Arc::clone(memory),
            grid: ChunkGrid::new(chunk_shape, record_shape),
            compression,
            pipeline,
            fill_value: description.fill_value.clone(),
            is_foreign,
        };
        layout.check(ErrorKind::Corrupt)?;
        Ok(layout)
    }

    fn check(&self, kind: ErrorKind) -> Result<()> {
        let chunk = self.grid.chunk_shape();
        let bytes = chunk
            .iter()
            .try_fold(self.dtype.size() as u64, |bytes, &len| {
                bytes.checked_mul(len)
            });
        if bytes.is_none_or(|bytes| bytes > MAX_CHUNK_BYTES) {
            let message =
                format!("chunks of {chunk:?} are 4 GiB or more, which HDF5 does not take");
            return Err(Error::new(kind, "plan", message));
        }
        Ok(())
    }

    /// Whether the chunks of a dataset with the layout `other` are chunks of this one too.
    pub(crate) fn encodes_like(&self, other: &Self) -> bool {
        (
            self.dtype,
            &self.grid,
            self.compression,
            &self.pipeline,
            &self.fill_value,
        ) == (
            other.dtype,
            &other.grid,
            other.compression,
            &other.pipeline,
            &other.fill_value,
        )
    }

    /// Whether chunks are read past the library.
    pub(crate) fn reads_chunks(&self) -> bool {
        self.pipeline.is_some()
    }

    /// Whether chunks are written past the library.
    pub(crate) fn writes_chunks(&self) -> bool {
        self.pipeline.as_ref().is_some_and(Pipeline::is_ours)
    }

    /// The filters of a new dataset.
    pub(crate) fn pipeline(&self) -> Option<&Pipeline> {
        self.pipeline.as_ref()
    }

    pub(crate) fn fill_value(&self) -> Option<&[u8]> {
        self.fill_value.as_deref()
    }

    pub(crate) fn element_size(&self) -> usize {
        self.dtype.size()
    }

    pub(crate) fn chunk_rows(&self) -> u64 {
        self.grid.chunk_records()
    }

    pub(crate) fn row_size(&self) -> RowSize {
        let elements = self.grid.record_shape().iter().map(|&len| len as usize);
        RowSize::Fixed(elements.product::<usize>() * self.element_size())
    }

    /// The bytes of a chunk in memory, which were checked to be less than 4 GiB.
    pub(crate) fn chunk_bytes(&self) -> usize {
        let elements = self.grid.chunk_shape().iter().map(|&len| len as usize);
        elements.product::<usize>() * self.element_size()
    }

    /// No chunk takes more bytes in the file.
    pub(crate) fn longest_chunk(&self) -> usize {
        // What deflate adds to noise, and checksums.
        self.chunk_bytes() + self.chunk_bytes() / 100 + (1 << 16)
    }

    /// That many elements, all of which have the fill value.
    pub(crate) fn filled(&self, elements: usize) -> Result<Vec<u8>> {
        let mut filled = zeroed(elements.saturating_mul(self.element_size()))?;
        self.fill(&mut filled);
        Ok(filled)
    }

    /// Gives elements the fill value.
    fn fill(&self, elements: &mut [u8]) {
        match &self.fill_value {
            Some(value) => elements
                .chunks_exact_mut(value.len().max(1))
                .for_each(|element| element.copy_from_slice(value)),
            None => elements.fill(0),
        }
    }

    fn is_lossy(&self) -> bool {
        matches!(self.compression, Some(Compression::Lossy(_)))
    }

    fn round(&self, elements: &mut [u8]) {
        if let Some(Compression::Lossy(bound)) = self.compression {
            bound.round(self.dtype, elements);
        }
    }

    /// Rows as they are stored in a tail: what is read from it must not change when they go into
    /// a chunk.
    pub(crate) fn tail_rows(&self, rows: RowsRef<'_>) -> Rows {
        let mut rows = rows.to_rows();
        self.round(&mut rows.data);
        rows
    }

    /// Whether rows that fill a chunk are stored as they are.
    pub(crate) fn is_plain(&self) -> bool {
        let whole = self.grid.record_shape() == &self.grid.chunk_shape()[1..];
        whole && !self.is_lossy() && self.pipeline.as_ref().is_some_and(Pipeline::is_empty)
    }

    /// Encodes one chunk out of rows that begin where the chunk does. Rows that are missing at
    /// its end, and elements outside the array, have the fill value.
    pub(crate) fn encode(&self, rows: RowsRef<'_>, rest: &[u64]) -> Result<EncodedChunk> {
        let Some(pipeline) = &self.pipeline else {
            return Err(Error::new(
                ErrorKind::Internal,
                "encode",
                "the library encodes this dataset",
            ));
        };
        let whole = rows.count == self.chunk_rows()
            && self.grid.record_shape() == &self.grid.chunk_shape()[1..];
        if whole && !self.is_lossy() {
            return pipeline.encode(rows.data);
        }
        lend(&CHUNK, self.chunk_bytes(), |chunk| {
            self.fill(chunk);
            let size = self.element_size();
            self.grid
                .place_records(rows.count, rows.data, rest, chunk, size);
            self.round(chunk);
            pipeline.encode(chunk)
        })
    }

    /// Reads the part of `region` that lies in the chunk at `origin` into `out`, which has the size
    /// of the region.
    pub(crate) fn read_chunk(
        &self,
        dataset: &Dataset,
        origin: &[u64],
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let size = self.element_size();
        let Some(pipeline) = &self.pipeline else {
            let message = "the library reads this dataset";
            return Err(Error::new(ErrorKind::Internal, "read", message));
        };
        ENCODED.with_borrow_mut(|encoded| {
            let limit = self.longest_chunk();
            let Some((length, mask)) =
                dataset.read_chunk(origin, limit, self.is_foreign, encoded)?
            else {
                let filled = |elements| self.filled(elements);
                return self.grid.fill_chunk(origin, region, out, size, filled);
            };
            let encoded = &encoded[..length];
            // A region that is this very chunk is decoded where it belongs.
            let axes = region.axes().iter().zip(origin);
            let is_chunk = axes
                .zip(self.grid.chunk_shape())
                .all(|((axis, &start), &len)| {
                    axis.bounds() == (start..start + len) && axis.count == len
                });
            if is_chunk && out.len() == self.chunk_bytes() {
                return pipeline.decode(encoded, mask, out);
            }
            lend(&CHUNK, self.chunk_bytes(), |chunk| {
                pipeline.decode(encoded, mask, chunk)?;
                let block = Block {
                    data: chunk,
                    origin,
                    shape: self.grid.chunk_shape(),
                };
                copy_block(block, region, out, size);
                Ok(())
            })
        })
    }
}
