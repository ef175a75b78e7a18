//! LMDB environments: one per recording in this process, no matter how often the recording is
//! opened.
//!
//! All transactions of the process run under the read side of one lock, the gate. Changes that LMDB
//! forbids while a transaction is active (another map size, other flags) are made under its write
//! side, by closing the environment and opening it again. Resizing in place would be simpler, but
//! if the system refuses the new map, LMDB is left without a map.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use heed::{AnyTls, EnvFlags, FlagSetMode, MdbError, RoTxn, RwTxn};
use simrecorder_core::backend::fork::PerProcess;
use simrecorder_core::backend::sync::{Condvar, Mutex, RwLock};
use simrecorder_core::{Error, ErrorKind, Result};

use super::chunk_files::{ChunkFiles, ChunkMark, Extent};
use super::entries::{self, Entries, Writing};
use super::errors;
use super::folder::{self, FileId, ReadGuard};
use super::opening::{Access, OpenEnvironment, open};
use super::pages::{self, Depth};
use super::reader_locks::ReaderLocks;
use super::snapshot::LmdbSnapshot;
use crate::storage::Change;

/// The virtual memory that is reserved for the map at first. It costs nothing except addresses.
#[cfg(target_pointer_width = "64")]
const FIRST_MAP: usize = 1 << 40;
#[cfg(not(target_pointer_width = "64"))]
const FIRST_MAP: usize = 1 << 30;

/// The number of pages by which the file grows before its writer looks for killed readers again.
///
/// LMDB keeps every page that a registered reader may see, so the file grows while a killed reader
/// stays registered. The check asks the system once for each process that has registered.
const GROWTH_BETWEEN_CHECKS: usize = 256;

/// How often a reader starts again when a writer frees what it reads.
const READ_ATTEMPTS: u32 = 100;

/// The environment of one recording, shared by all that have it open in this process.
pub(super) struct Environment {
    /// The folder of the recording, or its only file.
    folder: PathBuf,
    id: FileId,
    gate: RwLock<Gate>,
    /// How far the pages were checked. `readable` tells it without waiting.
    checked: Mutex<Option<Depth>>,
    readable: AtomicBool,
    /// The last page of the file when this process last looked for killed readers.
    last_page: AtomicUsize,
    chunk_files: ChunkFiles,
    /// The file in which readers lock the snapshot that they read, if that is possible.
    reader_locks: OnceLock<Option<ReaderLocks>>,
    /// The mark of the recording's chunk files, once it is known.
    mark: OnceLock<Option<ChunkMark>>,
}

struct Gate {
    /// `None` if it could not be reopened.
    open: Option<OpenEnvironment>,
    access: Access,
    map_size: usize,
    no_sync: bool,
    /// Incremented each time the environment is opened, so that only the first of many threads
    /// reopens it.
    generation: u64,
}

/// The environments of this process. An environment without users stays in the map until it is
/// closed, because LMDB must not have the same files open twice.
struct Registry {
    environments: Mutex<HashMap<FileId, Weak<Environment>>>,
    closed: Condvar,
}

/// A forked child opens its own environments. Those of its parent are leaked.
static REGISTRY: PerProcess<Registry> = PerProcess::new(|| Registry {
    environments: Mutex::default(),
    closed: Condvar::new(),
});

impl Drop for Environment {
    fn drop(&mut self) {
        let registry = REGISTRY.get();
        let mut environments = registry.environments.lock();
        self.gate.get_mut().open = None;
        environments.remove(&self.id);
        registry.closed.notify_all();
    }
}

/// Runs `action` while no environment is open for the data file of `folder`, and no thread of this
/// process can open or close one.
pub(super) fn while_closed<T>(folder: &Path, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let registry = REGISTRY.get();
    let mut environments = registry.environments.lock();
    if let Ok(id) = FileId::of_data(folder) {
        while let Some(environment) = environments.get(&id) {
            if environment.strong_count() > 0 {
                return Err(Error::new(
                    ErrorKind::Locked,
                    "open",
                    "this process has it open; drop all views and stores of it first",
                )
                .with_key(folder.display().to_string()));
            }
            registry.closed.wait(&mut environments);
        }
    }
    action()
}

impl Environment {
    /// The environment of the recording in `folder`, a canonical path.
    pub(super) fn attach(folder: &Path, write: bool, map_size: Option<usize>) -> Result<Arc<Self>> {
        let environment = Self::find_or_open(folder, write, map_size)?;
        // Not under the lock of the registry, which dropping an environment also takes.
        if write {
            environment.make_writable()?;
        }
        let depth = if write {
            Depth::Writing
        } else {
            Depth::Reading
        };
        match environment.check_pages(depth) {
            // A reader that cannot register has to wait for the writer. It checks the pages before
            // it reads.
            Err(error) if error.kind() == ErrorKind::Locked && !write => {}
            checked => checked?,
        }
        if let Some(open) = &environment.gate.read().open {
            environment.clear_stale_readers(open);
        }
        Ok(environment)
    }

    fn find_or_open(folder: &Path, write: bool, map_size: Option<usize>) -> Result<Arc<Self>> {
        let id = FileId::of_data(folder).map_err(|error| Error::io("open", folder, error))?;
        let registry = REGISTRY.get();
        let mut environments = registry.environments.lock();
        while let Some(environment) = environments.get(&id) {
            if let Some(environment) = environment.upgrade() {
                return Ok(environment);
            }
            registry.closed.wait(&mut environments);
        }
        let map_size = map_size.unwrap_or(FIRST_MAP);
        let (open, access, map_size) = open(folder, &id, Access::allowed(folder, write), map_size)?;
        let environment = Arc::new(Self {
            folder: folder.to_owned(),
            id: id.clone(),
            gate: RwLock::new(Gate {
                open: Some(open),
                access,
                map_size,
                no_sync: false,
                generation: 0,
            }),
            checked: Mutex::new(None),
            readable: AtomicBool::new(false),
            last_page: AtomicUsize::new(0),
            chunk_files: ChunkFiles::new(folder),
            reader_locks: OnceLock::new(),
            mark: OnceLock::new(),
        });
        environments.insert(id, Arc::downgrade(&environment));
        Ok(environment)
    }

    /// Checks the pages of the file, unless that was already done.
    fn check_pages(&self, depth: Depth) -> Result<()> {
        let mut checked = self.checked.lock();
        let path = folder::data_file(&self.folder);
        // A fast writer may replace the roots of a snapshot before they are read.
        for _ in 0..100 {
            if *checked >= Some(depth) {
                return Ok(());
            }
            let check =
                |snapshot: &LmdbSnapshot<'_>| pages::check(&path, snapshot.txn.id() as u64, depth);
            if self.read_unchecked(check)? {
                *checked = Some(depth);
                self.readable.store(true, Ordering::Release);
            }
        }
        // The pages that it reads now are those that it has just written.
        tracing::debug!(path = %path.display(), "the pages were not checked, because a writer changes them too fast");
        self.readable.store(true, Ordering::Release);
        Ok(())
    }

    fn failed(&self, operation: &'static str, error: heed::Error) -> Error {
        errors::from_heed(operation, &self.folder, error)
    }

    /// Reopens the environment for writing if readers have opened it read only.
    fn make_writable(&self) -> Result<()> {
        let mut gate = self.gate.write();
        if gate.access == Access::ReadWrite {
            return Ok(());
        }
        let access = gate.access;
        let result = self.open_again(&mut gate, &[Access::ReadWrite], 0);
        if result.is_err() {
            self.open_again(&mut gate, &[access], 0)?;
        }
        result
    }

    /// Removes the registrations of killed readers.
    fn clear_stale_readers(&self, open: &OpenEnvironment) {
        self.last_page
            .store(open.env.info().last_page_number, Ordering::Relaxed);
        if let Err(error) = open.env.clear_stale_readers() {
            tracing::warn!(path = %self.folder.display(), %error, "stale readers could not be removed from LMDB");
        }
    }

    /// After a commit: looks for killed readers if the file has grown enough.
    fn clear_stale_readers_if_grown(&self, open: &OpenEnvironment) {
        let seen = self.last_page.load(Ordering::Relaxed);
        if open.env.info().last_page_number >= seen + GROWTH_BETWEEN_CHECKS {
            self.clear_stale_readers(open);
        }
    }

    /// Sets whether commits omit the sync.
    pub(super) fn set_no_sync(&self, no_sync: bool) -> Result<()> {
        let mut gate = self.gate.write();
        gate.no_sync = no_sync;
        match &gate.open {
            Some(open) => set_no_sync(open, no_sync).map_err(|error| self.failed("open", error)),
            None => Ok(()),
        }
    }

    /// Writes everything that was committed to the disk.
    pub(super) fn sync(&self, operation: &'static str) -> Result<()> {
        match &self.gate.read().open {
            Some(open) => open
                .env
                .force_sync()
                .map_err(|error| self.failed(operation, error)),
            None => Ok(()),
        }
    }

    /// Reopens the environment, unless another thread did so since `seen`.
    fn reopen(&self, seen: u64, at_least: usize) -> Result<()> {
        let mut gate = self.gate.write();
        if gate.generation != seen {
            return Ok(());
        }
        let access = gate.access;
        self.open_again(&mut gate, &[access], at_least)
    }

    fn open_again(&self, gate: &mut Gate, access: &[Access], at_least: usize) -> Result<()> {
        gate.open = None;
        let map_size = gate.map_size.max(at_least);
        let (open, access, map_size) = open(&self.folder, &self.id, access, map_size)?;
        if gate.no_sync {
            set_no_sync(&open, true).map_err(|error| self.failed("open", error))?;
        }
        gate.open = Some(open);
        gate.access = access;
        gate.map_size = map_size;
        gate.generation += 1;
        Ok(())
    }

    /// Calls `read` with a snapshot. `read` must neither open nor drop storages, and must use this
    /// one only through the snapshot, because the gate is held. It is called again if a writer
    /// meanwhile freed something that it read from chunk files.
    pub(super) fn read<T>(
        &self,
        mut read: impl FnMut(&LmdbSnapshot<'_>) -> Result<T>,
    ) -> Result<T> {
        if !self.readable.load(Ordering::Acquire) {
            self.check_pages(Depth::Reading)?;
        }
        for attempt in 0..READ_ATTEMPTS {
            let mut in_doubt = Vec::new();
            let result = self.read_unchecked(|snapshot| {
                let result = read(snapshot);
                in_doubt = snapshot.led_to_files.take();
                // A commit is visible before the space that it freed is reused.
                if !in_doubt.is_empty() && snapshot.is_last() {
                    in_doubt.clear();
                }
                result
            });
            if in_doubt.is_empty() || self.read_unchecked(|now| now.has(&in_doubt))? {
                return result;
            }
            std::thread::sleep(Duration::from_millis(attempt.into()));
        }
        let message = format!(
            "a writer replaced the data during each of {READ_ATTEMPTS} attempts to read it; try again"
        );
        Err(Error::new(ErrorKind::Io, "read", message).with_key(self.folder.display().to_string()))
    }

    fn reader_locks(&self) -> Option<&ReaderLocks> {
        // The file exists before the mark of chunk files does.
        self.mark.get()?.as_ref()?;
        let locks = self
            .reader_locks
            .get_or_init(|| ReaderLocks::open(&self.folder));
        locks.as_ref()
    }

    /// The mark of the recording's chunk files, as a transaction shows it.
    fn mark(&self, txn: &RoTxn<'_, AnyTls>, entries: Entries) -> Result<Option<ChunkMark>> {
        if let Some(mark) = self.mark.get() {
            return Ok(*mark);
        }
        let failed = |error| self.failed("read", error);
        let found = entries::chunk_mark(txn, entries).map_err(failed)?;
        let mark = found.map(|bytes| ChunkMark::parse(&bytes)).transpose();
        let mark = mark.map_err(|error| error.with_key(self.folder.display().to_string()))?;
        // A new recording gets its mark with its first commit.
        if mark.is_some() || !entries.is_empty(txn).map_err(failed)? {
            let _ = self.mark.set(mark);
        }
        Ok(mark)
    }

    fn read_unchecked<T>(&self, read: impl FnOnce(&LmdbSnapshot<'_>) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            let gate = self.gate.read();
            let (seen, map_size) = (gate.generation, gate.map_size);
            let Some(open) = &gate.open else {
                drop(gate);
                self.reopen(seen, 0)?;
                continue;
            };
            let _guard = match gate.access {
                Access::Unregistered => Some(ReadGuard::acquire(&self.folder)?),
                _ => None,
            };
            let error = match open.env.read_txn() {
                Ok(txn) => {
                    return read(&LmdbSnapshot {
                        env: &open.env,
                        txn: &txn,
                        entries: open.entries,
                        path: &self.folder,
                        files: &self.chunk_files,
                        mark: self.mark(&txn, open.entries)?,
                        locks: self.reader_locks(),
                        lock: OnceCell::new(),
                        led_to_files: RefCell::default(),
                    });
                }
                Err(error) => error,
            };
            tries += 1;
            match error {
                heed::Error::Mdb(MdbError::MapResized) if tries < 100 => {
                    drop(gate);
                    self.reopen(seen, map_size.saturating_mul(2))?;
                }
                heed::Error::Mdb(MdbError::Panic) if tries < 3 => {
                    drop(gate);
                    self.reopen(seen, 0)?;
                }
                // Read transactions are short, so a slot becomes free soon.
                heed::Error::Mdb(MdbError::ReadersFull) if tries < 1000 => {
                    let cleared = open.env.clear_stale_readers().unwrap_or(0);
                    drop(gate);
                    if cleared == 0 {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                error => return Err(self.failed("read", error)),
            }
        }
    }

    /// Applies checked changes in one transaction. Returns its number, and the extents to which no
    /// later snapshot leads.
    pub(super) fn commit(
        &self,
        changes: &[Change],
        has_chunk_files: bool,
    ) -> Result<(u64, Vec<Extent>)> {
        self.transact(entries::size_of_changes(changes), |txn, entries| {
            let mut writing = Writing {
                txn,
                entries,
                has_chunk_files,
                freed: Vec::new(),
            };
            writing.apply(changes)?;
            Ok((writing.txn.id() as u64, writing.freed))
        })
    }

    /// Makes snapshots show the last commit even if its writer was killed after it was in the file
    /// and before LMDB told readers about it. The next write transaction does this.
    pub(super) fn show_last_commit(&self) -> Result<()> {
        self.transact(0, |_, _| Ok(()))
    }

    /// Marks a recording that is still empty as one with chunk files.
    pub(super) fn mark_chunk_files(&self) -> Result<()> {
        let mark = ChunkMark::new();
        self.transact(0, |txn, entries| {
            entries::set_chunk_mark(txn, entries, mark)
        })
    }

    /// Runs one transaction of about `bytes` bytes. The calling thread begins, writes and commits
    /// it, as LMDB requires.
    pub(super) fn transact<T>(
        &self,
        bytes: u64,
        mut write: impl FnMut(&mut RwTxn<'_>, Entries) -> heed::Result<T>,
    ) -> Result<T> {
        let mut write = |open: &OpenEnvironment| {
            let mut txn = open.env.write_txn()?;
            let result = write(&mut txn, open.entries)?;
            txn.commit().map(|()| result)
        };
        let mut tries = 0;
        loop {
            let gate = self.gate.read();
            let (seen, map_size) = (gate.generation, gate.map_size);
            let Some(open) = &gate.open else {
                drop(gate);
                self.reopen(seen, 0)?;
                continue;
            };
            let error = match write(open) {
                Ok(result) => {
                    self.clear_stale_readers_if_grown(open);
                    return Ok(result);
                }
                Err(error) => error,
            };
            tries += 1;
            match error {
                heed::Error::Mdb(MdbError::MapFull) => {
                    drop(gate);
                    let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
                    let wanted = map_size.saturating_add(wanted.max(map_size));
                    self.reopen(seen, wanted)?;
                    if self.gate.read().map_size <= map_size {
                        return Err(self.failed("commit", error));
                    }
                }
                heed::Error::Mdb(MdbError::MapResized) if tries < 100 => {
                    drop(gate);
                    self.reopen(seen, map_size.saturating_mul(2))?;
                }
                heed::Error::Mdb(MdbError::Panic) if tries < 3 => {
                    drop(gate);
                    self.reopen(seen, 0)?;
                }
                error => return Err(errors::from_commit(&self.folder, bytes, error)),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn take_all_slots(&self) {
        let gate = self.gate.read();
        let env = &gate.open.as_ref().unwrap().env;
        while let Ok(txn) = env.read_txn() {
            std::mem::forget(txn);
        }
    }

    #[cfg(test)]
    pub(super) fn set_access(&self, access: Access) {
        self.open_again(&mut self.gate.write(), &[access], 0)
            .unwrap();
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> (Access, usize, usize) {
        let gate = self.gate.read();
        let stale = gate
            .open
            .as_ref()
            .map_or(0, |open| open.env.clear_stale_readers().unwrap_or(0));
        (gate.access, gate.map_size, stale)
    }
}

fn set_no_sync(open: &OpenEnvironment, no_sync: bool) -> heed::Result<()> {
    let mode = if no_sync {
        FlagSetMode::Enable
    } else {
        FlagSetMode::Disable
    };
    // SAFETY: the flag may change at any time, but not from two threads at once: the callers hold
    // the write side of the gate or have not shared the environment yet. Without syncs, a power
    // failure may destroy the file, which `Durability::Process` permits.
    unsafe { open.env.set_flags(EnvFlags::NO_SYNC, mode) }
}
