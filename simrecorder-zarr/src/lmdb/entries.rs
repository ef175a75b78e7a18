//! Keys in the database, and how a commit is written.
//!
//! The key of an entry in the database is its key in UTF-8. Tails are private: their keys consist
//! of `\0t`, the path of the array, a zero byte and the number of the part as a big-endian u32. A
//! tail is the concatenation of its parts. `\0c` marks a recording with [chunk
//! files](super::chunk_files).

use std::ops::Bound;

use heed::types::Bytes as Raw;
use heed::{AnyTls, Database, RoTxn, RwTxn};
use simrecorder_core::{Error, ErrorKind, Result};

use super::chunk_files::{ChunkMark, Extent, Stored, extent_entry, inline_entry};
use crate::format::node_path::is_metadata;
use crate::storage::{Change, WrittenAhead, no_shards};

/// The longest key of an entry in bytes, which is LMDB's limit.
pub(crate) const MAX_KEY_BYTES: usize = 511;

/// LMDB stores the sizes of values in 32 bits.
const MAX_VALUE_BYTES: usize = u32::MAX as usize;

pub(super) const TAILS: &[u8] = b"\0t";
/// The key of the mark of a recording with chunk files.
const CHUNK_MARK: &[u8] = b"\0c";

/// The length of the key of a part without the path of the array.
const TAIL_KEY_EXTRA: usize = TAILS.len() + 1 + size_of::<u32>();

/// A growing part and its key stay below this size, so that the part fits into a leaf page (LMDB
/// requires two nodes per page) and needs no page of its own.
const LEAF_PART_BYTES: usize = 2000;

/// Entries up to this size stay in the database, where they share pages.
pub(super) const INLINE_BYTES: usize = LEAF_PART_BYTES;

/// The maximum size of a part that is written at once: 1 MiB with the page header.
const PART_BYTES: usize = (1 << 20) - 16;

pub(super) type Entries = Database<Raw, Raw>;

type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

pub(super) fn range<'a>(from: &'a [u8], to: &'a [u8]) -> KeyRange<'a> {
    (Bound::Included(from), Bound::Excluded(to))
}

/// The first and the last bound (excluded) of all keys that begin with `prefix`, none of which ends
/// with 0xff.
pub(super) fn prefixed(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (prefix.to_vec(), end)
}

pub(super) fn tail_prefix(array: &str) -> Vec<u8> {
    [TAILS, array.as_bytes(), b"\0"].concat()
}

/// Whether this key is allowed for an entry.
pub(super) fn is_entry(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY_BYTES && key[0] != 0
}

/// Whether this prefix is allowed: `""` or one that ends with `/`.
pub(super) fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || is_entry(prefix.as_bytes())
}

/// Whether an array at this path may have a tail.
pub(super) fn is_array(path: &str) -> bool {
    path.len() + TAIL_KEY_EXTRA <= MAX_KEY_BYTES && !path.contains('\0')
}

/// `path/`, or `""` for the root.
pub(super) fn prefix_of(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    }
}

/// Rejects changes that LMDB cannot store, before anything is written.
pub(super) fn check(changes: &[Change]) -> Result<()> {
    for change in changes {
        match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => {
                check_key(key)?;
                if value.len() > MAX_VALUE_BYTES {
                    return Err(Error::new(
                        ErrorKind::InvalidArgument,
                        "commit",
                        "a value in LMDB must be smaller than 4 GiB; use smaller chunks",
                    )
                    .with_key(key));
                }
            }
            Change::SetWritten { key, .. } | Change::Erase { key } => check_key(key)?,
            Change::SetInShard { .. } | Change::EraseInShard { .. } => return Err(no_shards()),
            Change::ErasePath { .. } => {}
            Change::MovePath { from, to } => {
                check_key(from)?;
                check_key(to)?;
            }
            Change::AppendTail { array, .. }
            | Change::ReplaceTailEnd { array, .. }
            | Change::ClearTail { array } => {
                if !is_array(array) {
                    return Err(invalid(array, MAX_KEY_BYTES - TAIL_KEY_EXTRA));
                }
            }
        }
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    if is_entry(key.as_bytes()) {
        Ok(())
    } else {
        Err(invalid(key, MAX_KEY_BYTES))
    }
}

fn invalid(key: &str, limit: usize) -> Error {
    let message = if key.is_empty() {
        "LMDB stores nothing under an empty key".to_owned()
    } else if key.len() > limit {
        format!(
            "the key has {} bytes; LMDB stores at most {limit}",
            key.len()
        )
    } else {
        "the key contains a NUL character".to_owned()
    };
    Error::new(ErrorKind::InvalidKey, "commit", message).with_key(key)
}

/// The approximate number of bytes that the changes add.
pub(super) fn size_of_changes(changes: &[Change]) -> u64 {
    changes
        .iter()
        .map(|change| match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => key.len() + value.len(),
            Change::AppendTail { array, bytes } | Change::ReplaceTailEnd { array, bytes, .. } => {
                array.len() + bytes.len()
            }
            _ => 0,
        })
        .fold(0, |sum, size| sum + size as u64)
}

/// The mark of the recording's chunk files, if it has them.
pub(super) fn chunk_mark(
    txn: &RoTxn<'_, AnyTls>,
    entries: Entries,
) -> heed::Result<Option<Vec<u8>>> {
    Ok(entries.get(txn, CHUNK_MARK)?.map(<[u8]>::to_vec))
}

/// Marks a new recording as one with chunk files.
pub(super) fn set_chunk_mark(
    txn: &mut RwTxn<'_>,
    entries: Entries,
    mark: ChunkMark,
) -> heed::Result<()> {
    entries.put(txn, CHUNK_MARK, &mark.to_bytes())
}

/// Applies checked changes to a transaction.
pub(super) struct Writing<'t, 'e> {
    pub(super) txn: &'t mut RwTxn<'e>,
    pub(super) entries: Entries,
    /// Whether the recording has chunk files.
    pub(super) has_chunk_files: bool,
    /// The extents to which entries no longer lead.
    pub(super) freed: Vec<Extent>,
}

impl Writing<'_, '_> {
    pub(super) fn apply(&mut self, changes: &[Change]) -> heed::Result<()> {
        for change in changes {
            match change {
                Change::Set { key, value } | Change::SetChunk { key, value } => {
                    match self.has_chunk_files && !is_metadata(key.as_bytes()) {
                        true => self.put(key.as_bytes(), &inline_entry(value))?,
                        false => self.entries.put(self.txn, key.as_bytes(), value)?,
                    }
                }
                Change::SetWritten { key, bytes } => {
                    let WrittenAhead::InChunkFile(extent) = bytes;
                    let entry = extent_entry(extent.name(), self.txn.id() as u64);
                    self.put(key.as_bytes(), &entry)?;
                }
                // Rejected earlier.
                Change::SetInShard { .. } | Change::EraseInShard { .. } => {}
                Change::Erase { key } => {
                    self.free(key.as_bytes())?;
                    self.entries.delete(self.txn, key.as_bytes())?;
                }
                Change::ErasePath { path } => {
                    self.free_below(&prefix_of(path))?;
                    erase_prefix(self.txn, self.entries, &prefix_of(path))?;
                }
                Change::MovePath { from, to } => {
                    self.move_extents(&prefix_of(from), &prefix_of(to))?;
                    erase_prefix(self.txn, self.entries, &prefix_of(from))?;
                }
                Change::AppendTail { array, bytes } => {
                    append_tail(self.txn, self.entries, array, bytes)?;
                }
                Change::ReplaceTailEnd {
                    array,
                    dropped,
                    bytes,
                } => {
                    cut_tail(self.txn, self.entries, array, *dropped)?;
                    append_tail(self.txn, self.entries, array, bytes)?;
                }
                Change::ClearTail { array } => {
                    erase(self.txn, self.entries, &tail_prefix(array))?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], entry: &[u8]) -> heed::Result<()> {
        self.free(key)?;
        self.entries.put(self.txn, key, entry)
    }

    /// Records the extent of an entry that will be replaced or removed.
    fn free(&mut self, key: &[u8]) -> heed::Result<()> {
        if self.has_chunk_files
            && let Some(value) = self.entries.get(self.txn, key)?
        {
            self.freed.extend(extent_of(key, value));
        }
        Ok(())
    }

    fn free_below(&mut self, prefix: &str) -> heed::Result<()> {
        if self.has_chunk_files {
            let freed = &mut self.freed;
            for_each_extent(self.txn, self.entries, prefix, |_, extent, _| {
                freed.push(extent)
            })?;
        }
        Ok(())
    }

    /// Moves the entries that lead to chunk files. Others were already copied.
    fn move_extents(&mut self, from: &str, to: &str) -> heed::Result<()> {
        if !self.has_chunk_files {
            return Ok(());
        }
        let mut moved = Vec::new();
        for_each_extent(self.txn, self.entries, from, |key, _, entry| {
            let key = [to.as_bytes(), &key[from.len()..]].concat();
            moved.push((key, entry.to_vec()));
        })?;
        moved
            .iter()
            .try_for_each(|(key, entry)| self.put(key, entry))
    }
}

/// The extent to which an entry of a recording with chunk files leads.
fn extent_of(key: &[u8], value: &[u8]) -> Option<Extent> {
    match Stored::parse(value) {
        Ok(Stored::Extent(extent)) if !is_metadata(key) => Some(extent),
        _ => None,
    }
}

/// The keys and values of the entries below `prefix`.
pub(super) fn entries_below<'t>(
    txn: &'t RoTxn<'_, AnyTls>,
    entries: Entries,
    prefix: &str,
) -> heed::Result<impl Iterator<Item = heed::Result<(&'t [u8], &'t [u8])>>> {
    let (from, to) = prefixed(prefix.as_bytes());
    let range = match prefix.is_empty() {
        true => (Bound::Included(&[1][..]), Bound::Unbounded),
        false => range(&from, &to),
    };
    let below = is_prefix(prefix).then(|| entries.range(txn, &range));
    Ok(below.transpose()?.into_iter().flatten())
}

/// Calls `visit` with the key, the extent and the value of each entry below `prefix` that has an extent.
pub(super) fn for_each_extent(
    txn: &RoTxn<'_, AnyTls>,
    entries: Entries,
    prefix: &str,
    mut visit: impl FnMut(&[u8], Extent, &[u8]),
) -> heed::Result<()> {
    for entry in entries_below(txn, entries, prefix)? {
        let (key, value) = entry?;
        if let Some(extent) = extent_of(key, value) {
            visit(key, extent, value);
        }
    }
    Ok(())
}

fn erase(txn: &mut RwTxn<'_>, entries: Entries, prefix: &[u8]) -> heed::Result<()> {
    let (from, to) = prefixed(prefix);
    entries.delete_range(txn, &range(&from, &to))?;
    Ok(())
}

fn erase_prefix(txn: &mut RwTxn<'_>, entries: Entries, prefix: &str) -> heed::Result<()> {
    if prefix.is_empty() {
        entries.delete_range(txn, &(Bound::Included(&[1][..]), Bound::Unbounded))?;
        return erase(txn, entries, TAILS);
    }
    if !is_prefix(prefix) {
        return Ok(());
    }
    erase(txn, entries, prefix.as_bytes())?;
    let path = &prefix[..prefix.len() - 1];
    if is_array(path) {
        erase(txn, entries, &tail_prefix(path))?;
        erase(txn, entries, &[TAILS, prefix.as_bytes()].concat())?;
    }
    Ok(())
}

fn append_tail(
    txn: &mut RwTxn<'_>,
    entries: Entries,
    array: &str,
    mut bytes: &[u8],
) -> heed::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut key = tail_prefix(array);
    let prefix = key.len();
    let mut number = 0;
    if let Some((last, part)) = last_part(txn, entries, &key)? {
        if last.len() + part.len() + bytes.len() <= LEAF_PART_BYTES {
            let (last, part) = (last.to_vec(), [part, bytes].concat());
            return entries.put(txn, &last, &part);
        }
        let last = part_number(&last[prefix..]);
        number = last.checked_add(1).ok_or_else(too_many_parts)?;
    }
    key.extend(number.to_be_bytes());
    loop {
        let (part, rest) = bytes.split_at(bytes.len().min(PART_BYTES));
        key[prefix..].copy_from_slice(&number.to_be_bytes());
        entries.put(txn, &key, part)?;
        if rest.is_empty() {
            return Ok(());
        }
        bytes = rest;
        number = number.checked_add(1).ok_or_else(too_many_parts)?;
    }
}

/// Removes bytes from the end of a tail.
fn cut_tail(
    txn: &mut RwTxn<'_>,
    entries: Entries,
    array: &str,
    mut dropped: u64,
) -> heed::Result<()> {
    let prefix = tail_prefix(array);
    while dropped > 0
        && let Some((last, part)) = last_part(txn, entries, &prefix)?
    {
        let kept = (part.len() as u64).saturating_sub(dropped);
        dropped -= part.len() as u64 - kept;
        let (last, part) = (last.to_vec(), part[..kept as usize].to_vec());
        match part.is_empty() {
            true => drop(entries.delete(txn, &last)?),
            false => entries.put(txn, &last, &part)?,
        }
    }
    Ok(())
}

/// The last part of the tail whose parts have keys with this prefix.
fn last_part<'a>(
    txn: &'a RoTxn<'_, AnyTls>,
    entries: Entries,
    prefix: &[u8],
) -> heed::Result<Option<(&'a [u8], &'a [u8])>> {
    let end = [prefix, &u32::MAX.to_be_bytes()].concat();
    let last = entries.get_lower_than_or_equal_to(txn, &end)?;
    Ok(last.filter(|(key, _)| key.len() == end.len() && key.starts_with(prefix)))
}

pub(super) fn part_number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn too_many_parts() -> heed::Error {
    heed::Error::Io(std::io::Error::other(
        "the tail of an array has too many parts",
    ))
}
