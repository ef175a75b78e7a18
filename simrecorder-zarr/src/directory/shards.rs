//! The shards that a writer appends to.
//!
//! A shard is a file with its index at the start and its chunks after it. The writer never changes
//! bytes that an index names, neither the one in the file nor the one in the journal: a chunk is
//! written where nothing is, and a record of the journal makes it count. The index in the file is
//! brought up to date when the journal is brought to the files, and counts only once the journal
//! says nothing about the shard. So a torn index does no harm.
//!
//! A shard that is new is written under a temporary name and synced before it gets its name. So a file
//! that has the name has an index.
//!
//! What a chunk leaves that was written again or erased is free when the journal was brought to the
//! files: no later snapshot refers to it, and an earlier one notices that the files changed.

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

/// So many shards stay open to be appended to.
const MAX_OPEN: usize = 64;
/// A smaller chunk is not worth being written ahead of its commit.
const MIN_AHEAD: usize = 16 << 10;

/// The shards that are open.
#[derive(Debug)]
pub(super) struct Shards {
    disk: Arc<Disk>,
    open: Mutex<HashMap<String, Arc<Shard>>>,
    /// Whether writing has ended. Held while a chunk is written ahead.
    ended: RwLock<bool>,
}

/// A shard that is open to be appended to.
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

    /// Where it is in a shard; `None` if it is not in this one.
    pub(super) fn extent_in(&self, shard: &Arc<Shard>) -> Result<Option<Extent>> {
        let own = self.shard.get("commit")?;
        if let Some(cause) = &own.room.lock().failed {
            return Err(cause.clone());
        }
        Ok(Arc::ptr_eq(own, shard).then_some(self.extent))
    }

    /// Its bytes.
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
        // If a commit named it, the index keeps it.
        if let Ok(shard) = self.shard.get("drop") {
            shard.leave(&[self.extent]);
        }
    }
}

/// Where a shard has room for chunks.
#[derive(Debug)]
struct Room {
    /// The temporary name of a shard that is new.
    temporary: Option<PathBuf>,
    /// The end of all that was written.
    end: u64,
    /// Before it, ranges that may be written to.
    free: Vec<Range<u64>>,
    /// Ranges that are free where no index names them when the journal is brought to the files.
    left: Vec<Extent>,
    /// Whether something was written after the last sync.
    unsynced: bool,
    /// Why it is not known what the file has.
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

    /// The shard at `key` with `count` slots, which is made if it is not there.
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
                    // What has the other name is to stay as it is.
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
                // All that no index names, whatever writer left it.
                left: vec![Extent {
                    offset: index_len,
                    len: end - index_len,
                }],
                unsynced: true,
                failed: None,
            }),
        })
    }

    /// Writes a chunk ahead of the commit that will name it; `None` if it is for the commit to write.
    pub(super) fn write_ahead(&self, key: &str, slot: Slot, chunk: &[u8]) -> Option<ShardChunk> {
        let ended = self.ended.read();
        if *ended || chunk.len() < MIN_AHEAD || !self.has_room_for(key) {
            return None;
        }
        // The commit reports what fails.
        let shard = self.open(key, slot.count).ok()?;
        let extent = self.append(&shard, chunk).ok()?;
        self.disk.start_writing(&shard.file, extent);
        Some(ShardChunk {
            shard: ProcessLocal::new(shard),
            slot,
            extent,
        })
    }

    /// Whether a shard is open, or may be without too many being so.
    fn has_room_for(&self, key: &str) -> bool {
        let open = self.open.lock();
        let used = |shard: &&Arc<Shard>| Arc::strong_count(shard) > 1 || shard.is_new();
        open.contains_key(key)
            || open.len() < MAX_OPEN
            || open.values().filter(used).count() < MAX_OPEN
    }

    /// Ends writing, when the threads that write ahead are done.
    pub(super) fn end(&self) {
        *self.ended.write() = true;
    }

    /// Writes a chunk where a shard has room.
    pub(super) fn append(&self, shard: &Shard, chunk: &[u8]) -> Result<Extent> {
        let extent = shard.take_room(chunk.len() as u64);
        let written = self.disk.write_at(&shard.file, chunk, extent.offset);
        if written.is_err() {
            shard.leave(&[extent]);
        }
        // After the write: a sync that began before does not cover it.
        shard.room.lock().unsynced = true;
        written.map_err(|error| self.failed(shard, error))?;
        Ok(extent)
    }

    /// Makes all that was written to shards durable, each under its name. Each comes with the number of
    /// its slots.
    pub(super) fn sync(&self, shards: &[(&str, u32)]) -> Result<()> {
        if self.disk.is_many(shards.len()) {
            let synced = self.disk.sync_file_system();
            // A failure may concern any of them.
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

    /// Writes the indices of shards as the journal has them.
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

    /// Notes that no index will name parts of a shard any more, once the journal is brought to the files.
    pub(super) fn leave(&self, key: &str, left: &[Extent]) {
        if let Some(shard) = self.open.lock().get(key) {
            shard.leave(left);
        }
    }

    /// Gives back what shards have that no index names, after the journal was brought to the files.
    pub(super) fn free(&self, indices: &[(&str, Arc<ShardIndex>)]) {
        for (key, index) in indices {
            let shard = self.open.lock().get(*key).cloned();
            if let Some(shard) = shard {
                shard.free(index, &self.disk);
            }
        }
    }

    /// Closes the shards that `is_gone` names.
    pub(super) fn close(&self, is_gone: impl Fn(&str) -> bool) {
        self.open.lock().retain(|key, _| !is_gone(key));
    }

    /// Removes what is left of files that were being written, unless a shard is one of them.
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

    /// Notes that what was written may be lost, which a later sync would not say.
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

/// The index of the shard in a file, which has `count` slots.
pub(super) fn read_index(file: &File, count: u32, path: &Path) -> Result<ShardIndex> {
    let mut bytes = vec![0; index_len(count)];
    let wrong = || damaged(path, "has a damaged index");
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => ShardIndex::decode(&bytes).ok_or_else(wrong),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(wrong()),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// The error of a shard of which something is wrong.
pub(super) fn damaged(path: &Path, what: &str) -> Error {
    let message = format!("the shard {what}");
    Error::new(ErrorKind::Corrupt, "read", message).with_key(path.display().to_string())
}
