//! A directory as the storage of a recording.
//!
//! Each entry is a file at its key, so that any Zarr V3 software reads the recording. What a
//! commit changes besides is in one file next to the recording, the journal
//! ([`crate::journal`]), until a checkpoint brings it to the files.
//!
//! # Writing
//!
//! The content of a recording is its files with the journal applied on top: an [`Overlay`](overlay::Overlay).
//!
//! A *commit* first writes its chunks as files (temporary name, sync, rename, sync of the
//! directories), then appends one record with all the rest to the journal and syncs it. Chunks
//! may show early, so the record alone decides, and its checksum makes it atomic. A chunk goes
//! to the journal as well if it is small, or if the overlay already says something about its
//! key or erased a path above it. So a file is only written directly where the overlay is
//! silent: nothing in the journal can hide or erase it, now or in a replay.
//!
//! A chunk of a series is mostly not a file: it is appended to a shard ([`shards`]), ahead of the
//! commit if it is large. The commit syncs the shard, and the record says where the chunk is. If an
//! erased path hides the shard, a checkpoint comes first.
//!
//! A *checkpoint* applies the overlay to the files in this order:
//!
//! 1. The metadata of the root becomes a new file, changed or not: the signal for readers.
//! 2. Erased paths and erased entries are removed, the indices of shards are brought up to date, then
//!    the other entries are written.
//! 3. Files and directories are synced, and the journal is replaced by one with the tails
//!    alone, or removed if there are none. This switch is a single rename or removal.
//!
//! A kill before the switch leaves the whole journal over files that hold a part of it already.
//! Applying it again gives the same content, since it names the final state of each key. After
//! the switch the files hold all of it. A removal is synced before the next commit: if the old
//! journal came back after a power failure, it would hide newer files.
//!
//! The same happens inside a commit when the journal or the overlay has grown too large.
//!
//! A recording is created with an empty journal, so that a directory with a few chunks and no
//! metadata, left by a kill in the first commit, is known as a recording. A journal without a
//! directory belongs to a recording that was deleted, and counts for nothing.
//!
//! If something else takes the place of that recording, the journal must not change it. So a
//! recording has a random id, which its root and its journal name ([`owner`]). The root of a new
//! recording gets the id that its first journal names. The root of other software gets one, as a
//! file, before there is a journal that names it.
//!
//! # Reading in the process of the writer
//!
//! All handles share the writer's overlay. A snapshot keeps the overlay it started with; a
//! commit makes a new one beside it, so neither waits for the other, nor for a sync. Chunks
//! apart, only a checkpoint changes files. So a reader notes how many checkpoints have begun,
//! then takes the overlay, then reads, then looks whether another one has begun; if so, it
//! starts again. Why it is enough:
//!
//! - A checkpoint that begins after the number was noted counts itself before it changes a
//!   file. So if the number is the same, no file was changed by it.
//! - A checkpoint that had begun before: no commit comes between its begin and its end, so the
//!   overlay is the one it applies, which hides every file that it changes, or the one it
//!   leaves, and then the files are complete. If it failed, later overlays hold what it applied,
//!   and more.
//! - Bytes of a shard that the index of a snapshot names change only after a checkpoint that began
//!   later: it frees what no index names any more.
//! - What a snapshot located in a journal stays readable after the switch, since the overlay
//!   holds the file open.
//!
//! # Reading in another process
//!
//! It is the same with another sign. A reader notes the state of the files: the inodes of the
//! root and of its metadata, kept open so that the numbers are not used again. Then it loads
//! the journal, or the new part of it. A checkpoint that begins later replaces the root's
//! metadata before any other file, and the state no longer holds. One that had begun before has
//! passed this step, and what was said above applies to its journal, or to the one it left.
//!
//! This needs metadata at the root, which a recording has from its first commit on.
//!
//! The journal is followed by its inode and length. A record that is not whole is being
//! written, or is the rest of a kill: it is left for later. A record that the writer took back
//! because its sync failed breaks the chain of checksums; the journal is then read again. One of
//! the same length in its place would not show. So the journal is replaced before the commit
//! after that one, and before the first commit of a writer that finds a journal: the writer before
//! it may have been killed in between.

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

/// How often a reader starts again when a writer keeps changing the files below it.
const READ_ATTEMPTS: u32 = 32;

/// The recordings that this process writes.
static WRITTEN_HERE: PerProcess<Mutex<BTreeMap<PathBuf, Weak<Shared>>>> =
    PerProcess::new(Mutex::default);

/// A recording in a directory.
pub(crate) struct DirectoryStorage {
    shared: Arc<Shared>,
    read_only: bool,
}

/// What all handles of a recording in the writer's process share; a reader of another process'
/// recording has one of its own.
struct Shared {
    paths: Paths,
    /// The recording that this process writes.
    recording: Option<RecordingId>,
    writer: Mutex<State>,
    published: Published,
    follower: Mutex<Follower>,
    /// What the writer appends to.
    written_shards: Option<Arc<Shards>>,
    /// What readers have open.
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

    /// Reads a recording as another process would.
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
        // Without permission to read the lock, it is not known.
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
        // Without a checkpoint: nothing is lost without it, and dropping must not take long.
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
            // An error may come from the mixture as well.
            if holds {
                return result;
            }
            std::thread::sleep(Duration::from_millis(attempt.into()));
        }
        let message =
            format!("a writer changed the files in each of {READ_ATTEMPTS} attempts; try again");
        Err(paths.refuse(ErrorKind::Io, message).with_operation("read"))
    }

    /// Ends writing: from now on this process is a reader like any other.
    fn release(&self, state: &mut State) {
        if !matches!(state, State::Writer(_)) {
            return;
        }
        // Before the lock is given up, since another process may change the files then.
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
        // Empty unless a write was cut short; a writer to come removes it in any case.
        let _ = fs::remove_dir(&self.paths.staging);
        *state = State::Closed;
    }
}
