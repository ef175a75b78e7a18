//! Timelines: series that share their ticks, written through one handle.
//!
//! A [`Timeline`] is the handle. All records go to one [buffer] under one lock, which counts the
//! complete ticks; [filling] completes ticks and bounds the memory. Records are always sent as whole ticks of
//! all series, in one group of changes, which the stores commit together. The
//! [registry of keys](super::key_registry) opens timelines, adds series to them and cuts them.

mod buffer;
mod checks;
mod coordinate;
mod filling;
mod staged;
mod tick;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

pub(super) use buffer::{COORDINATE, LockedTimeline, TimelineBuffer};
pub(super) use checks::no_open_tick;
pub(super) use coordinate::member_key;
pub use coordinate::{Coordinate, CoordinateType, CoordinateValue};
pub use tick::TickRecords;

use staged::Slots;

use super::parts::Parts;
use crate::backend::fork::ProcessLocal;
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::record::{IntoValue, RecordRef};
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
    number: PhantomData<fn(T)>,
}

/// A timeline of a recorder.
struct OpenTimeline {
    parts: Arc<ProcessLocal<Parts>>,
    buffer: Arc<TimelineBuffer>,
    /// Tells the tokens of this handle from those of others.
    id: u32,
    slots: Slots,
    /// The series that the program has named.
    names: Vec<NamedMember>,
    by_name: HashMap<Box<str>, u32>,
    /// The one that is likely to be named next.
    next: u32,
}

/// A name that the program gave for a series.
struct NamedMember {
    name: Box<str>,
    /// Its index in the buffer, once it has been declared or recorded.
    index: Option<usize>,
    /// The type of its records, if they are staged.
    staged: Option<DType>,
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
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        let open = parts.map(|parts| {
            let of_process = parts.get("timeline").map_err(|e| e.with_key(group))?;
            let buffer = of_process.keys.open_timeline(group, coordinate, T::DTYPE);
            let buffer = buffer.map_err(|e| e.with_key(group).with_operation("timeline"))?;
            let mut timeline = OpenTimeline {
                buffer: Arc::clone(&buffer),
                parts,
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                slots: Slots::default(),
                names: Vec::new(),
                by_name: HashMap::new(),
                next: 0,
            };
            let locked = buffer.lock();
            for (index, key) in locked.keys().enumerate().skip(COORDINATE + 1) {
                let number = timeline.add_name(key.name());
                let named = &mut timeline.names[number as usize];
                (named.index, named.staged) = (Some(index), locked.staged_dtype(index));
            }
            timeline.slots = locked.slots();
            drop(locked);
            Ok(timeline)
        });
        Ok(Self {
            open: open.transpose()?,
            number: PhantomData,
        })
    }

    /// Completes the open tick and begins the one at `t`.
    ///
    /// # Errors
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) if `t` is NaN or not larger than the coordinate of the
    ///   previous tick, or if a series has no record of that tick, which then stays open.
    /// - Otherwise as for [`Recorder::record`](crate::Recorder::record).
    #[inline]
    pub fn advance(&mut self, t: T) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let parts = open.parts.get("advance")?;
        open.next = 0;
        if !parts.fast_path.is_stopped() && open.buffer.try_advance(t) {
            return Ok(());
        }
        parts.buffers.advance(&open.buffer, t)
    }

    /// Records a value of the series `name` in the open tick. The key of the series is `group/name`.
    ///
    /// The first tick may create any series. A series that joins later is [declared](Self::declare) first, with a
    /// fill value, which it has in all earlier ticks.
    ///
    /// # Errors
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) if no tick is open, if the series already has its record,
    ///   or if it is new after the first tick and has no fill value.
    /// - [`InvalidKey`](ErrorKind::InvalidKey) if the name is not a single segment of a key.
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
    /// [`Forked`](ErrorKind::Forked).
    pub fn advance_at_once(&mut self, t: T) -> Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(true);
        };
        let parts = open.parts.get("advance")?;
        open.next = 0;
        Ok(!parts.fast_path.is_stopped() && open.buffer.try_advance(t))
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
    /// [`Forked`](ErrorKind::Forked), [`InvalidKey`](ErrorKind::InvalidKey),
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for the name of the coordinate, and those of
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
    /// [`InvalidKey`](ErrorKind::InvalidKey) if the name is not a single segment of a key;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if it is the name of the coordinate.
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
    /// As for [`record`](Self::record); [`InvalidArgument`](ErrorKind::InvalidArgument) if the token belongs to
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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the series is new after the first tick and has no
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
            && open.parts.get("discard tick").is_ok()
        {
            open.buffer.lock().discard_tick();
        }
    }

    /// Returns the coordinate of the last complete tick; `None` if there is none.
    pub fn last(&self) -> Option<T> {
        let open = self.open.as_ref()?;
        open.parts.get("last").ok()?;
        let last = open.buffer.lock().last();
        last.and_then(T::from_value)
    }

    /// Returns the number of complete ticks.
    pub fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| {
            let is_here = open.parts.get("len").is_ok();
            if is_here {
                open.buffer.lock().ticks()
            } else {
                0
            }
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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if no tick is open, or if a series has no record of it; then
    /// the tick stays open.
    pub fn complete_tick(&mut self) -> Result<()> {
        self.complete_tick_for("complete tick")
    }

    fn complete_tick_for(&mut self, operation: &'static str) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let parts = open.parts.get(operation)?;
        let mut locked = open.buffer.lock();
        locked.check_open(operation)?;
        parts.buffers.complete_tick(&mut locked, operation)
    }
}

impl OpenTimeline {
    /// The number of a name. The names of a tick are likely to be those of the tick before, in their order.
    #[inline]
    fn find(&mut self, name: &str) -> Result<u32> {
        let is_next = |next: &NamedMember| *next.name == *name;
        let found = match self.names.get(self.next as usize).is_some_and(is_next) {
            true => self.next,
            false => self.look_up(name)?,
        };
        self.next = found + 1;
        Ok(found)
    }

    #[inline(never)]
    fn look_up(&mut self, name: &str) -> Result<u32> {
        if let Some(found) = self.by_name.get(name) {
            return Ok(*found);
        }
        let key = member_key(&self.buffer.group, name)?;
        if key == self.buffer.coordinate {
            let message = "this is the coordinate of the timeline; advance() records it";
            let error = Error::new(ErrorKind::InvalidArgument, "record", message);
            return Err(error.with_key(key.as_str()));
        }
        Ok(self.add_name(name))
    }

    fn add_name(&mut self, name: &str) -> u32 {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let name: Box<str> = name.into();
        self.by_name.insert(name.clone(), number);
        self.names.push(NamedMember {
            name,
            index: None,
            staged: None,
        });
        number
    }

    #[inline]
    fn push(&mut self, member: u32, value: &impl IntoValue) -> Result<()> {
        let parts = self.parts.get("record")?;
        let named = &self.names[member as usize];
        if let (Some(scalar), Some(index)) = (value.as_scalar(), named.index)
            && named.staged == Some(scalar.dtype)
            && !parts.fast_path.is_stopped()
            && self.slots[index].stage(&self.buffer.open_tick, scalar)
        {
            return Ok(());
        }
        self.push_any(member, value)
    }

    fn push_at_once(&mut self, member: u32, value: &impl IntoValue) -> Result<bool> {
        let parts = self.parts.get("record")?;
        let named = &self.names[member as usize];
        let Some(index) = named.index.filter(|_| !parts.fast_path.is_stopped()) else {
            return Ok(false);
        };
        if let Some(scalar) = value.as_scalar()
            && named.staged == Some(scalar.dtype)
            && self.slots[index].stage(&self.buffer.open_tick, scalar)
        {
            return Ok(true);
        }
        let record = value.as_record();
        let record = record.map_err(|e| self.in_operation("record", &named.name, e))?;
        Ok(self.buffer.try_push(index, &record))
    }

    // Takes the value and not a record of it, so that the caller keeps a scalar in registers.
    #[inline(never)]
    fn push_any(&mut self, member: u32, value: &impl IntoValue) -> Result<()> {
        let pushed = value
            .as_record()
            .and_then(|record| self.push_record(member, &record));
        pushed.map_err(|e| self.in_operation("record", &self.names[member as usize].name, e))
    }

    fn push_record(&mut self, member: u32, record: &RecordRef<'_>) -> Result<()> {
        let named = &self.names[member as usize];
        let index = match named.index {
            Some(index) => index,
            None => {
                let keys = &self.parts.get("record")?.keys;
                let added = keys.add_member(&self.buffer, &named.name, record)?;
                self.set_index(member, added);
                added
            }
        };
        let parts = self.parts.get("record")?;
        if !parts.fast_path.is_stopped() && self.buffer.try_push(index, record) {
            return Ok(());
        }
        parts.buffers.record_member(&self.buffer, index, record)
    }

    /// Remembers the index of a series that is in the buffer now.
    fn set_index(&mut self, member: u32, index: usize) {
        let locked = self.buffer.lock();
        let named = &mut self.names[member as usize];
        (named.index, named.staged) = (Some(index), locked.staged_dtype(index));
        self.slots = locked.slots();
    }

    /// An error with the key of a series, if it has none.
    fn in_operation(&self, operation: &'static str, name: &str, error: Error) -> Error {
        let key = self
            .buffer
            .group
            .join(name)
            .map_or_else(|_| name.to_owned(), |key| key.to_string());
        error.with_key(key).with_operation(operation)
    }

    fn foreign_member(&self) -> Error {
        let message =
            "the member belongs to the handle of another timeline; member() of this one gives it";
        let error = Error::new(ErrorKind::InvalidArgument, "record", message);
        error.with_key(self.buffer.group.as_str())
    }
}

impl Drop for OpenTimeline {
    fn drop(&mut self) {
        // After a fork, only the parent finishes it.
        if let Ok(parts) = self.parts.get("finish") {
            parts.keys.finish_timeline(&self.buffer);
        }
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
