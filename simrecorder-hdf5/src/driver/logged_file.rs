//! An HDF5 file with its journal, and the requests of libhdf5.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simrecorder_core::backend::FileHandle;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::{Mutex, MutexGuard};
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::disk::Disk;
use super::journal::JournalRange;
use super::reader::Reader;
use super::writer::Writer;
use super::{journal, open};

/// Receives the notes of a journal, in order, with the place of each.
pub(crate) type NoteSink<'a> = &'a mut dyn FnMut(&[u8], JournalRange) -> Result<()>;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub(crate) durability: Durability,
    /// How long opening, checkpoints and closing wait for other programs that have the file open.
    pub(crate) lock_timeout: Duration,
}

/// How long to wait for other programs, unless the options specify it. Tests wait less.
pub(crate) const LOCK_TIMEOUT: Duration =
    Duration::from_millis(if cfg!(test) { 100 } else { 2000 });

impl From<Durability> for Writing {
    fn from(durability: Durability) -> Self {
        Self {
            durability,
            lock_timeout: LOCK_TIMEOUT,
        }
    }
}

/// An HDF5 file with its journal.
///
/// Dropping a writer without [`close`](Self::close) leaves both as a kill would.
#[derive(Debug)]
pub(crate) struct LoggedFile {
    path: PathBuf,
    is_writer: bool,
    shared: ProcessLocal<Shared>,
    /// Whether libhdf5 has it open.
    attached: AtomicBool,
    stale: AtomicBool,
}

/// The mutable state.
#[derive(Debug)]
struct Shared {
    role: Mutex<Role>,
    /// The last failure of a request of libhdf5.
    error: Mutex<Option<Error>>,
}

#[derive(Debug)]
pub(super) enum Role {
    Writer(Box<Writer>),
    Reader(Box<Reader>),
    Closed,
}

impl LoggedFile {
    fn new(path: PathBuf, role: Role) -> Arc<Self> {
        Arc::new(Self {
            path,
            is_writer: matches!(role, Role::Writer(_)),
            shared: ProcessLocal::new(Shared {
                role: Mutex::new(role),
                error: Mutex::new(None),
            }),
            attached: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        })
    }

    /// Creates a file and opens it for writing.
    ///
    /// `make_empty` creates an empty HDF5 file at the given path, and closes it. Every journal of
    /// the file contains `id`. Fails with [`ErrorKind::AlreadyExists`] if the path exists.
    pub(crate) fn create(
        path: &Path,
        id: [u8; 16],
        writing: impl Into<Writing>,
        make_empty: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Arc<Self>> {
        let writer = open::create(path, id, None, Disk::new(writing), make_empty)?;
        Ok(Self::new(
            writer.paths.main.clone(),
            Role::Writer(Box::new(writer)),
        ))
    }

    /// Like [`create`](Self::create), but deletes the file `old` first. Fails if something else is
    /// at the path.
    pub(crate) fn recreate(
        path: &Path,
        old: &File,
        id: [u8; 16],
        writing: impl Into<Writing>,
        make_empty: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Arc<Self>> {
        let writer = open::create(path, id, Some(old), Disk::new(writing), make_empty)?;
        Ok(Self::new(
            writer.paths.main.clone(),
            Role::Writer(Box::new(writer)),
        ))
    }

    /// Opens a file for writing. Passes on the notes since its last checkpoint, beginning with the
    /// note of the checkpoint, without empty notes.
    pub(crate) fn append(
        path: &Path,
        writing: impl Into<Writing>,
        notes: NoteSink<'_>,
    ) -> Result<Arc<Self>> {
        let (writer, ranges) = open::append(path, Disk::new(writing))?;
        journal::deliver(&writer.journal.file, &writer.paths.journal, &ranges, notes)?;
        Ok(Self::new(
            writer.paths.main.clone(),
            Role::Writer(Box::new(writer)),
        ))
    }

    /// Opens a file for reading, as of its last commit, and passes on its notes like
    /// [`append`](Self::append).
    ///
    /// If [`is_stale`](Self::is_stale) returns true directly afterwards, the file has changed
    /// meanwhile and notes may be missing: the caller opens it again.
    pub(crate) fn read(path: &Path, notes: NoteSink<'_>) -> Result<Arc<Self>> {
        let (reader, ranges) = Reader::open(path)?;
        let delivered = match reader.journal() {
            Some(journal) => journal::deliver(journal, reader.path(), &ranges, notes),
            None => Ok(()),
        };
        let holds = reader.holds(delivered.is_ok())?;
        let log = Self::new(reader.path().to_owned(), Role::Reader(Box::new(reader)));
        if holds {
            delivered?;
        } else {
            log.stale.store(true, Ordering::SeqCst);
        }
        Ok(log)
    }

    /// The path of the HDF5 file, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a parent of this forked process opened the file. Then this process must not touch
    /// it. Recordings check this themselves; this check is for libhdf5's handling of open files.
    pub(super) fn is_inherited(&self) -> bool {
        self.shared.is_inherited()
    }

    pub(super) fn role(&self) -> MutexGuard<'_, Role> {
        self.shared.constants().role.lock()
    }

    pub(super) fn is_writer(&self) -> bool {
        self.is_writer
    }

    /// The id in the journal, if it has one.
    pub(crate) fn file_id(&self) -> Option<[u8; 16]> {
        let id = match &*self.role() {
            Role::Writer(writer) => Some(writer.journal.header.id),
            Role::Reader(reader) => reader.file_id(),
            Role::Closed => None,
        };
        id.filter(|id| *id != [0; 16])
    }

    /// Gives the journal the id of the file. Required for every opened file before its first
    /// commit, unless [`file_id`](Self::file_id) returns the id of the journal.
    pub(crate) fn set_file_id(&self, id: [u8; 16]) -> Result<()> {
        self.writing("open", |writer| writer.set_file_id(id))
    }

    /// Makes everything that libhdf5 wrote since the last commit durable and visible, or none of
    /// it.
    ///
    /// The caller has called `H5Fflush`. If there is nothing new and the note is empty, nothing is
    /// written. A failed write of libhdf5 is reported here. After an error, the caller can discard
    /// the changes with [`abandon`](Self::abandon), or try the same commit again, which may succeed
    /// unless some of libhdf5's writes are lost.
    pub(crate) fn commit(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("commit", |writer| writer.commit(note))
    }

    /// Discards everything since the last commit, and everything that libhdf5 still writes, so that
    /// `H5Fclose` succeeds. The caller closes the file and opens it again.
    pub(crate) fn abandon(&self) {
        if let Role::Writer(writer) = &mut *self.role() {
            writer.abandon();
        }
    }

    /// Copies everything that was committed to the main file, and begins a new journal with a note,
    /// which contains everything that the caller still needs from the notes of the old journal.
    ///
    /// Fails with [`ErrorKind::Locked`] while another program reads the main file. No error loses
    /// committed data, and the checkpoint can be tried again.
    pub(crate) fn checkpoint(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("checkpoint", |writer| {
            writer.checkpoint(note, writer.disk.lock_timeout)
        })
    }

    /// Like [`Self::checkpoint`], but fails with [`ErrorKind::Locked`] at once.
    pub(crate) fn checkpoint_at_once(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("checkpoint", |writer| {
            writer.checkpoint(note, Duration::ZERO)
        })
    }

    /// Fails with [`ErrorKind::Locked`] if another program is reading the main file.
    pub(crate) fn check_not_held(&self) -> Result<()> {
        self.writing("checkpoint", |writer| writer.check_not_held())
    }

    /// Copies everything that was committed to the main file, removes the journal and releases the
    /// locks.
    ///
    /// The caller has called `H5Fclose`. Writes since the last commit are discarded. After an
    /// error, the file is still open, and closing can be tried again.
    pub(crate) fn close(&self) -> Result<()> {
        self.check_detached("close")?;
        let mut role = self.role();
        if let Role::Writer(writer) = &mut *role {
            writer.close()?;
        }
        *role = Role::Closed;
        Ok(())
    }

    /// Releases a file that could not be used. Removes a journal without contents.
    pub(crate) fn give_up(&self) -> Result<()> {
        let is_empty = |writer: &Writer| writer.journal.end.offset == journal::START;
        let is_unused = matches!(&*self.role(), Role::Writer(writer) if is_empty(writer));
        if is_unused { self.close() } else { Ok(()) }
    }

    /// Whether the journal has tails or pages that the main file lacks.
    pub(crate) fn has_records(&self) -> bool {
        self.journal_bytes() > journal::START
    }

    /// The length of the journal.
    pub(crate) fn journal_bytes(&self) -> u64 {
        match &*self.role() {
            Role::Writer(writer) => writer.journal.end.offset,
            Role::Reader(reader) => reader.journal_bytes(),
            Role::Closed => 0,
        }
    }

    /// The journal that contains the current notes, if there is one. A checkpoint replaces it; the
    /// old one can be read while it is kept open.
    pub(crate) fn journal(&self) -> Option<Arc<FileHandle>> {
        match &*self.role() {
            Role::Writer(writer) => Some(Arc::clone(&writer.journal.file)),
            Role::Reader(reader) => reader.journal().cloned(),
            Role::Closed => None,
        }
    }

    /// Whether a read failed because the file changed. The caller closes it and opens it again.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// Whether a reader would see more if it were opened again. Takes a few system calls.
    pub(crate) fn has_news(&self) -> Result<bool> {
        match &*self.role() {
            Role::Reader(reader) => Ok(self.is_stale() || reader.has_news()?),
            Role::Writer(_) | Role::Closed => Ok(false),
        }
    }

    /// Takes the last failure of a request of libhdf5.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.shared.constants().error.lock().take()
    }

    pub(super) fn keep_error(&self, error: Error) {
        *self.shared.constants().error.lock() = Some(error);
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, message: &str) -> Error {
        Error::new(kind, operation, message).with_key(self.path.display().to_string())
    }

    fn writing<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Writer) -> Result<T>,
    ) -> Result<T> {
        match &mut *self.role() {
            Role::Writer(writer) => work(writer),
            Role::Reader(_) => {
                let message = "the file was opened read only";
                Err(self.error(ErrorKind::ReadOnly, operation, message))
            }
            Role::Closed => Err(self.error(ErrorKind::Closed, operation, "the file was closed")),
        }
    }
}

/// The requests of libhdf5.
impl LoggedFile {
    /// Records that libhdf5 has the file open. Only one of its files may be.
    pub(super) fn attach(&self) -> bool {
        if self.attached.swap(true, Ordering::SeqCst) {
            return false;
        }
        if let Role::Writer(writer) = &mut *self.role() {
            writer.reopened();
        }
        true
    }

    /// Fails while libhdf5 has the file open.
    pub(super) fn check_detached(&self, operation: &'static str) -> Result<()> {
        if self.attached.load(Ordering::SeqCst) {
            let message = "libhdf5 already has the file open";
            return Err(self.error(ErrorKind::Internal, operation, message));
        }
        Ok(())
    }

    pub(super) fn detach(&self) {
        self.attached.store(false, Ordering::SeqCst);
    }

    pub(super) fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<()> {
        let failed = |error| Error::io("read", &self.path, error);
        match &*self.role() {
            Role::Writer(writer) => writer.layers().read(address, buffer).map_err(failed),
            Role::Reader(reader) => {
                let read = reader.layers().read(address, buffer);
                if !self.is_stale() && reader.holds(read.is_ok())? {
                    return read.map_err(failed);
                }
                self.stale.store(true, Ordering::SeqCst);
                let message = "the file changed since it was opened";
                Err(self.error(ErrorKind::Io, "read", message))
            }
            Role::Closed => Err(self.error(ErrorKind::Closed, "read", "the file was closed")),
        }
    }

    pub(super) fn write_at(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.writing("write", |writer| writer.write(address, bytes))
    }

    /// Makes the main file as long as the end of allocation.
    pub(super) fn extend(&self) -> Result<()> {
        match &mut *self.role() {
            Role::Writer(writer) => writer.extend(),
            Role::Reader(_) | Role::Closed => Ok(()),
        }
    }

    pub(super) fn length(&self) -> u64 {
        match &*self.role() {
            Role::Writer(writer) => writer.main_length(),
            Role::Reader(reader) => reader.length,
            Role::Closed => 0,
        }
    }

    pub(super) fn eoa(&self) -> u64 {
        match &*self.role() {
            Role::Writer(writer) => writer.eoa(),
            Role::Reader(reader) => reader.eoa,
            Role::Closed => 0,
        }
    }

    pub(super) fn set_eoa(&self, eoa: u64) {
        match &mut *self.role() {
            Role::Writer(writer) => writer.set_eoa(eoa),
            Role::Reader(reader) => reader.eoa = eoa,
            Role::Closed => {}
        }
    }
}
