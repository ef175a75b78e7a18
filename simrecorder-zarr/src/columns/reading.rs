//! Reading arrays: chunks from their entries, and the tail.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::backend::columns::{self, ColumnFormat, ColumnSource, ColumnView};
use simrecorder_core::backend::errors::{replaced, shortened};
use simrecorder_core::backend::{Rows, frame_sizes, read_frames};
use simrecorder_core::{Error, ErrorKind, Region, Result};

use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::{Document, corrupt};
use crate::format::recording_id::RecordingId;
use crate::storage::{ChunkKey, Entry, Snapshot, Storage};

pub(crate) type Column = columns::Column<ArrayFormat>;

/// A column as one snapshot shows it.
pub(crate) type ArrayView = ColumnView<Column, Version>;

/// Tells whether the rows of an array are still those that a snapshot showed.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The number of cuts of the array so far.
    cut_count: u64,
    /// The recording that contains the array, where another recording may replace it.
    recording: Option<RecordingId>,
}

/// Opens the array of a document whose tail was already read.
pub(crate) fn open_column(
    path: &str,
    document: &Document,
    formats: &FormatCache,
    tail: &[u8],
) -> Result<Column> {
    let Some(stored) = document.shape()?.first().copied() else {
        return Err(corrupt("the array of a series has no axis"));
    };
    let format = formats.get(document)?;
    let frames = frame_sizes(tail, stored)?;
    let rows = frames.iter().map(|frame| frame.rows).sum();
    let column = Column::new(path, format, stored, rows)?;
    Ok(column.with_filled(document.filled()).with_frames(frames))
}

/// The array at `path` with its document, as a snapshot shows it.
pub(crate) fn view_column(
    snapshot: &dyn Snapshot,
    path: &str,
    document: &Document,
    formats: &FormatCache,
) -> Result<ArrayView> {
    Ok(ColumnView {
        column: open_column(path, document, formats, &snapshot.tail(path)?)?,
        version: Version {
            cut_count: document.cut_count(),
            recording: snapshot.recording().cloned(),
        },
    })
}

/// An open array.
pub(crate) struct OpenArray<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) column: Column,
    /// The tail of the column, if it was already read.
    pub(crate) tail: Option<Bytes>,
}

/// Texts that were never written are returned in blocks of this size.
const MISSING_TEXTS: u64 = 1 << 12;

impl OpenArray<'_> {
    pub(crate) fn chunk_key(&self, indices: &[u64]) -> ChunkKey {
        self.column.format.chunk_key(&self.column.path, indices)
    }

    /// Whether snapshots may differ in the format of the row of chunks `first`.
    pub(crate) fn may_be_resized(&self, first: u64) -> bool {
        first == 0 && self.column.format.may_be_resized(self.column.written())
    }

    /// Calls `read` with a snapshot and the format that the row of chunks `first` has in it.
    pub(crate) fn with_chunks(
        &self,
        first: u64,
        mut read: impl FnMut(&dyn Snapshot, &Arc<ArrayFormat>) -> Result<()>,
    ) -> Result<()> {
        let Column { path, format, .. } = &self.column;
        let may_be_resized = self.may_be_resized(first);
        self.storage.read(&mut |snapshot| {
            if !may_be_resized {
                return read(snapshot, format);
            }
            let document = match snapshot.document(path)? {
                Some(document) => document,
                // The array is declared, with filled rows, by the commit that reads it.
                None if self.column.written() == 0 => return read(snapshot, format),
                None => return Err(shortened()),
            };
            read(snapshot, &format.with_short_rows(document.short_rows()))
        })
    }

    /// The error for a chunk. It names the chunk if the chunk is damaged.
    fn if_damaged(&self, indices: &[u64], error: Error) -> Error {
        match error.kind() {
            ErrorKind::Corrupt => self.column.damaged_chunk(indices, error),
            _ => error,
        }
    }

    /// Calls `read` with the bytes of a chunk and its format.
    fn with_chunk(
        &self,
        indices: &[u64],
        mut read: impl FnMut(Option<Entry<'_>>, &Arc<ArrayFormat>) -> Result<()>,
    ) -> Result<()> {
        let first = indices.first().copied().unwrap_or(0);
        self.with_chunks(first, |snapshot, format| {
            let key = format.chunk_key(&self.column.path, indices);
            let entry = snapshot.chunk(&key);
            read(entry.map_err(|e| self.if_damaged(indices, e))?, format)
        })
    }
}

impl ColumnSource for OpenArray<'_> {
    type Format = ArrayFormat;

    fn column(&self) -> &Column {
        &self.column
    }

    fn read_chunk(&self, indices: &[u64], region: &Region, out: &mut [u8]) -> Result<()> {
        let Column { format, stored, .. } = &self.column;
        let origin = format.layout().grid.origin(indices);
        self.with_chunk(indices, |entry, format| match entry {
            Some(entry) => format
                .read_chunk(&entry, &origin, *stored, region, out)
                .map_err(|e| self.column.damaged_chunk(indices, e)),
            None => format.layout().fill_chunk(&origin, region, out),
        })
    }

    /// The texts of one chunk.
    fn read_variable(&self, range: Range<u64>, _max_bytes: usize) -> Result<(u64, Rows)> {
        let Column { format, .. } = &self.column;
        let chunk_rows = format.layout().chunk_rows();
        let chunk = range.start / chunk_rows;
        let first = chunk * chunk_rows;
        let end = range.end.min(first + chunk_rows);
        let mut found = None;
        self.with_chunk(&[chunk], |entry, format| {
            found = match entry {
                Some(entry) => {
                    let bytes = entry.into_bytes();
                    let bytes = bytes.map_err(|e| self.if_damaged(&[chunk], e))?;
                    Some((bytes, Arc::clone(format)))
                }
                None => None,
            };
            Ok(())
        })?;
        if let Some((encoded, format)) = found {
            let rows = format.decode_texts(&encoded, end - first);
            let rows = rows.map_err(|e| self.column.damaged_chunk(&[chunk], e))?;
            return Ok((first, rows));
        }
        let count = (end - range.start).min(MISSING_TEXTS);
        let data = format.layout().filled(count as usize)?;
        let text = data.len() as u64 / count.max(1);
        let rows = Rows {
            count,
            data,
            ends: (1..=count).map(|i| i * text).collect(),
        };
        Ok((range.start, rows))
    }

    fn stored_bytes(&self) -> Result<Option<u64>> {
        let path = &self.column.path;
        let mut bytes = 0;
        self.storage.read(&mut |snapshot| {
            bytes = snapshot.bytes_below(path)? + snapshot.tail_len(path)?;
            Ok(())
        })?;
        Ok(Some(bytes))
    }

    fn read_tail(&self) -> Result<(u64, Rows)> {
        let Column { path, format, .. } = &self.column;
        if let Some(tail) = &self.tail {
            let first = self.column.stored;
            let rows = read_frames(tail, first, format.layout().row_size())?;
            return Ok((first, rows));
        }
        let mut found = None;
        self.storage.read(&mut |snapshot| {
            let document = snapshot.document(path)?;
            found = document.map(|document| Ok((document, snapshot.tail(path)?)));
            Ok(())
        })?;
        let (document, tail) = found.ok_or_else(shortened)??;
        let stored = document.shape()?;
        let stored = stored.first().copied().ok_or_else(shortened)?;
        let rows = read_frames(&tail, stored, format.layout().row_size())?;
        Ok((stored, rows))
    }

    fn read_tail_end(&self, first: u64, bytes: u64) -> Result<Rows> {
        let Column { path, format, .. } = &self.column;
        let mut tail = Vec::new();
        self.storage.read(&mut |snapshot| {
            tail = snapshot.tail_end(path, bytes)?;
            Ok(())
        })?;
        read_frames(&tail, first, format.layout().row_size())
    }

    /// Checks that no chunk is missing. Arrays that simrecorder wrote have all chunks except those
    /// of filled rows; other software omits chunks that contain only the fill value.
    fn check_chunks(&self, range: Range<u64>) -> Result<()> {
        let layout = self.column.layout();
        let region = Region::records(range.clone(), &layout.shape(self.column.len));
        if !self.column.format.is_native() || region.is_empty() {
            return Ok(());
        }
        let chunk = layout.chunk_rows();
        for row in range.start / chunk..range.end.div_ceil(chunk) {
            layout.grid.for_each_touched(row, &region, |indices| {
                self.with_chunk(indices, |entry, _| match entry {
                    Some(_) => Ok(()),
                    None if self.column.may_be_missing(row) => Ok(()),
                    None => {
                        let message = "it is missing, and reads as fill values";
                        let missing = Error::new(ErrorKind::Corrupt, "read", message);
                        Err(self.column.damaged_chunk(indices, missing))
                    }
                })
            })?;
        }
        Ok(())
    }
}

/// Reads from an array. Implements
/// [`ColumnStore::read_column`](simrecorder_core::backend::columns::ColumnStore::read_column).
pub(crate) fn read_column<'a, T>(
    storage: &'a dyn Storage,
    view: &ArrayView,
    mut read: impl FnMut(&OpenArray<'a>) -> Result<(u64, T)>,
) -> Result<T> {
    let column = view.column.clone();
    let (end, result) = read(&OpenArray {
        storage,
        column,
        tail: None,
    })
    .map_err(|error| {
        // Chunks that were cut off are missing, and if another recording replaced this one, its
        // rows may have another form.
        match check_uncut(storage, view, view.column.len) {
            Err(change) if change.kind() == ErrorKind::OutOfBounds => change,
            _ => error,
        }
    })?;
    check_uncut(storage, view, end)?;
    Ok(result)
}

/// Checks that a snapshot shows the recording of a view, if both have an id. A writer gives an id
/// to a recording of other software.
fn check_recording(view: &ArrayView, snapshot: &dyn Snapshot) -> Result<()> {
    match (&view.version.recording, snapshot.recording()) {
        (Some(own), Some(now)) if own != now => Err(replaced()),
        _ => Ok(()),
    }
}

/// Checks, after rows before `end` were read, that none of them had been cut off and that no other
/// recording has replaced this one: other rows may have taken their place.
fn check_uncut(storage: &dyn Storage, view: &ArrayView, end: u64) -> Result<()> {
    let mut document = None;
    storage.read(&mut |snapshot| {
        check_recording(view, snapshot)?;
        document = snapshot.document(&view.column.path)?;
        Ok(())
    })?;
    let document = document.ok_or_else(shortened)?;
    let stored = document.shape()?.first().copied().unwrap_or(0);
    // If the array was replaced, the cuts of the new one are counted from a larger base.
    let seen = view.version.cut_count.checked_sub(document.cut_base());
    let seen = seen.ok_or_else(shortened)?;
    let cuts = document.cuts();
    let mut cuts = cuts
        .iter()
        .skip(usize::try_from(seen).unwrap_or(usize::MAX));
    // Other software does not record its cuts.
    if stored < end.min(view.column.stored) || cuts.any(|&len| len < end) {
        return Err(shortened());
    }
    Ok(())
}

/// Reads one entry.
pub(crate) fn get(storage: &dyn Storage, entry: &str) -> Result<Option<Bytes>> {
    let mut found = None;
    storage.read(&mut |snapshot| {
        found = snapshot.get(entry)?;
        Ok(())
    })?;
    Ok(found)
}
