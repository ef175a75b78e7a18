//! Tails: rows that do not fill a chunk yet, in the journal.
//!
//! With each commit, the journal stores a list of changes: one byte, a path (`u32` length and UTF-8), and
//! what follows below. All numbers are little endian.
//!
//! ```text
//! 1 append   path of a dataset, frame (u64 length, bytes)
//! 2 clear    path of a dataset
//! 3 declare  path of a series, cut base (u64), declaration (u64 length, JSON)
//! 4 create   path of a series
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use simrecorder_core::backend::FileHandle;
use simrecorder_core::backend::{RowSize, Rows, count_rows, read_frames, zeroed};
use simrecorder_core::{Error, ErrorKind, Result};

use crate::driver::journal::JournalRange;
use crate::format::declared::{Declaration, DeclaredSeries};

const APPEND: u8 = 1;
const CLEAR: u8 = 2;
const DECLARE: u8 = 3;
const CREATE: u8 = 4;

/// The tail of one dataset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// Where its frames are in the journal, in order.
    frames: Vec<JournalRange>,
    pub(crate) row_count: u64,
}

impl Tail {
    /// How many bytes its frames take.
    fn bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.len).sum()
    }

    /// Its rows, the first of which has the index `first`.
    pub(crate) fn read(&self, journal: &File, first: u64, size: RowSize) -> Result<Rows> {
        let length = usize::try_from(self.bytes()).unwrap_or(usize::MAX);
        let mut bytes = zeroed(length)?;
        let mut rest = &mut bytes[..];
        for frame in &self.frames {
            let (part, others) = rest.split_at_mut(frame.len as usize);
            journal.read_exact_at(part, frame.offset).map_err(|error| {
                let message = "the journal could not be read";
                Error::new(ErrorKind::Io, "read", message).with_source(error)
            })?;
            rest = others;
        }
        read_frames(&bytes, first, size)
    }
}

/// The tails of all datasets, by their paths, and the series that have no datasets yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tails {
    tails: HashMap<String, Tail>,
    /// Clones share it: files that are open look at it, too.
    pub(crate) declared: DeclaredSeries,
    /// How many bytes all of them take in the journal.
    pub(crate) bytes: u64,
}

impl Tails {
    /// No tails, but these series.
    pub(crate) fn with_declared(declared: &DeclaredSeries) -> Self {
        Self {
            declared: declared.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Tail> {
        self.tails.get(path)
    }

    /// The paths of all datasets that have a tail, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.tails.keys().cloned().collect();
        paths.sort_unstable();
        paths
    }

    /// The same, the tail that takes the most bytes first.
    pub(crate) fn paths_by_size(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.tails.iter().collect();
        paths.sort_by_key(|(path, tail)| (std::cmp::Reverse(tail.bytes()), *path));
        paths.into_iter().map(|(path, _)| path.clone()).collect()
    }

    /// Applies changes that are stored at `offset` of the journal.
    pub(crate) fn apply(&mut self, changes: &[u8], offset: u64) -> Result<()> {
        let mut reader = Reader { changes, at: 0 };
        while reader.at < changes.len() {
            let code = reader.take(1)?[0];
            let path = reader.path()?;
            match code {
                APPEND => {
                    let length = reader.number(8)?;
                    let range = JournalRange {
                        offset: offset + reader.at as u64,
                        len: length,
                    };
                    let frame = reader.take(length)?;
                    let first = frame
                        .first_chunk()
                        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
                    let row_count = count_rows(frame, first)?;
                    let tail = self.tails.entry(path.to_owned()).or_default();
                    tail.row_count = tail
                        .row_count
                        .checked_add(row_count)
                        .ok_or_else(|| damaged("a tail has too many rows"))?;
                    tail.frames.push(range);
                    self.bytes += length;
                }
                CLEAR => {
                    if let Some(tail) = self.tails.remove(path) {
                        self.bytes -= tail.bytes();
                    }
                }
                DECLARE => {
                    let cut_base = reader.number(8)?;
                    let length = reader.number(8)?;
                    let text = std::str::from_utf8(reader.take(length)?)
                        .map_err(|error| damaged("a declaration is no text").with_source(error))?;
                    let declaration = Declaration::new(cut_base, text);
                    self.declared.insert(path, declaration);
                }
                CREATE => self.declared.remove(path),
                _ => {
                    let message = format!("the journal has a change of unknown kind {code}");
                    return Err(Error::new(ErrorKind::Unsupported, "open", message));
                }
            }
        }
        Ok(())
    }

    /// Adds the frames of one tail, as they are in the journal, as one frame.
    pub(crate) fn rewrite(
        &self,
        path: &str,
        journal: &File,
        changes: &mut TailChanges,
    ) -> Result<()> {
        let Some(tail) = self.tails.get(path) else {
            return Ok(());
        };
        let start = changes.begin_append(path);
        for frame in &tail.frames {
            let at = changes.0.len();
            changes.0.resize(at + frame.len as usize, 0);
            let read = journal.read_exact_at(&mut changes.0[at..], frame.offset);
            read.map_err(|error| {
                let message = "the journal could not be read";
                Error::new(ErrorKind::Io, "checkpoint", message).with_source(error)
            })?;
        }
        changes.end_append(start);
        Ok(())
    }
}

/// Changes of tails that a commit makes, encoded.
#[derive(Debug, Default)]
pub(crate) struct TailChanges(Vec<u8>);

impl TailChanges {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn path(&mut self, code: u8, path: &str) {
        self.0.push(code);
        // Keys are checked to be far shorter.
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(path.as_bytes());
    }

    /// Begins a frame, whose length is set at its end.
    fn begin_append(&mut self, path: &str) -> usize {
        self.path(APPEND, path);
        self.0.extend_from_slice(&[0; 8]);
        self.0.len()
    }

    fn end_append(&mut self, start: usize) {
        let length = (self.0.len() - start) as u64;
        self.0[start - 8..start].copy_from_slice(&length.to_le_bytes());
    }

    /// Appends frames to a tail.
    pub(crate) fn append(&mut self, path: &str, frames: &[u8]) {
        let start = self.begin_append(path);
        self.0.extend_from_slice(frames);
        self.end_append(start);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes the changes that were added since it had this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Declares a series, which gets its datasets later.
    pub(crate) fn declare(&mut self, path: &str, declaration: &Declaration) {
        self.path(DECLARE, path);
        self.0.extend(declaration.cut_base.to_le_bytes());
        self.0
            .extend((declaration.text().len() as u64).to_le_bytes());
        self.0.extend_from_slice(declaration.text().as_bytes());
    }

    /// Says that a series that was declared has its datasets now.
    pub(crate) fn create(&mut self, path: &str) {
        self.path(CREATE, path);
    }

    /// Takes a tail away.
    pub(crate) fn clear(&mut self, path: &str) {
        self.path(CLEAR, path);
    }
}

struct Reader<'a> {
    changes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = &self.changes[self.at..];
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| damaged("it ends too early"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn number(&mut self, size: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(self.take(size as u64)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn path(&mut self) -> Result<&'a str> {
        let length = self.number(4)?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|error| damaged("a path is no text").with_source(error))
    }
}

fn damaged(what: &str) -> Error {
    let message = format!("a change of a tail in the journal does not decode: {what}");
    Error::new(ErrorKind::Corrupt, "open", message)
}

/// The journal that tails were read from: it stays readable when another takes its place.
pub(crate) type JournalFile = Arc<FileHandle>;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use simrecorder_core::backend::write_frame;

    use super::*;

    fn numbers(values: &[u64]) -> Rows {
        Rows {
            count: values.len() as u64,
            data: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            ends: Vec::new(),
        }
    }

    fn frame(first: u64, values: &[u64]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_frame(&mut frame, first, numbers(values).as_rows_ref(), |_| {});
        frame
    }

    #[test]
    fn tails_are_those_of_all_changes_in_their_order() {
        let mut first = TailChanges::default();
        first.append("a", &frame(5, &[1, 2]));
        first.append("b", &frame(0, &[9]));
        let mut second = TailChanges::default();
        second.append("a", &frame(7, &[3]));
        second.clear("b");
        let mut file = tempfile::tempfile().unwrap();
        let mut tails = Tails::default();
        let mut offset = 0;
        for changes in [first, second] {
            file.write_all(changes.as_bytes()).unwrap();
            tails.apply(changes.as_bytes(), offset).unwrap();
            offset += changes.as_bytes().len() as u64;
        }
        assert_eq!(tails.paths(), ["a"]);
        let tail = tails.get("a").unwrap();
        assert_eq!(
            tail.read(&file, 5, RowSize::Fixed(8)).unwrap(),
            numbers(&[1, 2, 3])
        );

        let mut together = TailChanges::default();
        tails.rewrite("a", &file, &mut together).unwrap();
        let mut again = Tails::default();
        again.apply(together.as_bytes(), offset).unwrap();
        file.write_all(together.as_bytes()).unwrap();
        let tail = again.get("a").unwrap();
        assert_eq!(
            tail.read(&file, 5, RowSize::Fixed(8)).unwrap(),
            numbers(&[1, 2, 3])
        );
    }

    proptest! {
        #[test]
        fn any_changes_decode_or_fail(changes: Vec<u8>, flip in any::<prop::sample::Index>()) {
            let _ = Tails::default().apply(&changes, 0);
            let mut sound = TailChanges::default();
            sound.append("path", &frame(3, &[1, 2, 3]));
            sound.clear("other");
            sound.declare("series", &Declaration::new(7, "{}"));
            sound.create("series");
            let mut bytes = sound.0;
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x81;
            let _ = Tails::default().apply(&bytes, 0);
            let _ = Tails::default().apply(&bytes[..at], 0);
        }
    }
}
