//! Keys in the database, what a snapshot reads and what a commit writes.
//!
//! Entries stand under the UTF-8 bytes of their keys. Tails are private: their keys begin with
//! a zero byte, `\0t`, followed by the path of the array, another zero byte and the number of
//! the part as a big-endian u32. A tail is the concatenation of its parts. `\0c` says that the
//! recording has [chunk files](super::chunk_files).

use std::cell::{OnceCell, RefCell};
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use heed::types::Bytes as Raw;
use heed::{AnyTls, Database, Env, RoTxn, RwTxn, WithoutTls};
use simrecorder_core::{Error, ErrorKind, Result};

use super::chunk_files::{ChunkFiles, ChunkMark, Extent, Stored, extent_entry, inline_entry};
use super::errors;
use super::reader_locks::{ReaderLock, ReaderLocks};
use crate::format::node_path::is_metadata;
use crate::storage::{Change, Entry, Snapshot, WrittenAhead, no_shards};

/// The longest key of an entry in bytes; LMDB's limit.
pub(crate) const MAX_KEY_BYTES: usize = 511;

/// LMDB keeps sizes of values in 32 bits.
const MAX_VALUE_BYTES: usize = u32::MAX as usize;

const TAILS: &[u8] = b"\0t";
/// The key of the mark that the recording has chunk files.
const CHUNK_MARK: &[u8] = b"\0c";

/// What the key of a part has besides the path of the array.
const TAIL_KEY_EXTRA: usize = TAILS.len() + 1 + size_of::<u32>();

/// A part that grows stays below this size together with its key, so that it fits into a leaf
/// page (LMDB wants two nodes a page) and costs no page of its own.
const LEAF_PART_BYTES: usize = 2000;

/// Entries up to this size stay in the database, where they share a page with others.
pub(super) const INLINE_BYTES: usize = LEAF_PART_BYTES;

/// Parts that are written at once have at most this size: 1 MiB with the page header.
const PART_BYTES: usize = (1 << 20) - 16;

pub(super) type Entries = Database<Raw, Raw>;

type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

fn range<'a>(from: &'a [u8], to: &'a [u8]) -> KeyRange<'a> {
    (Bound::Included(from), Bound::Excluded(to))
}

/// The first and the last bound (excluded) of all keys that begin with `prefix`, none of which
/// ends with 0xff.
fn prefixed(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (prefix.to_vec(), end)
}

fn tail_prefix(array: &str) -> Vec<u8> {
    [TAILS, array.as_bytes(), b"\0"].concat()
}

/// Whether an entry may have this key.
fn is_entry(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY_BYTES && key[0] != 0
}

/// Whether entries may be below this prefix, `""` or one that ends with `/`.
fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || is_entry(prefix.as_bytes())
}

/// Whether an array at this path may have a tail.
fn is_array(path: &str) -> bool {
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

/// Refuses changes that LMDB could not take, before anything is written.
pub(super) fn check(changes: &[Change]) -> Result<()> {
    for change in changes {
        match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => {
                check_key(key)?;
                if value.len() > MAX_VALUE_BYTES {
                    return Err(Error::new(
                        ErrorKind::InvalidArgument,
                        "commit",
                        "a single value in LMDB holds less than 4 GiB; use smaller chunks",
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

/// About how many bytes the changes add.
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

/// The mark that the recording has chunk files, if it does.
pub(super) fn chunk_mark(
    txn: &RoTxn<'_, AnyTls>,
    entries: Entries,
) -> heed::Result<Option<Vec<u8>>> {
    Ok(entries.get(txn, CHUNK_MARK)?.map(<[u8]>::to_vec))
}

/// Marks a new recording as one that has chunk files.
pub(super) fn set_chunk_mark(
    txn: &mut RwTxn<'_>,
    entries: Entries,
    mark: ChunkMark,
) -> heed::Result<()> {
    entries.put(txn, CHUNK_MARK, &mark.to_bytes())
}

/// Checked changes, on their way into a transaction.
pub(super) struct Writing<'t, 'e> {
    pub(super) txn: &'t mut RwTxn<'e>,
    pub(super) entries: Entries,
    /// Whether the recording has chunk files.
    pub(super) has_chunk_files: bool,
    /// The extents that no entry leads to any more.
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
                // Refused before.
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

    /// Notes the extent of an entry that is to be replaced or removed.
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

    /// Moves the entries that lead to chunk files; others were copied before.
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

/// The extent that an entry of a recording with chunk files leads to.
fn extent_of(key: &[u8], value: &[u8]) -> Option<Extent> {
    match Stored::parse(value) {
        Ok(Stored::Extent(extent)) if !is_metadata(key) => Some(extent),
        _ => None,
    }
}

/// Calls `visit` with the key, the extent and the value of each entry below `prefix` that has an extent.
pub(super) fn for_each_extent(
    txn: &RoTxn<'_, AnyTls>,
    entries: Entries,
    prefix: &str,
    mut visit: impl FnMut(&[u8], Extent, &[u8]),
) -> heed::Result<()> {
    if !is_prefix(prefix) {
        return Ok(());
    }
    let (from, to) = prefixed(prefix.as_bytes());
    let range = match prefix.is_empty() {
        true => (Bound::Included(&[1][..]), Bound::Unbounded),
        false => range(&from, &to),
    };
    for entry in entries.range(txn, &range)? {
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

/// Takes bytes away from the end of a tail.
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

fn part_number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn too_many_parts() -> heed::Error {
    heed::Error::Io(std::io::Error::other(
        "the tail of an array has too many parts",
    ))
}

/// All reads of one transaction.
pub(super) struct LmdbSnapshot<'a> {
    pub(super) env: &'a Env<WithoutTls>,
    pub(super) txn: &'a RoTxn<'a, AnyTls>,
    pub(super) entries: Entries,
    pub(super) path: &'a Path,
    pub(super) files: &'a ChunkFiles,
    /// If the recording has chunk files.
    pub(super) mark: Option<ChunkMark>,
    /// Where readers lock what they read, if they can.
    pub(super) locks: Option<&'a ReaderLocks>,
    /// The lock of this snapshot, from the first entry in a chunk file on.
    pub(super) lock: OnceCell<Option<ReaderLock<'a>>>,
    /// Without a lock: the keys and values of the entries in chunk files that were read.
    pub(super) led_to_files: RefCell<Vec<EntryInFile>>,
}

/// The key and the value of an entry in a chunk file.
pub(super) type EntryInFile = (String, Vec<u8>);

/// What is right below a prefix.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) keys: Vec<String>,
    /// Names that have something below them.
    pub(super) names: Vec<String>,
}

impl<'a> LmdbSnapshot<'a> {
    fn failed(&self, error: heed::Error) -> Error {
        errors::from_heed("read", self.path, error)
    }

    fn text(&self, key: &[u8]) -> Result<String> {
        String::from_utf8(key.to_vec()).map_err(|_| {
            Error::new(
                ErrorKind::Corrupt,
                "list",
                "a key is not UTF-8, so not one of a recording",
            )
            .with_key(String::from_utf8_lossy(key))
        })
    }

    /// Whether nothing is stored, private entries included.
    pub(super) fn is_empty(&self) -> Result<bool> {
        let len = self.entries.len(self.txn);
        let len = len.map_err(|error| self.failed(error))?;
        Ok(len == u64::from(self.mark.is_some()))
    }

    /// What the database has for an entry, valid while the transaction is.
    fn value(&self, key: &str) -> Result<Option<&'a [u8]>> {
        if !is_entry(key.as_bytes()) {
            return Ok(None);
        }
        self.entries
            .get(self.txn, key.as_bytes())
            .map_err(|error| self.failed(error).with_key(key))
    }

    /// What the value of an entry means.
    fn stored<'v>(&self, key: &str, value: &'v [u8]) -> Result<Stored<'v>> {
        match self.mark.is_some() && !is_metadata(key.as_bytes()) {
            true => Stored::parse(value).map_err(|error| error.with_key(key)),
            false => Ok(Stored::Inline(value)),
        }
    }

    /// The bytes of an entry, valid while the transaction is.
    pub(super) fn find(&self, key: &str) -> Result<Option<Entry<'a>>> {
        let Some(value) = self.value(key)? else {
            return Ok(None);
        };
        let (extent, mark) = match (self.stored(key, value)?, self.mark) {
            (Stored::Extent(extent), Some(mark)) => (extent, mark),
            (Stored::Inline(bytes), _) => return Ok(Some(Entry::Mapped(bytes))),
            (Stored::Extent(_), None) => return Ok(None),
        };
        let stays = self.is_locked();
        if !stays {
            let mut led_to_files = self.led_to_files.borrow_mut();
            led_to_files.push((key.to_owned(), value.to_vec()));
        }
        self.files.entry(mark, extent, stays).map(Some)
    }

    /// Locks the snapshot. Returns whether all that it leads to stays as it is.
    fn is_locked(&self) -> bool {
        let lock = self.lock.get_or_init(|| {
            let lock = self.locks?.lock(self.txn.id() as u64);
            // Of a commit since, the writer may not have seen the lock.
            lock.filter(|_| self.is_last())
        });
        lock.is_some()
    }

    /// Whether it shows the last commit.
    pub(super) fn is_last(&self) -> bool {
        self.env.info().last_txn_id == self.txn.id()
    }

    /// Whether all these entries are there, unchanged.
    pub(super) fn has(&self, entries: &[EntryInFile]) -> Result<bool> {
        for (key, value) in entries {
            if self.value(key)? != Some(value) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All extents that entries lead to.
    pub(super) fn extents(&self) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let visited = for_each_extent(self.txn, self.entries, "", |_, extent, _| {
            extents.push(extent);
        });
        visited.map_err(|error| self.failed(error))?;
        Ok(extents)
    }

    /// Calls `visit` with the key and size of each entry below `prefix`.
    pub(super) fn for_each(
        &self,
        prefix: &str,
        mut visit: impl FnMut(String, usize),
    ) -> Result<()> {
        if !is_prefix(prefix) {
            return Ok(());
        }
        let (from, to) = prefixed(prefix.as_bytes());
        let range = if prefix.is_empty() {
            (Bound::Included(&[1][..]), Bound::Unbounded)
        } else {
            range(&from, &to)
        };
        let entries = self
            .entries
            .range(self.txn, &range)
            .map_err(|e| self.failed(e))?;
        for entry in entries {
            let (key, value) = entry.map_err(|e| self.failed(e))?;
            let key = self.text(key)?;
            let len = self.stored(&key, value)?.len();
            visit(key, len);
        }
        Ok(())
    }

    /// Changes that copy the entries below `from`, except for metadata, to below `to`: those after the entry
    /// `after`, about `max_bytes` of them, and the key of the last one that was looked at; `None` if there
    /// are no more.
    pub(super) fn copies(
        &self,
        from: &str,
        to: &str,
        after: &str,
        max_bytes: usize,
    ) -> Result<Option<(Vec<Change>, String)>> {
        let (_, end) = prefixed(from.as_bytes());
        let range = (Bound::Excluded(after.as_bytes()), Bound::Excluded(&end[..]));
        let entries = self.entries.range(self.txn, &range);
        let (mut copies, mut bytes, mut last) = (Vec::new(), 0, None);
        for entry in entries.map_err(|e| self.failed(e))? {
            let (key, value) = entry.map_err(|e| self.failed(e))?;
            let key = self.text(key)?;
            // What leads to chunk files moves with the commit itself.
            if !is_metadata(key.as_bytes())
                && let Stored::Inline(value) = self.stored(&key, value)?
            {
                bytes += value.len();
                copies.push(Change::Set {
                    key: format!("{to}{}", &key[from.len()..]),
                    value: Bytes::copy_from_slice(value),
                });
            }
            last = Some(key);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(last.map(|last| (copies, last)))
    }

    /// What is right below `prefix`, one seek for each name: what a name has below it is
    /// skipped, however much it is.
    pub(super) fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        if !is_prefix(prefix) {
            return Ok(listing);
        }
        let mut from = if prefix.is_empty() {
            vec![1]
        } else {
            prefix.as_bytes().to_vec()
        };
        loop {
            let found = self.entries.get_greater_than_or_equal_to(self.txn, &from);
            let Some((key, _)) = found.map_err(|error| self.failed(error))? else {
                break;
            };
            let Some(rest) = key.strip_prefix(prefix.as_bytes()) else {
                break;
            };
            from.clear();
            match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => {
                    listing.names.push(self.text(&rest[..slash])?);
                    from.extend_from_slice(&key[..prefix.len() + slash]);
                    from.push(b'/' + 1);
                }
                None => {
                    listing.keys.push(self.text(key)?);
                    from.extend_from_slice(key);
                    from.push(0);
                }
            }
        }
        // The database sorts `v-x/` before `v/`.
        listing.names.sort_unstable();
        Ok(listing)
    }
}

impl Snapshot for LmdbSnapshot<'_> {
    fn entry(&self, key: &str) -> Result<Option<Entry<'_>>> {
        self.find(key)
    }

    fn tail(&self, array: &str) -> Result<Vec<u8>> {
        let mut tail = Vec::new();
        if !is_array(array) {
            return Ok(tail);
        }
        let (from, to) = prefixed(&tail_prefix(array));
        let failed = |error| self.failed(error).with_key(array);
        let parts = self
            .entries
            .range(self.txn, &range(&from, &to))
            .map_err(failed)?;
        for (expected, part) in parts.enumerate() {
            let (key, bytes) = part.map_err(failed)?;
            let number = &key[from.len()..];
            if number.len() != size_of::<u32>() || part_number(number) as usize != expected {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "read",
                    "a part of the unfinished chunk is missing",
                )
                .with_key(array));
            }
            tail.extend_from_slice(bytes);
        }
        Ok(tail)
    }

    fn tail_end(&self, array: &str, bytes: u64) -> Result<Vec<u8>> {
        if !is_array(array) {
            return Ok(Vec::new());
        }
        let (from, to) = prefixed(&tail_prefix(array));
        let failed = |error| self.failed(error).with_key(array);
        let parts = self
            .entries
            .rev_range(self.txn, &range(&from, &to))
            .map_err(failed)?;
        let (mut found, mut left) = (Vec::new(), bytes);
        for part in parts {
            let (_, part) = part.map_err(failed)?;
            let start = (part.len() as u64).saturating_sub(left) as usize;
            left -= (part.len() - start) as u64;
            found.push(&part[start..]);
            if left == 0 {
                break;
            }
        }
        found.reverse();
        Ok(found.concat())
    }

    fn tails(&self) -> Result<Vec<String>> {
        let (from, to) = prefixed(TAILS);
        let mut arrays: Vec<String> = Vec::new();
        let parts = self
            .entries
            .range(self.txn, &range(&from, &to))
            .map_err(|error| self.failed(error))?;
        for part in parts {
            let (key, _) = part.map_err(|error| self.failed(error))?;
            let name = &key[TAILS.len()..];
            let name = name.split(|&byte| byte == 0).next().unwrap_or(name);
            if arrays.last().map(String::as_bytes) != Some(name) {
                arrays.push(self.text(name)?);
            }
        }
        Ok(arrays)
    }

    fn children(&self, path: &str) -> Result<Vec<String>> {
        Ok(self.list(&prefix_of(path))?.names)
    }
}
