//! The HDF5 store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use simrecorder_core::backend::columns::{ColumnFormat, ColumnStore as _, Columns, prepare};
use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::{disk_usage, is_locked};
use simrecorder_core::{
    Batch, Child, Commit, DataStore, ErrorKind, Key, Kind, Node, NodeKind, OpenMode, Prepared,
    RecordingInfo, Result, Schema, expand_home,
};

use crate::driver::locks::held;
use crate::format::dataset_format::DatasetFormat;
use crate::format::node::{StoredNode, groups_on_the_way, kind_at};
use crate::format::root;
use crate::library::{link_names, open_object, reference};
use crate::options::Hdf5Options;
use crate::recording::Recording;
use crate::recording::commit::CommitBuilder;
use crate::recording::new_series::NewSeries;
use crate::recording::series::{LoadedSeries, load};
use crate::recording::state::{FoundNode, State};

/// Stores a recording in an HDF5 file, which h5py, h5dump and xarray read without plugins.
///
/// A clone is a handle on the same open recording. While a recorder writes, other handles and other
/// processes can read. There is one writer at a time. Other software sees the file as of the last
/// checkpoint, and everything after `close`.
///
/// | constructor | the recording | opened for |
/// |---|---|---|
/// | [`create`](Self::create) | must not exist | writing |
/// | [`open`](Self::open) | must exist | reading |
/// | [`append`](Self::append) | must exist | writing |
/// | [`new`](Self::new) | may exist | reading if it exists, otherwise writing |
/// | [`options`](Self::options) | as set | as set |
///
/// While `run.h5` is being written, and after a kill, `run.h5.journal` is next to it. Both belong
/// together until the next `close`. During this time, the root of the file has the attribute
/// `simrecorder_unfinished`, which other software shows. A checkpoint, and therefore `close`, is
/// not possible while another program has the file open: it fails with [`ErrorKind::Locked`] after
/// [`lock_timeout`](Hdf5Options::lock_timeout), and can be tried again.
///
/// Reads of damaged data fail with [`ErrorKind::Corrupt`], with one exception. libhdf5 parses the
/// file in this process, and if the length of a text or of bytes differs from the length in its
/// heap, some versions (for example 1.10.8) end the process.
///
/// ```
/// use simrecorder_core::{Recorder, prelude::*};
/// use simrecorder_hdf5::Hdf5DataStore;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.h5");
/// let recorder = Recorder::new(Hdf5DataStore::create(&path)?);
/// recorder.record("net/v", [1.0, 2.0])?;
/// recorder.close()?;
///
/// let recorder = Recorder::new(Hdf5DataStore::open(&path)?);
/// assert_eq!(recorder.get_all("net/v")?.shape(), [1, 2]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Hdf5DataStore {
    recording: Arc<ProcessLocal<Recording>>,
}

impl Hdf5DataStore {
    /// Creates a recording in the file `path`, which does not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; otherwise see [`Hdf5Options::open`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::CreateNew).open(path)
    }

    /// Opens a recording for reading. Any HDF5 file is a recording.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; otherwise see [`Hdf5Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Read).open(path)
    }

    /// Opens a recording for appending to it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; otherwise see [`Hdf5Options::open`].
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Append).open(path)
    }

    /// Opens the recording at `path` for reading if it exists, and creates it otherwise.
    ///
    /// # Errors
    /// See [`Hdf5Options::open`].
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        match Self::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            result => result,
        }
    }

    /// Options for everything else.
    pub fn options() -> Hdf5Options {
        Hdf5Options::default()
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.recording.constants().path
    }

    #[cfg(test)]
    pub(crate) fn recording(&self) -> &Recording {
        self.recording.constants()
    }
}

impl Hdf5Options {
    /// Opens the recording in the file at `path`. A leading `~` is the home folder.
    ///
    /// # Errors
    /// - [`NotFound`](simrecorder_core::ErrorKind::NotFound) or
    ///   [`AlreadyExists`](simrecorder_core::ErrorKind::AlreadyExists), depending on the mode.
    /// - [`InvalidArgument`](simrecorder_core::ErrorKind::InvalidArgument) if the path is not a
    ///   file; for [`OpenMode::Truncate`] if it is neither a recording nor an empty file; and if a
    ///   file of other software has the name of a file that is written next to it.
    /// - [`Locked`](simrecorder_core::ErrorKind::Locked) if another writer, or for writing any
    ///   program that uses libhdf5, has the file open.
    /// - [`Corrupt`](simrecorder_core::ErrorKind::Corrupt) if the file is truncated or not HDF5.
    /// - [`Unsupported`](simrecorder_core::ErrorKind::Unsupported) if a newer version wrote it.
    /// - Any error that the file system reports.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Hdf5DataStore> {
        let recording = Recording::open(&expand_home(path)?, &self)?;
        Ok(Hdf5DataStore {
            recording: Arc::new(ProcessLocal::new(recording)),
        })
    }
}

impl fmt::Debug for Hdf5DataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hdf5DataStore")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// The shapes of the chunks of the datasets of a series.
fn chunks(formats: &Columns<Arc<DatasetFormat>>) -> Vec<Vec<u64>> {
    let formats = [formats.records(), formats.elements()];
    let grids = formats.map(|format| format.layout().grid.chunk_shape().to_vec());
    grids.to_vec()
}

impl Hdf5DataStore {
    /// Does `work` as the writer of the recording.
    fn with_writer<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Recording, &mut State) -> Result<T>,
    ) -> Result<T> {
        let recording = self.recording.get(operation)?;
        let mut state = recording.state.write();
        recording.check_writable(operation)?;
        work(recording, &mut state)
    }

    fn checkpoint_with(&self, work: fn(&Recording, &mut State) -> Result<()>) -> Result<()> {
        let operation = "checkpoint";
        match self.recording.get(operation)?.read_only {
            true => Ok(()),
            false => self.with_writer(operation, work),
        }
    }
}

impl DataStore for Hdf5DataStore {
    fn name(&self) -> &str {
        "hdf5"
    }

    fn is_read_only(&self) -> bool {
        self.recording.constants().read_only
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        Recording::nodes(&self.recording, keys)
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        let children = self.recording.get("children")?.with_state(|state| {
            let mut children = Vec::new();
            let Some((FoundNode::Stored(group), path)) = state.find(key)? else {
                return Ok(children);
            };
            if group.kind != NodeKind::Group {
                return Ok(children);
            }
            let above = groups_on_the_way(&state.open.root, key)?;
            for name in link_names(&group.object)? {
                // Names that are not keys are not ours, and cannot be requested.
                let Some(child) = key.join(&name).ok().filter(|key| key.name() == name) else {
                    continue;
                };
                if let Some(kind) = kind_at(&group.object, &name) {
                    children.push(Child::new(child, kind));
                    continue;
                }
                let found = open_object(&group.object, &name).and_then(StoredNode::of);
                let kind = match found {
                    // Other software may put a group into itself. The hierarchy ends there anyway.
                    Ok(Some(found))
                        if found.kind == NodeKind::Group
                            && above.contains(&reference(&found.object, ".")?) =>
                    {
                        continue;
                    }
                    Ok(Some(found)) => found.kind,
                    Ok(None) => continue,
                    // A node that cannot be read is listed, so that reading it can report why.
                    Err(error) if is_of_one_node(&error) => NodeKind::Series,
                    Err(error) => return Err(error),
                };
                children.push(Child::new(child, kind));
            }
            for name in state.tails.declared.names_in(&path) {
                children.push(Child::new(key.join(&name)?, NodeKind::Series));
            }
            children.sort_by(|a, b| a.key.cmp(&b.key));
            children.dedup_by(|a, b| a.key == b.key);
            Ok(children)
        });
        children.map_err(|e| e.with_key(key.as_str()))
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        let recording = self.recording.get("plan")?;
        recording.check_writable("plan")?;
        let Some(schema) = schema else { return Ok(1) };
        let format = NewSeries::plan(schema, &recording.chunk_policy, recording.compression);
        let format = format.and_then(|new| {
            let stored = recording.with_state(|state| match state.find(key)? {
                Some((FoundNode::Declared(series, _), _)) => {
                    Ok(Some((series.schema.clone(), series.into_formats())))
                }
                Some((FoundNode::Stored(found), path)) if found.kind == NodeKind::Series => {
                    let LoadedSeries { schema, columns } = load(&found, &path, &state.tails)?;
                    columns.records().check_grows()?;
                    let columns = columns.map(|loaded| Ok(loaded.column.format))?;
                    Ok(Some((schema, columns)))
                }
                _ => Ok(None),
            })?;
            let new = new.into_formats();
            let Some((stored, formats)) = stored else {
                return Ok(Arc::clone(new.records()));
            };
            stored.check_same_storage(schema, &chunks(&formats), &chunks(&new))?;
            Ok(Arc::clone(formats.records()))
        });
        let format = format.map_err(|e| e.with_key(key.as_str()))?;
        let chunk_rows = format.layout().chunk_rows();
        if schema.kind() == Kind::Array && format.writes_chunks() && !format.is_plain() {
            recording.planned.lock().insert(key.clone(), format);
        }
        Ok(chunk_rows)
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        let planned = &self.recording.get("prepare")?.planned;
        prepare(planned, batch, |_, _, chunk| Ok(chunk))
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        let recording = self.recording.get("commit")?;
        let mut state = recording.state.write();
        recording.check_writable("commit")?;
        for change in &commit.changes {
            state.dimensions.changed(change.key(), change.names_axes());
        }
        let mut builder = CommitBuilder::new(recording, &state);
        builder.reserve(&commit.changes);
        let mut changes = commit.changes.into_iter();
        let written = changes.try_for_each(|change| builder.add(change));
        let written = written.and_then(|()| builder.finish());
        let committed = written.and_then(|finished| {
            recording.commit_file(&mut state, &finished.tails)?;
            Ok((finished.series, finished.renewed))
        });
        match committed {
            Ok((series, renewed)) => {
                state.series.extend(series);
                state.note_renewed(&renewed);
                recording.trim_journal(&mut state);
                Ok(())
            }
            Err(error) => {
                let error = state.open.explain(error);
                recording.roll_back(&mut state)?;
                Err(error)
            }
        }
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let removed = self.with_writer("remove", |recording, state| recording.remove(state, key));
        removed.map_err(|e| e.with_key(key.as_str()))
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let renamed = self.with_writer("rename", |recording, state| {
            recording.rename(state, from, to)
        });
        renamed.map_err(|e| e.with_key(from.as_str()))
    }

    fn checkpoint(&self) -> Result<()> {
        self.checkpoint_with(Recording::checkpoint)
    }

    fn checkpoint_at_once(&self) -> Result<()> {
        self.checkpoint_with(Recording::checkpoint_at_once)
    }

    fn close(&self) -> Result<()> {
        let recording = self.recording.get("close")?;
        let mut state = recording.state.write();
        if self.is_read_only() {
            return Ok(());
        }
        let closed = match recording.closed.swap(true, Ordering::AcqRel) {
            false => recording.close(&mut state),
            true if state.is_unfinished => {
                let options = Hdf5Options::of(OpenMode::Append, recording.writing);
                let appended = options.open(self.path()).and_then(|store| store.close());
                appended.map_err(|error| match error.kind() {
                    ErrorKind::Locked => held("close", self.path()),
                    _ => error.with_operation("close"),
                })
            }
            true => Ok(()),
        };
        state.is_unfinished = closed.is_err();
        closed
    }

    fn info(&self) -> Result<RecordingInfo> {
        let recording = self.recording.get("info")?;
        let mut info = recording.with_state(|state| {
            let mut info = RecordingInfo::new("HDF5");
            root::add_info(&state.open.root, &mut info)?;
            info.tails = Some(state.tails.paths().len() as u64);
            Ok(info)
        })?;
        let mut journal_path = self.path().as_os_str().to_owned();
        journal_path.push(".journal");
        let journal = disk_usage(journal_path.as_ref())?;
        info.bytes = Some(disk_usage(self.path())? + journal);
        info.journal_bytes = Some(journal);
        info.is_checkpointed = Some(journal == 0);
        // Without permission to read the journal, the answer is unknown.
        info.is_being_written = is_locked(journal_path.as_ref()).ok();
        Ok(info)
    }
}
