//! Tails: rows that do not fill a chunk yet, in the journal.
//!
//! With each commit, the journal stores a list of changes. Each is one byte, a path (`u32` length
//! and UTF-8), and the fields below. All numbers are little endian.
//!
//! ```text
//! 1 append   path of a dataset, frame (u64 length, bytes)
//! 2 clear    path of a dataset
//! 3 declare  path of a series, cut base (u64), declaration (u64 length, JSON)
//! 4 create   path of a series
//! 5 replace  path of a dataset, bytes that go at the end of its tail (u64), frames (u64 length, bytes)
//! 6 declare a series that begins with filled records, the rest as 3
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use simrecorder_core::backend::FileHandle;
use simrecorder_core::backend::{FrameSize, RowSize, Rows, frame_sizes, read_frames, zeroed};
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::declared::{Declaration, DeclaredSeries};

const APPEND: u8 = 1;
const CLEAR: u8 = 2;
const DECLARE: u8 = 3;
const CREATE: u8 = 4;
const REPLACE: u8 = 5;
const DECLARE_FILLED: u8 = 6;

/// The maximum free capacity of a list of frames.
const FRAMES_AHEAD: usize = 16;

/// The tail of one dataset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// Its frames, in order, with the place of each in the journal.
    frames: Vec<(u64, FrameSize)>,
    pub(crate) row_count: u64,
}

impl Tail {
    /// The size of its frames in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        bytes_of(&self.frames)
    }

    /// Its frames.
    pub(crate) fn frames(&self) -> Arc<[FrameSize]> {
        self.frames.iter().map(|(_, size)| *size).collect()
    }

    /// Its rows, beginning with the row `first`.
    pub(crate) fn read(&self, journal: &File, first: u64, size: RowSize) -> Result<Rows> {
        read_frames(&read_bytes(&self.frames, journal)?, first, size)
    }

    /// The rows from `first` on, which are in its last `bytes` bytes.
    pub(crate) fn read_end(
        &self,
        journal: &File,
        bytes: u64,
        first: u64,
        size: RowSize,
    ) -> Result<Rows> {
        let (kept, _) = self.before_end(bytes)?;
        read_frames(&read_bytes(&self.frames[kept..], journal)?, first, size)
    }

    /// The number of frames before the last `bytes` bytes, and the number of rows in the others.
    fn before_end(&self, bytes: u64) -> Result<(usize, u64)> {
        let (mut kept, mut rows, mut left) = (self.frames.len(), 0, bytes);
        while left > 0 {
            let frame = kept.checked_sub(1).map(|last| self.frames[last].1);
            let frame = frame.filter(|frame| frame.bytes <= left);
            let frame = frame.ok_or_else(|| damaged("it replaces no whole frames"))?;
            left -= frame.bytes;
            rows += frame.rows;
            kept -= 1;
        }
        Ok((kept, rows))
    }

    /// Adds frames that are stored at `offset` of the journal.
    fn push(&mut self, frames: &[u8], mut offset: u64) -> Result<()> {
        let first = frames.first_chunk();
        let first = first.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        for frame in frame_sizes(frames, first)? {
            // A thousand series have such a list each, so free capacity would add up.
            if self.frames.len() == self.frames.capacity() {
                self.frames.reserve_exact(FRAMES_AHEAD);
            }
            let row_count = self.row_count.checked_add(frame.rows);
            self.row_count = row_count.ok_or_else(|| damaged("a tail has too many rows"))?;
            self.frames.push((offset, frame));
            offset += frame.bytes;
        }
        Ok(())
    }
}

fn bytes_of(frames: &[(u64, FrameSize)]) -> u64 {
    frames.iter().map(|(_, frame)| frame.bytes).sum()
}

/// The bytes of frames. Adjacent frames are read at once.
fn read_bytes(frames: &[(u64, FrameSize)], journal: &File) -> Result<Vec<u8>> {
    let length = usize::try_from(bytes_of(frames)).unwrap_or(usize::MAX);
    let mut bytes = zeroed(length)?;
    let mut rest = &mut bytes[..];
    let follows = |a: &(u64, FrameSize), b: &(u64, FrameSize)| a.0 + a.1.bytes == b.0;
    for together in frames.chunk_by(follows) {
        let (part, others) = rest.split_at_mut(bytes_of(together) as usize);
        let read = journal.read_exact_at(part, together[0].0);
        read.map_err(|error| {
            let message = "the journal could not be read";
            Error::new(ErrorKind::Io, "read", message).with_source(error)
        })?;
        rest = others;
    }
    Ok(bytes)
}

/// The tails of all datasets, by path, and the series that have no datasets yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tails {
    tails: HashMap<String, Tail>,
    /// Clones share it: open files use it, too.
    pub(crate) declared: DeclaredSeries,
    /// Their total size in the journal.
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

    /// The paths of all datasets with a tail, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.tails.keys().cloned().collect();
        paths.sort_unstable();
        paths
    }

    /// The same paths, the largest tail first.
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
                    let offset = offset + reader.at as u64;
                    let frames = reader.take(length)?;
                    let tail = self.tails.entry(path.to_owned()).or_default();
                    tail.push(frames, offset)?;
                    self.bytes += length;
                }
                REPLACE => {
                    let (bytes, length) = (reader.number(8)?, reader.number(8)?);
                    let offset = offset + reader.at as u64;
                    let frames = reader.take(length)?;
                    let tail = self.tails.get_mut(path);
                    let tail = tail.ok_or_else(|| damaged("there is no tail to replace"))?;
                    let (kept, rows) = tail.before_end(bytes)?;
                    tail.frames.truncate(kept);
                    tail.frames.shrink_to(kept + FRAMES_AHEAD);
                    tail.row_count -= rows;
                    tail.push(frames, offset)?;
                    self.bytes = self.bytes - bytes + length;
                }
                CLEAR => {
                    if let Some(tail) = self.tails.remove(path) {
                        self.bytes -= tail.bytes();
                    }
                }
                DECLARE | DECLARE_FILLED => {
                    let cut_base = reader.number(8)?;
                    let length = reader.number(8)?;
                    let text = std::str::from_utf8(reader.take(length)?)
                        .map_err(|error| damaged("a declaration is not text").with_source(error))?;
                    let declaration = Declaration::new(cut_base, text, code == DECLARE_FILLED);
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

    /// Adds the frames of one tail, as they are in the journal.
    pub(crate) fn rewrite(
        &self,
        path: &str,
        journal: &File,
        changes: &mut TailChanges,
    ) -> Result<()> {
        let Some(tail) = self.tails.get(path) else {
            return Ok(());
        };
        changes.append(path, &read_bytes(&tail.frames, journal)?);
        Ok(())
    }
}

/// The changes of a commit to tails, encoded.
#[derive(Debug, Default)]
pub(crate) struct TailChanges(Vec<u8>);

impl TailChanges {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes room for so many bytes. Growing little by little would take twice the memory.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve_exact(bytes);
    }

    fn path(&mut self, code: u8, path: &str) {
        self.0.push(code);
        // Keys were already checked to be far shorter.
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(path.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Appends frames to a tail.
    pub(crate) fn append(&mut self, path: &str, frames: &[u8]) {
        self.path(APPEND, path);
        self.bytes(frames);
    }

    /// Replaces the last `bytes` bytes of a tail, which are complete frames.
    pub(crate) fn replace(&mut self, path: &str, bytes: u64, frames: &[u8]) {
        self.path(REPLACE, path);
        self.0.extend(bytes.to_le_bytes());
        self.bytes(frames);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes the changes that were added since it had this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Declares a series. Its datasets are created later.
    pub(crate) fn declare(&mut self, path: &str, declaration: &Declaration) {
        let code = match declaration.is_filled {
            true => DECLARE_FILLED,
            false => DECLARE,
        };
        self.path(code, path);
        self.0.extend(declaration.cut_base.to_le_bytes());
        self.bytes(declaration.text().as_bytes());
    }

    /// Records that a declared series has its datasets now.
    pub(crate) fn create(&mut self, path: &str) {
        self.path(CREATE, path);
    }

    /// Removes a tail.
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
            .map_err(|error| damaged("a path is not text").with_source(error))
    }
}

fn damaged(what: &str) -> Error {
    let message = format!("a change of a tail in the journal cannot be decoded: {what}");
    Error::new(ErrorKind::Corrupt, "open", message)
}

/// The journal from which tails were read. It stays readable when another one replaces it.
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
        let last = tail.frames()[1].bytes;
        let end = tail.read_end(&file, last, 7, RowSize::Fixed(8)).unwrap();
        assert_eq!(end, numbers(&[3]));

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

        let mut replaced = TailChanges::default();
        replaced.replace("a", last, &frame(7, &[3, 4]));
        again
            .apply(
                replaced.as_bytes(),
                offset + together.as_bytes().len() as u64,
            )
            .unwrap();
        file.write_all(replaced.as_bytes()).unwrap();
        let tail = again.get("a").unwrap();
        assert_eq!(
            tail.read(&file, 5, RowSize::Fixed(8)).unwrap(),
            numbers(&[1, 2, 3, 4])
        );
        assert_eq!((tail.row_count, tail.frames().len()), (4, 2));
        let mut part = TailChanges::default();
        part.replace("a", 1, &frame(7, &[3]));
        again.apply(part.as_bytes(), offset).unwrap_err();
    }

    proptest! {
        #[test]
        fn any_changes_decode_or_fail(changes: Vec<u8>, flip in any::<prop::sample::Index>()) {
            let _ = Tails::default().apply(&changes, 0);
            let mut sound = TailChanges::default();
            sound.append("path", &frame(3, &[1, 2, 3]));
            sound.clear("other");
            sound.append("path", &frame(6, &[4]));
            sound.replace("path", 36, &frame(6, &[4, 5]));
            sound.declare("series", &Declaration::new(7, "{}", false));
            sound.declare("filled", &Declaration::new(7, "{}", true));
            sound.create("series");
            let mut bytes = sound.0;
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x81;
            let _ = Tails::default().apply(&bytes, 0);
            let _ = Tails::default().apply(&bytes[..at], 0);
        }
    }
}
