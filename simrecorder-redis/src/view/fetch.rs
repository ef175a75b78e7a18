//! Fetching the bytes of frames, whole or in parts.

use std::ops::Range;

use redis::Value;
use simrecorder_core::Result;

use crate::connection::errors::corrupt;
use crate::connection::reply::{Commands, Reply};
use crate::connection::{Connections, Failure};
use crate::format::index::IndexEntry;

/// The maximum number of bytes that are requested at once, unless a single frame is longer.
const WINDOW_BYTES: usize = 8 << 20;
/// The maximum number of commands that are sent at once.
const WINDOW_QUESTIONS: usize = 4096;

/// Consecutive bytes of a frame.
#[derive(Debug)]
pub(super) struct ByteRange {
    /// The strings on the server that contain them, and the range in each.
    values: Vec<(String, Range<usize>)>,
    len: usize,
}

/// The place of the records in an uncompressed frame.
#[derive(Debug)]
pub(super) struct RecordLocation {
    /// The offset of their first byte.
    pub(super) start: usize,
    /// The length of each string into which the frame is split, except the last.
    pub(super) part_len: usize,
}

impl ByteRange {
    /// A whole frame.
    pub(super) fn whole(entry: &IndexEntry, prefix: &str) -> Self {
        // One byte more than expected, to notice that a string has other contents.
        let names = entry.part_names(prefix);
        Self {
            values: names.map(|name| (name, 0..entry.byte_len + 1)).collect(),
            len: entry.byte_len,
        }
    }

    /// These bytes of the records of a frame.
    pub(super) fn of_records(
        entry: &IndexEntry,
        prefix: &str,
        location: &RecordLocation,
        range: Range<u64>,
    ) -> Self {
        let len = (range.end - range.start) as usize;
        let start = location.start + range.start as usize;
        let end = start + len;
        let size = location.part_len;
        let values = (start / size..=end.saturating_sub(1) / size).map(|part| {
            let first = part * size;
            let within = start.saturating_sub(first)..(end - first).min(size);
            (entry.part_name(prefix, part), within)
        });
        Self {
            values: values.collect(),
            len,
        }
    }
}

/// Calls `take` with the bytes of each range and its tag, until `take` returns `false`. It is
/// called as soon as the bytes have arrived, so that freed memory is reused.
pub(super) fn fetch<T>(
    connections: &Connections,
    ranges: impl Iterator<Item = (ByteRange, T)>,
    mut take: impl FnMut(&T, Vec<u8>) -> Result<bool>,
) -> Result<()> {
    let mut ranges = ranges.peekable();
    let mut wants_more = true;
    while wants_more && ranges.peek().is_some() {
        let (mut bytes, mut questions, mut window) = (0, 0, Vec::new());
        while let Some((range, what)) = ranges.next_if(|(range, _)| {
            questions == 0
                || bytes + range.len <= WINDOW_BYTES
                    && questions + range.values.len() <= WINDOW_QUESTIONS
        }) {
            bytes += range.len;
            questions += range.values.len();
            window.push((range, what));
        }
        fetch_window(connections, &window, |what, bytes| {
            if wants_more {
                wants_more = take(what, bytes)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn fetch_window<T>(
    connections: &Connections,
    window: &[(ByteRange, T)],
    mut take: impl FnMut(&T, Vec<u8>) -> Result<()>,
) -> Result<()> {
    // If the connection breaks, the ranges that were taken are not requested again.
    let mut next = 0;
    connections.run("read", |link| {
        let mut questions = Commands::default();
        for (name, range) in window[next..].iter().flat_map(|(range, _)| &range.values) {
            let (start, last) = (range.start.to_string(), (range.end - 1).to_string());
            let (start, last) = (start.as_bytes(), last.as_bytes());
            questions.command(&[b"GETRANGE", name.as_bytes(), start, last]);
        }
        let (mut bytes, mut received) = (Vec::new(), 0);
        link.exchange_each(&questions, |answer| {
            if let Value::ServerError(error) = answer {
                return Err(Failure::Redis(error.into()));
            }
            let (range, what) = &window[next];
            let part = answer.bytes()?.unwrap_or_default();
            match received {
                0 => bytes = part,
                _ => bytes.extend(part),
            }
            received += 1;
            if received == range.values.len() {
                check_len(range.len, bytes.len())?;
                take(what, std::mem::take(&mut bytes))?;
                (received, next) = (0, next + 1);
            }
            Ok(())
        })
    })
}

/// Checks the length of a frame, or of a part of it.
pub(super) fn check_len(expected: usize, len: usize) -> Result<()> {
    match len {
        len if len == expected => Ok(()),
        0 => Err(corrupt("a frame is missing")),
        len => Err(corrupt(format!(
            "a frame has {len} bytes or more, but the index says {expected}"
        ))),
    }
}
