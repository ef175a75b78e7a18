//! Reads the records of a series: finds its frames in the index, and decodes them.

use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::backend::errors::shortened;
use simrecorder_core::{Block, Error, ErrorKind, Records, Region, Result, Schema, copy_block};

use crate::connection::errors::corrupt;
use crate::connection::reply::{Commands, Reply, command};
use crate::format::document::SeriesDocument;
use crate::format::frame::contents::DecodedFrame;
use crate::format::index::{IndexEntry, PAGE, entries};
use crate::format::names::SeriesNames;
use crate::format::state::SeriesState;
use crate::recording::keyspace::{Keyspace, NodeReply};
use crate::view::fetch::{ByteRange, RecordLocation, check_len, fetch};
use crate::view::slices::{SlicePlan, within};

/// The metadata of a frame has a few hundred bytes.
const START_BYTES: usize = 1 << 10;

/// Reads a series as of one moment.
#[derive(Clone, Debug)]
pub(super) struct SeriesReader {
    pub(super) keyspace: Arc<Keyspace>,
    pub(super) names: SeriesNames,
    pub(super) document: Arc<SeriesDocument>,
    pub(super) schema: Arc<Schema>,
    pub(super) state: SeriesState,
}

impl SeriesReader {
    /// The frames that contain records of `range`, which is not empty, from its start on: all or
    /// some of them.
    fn find(&self, range: Range<u64>) -> Result<Vec<IndexEntry>> {
        let index = self.names.index();
        let index = index.as_bytes();
        let start = range.start.to_string();
        let (after, last) = (format!("({start}-1"), (range.end - 1).to_string());
        let page = PAGE.to_string();
        // Read the state last: if the series is unchanged then, so was the index that was read
        // before.
        let questions = [
            command(&[b"XREVRANGE", index, start.as_bytes(), b"-", b"COUNT", b"1"]),
            command(&[
                b"XRANGE",
                index,
                after.as_bytes(),
                last.as_bytes(),
                b"COUNT",
                page.as_bytes(),
            ]),
            SeriesState::command(&self.names),
        ];
        let mut all = Commands::default();
        questions.iter().for_each(|question| all.append(question));
        let mut answers = self.keyspace.ask("read", &[all])?.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let (first, others, state) = (next(), next(), next());
        self.check_state(SeriesState::from_reply(state)?, range.start)?;
        let mut found = entries(first)?;
        found.extend(entries(others)?);
        // Consecutive frames without a gap, from the start of the range on.
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

    /// Checks that the series, with the state `now`, still has the records from `start` on that the
    /// view shows.
    fn check_state(&self, now: Option<SeriesState>, start: u64) -> Result<()> {
        match now {
            None => Err(gone("the series no longer exists")),
            Some(now) if now.cut_count != self.state.cut_count || now.end <= start => {
                Err(shortened())
            }
            Some(now) if now.first > start => Err(gone(FREED)),
            Some(_) => Ok(()),
        }
    }

    /// Checks that the node in its current state is the series with all records that the view
    /// shows.
    pub(super) fn check_node(&self, now: Option<&NodeReply>) -> Result<()> {
        let Some(NodeReply::Series { state: now, .. }) = now else {
            return Err(shortened());
        };
        if now.cut_count != self.state.cut_count || now.end < self.state.end {
            return Err(shortened());
        }
        match now.first > self.state.first {
            true => Err(gone(FREED)),
            false => Ok(()),
        }
    }

    /// Checks that the recording is the one of the view, and still has the records of `range`.
    pub(super) fn check_current(&self, range: Range<u64>) -> Result<()> {
        match self.keyspace.current_generation("read")? {
            None => return Err(gone("the recording was deleted")),
            Some(generation) if generation != self.keyspace.names.generation() => {
                let message = "another recording replaced this one; open it again";
                return Err(Error::new(ErrorKind::OutOfBounds, "read", message));
            }
            Some(_) => {}
        }
        let question = SeriesState::command(&self.names);
        let mut answers = self.keyspace.ask("read", &[question])?;
        let now = SeriesState::from_reply(answers.pop().unwrap_or_default())?;
        self.check_state(now, range.start)?;
        self.check_state(now, range.end - 1)
    }

    /// The error for records of `range` that could not be read: instead of being damaged, they may
    /// have been cut, freed, deleted or replaced meanwhile.
    fn explain(&self, range: Range<u64>, error: Error) -> Error {
        let is_change = |kind| matches!(kind, ErrorKind::OutOfBounds | ErrorKind::NotFound);
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::NotFound => match self.check_current(range) {
                Err(change) if is_change(change.kind()) => change,
                _ => error,
            },
            _ => error,
        }
    }

    /// The frame that contains a record.
    pub(super) fn frame_of(&self, record: u64) -> Result<Option<IndexEntry>> {
        let found = self.find(record..record + 1);
        let found = found.map_err(|e| self.explain(record..record + 1, e))?;
        Ok(found.into_iter().next())
    }

    /// Calls `take` with the entries of the frames that contain records of `range`, in order and
    /// some at a time, until it returns `false`.
    fn for_entries(
        &self,
        range: Range<u64>,
        mut take: impl FnMut(Vec<IndexEntry>) -> Result<bool>,
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

    /// Calls `take` with each of these frames, until it returns `false`.
    fn for_frames<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a IndexEntry>,
        mut take: impl FnMut(&IndexEntry, &DecodedFrame) -> Result<bool>,
    ) -> Result<()> {
        let entries = entries.into_iter();
        let ranges = entries.map(|entry| (ByteRange::whole(entry, self.names.prefix()), entry));
        fetch(&self.keyspace.connections, ranges, |entry, frame| {
            let decoded = self.document.format.decode(frame, &self.schema)?;
            if decoded.count < entry.record_count {
                return Err(corrupt(
                    "a frame contains fewer records than the index says",
                ));
            }
            take(entry, &decoded)
        })
    }

    /// Reads `region` into `out`, which has its size. The region is not empty, and its records are
    /// counted from the start of the series.
    pub(super) fn read_region(
        &self,
        region: &Region,
        element_size: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let wanted = region.axes()[0].bounds();
        self.for_entries(wanted.clone(), |entries| {
            self.read_frames(&entries, region, element_size, out)?;
            Ok(true)
        })
        .map_err(|e| self.explain(wanted, e))
    }

    /// Reads the part of `region` in these frames. Of large frames, only the necessary parts are
    /// fetched.
    fn read_frames(
        &self,
        entries: &[IndexEntry],
        region: &Region,
        element_size: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let record_shape = self.schema.record_shape();
        let axis = region.axes()[0];
        let touched = entries
            .iter()
            .filter(|it| within(axis, &it.range()).count > 0);
        let (mut whole, mut large) = (Vec::new(), Vec::new());
        for entry in touched {
            let plan = self.document.format.is_plain().then(|| {
                let (axes, byte_len) = (region.axes(), entry.byte_len);
                SlicePlan::new(axes, entry.range(), record_shape, element_size, byte_len)
            });
            match plan.flatten() {
                Some(plan) => large.push((entry, plan)),
                None => whole.push(entry),
            }
        }

        let locations = match large.is_empty() {
            true => Vec::new(),
            false => self.locate(large.iter().map(|(entry, _)| *entry))?,
        };
        let mut parts = Vec::new();
        for ((entry, plan), location) in large.into_iter().zip(locations) {
            match location {
                Some(location) => parts.push((entry, plan, location)),
                None => whole.push(entry),
            }
        }
        let prefix = self.names.prefix();
        let pieces = parts.iter().flat_map(|(entry, plan, location)| {
            (0..plan.count).map(move |number| {
                let piece = plan.piece(number);
                let range = piece.start..piece.start + plan.bytes;
                let bytes = ByteRange::of_records(entry, prefix, location, range);
                (bytes, (plan, piece))
            })
        });
        fetch(&self.keyspace.connections, pieces, |(plan, piece), data| {
            let (origin, shape) = (&piece.origin, &plan.shape);
            let block = Block {
                data: &data,
                origin,
                shape,
            };
            copy_block(block, region, out, element_size)?;
            Ok(true)
        })?;

        let size = self.schema.record_bytes().unwrap_or(0);
        let mut shape = vec![0];
        shape.extend(record_shape);
        let mut origin = vec![0; shape.len()];
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
            copy_block(block, region, out, element_size)?;
            Ok(true)
        })
    }

    /// Reads records of any length, counted from the start of the series: at least one, and no more
    /// once they have `max_bytes`.
    pub(super) fn read_variable(&self, wanted: Range<u64>, max_bytes: usize) -> Result<Records> {
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        self.for_entries(wanted.clone(), |entries| {
            let mut wants_more = true;
            self.for_frames(&entries, |entry, decoded| {
                let (first, end) = (entry.first, entry.range().end);
                let range = wanted.start.max(first) - first..wanted.end.min(end) - first;
                let start = decoded.span(range.clone(), 0, false).start;
                let base = data.len() as u64;
                let rows = &decoded.ends[range.start as usize..range.end as usize];
                let row_end = |end: &u64| end - start as u64 + base;
                // The first record that reaches the limit is the last.
                let below = rows.partition_point(|end| row_end(end) < max_bytes as u64);
                let rows = &rows[..rows.len().min(below + 1)];
                ends.extend(rows.iter().map(row_end));
                let taken = range.start..range.start + rows.len() as u64;
                data.extend_from_slice(&decoded.data()[decoded.span(taken, 0, false)]);
                wants_more = data.len() < max_bytes;
                Ok(wants_more)
            })?;
            Ok(wants_more)
        })
        .map_err(|e| self.explain(wanted.clone(), e))?;
        Records::variable(Arc::clone(&self.schema), ends, data)
    }

    /// Requests the places of the records of some frames; `None` for frames that cannot be read in
    /// parts.
    fn locate<'a>(
        &self,
        entries: impl Iterator<Item = &'a IndexEntry> + Clone,
    ) -> Result<Vec<Option<RecordLocation>>> {
        let last = (START_BYTES - 1).to_string();
        let mut questions = Commands::default();
        for entry in entries.clone() {
            let names: Vec<String> = entry.part_names(self.names.prefix()).collect();
            questions.command(&[b"GETRANGE", names[0].as_bytes(), b"0", last.as_bytes()]);
            for name in names {
                questions.command(&[b"STRLEN", name.as_bytes()]);
            }
        }
        let mut answers = self.keyspace.ask("read", &[questions])?.into_iter();
        let mut locate = |entry: &IndexEntry| {
            let mut next = || answers.next().unwrap_or_default();
            let start = next().bytes()?.unwrap_or_default();
            let parts = (0..entry.part_count).map(|_| Ok(next().int()?.try_into().unwrap_or(0)));
            let parts = parts.collect::<Result<Vec<usize>>>()?;
            let part_len = parts[0].max(1);
            let len = parts.iter().copied().fold(0, usize::saturating_add);
            check_len(entry.byte_len, len)?;
            if parts[..parts.len() - 1].iter().any(|&len| len != part_len) {
                return Ok(None);
            }
            let format = self.document.format;
            let data = format.locate(&start, entry.byte_len, &self.schema)?;
            let record_bytes = self.schema.record_bytes().unwrap_or(0);
            let needed = u128::from(entry.record_count) * record_bytes as u128;
            match data {
                Some(data) if (data.len() as u128) < needed => Err(corrupt(
                    "a frame contains fewer records than the index says",
                )),
                data => Ok(data.map(|data| RecordLocation {
                    start: data.start,
                    part_len,
                })),
            }
        };
        entries.map(&mut locate).collect()
    }
}

const FREED: &str = "the records were freed; get a new view";

fn gone(message: &str) -> Error {
    Error::new(ErrorKind::NotFound, "read", message)
}
