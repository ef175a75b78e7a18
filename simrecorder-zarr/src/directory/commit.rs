//! Commits: which changes become files at once, and which are written to shards or to the journal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::NewEntry;
use super::overlay::{Lookup, Overlay, is_below};
use super::paths::check_key;
use super::published::Published;
use super::shards::Shard;
use super::writer::Writer;
use crate::format::shards::{Extent, ShardIndex, index_len};
use crate::journal::Record;
use crate::storage::{Change, Chunk};

/// The changes of a commit, divided by where they are written.
#[derive(Default)]
struct Division<'a> {
    /// Entries that become files at once.
    files: Vec<NewEntry<'a>>,
    shards: BTreeMap<&'a str, ShardChanges<'a>>,
    /// All other changes.
    record: Record,
}

/// The changes of a commit to a shard: chunks written into slots, and erased slots.
struct ShardChanges<'a> {
    count: u32,
    slots: BTreeMap<u32, Option<&'a Chunk>>,
}

/// The shards that a commit wrote to, and the extents of the chunks that it replaced or erased.
type Left<'a> = Vec<(&'a str, Vec<Extent>)>;

impl Writer {
    pub(super) fn commit(&mut self, published: &Published, changes: &[Change]) -> Result<()> {
        self.check_unbroken()?;
        self.check_keys(changes)?;
        let mut division = self.divide(&published.current(), changes)?;
        let moves = || {
            changes.iter().filter_map(|change| match change {
                Change::MovePath { from, to } => Some((from, to)),
                _ => None,
            })
        };
        if self.taken_back
            || moves().next().is_some()
            || hides_shards(&published.current(), &division)
        {
            self.settle(published)?;
            division = self.divide(&published.current(), changes)?;
        }
        for (from, to) in moves() {
            self.disk.link_below(from, to)?;
        }
        let left = self.write_shards(&published.current(), &mut division)?;
        self.disk.put(&division.files)?;
        if !division.record.is_empty() {
            self.append(published, division.record)?;
        }
        for (key, left) in left {
            self.shards.leave(key, &left);
        }
        self.check_not_deleted()
    }

    fn check_keys(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let (name, may_be_root) = match change {
                Change::Set { key, .. } | Change::SetChunk { key, .. } | Change::Erase { key } => {
                    (key, false)
                }
                Change::SetInShard { shard, .. } | Change::EraseInShard { shard, .. } => {
                    (shard, false)
                }
                Change::SetWritten { key, .. } => {
                    let message = "these bytes were written ahead in another storage";
                    return Err(Error::new(ErrorKind::Internal, "commit", message).with_key(key));
                }
                Change::MovePath { from, to } => {
                    check_key(to, self.disk.name_limit, &self.disk.paths.root)?;
                    (from, false)
                }
                Change::ErasePath { path: name }
                | Change::AppendTail { array: name, .. }
                | Change::ReplaceTailEnd { array: name, .. }
                | Change::ClearTail { array: name } => (name, true),
            };
            if !(name.is_empty() && may_be_root) {
                check_key(name, self.disk.name_limit, &self.disk.paths.root)?;
            }
        }
        Ok(())
    }

    fn divide<'a>(&self, overlay: &Overlay, changes: &'a [Change]) -> Result<Division<'a>> {
        let mut division = Division {
            record: Record::with_room_for(changes),
            ..Division::default()
        };
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut recorded: HashSet<&str> = HashSet::new();
        let mut erased: Vec<&str> = Vec::new();
        for change in changes {
            match change {
                Change::SetChunk { key, value }
                    if value.len() >= self.limits.small_chunk
                        && !recorded.contains(key.as_str())
                        && !erased.iter().any(|path| is_below(key, path))
                        && !overlay.covers(key) =>
                {
                    let pieces = vec![value.clone()];
                    if let Some(&place) = places.get(key.as_str()) {
                        division.files[place].1 = pieces;
                    } else {
                        places.insert(key, division.files.len());
                        division.files.push((key, pieces));
                    }
                    continue;
                }
                Change::SetInShard { shard, slot, value } => {
                    if erased.iter().any(|path| is_below(shard, path)) {
                        let message = "a commit erases a shard and writes it again";
                        return Err(Error::new(ErrorKind::Internal, "commit", message));
                    }
                    division
                        .shard(shard, slot.count)
                        .insert(slot.index, Some(value));
                }
                Change::EraseInShard { shard, slot } => {
                    if !erased.iter().any(|path| is_below(shard, path)) {
                        division.shard(shard, slot.count).insert(slot.index, None);
                    }
                }
                Change::Set { key, .. } | Change::SetChunk { key, .. } | Change::Erase { key } => {
                    recorded.insert(key);
                }
                Change::ErasePath { path } | Change::MovePath { from: path, .. } => {
                    division.shards.retain(|shard, _| !is_below(shard, path));
                    erased.push(path);
                }
                Change::SetWritten { .. }
                | Change::AppendTail { .. }
                | Change::ReplaceTailEnd { .. }
                | Change::ClearTail { .. } => {}
            }
            division.record.push(change);
        }
        Ok(division)
    }

    /// Writes chunks into shards, and stores their places in the record. A new shard without chunks
    /// becomes an ordinary file with the index of its first chunks.
    fn write_shards<'a>(&self, overlay: &Overlay, division: &mut Division<'a>) -> Result<Left<'a>> {
        let mut written = Vec::new();
        let mut all_left = Vec::new();
        for (key, changes) in std::mem::take(&mut division.shards) {
            let known = match overlay.lookup(key) {
                Lookup::Shard(index) if index.count() == changes.count => Some(index),
                _ => None,
            };
            if known.is_none()
                && !self.shards.is_there(key)?
                && let Some(new) = new_shard(&changes)
            {
                division.files.extend(new.map(|pieces| (key, pieces)));
                continue;
            }
            let shard = self.shards.open(key, changes.count)?;
            let mut index = match known {
                Some(index) => (**index).clone(),
                None => shard.read_index()?,
            };
            let mut left = Vec::new();
            let mut places = BTreeMap::new();
            for (slot, chunk) in changes.slots {
                let written = chunk.map(|chunk| self.write_into(&shard, chunk));
                let extent = written.transpose()?;
                left.extend(index.set(slot, extent));
                places.insert(slot, extent);
            }
            if known.is_none() {
                places = index
                    .chunks()
                    .map(|(slot, extent)| (slot, Some(extent)))
                    .collect();
            }
            division.record.push_shard(key, changes.count, &places);
            written.push((key, changes.count));
            all_left.push((key, left));
        }
        self.shards.sync(&written)?;
        Ok(all_left)
    }

    fn write_into(&self, shard: &Arc<Shard>, chunk: &Chunk) -> Result<Extent> {
        match chunk {
            Chunk::Bytes(bytes) => self.shards.append(shard, bytes),
            Chunk::InShard(chunk) => match chunk.extent_in(shard)? {
                Some(extent) => Ok(extent),
                None => self.shards.append(shard, &chunk.read()?),
            },
            Chunk::Written(_) => {
                let message = "these bytes were written ahead in another storage";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        }
    }
}

impl<'a> Division<'a> {
    fn shard(&mut self, key: &'a str, count: u32) -> &mut BTreeMap<u32, Option<&'a Chunk>> {
        let slots = BTreeMap::new();
        let changes = self
            .shards
            .entry(key)
            .or_insert(ShardChanges { count, slots });
        &mut changes.slots
    }
}

/// Whether the overlay hides the file of a written shard for a reason other than its index.
fn hides_shards(overlay: &Overlay, division: &Division<'_>) -> bool {
    division.shards.keys().any(|key| overlay.hides_shard(key))
}

/// The bytes of a shard with its first chunks if they are in memory; nothing if the shard has no
/// chunks.
fn new_shard(changes: &ShardChanges<'_>) -> Option<Option<Vec<Bytes>>> {
    let mut index = ShardIndex::empty(changes.count);
    let mut pieces = vec![Bytes::new()];
    let mut end = index_len(changes.count) as u64;
    for (&slot, chunk) in &changes.slots {
        let Some(chunk) = chunk else { continue };
        let Chunk::Bytes(bytes) = chunk else {
            return None;
        };
        let len = bytes.len() as u64;
        index.set(slot, Some(Extent { offset: end, len }));
        end += len;
        pieces.push(Bytes::clone(bytes));
    }
    pieces[0] = index.encode().into();
    Some((!index.is_empty()).then_some(pieces))
}
