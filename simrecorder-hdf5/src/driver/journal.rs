//! The on-disk form of the journal of an HDF5 file.
//!
//! A journal is a log of records ([`simrecorder_core::backend`]), one per commit, with fields of
//! its own in the header and after it:
//!
//! ```text
//! 28  4  id of the process that writes it, for messages; zero if there is none
//! 32 16  id of the HDF5 file; zero if it is not known yet
//! 48  8  base: the length of the main file when the journal began
//! 56  4  CRC-32 of the page of the main file that holds its superblock, at that time
//! 60  4  CRC-32 of 0..24 and 32..60; the checksum of the first record starts from it
//! 64  8  changes: with the process, the one number that is changed in place
//! 72     the first record
//! ```
//!
//! `changes` is odd while a checkpoint copies pages to the main file. [`super`] explains how
//! readers use it.
//!
//! The payload of a record:
//!
//! ```text
//!  0  8  end of allocation: the length of the HDF5 file
//!  8  8  n, the number of pages
//! 16 8n  numbers of the pages, each larger than the one before
//!    1024n  the pages
//!       the note of the caller: the rest
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use simrecorder_core::backend::FileHandle;
use simrecorder_core::backend::{
    self, Format, HEADER_LEN, Position, Record, generation, names, u32_at, u64_at,
};
use simrecorder_core::{Error, ErrorKind, Result};

use super::pages::{PAGE, PAGE_LEN};
use super::superblock;

pub(super) const FORMAT: Format = Format {
    magic: *b"\x89SRH\r\n\x1a\n",
    version: 1,
};
const FIELDS_LEN: usize = 28;
const WRITER_AT: u64 = 28;
const CHANGES_AT: u64 = 64;
/// The length of a journal without records.
pub(super) const START: u64 = 72;
const PAYLOAD_HEAD: usize = 16;

/// A range of the bytes of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalRange {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// The start of a journal, which does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: [u8; 16],
    pub(super) base: u64,
    pub(super) superblock: u32,
}

impl Header {
    /// The bytes of a new journal, and the position of its first record.
    pub(super) fn encode(&self) -> ([u8; START as usize], Position) {
        let (generic, position) = FORMAT.encode_header(generation());
        let mut bytes = [0; START as usize];
        bytes[..HEADER_LEN].copy_from_slice(&generic);
        bytes[WRITER_AT as usize..HEADER_LEN].copy_from_slice(&std::process::id().to_le_bytes());
        bytes[32..48].copy_from_slice(&self.id);
        bytes[48..56].copy_from_slice(&self.base.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.superblock.to_le_bytes());
        let position = position.after(&bytes[HEADER_LEN..HEADER_LEN + FIELDS_LEN], START);
        bytes[60..64].copy_from_slice(&position.checksum().to_le_bytes());
        (bytes, position)
    }

    fn read(file: &File, path: &Path) -> Result<(Self, Position)> {
        let position = FORMAT.read_header(file, path)?;
        let mut bytes = [0; START as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(Error::io("open", path, error));
            }
            result => result.map_err(|_| corrupt("it is shorter than its header"))?,
        }
        let position = position.after(&bytes[HEADER_LEN..HEADER_LEN + FIELDS_LEN], START);
        if u32_at(&bytes, 60) != position.checksum() {
            return Err(corrupt("its header is damaged"));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[32..48]);
        let base = u64_at(&bytes, 48);
        if base > i64::MAX as u64 - PAGE_LEN {
            return Err(corrupt("it begins after the end of any file"));
        }
        let superblock = u32_at(&bytes, 56);
        Ok((
            Self {
                id,
                base,
                superblock,
            },
            position,
        ))
    }
}

/// Writes the id of this process into the header of a journal that it writes, for messages only.
pub(super) fn sign(journal: &File) {
    let _ = journal.write_all_at(&std::process::id().to_le_bytes(), WRITER_AT);
}

/// Removes the id that [`sign`] wrote, unless the journal was removed.
pub(super) fn unsign(journal: &File, path: &Path) {
    if names(path, journal).unwrap_or(false) {
        let _ = journal.write_all_at(&[0; 4], WRITER_AT);
    }
}

/// The process that writes a journal, if its header names one.
pub(super) fn writer_of(journal: &File) -> Option<u32> {
    let mut bytes = [0; 4];
    journal.read_exact_at(&mut bytes, WRITER_AT).ok()?;
    Some(u32::from_le_bytes(bytes)).filter(|process| *process != 0)
}

/// Reads the field `changes`.
pub(super) fn read_changes(file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, CHANGES_AT)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The offset of `changes` in a journal, and the bytes to write there.
pub(super) fn encode_changes(changes: u64) -> (u64, [u8; 8]) {
    (CHANGES_AT, changes.to_le_bytes())
}

/// Whether pages are being copied to the main file, or were when the writer was killed.
pub(super) fn is_announced(changes: u64) -> bool {
    changes % 2 == 1
}

/// A record of some pages, in order, before a note, for which it has room.
pub(super) fn encode_pages<'a>(
    eoa: u64,
    pages: impl ExactSizeIterator<Item = (u64, &'a [u8; PAGE])> + Clone,
    note_len: usize,
) -> Record {
    let count = pages.len();
    let mut record = Record::with_capacity(PAYLOAD_HEAD + count * (8 + PAGE) + note_len);
    record.extend(&eoa.to_le_bytes());
    record.extend(&(count as u64).to_le_bytes());
    for (number, _) in pages.clone() {
        record.extend(&number.to_le_bytes());
    }
    for (_, page) in pages {
        record.extend(page);
    }
    record
}

/// A record of some pages, in order, and a note.
pub(super) fn encode<'a>(
    eoa: u64,
    pages: impl ExactSizeIterator<Item = (u64, &'a [u8; PAGE])> + Clone,
    note: &[u8],
) -> Record {
    let mut record = encode_pages(eoa, pages, note.len());
    record.extend(note);
    record
}

/// A decoded payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    pub(super) eoa: u64,
    numbers: &'a [u8],
    /// The offset of the first page in the journal.
    pages_at: u64,
    pub(super) note: JournalRange,
}

impl<'a> Payload<'a> {
    /// Decodes the payload at `offset` of the journal.
    pub(super) fn decode(bytes: &'a [u8], offset: u64) -> Result<Self> {
        let too_short = || corrupt("a record ends too early");
        if bytes.len() < PAYLOAD_HEAD {
            return Err(too_short());
        }
        let eoa = u64_at(bytes, 0);
        if eoa > i64::MAX as u64 - PAGE_LEN {
            return Err(corrupt("a record gives the file an impossible length"));
        }
        let count = usize::try_from(u64_at(bytes, 8)).map_err(|_| too_short())?;
        let numbers_end = count
            .checked_mul(8)
            .and_then(|length| length.checked_add(PAYLOAD_HEAD));
        let note_at = numbers_end
            .and_then(|end| count.checked_mul(PAGE)?.checked_add(end))
            .filter(|&end| end <= bytes.len());
        let (Some(numbers_end), Some(note_at)) = (numbers_end, note_at) else {
            return Err(too_short());
        };
        let numbers = &bytes[PAYLOAD_HEAD..numbers_end];
        Ok(Self {
            eoa,
            numbers,
            pages_at: offset + numbers_end as u64,
            note: JournalRange {
                offset: offset + note_at as u64,
                len: (bytes.len() - note_at) as u64,
            },
        })
    }

    /// One of the pages, from the decoded payload and its offset.
    fn page<'b>(&self, number: u64, bytes: &'b [u8], offset: u64) -> Option<&'b [u8]> {
        let (_, at) = self.pages().find(|&(it, _)| it == number)?;
        let at = usize::try_from(at - offset).ok()?;
        bytes.get(at..at + PAGE)
    }

    /// The pages, and the offset of each in the journal.
    fn pages(&self) -> impl Iterator<Item = (u64, u64)> {
        let offsets = (0..).map(|index| self.pages_at + index * PAGE_LEN);
        self.numbers
            .chunks_exact(8)
            .map(|bytes| u64_at(bytes, 0))
            .zip(offsets)
    }
}

impl LoadedJournal {
    /// Checks that the journal was written for a main file of this length and with this page, which
    /// contains the superblock at offset `at`.
    pub(super) fn check_main(&self, length: u64, page: &[u8; PAGE], at: usize) -> Result<()> {
        let need = self.committed.eoa;
        if length < need {
            let message = format!(
                "the HDF5 file has {length} bytes, its journal needs {need}: the file is truncated"
            );
            return Err(Error::new(ErrorKind::Corrupt, "open", message));
        }
        // A checkpoint may have been interrupted while it wrote this page. If the page differs for
        // another reason, the journal does not overwrite it.
        let is_torn = || {
            let own = crc32fast::hash(superblock::own(&page[at..]));
            is_announced(self.changes) && self.own_superblocks.contains(&own)
        };
        if !self.superblocks.contains(&crc32fast::hash(page)) && !is_torn() {
            let message = "the HDF5 file and the journal next to it do not belong together, or \
                           other software changed the file since; move the journal away to open \
                           the file as it is";
            return Err(Error::new(ErrorKind::Corrupt, "open", message));
        }
        Ok(())
    }
}

pub(super) fn corrupt(what: &str) -> Error {
    let message = format!("the journal does not fit an HDF5 file: {what}");
    Error::new(ErrorKind::Corrupt, "open", message)
}

/// The contents of the records of a journal.
#[derive(Debug)]
pub(super) struct CommittedPages {
    /// The pages in the journal, with their offsets.
    pub(super) pages: BTreeMap<u64, u64>,
    /// The end of allocation at the last commit, or the length of the main file before the first.
    pub(super) eoa: u64,
    /// The main file was unused from here on at every commit: a multiple of a page.
    pub(super) fresh: u64,
}

impl CommittedPages {
    pub(super) fn new(base: u64) -> Self {
        Self {
            pages: BTreeMap::new(),
            eoa: base,
            fresh: base.next_multiple_of(PAGE_LEN),
        }
    }

    pub(super) fn apply(&mut self, payload: &Payload<'_>) -> Result<()> {
        let mut last = None;
        for (number, offset) in payload.pages() {
            if last.is_some_and(|last| last >= number) {
                return Err(corrupt("the pages of a record are not in order"));
            }
            if number >= self.fresh / PAGE_LEN {
                return Err(corrupt("a page is beyond the end of the file"));
            }
            last = Some(number);
            self.pages.insert(number, offset);
        }
        self.eoa = payload.eoa;
        self.fresh = self.fresh.max(payload.eoa.next_multiple_of(PAGE_LEN));
        Ok(())
    }
}

/// A journal that was read from its start.
#[derive(Debug)]
pub(super) struct LoadedJournal {
    pub(super) file: Arc<FileHandle>,
    pub(super) header: Header,
    pub(super) changes: u64,
    pub(super) committed: CommittedPages,
    /// The non-empty notes, in order.
    pub(super) notes: Vec<JournalRange>,
    /// The checksums of the page with the superblock, when the journal began and at each commit.
    pub(super) superblocks: Vec<u32>,
    /// The checksums of the superblock alone, at each commit.
    pub(super) own_superblocks: Vec<u32>,
    /// The position after the last complete record.
    pub(super) end: Position,
    /// The length of the file.
    pub(super) length: u64,
}

/// Reads the complete records of a journal. `superblock` is the offset of the superblock in the
/// main file.
pub(super) fn load(file: FileHandle, path: &Path, superblock: u64) -> Result<LoadedJournal> {
    let failed = |error| Error::io("open", path, error);
    let (header, start) =
        Header::read(&file, path).map_err(|error| error.with_key(path.display().to_string()))?;
    // Before the records: if a reader notices a later change of this field, it knows that the
    // change came after them.
    let changes = read_changes(&file).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut committed = CommittedPages::new(header.base);
    let mut notes = Vec::new();
    let mut superblocks = vec![header.superblock];
    let mut own_superblocks = Vec::new();
    let scanned = backend::scan(&file, path, start, length, &mut |bytes, offset| {
        let payload = Payload::decode(bytes, offset)?;
        committed.apply(&payload)?;
        if let Some(page) = payload.page(superblock / PAGE_LEN, bytes, offset) {
            let own = superblock::own(&page[(superblock % PAGE_LEN) as usize..]);
            superblocks.push(crc32fast::hash(page));
            own_superblocks.push(crc32fast::hash(own));
        }
        if payload.note.len > 0 {
            notes.push(payload.note);
        }
        Ok(())
    })?;
    Ok(LoadedJournal {
        file: Arc::new(file),
        header,
        changes,
        committed,
        notes,
        superblocks,
        own_superblocks,
        end: scanned.position,
        length,
    })
}

/// Passes notes to the caller, one after another.
pub(super) fn deliver(
    file: &File,
    path: &Path,
    ranges: &[JournalRange],
    notes: &mut dyn FnMut(&[u8], JournalRange) -> Result<()>,
) -> Result<()> {
    let mut note = Vec::new();
    for &range in ranges {
        // It was already read as a part of its record, so it exists and fits in memory.
        note.resize(usize::try_from(range.len).unwrap_or(0), 0);
        file.read_exact_at(&mut note, range.offset)
            .map_err(|error| Error::io("open", path, error))?;
        notes(&note, range)?;
    }
    Ok(())
}
