//! Every call that changes a file, so that tests can interrupt or fail each of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use simrecorder_core::backend::{folder_of, sync_directory};
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::logged_file::Writing;

/// The paths of the files of a recording.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The HDF5 file: a path without links.
    pub(super) main: PathBuf,
    /// The folder that contains all of them.
    folder: PathBuf,
    pub(super) journal: PathBuf,
    /// A journal that is being written. The process that holds its lock may create a journal.
    pub(super) next_journal: PathBuf,
    /// An HDF5 file that is being created. The lock of the next journal guards it.
    pub(super) next_main: PathBuf,
}

impl Paths {
    /// The paths of an existing recording.
    pub(super) fn existing(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("open", path, error);
        Ok(Self::beside(&fs::canonicalize(path).map_err(failed)?))
    }

    /// The paths of a recording that may not exist yet. Its folder exists.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        let folder =
            fs::canonicalize(folder).map_err(|error| Error::io("create", folder, error))?;
        let Some(name) = path.file_name() else {
            let message = "the path names no file";
            return Err(Error::new(ErrorKind::InvalidArgument, "create", message)
                .with_key(path.display().to_string()));
        };
        Ok(Self::beside(&folder.join(name)))
    }

    fn beside(main: &Path) -> Self {
        let with = |suffix: &str| {
            let mut path = main.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        Self {
            main: main.to_owned(),
            folder: main.parent().unwrap_or(Path::new("/")).to_owned(),
            journal: with(".journal"),
            next_journal: with(".journal.new"),
            next_main: with(".new"),
        }
    }
}

/// How files are changed: whether they are synced, and how long to wait for other programs that
/// have them open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    syncs: bool,
    pub(super) lock_timeout: Duration,
}

impl Disk {
    pub(super) fn new(writing: impl Into<Writing>) -> Self {
        let writing = writing.into();
        Self {
            syncs: writing.durability != Durability::Process,
            lock_timeout: writing.lock_timeout,
        }
    }

    pub(super) fn write(self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        super::fault::write(|length| file.write_all_at(&bytes[..length], offset), bytes)?;
        file.write_all_at(bytes, offset)?;
        done(|| Change::Write(file, offset, bytes));
        Ok(())
    }

    pub(super) fn set_len(self, file: &File, length: u64) -> io::Result<()> {
        step()?;
        file.set_len(length)?;
        done(|| Change::SetLen(file, length));
        Ok(())
    }

    pub(super) fn sync(self, file: &File) -> io::Result<()> {
        if !self.syncs {
            return Ok(());
        }
        step()?;
        done(|| Change::Sync(file));
        if is_pretended() {
            return Ok(());
        }
        file.sync_data()
    }

    /// Makes the names in the folder of a recording durable.
    pub(super) fn sync_folder(self, paths: &Paths) -> io::Result<()> {
        if !self.syncs {
            return Ok(());
        }
        step()?;
        done(|| Change::SyncFolder);
        if is_pretended() {
            return Ok(());
        }
        sync_directory(&paths.folder)
    }

    pub(super) fn rename(self, from: &Path, to: &Path) -> io::Result<()> {
        step()?;
        fs::rename(from, to)?;
        done(|| Change::Rename(from, to));
        Ok(())
    }

    /// Renames a file, unless the new name is taken.
    pub(super) fn rename_new(self, from: &Path, to: &Path) -> io::Result<()> {
        step()?;
        rename_new(from, to)?;
        done(|| Change::Rename(from, to));
        Ok(())
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(self, path: &Path) -> io::Result<()> {
        step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => {
                result?;
                done(|| Change::Remove(path));
                Ok(())
            }
        }
    }
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
    }
    // Other processes that create this recording wait for the lock, so only an unrelated program
    // could interfere.
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// A change of the disk. From these, tests compute what a power failure may leave.
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Change<'a> {
    Write(&'a File, u64, &'a [u8]),
    SetLen(&'a File, u64),
    Sync(&'a File),
    SyncFolder,
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
}

#[cfg(test)]
fn done<'a>(change: impl FnOnce() -> Change<'a>) {
    super::power_tests::note(change);
}

#[cfg(not(test))]
fn done<'a>(_: impl FnOnce() -> Change<'a>) {}

/// Whether syncs may be omitted.
#[cfg(test)]
fn is_pretended() -> bool {
    super::fault::is_planned()
}

#[cfg(not(test))]
fn is_pretended() -> bool {
    false
}

#[cfg(test)]
fn step() -> io::Result<()> {
    super::fault::step()
}

#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}
