//! The files of a recording: their places, and how they are written.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use simrecorder_core::backend::fork::check_threads_start;
use simrecorder_core::backend::{Position, Sealed, folder_of, generation, sync_directory};
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::paths::Paths;
use crate::blocks;
use crate::format::node_path::{entry, is_metadata};
use crate::format::recording_id::RecordingId;
use crate::format::shards::Extent;
use crate::journal::{FORMAT, Record};

/// An entry to write: its key, and its bytes in pieces.
pub(super) type NewEntry<'a> = (&'a str, Vec<Bytes>);

/// The number of threads that write the files of one commit.
const WRITERS: usize = 4;

/// Changes the files of a recording.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) paths: Paths,
    pub(super) name_limit: usize,
    durability: Durability,
    /// From this number of files, one sync of the whole file system is faster than a sync of each
    /// file.
    many: usize,
    next_temporary: AtomicU64,
    #[cfg(test)]
    pub(super) fault: super::tests::Fault,
}

impl Disk {
    pub(super) fn new(paths: Paths, durability: Durability, many: usize) -> Self {
        // Some file systems limit names to fewer than the usual 255 bytes.
        let limit = rustix::fs::statvfs(&paths.parent).map_or(255, |status| status.f_namemax);
        Self {
            name_limit: usize::try_from(limit).unwrap_or(255).clamp(1, 255),
            paths,
            durability,
            many,
            next_temporary: AtomicU64::new(0),
            #[cfg(test)]
            fault: super::tests::Fault::default(),
        }
    }

    /// Called before each operation that changes the disk, so that tests can make the operation
    /// fail.
    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.fault.step()
    }

    #[cfg(not(test))]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }

    fn syncs(&self) -> bool {
        self.durability != Durability::Process
    }

    /// Writes entries under their keys. A name never leads to a part of an entry, and when this
    /// returns, all entries are durable.
    pub(super) fn put(&self, entries: &[NewEntry<'_>]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.ensure_staging()?;
        let names: Vec<PathBuf> = entries.iter().map(|_| self.temporary()).collect();
        let result = self.write_all(entries, &names).and_then(|()| {
            let mut touched = BTreeSet::new();
            for ((key, _), name) in entries.iter().zip(&names) {
                self.rename_to_entry(name, key, &mut touched)?;
            }
            self.sync_directories(&touched)
        });
        if result.is_err() {
            for name in &names {
                let _ = fs::remove_file(name);
            }
        }
        result
    }

    fn write_all(&self, entries: &[NewEntry<'_>], names: &[PathBuf]) -> Result<()> {
        let sync_each = !self.is_many(entries.len());
        let files: Vec<_> = entries.iter().zip(names).collect();
        self.each(&files, |((key, pieces), name)| {
            let file = self.write_new(name, pieces);
            file.and_then(|file| {
                if sync_each {
                    self.sync_file(&file)
                } else {
                    Ok(())
                }
            })
            .map_err(|error| Error::io("write", &self.paths.entry(key), error))
        })?;
        if sync_each {
            Ok(())
        } else {
            self.sync_file_system()
        }
    }

    /// Whether one sync of the whole file system is better for this number of files.
    pub(super) fn is_many(&self, files: usize) -> bool {
        cfg!(target_os = "linux") && files >= self.many
    }

    /// Calls `work` for each item, on several threads.
    pub(super) fn each<T: Sync>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(item)?;
            }
            Ok(())
        };
        // Dedicated threads: a pool's thread would run other tasks of the pool while it waits. If
        // such a task were another commit, it would wait for a lock that its own thread holds.
        thread::scope(|scope| {
            let helpers = check_threads_start().map_or(1, |()| WRITERS.min(items.len()));
            let helpers: Vec<_> = (1..helpers)
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let own = work();
            helpers.into_iter().fold(own, |result, helper| {
                let defect =
                    || Error::new(ErrorKind::Internal, "write", "a writing thread panicked");
                result.and(helper.join().unwrap_or_else(|_| Err(defect())))
            })
        })
    }

    /// Renames a temporary file to an entry and creates the necessary directories. Adds the changed
    /// directories to `touched`.
    pub(super) fn rename_to_entry(
        &self,
        from: &Path,
        key: &str,
        touched: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let to = self.paths.inside("write", key)?;
        let directory = to.parent().unwrap_or(&self.paths.root).to_owned();
        let rename = || self.step().and_then(|()| fs::rename(from, &to));
        let renamed = match rename() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self
                .make_directories(&directory, touched)
                .and_then(|()| rename()),
            result => result,
        };
        renamed.map_err(|error| Error::io("write", &to, error))?;
        touched.insert(directory);
        Ok(())
    }

    /// Creates a directory inside the recording, but not the recording itself: if a user deletes a
    /// recording that is being written, no part of it may appear again.
    fn make_directories(&self, path: &Path, touched: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        if path == self.paths.root {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the recording was deleted",
            ));
        }
        let parent = path.parent().unwrap_or(&self.paths.root);
        let make = || self.step().and_then(|()| fs::create_dir(path));
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directories(parent, touched)?;
                make()
            }
            result => result,
        };
        match made {
            Ok(()) => {
                touched.insert(parent.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Links all entries below `from`, except metadata, to names below `to`, or copies them if the
    /// file system has no links. When this returns, the names are durable.
    pub(super) fn link_below(&self, from: &str, to: &str) -> Result<()> {
        let mut touched = BTreeSet::new();
        let mut folders = vec![String::new()];
        self.ensure_staging()?;
        while let Some(folder) = folders.pop() {
            let path = self.paths.inside("rename", &entry(from, &folder))?;
            let failed = |error| Error::io("rename", &path, error);
            for file in fs::read_dir(&path).map_err(failed)? {
                let file = file.map_err(failed)?;
                let name = file.file_name();
                let Some(name) = name.to_str().map(|name| entry(&folder, name)) else {
                    continue;
                };
                if file.file_type().map_err(failed)?.is_dir() {
                    folders.push(name);
                } else if !is_metadata(name.as_bytes()) {
                    self.link(&entry(from, &name), &entry(to, &name), &mut touched)?;
                }
            }
        }
        self.sync_directories(&touched)
    }

    fn link(&self, from: &str, to: &str, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        let source = self.paths.inside("rename", from)?;
        let temporary = self.temporary();
        let linked = self.step().and_then(|()| {
            fs::hard_link(&source, &temporary).or_else(|_| {
                let bytes = fs::read(&source)?;
                self.write_new(&temporary, &[bytes.into()])
                    .and_then(|file| self.sync_file(&file))
            })
        });
        linked.map_err(|error| Error::io("rename", &source, error))?;
        // Replaces what a killed rename left.
        self.rename_to_entry(&temporary, to, touched)
    }

    /// Removes the file of an entry, and the directories that become empty.
    pub(super) fn remove(&self, key: &str, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        let path = self.paths.inside("erase", key)?;
        match self.step().and_then(|()| remove_file(&path)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => {}
            Err(error) => return Err(Error::io("erase", &path, error)),
        }
        self.remove_empty_parents(&path, touched)
    }

    /// Removes everything below a path inside the recording.
    pub(super) fn remove_below(&self, path: &str, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        let path = self.paths.inside("erase", path)?;
        match self.step().and_then(|()| fs::symlink_metadata(&path)) {
            Ok(metadata) if !metadata.is_dir() => return Ok(()),
            Ok(_) => self
                .step()
                .and_then(|()| fs::remove_dir_all(&path))
                .map_err(|error| Error::io("erase", &path, error))?,
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(Error::io("erase", &path, error)),
        }
        self.remove_empty_parents(&path, touched)
    }

    /// Removes everything in the recording except the metadata of its root.
    pub(super) fn remove_all_but(&self, name: &str, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        let failed = |error| Error::io("erase", &self.paths.root, error);
        for entry in fs::read_dir(&self.paths.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() == name {
                continue;
            }
            self.step().map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            } else {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        touched.insert(self.paths.root.clone());
        Ok(())
    }

    fn remove_empty_parents(&self, path: &Path, touched: &mut BTreeSet<PathBuf>) -> Result<()> {
        for directory in path.ancestors().skip(1) {
            if directory != self.paths.root && directory.starts_with(&self.paths.root) {
                self.step()
                    .map_err(|error| Error::io("erase", directory, error))?;
                let removed = fs::remove_dir(directory);
                if removed.is_ok() || removed.is_err_and(|error| is_missing(&error)) {
                    touched.remove(directory);
                    continue;
                }
            }
            touched.insert(directory.to_owned());
            return Ok(());
        }
        Ok(())
    }

    /// Replaces the journal by a new one.
    ///
    /// On failure the old one is still in place, unless [`UnfinishedWrite::unsure`] says otherwise.
    pub(super) fn replace_journal(
        &self,
        recording: Option<&RecordingId>,
        fill: &mut dyn FnMut(&mut JournalWriter<'_>) -> Result<()>,
    ) -> Result<(), UnfinishedWrite> {
        let path = &self.paths.journal;
        let unchanged = |error| UnfinishedWrite {
            error,
            unsure: false,
        };
        let failed = |error| Error::io("write", path, error);
        self.ensure_staging().map_err(unchanged)?;
        let temporary = self.temporary();
        let written = (|| {
            let (header, position) = FORMAT.encode_header(generation());
            let header = Bytes::copy_from_slice(&header);
            let mut file = self.write_new(&temporary, &[header]).map_err(failed)?;
            let mut writer = JournalWriter {
                disk: self,
                file: &mut file,
                position,
            };
            if let Some(id) = recording {
                writer.write(Record::of_recording(id))?;
            }
            fill(&mut writer)?;
            self.sync_file(&file).map_err(failed)?;
            self.step()
                .and_then(|()| fs::rename(&temporary, path))
                .map_err(failed)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            unchanged(error)
        })?;
        self.sync_directory(&self.paths.parent)
            .map_err(|error| UnfinishedWrite {
                error: failed(error),
                unsure: true,
            })
    }

    /// Removes the journal. On failure it may be gone nevertheless.
    pub(super) fn remove_journal(&self) -> Result<(), UnfinishedWrite> {
        let failed = |unsure| {
            move |error| UnfinishedWrite {
                error: Error::io("erase", &self.paths.journal, error),
                unsure,
            }
        };
        match self
            .step()
            .and_then(|()| fs::remove_file(&self.paths.journal))
        {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(false)(error));
            }
            _ => {}
        }
        // If its name reappeared after a power failure, it would hide newer files.
        self.sync_directory(&self.paths.parent)
            .map_err(failed(true))
    }

    /// Appends a record to the journal and makes it durable.
    pub(super) fn append(&self, journal: &File, record: &Sealed) -> Result<(), UnfinishedWrite> {
        let failed = |unsure| {
            move |error| UnfinishedWrite {
                error: Error::io("write", &self.paths.journal, error),
                unsure,
            }
        };
        self.step()
            .inspect_err(|_| {
                // What a kill during a write leaves.
                if cfg!(test) {
                    let _ =
                        journal.write_all_at(&record.bytes[..record.bytes.len() / 2], record.start);
                }
            })
            .and_then(|()| journal.write_all_at(&record.bytes, record.start))
            .map_err(failed(false))?;
        self.sync_file(journal).map_err(failed(true))
    }

    /// Truncates the journal to a length.
    pub(super) fn cut(&self, journal: &File, length: u64) -> Result<()> {
        self.step()
            .and_then(|()| journal.set_len(length))
            .and_then(|()| self.sync_file(journal))
            .map_err(|error| Error::io("write", &self.paths.journal, error))
    }

    /// Removes the remains of unfinished writes.
    pub(super) fn remove_staging(&self) -> Result<()> {
        match self
            .step()
            .and_then(|()| fs::remove_dir_all(&self.paths.staging))
        {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("erase", &self.paths.staging, error))
            }
            _ => Ok(()),
        }
    }

    /// Creates the directory of a new recording. It may already exist.
    pub(super) fn make_root(&self) -> Result<()> {
        let root = &self.paths.root;
        match self.step().and_then(|()| fs::create_dir(root)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_directory(&self.paths.parent),
        }
        .map_err(|error| Error::io("create", root, error))
    }

    /// Moves the recording away in one step. [`Self::remove_staging`] deletes it.
    pub(super) fn discard_root(&self) -> Result<()> {
        self.ensure_staging()?;
        let away = self.temporary();
        self.step()
            .and_then(|()| fs::rename(&self.paths.root, &away))
            .and_then(|()| self.sync_directory(&self.paths.parent))
            .map_err(|error| Error::io("truncate", &self.paths.root, error))
    }

    fn ensure_staging(&self) -> Result<()> {
        let made = self.make_staging();
        made.map_err(|error| Error::io("write", &self.paths.staging, error))
    }

    fn make_staging(&self) -> io::Result<()> {
        let made = self
            .step()
            .and_then(|()| fs::create_dir(&self.paths.staging));
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn temporary(&self) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.paths.staging.join(number.to_string())
    }

    fn write_new(&self, path: &Path, pieces: &[Bytes]) -> io::Result<File> {
        self.step()?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        self.step()?;
        for bytes in pieces {
            file.write_all(bytes)?;
        }
        Ok(file)
    }

    /// Writes a file under a temporary name.
    pub(super) fn write_temporary(&self, bytes: Bytes) -> io::Result<(PathBuf, File)> {
        let temporary = self.temporary();
        self.make_staging()?;
        let file = self.write_new(&temporary, &[bytes])?;
        Ok((temporary, file))
    }

    /// Copies a file to a temporary name.
    pub(super) fn copy_to_temporary(&self, mut source: &File) -> io::Result<(PathBuf, File)> {
        let (temporary, mut file) = self.write_temporary(Bytes::new())?;
        self.step()?;
        io::copy(&mut source, &mut file)?;
        Ok((temporary, file))
    }

    /// Writes to a file at an offset.
    pub(super) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.step().inspect_err(|_| {
            // What a kill during a write leaves.
            if cfg!(test) {
                let _ = file.write_all_at(&bytes[..bytes.len() / 2], offset);
            }
        })?;
        file.write_all_at(bytes, offset)
    }

    /// Asks the system to start writing a part of a file to the disk, so that a later sync takes
    /// less time.
    pub(super) fn start_writing(&self, file: &File, extent: Extent) {
        if self.syncs() {
            blocks::start_writing(file, extent.offset, extent.len);
        }
    }

    /// Gives the space of a range of a file back, if the file system supports this.
    pub(super) fn give_back(&self, file: &File, range: Range<u64>) {
        if self.step().is_ok() {
            blocks::give_back(file, range);
        }
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.syncs() {
            self.step()?;
            file.sync_data()?;
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.syncs() {
            self.step()?;
            sync_directory(path)?;
        }
        Ok(())
    }

    pub(super) fn sync_directories(&self, directories: &BTreeSet<PathBuf>) -> Result<()> {
        if self.is_many(directories.len()) {
            return self.sync_file_system();
        }
        for directory in directories {
            match self.sync_directory(directory) {
                // A later erasure of the same checkpoint removes the directory again.
                Err(error) if is_missing(&error) => {}
                result => result.map_err(|error| Error::io("write", directory, error))?,
            }
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn sync_file_system(&self) -> Result<()> {
        let sync = || {
            self.step()?;
            rustix::fs::syncfs(File::open(&self.paths.parent)?)?;
            Ok(())
        };
        if !self.syncs() {
            return Ok(());
        }
        sync().map_err(|error| Error::io("write", &self.paths.root, error))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_file_system(&self) -> Result<()> {
        unreachable!("every file is synced by itself on this system")
    }
}

/// Writes the records of a new journal.
pub(super) struct JournalWriter<'a> {
    disk: &'a Disk,
    file: &'a mut File,
    position: Position,
}

impl JournalWriter<'_> {
    pub(super) fn write(&mut self, record: Record) -> Result<()> {
        let sealed = record.seal(self.position);
        self.disk
            .step()
            .and_then(|()| self.file.write_all(&sealed.bytes))
            .map_err(|error| Error::io("write", &self.disk.paths.journal, error))?;
        self.position = sealed.end;
        Ok(())
    }
}

/// Why a change of the journal failed.
#[derive(Debug)]
pub(super) struct UnfinishedWrite {
    pub(super) error: Error,
    /// Whether other processes may have seen the change although a power failure could undo it.
    pub(super) unsure: bool,
}

/// Creates a directory and its parents, each of them durable if `sync` is set.
pub(super) fn create_directories(path: &Path, sync: bool) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    create_directories(parent, sync)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    if sync {
        sync_directory(folder_of(path))?;
    }
    Ok(())
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// On some systems, `remove_file` returns `PermissionDenied` for a directory.
fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path).map_err(|error| {
        if path.is_dir() {
            io::ErrorKind::IsADirectory.into()
        } else {
            error
        }
    })
}
