//! Fetching the bytes of frames, whole or in parts.

use std::ops::Range;

use redis::Value;
use simrecorder_core::Result;

use super::RedisView;
use crate::connection::Failure;
use crate::connection::errors::corrupt;
use crate::connection::reply::{Commands, Reply};
use crate::format::index::Entry;

/// So many bytes are asked for at once, if not a single one is longer.
const WINDOW_BYTES: usize = 8 << 20;
/// And so many questions.
const WINDOW_QUESTIONS: usize = 4096;
/// The metadata of a frame has a few hundred bytes.
const START_BYTES: usize = 1 << 10;

/// A run of bytes of a frame.
#[derive(Debug)]
pub(super) struct Span {
    /// The values on the server that it is in, and which bytes of each.
    places: Vec<(String, Range<usize>)>,
    bytes: usize,
}

/// Where the records of a frame lie that is not compressed.
#[derive(Debug)]
pub(super) struct Located {
    /// Where their bytes begin.
    data: usize,
    /// The length of each value that the frame is split into, but the last.
    part_bytes: usize,
}

impl Span {
    /// A whole frame.
    pub(super) fn whole(entry: &Entry, prefix: &str) -> Self {
        // One byte more than there should be, to notice a value that is something else.
        let names = entry.part_names(prefix);
        Self {
            places: names.map(|name| (name, 0..entry.bytes + 1)).collect(),
            bytes: entry.bytes,
        }
    }

    /// These bytes of the records of a frame.
    pub(super) fn part(entry: &Entry, prefix: &str, located: &Located, range: Range<u64>) -> Self {
        let bytes = (range.end - range.start) as usize;
        let start = located.data + range.start as usize;
        let end = start + bytes;
        let size = located.part_bytes;
        let places = (start / size..=end.saturating_sub(1) / size).map(|part| {
            let first = part * size;
            let within = start.saturating_sub(first)..(end - first).min(size);
            (entry.part_name(prefix, part), within)
        });
        Self {
            places: places.collect(),
            bytes,
        }
    }
}

impl RedisView {
    /// Calls `take` with the bytes of each span, and what belongs to it, until that says that it is
    /// enough. It gets them as soon as they have come: memory that is free at once is used again.
    pub(super) fn fetch<T>(
        &self,
        spans: impl Iterator<Item = (Span, T)>,
        mut take: impl FnMut(&T, Vec<u8>) -> Result<bool>,
    ) -> Result<()> {
        let mut spans = spans.peekable();
        let mut goes_on = true;
        while goes_on && spans.peek().is_some() {
            let (mut bytes, mut questions, mut window) = (0, 0, Vec::new());
            while let Some((span, what)) = spans.next_if(|(span, _)| {
                questions == 0
                    || bytes + span.bytes <= WINDOW_BYTES
                        && questions + span.places.len() <= WINDOW_QUESTIONS
            }) {
                bytes += span.bytes;
                questions += span.places.len();
                window.push((span, what));
            }
            self.fetch_window(&window, |what, bytes| {
                if goes_on {
                    goes_on = take(what, bytes)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn fetch_window<T>(
        &self,
        window: &[(Span, T)],
        mut take: impl FnMut(&T, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        // When the connection breaks, what was taken is not asked for again.
        let mut next = 0;
        self.recording.connections.run("read", |link| {
            let mut questions = Commands::default();
            for (name, range) in window[next..].iter().flat_map(|(span, _)| &span.places) {
                let (start, last) = (range.start.to_string(), (range.end - 1).to_string());
                let (start, last) = (start.as_bytes(), last.as_bytes());
                questions.command(&[b"GETRANGE", name.as_bytes(), start, last]);
            }
            let (mut bytes, mut places) = (Vec::new(), 0);
            link.exchange_each(&questions, |reply| {
                if let Value::ServerError(error) = reply {
                    return Err(Failure::Redis(error.into()));
                }
                let (span, what) = &window[next];
                let part = reply.bytes()?.unwrap_or_default();
                match places {
                    0 => bytes = part,
                    _ => bytes.extend(part),
                }
                places += 1;
                if places == span.places.len() {
                    self.check_length(span.bytes, bytes.len())?;
                    take(what, std::mem::take(&mut bytes))?;
                    (places, next) = (0, next + 1);
                }
                Ok(())
            })
        })
    }

    fn check_length(&self, expected: usize, len: usize) -> Result<()> {
        match len {
            len if len == expected => Ok(()),
            0 => Err(self.gone("these records were freed or cut since this view was taken")),
            len => Err(corrupt(format!(
                "a frame has {len} bytes or more where the index says {expected}"
            ))),
        }
    }

    /// Asks where the records of some frames lie; `None` for those that cannot be read in parts.
    pub(super) fn locate<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry> + Clone,
    ) -> Result<Vec<Option<Located>>> {
        let last = (START_BYTES - 1).to_string();
        let mut questions = Commands::default();
        for entry in entries.clone() {
            let names: Vec<String> = entry.part_names(self.names.prefix()).collect();
            questions.command(&[b"GETRANGE", names[0].as_bytes(), b"0", last.as_bytes()]);
            for name in names {
                questions.command(&[b"STRLEN", name.as_bytes()]);
            }
        }
        let mut replies = self.recording.ask("read", &[questions])?.into_iter();
        let mut located = |entry: &Entry| {
            let mut next = || replies.next().unwrap_or_default();
            let start = next().bytes()?.unwrap_or_default();
            let parts = (0..entry.parts).map(|_| Ok(next().int()?.try_into().unwrap_or(0)));
            let parts = parts.collect::<Result<Vec<usize>>>()?;
            let part_bytes = parts[0].max(1);
            self.check_length(
                entry.bytes,
                parts.iter().copied().fold(0, usize::saturating_add),
            )?;
            if parts[..parts.len() - 1]
                .iter()
                .any(|&len| len != part_bytes)
            {
                return Ok(None);
            }
            let form = self.document.form;
            let data = form.locate(&start, entry.bytes, &self.schema)?;
            let needed =
                u128::from(entry.records) * self.schema.record_bytes().unwrap_or(0) as u128;
            match data {
                Some(data) if (data.len() as u128) < needed => {
                    Err(corrupt("a frame holds fewer records than the index says"))
                }
                data => Ok(data.map(|data| Located {
                    data: data.start,
                    part_bytes,
                })),
            }
        };
        entries.map(&mut located).collect()
    }
}
