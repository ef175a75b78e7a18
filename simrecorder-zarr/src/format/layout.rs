//! How the chunks of an array are laid out and encoded: all calls of zarrs' codecs are here.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use simrecorder_core::backend::{ChunkGrid, RowSize, Rows, RowsRef, zeroed};
use simrecorder_core::{Compression, Error, ErrorKind, Result};
use zarrs::array::{
    ArrayBytes, ArrayBytesOffsets, ArrayMetadataV3, ArrayToBytesCodecTraits, ChunkKeyEncoding,
    ChunkShape, CodecChain, CodecOptions, DataType, FillValue,
};

use zarrs::metadata::v3::MetadataV3;

use crate::format::chunk_read::with_scratch;
use crate::format::metadata::{ColumnType, Document, corrupt};

/// The layout of an array, without its length. Arrays with the same layout share one.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) column: ColumnType,
    /// The shapes of a row (all axes but the first) and of a chunk.
    pub(crate) grid: ChunkGrid,
    /// How chunks are compressed; `None` for a way that simrecorder does not write.
    pub(crate) compression: Option<Compression>,
    zarrs_chunk_shape: ChunkShape,
    data_type: DataType,
    fill_value: FillValue,
    /// All codecs but the checksum.
    codecs: CodecChain,
    /// Whether each chunk is followed by its checksum.
    has_checksum: bool,
    /// What there is a shorter way of reading for.
    pub(crate) coding: Coding,
    key_encoding: ChunkKeyEncoding,
    /// What the metadata says about one chunk.
    encoding: String,
}

/// How chunks are encoded, as far as reading them in parts goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// The elements as they are in memory.
    Plain,
    /// The same in a Blosc frame.
    Blosc,
    /// Something else: zarrs knows.
    Other,
}

impl Layout {
    /// Reads the layout of an array from its metadata.
    pub(crate) fn new(document: &Document) -> Result<Self> {
        let metadata: ArrayMetadataV3 = serde_json::from_value(document.as_json())
            .map_err(|e| corrupt("zarr.json is no Zarr V3 array").with_source(e))?;
        let column = column_type(&metadata)?;
        if let Some(field) = metadata
            .additional_fields
            .iter()
            .find(|(_, field)| field.must_understand())
        {
            return Err(unsupported(format!(
                "the array has the unknown field '{}'",
                field.0
            )));
        }
        if !metadata.storage_transformers.is_empty() {
            return Err(unsupported("the array has storage transformers".into()));
        }
        let zarrs_chunk_shape = regular_chunk_shape(&metadata)?;
        let chunk_shape: Vec<u64> = zarrs_chunk_shape.iter().map(|len| len.get()).collect();
        if chunk_shape.len() != metadata.shape.len() {
            return Err(corrupt("chunks and array have different numbers of axes"));
        }
        let data_type = DataType::from_metadata(&metadata.data_type)
            .map_err(|e| unsupported("the data type is not known".into()).with_source(e))?;
        let fill_value = data_type
            .fill_value_v3(&metadata.fill_value)
            .map_err(|e| corrupt("the fill value does not fit the data type").with_source(e))?;
        if document.has_wrong_typesize() {
            return Err(corrupt("the typesize of a codec is out of range"));
        }
        let has_checksum = metadata.codecs.last().is_some_and(is_plain_checksum);
        let (codecs, _) = metadata
            .codecs
            .split_at(metadata.codecs.len() - usize::from(has_checksum));
        let coding = coding(codecs, column);
        let codecs = CodecChain::from_metadata(codecs)
            .map_err(|e| unsupported("a codec is not known".into()).with_source(e))?;
        let key_encoding =
            ChunkKeyEncoding::from_metadata(&metadata.chunk_key_encoding).map_err(|e| {
                unsupported("the chunk key encoding is not known".into()).with_source(e)
            })?;
        let layout = Self {
            column,
            grid: ChunkGrid::new(
                chunk_shape,
                metadata.shape.get(1..).unwrap_or_default().to_vec(),
            ),
            compression: document.compression(column),
            zarrs_chunk_shape,
            data_type,
            fill_value,
            codecs,
            has_checksum,
            coding,
            key_encoding,
            encoding: serde_json::Value::Object(document.encoding()).to_string(),
        };
        if layout.chunk_elements().is_none() {
            return Err(corrupt(format!(
                "chunks of {:?} are too large",
                layout.grid.chunk_shape()
            )));
        }
        Ok(layout)
    }

    /// Whether the chunks of an array with the layout `other` are chunks of this one too.
    pub(crate) fn encodes_like(&self, other: &Self) -> bool {
        // The same codecs may hold numbers that were rounded to another bound.
        self.grid.record_shape() == other.grid.record_shape()
            && self.encoding == other.encoding
            && self.compression == other.compression
    }

    /// Whether this is a way in which this version of simrecorder encodes chunks.
    pub(crate) fn is_own(&self) -> bool {
        self.has_checksum && self.compression.is_some()
    }

    /// The bytes of one element; 1 for text.
    pub(crate) fn element_size(&self) -> usize {
        match self.column {
            ColumnType::Elements(dtype) => dtype.size(),
            ColumnType::Text => 1,
        }
    }

    pub(crate) fn row_size(&self) -> RowSize {
        match self.column {
            ColumnType::Text => RowSize::Variable,
            ColumnType::Elements(dtype) => RowSize::Fixed(
                self.grid
                    .record_shape()
                    .iter()
                    .map(|&len| len as usize)
                    .product::<usize>()
                    * dtype.size(),
            ),
        }
    }

    /// How many rows a chunk has.
    pub(crate) fn chunk_rows(&self) -> u64 {
        self.grid.chunk_records()
    }

    /// How many elements a chunk has; `None` if a chunk or a row cannot be addressed.
    fn chunk_elements(&self) -> Option<usize> {
        let elements = self
            .grid
            .chunk_shape()
            .iter()
            .try_fold(self.element_size(), |count, &len| {
                count.checked_mul(usize::try_from(len).ok()?)
            })?;
        let row = self
            .grid
            .record_shape()
            .iter()
            .try_fold(self.element_size(), |size, &len| {
                size.checked_mul(usize::try_from(len).ok()?)
            });
        row.filter(|&row| row < isize::MAX as usize)?;
        (elements < isize::MAX as usize).then_some(elements / self.element_size())
    }

    /// The bytes of a chunk of elements.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_elements().unwrap_or(0) * self.element_size()
    }

    /// The bytes of one element that was never written.
    pub(crate) fn fill_bytes(&self) -> &[u8] {
        self.fill_value.as_ne_bytes()
    }

    /// The entry of a chunk of the array at `path`.
    pub(crate) fn chunk_entry(&self, path: &str, indices: &[u64]) -> String {
        let key = self.key_encoding.encode(indices);
        if path.is_empty() {
            key.as_str().to_owned()
        } else {
            format!("{path}/{key}")
        }
    }

    /// Encodes one chunk out of rows that begin where the chunk does. Rows that are missing at
    /// its end, and elements outside the array, have the fill value.
    pub(crate) fn encode(&self, rows: RowsRef<'_>, row_chunk: &[u64]) -> Result<Bytes> {
        let whole = rows.count == self.chunk_rows()
            && self
                .grid
                .record_shape()
                .iter()
                .zip(self.grid.chunk_shape().iter().skip(1))
                .all(|(a, b)| a == b);
        match self.column {
            ColumnType::Text => self.encode_bytes(self.text_chunk(rows)?),
            ColumnType::Elements(_) if whole && !self.is_lossy() => {
                self.encode_bytes(ArrayBytes::new_flen(Cow::Borrowed(rows.data)))
            }
            ColumnType::Elements(_) => with_scratch(self.chunk_bytes(), |chunk| {
                self.fill(chunk);
                let size = self.element_size();
                self.grid
                    .place_records(rows.count, rows.data, row_chunk, chunk, size);
                self.round(chunk);
                self.encode_bytes(ArrayBytes::new_flen(Cow::Borrowed(&*chunk)))
            }),
        }
    }

    fn encode_bytes(&self, bytes: ArrayBytes<'_>) -> Result<Bytes> {
        let options = options();
        let encoded = self.codecs.encode(
            bytes,
            &self.zarrs_chunk_shape,
            &self.data_type,
            &self.fill_value,
            &options,
        );
        let encoded = encoded.map_err(|e| {
            Error::new(ErrorKind::Internal, "encode", "a codec failed").with_source(e)
        })?;
        if !self.has_checksum {
            return Ok(Bytes::from(encoded.into_owned()));
        }
        let sum = checksum(&encoded);
        let mut encoded = encoded.into_owned();
        encoded.extend_from_slice(&sum);
        Ok(Bytes::from(encoded))
    }

    /// How many bytes of a chunk that is written in `bytes` bytes are not its checksum.
    pub(crate) fn len_without_checksum(&self, bytes: usize) -> usize {
        match self.has_checksum {
            true => bytes.saturating_sub(CHECKSUM_LEN),
            false => bytes,
        }
    }

    /// What a chunk was encoded to, after a look at its checksum if it has one.
    pub(crate) fn checked<'a>(&self, written: &'a [u8]) -> Result<&'a [u8]> {
        if !self.has_checksum {
            return Ok(written);
        }
        match written.split_last_chunk() {
            Some((encoded, sum)) if *sum == checksum(encoded) => Ok(encoded),
            _ => {
                let message = "the checksum of a chunk is not that of its bytes";
                Err(Error::new(ErrorKind::Corrupt, "read", message))
            }
        }
    }

    /// Rows as they are stored in a tail: what is read from it must not change when they go
    /// into a chunk.
    pub(crate) fn tail_rows(&self, rows: RowsRef<'_>) -> Rows {
        let mut rows = rows.to_rows();
        self.round(&mut rows.data);
        rows
    }

    fn is_lossy(&self) -> bool {
        matches!(self.compression, Some(Compression::Lossy(_)))
    }

    /// Rounds elements, if the compression of the array is lossy.
    fn round(&self, elements: &mut [u8]) {
        if let Some(Compression::Lossy(bound)) = self.compression
            && let ColumnType::Elements(dtype) = self.column
        {
            bound.round(dtype, elements);
        }
    }

    /// That many elements, all of which have the fill value.
    pub(crate) fn filled(&self, elements: usize) -> Result<Vec<u8>> {
        let mut filled = zeroed(elements.saturating_mul(self.fill_bytes().len()))?;
        if self.fill_bytes().iter().any(|&byte| byte != 0) {
            self.fill(&mut filled);
        }
        Ok(filled)
    }

    fn fill(&self, elements: &mut [u8]) {
        let fill = self.fill_bytes();
        match fill.iter().all(|&byte| byte == 0) {
            true => elements.fill(0),
            false => elements
                .chunks_exact_mut(fill.len())
                .for_each(|element| element.copy_from_slice(fill)),
        }
    }

    fn text_chunk(&self, rows: RowsRef<'_>) -> Result<ArrayBytes<'static>> {
        if self.chunk_rows() > LARGE_CHUNK as u64 {
            let message = format!("chunks of {} texts are too large", self.chunk_rows());
            return Err(Error::new(ErrorKind::Unsupported, "encode", message));
        }
        let mut data = rows.data.to_vec();
        let mut offsets = vec![0];
        offsets.extend(rows.ends.iter().map(|&end| (end - rows.base) as usize));
        for _ in rows.count..self.chunk_rows() {
            data.extend_from_slice(self.fill_bytes());
            offsets.push(data.len());
        }
        ArrayBytesOffsets::new(offsets)
            .map_err(|e| e.to_string())
            .and_then(|offsets| ArrayBytes::new_vlen(data, offsets).map_err(|e| e.to_string()))
            .map_err(|e| Error::new(ErrorKind::Internal, "encode", e))
    }

    fn decode_chunk(&self, written: &[u8]) -> Result<ArrayBytes<'static>> {
        let encoded = self.checked(written)?;
        if let Some(elements) = self.chunk_elements().filter(|&count| count > LARGE_CHUNK) {
            // The codecs abort the process where there is no memory: better to know before.
            drop(zeroed(elements.saturating_mul(self.element_size()))?);
        }
        let decode = || {
            let bytes = self.codecs.decode(
                Cow::Borrowed(encoded),
                &self.zarrs_chunk_shape,
                &self.data_type,
                &self.fill_value,
                &options(),
            );
            bytes.map(ArrayBytes::into_owned)
        };
        // Codecs of other authors get whatever bytes the file holds.
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(result) => result.map_err(|e| damaged().with_source(e)),
            Err(_) => Err(damaged()),
        }
    }

    /// Decodes a chunk of elements.
    pub(crate) fn decode(&self, encoded: &[u8]) -> Result<Vec<u8>> {
        let data = self.decode_chunk(encoded)?.into_fixed();
        let data = data.map_err(|e| damaged().with_source(e))?.into_owned();
        if data.len() == self.chunk_bytes() {
            Ok(data)
        } else {
            Err(damaged())
        }
    }

    /// Decodes the first `count` texts of a chunk.
    pub(crate) fn decode_texts(&self, encoded: &[u8], count: u64) -> Result<Rows> {
        let texts = self.decode_chunk(encoded)?.into_variable();
        let texts = texts.map_err(|e| damaged().with_source(e))?;
        let offsets = texts.offsets();
        let ends: Vec<u64> = offsets
            .iter()
            .skip(1)
            .take(count as usize)
            .map(|&end| end as u64)
            .collect();
        let (first, last) = (offsets.first().copied(), ends.last().copied().unwrap_or(0));
        if ends.len() as u64 != count || first != Some(0) || !ends.is_sorted() {
            return Err(damaged());
        }
        let data = texts.bytes().get(..last as usize).ok_or_else(damaged)?;
        Ok(Rows {
            count,
            data: data.to_vec(),
            ends,
        })
    }
}

/// Chunks with more elements are not what simrecorder writes.
const LARGE_CHUNK: usize = 1 << 28;

fn options() -> CodecOptions {
    // Chunks are coded in parallel, each on one thread.
    CodecOptions::default().with_concurrent_target(1)
}

pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "read", "a chunk does not decode")
}

fn unsupported(message: String) -> Error {
    let message = format!("{message}; this version of simrecorder does not read such an array");
    Error::new(ErrorKind::Unsupported, "read metadata", message)
}

fn column_type(metadata: &ArrayMetadataV3) -> Result<ColumnType> {
    let name = metadata.data_type.name();
    if name == "string" {
        if metadata.shape.len() > 1 {
            return Err(unsupported(
                "it holds texts and has more than one axis".into(),
            ));
        }
        return Ok(ColumnType::Text);
    }
    name.parse()
        .map(ColumnType::Elements)
        .map_err(|_| unsupported(format!("its data type is {}", name.escape_debug())))
}

/// The bytes of a checksum.
const CHECKSUM_LEN: usize = 4;

/// The CRC-32C of some bytes, as the codec `crc32c` of Zarr V3 writes it.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes);
    // Of the 64 bits that hold any sum, these are this one.
    (sum as u32).to_le_bytes()
}

/// Whether this is the codec `crc32c` as the standard has it, behind the bytes.
fn is_plain_checksum(codec: &MetadataV3) -> bool {
    codec.name() == "crc32c" && codec.configuration().is_none_or(|fields| fields.is_empty())
}

fn coding(codecs: &[MetadataV3], column: ColumnType) -> Coding {
    let ColumnType::Elements(dtype) = column else {
        return Coding::Other;
    };
    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
    let endian = codecs.first().and_then(|codec| {
        let endian = codec.configuration()?.get("endian")?;
        Some(endian.as_str() == Some("little") && cfg!(target_endian = "little"))
    });
    match names[..] {
        _ if !endian.unwrap_or(dtype.size() == 1) => Coding::Other,
        ["bytes"] => Coding::Plain,
        ["bytes", "blosc"] => Coding::Blosc,
        _ => Coding::Other,
    }
}

fn regular_chunk_shape(metadata: &ArrayMetadataV3) -> Result<ChunkShape> {
    let grid = &metadata.chunk_grid;
    if grid.name() != "regular" {
        return Err(unsupported(format!(
            "its chunk grid is {}",
            grid.name().escape_debug()
        )));
    }
    grid.configuration()
        .and_then(|configuration| configuration.get("chunk_shape"))
        .cloned()
        .and_then(|shape| serde_json::from_value(shape).ok())
        .ok_or_else(|| corrupt("the chunk grid has no valid chunk shape"))
}

/// Layouts by what their metadata says, so that ten thousand series share one.
#[derive(Debug, Default)]
pub(crate) struct LayoutCache(
    parking_lot::Mutex<std::collections::HashMap<String, std::sync::Weak<Layout>>>,
);

impl LayoutCache {
    pub(crate) fn get(&self, document: &Document) -> Result<Arc<Layout>> {
        let text = document.layout_text();
        if let Some(layout) = self.0.lock().get(&text).and_then(std::sync::Weak::upgrade) {
            return Ok(layout);
        }
        let layout = Arc::new(Layout::new(document)?);
        let mut layouts = self.0.lock();
        layouts.retain(|_, layout| layout.strong_count() > 0);
        layouts.insert(text, Arc::downgrade(&layout));
        Ok(layout)
    }
}
