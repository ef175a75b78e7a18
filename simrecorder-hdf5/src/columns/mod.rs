//! The columns of series: datasets of rows, how rows come into them and how they are read.

pub(crate) mod append;
pub(crate) mod column;
pub(crate) mod read;

use simrecorder_core::Result;

/// The columns of a series.
#[derive(Clone, Debug)]
pub(crate) enum Columns<C> {
    /// Arrays, text, bytes or objects: one row for each record.
    One(C),
    /// Ragged rows: where each ends, in items, and the items.
    Two { ends: C, items: C },
}

impl<C> Columns<C> {
    /// The column with one row for each record.
    pub(crate) fn record_column(&self) -> &C {
        match self {
            Self::One(column) => column,
            Self::Two { ends, .. } => ends,
        }
    }

    pub(crate) fn map<D>(self, mut change: impl FnMut(C) -> Result<D>) -> Result<Columns<D>> {
        Ok(match self {
            Self::One(column) => Columns::One(change(column)?),
            Self::Two { ends, items } => Columns::Two {
                ends: change(ends)?,
                items: change(items)?,
            },
        })
    }
}
