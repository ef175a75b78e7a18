//! Taking records into the buffers of their series, and sending full buffers to the stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::{Inner, closed};
use super::options::MemoryPolicy;
use super::pipeline::{Pipeline, Reserved, WhenFull};
use super::series_buffer::{LockedSeries, SeriesState};
use crate::error::{Error, ErrorKind, Result};
use crate::model::record::IntoValue;
use crate::model::record::{RecordRef, ScalarRef};
use crate::model::schema::Schema;
use crate::store::commit::Change;

/// How often a record waits for other buffers to be sent. Threads that fill them again at once must
/// not keep a large record out for ever.
const MOST_SPILLS: u32 = 3;

impl Inner {
    /// Takes a scalar if that is a matter of copying it.
    #[inline]
    pub(crate) fn try_record_scalar(&self, key: &str, scalar: ScalarRef<'_>) -> bool {
        let state = self.spellings.get(key).filter(|_| !self.stop.is_set());
        state.is_some_and(|state| state.try_push_scalar(scalar))
    }

    pub(crate) fn record(&self, key: &str, value: &impl IntoValue) -> Result<()> {
        let record = match value.as_record() {
            Ok(record) => record,
            Err(error) => return Err(error.with_key(key).with_operation("record")),
        };
        let taken = self
            .spellings
            .get(key)
            .is_some_and(|state| !self.stop.is_set() && state.try_push(&record));
        if taken {
            return Ok(());
        }
        self.record_by_key(key, &record)
    }

    #[cold]
    #[inline(never)]
    fn record_by_key(&self, key: &str, record: &RecordRef<'_>) -> Result<()> {
        self.find_or_create(key, || Schema::of_record(record))
            .and_then(|state| self.record_in(&state, record))
            .map_err(|e| e.with_key(key).with_operation("record"))
    }

    /// Takes a record into its series, growing or cutting the buffer as needed.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_in(&self, state: &SeriesState, record: &RecordRef<'_>) -> Result<()> {
        self.check_running("record")?;
        if !state.schema.accepts(record) {
            return Err(state.schema.mismatch(record).with_key(state.key.as_str()));
        }
        let batch_bound = self.batch_bound();
        let mut spills = 0;
        let mut series = state.lock();
        loop {
            if series.is_closed() {
                return Err(closed("record"));
            }
            if !series.is_empty() && series.is_full(batch_bound) {
                series = self.send_buffer(series, self.when_full())?;
                continue;
            }
            let Some(capacity) = series.wanted_capacity(record.data.len(), batch_bound) else {
                break;
            };
            if self.grow_within_bound(&mut series, capacity) {
                break;
            }
            // The others are sent first, without this lock.
            drop(series);
            let freed = self.spill(capacity)?;
            spills += 1;
            series = state.lock();
            if freed == 0 || spills >= MOST_SPILLS {
                // What is left is this record, or buffers that others fill at this moment.
                if series.is_empty() {
                    self.grow(&mut series, record.data.len().max(1));
                    break;
                }
                series = self.send_buffer(series, self.when_full())?;
            }
        }
        if series.is_closed() {
            return Err(closed("record"));
        }
        series.push(record);
        if series.is_full(batch_bound) {
            // The record is taken; if the queue has no room now, the next one will find out.
            drop(self.send_buffer(series, self.when_full()));
        }
        Ok(())
    }

    /// Grows a buffer if there is room for so much.
    fn grow_within_bound(&self, series: &mut LockedSeries<'_>, capacity: usize) -> bool {
        let bound = self.options.buffer_bound();
        let room = |buffered: usize| buffered.checked_add(capacity).filter(|&all| all <= bound);
        // The room is taken before the memory is: other threads do the same at this moment.
        let buffered = &self.buffered_bytes;
        let taken = buffered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if taken.is_ok() {
            self.grow(series, capacity);
            buffered.fetch_sub(capacity, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn grow(&self, series: &mut LockedSeries<'_>, capacity: usize) {
        let grown = series.grow(capacity, &self.pool);
        self.buffered_bytes.fetch_add(grown, Ordering::Relaxed);
    }

    pub(super) fn when_full(&self) -> WhenFull {
        match self.options.memory_policy {
            MemoryPolicy::Block => WhenFull::Wait,
            MemoryPolicy::Error => WhenFull::Fail,
        }
    }

    /// The size at which a batch is sent even if its chunk is larger.
    fn batch_bound(&self) -> usize {
        (self.options.memory_bound / 16).clamp(4096, 64 << 20)
    }

    /// Sends the largest buffers until half of the room for buffers, and at least `needed`, is
    /// free; returns how much was freed.
    fn spill(&self, needed: usize) -> Result<usize> {
        let mut in_vain = self.spilling.lock();
        let room_made = self.pipelines.iter().map(Pipeline::room_made).sum();
        if *in_vain == Some(room_made) && self.when_full() == WhenFull::Fail {
            return Err(self.buffer_full());
        }
        let bound = self.options.buffer_bound();
        let buffered = self.buffered_bytes.load(Ordering::Relaxed);
        if buffered.saturating_add(needed) <= bound {
            return Ok(buffered);
        }
        let mut largest: Vec<_> = self
            .series
            .read()
            .iter()
            .map(|state| (state.capacity(), Arc::clone(state)))
            .filter(|(capacity, _)| *capacity > 0)
            .collect();
        largest.sort_unstable_by_key(|(capacity, _)| std::cmp::Reverse(*capacity));
        let mut freed = 0;
        for (capacity, state) in largest {
            if freed >= bound / 2 && buffered.saturating_sub(freed) + needed <= bound {
                break;
            }
            if let Err(error) = self.send_buffer(state.lock(), self.when_full()) {
                *in_vain = Some(room_made);
                return Err(error);
            }
            freed += capacity;
        }
        Ok(freed)
    }

    /// Sends the buffer of a series to all stores. While it waits for room, it gives the lock
    /// up, so that others see the series.
    pub(super) fn send_buffer<'a>(
        &self,
        mut series: LockedSeries<'a>,
        when_full: WhenFull,
    ) -> Result<LockedSeries<'a>> {
        let at_once = match when_full {
            WhenFull::Wait => WhenFull::Fail,
            other => other,
        };
        let mut reserved = self.reserve(series.batch_bytes(), at_once);
        while !series.is_empty() {
            match reserved {
                Ok(reserved) if holds(&reserved, series.batch_bytes()) => {
                    let (batch, freed) = series.cut();
                    self.buffered_bytes.fetch_sub(freed, Ordering::Relaxed);
                    let batch = Arc::new(batch);
                    for reserved in reserved {
                        let batch = Arc::clone(&batch);
                        let prepared = None;
                        reserved.send(Change::Append { batch, prepared });
                    }
                    return Ok(series);
                }
                Err(error) if when_full != WhenFull::Wait => return Err(error),
                // Given back before it waits, lest it waits for itself.
                too_little => drop(too_little),
            }
            let (state, bytes) = (series.state(), series.batch_bytes());
            drop(series);
            reserved = self.reserve(bytes, WhenFull::Wait);
            series = state.lock();
        }
        // Sent by another thread, or never used.
        self.buffered_bytes
            .fetch_sub(series.free(), Ordering::Relaxed);
        Ok(series)
    }

    /// Sets room aside in the queues of all stores, or of none.
    pub(super) fn reserve(&self, bytes: usize, when_full: WhenFull) -> Result<Vec<Reserved<'_>>> {
        let reserve = |pipeline| Pipeline::reserve(pipeline, bytes, when_full);
        let reserved: Option<_> = self.pipelines.iter().map(reserve).collect();
        reserved.ok_or_else(|| self.buffer_full())
    }

    fn buffer_full(&self) -> Error {
        let queued = |pipeline: &&Pipeline| pipeline.status().queued_bytes;
        let slowest = self.pipelines.iter().max_by_key(queued);
        let message = format!(
            "the memory bound of {} bytes is met, store '{}' is behind; record less often, raise \
             the bound, or let the recorder block",
            self.options.memory_bound,
            slowest.map_or("", Pipeline::name)
        );
        Error::new(ErrorKind::BufferFull, "record", message)
    }
}

/// Whether enough was set aside in all queues.
fn holds(reserved: &[Reserved<'_>], bytes: usize) -> bool {
    reserved.iter().all(|reserved| reserved.bytes() >= bytes)
}
