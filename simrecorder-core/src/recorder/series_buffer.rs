//! The buffer of one series, for records of any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::buffer_pool::BufferPool;
use super::buffers::Outgoing;
use super::record_buffer::RecordBuffer;
use crate::backend::sync::{Mutex, MutexGuard};
use crate::error::Result;
use crate::model::key::Key;
use crate::model::record::{RecordRef, ScalarRef};
use crate::model::schema::Schema;
use crate::store::commit::Batch;
use crate::store::errors::closed;

/// A series with the buffer of its next batch.
#[derive(Debug)]
pub(super) struct SeriesBuffer {
    pub(super) key: Key,
    contents: Mutex<Contents>,
    /// The capacity of `contents` in bytes, for threads without its lock.
    capacity: AtomicUsize,
    /// The number of texts of this series in the key cache.
    pub(super) cached_texts: AtomicU32,
}

#[derive(Debug)]
struct Contents {
    buffer: RecordBuffer,
    state: State,
}

/// Whether a buffer takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It takes none, since its series was removed or renamed, or joined a timeline. It is restarted when a series is
    /// created at its key again.
    Removed,
    /// It takes none, since its recorder was closed.
    Closed,
}

/// The buffer of a series under its lock. Batches must be sent to the queues before the lock is released, so that they
/// stay in order.
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
            contents: Mutex::new(Contents {
                buffer: RecordBuffer::new(schema, chunk_records, start),
                state: State::Open,
            }),
            capacity: AtomicUsize::new(0),
            cached_texts: AtomicU32::new(0),
        }
    }

    /// Takes records again, of another series at the same key, after the series was removed.
    pub(super) fn restart(&self, schema: Arc<Schema>, chunk_records: u64, start: u64) {
        let mut contents = self.contents.lock();
        if contents.state == State::Removed {
            contents.buffer.restart(schema, chunk_records, start);
            contents.state = State::Open;
        }
    }

    /// The schema of the series; `None` if it was removed or renamed.
    pub(super) fn schema(&self) -> Option<Arc<Schema>> {
        let contents = self.contents.lock();
        (contents.state != State::Removed).then(|| Arc::clone(contents.buffer.schema()))
    }

    /// Takes the record if that only needs copying; `false` if it needs more, such as growing the buffer or reporting an
    /// error.
    #[inline]
    pub(super) fn try_push(&self, record: &RecordRef<'_>) -> bool {
        self.contents.lock().buffer.try_push(record)
    }

    /// [`try_push`](Self::try_push) for a scalar.
    // Inlined, since the callers know the size of the scalar.
    #[inline(always)]
    pub(super) fn try_push_scalar(&self, scalar: ScalarRef<'_>) -> bool {
        self.contents.lock().buffer.try_push_scalar(scalar)
    }

    pub(super) fn lock(&self) -> LockedBuffer<'_> {
        LockedBuffer {
            buffer: self,
            contents: self.contents.lock(),
        }
    }

    /// The capacity of the buffer in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }
}

impl Drop for LockedBuffer<'_> {
    fn drop(&mut self) {
        self.contents.buffer.settle();
    }
}

impl LockedBuffer<'_> {
    /// The records in the buffer.
    pub(super) fn records(&self) -> &RecordBuffer {
        &self.contents.buffer
    }

    /// Whether the buffer takes such records.
    pub(super) fn takes(&self, record: &RecordRef<'_>) -> bool {
        self.contents.state == State::Open && self.records().schema().accepts(record)
    }

    /// Whether the buffer takes a record; `false` if its series was removed or renamed.
    ///
    /// # Errors
    /// If the recorder was closed, or the record does not fit the series.
    pub(super) fn check(&self, record: &RecordRef<'_>) -> Result<bool> {
        let schema = self.records().schema();
        match self.contents.state {
            State::Closed => Err(closed("record", "recorder")),
            State::Removed => Ok(false),
            State::Open if schema.accepts(record) => Ok(true),
            State::Open => Err(schema.mismatch(record).with_key(self.buffer.key.as_str())),
        }
    }

    /// Whether the series was removed or renamed.
    pub(super) fn is_removed(&self) -> bool {
        self.contents.state == State::Removed
    }

    /// Whether the buffer was closed with its recorder.
    pub(super) fn is_closed(&self) -> bool {
        self.contents.state == State::Closed
    }

    /// Grows the buffer to `capacity` bytes and returns by how much it grew.
    pub(super) fn grow(&mut self, capacity: usize, pool: &BufferPool) -> usize {
        let grown = self.contents.buffer.grow(capacity, pool);
        let capacity = self.records().capacity();
        self.buffer.capacity.store(capacity, Ordering::Relaxed);
        grown
    }

    /// Takes a record for which there is room.
    pub(super) fn push(&mut self, record: &RecordRef<'_>) {
        self.contents.buffer.push(record);
    }

    /// Makes a batch of one record, without the buffer, which is empty.
    pub(super) fn batch_of(&mut self, record: &RecordRef<'_>) -> Batch {
        self.contents.buffer.batch_of(&self.buffer.key, record)
    }

    /// Continues after the first `len` records, if there are more. The buffer is empty.
    pub(super) fn rewind(&mut self, len: u64) {
        self.contents.buffer.rewind(len);
    }

    /// Makes the buffer refuse records until it is [restarted](SeriesBuffer::restart).
    pub(super) fn remove(&mut self) {
        if !self.is_closed() {
            self.contents.state = State::Removed;
            self.contents.buffer.stop();
        }
    }

    /// Makes the buffer refuse all further records.
    pub(super) fn close(&mut self) {
        self.contents.state = State::Closed;
        self.contents.buffer.stop();
    }
}

impl Outgoing for LockedBuffer<'_> {
    fn outgoing_bytes(&self) -> usize {
        self.records().batch_bytes()
    }

    fn cut(&mut self) -> (Vec<Arc<Batch>>, usize) {
        let freed = self.buffer.capacity.swap(0, Ordering::Relaxed);
        let batch = self.contents.buffer.cut_all(&self.buffer.key);
        (batch.into_iter().map(Arc::new).collect(), freed)
    }

    fn unlocked<R>(self, wait: impl FnOnce() -> R) -> (Self, R) {
        let buffer = self.buffer;
        drop(self);
        let result = wait();
        (buffer.lock(), result)
    }
}
