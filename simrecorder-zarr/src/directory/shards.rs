//! The shards that a writer appends to.
//!
//! A shard is a file with its index at the start and its chunks after it. The writer never changes
//! bytes that an index names, neither the index in the file nor the one in the journal: it writes a
//! chunk into unused space, and a record of the journal makes the chunk valid. The index in the
//! file is updated when the journal is applied to the files, and is valid only once the journal
//! does not cover the shard. So a torn index does no harm.
//!
//! A new shard is written under a temporary name and synced before it gets its name. So a file with
//! this name has an index.
//!
//! The space of a rewritten or erased chunk becomes free when the journal is applied to the files:
//! no later snapshot refers to it, and an earlier one notices that the files have changed.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::{Mutex, RwLock};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::Disk;
use crate::format::shards::{Extent, ShardIndex, Slot, index_len};

/// The maximum number of shards that stay open for appending.
const MAX_OPEN: usize = 64;
/// A smaller chunk is not worth writing ahead of its commit.
const MIN_AHEAD: usize = 16 << 10;

/// The open shards.
#[derive(Debug)]
pub(super) struct Shards {
    disk: Arc<Disk>,
    open: Mutex<HashMap<String, Arc<Shard>>>,
    /// Whether writing has ended. Locked while a chunk is written ahead.
    ended: RwLock<bool>,
}

/// A shard that is open for appending.
#[derive(Debug)]
pub(crate) struct Shard {
    key: String,
    count: u32,
    file: Arc<File>,
    room: Mutex<Room>,
}

/// A chunk that was written into a shard ahead of the commit that will name it.
#[derive(Debug)]
pub(crate) struct ShardChunk {
    shard: ProcessLocal<Arc<Shard>>,
    slot: Slot,
    extent: Extent,
}

impl ShardChunk {
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.extent.len).unwrap_or(usize::MAX)
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Its place in a shard; `None` if it is not in this shard.
    pub(super) fn extent_in(&self, shard: &Arc<Shard>) -> Result<Option<Extent>> {
        let own = self.shard.get("commit")?;
        if let Some(cause) = &own.room.lock().failed {
            return Err(cause.clone());
        }
        Ok(Arc::ptr_eq(own, shard).then_some(self.extent))
    }

    /// Reads its bytes.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        let shard = self.shard.get("commit")?;
        let mut bytes = vec![0; self.len()];
        let read = shard.file.read_exact_at(&mut bytes, self.extent.offset);
        read.map_err(|error| Error::io("read", Path::new(&shard.key), error))?;
        Ok(bytes)
    }
}

impl Drop for ShardChunk {
    fn drop(&mut self) {
        // If a commit named the chunk, the index keeps it.
        if let Ok(shard) = self.shard.get("drop") {
            shard.leave(&[self.extent]);
        }
    }
}

/// The free space of a shard.
#[derive(Debug)]
struct Room {
    /// The temporary name of a new shard.
    temporary: Option<PathBuf>,
    /// The end of all written bytes.
    end: u64,
    /// Ranges before it that may be overwritten.
    free: Vec<Range<u64>>,
    /// Ranges that become free, if no index names them, once the journal is applied to the files.
    left: Vec<Extent>,
    /// Whether something was written since the last sync.
    unsynced: bool,
    /// Why the contents of the file are unknown.
    failed: Option<Error>,
}

impl Shards {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Self {
            disk,
            open: Mutex::default(),
            ended: RwLock::new(false),
        }
    }

    /// The shard at `key` with `count` slots. Creates it if it does not exist.
    pub(super) fn open(&self, key: &str, count: u32) -> Result<Arc<Shard>> {
        let mut open = self.open.lock();
        if let Some(shard) = open.get(key) {
            return Ok(Arc::clone(shard));
        }
        if open.len() >= MAX_OPEN {
            open.retain(|_, shard| Arc::strong_count(shard) > 1 || shard.is_new());
        }
        let shard = Arc::new(self.open_file(key, count)?);
        open.insert(key.to_owned(), Arc::clone(&shard));
        Ok(shard)
    }

    /// Whether a shard is open, or has a file.
    pub(super) fn is_there(&self, key: &str) -> Result<bool> {
        if self.open.lock().contains_key(key) {
            return Ok(true);
        }
        let path = self.disk.paths.inside("write", key)?;
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if super::disk::is_missing(&error) => Ok(false),
            Err(error) => Err(Error::io("write", &path, error)),
        }
    }

    fn open_file(&self, key: &str, count: u32) -> Result<Shard> {
        let path = self.disk.paths.inside("write", key)?;
        let failed = |error| Error::io("write", &path, error);
        let index_len = index_len(count) as u64;
        let opened = File::options().read(true).write(true).open(&path);
        let (file, temporary, len) = match opened {
            Ok(file) => {
                let metadata = file.metadata().map_err(failed)?;
                if metadata.nlink() > 1 {
                    // The file under the other name must not change.
                    let (temporary, copy) = self.disk.copy_to_temporary(&file).map_err(failed)?;
                    (copy, Some(temporary), metadata.len())
                } else {
                    (file, None, metadata.len())
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let empty = ShardIndex::empty(count).encode();
                let written = self.disk.write_temporary(empty.into());
                let (temporary, file) = written.map_err(failed)?;
                (file, Some(temporary), index_len)
            }
            Err(error) => return Err(failed(error)),
        };
        let end = len.max(index_len);
        Ok(Shard {
            key: key.to_owned(),
            count,
            file: Arc::new(file),
            room: Mutex::new(Room {
                temporary,
                end,
                free: Vec::new(),
                // All ranges that no index names, whichever writer left them.
                left: vec![Extent {
                    offset: index_len,
                    len: end - index_len,
                }],
                unsynced: true,
                failed: None,
            }),
        })
    }

    /// Writes a chunk ahead of the commit that will name it; `None` if the commit has to write it.
    pub(super) fn write_ahead(&self, key: &str, slot: Slot, chunk: &[u8]) -> Option<ShardChunk> {
        let ended = self.ended.read();
        if *ended || chunk.len() < MIN_AHEAD || !self.has_room_for(key) {
            return None;
        }
        // The commit reports the failure.
        let shard = self.open(key, slot.count).ok()?;
        let extent = self.append(&shard, chunk).ok()?;
        self.disk.start_writing(&shard.file, extent);
        Some(ShardChunk {
            shard: ProcessLocal::new(shard),
            slot,
            extent,
        })
    }

    /// Whether a shard is open, or can be opened without exceeding the limit.
    fn has_room_for(&self, key: &str) -> bool {
        let open = self.open.lock();
        let used = |shard: &&Arc<Shard>| Arc::strong_count(shard) > 1 || shard.is_new();
        open.contains_key(key)
            || open.len() < MAX_OPEN
            || open.values().filter(used).count() < MAX_OPEN
    }

    /// Ends writing, once the threads that write ahead have finished.
    pub(super) fn end(&self) {
        *self.ended.write() = true;
    }

    /// Writes a chunk into free space of a shard.
    pub(super) fn append(&self, shard: &Shard, chunk: &[u8]) -> Result<Extent> {
        let extent = shard.take_room(chunk.len() as u64);
        let written = self.disk.write_at(&shard.file, chunk, extent.offset);
        if written.is_err() {
            shard.leave(&[extent]);
        }
        // After the write: a sync that began earlier does not cover it.
        shard.room.lock().unsynced = true;
        written.map_err(|error| self.failed(shard, error))?;
        Ok(extent)
    }

    /// Makes everything that was written to shards durable, each under its name. `shards` contains
    /// the number of slots of each.
    pub(super) fn sync(&self, shards: &[(&str, u32)]) -> Result<()> {
        if self.disk.is_many(shards.len()) {
            let synced = self.disk.sync_file_system();
            // The failure may concern any of them.
            synced.inspect_err(|error| {
                let mut open = self.open.lock();
                open.drain().for_each(|(_, shard)| shard.fail(error));
            })?;
        } else {
            self.disk.each(shards, |(key, count)| {
                let shard = self.open(key, *count)?;
                self.sync_one(&shard).inspect_err(|error| {
                    shard.fail(error);
                    self.open.lock().remove(*key);
                })
            })?;
        }
        let mut touched = BTreeSet::new();
        for (key, _) in shards {
            let shard = self.open.lock().get(*key).cloned();
            let temporary = shard
                .as_ref()
                .and_then(|it| it.room.lock().temporary.clone());
            if let (Some(shard), Some(temporary)) = (shard, temporary) {
                self.disk.rename_to_entry(&temporary, key, &mut touched)?;
                shard.room.lock().temporary = None;
            }
        }
        self.disk.sync_directories(&touched)
    }

    fn sync_one(&self, shard: &Shard) -> Result<()> {
        if !std::mem::take(&mut shard.room.lock().unsynced) {
            return Ok(());
        }
        let synced = self.disk.sync_file(&shard.file);
        synced.map_err(|error| self.failed(shard, error))
    }

    /// Writes the indices of shards as they are in the journal.
    pub(super) fn write_indices(&self, indices: &[(&str, Arc<ShardIndex>)]) -> Result<()> {
        for (key, index) in indices {
            let shard = self.open(key, index.count())?;
            let written = self.disk.write_at(&shard.file, &index.encode(), 0);
            shard.room.lock().unsynced = true;
            written.map_err(|error| self.failed(&shard, error))?;
        }
        let shards: Vec<_> = indices
            .iter()
            .map(|(key, index)| (*key, index.count()))
            .collect();
        self.sync(&shards)
    }

    /// Marks parts of a shard as free once the journal is applied to the files: no index will name
    /// them any more.
    pub(super) fn leave(&self, key: &str, left: &[Extent]) {
        if let Some(shard) = self.open.lock().get(key) {
            shard.leave(left);
        }
    }

    /// Frees the parts of shards that no index names, after the journal was applied to the files.
    pub(super) fn free(&self, indices: &[(&str, Arc<ShardIndex>)]) {
        for (key, index) in indices {
            let shard = self.open.lock().get(*key).cloned();
            if let Some(shard) = shard {
                shard.free(index, &self.disk);
            }
        }
    }

    /// Closes the shards for which `is_gone` returns true.
    pub(super) fn close(&self, is_gone: impl Fn(&str) -> bool) {
        self.open.lock().retain(|key, _| !is_gone(key));
    }

    /// Removes the remains of unfinished writes, except those that belong to an open shard.
    pub(super) fn remove_staging(&self) -> Result<()> {
        let open = self.open.lock();
        match open.values().any(|shard| shard.is_new()) {
            true => Ok(()),
            false => self.disk.remove_staging(),
        }
    }

    fn failed(&self, shard: &Shard, error: io::Error) -> Error {
        Error::io("write", &self.disk.paths.entry(&shard.key), error)
    }
}

impl Shard {
    fn is_new(&self) -> bool {
        self.room.lock().temporary.is_some()
    }

    /// The index in the file.
    pub(super) fn read_index(&self) -> Result<ShardIndex> {
        read_index(&self.file, self.count, Path::new(&self.key))
    }

    fn leave(&self, left: &[Extent]) {
        self.room.lock().left.extend(left);
    }

    /// Records that written bytes may be lost, because a later sync would not report it.
    fn fail(&self, error: &Error) {
        self.room.lock().failed = Some(error.clone());
    }

    fn take_room(&self, len: u64) -> Extent {
        let mut room = self.room.lock();
        let fitting = room
            .free
            .iter_mut()
            .find(|free| free.end - free.start >= len);
        let offset = match fitting {
            Some(free) => {
                let offset = free.start;
                free.start += len;
                offset
            }
            None => {
                let offset = room.end;
                room.end = offset.saturating_add(len);
                offset
            }
        };
        Extent { offset, len }
    }

    fn free(&self, index: &ShardIndex, disk: &Disk) {
        let mut room = self.room.lock();
        let left: Vec<_> = std::mem::take(&mut room.left);
        let gaps = left.into_iter();
        let gaps: Vec<_> = gaps
            .flat_map(|left| index.gaps(left.offset..left.end()))
            .collect();
        if gaps.is_empty() {
            return;
        }
        for gap in &gaps {
            disk.give_back(&self.file, gap.clone());
        }
        let mut free = std::mem::take(&mut room.free);
        free.extend(gaps);
        free.retain(|free| !free.is_empty());
        free.sort_by_key(|free| free.start);
        for next in free {
            match room.free.last_mut() {
                Some(last) if last.end >= next.start => last.end = last.end.max(next.end),
                _ => room.free.push(next),
            }
        }
        let end = room.end;
        if let Some(last) = room.free.pop_if(|last| last.end >= end) {
            room.end = last.start;
        }
    }
}

/// Reads the index of a shard with `count` slots from its file.
pub(super) fn read_index(file: &File, count: u32, path: &Path) -> Result<ShardIndex> {
    let mut bytes = vec![0; index_len(count)];
    let wrong = || damaged(path, "has a damaged index");
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => ShardIndex::decode(&bytes).ok_or_else(wrong),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(wrong()),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// The error for a damaged shard.
pub(super) fn damaged(path: &Path, what: &str) -> Error {
    let message = format!("the shard {what}");
    Error::new(ErrorKind::Corrupt, "read", message).with_key(path.display().to_string())
}
