//! The records of one series that were not sent to the stores yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::buffer_pool::BufferPool;
use super::pipeline::batch_bytes;
use crate::backend::sync::{Mutex, MutexGuard};
use crate::error::Result;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::record::{RecordRef, ScalarRef};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::store::commit::Batch;
use crate::store::errors::closed;

/// A batch of records of unknown size ends at about this many bytes, as one of arrays does
/// where a chunk ends.
const BATCH_BYTES: usize = 1 << 20;
/// The first buffer of a series, before it is known how fast it grows.
const FIRST_BYTES: usize = 64;

/// A series with the buffer of its next batch.
#[derive(Debug)]
pub(super) struct SeriesBuffer {
    pub(super) key: Key,
    contents: Mutex<Contents>,
    /// What `contents` takes, for threads that do not hold its lock.
    capacity: AtomicUsize,
    /// How many texts in the key cache lead here.
    pub(super) cached_texts: AtomicU32,
}

#[derive(Debug)]
struct Contents {
    /// The element type, if the records are scalars.
    scalar: Option<DType>,
    /// How many records share a chunk; batches of arrays end where chunks do.
    chunk_records: u64,
    /// The index of the first record in the buffer.
    start: u64,
    /// With the schema of the series.
    records: Records,
    /// How many records went into batches.
    sent: u64,
    state: State,
    /// For records of fixed size, how many more are taken by nothing but copying them; none once
    /// the buffer is closed. [`LockedBuffer`] keeps it up to date.
    room: u64,
    /// The bytes of the last batch: the next one is likely to be as large.
    last_bytes: usize,
}

/// Whether a buffer takes records.
#[derive(Debug)]
enum State {
    /// It takes `limit` records, which reach up to the end of a chunk.
    Open { limit: u64 },
    /// It takes none, since its series was removed or renamed. It is restarted when a series is created at
    /// its key again.
    Removed,
    /// It takes none, since its recorder was closed.
    Closed,
}

/// The buffer of a series under its lock. Batches must go to the queues before the lock is
/// given up, so that they stay in order.
#[derive(Debug)]
pub(super) struct LockedBuffer<'a> {
    buffer: &'a SeriesBuffer,
    contents: MutexGuard<'a, Contents>,
}

impl SeriesBuffer {
    /// The buffer of a series whose next record has the index `start`.
    pub(super) fn new(key: Key, schema: Arc<Schema>, chunk_records: u64, start: u64) -> Self {
        Self {
            key,
            contents: Mutex::new(Contents::new(schema, chunk_records, start)),
            capacity: AtomicUsize::new(0),
            cached_texts: AtomicU32::new(0),
        }
    }

    /// Takes records again after the series was removed: of another series at the same key.
    pub(super) fn restart(&self, schema: Arc<Schema>, chunk_records: u64, start: u64) {
        let mut contents = self.contents.lock();
        if matches!(contents.state, State::Removed) {
            let sent = contents.sent;
            *contents = Contents::new(schema, chunk_records, start);
            contents.sent = sent;
        }
    }

    /// What the series holds; `None` if it was removed or renamed.
    pub(super) fn schema(&self) -> Option<Arc<Schema>> {
        let contents = self.contents.lock();
        let is_removed = matches!(contents.state, State::Removed);
        (!is_removed).then(|| Arc::clone(contents.records.schema()))
    }

    /// Takes the record if that is a matter of copying it; `false` if anything else is to be
    /// done, such as growing the buffer or reporting an error.
    #[inline]
    pub(super) fn try_push(&self, record: &RecordRef<'_>) -> bool {
        let mut contents = self.contents.lock();
        if !contents.records.schema().accepts(record) {
            return false;
        }
        contents.try_push_fixed(&record.data) || contents.try_push_variable(record)
    }

    /// [`try_push`](Self::try_push) for a scalar.
    // Inlined, since the size of the scalar is known where this is called.
    #[inline(always)]
    pub(super) fn try_push_scalar(&self, scalar: ScalarRef<'_>) -> bool {
        let mut contents = self.contents.lock();
        contents.scalar == Some(scalar.dtype) && contents.try_push_fixed(scalar.data)
    }

    pub(super) fn lock(&self) -> LockedBuffer<'_> {
        LockedBuffer {
            buffer: self,
            contents: self.contents.lock(),
        }
    }

    /// The bytes that the buffer takes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }
}

impl State {
    /// Open for records from the index `start` on.
    fn open_at(start: u64, schema: &Schema, chunk_records: u64) -> Self {
        let limit = if schema.kind().is_fixed() {
            chunk_records - start % chunk_records
        } else {
            u64::MAX
        };
        Self::Open { limit }
    }

    /// How many records the buffer may have.
    fn limit(&self) -> u64 {
        match self {
            Self::Open { limit } => *limit,
            Self::Removed | Self::Closed => 0,
        }
    }
}

impl Contents {
    fn new(schema: Arc<Schema>, chunk_records: u64, start: u64) -> Self {
        let chunk_records = chunk_records.max(1);
        let is_scalar = schema.kind() == Kind::Array && schema.record_shape().is_empty();
        Self {
            scalar: schema.dtype().filter(|_| is_scalar),
            chunk_records,
            start,
            state: State::open_at(start, &schema, chunk_records),
            room: 0,
            records: Records::empty(schema),
            sent: 0,
            last_bytes: 0,
        }
    }

    #[inline(always)]
    fn try_push_fixed(&mut self, data: &[u8]) -> bool {
        let is_taken = self.room > 0;
        if is_taken {
            self.room -= 1;
            self.records.push_fixed(data);
        }
        is_taken
    }

    fn try_push_variable(&mut self, record: &RecordRef<'_>) -> bool {
        let is_taken = !self.records.schema().kind().is_fixed()
            && self.records.len() + 1 < self.state.limit()
            && self.records.has_room(record.data.len());
        if is_taken {
            self.records.push(record);
        }
        is_taken
    }

    /// What `room` should be.
    fn free_records(&self) -> u64 {
        let schema = self.records.schema();
        if !schema.kind().is_fixed() {
            return 0;
        }
        let free = self.records.data_capacity() - self.records.data().len();
        let fitting = free.checked_div(schema.record_bytes().unwrap_or(0));
        let below_limit = self.state.limit().saturating_sub(self.records.len() + 1);
        below_limit.min(fitting.unwrap_or(0) as u64)
    }
}

impl Drop for LockedBuffer<'_> {
    fn drop(&mut self) {
        self.contents.room = self.contents.free_records();
    }
}

impl<'a> LockedBuffer<'a> {
    /// The buffer, without its lock.
    pub(super) fn unlock(self) -> &'a SeriesBuffer {
        self.buffer
    }

    /// How many records the series has got since it was opened.
    pub(super) fn recorded(&self) -> u64 {
        self.contents.sent + self.contents.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contents.records.is_empty()
    }

    /// What a batch of the buffer counts in the queues.
    pub(super) fn batch_bytes(&self) -> usize {
        batch_bytes(&self.contents.records)
    }

    /// What the series holds.
    pub(super) fn schema(&self) -> &Arc<Schema> {
        self.contents.records.schema()
    }

    /// Whether the buffer takes such records.
    pub(super) fn takes(&self, record: &RecordRef<'_>) -> bool {
        matches!(self.contents.state, State::Open { .. }) && self.schema().accepts(record)
    }

    /// Whether the buffer takes a record; `false` if its series was removed or renamed.
    ///
    /// # Errors
    /// If its recorder was closed, or the series holds other records.
    pub(super) fn check(&self, record: &RecordRef<'_>) -> Result<bool> {
        match self.contents.state {
            State::Closed => Err(closed("record", "recorder")),
            State::Removed => Ok(false),
            State::Open { .. } if self.schema().accepts(record) => Ok(true),
            State::Open { .. } => {
                let mismatch = self.schema().mismatch(record);
                Err(mismatch.with_key(self.buffer.key.as_str()))
            }
        }
    }

    /// Whether the series was removed or renamed.
    pub(super) fn is_removed(&self) -> bool {
        matches!(self.contents.state, State::Removed)
    }

    /// Whether the buffer was closed with its recorder.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.contents.state, State::Closed)
    }

    /// Whether the buffer makes a batch: it ends where a chunk does, or is large enough.
    pub(super) fn is_full(&self, batch_bound: usize) -> bool {
        let records = &self.contents.records;
        let bound = if self.schema().kind().is_fixed() {
            batch_bound
        } else {
            BATCH_BYTES.min(batch_bound)
        };
        records.len() >= self.contents.state.limit()
            || records.data().len() + size_of_val(records.ends()) >= bound
    }

    /// The capacity the buffer should have for a record of `bytes` more, if it has to grow.
    pub(super) fn wanted_capacity(&self, bytes: usize, batch_bound: usize) -> Option<usize> {
        let Contents {
            records,
            state,
            last_bytes,
            ..
        } = &*self.contents;
        if records.has_room(bytes) {
            return None;
        }
        let needed = records.data().len() + bytes;
        let full = if self.schema().kind().is_fixed() {
            usize::try_from(state.limit())
                .unwrap_or(usize::MAX)
                .saturating_mul(bytes)
        } else {
            BATCH_BYTES.max(bytes)
        };
        let doubled = (records.data_capacity() * 2)
            .max(*last_bytes)
            .max(FIRST_BYTES);
        Some(doubled.min(full).min(batch_bound).max(needed))
    }

    /// Grows the buffer to `capacity` bytes and returns by how much it grew.
    pub(super) fn grow(&mut self, capacity: usize, pool: &BufferPool) -> usize {
        let records = &mut self.contents.records;
        let before = records.capacity_bytes();
        if records.is_empty() && records.data().len() < capacity {
            let schema = Arc::clone(records.schema());
            *records = Records::with_buffer(schema, pool.take(capacity));
        }
        let more = capacity.saturating_sub(records.data().len());
        let count = (records.len() as usize).max(4);
        records.reserve_exact(more, count);
        let after = records.capacity_bytes();
        self.buffer.capacity.store(after, Ordering::Relaxed);
        after.saturating_sub(before)
    }

    /// Takes a record for which there is room.
    pub(super) fn push(&mut self, record: &RecordRef<'_>) {
        self.contents.records.push(record);
    }

    /// Takes the records out of the buffer; returns them, if there are any, and the bytes that the
    /// buffer had.
    pub(super) fn cut(&mut self) -> (Option<Batch>, usize) {
        let buffer = self.buffer;
        let contents = &mut *self.contents;
        let empty = Records::empty(Arc::clone(contents.records.schema()));
        let records = std::mem::replace(&mut contents.records, empty);
        let freed = buffer.capacity.swap(0, Ordering::Relaxed);
        if records.is_empty() {
            return (None, freed);
        }
        (Some(self.batch(records)), freed)
    }

    /// Makes a batch of one record, without the buffer, which is empty.
    pub(super) fn batch_of(&mut self, record: &RecordRef<'_>) -> Batch {
        let mut records = Records::empty(Arc::clone(self.schema()));
        records.reserve_exact(record.data.len(), 1);
        records.push(record);
        self.batch(records)
    }

    /// The batch of the next records of the series.
    fn batch(&mut self, records: Records) -> Batch {
        let contents = &mut *self.contents;
        let batch = Batch::new(self.buffer.key.clone(), contents.start, records);
        contents.sent += batch.records.len();
        contents.last_bytes = batch.records.data().len();
        self.continue_at(batch.start + batch.records.len());
        batch
    }

    /// Continues after the first `len` records, if there are more. The buffer is empty.
    pub(super) fn rewind(&mut self, len: u64) {
        self.continue_at(self.contents.start.min(len));
    }

    fn continue_at(&mut self, start: u64) {
        let contents = &mut *self.contents;
        contents.start = start;
        if let State::Open { .. } = contents.state {
            let schema = contents.records.schema();
            contents.state = State::open_at(start, schema, contents.chunk_records);
        }
    }

    /// Makes the buffer refuse records until it is [restarted](SeriesBuffer::restart).
    pub(super) fn remove(&mut self) {
        if !self.is_closed() {
            self.contents.state = State::Removed;
        }
    }

    /// Makes the buffer refuse all further records.
    pub(super) fn close(&mut self) {
        self.contents.state = State::Closed;
    }
}
