//! How the rows of a dataset are stored, and its chunks encoded.

use std::sync::Arc;

use simrecorder_core::backend::columns::{ColumnFormat, ColumnLayout};
use simrecorder_core::backend::{ChunkGrid, RowsRef, with_buffer, with_scratch};
use simrecorder_core::{
    Block, ChunkPolicy, Compression, DType, Error, ErrorKind, Region, Result, copy_block,
};

use crate::format::dataset::{Dataset, Description, NewDataset, Storage};
use crate::format::datatype::{StoredType, bytes_type, element_type, text_type};
use crate::format::filters::{EncodedChunk, Pipeline};
use crate::format::variable::VariableType;
use crate::library::Handle;

/// The format of a dataset: everything that does not change while it grows.
#[derive(Debug)]
pub(crate) struct DatasetFormat {
    layout: ColumnLayout,
    pub(crate) rows: RowFormat,
    /// Whether a dataset with fewer rows than a chunk may have no chunks. Its metadata then
    /// contains its future chunk shape.
    may_be_short: bool,
}

/// The rows of a dataset.
#[derive(Debug)]
pub(crate) enum RowFormat {
    Elements(ElementFormat),
    Variable(VariableType),
}

/// How elements of fixed size are stored.
#[derive(Debug)]
pub(crate) struct ElementFormat {
    /// The type in which libhdf5 reads and writes them.
    pub(crate) memory: Arc<Handle>,
    /// The filters of chunks that are read and written without libhdf5; `None` if libhdf5 has to
    /// read and write the dataset.
    pub(crate) pipeline: Option<Pipeline>,
    /// Whether chunks between others may be missing, because other software created the dataset.
    /// simrecorder writes all chunks, so a missing one is damage.
    is_foreign: bool,
}

/// The levels of deflate. For floating-point numbers, level 1 compresses about as well as the
/// others, and much faster. For integers, which compress better, its result is half as large again.
const FAST_LEVEL: u32 = 1;
const FAST_INTEGER_LEVEL: u32 = 3;
const SMALL_LEVEL: u32 = 6;

/// HDF5 chunks must be smaller than 4 GiB.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;

/// A chunk of rows of variable length contains 16 bytes for each; the rows are elsewhere.
const VARIABLE_CHUNK_ROWS: u64 = 1024;

/// Rows of variable length are written to the dataset when there are this many bytes of them, or
/// enough rows for a chunk.
const VARIABLE_BYTES: usize = 1 << 18;

/// A dataset without chunks has no filters, so a larger one has a chunk, in which unused rows take
/// little space.
const SHORT_BYTES: u64 = 1 << 16;

/// The size of an element of a dataset with rows of variable length. The rows are elsewhere.
const VARIABLE_ELEMENT: u64 = 16;

impl DatasetFormat {
    /// The format of a new dataset with elements of fixed size.
    pub(crate) fn of_elements(
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
        check_chunk_size(&grid, dtype, ErrorKind::InvalidArgument)?;
        Ok(Self {
            layout: ColumnLayout::new(Some(dtype), grid, Some(compression), fill_value)?,
            rows: RowFormat::Elements(ElementFormat {
                memory: Arc::new(element_type(dtype)?),
                pipeline: Some(pipeline),
                is_foreign: false,
            }),
            may_be_short: true,
        })
    }

    /// The format of a new dataset with texts.
    pub(crate) fn of_text() -> Result<Self> {
        Self::of_variable(VariableType::Text {
            memory: Arc::new(text_type(None)?),
            escaped: true,
        })
    }

    /// The format of a dataset with rows of variable length.
    pub(crate) fn of_variable(type_: VariableType) -> Result<Self> {
        let grid = ChunkGrid::new(vec![VARIABLE_CHUNK_ROWS], Vec::new());
        Ok(Self {
            layout: ColumnLayout::new(None, grid, None, None)?,
            rows: RowFormat::Variable(type_),
            may_be_short: true,
        })
    }

    /// The format of a dataset in the file. `compression` is the compression in its metadata, and
    /// `normal` the shape of its current or future chunks. `is_ours` says whether this library
    /// created it, `is_foreign` whether its chunks may be missing.
    pub(crate) fn of_stored(
        description: &Description,
        compression: Option<Compression>,
        normal: Option<Vec<u64>>,
        is_ours: bool,
        is_foreign: bool,
    ) -> Result<Self> {
        let normal = normal.filter(|chunk| is_normal_chunk(chunk, description));
        let (dtype, as_in_memory, memory) = match &description.type_ {
            StoredType::Elements {
                dtype,
                as_in_memory,
                memory,
            } => (*dtype, *as_in_memory, memory),
            other => {
                return match VariableType::of(other, is_ours) {
                    Some(type_) if description.shape.len() == 1 => Ok(Self {
                        may_be_short: normal.is_some(),
                        ..Self::of_variable(type_)?
                    }),
                    _ => {
                        let message = "text and bytes with more than one axis are not supported";
                        Err(Error::new(ErrorKind::Unsupported, "read", message))
                    }
                };
            }
        };
        let record_shape = description.shape.get(1..).unwrap_or_default().to_vec();
        let fill_value = description.fill_value.clone();
        if let (Some(chunk), Some(compression), None, true) =
            (&normal, compression, &description.chunk_shape, as_in_memory)
        {
            let grid = ChunkGrid::new(chunk.clone(), record_shape);
            check_chunk_size(&grid, dtype, ErrorKind::Corrupt)?;
            return Self::of_elements(dtype, grid, compression, fill_value);
        }
        let (chunk_shape, pipeline) = match &description.chunk_shape {
            Some(chunk_shape) => (
                chunk_shape.clone(),
                description.pipeline.clone().filter(|_| as_in_memory),
            ),
            None => (
                ChunkPolicy::default().chunk_shape(&record_shape, dtype.size())?,
                None,
            ),
        };
        let grid = ChunkGrid::new(chunk_shape, record_shape);
        check_chunk_size(&grid, dtype, ErrorKind::Corrupt)?;
        let is_ours = pipeline.as_ref().is_some_and(Pipeline::is_ours);
        Ok(Self {
            layout: ColumnLayout::new(Some(dtype), grid, compression, fill_value)?,
            rows: RowFormat::Elements(ElementFormat {
                memory: Arc::clone(memory),
                pipeline,
                is_foreign,
            }),
            may_be_short: normal.is_some() && compression.is_some() && is_ours,
        })
    }

    /// Whether a dataset with this many rows may have no chunks in this state.
    pub(crate) fn may_be_short(&self, rows: u64) -> bool {
        self.may_be_short && rows < self.layout.chunk_rows()
    }

    /// Whether a dataset should have no chunks when tails are folded and it has `rows` rows, of
    /// which `stored` are already in it.
    pub(crate) fn is_short(&self, rows: u64, stored: u64) -> bool {
        let bytes = self.fixed_bytes(rows);
        let fits = match &self.rows {
            RowFormat::Elements(_) => {
                bytes <= SHORT_BYTES || self.pipeline().is_some_and(Pipeline::is_empty)
            }
            // Rows in heaps are not rewritten each time.
            RowFormat::Variable(_) => stored == 0,
        };
        bytes > 0 && self.may_be_short(rows) && fits
    }

    /// The size of this many rows in a dataset without chunks.
    pub(crate) fn fixed_bytes(&self, rows: u64) -> u64 {
        let row: u64 = self.layout.shape(1).iter().product();
        let element = match &self.rows {
            RowFormat::Elements(_) => self.layout.element_size() as u64,
            RowFormat::Variable(_) => VARIABLE_ELEMENT,
        };
        rows.saturating_mul(row.saturating_mul(element))
    }

    /// Calls `make` with the layout of a dataset with this many rows.
    pub(crate) fn make<T>(
        &self,
        rows: u64,
        is_short: bool,
        make: impl FnOnce(&NewDataset<'_>) -> Result<T>,
    ) -> Result<T> {
        let none = Pipeline::default();
        let type_ = match &self.rows {
            RowFormat::Elements(elements) => elements.memory.share()?,
            RowFormat::Variable(VariableType::Bytes) => bytes_type()?,
            RowFormat::Variable(_) => text_type(None)?,
        };
        let chunk_shape = self.layout.grid.chunk_shape();
        make(&NewDataset {
            type_: &type_,
            shape: &self.layout.shape(rows),
            storage: match is_short {
                true => Storage::of_fixed(self.fixed_bytes(rows)),
                false => Storage::Chunks(chunk_shape, self.pipeline().unwrap_or(&none)),
            },
            fill_value: self.layout.fill_value.as_deref(),
        })
    }

    /// Writes rows with libhdf5, beginning with the row `first`.
    pub(crate) fn write(&self, dataset: &Dataset, first: u64, rows: RowsRef<'_>) -> Result<()> {
        if rows.count == 0 {
            return Ok(());
        }
        match &self.rows {
            RowFormat::Variable(type_) => type_.write(dataset, first, rows),
            RowFormat::Elements(_) if rows.data.is_empty() => Ok(()),
            RowFormat::Elements(elements) => {
                let end = first + rows.count;
                let region = Region::records(first..end, &self.layout.shape(end));
                let bytes = region.len().map(|len| len * self.layout.element_size());
                if bytes != Some(rows.data.len()) {
                    let message = "the rows differ in size from those of the dataset";
                    return Err(Error::new(ErrorKind::Internal, "commit", message));
                }
                let data = rows.data.as_ptr().cast();
                // SAFETY: the data has the size of the region, as checked.
                unsafe { dataset.write(&elements.memory, &region, data) }
            }
        }
    }

    /// Whether the chunks of a dataset have this format.
    pub(crate) fn has_chunks(&self, dataset: &Dataset) -> Result<bool> {
        let Some((chunk_shape, pipeline)) = dataset.chunks()? else {
            return Ok(false);
        };
        let ours = self.pipeline();
        Ok(chunk_shape == self.layout.grid.chunk_shape()
            && ours.is_some_and(|ours| ours.decodes_like(&pipeline)))
    }

    pub(crate) fn pipeline(&self) -> Option<&Pipeline> {
        match &self.rows {
            RowFormat::Elements(elements) => elements.pipeline.as_ref(),
            RowFormat::Variable(_) => None,
        }
    }

    /// Whether rows that fill a chunk are stored unchanged.
    pub(crate) fn is_plain(&self) -> bool {
        self.layout.keeps_elements() && self.pipeline().is_some_and(Pipeline::is_empty)
    }

    /// The maximum size of a chunk in the file.
    fn max_encoded_bytes(&self) -> usize {
        // The overhead of deflate for noise, and of checksums.
        self.layout.chunk_bytes() + self.layout.chunk_bytes() / 100 + (1 << 16)
    }

    /// Reads the part of `region` in the chunk at `origin` into `out`, which has the size of the
    /// region.
    pub(crate) fn read_chunk(
        &self,
        dataset: &Dataset,
        origin: &[u64],
        may_be_missing: bool,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let RowFormat::Elements(ElementFormat {
            pipeline: Some(pipeline),
            is_foreign,
            ..
        }) = &self.rows
        else {
            let message = "the library reads this dataset";
            return Err(Error::new(ErrorKind::Internal, "read", message));
        };
        let layout = &self.layout;
        let chunk_shape = layout.grid.chunk_shape();
        with_buffer(|buffer| {
            let limit = self.max_encoded_bytes();
            let may_be_missing = *is_foreign || may_be_missing;
            let chunk = dataset.read_chunk(origin, limit, may_be_missing, buffer)?;
            let Some((len, mask)) = chunk else {
                return layout.fill_chunk(origin, region, out);
            };
            let encoded = &buffer[..len];
            // If the region is exactly this chunk, decode directly into the output.
            let axes = region.axes().iter().zip(origin);
            let is_chunk = axes.zip(chunk_shape).all(|((axis, &start), &len)| {
                axis.bounds() == (start..start + len) && axis.count == len
            });
            if is_chunk && out.len() == layout.chunk_bytes() {
                return pipeline.decode(encoded, mask, out);
            }
            with_scratch(layout.chunk_bytes(), |chunk| {
                pipeline.decode(encoded, mask, chunk)?;
                let block = Block {
                    data: chunk,
                    origin,
                    shape: chunk_shape,
                };
                copy_block(block, region, out, layout.element_size())
            })
        })
    }
}

/// Whether the chunk shape in the metadata is possible for the dataset.
fn is_normal_chunk(chunk: &[u64], description: &Description) -> bool {
    let Description {
        shape, chunk_shape, ..
    } = description;
    let axes = chunk.iter().zip(shape).skip(1);
    let fits = |(&chunk, &len): (&u64, &u64)| chunk > 0 && (chunk <= len || len == 0);
    match chunk_shape {
        Some(stored) => stored == chunk,
        None => {
            let is_first = shape
                .first()
                .zip(chunk.first())
                .is_some_and(|(len, chunk)| len < chunk);
            is_first && chunk.len() == shape.len() && axes.into_iter().all(fits)
        }
    }
}

fn check_chunk_size(grid: &ChunkGrid, dtype: DType, kind: ErrorKind) -> Result<()> {
    let chunk = grid.chunk_shape();
    let bytes = chunk
        .iter()
        .try_fold(dtype.size() as u64, |bytes, &len| bytes.checked_mul(len));
    if bytes.is_none_or(|bytes| bytes > MAX_CHUNK_BYTES) {
        let message = format!("chunks of {chunk:?} are 4 GiB or more, which HDF5 does not support");
        return Err(Error::new(kind, "plan", message));
    }
    Ok(())
}

impl ColumnFormat for DatasetFormat {
    type Chunk = EncodedChunk;

    fn layout(&self) -> &ColumnLayout {
        &self.layout
    }

    fn encode(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<EncodedChunk> {
        let Some(pipeline) = self.pipeline() else {
            let message = "the library encodes this dataset";
            return Err(Error::new(ErrorKind::Internal, "encode", message));
        };
        self.layout
            .with_chunk(rows, indices, |chunk| pipeline.encode(chunk))
    }

    fn encodes_like(&self, other: &Self) -> bool {
        (&self.layout, self.pipeline()) == (&other.layout, other.pipeline())
    }

    fn writes_chunks(&self) -> bool {
        self.pipeline().is_some_and(Pipeline::is_ours)
    }

    fn stored_of(&self, len: u64, stored: u64, new_bytes: usize) -> u64 {
        let chunk_rows = self.layout.chunk_rows();
        match &self.rows {
            RowFormat::Elements(_) => (len / chunk_rows * chunk_rows).max(stored),
            RowFormat::Variable(_) => {
                let is_much = new_bytes >= VARIABLE_BYTES || len - stored >= chunk_rows;
                if is_much { len } else { stored }
            }
        }
    }

    fn check(&self, rows: RowsRef<'_>) -> Result<()> {
        match &self.rows {
            RowFormat::Elements(_) => Ok(()),
            RowFormat::Variable(type_) => type_.check(rows),
        }
    }
}
