//! Sequences of operations of libhdf5 and the store, each compared with a plain buffer.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder_core::{Durability, ErrorKind, Result};

use super::journal::is_announced;
use super::logged_file::{LoggedFile, Role};

pub(super) const ID: [u8; 16] = [7; 16];
/// The part that no operation changes: a superblock must be there.
pub(super) const HEAD: usize = 16;

/// The length of a superblock. No file is shorter.
const SUPERBLOCK: usize = 48;

/// An empty "HDF5 file", as far as the driver checks.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00".to_vec();
    bytes.resize(700, 1);
    bytes.extend(b"simrecorder");
    bytes.resize(800, 1);
    bytes
}

pub(super) fn make_empty(path: &Path) -> Result<()> {
    fs::write(path, empty()).unwrap();
    Ok(())
}

/// An operation on a file. Offsets are taken modulo the length.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Overwrite {
        at: usize,
        length: usize,
        value: u8,
    },
    Grow {
        length: usize,
        value: u8,
    },
    Shrink {
        length: usize,
    },
    Commit {
        note: Vec<u8>,
    },
    Checkpoint {
        note: Vec<u8>,
    },
    Abandon,
    /// The process is killed, and another one continues.
    Reopen,
    Close,
    /// A reader opens the file.
    Read,
}

/// A commit: the contents of the file and the notes since the last checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) content: Vec<u8>,
    pub(super) notes: Vec<Vec<u8>>,
}

/// A reader, and what it must see.
struct Reading {
    log: Arc<LoggedFile>,
    commit: Commit,
}

/// A file that is being written, and its expected contents.
pub(super) struct Session {
    pub(super) path: PathBuf,
    pub(super) log: Option<Arc<LoggedFile>>,
    current: Vec<u8>,
    /// The last commit that returned.
    pub(super) committed: Option<Commit>,
    /// A commit that was started and did not return.
    pub(super) attempted: Option<Commit>,
    /// The contents of the main file after the last checkpoint.
    pub(super) home: Vec<u8>,
    /// A checkpoint that did not return.
    pub(super) in_checkpoint: bool,
    readers: Vec<Reading>,
    readings: u32,
}

impl Session {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            log: None,
            current: Vec::new(),
            committed: None,
            attempted: None,
            home: Vec::new(),
            in_checkpoint: false,
            readers: Vec::new(),
            readings: 0,
        }
    }

    pub(super) fn create(&mut self) -> Result<()> {
        let empty = Commit {
            content: empty(),
            notes: Vec::new(),
        };
        self.attempted = Some(empty.clone());
        let log = LoggedFile::create(&self.path, ID, Durability::Power, &mut make_empty)?;
        self.home = empty.content.clone();
        self.settle(empty);
        self.started(log);
        Ok(())
    }

    /// Continues after a commit.
    fn settle(&mut self, commit: Commit) {
        self.committed = Some(commit);
        self.attempted = None;
    }

    fn started(&mut self, log: Arc<LoggedFile>) {
        assert!(log.attach());
        self.current = self.committed().content.clone();
        log.set_eoa(self.current.len() as u64);
        self.log = Some(log);
    }

    fn committed(&self) -> &Commit {
        self.committed.as_ref().unwrap()
    }

    fn log(&self) -> &LoggedFile {
        self.log.as_ref().unwrap()
    }

    pub(super) fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Overwrite { at, length, value } => self.overwrite(*at, *length, *value),
            Op::Grow { length, value } => {
                let old = self.current.len();
                self.log().set_eoa((old + length) as u64);
                self.current.resize(old + length, 0);
                self.write(old..old + length, *value)
            }
            Op::Shrink { length } => {
                let new = self.current.len().saturating_sub(*length).max(SUPERBLOCK);
                self.current.truncate(new);
                self.log().set_eoa(new as u64);
                Ok(())
            }
            Op::Commit { note } => self.commit(note),
            Op::Checkpoint { note } => self.checkpoint(note),
            Op::Abandon => {
                self.abandon();
                Ok(())
            }
            Op::Reopen => {
                self.log = None;
                self.reopen()
            }
            Op::Close => self.close(),
            Op::Read => self.read(),
        }
    }

    fn overwrite(&mut self, at: usize, length: usize, value: u8) -> Result<()> {
        let start = HEAD + at % (self.current.len() - HEAD);
        let end = (start + length).min(self.current.len());
        self.write(start..end, value)
    }

    fn write(&mut self, range: Range<usize>, value: u8) -> Result<()> {
        let mut value = value;
        let bytes: Vec<u8> = range
            .clone()
            .map(|_| {
                value = value.wrapping_mul(5).wrapping_add(17);
                value
            })
            .collect();
        self.log().write_at(range.start as u64, &bytes)?;
        self.current[range].copy_from_slice(&bytes);
        Ok(())
    }

    fn commit(&mut self, note: &[u8]) -> Result<()> {
        let mut next = self.committed().clone();
        next.content.clone_from(&self.current);
        if !note.is_empty() {
            next.notes.push(note.to_vec());
        }
        self.attempted = Some(next.clone());
        self.log().extend()?;
        self.log().commit(note)?;
        self.settle(next);
        Ok(())
    }

    fn checkpoint(&mut self, note: &[u8]) -> Result<()> {
        let mut next = self.committed().clone();
        next.notes.clear();
        if !note.is_empty() {
            next.notes.push(note.to_vec());
        }
        self.attempted = Some(next.clone());
        self.in_checkpoint = true;
        self.log().checkpoint(note)?;
        self.home.clone_from(&next.content);
        self.in_checkpoint = false;
        self.settle(next);
        Ok(())
    }

    pub(super) fn abandon(&mut self) {
        let log = self.log();
        log.abandon();
        // As H5Fclose may do.
        log.write_at(5, b"lost").unwrap();
        log.set_eoa(3);
        log.extend().unwrap();
        log.detach();
        assert!(log.attach());
        self.current = self.committed().content.clone();
        self.log().set_eoa(self.current.len() as u64);
    }

    /// Opens the file as another process does, and treats what it finds as committed.
    pub(super) fn reopen(&mut self) -> Result<()> {
        let mut notes = Vec::new();
        let log = LoggedFile::append(&self.path, Durability::Power, &mut |note, range| {
            assert_eq!(note.len() as u64, range.len);
            notes.push(note.to_vec());
            Ok(())
        })?;
        let committed = self.committed.clone();
        let found = Commit {
            content: content(&log)?,
            notes,
        };
        assert!(
            Some(&found) == committed.as_ref() || Some(&found) == self.attempted.as_ref(),
            "neither the last commit nor the one that was being made"
        );
        self.settle(found);
        match log.file_id() {
            Some(id) => assert_eq!(id, ID),
            None => log.set_file_id(ID)?,
        }
        self.started(log);
        if self.in_checkpoint {
            self.find_home();
        }
        Ok(())
    }

    /// After an interrupted checkpoint: it either did not begin, or was completed later.
    fn find_home(&mut self) {
        self.in_checkpoint = false;
        let main = fs::read(&self.path).unwrap();
        let committed = self.committed().content.clone();
        if main.starts_with(&committed) {
            self.home = committed;
        }
        assert!(main.starts_with(&self.home), "the main file is torn");
    }

    fn close(&mut self) -> Result<()> {
        self.in_checkpoint = true;
        let mut next = self.committed().clone();
        next.notes.clear();
        self.attempted = Some(next.clone());
        self.log().detach();
        self.log().close()?;
        self.log = None;
        self.home.clone_from(&next.content);
        self.in_checkpoint = false;
        self.settle(next);
        assert!(fs::read(&self.path).unwrap() == self.home);
        let files = fs::read_dir(self.path.parent().unwrap()).unwrap();
        assert_eq!(files.count(), 1, "something was left");
        self.reopen()
    }

    fn read(&mut self) -> Result<()> {
        let mut notes = Vec::new();
        let log = LoggedFile::read(&self.path, &mut |note, _| {
            notes.push(note.to_vec());
            Ok(())
        })?;
        let commit = self.committed().clone();
        assert_eq!(notes, commit.notes);
        assert!(log.attach());
        assert!(!log.has_news()?);
        self.readers.push(Reading { log, commit });
        self.check_readers();
        Ok(())
    }

    /// What must hold after each operation.
    pub(super) fn check(&mut self) {
        if let Some(log) = &self.log {
            let mut found = vec![0; self.current.len()];
            log.read_at(0, &mut found).unwrap();
            assert!(found == self.current, "what libhdf5 reads back");
        }
        if !self.in_checkpoint && self.committed.is_some() {
            let main = fs::read(&self.path).unwrap();
            assert!(main.starts_with(&self.home), "the main file is torn");
        }
        self.check_readers();
    }

    fn check_readers(&mut self) {
        let committed = &self.committed;
        self.readings += 1;
        let skip = self.readings as usize;
        self.readers.retain(|Reading { log, commit }| {
            // Not always everything, so that parts of pages are read, too.
            let start = (skip * 577) % commit.content.len();
            let mut found = vec![0; (skip * 1023 + 1).min(commit.content.len() - start)];
            match log.read_at(start as u64, &mut found) {
                Ok(()) => {
                    assert!(found == commit.content[start..start + found.len()]);
                    let is_current = Some(commit) == committed.as_ref();
                    assert!(is_current || log.is_stale() || log.has_news().unwrap());
                    true
                }
                Err(error) => {
                    assert!(log.is_stale(), "{error}");
                    false
                }
            }
        });
    }

    /// What a new reader sees.
    pub(super) fn look(&self) -> Result<Commit> {
        let mut notes = Vec::new();
        let log = LoggedFile::read(&self.path, &mut |note, _| {
            notes.push(note.to_vec());
            Ok(())
        })?;
        Ok(Commit {
            content: content(&log)?,
            notes,
        })
    }
}

/// The contents of a file.
pub(super) fn content(log: &LoggedFile) -> Result<Vec<u8>> {
    let length = match &*log.role() {
        Role::Writer(writer) => writer.committed.eoa,
        Role::Reader(reader) => reader.length,
        Role::Closed => 0,
    };
    let mut found = vec![0; usize::try_from(length).unwrap()];
    log.read_at(0, &mut found)?;
    Ok(found)
}

/// Whether a checkpoint is in progress, according to the journal.
pub(super) fn is_being_copied(path: &Path) -> bool {
    let mut journal = path.as_os_str().to_owned();
    journal.push(".journal");
    fs::File::open(journal)
        .and_then(|file| super::journal::read_changes(&file))
        .is_ok_and(is_announced)
}

/// Whether an error says that a disk is full.
pub(super) fn is_full(error: &simrecorder_core::Error) -> bool {
    error.kind() == ErrorKind::StorageFull
}
