//! The scalars of the open tick, which the handle records without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::record::ScalarRef;

/// The number of the open tick; 0 if none is open. Each tick that begins has a new number, even after ticks
/// were discarded.
#[derive(Debug, Default)]
pub(super) struct OpenTick(AtomicU64);

/// The last scalar of a series, and the tick in which it was recorded. Only the handle of the timeline writes
/// the scalar. The holder of the timeline's lock copies those of the open tick into the buffers.
#[derive(Debug, Default)]
pub(super) struct Slot {
    tick: AtomicU64,
    bits: AtomicU64,
}

/// A slot for each series.
pub(super) type Slots = Arc<[Slot]>;

impl OpenTick {
    /// Begins the next tick, with this number.
    #[inline]
    pub(super) fn begin(&self, tick: u64) {
        self.0.store(tick, Ordering::Release);
    }

    /// Makes [`Slot::stage`] refuse scalars until the next tick begins.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Slot {
    /// Takes a scalar of up to eight bytes; `false` if no tick is open or the series has its record.
    #[inline(always)]
    pub(super) fn stage(&self, open: &OpenTick, scalar: ScalarRef<'_>) -> bool {
        let tick = open.number();
        let mut bytes = [0; 8];
        let Some(space) = bytes.get_mut(..scalar.data.len()) else {
            return false;
        };
        space.copy_from_slice(scalar.data);
        let is_taken = tick != 0 && self.tick.load(Ordering::Relaxed) != tick;
        if is_taken {
            self.bits
                .store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            self.tick.store(tick, Ordering::Release);
        }
        is_taken
    }

    /// Makes the slot refuse scalars of a tick, since the series has its record.
    #[inline]
    pub(super) fn close(&self, tick: u64) {
        self.tick.store(tick, Ordering::Relaxed);
    }

    /// The bytes of the scalar, if it was recorded in this tick.
    #[inline(always)]
    pub(super) fn of_tick(&self, tick: u64) -> Option<[u8; 8]> {
        let is_of_tick = self.tick.load(Ordering::Acquire) == tick;
        is_of_tick.then(|| self.bits.load(Ordering::Relaxed).to_ne_bytes())
    }
}

/// Slots for at least `len` series, with the contents of `slots` and room for later series.
pub(super) fn grown(slots: &Slots, len: usize) -> Slots {
    let more = (2 * len).max(8).saturating_sub(slots.len());
    let copy = |slot: &Slot| Slot {
        tick: AtomicU64::new(slot.tick.load(Ordering::Relaxed)),
        bits: AtomicU64::new(slot.bits.load(Ordering::Relaxed)),
    };
    let new = std::iter::repeat_with(Slot::default).take(more);
    slots.iter().map(copy).chain(new).collect()
}
