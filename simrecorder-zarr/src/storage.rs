//! What the Zarr store requires of the medium that stores its entries: LMDB or a directory.
//!
//! Everything above this boundary (metadata, chunks, tails, views) is the same for both.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::backend::room;
use simrecorder_core::{Error, ErrorKind, RecordingInfo, Result};

use crate::directory::ShardChunk;
use crate::format::metadata::Document;
use crate::format::node_path::metadata_entry;
use crate::format::recording_id::RecordingId;
use crate::format::shards::Slot;
use crate::lmdb::{MappedBytes, NewExtent};

/// The place of a chunk: an entry, or a chunk in an entry that is a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKey {
    pub(crate) entry: String,
    pub(crate) slot: Option<Slot>,
}

impl From<String> for ChunkKey {
    /// The key of a chunk that is an entry.
    fn from(entry: String) -> Self {
        Self { entry, slot: None }
    }
}

/// One change of a commit.
///
/// Keys of entries are Zarr store keys: `net/v/zarr.json`, `net/v/c/0/0`. Tails have a separate
/// name space, addressed by the path of their array: `net/v`.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Writes an entry that may already exist: metadata, or a chunk of a value.
    Set { key: String, value: Bytes },
    /// Writes a chunk of a series. It is either new, or replaces a chunk whose records it repeats,
    /// so it does no harm if it becomes visible before the rest of the commit.
    SetChunk { key: String, value: Bytes },
    /// Writes an entry whose bytes were [written ahead](Storage::write_ahead).
    SetWritten { key: String, bytes: WrittenAhead },
    /// Removes one entry; does nothing if it is missing.
    Erase { key: String },
    /// Writes a chunk of a series into its shard.
    SetInShard {
        shard: String,
        slot: Slot,
        value: Chunk,
    },
    /// Removes a chunk from its shard; does nothing if it is missing.
    EraseInShard { shard: String, slot: Slot },
    /// Removes all entries below a path. `net/v` includes `net/v/…` and the tails of all arrays at
    /// `net/v` or below; not `net/v2`.
    ErasePath { path: String },
    /// Moves all entries below `from` to below `to`, where there are none, except metadata, which
    /// is removed. No array there has a tail. It does no harm if the entries become visible below
    /// `to` before the rest of the commit.
    MovePath { from: String, to: String },
    /// Appends bytes to the tail of an array, which is empty at first.
    AppendTail { array: String, bytes: Bytes },
    /// Replaces the last `dropped` bytes of the tail of an array.
    ReplaceTailEnd {
        array: String,
        dropped: u64,
        bytes: Bytes,
    },
    /// Removes the tail of an array; does nothing if there is none.
    ClearTail { array: String },
}

/// An encoded chunk, for an entry that a commit will write.
#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Bytes(Bytes),
    Written(WrittenAhead),
    InShard(Arc<ShardChunk>),
}

/// Bytes that are in the storage and become valid when a commit names them. If none does, their
/// space is reused.
#[derive(Clone, Debug)]
pub(crate) enum WrittenAhead {
    InChunkFile(Arc<NewExtent>),
}

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Written(WrittenAhead::InChunkFile(extent)) => extent.len(),
            Self::InShard(chunk) => chunk.len(),
        }
    }
}

impl Change {
    /// Writes a chunk. `repeats` as for [`ColumnSink::write_chunk`].
    ///
    /// [`ColumnSink::write_chunk`]: simrecorder_core::backend::columns::ColumnSink::write_chunk
    pub(crate) fn of_chunk(key: ChunkKey, chunk: Chunk, repeats: bool) -> Self {
        let ChunkKey { entry: key, slot } = key;
        match (chunk, slot) {
            (value, Some(slot)) => Self::SetInShard {
                shard: key,
                slot,
                value,
            },
            (Chunk::InShard(chunk), None) => Self::SetInShard {
                shard: key,
                slot: chunk.slot(),
                value: Chunk::InShard(chunk),
            },
            (Chunk::Written(bytes), None) => Self::SetWritten { key, bytes },
            (Chunk::Bytes(value), None) if repeats => Self::SetChunk { key, value },
            (Chunk::Bytes(value), None) => Self::Set { key, value },
        }
    }
}

/// A consistent view of the storage. It shows whole commits only, and all reads through one
/// snapshot see the same commits.
pub(crate) trait Snapshot {
    /// An entry, possibly not read yet; `None` if it is missing.
    fn entry(&self, key: &str) -> Result<Option<Entry<'_>>>;

    /// A chunk, possibly not read yet; `None` if it is missing.
    fn chunk(&self, key: &ChunkKey) -> Result<Option<Entry<'_>>> {
        match key.slot {
            None => self.entry(&key.entry),
            Some(_) => Err(no_shards()),
        }
    }

    /// The bytes of an entry; `None` if it is missing.
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.entry(key)?.map(Entry::into_bytes).transpose()
    }

    /// The bytes of a chunk; `None` if it is missing.
    fn get_chunk(&self, key: &ChunkKey) -> Result<Option<Bytes>> {
        self.chunk(key)?.map(Entry::into_bytes).transpose()
    }

    /// The metadata of the node at a path; `None` if there is none.
    fn document(&self, path: &str) -> Result<Option<Document>> {
        let bytes = self.get(&metadata_entry(path))?;
        bytes.map(|bytes| Document::parse(&bytes)).transpose()
    }

    /// The bytes of the tail of an array; empty if it has none.
    fn tail(&self, array: &str) -> Result<Vec<u8>>;
    /// The length of that tail in bytes, without reading it.
    fn tail_len(&self, array: &str) -> Result<u64>;
    /// The last `bytes` bytes of the tail of an array, or all of it if it is shorter.
    fn tail_end(&self, array: &str, bytes: u64) -> Result<Vec<u8>>;
    /// The paths of all arrays that have a tail.
    fn tails(&self) -> Result<Vec<String>>;
    /// The distinct names that follow `path/` in the keys of entries and have something below them,
    /// sorted: for `net` and the entry `net/v/zarr.json`, `v`. `""` is the root. Tails are not
    /// included.
    fn children(&self, path: &str) -> Result<Vec<String>>;

    /// The total size in bytes of the entries below a path, without metadata and tails. `""` is the
    /// root.
    fn bytes_below(&self, path: &str) -> Result<u64>;

    /// The recording that the snapshot shows, if it has an id and another recording may replace it
    /// while the storage is open.
    fn recording(&self) -> Option<&RecordingId> {
        None
    }
}

/// The bytes of an entry, which do not change while it exists.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Mapped(&'a [u8]),
    /// A part of a memory-mapped file.
    MappedFile(MappedBytes),
    Memory(Bytes),
    File(EntryFile),
}

/// An entry in a file, alone or among others.
#[derive(Debug)]
pub(crate) struct EntryFile {
    pub(crate) file: Arc<File>,
    /// The offset of the entry.
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) path: Arc<Path>,
}

impl EntryFile {
    /// Reads bytes from `offset` on to fill `out`.
    pub(crate) fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact_at(out, self.offset + offset as u64);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ends_early(&self.path),
            _ => Error::io("read", &self.path, error),
        })
    }
}

/// The error for a file that ends before its entry does.
pub(crate) fn ends_early(path: &Path) -> Error {
    let message = "the file ends before an entry that it should contain";
    Error::new(ErrorKind::Corrupt, "read", message).with_key(path.display().to_string())
}

impl Entry<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::File(file) => file.len,
            _ => self.in_memory().map_or(0, <[u8]>::len),
        }
    }

    /// All bytes, unless they have to be read from a file.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Mapped(bytes) => Some(bytes),
            Self::MappedFile(bytes) => Some(bytes),
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// All bytes. Those of a file are read into `buffer`.
    pub(crate) fn read<'b>(&'b self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        if let Self::File(file) = self {
            let bytes = room(buffer, file.len)?;
            file.read_at(0, bytes)?;
            return Ok(bytes);
        }
        Ok(self.in_memory().unwrap_or_default())
    }

    /// A part of the bytes. `range` is within them.
    pub(crate) fn part(&self, range: Range<usize>) -> Result<Bytes> {
        let mut part = Vec::new();
        match self {
            Self::File(file) => {
                let len = range.len();
                file.read_at(range.start, room(&mut part, len)?)?;
            }
            _ => part.extend_from_slice(&self.in_memory().unwrap_or_default()[range]),
        }
        Ok(part.into())
    }

    pub(crate) fn into_bytes(self) -> Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            other => other.part(0..other.len()),
        }
    }
}

/// A medium that stores entries and tails, with atomic and durable commits.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Calls `read` with a consistent snapshot, which ends with the call.
    ///
    /// It may call `read` again, with a newer snapshot, if a writer moved data that the first one
    /// shows: only the result of the last call is valid. `read` should be fast, must not wait for
    /// other threads, and must use storages only through the snapshot.
    fn read(&self, read: &mut dyn FnMut(&dyn Snapshot) -> Result<()>) -> Result<()>;

    /// Writes the bytes of an entry ahead of the commit that will set it, if that is better than
    /// passing them to the commit. Several threads call this at once, even during a commit.
    fn write_ahead(&self, key: &ChunkKey, bytes: Bytes) -> Result<Chunk> {
        let _ = key;
        Ok(Chunk::Bytes(bytes))
    }

    /// Applies all changes in order. When it returns, all of them are visible to every process and
    /// as durable as the storage's `Durability` says. If it fails, none is visible (but see
    /// [`Change::SetChunk`]). Fails with `ReadOnly` if opened read only.
    fn commit(&self, changes: Vec<Change>) -> Result<()>;

    /// Writes everything to where other software finds it, and leaves no journal.
    fn checkpoint(&self) -> Result<()>;

    /// Ends writing and releases the writer's lock. Reading still works; commits fail with
    /// `Closed`. Idempotent.
    fn close(&self) -> Result<()>;

    /// The id that the root group of a new recording must have, if the storage chose one.
    fn recording(&self) -> Option<&RecordingId> {
        None
    }

    /// The features that a reader of the recording must support beyond format 1: names for
    /// `requires`.
    fn required_features(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the chunks of series are stored in shards. Otherwise, a shard is an ordinary chunk.
    fn keeps_shards(&self) -> bool {
        false
    }

    /// Whether other recordings can take over its chunks unchanged.
    fn keeps_chunks_of_zarr_v3(&self) -> bool {
        true
    }

    /// Adds what the medium knows about the recording.
    fn add_info(&self, info: &mut RecordingInfo) -> Result<()>;

    /// Whether commits are refused.
    fn is_read_only(&self) -> bool;
}

/// The error of a storage without shards that is asked for a chunk in a shard.
pub(crate) fn no_shards() -> Error {
    let message = "the storage keeps no shards";
    Error::new(ErrorKind::Internal, "read", message)
}
