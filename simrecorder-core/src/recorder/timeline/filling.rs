//! Ticks in the buffers: beginning and completing them, their records, and when they are sent.

use super::buffer::{COORDINATE, LockedTimeline, MemberBuffer, TimelineBuffer};
use super::coordinate::{CoordinateType, as_scalar};
use crate::error::Result;
use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::record::{RecordRef, ScalarRef, ShapeRef};
use crate::recorder::buffers::Buffers;

impl Buffers {
    /// Locks a timeline, and copies the complete ticks that its handle has staged into the buffers.
    pub(in crate::recorder) fn lock<'a>(&self, timeline: &'a TimelineBuffer) -> LockedTimeline<'a> {
        let mut locked = timeline.lock();
        self.take_complete(&mut locked);
        locked
    }

    /// Copies the complete ticks that the handle of a timeline has staged into the buffers, even without room.
    fn take_complete(&self, locked: &mut LockedTimeline<'_>) {
        while !locked.take_complete() {
            self.take_staged(locked);
            locked.begin_staged();
        }
    }

    /// Completes the open tick and begins the one at `t`; returns its number.
    #[cold]
    #[inline(never)]
    pub(super) fn advance<T: CoordinateType>(
        &self,
        timeline: &TimelineBuffer,
        t: T,
    ) -> Result<u64> {
        self.stores.check_running("advance")?;
        let mut locked = self.lock(timeline);
        locked.check_open("advance")?;
        locked.check_next(t)?;
        let growth = locked.staged_growth(self.batch_bound);
        if growth > 0 && self.bytes().saturating_add(growth) > self.bound {
            // The others, and the complete ticks of this timeline, are sent first.
            drop(locked);
            self.spill(growth)?;
            locked = self.lock(timeline);
            locked.check_open("advance")?;
            locked.check_next(t)?;
        }
        self.complete_tick(&mut locked, "advance")?;
        if locked.is_group(self.batch_bound) {
            locked = self.send(locked, self.stores.when_full())?;
            locked.check_open("advance")?;
        }
        let number = locked.open_tick(t.into_value());
        let record = as_scalar(&t).as_record();
        // Never more than the buffers of all timelines: it is a number a tick.
        self.push(&mut locked, COORDINATE, &record);
        Ok(number)
    }

    /// Takes a record of the open tick, growing the buffer of the member as needed.
    #[cold]
    #[inline(never)]
    pub(super) fn record_member(
        &self,
        timeline: &TimelineBuffer,
        member: usize,
        record: &RecordRef<'_>,
    ) -> Result<()> {
        self.stores.check_running("record")?;
        let mut locked = self.lock(timeline);
        locked.check_record(member, record)?;
        let bytes = record.data.len();
        if bytes >= self.batch_bound {
            // Copies it once the queues have room, so that at most one such record is in memory in
            // addition to the bound.
            locked = self.send(locked, self.stores.when_full())?;
            drop(locked);
            drop(self.stores.reserve(bytes, self.stores.when_full())?);
            locked = self.lock(timeline);
            locked.check_record(member, record)?;
        }
        locked.make_batch(member, self.batch_bound);
        let wanted = |locked: &LockedTimeline<'_>| {
            let records = locked.records(member);
            records.wanted_capacity(bytes, self.batch_bound)
        };
        while let Some(capacity) = wanted(&locked) {
            if self.grow_within_bound(capacity, || locked.grow(member, capacity, &self.pool)) {
                break;
            }
            // The others, and the complete ticks of this timeline, are sent first.
            drop(locked);
            let freed = self.spill(capacity)?;
            locked = self.lock(timeline);
            locked.check_record(member, record)?;
            if freed == 0 {
                // Only open ticks remain, and one that is larger than the bound passes alone.
                break;
            }
        }
        self.push(&mut locked, member, record);
        Ok(())
    }

    /// Takes a record of the open tick, even without room.
    fn push(&self, locked: &mut LockedTimeline<'_>, member: usize, record: &RecordRef<'_>) {
        locked.make_batch(member, self.batch_bound);
        let records = locked.records(member);
        if let Some(capacity) = records.wanted_capacity(record.data.len(), self.batch_bound) {
            self.count_growth(locked.grow(member, capacity, &self.pool));
        }
        locked.push(member, record);
        if locked.capacity() >= self.bound / 2 {
            locked.set_large();
        }
    }

    /// Completes the open tick, if there is one, with the fill values of members that have one.
    pub(in crate::recorder) fn complete_tick(
        &self,
        locked: &mut LockedTimeline<'_>,
        operation: &'static str,
    ) -> Result<()> {
        if !locked.has_open_tick() {
            return Ok(());
        }
        // Another thread may close the recorder while the handle stages more.
        loop {
            self.take_staged(locked);
            let missing = locked.missing_count();
            if missing == 0 {
                break;
            }
            let fills = locked.missing_fills();
            if fills.len() < missing {
                return Err(locked.missing_record(operation));
            }
            for (member, fill) in &fills {
                self.push(locked, *member, &fill.record());
            }
        }
        locked.complete_tick();
        Ok(())
    }

    /// Copies the staged scalars of the open tick into the buffers, even without room.
    fn take_staged(&self, locked: &mut LockedTimeline<'_>) {
        for (member, bytes) in locked.staged().collect::<Vec<_>>() {
            if let Some(dtype) = locked.staged_dtype(member) {
                let data = &bytes[..dtype.size()];
                let record = ScalarRef { dtype, data }.as_record();
                self.push(locked, member, &record);
            }
        }
    }

    /// Completes the open tick of each timeline that has complete ticks, if each member has its record.
    pub(in crate::recorder) fn complete_ticks(&self) {
        for timeline in self.timelines() {
            let mut locked = self.lock(&timeline);
            // In the first tick, members may still join.
            if locked.ticks() > 0 && locked.has_open_tick() && locked.is_tick_whole() {
                self.take_staged(&mut locked);
                if locked.missing_count() == 0 {
                    locked.complete_tick();
                }
            }
        }
    }

    /// Completes the open tick of a timeline that ends, or discards it with a warning.
    pub(in crate::recorder) fn end_tick(&self, locked: &mut LockedTimeline<'_>) {
        self.stop_tick(locked);
        if let Err(error) = self.complete_tick(locked, "close") {
            tracing::warn!(%error, "the last tick is incomplete and was discarded");
            locked.discard_tick();
        }
    }

    /// Discards the open tick, if there is one, after the ticks that the handle completes in between.
    pub(in crate::recorder) fn discard_tick(&self, locked: &mut LockedTimeline<'_>) {
        self.stop_tick(locked);
        locked.discard_tick();
    }

    /// Stops the handle from recording in the open tick, after the ticks that it completes in between.
    fn stop_tick(&self, locked: &mut LockedTimeline<'_>) {
        while !locked.try_stop_tick() {
            self.take_complete(locked);
        }
    }
}

/// A record of the fill value of its series.
#[derive(Debug)]
pub(super) struct FillRecord {
    dtype: Option<DType>,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl FillRecord {
    /// The record of a member, if it has a fill value.
    pub(super) fn of(member: &MemberBuffer) -> Option<Self> {
        let schema = member.records.schema();
        let element = member.fill_value.as_ref()?.as_array()?.as_bytes();
        let count = schema.record_bytes()?.checked_div(element.len())?;
        let shape = schema.record_shape().iter().map(|&len| len as usize);
        Some(Self {
            dtype: schema.dtype(),
            shape: shape.collect(),
            data: element.repeat(count),
        })
    }

    pub(super) fn record(&self) -> RecordRef<'_> {
        RecordRef {
            kind: Kind::Array,
            dtype: self.dtype,
            shape: ShapeRef::Slice(&self.shape),
            data: self.data.as_slice().into(),
        }
    }
}
