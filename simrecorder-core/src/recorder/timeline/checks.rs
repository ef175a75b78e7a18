//! The checks of a timeline; their errors name the tick, the series and the remedy.

use super::buffer::{LockedTimeline, MemberBuffer, State};
use super::coordinate::{CoordinateType, CoordinateValue};
use crate::error::{Error, ErrorKind, Result};
use crate::model::record::RecordRef;
use crate::store::errors::closed;

impl LockedTimeline<'_> {
    /// An error unless the timeline takes ticks.
    pub(in crate::recorder) fn check_open(&self, operation: &'static str) -> Result<()> {
        match self.contents.state {
            State::Open => Ok(()),
            State::Closed => Err(closed(operation, "recorder")),
            State::Finished => {
                let message = "the timeline was finished; open it again with timeline()";
                Err(Error::new(ErrorKind::Closed, operation, message))
            }
        }
    }

    /// An error unless `t` is after the last tick, complete or open.
    pub(super) fn check_next<T: CoordinateType>(&self, t: T) -> Result<()> {
        let value = t.into_value();
        let message = match self.contents.open.or(self.contents.last) {
            _ if !t.is_number() => format!("{value} cannot be the coordinate of a tick"),
            Some(last) if T::from_value(last).is_none_or(|last| last >= t) => format!(
                "{value} is not larger than {last}, the coordinate of the previous tick; call rewind() to go \
                 back"
            ),
            _ => return Ok(()),
        };
        let error = Error::new(ErrorKind::InvalidArgument, "advance", message);
        Err(error.with_key(self.timeline.coordinate.as_str()))
    }

    /// An error unless a member takes a record of the open tick.
    pub(super) fn check_record(&self, member: usize, record: &RecordRef<'_>) -> Result<()> {
        self.check_open("record")?;
        let contents = &*self.contents;
        let is_staged = contents.slots.of_tick(contents.begun, member).is_some();
        let member = &contents.members[member];
        let refuse = |message: String| {
            let error = Error::new(ErrorKind::InvalidArgument, "record", message);
            Err(error.with_key(member.key.as_str()))
        };
        let Some(open) = self.contents.open else {
            return Err(no_open_tick().with_key(member.key.as_str()));
        };
        if !member.records.schema().accepts(record) {
            let mismatch = member.records.schema().mismatch(record);
            return Err(mismatch.with_key(member.key.as_str()));
        }
        if member.has_tick(contents.ticks) || is_staged {
            return refuse(format!(
                "tick {} already has a record; call advance() before the next one, or record a series at \
                 a higher rate in a timeline of its own",
                self.tick_name(self.contents.ticks, open)
            ));
        }
        Ok(())
    }

    /// A tick as messages name it.
    fn tick_name(&self, tick: u64, value: CoordinateValue) -> String {
        format!("{tick} ({} = {value})", self.timeline.coordinate.name())
    }

    /// The error of a member that has no record of the open tick.
    pub(super) fn missing_record(&self, operation: &'static str) -> Error {
        let contents = &*self.contents;
        let is_missing = |member: &&MemberBuffer| !member.has_tick(contents.ticks);
        let mut missing = contents.members.iter().filter(is_missing);
        let first = missing.next().map_or("", |member| member.key.as_str());
        let others = match missing.count() {
            0 => String::new(),
            count => format!(" and {count} other series"),
        };
        let tick = contents
            .open
            .map(|open| self.tick_name(contents.ticks, open));
        let message = format!(
            "tick {} has no record of '{first}'{others}; record it, or call discard_tick(); a series at \
             another rate needs a timeline of its own, or a fill value in its schema",
            tick.unwrap_or_default()
        );
        let error = Error::new(ErrorKind::InvalidArgument, operation, message);
        error.with_key(self.timeline.group.as_str())
    }
}

/// The error of a record while no tick is open.
pub(in crate::recorder) fn no_open_tick() -> Error {
    let message = "no tick is open; call advance() first";
    Error::new(ErrorKind::InvalidArgument, "record", message)
}
