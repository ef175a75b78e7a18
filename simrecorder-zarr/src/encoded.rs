//! Series as they are stored, on their way from one recording into another: what a schema says
//! about the arrays they came from, and their chunks, which nobody decodes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use serde_json::{Map, Value as Json};
use simrecorder_core::backend::RowSize;
use simrecorder_core::{Encoded, Error, ErrorKind, Result};

use crate::column::{Column, get};
use crate::layout::Layout;
use crate::metadata::Document;
use crate::storage::{Change as StorageChange, Storage};

/// How the arrays of a series are cut into chunks and encoded: what a schema notes for a copy.
#[derive(Debug)]
pub(crate) struct SeriesEncoding {
    elements: Map<String, Json>,
    ends: Option<Map<String, Json>>,
}

impl SeriesEncoding {
    pub(crate) fn of(elements: &Document, ends: Option<&Document>) -> Self {
        Self {
            elements: elements.encoding(),
            ends: ends.map(Document::encoding),
        }
    }

    /// Makes the array with the elements of a new series like the one of the original.
    pub(crate) fn apply_to_elements(&self, document: &mut Document) {
        document.set_encoding(&self.elements);
    }

    /// The same for the array that says where records end.
    pub(crate) fn apply_to_ends(&self, document: &mut Document) {
        if let Some(ends) = &self.ends {
            document.set_encoding(ends);
        }
    }
}

/// The columns of consecutive records: what [`Encoded`] holds.
#[derive(Debug)]
pub(crate) enum EncodedColumns {
    One(EncodedColumn),
    Two {
        ends: EncodedColumn,
        items: EncodedColumn,
    },
}

impl EncodedColumns {
    fn bytes(&self) -> usize {
        match self {
            Self::One(column) => column.bytes(),
            Self::Two { ends, items } => ends.bytes() + items.bytes(),
        }
    }

    fn into_encoded(self, records: u64) -> Encoded {
        Encoded::new(records, self.bytes(), self)
    }

    /// Whether columns with these layouts, that of the elements first, take the chunks.
    pub(crate) fn fit(&self, elements: &Layout, ends: Option<&Layout>) -> bool {
        match (self, ends) {
            (Self::One(column), None) => column.fits(elements),
            (Self::Two { ends, items }, Some(layout)) => ends.fits(layout) && items.fits(elements),
            _ => false,
        }
    }
}

/// Rows of a column: the chunks in which they lie, whole. In the first and the last one there
/// may be rows before and behind them.
#[derive(Debug)]
pub(crate) struct EncodedColumn {
    layout: Arc<Layout>,
    /// How many rows the column has with these.
    pub(crate) rows: u64,
    /// By their indices; those that were never written are missing.
    chunks: Vec<(Vec<u64>, Bytes)>,
}

/// What a chunk counts at least, and one that is looked up in vain: it touches a page, and looking
/// for it takes time.
const PAGE: usize = 4096;

/// A row of chunks with more is not copied as it is: it is held whole.
const MAX_ROW_CHUNKS: u64 = 1 << 20;

impl EncodedColumn {
    fn new(column: &Column, rows: u64, mut chunks: Vec<(Vec<u64>, Bytes)>) -> Self {
        let behind = rows.div_ceil(column.layout.chunk_rows());
        chunks.retain(|(indices, _)| indices.first().is_some_and(|&row| row < behind));
        let layout = Arc::clone(&column.layout);
        Self {
            layout,
            rows,
            chunks,
        }
    }

    fn bytes(&self) -> usize {
        let sizes = self.chunks.iter().map(|(_, bytes)| bytes.len().max(PAGE));
        sizes.sum()
    }

    pub(crate) fn fits(&self, layout: &Layout) -> bool {
        self.layout.encodes_like(layout)
    }

    /// What writes the chunks into the array at `path`, which has the layout `layout`.
    pub(crate) fn into_changes(self, path: &str, layout: &Layout) -> Vec<StorageChange> {
        let chunks = self.chunks.into_iter().map(|(indices, value)| {
            let key = layout.chunk_entry(path, &indices);
            StorageChange::SetChunk { key, value }
        });
        chunks.collect()
    }
}

/// Reads rows of chunks of a column, one after the other.
struct ChunkReader<'a> {
    column: &'a Column,
    storage: &'a dyn Storage,
    /// The row of chunks that comes next, and the one behind the last.
    next: u64,
    end: u64,
    /// How many are read at a time.
    step: u64,
    bytes: usize,
    chunks: Vec<(Vec<u64>, Bytes)>,
}

impl<'a> ChunkReader<'a> {
    /// A reader of the chunks with the rows of `rows`, for parts of about `max_bytes`.
    fn new(
        column: &'a Column,
        storage: &'a dyn Storage,
        rows: Range<u64>,
        max_bytes: usize,
    ) -> Self {
        let chunk_rows = column.layout.chunk_rows();
        let step = match column.layout.row_size() {
            RowSize::Variable => 1,
            RowSize::Fixed(size) => {
                let bytes = (size.max(1) as u64).saturating_mul(chunk_rows);
                (max_bytes as u64 / bytes).clamp(1, 64)
            }
        };
        Self {
            column,
            storage,
            next: rows.start / chunk_rows,
            end: match rows.is_empty() || column.layout.grid.row_len() == 0 {
                true => 0,
                false => rows.end.div_ceil(chunk_rows),
            },
            step,
            bytes: 0,
            chunks: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// How many rows of the column are in chunks that were read.
    fn rows(&self) -> u64 {
        match self.is_done() {
            true => u64::MAX,
            false => self.next.saturating_mul(self.column.layout.chunk_rows()),
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let until = self.end.min(self.next + self.step);
        let read = (self.next..until)
            .into_par_iter()
            .map(|row| read_row(self.column, self.storage, row))
            .collect::<Result<Vec<_>>>()?;
        let looked_up = (until - self.next) * self.column.layout.grid.row_len();
        self.next = until;
        let looked_up = usize::try_from(looked_up).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(looked_up.saturating_mul(PAGE));
        for (indices, bytes) in read.into_iter().flatten() {
            self.bytes += bytes.len();
            self.chunks.push((indices, bytes));
        }
        Ok(())
    }
}

/// The chunks of a column with one index along the first axis.
fn read_row(column: &Column, storage: &dyn Storage, row: u64) -> Result<Vec<(Vec<u64>, Bytes)>> {
    let chunks = column.layout.grid.row().map(|rest| {
        let indices: Vec<u64> = std::iter::once(row).chain(rest).collect();
        let entry = column.layout.chunk_entry(&column.path, &indices);
        Ok(get(storage, &entry)?.map(|bytes| (indices, bytes)))
    });
    chunks.filter_map(Result::transpose).collect()
}

/// The rows of `range` that are in chunks, up to about `max_bytes`; the unfinished last chunk
/// only if no row behind it is wanted.
pub(crate) fn read_one(
    column: &Column,
    storage: &dyn Storage,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Option<Encoded>> {
    let chunk_rows = column.layout.chunk_rows();
    let end = match range.end > column.stored {
        true => column.stored / chunk_rows * chunk_rows,
        false => range.end,
    };
    if range.start >= end || column.layout.grid.row_len() > MAX_ROW_CHUNKS {
        return Ok(None);
    }
    let mut reader = ChunkReader::new(column, storage, range.start..end, max_bytes);
    // At least one row of chunks, however few bytes are wanted.
    while !reader.is_done() && (reader.bytes < max_bytes || reader.rows() <= range.start) {
        reader.read_more()?;
    }
    let rows = end.min(reader.rows());
    column.check_uncut(storage, rows)?;
    let part = EncodedColumn::new(column, rows, reader.chunks);
    let records = rows - range.start;
    Ok(Some(EncodedColumns::One(part).into_encoded(records)))
}

/// The same for two columns. `stops` says where the records of `range` end, counted in items,
/// the first of which has the index `first`.
pub(crate) fn read_two(
    ends: &Column,
    items: &Column,
    storage: &dyn Storage,
    range: Range<u64>,
    (first, stops): (u64, &[u64]),
    max_bytes: usize,
) -> Result<Option<Encoded>> {
    let in_chunks = (ends.stored.saturating_sub(range.start)).min(stops.len() as u64) as usize;
    let stops = &stops[..in_chunks];
    let stops = &stops[..stops.partition_point(|&stop| stop <= items.stored)];
    let Some(&last) = stops.last() else {
        return Ok(None);
    };
    if items.layout.grid.row_len() > MAX_ROW_CHUNKS {
        return Ok(None);
    }
    let mut reader = ChunkReader::new(items, storage, first..last, max_bytes);
    // A record may be larger than that. One that is far larger may be damage, and is read as one.
    let most = max_bytes.max(16 * PAGE).saturating_mul(16);
    let whole = |reader: &ChunkReader<'_>| stops.partition_point(|&stop| stop <= reader.rows());
    while !reader.is_done()
        && (reader.bytes < max_bytes || whole(&reader) == 0 && reader.bytes < most)
    {
        reader.read_more()?;
    }
    let count = whole(&reader);
    let Some(&item_rows) = stops[..count].last() else {
        return Ok(None);
    };
    let rows = range.start + count as u64;
    // The rest is in tails. An unfinished chunk alone is better read with them.
    let fills = |column: &Column, from: u64, to: u64| {
        let chunk_rows = column.layout.chunk_rows();
        from / chunk_rows < to / chunk_rows
    };
    let is_last = count == stops.len() && rows < range.end;
    if is_last && !fills(ends, range.start, rows) && !fills(items, first, item_rows) {
        return Ok(None);
    }
    let mut ends_reader = ChunkReader::new(ends, storage, range.start..rows, max_bytes);
    while !ends_reader.is_done() {
        ends_reader.read_more()?;
    }
    items.check_uncut(storage, item_rows)?;
    ends.check_uncut(storage, rows)?;
    let columns = EncodedColumns::Two {
        ends: EncodedColumn::new(ends, rows, ends_reader.chunks),
        items: EncodedColumn::new(items, item_rows, reader.chunks),
    };
    Ok(Some(columns.into_encoded(count as u64)))
}

/// How many records of two columns are looked at for a part of about `max_bytes`.
pub(crate) fn most_records(ends: &Column, max_bytes: usize) -> u64 {
    let chunks = (max_bytes / PAGE).max(1) as u64;
    ends.layout.chunk_rows().saturating_mul(chunks).min(1 << 20)
}

/// The error of encoded records that a series does not take.
pub(crate) fn unfitting(message: &str) -> Error {
    Error::new(ErrorKind::Internal, "commit", message)
}
