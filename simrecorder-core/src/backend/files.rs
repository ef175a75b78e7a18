//! Files that one process holds at a time.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// What became of an attempt to lock a file.
#[derive(Debug)]
pub enum Lock {
    /// This handle holds the lock, until it is dropped. The path names the file.
    Taken(File),
    /// Somebody else holds it; this is the file, not locked.
    Held(File),
}

/// Opens the file at a path and locks it, without waiting.
///
/// The holder of a lock may remove or replace the file before it gives the lock up. So the path
/// may name another file by the time the lock is taken; then the other one is opened and locked.
/// The system gives up the lock of a killed process.
pub fn lock_file(path: &Path, options: &OpenOptions) -> io::Result<Lock> {
    loop {
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) if names(path, &file)? => return Ok(Lock::Taken(file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Held(file)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether a path names the file that is open.
pub fn names(path: &Path, file: &File) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(is_same(&named, &held)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Other systems do not let a file be replaced that is open.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// After a commit to the recording at `path`: an error if nothing names one of its open `files` any
/// more, so that nobody will find what was written to it.
///
/// # Errors
/// [`ErrorKind::NotFound`]; what the system reports.
pub fn check_not_deleted(path: &Path, files: &[&File]) -> Result<()> {
    for file in files {
        let metadata = file
            .metadata()
            .map_err(|error| Error::io("commit", path, error))?;
        if has_no_name(&metadata) {
            return Err(deleted(path));
        }
    }
    Ok(())
}

/// The error of a commit to a recording that was deleted meanwhile.
pub fn deleted(path: &Path) -> Error {
    let message = "the recording was deleted while it was written";
    Error::new(ErrorKind::NotFound, "commit", message).with_key(path.display().to_string())
}

#[cfg(unix)]
fn has_no_name(file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.nlink() == 0
}

/// Other systems do not let a file be deleted that is open.
#[cfg(not(unix))]
fn has_no_name(_: &Metadata) -> bool {
    false
}

/// Makes durable which names a directory holds.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems have no such thing.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}
