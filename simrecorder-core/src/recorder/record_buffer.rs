//! The records of one series that are not in a batch yet.

use std::sync::Arc;

use super::buffer_pool::BufferPool;
use super::pipeline::batch_bytes;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::record::{RecordRef, ScalarRef};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::store::commit::Batch;

/// The approximate size of a batch of records of unknown size. Batches of arrays end where chunks do.
const BATCH_BYTES: usize = 1 << 20;
/// The size of the first buffer of a series.
const FIRST_BYTES: usize = 64;

/// The records of a series since its last batch. Its caller holds the lock of the series.
#[derive(Debug)]
pub(super) struct RecordBuffer {
    /// The element type, if the records are scalars.
    scalar: Option<DType>,
    /// The size of a scalar in bytes; 0 if the records are not scalars.
    scalar_bytes: usize,
    /// The number of records in a chunk; batches of arrays end where chunks do.
    chunk_records: u64,
    /// The index of the first record in the buffer.
    start: u64,
    /// The buffered records, with the schema of the series.
    records: Records,
    /// The number of records in earlier batches.
    sent: u64,
    /// The most records in the buffer: those up to the end of a chunk, or none.
    limit: u64,
    is_stopped: bool,
    /// How many more records of fixed size can be taken by only copying them. [`settle`](Self::settle) updates it.
    room: u64,
    /// The size of the last batch, which is a guess for the next one.
    last_bytes: usize,
}

impl RecordBuffer {
    /// The buffer of a series whose next record has the index `start`.
    pub(super) fn new(schema: Arc<Schema>, chunk_records: u64, start: u64) -> Self {
        let is_scalar = schema.kind() == Kind::Array && schema.record_shape().is_empty();
        let scalar = schema.dtype().filter(|_| is_scalar);
        let mut buffer = Self {
            scalar,
            scalar_bytes: scalar.map_or(0, DType::size),
            chunk_records: chunk_records.max(1),
            start,
            limit: 0,
            is_stopped: false,
            room: 0,
            records: Records::empty(schema),
            sent: 0,
            last_bytes: 0,
        };
        buffer.continue_at(start);
        buffer
    }

    /// Reuses the buffer for another series. [`recorded`](Self::recorded) still counts the old records.
    pub(super) fn restart(&mut self, schema: Arc<Schema>, chunk_records: u64, start: u64) {
        let sent = self.sent;
        *self = Self::new(schema, chunk_records, start);
        self.sent = sent;
    }

    /// The schema of the series.
    pub(super) fn schema(&self) -> &Arc<Schema> {
        self.records.schema()
    }

    /// The number of records in a chunk.
    pub(super) fn chunk_records(&self) -> u64 {
        self.chunk_records
    }

    /// The number of records since the series was opened.
    pub(super) fn recorded(&self) -> u64 {
        self.sent + self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The index of the first record in the buffer.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The number of records of the series, including those in the buffer.
    #[inline(always)]
    pub(super) fn end(&self) -> u64 {
        self.start + self.records.len()
    }

    /// The size in the queues of a batch of the buffer; 0 if it is empty.
    pub(super) fn batch_bytes(&self) -> usize {
        match self.is_empty() {
            true => 0,
            false => batch_bytes(&self.records),
        }
    }

    /// The capacity of the buffer in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.records.capacity_bytes()
    }

    /// Takes the record if that only needs copying; `false` if it needs more, such as growing the buffer or reporting an
    /// error.
    #[inline]
    pub(super) fn try_push(&mut self, record: &RecordRef<'_>) -> bool {
        self.records.schema().accepts(record)
            && (self.try_push_fixed(&record.data) || self.try_push_variable(record))
    }

    /// [`try_push`](Self::try_push) for a scalar.
    // Inlined, since the callers know the size of the scalar.
    #[inline(always)]
    pub(super) fn try_push_scalar(&mut self, scalar: ScalarRef<'_>) -> bool {
        self.scalar == Some(scalar.dtype) && self.try_push_fixed(scalar.data)
    }

    /// The element type, if the records are scalars of up to eight bytes.
    pub(super) fn short_scalar(&self) -> Option<DType> {
        self.scalar.filter(|dtype| dtype.size() <= size_of::<u64>())
    }

    /// [`try_push`](Self::try_push) for a [short scalar](Self::short_scalar), whose bytes are the first ones.
    #[inline(always)]
    pub(super) fn try_push_bytes(&mut self, bytes: [u8; 8]) -> bool {
        // With the most frequent size known to the compiler, copying is one instruction.
        if self.scalar_bytes == bytes.len() {
            return self.try_push_fixed(&bytes);
        }
        match bytes.get(..self.scalar_bytes) {
            Some(scalar) if !scalar.is_empty() => self.try_push_fixed(scalar),
            _ => false,
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
        let is_taken = !self.schema().kind().is_fixed()
            && self.records.len() + 1 < self.limit
            && self.records.has_room(record.data.len());
        if is_taken {
            self.records.push(record);
        }
        is_taken
    }

    /// Updates how many records can be taken by only copying them, after any other change.
    pub(super) fn settle(&mut self) {
        self.room = 0;
        let schema = self.records.schema();
        if schema.kind().is_fixed() {
            let free = self.records.data_capacity() - self.records.data().len();
            let fitting = free.checked_div(schema.record_bytes().unwrap_or(0));
            let below_limit = self.limit.saturating_sub(self.records.len() + 1);
            self.room = below_limit.min(fitting.unwrap_or(0) as u64);
        }
    }

    /// How many more [short scalars](Self::short_scalar) can be taken by only copying them.
    #[inline(always)]
    pub(super) fn room_for_words(&self) -> u64 {
        match self.scalar_bytes {
            1..=8 => self.room,
            _ => 0,
        }
    }

    /// Takes [short scalars](Self::short_scalar), whose bytes are the first ones, for which there is
    /// [room](Self::room_for_words).
    #[inline(always)]
    pub(super) fn push_words(&mut self, words: &[[u8; 8]]) {
        self.room = self.room.saturating_sub(words.len() as u64);
        self.records.push_words(self.scalar_bytes, words);
    }

    /// Whether the buffer is a whole batch: it ends where a chunk does, or is large enough.
    pub(super) fn is_full(&self, batch_bound: usize) -> bool {
        let records = &self.records;
        let bound = if self.schema().kind().is_fixed() {
            batch_bound
        } else {
            BATCH_BYTES.min(batch_bound)
        };
        records.len() >= self.limit || records.data().len() + size_of_val(records.ends()) >= bound
    }

    /// Whether the buffer has records, and the last one is the last of a chunk.
    #[inline(always)]
    pub(super) fn ends_chunk(&self) -> bool {
        self.records.len() >= self.limit && !self.records.is_empty()
    }

    /// The new capacity of the buffer, if it has to grow for a record of `bytes` bytes.
    pub(super) fn wanted_capacity(&self, bytes: usize, batch_bound: usize) -> Option<usize> {
        let records = &self.records;
        if records.has_room(bytes) {
            return None;
        }
        let needed = records.data().len() + bytes;
        let full = if self.schema().kind().is_fixed() {
            usize::try_from(self.limit)
                .unwrap_or(usize::MAX)
                .saturating_mul(bytes)
        } else {
            BATCH_BYTES.max(bytes)
        };
        let doubled = (records.data_capacity() * 2)
            .max(self.last_bytes)
            .max(FIRST_BYTES);
        Some(doubled.min(full).min(batch_bound).max(needed))
    }

    /// Grows the buffer to `capacity` bytes and returns by how much it grew.
    pub(super) fn grow(&mut self, capacity: usize, pool: &BufferPool) -> usize {
        let before = self.capacity();
        let records = &mut self.records;
        if records.is_empty() && records.data().len() < capacity {
            let schema = Arc::clone(records.schema());
            *records = Records::with_buffer(schema, pool.take(capacity));
        }
        let more = capacity.saturating_sub(records.data().len());
        let count = (records.len() as usize).max(4);
        records.reserve_exact(more, count);
        self.capacity().saturating_sub(before)
    }

    /// Takes a record for which there is room.
    pub(super) fn push(&mut self, record: &RecordRef<'_>) {
        self.records.push(record);
    }

    /// Removes all records from the buffer, as the next batch of the series at `key`, if there are any.
    pub(super) fn cut_all(&mut self, key: &Key) -> Option<Batch> {
        let empty = Records::empty(Arc::clone(self.schema()));
        let records = std::mem::replace(&mut self.records, empty);
        (!records.is_empty()).then(|| self.batch(key, records))
    }

    /// Like [`cut_all`](Self::cut_all), but keeps the last record.
    pub(super) fn cut_before_last(&mut self, key: &Key) -> Option<Batch> {
        let last = self.records.pop();
        let batch = self.cut_all(key);
        if let Some(last) = last {
            self.records = last;
        }
        batch
    }

    /// Makes a batch of one record without the buffer, which is empty.
    pub(super) fn batch_of(&mut self, key: &Key, record: &RecordRef<'_>) -> Batch {
        let mut records = Records::empty(Arc::clone(self.schema()));
        records.reserve_exact(record.data.len(), 1);
        records.push(record);
        self.batch(key, records)
    }

    /// The batch of the next records of the series.
    fn batch(&mut self, key: &Key, records: Records) -> Batch {
        let batch = Batch::new(key.clone(), self.start, records);
        self.sent += batch.records.len();
        self.last_bytes = batch.records.data().len();
        self.continue_at(batch.start + batch.records.len());
        batch
    }

    /// Drops the last record of the buffer.
    pub(super) fn discard_last(&mut self) {
        self.records.pop();
    }

    /// Continues after the first `len` records, if there are more. The buffer is empty.
    pub(super) fn rewind(&mut self, len: u64) {
        self.continue_at(self.start.min(len));
    }

    fn continue_at(&mut self, start: u64) {
        self.start = start;
        self.limit = match self.schema().kind().is_fixed() {
            _ if self.is_stopped => 0,
            true => self.chunk_records - start % self.chunk_records,
            false => u64::MAX,
        };
    }

    /// Makes the buffer refuse records until it is [restarted](Self::restart).
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
        self.limit = 0;
    }
}
