//! Timelines: series that share their ticks, written through one handle.
//!
//! A [`Timeline`] is the handle. It [stages](staged) scalars without a lock. All other records go to one [buffer] under
//! one lock, which counts the complete ticks; [filling] completes ticks and bounds the memory. Records are always sent
//! as whole ticks of all series, in one group of changes, which the stores commit together. The
//! [registry of keys](super::key_registry) opens timelines, adds series to them and cuts them.

mod buffer;
mod checks;
mod coordinate;
mod filling;
mod open_timeline;
mod staged;
mod tick;

use std::fmt;
use std::sync::Arc;

pub(super) use buffer::{COORDINATE, LockedTimeline, TimelineBuffer};
pub(super) use checks::no_open_tick;
pub(super) use coordinate::member_key;
pub use coordinate::{Coordinate, CoordinateType, CoordinateValue};
pub use tick::TickRecords;

use coordinate::as_scalar;
use open_timeline::OpenTimeline;

use super::parts::Parts;
use crate::backend::fork::ProcessLocal;
use crate::error::Result;
use crate::model::key::Key;
use crate::model::record::IntoValue;
use crate::model::schema::Schema;

/// The attribute that marks a group as a timeline. Its value is the name of the coordinate.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, InMemoryDataStore, Recorder, TIMELINE_ATTRIBUTE};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.timeline("net", Coordinate::new("time"))?.tick(0.1, [("rate", 0.5)])?;
/// assert_eq!(recorder.attributes("net")?.unwrap()[TIMELINE_ATTRIBUTE], "time");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub const TIMELINE_ATTRIBUTE: &str = "simrecorder_timeline";

/// A group whose series have exactly one record per tick, with a coordinate that gives each tick its time or
/// step. [`Recorder::timeline`](crate::Recorder::timeline) opens it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
/// for step in 0..100 {
///     net.advance(0.1 * f64::from(step))?;
///     net.record("rate", 0.5)?;
///     net.record("v", [-65.0, -64.0])?;
/// }
/// net.finish()?;
/// assert_eq!(recorder.get_all("net/time")?.len(), 100);
/// assert_eq!(recorder.get_all("net/v")?.shape(), [100, 2]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Ticks
/// [`advance`](Self::advance) completes the open tick and begins the next one. To complete a tick, every series of
/// the timeline needs its record: the series of the first tick, and those that were [declared](Self::declare). A
/// missing or second record is an error that names the series and the tick. The tick then stays open: record the
/// missing value, or call [`discard_tick`](Self::discard_tick). Series with another rate belong in a timeline of
/// their own. In ticks without a record, a series with a fill value has that value.
///
/// [`finish`](Self::finish) and [`Recorder::close`](crate::Recorder::close) also complete the open tick.
/// [`Recorder::flush`](crate::Recorder::flush) completes it after the first tick, if every series has its record: if
/// a program saves its state and flushes, [`last`](Self::last) returns that step when the program resumes.
///
/// # Safety of data
/// Commits contain whole ticks. All series of a timeline have the same length at every moment, for readers in
/// other processes and after a kill. An incomplete tick is never stored.
///
/// # Handles
/// A timeline has one handle, which keeps its recorder open. While the handle exists, only it records the series of
/// the timeline. Dropping it finishes the timeline; an incomplete tick is then discarded with a warning in the log.
pub struct Timeline<T: CoordinateType> {
    /// `None` for a disabled recorder.
    open: Option<OpenTimeline>,
    /// The coordinate of the open tick.
    coordinate: Option<T>,
}

/// A token for a series of a [`Timeline`], for hot loops; [`Timeline::member`] returns it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
/// let members = [net.member("x")?, net.member("y")?];
/// for step in 0..1000_u64 {
///     net.advance(step)?;
///     for member in members {
///         net.push(member, 0.5)?;
///     }
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    timeline: u32,
    name: u32,
}

impl<T: CoordinateType> Timeline<T> {
    pub(super) fn new(
        parts: Option<Arc<ProcessLocal<Parts>>>,
        group: &str,
        coordinate: &Coordinate,
    ) -> Result<Self> {
        let open = parts.map(|parts| {
            let of_process = parts.get("timeline").map_err(|e| e.with_key(group))?;
            let buffer = of_process.keys.open_timeline(group, coordinate, T::DTYPE);
            let buffer = buffer.map_err(|e| e.with_key(group).with_operation("timeline"))?;
            Ok(OpenTimeline::new(parts, buffer))
        });
        Ok(Self {
            open: open.transpose()?,
            coordinate: None,
        })
    }

    /// Completes the open tick and begins the one at `t`.
    ///
    /// # Errors
    /// - [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if `t` is NaN or not larger than the coordinate of the
    ///   previous tick, or if a series has no record of that tick, which then stays open.
    /// - Otherwise as for [`Recorder::record`](crate::Recorder::record).
    #[inline]
    pub fn advance(&mut self, t: T) -> Result<()> {
        if self.advance_at_once(t)? {
            return Ok(());
        }
        if let Some(open) = &mut self.open {
            let parts = open.parts.get("advance")?;
            open.begin(parts.buffers.advance(&open.buffer, t)?);
            self.coordinate = Some(t);
        }
        Ok(())
    }

    /// Records a value of the series `name` in the open tick. The key of the series is `group/name`.
    ///
    /// The first tick may create any series. A series that joins later is [declared](Self::declare) first, with a
    /// fill value, which it has in all earlier ticks.
    ///
    /// # Errors
    /// - [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if no tick is open, if the series already has its record,
    ///   or if it is new after the first tick and has no fill value.
    /// - [`InvalidKey`](crate::ErrorKind::InvalidKey) if the name is not a single segment of a key.
    /// - Otherwise as for [`Recorder::record`](crate::Recorder::record).
    #[inline]
    pub fn record(&mut self, name: &str, value: impl IntoValue) -> Result<()> {
        match &mut self.open {
            Some(open) => {
                let member = open.find(name)?;
                open.push(member, &value)
            }
            None => Ok(()),
        }
    }

    /// Begins the tick at `t` if it need not wait, and returns whether it did; see
    /// [`Recorder::record_at_once`](crate::Recorder::record_at_once).
    ///
    /// # Errors
    /// [`Forked`](crate::ErrorKind::Forked).
    #[inline]
    pub fn advance_at_once(&mut self, t: T) -> Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(true);
        };
        if open.parts.get("advance")?.fast_path.is_stopped() {
            return Ok(false);
        }
        let is_later = self.coordinate.is_some_and(|last| last < t);
        if !(is_later && open.stage_tick(as_scalar(&t))) {
            let Some(number) = open.buffer.try_advance(t) else {
                return Ok(false);
            };
            open.begin(number);
        }
        self.coordinate = Some(t);
        Ok(true)
    }

    /// Records a value of the series `name` in the open tick if it need not wait or call a store, and returns whether
    /// it did; see [`Recorder::record_at_once`](crate::Recorder::record_at_once).
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Coordinate, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.tick(0_u64, (("rate", 0.5),))?; // the first tick makes the series
    /// assert!(net.advance_at_once(1)? && net.record_at_once("rate", 0.25)?);
    /// assert!(!net.record_at_once("rate", 0.25)?); // the tick has its record; record() is an error
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Forked`](crate::ErrorKind::Forked), [`InvalidKey`](crate::ErrorKind::InvalidKey),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for the name of the coordinate, and those of
    /// [`IntoValue::as_record`].
    pub fn record_at_once(&mut self, name: &str, value: impl IntoValue) -> Result<bool> {
        match &mut self.open {
            Some(open) => {
                let member = open.find(name)?;
                open.push_at_once(member, &value)
            }
            None => Ok(true),
        }
    }

    /// Returns a token for the series `name`, which saves looking up the name; [`push`](Self::push) takes it. The
    /// first record or [`declare`](Self::declare) creates the series.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey) if the name is not a single segment of a key;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if it is the name of the coordinate.
    pub fn member(&mut self, name: &str) -> Result<Member> {
        let (timeline, name) = match &mut self.open {
            Some(open) => (open.id, open.find(name)?),
            None => (0, 0),
        };
        Ok(Member { timeline, name })
    }

    /// Records a value of a series in the open tick, as [`record`](Self::record) does.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// let rate = net.member("rate")?;
    /// for step in 0..1000_u64 {
    ///     net.advance(step)?;
    ///     net.push(rate, 0.5)?;
    /// }
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Self::record); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the token belongs to
    /// another handle.
    #[inline]
    pub fn push(&mut self, member: Member, value: impl IntoValue) -> Result<()> {
        match &mut self.open {
            Some(open) if member.timeline == open.id => open.push(member.name, &value),
            Some(open) => Err(open.foreign_member()),
            None => Ok(()),
        }
    }

    /// Records a whole tick at `t`: the name and the value of each series, as a tuple or an array of pairs.
    ///
    /// The tick is complete when this returns. If one record is an error, the whole tick is discarded.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
    /// let v = vec![-65.0; 100];
    /// net.tick(0.1, (("rate", 0.5), ("spikes", 12_u32), ("v", &v)))?;
    /// assert_eq!(net.last(), Some(0.1));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`advance`](Self::advance) and [`record`](Self::record).
    pub fn tick(&mut self, t: T, records: impl TickRecords) -> Result<()> {
        self.advance(t)?;
        let recorded = records
            .record(self)
            .and_then(|()| self.complete_tick_for("tick"));
        if recorded.is_err() {
            self.discard_tick();
        }
        recorded
    }

    /// Creates a series without records, or changes the attributes and names of an existing one, as
    /// [`Recorder::declare`](crate::Recorder::declare) does. Its first dimension is that of the timeline.
    ///
    /// In ticks without a record, a series with a fill value has that value, even in the ticks before it was declared,
    /// which take no space.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder, Schema};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.tick(0_u64, (("rate", 0.5),))?;
    /// net.declare("weight", Schema::scalar::<f64>().with_fill_value(f64::NAN))?;
    /// net.tick(1, (("rate", 0.25), ("weight", 1.5)))?;
    /// net.tick(2, (("rate", 0.25),))?;
    /// net.finish()?;
    /// let weights = recorder.get_all("net/weight")?.read::<f64>()?;
    /// assert!(weights[0].is_nan() && weights[1] == 1.5 && weights[2].is_nan());
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the series is new after the first tick and has no
    /// fill value, or if the schema gives the first dimension another name; otherwise as for
    /// [`Recorder::declare`](crate::Recorder::declare).
    pub fn declare(&mut self, name: &str, schema: Schema) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let member = open.find(name)?;
        let declared = open.parts.get("declare").and_then(|parts| {
            let keys = &parts.keys;
            keys.declare_member(&open.buffer, name, schema)
        });
        let declared = declared.map_err(|e| open.in_operation("declare", name, e))?;
        open.set_index(member, declared);
        Ok(())
    }

    /// Discards the open tick, with its records. Does nothing if no tick is open.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.tick(0_u64, (("rate", 0.5), ("energy", 1.5)))?;
    /// net.advance(1)?;
    /// net.record("rate", 0.25)?;
    /// net.discard_tick(); // it has no energy
    /// assert_eq!(net.len(), 1);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn discard_tick(&mut self) {
        if let Some(open) = &self.open
            && let Ok(parts) = open.parts.get("discard tick")
        {
            parts
                .buffers
                .discard_tick(&mut parts.buffers.lock(&open.buffer));
        }
    }

    /// Returns the coordinate of the last complete tick; `None` if there is none.
    pub fn last(&self) -> Option<T> {
        let open = self.open.as_ref()?;
        let parts = open.parts.get("last").ok()?;
        let last = parts.buffers.lock(&open.buffer).last();
        last.and_then(T::from_value)
    }

    /// Returns the number of complete ticks.
    pub fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| {
            let parts = open.parts.get("len");
            parts.map_or(0, |parts| parts.buffers.lock(&open.buffer).ticks())
        })
    }

    /// Whether there are no complete ticks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every tick after `t` from all series, in one commit. Use it to resume from a state that was saved at
    /// `t`. An open tick is discarded.
    ///
    /// [`Recorder::rewind`](crate::Recorder::rewind) rewinds all timelines with a coordinate of the same name.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// for step in 0..10_u64 {
    ///     net.tick(step, [("rate", 0.5)])?;
    /// }
    /// net.rewind(6)?;
    /// assert_eq!((net.last(), net.len()), (Some(6), 7));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Recorder::rewind`](crate::Recorder::rewind).
    pub fn rewind(&mut self, t: T) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let group = &open.buffer.group;
        open.parts
            .get("rewind")
            .and_then(|parts| parts.keys.rewind_group(group, t.into()))
            .map_err(|e| e.with_key(group.as_str()).with_operation("rewind"))
    }

    /// Completes the open tick and drops the handle.
    ///
    /// # Errors
    /// As for [`advance`](Self::advance); the tick is discarded if it is incomplete.
    pub fn finish(mut self) -> Result<()> {
        self.complete_tick_for("finish")
    }

    /// Completes the open tick, as the next [`advance`](Self::advance) would.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.advance(7_u64)?;
    /// net.record("rate", 0.5)?;
    /// net.complete_tick()?;
    /// assert_eq!(net.last(), Some(7));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if no tick is open, or if a series has no record of it; then
    /// the tick stays open.
    pub fn complete_tick(&mut self) -> Result<()> {
        self.complete_tick_for("complete tick")
    }

    fn complete_tick_for(&mut self, operation: &'static str) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let parts = open.parts.get(operation)?;
        let mut locked = parts.buffers.lock(&open.buffer);
        locked.check_open(operation)?;
        parts.buffers.complete_tick(&mut locked, operation)
    }
}

impl<T: CoordinateType> fmt::Debug for Timeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.open.as_ref().map(|open| &open.buffer.group);
        let group = group.map(Key::as_str);
        f.debug_struct("Timeline")
            .field("group", &group)
            .finish_non_exhaustive()
    }
}
