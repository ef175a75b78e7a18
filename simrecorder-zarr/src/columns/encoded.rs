//! Stored series on their way from one recording into another: what a schema says about their
//! arrays, and their chunks, which stay encoded.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use simrecorder_core::Result;
use simrecorder_core::backend::columns::{ColumnFormat, Columns, EncodedRows, read_rows};
use simrecorder_core::backend::{Encoded, RowSize, StoredForm, parallel, read_record_ends};

use crate::columns::reading::{ArrayView, Column, OpenArray, read_column};
use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::Document;
use crate::storage::{Chunk, Storage};

/// How the arrays of a series are divided into chunks and encoded. A schema stores this for a copy.
#[derive(Debug)]
pub(crate) struct SeriesEncoding {
    elements: Map<String, Json>,
    ends: Option<Map<String, Json>>,
}

impl SeriesEncoding {
    /// The encoding in a form, if the form belongs to this backend.
    pub(crate) fn in_form(form: &StoredForm) -> Option<&Self> {
        form.get()
    }

    pub(crate) fn of(formats: &FormatCache, elements: &Document, ends: Option<&Document>) -> Self {
        Self {
            elements: formats.chunk_encoding(elements),
            ends: ends.map(|ends| formats.chunk_encoding(ends)),
        }
    }

    /// Gives the array with the elements of a new series the format of the original.
    pub(crate) fn apply_to_elements(&self, document: &mut Document) {
        document.set_encoding(&self.elements);
    }

    /// Like [`Self::apply_to_elements`], for the array with the ends of records.
    pub(crate) fn apply_to_ends(&self, document: &mut Document) {
        if let Some(ends) = &self.ends {
            document.set_encoding(ends);
        }
    }
}

/// The columns of consecutive records, the contents of [`Encoded`].
pub(crate) type EncodedColumns = Columns<EncodedRows<ArrayFormat>>;

fn into_encoded(columns: EncodedColumns, len: u64) -> Encoded {
    let size = |rows: &EncodedRows<ArrayFormat>| -> usize {
        let sizes = rows.chunks.iter().map(|(_, chunk)| chunk.len().max(PAGE));
        sizes.sum()
    };
    let bytes = match &columns {
        Columns::Single(rows) => size(rows),
        Columns::Ragged { ends, items } => size(ends) + size(items),
    };
    Encoded::new(len, bytes, columns)
}

/// Whether a series whose elements and ends have these formats can store the chunks unchanged.
pub(crate) fn fits(
    columns: &EncodedColumns,
    elements: &ArrayFormat,
    ends: Option<&ArrayFormat>,
) -> bool {
    let fits = |rows: &EncodedRows<ArrayFormat>, format| rows.format.encodes_like(format);
    match (columns, ends) {
        (Columns::Single(rows), None) => fits(rows, elements),
        (Columns::Ragged { ends, items }, Some(format)) => {
            fits(ends, format) && fits(items, elements)
        }
        _ => false,
    }
}

/// The minimum size that a chunk counts as, even a missing one: it touches a page, and looking it
/// up takes time.
const PAGE: usize = 4096;

/// A row of chunks with more chunks than this is not copied encoded, because a row is held in
/// memory as a whole.
const MAX_ROW_CHUNKS: u64 = 1 << 20;

/// Reads the rows of chunks of an array, one after another.
struct ChunkReader<'a> {
    array: &'a OpenArray<'a>,
    /// The next row of chunks, and the end of the rows to read.
    next: u64,
    end: u64,
    /// The number of rows of chunks that are read at a time.
    step: u64,
    bytes: usize,
    chunks: Vec<(Vec<u64>, Chunk)>,
    /// The format of the chunks.
    format: Arc<ArrayFormat>,
}

impl<'a> ChunkReader<'a> {
    /// Creates a reader of the chunks that contain `rows`, for parts of about `max_bytes`.
    fn new(array: &'a OpenArray<'a>, rows: Range<u64>, max_bytes: usize) -> Self {
        let layout = array.column.layout();
        let chunk_rows = layout.chunk_rows();
        let step = match layout.row_size() {
            RowSize::Variable => 1,
            RowSize::Fixed(size) => {
                let bytes = (size.max(1) as u64).saturating_mul(chunk_rows);
                (max_bytes as u64 / bytes).clamp(1, 64)
            }
        };
        Self {
            array,
            next: rows.start / chunk_rows,
            end: match rows.is_empty() || layout.grid.row_len() == 0 {
                true => 0,
                false => rows.end.div_ceil(chunk_rows),
            },
            step,
            bytes: 0,
            chunks: Vec::new(),
            format: Arc::clone(&array.column.format),
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// The number of rows of the array in chunks that were read.
    fn rows(&self) -> u64 {
        match self.is_done() {
            true => u64::MAX,
            false => self
                .next
                .saturating_mul(self.array.column.layout().chunk_rows()),
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let until = self.end.min(self.next + self.step);
        let rows = (self.next..until).collect();
        let read = parallel::map(rows, |row| read_row(self.array, row))?;
        let looked_up = (until - self.next) * self.array.column.layout().grid.row_len();
        self.next = until;
        let looked_up = usize::try_from(looked_up).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(looked_up.saturating_mul(PAGE));
        for RowOfChunks { format, chunks } in read {
            self.bytes += chunks.iter().map(|(_, chunk)| chunk.len()).sum::<usize>();
            self.chunks.extend(chunks);
            self.format = format;
        }
        Ok(())
    }

    /// The chunks of the first `len` rows of the array.
    fn into_rows(self, len: u64) -> EncodedRows<ArrayFormat> {
        let column = &self.array.column;
        let end = len.div_ceil(column.layout().chunk_rows());
        let mut chunks = self.chunks;
        chunks.retain(|(indices, _)| indices.first().is_some_and(|&row| row < end));
        EncodedRows {
            format: self.format,
            len,
            chunks,
        }
    }
}

/// Reads the chunks of an array that have one index along the first axis.
fn read_row(array: &OpenArray<'_>, row: u64) -> Result<RowOfChunks> {
    let column = &array.column;
    let mut found = RowOfChunks {
        format: Arc::clone(&column.format),
        chunks: Vec::new(),
    };
    let indices: Vec<_> = column.layout().grid.chunks_in_row(row).collect();
    // Chunks whose format may change must come from one snapshot.
    let at_once = match array.may_be_resized(row) {
        true => indices.len().max(1),
        false => 1,
    };
    for indices in indices.chunks(at_once) {
        let mut chunks = Vec::new();
        array.with_chunks(row, |snapshot, format| {
            found.format = Arc::clone(format);
            chunks.clear();
            for indices in indices {
                if let Some(bytes) = snapshot.get_chunk(&format.chunk_key(&column.path, indices))? {
                    chunks.push((indices.clone(), Chunk::Bytes(bytes)));
                }
            }
            Ok(())
        })?;
        found.chunks.extend(chunks);
    }
    Ok(found)
}

/// Chunks with one index along the first axis, and their format.
struct RowOfChunks {
    format: Arc<ArrayFormat>,
    chunks: Vec<(Vec<u64>, Chunk)>,
}

/// Reads the records of `range` as they are stored. Implements
/// [`EncodedView::read_encoded`](simrecorder_core::backend::EncodedView::read_encoded).
pub(crate) fn read_encoded(
    storage: &dyn Storage,
    columns: &Columns<ArrayView>,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Option<Encoded>> {
    match columns {
        Columns::Single(view) => read_single(storage, view, range, max_bytes),
        Columns::Ragged { ends, items } => {
            // The maximum number of records in a part of that size.
            let chunks = (max_bytes / PAGE).max(1) as u64;
            let chunk_rows = ends.column.layout().chunk_rows();
            let most = chunk_rows.saturating_mul(chunks).min(1 << 20);
            let some = range.start..range.end.min(range.start.saturating_add(most));
            let record_ends = read_record_ends(some, items.column.len, |rows| {
                read_column(storage, ends, |array| {
                    Ok((rows.end, read_rows(array, rows.clone())?))
                })
            })?;
            read_ragged(storage, ends, items, range, record_ends, max_bytes)
        }
    }
}

/// Reads the rows of `range` that are in chunks, up to about `max_bytes`. The unfinished last chunk
/// is read only if no row after it is wanted.
fn read_single(
    storage: &dyn Storage,
    view: &ArrayView,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Option<Encoded>> {
    let Column { stored, .. } = view.column;
    let layout = view.column.layout();
    let chunk_rows = layout.chunk_rows();
    let end = match range.end > stored {
        true => stored / chunk_rows * chunk_rows,
        false => range.end,
    };
    if range.start >= end || layout.grid.row_len() > MAX_ROW_CHUNKS {
        return Ok(None);
    }
    let rows = read_column(storage, view, |array| {
        let mut reader = ChunkReader::new(array, range.start..end, max_bytes);
        // At least one row of chunks, even if `max_bytes` is smaller.
        while !reader.is_done() && (reader.bytes < max_bytes || reader.rows() <= range.start) {
            reader.read_more()?;
        }
        let len = end.min(reader.rows());
        Ok((len, reader.into_rows(len)))
    })?;
    let len = rows.len - range.start;
    Ok(Some(into_encoded(Columns::Single(rows), len)))
}

/// Like [`read_single`], for two arrays. `record_ends` contains the ends of the records of `range`,
/// counted in items, of which the first has the index `first`.
fn read_ragged(
    storage: &dyn Storage,
    ends: &ArrayView,
    items: &ArrayView,
    range: Range<u64>,
    (first, record_ends): (u64, Vec<u64>),
    max_bytes: usize,
) -> Result<Option<Encoded>> {
    let stored = ends.column.stored.saturating_sub(range.start);
    let stored = stored.min(record_ends.len() as u64) as usize;
    let stored_items = items.column.stored;
    let record_ends = &record_ends[..stored];
    let record_ends = &record_ends[..record_ends.partition_point(|&end| end <= stored_items)];
    let Some(&last) = record_ends.last() else {
        return Ok(None);
    };
    if items.column.layout().grid.row_len() > MAX_ROW_CHUNKS {
        return Ok(None);
    }
    // A record may be larger than that. A far larger one may be damaged, so it is read alone.
    let most = max_bytes.max(16 * PAGE).saturating_mul(16);
    let (count, item_rows) = read_column(storage, items, |array| {
        let mut reader = ChunkReader::new(array, first..last, max_bytes);
        let whole = |reader: &ChunkReader<'_>| {
            let read = reader.rows();
            record_ends.partition_point(|&end| end <= read)
        };
        while !reader.is_done()
            && (reader.bytes < max_bytes || whole(&reader) == 0 && reader.bytes < most)
        {
            reader.read_more()?;
        }
        let count = whole(&reader);
        let end = record_ends[..count].last().copied().unwrap_or(first);
        Ok((end, (count, reader.into_rows(end))))
    })?;
    if count == 0 {
        return Ok(None);
    }
    let end = range.start + count as u64;
    // The other rows are in tails. An unfinished chunk is better read together with them.
    let fills = |view: &ArrayView, from: u64, to: u64| {
        let chunk_rows = view.column.layout().chunk_rows();
        from / chunk_rows < to / chunk_rows
    };
    let is_last = count == record_ends.len() && end < range.end;
    if is_last && !fills(ends, range.start, end) && !fills(items, first, item_rows.len) {
        return Ok(None);
    }
    let end_rows = read_column(storage, ends, |array| {
        let mut reader = ChunkReader::new(array, range.start..end, max_bytes);
        while !reader.is_done() {
            reader.read_more()?;
        }
        Ok((end, reader.into_rows(end)))
    })?;
    let columns = Columns::Ragged {
        ends: end_rows,
        items: item_rows,
    };
    Ok(Some(into_encoded(columns, count as u64)))
}
