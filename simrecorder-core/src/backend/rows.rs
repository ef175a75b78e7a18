//! Rows of an array in memory, and in the frames of a tail, before they fill a chunk.
//!
//! A frame is `first row: u64, rows: u64, payload bytes: u64, payload`, and the CRC-32 of all that as `u32`, in
//! little-endian order. The payload of an array with elements of a fixed size is the rows. The payload of a text array
//! is the end of each text in bytes (`u64` each), and then the texts. `docs/format.md` specifies the same.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

const HEADER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 4;

/// Rows in memory, of a tail or a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The number of rows.
    pub count: u64,
    /// Their bytes, one row after the other.
    pub data: Vec<u8>,
    /// The end in `data` of each row of variable length; empty for rows of a fixed size.
    pub ends: Vec<u64>,
}

impl Rows {
    /// Adds a copy of other rows.
    pub fn extend_from(&mut self, rows: RowsRef<'_>) {
        let base = self.data.len() as u64;
        self.ends
            .extend(rows.ends.iter().map(|end| end - rows.base + base));
        self.data.extend_from_slice(rows.data);
        self.count += rows.count;
    }

    /// Returns their size in bytes.
    pub fn bytes(&self) -> usize {
        self.data.len().saturating_add(size_of_val(&self.ends[..]))
    }

    /// Adds rows whose ends count from the start of `data`.
    pub fn extend(&mut self, count: u64, data: &[u8], ends: &[u64]) {
        let base = self.data.len() as u64;
        self.ends.extend(ends.iter().map(|end| end + base));
        self.data.extend_from_slice(data);
        self.count += count;
    }
}

/// Rows borrowed from a batch or a buffer.
#[derive(Clone, Copy, Debug)]
pub struct RowsRef<'a> {
    /// The number of rows.
    pub count: u64,
    /// Their bytes.
    pub data: &'a [u8],
    /// The end of each row of variable length, counted from `base` bytes before `data`.
    pub ends: &'a [u64],
    /// See `ends`.
    pub base: u64,
}

impl<'a> RowsRef<'a> {
    /// Returns the rows from `start` to `end`.
    pub fn slice(self, start: u64, end: u64, size: RowSize) -> RowsRef<'a> {
        match size {
            RowSize::Fixed(size) => Self {
                count: end - start,
                data: &self.data[start as usize * size..end as usize * size],
                ..self
            },
            RowSize::Variable => {
                let at = |row: u64| match row {
                    0 => self.base,
                    row => self.ends[row as usize - 1],
                };
                let bytes = (at(start) - self.base) as usize..(at(end) - self.base) as usize;
                Self {
                    count: end - start,
                    data: &self.data[bytes],
                    ends: &self.ends[start as usize..end as usize],
                    base: at(start),
                }
            }
        }
    }

    /// Copies the rows.
    pub fn to_rows(self) -> Rows {
        Rows {
            count: self.count,
            data: self.data.to_vec(),
            ends: self.ends.iter().map(|end| end - self.base).collect(),
        }
    }
}

impl Rows {
    /// Borrows all rows.
    pub fn as_rows_ref(&self) -> RowsRef<'_> {
        RowsRef {
            count: self.count,
            data: &self.data,
            ends: &self.ends,
            base: 0,
        }
    }
}

/// Rows of one chunk: borrowed if they are contiguous in memory.
#[derive(Debug)]
pub enum Gathered<'a> {
    /// They are contiguous.
    Borrowed(RowsRef<'a>),
    /// They were copied together.
    Owned(Rows),
}

impl<'a> Gathered<'a> {
    /// Gathers the rows of `range` from consecutive runs, each with the index of its first row.
    pub fn new(
        runs: impl Iterator<Item = (u64, RowsRef<'a>)>,
        range: Range<u64>,
        size: RowSize,
    ) -> Self {
        let within = runs.filter_map(|(first, rows)| {
            let start = range.start.max(first);
            let end = range.end.min(first + rows.count);
            (start < end).then(|| rows.slice(start - first, end - first, size))
        });
        let mut parts: Vec<_> = within.collect();
        if parts.len() == 1 {
            return Self::Borrowed(parts.remove(0));
        }
        let mut all = Rows::default();
        parts.into_iter().for_each(|part| all.extend_from(part));
        Self::Owned(all)
    }

    /// Borrows all rows.
    pub fn as_rows_ref(&self) -> RowsRef<'_> {
        match self {
            Self::Borrowed(rows) => *rows,
            Self::Owned(rows) => rows.as_rows_ref(),
        }
    }
}

/// The size of the rows of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSize {
    /// Each row has this number of bytes.
    Fixed(usize),
    /// Rows have different sizes.
    Variable,
}

/// Appends a frame with `rows`, the first of which has the index `first`, to `out`. `change` changes their bytes before.
pub fn write_frame(
    out: &mut Vec<u8>,
    first: u64,
    rows: RowsRef<'_>,
    change: impl FnOnce(&mut [u8]),
) {
    let payload = size_of_val(rows.ends) + rows.data.len();
    out.reserve(HEADER_BYTES + payload + CHECKSUM_BYTES);
    let start = out.len();
    for number in [first, rows.count, payload as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let ends = rows.ends.iter().map(|end| end - rows.base);
    out.extend(ends.flat_map(u64::to_le_bytes));
    let data = out.len();
    out.extend_from_slice(rows.data);
    change(&mut out[data..]);
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Reads all frames of a tail whose first row has the index `first`.
pub fn read_frames(tail: &[u8], first: u64, size: RowSize) -> Result<Rows> {
    let mut rows = Rows::default();
    for frame in (Frames {
        rest: tail,
        next: first,
    }) {
        let Frame {
            count,
            payload,
            checked,
            sum,
        } = frame?;
        // A fuzzer cannot guess checksums.
        if crc32fast::hash(checked) != sum && !cfg!(fuzzing) {
            return Err(corrupt("the checksum of a frame does not match its bytes"));
        }
        match size {
            RowSize::Fixed(size) => {
                if u64::try_from(size)
                    .ok()
                    .and_then(|size| size.checked_mul(count))
                    != Some(payload.len() as u64)
                {
                    return Err(corrupt("the size of a frame does not match its rows"));
                }
                rows.extend(count, payload, &[]);
            }
            RowSize::Variable => {
                let split = usize::try_from(count)
                    .ok()
                    .and_then(|count| payload.split_at_checked(count.checked_mul(8)?));
                let Some((ends, data)) = split else {
                    return Err(corrupt("a frame is shorter than the ends of its texts"));
                };
                let ends: Vec<u64> = ends
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| u64::from_le_bytes(*b))
                    .collect();
                if !ends.is_sorted() || ends.last().copied().unwrap_or(0) != data.len() as u64 {
                    return Err(corrupt("the ends of texts do not fit their frame"));
                }
                rows.extend(count, data, &ends);
            }
        }
    }
    Ok(rows)
}

/// Counts the rows of a tail whose first row has the index `first`.
pub fn count_rows(tail: &[u8], first: u64) -> Result<u64> {
    let frames = frame_sizes(tail, first)?;
    Ok(frames.iter().map(|frame| frame.rows).sum())
}

/// Reads the sizes of the frames of a tail whose first row has the index `first`.
pub fn frame_sizes(tail: &[u8], first: u64) -> Result<Vec<FrameSize>> {
    let frames = Frames {
        rest: tail,
        next: first,
    };
    let size = |frame: Result<Frame<'_>>| {
        let Frame { count, checked, .. } = frame?;
        Ok(FrameSize {
            rows: count,
            bytes: (checked.len() + CHECKSUM_BYTES) as u64,
        })
    };
    frames.map(size).collect()
}

/// The size of a frame of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize {
    /// The number of its rows.
    pub rows: u64,
    /// Its size in bytes, including its header and checksum.
    pub bytes: u64,
}

struct Frame<'a> {
    count: u64,
    payload: &'a [u8],
    /// The bytes that the checksum covers.
    checked: &'a [u8],
    sum: u32,
}

struct Frames<'a> {
    rest: &'a [u8],
    /// The index of the first row of the next frame.
    next: u64,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.read();
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

impl<'a> Frames<'a> {
    fn read(&mut self) -> Result<Frame<'a>> {
        let Some((header, rest)) = self.rest.split_first_chunk::<HEADER_BYTES>() else {
            return Err(corrupt("a frame is truncated"));
        };
        let number = |index: usize| {
            let bytes = header.as_chunks().0;
            u64::from_le_bytes(bytes[index])
        };
        let (first, count) = (number(0), number(1));
        let payload = usize::try_from(number(2))
            .ok()
            .and_then(|len| rest.split_at_checked(len));
        let sum = payload.and_then(|(payload, rest)| {
            let (sum, rest) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
            Some((payload, u32::from_le_bytes(*sum), rest))
        });
        let Some((payload, sum, rest)) = sum else {
            return Err(corrupt("a frame is truncated"));
        };
        let after = first.checked_add(count);
        match after {
            Some(after) if first == self.next => self.next = after,
            _ => return Err(corrupt("the frames do not follow each other")),
        }
        let checked = &self.rest[..HEADER_BYTES + payload.len()];
        self.rest = rest;
        Ok(Frame {
            count,
            payload,
            checked,
            sum,
        })
    }
}

fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "read tail", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_rows(texts: &[&str]) -> Rows {
        let mut rows = Rows::default();
        for text in texts {
            rows.extend(1, text.as_bytes(), &[text.len() as u64]);
        }
        rows
    }

    fn write_texts(tail: &mut Vec<u8>, first: u64, texts: &[&str]) {
        write_frame(tail, first, text_rows(texts).as_rows_ref(), |_| {});
    }

    #[test]
    fn frames_put_together_give_the_rows_in_order() {
        let mut tail = Vec::new();
        write_texts(&mut tail, 7, &["a", ""]);
        write_texts(&mut tail, 9, &["größe"]);
        assert_eq!(count_rows(&tail, 7).unwrap(), 3);
        let rows = read_frames(&tail, 7, RowSize::Variable).unwrap();
        assert_eq!(rows, text_rows(&["a", "", "größe"]));
        assert!(read_frames(&tail, 6, RowSize::Variable).is_err());
    }

    #[test]
    fn rows_without_bytes_are_counted() {
        let mut tail = Vec::new();
        let rows = Rows {
            count: 5,
            ..Rows::default()
        };
        write_frame(&mut tail, 0, rows.as_rows_ref(), |_| {});
        assert_eq!(read_frames(&tail, 0, RowSize::Fixed(0)).unwrap().count, 5);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_rows_and_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            drop(read_frames(&bytes, 0, RowSize::Variable));
            drop(read_frames(&bytes, 0, RowSize::Fixed(8)));
            let mut tail = Vec::new();
            write_texts(&mut tail, 0, &["one", "two"]);
            write_texts(&mut tail, 2, &["three"]);
            let index = flip.index(tail.len());
            tail[index] ^= 0xff;
            prop_assert!(read_frames(&tail, 0, RowSize::Variable).is_err());
            drop(read_frames(&tail[..index], 0, RowSize::Variable));
        }
    }
}
