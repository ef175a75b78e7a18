//! The scalars of the latest ticks, which the handle records without a lock.
//!
//! A tick is complete when the handle has staged every record of it and begins the next one. The handle may begin
//! several ticks in this way, up to a limit. The next thread that locks the timeline copies the complete ticks into the
//! buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buffer::{COORDINATE, Contents};
use super::coordinate::CoordinateValue;
use crate::model::record::ScalarRef;

/// About how many scalars are staged, of more ticks for fewer series.
const STAGED_SCALARS: usize = 1024;
/// The most ticks that are staged.
pub(super) const MAX_TICKS: usize = 32;

/// The number of the open tick. Each tick that begins has the next number, even after ticks were discarded.
#[derive(Debug, Default)]
pub(super) struct OpenTick {
    /// 0 if no tick is open.
    number: AtomicU64,
    /// Ticks up to this number may begin without a lock.
    limit: AtomicU64,
}

/// The scalars of each series in the latest ticks. Only the handle of the timeline adds some.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// For each series, the last tick in which it has its record.
    ticks: Box<[AtomicU64]>,
    /// For each series, its scalars of the latest ticks, as a ring.
    bits: Box<[AtomicU64]>,
    /// The length of a ring is a power of two.
    ring_bits: u32,
}

impl OpenTick {
    /// Begins the tick with this number.
    #[inline(always)]
    pub(super) fn begin(&self, tick: u64) {
        self.number.store(tick, Ordering::Release);
    }

    /// Makes [`Slots::stage`] refuse scalars until the next tick begins; `false` if the handle has begun it.
    pub(super) fn end(&self, tick: u64) -> bool {
        self.number
            .compare_exchange(tick, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    #[inline(always)]
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Allows ticks up to this number to begin without a lock.
    #[inline(always)]
    pub(super) fn set_limit(&self, tick: u64) {
        self.limit.store(tick, Ordering::Release);
    }

    /// Whether the tick with this number may begin without a lock.
    #[inline(always)]
    pub(super) fn is_within_limit(&self, tick: u64) -> bool {
        tick <= self.limit.load(Ordering::Acquire)
    }
}

impl Slots {
    /// Slots for at least `len` series, with the scalars of one tick and room for later series.
    pub(super) fn grown(&self, len: usize, tick: u64) -> Arc<Self> {
        let width = (2 * len).max(8);
        let ring = (STAGED_SCALARS / width).clamp(1, MAX_TICKS);
        let ring_bits = ring.ilog2();
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::default()).collect();
        let new = Self {
            ticks: zeros(width),
            bits: zeros(width << ring_bits),
            ring_bits,
        };
        for series in 0..self.width() {
            if let Some(bytes) = self.of_tick(tick, series) {
                new.set(tick, series, bytes);
            }
        }
        Arc::new(new)
    }

    /// The number of series with slots.
    pub(super) fn width(&self) -> usize {
        self.ticks.len()
    }

    /// The most ticks that can be staged.
    #[inline(always)]
    pub(super) fn tick_count(&self) -> u64 {
        1 << self.ring_bits
    }

    #[inline(always)]
    fn bits(&self, tick: u64, series: usize) -> &AtomicU64 {
        let at = tick as usize & ((1 << self.ring_bits) - 1);
        &self.bits[(series << self.ring_bits) + at]
    }

    /// Takes a scalar of up to eight bytes; `false` if no tick is open or the series has its record.
    #[inline(always)]
    pub(super) fn stage(&self, tick: u64, series: usize, scalar: ScalarRef<'_>) -> bool {
        let mut bytes = [0; 8];
        let Some(space) = bytes.get_mut(..scalar.data.len()) else {
            return false;
        };
        space.copy_from_slice(scalar.data);
        let is_taken = tick != 0 && self.ticks[series].load(Ordering::Relaxed) != tick;
        if is_taken {
            self.set(tick, series, bytes);
        }
        is_taken
    }

    #[inline(always)]
    fn set(&self, tick: u64, series: usize, bytes: [u8; 8]) {
        let bits = u64::from_ne_bytes(bytes);
        self.bits(tick, series).store(bits, Ordering::Relaxed);
        self.ticks[series].store(tick, Ordering::Release);
    }

    /// Makes a slot refuse scalars of a tick, since the series has its record.
    // The handle may be at a later tick.
    pub(super) fn close(&self, tick: u64, series: usize) {
        self.ticks[series].fetch_max(tick, Ordering::Relaxed);
    }

    /// The bytes of the scalar of a series, if it was recorded in this tick. A series with a staged later tick has this one
    /// too.
    #[inline(always)]
    pub(super) fn of_tick(&self, tick: u64, series: usize) -> Option<[u8; 8]> {
        let is_of_tick = self.ticks[series].load(Ordering::Acquire) >= tick;
        is_of_tick.then(|| self.of_complete_tick(tick, series))
    }

    /// The bytes of the scalar of a series in a tick whose scalars are all staged.
    #[inline(always)]
    pub(super) fn of_complete_tick(&self, tick: u64, series: usize) -> [u8; 8] {
        self.bits(tick, series)
            .load(Ordering::Relaxed)
            .to_ne_bytes()
    }
}

impl Contents {
    /// Copies the complete ticks that the handle has staged into the buffers, and begins the one that is open;
    /// `false` if there is no room.
    #[inline(always)]
    pub(super) fn take_complete(&mut self, open: &OpenTick) -> bool {
        let next = open.number();
        if next <= self.begun {
            return true;
        }
        // A tick that is no longer open is in the buffers.
        let first = self.begun + u64::from(self.open.is_none());
        let (ticks, count) = (self.ticks, next - first);
        let members = self.members.iter();
        let mut room =
            members.map(|it| it.records.room_for_words() + u64::from(it.has_tick(ticks)));
        if count > MAX_TICKS as u64 || room.any(|room| room < count) {
            return false;
        }
        let mut words = [[0; 8]; MAX_TICKS];
        for (index, member) in self.members.iter_mut().enumerate() {
            let staged = first + u64::from(member.has_tick(ticks))..next;
            let words = &mut words[..(staged.end - staged.start) as usize];
            for (word, tick) in words.iter_mut().zip(staged) {
                *word = self.slots.of_complete_tick(tick, index);
            }
            member.records.push_words(words);
        }
        match count {
            0 => {}
            1 if first == self.begun => self.last = self.open,
            _ => self.last = self.staged_coordinate(next - 1),
        }
        self.ticks += count;
        self.open = self.staged_coordinate(next);
        (self.begun, self.recorded) = (next, 0);
        true
    }

    /// The coordinate of a tick that the handle began without the lock.
    #[inline(always)]
    pub(super) fn staged_coordinate(&self, tick: u64) -> Option<CoordinateValue> {
        let dtype = self.members[COORDINATE].records.short_scalar()?;
        CoordinateValue::from_bytes(dtype, self.slots.of_complete_tick(tick, COORDINATE))
    }

    /// Copies the staged scalars of the open tick into the buffers; `false` if one has no room, or if a member has no
    /// record of the tick.
    #[inline(always)]
    pub(super) fn take_staged(&mut self) -> bool {
        if self.recorded == self.members.len() {
            return true;
        }
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.has_tick(self.ticks) {
                continue;
            }
            let staged = self.slots.of_tick(self.begun, index);
            if !staged.is_some_and(|bytes| member.records.try_push_bytes(bytes)) {
                return false;
            }
            self.recorded += 1;
        }
        true
    }

    /// Counts the open tick, if there is one, and begins the next one, which the handle began without the lock.
    #[inline(always)]
    pub(super) fn begin_staged(&mut self) {
        self.complete_tick();
        self.begun += 1;
        self.recorded = 0;
        self.open = self.staged_coordinate(self.begun);
    }

    /// The last tick that may begin without the lock: there are slots for it, and all members have room.
    #[inline(always)]
    pub(super) fn last_staged(&self) -> u64 {
        let more = self.slots.tick_count() - 1;
        if more == 0 {
            return self.begun;
        }
        // The open tick needs room too.
        let members = self.members.iter();
        let room = members.map(|member| member.records.room_for_words());
        self.begun + more.min(room.min().unwrap_or(0).saturating_sub(1))
    }
}
