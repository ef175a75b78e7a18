//! The contents of a frame, before encoding and after decoding.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::{DType, ErrorBound, Kind, Records, Result, Schema, Value};

use crate::connection::errors::corrupt;
use crate::connection::reply::Payload;

/// The error bound and type of rounded elements.
pub(super) type Rounding = (ErrorBound, DType);

/// The number of bytes that are rounded at once: whole elements of any type.
const ROUNDED_BYTES: usize = 1 << 20;

/// The bytes of consecutive records as a frame stores them: rounded if the series is lossy.
#[derive(Clone, Debug)]
pub(crate) struct RecordBytes<'a> {
    /// The bytes of all records in memory, as they were recorded.
    all: &'a [u8],
    range: Range<usize>,
    rounding: Option<Rounding>,
}

impl<'a> RecordBytes<'a> {
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// The bytes of `range`, relative to the first of these bytes.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let start = self.range.start;
        Self {
            range: start + range.start..start + range.end,
            ..self.clone()
        }
    }

    /// The bytes, in consecutive blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a> {
        let Self {
            all,
            range: Range { start, end },
            rounding,
        } = self.clone();
        // Rounded blocks begin at an element.
        let step = rounding.map_or(usize::MAX, |_| ROUNDED_BYTES);
        let starts = (start / step * step..end).step_by(step);
        starts.map(move |block| {
            let block = block..block.saturating_add(step).min(all.len());
            let wanted = start.max(block.start)..end.min(block.end);
            let Some((bound, dtype)) = rounding else {
                return Cow::Borrowed(&all[wanted]);
            };
            let mut rounded = all[block.clone()].to_vec();
            bound.round(dtype, &mut rounded);
            rounded.truncate(wanted.end - block.start);
            rounded.drain(..wanted.start - block.start);
            Cow::Owned(rounded)
        })
    }

    /// The same bytes in `owner`, for which `bytes_of` returns the bytes of all records.
    pub(crate) fn in_place<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        owner: &Arc<T>,
        bytes_of: fn(&T) -> &[u8],
    ) -> Arc<dyn Payload> {
        Arc::new(InPlace {
            owner: Arc::clone(owner),
            bytes_of,
            range: self.range.clone(),
            rounding: self.rounding,
        })
    }
}

/// [`RecordBytes`] together with the owner of the bytes.
#[derive(Debug)]
struct InPlace<T> {
    owner: Arc<T>,
    bytes_of: fn(&T) -> &[u8],
    range: Range<usize>,
    rounding: Option<Rounding>,
}

impl<T: fmt::Debug + Send + Sync> Payload for InPlace<T> {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn blocks(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_> {
        let bytes = RecordBytes {
            all: (self.bytes_of)(&self.owner),
            range: self.range.clone(),
            rounding: self.rounding,
        };
        Box::new(bytes.blocks())
    }
}

/// Consecutive records that will be encoded as a frame.
#[derive(Debug)]
pub(crate) struct FrameContents<'a> {
    pub(crate) count: u64,
    pub(crate) data: RecordBytes<'a>,
    /// The end of each record in `data`; empty for arrays.
    pub(crate) ends: Vec<u64>,
}

impl<'a> FrameContents<'a> {
    /// The records of `range`, which is within `records`.
    pub(super) fn new(records: &'a Records, range: Range<u64>, rounding: Option<Rounding>) -> Self {
        let count = range.end - range.start;
        let data = |range| RecordBytes {
            all: records.data(),
            range,
            rounding,
        };
        if records.schema().kind().is_fixed() {
            let size = records.schema().record_bytes().unwrap_or(0);
            return Self {
                count,
                data: data(range.start as usize * size..range.end as usize * size),
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
            data: data(start as usize..end as usize),
            ends: ends.iter().map(|end| end - start).collect(),
        }
    }

    /// A value as the only record; `None` if this version does not support its kind.
    pub(super) fn of_value(value: &'a Value) -> Option<Self> {
        let all = value_bytes(value)?;
        let ends = match value {
            Value::Array(_) => Vec::new(),
            _ => vec![all.len() as u64],
        };
        let data = RecordBytes {
            all,
            range: 0..all.len(),
            rounding: None,
        };
        Some(Self {
            count: 1,
            data,
            ends,
        })
    }
}

/// The bytes of a value, in the form of a record.
pub(crate) fn value_bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Array(array) => Some(array.as_bytes()),
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        Value::Object(object) => Some(object.as_msgpack()),
        _ => None,
    }
}

/// Some bytes of a frame.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Bytes(Cow<'a, [u8]>),
    Records(RecordBytes<'a>),
}

impl Piece<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Records(records) => records.len(),
        }
    }

    /// The bytes of `range`, in consecutive blocks.
    pub(crate) fn blocks(&self, range: Range<usize>) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let (bytes, records) = match self {
            Self::Bytes(bytes) => (Some(Cow::Borrowed(&bytes[range])), None),
            Self::Records(records) => (None, Some(records.slice(range).blocks())),
        };
        bytes.into_iter().chain(records.into_iter().flatten())
    }
}

/// The bytes of a frame, in pieces, so that the records are copied at most once.
#[derive(Debug, Default)]
pub(crate) struct FrameBytes<'a>(pub(crate) Vec<Piece<'a>>);

impl FrameBytes<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Piece::len).sum()
    }

    /// The pieces with bytes of `range`, each with the range of its own bytes.
    pub(crate) fn pieces(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (&Piece<'_>, Range<usize>)> {
        let pieces = self.0.iter().scan(0, |next, piece| {
            let start = *next;
            *next += piece.len();
            Some((piece, start))
        });
        pieces.filter_map(move |(piece, start)| {
            let within = |at: usize| at.saturating_sub(start).min(piece.len());
            let wanted = within(range.start)..within(range.end);
            (!wanted.is_empty()).then_some((piece, wanted))
        })
    }

    #[cfg(test)]
    pub(crate) fn concat(&self) -> Vec<u8> {
        let blocks = self.0.iter().flat_map(|piece| piece.blocks(0..piece.len()));
        blocks.collect::<Vec<_>>().concat()
    }
}

/// The records of one frame, like [`Records`], but possibly in the middle of a frame.
#[derive(Debug)]
pub(crate) struct DecodedFrame {
    pub(crate) count: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) data: Range<usize>,
    pub(crate) ends: Vec<u64>,
}

impl DecodedFrame {
    /// The bytes of all records.
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.data.clone()]
    }

    /// The place in the data of the bytes of the records of `range`.
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

    /// Checks that all records are within the data.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
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
                "a frame of {} records and {len} bytes does not match {schema}",
                self.count
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_bytes_are_the_same_wherever_they_are_cut() {
        let numbers: Vec<f32> = (0..700_000).map(|number| number as f32 * 0.001).collect();
        let data: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        let bound = ErrorBound::new(0.01).unwrap();
        let mut rounded = data.clone();
        bound.round(DType::F32, &mut rounded);
        assert_ne!(data, rounded);
        let all = RecordBytes {
            all: &data,
            range: 0..data.len(),
            rounding: Some((bound, DType::F32)),
        };
        let cuts = [0, 3, 1 << 20, (1 << 20) + 5, data.len() - 2, data.len()];
        for (start, end) in cuts.iter().zip(&cuts[1..]) {
            let blocks: Vec<_> = all.slice(*start..*end).blocks().collect();
            assert!(blocks.iter().all(|block| block.len() <= ROUNDED_BYTES));
            assert!(blocks.concat() == rounded[*start..*end], "{start}..{end}");
        }
    }
}
