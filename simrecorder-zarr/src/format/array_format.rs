//! How the chunks of an array are encoded. All calls of zarrs' codecs are here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use serde_json::{Map, Value as Json};
use simrecorder_core::backend::columns::{ColumnFormat, ColumnLayout};
use simrecorder_core::backend::fork::PerProcess;
use simrecorder_core::backend::parallel;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{ChunkGrid, Rows, RowsRef, zeroed};
use simrecorder_core::{DType, Error, ErrorKind, Result};
use zarrs::array::{
    ArrayBytes, ArrayBytesOffsets, ArrayMetadataV3, ArrayToBytesCodecTraits, ChunkKeyEncoding,
    ChunkShape, CodecChain, CodecOptions, DataType, FillValue,
};

use zarrs::metadata::v3::MetadataV3;

use crate::format::compressor::Compressor;
use crate::format::fixed_texts::FixedTexts;
use crate::format::metadata::{Document, corrupt};
use crate::format::node_path::entry;
use crate::format::shards::{ShardGrid, short_keys};
use crate::storage::{Chunk, ChunkKey};

/// The format of an array: its metadata without its length. Arrays of the same format share one.
#[derive(Clone, Debug)]
pub(crate) struct ArrayFormat {
    /// The contents of chunks of this format.
    chunks: ColumnLayout,
    zarrs_chunk_shape: ChunkShape,
    data_type: DataType,
    fill_value: FillValue,
    /// The contents of chunks of fixed-length texts, which can only be read.
    fixed_texts: Option<FixedTexts>,
    /// All codecs except the checksum.
    codecs: CodecChain,
    /// The last compressor, if it is decoded here, and the codecs before it.
    compressor: Option<(Compressor, CodecChain)>,
    /// Whether a checksum follows each chunk.
    has_checksum: bool,
    pub(crate) coding: Coding,
    key_encoding: ChunkKeyEncoding,
    /// Like `key_encoding`, for the only chunk of a short array.
    short_key_encoding: ChunkKeyEncoding,
    /// How the chunks are divided among shards, if the medium keeps shards.
    shards: Option<ShardGrid>,
    /// What the metadata says about a full chunk.
    encoding: String,
    /// Whether the only chunk of a short array may have as many rows as the array.
    may_be_short: bool,
    /// The format with full chunks, if this is the format of a short array.
    full: Option<Arc<Self>>,
}

/// The encodings of chunks that can be read in a shorter way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// The elements as they are in memory.
    Plain,
    /// The elements in a Blosc frame.
    Blosc,
    /// Any other encoding, which zarrs decodes.
    Other,
}

impl ArrayFormat {
    /// Reads the format of an array from its metadata. If the medium keeps shards, the chunks of
    /// the format are the inner chunks of shards.
    pub(crate) fn new(document: &Document, keeps_shards: bool) -> Result<Self> {
        match document.without_shards().filter(|_| keeps_shards) {
            Some((document, shards)) => Self::of_chunks(&document, Some(shards)),
            None => Self::of_chunks(document, None),
        }
    }

    fn of_chunks(document: &Document, shards: Option<ShardGrid>) -> Result<Self> {
        if let Some(reason) = document.unreadable() {
            return Err(Error::new(ErrorKind::Unsupported, "read metadata", reason));
        }
        let fixed_texts = document.fixed_texts();
        let document = fixed_texts.as_ref().map_or(document, |(_, plain)| plain);
        let fixed_texts = fixed_texts.as_ref().map(|(texts, _)| *texts);
        let metadata: ArrayMetadataV3 = serde_json::from_value(document.as_json())
            .map_err(|e| corrupt("zarr.json is not a Zarr V3 array").with_source(e))?;
        let dtype = element_type(&metadata)?;
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
        let layout_fill_value = fill_value.as_ne_bytes().to_vec();
        let (data_type, fill_value) = match fixed_texts {
            Some(texts) => bytes_of_texts(texts, &chunk_shape)?,
            None => (data_type, fill_value),
        };
        if document.has_wrong_typesize() {
            return Err(corrupt("the typesize of a codec is out of range"));
        }
        let has_checksum = metadata.codecs.last().is_some_and(is_plain_checksum);
        let (codecs, _) = metadata
            .codecs
            .split_at(metadata.codecs.len() - usize::from(has_checksum));
        let coding = coding(codecs, dtype);
        let chain = |codecs: &[MetadataV3]| {
            CodecChain::from_metadata(codecs)
                .map_err(|e| unsupported("a codec is not known".into()).with_source(e))
        };
        let compressor = match codecs.split_last() {
            Some((last, before)) => Compressor::of(last).map(|it| Ok((it, chain(before)?))),
            None => None,
        };
        let compressor = compressor.transpose()?;
        let codecs = chain(codecs)?;
        let key_encoding = key_encoding(&metadata.chunk_key_encoding)?;
        let short_key_encoding = match &shards {
            // The name of the first shard is different, so that the shard may exist early.
            Some(_) => serde_json::from_value(short_keys())
                .map_err(|e| corrupt("the chunk keys cannot be decoded").with_source(e))
                .and_then(|metadata| self::key_encoding(&metadata))?,
            None => key_encoding.clone(),
        };
        let record_shape = metadata.shape.get(1..).unwrap_or_default().to_vec();
        let may_be_short = document.noted_chunk_shape().is_some();
        let chunks = ColumnLayout::new(
            dtype,
            ChunkGrid::new(chunk_shape, record_shape),
            document.compression(dtype),
            Some(layout_fill_value),
        )?;
        Ok(Self {
            may_be_short: may_be_short && has_checksum && chunks.compression.is_some(),
            full: None,
            chunks,
            zarrs_chunk_shape,
            data_type,
            fill_value,
            fixed_texts,
            codecs,
            compressor,
            has_checksum,
            coding,
            key_encoding,
            short_key_encoding,
            shards,
            encoding: Json::Object(document.encoding()).to_string(),
        })
    }

    /// The contents of chunks. Those of a short array have fewer rows than others.
    pub(crate) fn chunk_layout(&self) -> &ColumnLayout {
        &self.chunks
    }

    /// The rows of the only chunk of a short array.
    pub(crate) fn short_rows(&self) -> Option<u64> {
        self.full.as_ref().map(|_| self.chunks.chunk_rows())
    }

    /// The format with full chunks.
    pub(crate) fn full(self: &Arc<Self>) -> &Arc<Self> {
        self.full.as_ref().unwrap_or(self)
    }

    /// The format of the same array with one chunk of `rows` rows, or with full chunks.
    pub(crate) fn with_short_rows(self: &Arc<Self>, rows: Option<u64>) -> Arc<Self> {
        if rows == self.short_rows() {
            return Arc::clone(self);
        }
        let full = self.full();
        let rows = rows.and_then(NonZeroU64::new);
        let Some(rows) = rows.filter(|rows| rows.get() < full.chunks.chunk_rows()) else {
            return Arc::clone(full);
        };
        let mut short = Self::clone(full);
        short.chunks = full.chunks.with_chunk_rows(rows.get());
        if let Some(first) = short.zarrs_chunk_shape.first_mut() {
            *first = rows;
        }
        short.shards = None;
        short.key_encoding = full.short_key_encoding.clone();
        short.full = Some(Arc::clone(full));
        Arc::new(short)
    }

    /// Whether other snapshots may show the first chunks of a column with `stored` stored rows in
    /// another format.
    pub(crate) fn may_be_resized(&self, stored: u64) -> bool {
        self.may_be_short && (stored == 0 || self.full.is_some())
    }

    /// Whether this version of simrecorder encodes chunks in this way.
    pub(crate) fn is_native(&self) -> bool {
        self.has_checksum && self.chunks.compression.is_some()
    }

    /// The key of a chunk of the array at `path`.
    pub(crate) fn chunk_key(&self, path: &str, indices: &[u64]) -> ChunkKey {
        let placed = self.shards.as_ref().map(|shards| shards.place(indices));
        let (key, slot) = match placed {
            Some((shard, slot)) => (self.key_encoding.encode(&shard), Some(slot)),
            None => (self.key_encoding.encode(indices), None),
        };
        ChunkKey {
            entry: entry(path, key.as_str()),
            slot,
        }
    }

    /// Encodes the chunk `indices` from rows that begin where the chunk does.
    pub(crate) fn encode_chunk(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<Bytes> {
        match self.chunks.dtype {
            None => self.encode_bytes(self.text_chunk(rows)?),
            Some(_) => self.chunks.with_chunk(rows, indices, |chunk| {
                self.encode_bytes(ArrayBytes::new_flen(Cow::Borrowed(chunk)))
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
        let mut encoded = encoded.into_owned();
        if self.has_checksum {
            let sum = checksum(&encoded);
            encoded.reserve_exact(sum.len());
            encoded.extend_from_slice(&sum);
        }
        // The codecs reserve room for the largest possible result, and Zstandard uses it.
        Ok(match encoded.capacity() / 2 > encoded.len() {
            true => Bytes::copy_from_slice(&encoded),
            false => Bytes::from(encoded),
        })
    }

    /// The length of a chunk of `bytes` written bytes without its checksum.
    pub(crate) fn len_without_checksum(&self, bytes: usize) -> usize {
        match self.has_checksum {
            true => bytes.saturating_sub(CHECKSUM_LEN),
            false => bytes,
        }
    }

    /// The encoded chunk without its checksum, which is verified if there is one.
    pub(crate) fn checked<'a>(&self, written: &'a [u8]) -> Result<&'a [u8]> {
        if !self.has_checksum {
            return Ok(written);
        }
        match written.split_last_chunk() {
            Some((encoded, sum)) if *sum == checksum(encoded) => Ok(encoded),
            _ => {
                let message = "the checksum of a chunk does not match its bytes";
                Err(Error::new(ErrorKind::Corrupt, "read", message))
            }
        }
    }

    fn text_chunk(&self, rows: RowsRef<'_>) -> Result<ArrayBytes<'static>> {
        let chunk_rows = self.chunks.chunk_rows();
        if chunk_rows > LARGE_CHUNK as u64 {
            let message = format!("chunks of {chunk_rows} texts are too large");
            return Err(Error::new(ErrorKind::Unsupported, "encode", message));
        }
        let mut data = rows.data.to_vec();
        let mut offsets = vec![0];
        offsets.extend(rows.ends.iter().map(|&end| (end - rows.base) as usize));
        for _ in rows.count..chunk_rows {
            data.extend_from_slice(self.fill_value.as_ne_bytes());
            offsets.push(data.len());
        }
        ArrayBytesOffsets::new(offsets)
            .map_err(|e| e.to_string())
            .and_then(|offsets| ArrayBytes::new_vlen(data, offsets).map_err(|e| e.to_string()))
            .map_err(|e| Error::new(ErrorKind::Internal, "encode", e))
    }

    fn decode_chunk(&self, written: &[u8]) -> Result<ArrayBytes<'static>> {
        let encoded = self.checked(written)?;
        let text_len = self.fixed_texts.map_or(1, |texts| texts.len);
        let bytes = self.chunks.chunk_bytes().saturating_mul(text_len);
        if bytes / self.chunks.element_size() > LARGE_CHUNK {
            // The codecs abort the process if memory is exhausted, so try it first.
            drop(zeroed(bytes)?);
        }
        let (encoded, codecs) = match &self.compressor {
            Some((compressor, before)) => {
                // Checksums and the like add a few bytes.
                let max_len = match self.chunks.dtype {
                    Some(_) => bytes.saturating_mul(2).saturating_add(1 << 10),
                    None => MAX_TEXTS,
                };
                let decoded = compressor.decode(encoded, max_len);
                let decoded = decoded.map_err(|e| damaged().with_source(e))?;
                (Cow::Owned(decoded), before)
            }
            None => (Cow::Borrowed(encoded), &self.codecs),
        };
        let decode = || {
            let bytes = codecs.decode(
                encoded,
                &self.zarrs_chunk_shape,
                &self.data_type,
                &self.fill_value,
                &options(),
            );
            bytes.map(ArrayBytes::into_owned)
        };
        // Codecs of other authors receive whatever bytes the file contains.
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(result) => result.map_err(|e| damaged().with_source(e)),
            Err(_) => Err(damaged()),
        }
    }

    /// Decodes a chunk of elements.
    pub(crate) fn decode(&self, encoded: &[u8]) -> Result<Vec<u8>> {
        let data = self.decode_chunk(encoded)?.into_fixed();
        let data = data.map_err(|e| damaged().with_source(e))?.into_owned();
        if data.len() == self.chunks.chunk_bytes() {
            Ok(data)
        } else {
            Err(damaged())
        }
    }

    /// Decodes the first `count` texts of a chunk.
    pub(crate) fn decode_texts(&self, encoded: &[u8], count: u64) -> Result<Rows> {
        let chunk = self.decode_chunk(encoded)?;
        if let Some(texts) = self.fixed_texts {
            let bytes = chunk.into_fixed().map_err(|e| damaged().with_source(e))?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let wanted = bytes.get(..count.saturating_mul(texts.len));
            let (data, ends) = wanted
                .and_then(|bytes| texts.texts(bytes))
                .ok_or_else(damaged)?;
            let count = count as u64;
            return Ok(Rows { count, data, ends });
        }
        let texts = chunk
            .into_variable()
            .map_err(|e| damaged().with_source(e))?;
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

impl ColumnFormat for ArrayFormat {
    type Chunk = Chunk;

    fn layout(&self) -> &ColumnLayout {
        match &self.full {
            Some(full) => &full.chunks,
            None => &self.chunks,
        }
    }

    fn resized(self: &Arc<Self>, before: u64, stored: u64) -> Arc<Self> {
        match self.may_be_resized(before) {
            true => self.with_short_rows(Some(stored)),
            false => Arc::clone(self),
        }
    }

    fn resized_like(self: &Arc<Self>, before: u64, other: &Self) -> Option<Arc<Self>> {
        let resized = self.with_short_rows(other.short_rows());
        let fits = self.may_be_resized(before) || Arc::ptr_eq(&resized, self);
        fits.then_some(resized)
    }

    fn encode(&self, rows: RowsRef<'_>, indices: &[u64]) -> Result<Chunk> {
        self.encode_chunk(rows, indices).map(Chunk::Bytes)
    }

    fn encodes_like(&self, other: &Self) -> bool {
        // The same codecs may store numbers that were rounded to another bound.
        self.chunks.compression == other.chunks.compression
            && self.chunks.grid.record_shape() == other.chunks.grid.record_shape()
            && self.encoding == other.encoding
    }
}

/// simrecorder does not write chunks with more elements.
const LARGE_CHUNK: usize = 1 << 28;

/// The maximum size of the texts of a chunk. numcodecs does not write more.
const MAX_TEXTS: usize = i32::MAX as usize;

fn options() -> CodecOptions {
    // They get rayon's threads from rayon.
    static DEFAULT: PerProcess<CodecOptions> =
        PerProcess::new(|| parallel::within_pool(CodecOptions::default));
    // Several chunks are decoded in parallel, each on one thread.
    DEFAULT.get().with_concurrent_target(1)
}

pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "read", "a chunk cannot be decoded")
}

fn unsupported(message: String) -> Error {
    let message = format!("{message}; this version of simrecorder does not read such an array");
    Error::new(ErrorKind::Unsupported, "read metadata", message)
}

/// The type of the elements; `None` for texts.
fn element_type(metadata: &ArrayMetadataV3) -> Result<Option<DType>> {
    let name = metadata.data_type.name();
    if name == "string" {
        if metadata.shape.len() > 1 {
            return Err(unsupported(
                "it contains texts and has more than one axis".into(),
            ));
        }
        return Ok(None);
    }
    name.parse()
        .map(Some)
        .map_err(|_| unsupported(format!("its data type is {}", name.escape_debug())))
}

/// The type with which zarrs decodes fixed-length texts: bytes.
fn bytes_of_texts(texts: FixedTexts, chunk_shape: &[u64]) -> Result<(DataType, FillValue)> {
    let count = chunk_shape.iter().product::<u64>();
    let is_addressed = count.checked_mul(texts.len as u64);
    if is_addressed.is_none_or(|bytes| bytes > isize::MAX as u64) {
        return Err(corrupt(format!("chunks of {count} texts are too large")));
    }
    let fill_value = FillValue::new(zeroed(texts.len)?);
    serde_json::from_value(texts.bytes_type())
        .ok()
        .and_then(|metadata: MetadataV3| DataType::from_metadata(&metadata).ok())
        .map(|data_type| (data_type, fill_value))
        .ok_or_else(|| corrupt(format!("texts of {} bytes are too long", texts.len)))
}

/// The length of a checksum in bytes.
pub(crate) const CHECKSUM_LEN: usize = 4;

/// The CRC-32C of some bytes, as the codec `crc32c` of Zarr V3 writes it.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes);
    // A 32-bit checksum is stored in 64 bits.
    (sum as u32).to_le_bytes()
}

/// Whether this is the standard codec `crc32c`, after the bytes.
fn is_plain_checksum(codec: &MetadataV3) -> bool {
    codec.name() == "crc32c" && codec.configuration().is_none_or(|fields| fields.is_empty())
}

fn coding(codecs: &[MetadataV3], dtype: Option<DType>) -> Coding {
    let Some(dtype) = dtype else {
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

fn key_encoding(metadata: &MetadataV3) -> Result<ChunkKeyEncoding> {
    ChunkKeyEncoding::from_metadata(metadata)
        .map_err(|e| unsupported("the chunk key encoding is not known".into()).with_source(e))
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

/// Formats by their metadata, so that ten thousand series share one.
#[derive(Debug)]
pub(crate) struct FormatCache {
    keeps_shards: bool,
    formats: Mutex<HashMap<Vec<u8>, Weak<ArrayFormat>>>,
}

impl FormatCache {
    /// Creates the formats of a recording on a medium that may keep shards.
    pub(crate) fn new(keeps_shards: bool) -> Self {
        Self {
            keeps_shards,
            formats: Mutex::default(),
        }
    }

    /// How a chunk of an array is divided and encoded, wherever it is stored.
    pub(crate) fn chunk_encoding(&self, document: &Document) -> Map<String, Json> {
        let mut full = document.clone();
        full.set_short_rows(None);
        match full.without_shards().filter(|_| self.keeps_shards) {
            Some((document, _)) => document.encoding(),
            None => document.encoding(),
        }
    }

    pub(crate) fn get(&self, document: &Document) -> Result<Arc<ArrayFormat>> {
        let text = document.format_text();
        if let Some(format) = self.formats.lock().get(&text).and_then(Weak::upgrade) {
            return Ok(format);
        }
        let format = match document.short_rows() {
            None => Arc::new(ArrayFormat::new(document, self.keeps_shards)?),
            Some(rows) => {
                let mut full = document.clone();
                full.set_short_rows(None);
                self.get(&full)?.with_short_rows(Some(rows))
            }
        };
        let mut formats = self.formats.lock();
        formats.retain(|_, format| format.strong_count() > 0);
        formats.insert(text, Arc::downgrade(&format));
        Ok(format)
    }
}
