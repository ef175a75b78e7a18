//! Frames as record batch messages of Arrow IPC.
//!
//! The crate `arrow-ipc` encodes the metadata of the messages. The buffers are written from the
//! memory of the records, and read in the memory of the message.

use std::borrow::Cow;
use std::ops::Range;

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::{
    BodyCompressionBuilder, BodyCompressionMethod, Buffer, CompressionType, FieldNode, Message,
    MessageBuilder, MessageHeader, MetadataVersion, RecordBatch, RecordBatchBuilder,
    root_as_message,
};
use arrow_schema::{DataType, Field};
use flatbuffers::FlatBufferBuilder;
use simrecorder_core::{DType, Error, ErrorKind, Kind, Result, Schema};

use super::codec::{Codec, compress, decompress};
use super::contents::{DecodedFrame, FrameBytes, FrameContents, Piece};
use crate::connection::errors::corrupt;

/// The name of the only column.
const COLUMN: &str = "records";
/// The alignment of buffers.
const ALIGNMENT: usize = 8;
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Arrow counts the elements of a record with 31 bits.
pub(super) fn check(schema: &Schema) -> Result<()> {
    match elements(schema) {
        Some(len) if i32::try_from(len).is_ok() => Ok(()),
        _ => {
            let message = format!(
                "records of shape {:?} have more elements than Arrow allows; use bincode",
                schema.record_shape()
            );
            Err(Error::new(ErrorKind::Unsupported, "plan", message))
        }
    }
}

/// The number of Arrow elements, and their size, for a number of this type. Arrow has no complex
/// numbers.
fn component_count(dtype: DType) -> u64 {
    match dtype {
        DType::Complex64 | DType::Complex128 => 2,
        _ => 1,
    }
}

/// The number of elements in one record, or in one item of a row.
fn elements(schema: &Schema) -> Option<u64> {
    let components = schema.dtype().map_or(1, component_count);
    let shape = schema.record_shape().iter();
    shape.copied().try_fold(components, u64::checked_mul)
}

/// The shape of a record, with an axis for the parts of complex numbers.
fn tensor_shape(schema: &Schema) -> Vec<u64> {
    let components = schema
        .dtype()
        .map(component_count)
        .filter(|&count| count > 1);
    schema
        .record_shape()
        .iter()
        .copied()
        .chain(components)
        .collect()
}

fn number_type(dtype: DType) -> DataType {
    match dtype {
        // Arrow packs its booleans into bits, which tensors do not support.
        DType::Bool | DType::U8 => DataType::UInt8,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        // Arrow has no bfloat16.
        DType::U16 | DType::BF16 => DataType::UInt16,
        DType::U32 => DataType::UInt32,
        DType::U64 => DataType::UInt64,
        DType::F16 => DataType::Float16,
        DType::F32 | DType::Complex64 => DataType::Float32,
        DType::F64 | DType::Complex128 => DataType::Float64,
        // A type that this version does not know is stored as opaque bytes.
        _ => DataType::FixedSizeBinary(dtype.size() as i32),
    }
}

fn element_type(schema: &Schema, dtype: DType) -> DataType {
    let number = number_type(dtype);
    if tensor_shape(schema).is_empty() {
        return number;
    }
    let len = elements(schema).and_then(|len| i32::try_from(len).ok());
    let item = Field::new("item", number, false);
    DataType::FixedSizeList(item.into(), len.unwrap_or(i32::MAX))
}

/// The schema of the messages of a series.
fn arrow_schema(schema: &Schema) -> arrow_schema::Schema {
    let data_type = match (schema.kind(), schema.dtype()) {
        (Kind::Array, Some(dtype)) => element_type(schema, dtype),
        (Kind::Ragged, Some(dtype)) => {
            let item = Field::new("item", element_type(schema, dtype), false);
            DataType::LargeList(item.into())
        }
        (Kind::Text, _) => DataType::LargeUtf8,
        _ => DataType::LargeBinary,
    };
    let mut column = Field::new(COLUMN, data_type, false);
    let shape = tensor_shape(schema);
    if schema.kind() == Kind::Array && !shape.is_empty() {
        let tensor = [
            (
                "ARROW:extension:name",
                "arrow.fixed_shape_tensor".to_owned(),
            ),
            (
                "ARROW:extension:metadata",
                serde_json::json!({ "shape": shape }).to_string(),
            ),
        ];
        let tensor = tensor.map(|(name, text)| (name.to_owned(), text));
        column = column.with_metadata(std::collections::HashMap::from(tensor));
    }
    arrow_schema::Schema::new(vec![column])
}

/// The message that precedes the messages of frames in a stream of Arrow IPC.
pub(crate) fn schema_message(schema: &Schema) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let header = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &arrow_schema(schema));
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_header(header.as_union_value());
    message.add_bodyLength(0);
    let message = message.finish();
    builder.finish(message, None);
    framed(builder.finished_data())
}

/// One frame as a complete stream, for values.
pub(crate) fn stream<'a>(schema: &Schema, frame: FrameBytes<'a>) -> FrameBytes<'a> {
    let mut pieces = vec![Piece::Bytes(schema_message(schema).into())];
    pieces.extend(frame.0);
    pieces.push(Piece::Bytes([CONTINUATION, [0; 4]].concat().into()));
    FrameBytes(pieces)
}

/// Metadata with its prefix, padded so that the body is aligned.
fn framed(metadata: &[u8]) -> Vec<u8> {
    let padded = metadata.len().next_multiple_of(ALIGNMENT);
    let mut bytes = Vec::with_capacity(8 + padded);
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&(padded as u32).to_le_bytes());
    bytes.extend_from_slice(metadata);
    bytes.resize(8 + padded, 0);
    bytes
}

/// The body of a message under construction.
#[derive(Default)]
struct Body<'a> {
    pieces: Vec<Piece<'a>>,
    len: usize,
    buffers: Vec<Buffer>,
    codec: Option<Codec>,
}

impl<'a> Body<'a> {
    /// An empty bitmap buffer, which means that no record is missing.
    fn nothing_missing(&mut self) {
        self.buffers.push(Buffer::new(self.len as i64, 0));
    }

    fn buffer(&mut self, piece: Piece<'a>) -> Result<()> {
        let start = self.len;
        let len = piece.len();
        match self.codec.filter(|_| len > 0) {
            Some(codec) => {
                let compressed = compress(codec, len, piece.blocks(0..len))?;
                // A buffer that does not become smaller is stored unchanged, marked with -1.
                let (len, piece) = match compressed.len() < len {
                    true => (len as i64, Piece::Bytes(compressed.into())),
                    false => (-1, piece),
                };
                self.push(Piece::Bytes(len.to_le_bytes().to_vec().into()));
                self.push(piece);
            }
            None => self.push(piece),
        }
        let len = self.len - start;
        self.buffers.push(Buffer::new(start as i64, len as i64));
        let padding = self.len.next_multiple_of(ALIGNMENT) - self.len;
        self.push(Piece::Bytes(Cow::Borrowed(&[0; ALIGNMENT][..padding])));
        Ok(())
    }

    fn push(&mut self, piece: Piece<'a>) {
        self.len += piece.len();
        self.pieces.push(piece);
    }
}

pub(super) fn encode<'a>(
    contents: &FrameContents<'a>,
    schema: &Schema,
    codec: Option<Codec>,
) -> Result<FrameBytes<'a>> {
    let mut body = Body {
        codec,
        ..Body::default()
    };
    let mut nodes = Vec::new();
    let mut node = |body: &mut Body<'a>, len: u64| {
        nodes.push(FieldNode::new(len as i64, 0));
        body.nothing_missing();
    };
    let size = schema.record_bytes().unwrap_or(1).max(1) as u64;
    node(&mut body, contents.count);
    let mut rows = contents.count;
    if schema.kind() != Kind::Array {
        let offsets = std::iter::once(0).chain(contents.ends.iter().copied());
        let offsets: Vec<u8> = offsets.flat_map(|end| (end / size).to_le_bytes()).collect();
        body.buffer(Piece::Bytes(offsets.into()))?;
        rows = contents.data.len() as u64 / size;
        if schema.kind() == Kind::Ragged {
            node(&mut body, rows);
        }
    }
    if schema.dtype().is_some() && !tensor_shape(schema).is_empty() {
        node(&mut body, rows * elements(schema).unwrap_or(0));
    }
    body.buffer(Piece::Records(contents.data.clone()))?;

    let mut builder = FlatBufferBuilder::new();
    let buffers = builder.create_vector(&body.buffers);
    let nodes = builder.create_vector(&nodes);
    let compression = codec.map(|codec| {
        let mut compression = BodyCompressionBuilder::new(&mut builder);
        compression.add_method(BodyCompressionMethod::BUFFER);
        compression.add_codec(match codec {
            Codec::Lz4 => CompressionType::LZ4_FRAME,
            Codec::Zstd => CompressionType::ZSTD,
        });
        compression.finish()
    });
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(contents.count as i64);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    if let Some(compression) = compression {
        batch.add_compression(compression);
    }
    let batch = batch.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_header(batch);
    message.add_bodyLength(body.len as i64);
    let message = message.finish();
    builder.finish(message, None);

    let mut pieces = vec![Piece::Bytes(framed(builder.finished_data()).into())];
    pieces.extend(body.pieces);
    Ok(FrameBytes(pieces))
}

/// The places of the metadata of the message that begins at `start`, and of its body. The metadata
/// is empty at the end of a stream.
fn message_at(bytes: &[u8], start: usize) -> Result<(Range<usize>, usize)> {
    let cut = || corrupt("an Arrow message ends early");
    let head = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>());
    let [a, b, c, d, len @ ..] = *head.ok_or_else(cut)?;
    if [a, b, c, d] != CONTINUATION {
        return Err(corrupt("a frame does not begin with an Arrow message"));
    }
    let end = usize::try_from(u32::from_le_bytes(len))
        .ok()
        .and_then(|len| (start + 8).checked_add(len))
        .filter(|&end| end <= bytes.len());
    Ok((start + 8..end.ok_or_else(cut)?, start))
}

fn parse(metadata: &[u8]) -> Result<Message<'_>> {
    let message = root_as_message(metadata).map_err(|e| {
        let source = std::io::Error::other(e.to_string());
        corrupt("the metadata of an Arrow message cannot be decoded").with_source(source)
    })?;
    match message.version() {
        MetadataVersion::V4 | MetadataVersion::V5 => Ok(message),
        _ => {
            let message = "this build does not support the version of an Arrow message";
            Err(Error::new(ErrorKind::Unsupported, "read", message))
        }
    }
}

/// The number of records of a frame of arrays of `bytes` bytes that begins with `start`, and the
/// place of their bytes; `None` if they are compressed, or if `start` is too short.
pub(super) fn locate(start: &[u8], bytes: usize) -> Result<Option<(u64, Range<usize>)>> {
    let Ok((metadata, _)) = message_at(start, 0) else {
        return Ok(None);
    };
    let message = parse(&start[metadata.clone()])?;
    let Some(batch) = message.header_as_record_batch() else {
        return Ok(None);
    };
    let buffers = Buffers::new(&batch, metadata.end, bytes)?;
    let data = buffers.ranges.last().filter(|_| buffers.codec.is_none());
    Ok(u64::try_from(batch.length()).ok().zip(data.cloned()))
}

/// Decodes a record batch message, alone or after its schema message.
pub(super) fn decode(frame: Vec<u8>, schema: &Schema) -> Result<DecodedFrame> {
    let (mut metadata, _) = message_at(&frame, 0)?;
    let mut message = parse(&frame[metadata.clone()])?;
    if message.header_type() == MessageHeader::Schema {
        (metadata, _) = message_at(&frame, metadata.end)?;
        message = parse(&frame[metadata.clone()])?;
    }
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| corrupt("a frame is not a record batch of Arrow"))?;
    let count = u64::try_from(batch.length()).map_err(|_| corrupt("a frame of negative length"))?;
    let buffers = Buffers::new(&batch, metadata.end, frame.len())?;

    let size = schema.record_bytes().unwrap_or(1).max(1) as u64;
    // The bitmaps of missing records come first at each level; no record is ever missing.
    let (offsets, data) = match schema.kind() {
        Kind::Array => (None, buffers.ranges.len().checked_sub(1)),
        _ => (Some(1), buffers.ranges.len().checked_sub(1)),
    };
    let data = data.ok_or_else(|| corrupt("a frame without buffers"))?;
    let mut ends = Vec::new();
    if let Some(offsets) = offsets {
        let expected = count.checked_add(1).and_then(|count| count.checked_mul(8));
        let bytes = buffers.read(&frame, offsets, expected)?;
        let (offsets, _) = bytes.as_chunks();
        let mut offsets = offsets.iter().map(|offset| u64::from_le_bytes(*offset));
        if offsets.next() != Some(0) {
            return Err(corrupt("the first record of a frame does not begin at 0"));
        }
        ends = offsets.map(|end| end.saturating_mul(size)).collect();
    }
    let expected = match schema.kind() {
        Kind::Array => count.checked_mul(schema.record_bytes().unwrap_or(usize::MAX) as u64),
        _ => ends.last().copied().or(Some(0)),
    };
    match buffers.read(&frame, data, expected)? {
        Cow::Borrowed(slice) => {
            let start = slice.as_ptr() as usize - frame.as_ptr() as usize;
            let data = start..start + slice.len();
            Ok(DecodedFrame {
                count,
                data,
                ends,
                bytes: frame,
            })
        }
        Cow::Owned(bytes) => Ok(DecodedFrame {
            count,
            data: 0..bytes.len(),
            ends,
            bytes,
        }),
    }
}

/// The places of the buffers of a message in its frame.
struct Buffers {
    ranges: Vec<Range<usize>>,
    codec: Option<Codec>,
}

impl Buffers {
    /// The buffers of a message in a frame of `bytes` bytes, whose body begins at `body`.
    fn new(batch: &RecordBatch<'_>, body: usize, bytes: usize) -> Result<Self> {
        let range = |buffer: &Buffer| {
            let start = usize::try_from(buffer.offset()).ok()?.checked_add(body)?;
            let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
            (end <= bytes).then_some(start..end)
        };
        let ranges = batch.buffers().into_iter().flatten().map(range);
        let ranges = ranges.collect::<Option<Vec<_>>>();
        let codec = match batch.compression().map(|compression| compression.codec()) {
            None => None,
            Some(CompressionType::LZ4_FRAME) => Some(Codec::Lz4),
            Some(CompressionType::ZSTD) => Some(Codec::Zstd),
            Some(_) => {
                let message = "this build does not support the compression of a frame";
                return Err(Error::new(ErrorKind::Unsupported, "read", message));
            }
        };
        Ok(Self {
            ranges: ranges.ok_or_else(|| corrupt("a buffer is outside its frame"))?,
            codec,
        })
    }

    /// The bytes of one buffer, which must have the expected length.
    fn read<'a>(
        &self,
        frame: &'a [u8],
        index: usize,
        expected: Option<u64>,
    ) -> Result<Cow<'a, [u8]>> {
        let range = self.ranges.get(index).cloned();
        let bytes = &frame[range.ok_or_else(|| corrupt("a buffer is missing"))?];
        let bytes = match self.codec.filter(|_| !bytes.is_empty()) {
            None => Cow::Borrowed(bytes),
            Some(codec) => {
                let (len, rest) = bytes
                    .split_first_chunk()
                    .ok_or_else(|| corrupt("a compressed buffer ends early"))?;
                match i64::from_le_bytes(*len) {
                    -1 => Cow::Borrowed(rest),
                    len if u64::try_from(len).ok() == expected => {
                        Cow::Owned(decompress(codec, rest, expected.unwrap_or(0))?)
                    }
                    len => return Err(corrupt(format!("a buffer claims to have {len} bytes"))),
                }
            }
        };
        match expected {
            Some(expected) if expected == bytes.len() as u64 => Ok(bytes),
            _ => Err(corrupt(format!("a buffer has {} bytes", bytes.len()))),
        }
    }
}
