//! An HDF5 file with its journal, and what libhdf5 asks of it.

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

/// Takes notes of a journal, in their order, each with where it is.
pub(crate) type NoteSink<'a> = &'a mut dyn FnMut(&[u8], JournalRange) -> Result<()>;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub(crate) durability: Durability,
    /// How long opening, checkpoints and closing wait for other programs that have the file open.
    pub(crate) lock_timeout: Duration,
}

/// How long other programs are waited for, unless the options say. Tests need not wait as long.
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
/// A writer that is dropped without [`close`](Self::close) leaves both as a kill would.
#[derive(Debug)]
pub(crate) struct LoggedFile {
    path: PathBuf,
    is_writer: bool,
    shared: ProcessLocal<Shared>,
    /// Whether libhdf5 has it open.
    attached: AtomicBool,
    stale: AtomicBool,
}

/// What threads change.
#[derive(Debug)]
struct Shared {
    role: Mutex<Role>,
    /// The last failure of something that libhdf5 asked for.
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
    /// `make_empty` makes an empty HDF5 file at the path it is given, and closes it. `id` goes to
    /// every journal of the file. Fails with [`ErrorKind::AlreadyExists`] if something is there.
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
    /// there.
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

    /// Opens a file for writing, and hands over the notes since its last checkpoint, the note of
    /// the checkpoint first. Empty notes are left out.
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

    /// Opens a file for reading, as of its last commit, and hands over its notes as
    /// [`append`](Self::append) does.
    ///
    /// If [`is_stale`](Self::is_stale) says so at once, the file changed meanwhile, and notes may be
    /// missing: the caller opens it again.
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

    /// Where the HDF5 file is, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a process that this one was forked from opened the file: then it must be left alone.
    /// Recordings look by themselves; this is for what libhdf5 does with files that are open.
    pub(super) fn is_inherited(&self) -> bool {
        self.shared.is_inherited()
    }

    pub(super) fn role(&self) -> MutexGuard<'_, Role> {
        self.shared.constants().role.lock()
    }

    pub(super) fn is_writer(&self) -> bool {
        self.is_writer
    }

    /// The id in the journal, if there is one.
    pub(crate) fn file_id(&self) -> Option<[u8; 16]> {
        let id = match &*self.role() {
            Role::Writer(writer) => Some(writer.journal.header.id),
            Role::Reader(reader) => reader.file_id(),
            Role::Closed => None,
        };
        id.filter(|id| *id != [0; 16])
    }

    /// Gives the journal the id of the file. Every file that is opened needs this before its
    /// first commit, unless [`file_id`](Self::file_id) says that the journal has one.
    pub(crate) fn set_file_id(&self, id: [u8; 16]) -> Result<()> {
        self.writing("open", |writer| writer.set_file_id(id))
    }

    /// Makes all that libhdf5 wrote since the last commit durable and visible, or nothing of it.
    ///
    /// The caller has called `H5Fflush`. If there is nothing new, and the note is empty, nothing is
    /// written. A write of libhdf5 that failed is reported here. After an error the changes can be
    /// given up with [`abandon`](Self::abandon); trying the same commit again may succeed, unless a
    /// part of what libhdf5 wrote is lost.
    pub(crate) fn commit(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("commit", |writer| writer.commit(note))
    }

    /// Gives up everything since the last commit, and what libhdf5 still writes: `H5Fclose` succeeds.
    /// The caller closes the file and opens it again.
    pub(crate) fn abandon(&self) {
        if let Role::Writer(writer) = &mut *self.role() {
            writer.abandon();
        }
    }

    /// Brings all that was committed to the main file, and begins a new journal with a note: all
    /// that the caller still needs of those in the old one.
    ///
    /// Fails with [`ErrorKind::Locked`] while another program reads the main file. An error loses
    /// nothing that was committed, and the checkpoint may be tried again.
    pub(crate) fn checkpoint(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("checkpoint", |writer| {
            writer.checkpoint(note, writer.disk.lock_timeout)
        })
    }

    /// The same, but [`ErrorKind::Locked`] comes at once.
    pub(crate) fn checkpoint_at_once(&self, note: &[u8]) -> Result<JournalRange> {
        self.writing("checkpoint", |writer| {
            writer.checkpoint(note, Duration::ZERO)
        })
    }

    /// Fails with [`ErrorKind::Locked`] if another program reads the main file now.
    pub(crate) fn check_not_held(&self) -> Result<()> {
        self.writing("checkpoint", |writer| writer.check_not_held())
    }

    /// Brings all that was committed to the main file, removes the journal and gives up the locks.
    ///
    /// The caller has called `H5Fclose`. What was written since the last commit is dropped. After an
    /// error the file is still open, and it may be tried again.
    pub(crate) fn close(&self) -> Result<()> {
        self.check_detached("close")?;
        let mut role = self.role();
        if let Role::Writer(writer) = &mut *role {
            writer.close()?;
        }
        *role = Role::Closed;
        Ok(())
    }

    /// Gives up a file that could not be used: a journal that holds nothing is removed.
    pub(crate) fn give_up(&self) -> Result<()> {
        let is_empty = |writer: &Writer| writer.journal.end.offset == journal::START;
        let is_unused = matches!(&*self.role(), Role::Writer(writer) if is_empty(writer));
        if is_unused { self.close() } else { Ok(()) }
    }

    /// Whether the journal has what the main file has not, and tails.
    pub(crate) fn has_records(&self) -> bool {
        self.journal_bytes() > journal::START
    }

    /// How long the journal is.
    pub(crate) fn journal_bytes(&self) -> u64 {
        match &*self.role() {
            Role::Writer(writer) => writer.journal.end.offset,
            Role::Reader(reader) => reader.journal_bytes(),
            Role::Closed => 0,
        }
    }

    /// The journal that notes of now are in, if there is one. A checkpoint replaces it; the old
    /// one can be read as long as somebody holds it.
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

    /// Whether a reader would see more if it were opened again. It takes a few system calls.
    pub(crate) fn has_news(&self) -> Result<bool> {
        match &*self.role() {
            Role::Reader(reader) => Ok(self.is_stale() || reader.has_news()?),
            Role::Writer(_) | Role::Closed => Ok(false),
        }
    }

    /// The last failure of something that libhdf5 asked for, once.
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

/// What libhdf5 asks for.
impl LoggedFile {
    /// Takes note that libhdf5 has the file open. Only one of its files may be.
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
            let message = "libhdf5 has the file open already";
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
