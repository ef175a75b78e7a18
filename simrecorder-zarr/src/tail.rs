//! The tail of an array: rows that do not fill a chunk yet, as frames one after the other.
//!
//! A frame is `first row: u64, rows: u64, payload bytes: u64, payload`, little-endian. The
//! payload of an array with elements of one size are the rows; that of a text array is the
//! end of each text in bytes (`u64` each), then the texts. `docs/format.md` has the same.

use simrecorder_core::{Error, ErrorKind, Result};

const HEADER_BYTES: usize = 24;

/// Rows in memory, as a tail or a batch has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) count: u64,
    pub(crate) data: Vec<u8>,
    /// Where each text ends in `data`; empty for elements of one size.
    pub(crate) ends: Vec<u64>,
}

impl Rows {
    /// Adds rows whose ends count from the start of `data`.
    pub(crate) fn extend(&mut self, count: u64, data: &[u8], ends: &[u64]) {
        let base = self.data.len() as u64;
        self.ends.extend(ends.iter().map(|end| end + base));
        self.data.extend_from_slice(data);
        self.count += count;
    }
}

/// How long the rows of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowSize {
    Fixed(usize),
    Text,
}

/// Appends a frame with `rows`, the first of which has the index `first`, to `out`.
pub(crate) fn write_frame(out: &mut Vec<u8>, first: u64, rows: &Rows) {
    let payload = size_of_val(&rows.ends[..]) + rows.data.len();
    out.reserve(HEADER_BYTES + payload);
    for number in [first, rows.count, payload as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend(rows.ends.iter().flat_map(|end| end.to_le_bytes()));
    out.extend_from_slice(&rows.data);
}

/// Reads all frames of a tail whose first row has the index `first`.
pub(crate) fn read_frames(tail: &[u8], first: u64, size: RowSize) -> Result<Rows> {
    let mut rows = Rows::default();
    for frame in (Frames {
        rest: tail,
        next: first,
    }) {
        let Frame { count, payload } = frame?;
        match size {
            RowSize::Fixed(size) => {
                if u64::try_from(size)
                    .ok()
                    .and_then(|size| size.checked_mul(count))
                    != Some(payload.len() as u64)
                {
                    return Err(corrupt("a frame has not the size of its rows"));
                }
                rows.extend(count, payload, &[]);
            }
            RowSize::Text => {
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

/// How many rows a tail holds, whose first row has the index `first`.
pub(crate) fn count_rows(tail: &[u8], first: u64) -> Result<u64> {
    Frames {
        rest: tail,
        next: first,
    }
    .try_fold(0, |count, frame| Ok(count + frame?.count))
}

struct Frame<'a> {
    count: u64,
    payload: &'a [u8],
}

struct Frames<'a> {
    rest: &'a [u8],
    /// The index that the next frame must begin with.
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
            return Err(corrupt("a frame is cut off"));
        };
        let number = |index: usize| {
            let bytes = header.as_chunks().0;
            u64::from_le_bytes(bytes[index])
        };
        let (first, count) = (number(0), number(1));
        let payload = usize::try_from(number(2))
            .ok()
            .and_then(|len| rest.split_at_checked(len));
        let Some((payload, rest)) = payload else {
            return Err(corrupt("a frame is cut off"));
        };
        let behind = first.checked_add(count);
        match behind {
            Some(behind) if first == self.next => self.next = behind,
            _ => return Err(corrupt("the frames do not follow each other")),
        }
        self.rest = rest;
        Ok(Frame { count, payload })
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

    #[test]
    fn frames_put_together_give_the_rows_in_order() {
        let mut tail = Vec::new();
        write_frame(&mut tail, 7, &text_rows(&["a", ""]));
        write_frame(&mut tail, 9, &text_rows(&["größe"]));
        assert_eq!(count_rows(&tail, 7).unwrap(), 3);
        let rows = read_frames(&tail, 7, RowSize::Text).unwrap();
        assert_eq!(rows, text_rows(&["a", "", "größe"]));
        assert!(read_frames(&tail, 6, RowSize::Text).is_err());
    }

    #[test]
    fn rows_without_bytes_are_counted() {
        let mut tail = Vec::new();
        write_frame(
            &mut tail,
            0,
            &Rows {
                count: 5,
                ..Rows::default()
            },
        );
        assert_eq!(read_frames(&tail, 0, RowSize::Fixed(0)).unwrap().count, 5);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_rows_and_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            drop(read_frames(&bytes, 0, RowSize::Text));
            drop(read_frames(&bytes, 0, RowSize::Fixed(8)));
            let mut tail = Vec::new();
            write_frame(&mut tail, 0, &text_rows(&["one", "two"]));
            write_frame(&mut tail, 2, &text_rows(&["three"]));
            let index = flip.index(tail.len());
            tail[index] ^= 0xff;
            drop(read_frames(&tail, 0, RowSize::Text));
            drop(read_frames(&tail[..index], 0, RowSize::Text));
        }
    }
}
