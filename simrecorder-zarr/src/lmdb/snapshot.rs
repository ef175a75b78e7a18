//! The contents of a snapshot of the database.

use std::cell::{OnceCell, RefCell};
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use heed::{AnyTls, Env, RoTxn, WithoutTls};
use simrecorder_core::{Error, ErrorKind, Result};

use super::chunk_files::{ChunkFiles, ChunkMark, Extent, Stored};
use super::entries::{
    Entries, TAILS, entries_below, for_each_extent, is_array, is_entry, is_prefix, part_number,
    prefix_of, prefixed, range, tail_prefix,
};
use super::errors;
use super::reader_locks::{ReaderLock, ReaderLocks};
use crate::format::node_path::is_metadata;
use crate::storage::{Change, Entry, Snapshot};

/// All reads of one transaction.
pub(super) struct LmdbSnapshot<'a> {
    pub(super) env: &'a Env<WithoutTls>,
    pub(super) txn: &'a RoTxn<'a, AnyTls>,
    pub(super) entries: Entries,
    pub(super) path: &'a Path,
    pub(super) files: &'a ChunkFiles,
    /// The mark, if the recording has chunk files.
    pub(super) mark: Option<ChunkMark>,
    /// The locks of readers, if they are available.
    pub(super) locks: Option<&'a ReaderLocks>,
    /// The lock of this snapshot, once it has read an entry in a chunk file.
    pub(super) lock: OnceCell<Option<ReaderLock<'a>>>,
    /// Without a lock: the keys and values of the entries in chunk files that were read.
    pub(super) led_to_files: RefCell<Vec<EntryInFile>>,
}

/// The key and the value of an entry in a chunk file.
pub(super) type EntryInFile = (String, Vec<u8>);

/// The children of a prefix.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) keys: Vec<String>,
    /// Names with entries below them.
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

    /// Whether nothing is stored, not even private entries.
    pub(super) fn is_empty(&self) -> Result<bool> {
        let len = self.entries.len(self.txn);
        let len = len.map_err(|error| self.failed(error))?;
        Ok(len == u64::from(self.mark.is_some()))
    }

    /// The database value of an entry. It is valid during the transaction.
    fn value(&self, key: &str) -> Result<Option<&'a [u8]>> {
        if !is_entry(key.as_bytes()) {
            return Ok(None);
        }
        self.entries
            .get(self.txn, key.as_bytes())
            .map_err(|error| self.failed(error).with_key(key))
    }

    /// Decodes the value of an entry.
    fn stored<'v>(&self, key: &str, value: &'v [u8]) -> Result<Stored<'v>> {
        match self.mark.is_some() && !is_metadata(key.as_bytes()) {
            true => Stored::parse(value).map_err(|error| error.with_key(key)),
            false => Ok(Stored::Inline(value)),
        }
    }

    /// The bytes of an entry. They are valid during the transaction.
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

    /// Locks the snapshot. Returns whether everything to which it leads stays unchanged.
    fn is_locked(&self) -> bool {
        let lock = self.lock.get_or_init(|| {
            let lock = self.locks?.lock(self.txn.id() as u64);
            // If there was a commit since, the writer may not have seen the lock.
            lock.filter(|_| self.is_last())
        });
        lock.is_some()
    }

    /// Whether it shows the last commit.
    pub(super) fn is_last(&self) -> bool {
        self.env.info().last_txn_id == self.txn.id()
    }

    /// Whether all these entries exist, unchanged.
    pub(super) fn has(&self, entries: &[EntryInFile]) -> Result<bool> {
        for (key, value) in entries {
            if self.value(key)? != Some(value) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All extents to which entries lead.
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
        let entries = entries_below(self.txn, self.entries, prefix);
        for entry in entries.map_err(|e| self.failed(e))? {
            let (key, value) = entry.map_err(|e| self.failed(e))?;
            let key = self.text(key)?;
            let len = self.stored(&key, value)?.len();
            visit(key, len);
        }
        Ok(())
    }

    /// The changes that copy the entries below `from`, except metadata, to below `to`: those after
    /// the entry `after`, about `max_bytes` of them, and the key of the last one that was visited;
    /// `None` if there are no more.
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
            // Entries in chunk files move with the commit itself.
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

    /// The children of `prefix`, with one seek for each name: everything below a name is skipped.
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

    /// Calls `visit` with each part of a tail, in order.
    fn for_each_part(&self, array: &str, mut visit: impl FnMut(&[u8])) -> Result<()> {
        if !is_array(array) {
            return Ok(());
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
            visit(bytes);
        }
        Ok(())
    }
}

impl Snapshot for LmdbSnapshot<'_> {
    fn entry(&self, key: &str) -> Result<Option<Entry<'_>>> {
        self.find(key)
    }

    fn tail(&self, array: &str) -> Result<Vec<u8>> {
        let mut tail = Vec::new();
        self.for_each_part(array, |part| tail.extend_from_slice(part))?;
        Ok(tail)
    }

    fn tail_len(&self, array: &str) -> Result<u64> {
        let mut len = 0;
        self.for_each_part(array, |part| len += part.len() as u64)?;
        Ok(len)
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

    fn bytes_below(&self, path: &str) -> Result<u64> {
        let mut bytes = 0;
        self.for_each(&prefix_of(path), |key, len| {
            if !is_metadata(key.as_bytes()) {
                bytes += len as u64;
            }
        })?;
        Ok(bytes)
    }

    fn children(&self, path: &str) -> Result<Vec<String>> {
        Ok(self.list(&prefix_of(path))?.names)
    }
}
