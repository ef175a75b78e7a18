//! Frames: consecutive records of one series as one string on the server.

pub(crate) mod arrow;
mod bincode;
mod codec;
pub(crate) mod contents;

use std::ops::Range;
use std::str::FromStr;

use simrecorder_core::{Compression, Error, ErrorKind, Records, Result, Schema, Value};

use self::codec::{Codec, MAX_COMPRESSED_BYTES};
use self::contents::{DecodedFrame, FrameBytes, FrameContents};
use crate::connection::errors::corrupt;

/// The serialisation of records.
///
/// ```
/// use simrecorder_redis::{RedisDataStore, RedisEncoding};
///
/// let options = RedisDataStore::options().encoding(RedisEncoding::Bincode);
/// assert_eq!(RedisEncoding::Bincode.as_str(), "bincode");
/// # drop(options);
/// ```
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
                    "unknown encoding '{}'; use arrow or bincode",
                    name.escape_debug()
                );
                Err(Error::new(ErrorKind::Unsupported, "open", message))
            }
        }
    }
}

/// The size of a frame. Messages of 64 to 256 KiB had the highest throughput.
pub(crate) const FRAME_BYTES: usize = 256 << 10;

/// How the frames of one series are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameFormat {
    pub(crate) encoding: RedisEncoding,
    pub(crate) compression: Compression,
}

impl FrameFormat {
    /// Whether a series or value of `schema` can be written in this format.
    pub(crate) fn check(self, schema: &Schema) -> Result<()> {
        match self.encoding {
            RedisEncoding::Arrow => arrow::check(schema),
            RedisEncoding::Bincode => Ok(()),
        }
    }

    /// Whether the records are stored in a frame unchanged.
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

    /// Encodes the records of `range` as one frame.
    pub(crate) fn encode(self, records: &Records, range: Range<u64>) -> Result<FrameBytes<'_>> {
        let rounding = match self.compression {
            Compression::Lossy(bound) => Some(bound).zip(records.schema().dtype()),
            _ => None,
        };
        let contents = FrameContents::new(records, range, rounding);
        self.encode_contents(&contents, records.schema())
    }

    /// Encodes a value as one frame, without rounding.
    pub(crate) fn encode_value<'a>(
        self,
        value: &'a Value,
        schema: &Schema,
    ) -> Result<FrameBytes<'a>> {
        let contents = FrameContents::of_value(value).ok_or_else(|| {
            let message = "this kind of value is not supported";
            Error::new(ErrorKind::Unsupported, "commit", message)
        })?;
        self.encode_contents(&contents, schema)
    }

    fn encode_contents<'a>(
        self,
        contents: &FrameContents<'a>,
        schema: &Schema,
    ) -> Result<FrameBytes<'a>> {
        let bytes = contents.data.len() + (contents.ends.len() + 3) * size_of::<u64>();
        let codec = self
            .codec()
            .filter(|_| bytes as u64 <= MAX_COMPRESSED_BYTES);
        match self.encoding {
            RedisEncoding::Arrow => arrow::encode(contents, schema, codec),
            RedisEncoding::Bincode => bincode::encode(contents, codec),
        }
    }

    /// Decodes the records of a frame.
    pub(crate) fn decode(self, frame: Vec<u8>, schema: &Schema) -> Result<DecodedFrame> {
        let decoded = match self.encoding {
            RedisEncoding::Arrow => arrow::decode(frame, schema),
            RedisEncoding::Bincode => bincode::decode(frame),
        }?;
        decoded.check(schema)?;
        Ok(decoded)
    }

    /// The place of the bytes of the records in a frame of arrays of `bytes` bytes that begins with
    /// `start`; `None` if they are compressed, or if `start` is too short.
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
                "a frame of {bytes} bytes and {count} records does not match {schema}"
            ))),
        }
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

    fn formats() -> impl Iterator<Item = FrameFormat> {
        let compressions = [Compression::None, Compression::Fast, Compression::Small];
        let encodings = [RedisEncoding::Arrow, RedisEncoding::Bincode];
        encodings.into_iter().flat_map(move |encoding| {
            compressions.map(|compression| FrameFormat {
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
            for format in formats().filter(|format| !format.is_plain()) {
                let contents = FrameContents::new(&records, 0..records.len(), None);
                let frame = match format.encoding {
                    RedisEncoding::Arrow => {
                        arrow::encode(&contents, records.schema(), format.codec())
                    }
                    RedisEncoding::Bincode => bincode::encode(&contents, format.codec()),
                };
                let error = format.decode(frame.unwrap().concat(), records.schema());
                let error = error.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                // So such records are stored uncompressed.
                let frame = format.encode(&records, 0..records.len()).unwrap().concat();
                let decoded = format.decode(frame, records.schema()).unwrap();
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
            for (schema, format) in schemas().into_iter().flat_map(|it| formats().map(move |format| (it.clone(), format))) {
                let records = records(schema.clone(), &lengths);
                let start = cut.index(lengths.len()) as u64;
                let frame = format.encode(&records, start..records.len()).unwrap().concat();
                if schema.kind().is_fixed() && format.compression == Compression::None {
                    let located = format.locate(&frame[..frame.len().min(1024)], frame.len(), &schema);
                    let size = schema.record_bytes().unwrap();
                    prop_assert_eq!(
                        &frame[located.unwrap().unwrap()],
                        &records.data()[start as usize * size..]
                    );
                }
                let decoded = format.decode(frame, &schema).unwrap();
                prop_assert_eq!(decoded.count, records.len() - start);
                let size = schema.record_bytes().unwrap();
                for index in 0..decoded.count {
                    let span = decoded.span(index..index + 1, size, schema.kind().is_fixed());
                    prop_assert_eq!(&decoded.data()[span], records.record(start + index).unwrap());
                }
            }
        }

        #[test]
        fn damaged_frames_are_errors_or_contain_whole_records(
            lengths in prop::collection::vec(0_usize..9, 1..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            for (schema, format) in schemas().into_iter().flat_map(|it| formats().map(move |format| (it.clone(), format))) {
                let records = records(schema.clone(), &lengths);
                let mut frame = format.encode(&records, 0..records.len()).unwrap().concat();
                for (at, byte) in &damage {
                    let at = at.index(frame.len());
                    frame[at] = *byte;
                }
                if damage.len() == 3 {
                    frame.truncate(cut.index(frame.len()));
                }
                if let Ok(Some(located)) = format.locate(&frame[..frame.len().min(200)], frame.len(), &schema) {
                    prop_assert!(located.start <= located.end && located.end <= frame.len());
                }
                // Records that can be decoded can be read to their end.
                if let Ok(decoded) = format.decode(frame, &schema) {
                    let (fixed, size) = (schema.kind().is_fixed(), schema.record_bytes().unwrap());
                    let span = decoded.span(0..decoded.count, size, fixed);
                    prop_assert_eq!(decoded.data()[span].len(), decoded.data().len());
                }
            }
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (schema, format) in schemas().into_iter().flat_map(|it| formats().map(move |format| (it.clone(), format))) {
                drop(format.decode(bytes.clone(), &schema));
            }
        }
    }
}
