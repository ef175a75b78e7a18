//! The buffers of all series: their memory, and the batches that they send to the stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::buffer_pool::BufferPool;
use super::options::RecorderOptions;
use super::pipeline::{BATCH_OVERHEAD, CHANGE_BYTES, Pipeline, WhenFull};
use super::series_buffer::SeriesBuffer;
use super::stores::{Reservations, Stores};
use super::timeline::TimelineBuffer;
use crate::backend::sync::{Mutex, RwLock};
use crate::error::Result;
use crate::model::key::Key;
use crate::model::record::RecordRef;
use crate::store::commit::{Batch, Change};
use crate::store::errors::{closed, nothing_at};

/// How often a record waits for other buffers to be sent. Without a limit, threads that fill them again at once could
/// keep a large record waiting for ever.
const MAX_SPILLS: u32 = 3;

/// The buffers of all series that the recorder writes to.
#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) stores: Arc<Stores>,
    /// The buffers of free-standing series, in the order in which they were created.
    series: RwLock<Vec<Arc<SeriesBuffer>>>,
    /// The buffers of open timelines.
    timelines: RwLock<Vec<Arc<TimelineBuffer>>>,
    /// The number of records of timelines that are no longer open.
    finished: AtomicU64,
    pub(super) pool: Arc<BufferPool>,
    /// The most bytes in all buffers together.
    pub(super) bound: usize,
    /// The size at which a batch is sent even if its chunk is larger.
    pub(super) batch_bound: usize,
    /// The bytes in all buffers.
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
            series: RwLock::default(),
            timelines: RwLock::default(),
            finished: AtomicU64::new(0),
            pool,
            bound: options.buffer_bound(),
            batch_bound: options.batch_bound(),
            bytes: AtomicUsize::new(0),
            spilling: Mutex::default(),
        }
    }

    /// Adds the buffer of a new series.
    pub(super) fn add(&self, buffer: Arc<SeriesBuffer>) {
        self.series.write().push(buffer);
    }

    /// Adds the buffer of a timeline that was opened.
    pub(super) fn add_timeline(&self, timeline: Arc<TimelineBuffer>) {
        self.timelines.write().push(timeline);
    }

    /// Removes the buffer of a timeline that was finished.
    pub(super) fn remove_timeline(&self, timeline: &Arc<TimelineBuffer>) {
        let recorded = self.lock(timeline).recorded();
        self.finished.fetch_add(recorded, Ordering::Relaxed);
        let mut timelines = self.timelines.write();
        timelines.retain(|other| !Arc::ptr_eq(other, timeline));
    }

    /// The timelines that are open.
    pub(super) fn timelines(&self) -> Vec<Arc<TimelineBuffer>> {
        self.timelines.read().clone()
    }

    /// The buffers of the series right below a group.
    pub(super) fn below(&self, group: &Key) -> Vec<AnyBuffer> {
        let is_below = |key: &Key| key.parent().as_ref() == Some(group);
        let series = self.series.read();
        let series = series.iter().filter(|buffer| is_below(&buffer.key));
        let timelines = self.timelines.read();
        let timelines = timelines.iter().filter(|timeline| timeline.group == *group);
        let series = series.cloned().map(AnyBuffer::Series);
        series
            .chain(timelines.cloned().map(AnyBuffer::Timeline))
            .collect()
    }

    /// Whether there are no buffers, not even those of removed series.
    pub(super) fn is_empty(&self) -> bool {
        self.series.read().is_empty() && self.timelines.read().is_empty()
    }

    /// The number of series.
    pub(super) fn series_count(&self) -> usize {
        let series = self.series.read();
        let series = series.iter().filter(|buffer| buffer.schema().is_some());
        let timelines = self.timelines.read();
        let members = timelines.iter().map(|timeline| timeline.lock().len());
        series.count() + members.sum::<usize>()
    }

    /// The bytes in all buffers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of records that this recorder has taken.
    pub(super) fn recorded(&self) -> u64 {
        let series = self.series.read();
        let series = series.iter().map(|it| it.lock().records().recorded());
        let timelines = self.timelines.read();
        let timelines = timelines.iter().map(|it| self.lock(it).recorded());
        series.sum::<u64>() + timelines.sum::<u64>() + self.finished.load(Ordering::Relaxed)
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
            // Checks again after each release of the lock, since another series may be at the key.
            if !locked.check(record)? {
                return Ok(false);
            }
            let records = locked.records();
            if !records.is_empty() && records.is_full(self.batch_bound) {
                locked = self.send(locked, self.stores.when_full())?;
                continue;
            }
            let Some(capacity) = records.wanted_capacity(record.data.len(), self.batch_bound)
            else {
                break;
            };
            if self.grow_within_bound(capacity, || locked.grow(capacity, &self.pool)) {
                break;
            }
            // Sends the other buffers first, without this lock.
            drop(locked);
            let freed = self.spill(capacity)?;
            spills += 1;
            locked = buffer.lock();
            if (freed == 0 || spills >= MAX_SPILLS) && locked.takes(record) {
                // What remains is this record, or buffers that other threads are filling.
                if locked.records().is_empty() {
                    self.count_growth(locked.grow(record.data.len().max(1), &self.pool));
                    break;
                }
                locked = self.send(locked, self.stores.when_full())?;
            }
        }
        locked.push(record);
        if locked.records().is_full(self.batch_bound) {
            // The record is buffered. If the queue has no room, the next record reports it.
            drop(self.send(locked, self.stores.when_full()));
        }
        Ok(true)
    }

    /// Sends a record that fills a batch by itself. Copies it once there is room in all queues, so that a record above
    /// the memory bound waits until the stores have committed the previous one.
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
        let mut batches = self.cut(&mut locked);
        batches.push(Arc::new(locked.batch_of(record)));
        room.send(|| batches.iter().map(append).collect());
        Ok(true)
    }

    /// Grows a buffer by at most `capacity` bytes, if there is room.
    pub(super) fn grow_within_bound(&self, capacity: usize, grow: impl FnOnce() -> usize) -> bool {
        let within = |bytes: usize| bytes.checked_add(capacity).filter(|&all| all <= self.bound);
        // Reserves the room before it allocates, since other threads do the same.
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        if taken.is_ok() {
            self.count_growth(grow());
            self.bytes.fetch_sub(capacity, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Counts the bytes by which a buffer has grown.
    pub(super) fn count_growth(&self, grown: usize) {
        self.bytes.fetch_add(grown, Ordering::Relaxed);
    }

    /// Sends the largest buffers until half of the room for buffers, and at least `needed`, is
    /// free; returns how much was freed.
    pub(super) fn spill(&self, needed: usize) -> Result<usize> {
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
            .all()
            .into_iter()
            .map(|buffer| (buffer.capacity(), buffer))
            .filter(|(capacity, _)| *capacity > 0)
            .collect();
        largest.sort_unstable_by_key(|(capacity, _)| std::cmp::Reverse(*capacity));
        let mut freed = 0;
        for (capacity, buffer) in largest {
            if freed >= self.bound / 2 && bytes.saturating_sub(freed) + needed <= self.bound {
                break;
            }
            if let Err(error) = self.send_any(&buffer, when_full) {
                *in_vain = Some(room_made);
                return Err(error);
            }
            freed += capacity.saturating_sub(buffer.capacity());
        }
        Ok(freed)
    }

    /// All buffers.
    fn all(&self) -> Vec<AnyBuffer> {
        let series = self.series.read();
        let series = series.iter().cloned().map(AnyBuffer::Series);
        let timelines = self.timelines().into_iter().map(AnyBuffer::Timeline);
        timelines.chain(series).collect()
    }

    /// Sends a buffer to all stores; of a timeline, the complete ticks.
    pub(super) fn send_any(&self, buffer: &AnyBuffer, when_full: WhenFull) -> Result<()> {
        match buffer {
            AnyBuffer::Series(buffer) => self.send(buffer.lock(), when_full).map(drop),
            AnyBuffer::Timeline(buffer) => self.send(self.lock(buffer), when_full).map(drop),
        }
    }

    /// Sends the records of a buffer to all stores, as one group. It releases the lock while it waits for room, so that
    /// other threads can use the buffer.
    pub(super) fn send<L: Outgoing>(&self, mut locked: L, when_full: WhenFull) -> Result<L> {
        if locked.outgoing_bytes() == 0 {
            self.cut(&mut locked);
            return Ok(locked);
        }
        let (mut locked, room) = self.reserve(locked, 0, when_full)?;
        let batches = self.cut(&mut locked);
        if !batches.is_empty() {
            room.send(|| batches.iter().map(append).collect());
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
        let batches = self.cut(&mut locked);
        room.send(|| {
            let truncate = Change::Truncate {
                key: buffer.key.clone(),
                len,
            };
            batches.iter().map(append).chain([truncate]).collect()
        });
        locked.rewind(len);
        Ok(())
    }

    /// Makes the buffer of a removed series refuse records, and drops its records.
    pub(super) fn remove(&self, buffer: &SeriesBuffer) {
        let mut locked = buffer.lock();
        self.cut(&mut locked);
        locked.remove();
    }

    /// Makes the buffer of a renamed series refuse records, and sends its records.
    pub(super) fn rename(&self, buffer: &SeriesBuffer) -> Result<()> {
        // Does not wait for room, since the records take no more memory in the queues than in the buffer.
        let mut locked = self.send(buffer.lock(), WhenFull::Exceed)?;
        locked.remove();
        Ok(())
    }

    /// Reserves room in all queues for the records of a buffer, if it has any, and for `more`
    /// bytes. It releases the lock while it waits for room.
    pub(super) fn reserve<L: Outgoing>(
        &self,
        mut locked: L,
        more: usize,
        when_full: WhenFull,
    ) -> Result<(L, Reservations<'_>)> {
        let at_once = match when_full {
            // Need not wait with so few bytes.
            _ if more + locked.outgoing_bytes() <= CHANGE_BYTES => WhenFull::Exceed,
            WhenFull::Wait => WhenFull::Fail,
            other => other,
        };
        let mut bytes = more + locked.outgoing_bytes();
        let mut room = self.stores.reserve(bytes, at_once);
        loop {
            match room {
                Ok(room) if room.hold(more + locked.outgoing_bytes()) => return Ok((locked, room)),
                Err(error) if when_full != WhenFull::Wait => return Err(error),
                // Releases the room before it waits, so that it does not wait for itself.
                too_little => drop(too_little),
            }
            bytes = more + locked.outgoing_bytes();
            (locked, room) = locked.unlocked(|| self.stores.reserve(bytes, WhenFull::Wait));
        }
    }

    /// Takes the records of a buffer for the group that sends them. Frees the memory of an empty one.
    pub(super) fn cut(&self, locked: &mut impl Outgoing) -> Vec<Arc<Batch>> {
        let (batches, freed) = locked.cut();
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        batches
    }

    /// Sends all buffers, beginning with the one with the number `first`. Returns the number of the
    /// one for which there was no room, if `when_full` says so.
    pub(super) fn send_all(&self, when_full: WhenFull, first: usize) -> Option<usize> {
        let timelines = self.timelines();
        let count = timelines.len() + self.series.read().len();
        for number in (0..count).map(|step| (first + step) % count) {
            let buffer = match timelines.get(number) {
                Some(timeline) => Some(AnyBuffer::Timeline(Arc::clone(timeline))),
                None => self.series(number - timelines.len()).map(AnyBuffer::Series),
            };
            let result = buffer.map_or(Ok(()), |buffer| self.send_any(&buffer, when_full));
            if result.is_err() && when_full == WhenFull::Fail {
                return Some(number);
            }
        }
        None
    }

    /// Makes all buffers refuse further records, and sends them.
    pub(super) fn close(&self) {
        // The queues may exceed their bounds, since these are the last records: a store that stalls must not
        // delay the others.
        for timeline in self.timelines() {
            let mut locked = self.lock(&timeline);
            self.end_tick(&mut locked);
            locked.close();
            drop(self.send(locked, WhenFull::Exceed));
        }
        for number in 0.. {
            let Some(buffer) = self.series(number) else {
                break;
            };
            let mut locked = buffer.lock();
            locked.close();
            drop(self.send(locked, WhenFull::Exceed));
        }
    }

    fn series(&self, number: usize) -> Option<Arc<SeriesBuffer>> {
        self.series.read().get(number).cloned()
    }
}

/// The buffer of a series, or of all series of a timeline.
#[derive(Clone, Debug)]
pub(super) enum AnyBuffer {
    Series(Arc<SeriesBuffer>),
    Timeline(Arc<TimelineBuffer>),
}

impl AnyBuffer {
    /// The bytes that it takes.
    fn capacity(&self) -> usize {
        match self {
            Self::Series(buffer) => buffer.capacity(),
            Self::Timeline(buffer) => buffer.capacity(),
        }
    }
}

/// Records that are sent as one group, under the lock of their buffer. They must go to the queues before
/// the lock is given up, so that they stay in order.
pub(super) trait Outgoing: Sized {
    /// Their size in the queues; 0 if there are none.
    fn outgoing_bytes(&self) -> usize;

    /// Removes them from the buffer; returns them, and the bytes of memory that the buffer released.
    fn cut(&mut self) -> (Vec<Arc<Batch>>, usize);

    /// Releases the lock while `wait` runs.
    fn unlocked<R>(self, wait: impl FnOnce() -> R) -> (Self, R);
}

pub(super) fn append(batch: &Arc<Batch>) -> Change {
    Change::Append {
        batch: Arc::clone(batch),
        prepared: None,
    }
}
