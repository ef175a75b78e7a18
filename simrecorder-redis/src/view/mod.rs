//! Lazy views of series on a server.

mod fetch;
mod slices;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use simrecorder_core::backend::read_fixed;
use simrecorder_core::{
    ArrayView, ArrayViewExt, Attributes, Block, Error, ErrorKind, Key, Kind, Records, Region,
    Result, Schema, copy_block,
};

use self::fetch::Span;
use self::slices::{Slices, within};

use crate::connection::Failure;
use crate::connection::errors::corrupt;
use crate::connection::reply::{Commands, Reply, command};
use crate::format::document::SeriesDocument;
use crate::format::frame::Decoded;
use crate::format::index::{Entry, PAGE, entries};
use crate::format::names::SeriesNames;
use crate::recording::{Recording, State, state_command};

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

    /// Calls `take` with the entries of the frames that hold records of `range`, in order and some
    /// at a time, until that says that it is enough.
    fn for_entries(
        &self,
        range: Range<u64>,
        mut take: impl FnMut(Vec<Entry>) -> Result<bool>,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let found = self.find(at..range.end)?;
            at = found.last().map_or(range.end, |entry| entry.range().end);
            if !take(found)? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `take` with each of these frames, until that says that it is enough.
    fn for_frames<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Entry>,
        mut take: impl FnMut(&Entry, &Decoded) -> Result<bool>,
    ) -> Result<()> {
        let entries = entries.into_iter();
        let spans = entries.map(|entry| (Span::whole(entry, self.names.prefix()), entry));
        self.fetch(spans, |entry, frame| {
            let decoded = self.document.form.decode(frame, &self.schema)?;
            if decoded.count < entry.records {
                return Err(corrupt("a frame holds fewer records than the index says"));
            }
            take(entry, &decoded)
        })
    }

    /// Reads what `region`, whose records count from the start of the series, has of these frames:
    /// of large ones, only the parts that it needs.
    fn read_frames(
        &self,
        entries: &[Entry],
        region: &Region,
        element_size: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let record_shape = &self.shape[1..];
        let axis = region.axes()[0];
        let touched = entries
            .iter()
            .filter(|it| within(axis, &it.range()).count > 0);
        let (mut whole, mut large) = (Vec::new(), Vec::new());
        for entry in touched {
            let slices = self.document.form.is_plain().then(|| {
                let (axes, bytes) = (region.axes(), entry.bytes);
                Slices::plan(axes, entry.range(), record_shape, element_size, bytes)
            });
            match slices.flatten() {
                Some(slices) => large.push((entry, slices)),
                None => whole.push(entry),
            }
        }

        let mut parts = Vec::new();
        let located = match large.is_empty() {
            true => Vec::new(),
            false => self.locate(large.iter().map(|(entry, _)| *entry))?,
        };
        for ((entry, slices), located) in large.into_iter().zip(located) {
            match located {
                Some(located) => parts.push((entry, slices, located)),
                None => whole.push(entry),
            }
        }
        let prefix = self.names.prefix();
        let pieces = parts.iter().flat_map(|(entry, slices, located)| {
            (0..slices.count).map(move |number| {
                let piece = slices.piece(number);
                let range = piece.start..piece.start + slices.bytes;
                let span = Span::part(entry, prefix, located, range);
                (span, (slices, piece))
            })
        });
        self.fetch(pieces, |(slices, piece), data| {
            let (origin, shape) = (&piece.origin, &slices.shape);
            let block = Block {
                data: &data,
                origin,
                shape,
            };
            copy_block(block, region, out, element_size);
            Ok(true)
        })?;

        let size = self.schema.record_bytes().unwrap_or(0);
        let (mut origin, mut shape) = (vec![0; self.shape.len()], self.shape.clone());
        let bounds = axis.bounds();
        self.for_frames(whole, |entry, decoded| {
            let frame = entry.range();
            let rows = frame.start.max(bounds.start)..frame.end.min(bounds.end);
            (origin[0], shape[0]) = (rows.start, rows.end - rows.start);
            let span = decoded.span(rows.start - frame.start..rows.end - frame.start, size, true);
            let block = Block {
                data: &decoded.data()[span],
                origin: &origin,
                shape: &shape,
            };
            copy_block(block, region, out, element_size);
            Ok(true)
        })
    }

    /// Records of any length: at least one, and no more once these have `max_bytes`.
    fn read_variable(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        let wanted = self.absolute(range);
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        self.for_entries(wanted.clone(), |entries| {
            let mut goes_on = true;
            self.for_frames(&entries, |entry, decoded| {
                let (first, end) = (entry.first, entry.range().end);
                let range = wanted.start.max(first) - first..wanted.end.min(end) - first;
                let start = decoded.span(range.clone(), 0, false).start;
                let base = data.len() as u64;
                let rows = &decoded.ends[range.start as usize..range.end as usize];
                let row_end = |end: &u64| end - start as u64 + base;
                // The first record with which it is enough is the last.
                let below = rows.partition_point(|end| row_end(end) < max_bytes as u64);
                let rows = &rows[..rows.len().min(below + 1)];
                ends.extend(rows.iter().map(row_end));
                let taken = range.start..range.start + rows.len() as u64;
                data.extend_from_slice(&decoded.data()[decoded.span(taken, 0, false)]);
                goes_on = data.len() < max_bytes;
                Ok(goes_on)
            })?;
            Ok(goes_on)
        })?;
        Records::variable(Arc::clone(&self.schema), ends, data)
    }

    fn check_records(&self, range: &Range<u64>) -> Result<()> {
        let len = &self.shape[..1];
        let count = range.end.saturating_sub(range.start) as usize;
        Region::records(range.clone(), len).check(len, 1, count)
    }
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
        let mut axes = region.axes().to_vec();
        axes[0].start += self.state.first;
        let region = Region::new(axes);
        self.for_entries(region.axes()[0].bounds(), |entries| {
            self.read_frames(&entries, &region, dtype.size(), out)?;
            Ok(true)
        })
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.check_records(&range)?;
        if range.is_empty() {
            return Ok(Records::empty(Arc::clone(&self.schema)));
        }
        match self.schema.kind().is_fixed() {
            true => read_fixed(self, range, max_bytes),
            false => self.read_variable(range, max_bytes),
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
