//! The contents of a snapshot of a recording.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use simrecorder_core::backend::allocated;
use simrecorder_core::{Error, Result};

use super::disk::is_missing;
use super::overlay::{Lookup, Overlay};
use super::paths::{Paths, ROOT_METADATA, check_key};
use super::shard_cache::ShardCache;
use super::shards;
use crate::format::recording_id::RecordingId;
use crate::storage::{ChunkKey, Entry, EntryFile, Snapshot};

/// A snapshot: the overlay, then the files below it.
pub(super) struct View<'a> {
    pub(super) overlay: &'a Overlay,
    /// The shards that were read in this state of the files.
    pub(super) shards: ShardCache<'a>,
    pub(super) paths: &'a Paths,
    pub(super) recording: Option<&'a RecordingId>,
}

impl Snapshot for View<'_> {
    fn entry(&self, key: &str) -> Result<Option<Entry<'_>>> {
        self.check(key)?;
        match self.overlay.lookup(key) {
            Lookup::Set(blob) => {
                let bytes = self.overlay.load(blob, &self.paths.journal)?;
                Ok(Some(Entry::Memory(bytes)))
            }
            Lookup::Erased => Ok(None),
            Lookup::File | Lookup::Shard(_) => {
                Ok(open_entry(self.paths, "read", key)?.map(Entry::File))
            }
        }
    }

    fn chunk(&self, key: &ChunkKey) -> Result<Option<Entry<'_>>> {
        let Some(slot) = key.slot else {
            return self.entry(&key.entry);
        };
        self.check(&key.entry)?;
        let (index, len) = match self.overlay.lookup(&key.entry) {
            Lookup::Shard(index) => (Some(&**index), index.count()),
            Lookup::File => (None, slot.count),
            Lookup::Erased | Lookup::Set(_) => return Ok(None),
        };
        if len != slot.count {
            return Err(shards::damaged(
                Path::new(&key.entry),
                "has another number of chunks",
            ));
        }
        let chunk = self.shards.chunk(self.paths, &key.entry, slot, index)?;
        Ok(chunk.map(Entry::File))
    }

    fn tail(&self, array: &str) -> Result<Vec<u8>> {
        self.overlay.tail(array, u64::MAX, &self.paths.journal)
    }

    fn tail_len(&self, array: &str) -> Result<u64> {
        Ok(self.overlay.tail_len(array))
    }

    fn tail_end(&self, array: &str, bytes: u64) -> Result<Vec<u8>> {
        self.overlay.tail(array, bytes, &self.paths.journal)
    }

    fn tails(&self) -> Result<Vec<String>> {
        Ok(self
            .overlay
            .tails()
            .map(|array| array.to_string())
            .collect())
    }

    fn children(&self, path: &str) -> Result<Vec<String>> {
        if !path.is_empty() {
            self.check(path)?;
        }
        let mut names = BTreeSet::new();
        self.overlay.children(path, &mut names);
        if !self.overlay.hides_below(path) {
            for entry in list(&self.directory(path)?)? {
                let (name, is_directory) = entry?;
                let child = join(path, &name);
                if is_directory && !names.contains(&name) && self.has_entries(&child)? {
                    names.insert(name);
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    fn bytes_below(&self, path: &str) -> Result<u64> {
        let mut bytes = self.overlay.bytes_below(path);
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            if self.overlay.hides_below(&path) {
                continue;
            }
            for entry in list(&self.directory(&path)?)? {
                let (name, is_directory) = entry?;
                let child = join(&path, &name);
                if is_directory {
                    open.push(child);
                } else if name != ROOT_METADATA
                    && matches!(self.overlay.lookup(&child), Lookup::File | Lookup::Shard(_))
                {
                    let file = self.paths.entry(&child);
                    let metadata = match fs::symlink_metadata(&file) {
                        Err(error) if is_missing(&error) => continue,
                        found => found.map_err(|error| Error::io("list", &file, error))?,
                    };
                    // A shard has holes where chunks were freed.
                    bytes += metadata.len().min(allocated(&metadata));
                }
            }
        }
        Ok(bytes)
    }

    fn recording(&self) -> Option<&RecordingId> {
        self.recording
    }
}

impl View<'_> {
    /// Whether a key stays inside the recording. A key that is too long cannot exist, which is not
    /// an error.
    fn check(&self, key: &str) -> Result<()> {
        check_key(key, usize::MAX, Path::new("")).map_err(|error| error.with_operation("read"))
    }

    fn directory(&self, path: &str) -> Result<PathBuf> {
        if path.is_empty() {
            return Ok(self.paths.root.clone());
        }
        self.paths.inside("list", path)
    }

    /// Whether there is a file below a path that the overlay does not hide. The search stops at the
    /// first one, so it is as fast for a directory full of chunks as for a small one.
    fn has_entries(&self, path: &str) -> Result<bool> {
        if self.overlay.is_erased_path(path) {
            return Ok(false);
        }
        let metadata = join(path, ROOT_METADATA);
        if !self.overlay.covers(&metadata) && self.paths.entry(&metadata).is_file() {
            return Ok(true);
        }
        let mut directories = Vec::new();
        for entry in list(&self.paths.entry(path))? {
            let (name, is_directory) = entry?;
            let child = join(path, &name);
            if is_directory {
                directories.push(child);
            } else if !self.overlay.covers(&child) {
                return Ok(true);
            }
        }
        for directory in directories {
            if self.has_entries(&directory)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

/// The names in a directory, and which of them are directories; none if it is missing. Links are
/// omitted: they may lead anywhere, even in a circle.
fn list(path: &Path) -> Result<impl Iterator<Item = Result<(String, bool)>>> {
    let failed = move |error| Error::io("list", path, error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => Some(entries),
        Err(error) if is_missing(&error) || error.kind() == io::ErrorKind::InvalidFilename => None,
        Err(error) => return Err(failed(error)),
    };
    Ok(entries.into_iter().flatten().filter_map(move |entry| {
        let named = entry.and_then(|entry| {
            // A Zarr writer does not create names that are not UTF-8.
            let Ok(name) = entry.file_name().into_string() else {
                return Ok(None);
            };
            let kind = entry.file_type()?;
            Ok((!kind.is_symlink()).then(|| (name, kind.is_dir())))
        });
        named.map_err(failed).transpose()
    }))
}

/// The bytes of an entry; `None` if there is none.
pub(super) fn read_entry(
    paths: &Paths,
    operation: &'static str,
    key: &str,
) -> Result<Option<Bytes>> {
    let entry = open_entry(paths, operation, key)?.map(Entry::File);
    entry.map(Entry::into_bytes).transpose()
}

/// The file of an entry; `None` if there is none.
fn open_entry(paths: &Paths, operation: &'static str, key: &str) -> Result<Option<EntryFile>> {
    let opened = paths.open(operation, key)?;
    let opened = opened.filter(|(_, metadata)| !metadata.is_dir());
    Ok(opened.map(|(file, metadata)| EntryFile {
        file: file.into(),
        offset: 0,
        len: usize::try_from(metadata.len()).unwrap_or(usize::MAX),
        path: paths.entry(key).into(),
    }))
}
