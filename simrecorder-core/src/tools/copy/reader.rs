//! The side of a copy that reads and encodes.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::record::IntoValue;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::recorder::TIMELINE_ATTRIBUTE;
use crate::store::array_view::ArrayView;
use crate::store::commit::{Batch, Change, Prepared};
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::encoded::{EncodedChange, EncodedStore, EncodedView};
use crate::store::node::Node;
use crate::tools::copy::plan::{Planned, What};
use crate::tools::copy::progress::{CopyProgress, cancelled, no_thread};

/// The size of a commit in bytes.
pub(crate) const COMMIT_BYTES: usize = 8 << 20;
/// The size that each change adds to a commit, in addition to its records.
pub(crate) const CHANGE_BYTES: usize = 4 << 10;
/// The approximate size of batches of records of a fixed size, several of which are encoded at a time.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Chunks larger than this are read in parts, so they are decoded more than once.
const LARGEST_BLOCK: usize = 64 << 20;
/// The most records of other kinds that are read at once.
const BLOCK_RECORDS: u64 = 1 << 20;

/// Reads from one store and sends commits for the other.
pub(super) struct Reader<'a> {
    from: &'a dyn DataStore,
    to: &'a dyn DataStore,
    reencode: bool,
    commits: SyncSender<(Vec<EncodedChange>, CopyProgress)>,
    /// The progress once all changes so far are committed.
    progress: CopyProgress,
    /// The changes of the next commit, and what they count.
    changes: Vec<EncodedChange>,
    bytes: usize,
    /// Groups that become timelines once all series are copied, with their attributes.
    timelines: Vec<(Key, Attributes)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        from: &'a dyn DataStore,
        to: &'a dyn DataStore,
        reencode: bool,
        commits: SyncSender<(Vec<EncodedChange>, CopyProgress)>,
        progress: CopyProgress,
    ) -> Self {
        Self {
            from,
            to,
            reencode,
            commits,
            progress,
            changes: Vec::new(),
            bytes: 0,
            timelines: Vec::new(),
        }
    }

    pub(super) fn run(mut self, planned: Vec<Planned>) -> Result<()> {
        for Planned { key, what } in planned {
            let copied = match what {
                What::Group => self.copy_group(&key),
                What::Value => self.copy_value(&key),
                What::Series { records, chunk } => self.copy_series(&key, records, chunk),
            };
            copied.map_err(|e| e.with_key(key.as_str()))?;
        }
        for (key, attributes) in std::mem::take(&mut self.timelines) {
            self.add_attributes(&key, attributes, false)?;
        }
        self.send()
    }

    fn copy_group(&mut self, key: &Key) -> Result<()> {
        let before = self.to.attributes(key)?;
        let mut attributes = before.clone().unwrap_or_default();
        attributes.extend(self.from.attributes(key)?.unwrap_or_default());
        if attributes.contains_key(TIMELINE_ATTRIBUTE) {
            self.timelines.push((key.clone(), attributes.clone()));
            attributes.remove(TIMELINE_ATTRIBUTE);
        }
        match before {
            Some(before) if before == attributes => Ok(()),
            _ => self.add_attributes(key, attributes, false),
        }
    }

    fn copy_value(&mut self, key: &Key) -> Result<()> {
        let Some(Node::Value { value, attributes }) = self.from.node(key)? else {
            return Err(gone());
        };
        let value = value?;
        let bytes = value.as_record()?.data.len();
        let set = Change::Set {
            key: key.clone(),
            value: Arc::new(value),
        };
        self.add(set, 0, bytes, attributes.is_empty())?;
        match attributes.is_empty() {
            true => Ok(()),
            false => self.add_attributes(key, attributes, true),
        }
    }

    fn copy_series(&mut self, key: &Key, records: Range<u64>, chunk: u64) -> Result<()> {
        let view = self.from.series_view(key)?;
        let len = records.end - records.start;
        let encoded = self.to.as_encoded().zip(view.as_encoded());
        let filled = view.filled().saturating_sub(records.start).min(len);
        // Chunks that are copied as they are begin with the first record.
        let is_encoded = !self.reencode && records.start == 0;
        let done = match encoded.filter(|_| is_encoded) {
            Some((to, from)) => self.copy_chunks(to, from, &*view, len)?,
            None => {
                let schema = match self.reencode {
                    true => Arc::new(Schema::clone(view.schema()).without_storage()),
                    false => Arc::clone(view.schema()),
                };
                let declare = Change::Declare {
                    key: key.clone(),
                    schema,
                    filled,
                };
                self.add(declare, filled, 0, len == filled)?;
                filled
            }
        };
        self.copy_records(&*view, records.start, done..len, chunk)
    }

    /// Declares a series in the form of `view`, with its filled records, and copies the others without decoding, as
    /// far as both stores can; returns how many records the copy has then.
    fn copy_chunks(
        &mut self,
        to: &dyn EncodedStore,
        from: &dyn EncodedView,
        view: &dyn ArrayView,
        len: u64,
    ) -> Result<u64> {
        let (key, schema, form) = (view.key(), view.schema(), from.stored_form());
        let filled = view.filled().min(len);
        let declare = EncodedChange::Declare {
            key: key.clone(),
            schema: Arc::clone(schema),
            form: form.clone(),
            filled,
        };
        self.add_encoded(key, declare, filled, 0, len == filled)?;
        let mut done = filled;
        while done < len
            && let Some(encoded) = from.read_encoded(done..len, COMMIT_BYTES)?
        {
            let (count, bytes) = (encoded.len(), encoded.bytes());
            if done == filled && !to.takes_encoded(key, schema, &form, &encoded)? {
                break;
            }
            if count == 0 || count > len - done {
                return Err(no_records());
            }
            let append = EncodedChange::Append {
                key: key.clone(),
                start: done,
                encoded,
            };
            done += count;
            self.add_encoded(key, append, count, bytes, done == len)?;
            if done < len {
                // A commit has at most one such change for a series.
                self.send()?;
            }
        }
        Ok(done)
    }

    /// Copies records by reading whole chunks of the source and sending whole chunks of the target, which have `chunk`
    /// records. `range` counts in the target, which begins with record `offset` of the source.
    fn copy_records(
        &mut self,
        view: &dyn ArrayView,
        offset: u64,
        range: Range<u64>,
        chunk: u64,
    ) -> Result<()> {
        let record = view.schema().record_bytes().unwrap_or(usize::MAX).max(1);
        let batch = match view.kind().is_fixed() {
            true => whole_chunks(chunk, record, BATCH_BYTES),
            // Chunks of records of variable size do not end after a number of records.
            false => 1,
        };
        // Records that were read but not sent, and the index of the first.
        let mut waiting = Records::empty(Arc::clone(view.schema()));
        let mut first = range.start;
        while first < range.end {
            let next = offset + first + waiting.len();
            let read = read_block(view, next..offset + range.end)?;
            match waiting.is_empty() {
                true => waiting = read,
                false => waiting.extend_from(&read, 0..read.len()),
            }
            let (start, after) = (first, first + waiting.len());
            let until = match after == range.end {
                true => after,
                false => after / batch * batch,
            };
            while first < until {
                let end = match view.kind().is_fixed() {
                    true => (first / batch * batch).saturating_add(batch).min(until),
                    false => until,
                };
                let records = waiting.slice(first - start..end - start);
                self.add_records(view.key(), first, records, end == range.end)?;
                first = end;
            }
            waiting = waiting.slice(first - start..after - start);
        }
        Ok(())
    }

    fn add_records(&mut self, key: &Key, start: u64, records: Records, ends: bool) -> Result<()> {
        let (count, bytes) = (
            records.len(),
            records.data().len() + size_of_val(records.ends()),
        );
        let batch = Arc::new(Batch::new(key.clone(), start, records));
        let append = Change::Append {
            batch,
            prepared: None,
        };
        self.add(append, count, bytes, ends)
    }

    fn add_attributes(&mut self, key: &Key, attributes: Attributes, ends: bool) -> Result<()> {
        let set = Change::SetAttributes {
            key: key.clone(),
            attributes: Arc::new(attributes),
        };
        self.add(set, 0, 0, ends)
    }

    /// Adds a change with `count` records and `bytes` bytes; `ends` says whether it completes its value or series.
    fn add(&mut self, change: Change, count: u64, bytes: usize, ends: bool) -> Result<()> {
        let key = change.key().clone();
        self.add_encoded(&key, EncodedChange::Plain(change), count, bytes, ends)
    }

    fn add_encoded(
        &mut self,
        key: &Key,
        change: EncodedChange,
        count: u64,
        bytes: usize,
        ends: bool,
    ) -> Result<()> {
        self.progress.key = key.clone();
        self.progress.key_count += u64::from(ends);
        self.progress.record_count += count;
        self.progress.bytes += bytes as u64;
        self.changes.push(change);
        self.bytes += bytes + CHANGE_BYTES;
        match self.bytes >= COMMIT_BYTES {
            true => self.send(),
            false => Ok(()),
        }
    }

    /// Sends the collected changes as one commit.
    fn send(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        prepare(self.to, changes.iter_mut().filter_map(EncodedChange::plain))?;
        let commit = (changes, self.progress.clone());
        // Sending fails if a commit failed or the copy was cancelled.
        self.commits.send(commit).map_err(|_| cancelled())
    }
}

/// Reads records from the start of `range` on: whole chunks of the source, about the size of a commit.
pub(crate) fn read_block(view: &dyn ArrayView, range: Range<u64>) -> Result<Records> {
    let (count, max_bytes) = match view.kind().is_fixed() {
        true => {
            let record = view.schema().record_bytes().unwrap_or(usize::MAX).max(1);
            let chunk = view.chunk_shape().first().copied().unwrap_or(1);
            let block = whole_chunks(chunk, record, COMMIT_BYTES);
            (block - range.start % block, usize::MAX)
        }
        false => (BLOCK_RECORDS, COMMIT_BYTES),
    };
    let end = range.start.saturating_add(count).min(range.end);
    let records = view.read_records(range.start..end, max_bytes)?;
    match records.is_empty() {
        true => Err(no_records()),
        false => Ok(records),
    }
}

/// The number of records in whole chunks of about `bytes`, at least one chunk.
pub(crate) fn whole_chunks(chunk: u64, record: usize, bytes: usize) -> u64 {
    let fitting = |bytes: usize| (bytes / record).max(1) as u64;
    let chunk = chunk.clamp(1, fitting(LARGEST_BLOCK));
    (fitting(bytes) / chunk * chunk).max(chunk)
}

/// Lets the target encode the batches ahead of their commit, on as many threads as there are
/// processors.
pub(crate) fn prepare<'a>(
    to: &dyn DataStore,
    changes: impl Iterator<Item = &'a mut Change>,
) -> Result<()> {
    let batches = changes.filter_map(|change| match change {
        Change::Append { batch, prepared } => Some((&*batch, prepared)),
        _ => None,
    });
    let mut batches: Vec<_> = batches.collect();
    let work = |part: &mut [(&Arc<Batch>, &mut Option<Prepared>)]| {
        part.iter_mut().try_for_each(|(batch, prepared)| {
            **prepared = to.prepare(batch)?;
            Ok(())
        })
    };
    let bytes: usize = batches.iter().map(|it| it.0.records.data().len()).sum();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(bytes / BATCH_BYTES).min(batches.len());
    if threads <= 1 {
        return work(&mut batches);
    }
    let share = batches.len().div_ceil(threads);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for part in batches.chunks_mut(share) {
            let thread = thread::Builder::new().name("simrecorder-encode".to_owned());
            workers.push(
                thread
                    .spawn_scoped(scope, || work(part))
                    .map_err(no_thread)?,
            );
        }
        let mut done = workers.into_iter().map(thread::ScopedJoinHandle::join);
        done.try_for_each(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn gone() -> Error {
    let message = "the value no longer exists";
    Error::new(ErrorKind::NotFound, "copy", message)
}

pub(crate) fn no_records() -> Error {
    let message = "the source returned no records, or more than requested";
    Error::new(ErrorKind::Internal, "copy", message)
}
