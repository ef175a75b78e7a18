//! Rows on their way into a column: what becomes chunks, what becomes tail.

use std::collections::HashMap;
use std::sync::Arc;

use simrecorder_core::backend::{Gathered, RowSize, Rows, RowsRef};
use simrecorder_core::{Batch, Error, ErrorKind, Result};

use crate::columns::column::{Column, ColumnLayout};
use crate::columns::read::read_elements;
use crate::format::dataset::Dataset;
use crate::format::filters::EncodedChunk;
use crate::format::layout::Layout;
use crate::format::tail::TailChanges;
use crate::format::variable::Variable;
use crate::library::open_object;
use crate::recording::state::State;

/// The encoded chunks of a batch, by their index along the first axis: what
/// `DataStore::prepare` makes.
#[derive(Debug)]
pub(crate) struct PreparedChunks {
    /// How they are laid out.
    layout: Arc<Layout>,
    chunks: HashMap<u64, Vec<EncodedChunk>>,
}

/// Rows that are new in this commit.
#[derive(Debug)]
pub(crate) enum NewRows {
    /// The records of a batch, or the items in them: `count` rows.
    Batch {
        batch: Arc<Batch>,
        count: u64,
        prepared: Option<Box<PreparedChunks>>,
    },
    Owned(Rows),
}

impl NewRows {
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Batch { count, .. } => *count,
            Self::Owned(rows) => rows.count,
        }
    }

    fn as_rows_ref(&self, size: RowSize) -> RowsRef<'_> {
        match self {
            Self::Owned(rows) => rows.as_rows_ref(),
            Self::Batch { batch, count, .. } => RowsRef {
                count: *count,
                data: batch.records.data(),
                ends: match size {
                    RowSize::Variable => batch.records.ends(),
                    RowSize::Fixed(_) => &[],
                },
                base: 0,
            },
        }
    }

    /// The chunks of a row of chunks, if they were encoded ahead with this layout.
    fn prepared(&self, layout: &Arc<Layout>, chunk: u64) -> Option<&[EncodedChunk]> {
        let Self::Batch {
            prepared: Some(prepared),
            ..
        } = self
        else {
            return None;
        };
        let fits = Arc::ptr_eq(&prepared.layout, layout) || prepared.layout.encodes_like(layout);
        prepared
            .chunks
            .get(&chunk)
            .filter(|_| fits)
            .map(Vec::as_slice)
    }
}

/// A column as a commit will leave it.
#[derive(Debug)]
pub(crate) struct ColumnAppend {
    /// Where it stands; `rows` counts the tail in the journal, or `tail` if that is set.
    column: Column,
    /// What takes the place of the tail in the journal, after the column was cut.
    tail: Option<Rows>,
    new: Vec<NewRows>,
}

/// Rows of variable length go into the dataset when so many bytes of them are there, or so many
/// rows as fill a chunk.
const VARIABLE_BYTES: u64 = 1 << 18;

impl ColumnAppend {
    pub(crate) fn new(column: Column) -> Self {
        Self {
            column,
            tail: None,
            new: Vec::new(),
        }
    }

    /// The number of rows with the new ones.
    pub(crate) fn total(&self) -> u64 {
        self.column.rows + self.new.iter().map(NewRows::count).sum::<u64>()
    }

    pub(crate) fn layout(&self) -> &ColumnLayout {
        &self.column.layout
    }

    pub(crate) fn push(&mut self, rows: NewRows) {
        if rows.count() > 0 {
            self.new.push(rows);
        }
    }

    fn dataset(&self, state: &State) -> Result<Dataset> {
        let object = open_object(&state.open.root, &self.column.path)?;
        Dataset::from_handle(object).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "commit",
                "the dataset is no longer there",
            )
        })
    }

    fn current_tail(&self, state: &State) -> Result<Rows> {
        match (&self.tail, state.tails.get(&self.column.path)) {
            (Some(tail), _) => Ok(tail.clone()),
            (None, Some(tail)) => {
                let size = self.column.layout.row_size();
                tail.read(&*state.journal()?, self.column.stored, size)
            }
            (None, None) => Ok(Rows::default()),
        }
    }

    /// The rows of an unfinished last chunk, for writing it anew.
    fn read_unfinished(&self, layout: &Layout, dataset: &Dataset, first: u64) -> Result<Rows> {
        let count = self.column.stored - first;
        let RowSize::Fixed(size) = layout.row_size() else {
            return Ok(Rows::default());
        };
        let mut data = simrecorder_core::backend::zeroed(count as usize * size)?;
        let mut shape = vec![self.column.stored];
        shape.extend(layout.grid.record_shape());
        let region = simrecorder_core::Region::records(first..self.column.stored, &shape);
        if !data.is_empty() {
            read_elements(layout, dataset, &region, &mut data)?;
        }
        Ok(Rows {
            count,
            data,
            ends: Vec::new(),
        })
    }

    /// Where the last of the first `rows` rows ends: the value of its element, a `u64`.
    pub(crate) fn read_end(&self, state: &State, rows: u64) -> Result<u64> {
        let Some(row) = rows.checked_sub(1) else {
            return Ok(0);
        };
        let size = self.column.layout.row_size();
        let tail = self.current_tail(state)?;
        let stored = (self.column.stored, tail.as_rows_ref());
        let mut first = self.column.rows;
        let new = self.new.iter().map(|new| {
            let run = (first, new.as_rows_ref(size));
            first += new.count();
            run
        });
        let mut runs = std::iter::once(stored).chain(new);
        let bytes = match runs.find(|(first, rows)| (*first..first + rows.count).contains(&row)) {
            Some((first, rows)) => {
                rows.slice(row - first, row - first + 1, size)
                    .to_rows()
                    .data
            }
            None => {
                let ColumnLayout::Elements(layout) = &self.column.layout else {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "commit",
                        "ends are elements",
                    ));
                };
                let region = crate::format::dataset::rows(row..row + 1);
                let mut bytes = vec![0; layout.element_size()];
                read_elements(layout, &self.dataset(state)?, &region, &mut bytes)?;
                bytes
            }
        };
        Ok(bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// Cuts the column to its first `rows` rows.
    pub(crate) fn truncate(&mut self, state: &State, rows: u64) -> Result<()> {
        if rows >= self.total() {
            return Ok(());
        }
        let size = self.column.layout.row_size();
        let mut left = rows.saturating_sub(self.column.rows);
        let mut kept = Vec::new();
        for new in std::mem::take(&mut self.new) {
            if new.count() <= left {
                left -= new.count();
                kept.push(new);
            } else if left > 0 {
                let part = new.as_rows_ref(size).slice(0, left, size).to_rows();
                kept.push(NewRows::Owned(part));
                left = 0;
            }
        }
        self.new = kept;
        if rows >= self.column.rows {
            return Ok(());
        }
        let tail = self.current_tail(state)?;
        let keep = rows.saturating_sub(self.column.stored);
        self.tail = Some(tail.as_rows_ref().slice(0, keep, size).to_rows());
        self.column.rows = rows;
        self.column.cuts += 1;
        let dataset = self.dataset(state)?;
        dataset.add_cut()?;
        if rows < self.column.stored {
            self.column.stored = rows;
            set_rows(&dataset, rows)?;
        }
        Ok(())
    }

    /// Writes full chunks to the file, and notes the rest as the tail. With `fold`, the rest is
    /// written as an unfinished chunk.
    pub(crate) fn finish(
        self,
        state: &State,
        fold: bool,
        changes: &mut TailChanges,
    ) -> Result<Column> {
        let total = self.total();
        let stored = match fold {
            true => total,
            false => self.stored_after(total),
        };
        let path = &self.column.path;
        if stored == self.column.stored {
            self.append_tail(changes);
        } else {
            let tail = self.current_tail(state)?;
            let had_tail = self.tail.is_some() || tail.count > 0;
            self.write_rows(state, tail, stored, had_tail, changes)?;
        }
        debug_assert!(stored <= total, "{path}");
        Ok(Column {
            stored,
            rows: total,
            ..self.column
        })
    }

    /// How many rows will be in the dataset, without folding.
    fn stored_after(&self, total: u64) -> u64 {
        let chunk_rows = self.column.layout.chunk_rows();
        match &self.column.layout {
            ColumnLayout::Elements(_) => (total / chunk_rows * chunk_rows).max(self.column.stored),
            ColumnLayout::Variable(_) => {
                let bytes = |new: &NewRows| match new {
                    NewRows::Batch { batch, .. } => batch.records.data().len() as u64,
                    NewRows::Owned(rows) => rows.data.len() as u64,
                };
                let waiting = total - self.column.stored;
                let is_much = self.new.iter().map(bytes).sum::<u64>() >= VARIABLE_BYTES;
                match is_much || waiting >= chunk_rows {
                    true => total,
                    false => self.column.stored,
                }
            }
        }
    }

    /// Notes the new rows behind the tail.
    fn append_tail(&self, changes: &mut TailChanges) {
        let path = &self.column.path;
        if let Some(tail) = &self.tail {
            changes.clear(path);
            if tail.count > 0 {
                changes.append(path, self.column.stored, tail.as_rows_ref());
            }
        }
        let mut first = self.column.rows;
        for new in &self.new {
            let rows = new.as_rows_ref(self.column.layout.row_size());
            match &self.column.layout {
                ColumnLayout::Elements(layout) => {
                    changes.append(path, first, layout.tail_rows(rows).as_rows_ref());
                }
                ColumnLayout::Variable(_) => changes.append(path, first, rows),
            }
            first += rows.count;
        }
    }

    /// Writes all rows before `stored` into the dataset, and notes the others as the tail.
    fn write_rows(
        &self,
        state: &State,
        tail: Rows,
        stored: u64,
        had_tail: bool,
        changes: &mut TailChanges,
    ) -> Result<()> {
        let dataset = self.dataset(state)?;
        let size = self.column.layout.row_size();
        let path = &self.column.path;
        // Before what is written, so that the note says the same if nothing is left.
        if had_tail {
            changes.clear(path);
        }
        match &self.column.layout {
            ColumnLayout::Variable(variable) => {
                // A failure must not leave rows that were not written.
                self.variable_runs(&tail)
                    .try_for_each(|rows| variable.check(rows))?;
                set_rows(&dataset, stored)?;
                self.write_variable(variable, &dataset, &tail)
            }
            ColumnLayout::Elements(layout) => {
                let first = match layout.writes_chunks() {
                    true => self.column.stored / layout.chunk_rows() * layout.chunk_rows(),
                    false => self.column.stored,
                };
                let mut old = self.read_unfinished(layout, &dataset, first)?;
                old.extend(tail.count, &tail.data, &tail.ends);
                // All rows from `first` on, as runs with the index of their first.
                let mut runs = vec![(first, old.as_rows_ref())];
                let mut next = first + old.count;
                for new in &self.new {
                    runs.push((next, new.as_rows_ref(size)));
                    next += new.count();
                }
                set_rows(&dataset, stored)?;
                match layout.writes_chunks() {
                    true => self.write_chunks(layout, &dataset, &runs, first, stored)?,
                    false => write_elements(layout, &dataset, &runs, stored)?,
                }
                if next > stored {
                    let rest = Gathered::new(runs.iter().copied(), stored..next, size);
                    let rest = layout.tail_rows(rest.as_rows_ref());
                    changes.append(path, stored, rest.as_rows_ref());
                }
                Ok(())
            }
        }
    }

    /// The rows of a tail and those behind it.
    fn variable_runs<'a>(&'a self, tail: &'a Rows) -> impl Iterator<Item = RowsRef<'a>> {
        let new = self.new.iter();
        let new = new.map(|new| new.as_rows_ref(RowSize::Variable));
        std::iter::once(tail.as_rows_ref()).chain(new)
    }

    fn write_variable(&self, variable: &Variable, dataset: &Dataset, tail: &Rows) -> Result<()> {
        let mut first = self.column.stored;
        for rows in self.variable_runs(tail) {
            if rows.count > 0 {
                variable.write(dataset, first, rows)?;
            }
            first += rows.count;
        }
        Ok(())
    }

    fn write_chunks(
        &self,
        layout: &Arc<Layout>,
        dataset: &Dataset,
        runs: &[(u64, RowsRef<'_>)],
        first: u64,
        stored: u64,
    ) -> Result<()> {
        let chunk_rows = layout.chunk_rows();
        for chunk in first / chunk_rows..stored.div_ceil(chunk_rows) {
            let start = chunk * chunk_rows;
            let range = start..(start + chunk_rows).min(stored);
            let origin = |rest: &[u64]| -> Vec<u64> {
                let indices = std::iter::once(chunk).chain(rest.iter().copied());
                let axes = indices.zip(layout.grid.chunk_shape());
                axes.map(|(index, len)| index * len).collect()
            };
            if let Some(parts) = self.new.iter().find_map(|new| new.prepared(layout, chunk)) {
                for (rest, part) in layout.grid.row().zip(parts) {
                    dataset.write_chunk(&origin(&rest), &part.bytes, part.mask)?;
                }
                continue;
            }
            let rows = Gathered::new(runs.iter().copied(), range, layout.row_size());
            let rows = rows.as_rows_ref();
            for rest in layout.grid.row() {
                if layout.is_plain() && rows.count == chunk_rows {
                    dataset.write_chunk(&origin(&rest), rows.data, 0)?;
                } else {
                    let part = layout.encode(rows, &rest)?;
                    dataset.write_chunk(&origin(&rest), &part.bytes, part.mask)?;
                }
            }
        }
        Ok(())
    }
}

/// Sets the number of rows of a dataset.
fn set_rows(dataset: &Dataset, rows: u64) -> Result<()> {
    let mut shape = dataset.shape()?;
    if let Some(first) = shape.first_mut() {
        *first = rows;
    }
    dataset.set_shape(&shape)
}

/// Writes the rows before `stored` through the library: into a dataset of other software.
fn write_elements(
    layout: &Layout,
    dataset: &Dataset,
    runs: &[(u64, RowsRef<'_>)],
    stored: u64,
) -> Result<()> {
    for (first, rows) in runs {
        let end = stored.min(first + rows.count);
        if end <= *first || rows.data.is_empty() {
            continue;
        }
        let mut shape = vec![stored];
        shape.extend(layout.grid.record_shape());
        let region = simrecorder_core::Region::records(*first..end, &shape);
        // SAFETY: there are at least as many rows as the region has.
        unsafe { dataset.write(&layout.memory, &region, rows.data.as_ptr().cast())? };
    }
    Ok(())
}

/// Encodes the chunks that a batch fills, whatever stands before and behind them.
pub(crate) fn prepare_chunks(layout: Arc<Layout>, batch: &Batch) -> Result<PreparedChunks> {
    let chunk_rows = layout.chunk_rows();
    let end = batch.start.saturating_add(batch.records.len());
    let all = RowsRef {
        count: batch.records.len(),
        data: batch.records.data(),
        ends: &[],
        base: 0,
    };
    let mut chunks = HashMap::new();
    for chunk in batch.start.div_ceil(chunk_rows)..end / chunk_rows {
        let start = chunk * chunk_rows - batch.start;
        let rows = all.slice(start, start + chunk_rows, layout.row_size());
        let parts = layout.grid.row().map(|rest| layout.encode(rows, &rest));
        chunks.insert(chunk, parts.collect::<Result<Vec<_>>>()?);
    }
    Ok(PreparedChunks { layout, chunks })
}
