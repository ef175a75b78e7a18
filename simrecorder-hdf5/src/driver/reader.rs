//! Reads a file that another process may be writing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use simrecorder_core::backend::FileHandle;
use simrecorder_core::backend::{Position, names, scan};
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::disk::{Disk, Paths};
use super::journal::{self, CommittedPages, JournalRange, LoadedJournal, is_announced};
use super::locks::{MainLock, writer_lock};
use super::open::{check_main, find_superblock, open_main};
use super::pages::Layers;
use super::writer::copy_home;

/// How often opening starts again when a writer keeps changing the files.
const ATTEMPTS: u32 = 64;
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than the resolution of file times.
const TICK: Duration = Duration::from_millis(20);

/// A file as of one commit.
#[derive(Debug)]
pub(super) struct Reader {
    paths: Paths,
    main: Arc<File>,
    pub(super) committed: CommittedPages,
    /// The length of the file for libhdf5.
    pub(super) length: u64,
    /// The end of allocation, as libhdf5 last set it.
    pub(super) eoa: u64,
    watch: Watch,
}

/// Tells a reader that the files changed.
#[derive(Debug)]
enum Watch {
    Journal(Box<WatchedJournal>),
    /// There was no journal.
    Main(Stamp),
}

#[derive(Debug)]
struct WatchedJournal {
    file: Arc<FileHandle>,
    id: [u8; 16],
    changes: u64,
    /// The position after the last record that was read.
    end: Position,
}

/// Changes with the contents of a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Reader {
    /// Opens a file at its last commit, and returns the notes of its journal.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<JournalRange>)> {
        let paths = Paths::existing(path)?;
        let mut may_finish = true;
        for _ in 0..ATTEMPTS {
            let opened = Self::attempt(&paths)?;
            let Some((reader, notes)) = opened else {
                thread::sleep(PAUSE);
                continue;
            };
            if may_finish && reader.is_interrupted() {
                may_finish = false;
                if let Err(error) = finish_checkpoint(&paths) {
                    let path = paths.main.display();
                    tracing::debug!(%path, %error,
                        "the next writer completes the checkpoint that was interrupted");
                }
                // A part of it may have been done.
                continue;
            }
            return Ok((reader, notes));
        }
        let message = "a writer keeps changing the file; try again";
        Err(Error::new(ErrorKind::Io, "open", message).with_key(paths.main.display().to_string()))
    }

    /// Opens the files, unless they change meanwhile.
    fn attempt(paths: &Paths) -> Result<Option<(Self, Vec<JournalRange>)>> {
        let failed = |error| Error::io("open", &paths.main, error);
        // Read the journal first: it covers what is in the main file by then.
        let journal = match File::open(&paths.journal) {
            Ok(journal) => Some(journal),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", &paths.journal, error)),
        };
        let main = Arc::new(open_main(&paths.main, false)?);
        let (reader, notes) = match journal {
            None => {
                wait_for_tick(&main).map_err(failed)?;
                let stamp = Stamp::of(&main).map_err(failed)?;
                find_superblock(&main, &paths.main)?;
                let reader = Self {
                    paths: paths.clone(),
                    main,
                    committed: CommittedPages::new(stamp.length),
                    length: stamp.length,
                    eoa: 0,
                    watch: Watch::Main(stamp),
                };
                (reader, Vec::new())
            }
            Some(journal) => {
                let copy = journal.try_clone().map_err(failed)?;
                let changes = journal::read_changes(&copy).ok();
                match Self::with_journal(paths, main, journal.into()) {
                    Ok(opened) => opened,
                    // Inconsistent data may have changed between two reads.
                    Err(_)
                        if journal::read_changes(&copy).ok() != changes
                            || !names(&paths.journal, &copy).map_err(failed)? =>
                    {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let same = names(&paths.main, &reader.main).map_err(failed)?;
        Ok((same && reader.holds(true)?).then_some((reader, notes)))
    }

    fn with_journal(
        paths: &Paths,
        main: Arc<File>,
        journal: FileHandle,
    ) -> Result<(Self, Vec<JournalRange>)> {
        let superblock = find_superblock(&main, &paths.main)?;
        let loaded = journal::load(journal, &paths.journal, superblock)?;
        check_main(&loaded, &main, superblock, paths)?;
        let LoadedJournal {
            file,
            header,
            changes,
            committed,
            notes,
            end,
            ..
        } = loaded;
        let reader = Self {
            paths: paths.clone(),
            main,
            length: committed.eoa,
            eoa: 0,
            committed,
            watch: Watch::Journal(Box::new(WatchedJournal {
                file,
                id: header.id,
                changes,
                end,
            })),
        };
        Ok((reader, notes))
    }

    /// The path of the main file, without links.
    pub(super) fn path(&self) -> &Path {
        &self.paths.main
    }

    pub(super) fn file_id(&self) -> Option<[u8; 16]> {
        match &self.watch {
            Watch::Journal(watched) => Some(watched.id),
            Watch::Main(_) => None,
        }
    }

    pub(super) fn journal(&self) -> Option<&Arc<FileHandle>> {
        match &self.watch {
            Watch::Journal(watched) => Some(&watched.file),
            Watch::Main(_) => None,
        }
    }

    pub(super) fn journal_bytes(&self) -> u64 {
        match &self.watch {
            Watch::Journal(watched) => watched.end.offset,
            Watch::Main(_) => 0,
        }
    }

    fn is_interrupted(&self) -> bool {
        matches!(&self.watch, Watch::Journal(watched) if is_announced(watched.changes))
    }

    pub(super) fn layers(&self) -> Layers<'_> {
        Layers::committed(
            &self.committed.pages,
            self.journal().map(|journal| &***journal),
            &self.main,
        )
    }

    /// Whether everything that was read from the files so far belongs to one commit. `whole` says
    /// whether the last part could be read completely.
    pub(super) fn holds(&self, whole: bool) -> Result<bool> {
        self.look(whole)
            .map_err(|error| Error::io("read", &self.paths.main, error))
    }

    fn look(&self, whole: bool) -> io::Result<bool> {
        match &self.watch {
            Watch::Journal(watched) => {
                // A journal whose checkpoint has begun may be replaced without another sign. A
                // journal that is too short lost a withdrawn record, and will announce it.
                Ok(journal::read_changes(&watched.file)? == watched.changes
                    && (!is_announced(watched.changes)
                        || names(&self.paths.journal, &watched.file)?)
                    && (whole || watched.file.metadata()?.len() >= watched.end.offset))
            }
            Watch::Main(stamp) => {
                Ok(!exists(&self.paths.journal)? && Stamp::of(&self.main)? == *stamp)
            }
        }
    }

    /// Whether there is a newer commit.
    pub(super) fn has_news(&self) -> Result<bool> {
        let failed = |error| Error::io("read", &self.paths.journal, error);
        if !self.holds(false)? {
            return Ok(true);
        }
        let Watch::Journal(watched) = &self.watch else {
            return Ok(false);
        };
        let length = watched.file.metadata().map_err(failed)?.len();
        if length <= watched.end.offset {
            return Ok(!names(&self.paths.journal, &watched.file).map_err(failed)?);
        }
        let path = &self.paths.journal;
        let scanned = scan(&watched.file, path, watched.end, length, &mut |_, _| Ok(()))?;
        Ok(scanned.position != watched.end)
    }
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until a change of the file would change its times.
fn wait_for_tick(main: &File) -> io::Result<()> {
    let modified = main.metadata()?.modified()?;
    let age = SystemTime::now()
        .duration_since(modified)
        .unwrap_or_default();
    if age < TICK {
        thread::sleep(TICK);
    }
    Ok(())
}

/// Completes a checkpoint whose writer was killed, so that other programs can read the main file.
fn finish_checkpoint(paths: &Paths) -> Result<()> {
    let journal = match writer_lock(&paths.journal, false, &paths.main, |_, _| false) {
        Ok(Some(journal)) => journal,
        // There is a writer, so nothing was interrupted.
        Err(error) if error.kind() == ErrorKind::Locked => return Ok(()),
        Ok(None) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Another reader may have done it meanwhile: check first, so that writers do not have to wait
    // long for the lock.
    if !journal::read_changes(&journal).is_ok_and(is_announced) {
        return Ok(());
    }
    let disk = Disk::new(Durability::Power);
    let main = Arc::new(open_main(&paths.main, true)?);
    let _lock = MainLock::acquire(Arc::clone(&main), &paths.main, disk.lock_timeout)?;
    let superblock = find_superblock(&main, &paths.main)?;
    let loaded = journal::load(journal, &paths.journal, superblock)?;
    if !is_announced(loaded.changes) {
        return Ok(());
    }
    check_main(&loaded, &main, superblock, paths)?;
    let (at, bytes) = journal::encode_changes(loaded.changes.wrapping_add(1));
    copy_home(
        disk,
        &loaded.committed,
        &loaded.file,
        &main,
        Some(loaded.committed.eoa),
    )
    .and_then(|()| disk.write(&loaded.file, &bytes, at))
    .map_err(|error| Error::io("open", &paths.main, error))?;
    Ok(())
}
