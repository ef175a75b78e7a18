//! The contents of a frame, on the way in and on the way out.

use std::borrow::Cow;
use std::ops::Range;

use simrecorder_core::{Kind, Records, Result, Schema};

use crate::connection::errors::corrupt;

/// Some consecutive records on their way into a frame.
#[derive(Debug)]
pub(crate) struct FrameContents<'a> {
    pub(crate) count: u64,
    pub(crate) data: Cow<'a, [u8]>,
    /// Where each record ends in `data`; empty for arrays.
    pub(crate) ends: Vec<u64>,
}

impl<'a> FrameContents<'a> {
    /// The records of `range`, which lies within.
    pub(super) fn new(records: &'a Records, range: Range<u64>) -> Self {
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
pub(crate) struct FrameBytes<'a>(pub(crate) Vec<Cow<'a, [u8]>>);

impl FrameBytes<'_> {
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
                "a frame of {} records and {len} bytes does not hold {schema}",
                self.count
            ))),
        }
    }
}
