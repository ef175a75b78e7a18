//! Frames: consecutive records of one series as one string on the server.

mod arrow;
mod bincode;

use std::borrow::Cow;
use std::ops::Range;
use std::str::FromStr;

pub(crate) use arrow::{schema_message, stream};
use simrecorder_core::{
    Compression, DType, Error, ErrorBound, ErrorKind, Kind, Records, Result, Schema,
};

use crate::connection::errors::corrupt;

/// How records are serialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisEncoding {
    /// Messages of Arrow IPC, which pyarrow and others read.
    #[default]
    Arrow,
    /// The wire format of bincode 1, for Rust programs.
    Bincode,
}

impl RedisEncoding {
    /// `arrow` or `bincode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Bincode => "bincode",
        }
    }
}

impl FromStr for RedisEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "arrow" => Ok(Self::Arrow),
            "bincode" => Ok(Self::Bincode),
            _ => {
                let message = format!(
                    "there is no encoding '{}'; there are arrow and bincode",
                    name.escape_debug()
                );
                Err(Error::new(ErrorKind::Unsupported, "open", message))
            }
        }
    }
}

/// How the frames of one series are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) encoding: RedisEncoding,
    pub(crate) compression: Compression,
}

/// The most bytes that a compressed frame holds, and may claim to hold; larger ones are not
/// compressed, so that a few bytes cannot fill the memory of who reads them.
const MOST_COMPRESSED: u64 = 128 << 20;

impl Form {
    /// Whether a series or value of `schema` can be written in this form.
    pub(crate) fn check(self, schema: &Schema) -> Result<()> {
        match self.encoding {
            RedisEncoding::Arrow => arrow::check(schema),
            RedisEncoding::Bincode => Ok(()),
        }
    }

    fn bound(self) -> Option<ErrorBound> {
        match self.compression {
            Compression::Lossy(bound) => Some(bound),
            _ => None,
        }
    }

    /// Whether the records lie in a frame as they are.
    pub(crate) fn is_plain(self) -> bool {
        self.codec().is_none()
    }

    fn codec(self) -> Option<Codec> {
        match self.compression {
            Compression::Fast => Some(Codec::Lz4),
            Compression::Small | Compression::Lossy(_) => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// Records of `range` as one frame.
    pub(crate) fn encode(self, records: &Records, range: Range<u64>) -> Result<Pieces<'_>> {
        let mut part = Part::new(records, range);
        if let (Some(bound), Some(dtype)) = (self.bound(), records.schema().dtype()) {
            bound.round(dtype, part.data.to_mut());
        }
        let bytes = part.data.len() + (part.ends.len() + 3) * size_of::<u64>();
        let codec = self.codec().filter(|_| bytes as u64 <= MOST_COMPRESSED);
        match self.encoding {
            RedisEncoding::Arrow => arrow::encode(&part, records.schema(), codec),
            RedisEncoding::Bincode => bincode::encode(&part, codec),
        }
    }

    /// The records of a frame; no more than it says are read of it later.
    pub(crate) fn decode(self, frame: Vec<u8>, schema: &Schema) -> Result<Decoded> {
        let decoded = match self.encoding {
            RedisEncoding::Arrow => arrow::decode(frame, schema),
            RedisEncoding::Bincode => bincode::decode(frame),
        }?;
        decoded.check(schema)?;
        Ok(decoded)
    }

    /// Where the bytes of the records lie in a frame of arrays of `bytes` bytes that begins with
    /// `start`; `None` if they are compressed, or that is too little to tell.
    pub(crate) fn locate(
        self,
        start: &[u8],
        bytes: usize,
        schema: &Schema,
    ) -> Result<Option<Range<usize>>> {
        let located = match self.encoding {
            RedisEncoding::Arrow => arrow::locate(start, bytes),
            RedisEncoding::Bincode => Ok(bincode::locate(start)),
        }?;
        let Some((count, data)) = located else {
            return Ok(None);
        };
        let expected = schema
            .record_bytes()
            .and_then(|size| count.checked_mul(size as u64));
        match expected == Some(data.len() as u64) && data.end <= bytes {
            true => Ok(Some(data)),
            false => Err(corrupt(format!(
                "a frame of {bytes} bytes and {count} records does not hold {schema}"
            ))),
        }
    }
}

/// What compresses the buffers of an Arrow message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Lz4,
    Zstd,
}

/// Some consecutive records on their way into a frame.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) count: u64,
    pub(crate) data: Cow<'a, [u8]>,
    /// Where each record ends in `data`; empty for arrays.
    pub(crate) ends: Vec<u64>,
}

impl<'a> Part<'a> {
    /// The records of `range`, which lies within.
    fn new(records: &'a Records, range: Range<u64>) -> Self {
        let count = range.end - range.start;
        if records.schema().kind().is_fixed() {
            let size = records.schema().record_bytes().unwrap_or(0);
            let bytes = range.start as usize * size..range.end as usize * size;
            return Self {
                count,
                data: Cow::Borrowed(&records.data()[bytes]),
                ends: Vec::new(),
            };
        }
        let before = |index: u64| match index {
            0 => 0,
            index => records.ends()[index as usize - 1],
        };
        let (start, end) = (before(range.start), before(range.end));
        let ends = &records.ends()[range.start as usize..range.end as usize];
        Self {
            count,
            data: Cow::Borrowed(&records.data()[start as usize..end as usize]),
            ends: ends.iter().map(|end| end - start).collect(),
        }
    }
}

/// The bytes of a frame, in pieces, so that the records are copied once.
#[derive(Debug, Default)]
pub(crate) struct Pieces<'a>(pub(crate) Vec<Cow<'a, [u8]>>);

impl Pieces<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>) {
        self.0
            .iter()
            .for_each(|piece| bytes.extend_from_slice(piece));
    }

    pub(crate) fn concat(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.append_to(&mut bytes);
        bytes
    }
}

/// The records of one frame, as [`Records`] has them, but perhaps in the midst of a frame.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) count: u64,
    bytes: Vec<u8>,
    data: Range<usize>,
    pub(crate) ends: Vec<u64>,
}

impl Decoded {
    /// The bytes of all records.
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.data.clone()]
    }

    /// Where the bytes of the records of `range`, which lies within, are in the data.
    pub(crate) fn span(&self, range: Range<u64>, record_bytes: usize, fixed: bool) -> Range<usize> {
        if fixed {
            return range.start as usize * record_bytes..range.end as usize * record_bytes;
        }
        let before = |index: u64| match index {
            0 => 0,
            index => self.ends[index as usize - 1] as usize,
        };
        before(range.start)..before(range.end)
    }

    /// Checks that all records lie within the data.
    fn check(&self, schema: &Schema) -> Result<()> {
        let size = schema.record_bytes().unwrap_or(usize::MAX);
        let len = (self.data.end - self.data.start) as u64;
        let fits = match schema.kind() {
            Kind::Array => self.ends.is_empty() && Some(len) == self.count.checked_mul(size as u64),
            _ => {
                self.ends.len() as u64 == self.count
                    && self.ends.is_sorted()
                    && self.ends.last().copied().unwrap_or(0) == len
                    && self.ends.iter().all(|end| end % (size.max(1) as u64) == 0)
            }
        };
        match fits {
            true => Ok(()),
            false => Err(corrupt(format!(
                "a frame of {} records and {len} bytes does not hold {schema}",
                self.count
            ))),
        }
    }
}

/// The window that Zstandard takes for anything, 8 MiB, as a power of two.
const SMALLEST_WINDOW_LOG: u32 = 23;

/// Decompresses what claims to be `len` bytes, and takes no more memory than what comes.
fn decompress(codec: Codec, compressed: &[u8], len: u64) -> Result<Vec<u8>> {
    use std::io::Read;

    if len > MOST_COMPRESSED {
        return Err(corrupt(format!("a frame claims to hold {len} bytes")));
    }
    let damaged = |e| corrupt("a compressed frame does not decode").with_source(e);
    let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
    match codec {
        Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(compressed)
            .take(len + 1)
            .read_to_end(&mut bytes),
        Codec::Zstd => zstd::Decoder::new(compressed).and_then(|mut decoder| {
            // What looks back further than there are bytes is damaged, or would take much memory.
            let needed = len.max(1).ilog2() + 1;
            decoder.window_log_max(needed.clamp(SMALLEST_WINDOW_LOG, 31))?;
            decoder.take(len + 1).read_to_end(&mut bytes)
        }),
    }
    .map_err(damaged)?;
    match bytes.len() as u64 == len {
        true => Ok(bytes),
        false => Err(corrupt("a compressed frame has not the length it claims")),
    }
}

fn compress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;

    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Internal, "commit", "a frame was not compressed").with_source(e)
    };
    match codec {
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).map_err(failed)?;
            encoder.finish().map_err(|e| failed(e.into()))
        }
        Codec::Zstd => zstd::bulk::compress(bytes, 3).map_err(failed),
    }
}

/// How many elements of how many bytes a number of this type is in Arrow, which knows no complex
/// numbers.
fn parts_of(dtype: DType) -> u64 {
    match dtype {
        DType::Complex64 | DType::Complex128 => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schemas() -> Vec<Schema> {
        vec![
            Schema::scalar::<f64>(),
            Schema::array::<u8>([3, 2]),
            Schema::array::<f32>([0, 4]),
            Schema::ragged::<u16>([]),
            Schema::ragged::<f64>([2]),
            Schema::text(),
            Schema::bytes(),
        ]
    }

    fn forms() -> impl Iterator<Item = Form> {
        let compressions = [Compression::None, Compression::Fast, Compression::Small];
        let encodings = [RedisEncoding::Arrow, RedisEncoding::Bincode];
        encodings.into_iter().flat_map(move |encoding| {
            compressions.map(|compression| Form {
                encoding,
                compression,
            })
        })
    }

    /// Records of these lengths, for series of any kind.
    fn records(schema: Schema, lengths: &[usize]) -> Records {
        let size = schema.record_bytes().unwrap();
        if schema.kind().is_fixed() {
            let data = (0..size * lengths.len()).map(|i| (i / 3) as u8).collect();
            return Records::fixed(schema.into(), lengths.len() as u64, data).unwrap();
        }
        let mut end = 0;
        let ends = lengths.iter().map(|len| {
            end += (len * size) as u64;
            end
        });
        let ends: Vec<u64> = ends.collect();
        let data = vec![b'x'; end as usize];
        Records::variable(schema.into(), ends, data).unwrap()
    }

    #[test]
    fn a_window_beyond_what_a_frame_holds_is_an_error() {
        use std::io::Write;

        for (window_log, sound) in [(SMALLEST_WINDOW_LOG, true), (27, false)] {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(b"little").unwrap();
            let compressed = encoder.finish().unwrap();
            let plain = decompress(Codec::Zstd, &compressed, 6);
            assert_eq!(plain.is_ok(), sound, "{window_log}: {plain:?}");
        }
    }

    #[test]
    fn a_few_bytes_that_claim_to_be_very_much_are_refused() {
        let bytes = 130 << 20;
        let numbers = Schema::scalar::<f64>().into();
        let numbers = Records::fixed(numbers, bytes / 8, vec![0; bytes as usize]).unwrap();
        let text = |ends| Records::variable(Schema::text().into(), ends, vec![0; bytes as usize]);
        let array = Schema::array::<u8>([bytes]).into();
        let array = Records::fixed(array, 1, vec![0; bytes as usize]).unwrap();
        let one = text(vec![bytes]).unwrap();
        let many = text(vec![1000, bytes]).unwrap();
        for records in [numbers, one, many, array] {
            for form in forms().filter(|form| !form.is_plain()) {
                let part = Part::new(&records, 0..records.len());
                let frame = match form.encoding {
                    RedisEncoding::Arrow => arrow::encode(&part, records.schema(), form.codec()),
                    RedisEncoding::Bincode => bincode::encode(&part, form.codec()),
                };
                let error = form.decode(frame.unwrap().concat(), records.schema());
                let error = error.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                // So such ones are written as they are.
                let frame = form.encode(&records, 0..records.len()).unwrap().concat();
                let decoded = form.decode(frame, records.schema()).unwrap();
                assert_eq!(decoded.data().len(), bytes as usize);
            }
        }
    }

    proptest! {
        #[test]
        fn frames_hold_the_records_they_were_made_of(
            lengths in prop::collection::vec(0_usize..9, 1..40),
            cut in any::<prop::sample::Index>(),
        ) {
            for (schema, form) in schemas().into_iter().flat_map(|it| forms().map(move |form| (it.clone(), form))) {
                let records = records(schema.clone(), &lengths);
                let start = cut.index(lengths.len()) as u64;
                let frame = form.encode(&records, start..records.len()).unwrap().concat();
                if schema.kind().is_fixed() && form.compression == Compression::None {
                    let located = form.locate(&frame[..frame.len().min(1024)], frame.len(), &schema);
                    let size = schema.record_bytes().unwrap();
                    prop_assert_eq!(
                        &frame[located.unwrap().unwrap()],
                        &records.data()[start as usize * size..]
                    );
                }
                let decoded = form.decode(frame, &schema).unwrap();
                prop_assert_eq!(decoded.count, records.len() - start);
                let size = schema.record_bytes().unwrap();
                for index in 0..decoded.count {
                    let span = decoded.span(index..index + 1, size, schema.kind().is_fixed());
                    prop_assert_eq!(&decoded.data()[span], records.record(start + index).unwrap());
                }
            }
        }

        #[test]
        fn damaged_frames_are_errors_or_hold_whole_records(
            lengths in prop::collection::vec(0_usize..9, 1..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            for (schema, form) in schemas().into_iter().flat_map(|it| forms().map(move |form| (it.clone(), form))) {
                let records = records(schema.clone(), &lengths);
                let mut frame = form.encode(&records, 0..records.len()).unwrap().concat();
                for (at, byte) in &damage {
                    let at = at.index(frame.len());
                    frame[at] = *byte;
                }
                if damage.len() == 3 {
                    frame.truncate(cut.index(frame.len()));
                }
                if let Ok(Some(located)) = form.locate(&frame[..frame.len().min(200)], frame.len(), &schema) {
                    prop_assert!(located.start <= located.end && located.end <= frame.len());
                }
                // What decodes can be read to its end.
                if let Ok(decoded) = form.decode(frame, &schema) {
                    let (fixed, size) = (schema.kind().is_fixed(), schema.record_bytes().unwrap());
                    let span = decoded.span(0..decoded.count, size, fixed);
                    prop_assert_eq!(decoded.data()[span].len(), decoded.data().len());
                }
            }
        }

        #[test]
        fn any_bytes_are_no_frame_or_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (schema, form) in schemas().into_iter().flat_map(|it| forms().map(move |form| (it.clone(), form))) {
                drop(form.decode(bytes.clone(), &schema));
            }
        }
    }
}
