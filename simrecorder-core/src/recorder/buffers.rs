//! The buffers of all series: their memory, and the batches that they send to the stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::buffer_pool::BufferPool;
use super::options::RecorderOptions;
use super::pipeline::{BATCH_OVERHEAD, CHANGE_BYTES, Pipeline, WhenFull};
use super::series_buffer::{LockedBuffer, SeriesBuffer};
use super::stores::{Reservations, Stores};
use crate::backend::sync::{Mutex, RwLock};
use crate::error::Result;
use crate::model::key::Key;
use crate::model::record::RecordRef;
use crate::store::commit::{Batch, Change};
use crate::store::errors::{closed, nothing_at};

/// How often a record waits for other buffers to be sent. Threads that fill them again at once must
/// not keep a large record waiting for ever.
const MAX_SPILLS: u32 = 3;

/// The buffers of all series that the recorder writes to.
#[derive(Debug)]
pub(super) struct Buffers {
    stores: Arc<Stores>,
    /// In the order in which the series were created.
    all: RwLock<Vec<Arc<SeriesBuffer>>>,
    pool: Arc<BufferPool>,
    /// The most bytes that the buffers take together.
    bound: usize,
    /// The size at which a batch is sent even if its chunk is larger.
    batch_bound: usize,
    /// What the buffers take.
    bytes: AtomicUsize,
    /// Locked while buffers are sent to make room. If there was no room in the queues, the sum of
    /// [`Pipeline::room_made_count`] at that time: retrying earlier is wasted work.
    spilling: Mutex<Option<u64>>,
}

impl Buffers {
    pub(super) fn new(
        stores: Arc<Stores>,
        options: &RecorderOptions,
        pool: Arc<BufferPool>,
    ) -> Self {
        Self {
            stores,
            all: RwLock::default(),
            pool,
            bound: options.buffer_bound(),
            batch_bound: options.batch_bound(),
            bytes: AtomicUsize::new(0),
            spilling: Mutex::default(),
        }
    }

    /// Adds the buffer of a new series.
    pub(super) fn add(&self, buffer: Arc<SeriesBuffer>) {
        self.all.write().push(buffer);
    }

    /// The buffers of the series right below a group.
    pub(super) fn below(&self, group: &Key) -> Vec<Arc<SeriesBuffer>> {
        let all = self.all.read();
        let is_below = |buffer: &&Arc<SeriesBuffer>| buffer.key.parent().as_ref() == Some(group);
        all.iter().filter(is_below).cloned().collect()
    }

    /// How many buffers there are, those of removed series included.
    pub(super) fn count(&self) -> usize {
        self.all.read().len()
    }

    /// How many series there are.
    pub(super) fn series_count(&self) -> usize {
        let all = self.all.read();
        all.iter()
            .filter(|buffer| buffer.schema().is_some())
            .count()
    }

    /// What the buffers take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many records this recorder has taken.
    pub(super) fn recorded(&self) -> u64 {
        let all = self.all.read();
        all.iter().map(|buffer| buffer.lock().recorded()).sum()
    }

    /// Takes a record into its series, growing or sending the buffer as needed; `false` if the series was
    /// removed or renamed in the meantime.
    #[cold]
    #[inline(never)]
    pub(super) fn record(&self, buffer: &SeriesBuffer, record: &RecordRef<'_>) -> Result<bool> {
        self.stores.check_running("record")?;
        if record.data.len() >= self.batch_bound {
            return self.send_alone(buffer, record);
        }
        let mut spills = 0;
        let mut locked = buffer.lock();
        loop {
            // Here, since another series may be at the key when the lock was given up.
            if !locked.check(record)? {
                return Ok(false);
            }
            if !locked.is_empty() && locked.is_full(self.batch_bound) {
                locked = self.send(locked, self.stores.when_full())?;
                continue;
            }
            let Some(capacity) = locked.wanted_capacity(record.data.len(), self.batch_bound) else {
                break;
            };
            if self.grow_within_bound(&mut locked, capacity) {
                break;
            }
            // The others are sent first, without this lock.
            drop(locked);
            let freed = self.spill(capacity)?;
            spills += 1;
            locked = buffer.lock();
            if (freed == 0 || spills >= MAX_SPILLS) && locked.takes(record) {
                // The rest is this record, or buffers that other threads fill at this moment.
                if locked.is_empty() {
                    self.grow(&mut locked, record.data.len().max(1));
                    break;
                }
                locked = self.send(locked, self.stores.when_full())?;
            }
        }
        locked.push(record);
        if locked.is_full(self.batch_bound) {
            // The record is taken; if the queue has no room now, the next record finds out.
            drop(self.send(locked, self.stores.when_full()));
        }
        Ok(true)
    }

    /// Sends a record that fills a batch by itself. It is copied once there is room in all queues, so
    /// that one above the memory bound waits until the stores have committed the one before.
    fn send_alone(&self, buffer: &SeriesBuffer, record: &RecordRef<'_>) -> Result<bool> {
        let locked = buffer.lock();
        if !locked.check(record)? {
            return Ok(false);
        }
        let bytes = BATCH_OVERHEAD + record.data.len() + size_of::<u64>();
        let (mut locked, room) = self.reserve(locked, bytes, self.stores.when_full())?;
        if !locked.check(record)? {
            return Ok(false);
        }
        let before = self.cut(&mut locked);
        let alone = Arc::new(locked.batch_of(record));
        room.send(|| before.iter().chain([&alone]).map(append).collect());
        Ok(true)
    }

    /// Grows a buffer if there is room for so much.
    fn grow_within_bound(&self, locked: &mut LockedBuffer<'_>, capacity: usize) -> bool {
        let within = |bytes: usize| bytes.checked_add(capacity).filter(|&all| all <= self.bound);
        // The room is taken before the memory is: other threads do the same at this moment.
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        if taken.is_ok() {
            self.grow(locked, capacity);
            self.bytes.fetch_sub(capacity, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn grow(&self, locked: &mut LockedBuffer<'_>, capacity: usize) {
        let grown = locked.grow(capacity, &self.pool);
        self.bytes.fetch_add(grown, Ordering::Relaxed);
    }

    /// Sends the largest buffers until half of the room for buffers, and at least `needed`, is
    /// free; returns how much was freed.
    fn spill(&self, needed: usize) -> Result<usize> {
        let mut in_vain = self.spilling.lock();
        let pipelines = self.stores.pipelines();
        let room_made = pipelines.iter().map(Pipeline::room_made_count).sum();
        let when_full = self.stores.when_full();
        if *in_vain == Some(room_made) && when_full == WhenFull::Fail {
            return Err(self.stores.buffer_full());
        }
        let bytes = self.bytes();
        if bytes.saturating_add(needed) <= self.bound {
            return Ok(bytes);
        }
        let mut largest: Vec<_> = self
            .all
            .read()
            .iter()
            .map(|buffer| (buffer.capacity(), Arc::clone(buffer)))
            .filter(|(capacity, _)| *capacity > 0)
            .collect();
        largest.sort_unstable_by_key(|(capacity, _)| std::cmp::Reverse(*capacity));
        let mut freed = 0;
        for (capacity, buffer) in largest {
            if freed >= self.bound / 2 && bytes.saturating_sub(freed) + needed <= self.bound {
                break;
            }
            if let Err(error) = self.send(buffer.lock(), when_full) {
                *in_vain = Some(room_made);
                return Err(error);
            }
            freed += capacity;
        }
        Ok(freed)
    }

    /// Sends the buffer of a series to all stores. While it waits for room, it gives up the lock,
    /// so that others see the series.
    pub(super) fn send<'a>(
        &self,
        mut locked: LockedBuffer<'a>,
        when_full: WhenFull,
    ) -> Result<LockedBuffer<'a>> {
        if locked.is_empty() {
            self.cut(&mut locked);
            return Ok(locked);
        }
        let (mut locked, room) = self.reserve(locked, 0, when_full)?;
        if let Some(batch) = self.cut(&mut locked) {
            room.send(|| vec![append(&batch)]);
        }
        Ok(locked)
    }

    /// Sends the buffer of a series and cuts the series to its first `len` records, as one group.
    pub(super) fn truncate(&self, buffer: &SeriesBuffer, len: u64) -> Result<()> {
        let when_full = self.stores.when_full();
        let (mut locked, room) = self.reserve(buffer.lock(), CHANGE_BYTES, when_full)?;
        if locked.is_closed() {
            return Err(closed("truncate", "recorder"));
        }
        if locked.is_removed() {
            return Err(nothing_at("truncate"));
        }
        let batch = self.cut(&mut locked);
        room.send(|| {
            let truncate = Change::Truncate {
                key: buffer.key.clone(),
                len,
            };
            batch.iter().map(append).chain([truncate]).collect()
        });
        locked.rewind(len);
        Ok(())
    }

    /// Makes a buffer refuse records, since its series is removed, and drops those that it has.
    pub(super) fn remove(&self, buffer: &SeriesBuffer) {
        let mut locked = buffer.lock();
        self.cut(&mut locked);
        locked.remove();
    }

    /// Makes a buffer refuse records, since its series is renamed, and sends those that it has.
    pub(super) fn rename(&self, buffer: &SeriesBuffer) -> Result<()> {
        // It takes no more memory in the queues than before, so they take it without waiting.
        let mut locked = self.send(buffer.lock(), WhenFull::Exceed)?;
        locked.remove();
        Ok(())
    }

    /// Reserves room in all queues for the records of a buffer, if it has any, and for `more`
    /// bytes. While it waits for room, it gives up the lock.
    fn reserve<'a>(
        &self,
        mut locked: LockedBuffer<'a>,
        more: usize,
        when_full: WhenFull,
    ) -> Result<(LockedBuffer<'a>, Reservations<'_>)> {
        let needed = |locked: &LockedBuffer<'_>| match locked.is_empty() {
            true => more,
            false => more + locked.batch_bytes(),
        };
        let at_once = match when_full {
            // So little that it need not wait.
            _ if needed(&locked) <= CHANGE_BYTES => WhenFull::Exceed,
            WhenFull::Wait => WhenFull::Fail,
            other => other,
        };
        let mut room = self.stores.reserve(needed(&locked), at_once);
        loop {
            match room {
                Ok(room) if room.hold(needed(&locked)) => return Ok((locked, room)),
                Err(error) if when_full != WhenFull::Wait => return Err(error),
                // Given back before it waits, so that it does not wait for itself.
                too_little => drop(too_little),
            }
            let bytes = needed(&locked);
            let buffer = locked.unlock();
            room = self.stores.reserve(bytes, WhenFull::Wait);
            locked = buffer.lock();
        }
    }

    /// Takes the records of a buffer, if it has any, for the group that sends them. Frees the memory
    /// of an empty one.
    fn cut(&self, locked: &mut LockedBuffer<'_>) -> Option<Arc<Batch>> {
        let (batch, freed) = locked.cut();
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        batch.map(Arc::new)
    }

    /// Sends all buffers, beginning with the one with the number `first`. Returns the number of the
    /// one for which there was no room, if `when_full` says so.
    pub(super) fn send_all(&self, when_full: WhenFull, first: usize) -> Option<usize> {
        let count = self.count();
        for number in (0..count).map(|step| (first + step) % count) {
            let Some(buffer) = self.get(number) else {
                continue;
            };
            let result = self.send(buffer.lock(), when_full);
            if result.is_err() && when_full == WhenFull::Fail {
                return Some(number);
            }
        }
        None
    }

    /// Makes all buffers refuse further records, and sends them.
    pub(super) fn close(&self) {
        for number in 0.. {
            let Some(buffer) = self.get(number) else {
                break;
            };
            let mut locked = buffer.lock();
            locked.close();
            // Nothing more comes, so the queues may take what the buffers hold: a store that
            // stalls does not keep it from the others.
            drop(self.send(locked, WhenFull::Exceed));
        }
    }

    fn get(&self, number: usize) -> Option<Arc<SeriesBuffer>> {
        self.all.read().get(number).cloned()
    }
}

fn append(batch: &Arc<Batch>) -> Change {
    Change::Append {
        batch: Arc::clone(batch),
        prepared: None,
    }
}
