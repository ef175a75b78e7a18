//! Reading columns, as they were when a view was taken.

use std::ops::Range;

use rayon::prelude::*;
use simrecorder_core::backend::{RowSize, Rows, zeroed};
use simrecorder_core::{Block, Error, ErrorKind, Region, Result, copy_block};

use crate::columns::column::{Column, ColumnLayout};
use crate::format::dataset::Dataset;
use crate::format::layout::Layout;
use crate::format::root::FileId;
use crate::format::tail::{JournalFile, Tail};
use crate::recording::Recording;

/// A column as it was at one time, for reading.
#[derive(Clone, Debug)]
pub(crate) struct ColumnView {
    pub(crate) column: Column,
    tail: Option<(Tail, JournalFile)>,
    /// The state of the recording that it was taken from.
    pub(crate) epoch: u64,
    /// The number of the recording, if it had one.
    id: Option<FileId>,
}

/// So many rows of chunks are shared out among the threads at a time.
const PARTS: usize = 1 << 14;

impl ColumnView {
    pub(crate) fn new(
        column: Column,
        tail: Option<(Tail, JournalFile)>,
        epoch: u64,
        id: Option<FileId>,
    ) -> Self {
        Self {
            column,
            tail,
            epoch,
            id,
        }
    }

    fn read_tail(&self) -> Result<Rows> {
        match &self.tail {
            Some((tail, journal)) => {
                tail.read(journal, self.column.stored, self.column.layout.row_size())
            }
            None => Ok(Rows::default()),
        }
    }

    /// Reads `region`, which lies within the shape, into `out`, which has its size.
    pub(crate) fn read_into(
        &self,
        recording: &Recording,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let ColumnLayout::Elements(layout) = &self.column.layout else {
            return Err(Error::new(
                ErrorKind::Internal,
                "read",
                "the rows are no elements",
            ));
        };
        if region.is_empty() || out.is_empty() {
            return Ok(());
        }
        let (old, new) = region.split_at_record(self.column.stored);
        let old_bytes = old.len().unwrap_or(0) * layout.element_size();
        let (old_out, new_out) = out.split_at_mut(old_bytes);
        if !new.is_empty() {
            self.read_new(layout, &new, new_out)?;
        }
        if !old.is_empty() {
            self.read_stored(recording, old.axes()[0].bounds().end, |dataset| {
                read_in_parallel(layout, dataset, &old, old_out)
            })?;
        }
        Ok(())
    }

    fn read_new(&self, layout: &Layout, region: &Region, out: &mut [u8]) -> Result<()> {
        let tail = self.read_tail()?;
        let mut shape = vec![tail.count];
        shape.extend(layout.grid.record_shape());
        let mut origin = vec![0; shape.len()];
        origin[0] = self.column.stored;
        let block = Block {
            data: &tail.data,
            origin: &origin,
            shape: &shape,
        };
        copy_block(block, region, out, layout.element_size());
        Ok(())
    }

    /// Reads from the dataset, and checks that it is the same one and that the rows before `end` had
    /// not been cut off.
    fn read_stored(
        &self,
        recording: &Recording,
        end: u64,
        mut read: impl FnMut(&Dataset) -> Result<()>,
    ) -> Result<()> {
        recording.with_open(|open| {
            // A file without a number may have got one since.
            if self.id.is_some() && open.id() != self.id {
                return Err(replaced());
            }
            let dataset = open.dataset(&self.column.path)?;
            let result = read(&dataset);
            // Others may stand in the place of rows that were cut off.
            if recording.epoch() != self.epoch
                && (dataset.cuts()? != self.column.cuts || dataset.len()? < end)
            {
                return Err(cut());
            }
            result
        })
    }

    /// Reads the rows of `range` of a column with elements.
    pub(crate) fn read_rows(&self, recording: &Recording, range: Range<u64>) -> Result<Vec<u8>> {
        let ColumnLayout::Elements(layout) = &self.column.layout else {
            return Err(Error::new(
                ErrorKind::Internal,
                "read",
                "the rows are no elements",
            ));
        };
        let mut shape = vec![self.column.rows];
        shape.extend(layout.grid.record_shape());
        let region = Region::records(range, &shape);
        let bytes = region
            .len()
            .and_then(|len| len.checked_mul(layout.element_size()));
        let mut data = zeroed(bytes.unwrap_or(usize::MAX))?;
        self.read_into(recording, &region, &mut data)?;
        Ok(data)
    }

    /// Reads rows of variable length from the start of `range` on, until `max_bytes` are reached.
    pub(crate) fn read_variable(
        &self,
        recording: &Recording,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Rows> {
        let ColumnLayout::Variable(variable) = &self.column.layout else {
            return Err(Error::new(
                ErrorKind::Internal,
                "read",
                "the rows are elements",
            ));
        };
        let mut rows = Rows::default();
        let is_full = |rows: &Rows| {
            let ends = size_of_val(&rows.ends[..]);
            rows.count > 0 && rows.data.len().saturating_add(ends) >= max_bytes
        };
        let stored = range.end.min(self.column.stored);
        let mut next = range.start;
        // Few at first: how long they are is not known.
        let mut some = 1;
        while next < stored && !is_full(&rows) {
            let end = stored.min(next + some);
            let mut part = Rows::default();
            self.read_stored(recording, end, |dataset| {
                part = Rows::default();
                variable.read(dataset, next..end, &mut part)
            })?;
            let average = part.data.len() as u64 / part.count.max(1) + 16;
            let left = (max_bytes as u64).saturating_sub(rows.data.len() as u64);
            some = (left / average).clamp(1, some * 16).min(MAX_VARIABLE_ROWS);
            rows.extend(part.count, &part.data, &part.ends);
            next = end;
        }
        if next < range.end && !is_full(&rows) {
            let tail = self.read_tail()?;
            let first = next - self.column.stored;
            let last = range.end - self.column.stored;
            let part = tail
                .as_rows_ref()
                .slice(first, last, RowSize::Variable)
                .to_rows();
            rows.extend(part.count, &part.data, &part.ends);
        }
        Ok(rows)
    }
}

/// The library is asked for no more rows of variable length at once.
const MAX_VARIABLE_ROWS: u64 = 1 << 16;

fn cut() -> Error {
    let message = "the series is shorter than it was; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

fn replaced() -> Error {
    let message = "another recording took the place of this one; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

/// Reads a region of elements that are all in the dataset, chunks in parallel.
fn read_in_parallel(
    layout: &Layout,
    dataset: &Dataset,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    if !layout.reads_chunks() {
        return read_elements(layout, dataset, region, out);
    }
    let mut parts = layout.grid.split(region, out).peekable();
    while parts.peek().is_some() {
        let some: Vec<_> = parts.by_ref().take(PARTS).collect();
        some.into_par_iter()
            .try_for_each(|(row, region, out)| read_row(layout, dataset, row, &region, out))?;
    }
    Ok(())
}

/// Reads a region of elements that are all in the dataset, on this thread: whoever commits must
/// not wait for threads that may wait for the commit.
pub(crate) fn read_elements(
    layout: &Layout,
    dataset: &Dataset,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    if !layout.reads_chunks() {
        // SAFETY: `out` has the size of the region.
        return unsafe { dataset.read(&layout.memory, region, out.as_mut_ptr().cast()) };
    }
    let mut parts = layout.grid.split(region, out);
    parts.try_for_each(|(row, region, out)| read_row(layout, dataset, row, &region, out))
}

/// Reads a region that lies in one row of chunks.
fn read_row(
    layout: &Layout,
    dataset: &Dataset,
    row: u64,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    layout
        .grid
        .for_each_touched(row, region, |indices, origin| {
            layout
                .read_chunk(dataset, origin, region, out)
                .map_err(|error| at(error, indices))
        })
}

fn at(error: Error, indices: &[u64]) -> Error {
    let message = format!("chunk {indices:?} is damaged; the other chunks are not affected");
    Error::new(error.kind(), "read", message).with_source(error)
}
