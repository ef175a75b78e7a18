//! Files that one process holds at a time.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::fork::NotInherited;
use crate::error::{Error, ErrorKind, Result};

/// How long a file that is locked is left alone between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// What became of an attempt to lock a file.
#[derive(Debug)]
pub enum Lock {
    /// This handle holds the lock, until it is dropped. The path names the file.
    Taken(FileHandle),
    /// Somebody else holds it; this is the file, not locked.
    Held(File),
}

/// Locks a file as [`lock_file`] does, and waits for it as long as `is_patient` says, which is told
/// which file is locked and how long that was waited for.
pub fn lock_file_within(
    path: &Path,
    options: &OpenOptions,
    is_patient: impl Fn(&File, Duration) -> bool,
) -> io::Result<Lock> {
    let start = Instant::now();
    loop {
        match lock_file(path, options)? {
            Lock::Held(file) if is_patient(&file, start.elapsed()) => thread::sleep(PAUSE),
            lock => return Ok(lock),
        }
    }
}

/// An open file. Processes that are forked do not get one that is locked.
#[derive(Debug)]
pub struct FileHandle {
    /// Of one that is locked; dropped before the file.
    not_inherited: Option<NotInherited>,
    file: File,
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        if self.not_inherited.is_some() {
            // Closing the file does not unlock it while a process that is just being started has a
            // copy of it.
            let _ = self.file.unlock();
        }
    }
}

/// A file that is not locked.
impl From<File> for FileHandle {
    fn from(file: File) -> Self {
        Self {
            not_inherited: None,
            file,
        }
    }
}

impl Deref for FileHandle {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Opens the file at a path and locks it, without waiting.
///
/// The holder of a lock may remove or replace the file before it gives the lock up. So the path
/// may name another file by the time the lock is taken; then the other one is opened and locked.
/// The system gives up the lock of a killed process. A symbolic link is not followed.
pub fn lock_file(path: &Path, options: &OpenOptions) -> io::Result<Lock> {
    loop {
        check_plain_file(path)?;
        let file = options.open(path)?;
        let not_inherited = NotInherited::new(&file);
        match file.try_lock() {
            Ok(()) if names(path, &file)? => {
                return Ok(Lock::Taken(FileHandle {
                    not_inherited: Some(not_inherited),
                    file,
                }));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Held(file)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether a process holds the lock of the file at a path: one that [`lock_file`] took. Without a file, no.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    check_plain_file(path)?;
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let _not_inherited = NotInherited::new(&file);
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Refuses what is no plain file, if there is something at a path.
///
/// A link may lead out of a recording that somebody else has made, and opening a pipe waits for its
/// other end.
pub fn check_plain_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => refuse_special(path, &metadata, Metadata::is_file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The path of something in a directory, where no part of it below that leads elsewhere: each that is
/// there is a directory, or a plain file at the end.
pub fn path_inside(directory: &Path, parts: &str) -> io::Result<PathBuf> {
    let mut path = directory.to_owned();
    let mut parts = parts.split('/');
    for part in parts.by_ref() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                refuse_special(&path, &metadata, |found| found.is_file() || found.is_dir())?;
            }
            // Nothing is below it either; opening the path will say why.
            Err(_) => break,
        }
    }
    path.extend(parts);
    Ok(path)
}

/// Opens the file or directory at such a path to read it, and tells what it is.
pub fn open_inside(directory: &Path, parts: &str) -> io::Result<(File, Metadata)> {
    #[cfg(target_os = "linux")]
    if let Some(opened) = open_without_links(directory, parts) {
        return opened;
    }
    let file = File::open(path_inside(directory, parts)?)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The same with one call for the whole path; `None` if what is there has to be looked at part by part, or
/// if the system does not have the call.
#[cfg(target_os = "linux")]
fn open_without_links(directory: &Path, parts: &str) -> Option<io::Result<(File, Metadata)>> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let mut path = directory.to_owned();
    path.extend(parts.split('/'));
    // Opening a pipe does not wait for its other end then.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, &path, flags, Mode::empty(), links) {
        Ok(file) => {
            let file = File::from(file);
            let metadata = file.metadata().ok()?;
            let is_plain = metadata.is_file() || metadata.is_dir();
            is_plain.then_some(Ok((file, metadata)))
        }
        Err(error) if error == rustix::io::Errno::NOENT => Some(Err(error.into())),
        Err(_) => None,
    }
}

fn refuse_special(
    path: &Path,
    found: &Metadata,
    is_plain: impl FnOnce(&Metadata) -> bool,
) -> io::Result<()> {
    if is_plain(found) {
        return Ok(());
    }
    let what = if found.is_symlink() {
        "a symbolic link, which may lead out of the recording and is not followed"
    } else {
        "no plain file"
    };
    let name = path.file_name().unwrap_or_default();
    let message = format!("'{}' is {what}", name.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
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

/// The folder that holds what is at a path: `.` for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes durable which names a directory holds.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems have no such thing.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}
