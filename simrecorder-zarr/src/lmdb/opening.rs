//! Opens an environment, and chooses its access and map size.

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};
use simrecorder_core::{Error, ErrorKind, Result};

use super::data_file::{self, DataFile};
use super::entries::Entries;
use super::errors;
use super::folder::{self, FileId};
use super::handle::EnvHandle;

/// Map sizes are multiples of this, which is a multiple of every page size.
const MAP_UNIT: u64 = 64 << 10;

/// Slots for read transactions in a lock file that LMDB creates itself.
const MAX_READERS: u32 = 1024;

/// How an environment was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    /// The data file is not writable; reads are registered in the lock file.
    ReadOnly,
    /// Neither file is writable; [`ReadGuard`](folder::ReadGuard) blocks writers.
    Unregistered,
}

pub(super) struct OpenEnvironment {
    pub(super) env: EnvHandle,
    pub(super) entries: Entries,
}

impl Access {
    /// The kinds of access to try, best first. Reading also prefers full access, because a later
    /// writer has to use the same environment.
    pub(super) fn allowed(folder: &Path, write: bool) -> &'static [Self] {
        if write {
            &[Self::ReadWrite]
        } else if folder::is_read_only(folder) || folder::network_file_system(folder).is_some() {
            // On a read-only mount, LMDB would silently do without its lock file. On a network file
            // system, that file tells readers nothing about other hosts.
            &[Self::Unregistered]
        } else {
            &[Self::ReadWrite, Self::ReadOnly, Self::Unregistered]
        }
    }
}

fn is_refusal(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::StorageFull | Io::QuotaExceeded
    )
}

pub(super) fn open(
    folder: &Path,
    id: &FileId,
    access: &[Access],
    map_size: usize,
) -> Result<(OpenEnvironment, Access, usize)> {
    let mut access = access;
    if access != [Access::Unregistered] {
        match folder::prepare_lock_file(folder) {
            Err(error) if is_refusal(&error) && access.contains(&Access::Unregistered) => {
                access = &[Access::Unregistered];
            }
            Err(error) => return Err(Error::io("open", folder, error)),
            Ok(()) => {}
        }
    }
    let lock = FileId::of_lock(folder);
    let mut last = None;
    for access in access {
        match map(folder, *access, map_size)? {
            Ok((open, map_size)) => {
                // A `Truncate` in another process may have replaced the files.
                let unchanged = FileId::of_data(folder).is_ok_and(|found| found == *id)
                    && (lock.is_none() || FileId::of_lock(folder) == lock);
                return if unchanged {
                    Ok((open, *access, map_size))
                } else {
                    Err(replaced(folder))
                };
            }
            Err(heed::Error::Io(error)) if is_refusal(&error) => last = Some(error),
            Err(error) => return Err(errors::from_heed("open", folder, error)),
        }
    }
    let error = last.unwrap_or_else(|| std::io::ErrorKind::PermissionDenied.into());
    Err(Error::io("open", folder, error))
}

fn replaced(folder: &Path) -> Error {
    Error::new(
        ErrorKind::Locked,
        "open",
        "another process is replacing the recording, or has moved it; open it again",
    )
    .with_key(folder.display().to_string())
}

/// Opens the environment with the largest map that the system grants, up to `map_size`.
fn map(
    folder: &Path,
    access: Access,
    map_size: usize,
) -> Result<heed::Result<(OpenEnvironment, usize)>> {
    let round = |size: u64| {
        let size = size.max(1).checked_next_multiple_of(MAP_UNIT);
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or(usize::MAX - (usize::MAX % MAP_UNIT as usize))
    };
    let mut size = round(map_size as u64);
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.max_readers(MAX_READERS);
    let flags = match access {
        Access::ReadWrite => EnvFlags::empty(),
        Access::ReadOnly => EnvFlags::READ_ONLY,
        Access::Unregistered => EnvFlags::READ_ONLY | EnvFlags::NO_LOCK,
    };
    // NO_READ_AHEAD is not set: values are whole chunks, which are read from start to end, and
    // without read-ahead each page would be fetched separately. SAFETY: the flags change no memory
    // that Rust sees. Without LMDB's locks, a writer could reuse the pages of a running read;
    // `ReadGuard` blocks our writers.
    unsafe { options.flags(flags) };
    loop {
        let needed = match data_file::inspect("open", &folder::data_file(folder))? {
            DataFile::Sound { needed } => needed,
            DataFile::Unfinished => 0,
            DataFile::Missing => return Err(replaced(folder)),
        };
        // With room for the first commits, so that they do not begin by changing the map.
        let least = round(needed.saturating_add(MAP_UNIT));
        size = size.max(least);
        options.map_size(size);
        // SAFETY: only LMDB changes the files, and all processes agree on its locks (or see above).
        // The data file is as long as its meta pages say. This process has it open once, because
        // the registry is locked or the previous environment is closed. It is impossible to prevent
        // other programs from truncating the file while it is mapped; the documentation of
        // `LmdbStorage` forbids it.
        let opened = unsafe { EnvHandle::open(&options, folder) }
            .and_then(|env| main_database(&env).map(|entries| OpenEnvironment { env, entries }));
        match opened {
            Ok(open) => return Ok(Ok((open, size))),
            // A writer in another process was faster.
            Err(heed::Error::Mdb(MdbError::MapResized)) => {}
            Err(heed::Error::Io(error))
                if size > least && !is_refusal(&error) && is_size(&error) =>
            {
                size = round(size as u64 / 2).max(least);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Whether the system may have considered the map too large.
fn is_size(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::OutOfMemory | Io::InvalidInput | Io::FileTooLarge
    ) || folder::is_overflow(error)
}

/// The unnamed database. Its handle is the same number in every environment; only heed requires a
/// transaction for it.
fn main_database(env: &Env<WithoutTls>) -> heed::Result<Entries> {
    loop {
        match env.read_txn() {
            Ok(txn) => {
                let entries = env.open_database(&txn, None)?;
                return entries.ok_or(heed::Error::Mdb(MdbError::NotFound));
            }
            Err(heed::Error::Mdb(MdbError::ReadersFull)) if env.clear_stale_readers()? > 0 => {}
            Err(error) => return Err(error),
        }
    }
}
