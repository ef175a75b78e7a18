//! The Zarr store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simrecorder_core::backend::columns::{ColumnFormat, PlannedFormats, SeriesCache, prepare};
use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{Encoded, EncodedChange, EncodedStore, StoredForm};
use simrecorder_core::{
    Batch, Child, Commit, DataStore, Error, ErrorKind, Key, Kind, Node, NodeKind, OpenMode,
    Prepared, RecordingInfo, Result, Schema, expand_home,
};

use crate::columns::changes::write_ahead;
use crate::columns::encoded::{EncodedColumns, SeriesEncoding, fits};
use crate::columns::reading::get;
use crate::directory::DirectoryStorage;
use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::{Document, corrupt};
use crate::format::node_path::{child_key, metadata_entry, node_path};
use crate::lmdb::{LmdbOptions, LmdbStorage};
use crate::options::{ZarrOptions, ZarrStorage};
use crate::recording::Recording;
use crate::recording::commit::CommitBuilder;
use crate::recording::documents::document_at;
use crate::storage::{Snapshot, Storage};
use crate::zarr_v2::{self, ZarrV2Storage, is_zarr_v2};

/// Stores a recording as Zarr V3, in LMDB or in a directory.
///
/// It also reads Zarr V2, as zarr-python 2 wrote it: a directory, or an LMDB database in a folder or in a
/// single file.
///
/// A clone is a handle on the same open recording. While a recorder writes, other handles and other
/// processes can read. There is one writer at a time.
///
/// | constructor | the recording | opened for |
/// |---|---|---|
/// | [`create`](Self::create) | must not exist | writing |
/// | [`open`](Self::open) | must exist | reading |
/// | [`append`](Self::append) | must exist | writing |
/// | [`new`](Self::new) | may exist | reading if it exists, otherwise writing |
/// | [`options`](Self::options) | as set | as set |
///
/// ```
/// use simrecorder_core::{Recorder, prelude::*};
/// use simrecorder_zarr::ZarrDataStore;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// let recorder = Recorder::new(ZarrDataStore::create(&path)?);
/// recorder.record("net/v", [1.0, 2.0])?;
/// recorder.close()?;
///
/// let recorder = Recorder::new(ZarrDataStore::open(&path)?);
/// assert_eq!(recorder.get_all("net/v")?.shape(), [1, 2]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ZarrDataStore {
    recording: Arc<ProcessLocal<Recording>>,
}

impl ZarrDataStore {
    /// Creates a recording in LMDB at `path`, a folder that does not exist yet or is empty.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; otherwise see [`ZarrOptions::open`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::CreateNew).open(path)
    }

    /// Opens a recording in LMDB for reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; otherwise see [`ZarrOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Read).open(path)
    }

    /// Opens a recording in LMDB for appending to it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; otherwise see [`ZarrOptions::open`].
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Append).open(path)
    }

    /// Opens the recording in LMDB at `path` for reading if it exists, and creates it otherwise.
    ///
    /// # Errors
    /// See [`ZarrOptions::open`].
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        match Self::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            result => result,
        }
    }

    /// Options for everything else.
    pub fn options() -> ZarrOptions {
        ZarrOptions::default()
    }

    pub(crate) fn open_with(path: &Path, options: ZarrOptions) -> Result<Self> {
        let storage: Box<dyn Storage> = match options.storage {
            ZarrStorage::Directory => Box::new(DirectoryStorage::open(
                path,
                options.mode,
                options.durability,
            )?),
            ZarrStorage::Lmdb => {
                let mut lmdb = LmdbOptions::default()
                    .mode(options.mode)
                    .durability(options.durability);
                if let Some(bytes) = options.map_size {
                    lmdb = lmdb.map_size(bytes);
                }
                if options.mode == OpenMode::Truncate {
                    check_erasable(path)?;
                }
                if matches!(options.mode, OpenMode::Append | OpenMode::OpenOrCreate) {
                    check_not_zarr_v2(path)?;
                }
                Box::new(LmdbStorage::open(path, &lmdb)?)
            }
        };
        let storage = match options.mode.is_writable() {
            true => storage,
            false => ZarrV2Storage::show(storage)?,
        };
        let recording = Recording {
            path: path.to_owned(),
            formats: FormatCache::new(storage.keeps_shards()),
            storage,
            chunk_policy: options.chunk_policy,
            compression: options.compression,
            writer: Mutex::default(),
            dimensions: Mutex::default(),
            closed: AtomicBool::new(false),
            planned: PlannedFormats::default(),
        };
        recording
            .check_root()
            .map_err(|e| e.with_key(path.display().to_string()))?;
        Ok(Self {
            recording: Arc::new(ProcessLocal::new(recording)),
        })
    }

    /// The state that all handles on the recording share.
    #[cfg(test)]
    pub(crate) fn recording(&self) -> &Recording {
        self.recording.constants()
    }

    /// The path of the recording.
    pub fn path(&self) -> &Path {
        &self.recording.constants().path
    }
}

impl ZarrOptions {
    /// Opens the recording at `path`. A leading `~` is the home folder.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`] or [`ErrorKind::AlreadyExists`], depending on the mode.
    /// - [`ErrorKind::InvalidArgument`] for an empty path, a file where a folder is expected, or a
    ///   folder with other contents; for [`OpenMode::Truncate`] also for a recording of other
    ///   software, and for a directory that contains files of other software.
    /// - [`ErrorKind::Locked`] if another writer has it open.
    /// - [`ErrorKind::Corrupt`] or [`ErrorKind::Unsupported`] if it is damaged, or was written
    ///   by a newer version; the latter also for writing to Zarr V2.
    /// - Any error that the file system reports.
    pub fn open(self, path: impl AsRef<Path>) -> Result<ZarrDataStore> {
        let path = expand_home(path)?;
        if self.storage == ZarrStorage::Lmdb
            && ["zarr.json", ".zgroup", ".zarray"]
                .iter()
                .any(|name| path.join(name).is_file())
            && !path.join("data.mdb").exists()
        {
            let message = "this is a Zarr directory, not an LMDB recording; open it with \
                           ZarrStorage::Directory or the URL zarr+dir:PATH";
            return Err(Error::new(ErrorKind::InvalidArgument, "open", message)
                .with_key(path.display().to_string()));
        }
        ZarrDataStore::open_with(&path, self)
    }
}

impl fmt::Debug for ZarrDataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZarrDataStore")
            .field("path", &self.path())
            .field("storage", &self.recording.constants().storage)
            .finish_non_exhaustive()
    }
}

impl DataStore for ZarrDataStore {
    fn name(&self) -> &str {
        "zarr"
    }

    fn is_read_only(&self) -> bool {
        self.recording.constants().storage.is_read_only()
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        Recording::load_nodes(&self.recording, keys)
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        let recording = self.recording.get("children")?;
        let mut children = Vec::new();
        let Ok(path) = node_path(key) else {
            return Ok(children);
        };
        let read = &mut |snapshot: &dyn Snapshot| {
            children.clear();
            match recording.find_node(snapshot, key)? {
                Some((_, document)) if document.node_kind() != NodeKind::Group => return Ok(()),
                None if !key.is_root() => return Ok(()),
                _ => {}
            }
            for name in snapshot.children(&path)? {
                let Some(child) = child_key(key, &name) else {
                    continue;
                };
                let kind = match document_at(snapshot, &node_path(&child)?) {
                    Ok(None) => continue,
                    Ok(Some(document)) => document.node_kind(),
                    // A node that cannot be read is listed, so that reading it can report why.
                    Err(error) if is_of_one_node(&error) => NodeKind::Series,
                    Err(error) => return Err(error),
                };
                children.push(Child::new(child, kind));
            }
            children.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(())
        };
        recording
            .storage
            .read(read)
            .map_err(|e| e.with_key(key.as_str()))?;
        Ok(children)
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        self.recording.get("plan")?.check_writable("plan")?;
        match schema {
            Some(schema) => self.plan_series(key, schema, None),
            None => node_path(key).map(|_| 1),
        }
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        let recording = self.recording.get("prepare")?;
        let path = node_path(&batch.key)?;
        prepare(&recording.planned, batch, |format, indices, chunk| {
            let key = format.chunk_key(&path, indices);
            write_ahead(&*recording.storage, &key, chunk)
        })
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        self.commit_all(commit.changes.into_iter().map(EncodedChange::Plain))
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let removed = self.with_writer("remove", |recording, cache| recording.remove(cache, key));
        removed.map_err(|e| e.with_key(key.as_str()))
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let renamed = self.with_writer("rename", |recording, cache| {
            recording.rename(cache, from, to)
        });
        renamed.map_err(|e| e.with_key(from.as_str()))
    }

    fn checkpoint(&self) -> Result<()> {
        let operation = "checkpoint";
        match self.recording.get(operation)?.storage.is_read_only() {
            true => Ok(()),
            false => self.with_writer(operation, Recording::checkpoint),
        }
    }

    fn close(&self) -> Result<()> {
        let recording = self.recording.get("close")?;
        let mut writer = recording.writer.lock();
        if self.is_read_only() || recording.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let checkpoint = recording.checkpoint(&mut writer);
        checkpoint.and(recording.storage.close())
    }

    fn info(&self) -> Result<RecordingInfo> {
        let recording = self.recording.get("info")?;
        let mut info = RecordingInfo::default();
        recording.storage.read(&mut |snapshot| {
            if let Some(root) = document_at(snapshot, "")? {
                info.add_root(root.root_info().unwrap_or(&Default::default()));
            }
            info.tails = Some(snapshot.tails()?.len() as u64);
            Ok(())
        })?;
        recording.storage.add_info(&mut info)?;
        info.is_checkpointed = Some(info.tails == Some(0) && info.journal_bytes.unwrap_or(0) == 0);
        Ok(info)
    }

    fn as_encoded(&self) -> Option<&dyn EncodedStore> {
        Some(self)
    }
}

impl ZarrDataStore {
    /// Does `work` as the writer of the recording, with its cache of series.
    fn with_writer<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Recording, &mut SeriesCache<ArrayFormat>) -> Result<T>,
    ) -> Result<T> {
        let recording = self.recording.get(operation)?;
        let mut cache = recording.writer.lock();
        recording.check_writable(operation)?;
        work(recording, &mut cache)
    }

    /// The number of records per chunk of a series. A new series that is a copy has the encoding of
    /// `original`.
    fn plan_series(
        &self,
        key: &Key,
        schema: &Schema,
        original: Option<&SeriesEncoding>,
    ) -> Result<u64> {
        let recording = self.recording.get("plan")?;
        let path = node_path(key)?;
        let keys = std::slice::from_ref(key);
        let stored = recording.with_nodes(keys, |snapshot, key, path, document| {
            let is_series = document.node_kind() == NodeKind::Series;
            let mut find = |path: &str| document_at(snapshot, path);
            let load = || recording.stored_formats(key, &path, &document, &mut find);
            is_series.then(load).transpose()
        })?;
        let documents = recording.new_series(key, &path, schema, original)?;
        let arrays = documents.iter().filter(|(_, document)| document.is_array());
        let new = arrays.map(|(_, document)| recording.formats.get(document));
        let new = new.collect::<Result<Vec<_>>>()?;
        let formats = match stored.into_iter().flatten().flatten().next() {
            Some((stored, formats)) => {
                let same = stored.check_same_storage(schema, &chunks(&formats), &chunks(&new));
                same.map_err(|e| e.with_key(key.as_str()))?;
                formats
            }
            None => new,
        };
        let format = formats.into_iter().next_back();
        let format = format.ok_or_else(|| corrupt("a series has no array"))?;
        let chunk_rows = format.layout().chunk_rows();
        if schema.kind() == Kind::Array {
            let full = Arc::clone(format.full());
            recording.planned.lock().insert(key.clone(), full);
        }
        Ok(chunk_rows)
    }

    /// Applies all changes in order.
    fn commit_all(&self, changes: impl Iterator<Item = EncodedChange>) -> Result<()> {
        let recording = self.recording.get("commit")?;
        let mut writer = recording.writer.lock();
        recording.check_writable("commit")?;
        let mut builder = CommitBuilder::new(recording, &writer);
        let mut dimensions = recording.dimensions.lock();
        for change in changes {
            dimensions.changed(change.key(), change.names_axes());
            builder.add_encoded(change)?;
        }
        let (changes, series) = builder.finish()?;
        if !changes.is_empty() {
            // If the sync of a commit failed, only reading tells whether the commit is valid.
            let committed = recording.storage.commit(changes);
            committed.inspect_err(|_| writer.clear())?;
        }
        writer.extend(series);
        Ok(())
    }
}

/// The shapes of the chunks of the arrays of a series.
fn chunks(formats: &[Arc<ArrayFormat>]) -> Vec<Vec<u64>> {
    let grids = formats.iter().map(|format| &format.layout().grid);
    grids.map(|grid| grid.chunk_shape().to_vec()).collect()
}

/// Checks that the recording that LMDB has at a path may be written. If it cannot be read, the
/// storage reports why.
fn check_not_zarr_v2(path: &Path) -> Result<()> {
    if LmdbStorage::was_written_here(path) {
        return Ok(());
    }
    match LmdbStorage::open(path, &LmdbOptions::default()) {
        Ok(storage) if is_zarr_v2(&storage)? => {
            Err(zarr_v2::read_only().with_key(path.display().to_string()))
        }
        _ => Ok(()),
    }
}

/// Checks that LMDB has a recording of this library, or an empty one, at a path. If it cannot be
/// read, the storage reports why.
fn check_erasable(path: &Path) -> Result<()> {
    let storage = match LmdbStorage::open(path, &LmdbOptions::default()) {
        Err(error) if error.kind() == ErrorKind::Locked => return Err(error),
        Err(_) => return Ok(()),
        Ok(storage) => storage,
    };
    let what = match get(&storage, &metadata_entry("")) {
        Ok(Some(root)) if matches!(Document::recording_id_in(&root), Some(Some(_))) => None,
        Ok(Some(_)) => Some("the Zarr hierarchy"),
        Ok(None) if storage.is_empty()? => None,
        Ok(None) => Some("the LMDB database"),
        Err(_) => None,
    };
    let Some(what) = what else {
        return Ok(());
    };
    let message = format!(
        "{what} at this path is not a recording of simrecorder and is not erased; delete it, or \
         choose another path"
    );
    Err(Error::new(ErrorKind::InvalidArgument, "open", message)
        .with_key(path.display().to_string()))
}

impl EncodedStore for ZarrDataStore {
    fn plan_in_form(&self, key: &Key, schema: &Schema, form: &StoredForm) -> Result<Option<u64>> {
        self.recording.get("plan")?.check_writable("plan")?;
        let Some(encoding) = SeriesEncoding::in_form(form) else {
            return Ok(None);
        };
        self.plan_series(key, schema, Some(encoding)).map(Some)
    }

    fn takes_encoded(
        &self,
        key: &Key,
        schema: &Schema,
        form: &StoredForm,
        encoded: &Encoded,
    ) -> Result<bool> {
        let Some(columns) = encoded.contents::<EncodedColumns>() else {
            return Ok(false);
        };
        let encoding = SeriesEncoding::in_form(form);
        let path = node_path(key)?;
        let recording = self.recording.get("commit")?;
        let documents = recording.new_series(key, &path, schema, encoding)?;
        let arrays = documents.iter().filter(|(_, document)| document.is_array());
        let formats = arrays.map(|(_, document)| recording.formats.get(document));
        let formats = formats.collect::<Result<Vec<_>>>()?;
        Ok(match &formats[..] {
            [elements] => fits(columns, elements, None),
            [elements, ends] => fits(columns, elements, Some(ends)),
            _ => false,
        })
    }

    fn commit_encoded(&self, changes: Vec<EncodedChange>) -> Result<()> {
        self.commit_all(changes.into_iter())
    }
}
