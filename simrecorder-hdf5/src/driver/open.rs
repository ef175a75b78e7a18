//! Opens and creates files for writing.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use simrecorder_core::backend::{FileHandle, Position, names};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::{Disk, Paths};
use super::journal::{self, CommittedPages, Header, JournalRange, LoadedJournal, is_announced};
use super::locks::{MainLock, journal_lock, next_journal_file};
use super::pages::{PAGE_LEN, read_or_zero};
use super::superblock;
use super::writer::{Writer, write_journal};

/// How long to wait for other writers that open and close the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// A new file without nodes is shorter than this.
const LONGEST_EMPTY_FILE: u64 = 64 << 10;

/// Opens the main file, which must be a regular file.
pub(crate) fn open_main(path: &Path, write: bool) -> Result<File> {
    let failed = |error| Error::io("open", path, error);
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        let message = "this is not a file, but an HDF5 recording is one; choose another path";
        return Err(Error::new(ErrorKind::InvalidArgument, "open", message)
            .with_key(path.display().to_string()));
    }
    File::options()
        .read(true)
        .write(write)
        .open(path)
        .map_err(failed)
}

/// The offset of the superblock of the main file.
pub(crate) fn find_superblock(main: &File, path: &Path) -> Result<u64> {
    let failed = |error| Error::io("open", path, error);
    let length = main.metadata().map_err(failed)?.len();
    for offset in superblock::offsets(length) {
        let mut bytes = [0; 8];
        read_or_zero(main, &mut bytes, offset).map_err(failed)?;
        if superblock::is_signature(bytes) {
            return Ok(offset);
        }
    }
    Err(
        Error::new(ErrorKind::Corrupt, "open", "this is not an HDF5 file")
            .with_key(path.display().to_string()),
    )
}

/// Opens an existing file, and returns the notes of its journal.
pub(super) fn append(path: &Path, disk: Disk) -> Result<(Writer, Vec<JournalRange>)> {
    let paths = Paths::existing(path)?;
    let start = Instant::now();
    loop {
        match try_append(&paths, disk) {
            Ok(Some(opened)) => return Ok(opened),
            // Other writers opened and closed the file between two of these steps.
            Ok(None) if start.elapsed() < PATIENCE => {}
            Ok(None) => {
                let message = "other writers keep opening this file";
                return Err(Error::new(ErrorKind::Locked, "open", message)
                    .with_key(paths.main.display().to_string()));
            }
            Err(error) => return Err(error),
        }
        thread::sleep(PATIENCE / 100);
    }
}

/// Waits before the next attempt. Tests interfere meanwhile.
fn pause() {
    #[cfg(test)]
    let _ = super::fault::step();
    thread::sleep(PATIENCE / 200);
}

fn try_append(paths: &Paths, disk: Disk) -> Result<Option<(Writer, Vec<JournalRange>)>> {
    let main = Arc::new(open_main(&paths.main, true)?);
    let superblock = find_superblock(&main, &paths.main)?;
    let journal = journal_lock(paths)?;
    let lock = MainLock::acquire(Arc::clone(&main), &paths.main, disk.lock_timeout)?;
    let same = names(&paths.main, &main).map_err(|error| Error::io("open", &paths.main, error))?;
    if !same || journal.is_none() && paths.journal.exists() {
        return Ok(None);
    }
    check_leftovers(paths)?;
    // The remains of writers that were killed while they wrote new files.
    for path in [&paths.next_journal, &paths.next_main] {
        disk.remove(path)
            .map_err(|error| Error::io("open", path, error))?;
    }
    let is_new = journal.is_none();
    let loaded = match journal {
        Some(journal) => recover(journal, &main, superblock, paths, disk)?,
        None => {
            let file = next_journal_file(paths)?;
            begin_journal(file, &main, superblock, [0; 16], paths, disk)?
        }
    };
    let notes = loaded.notes.clone();
    let mut writer = Writer::new(disk, paths.clone(), main, lock, loaded)?;
    writer.superblock = superblock;
    if !is_new {
        renew(&mut writer)?;
    }
    writer
        .clear_open_flags()
        .map_err(|error| Error::io("open", &paths.main, error))?;
    writer.lock.share(&paths.main)?;
    Ok(Some((writer, notes)))
}

/// Reads a journal that another writer left, and cuts off an incomplete end.
fn recover(
    journal: FileHandle,
    main: &File,
    superblock: u64,
    paths: &Paths,
    disk: Disk,
) -> Result<LoadedJournal> {
    let loaded = journal::load(journal, &paths.journal, superblock)?;
    check_main(&loaded, main, superblock, paths)?;
    let end = loaded.end.offset;
    let torn = loaded.length.saturating_sub(end);
    if torn > 0 {
        let path = paths.journal.display();
        tracing::warn!(%path, bytes = torn, "the journal is incomplete: everything after its last \
            complete commit is discarded");
        disk.set_len(&loaded.file, end)
            .and_then(|()| disk.sync(&loaded.file))
            .map_err(|error| Error::io("open", &paths.journal, error))?;
    }
    journal::sign(&loaded.file);
    Ok(loaded)
}

/// Checks that a journal belongs to the main file.
pub(super) fn check_main(
    loaded: &LoadedJournal,
    main: &File,
    superblock: u64,
    paths: &Paths,
) -> Result<()> {
    let failed = |error| Error::io("open", &paths.main, error);
    let mut looks = 0;
    loop {
        looks += 1;
        let length = main.metadata().map_err(failed)?.len();
        let page = superblock::page_of(main, superblock).map_err(failed)?;
        let at = (superblock % PAGE_LEN) as usize;
        match loaded.check_main(length, &page, at) {
            // A writer may be writing this page at the moment.
            Err(_) if is_announced(loaded.changes) && looks < 3 => pause(),
            checked => return checked.map_err(|e| e.with_key(paths.main.display().to_string())),
        }
    }
}

/// Tells readers that there is a new writer, which completes an interrupted checkpoint.
fn renew(writer: &mut Writer) -> Result<()> {
    if is_announced(writer.journal.changes) {
        match writer.finish_checkpoint() {
            Ok(()) => return Ok(()),
            Err(error) => {
                let path = writer.paths.main.display();
                tracing::warn!(%path, %error, "an interrupted checkpoint could not be completed: \
                    until the next one, only simrecorder can read the file");
            }
        }
    }
    // A writer that was killed while it withdrew a record may not have announced it.
    let changes = writer.journal.changes.wrapping_add(2);
    let path = writer.paths.journal.clone();
    writer
        .set_changes(changes)
        .map_err(|error| Error::io("open", &path, error))
}

/// Gives a main file that contains everything a journal: a locked file.
fn begin_journal(
    file: FileHandle,
    main: &File,
    superblock: u64,
    id: [u8; 16],
    paths: &Paths,
    disk: Disk,
) -> Result<LoadedJournal> {
    let failed = |path: &Path, error| Error::io("open", path, error);
    let of_main = |error| failed(&paths.main, error);
    let header = Header {
        id,
        base: main.metadata().map_err(of_main)?.len(),
        superblock: superblock::page_checksum(main, superblock).map_err(of_main)?,
    };
    let placed = write_journal(disk, file, header, header.base, &[]).and_then(|written| {
        disk.rename(&paths.next_journal, &paths.journal)?;
        disk.sync_folder(paths)?;
        Ok(written)
    });
    match placed {
        Ok((journal, committed, _)) => Ok(LoadedJournal::empty(
            journal.file,
            header,
            committed,
            journal.end,
        )),
        Err(error) => {
            let _ = disk.remove(&paths.next_journal);
            Err(failed(&paths.journal, error))
        }
    }
}

/// Creates a file, replacing the file `old` if there is one.
pub(super) fn create(
    path: &Path,
    id: [u8; 16],
    old: Option<&File>,
    disk: Disk,
    make_empty: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<Writer> {
    let paths = match old {
        Some(_) => Paths::existing(path)?,
        None => Paths::new(path)?,
    };
    check_place(&paths, old)?;
    journal::FORMAT.check_replaceable(&paths.journal)?;
    check_leftovers(&paths)?;
    let next = next_journal_file(&paths)?;
    let created = create_locked(next, &paths, id, old, disk, make_empty);
    if created.is_err() {
        for path in [&paths.next_main, &paths.next_journal] {
            let _ = disk.remove(path);
        }
    }
    created
}

/// Checks that the path contains nothing except the file to replace.
fn check_place(paths: &Paths, old: Option<&File>) -> Result<()> {
    let failed = |error| Error::io("create", &paths.main, error);
    let Ok(found) = fs::symlink_metadata(&paths.main) else {
        return Ok(());
    };
    let message = match old {
        Some(old) if names(&paths.main, old).map_err(failed)? => return Ok(()),
        Some(_) => "the file to be replaced was replaced by another program; try again",
        None if found.is_dir() => "a folder is already there; choose another path",
        None => "a file is already there; open it for appending, or delete it first",
    };
    Err(Error::new(ErrorKind::AlreadyExists, "create", message)
        .with_key(paths.main.display().to_string()))
}

/// Checks that the temporary names, which a killed writer leaves, are not in use by other files.
fn check_leftovers(paths: &Paths) -> Result<()> {
    journal::FORMAT.check_replaceable(&paths.next_journal)?;
    let path = &paths.next_main;
    let failed = |error| Error::io("open", path, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_file() && found.len() <= LONGEST_EMPTY_FILE => {
            let bytes = fs::read(path).map_err(failed)?;
            let is_empty = bytes.iter().all(|byte| *byte == 0);
            if is_empty || superblock::is_new_file(&bytes) {
                return Ok(());
            }
        }
        Ok(_) => {}
    }
    let message = "a new recording is first created under this name, and a file of other \
        software already has it; move it away, or choose another path for the recording";
    Err(Error::new(ErrorKind::InvalidArgument, "open", message)
        .with_key(path.display().to_string()))
}

fn create_locked(
    next: FileHandle,
    paths: &Paths,
    id: [u8; 16],
    old: Option<&File>,
    disk: Disk,
    make_empty: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<Writer> {
    check_place(paths, old)?;
    // A journal here belongs to the file to replace, or to a deleted one. If it has a writer, that
    // writer continues.
    let journal = journal_lock(paths)?;
    let removed = match old {
        Some(old) => remove_main(paths, old, journal.as_ref(), disk),
        None => Ok(()),
    };
    let created = removed.and_then(|()| create_files(next, paths, id, disk, make_empty));
    if created.is_err() && old.is_some() && fs::symlink_metadata(&paths.main).is_err() {
        // It must not be mistaken for the journal of a file that another program puts there.
        let _ = disk.remove(&paths.journal);
    }
    created
}

fn create_files(
    next: FileHandle,
    paths: &Paths,
    id: [u8; 16],
    disk: Disk,
    make_empty: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<Writer> {
    let failed = |error| Error::io("create", &paths.main, error);
    disk.remove(&paths.next_main).map_err(failed)?;
    make_empty(&paths.next_main)?;
    let main = Arc::new(open_main(&paths.next_main, true)?);
    disk.sync(&main).map_err(failed)?;
    let superblock = find_superblock(&main, &paths.next_main)?;
    let lock = MainLock::acquire(Arc::clone(&main), &paths.main, disk.lock_timeout)?;
    // Write the journal first: without a main file, it is ignored.
    let loaded = begin_journal(next, &main, superblock, id, paths, disk)?;
    if let Err(error) = disk.rename_new(&paths.next_main, &paths.main) {
        let _ = disk.remove(&paths.journal);
        return Err(failed(error));
    }
    if let Err(error) = disk.sync_folder(paths) {
        let _ = disk.remove(&paths.main);
        let _ = disk.remove(&paths.journal);
        return Err(failed(error));
    }
    let mut writer = Writer::new(disk, paths.clone(), main, lock, loaded)?;
    writer.superblock = superblock;
    writer.lock.share(&paths.main)?;
    Ok(writer)
}

/// Deletes a main file that is to be replaced, before its journal.
fn remove_main(paths: &Paths, old: &File, journal: Option<&FileHandle>, disk: Disk) -> Result<()> {
    let failed = |error| Error::io("truncate", &paths.main, error);
    let main = match open_main(&paths.main, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        main => Arc::new(main?),
    };
    let _lock = MainLock::acquire(main, &paths.main, disk.lock_timeout)?;
    // Check again, because waiting for the locks takes time.
    check_place(paths, Some(old))?;
    if let Some(journal) = journal {
        // Readers must not confuse the new file with the one they know. A damaged journal has no
        // readers.
        if let Ok(changes) = journal::read_changes(journal) {
            let (at, bytes) = journal::encode_changes(changes.wrapping_add(1) | 1);
            disk.write(journal, &bytes, at).map_err(failed)?;
        }
    }
    disk.remove(&paths.main)
        .and_then(|()| disk.sync_folder(paths))
        .map_err(failed)
}

impl LoadedJournal {
    /// A new journal.
    fn empty(
        file: Arc<FileHandle>,
        header: Header,
        committed: CommittedPages,
        end: Position,
    ) -> Self {
        Self {
            file,
            header,
            changes: 0,
            committed,
            notes: Vec::new(),
            superblocks: vec![header.superblock],
            own_superblocks: Vec::new(),
            end,
            length: end.offset,
        }
    }
}
