//! The shards that readers have used: open files with their indices.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::{Error, Result};

use super::paths::Paths;
use super::shards::{damaged, read_index};
use crate::format::shards::{Extent, ShardIndex, Slot};
use crate::storage::EntryFile;

/// The maximum number of shards that stay open for reading.
const MAX_OPEN: usize = 64;

/// A state of the files. While it holds, the index of a shard does not change, unless the overlay
/// has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// The number of times that the writer in this process has begun to change files.
    Epoch(u64),
    /// The number of times that a reader of another process' recording has found the files changed.
    Followed(u64),
}

/// The shards that were read in one state of the files.
#[derive(Debug, Default)]
pub(super) struct CachedShards(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    stamp: Option<Stamp>,
    shards: HashMap<String, Arc<CachedShard>>,
}

/// The same shards, for a snapshot of one state.
pub(super) struct ShardCache<'a> {
    pub(super) shards: &'a CachedShards,
    pub(super) stamp: Stamp,
}

#[derive(Debug)]
struct CachedShard {
    file: Arc<File>,
    path: PathBuf,
    /// The index in the file. A damaged one is read again each time.
    index: OnceLock<ShardIndex>,
}

impl ShardCache<'_> {
    /// The chunk in a slot of the shard at `key`; `None` if it is missing. `index`, if the overlay
    /// has one, determines its place; otherwise, the index in the file does.
    pub(super) fn chunk(
        &self,
        paths: &Paths,
        key: &str,
        slot: Slot,
        index: Option<&ShardIndex>,
    ) -> Result<Option<EntryFile>> {
        let place = |shard: &CachedShard| match index {
            Some(index) => Ok(index.get(slot.index)),
            None => Ok(shard.index(slot.count)?.get(slot.index)),
        };
        if index.is_some_and(|index| index.get(slot.index).is_none()) {
            return Ok(None);
        }
        if let Some(shard) = self.cached(key) {
            // A writer that found other names for the file has replaced it by a copy, which grows.
            match place(&shard)? {
                None => return Ok(None),
                Some(extent) if shard.has(extent)? => return shard.entry(extent).map(Some),
                Some(_) => {}
            }
        }
        let Some(shard) = self.open(paths, key)? else {
            return match index {
                Some(_) => Err(damaged(&paths.entry(key), "is missing")),
                None => Ok(None),
            };
        };
        match place(&shard)? {
            Some(extent) if shard.has(extent)? => shard.entry(extent).map(Some),
            Some(_) => Err(damaged(&shard.path, "ends before one of its chunks")),
            None => Ok(None),
        }
    }

    fn cached(&self, key: &str) -> Option<Arc<CachedShard>> {
        let cache = self.shards.0.lock();
        let is_current = cache.stamp == Some(self.stamp);
        cache.shards.get(key).filter(|_| is_current).cloned()
    }

    fn open(&self, paths: &Paths, key: &str) -> Result<Option<Arc<CachedShard>>> {
        let Some((file, _)) = paths.open("read", key)? else {
            return Ok(None);
        };
        let shard = Arc::new(CachedShard {
            file: Arc::new(file),
            path: paths.entry(key),
            index: OnceLock::new(),
        });
        let mut cache = self.shards.0.lock();
        if cache.stamp != Some(self.stamp) || cache.shards.len() >= MAX_OPEN {
            cache.shards.clear();
            cache.stamp = Some(self.stamp);
        }
        cache.shards.insert(key.to_owned(), Arc::clone(&shard));
        Ok(Some(shard))
    }
}

impl CachedShard {
    fn index(&self, count: u32) -> Result<&ShardIndex> {
        if let Some(index) = self.index.get().filter(|index| index.count() == count) {
            return Ok(index);
        }
        let index = read_index(&self.file, count, &self.path)?;
        Ok(self.index.get_or_init(|| index))
    }

    /// Whether the file contains all bytes of a chunk.
    fn has(&self, extent: Extent) -> Result<bool> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|error| Error::io("read", &self.path, error))?;
        let end = extent.offset.checked_add(extent.len);
        Ok(end.is_some_and(|end| end <= metadata.len()))
    }

    fn entry(&self, extent: Extent) -> Result<EntryFile> {
        let too_long = |_| damaged(&self.path, "has a chunk that is too long");
        Ok(EntryFile {
            file: Arc::clone(&self.file),
            offset: extent.offset,
            len: usize::try_from(extent.len).map_err(too_long)?,
            path: self.path.as_path().into(),
        })
    }
}

impl CachedShards {
    /// The shards of one state of the files.
    pub(super) fn at(&self, stamp: Stamp) -> ShardCache<'_> {
        let shards = self;
        ShardCache { shards, stamp }
    }

    /// Closes all shards.
    pub(super) fn clear(&self) {
        self.0.lock().shards.clear();
    }
}
