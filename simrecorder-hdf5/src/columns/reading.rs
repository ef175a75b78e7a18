//! Reads datasets: chunks and rows from the file, tails from the journal.

use std::ops::Range;
use std::sync::OnceLock;

use simrecorder_core::backend::columns::{
    self, ColumnFormat, ColumnSource, ColumnView, read_chunks,
};
use simrecorder_core::backend::{Rows, fill_elements, zeroed};
use simrecorder_core::{Error, ErrorKind, Region, Result};

use crate::format::dataset::Dataset;
use crate::format::dataset_format::{DatasetFormat, RowFormat};
use crate::format::root::FileId;
use crate::format::tail::{JournalFile, Tail};
use crate::recording::open_file::OpenFile;

pub(crate) type Column = columns::Column<DatasetFormat>;

/// A column in one state of the recording.
pub(crate) type DatasetView = ColumnView<Column, Version>;

/// Tells whether the rows of a dataset are still those that a view showed. Contains the tail at
/// that time, too.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// See [`Recording::epoch`](crate::recording::Recording::epoch).
    pub(crate) epoch: u64,
    /// The id of the recording, if it had one.
    pub(crate) id: Option<FileId>,
    /// The number of cuts of the dataset so far.
    pub(crate) cut_count: u64,
    pub(crate) tail: Option<(Tail, JournalFile)>,
}

/// A dataset that is open for reading.
pub(crate) struct OpenDataset<'a> {
    file: &'a OpenFile,
    column: Column,
    tail: Option<(&'a Tail, JournalFile)>,
    /// Opened when it is first needed: tails are not in it.
    dataset: OnceLock<Dataset>,
    /// Whether chunks are read without the library.
    reads_chunks: OnceLock<bool>,
    /// The dataset by which a commit replaces it, and whether that has no chunks.
    replacement: OnceLock<(Dataset, bool)>,
}

/// The maximum number of rows of variable length that the library reads at once.
const MAX_VARIABLE_ROWS: u64 = 1 << 16;

impl<'a> OpenDataset<'a> {
    pub(crate) fn new(
        file: &'a OpenFile,
        column: Column,
        tail: Option<(&'a Tail, JournalFile)>,
    ) -> Self {
        Self {
            file,
            column,
            tail,
            dataset: OnceLock::new(),
            reads_chunks: OnceLock::new(),
            replacement: OnceLock::new(),
        }
    }

    pub(crate) fn dataset(&self) -> Result<&Dataset> {
        if let Some(dataset) = self.dataset.get() {
            return Ok(dataset);
        }
        let dataset = self.file.dataset(&self.column.path)?;
        Ok(self.dataset.get_or_init(|| dataset))
    }

    /// Whether chunks are read without the library. A series that was short when a view was created
    /// may have chunks now, and the reverse.
    fn reads_chunks(&self) -> Result<bool> {
        if let Some(&reads_chunks) = self.reads_chunks.get() {
            return Ok(reads_chunks);
        }
        let Column { format, stored, .. } = &self.column;
        let reads_chunks = format.pipeline().is_some()
            && (!format.may_be_short(*stored) || format.has_chunks(self.dataset()?)?);
        Ok(*self.reads_chunks.get_or_init(|| reads_chunks))
    }

    /// The first rows, which are stored in the dataset.
    pub(crate) fn read_stored(&self, count: u64) -> Result<Rows> {
        if count == 0 {
            return Ok(Rows::default());
        }
        let format = &self.column.format;
        match &format.rows {
            RowFormat::Variable(_) => Ok(self.read_variable(0..count, usize::MAX)?.1),
            RowFormat::Elements(_) => {
                let region = Region::records(0..count, &format.layout().shape(count));
                let bytes = format.fixed_bytes(count);
                let mut data = zeroed(usize::try_from(bytes).unwrap_or(usize::MAX))?;
                self.read_elements(&region, &mut data)?;
                Ok(Rows {
                    count,
                    data,
                    ends: Vec::new(),
                })
            }
        }
    }

    /// Records that a commit writes to another dataset than the one that is read.
    pub(crate) fn replace_with(&self, dataset: &Dataset, is_short: bool) -> Result<()> {
        if let Some(dataset) = Dataset::borrow(dataset.handle())? {
            self.replacement.get_or_init(|| (dataset, is_short));
        }
        Ok(())
    }

    /// The dataset that a commit writes to.
    pub(crate) fn target(&self) -> Result<&Dataset> {
        match self.replacement.get() {
            Some((dataset, _)) => Ok(dataset),
            None => self.dataset(),
        }
    }

    /// Whether a commit replaces this dataset by one without chunks.
    pub(crate) fn is_short(&self) -> bool {
        self.replacement
            .get()
            .is_some_and(|(_, is_short)| *is_short)
    }
}

impl ColumnSource for OpenDataset<'_> {
    type Format = DatasetFormat;

    fn column(&self) -> &Column {
        &self.column
    }

    fn read_chunk(&self, indices: &[u64], region: &Region, out: &mut [u8]) -> Result<()> {
        let format = &self.column.format;
        let origin = format.layout().grid.origin(indices);
        let may_be_missing = indices
            .first()
            .is_some_and(|&row| self.column.may_be_missing(row));
        format
            .read_chunk(self.dataset()?, &origin, may_be_missing, region, out)
            .map_err(|e| self.column.damaged_chunk(indices, e))
    }

    fn read_elements(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let format = &self.column.format;
        let RowFormat::Elements(elements) = &format.rows else {
            let message = "the rows have no elements of a fixed size";
            return Err(Error::new(ErrorKind::Internal, "read", message));
        };
        if self.column.written() == 0 {
            // The dataset may not exist yet.
            fill_elements(out, format.layout().fill_value.as_deref());
            return Ok(());
        }
        if self.reads_chunks()? {
            return read_chunks(self, region, out);
        }
        let size = format.layout().element_size();
        if region.len().and_then(|len| len.checked_mul(size)) != Some(out.len()) {
            let message = "the region and its buffer differ in size";
            return Err(Error::new(ErrorKind::Internal, "read", message));
        }
        let out = out.as_mut_ptr().cast();
        // SAFETY: `out` has the size of the region, as was checked.
        unsafe { self.dataset()?.read(&elements.memory, region, out) }
    }

    fn read_variable(&self, range: Range<u64>, max_bytes: usize) -> Result<(u64, Rows)> {
        let RowFormat::Variable(type_) = &self.column.format.rows else {
            let message = "the rows are elements";
            return Err(Error::new(ErrorKind::Internal, "read", message));
        };
        let dataset = self.dataset()?;
        let mut rows = Rows::default();
        let mut next = range.start;
        // Few rows at first, because their length is unknown.
        let mut count = 1;
        while next < range.end && (rows.count == 0 || rows.bytes() < max_bytes) {
            let end = range.end.min(next + count);
            let before = rows.data.len();
            type_.read(dataset, next..end, &mut rows)?;
            let average = (rows.data.len() - before) as u64 / (end - next) + 16;
            let left = max_bytes.saturating_sub(rows.data.len()) as u64;
            count = (left / average).clamp(1, count * 16).min(MAX_VARIABLE_ROWS);
            next = end;
        }
        Ok((range.start, rows))
    }

    fn read_tail_end(&self, first: u64, bytes: u64) -> Result<Rows> {
        let size = self.column.layout().row_size();
        match &self.tail {
            Some((tail, journal)) => tail.read_end(journal, bytes, first, size),
            None => Ok(Rows::default()),
        }
    }

    /// For rows of variable length, the library only knows the size of the references to them.
    fn stored_bytes(&self) -> Result<Option<u64>> {
        if matches!(self.column.format.rows, RowFormat::Variable(_)) {
            return Ok(None);
        }
        let tail = self.tail.as_ref().map_or(0, |(tail, _)| tail.bytes());
        let dataset = match self.column.written() {
            // The dataset may not exist yet.
            0 => 0,
            _ => self.dataset()?.stored_bytes(),
        };
        Ok(Some(dataset + tail))
    }

    fn read_tail(&self) -> Result<(u64, Rows)> {
        let Column { format, stored, .. } = &self.column;
        let rows = match &self.tail {
            Some((tail, journal)) => tail.read(journal, *stored, format.layout().row_size())?,
            None => Rows::default(),
        };
        Ok((*stored, rows))
    }
}
