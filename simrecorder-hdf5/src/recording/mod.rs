//! An open recording: its file, the cache of its writer, and reads that continue when the file is
//! reopened.

mod checkpoint;
pub(crate) mod commit;
mod dimensions;
pub(crate) mod new_series;
pub(crate) mod open_file;
mod removal;
pub(crate) mod series;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use simrecorder_core::backend::columns::PlannedFormats;
use simrecorder_core::backend::dimensions::DimensionGroups;
use simrecorder_core::backend::errors::{closed, read_only};
use simrecorder_core::backend::sync::{Mutex, RwLock};
use simrecorder_core::{ChunkPolicy, Compression, ErrorKind, OpenMode, Result};

use crate::driver::logged_file::{LoggedFile, Writing};
use crate::format::dataset_format::DatasetFormat;
use crate::format::root;
use crate::format::tail::{TailChanges, Tails};
use crate::options::Hdf5Options;
use crate::recording::open_file::{
    ATTEMPTS, OpenFile, erasable_file, open_for_reading, retry_while_changing,
};
use crate::recording::state::State;

/// The state that all handles of an open recording share.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) read_only: bool,
    pub(crate) writing: Writing,
    pub(crate) closed: AtomicBool,
    /// The committed state. A commit locks it for writing, a read of metadata for reading. Chunks
    /// are read without it.
    pub(crate) state: RwLock<State>,
    /// The current file, for reading chunks.
    open: Mutex<Arc<OpenFile>>,
    /// Changes before each cut, and each time before the file is reopened.
    epoch: AtomicU64,
    pub(crate) planned: PlannedFormats<DatasetFormat>,
}

/// Opens the file and its journal in this mode.
fn open_log(path: &Path, options: &Hdf5Options, tails: &mut Tails) -> Result<Arc<LoggedFile>> {
    let writing = options.writing();
    let id = root::new_id();
    let make_empty = &mut |path: &Path| root::create_file(path, id);
    let mut append = || {
        LoggedFile::append(path, writing, &mut |changes, range| {
            tails.apply(changes, range.offset)
        })
    };
    match options.mode {
        OpenMode::Append => append(),
        OpenMode::OpenOrCreate => match append() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                LoggedFile::create(path, id, writing, make_empty)
            }
            result => result,
        },
        OpenMode::CreateNew => LoggedFile::create(path, id, writing, make_empty),
        OpenMode::Truncate => match erasable_file(path)? {
            Some(old) => LoggedFile::recreate(path, &old, id, writing, make_empty),
            None => LoggedFile::create(path, id, writing, make_empty),
        },
        _ => {
            let (log, read) = open_for_reading(path)?;
            *tails = read;
            Ok(log)
        }
    }
}

impl Recording {
    /// Opens the recording in the file at `path`.
    pub(crate) fn open(path: &Path, options: &Hdf5Options) -> Result<Self> {
        let opened = retry_while_changing(|| {
            let mut tails = Tails::default();
            let log = open_log(path, options, &mut tails)?;
            let recording = Self::new(path.to_owned(), Arc::clone(&log), tails, options);
            let prepared = recording.and_then(|recording| {
                recording.prepare_file()?;
                Ok(recording)
            });
            Ok((log, prepared))
        });
        opened.map_err(|e| {
            e.with_operation("open")
                .with_key(path.display().to_string())
        })
    }

    fn new(
        path: PathBuf,
        log: Arc<LoggedFile>,
        tails: Tails,
        options: &Hdf5Options,
    ) -> Result<Self> {
        let open = Arc::new(OpenFile::new(log, tails.declared.clone())?);
        let dimensions = match options.mode {
            OpenMode::CreateNew | OpenMode::Truncate => DimensionGroups::of_new_recording(),
            _ => DimensionGroups::default(),
        };
        Ok(Self {
            path,
            chunk_policy: options.chunk_policy.clone(),
            compression: options.compression,
            read_only: !options.mode.is_writable(),
            writing: options.writing(),
            closed: AtomicBool::new(false),
            state: RwLock::new(State {
                open: Arc::clone(&open),
                tails,
                series: HashMap::new(),
                dimensions,
                trim_from: 0,
                is_unfinished: false,
            }),
            open: Mutex::new(open),
            epoch: AtomicU64::new(0),
            planned: PlannedFormats::default(),
        })
    }

    /// Checks the opened file. If it is opened for writing, makes it a recording.
    fn prepare_file(&self) -> Result<()> {
        let mut state = self.state.write();
        state.open.check().map_err(|e| state.open.explain(e))?;
        if self.read_only {
            return Ok(());
        }
        let is_changed = state.open.mark()? | root::mark_unfinished(&state.open.root)?;
        if is_changed {
            self.commit_file(&mut state, &TailChanges::default())?;
        }
        self.show_unfinished(&mut state)
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.read_only {
            return Err(read_only(operation));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(closed(operation, "store"));
        }
        Ok(())
    }

    /// See the field [`Recording::epoch`].
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Announces that rows will be cut, or that other rows may replace them.
    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether this handle reads what other processes write.
    fn follows(&self) -> bool {
        self.read_only || self.closed.load(Ordering::Acquire)
    }

    /// Reopens the file for reading, in its current state.
    fn reopen(&self, state: &mut State) -> Result<()> {
        retry_while_changing(|| {
            let (log, tails) = open_for_reading(&self.path)?;
            let replaced = self.replace(state, Arc::clone(&log), tails);
            Ok((log, replaced))
        })
    }

    fn replace(&self, state: &mut State, log: Arc<LoggedFile>, tails: Tails) -> Result<()> {
        let open = Arc::new(OpenFile::new(log, tails.declared.clone())?);
        open.check()?;
        state.open = Arc::clone(&open);
        state.tails = tails;
        state.series.clear();
        // Before others can read from it.
        self.next_epoch();
        // Views that read from the previous file fail, and try again with this one.
        let before = std::mem::replace(&mut *self.open.lock(), open);
        before.close()
    }

    /// Reads metadata: calls `read` with the committed state.
    pub(crate) fn with_state<T>(&self, read: impl Fn(&State) -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            if self.follows() {
                let is_old = {
                    let log = Arc::clone(&self.state.read().open.log);
                    log.is_stale() || log.has_news()?
                };
                if is_old {
                    let mut state = self.state.write();
                    if state.open.log.is_stale() || state.open.log.has_news()? {
                        self.reopen(&mut state)?;
                    }
                }
            }
            let state = self.state.read();
            let result = read(&state);
            // The result may lack what could not be read.
            if state.open.log.is_stale() && attempt < ATTEMPTS {
                continue;
            }
            return result.map_err(|error| state.open.explain(error));
        }
    }

    /// Reads from the current file. The result must be valid for any later state, too.
    pub(crate) fn with_open<T>(&self, mut read: impl FnMut(&OpenFile) -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let open = Arc::clone(&self.open.lock());
            let error = match read(&open) {
                Err(error) => error,
                result => return result,
            };
            let is_stale = open.log.is_stale();
            if is_stale {
                let mut state = self.state.write();
                if Arc::ptr_eq(&state.open, &open) {
                    self.reopen(&mut state)?;
                }
            }
            // A thread that closes the file holds the state until another file has replaced it.
            let was_replaced = !Arc::ptr_eq(&self.state.read().open, &open);
            if !(is_stale || was_replaced) || attempt == ATTEMPTS {
                return Err(open.explain(error));
            }
        }
    }

    /// Makes writes to the file and changes of tails durable and visible.
    pub(crate) fn commit_file(&self, state: &mut State, changes: &TailChanges) -> Result<()> {
        state.open.flush().map_err(|e| state.open.explain(e))?;
        let range = state.open.log.commit(changes.as_bytes())?;
        state.tails.apply(changes.as_bytes(), range.offset)
    }

    /// Discards the writes since the last commit.
    pub(crate) fn roll_back(&self, state: &mut State) -> Result<()> {
        state.open.log.abandon();
        // Anything that libhdf5 still wants to write is ignored.
        let closed = state.open.close();
        if let Err(error) = closed {
            tracing::debug!(%error, "closing a file that was given up");
        }
        // They are also needed if the file cannot be opened now.
        let tails = state.tails.clone();
        let log = Arc::clone(&state.open.log);
        self.replace(state, log, tails)
    }
}
