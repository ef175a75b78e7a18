//! Series of equal length as the columns of one table, read some rows at a time.

use std::collections::HashSet;

use simrecorder::backend::Records;
use simrecorder::{ArrayView, Error, ErrorKind, View};

use crate::blocks::BLOCK_BYTES;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// The number of rows that are read at once if a column has records of variable size.
const VARIABLE_ROWS: u64 = 1 << 12;

/// A column of a table.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) view: View,
}

/// Series of equal length, after their coordinate.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    rows: u64,
    interrupt: Interrupt,
}

impl Table {
    /// The table of these views.
    ///
    /// # Errors
    ///
    /// Series of different lengths.
    pub(super) fn of(views: Vec<View>, interrupt: Interrupt) -> Result<Self, Error> {
        let mut coordinates = Vec::new();
        let mut seen: HashSet<_> = views.iter().map(|view| view.key().clone()).collect();
        for view in &views {
            if let Some(coordinate) = view.coordinate(0)?
                && seen.insert(coordinate.key().clone())
            {
                coordinates.push(coordinate);
            }
        }
        // Coordinates among the given views also come first.
        let (own, others): (Vec<_>, Vec<_>) = views.into_iter().partition(is_coordinate);
        let views: Vec<_> = coordinates.into_iter().chain(own).chain(others).collect();
        let rows = views.first().map_or(0, |view| view.len());
        if let Some(other) = views.iter().find(|view| view.len() != rows) {
            let message = format!(
                "it has {} records, '{}' has {rows}; the columns of a table must have equal \
                 lengths; export them into separate files",
                other.len(),
                views[0].key()
            );
            let error = Error::new(ErrorKind::InvalidArgument, "export", message);
            return Err(error.with_key(other.key().as_str()));
        }
        let names = column_names(&views);
        let columns = names.into_iter().zip(views);
        Ok(Self {
            columns: columns.map(|(name, view)| Column { name, view }).collect(),
            rows,
            interrupt,
        })
    }

    /// Calls `write` with the records of each column for the next rows, in order, within bounded memory.
    pub(super) fn for_each_block(
        &self,
        mut write: impl FnMut(&[Records], u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let views = || self.columns.iter().map(|column| &column.view);
        let row_bytes: usize = views()
            .map(|view| view.schema().record_bytes().unwrap_or(usize::MAX))
            .fold(1, usize::saturating_add);
        let fitting = (BLOCK_BYTES / row_bytes).max(1) as u64;
        let has_variable = views().any(|view| !view.kind().is_fixed());
        let most = if has_variable {
            fitting.min(VARIABLE_ROWS)
        } else {
            fitting
        };
        let max_bytes = BLOCK_BYTES / self.columns.len().max(1);
        let progress = Progress::new();
        let mut start = 0;
        while start < self.rows {
            let mut end = self.rows.min(start + most);
            let mut block = Vec::new();
            for view in views() {
                // A read may return fewer records, and the next columns then need no more.
                let records = view.read_records(start..end, max_bytes.max(1))?;
                end = start + records.len().max(1);
                block.push(records);
            }
            write(&block, end - start)?;
            self.interrupt.check("export")?;
            start = end;
            progress.show_records(start, self.rows);
        }
        Ok(())
    }
}

/// Whether a view is the coordinate of its own axis.
fn is_coordinate(view: &View) -> bool {
    let coordinate = view.coordinate(0).ok().flatten();
    coordinate.is_some_and(|coordinate| coordinate.key() == view.key())
}

/// The names of the series, or their keys where two have the same name.
fn column_names(views: &[View]) -> Vec<String> {
    let mut names = HashSet::new();
    let are_unique = views.iter().all(|view| names.insert(view.key().name()));
    let name = |view: &View| match are_unique {
        true => view.key().name().to_owned(),
        false => view.key().to_string(),
    };
    views.iter().map(name).collect()
}
