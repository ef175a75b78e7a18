//! Encodes records as frames, and as the commands that store them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use simrecorder_core::{
    Batch, ChunkPolicy, Compression, DType, Error, ErrorKind, Kind, Records, Result, Schema, Value,
};

use crate::connection::reply::{Commands, Payload};
use crate::format::document::{SeriesDocument, StoredValue};
use crate::format::frame::arrow::stream;
use crate::format::frame::contents::{FrameBytes, Piece, RecordBytes, value_bytes};
use crate::format::frame::{FRAME_BYTES, FrameFormat, RedisEncoding};
use crate::format::names::{SeriesNames, part_names, writer_name};
use crate::options::RedisOptions;
use crate::recording::buffers::BufferPool;

/// Larger records are sent from their place in memory. Smaller ones are copied, because reusing the
/// buffers saves more than a copy costs.
const IN_PLACE_BYTES: usize = 4 << 20;
/// In a cluster, longer values are split, because its client copies each command as a whole.
const CLUSTER_PART_BYTES: usize = 8 << 20;
/// The maximum size of the records in a frame, whatever a chunk policy says.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// Records of unknown size are passed on in batches of this many, or when they fill a buffer.
const VARIABLE_RECORDS: u64 = 4096;
/// How long the server keeps uncommitted frames, in seconds.
const FRAME_LIFETIME: &[u8] = b"600";

/// One frame that was or will be sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) record_count: u64,
    pub(super) byte_len: usize,
    pub(super) part_count: usize,
}

/// A batch as the commands that store its frames.
#[derive(Debug)]
pub(super) struct PreparedBatch {
    /// The prefix of the names of the keys of its series.
    pub(super) prefix: String,
    pub(super) commands: Commands,
    pub(super) frames: Vec<Frame>,
}

/// Encodes the frames of a recording.
#[derive(Debug)]
pub(super) struct FrameEncoder {
    /// The format of new series, unless their schema specifies it.
    format: FrameFormat,
    chunk_policy: ChunkPolicy,
    /// The maximum length of a value on the server; longer frames are split.
    part_bytes: usize,
    /// The prefix of the names of its frames.
    writer: String,
    next_frame: AtomicU64,
    buffers: Arc<BufferPool>,
}

impl FrameEncoder {
    pub(super) fn new(
        format: FrameFormat,
        options: &RedisOptions,
        is_cluster: bool,
        writer: u64,
        buffers: Arc<BufferPool>,
    ) -> Self {
        let most = if is_cluster {
            CLUSTER_PART_BYTES
        } else {
            usize::MAX
        };
        Self {
            format,
            chunk_policy: options.chunk_policy.clone(),
            part_bytes: options.largest_value.min(most),
            writer: writer_name(writer),
            next_frame: AtomicU64::new(0),
            buffers,
        }
    }

    /// The metadata of a new series.
    pub(super) fn new_document(&self, schema: &Schema) -> Result<SeriesDocument> {
        schema.check()?;
        let format = FrameFormat {
            compression: schema.compression().unwrap_or(self.format.compression),
            ..self.format
        };
        format.check(schema)?;
        let policy = schema.chunk_policy().unwrap_or(&self.chunk_policy);
        let chunk_shape = if schema.kind() == Kind::Array {
            let size = schema.dtype().map_or(1, DType::size);
            let mut shape = policy.chunk_shape(schema.record_shape(), size)?;
            // A frame contains complete records.
            for (chunk, record) in shape[1..].iter_mut().zip(schema.record_shape()) {
                *chunk = (*record).max(1);
            }
            let record = schema.record_bytes().unwrap_or(usize::MAX).max(1);
            shape[0] = shape[0].clamp(1, (MAX_FRAME_BYTES / record).max(1) as u64);
            shape
        } else {
            vec![
                policy
                    .fixed_records()
                    .unwrap_or(VARIABLE_RECORDS)
                    .min(VARIABLE_RECORDS),
            ]
        };
        Ok(SeriesDocument::new(schema, format, chunk_shape))
    }

    /// Encodes records of a series ahead of their commit; `None` if some of them are sent from
    /// their place in memory, which [`encode`](Self::encode) prepares without delay.
    pub(super) fn prepare(
        &self,
        series: &SeriesNames,
        records: &Records,
        format: FrameFormat,
    ) -> Result<Option<PreparedBatch>> {
        self.encode_frames(series, records, format, None)
    }

    /// Encodes the records of a batch.
    pub(super) fn encode(
        &self,
        series: &SeriesNames,
        batch: &Arc<Batch>,
        format: FrameFormat,
    ) -> Result<PreparedBatch> {
        let in_place = |bytes: &RecordBytes<'_>| bytes.in_place(batch, |it| it.records.data());
        let encoded = self.encode_frames(series, &batch.records, format, Some(&in_place))?;
        encoded.ok_or_else(|| Error::new(ErrorKind::Internal, "commit", "no frames were made"))
    }

    /// `None` if there is a large uncompressed frame and `in_place` is not set.
    fn encode_frames(
        &self,
        series: &SeriesNames,
        records: &Records,
        format: FrameFormat,
        in_place: Option<InPlace<'_>>,
    ) -> Result<Option<PreparedBatch>> {
        let bytes = records.data().len() + records.ends().len() * 8 + 1024;
        let mut commands = Commands::with_buffer(self.buffers.take(bytes));
        let mut frames = Vec::new();
        for range in frame_ranges(records, FRAME_BYTES) {
            let count = range.end - range.start;
            let frame = format.encode(records, range)?;
            if in_place.is_none() && frame.0.iter().any(is_sent_in_place) {
                return Ok(None);
            }
            frames.push(self.store(&mut commands, series.prefix(), &frame, count, in_place));
        }
        Ok(Some(PreparedBatch {
            prefix: series.prefix().to_owned(),
            commands,
            frames,
        }))
    }

    /// Encodes a value without rounding. `prefix` is the prefix of the names of values.
    pub(super) fn encode_value(
        &self,
        prefix: &str,
        value: &Arc<Value>,
    ) -> Result<(StoredValue, Commands)> {
        let schema = Schema::try_from(&**value)?;
        let compression = match self.format.compression {
            Compression::Lossy(_) => Compression::Small,
            exact => exact,
        };
        let format = FrameFormat {
            compression,
            ..self.format
        };
        format.check(&schema)?;
        let mut frame = format.encode_value(value, &schema)?;
        if format.encoding == RedisEncoding::Arrow {
            frame = stream(&schema, frame);
        }
        let mut commands = Commands::default();
        let in_place = |bytes: &RecordBytes<'_>| {
            bytes.in_place(value, |it| value_bytes(it).unwrap_or_default())
        };
        let stored = self.store(&mut commands, prefix, &frame, 1, Some(&in_place));
        let stored = StoredValue {
            schema,
            dimension_names: value.dimension_names().map(<[_]>::to_vec),
            format,
            frame: stored.name,
            part_count: stored.part_count,
            byte_len: stored.byte_len as u64,
        };
        Ok((stored, commands))
    }

    /// Adds the commands that store one frame, in parts if it is large.
    fn store(
        &self,
        commands: &mut Commands,
        prefix: &str,
        frame: &FrameBytes<'_>,
        record_count: u64,
        in_place: Option<InPlace<'_>>,
    ) -> Frame {
        let number = self.next_frame.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number:x}", self.writer);
        let byte_len = frame.len();
        let part_count = byte_len.div_ceil(self.part_bytes).max(1);
        for (part, full_name) in part_names(prefix, &name, part_count).enumerate() {
            let start = part * self.part_bytes;
            let range = start..byte_len.min(start + self.part_bytes);
            commands.begin(6);
            commands.argument("SET");
            commands.argument(full_name);
            commands.argument_of(range.len(), |commands| {
                for (piece, range) in frame.pieces(range) {
                    match (piece, in_place) {
                        (Piece::Records(records), Some(in_place)) if is_sent_in_place(piece) => {
                            commands.extend_in_place(in_place(&records.slice(range)));
                        }
                        _ => piece
                            .blocks(range)
                            .for_each(|block| commands.extend(&block)),
                    }
                }
            });
            commands.argument("EX");
            commands.argument(FRAME_LIFETIME);
            // A frame that is sent twice must not make a committed frame expire.
            commands.argument("NX");
        }
        Frame {
            name,
            record_count,
            byte_len,
            part_count,
        }
    }
}

/// Makes a payload from the bytes of records.
type InPlace<'a> = &'a dyn Fn(&RecordBytes<'_>) -> Arc<dyn Payload>;

/// Whether a piece of a frame is so large that it is not copied into the commands.
fn is_sent_in_place(piece: &Piece<'_>) -> bool {
    matches!(piece, Piece::Records(records) if records.len() >= IN_PLACE_BYTES)
}

/// Divides records into frames of about this size. A record is never divided.
fn frame_ranges(records: &Records, frame_bytes: usize) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < records.len() {
        let end = if records.schema().kind().is_fixed() {
            let size = records.schema().record_bytes().unwrap_or(1).max(1);
            start + (frame_bytes / size).max(1) as u64
        } else {
            let before = match start {
                0 => 0,
                start => records.ends()[start as usize - 1],
            };
            let rest = &records.ends()[start as usize..];
            // Each record also takes eight bytes for its end.
            let fitting = rest.partition_point(|end| end - before <= frame_bytes as u64);
            start + fitting.clamp(1, frame_bytes / 8 + 1) as u64
        };
        let end = end.min(records.len());
        ranges.push(start..end);
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_into_frames_that_hold_all_of_them() {
        let numbers = Records::fixed(Schema::scalar::<u64>().into(), 10, vec![0; 80]).unwrap();
        assert_eq!(frame_ranges(&numbers, 32), [0..4, 4..8, 8..10]);
        assert_eq!(frame_ranges(&numbers, 1).len(), 10);
        let ends = vec![0, 40, 41, 42, 50];
        let texts = Records::variable(Schema::text().into(), ends, vec![0; 50]).unwrap();
        assert_eq!(frame_ranges(&texts, 16), [0..1, 1..2, 2..5]);
        let none = Records::empty(Schema::text().into());
        assert_eq!(frame_ranges(&none, 16), []);
    }
}
