//! Rows on their way into a column: what becomes chunks, what becomes tail.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::backend::{Gathered, RowSize, Rows, RowsRef, write_frame};
use simrecorder_core::{Batch, Error, ErrorKind, Result};

use crate::columns::column::Column;
use crate::columns::encoded::{EncodedColumn, unfitting};
use crate::format::layout::Layout;
use crate::format::metadata::Document;
use crate::format::node_path::metadata_entry;
use crate::storage::{Change as StorageChange, Storage};

/// The encoded chunks of a batch, by their index along the first axis: what
/// `DataStore::prepare` makes.
#[derive(Debug)]
pub(crate) struct PreparedChunks {
    /// How they are laid out.
    layout: Arc<Layout>,
    chunks: HashMap<u64, Vec<Bytes>>,
}

/// Rows that are new in this commit.
#[derive(Debug)]
pub(crate) struct NewRows {
    source: Source,
    prepared: Option<Box<PreparedChunks>>,
}

#[derive(Debug)]
enum Source {
    /// The records of a batch, or the items in them: `count` rows.
    Batch {
        batch: Arc<Batch>,
        count: u64,
    },
    Owned(Rows),
}

impl NewRows {
    pub(crate) fn of_batch(
        batch: Arc<Batch>,
        count: u64,
        prepared: Option<Box<PreparedChunks>>,
    ) -> Self {
        Self {
            source: Source::Batch { batch, count },
            prepared,
        }
    }

    pub(crate) fn owned(rows: Rows) -> Self {
        Self {
            source: Source::Owned(rows),
            prepared: None,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match &self.source {
            Source::Batch { count, .. } => *count,
            Source::Owned(rows) => rows.count,
        }
    }

    fn as_rows_ref(&self, layout: &Layout) -> RowsRef<'_> {
        match &self.source {
            Source::Owned(rows) => rows.as_rows_ref(),
            Source::Batch { batch, count } => RowsRef {
                count: *count,
                data: batch.records.data(),
                ends: match layout.row_size() {
                    RowSize::Variable => batch.records.ends(),
                    RowSize::Fixed(_) => &[],
                },
                base: 0,
            },
        }
    }
}

/// A column as a commit will leave it.
#[derive(Debug)]
pub(crate) struct ColumnAppend {
    /// Where it stands; `rows` counts the tail in storage, or `tail` if that is set.
    pub(crate) column: Column,
    /// What takes the place of the tail in storage, after the column was cut.
    tail: Option<Rows>,
    new: Vec<NewRows>,
    /// Chunks that come encoded, and nothing else then.
    encoded: Option<EncodedColumn>,
    /// The least number of rows that the column was cut to, if it was.
    cut: Option<u64>,
    /// How many rows were in chunks before it was cut.
    stored_before: u64,
}

/// A cut removes no more chunks than this, each of which is a change of its own.
const MAX_CUT_CHUNKS: u64 = 1 << 24;

/// The outcome for one column.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) changes: Vec<StorageChange>,
    /// What the metadata must say, if it changes.
    pub(crate) rows: Option<StoredRows>,
}

/// What the metadata of a column says about its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredRows {
    stored: u64,
    cut: Option<u64>,
}

impl StoredRows {
    pub(crate) fn write_to(self, document: &mut Document) {
        document.set_rows(self.stored);
        if let Some(rows) = self.cut {
            document.add_cut(rows);
        }
    }
}

impl ColumnAppend {
    pub(crate) fn new(column: Column) -> Self {
        Self {
            stored_before: column.stored,
            column,
            tail: None,
            new: Vec::new(),
            encoded: None,
            cut: None,
        }
    }

    /// The number of rows with the new ones.
    pub(crate) fn total(&self) -> u64 {
        match &self.encoded {
            Some(encoded) => encoded.rows,
            None => self.column.rows + self.new.iter().map(NewRows::count).sum::<u64>(),
        }
    }

    pub(crate) fn push(&mut self, rows: NewRows) -> Result<()> {
        self.check_not_encoded()?;
        if rows.count() > 0 {
            self.new.push(rows);
        }
        Ok(())
    }

    /// Takes chunks as they are. The column ends where they begin, or in the first of them, whose
    /// rows they then repeat.
    pub(crate) fn push_encoded(&mut self, encoded: EncodedColumn) -> Result<()> {
        self.check_not_encoded()?;
        let has_tail = self.column.rows != self.column.stored;
        if has_tail || !self.new.is_empty() || self.cut.is_some() {
            return Err(unfitting(
                "the series has records that did not come encoded",
            ));
        }
        if !encoded.fits(&self.column.layout) || encoded.rows < self.column.rows {
            return Err(unfitting(
                "the encoded records do not fit the arrays of the series",
            ));
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

    /// The bytes of one row of elements, which must be there.
    pub(crate) fn read_row(&self, storage: &dyn Storage, row: u64) -> Result<Vec<u8>> {
        let layout = &self.column.layout;
        let slice = |rows: RowsRef<'_>, row| rows.slice(row, row + 1, layout.row_size()).to_rows();
        let mut first = self.column.rows;
        for new in &self.new {
            if (first..first + new.count()).contains(&row) {
                return Ok(slice(new.as_rows_ref(layout), row - first).data);
            }
            first += new.count();
        }
        match &self.tail {
            Some(tail) if row >= self.column.stored => {
                Ok(slice(tail.as_rows_ref(), row - self.column.stored).data)
            }
            _ => self.column.read_rows(storage, row..row + 1),
        }
    }

    /// Cuts the column to its first `rows` rows; returns the chunks that go.
    pub(crate) fn truncate(
        &mut self,
        storage: &dyn Storage,
        rows: u64,
    ) -> Result<Vec<StorageChange>> {
        self.check_not_encoded()?;
        let layout = Arc::clone(&self.column.layout);
        let size = layout.row_size();
        if rows >= self.total() {
            return Ok(Vec::new());
        }
        let mut kept = Vec::new();
        let mut left = rows.saturating_sub(self.column.rows);
        for new in std::mem::take(&mut self.new) {
            if new.count() <= left {
                left -= new.count();
                kept.push(new);
            } else if left > 0 {
                let part = new.as_rows_ref(&layout).slice(0, left, size).to_rows();
                kept.push(NewRows::owned(part));
                left = 0;
            }
        }
        self.new = kept;
        if rows >= self.column.rows {
            return Ok(Vec::new());
        }

        let tail = self.current_tail(storage)?;
        let keep = rows.saturating_sub(self.column.stored);
        self.tail = Some(tail.as_rows_ref().slice(0, keep, size).to_rows());
        self.column.rows = rows;
        self.cut = Some(self.cut.map_or(rows, |cut| cut.min(rows)));
        let old = self.column.stored;
        if rows >= old {
            return Ok(Vec::new());
        }
        self.column.stored = rows;
        let chunk_rows = layout.chunk_rows();
        let gone = rows.div_ceil(chunk_rows)..old.div_ceil(chunk_rows);
        let count = (gone.end - gone.start).saturating_mul(layout.grid.row_len());
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MAX_CUT_CHUNKS {
            let message = format!("{count} chunks would go, more than {MAX_CUT_CHUNKS} at once");
            return Err(Error::new(ErrorKind::Unsupported, "commit", message));
        }
        let path = &self.column.path;
        Ok(gone
            .flat_map(|chunk| layout.grid.row().map(move |rest| (chunk, rest)))
            .map(|(chunk, rest)| StorageChange::Erase {
                key: layout.chunk_entry(path, &chunk_indices(chunk, &rest)),
            })
            .collect())
    }

    fn current_tail(&self, storage: &dyn Storage) -> Result<Rows> {
        match &self.tail {
            Some(tail) => Ok(tail.clone()),
            None if self.column.rows == self.column.stored => Ok(Rows::default()),
            None => Ok(self.column.read_tail(storage)?.1),
        }
    }

    /// Makes the changes: full chunks are written, the rest goes to the tail. With `fold`, the
    /// rest is written as an unfinished chunk.
    pub(crate) fn finish(mut self, storage: &dyn Storage, fold: bool) -> Result<(Column, Outcome)> {
        let total = self.total();
        if let Some(encoded) = self.encoded.take() {
            let outcome = Outcome {
                changes: encoded.into_changes(&self.column.path, &self.column.layout),
                rows: Some(StoredRows {
                    stored: total,
                    cut: None,
                }),
            };
            let column = Column {
                stored: total,
                rows: total,
                ..self.column
            };
            return Ok((column, outcome));
        }
        let chunk_rows = self.column.layout.chunk_rows();
        let full = total / chunk_rows * chunk_rows;
        let stored = match fold {
            true => total,
            false => full.max(self.column.stored),
        };
        let mut outcome = Outcome::default();
        let tail = self.column.path.clone();
        if stored == self.column.stored {
            let mut frames = Vec::new();
            let mut first = self.column.rows;
            if let Some(rows) = self.tail.take() {
                outcome.changes.push(StorageChange::ClearTail {
                    array: tail.clone(),
                });
                if rows.count > 0 {
                    write_frame(&mut frames, stored, &rows);
                }
            }
            for new in &self.new {
                let layout = &self.column.layout;
                let rows = layout.tail_rows(new.as_rows_ref(layout));
                write_frame(&mut frames, first, &rows);
                first += new.count();
            }
            if !frames.is_empty() {
                outcome.changes.push(StorageChange::AppendTail {
                    array: tail,
                    bytes: frames.into(),
                });
            }
        } else {
            self.write_chunks(storage, stored, &mut outcome.changes)?;
        }
        if stored != self.column.stored || self.cut.is_some() {
            let cut = self.cut;
            outcome.rows = Some(StoredRows { stored, cut });
        }
        let column = Column {
            stored,
            rows: total,
            cuts: self.column.cuts + usize::from(self.cut.is_some()),
            ..self.column
        };
        Ok((column, outcome))
    }

    /// Writes all rows before `stored` into chunks, and the others as the tail.
    fn write_chunks(
        &self,
        storage: &dyn Storage,
        stored: u64,
        changes: &mut Vec<StorageChange>,
    ) -> Result<()> {
        let Column { layout, path, .. } = &self.column;
        let chunk_rows = layout.chunk_rows();
        let first = self.column.stored / chunk_rows * chunk_rows;
        let mut old = match first == self.column.stored {
            true => Rows::default(),
            false => self.column.read_unfinished_chunk(storage)?,
        };
        let tail = self.current_tail(storage)?;
        old.extend(tail.count, &tail.data, &tail.ends);
        let had_tail = self.tail.is_some() || tail.count > 0;
        drop(tail);

        // All rows from `first` on, as runs with the index of their first.
        let mut runs = vec![(first, old.as_rows_ref(), None)];
        let mut next = first + old.count;
        for new in &self.new {
            runs.push((next, new.as_rows_ref(layout), new.prepared.as_deref()));
            next += new.count();
        }

        for chunk in first / chunk_rows..stored.div_ceil(chunk_rows) {
            let range = chunk * chunk_rows..((chunk + 1) * chunk_rows).min(stored);
            // A chunk that was there before a cut holds records that are not repeated.
            let is_new = !(self.cut.is_some() && chunk * chunk_rows < self.stored_before);
            let prepared = |run: &Run<'_>| {
                let prepared = run.2.filter(|it| Arc::ptr_eq(&it.layout, layout))?;
                prepared.chunks.get(&chunk).cloned()
            };
            let parts = match runs.iter().find_map(prepared) {
                Some(parts) => parts,
                None => encode_chunk(layout, &gather(&runs, range, layout))?,
            };
            changes.extend(layout.grid.row().zip(parts).map(|(rest, value)| {
                let key = layout.chunk_entry(path, &chunk_indices(chunk, &rest));
                match is_new {
                    true => StorageChange::SetChunk { key, value },
                    false => StorageChange::Set { key, value },
                }
            }));
        }
        if had_tail {
            changes.push(StorageChange::ClearTail {
                array: path.clone(),
            });
        }
        if next > stored {
            let rest = gather(&runs, stored..next, layout);
            let mut frame = Vec::new();
            write_frame(&mut frame, stored, &layout.tail_rows(rest.as_rows_ref()));
            changes.push(StorageChange::AppendTail {
                array: path.clone(),
                bytes: frame.into(),
            });
        }
        Ok(())
    }
}

type Run<'a> = (u64, RowsRef<'a>, Option<&'a PreparedChunks>);

fn gather<'a>(runs: &[Run<'a>], range: std::ops::Range<u64>, layout: &Layout) -> Gathered<'a> {
    let runs = runs.iter().map(|(first, rows, _)| (*first, *rows));
    Gathered::new(runs, range, layout.row_size())
}

fn encode_chunk(layout: &Layout, rows: &Gathered<'_>) -> Result<Vec<Bytes>> {
    layout
        .grid
        .row()
        .map(|rest| layout.encode(rows.as_rows_ref(), &rest))
        .collect()
}

fn chunk_indices(chunk: u64, rest: &[u64]) -> Vec<u64> {
    std::iter::once(chunk).chain(rest.iter().copied()).collect()
}

/// Encodes the chunks that a batch fills, whatever stands before and behind them.
pub(crate) fn prepare_chunks(layout: Arc<Layout>, batch: &Batch) -> Result<PreparedChunks> {
    let chunk_rows = layout.chunk_rows();
    let end = batch.start.saturating_add(batch.records.len());
    let all = RowsRef {
        count: batch.records.len(),
        data: batch.records.data(),
        ends: batch.records.ends(),
        base: 0,
    };
    let mut chunks = HashMap::new();
    for chunk in batch.start.div_ceil(chunk_rows)..end / chunk_rows {
        let start = chunk * chunk_rows - batch.start;
        let rows = all.slice(start, start + chunk_rows, layout.row_size());
        chunks.insert(chunk, encode_chunk(&layout, &Gathered::Borrowed(rows))?);
    }
    Ok(PreparedChunks { layout, chunks })
}

/// The change that writes a document.
pub(crate) fn set_document(path: &str, document: &Document) -> StorageChange {
    StorageChange::Set {
        key: metadata_entry(path),
        value: document.to_bytes().into(),
    }
}
