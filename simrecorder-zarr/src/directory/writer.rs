//! The writer of a recording: commits and checkpoints.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use simrecorder_core::backend::{Position, WriterLock, check_not_deleted, deleted};
use simrecorder_core::{Durability, Error, ErrorKind, OpenMode, Result};

use super::disk::{Disk, JournalWriter, UnfinishedWrite};
use super::follower::{self, LoadedJournal};
use super::location::{Content, Plan, check_beside};
use super::overlay::{Entry, Lookup, Overlay, is_below};
use super::owner::{Owner, journal_of_another};
use super::paths::{Paths, ROOT_METADATA};
use super::published::Published;
use super::shards::Shards;
use super::view::read_entry;
use crate::format::metadata::Document;
use crate::format::recording_id::RecordingId;
use crate::format::shards::ShardIndex;
use crate::journal::{self, Record};

/// The thresholds of the storage. Tests make them small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Smaller chunks are written to the journal.
    pub(super) small_chunk: usize,
    /// A longer journal is rewritten if more than half of it is no longer needed.
    pub(super) journal: u64,
    /// The maximum memory of the overlay.
    pub(super) held: u64,
    /// The maximum time that entries stay in the journal alone, where other software does not see
    /// them. It is longer if applying them to the files would take more than a twentieth of the
    /// time.
    pub(super) settle_after: Duration,
    /// From this number of files, the whole file system is synced at once.
    pub(super) many_files: usize,
    /// The number of bytes that a checkpoint reads into memory at a time.
    pub(super) batch: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            small_chunk: 4 << 10,
            journal: 64 << 20,
            held: 24 << 20,
            settle_after: Duration::from_secs(10),
            many_files: 32,
            batch: 8 << 20,
        }
    }
}

/// Changes a recording, and holds its lock.
pub(super) struct Writer {
    pub(super) disk: Arc<Disk>,
    pub(super) shards: Arc<Shards>,
    /// The recording that new journals name.
    pub(super) recording: Option<RecordingId>,
    journal: Option<Journal>,
    pub(super) limits: Limits,
    /// Why the state that a commit would add to is unknown.
    broken: Option<Error>,
    /// Whether readers may have seen a record that was cut off again. Then the journal must be
    /// replaced before it grows: readers could not distinguish another record of the same length.
    pub(super) taken_back: bool,
    /// The memory of the overlay after the last checkpoint. All of it is tails.
    held_after: u64,
    /// After a checkpoint failed inside a commit: the length of the journal at which it is tried
    /// again.
    retry_from: u64,
    /// When entries were last applied to the files, and how long that took.
    settled: Instant,
    settling_took: Duration,
    _lock: WriterLock,
}

struct Journal {
    file: Arc<File>,
    position: Position,
}

impl Writer {
    /// Opens or creates a recording. Returns the contents of its journal.
    pub(super) fn open(
        paths: &Paths,
        mode: OpenMode,
        durability: Durability,
        limits: Limits,
    ) -> Result<(Self, Overlay)> {
        // Before the lock: a refusal must not leave a lock file, even for a moment.
        check_beside(paths, &Content::of(paths)?.plan(mode, paths)?)?;
        let lock = WriterLock::acquire(&paths.lock, &paths.root)?.temporary();
        let plan = Content::of(paths)?.plan(mode, paths)?;
        let disk = Arc::new(Disk::new(paths.clone(), durability, limits.many_files));
        let mut writer = Self {
            shards: Arc::new(Shards::new(Arc::clone(&disk))),
            disk,
            recording: None,
            journal: None,
            limits,
            broken: None,
            taken_back: false,
            held_after: 0,
            retry_from: 0,
            settled: Instant::now(),
            settling_took: Duration::ZERO,
            _lock: lock,
        };
        let overlay = match plan {
            Plan::Continue => writer.recover()?,
            Plan::Create { replace } => writer.create(replace)?,
        };
        Ok((writer, overlay))
    }

    /// Creates an empty recording.
    fn create(&mut self, replace: bool) -> Result<Overlay> {
        self.disk.remove_staging()?;
        self.recording = Some(RecordingId::random());
        if replace {
            self.disk.discard_root()?;
        }
        self.disk
            .remove_journal()
            .map_err(|unfinished| unfinished.error)?;
        self.disk.make_root()?;
        let overlay = self
            .replace_journal(&mut |_| Ok(()))
            .map_err(|unfinished| unfinished.error)?;
        if replace {
            self.disk.remove_staging()?;
        }
        Ok(overlay)
    }

    /// Reads the journal of an existing recording and cuts off an incomplete end.
    fn recover(&mut self) -> Result<Overlay> {
        let loaded = follower::load(&self.disk.paths, true)?;
        let named = loaded.as_ref().and_then(|it| it.overlay.recording());
        let metadata = read_entry(&self.disk.paths, "open", ROOT_METADATA)?;
        let owner = metadata.as_deref().map_or(Owner::Missing, Owner::of);
        if !owner.may_have_journal_of(named) {
            return Err(journal_of_another(&self.disk.paths));
        }
        self.recording = named.or(owner.id()).cloned();
        self.disk.remove_staging()?;
        let overlay = match loaded {
            Some(loaded) => self.take_over(loaded)?,
            None => Overlay::default(),
        };
        // A journal that names no recording but contains metadata for the root would hide the id.
        if self.recording.is_none() && !overlay.covers(ROOT_METADATA) {
            self.recording = self.give_id(metadata)?;
        }
        Ok(overlay)
    }

    /// Gives the root an id, unless its metadata must not be changed.
    ///
    /// This happens before any journal names the id: a kill leaves the directory either unchanged
    /// or with an id.
    fn give_id(&self, metadata: Option<Bytes>) -> Result<Option<RecordingId>> {
        let id = RecordingId::random();
        let Some(metadata) = metadata else {
            // The first commit writes it.
            return Ok(Some(id));
        };
        // Opening the recording reports what is wrong with its metadata.
        let Ok(mut root) = Document::parse(&metadata) else {
            return Ok(None);
        };
        if !root.set_recording_id(&id) {
            return Ok(None);
        }
        let root = root.to_bytes().into();
        self.disk.put(&[(ROOT_METADATA, vec![root])])?;
        Ok(Some(id))
    }

    fn take_over(&mut self, loaded: LoadedJournal) -> Result<Overlay> {
        let end = loaded.position.offset;
        let torn = loaded.metadata.len().saturating_sub(end);
        if torn > 0 {
            let path = self.disk.paths.journal.display();
            tracing::warn!(%path, bytes = torn, "the journal is incomplete: everything after its last complete commit is discarded");
            self.disk.cut(&loaded.file, end)?;
        }
        self.journal = Some(Journal {
            file: loaded.file,
            position: loaded.position,
        });
        // The previous writer may have withdrawn a record and been killed before it replaced the
        // journal.
        self.taken_back = true;
        Ok(loaded.overlay)
    }

    /// After a commit: fails if the recording was deleted, because nobody would find what was
    /// written.
    pub(super) fn check_not_deleted(&self) -> Result<()> {
        let root = &self.disk.paths.root;
        if !root.exists() {
            return Err(deleted(root));
        }
        let journal = self.journal.iter().map(|journal| &*journal.file);
        check_not_deleted(root, &journal.collect::<Vec<_>>())
    }

    pub(super) fn check_unbroken(&self) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(cause) => {
                let message = "an earlier failure left the journal in an unknown state; \
                               open the recording again to continue";
                Err(Error::new(cause.kind(), "commit", message)
                    .with_key(self.disk.paths.root.display().to_string())
                    .with_source(cause.clone()))
            }
        }
    }

    /// Makes a record durable, then visible.
    pub(super) fn append(&mut self, published: &Published, record: Record) -> Result<()> {
        let Some(journal) = &mut self.journal else {
            let mut record = Some(record);
            let overlay = self
                .replace_journal(&mut |writer| record.take().map_or(Ok(()), |it| writer.write(it)))
                .map_err(|unfinished| self.note(unfinished))?;
            published.publish(overlay);
            return Ok(());
        };
        let sealed = record.seal(journal.position);
        if let Err(unfinished) = self.disk.append(&journal.file, &sealed) {
            self.taken_back |= unfinished.unsure;
            if let Err(undo) = self.disk.cut(&journal.file, sealed.start) {
                tracing::error!(error = %undo, "the journal could not be truncated");
                self.broken = Some(unfinished.error.clone());
            }
            return Err(unfinished.error);
        }
        journal.position = sealed.end;
        let ops = journal::ops(&sealed)?;
        published.change(|overlay| Arc::make_mut(overlay).apply(&ops));
        Ok(())
    }

    /// Replaces the journal and returns the overlay of the new one.
    fn replace_journal(
        &mut self,
        fill: &mut dyn FnMut(&mut JournalWriter<'_>) -> Result<()>,
    ) -> Result<Overlay, UnfinishedWrite> {
        self.disk.replace_journal(self.recording.as_ref(), fill)?;
        // Read it back, so that there is only one way to apply a journal.
        let loaded = follower::load(&self.disk.paths, true)
            .and_then(|loaded| loaded.ok_or_else(|| self.lost_journal()))
            .map_err(|error| UnfinishedWrite {
                error,
                unsure: true,
            })?;
        self.journal = Some(Journal {
            file: loaded.file,
            position: loaded.position,
        });
        self.taken_back = false;
        Ok(loaded.overlay)
    }

    fn lost_journal(&self) -> Error {
        let message = "the journal disappeared while it was written";
        Error::new(ErrorKind::Io, "write", message)
            .with_key(self.disk.paths.journal.display().to_string())
    }

    fn note(&mut self, unfinished: UnfinishedWrite) -> Error {
        if unfinished.unsure {
            self.broken = Some(unfinished.error.clone());
        }
        unfinished.error
    }

    fn is_settling_due(&self, overlay: &Overlay) -> bool {
        let length = self.journal.as_ref().map_or(0, |it| it.position.offset);
        let tails = overlay.tail_bytes();
        // Each bound grows with what a checkpoint cannot remove, so that its cost stays
        // proportional to what was written since the last one.
        let garbage = length > self.limits.journal && tails < length / 2;
        let bound = self.limits.held.max(2 * self.held_after);
        let pause = self.limits.settle_after.max(20 * self.settling_took);
        let hidden = overlay.has_entries() && self.settled.elapsed() >= pause;
        length >= self.retry_from && (garbage || hidden || overlay.held() > bound)
    }

    /// Keeps the journal and the overlay small.
    pub(super) fn settle_if_due(&mut self, published: &Published) {
        if !self.is_settling_due(&published.current()) {
            return;
        }
        // The previous commit is durable, whatever the result of this.
        let start = Instant::now();
        let settled = self.settle(published);
        self.settled = Instant::now();
        self.settling_took = start.elapsed();
        if let Err(error) = settled {
            tracing::warn!(%error, "the journal could not be applied to the files");
            let length = self.journal.as_ref().map_or(0, |it| it.position.offset);
            self.retry_from = length + self.limits.journal / 4;
        }
    }

    /// Does the last work of a writer. Anything uncertain is left to the next writer.
    pub(super) fn finish(&mut self, published: &Published) -> Result<()> {
        if self.broken.is_some() {
            return Ok(());
        }
        let settled = self.settle(published);
        // A failed commit may have left some.
        self.shards.close(|_| true);
        settled.and_then(|()| self.disk.remove_staging())
    }

    /// Applies the overlay to the files, and leaves a journal with the tails alone, or no journal.
    pub(super) fn settle(&mut self, published: &Published) -> Result<()> {
        self.check_unbroken()?;
        let overlay = published.current();
        if overlay.has_entries() {
            published.next_epoch();
            self.apply_to_files(&overlay)?;
        }
        if overlay.has_tails() {
            self.keep_tails(published, &overlay)?;
        } else if self.journal.is_some() && !self.disk.paths.entry(ROOT_METADATA).is_file() {
            // Without metadata at its root, only the journal identifies it as a recording.
            let empty = self
                .replace_journal(&mut |_| Ok(()))
                .map_err(|unfinished| self.note(unfinished))?;
            published.publish(empty);
        } else if self.journal.is_some() {
            self.disk
                .remove_journal()
                .map_err(|unfinished| self.note(unfinished))?;
            self.journal = None;
            self.taken_back = false;
            published.publish(Overlay::default());
        }
        self.held_after = published.current().held();
        self.retry_from = 0;
        // Now nothing refers to the replaced chunks.
        self.shards.free(&shard_indices(&overlay));
        self.shards.remove_staging()
    }

    fn apply_to_files(&self, overlay: &Overlay) -> Result<()> {
        let journal = &self.disk.paths.journal;
        let mut touched = BTreeSet::new();
        self.renew_root_metadata(overlay, &mut touched)?;
        for path in overlay.erased() {
            self.shards.close(|shard| is_below(shard, path));
            if path.is_empty() {
                self.disk.remove_all_but(ROOT_METADATA, &mut touched)?;
            } else {
                self.disk.remove_below(path, &mut touched)?;
            }
        }
        for (key, entry) in overlay.entries() {
            if !entry.is_there() && &**key != ROOT_METADATA {
                self.shards.close(|shard| shard == &**key);
                self.disk.remove(key, &mut touched)?;
            }
        }
        self.disk.sync_directories(&touched)?;
        // Before the metadata that refers to the chunks.
        self.shards.write_indices(&shard_indices(overlay))?;

        let mut batch = Vec::new();
        let mut size = 0;
        for (key, entry) in overlay.entries() {
            let Entry::Set(blob) = entry else { continue };
            if &**key == ROOT_METADATA {
                continue;
            }
            batch.push((&**key, vec![overlay.load(blob, journal)?]));
            size += blob.length();
            if size >= self.limits.batch || batch.len() >= 4096 {
                self.disk.put(&batch)?;
                batch.clear();
                size = 0;
            }
        }
        self.disk.put(&batch)
    }

    /// Replaces the file with the metadata of the root, so that readers notice.
    fn renew_root_metadata(
        &self,
        overlay: &Overlay,
        touched: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let value = match overlay.lookup(ROOT_METADATA) {
            Lookup::Set(blob) => Some(overlay.load(blob, &self.disk.paths.journal)?),
            Lookup::Erased => {
                self.disk.remove(ROOT_METADATA, touched)?;
                None
            }
            Lookup::File | Lookup::Shard(_) => read_entry(&self.disk.paths, "read", ROOT_METADATA)?,
        };
        value.map_or(Ok(()), |value| {
            self.disk.put(&[(ROOT_METADATA, vec![value])])
        })
    }

    fn keep_tails(&mut self, published: &Published, overlay: &Overlay) -> Result<()> {
        let path = self.disk.paths.journal.clone();
        let batch = usize::try_from(self.limits.batch).unwrap_or(usize::MAX);
        let kept = self
            .replace_journal(&mut |writer| {
                let mut record = Record::default();
                for array in overlay.tails() {
                    record.append_tail(array, &overlay.tail(array, u64::MAX, &path)?);
                    if record.len() >= batch {
                        writer.write(std::mem::take(&mut record))?;
                    }
                }
                if record.is_empty() {
                    Ok(())
                } else {
                    writer.write(record)
                }
            })
            .map_err(|unfinished| self.note(unfinished))?;
        published.publish(kept);
        Ok(())
    }
}

/// The indices of all shards that have chunks.
fn shard_indices(overlay: &Overlay) -> Vec<(&str, Arc<ShardIndex>)> {
    let indices = overlay.entries().filter_map(|(key, entry)| match entry {
        Entry::Shard(index) if !index.is_empty() => Some((&**key, Arc::clone(index))),
        _ => None,
    });
    indices.collect()
}
