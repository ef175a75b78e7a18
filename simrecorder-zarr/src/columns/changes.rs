//! The storage changes that a commit collects.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use simrecorder_core::backend::columns::{ColumnSink, ColumnSource, Cut};
use simrecorder_core::backend::errors::not_a_group;
use simrecorder_core::{Attributes, Error, ErrorKind, Key, NodeKind, Result};

use crate::columns::reading::{Column, OpenArray, get};
use crate::format::array_format::ArrayFormat;
use crate::format::metadata::Document;
use crate::format::node_path::{metadata_entry, node_path, parent_of_part};
use crate::storage::{Change, Chunk, ChunkKey, Storage};

/// The storage changes that a commit collects.
pub(crate) struct StorageChanges<'a> {
    pub(crate) storage: &'a dyn Storage,
    /// The documents as this commit will leave them, by path; `None` where there is no document.
    /// There are at most [`MAX_PARSED`], because a parsed document takes ten times the memory of
    /// its bytes.
    documents: HashMap<String, Option<Document>>,
    /// The documents to write: their bytes, or `None` while they are in `documents`.
    written: BTreeMap<String, Option<Bytes>>,
    /// The tails that were read, by the path of their array.
    tails: HashMap<String, Bytes>,
    changes: Vec<Change>,
}

/// The maximum number of parsed documents.
const MAX_PARSED: usize = 256;

/// The maximum number of cuts of an array.
const MAX_CUTS: u64 = 1 << 20;

/// The maximum number of chunks that a cut removes. Each is a separate change.
const MAX_CUT_CHUNKS: u64 = 1 << 24;

impl<'a> StorageChanges<'a> {
    pub(crate) fn new(storage: &'a dyn Storage) -> Self {
        Self {
            storage,
            documents: HashMap::new(),
            written: BTreeMap::new(),
            tails: HashMap::new(),
            changes: Vec::new(),
        }
    }

    /// The document at `path` if this commit has read or written it.
    pub(crate) fn cached_document(&self, path: &str) -> Result<Option<Option<Document>>> {
        if let Some(document) = self.documents.get(path) {
            return Ok(Some(document.clone()));
        }
        let written = self.written.get(path).and_then(Option::as_ref);
        let parsed = written.map(|bytes| Document::parse(bytes)).transpose()?;
        Ok(parsed.map(Some))
    }

    /// The document at `path`, as this commit will leave it.
    pub(crate) fn document(&mut self, path: &str) -> Result<Option<Document>> {
        if let Some(document) = self.documents.get(path) {
            return Ok(document.clone());
        }
        let document = match self.cached_document(path)? {
            Some(document) => document,
            None => get(self.storage, &metadata_entry(path))?
                .map(|bytes| Document::parse(&bytes))
                .transpose()?,
        };
        self.keep(path, document.clone());
        Ok(document)
    }

    fn keep(&mut self, path: &str, document: Option<Document>) {
        if self.documents.len() >= MAX_PARSED && !self.documents.contains_key(path) {
            for (path, document) in self.documents.drain() {
                if let (Some(written), Some(document)) = (self.written.get_mut(&path), document) {
                    *written = Some(document.to_bytes().into());
                }
            }
        }
        self.documents.insert(path.to_owned(), document);
    }

    /// Like [`Self::document`], for a document that the caller changes and that is then written.
    fn take_document(&mut self, path: &str) -> Result<Option<Document>> {
        match self.documents.remove(path) {
            Some(document) => Ok(document),
            None => self.document(path),
        }
    }

    /// Remembers the tail of an array that was read.
    pub(crate) fn insert_tail(&mut self, path: &str, tail: Vec<u8>) {
        self.tails.insert(path.to_owned(), tail.into());
    }

    /// Remembers a document that was read.
    pub(crate) fn insert_document(&mut self, path: &str, document: Document) {
        self.keep(path, Some(document));
    }

    pub(crate) fn write_document(&mut self, path: &str, document: Document) {
        self.insert_document(path, document);
        self.written.insert(path.to_owned(), None);
    }

    /// The document of the node at `key`. The parts of a series are not nodes.
    pub(crate) fn node(&mut self, key: &Key, path: &str) -> Result<Option<Document>> {
        if let Some(parent) = parent_of_part(key) {
            let parent = self.document(&node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        self.document(path)
    }

    /// Creates the groups above `key`, and checks that existing ones are groups.
    pub(crate) fn make_groups_above(&mut self, key: &Key) -> Result<()> {
        let mut missing = Vec::new();
        for group in key.ancestors() {
            let path = node_path(&group)?;
            match self.document(&path)? {
                Some(document) if document.node_kind() == NodeKind::Group => break,
                Some(document) => {
                    let is = document.node_kind();
                    return Err(not_a_group("commit", key, &group, is));
                }
                None => missing.push(path),
            }
        }
        for path in missing {
            self.write_document(&path, Document::group(&Attributes::new()));
        }
        Ok(())
    }

    /// Removes copies of the metadata of `key` from the groups above it: other software keeps such
    /// copies and trusts them more. The copy in the root is removed when the recording is opened.
    pub(crate) fn remove_copies(&mut self, key: &Key) -> Result<()> {
        for group in key.ancestors() {
            let path = node_path(&group)?;
            if let Some(mut document) = self.document(&path)?
                && document.remove_consolidated()
            {
                self.write_document(&path, document);
            }
        }
        Ok(())
    }

    /// The base from which the cuts of new arrays are counted.
    pub(crate) fn cut_base(&mut self) -> Result<u64> {
        Ok(self.document("")?.map_or(0, |root| root.cut_base()))
    }

    /// Raises that base above the cuts of all existing arrays.
    pub(crate) fn raise_cut_base(&mut self, new_root: impl FnOnce() -> Document) -> Result<u64> {
        let mut root = self.document("")?.unwrap_or_else(new_root);
        let base = root.cut_base() + MAX_CUTS;
        root.set_cut_base(base);
        self.write_document("", root);
        Ok(base)
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// All changes, with the documents last.
    pub(crate) fn into_changes(mut self) -> Vec<Change> {
        for (path, bytes) in self.written {
            // One at a time, while each is in the processor's cache.
            let change = match self.documents.remove(&path).flatten() {
                Some(document) => Some(set_document(&path, &document)),
                None => bytes.map(|value| Change::Set {
                    key: metadata_entry(&path),
                    value,
                }),
            };
            self.changes.extend(change);
        }
        self.changes
    }
}

/// Writes a chunk ahead of the commit, unless it was already written or writing ahead brings no
/// gain.
pub(crate) fn write_ahead(storage: &dyn Storage, key: &ChunkKey, chunk: Chunk) -> Result<Chunk> {
    match chunk {
        Chunk::Bytes(bytes) => storage.write_ahead(key, bytes),
        written => Ok(written),
    }
}

impl StorageChanges<'_> {
    /// Erases the only chunk row of an array that was short, with a chunk of `rows` rows, if its
    /// chunks now have other names.
    fn erase_renamed(&mut self, to: &OpenArray<'_>, rows: Option<u64>) {
        let Column { path, format, .. } = to.column();
        if rows.is_none() || format.short_rows().is_some() {
            return;
        }
        let short = format.with_short_rows(rows);
        for indices in to.column().layout().grid.chunks_in_row(0) {
            let ChunkKey { entry: key, .. } = short.chunk_key(path, &indices);
            if key != format.chunk_key(path, &indices).entry {
                self.changes.push(Change::Erase { key });
            }
        }
    }
}

/// The change that writes a document.
pub(crate) fn set_document(path: &str, document: &Document) -> Change {
    Change::Set {
        key: metadata_entry(path),
        value: document.to_bytes().into(),
    }
}

impl<'a> ColumnSink for StorageChanges<'a> {
    type Format = ArrayFormat;
    type Source = OpenArray<'a>;

    fn open(&self, column: &Column) -> Result<OpenArray<'a>> {
        Ok(OpenArray {
            storage: self.storage,
            column: column.clone(),
            tail: self.tails.get(&*column.path).cloned(),
        })
    }

    fn set_stored(&mut self, to: &OpenArray<'a>, stored: u64, cut: Option<Cut>) -> Result<()> {
        let Column { path, .. } = to.column();
        let Some(mut document) = self.take_document(path)? else {
            let message = "the series does not exist";
            return Err(Error::new(ErrorKind::NotFound, "commit", message));
        };
        document.set_rows(stored);
        let rows = document.short_rows();
        let short_rows = to.column().format.short_rows();
        if short_rows != document.short_rows() {
            document.set_short_rows(short_rows);
        }
        self.erase_renamed(to, rows);
        if let Some(cut) = cut {
            document.add_cut(cut.len);
            let grid = &to.column().layout().grid;
            let chunk_rows = grid.chunk_records();
            let first = match stored <= to.column().filled {
                // A chunk that would contain only filled rows is not kept.
                true => stored / chunk_rows,
                false => stored.div_ceil(chunk_rows),
            };
            let first = first.max(cut.filled_before / chunk_rows);
            let rows = first..cut.stored_before.div_ceil(chunk_rows);
            let removed = rows.end.saturating_sub(rows.start);
            let removed = removed.saturating_mul(grid.row_len());
            if removed > MAX_CUT_CHUNKS {
                let message = format!(
                    "this would remove {removed} chunks, more than the {MAX_CUT_CHUNKS} that can be removed at once"
                );
                return Err(Error::new(ErrorKind::Unsupported, "commit", message));
            }
            if removed > 0 {
                let chunks = rows.flat_map(|row| grid.chunks_in_row(row));
                let keys = chunks.map(|indices| to.chunk_key(&indices));
                self.changes.extend(keys.map(|key| match key.slot {
                    Some(slot) => Change::EraseInShard {
                        shard: key.entry,
                        slot,
                    },
                    None => Change::Erase { key: key.entry },
                }));
            }
        }
        self.write_document(path, document);
        Ok(())
    }

    fn write_chunk(
        &mut self,
        to: &OpenArray<'a>,
        indices: &[u64],
        chunk: &Chunk,
        repeats: bool,
    ) -> Result<()> {
        let key = to.chunk_key(indices);
        let chunk = write_ahead(self.storage, &key, chunk.clone())?;
        self.changes.push(Change::of_chunk(key, chunk, repeats));
        Ok(())
    }

    fn append_tail(&mut self, column: &Column, frames: Vec<u8>) {
        self.changes.push(Change::AppendTail {
            array: column.path.to_string(),
            bytes: frames.into(),
        });
    }

    fn replace_tail_end(&mut self, column: &Column, bytes: u64, frames: Vec<u8>) {
        self.changes.push(Change::ReplaceTailEnd {
            array: column.path.to_string(),
            dropped: bytes,
            bytes: frames.into(),
        });
    }

    fn clear_tail(&mut self, column: &Column) {
        self.changes.push(Change::ClearTail {
            array: column.path.to_string(),
        });
    }
}
