//! The locks of a writer: on its journal against other writers, on the main file against other
//! programs.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use simrecorder_core::backend::errors::locked_by;
use simrecorder_core::backend::fork::NotInherited;
use simrecorder_core::backend::{FileHandle, LOCK_PATIENCE, Lock, lock_file_within};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::Paths;
use super::journal;
use super::logged_file::LOCK_TIMEOUT;

/// How long a process is waited for that ends a checkpoint, or makes a file.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks the journal, if there is one; it may be held for a moment only, by a process that was killed
/// or by a reader. A reader that ends a checkpoint which was interrupted holds it longer.
pub(super) fn journal_lock(paths: &Paths) -> Result<Option<FileHandle>> {
    writer_lock(&paths.journal, false, &paths.main, |journal, waited| {
        #[cfg(test)]
        let _ = super::fault::step();
        let is_being_copied = || journal::read_changes(journal).is_ok_and(journal::is_announced);
        let is_ours = || journal::writer_of(journal) == Some(std::process::id());
        waited < LOCK_PATIENCE && !is_ours() || waited < PATIENCE && is_being_copied()
    })
}

/// Locks a journal, if there is one, or says which process holds it when `is_patient` says so no more.
pub(super) fn writer_lock(
    path: &Path,
    create: bool,
    main: &Path,
    is_patient: impl Fn(&File, Duration) -> bool,
) -> Result<Option<FileHandle>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    match lock_file_within(path, &options, is_patient) {
        Ok(Lock::Taken(file)) => Ok(Some(file)),
        Ok(Lock::Held(journal)) => Err(locked_by(journal::writer_of(&journal), main)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if is_unsupported(&error) => {
            let message = "this file system has no locks, and without them two recorders could \
                           write one file; record to another file system";
            Err(Error::new(ErrorKind::Unsupported, "open", message)
                .with_key(path.display().to_string())
                .with_source(error))
        }
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// The file that becomes the next journal, locked.
pub(super) fn next_journal_file(paths: &Paths) -> Result<FileHandle> {
    // Another process looks whether the file can be created, and will see that it cannot.
    let is_patient = |_: &File, waited| waited < PATIENCE;
    let locked = writer_lock(&paths.next_journal, true, &paths.main, is_patient)?;
    locked.ok_or_else(|| {
        let message = "the folder no longer exists";
        Error::new(ErrorKind::NotFound, "open", message)
            .with_key(paths.next_journal.display().to_string())
    })
}

fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOLCK, Errno::NOSYS]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

/// The lock on the main file, as other programs that use libhdf5 take it: shared by those that
/// read, for one alone that writes. Shared, it is held as long as there is a writer.
#[derive(Debug)]
pub(super) struct MainLock {
    _not_inherited: NotInherited,
    file: Arc<File>,
    /// Whether the file system has such locks.
    is_supported: bool,
    /// How long other programs are waited for.
    timeout: Duration,
}

impl MainLock {
    /// Looks that no other program has the file open, and keeps others from writing it.
    pub(super) fn acquire(file: Arc<File>, path: &Path, timeout: Duration) -> Result<Self> {
        let mut lock = Self {
            _not_inherited: NotInherited::new(&file),
            file,
            is_supported: true,
            timeout,
        };
        let start = Instant::now();
        let attempt = loop {
            match lock.attempt(FlockOperation::NonBlockingLockExclusive) {
                // It may be held for a moment only, by a program that looks whether it can write.
                Ok(false) if start.elapsed() < timeout => thread::sleep(PAUSE),
                attempt => break attempt,
            }
        };
        match attempt {
            Ok(true) => Ok(lock),
            Ok(false) => {
                let message = "another program has this file open (h5py, or another recorder); \
                               close it there and try again, or open it read only";
                Err(Error::new(ErrorKind::Locked, "open", message)
                    .with_key(path.display().to_string()))
            }
            Err(error) if is_unsupported(&error) => {
                tracing::warn!(path = %path.display(), "this file system has no locks: nothing \
                    keeps other programs from opening the file while it is written");
                lock.is_supported = false;
                Ok(lock)
            }
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    fn attempt(&self, operation: FlockOperation) -> io::Result<bool> {
        match flock(&self.file, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets other programs read the file.
    pub(super) fn share(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::io("open", path, error);
        // A program that tries to write may hold the lock for a moment, until it notices.
        let start = Instant::now();
        while self.is_supported
            && !self
                .attempt(FlockOperation::NonBlockingLockShared)
                .map_err(failed)?
        {
            if start.elapsed() >= self.timeout.max(LOCK_TIMEOUT) {
                let message = "another program opened this file for writing while it is recorded \
                               to; close it there, then open the file here again";
                return Err(Error::new(ErrorKind::Locked, "write", message)
                    .with_key(path.display().to_string()));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Keeps other programs from reading the file, which must be closed in all of them.
    pub(super) fn exclude(
        &self,
        operation: &'static str,
        path: &Path,
        patience: Duration,
    ) -> Result<()> {
        let failed = |error| Error::io(operation, path, error);
        let start = Instant::now();
        while self.is_supported
            && !self
                .attempt(FlockOperation::NonBlockingLockExclusive)
                .map_err(failed)?
        {
            // An attempt that fails has given up the shared lock.
            self.share(path)?;
            if start.elapsed() >= patience {
                return Err(held(operation, path));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The error of a checkpoint, or of closing, that another program keeps from the file.
pub(crate) fn held(operation: &'static str, path: &Path) -> Error {
    let message = "another program reads this file (h5py, for example). All that was committed is \
                   safe in the journal next to it. Close the file there, then call close() again, or \
                   open the recording for appending and close it; Hdf5Options::lock_timeout says \
                   how long to wait";
    Error::new(ErrorKind::Locked, operation, message).with_key(path.display().to_string())
}

impl Drop for MainLock {
    fn drop(&mut self) {
        // Closing the file does not unlock it while a process that is just being started has a
        // copy of it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
