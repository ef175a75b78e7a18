//! The open buffer of one series.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::buffer_pool::BufferPool;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::record::{RecordRef, ScalarRef};
use crate::model::records::Records;
use crate::model::schema::{Kind, Schema};
use crate::store::commit::Batch;

/// A batch of records of unknown size ends at about this many bytes, as one of arrays does
/// where a chunk ends.
const BATCH_BYTES: usize = 1 << 20;
/// What a batch takes beside its records, here and in the store that puts a commit together: it
/// matters where many small ones wait, and for how many of them go into one commit.
const BATCH_OVERHEAD: usize = 1024;
/// The first buffer of a series, before it is known how fast it grows.
const FIRST_BYTES: usize = 64;

/// What the recorder keeps for one series.
#[derive(Debug)]
pub(crate) struct SeriesState {
    pub(crate) key: Key,
    pub(crate) schema: Arc<Schema>,
    /// The element type, if the records are scalars.
    scalar: Option<DType>,
    /// How many records share a chunk; batches of arrays end where chunks do.
    chunk_records: u64,
    buffer: Mutex<Buffer>,
    /// What `buffer` takes, for those who do not hold its lock.
    capacity: AtomicUsize,
    /// How many spellings of the key lead here.
    pub(crate) spellings: AtomicU32,
}

#[derive(Debug)]
struct Buffer {
    /// The index of the first record in the buffer.
    start: u64,
    records: Records,
    /// How many records went into batches.
    sent: u64,
    /// How many records fill the buffer up to the end of a chunk; 0 when the recorder is closed.
    limit: u64,
    /// For records of fixed size, how many more are taken by nothing but copying them.
    /// [`LockedSeries`] keeps it up to date.
    room: u64,
    /// The bytes of the last batch: the next one is likely to be as large.
    last_bytes: usize,
}

/// The buffer of a series under its lock. Batches must go to the queues before the lock is
/// given up, so that they stay in order.
#[derive(Debug)]
pub(crate) struct LockedSeries<'a> {
    state: &'a SeriesState,
    buffer: MutexGuard<'a, Buffer>,
}

impl SeriesState {
    pub(crate) fn new(key: Key, schema: Arc<Schema>, chunk_records: u64, start: u64) -> Self {
        let chunk_records = chunk_records.max(1);
        let is_scalar = schema.kind() == Kind::Array && schema.record_shape().is_empty();
        let buffer = Buffer {
            start,
            limit: limit_at(&schema, chunk_records, start),
            room: 0,
            records: Records::empty(Arc::clone(&schema)),
            sent: 0,
            last_bytes: 0,
        };
        Self {
            key,
            scalar: schema.dtype().filter(|_| is_scalar),
            schema,
            chunk_records,
            buffer: Mutex::new(buffer),
            capacity: AtomicUsize::new(0),
            spellings: AtomicU32::new(0),
        }
    }

    /// Takes the record if that is a matter of copying it; `false` if anything else is to be
    /// done, such as growing the buffer or reporting an error.
    #[inline]
    pub(crate) fn try_push(&self, record: &RecordRef<'_>) -> bool {
        let mut buffer = self.buffer.lock();
        if !self.schema.accepts(record) {
            return false;
        }
        buffer.try_push_fixed(&record.data)
            || (!self.schema.kind().is_fixed() && buffer.try_push_variable(record))
    }

    /// [`try_push`](Self::try_push) for a scalar.
    // Inlined, since the size of the scalar is known where this is called.
    #[inline(always)]
    pub(crate) fn try_push_scalar(&self, scalar: ScalarRef<'_>) -> bool {
        let mut buffer = self.buffer.lock();
        self.scalar == Some(scalar.dtype) && buffer.try_push_fixed(scalar.data)
    }

    pub(crate) fn lock(&self) -> LockedSeries<'_> {
        LockedSeries {
            state: self,
            buffer: self.buffer.lock(),
        }
    }

    /// The bytes that the buffer takes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }
}

impl Buffer {
    #[inline(always)]
    fn try_push_fixed(&mut self, data: &[u8]) -> bool {
        let taken = self.room > 0;
        if taken {
            self.room -= 1;
            self.records.push_fixed(data);
        }
        taken
    }

    fn try_push_variable(&mut self, record: &RecordRef<'_>) -> bool {
        let taken = self.records.len() + 1 < self.limit && self.records.has_room(record.data.len());
        if taken {
            self.records.push(record);
        }
        taken
    }

    /// What `room` should be.
    fn free_records(&self) -> u64 {
        let schema = self.records.schema();
        if !schema.kind().is_fixed() {
            return 0;
        }
        let free = self.records.data_capacity() - self.records.data().len();
        let fitting = free.checked_div(schema.record_bytes().unwrap_or(0));
        let below_limit = self.limit.saturating_sub(self.records.len() + 1);
        below_limit.min(fitting.unwrap_or(0) as u64)
    }
}

fn limit_at(schema: &Schema, chunk_records: u64, start: u64) -> u64 {
    if schema.kind().is_fixed() {
        chunk_records - start % chunk_records
    } else {
        u64::MAX
    }
}

impl Drop for LockedSeries<'_> {
    fn drop(&mut self) {
        self.buffer.room = self.buffer.free_records();
    }
}

impl<'a> LockedSeries<'a> {
    pub(crate) fn state(&self) -> &'a SeriesState {
        self.state
    }

    /// How many records the series has got since it was opened.
    pub(crate) fn recorded(&self) -> u64 {
        self.buffer.sent + self.buffer.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.records.is_empty()
    }

    /// What a batch of the buffer takes, as the queues count it.
    pub(crate) fn batch_bytes(&self) -> usize {
        BATCH_OVERHEAD + self.buffer.records.capacity_bytes()
    }

    /// Whether the buffer was closed with its recorder.
    pub(crate) fn is_closed(&self) -> bool {
        self.buffer.limit == 0
    }

    /// Whether the buffer makes a batch: it ends where a chunk does, or is large enough.
    pub(crate) fn is_full(&self, batch_bound: usize) -> bool {
        let records = &self.buffer.records;
        let fixed = self.state.schema.kind().is_fixed();
        let bound = if fixed {
            batch_bound
        } else {
            BATCH_BYTES.min(batch_bound)
        };
        records.len() >= self.buffer.limit
            || records.data().len() + size_of_val(records.ends()) >= bound
    }

    /// The capacity the buffer should have for a record of `bytes` more, if it has to grow.
    pub(crate) fn wanted_capacity(&self, bytes: usize, batch_bound: usize) -> Option<usize> {
        let Buffer {
            records,
            limit,
            last_bytes,
            ..
        } = &*self.buffer;
        if records.has_room(bytes) {
            return None;
        }
        let needed = records.data().len() + bytes;
        let full = if self.state.schema.kind().is_fixed() {
            usize::try_from(*limit)
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
    pub(crate) fn grow(&mut self, capacity: usize, pool: &BufferPool) -> usize {
        let before = self.buffer.records.capacity_bytes();
        let records = &mut self.buffer.records;
        if records.is_empty() && records.data().len() < capacity {
            let schema = Arc::clone(&self.state.schema);
            *records = Records::with_buffer(schema, pool.take(capacity));
        }
        let more = capacity.saturating_sub(records.data().len());
        let count = (records.len() as usize).max(4);
        records.reserve_exact(more, count);
        let after = records.capacity_bytes();
        self.state.capacity.store(after, Ordering::Relaxed);
        after.saturating_sub(before)
    }

    /// Takes a record for which there is room.
    pub(crate) fn push(&mut self, record: &RecordRef<'_>) {
        self.buffer.records.push(record);
    }

    /// Takes the records out of the buffer; returns them and the bytes that the buffer had.
    pub(crate) fn cut(&mut self) -> (Batch, usize) {
        let state = self.state;
        let buffer = &mut *self.buffer;
        let records = std::mem::replace(
            &mut buffer.records,
            Records::empty(Arc::clone(&state.schema)),
        );
        let batch = Batch::new(state.key.clone(), buffer.start, records);
        buffer.start += batch.records.len();
        buffer.sent += batch.records.len();
        if buffer.limit > 0 {
            buffer.limit = limit_at(&state.schema, state.chunk_records, buffer.start);
        }
        buffer.last_bytes = batch.records.data().len();
        let freed = state.capacity.swap(0, Ordering::Relaxed);
        (batch, freed)
    }

    /// Goes on behind the first `records` records, if there are more. The buffer is empty.
    pub(crate) fn rewind(&mut self, records: u64) {
        let buffer = &mut *self.buffer;
        buffer.start = buffer.start.min(records);
        if buffer.limit > 0 {
            let state = self.state;
            buffer.limit = limit_at(&state.schema, state.chunk_records, buffer.start);
        }
    }

    /// Gives the memory of an empty buffer back; returns how much that was.
    pub(crate) fn free(&mut self) -> usize {
        if !self.is_empty() {
            return 0;
        }
        self.buffer.records = Records::empty(Arc::clone(&self.state.schema));
        self.state.capacity.swap(0, Ordering::Relaxed)
    }

    /// Makes the buffer refuse all further records.
    pub(crate) fn close(&mut self) {
        self.buffer.limit = 0;
    }
}
