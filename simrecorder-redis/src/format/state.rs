//! The state of a series: which records it has.

use redis::Value;
use simrecorder_core::Result;

use crate::connection::errors::corrupt;
use crate::connection::reply::{Commands, Reply};
use crate::format::names::SeriesNames;

/// The range of the records of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesState {
    /// The index of the first record that was not freed.
    pub(crate) first: u64,
    /// The index after the last record.
    pub(crate) end: u64,
    /// The number of times that the series was truncated.
    pub(crate) cut_count: u64,
    /// The number of filled records at its beginning, including freed ones.
    pub(crate) filled: u64,
}

/// The fields of a state, in the order in which they are requested.
const FIELDS: [&str; 4] = ["first", "end", "cuts", "filled"];

impl SeriesState {
    /// The command that requests the state of a series.
    pub(crate) fn command(series: &SeriesNames) -> Commands {
        Self::command_of_all(&[series])
    }

    /// One command that requests the states of series in one slot.
    pub(crate) fn command_of_all(series: &[&SeriesNames]) -> Commands {
        let mut commands = Commands::default();
        commands.begin(2 + FIELDS.len() * series.len());
        commands.argument("HMGET");
        commands.argument(series.first().map(|it| it.state()).unwrap_or_default());
        for fields in series.iter().map(|it| it.state_fields()) {
            for name in FIELDS {
                commands.argument(format!("{fields}{name}"));
            }
        }
        commands
    }

    /// The state in a reply; `None` if there is no such series.
    pub(crate) fn from_reply(reply: Value) -> Result<Option<Self>> {
        Self::from_fields(&mut reply.array()?.into_iter())
    }

    /// The next state in a reply.
    pub(crate) fn from_fields(fields: &mut impl Iterator<Item = Value>) -> Result<Option<Self>> {
        let mut number = || match fields.next() {
            Some(Value::Nil) | None => Ok(None),
            Some(number) => u64::try_from(number.int()?)
                .map(Some)
                .map_err(|_| corrupt("the length of the series is negative")),
        };
        let (first, end, cut_count) = (number()?, number()?, number()?);
        let filled = number()?.unwrap_or(0);
        match (first, end, cut_count) {
            (None, None, None) => Ok(None),
            (Some(first), Some(end), Some(cut_count)) if first <= end && filled <= end => {
                Ok(Some(Self {
                    first,
                    end,
                    cut_count,
                    filled,
                }))
            }
            _ => Err(corrupt("the length of the series cannot be decoded")),
        }
    }
}
