//! Rows on their way into a column: which of them become chunks, and which the tail.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::columns::read::{read_all, read_rows};
use crate::backend::columns::sink::{ColumnSink, Cut};
use crate::backend::columns::source::ColumnSource;
use crate::backend::rows::{Gathered, RowSize, Rows, RowsRef};
use crate::error::{Error, ErrorKind, Result};
use crate::store::commit::Batch;

/// The encoded chunks of a batch, by their index along the first axis: what
/// [`DataStore::prepare`](crate::DataStore::prepare) makes.
#[derive(Debug)]
pub struct PreparedChunks<F: ColumnFormat> {
    format: Arc<F>,
    chunks: HashMap<u64, Vec<F::Chunk>>,
}

impl<F: ColumnFormat> PreparedChunks<F> {
    /// Encodes the chunks that a batch fills, whatever comes before and after them.
    pub fn encode(format: Arc<F>, batch: &Batch) -> Result<Self> {
        let layout = format.layout();
        let chunk_rows = layout.chunk_rows();
        let all = rows_of(batch, batch.records.len(), layout.row_size());
        let end = batch.start.saturating_add(all.count);
        let mut chunks = HashMap::new();
        for chunk in batch.start.div_ceil(chunk_rows)..end / chunk_rows {
            let start = chunk * chunk_rows - batch.start;
            let rows = all.slice(start, start + chunk_rows, layout.row_size());
            let encoded = layout.grid().chunks_in_row(chunk);
            let encoded = encoded.map(|indices| format.encode(rows, &indices));
            chunks.insert(chunk, encoded.collect::<Result<_>>()?);
        }
        Ok(Self { format, chunks })
    }
}

/// Rows of a column in whole chunks, which were encoded for another column. In the first and the
/// last chunk there may be rows before and after them.
#[derive(Debug)]
pub struct EncodedRows<F: ColumnFormat> {
    /// How the chunks are encoded.
    pub format: Arc<F>,
    /// How many rows the column has with these.
    pub len: u64,
    /// The chunks by their indices; those that were never written are missing.
    pub chunks: Vec<(Vec<u64>, F::Chunk)>,
}

/// Rows that are new in a commit.
#[derive(Debug)]
pub(super) enum NewRows<F: ColumnFormat> {
    /// The records of a batch, or the items in them: `count` rows.
    Batch {
        batch: Arc<Batch>,
        count: u64,
        prepared: Option<Box<PreparedChunks<F>>>,
    },
    /// Others.
    Owned(Rows),
}

impl<F: ColumnFormat> NewRows<F> {
    fn count(&self) -> u64 {
        match self {
            Self::Batch { count, .. } => *count,
            Self::Owned(rows) => rows.count,
        }
    }

    fn as_rows_ref(&self, size: RowSize) -> RowsRef<'_> {
        match self {
            Self::Batch { batch, count, .. } => rows_of(batch, *count, size),
            Self::Owned(rows) => rows.as_rows_ref(),
        }
    }

    /// The chunks of a row of chunks, if they were encoded ahead, and in this format.
    fn prepared(&self, format: &Arc<F>, chunk: u64) -> Option<&[F::Chunk]> {
        let Self::Batch {
            prepared: Some(prepared),
            ..
        } = self
        else {
            return None;
        };
        let chunks = prepared.chunks.get(&chunk)?;
        let fits = Arc::ptr_eq(&prepared.format, format) || format.encodes_like(&prepared.format);
        fits.then_some(chunks)
    }
}

fn rows_of(batch: &Batch, count: u64, size: RowSize) -> RowsRef<'_> {
    RowsRef {
        count,
        data: batch.records.data(),
        ends: match size {
            RowSize::Variable => batch.records.ends(),
            RowSize::Fixed(_) => &[],
        },
        base: 0,
    }
}

/// Rows that follow each other, with the index of the first.
type Run<'a> = (u64, RowsRef<'a>);

/// A column as a commit will leave it.
#[derive(Debug)]
pub(super) struct ColumnAppend<F: ColumnFormat> {
    /// Where it stands; `len` counts the tail in storage, or `tail` if that is set.
    column: Column<F>,
    /// What takes the place of the tail in storage, after the column was cut.
    tail: Option<Rows>,
    new: Vec<NewRows<F>>,
    /// Chunks that come encoded, and nothing else then.
    encoded: Option<EncodedRows<F>>,
    cut: Option<Cut>,
}

impl<F: ColumnFormat> ColumnAppend<F> {
    pub(super) fn new(column: Column<F>) -> Self {
        Self {
            column,
            tail: None,
            new: Vec::new(),
            encoded: None,
            cut: None,
        }
    }

    pub(super) fn format(&self) -> &F {
        &self.column.format
    }

    fn row_size(&self) -> RowSize {
        self.column.layout().row_size()
    }

    /// The number of rows with the new ones.
    pub(super) fn len(&self) -> u64 {
        match &self.encoded {
            Some(encoded) => encoded.len,
            None => self.column.len + self.new.iter().map(NewRows::count).sum::<u64>(),
        }
    }

    pub(super) fn push(&mut self, rows: NewRows<F>) -> Result<()> {
        self.check_not_encoded()?;
        if rows.count() > 0 {
            self.new.push(rows);
        }
        Ok(())
    }

    /// Takes chunks as they are. The column ends where they begin, or in the first of them, whose
    /// rows they then repeat.
    pub(super) fn push_encoded(&mut self, encoded: EncodedRows<F>) -> Result<()> {
        self.check_not_encoded()?;
        let has_tail = self.column.len != self.column.stored;
        if has_tail || !self.new.is_empty() || self.cut.is_some() {
            let message = "the series has records that did not come encoded";
            return Err(unfitting(message));
        }
        let fits = encoded.format.encodes_like(&self.column.format);
        if !fits || encoded.len < self.column.len {
            let message = "the encoded records do not fit the arrays of the series";
            return Err(unfitting(message));
        }
        self.encoded = Some(encoded);
        Ok(())
    }

    fn check_not_encoded(&self) -> Result<()> {
        match &self.encoded {
            Some(_) => Err(unfitting("encoded records are not alone in their commit")),
            None => Ok(()),
        }
    }

    /// Where the last of the first `len` rows of a column of ends ends.
    pub(super) fn read_end<S: ColumnSink<Format = F>>(&self, sink: &S, len: u64) -> Result<u64> {
        let Some(row) = len.checked_sub(1) else {
            return Ok(0);
        };
        let size = self.row_size();
        let tail = self.tail.as_ref();
        let tail = tail.map(|tail| (self.column.stored, tail.as_rows_ref()));
        let mut runs = tail.into_iter().chain(self.new_runs());
        let run = runs.find(|(first, rows)| (*first..first + rows.count).contains(&row));
        let bytes = match run {
            Some((first, rows)) => rows.slice(row - first, row + 1 - first, size).data.to_vec(),
            None => read_rows(&sink.open(&self.column)?, row..row + 1)?,
        };
        Ok(bytes
            .first_chunk()
            .map_or(0, |end| u64::from_le_bytes(*end)))
    }

    /// Cuts the column to its first `len` rows.
    pub(super) fn truncate<S: ColumnSink<Format = F>>(&mut self, sink: &S, len: u64) -> Result<()> {
        self.check_not_encoded()?;
        let size = self.row_size();
        let mut left = len.saturating_sub(self.column.len);
        for new in std::mem::take(&mut self.new) {
            let kept = left.min(new.count());
            left -= kept;
            if kept == new.count() {
                self.new.push(new);
            } else if kept > 0 {
                let part = new.as_rows_ref(size).slice(0, kept, size).to_rows();
                self.new.push(NewRows::Owned(part));
            }
        }
        if len >= self.column.len {
            return Ok(());
        }
        let tail = self.take_tail(&sink.open(&self.column)?)?;
        let kept = len.saturating_sub(self.column.stored);
        self.tail = Some(tail.as_rows_ref().slice(0, kept, size).to_rows());
        let cut = self.cut.get_or_insert(Cut {
            len,
            stored_before: self.column.stored,
        });
        cut.len = cut.len.min(len);
        self.column.len = len;
        self.column.stored = self.column.stored.min(len);
        Ok(())
    }

    /// The rows of the tail.
    fn take_tail(&mut self, source: &impl ColumnSource<Format = F>) -> Result<Rows> {
        match self.tail.take() {
            Some(tail) => Ok(tail),
            None if self.column.len == self.column.stored => Ok(Rows::default()),
            None => Ok(source.read_tail()?.1),
        }
    }

    fn new_runs(&self) -> impl Iterator<Item = Run<'_>> {
        let size = self.row_size();
        self.new.iter().scan(self.column.len, move |next, new| {
            let run = (*next, new.as_rows_ref(size));
            *next += new.count();
            Some(run)
        })
    }

    /// Writes full chunks, and the rows after them to the tail. With `fold`, these are written as an
    /// unfinished chunk.
    pub(super) fn finish<S>(mut self, sink: &mut S, fold: bool) -> Result<Column<F>>
    where
        S: ColumnSink<Format = F>,
    {
        let len = self.len();
        let stored = match (&self.encoded, fold) {
            (None, false) => {
                let new_bytes = self.new_runs().map(|(_, rows)| rows.data.len()).sum();
                let format = &self.column.format;
                format.stored_of(len, self.column.stored, new_bytes)
            }
            _ => len,
        };
        if let Some(encoded) = self.encoded.take() {
            let source = sink.open(&self.column)?;
            sink.set_stored(&source, stored, None)?;
            for (indices, chunk) in &encoded.chunks {
                sink.write_chunk(&source, indices, chunk, true)?;
            }
        } else if stored == self.column.stored {
            self.write_tail(sink)?;
        } else {
            self.write_rows(sink, stored)?;
        }
        Ok(Column {
            stored,
            len,
            ..self.column
        })
    }

    /// Writes the new rows after those of the tail.
    fn write_tail(&self, sink: &mut impl ColumnSink<Format = F>) -> Result<()> {
        let column = &self.column;
        let mut runs: Vec<Run<'_>> = self.new_runs().collect();
        if let Some(tail) = &self.tail {
            sink.clear_tail(column);
            runs.insert(0, (column.stored, tail.as_rows_ref()));
        }
        if self.cut.is_some() {
            let source = sink.open(column)?;
            sink.set_stored(&source, column.stored, self.cut)?;
        }
        append_tail(sink, column, &runs);
        Ok(())
    }

    /// Writes all rows before `stored`, and the others to the tail.
    fn write_rows<S>(&mut self, sink: &mut S, stored: u64) -> Result<()>
    where
        S: ColumnSink<Format = F>,
    {
        let source = sink.open(&self.column)?;
        let had_tail = self.tail.is_some() || self.column.len > self.column.stored;
        let tail = self.take_tail(&source)?;
        let column = &self.column;
        let chunk_rows = column.layout().chunk_rows();
        let first = match column.format.writes_chunks() {
            true => column.stored / chunk_rows * chunk_rows,
            false => column.stored,
        };
        let unfinished = match first..column.stored {
            none if none.is_empty() => Rows::default(),
            rows => read_all(&source, rows)?,
        };
        let old = [
            (first, unfinished.as_rows_ref()),
            (column.stored, tail.as_rows_ref()),
        ];
        let mut runs: Vec<Run<'_>> = old.into_iter().chain(self.new_runs()).collect();
        runs.retain(|(_, rows)| rows.count > 0);
        runs.iter()
            .try_for_each(|(_, rows)| column.format.check(*rows))?;

        if had_tail {
            sink.clear_tail(column);
        }
        sink.set_stored(&source, stored, self.cut)?;
        if column.format.writes_chunks() {
            self.write_chunks(sink, &source, &runs, first..stored)?;
        } else {
            for (first, rows) in &runs {
                let count = rows.count.min(stored.saturating_sub(*first));
                let rows = rows.slice(0, count, self.row_size());
                sink.write_rows(&source, *first, rows)?;
            }
        }
        let rest = gather(&runs, stored..u64::MAX, self.row_size());
        append_tail(sink, column, &[(stored, rest.as_rows_ref())]);
        Ok(())
    }

    /// Writes the chunks with the rows of `range`, which begins where a chunk does.
    fn write_chunks<S>(
        &self,
        sink: &mut S,
        source: &S::Source,
        runs: &[Run<'_>],
        range: Range<u64>,
    ) -> Result<()>
    where
        S: ColumnSink<Format = F>,
    {
        let column = &self.column;
        let chunk_rows = column.layout().chunk_rows();
        for chunk in range.start / chunk_rows..range.end.div_ceil(chunk_rows) {
            let first = chunk * chunk_rows;
            // A chunk that was there before a cut holds rows that are not repeated.
            let repeats = self.cut.is_none_or(|cut| first >= cut.stored_before);
            let row = column.layout().grid().chunks_in_row(chunk);
            let prepared = |new| NewRows::prepared(new, &column.format, chunk);
            if let Some(chunks) = self.new.iter().find_map(prepared) {
                for (indices, chunk) in row.zip(chunks) {
                    sink.write_chunk(source, &indices, chunk, repeats)?;
                }
                continue;
            }
            let rows = first..range.end.min(first + chunk_rows);
            let rows = gather(runs, rows, self.row_size());
            for indices in row {
                sink.encode_chunk(source, &indices, rows.as_rows_ref(), repeats)?;
            }
        }
        Ok(())
    }
}

fn gather<'a>(runs: &[Run<'a>], range: Range<u64>, size: RowSize) -> Gathered<'a> {
    Gathered::new(runs.iter().copied(), range, size)
}

/// Adds runs to the tail, each as a frame.
fn append_tail<S: ColumnSink>(sink: &mut S, column: &Column<S::Format>, runs: &[Run<'_>]) {
    let mut frames = Vec::new();
    for (first, rows) in runs.iter().filter(|(_, rows)| rows.count > 0) {
        column.layout().write_frame(&mut frames, *first, *rows);
    }
    if !frames.is_empty() {
        sink.append_tail(column, frames);
    }
}

fn unfitting(message: &str) -> Error {
    Error::new(ErrorKind::Internal, "commit", message)
}
