//! The writer of a file: libhdf5's writes, commits and checkpoints.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use simrecorder_core::backend::{FileHandle, Position, check_not_deleted};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::{Disk, Paths};
use super::journal::{self, CommittedPages, Header, JournalRange, LoadedJournal, Payload};
use super::locks::{MainLock, next_journal_file};
use super::pages::{Layers, PAGE, PAGE_LEN, PendingPages, runs};
use super::superblock;

/// The number of pages that are copied to the main file at a time.
const RUN: usize = 1024;
/// The maximum number of pages that are kept although they will be discarded.
const KEPT: usize = 32 << 10;
/// A note of a record that is written from where it is, since a copy would take as much memory.
const LONG_NOTE: usize = 1 << 20;

/// Changes a file, and holds its locks.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) disk: Disk,
    pub(super) paths: Paths,
    pub(super) main: Arc<File>,
    pub(super) lock: MainLock,
    pub(super) journal: Journal,
    pub(super) committed: CommittedPages,
    pending: PendingPages,
    /// The end of allocation, as libhdf5 last set it.
    eoa: u64,
    /// The length of the main file.
    main_length: u64,
    /// Whether something was written in place since the last commit.
    in_place: bool,
    /// Whether the name of the journal may not be durable yet.
    unsynced_name: bool,
    /// The offset of the superblock.
    pub(super) superblock: u64,
    pub(super) state: WriterState,
}

/// The journal that is being written, locked.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) file: Arc<FileHandle>,
    pub(super) header: Header,
    pub(super) end: Position,
    pub(super) changes: u64,
}

/// What a writer can still do.
#[derive(Debug)]
pub(super) enum WriterState {
    Usable,
    /// A part of the writes since the last commit is lost, so all of them must be abandoned.
    ///
    /// libhdf5 does not notice earlier: after a failed flush, it could not close the file.
    Lost(Error),
    /// The writes since the last commit were discarded.
    Abandoned,
    /// The contents of the journal are unknown.
    Broken(Error),
}

impl Writer {
    pub(super) fn new(
        disk: Disk,
        paths: Paths,
        main: Arc<File>,
        lock: MainLock,
        loaded: LoadedJournal,
    ) -> Result<Self> {
        let length = main
            .metadata()
            .map_err(|error| Error::io("open", &paths.main, error));
        let main_length = length?.len();
        let LoadedJournal {
            file,
            header,
            changes,
            committed,
            end,
            ..
        } = loaded;
        Ok(Self {
            disk,
            main,
            lock,
            journal: Journal {
                file,
                header,
                end,
                changes,
            },
            eoa: committed.eoa,
            committed,
            pending: PendingPages::new(),
            main_length,
            in_place: false,
            unsynced_name: false,
            superblock: 0,
            state: WriterState::Usable,
            paths,
        })
    }

    pub(super) fn layers(&self) -> Layers<'_> {
        Layers {
            pending: &self.pending,
            committed: &self.committed.pages,
            journal: Some(&self.journal.file),
            main: &self.main,
        }
    }

    pub(super) fn eoa(&self) -> u64 {
        self.eoa
    }

    pub(super) fn set_eoa(&mut self, eoa: u64) {
        self.eoa = eoa;
    }

    pub(super) fn main_length(&self) -> u64 {
        self.main_length
    }

    /// Writes in pages where space was in use at the last commit, and in place elsewhere.
    ///
    /// After a failure, all writes are stored in pages, which are never committed: see
    /// [`WriterState::Lost`].
    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        if !matches!(self.state, WriterState::Usable) {
            self.keep(address, bytes);
            return Ok(());
        }
        let fresh = self.committed.fresh;
        let over = usize::try_from(fresh.saturating_sub(address)).unwrap_or(usize::MAX);
        let (over, new) = bytes.split_at(over.min(bytes.len()));
        self.write_pages(address, over)
            .and_then(|()| self.write_in_place(address + over.len() as u64, new))
            .map_err(|error| {
                let error = Error::io("write", &self.paths.main, error);
                self.state = WriterState::Lost(error.clone());
                self.keep(address, bytes);
                error
            })
    }

    /// Lets libhdf5 read what it wrote, although it will be discarded.
    fn keep(&mut self, address: u64, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.pending.len());
        if bytes.len() / PAGE < room && self.write_pages(address, bytes).is_err() {
            tracing::debug!("what libhdf5 writes for nothing is not kept");
        }
    }

    fn write_pages(&mut self, mut address: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let number = address / PAGE_LEN;
            let skip = (address % PAGE_LEN) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(PAGE - skip));
            if !self.pending.contains_key(&number) {
                let page = if now.len() == PAGE {
                    Box::new([0; PAGE])
                } else {
                    self.layers().page(number)?
                };
                self.pending.insert(number, page);
            }
            if let Some(page) = self.pending.get_mut(&number) {
                page[skip..skip + now.len()].copy_from_slice(now);
            }
            address += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn write_in_place(&mut self, address: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.in_place = true;
        let result = self.disk.write(&self.main, bytes, address);
        // Include what was written before a failure.
        self.main_length = self.main_length.max(address + bytes.len() as u64);
        if result.is_err() {
            self.main_length = self.main.metadata()?.len();
        }
        result
    }

    /// Makes the main file as long as libhdf5 expects, but never shorter.
    pub(super) fn extend(&mut self) -> Result<()> {
        if self.main_length >= self.eoa || !matches!(self.state, WriterState::Usable) {
            return Ok(());
        }
        self.in_place = true;
        if let Err(error) = self.disk.set_len(&self.main, self.eoa) {
            let error = Error::io("write", &self.paths.main, error);
            self.state = WriterState::Lost(error.clone());
            return Err(error);
        }
        self.main_length = self.eoa;
        Ok(())
    }

    /// Makes everything that was written since the last commit durable and visible, or none of it.
    pub(super) fn commit(&mut self, note: &[u8]) -> Result<JournalRange> {
        self.check("commit")?;
        if self.pending.is_empty() && note.is_empty() && self.eoa == self.committed.eoa {
            return Ok(JournalRange {
                offset: self.journal.end.offset,
                len: 0,
            });
        }
        if self.journal.header.id == [0; 16] {
            let message = "the file has no id yet";
            return Err(Error::new(ErrorKind::Internal, "commit", message));
        }
        self.sync_name()?;
        self.extend()?;
        self.sync_in_place()?;
        let range = self.append(note)?;
        self.pending.clear();
        check_not_deleted(&self.paths.main, &[&self.main, &self.journal.file])?;
        Ok(range)
    }

    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        let (message, cause) = match &self.state {
            WriterState::Usable => return Ok(()),
            WriterState::Abandoned => {
                let message = "the changes since the last commit were discarded, and the file \
                    has not been reopened";
                return Err(Error::new(ErrorKind::Internal, operation, message));
            }
            WriterState::Lost(cause) => ("some writes since the last commit are lost", cause),
            WriterState::Broken(cause) => (
                "an earlier failure left the journal in an unknown state; open the recording again to \
                 continue",
                cause,
            ),
        };
        Err(Error::new(cause.kind(), operation, message)
            .with_key(self.paths.main.display().to_string())
            .with_source(cause.clone()))
    }

    /// Lets the next commit clear the flags of a writer that was killed without a journal.
    ///
    /// libhdf5 refuses to open a file with these flags, except through this driver, which offers
    /// libhdf5 no locks. This driver sets none.
    pub(super) fn clear_open_flags(&mut self) -> io::Result<()> {
        let number = self.superblock / PAGE_LEN;
        let mut page = self.layers().page(number)?;
        let skip = (self.superblock % PAGE_LEN) as usize;
        if superblock::clear_open_flags(&mut page[skip..]) {
            self.pending.insert(number, page);
        }
        Ok(())
    }

    fn sync_in_place(&mut self) -> Result<()> {
        if !self.in_place {
            return Ok(());
        }
        if let Err(error) = self.disk.sync(&self.main) {
            // The system may have dropped failed writes, and does not report them again.
            let error = Error::io("commit", &self.paths.main, error);
            self.state = WriterState::Lost(error.clone());
            return Err(error);
        }
        self.in_place = false;
        Ok(())
    }

    /// Appends a record of the pending pages to the journal.
    fn append(&mut self, note: &[u8]) -> Result<JournalRange> {
        let pages = PageIter(self.pending.iter());
        let write = |bytes: &[u8], at| self.disk.write(&self.journal.file, bytes, at);
        if note.len() < LONG_NOTE {
            let sealed = journal::encode(self.eoa, pages, note).seal(self.journal.end);
            let written = write(&sealed.bytes, sealed.start);
            return self.finish_append(
                written,
                sealed.payload(),
                sealed.payload_offset(),
                sealed.end,
            );
        }
        let sealed = journal::encode_pages(self.eoa, pages, 0).seal_before(note, self.journal.end);
        let (note_at, note_len) = (sealed.start + sealed.bytes.len() as u64, note.len() as u64);
        let checksum = sealed.end.checksum().to_le_bytes();
        let written = write(&sealed.bytes, sealed.start)
            .and_then(|()| write(note, note_at))
            .and_then(|()| write(&checksum, note_at + note_len));
        let range = self.finish_append(
            written,
            sealed.payload(),
            sealed.payload_offset(),
            sealed.end,
        )?;
        Ok(JournalRange {
            len: note_len,
            ..range
        })
    }

    /// Makes a record durable whose payload begins with these bytes at `offset`; returns where its note is.
    fn finish_append(
        &mut self,
        written: io::Result<()>,
        payload: &[u8],
        offset: u64,
        end: Position,
    ) -> Result<JournalRange> {
        let written = written.and_then(|()| self.disk.sync(&self.journal.file));
        if let Err(error) = written {
            let error = Error::io("commit", &self.paths.journal, error);
            self.take_back(self.journal.end.offset, &error);
            return Err(error);
        }
        self.journal.end = end;
        let payload = Payload::decode(payload, offset)?;
        self.committed.apply(&payload)?;
        Ok(payload.note)
    }

    /// Cuts off a record that is incomplete or not durable: it would hide the records after it.
    fn take_back(&mut self, start: u64, cause: &Error) {
        let file = Arc::clone(&self.journal.file);
        let cut = self
            .disk
            .set_len(&file, start)
            .and_then(|()| self.disk.sync(&file))
            // Readers may have seen it. The space that it refers to will be overwritten.
            .and_then(|()| self.set_changes(self.journal.changes.wrapping_add(2)));
        if let Err(error) = cut {
            tracing::error!(%error, "the journal could not be truncated");
            self.state = WriterState::Broken(cause.clone());
        }
    }

    /// Tells readers that what they read may change.
    pub(super) fn set_changes(&mut self, changes: u64) -> io::Result<()> {
        let (at, bytes) = journal::encode_changes(changes);
        self.disk.write(&self.journal.file, &bytes, at)?;
        self.journal.changes = changes;
        Ok(())
    }

    /// Discards everything since the last commit, and everything that libhdf5 still writes until it
    /// opens the file again.
    pub(super) fn abandon(&mut self) {
        if !matches!(self.state, WriterState::Broken(_)) {
            self.state = WriterState::Abandoned;
        }
    }

    /// Called when libhdf5 opens the file.
    pub(super) fn reopened(&mut self) {
        match self.state {
            WriterState::Abandoned => {
                self.drop_changes();
                self.state = WriterState::Usable;
            }
            // None of it can be committed any more.
            WriterState::Broken(_) => self.drop_changes(),
            WriterState::Usable | WriterState::Lost(_) => {}
        }
    }

    fn is_clean(&self) -> bool {
        self.pending.is_empty() && !self.in_place
    }

    fn drop_changes(&mut self) {
        self.pending.clear();
        self.in_place = false;
        self.eoa = self.committed.eoa;
    }

    /// Copies everything that was committed to the main file, and begins a new journal with a note.
    pub(super) fn checkpoint(&mut self, note: &[u8], patience: Duration) -> Result<JournalRange> {
        self.check("checkpoint")?;
        self.settle("checkpoint", self.is_clean(), patience)?;
        self.renew_journal(self.journal.header.id, note)
    }

    /// Fails if another program is reading the main file.
    pub(super) fn check_not_held(&mut self) -> Result<()> {
        self.lock
            .exclude("checkpoint", &self.paths.main, Duration::ZERO)?;
        self.lock.share(&self.paths.main)
    }

    /// Does the last work: the main file contains everything, and no journal remains.
    pub(super) fn close(&mut self) -> Result<()> {
        if let WriterState::Broken(_) = self.state {
            return self.check("close");
        }
        self.drop_changes();
        self.settle("close", true, self.disk.lock_timeout)?;
        let failed = |error| Error::io("close", &self.paths.journal, error);
        self.disk.remove(&self.paths.journal).map_err(failed)?;
        self.disk.sync_folder(&self.paths).map_err(failed)
    }

    /// Copies the committed pages to the main file, and truncates it to its length if `cut` is set.
    fn settle(&mut self, operation: &'static str, cut: bool, patience: Duration) -> Result<()> {
        let failed = |path: &std::path::Path, error| Error::io(operation, path, error);
        let eoa = self.committed.eoa;
        let length = (cut && eoa != self.main_length).then_some(eoa);
        let changes_main = !self.committed.pages.is_empty() || length.is_some();
        if changes_main {
            self.lock.exclude(operation, &self.paths.main, patience)?;
        }
        // The next odd number, whether or not the last checkpoint was completed.
        let announced = self.journal.changes.wrapping_add(1) | 1;
        let result = self
            .set_changes(announced)
            .and_then(|()| match changes_main {
                true => self.disk.sync(&self.journal.file),
                false => Ok(()),
            })
            .map_err(|error| failed(&self.paths.journal, error))
            .and_then(|()| {
                if changes_main {
                    self.copy_home(length)
                        .map_err(|error| failed(&self.paths.main, error))?;
                }
                Ok(())
            });
        if changes_main {
            self.lock.share(&self.paths.main)?;
        }
        result
    }

    /// Copies the committed pages, truncates the main file to a length, and makes both durable.
    fn copy_home(&mut self, length: Option<u64>) -> io::Result<()> {
        let copied = copy_home(
            self.disk,
            &self.committed,
            &self.journal.file,
            &self.main,
            length,
        );
        // It may have been truncated although not everything succeeded.
        self.main_length = self.main.metadata()?.len();
        copied
    }

    /// Completes a checkpoint that an earlier writer began.
    pub(super) fn finish_checkpoint(&mut self) -> io::Result<()> {
        self.copy_home(Some(self.committed.eoa))?;
        self.set_changes(self.journal.changes.wrapping_add(1))
    }

    /// Replaces the journal, for a main file that contains everything that was committed.
    fn renew_journal(&mut self, id: [u8; 16], note: &[u8]) -> Result<JournalRange> {
        let placed = self
            .next_journal(id, note)
            .and_then(|next| self.replace_journal(next));
        if placed.is_err() {
            let _ = self.disk.remove(&self.paths.next_journal);
        }
        placed
    }

    /// Writes a new journal next to the old one.
    fn next_journal(
        &mut self,
        id: [u8; 16],
        note: &[u8],
    ) -> Result<(Journal, CommittedPages, JournalRange)> {
        let eoa = self.committed.eoa;
        // What was written in place since the last commit must stay in place.
        let base = if self.is_clean() {
            eoa
        } else {
            self.committed.fresh
        };
        let superblock = superblock::page_checksum(&self.main, self.superblock)
            .map_err(|error| Error::io("checkpoint", &self.paths.main, error))?;
        let header = Header {
            id,
            base,
            superblock,
        };
        let file = next_journal_file(&self.paths)?;
        write_journal(self.disk, file, header, eoa, note)
            .map_err(|error| Error::io("checkpoint", &self.paths.next_journal, error))
    }

    /// Replaces the old journal by a new one.
    fn replace_journal(
        &mut self,
        (next, committed, range): (Journal, CommittedPages, JournalRange),
    ) -> Result<JournalRange> {
        self.disk
            .rename(&self.paths.next_journal, &self.paths.journal)
            .map_err(|error| Error::io("checkpoint", &self.paths.journal, error))?;
        self.journal = next;
        self.committed = committed;
        self.unsynced_name = true;
        // Until the next commit, which tries again, the old journal has the same contents.
        if let Err(error) = self.sync_name() {
            tracing::warn!(%error, "the new journal may lose its name in a power failure");
        }
        Ok(range)
    }

    fn sync_name(&mut self) -> Result<()> {
        if self.unsynced_name {
            self.disk
                .sync_folder(&self.paths)
                .map_err(|error| Error::io("commit", &self.paths.journal, error))?;
            self.unsynced_name = false;
        }
        Ok(())
    }

    /// Gives the file an id, which its journal will contain.
    pub(super) fn set_file_id(&mut self, id: [u8; 16]) -> Result<()> {
        self.check("open")?;
        if self.journal.header.id == id {
            return Ok(());
        }
        if self.journal.end.offset != journal::START {
            let message = "the journal holds commits of a file with another id";
            return Err(Error::new(ErrorKind::Internal, "open", message)
                .with_key(self.paths.journal.display().to_string()));
        }
        self.settle("open", false, self.disk.lock_timeout)?;
        self.renew_journal(id, &[]).map(|_| ())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        journal::unsign(&self.journal.file, &self.paths.journal);
        // A thread that still reads notes keeps the journal open, but not its lock.
        let _ = self.journal.file.unlock();
    }
}

/// Copies committed pages to the main file, truncates it to a length, and makes both durable.
pub(super) fn copy_home(
    disk: Disk,
    committed: &CommittedPages,
    journal: &File,
    main: &File,
    length: Option<u64>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (first, offsets) in runs(&committed.pages, RUN) {
        bytes.resize(offsets.len() * PAGE, 0);
        for (page, &offset) in bytes.chunks_exact_mut(PAGE).zip(&offsets) {
            journal.read_exact_at(page, offset)?;
        }
        // Bytes after the end of the file are not needed.
        let start = first * PAGE_LEN;
        let rest = committed.eoa.saturating_sub(start);
        bytes.truncate(usize::try_from(rest).unwrap_or(usize::MAX));
        disk.write(main, &bytes, start)?;
    }
    if let Some(length) = length {
        disk.set_len(main, length)?;
    }
    disk.sync(main)
}

/// Writes a journal: its header, and a record if the header is not sufficient.
pub(super) fn write_journal(
    disk: Disk,
    file: FileHandle,
    header: Header,
    eoa: u64,
    note: &[u8],
) -> io::Result<(Journal, CommittedPages, JournalRange)> {
    let (bytes, mut end) = header.encode();
    disk.set_len(&file, 0)?;
    disk.write(&file, &bytes, 0)?;
    let mut committed = CommittedPages::new(header.base);
    committed.eoa = eoa;
    let len = note.len() as u64;
    let mut offset = journal::START;
    if len > 0 || eoa != header.base {
        let sealed = journal::encode(eoa, std::iter::empty(), note).seal(end);
        offset = sealed.payload_offset() + sealed.payload().len() as u64 - len;
        end = sealed.end;
        disk.write(&file, &sealed.bytes, sealed.start)?;
    }
    disk.sync(&file)?;
    let journal = Journal {
        file: Arc::new(file),
        header,
        end,
        changes: 0,
    };
    Ok((journal, committed, JournalRange { offset, len }))
}

/// Pages with their numbers, as a record expects them.
#[derive(Clone)]
struct PageIter<'a>(std::collections::btree_map::Iter<'a, u64, Box<[u8; PAGE]>>);

impl<'a> Iterator for PageIter<'a> {
    type Item = (u64, &'a [u8; PAGE]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(&number, page)| (number, &**page))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for PageIter<'_> {}
