//! Files, and locks that one process has at a time.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::fork::NotInherited;
use crate::error::{Error, ErrorKind, Result};

/// The time between two attempts to lock a file.
const PAUSE: Duration = Duration::from_millis(5);

/// The result of an attempt to lock a file.
#[derive(Debug)]
pub enum Lock {
    /// The handle has the lock until it is dropped. The path still names the file.
    Taken(FileHandle),
    /// Another process or handle has the lock. This is the file, without the lock.
    Held(File),
}

/// Locks a file as [`lock_file`] does, and waits while `is_patient` returns true. `is_patient` gets the locked file and
/// the time so far.
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

/// An open file. Forked processes do not inherit a locked one.
#[derive(Debug)]
pub struct FileHandle {
    /// Set if the file is locked; dropped before the file.
    not_inherited: Option<NotInherited>,
    file: File,
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        if self.not_inherited.is_some() {
            // Closing the file does not unlock it while a process that is being started has a copy
            // of the descriptor.
            let _ = self.file.unlock();
        }
    }
}

/// Wraps a file that is not locked.
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
/// The previous owner of a lock may remove or replace the file before it unlocks it. If the path names another file once
/// the lock is taken, that file is opened and locked instead. The system releases the lock of a killed process. Symbolic
/// links are not followed.
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

/// Whether a process has locked the file at a path with [`lock_file`]. False if there is no file.
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

/// Checks that there is a plain file or nothing at a path.
///
/// A link in a recording of unknown origin may lead out of it, and opening a pipe waits for its other end.
pub fn check_plain_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => refuse_special(path, &metadata, Metadata::is_file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the path of `parts` in a directory, after a check that no part leads out of it: each existing part is a
/// directory, or a plain file at the end.
pub fn path_inside(directory: &Path, parts: &str) -> io::Result<PathBuf> {
    let mut path = directory.to_owned();
    let mut parts = parts.split('/');
    for part in parts.by_ref() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                refuse_special(&path, &metadata, |found| found.is_file() || found.is_dir())?;
            }
            // Nothing below it exists either; opening the path reports the reason.
            Err(_) => break,
        }
    }
    path.extend(parts);
    Ok(path)
}

/// Opens the file or directory at such a path for reading, and returns its metadata.
pub fn open_inside(directory: &Path, parts: &str) -> io::Result<(File, Metadata)> {
    #[cfg(target_os = "linux")]
    if let Some(opened) = open_without_links(directory, parts) {
        return opened;
    }
    let file = File::open(path_inside(directory, parts)?)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// The same with one system call; `None` if the path has to be checked part by part, or if the system does not have the
/// call.
#[cfg(target_os = "linux")]
fn open_without_links(directory: &Path, parts: &str) -> Option<io::Result<(File, Metadata)>> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let mut path = directory.to_owned();
    path.extend(parts.split('/'));
    // NONBLOCK: opening a pipe must not wait for its other end.
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

/// Whether a path names an open file.
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

/// Other systems do not allow replacing an open file.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Checks after a commit to the recording at `path` that its open `files` still have names, so that readers find the
/// commit.
///
/// # Errors
/// [`ErrorKind::NotFound`] if a file was deleted; errors of the system.
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

/// Makes the error of a commit to a deleted recording.
pub fn deleted(path: &Path) -> Error {
    let message = "the recording was deleted while it was written";
    Error::new(ErrorKind::NotFound, "commit", message).with_key(path.display().to_string())
}

#[cfg(unix)]
fn has_no_name(file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.nlink() == 0
}

/// Other systems do not allow deleting an open file.
#[cfg(not(unix))]
fn has_no_name(_: &Metadata) -> bool {
    false
}

/// Returns the folder of a path: `.` for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems do not support it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}
