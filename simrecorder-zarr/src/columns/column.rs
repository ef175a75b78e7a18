//! Columns: arrays of rows, the older ones in chunks, the newest in the tail.
//!
//! A series of arrays or texts is one column. The others are two: where each record ends, and
//! what the records hold.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use simrecorder_core::backend::{RowSize, Rows, count_rows, read_frames, zeroed};
use simrecorder_core::{Block, Error, ErrorKind, Region, Result, copy_block};

use crate::format::layout::{Layout, LayoutCache};
use crate::format::metadata::{Document, corrupt};
use crate::format::node_path::metadata_entry;
use crate::format::recording_id::RecordingId;
use crate::storage::{Snapshot, Storage};

/// A column as it was in one snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The path of its array.
    pub(crate) path: String,
    pub(crate) layout: Arc<Layout>,
    /// How many rows are in chunks; the others are in the tail.
    pub(crate) stored: u64,
    /// How many rows there are.
    pub(crate) rows: u64,
    /// How often the array had been cut.
    pub(crate) cuts: usize,
    /// The recording that it is a part of, where another one may take its place.
    pub(crate) recording: Option<RecordingId>,
}

/// A column has no more rows than this, so that sums with the rows of a chunk do not overflow.
const MAX_ROWS: u64 = i64::MAX as u64;

impl Column {
    pub(crate) fn open(
        snapshot: &dyn Snapshot,
        path: String,
        document: &Document,
        layouts: &LayoutCache,
    ) -> Result<Self> {
        let tail = snapshot.tail(&path)?;
        let column = Self::with_tail(path, document, layouts, &tail)?;
        Ok(Self {
            recording: snapshot.recording().cloned(),
            ..column
        })
    }

    /// The column of an array whose tail was read already.
    pub(crate) fn with_tail(
        path: String,
        document: &Document,
        layouts: &LayoutCache,
        tail: &[u8],
    ) -> Result<Self> {
        let Some(stored) = document.shape()?.first().copied() else {
            return Err(corrupt("the array of a series has no axis"));
        };
        let layout = layouts.get(document)?;
        let tail = count_rows(tail, stored)?;
        let rows = stored.checked_add(tail).filter(|&rows| rows <= MAX_ROWS);
        let rows = rows.ok_or_else(|| corrupt("the length of the array is too large"))?;
        Ok(Self {
            path,
            layout,
            stored,
            rows,
            cuts: document.cuts().len(),
            recording: None,
        })
    }

    /// The shape with the first axis.
    pub(crate) fn shape(&self) -> Vec<u64> {
        std::iter::once(self.rows)
            .chain(self.layout.grid.record_shape().iter().copied())
            .collect()
    }

    /// Reads `region`, which lies within the shape, into `out`, which has its size.
    pub(crate) fn read_into(
        &self,
        storage: &dyn Storage,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        if region.is_empty() || out.is_empty() {
            return Ok(());
        }
        let (old, new) = region.split_at_record(self.stored);
        let (old_out, new_out) = out.split_at_mut(region_bytes(&old, &self.layout));
        self.read_chunks(storage, &old, old_out)?;
        if !new.is_empty() {
            self.read_new(storage, &new, new_out)?;
        }
        self.check_uncut(storage, region.axes()[0].bounds().end)
    }

    /// Reads a region of rows that were in the tail, and may be in chunks by now.
    fn read_new(&self, storage: &dyn Storage, region: &Region, out: &mut [u8]) -> Result<()> {
        let (stored, tail) = self.read_tail(storage)?;
        let (folded, new) = region.split_at_record(stored);
        let (folded_out, new_out) = out.split_at_mut(region_bytes(&folded, &self.layout));
        self.read_chunks(storage, &folded, folded_out)?;
        if new.is_empty() {
            return Ok(());
        }
        if new.axes()[0].bounds().end > stored + tail.count {
            return Err(truncated());
        }
        let mut origin = vec![0; region.axes().len()];
        origin[0] = stored;
        let mut shape = self.shape();
        shape[0] = tail.count;
        let block = Block {
            data: &tail.data,
            origin: &origin,
            shape: &shape,
        };
        copy_block(block, &new, new_out, self.layout.element_size());
        Ok(())
    }

    /// The rows of the tail as it is now, and the index of the first.
    pub(crate) fn read_tail(&self, storage: &dyn Storage) -> Result<(u64, Rows)> {
        let mut found = None;
        storage.read(&mut |snapshot| {
            self.check_recording(snapshot)?;
            let document = snapshot.get(&metadata_entry(&self.path))?;
            found = Some((document, snapshot.tail(&self.path)?));
            Ok(())
        })?;
        let (document, tail) = found.ok_or_else(truncated)?;
        let stored = Document::parse(&document.ok_or_else(truncated)?)?.shape()?;
        let stored = stored.first().copied().ok_or_else(truncated)?;
        Ok((stored, read_frames(&tail, stored, self.layout.row_size())?))
    }

    /// Checks that the snapshot shows the recording of this column, as far as both have an id:
    /// a writer gives one to a recording of other software.
    fn check_recording(&self, snapshot: &dyn Snapshot) -> Result<()> {
        match (&self.recording, snapshot.recording()) {
            (Some(own), Some(now)) if own != now => Err(replaced()),
            _ => Ok(()),
        }
    }

    /// Why a read failed: the rows of another recording in the place of this one may be of another
    /// form.
    pub(crate) fn explain(&self, storage: &dyn Storage, error: Error) -> Error {
        let mut checked = Ok(());
        let read = storage.read(&mut |snapshot| {
            checked = self.check_recording(snapshot);
            Ok(())
        });
        match (read, checked) {
            (Ok(()), Err(replaced)) => replaced,
            _ => error,
        }
    }

    /// Checks, after rows before `end` were read, that none of them had been cut off, and that no
    /// other recording has taken the place of this one: other rows may stand in their place.
    pub(crate) fn check_uncut(&self, storage: &dyn Storage, end: u64) -> Result<()> {
        let mut document = None;
        storage.read(&mut |snapshot| {
            self.check_recording(snapshot)?;
            document = snapshot.get(&metadata_entry(&self.path))?;
            Ok(())
        })?;
        let document = Document::parse(&document.ok_or_else(truncated)?)?;
        let stored = document.shape()?.first().copied().unwrap_or(0);
        let mut cuts = document.cuts().into_iter().skip(self.cuts);
        // Other software does not note its cuts.
        if stored < end.min(self.stored) || cuts.any(|rows| rows < end) {
            return Err(truncated());
        }
        Ok(())
    }

    /// Reads a region of rows that are all in chunks.
    fn read_chunks(&self, storage: &dyn Storage, region: &Region, out: &mut [u8]) -> Result<()> {
        if region.is_empty() {
            return Ok(());
        }
        let mut parts = self.layout.grid.split(region, out).peekable();
        while parts.peek().is_some() {
            let some: Vec<_> = parts.by_ref().take(PARTS).collect();
            some.into_par_iter().try_for_each(|(chunk, region, out)| {
                self.read_row_of_chunks(storage, chunk, &region, out)
            })?;
        }
        Ok(())
    }

    /// Reads a region that lies in the chunks with one index along the first axis.
    fn read_row_of_chunks(
        &self,
        storage: &dyn Storage,
        chunk: u64,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let layout = &self.layout;
        layout
            .grid
            .for_each_touched(chunk, region, |indices, origin| {
                let key = layout.chunk_entry(&self.path, indices);
                storage.read(&mut |snapshot| match snapshot.entry(&key)? {
                    Some(entry) => layout
                        .read_chunk(&entry, origin, self.stored, region, out)
                        .map_err(|e| self.at(e, indices)),
                    None => {
                        let filled = |elements| layout.filled(elements);
                        let size = layout.element_size();
                        layout.grid.fill_chunk(origin, region, out, size, filled)
                    }
                })
            })
    }

    fn at(&self, error: Error, indices: &[u64]) -> Error {
        let message = format!(
            "chunk {indices:?} of the array '{}' is damaged; the other chunks are not affected",
            self.path
        );
        Error::new(error.kind(), "read", message).with_source(error)
    }

    /// Reads the rows of `range` of a column with elements.
    pub(crate) fn read_rows(&self, storage: &dyn Storage, range: Range<u64>) -> Result<Vec<u8>> {
        let region = Region::records(range, &self.shape());
        let bytes = region
            .len()
            .and_then(|len| len.checked_mul(self.layout.element_size()));
        let mut data = zeroed(bytes.unwrap_or(usize::MAX))?;
        self.read_into(storage, &region, &mut data)?;
        Ok(data)
    }

    /// Reads texts from the start of `range` on; ends early behind the chunk in which
    /// `max_bytes` are reached.
    pub(crate) fn read_texts(
        &self,
        storage: &dyn Storage,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut tail = None;
        let mut next = range.start;
        let mut stored = self.stored;
        let is_full = |rows: &Rows| {
            let ends = size_of_val(&rows.ends[..]);
            rows.count > 0 && rows.data.len().saturating_add(ends) >= max_bytes
        };
        while next < range.end && !is_full(&rows) {
            if next >= stored && tail.is_none() {
                let (now_stored, now) = self.read_tail(storage)?;
                stored = now_stored;
                tail = Some(now);
                continue;
            }
            let (first, part) = match &tail {
                Some(tail) if next >= stored => (stored, tail.clone()),
                _ => self.read_text_chunk(storage, next..range.end.min(stored), stored)?,
            };
            let end = range.end.min(first + part.count);
            if end <= next {
                return Err(truncated());
            }
            let part = part
                .as_rows_ref()
                .slice(next - first, end - first, RowSize::Variable)
                .to_rows();
            rows.extend(part.count, &part.data, &part.ends);
            next = end;
        }
        self.check_uncut(storage, next)?;
        Ok(rows)
    }

    /// Texts from the start of `range` on, which are all in chunks, and the index of the first:
    /// those of one chunk, of which `stored` says how many texts are in chunks.
    fn read_text_chunk(
        &self,
        storage: &dyn Storage,
        range: Range<u64>,
        stored: u64,
    ) -> Result<(u64, Rows)> {
        let chunk_rows = self.layout.chunk_rows();
        let chunk = range.start / chunk_rows;
        let first = chunk * chunk_rows;
        let count = (stored - first).min(chunk_rows);
        let entry = self.layout.chunk_entry(&self.path, &[chunk]);
        if let Some(encoded) = get(storage, &entry)? {
            let rows = self.layout.decode_texts(&encoded, count);
            return Ok((first, rows.map_err(|e| self.at(e, &[chunk]))?));
        }
        let end = range.end.min(first + count);
        let count = (end - range.start).min(MISSING_TEXTS);
        let fill = self.layout.fill_bytes();
        let rows = Rows {
            count,
            data: self.layout.filled(count as usize)?,
            ends: (1..=count).map(|i| i * fill.len() as u64).collect(),
        };
        Ok((range.start, rows))
    }

    /// Checks whole chunks: those that hold the rows of `range`, and the rows of the tail among
    /// them.
    pub(crate) fn check_rows(&self, storage: &dyn Storage, range: Range<u64>) -> Result<()> {
        let chunk = self.layout.chunk_rows();
        let end = range
            .end
            .div_ceil(chunk)
            .saturating_mul(chunk)
            .min(self.rows);
        let span = match self.layout.row_size() {
            RowSize::Fixed(bytes) => (CHECK_BYTES / bytes.max(1)) as u64 / chunk * chunk,
            RowSize::Variable => chunk,
        };
        let mut start = range.start / chunk * chunk;
        while start < end {
            let rows = start..end.min(start.saturating_add(span.max(chunk)));
            self.check_chunks(storage, rows.clone())?;
            start = rows.end;
            match self.layout.row_size() {
                RowSize::Fixed(_) => drop(self.read_rows(storage, rows)?),
                RowSize::Variable => drop(self.read_texts(storage, rows, usize::MAX)?),
            }
        }
        Ok(())
    }

    /// Checks that the chunks with the rows of `range` are there, if simrecorder wrote the array:
    /// other software leaves out those that hold nothing but the fill value.
    pub(crate) fn check_chunks(&self, storage: &dyn Storage, range: Range<u64>) -> Result<()> {
        let Range { start, end } = range.start..range.end.min(self.stored);
        if !self.layout.is_own() || start >= end {
            return Ok(());
        }
        let region = Region::records(start..end, &self.shape());
        if region.is_empty() {
            return Ok(());
        }
        let chunk = self.layout.chunk_rows();
        for row in start / chunk..end.div_ceil(chunk) {
            let grid = &self.layout.grid;
            grid.for_each_touched(row, &region, |indices, _| {
                let key = self.layout.chunk_entry(&self.path, indices);
                let mut is_there = false;
                storage.read(&mut |snapshot| {
                    is_there = snapshot.entry(&key)?.is_some();
                    Ok(())
                })?;
                match is_there {
                    true => Ok(()),
                    false => Err(self.at(
                        Error::new(
                            ErrorKind::Corrupt,
                            "read",
                            "it is not there, and reads as fill values",
                        ),
                        indices,
                    )),
                }
            })?;
        }
        self.check_uncut(storage, end)
    }

    /// The rows of an unfinished last chunk, for writing it anew.
    pub(crate) fn read_unfinished_chunk(&self, storage: &dyn Storage) -> Result<Rows> {
        let first = self.stored / self.layout.chunk_rows() * self.layout.chunk_rows();
        match self.layout.row_size() {
            RowSize::Variable => self.read_texts(storage, first..self.stored, usize::MAX),
            RowSize::Fixed(_) => Ok(Rows {
                count: self.stored - first,
                data: self.read_rows(storage, first..self.stored)?,
                ends: Vec::new(),
            }),
        }
    }
}

/// About so many bytes are checked at once.
const CHECK_BYTES: usize = 16 << 20;

/// So many rows of chunks are shared out among the threads at a time.
const PARTS: usize = 1 << 14;

/// Texts that were never written are given in blocks of this many.
const MISSING_TEXTS: u64 = 1 << 12;

/// Reads one entry.
pub(crate) fn get(storage: &dyn Storage, entry: &str) -> Result<Option<Bytes>> {
    let mut found = None;
    storage.read(&mut |snapshot| {
        found = snapshot.get(entry)?;
        Ok(())
    })?;
    Ok(found)
}

fn truncated() -> Error {
    let message = "the series is shorter than it was; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

fn replaced() -> Error {
    let message = "another recording has taken the place of this one; take a new view";
    Error::new(ErrorKind::OutOfBounds, "read", message)
}

fn region_bytes(region: &Region, layout: &Layout) -> usize {
    region.len().unwrap_or(0) * layout.element_size()
}
