//! Appending rows to a column: writing some of them as chunks, and the others to the tail.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::columns::column::{Column, ColumnFormat};
use crate::backend::columns::read::{read_all, read_rows};
use crate::backend::columns::sink::{ColumnSink, Cut};
use crate::backend::columns::source::ColumnSource;
use crate::backend::columns::tiers::{MergeBytes, Tiers};
use crate::backend::return_freed;
use crate::backend::rows::{FrameSize, Gathered, RowSize, Rows, RowsRef};
use crate::error::{Error, ErrorKind, Result};
use crate::store::commit::Batch;

/// How many bytes of chunks are encoded before the memory that the codecs freed is returned to the system.
const TRIM_BYTES: usize = 128 << 20;

/// The encoded chunks of a batch, by their index along the first axis.
#[derive(Debug)]
pub(super) struct PreparedChunks<F: ColumnFormat> {
    format: Arc<F>,
    chunks: HashMap<u64, Vec<F::Chunk>>,
}

impl<F: ColumnFormat> PreparedChunks<F> {
    /// Encodes the chunks that a batch fills by itself, and passes each to `keep`.
    pub(super) fn encode(
        format: Arc<F>,
        batch: &Batch,
        keep: impl Fn(&F, &[u64], F::Chunk) -> Result<F::Chunk>,
    ) -> Result<Self> {
        let layout = format.layout();
        let (chunk_rows, size) = (layout.chunk_rows(), layout.row_size());
        let all = rows_of(batch, batch.records.len(), size);
        let mut chunks = HashMap::new();
        let mut untrimmed = 0_usize;
        let end = batch.start.saturating_add(all.count);
        for chunk in batch.start.div_ceil(chunk_rows)..end / chunk_rows {
            let start = chunk * chunk_rows - batch.start;
            let rows = all.slice(start, start + chunk_rows, size);
            let row = layout.grid.chunks_in_row(chunk);
            let encoded = row.map(|indices| {
                let chunk = format.encode(rows, &indices)?;
                let chunk = keep(&format, &indices, chunk)?;
                untrimmed += layout.chunk_bytes();
                if untrimmed >= TRIM_BYTES {
                    return_freed();
                    untrimmed = 0;
                }
                Ok(chunk)
            });
            chunks.insert(chunk, encoded.collect::<Result<_>>()?);
        }
        Ok(Self { format, chunks })
    }
}

/// Rows of a column in whole chunks, which were encoded for another column. The first and the last chunk may contain
/// other rows before and after them.
#[derive(Debug)]
pub struct EncodedRows<F: ColumnFormat> {
    /// How the chunks are encoded.
    pub format: Arc<F>,
    /// The number of rows of the column including these.
    pub len: u64,
    /// The chunks by their indices; those that were never written are missing.
    pub chunks: Vec<(Vec<u64>, F::Chunk)>,
}

/// Rows that are new in a commit.
#[derive(Debug)]
pub(super) enum NewRows<F: ColumnFormat> {
    /// The records of a batch, or the items in them: the first `count` rows.
    Batch {
        batch: Arc<Batch>,
        count: u64,
        prepared: Option<Box<PreparedChunks<F>>>,
    },
    Owned(Rows),
}

impl<F: ColumnFormat> NewRows<F> {
    fn as_rows_ref(&self, size: RowSize) -> RowsRef<'_> {
        match self {
            Self::Batch { batch, count, .. } => rows_of(batch, *count, size),
            Self::Owned(rows) => rows.as_rows_ref(),
        }
    }

    fn count(&self) -> u64 {
        self.as_rows_ref(RowSize::Variable).count
    }

    /// The chunks of a row of chunks, if they were encoded ahead in this format.
    fn prepared(&self, format: &Arc<F>, chunk: u64) -> Option<&[F::Chunk]> {
        let Self::Batch { prepared, .. } = self else {
            return None;
        };
        let prepared = prepared.as_ref()?;
        let fits = Arc::ptr_eq(&prepared.format, format) || format.encodes_like(&prepared.format);
        prepared.chunks.get(&chunk).filter(|_| fits).map(|it| &**it)
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

/// Consecutive rows, with the index of the first.
type Run<'a> = (u64, RowsRef<'a>);

/// A column as a commit will leave it.
#[derive(Debug)]
pub(super) struct ColumnAppend<F: ColumnFormat> {
    /// The column before the new rows; if it was cut, without its tail.
    column: Column<F>,
    /// New rows. If the column was cut, the remaining rows of the tail are the first of them.
    new: Vec<NewRows<F>>,
    /// Encoded chunks. Then there are no other new rows.
    encoded: Option<EncodedRows<F>>,
    cut: Option<Cut>,
    /// Whether rows that were stored before are written in another format.
    is_resized: bool,
}

impl<F: ColumnFormat> ColumnAppend<F> {
    pub(super) fn new(column: Column<F>) -> Self {
        Self {
            column,
            new: Vec::new(),
            encoded: None,
            cut: None,
            is_resized: false,
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

    /// The new rows, with the index of the first of each run.
    fn new_runs(&self) -> impl Iterator<Item = Run<'_>> {
        let size = self.row_size();
        self.new.iter().scan(self.column.len, move |next, new| {
            let run = (*next, new.as_rows_ref(size));
            *next += run.1.count;
            Some(run)
        })
    }

    pub(super) fn push(&mut self, rows: NewRows<F>) -> Result<()> {
        self.check_not_encoded()?;
        if rows.count() > 0 {
            self.new.push(rows);
        }
        Ok(())
    }

    /// Appends encoded chunks. The column ends where they begin, or within the first of them, which then repeats the
    /// last rows of the column.
    pub(super) fn push_encoded(&mut self, encoded: EncodedRows<F>) -> Result<()> {
        self.check_not_encoded()?;
        let Column { stored, len, .. } = self.column;
        let written = self.column.written();
        if len != stored || !self.new.is_empty() || self.cut.is_some() {
            let message = "the series has records that did not come encoded";
            return Err(unfitting(message));
        }
        let fits = encoded.format.encodes_like(&self.column.format) && encoded.len >= len;
        let resized = self.column.format.resized_like(written, &encoded.format);
        if !fits || resized.is_none() {
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

    /// Reads the last of the first `len` rows of a column of ends.
    pub(super) fn read_end<S: ColumnSink<Format = F>>(&self, sink: &S, len: u64) -> Result<u64> {
        let Some(row) = len.checked_sub(1) else {
            return Ok(0);
        };
        let mut runs = self.new_runs();
        let run = runs.find(|(first, rows)| (*first..first + rows.count).contains(&row));
        let bytes = match run {
            Some((first, rows)) => {
                let row = rows.slice(row - first, row + 1 - first, self.row_size());
                row.data.to_vec()
            }
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
                let part = new.as_rows_ref(size).slice(0, kept, size);
                self.new.push(NewRows::Owned(part.to_rows()));
            }
        }
        if let Some(cut) = &mut self.cut {
            cut.len = cut.len.min(len);
        }
        if len >= self.column.len {
            return Ok(());
        }
        let Column { stored, filled, .. } = self.column;
        let tail = self.read_tail(&sink.open(&self.column)?)?;
        self.cut.get_or_insert(Cut {
            len,
            stored_before: stored,
            filled_before: filled,
        });
        self.column.filled = filled.min(len);
        self.column.stored = stored.min(len);
        self.column.len = self.column.stored;
        self.column.frames = Arc::default();
        let kept = tail.as_rows_ref().slice(0, len - self.column.stored, size);
        self.push(NewRows::Owned(kept.to_rows()))
    }

    fn read_tail(&self, source: &impl ColumnSource) -> Result<Rows> {
        match self.column.len == self.column.stored {
            true => Ok(Rows::default()),
            false => Ok(source.read_tail()?.1),
        }
    }

    /// Writes full chunks, and the rows after them to the tail; with `fold`, writes these as an unfinished chunk.
    /// `merges` is what the commit may still merge.
    pub(super) fn finish<S: ColumnSink<Format = F>>(
        mut self,
        sink: &mut S,
        fold: bool,
        merges: &mut MergeBytes,
    ) -> Result<Column<F>> {
        let len = self.len();
        let new_bytes = self.new_runs().map(|(_, rows)| rows.data.len()).sum();
        let before = self.column.stored;
        let stored = match fold || self.encoded.is_some() {
            true => len,
            false => self.column.format.stored_of(len, before, new_bytes),
        };
        let frames = if let Some(encoded) = self.encoded.take() {
            self.write_encoded(sink, &encoded)?;
            Vec::new()
        } else if stored == before {
            self.append_tail(sink, merges)?
        } else {
            self.write_rows(sink, stored)?
        };
        Ok(Column {
            stored,
            len,
            frames: frames.into(),
            ..self.column
        })
    }

    fn write_encoded<S: ColumnSink<Format = F>>(
        &mut self,
        sink: &mut S,
        encoded: &EncodedRows<F>,
    ) -> Result<()> {
        let (written, format) = (self.column.written(), &self.column.format);
        if let Some(resized) = format.resized_like(written, &encoded.format) {
            self.resize(resized);
        }
        let array = sink.open(&self.column)?;
        sink.set_stored(&array, encoded.len, None)?;
        for (indices, chunk) in &encoded.chunks {
            let repeats = self.repeats(indices.first().copied().unwrap_or(0));
            sink.write_chunk(&array, indices, chunk, repeats)?;
        }
        Ok(())
    }

    fn resize(&mut self, format: Arc<F>) {
        self.is_resized = self.column.stored > 0 && !Arc::ptr_eq(&format, &self.column.format);
        self.column.format = format;
    }

    /// Whether a new chunk contains the same rows as before, in the same format.
    fn repeats(&self, chunk: u64) -> bool {
        let first = chunk.saturating_mul(self.column.layout().chunk_rows());
        let is_cut = self.cut.is_some_and(|cut| first < cut.stored_before);
        !(is_cut || self.is_resized && chunk == 0)
    }

    /// Writes the new rows to the tail, and may merge them with its last frames. Returns the frames of the tail.
    fn append_tail<S: ColumnSink<Format = F>>(
        &self,
        sink: &mut S,
        merges: &mut MergeBytes,
    ) -> Result<Vec<FrameSize>> {
        let column = &self.column;
        if self.cut.is_some() {
            sink.clear_tail(column);
            let array = sink.open(column)?;
            sink.set_stored(&array, column.stored, self.cut)?;
        }
        let new = self.new.iter().map(NewRows::count);
        let mut tiers = Tiers::new(
            &column.frames,
            new.clone(),
            merges.frames_before_merging(&column.path),
        );
        let mut replaced = &column.frames[tiers.kept..];
        let mut old = Rows::default();
        if !replaced.is_empty() {
            let first = column.len - replaced.iter().map(|frame| frame.rows).sum::<u64>();
            let array = sink.open(column)?;
            match array.read_tail_end(first, bytes_of(replaced)) {
                Ok(rows) => old = rows,
                // A damaged frame is an error only for reads of its rows.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tiers = Tiers::unmerged(&column.frames, new);
                    replaced = &[];
                }
                Err(error) => return Err(error),
            }
        }
        let first = column.len - old.count;
        let runs = [(first, old.as_rows_ref())].into_iter();
        let runs: Vec<Run<'_>> = runs.chain(self.new_runs()).collect();
        let mut frames = Vec::with_capacity(tiers.kept + tiers.written.len());
        frames.extend_from_slice(&column.frames[..tiers.kept]);
        let written = write_frames(column, &mut frames, &runs, tiers.written);
        let dropped = bytes_of(replaced);
        merges.take(dropped);
        match dropped {
            0 if written.is_empty() => {}
            0 => sink.append_tail(column, written),
            _ => sink.replace_tail_end(column, dropped, written),
        }
        Ok(frames)
    }

    /// Writes all rows before `stored`, and the others to the tail. Returns the frames of the tail.
    fn write_rows<S: ColumnSink<Format = F>>(
        &mut self,
        sink: &mut S,
        stored: u64,
    ) -> Result<Vec<FrameSize>> {
        let array = sink.open(&self.column)?;
        let tail = self.read_tail(&array)?;
        let column = &self.column;
        let (size, chunk_rows) = (self.row_size(), column.layout().chunk_rows());
        let unfinished = match column.format.writes_chunks() {
            true => column.stored / chunk_rows * chunk_rows..column.stored,
            false => column.stored..column.stored,
        };
        let first = unfinished.start;
        let unfinished = read_all(&array, unfinished)?;
        self.resize(column.format.resized(column.written(), stored));
        let (column, array) = (&self.column, sink.open(&self.column)?);
        let old = [(first, &unfinished), (column.stored, &tail)];
        let old = old.map(|(first, rows)| (first, rows.as_rows_ref()));
        let mut runs: Vec<Run<'_>> = old.into_iter().chain(self.new_runs()).collect();
        runs.retain(|(_, rows)| rows.count > 0);
        let check = |(_, rows): &Run<'_>| column.format.check(*rows);
        runs.iter().try_for_each(check)?;

        if self.cut.is_some() || tail.count > 0 {
            sink.clear_tail(column);
        }
        sink.set_stored(&array, stored, self.cut)?;
        if column.format.writes_chunks() {
            self.write_chunks(sink, &array, &runs, first..stored)?;
        } else {
            for (first, rows) in &runs {
                let count = rows.count.min(stored.saturating_sub(*first));
                sink.write_rows(&array, *first, rows.slice(0, count, size))?;
            }
        }
        let others = Gathered::new(runs.iter().copied(), stored..u64::MAX, size);
        let others = (stored, others.as_rows_ref());
        let mut frames = Vec::new();
        let written = write_frames(column, &mut frames, &[others], [others.1.count]);
        if !written.is_empty() {
            sink.append_tail(column, written);
        }
        Ok(frames)
    }

    /// Writes the chunks with the rows of `range`, which begins with a chunk.
    fn write_chunks<S: ColumnSink<Format = F>>(
        &self,
        sink: &mut S,
        array: &S::Source,
        runs: &[Run<'_>],
        range: Range<u64>,
    ) -> Result<()> {
        let Column { format, .. } = &self.column;
        let layout = format.layout();
        let chunk_rows = layout.chunk_rows();
        for chunk in range.start / chunk_rows..range.end.div_ceil(chunk_rows) {
            let first = chunk * chunk_rows;
            let repeats = self.repeats(chunk);
            let row = layout.grid.chunks_in_row(chunk);
            let mut new = self.new.iter();
            if let Some(chunks) = new.find_map(|new| new.prepared(format, chunk)) {
                for (indices, chunk) in row.zip(chunks) {
                    sink.write_chunk(array, &indices, chunk, repeats)?;
                }
                continue;
            }
            let rows = first..range.end.min(first + chunk_rows);
            let rows = Gathered::new(runs.iter().copied(), rows, layout.row_size());
            for indices in row {
                sink.encode_chunk(array, &indices, rows.as_rows_ref(), repeats)?;
            }
        }
        Ok(())
    }
}

/// Writes frames with the given numbers of rows from runs that begin with the first frame, and adds their sizes to
/// `sizes`.
fn write_frames<'a, F: ColumnFormat>(
    column: &Column<F>,
    sizes: &mut Vec<FrameSize>,
    runs: &[Run<'a>],
    frames: impl IntoIterator<Item = u64>,
) -> Vec<u8> {
    let layout = column.layout();
    let mut written = Vec::new();
    let mut next = runs.first().map_or(0, |(first, _)| *first);
    for rows in frames.into_iter().filter(|&rows| rows > 0) {
        let (first, start) = (next, written.len());
        next += rows;
        let frame = Gathered::new(runs.iter().copied(), first..next, layout.row_size());
        layout.write_frame(&mut written, first, frame.as_rows_ref());
        let bytes = (written.len() - start) as u64;
        sizes.push(FrameSize { rows, bytes });
    }
    // A commit keeps those of all its series until it is written.
    written.shrink_to_fit();
    written
}

fn bytes_of(frames: &[FrameSize]) -> u64 {
    frames.iter().map(|frame| frame.bytes).sum()
}

fn unfitting(message: &str) -> Error {
    Error::new(ErrorKind::Internal, "commit", message)
}
