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

/// How long to wait for a process that completes a checkpoint or creates a file.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks the journal, if there is one. A killed process or a reader may hold the lock for a moment;
/// a reader that completes an interrupted checkpoint holds it longer.
pub(super) fn journal_lock(paths: &Paths) -> Result<Option<FileHandle>> {
    writer_lock(&paths.journal, false, &paths.main, |journal, waited| {
        #[cfg(test)]
        let _ = super::fault::step();
        let is_being_copied = || journal::read_changes(journal).is_ok_and(journal::is_announced);
        let is_ours = || journal::writer_of(journal) == Some(std::process::id());
        waited < LOCK_PATIENCE && !is_ours() || waited < PATIENCE && is_being_copied()
    })
}

/// Locks a journal, if there is one. Fails with the process that holds the lock once `is_patient`
/// returns false.
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
            let message = "this file system does not support locks, so two recorders could write \
                to one file; record to another file system";
            Err(Error::new(ErrorKind::Unsupported, "open", message)
                .with_key(path.display().to_string())
                .with_source(error))
        }
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// The file that becomes the next journal, locked.
pub(super) fn next_journal_file(paths: &Paths) -> Result<FileHandle> {
    // Another process may test whether it can create the file, and will find that it cannot.
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

/// The lock on the main file that other programs with libhdf5 take: shared for reading, exclusive
/// for writing. A writer holds it shared all the time.
#[derive(Debug)]
pub(super) struct MainLock {
    _not_inherited: NotInherited,
    file: Arc<File>,
    /// Whether the file system supports such locks.
    is_supported: bool,
    /// How long to wait for other programs.
    timeout: Duration,
}

impl MainLock {
    /// Checks that no other program has the file open, and prevents others from writing it.
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
                // A program that tests whether it can write may hold it for a moment.
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
                tracing::warn!(path = %path.display(), "this file system does not support locks: \
                other programs can open the file while it is written");
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

    /// Allows other programs to read the file.
    pub(super) fn share(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::io("open", path, error);
        // A program that tries to write may hold the lock for a moment, until it gives up.
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

    /// Prevents other programs from reading the file. All of them must have closed it.
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
            // A failed attempt has released the shared lock.
            self.share(path)?;
            if start.elapsed() >= patience {
                return Err(held(operation, path));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The error of a checkpoint or of closing while another program has the file open.
pub(crate) fn held(operation: &'static str, path: &Path) -> Error {
    let message = "another program reads this file (h5py, for example). Everything that was \
        committed is safe in the journal next to it. Close the file there, then call close() \
        again, or \
                   open the recording for appending and close it; Hdf5Options::lock_timeout says \
                   how long to wait";
    Error::new(ErrorKind::Locked, operation, message).with_key(path.display().to_string())
}

impl Drop for MainLock {
    fn drop(&mut self) {
        // Closing the file does not unlock it while a process that is just being started has a copy
        // of the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
