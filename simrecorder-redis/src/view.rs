//! Lazy views of series on a server.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::{
    ArrayView, ArrayViewExt, Attributes, Block, Error, ErrorKind, Key, Kind, Records, Region,
    Result, Schema, copy_block,
};

use crate::connection::Failure;
use crate::document::SeriesDocument;
use crate::errors::corrupt;
use crate::frame::Decoded;
use crate::index::{Entry, PAGE, entries};
use crate::names::SeriesNames;
use crate::recording::{Recording, State, state_command};
use crate::reply::{Commands, Reply, command};

/// Frames of about so many bytes are asked for at once.
const WINDOW_BYTES: usize = 8 << 20;
/// How long one question for new records waits at most, so that a server that went away is
/// noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A series of one length.
#[derive(Clone, Debug)]
pub(crate) struct RedisView {
    recording: Arc<Recording>,
    key: Key,
    names: SeriesNames,
    document: Arc<SeriesDocument>,
    schema: Arc<Schema>,
    state: State,
    shape: Vec<u64>,
}

impl RedisView {
    pub(crate) fn new(
        recording: Arc<Recording>,
        key: Key,
        document: Arc<SeriesDocument>,
        state: State,
        attributes: Attributes,
    ) -> Self {
        let schema = document.schema.clone().with_attributes(attributes);
        let mut shape = vec![state.end - state.first];
        if schema.kind() == Kind::Array {
            shape.extend(schema.record_shape());
        }
        Self {
            names: recording.names.series(&key),
            recording,
            key,
            document,
            schema: Arc::new(schema),
            state,
            shape,
        }
    }

    /// Records of the view as their indices in the series.
    fn absolute(&self, range: Range<u64>) -> Range<u64> {
        self.state.first + range.start..self.state.first + range.end
    }

    /// The frames that hold records of `range`, which is not empty, from its start on: all, or
    /// some of them.
    fn find(&self, range: Range<u64>) -> Result<Vec<Entry>> {
        let index = self.names.index();
        let index = index.as_bytes();
        let start = range.start.to_string();
        let (behind, last) = (format!("({start}-1"), (range.end - 1).to_string());
        let page = PAGE.to_string();
        let questions = [
            state_command(&self.names),
            command(&[b"XREVRANGE", index, start.as_bytes(), b"-", b"COUNT", b"1"]),
            command(&[
                b"XRANGE",
                index,
                behind.as_bytes(),
                last.as_bytes(),
                b"COUNT",
                page.as_bytes(),
            ]),
        ];
        let mut all = Commands::default();
        questions.iter().for_each(|question| all.append(question));
        let mut replies = self.recording.ask("read", &[all])?.into_iter();
        let mut next = || replies.next().unwrap_or_default();
        let now = State::from_reply(next())?;
        if now.is_none_or(|now| now.cuts != self.state.cuts) {
            return Err(self.gone("the series was cut or deleted since this view was taken"));
        }
        if now.is_some_and(|now| now.first > range.start) {
            return Err(self.gone("these records were freed since this view was taken"));
        }
        let mut found = entries(next())?;
        found.extend(entries(next())?);
        // One after the other, without a gap, from the start of the range on.
        let mut at = range.start;
        for entry in &found {
            if entry.first > at || entry.range().end <= at {
                return Err(corrupt("the index of the series has a gap"));
            }
            at = entry.range().end;
        }
        match found.is_empty() {
            true => Err(corrupt("the index of the series ends early")),
            false => Ok(found),
        }
    }

    fn gone(&self, message: &str) -> Error {
        let message = format!("{message}; refresh() gives what there is now");
        Error::new(ErrorKind::NotFound, "read", message)
    }

    /// Calls `take` with each frame that holds records of `range`, in order, and with the
    /// records of it to take, until that says that it is enough. Frames of which `wanted` says no
    /// are not fetched.
    fn for_frames(
        &self,
        range: Range<u64>,
        wanted: impl Fn(Range<u64>) -> bool,
        mut take: impl FnMut(&Decoded, Range<u64>, u64) -> Result<bool>,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let found = self.find(at..range.end)?;
            at = found.last().map_or(range.end, |entry| entry.range().end);
            let within =
                |entry: &Entry| entry.first.max(range.start)..entry.range().end.min(range.end);
            let mut left = found
                .into_iter()
                .filter(|entry| wanted(within(entry)))
                .peekable();
            while left.peek().is_some() {
                let mut bytes = 0;
                let mut window = Vec::new();
                while let Some(entry) =
                    left.next_if(|entry| bytes == 0 || bytes + entry.bytes <= WINDOW_BYTES)
                {
                    bytes += entry.bytes;
                    window.push(entry);
                }
                let mut goes_on = true;
                self.fetch(&window, |entry, frame| {
                    if !goes_on {
                        return Ok(());
                    }
                    let decoded = self.document.form.decode(frame, &self.schema)?;
                    if decoded.count < entry.records {
                        return Err(corrupt("a frame holds fewer records than the index says"));
                    }
                    goes_on = take(&decoded, within(entry), entry.first)?;
                    Ok(())
                })?;
                if !goes_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls `take` with the bytes of each frame, as soon as they have come: memory that is free
    /// at once is used again for the next.
    fn fetch(
        &self,
        window: &[Entry],
        mut take: impl FnMut(&Entry, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        // When the connection breaks, what was taken is not asked for again.
        let mut next = 0;
        self.recording.connections.run("read", |link| {
            let mut questions = Commands::default();
            for entry in &window[next..] {
                // One byte more than there should be, to notice a key that holds something else.
                let last = entry.bytes.to_string();
                for name in entry.part_names(self.names.prefix()) {
                    questions.command(&[b"GETRANGE", name.as_bytes(), b"0", last.as_bytes()]);
                }
            }
            let (mut frame, mut parts) = (Vec::new(), 0);
            link.exchange_each(&questions, |reply| {
                if let Value::ServerError(error) = reply {
                    return Err(Failure::Redis(error.into()));
                }
                let entry = &window[next];
                let part = reply.bytes()?.unwrap_or_default();
                match parts {
                    0 => frame = part,
                    _ => frame.extend(part),
                }
                parts += 1;
                if parts == entry.parts {
                    self.check_length(entry, frame.len())?;
                    take(entry, std::mem::take(&mut frame))?;
                    (parts, next) = (0, next + 1);
                }
                Ok(())
            })
        })
    }

    fn check_length(&self, entry: &Entry, len: usize) -> Result<()> {
        match len {
            len if len == entry.bytes => Ok(()),
            0 => Err(self.gone("these records were freed or cut since this view was taken")),
            len => Err(corrupt(format!(
                "a frame has {len} bytes or more, the index says {}",
                entry.bytes
            ))),
        }
    }

    fn check_records(&self, range: &Range<u64>) -> Result<()> {
        let len = &self.shape[..1];
        let count = range.end.saturating_sub(range.start) as usize;
        Region::records(range.clone(), len).check(len, 1, count)
    }
}

/// Whether `index`, `index + step`, … hits the range.
fn hits(range: Range<u64>, start: u64, step: u64) -> bool {
    let next = match range.start.checked_sub(start) {
        None => start,
        Some(behind) => start + behind.div_ceil(step) * step,
    };
    next < range.end
}

impl ArrayView for RedisView {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        &self.document.chunk_shape
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let Some(dtype) = self
            .schema
            .dtype()
            .filter(|_| self.schema.kind() == Kind::Array)
        else {
            let kind = self.schema.kind();
            let message = format!("read_into() does not read a series of kind {kind}; use iter()");
            let error = Error::new(ErrorKind::KindMismatch, "read", message);
            return Err(error.with_key(self.key.as_str()));
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        if region.is_empty() || out.is_empty() {
            return Ok(());
        }
        let axis = region.axes()[0];
        let start = self.state.first + axis.start;
        let mut origin = vec![0; self.shape.len()];
        let mut shape = self.shape.clone();
        self.for_frames(
            self.absolute(axis.bounds()),
            |frame| hits(frame, start, axis.step),
            |decoded, range, first| {
                let size = self.schema.record_bytes().unwrap_or(0);
                let (from, to) = (range.start - first, range.end - first);
                (origin[0], shape[0]) = (range.start - self.state.first, to - from);
                let block = Block {
                    data: &decoded.data()[decoded.span(from..to, size, true)],
                    origin: &origin,
                    shape: &shape,
                };
                copy_block(block, region, out, dtype.size());
                Ok(true)
            },
        )
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.check_records(&range)?;
        let size = self.schema.record_bytes().unwrap_or(usize::MAX);
        let fixed = self.schema.kind().is_fixed();
        let mut range = range;
        if fixed {
            let fitting = (max_bytes / size.max(1)).max(1) as u64;
            range.end = range.end.min(range.start.saturating_add(fitting));
        }
        let (mut count, mut data, mut ends) = (0, Vec::new(), Vec::new());
        if range.is_empty() {
            return Ok(Records::empty(Arc::clone(&self.schema)));
        }
        self.for_frames(
            self.absolute(range),
            |_| true,
            |decoded, range, first| {
                let range = range.start - first..range.end - first;
                let (mut to, base) = (range.end, data.len() as u64);
                let span = decoded.span(range.clone(), size, fixed);
                if !fixed {
                    // At least one record, and the first with which it is enough.
                    let enough = (max_bytes as u64).saturating_sub(base);
                    let rows = &decoded.ends[range.start as usize..range.end as usize];
                    let start = span.start as u64;
                    let below = rows.partition_point(|end| end - start < enough);
                    to = to.min(range.start + below as u64 + 1);
                    let rows = &rows[..(to - range.start) as usize];
                    ends.extend(rows.iter().map(|end| end - start + base));
                }
                let span = decoded.span(range.start..to, size, fixed);
                data.extend_from_slice(&decoded.data()[span]);
                count += to - range.start;
                Ok(to == range.end && data.len() < max_bytes)
            },
        )?;
        match fixed {
            true => Records::fixed(Arc::clone(&self.schema), count, data),
            false => Records::variable(Arc::clone(&self.schema), ends, data),
        }
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let (state, attributes) = self
            .recording
            .state(&self.key)
            .map_err(|e| e.with_operation("refresh").with_key(self.key.as_str()))?;
        let state = state.ok_or_else(|| {
            let message = "the series is no longer there";
            Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str())
        })?;
        Ok(Arc::new(Self::new(
            Arc::clone(&self.recording),
            self.key.clone(),
            Arc::clone(&self.document),
            state,
            attributes,
        )))
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn first_record(&self) -> u64 {
        self.state.first
    }

    fn writer_of(&self, record: u64) -> Result<Option<u64>> {
        if record >= self.len() {
            let message = format!("there is no record {record}, the view has {}", self.len());
            return Err(Error::new(ErrorKind::OutOfBounds, "writer_of", message)
                .with_key(self.key.as_str()));
        }
        let found = self.find(self.absolute(record..record + 1));
        let found = found.map_err(|e| e.with_key(self.key.as_str()))?;
        Ok(found.first().map(|entry| entry.writer))
    }

    fn follow(&self, timeout: Duration) -> Result<Arc<dyn ArrayView>> {
        let index = self.names.index();
        // Behind the last record of the view.
        let last = match self.state.end {
            0 => "0-0".to_owned(),
            end => format!("{}-{}", end - 1, u64::MAX),
        };
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed()).min(LONGEST_WAIT);
            // 0 would wait for ever.
            let millis = left.as_millis().max(1).to_string();
            let patience = self.recording.connections.patience.timeout;
            let came = self.recording.connections.run("follow", |link| {
                link.set_timeout(left + patience)?;
                let reply = link.one(&[
                    b"XREAD",
                    b"COUNT",
                    b"1",
                    b"BLOCK",
                    millis.as_bytes(),
                    b"STREAMS",
                    index.as_bytes(),
                    last.as_bytes(),
                ])?;
                link.set_timeout(patience)?;
                match reply {
                    Value::ServerError(error) => Err(Failure::Redis(error.into())),
                    reply => Ok(!reply.array()?.is_empty()),
                }
            });
            if came.map_err(|e| e.with_key(self.key.as_str()))? || start.elapsed() >= timeout {
                return self.refresh();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_between_the_steps_are_not_wanted() {
        assert!(hits(0..5, 4, 100));
        assert!(!hits(5..100, 4, 100));
        assert!(hits(104..105, 4, 100));
        assert!(!hits(105..204, 4, 100));
        assert!(!hits(0..4, 4, 1));
    }
}
