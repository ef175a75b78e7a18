//! Timelines: series that share their ticks, written through one handle.
//!
//! A [`Timeline`] is the handle. All records go to one [buffer] under one lock, which counts the
//! complete ticks; [filling] completes ticks and bounds the memory. Whatever sends records cuts the same
//! ticks from every series, as one group of changes, which the stores commit together. The
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

/// The attribute of a group that makes it a timeline. It names the coordinate.
pub const TIMELINE_ATTRIBUTE: &str = "simrecorder_timeline";

/// A group whose series have exactly one record per tick, with a coordinate that gives each tick its time or
/// step. [`Recorder::timeline`](crate::Recorder::timeline) opens it.
///
/// ```
/// use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
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
/// [`advance`](Self::advance) begins a tick and completes the previous one, in which every series of the
/// timeline must have its record: those that the first tick had, and those that were
/// [declared](Self::declare). A missing or second record is an error that names the series and the tick;
/// the tick stays open until the missing record or [`discard_tick`](Self::discard_tick) comes.
/// Series at another rate belong in a timeline of their own. A series with a fill value has it in ticks
/// for which nothing was recorded.
///
/// [`finish`](Self::finish) and [`Recorder::close`](crate::Recorder::close) also complete the open tick, and
/// so does [`Recorder::flush`](crate::Recorder::flush) after the first tick, if every series has its record:
/// a program that saves its state and flushes finds that step in [`last`](Self::last) when it resumes.
///
/// # Safety of data
/// Stores get whole ticks. All series of a timeline have the same length at every moment, for readers in
/// other processes and after the program was killed. An incomplete last tick is never stored.
///
/// # Handles
/// A timeline has one handle, which keeps its recorder open. While it exists, its series cannot be
/// recorded through the recorder. Dropping it finishes the timeline, except that an incomplete tick is
/// discarded with a warning in the log.
pub struct Timeline<T: CoordinateType> {
    /// `None` for a recorder that does nothing.
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

/// A series of a [`Timeline`], for hot loops; [`Timeline::member`] gives it.
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

    /// Begins the tick at `t`, and completes the previous one.
    ///
    /// # Errors
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) if `t` is no number or not larger than the
    ///   coordinate of the tick before, or if a series has no record of that tick. It stays open then.
    /// - Else as for [`Recorder::record`](crate::Recorder::record).
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

    /// Records the open tick of the series called `name`, which becomes the key `group/name`.
    ///
    /// The first tick may have any series. Later ones are [declared](Self::declare) first, with a fill
    /// value, which they have in all ticks before.
    ///
    /// # Errors
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) if no tick is open, if the series has its record,
    ///   or if it is new after the first tick and has no fill value.
    /// - [`InvalidKey`](ErrorKind::InvalidKey) if the name is no single segment of a key.
    /// - Else as for [`Recorder::record`](crate::Recorder::record).
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

    /// Begins the tick at `t` if that needs no waiting, and returns whether it did; see
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

    /// Records the open tick of the series called `name` if that needs neither waiting nor a call of a store,
    /// and returns whether it did; see [`Recorder::record_at_once`](crate::Recorder::record_at_once).
    ///
    /// ```
    /// use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.tick(0_u64, (("rate", 0.5),))?; // the first tick makes the series
    /// assert!(net.advance_at_once(1)? && net.record_at_once("rate", 0.25)?);
    /// assert!(!net.record_at_once("rate", 0.25)?); // record() reports why: it has its record
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

    /// A token for the series called `name`, which saves looking up the name:
    /// [`push`](Self::push) takes it. The first record or [`declare`](Self::declare) makes the series.
    ///
    /// # Errors
    /// [`InvalidKey`](ErrorKind::InvalidKey) if the name is no single segment of a key;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for that of the coordinate.
    pub fn member(&mut self, name: &str) -> Result<Member> {
        let (timeline, name) = match &mut self.open {
            Some(open) => (open.id, open.find(name)?),
            None => (0, 0),
        };
        Ok(Member { timeline, name })
    }

    /// Records the open tick of a series, as [`record`](Self::record) does.
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
    /// As for [`record`](Self::record); [`InvalidArgument`](ErrorKind::InvalidArgument) if the token is of
    /// another handle.
    #[inline]
    pub fn push(&mut self, member: Member, value: impl IntoValue) -> Result<()> {
        match &mut self.open {
            Some(open) if member.timeline == open.id => open.push(member.name, &value),
            Some(open) => Err(open.foreign_member()),
            None => Ok(()),
        }
    }

    /// Begins the tick at `t` and records all of it: the name and the value of each series, as a tuple of
    /// pairs, or an array of pairs.
    ///
    /// The tick is complete when this returns. If one record is refused, the whole tick is discarded.
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

    /// Creates a series without records, or describes the existing one, as
    /// [`Recorder::declare`](crate::Recorder::declare) does. Its first dimension is that of the timeline.
    ///
    /// A series that has a fill value has it in all ticks for which nothing is recorded, also in those
    /// before it was declared; nothing is stored for the latter.
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
    /// fill value, or if the schema names the first dimension otherwise; else as for
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

    /// Discards the open tick, with all that was recorded in it. Does nothing if no tick is open.
    pub fn discard_tick(&mut self) {
        if let Some(open) = &self.open
            && open.parts.get("discard tick").is_ok()
        {
            open.buffer.lock().discard_tick();
        }
    }

    /// The coordinate of the last complete tick.
    pub fn last(&self) -> Option<T> {
        let open = self.open.as_ref()?;
        open.parts.get("last").ok()?;
        let last = open.buffer.lock().last();
        last.and_then(T::from_value)
    }

    /// The number of complete ticks.
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

    /// Whether no tick is complete.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every tick after `t`, from all series in one commit, to resume from a state that was saved
    /// at `t`. An open tick is discarded.
    ///
    /// [`Recorder::rewind`](crate::Recorder::rewind) does it for all timelines with a coordinate of the same
    /// name.
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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if no tick is open, or if a series has no record of it;
    /// it stays open then.
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

    // Called with a reference to the value and not with a record of it, so that a scalar stays in registers
    // above.
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
        // A forked child leaves it to the parent.
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
