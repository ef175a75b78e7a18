//! The storage traits of zarrs.

use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::{Error, ErrorKind};
use zarrs_storage::byte_range::{ByteRange, ByteRangeIterator, InvalidByteRangeError};
use zarrs_storage::{
    ListableStorageTraits, MaybeBytes, MaybeBytesIterator, OffsetBytesIterator,
    ReadableStorageTraits, StorageError, StoreKey, StoreKeys, StoreKeysPrefixes, StorePrefix,
    WritableStorageTraits,
};

use super::LmdbStorage;
use crate::format::node_path::is_metadata;
use crate::storage::{Change, Entry, Snapshot, Storage};

fn storage_error(error: Error) -> StorageError {
    match error.kind() {
        ErrorKind::ReadOnly => StorageError::ReadOnly,
        _ => StorageError::IOError(Arc::new(error.into())),
    }
}

/// The part of an entry that `range` requests, with bounds checks where `zarrs` would overflow.
fn slice(entry: &Entry<'_>, range: ByteRange) -> Result<Bytes, StorageError> {
    let size = entry.len() as u64;
    let (start, end) = match range {
        ByteRange::FromStart(start, None) => (Some(start), Some(size)),
        ByteRange::FromStart(start, Some(length)) => (Some(start), start.checked_add(length)),
        ByteRange::Suffix(length) => (size.checked_sub(length), Some(size)),
    };
    match (start, end) {
        // Both fit into usize, because the size of the entry does.
        (Some(start), Some(end)) if start <= end && end <= size => entry
            .part(start as usize..end as usize)
            .map_err(storage_error),
        // The message of InvalidByteRangeError adds offset and length, which may overflow.
        (_, None) => Err(StorageError::Other(format!("invalid byte range {range:?}"))),
        _ => Err(InvalidByteRangeError::new(range, size).into()),
    }
}

impl LmdbStorage {
    fn set_change(&self, key: &StoreKey, value: Bytes) -> simrecorder_core::Result<Change> {
        let key = key.as_str().to_owned();
        match is_metadata(key.as_bytes()) {
            true => Ok(Change::Set { key, value }),
            false => Ok(Change::of_chunk(key.into(), self.place(value)?, false)),
        }
    }
}

impl ReadableStorageTraits for LmdbStorage {
    fn get(&self, key: &StoreKey) -> Result<MaybeBytes, StorageError> {
        self.snapshot(|snapshot| snapshot.get(key.as_str()))
            .map_err(storage_error)
    }

    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        byte_ranges: ByteRangeIterator<'a>,
    ) -> Result<MaybeBytesIterator<'a>, StorageError> {
        // Not during the read: the iterator belongs to the caller and may use this storage.
        let ranges: Vec<ByteRange> = byte_ranges.collect();
        let parts = self.snapshot(|snapshot| {
            let Some(entry) = snapshot.find(key.as_str())? else {
                return Ok(None);
            };
            Ok(Some(
                ranges
                    .iter()
                    .map(|range| slice(&entry, *range))
                    .collect::<Vec<_>>(),
            ))
        });
        Ok(parts
            .map_err(storage_error)?
            .map(|parts| Box::new(parts.into_iter()) as _))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        self.snapshot(|snapshot| {
            let entry = snapshot.find(key.as_str())?;
            Ok(entry.map(|entry| entry.len() as u64))
        })
        .map_err(storage_error)
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}

impl ListableStorageTraits for LmdbStorage {
    fn list(&self) -> Result<StoreKeys, StorageError> {
        self.list_prefix(&StorePrefix::root())
    }

    fn list_prefix(&self, prefix: &StorePrefix) -> Result<StoreKeys, StorageError> {
        let keys = self.snapshot(|snapshot| {
            let mut keys = Vec::new();
            snapshot.for_each(prefix.as_str(), |key, _| keys.push(key))?;
            Ok(keys)
        });
        keys.map_err(storage_error)?
            .into_iter()
            .map(|key| Ok(StoreKey::new(key)?))
            .collect()
    }

    fn list_dir(&self, prefix: &StorePrefix) -> Result<StoreKeysPrefixes, StorageError> {
        let listing = self.snapshot(|snapshot| snapshot.list(prefix.as_str()));
        let listing = listing.map_err(storage_error)?;
        let keys = listing
            .keys
            .into_iter()
            .map(StoreKey::new)
            .collect::<Result<_, _>>()?;
        let prefixes = listing
            .names
            .into_iter()
            .map(|name| StorePrefix::new(format!("{}{name}/", prefix.as_str())))
            .collect::<Result<_, _>>()?;
        Ok(StoreKeysPrefixes::new(keys, prefixes))
    }

    fn size_prefix(&self, prefix: &StorePrefix) -> Result<u64, StorageError> {
        let size = self.snapshot(|snapshot| {
            let mut sum = 0;
            snapshot.for_each(prefix.as_str(), |_, size| sum += size as u64)?;
            Ok(sum)
        });
        size.map_err(storage_error)
    }
}

impl WritableStorageTraits for LmdbStorage {
    fn set(&self, key: &StoreKey, value: Bytes) -> Result<(), StorageError> {
        let change = self.set_change(key, value);
        change
            .and_then(|change| self.commit(vec![change]))
            .map_err(storage_error)
    }

    fn set_partial_many(
        &self,
        key: &StoreKey,
        offset_values: OffsetBytesIterator<'_>,
    ) -> Result<(), StorageError> {
        let parts: Vec<(u64, Bytes)> = offset_values.collect();
        // Held during reading and writing, so that two partial writes do not overwrite each other.
        let handle = self.0.get("set").map_err(storage_error)?;
        let writer = handle.writer.lock();
        let mut value = self.get(key)?.map(Vec::from).unwrap_or_default();
        for (offset, part) in parts {
            let end = offset
                .checked_add(part.len() as u64)
                .filter(|end| *end <= u32::MAX.into());
            let Some(end) = end.and_then(|end| usize::try_from(end).ok()) else {
                let message =
                    format!("offset {offset} of '{key}' exceeds the limit of 4 GiB for a value");
                return Err(StorageError::Other(message));
            };
            if value.len() < end {
                value.resize(end, 0);
            }
            value[end - part.len()..end].copy_from_slice(&part);
        }
        let change = self.set_change(key, value.into());
        change
            .and_then(|change| self.commit_as(&writer, &[change]))
            .map_err(storage_error)
    }

    fn erase(&self, key: &StoreKey) -> Result<(), StorageError> {
        self.commit(vec![Change::Erase {
            key: key.as_str().to_owned(),
        }])
        .map_err(storage_error)
    }

    fn erase_many(&self, keys: &[StoreKey]) -> Result<(), StorageError> {
        let erase = |key: &StoreKey| Change::Erase {
            key: key.as_str().to_owned(),
        };
        self.commit(keys.iter().map(erase).collect())
            .map_err(storage_error)
    }

    fn erase_prefix(&self, prefix: &StorePrefix) -> Result<(), StorageError> {
        let path = prefix.as_str();
        let path = path.strip_suffix('/').unwrap_or(path).to_owned();
        self.commit(vec![Change::ErasePath { path }])
            .map_err(storage_error)
    }

    fn supports_set_partial(&self) -> bool {
        false
    }
}
