//! A directory as the storage of a recording.
//!
//! Each entry is a file at its key, so any Zarr V3 software can read the recording. All other
//! changes of a commit are in one file next to the recording, the journal ([`crate::journal`]),
//! until a checkpoint applies them to the files.
//!
//! # Writing
//!
//! The contents of a recording are its files with the journal applied on top: an
//! [`Overlay`](overlay::Overlay).
//!
//! A *commit* first writes its chunks as files (temporary name, sync, rename, sync of the
//! directories). It then appends one record with all other changes to the journal and syncs it.
//! Chunks may be visible early, so only the record makes the commit valid, and the checksum of the
//! record makes it atomic. A chunk is also written to the journal if it is small, or if the overlay
//! covers its key or has erased a path above it. So a file is only written directly if the overlay
//! does not cover it: nothing in the journal can hide or erase it, now or in a replay.
//!
//! Most chunks of series are not files: the writer appends them to a shard ([`shards`]), ahead of
//! the commit if they are large. The commit syncs the shard, and the record contains the places of
//! the chunks. If an erased path hides the shard, a checkpoint is made first.
//!
//! A *checkpoint* applies the overlay to the files in this order:
//!
//! 1. The metadata of the root becomes a new file, even if it is unchanged. This is the signal for
//!    readers.
//! 2. Erased paths and erased entries are removed, the indices of shards are updated, then the
//!    other entries are written.
//! 3. Files and directories are synced, and the journal is replaced by one with the tails alone, or
//!    removed if there are no tails. This switch is a single rename or removal.
//!
//! After a kill before the switch, the whole journal remains, and the files already contain a part
//! of it. Applying it again gives the same contents, because it contains the final state of each
//! key. After the switch, the files contain everything. A removal is synced before the next commit:
//! if the old journal reappeared after a power failure, it would hide newer files.
//!
//! A commit does the same when the journal or the overlay has become too large.
//!
//! A recording is created with an empty journal. So a directory with a few chunks and no metadata,
//! which a kill during the first commit leaves, is recognised as a recording. A journal without a
//! directory belongs to a deleted recording and is ignored.
//!
//! If something else replaces that recording, the journal must not change it. So a recording has a
//! random id, which its root and its journal contain ([`owner`]). The root of a new recording gets
//! the id of its first journal. The root of a hierarchy of other software gets an id, as a file,
//! before any journal contains it.
//!
//! # Reading in the process of the writer
//!
//! All handles share the writer's overlay. A snapshot keeps the overlay that it started with, and a
//! commit creates a new one, so neither waits for the other or for a sync. Except for chunks, only
//! a checkpoint changes files. So a reader notes how many checkpoints have begun, takes the
//! overlay, reads, and checks whether another checkpoint has begun. If so, it starts again. This is
//! sufficient:
//!
//! - A checkpoint that begins after the reader noted the number increments it before it changes a
//!   file. So if the number is the same, this checkpoint changed no file.
//! - If a checkpoint had begun before, no commit comes between its beginning and its end. The
//!   reader's overlay is either the one that the checkpoint applies, which hides every file that it
//!   changes, or the one that it leaves, and then the files are complete. If the checkpoint failed,
//!   later overlays contain everything that it applied.
//! - The bytes of a shard that the index of a snapshot names change only after a checkpoint that
//!   began later: it frees what no index names any more.
//! - Anything in a journal that a snapshot refers to stays readable after the switch, because the
//!   overlay keeps the file open.
//!
//! # Reading in another process
//!
//! The argument is the same with another signal. A reader notes the state of the files: the inodes
//! of the root and of its metadata, which it keeps open so that the numbers are not reused. Then it
//! loads the journal, or the new part of it. A checkpoint that begins later replaces the root's
//! metadata before any other file, and the state no longer holds. A checkpoint that had begun
//! before is past this step, and the argument above applies to its journal, or to the one that it
//! left.
//!
//! This requires metadata at the root, which a recording has from its first commit on.
//!
//! The reader follows the journal by its inode and length. An incomplete record is either being
//! written or was left by a kill, and the reader skips it until later. If the writer withdraws a
//! record because its sync failed, the next record breaks the chain of checksums, and the reader
//! reads the journal again. It would not notice another record of the same length in the same
//! place. So the journal is replaced before the commit after the withdrawn one, and before the
//! first commit of a writer that finds a journal: the previous writer may have been killed in
//! between.

mod commit;
#[cfg(test)]
mod crash_tests;
mod disk;
mod follower;
mod location;
#[cfg(test)]
mod location_tests;
#[cfg(test)]
mod model_tests;
mod overlay;
mod owner;
mod paths;
#[cfg(test)]
mod process_tests;
mod published;
mod shard_cache;
#[cfg(test)]
mod shard_tests;
mod shards;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use simrecorder_core::backend::errors::{closed, read_only};
use simrecorder_core::backend::fork::PerProcess;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{disk_usage, is_locked};
use simrecorder_core::{Durability, Error, ErrorKind, OpenMode, RecordingInfo, Result};

use crate::format::recording_id::RecordingId;
use crate::storage::{Change, Chunk, ChunkKey, Snapshot, Storage};
use follower::Follower;
use location::{Content, resolve};
use paths::Paths;
use published::Published;
use shard_cache::{CachedShards, Stamp};
pub(crate) use shards::ShardChunk;
use shards::Shards;
use view::View;
use writer::{Limits, Writer};

/// How often a reader starts again when a writer keeps changing the files.
const READ_ATTEMPTS: u32 = 32;

/// The recordings that this process writes.
static WRITTEN_HERE: PerProcess<Mutex<BTreeMap<PathBuf, Weak<Shared>>>> =
    PerProcess::new(Mutex::default);

/// A recording in a directory.
pub(crate) struct DirectoryStorage {
    shared: Arc<Shared>,
    read_only: bool,
}

/// What all handles of a recording share in the writer's process. A reader of another process'
/// recording has its own.
struct Shared {
    paths: Paths,
    /// The recording that this process writes.
    recording: Option<RecordingId>,
    writer: Mutex<State>,
    published: Published,
    follower: Mutex<Follower>,
    /// The shards that the writer appends to.
    written_shards: Option<Arc<Shards>>,
    /// The shards that readers have open.
    shards: CachedShards,
}

enum State {
    Reader,
    Writer(Box<Writer>),
    Closed,
}

impl DirectoryStorage {
    /// Opens the recording at `path`.
    pub(crate) fn open(path: &Path, mode: OpenMode, durability: Durability) -> Result<Self> {
        Self::open_with(path, mode, durability, Limits::default())
    }

    fn open_with(
        path: &Path,
        mode: OpenMode,
        durability: Durability,
        limits: Limits,
    ) -> Result<Self> {
        let paths = resolve(path, mode, durability)?;
        let opened = if mode.is_writable() {
            Self::write(paths, mode, durability, limits)
        } else {
            Self::read_shared(paths)
        };
        opened.map_err(|error| error.with_operation("open"))
    }

    fn read_shared(paths: Paths) -> Result<Self> {
        let written_here = WRITTEN_HERE
            .get()
            .lock()
            .get(&paths.root)
            .and_then(Weak::upgrade);
        match written_here {
            Some(shared) if shared.published.overlay().is_some() => Ok(Self {
                shared,
                read_only: true,
            }),
            _ => Self::follow(paths),
        }
    }

    /// Opens a recording for reading, as another process would.
    fn follow(paths: Paths) -> Result<Self> {
        if !Content::of(&paths)?.is_recording() {
            let message = "this directory is not a Zarr recording";
            return Err(paths.refuse(ErrorKind::NotFound, message));
        }
        let mut follower = Follower::default();
        follower.refresh(&paths)?;
        let shared = Shared {
            paths,
            recording: None,
            writer: Mutex::new(State::Reader),
            published: Published::default(),
            follower: Mutex::new(follower),
            written_shards: None,
            shards: CachedShards::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            read_only: true,
        })
    }

    fn write(paths: Paths, mode: OpenMode, durability: Durability, limits: Limits) -> Result<Self> {
        let (writer, overlay) = Writer::open(&paths, mode, durability, limits)?;
        let root = paths.root.clone();
        let shared = Arc::new(Shared {
            paths,
            recording: writer.recording.clone(),
            written_shards: Some(Arc::clone(&writer.shards)),
            writer: Mutex::new(State::Writer(Box::new(writer))),
            published: Published::new(overlay),
            follower: Mutex::default(),
            shards: CachedShards::default(),
        });
        WRITTEN_HERE
            .get()
            .lock()
            .insert(root, Arc::downgrade(&shared));
        Ok(Self {
            shared,
            read_only: false,
        })
    }

    fn with_writer<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Published, &mut Writer) -> Result<T>,
    ) -> Result<T> {
        if self.read_only {
            return Err(read_only(operation));
        }
        match &mut *self.shared.writer.lock() {
            State::Writer(writer) => work(&self.shared.published, writer),
            State::Reader | State::Closed => Err(closed(operation, "store")),
        }
        .map_err(|error| error.with_operation(operation))
    }
}

impl Storage for DirectoryStorage {
    fn read(&self, read: &mut dyn FnMut(&dyn Snapshot) -> Result<()>) -> Result<()> {
        self.shared.read(read)
    }

    fn write_ahead(&self, key: &ChunkKey, bytes: Bytes) -> Result<Chunk> {
        let written = key.slot.and_then(|slot| {
            let shards = self.shared.written_shards.as_ref()?;
            let hides = self.shared.published.current().hides_shard(&key.entry);
            match hides || self.read_only {
                true => None,
                false => shards.write_ahead(&key.entry, slot, &bytes),
            }
        });
        Ok(match written {
            Some(chunk) => Chunk::InShard(Arc::new(chunk)),
            None => Chunk::Bytes(bytes),
        })
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.with_writer("commit", |published, writer| {
            writer.commit(published, &changes)?;
            drop(changes);
            writer.settle_if_due(published);
            Ok(())
        })
    }

    fn checkpoint(&self) -> Result<()> {
        self.with_writer("checkpoint", |published, writer| writer.settle(published))
    }

    fn close(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        let mut state = self.shared.writer.lock();
        let State::Writer(writer) = &mut *state else {
            return Ok(());
        };
        let result = writer.finish(&self.shared.published);
        self.shared.release(&mut state);
        result.map_err(|error| error.with_operation("close"))
    }

    fn recording(&self) -> Option<&RecordingId> {
        self.shared.recording.as_ref()
    }

    fn add_info(&self, info: &mut RecordingInfo) -> Result<()> {
        let paths = &self.shared.paths;
        let journal = disk_usage(&paths.journal)?;
        "Zarr V3 in a directory".clone_into(&mut info.format);
        info.journal_bytes = Some(journal);
        info.bytes = Some(disk_usage(&paths.root)? + journal);
        // Without permission to read the lock, the answer is unknown.
        info.is_being_written = is_locked(&paths.lock).ok();
        Ok(())
    }

    fn keeps_shards(&self) -> bool {
        true
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }
}

impl Drop for DirectoryStorage {
    fn drop(&mut self) {
        // Without a checkpoint: nothing is lost without it, and dropping must be fast.
        if !self.read_only {
            self.shared.release(&mut self.shared.writer.lock());
        }
    }
}

impl fmt::Debug for DirectoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryStorage")
            .field("path", &self.shared.paths.root)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn read(&self, read: &mut dyn FnMut(&dyn Snapshot) -> Result<()>) -> Result<()> {
        let paths = &self.paths;
        for attempt in 0..READ_ATTEMPTS {
            let epoch = self.published.epoch();
            let overlay = self.published.overlay();
            let (result, holds) = if let Some(overlay) = &overlay {
                let recording = self.recording.as_ref();
                let result = read(&View {
                    overlay,
                    shards: self.shards.at(Stamp::Epoch(epoch)),
                    paths,
                    recording,
                });
                (result, self.published.epoch() == epoch)
            } else {
                let (overlay, state) = self.follower.lock().refresh(paths)?;
                let overlay = &*overlay;
                let recording = state.recording().or(overlay.recording());
                let result = read(&View {
                    overlay,
                    shards: self.shards.at(Stamp::Followed(state.number())),
                    paths,
                    recording,
                });
                let holds = state.holds(paths);
                (
                    result,
                    holds.map_err(|error| Error::io("read", &paths.root, error))?,
                )
            };
            // A mixture of two states may also cause an error.
            if holds {
                return result;
            }
            std::thread::sleep(Duration::from_millis(attempt.into()));
        }
        let message = format!(
            "a writer changed the files during each of {READ_ATTEMPTS} attempts to read them; try again"
        );
        Err(paths.refuse(ErrorKind::Io, message).with_operation("read"))
    }

    /// Ends writing: from now on, this process reads the recording like any other process.
    fn release(&self, state: &mut State) {
        if !matches!(state, State::Writer(_)) {
            return;
        }
        // Before the lock is released, because another process may then change the files.
        self.written_shards.iter().for_each(|shards| shards.end());
        self.published.end();
        self.shards.clear();
        let mut written_here = WRITTEN_HERE.get().lock();
        if written_here
            .get(&self.paths.root)
            .is_some_and(|it| std::ptr::eq(it.as_ptr(), self))
        {
            written_here.remove(&self.paths.root);
        }
        drop(written_here);
        // Empty unless a write was interrupted. In that case, the next writer removes it.
        let _ = fs::remove_dir(&self.paths.staging);
        *state = State::Closed;
    }
}
