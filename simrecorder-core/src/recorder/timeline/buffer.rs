//! The buffer of a timeline: one lock for the records of all its series and for the count of its ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::coordinate::{CoordinateType, CoordinateValue, as_scalar};
use super::filling::FillRecord;
use super::staged::{OpenTick, Slots};
use crate::backend::sync::{Mutex, MutexGuard};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::record::RecordRef;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::recorder::buffer_pool::BufferPool;
use crate::recorder::buffers::Outgoing;
use crate::recorder::pipeline::batch_bytes;
use crate::recorder::record_buffer::RecordBuffer;
use crate::store::commit::Batch;

/// The complete ticks of a timeline are sent when they have about this many bytes for each series, within the bounds of
/// a group, and end where a chunk of the widest series does. The overhead of much smaller batches exceeds their
/// records.
const MEMBER_BYTES: usize = 16 << 10;
/// The bounds of the size in bytes at which a group of ticks is sent.
const GROUP_BYTES: (usize, usize) = (4 << 20, 8 << 20);

/// The index of the coordinate among the series of a timeline.
pub(in crate::recorder) const COORDINATE: usize = 0;

/// An open timeline: its series, each with its next batch.
#[derive(Debug)]
pub(in crate::recorder) struct TimelineBuffer {
    /// The group of its series.
    pub(in crate::recorder) group: Key,
    /// The key of its coordinate.
    pub(in crate::recorder) coordinate: Key,
    pub(super) open_tick: OpenTick,
    contents: Mutex<Contents>,
    /// The capacity of the buffers of its series in bytes, for threads without the lock.
    capacity: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Contents {
    /// The series of the timeline, the coordinate first.
    pub(super) members: Vec<MemberBuffer>,
    /// The member with the fewest records in a chunk: groups of ticks end where its chunks do.
    widest: usize,
    /// How many ticks are complete.
    pub(super) ticks: u64,
    /// How many of them were removed from the buffers.
    taken: u64,
    /// The coordinate of the last complete tick.
    pub(super) last: Option<CoordinateValue>,
    /// The coordinate of the open tick, which is after the complete ones.
    pub(super) open: Option<CoordinateValue>,
    /// How many members have their record of the open tick in their buffers.
    pub(super) recorded: usize,
    /// The scalars of the latest ticks, which are not in the buffers yet.
    pub(super) slots: Arc<Slots>,
    /// The number of the last tick that began, except those that the handle began without the lock.
    pub(super) begun: u64,
    /// Whether the complete ticks will be sent before the next one begins.
    is_large: bool,
    pub(super) state: State,
}

/// A series of a timeline.
#[derive(Debug)]
pub(super) struct MemberBuffer {
    pub(super) key: Key,
    pub(super) records: RecordBuffer,
    /// The value in ticks without a record, if the series has a fill value.
    pub(super) fill_value: Option<Value>,
    /// Full batches, before the records in `records`.
    full: Vec<Arc<Batch>>,
}

/// Whether a timeline takes ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Its handle was finished or dropped.
    Finished,
    /// Its recorder was closed.
    Closed,
}

/// A timeline under its lock.
#[derive(Debug)]
pub(in crate::recorder) struct LockedTimeline<'a> {
    pub(super) timeline: &'a TimelineBuffer,
    pub(super) contents: MutexGuard<'a, Contents>,
}

impl MemberBuffer {
    /// Whether it has its record of the tick after the first `ticks`.
    #[inline(always)]
    pub(super) fn has_tick(&self, ticks: u64) -> bool {
        self.records.end() > ticks
    }

    fn capacity(&self) -> usize {
        let full = self.full.iter().map(|batch| batch.records.capacity_bytes());
        self.records.capacity() + full.sum::<usize>()
    }
}

impl TimelineBuffer {
    /// A timeline with `ticks` complete ticks, the last of which has the coordinate `last`.
    pub(in crate::recorder) fn new(
        group: Key,
        coordinate: Key,
        ticks: u64,
        last: Option<CoordinateValue>,
    ) -> Self {
        Self {
            group,
            coordinate,
            open_tick: OpenTick::default(),
            contents: Mutex::new(Contents {
                members: Vec::new(),
                widest: COORDINATE,
                ticks,
                taken: ticks,
                last,
                open: None,
                recorded: 0,
                slots: Arc::default(),
                begun: 0,
                is_large: false,
                state: State::Open,
            }),
            capacity: AtomicUsize::new(0),
        }
    }

    pub(in crate::recorder) fn lock(&self) -> LockedTimeline<'_> {
        LockedTimeline {
            timeline: self,
            contents: self.contents.lock(),
        }
    }

    /// The capacity of the buffers of its series in bytes.
    pub(in crate::recorder) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Begins the tick at `t` if the previous one is complete and only numbers need copying. Returns the number of
    /// the tick; `None` if it needs more.
    #[inline]
    pub(super) fn try_advance<T: CoordinateType>(&self, t: T) -> Option<u64> {
        let contents = &mut *self.contents.lock();
        if !contents.take_complete(&self.open_tick) {
            return None;
        }
        let before = contents.open.or(contents.last).map(T::from_value);
        let is_next = match before {
            Some(before) => before.is_some_and(|before| before < t),
            None => t.is_number(),
        };
        let is_ready = contents.state == State::Open && !contents.is_large;
        if !(is_next && is_ready && (contents.open.is_none() || contents.take_staged()))
            || contents.ends_chunk()
        {
            return None;
        }
        let coordinate = &mut contents.members[COORDINATE].records;
        coordinate.try_push_scalar(as_scalar(&t)).then(|| {
            contents.complete_tick();
            contents.open = Some(t.into_value());
            contents.recorded = 1;
            contents.begun += 1;
            self.open_tick.set_limit(contents.last_staged());
            self.open_tick.begin(contents.begun);
            contents.begun
        })
    }

    /// Takes a record of a member's open tick if that only needs copying; `false` if it needs more.
    #[inline]
    pub(super) fn try_push(&self, member: usize, record: &RecordRef<'_>) -> bool {
        let contents = &mut *self.contents.lock();
        let (ticks, tick) = (contents.ticks, self.open_tick.number());
        let buffer = &mut contents.members[member];
        let is_taken = tick != 0
            && tick == contents.begun
            && !buffer.has_tick(ticks)
            && contents.slots.of_tick(tick, member).is_none()
            && buffer.records.try_push(record);
        if is_taken {
            contents.slots.close(tick, member);
            contents.recorded += 1;
        }
        is_taken
    }
}

impl Contents {
    /// Whether the records of the widest member end where a chunk does.
    #[inline(always)]
    fn ends_chunk(&self) -> bool {
        let widest = self.members.get(self.widest);
        widest.is_some_and(|widest| widest.records.ends_chunk())
    }

    /// Counts the open tick, which is complete.
    #[inline(always)]
    pub(super) fn complete_tick(&mut self) {
        if let Some(open) = self.open.take() {
            self.last = Some(open);
            self.ticks += 1;
        }
    }
}

impl LockedTimeline<'_> {
    /// The group of its series.
    pub(in crate::recorder) fn group(&self) -> &Key {
        &self.timeline.group
    }

    /// The number of its series, including the coordinate.
    pub(in crate::recorder) fn len(&self) -> usize {
        self.contents.members.len()
    }

    /// The keys of its series, the coordinate first.
    pub(in crate::recorder) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.contents.members.iter().map(|member| &member.key)
    }

    /// The schema of a member.
    pub(in crate::recorder) fn schema(&self, member: usize) -> Arc<Schema> {
        Arc::clone(self.contents.members[member].records.schema())
    }

    /// The number of records of its series since it was opened.
    pub(in crate::recorder) fn recorded(&self) -> u64 {
        let members = self.contents.members.iter();
        let of_member = |member: &MemberBuffer| member.records.recorded();
        members.map(of_member).sum::<u64>() + self.staged().count() as u64
    }

    /// How many ticks are complete.
    pub(in crate::recorder) fn ticks(&self) -> u64 {
        self.contents.ticks
    }

    /// The coordinate of the last complete tick.
    pub(super) fn last(&self) -> Option<CoordinateValue> {
        self.contents.last
    }

    /// Whether a tick is open.
    pub(in crate::recorder) fn has_open_tick(&self) -> bool {
        self.contents.open.is_some()
    }

    /// Whether each member has its record of the open tick.
    pub(in crate::recorder) fn is_tick_whole(&self) -> bool {
        self.contents.recorded + self.staged().count() == self.contents.members.len()
    }

    /// The members whose scalars of the open tick are not in the buffers yet, with the scalars.
    pub(super) fn staged(&self) -> impl Iterator<Item = (usize, [u8; 8])> {
        let contents = &*self.contents;
        let members = contents.members.iter().enumerate();
        members.filter_map(move |(index, member)| {
            let is_missing = contents.open.is_some() && !member.has_tick(contents.ticks);
            let bytes = contents.slots.of_tick(contents.begun, index);
            Some((index, bytes.filter(|_| is_missing)?))
        })
    }

    /// Copies the complete ticks that the handle has staged into the buffers; `false` if there is no room.
    pub(super) fn take_complete(&mut self) -> bool {
        self.contents.take_complete(&self.timeline.open_tick)
    }

    /// Counts the open tick, if there is one, and begins the next one, which the handle began without the lock.
    pub(super) fn begin_staged(&mut self) {
        self.contents.begin_staged();
    }

    /// By how much the buffers grow when they take the staged scalars.
    pub(super) fn staged_growth(&self, batch_bound: usize) -> usize {
        let growth = self.staged().map(|(member, _)| {
            let records = self.records(member);
            let bytes = records.schema().record_bytes().unwrap_or(0);
            let wanted = records.wanted_capacity(bytes, batch_bound);
            wanted.map_or(0, |wanted| wanted.saturating_sub(records.capacity()))
        });
        growth.sum()
    }

    /// The slots in which the handle stages scalars.
    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.contents.slots)
    }

    /// The type of a member whose records are staged.
    pub(super) fn staged_dtype(&self, member: usize) -> Option<DType> {
        self.contents.members[member].records.short_scalar()
    }

    /// Whether the complete ticks will be sent before the next one begins: they are many, or enough and end where a
    /// chunk of the widest member does.
    pub(super) fn is_group(&self, batch_bound: usize) -> bool {
        let (least, most) = GROUP_BYTES;
        let enough = (MEMBER_BYTES * self.len()).clamp(least, most);
        let is_enough = self.capacity() >= enough.min(batch_bound);
        self.contents.is_large || is_enough && self.contents.ends_chunk()
    }

    /// The capacity of the buffers of its series in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.timeline.capacity()
    }

    /// The buffer of a member.
    pub(super) fn records(&self, member: usize) -> &RecordBuffer {
        &self.contents.members[member].records
    }

    /// Adds a series, which has a record of each complete tick; returns its index.
    pub(in crate::recorder) fn add(
        &mut self,
        key: Key,
        schema: Arc<Schema>,
        chunk_records: u64,
    ) -> usize {
        let ticks = self.contents.ticks;
        let fill_value = schema.fill_value().cloned();
        let records = RecordBuffer::new(schema, chunk_records, ticks);
        let contents = &mut *self.contents;
        let is_wider =
            |widest: &MemberBuffer| records.chunk_records() < widest.records.chunk_records();
        let index = contents.members.len();
        if records.schema().kind().is_fixed()
            && contents.members.get(contents.widest).is_none_or(is_wider)
        {
            contents.widest = index;
        }
        contents.members.push(MemberBuffer {
            key,
            records,
            fill_value,
            full: Vec::new(),
        });
        if contents.slots.width() <= index {
            contents.slots = contents.slots.grown(index + 1, contents.begun);
        }
        self.timeline.open_tick.set_limit(contents.begun);
        index
    }

    /// Gives a member the fill value of a schema, if that has one.
    pub(in crate::recorder) fn set_fill_value(&mut self, member: usize, schema: &Schema) {
        if let Some(fill_value) = schema.fill_value() {
            self.contents.members[member].fill_value = Some(fill_value.clone());
        }
    }

    /// The index of the series at `key`.
    pub(in crate::recorder) fn position(&self, key: &Key) -> Option<usize> {
        self.keys().position(|member| member == key)
    }

    /// Makes a batch of the records of a member, all of complete ticks, if they fill one.
    pub(super) fn make_batch(&mut self, member: usize, batch_bound: usize) {
        let member = &mut self.contents.members[member];
        if !member.records.is_empty() && member.records.is_full(batch_bound) {
            let batch = member.records.cut_all(&member.key);
            member.full.extend(batch.map(Arc::new));
        }
    }

    /// Grows the buffer of a member to `capacity` bytes and returns by how much it grew.
    pub(super) fn grow(&mut self, member: usize, capacity: usize, pool: &BufferPool) -> usize {
        let records = &mut self.contents.members[member].records;
        let grown = records.grow(capacity, pool);
        self.timeline.capacity.fetch_add(grown, Ordering::Relaxed);
        grown
    }

    /// Takes a record of the open tick, for which there is room.
    pub(super) fn push(&mut self, member: usize, record: &RecordRef<'_>) {
        let contents = &mut *self.contents;
        contents.slots.close(contents.begun, member);
        let records = &mut contents.members[member].records;
        records.push(record);
        records.settle();
        contents.recorded += 1;
    }

    /// Requests that the complete ticks are sent before the next one begins.
    pub(super) fn set_large(&mut self) {
        self.contents.is_large = true;
    }

    /// Begins the tick at `t`, which is [pushed](Self::push) next to the coordinate. Returns the number of the tick.
    pub(super) fn open_tick(&mut self, t: CoordinateValue) -> u64 {
        self.contents.open = Some(t);
        self.contents.recorded = 0;
        self.contents.begun += 1;
        self.timeline.open_tick.begin(self.contents.begun);
        self.contents.begun
    }

    /// Counts the open tick, if there is one. Its records are complete.
    pub(in crate::recorder) fn complete_tick(&mut self) {
        self.contents.complete_tick();
        // If the handle has begun the next one, that is open.
        self.timeline.open_tick.end(self.contents.begun);
    }

    /// How many members have no record of the open tick in their buffers.
    pub(super) fn missing_count(&self) -> usize {
        self.contents.members.len() - self.contents.recorded
    }

    /// The members with a fill value that have no record of the open tick.
    pub(super) fn missing_fills(&self) -> Vec<(usize, FillRecord)> {
        let ticks = self.contents.ticks;
        let members = self.contents.members.iter().enumerate();
        let missing = members.filter(|(_, member)| !member.has_tick(ticks));
        let fill = |(index, member): (usize, &MemberBuffer)| Some((index, FillRecord::of(member)?));
        missing.filter_map(fill).collect()
    }

    /// Stops the handle from recording in the open tick; `false` if it has completed the tick in between.
    pub(super) fn try_stop_tick(&mut self) -> bool {
        self.contents.open.is_none() || self.timeline.open_tick.end(self.contents.begun)
    }

    /// Discards the open tick, in which the handle no longer records.
    pub(super) fn discard_tick(&mut self) {
        let contents = &mut *self.contents;
        if contents.open.take().is_none() {
            return;
        }
        for member in &mut contents.members {
            if member.has_tick(contents.ticks) {
                member.records.discard_last();
                member.records.settle();
            }
        }
        contents.recorded = 0;
    }

    /// Continues after the first `ticks` ticks, if there are more; `last` is the coordinate of the last one. The
    /// buffers are empty.
    pub(in crate::recorder) fn rewind(&mut self, ticks: u64, last: Option<CoordinateValue>) {
        let contents = &mut *self.contents;
        if ticks < contents.ticks {
            contents.ticks = ticks;
            contents.taken = ticks;
            contents.last = last;
            for member in &mut contents.members {
                member.records.rewind(ticks);
                member.records.settle();
            }
        }
    }

    /// Makes the timeline refuse further ticks after its handle was finished.
    pub(in crate::recorder) fn finish(&mut self) {
        if self.contents.state == State::Open {
            self.contents.state = State::Finished;
        }
        self.timeline.open_tick.set_limit(0);
    }

    /// Makes the timeline refuse further ticks after its recorder was closed.
    pub(in crate::recorder) fn close(&mut self) {
        self.contents.state = State::Closed;
        self.timeline.open_tick.set_limit(0);
    }
}

/// Sends the complete ticks.
impl Outgoing for LockedTimeline<'_> {
    fn outgoing_bytes(&self) -> usize {
        let ticks = self.contents.ticks;
        if ticks == self.contents.taken {
            return 0;
        }
        let members = self.contents.members.iter();
        let bytes = members.map(|member| {
            let full = member.full.iter().map(|batch| batch_bytes(&batch.records));
            let has_complete = member.records.start() < ticks;
            full.sum::<usize>()
                + if has_complete {
                    member.records.batch_bytes()
                } else {
                    0
                }
        });
        bytes.sum()
    }

    fn cut(&mut self) -> (Vec<Arc<Batch>>, usize) {
        let contents = &mut *self.contents;
        contents.is_large = false;
        // The buffers no longer have room.
        self.timeline.open_tick.set_limit(contents.begun);
        if contents.ticks == contents.taken {
            return (Vec::new(), 0);
        }
        contents.taken = contents.ticks;
        let mut batches = Vec::new();
        let mut capacity = 0;
        for member in &mut contents.members {
            batches.append(&mut member.full);
            let batch = match member.has_tick(contents.ticks) {
                true => member.records.cut_before_last(&member.key),
                false => member.records.cut_all(&member.key),
            };
            batches.extend(batch.map(Arc::new));
            member.records.settle();
            capacity += member.capacity();
        }
        let before = self.timeline.capacity.swap(capacity, Ordering::Relaxed);
        (batches, before.saturating_sub(capacity))
    }

    fn unlocked<R>(self, wait: impl FnOnce() -> R) -> (Self, R) {
        let timeline = self.timeline;
        drop(self);
        let result = wait();
        (timeline.lock(), result)
    }
}
