//! The handle of an open timeline, without the type of its coordinate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use super::buffer::{COORDINATE, TimelineBuffer};
use super::coordinate::member_key;
use super::staged::Slots;
use crate::backend::fork::ProcessLocal;
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::record::{IntoValue, RecordRef, ScalarRef};
use crate::recorder::parts::Parts;

/// A timeline of a recorder.
pub(super) struct OpenTimeline {
    pub(super) parts: Arc<ProcessLocal<Parts>>,
    pub(super) buffer: Arc<TimelineBuffer>,
    /// Distinguishes the tokens of this handle from those of others.
    pub(super) id: u32,
    slots: Arc<Slots>,
    /// The number of the tick that this handle began last.
    tick: u64,
    /// How many series have their scalar of this tick in a slot.
    staged: usize,
    /// The number of series, including the coordinate.
    member_count: usize,
    /// The series that the program has named.
    names: Vec<NamedMember>,
    by_name: HashMap<Box<str>, u32>,
    /// The series that is likely to be named next.
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

impl OpenTimeline {
    pub(super) fn new(parts: Arc<ProcessLocal<Parts>>, buffer: Arc<TimelineBuffer>) -> Self {
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        let mut timeline = OpenTimeline {
            buffer: Arc::clone(&buffer),
            parts,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            slots: Arc::default(),
            tick: 0,
            staged: 0,
            member_count: 0,
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
        timeline.member_count = locked.len();
        drop(locked);
        timeline
    }

    /// Begins the next tick without a lock, if each series has its record of this one in a slot; `false` if it needs
    /// more.
    #[inline(always)]
    pub(super) fn stage_tick(&mut self, coordinate: ScalarRef<'_>) -> bool {
        let (open, next) = (&self.buffer.open_tick, self.tick + 1);
        let is_begun = self.staged + 1 == self.member_count
            && open.number() == self.tick
            && open.is_within_limit(next)
            && self.slots.stage(next, COORDINATE, coordinate);
        if is_begun {
            open.begin(next);
            self.begin(next);
        }
        is_begun
    }

    /// Notes that a tick began.
    #[inline(always)]
    pub(super) fn begin(&mut self, number: u64) {
        (self.tick, self.staged, self.next) = (number, 0, 0);
    }

    /// Returns the number of a name. The names of a tick are likely to be those of the previous tick, in the same order.
    #[inline]
    pub(super) fn find(&mut self, name: &str) -> Result<u32> {
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

    /// Stages a scalar of the open tick; `false` if it needs more.
    #[inline(always)]
    fn stage(&mut self, member: u32, value: &impl IntoValue) -> bool {
        let named = &self.names[member as usize];
        let is_staged = match (value.as_scalar(), named.index) {
            (Some(scalar), Some(index)) if named.staged == Some(scalar.dtype) => {
                let tick = self.buffer.open_tick.number();
                self.slots.stage(tick, index, scalar)
            }
            _ => false,
        };
        self.staged += usize::from(is_staged);
        is_staged
    }

    #[inline(always)]
    pub(super) fn push(&mut self, member: u32, value: &impl IntoValue) -> Result<()> {
        let is_stopped = self.parts.get("record")?.fast_path.is_stopped();
        if !is_stopped && self.stage(member, value) {
            return Ok(());
        }
        self.push_any(member, value)
    }

    pub(super) fn push_at_once(&mut self, member: u32, value: &impl IntoValue) -> Result<bool> {
        if self.parts.get("record")?.fast_path.is_stopped() {
            return Ok(false);
        }
        if self.stage(member, value) {
            return Ok(true);
        }
        let named = &self.names[member as usize];
        let Some(index) = named.index else {
            return Ok(false);
        };
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
    pub(super) fn set_index(&mut self, member: u32, index: usize) {
        let locked = self.buffer.lock();
        let named = &mut self.names[member as usize];
        (named.index, named.staged) = (Some(index), locked.staged_dtype(index));
        self.slots = locked.slots();
        self.member_count = locked.len();
    }

    /// Adds the key of a series to an error without a key.
    pub(super) fn in_operation(&self, operation: &'static str, name: &str, error: Error) -> Error {
        let key = self
            .buffer
            .group
            .join(name)
            .map_or_else(|_| name.to_owned(), |key| key.to_string());
        error.with_key(key).with_operation(operation)
    }

    pub(super) fn foreign_member(&self) -> Error {
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
