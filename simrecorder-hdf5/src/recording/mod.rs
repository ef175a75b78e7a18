//! An open recording: its file, what its writer remembers, and reading that goes on when the file
//! is opened anew.

pub(crate) mod commit;
pub(crate) mod series;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use simrecorder_core::{ChunkPolicy, Compression, Error, ErrorKind, Key, Kind, Result};

use crate::columns::append::ColumnAppend;
use crate::columns::column::{Column, Form};
use crate::driver::logged_file::LoggedFile;
use crate::format::attributes;
use crate::format::dataset::Dataset;
use crate::format::layout::Layout;
use crate::format::node::{self, Found, path_of};
use crate::format::root::{self, FileId};
use crate::format::tail::{Journal, Note, Tails};
use crate::library::{Handle, locked, open_object, write_ok};
use crate::recording::series::{self, Columns};

/// What all handles of an open recording share.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) read_only: bool,
    pub(crate) closed: AtomicBool,
    /// What is committed. Whoever commits holds it for writing, whoever reads metadata for
    /// reading. Chunks are read without it.
    pub(crate) state: RwLock<State>,
    /// The file at hand, for reading chunks.
    open: Mutex<Arc<OpenFile>>,
    /// Changes before each cut, and each time before the file is opened anew.
    epoch: AtomicU64,
    /// The forms of series that were planned, for encoding ahead of commits.
    pub(crate) planned: Mutex<HashMap<Key, Arc<Layout>>>,
}

/// A file that libhdf5 has open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The root group.
    pub(crate) root: Handle,
    file: Mutex<Option<Handle>>,
    pub(crate) log: Arc<LoggedFile>,
    /// The number of the recording, if it has one.
    id: OnceLock<FileId>,
}

/// What is committed.
pub(crate) struct State {
    pub(crate) open: Arc<OpenFile>,
    pub(crate) tails: Tails,
    /// What the writer remembers of series: it is the only one that writes.
    pub(crate) series: HashMap<Key, (Kind, Columns<Column>)>,
    /// How long the journal has to be before it is made anew, after that failed.
    trim_from: u64,
    /// Whether closing failed, so that a journal may still be there.
    pub(crate) is_unfinished: bool,
}

impl OpenFile {
    fn new(log: Arc<LoggedFile>) -> Result<Self> {
        let id = log.open_hdf5()?;
        let file = locked(|| Handle::read(id, "open the file"))?;
        let root = open_object(&file, "/")?;
        Ok(Self {
            root,
            file: Mutex::new(Some(file)),
            log,
            id: OnceLock::new(),
        })
    }

    /// The number of the recording, if it has one.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id.get().copied()
    }

    /// Notes the number of the recording, once.
    pub(crate) fn set_id(&self, id: FileId) {
        self.id.get_or_init(|| id);
    }

    /// The dataset at `path`, which had been there.
    pub(crate) fn dataset(&self, path: &str) -> Result<Dataset> {
        Dataset::from_handle(open_object(&self.root, path)?)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "read", "the dataset is no longer there"))
    }

    /// Closes the file for libhdf5: all its identifiers end.
    pub(crate) fn close(&self) -> Result<()> {
        match self.file.lock().take() {
            Some(file) => file.close("close the file"),
            None => Ok(()),
        }
    }

    /// Brings what libhdf5 holds back to the file.
    pub(crate) fn flush(&self) -> Result<()> {
        use hdf5_metno_sys::h5f::{H5F_scope_t, H5Fflush};
        locked(|| {
            // SAFETY: the handle is an object of the file.
            let status = unsafe { H5Fflush(self.root.id(), H5F_scope_t::H5F_SCOPE_LOCAL) };
            write_ok(status, "write its buffers")
        })
    }

    /// The error below what libhdf5 reported, if the file had one.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.log.take_error() {
            Some(cause) => cause,
            None => error,
        }
    }
}

/// Opens a file for reading, as of its last commit.
pub(crate) fn open_for_reading(path: &Path) -> Result<(Arc<LoggedFile>, Tails)> {
    loop {
        let mut tails = Tails::default();
        let log = LoggedFile::read(path, &mut |note, place| tails.apply(note, place.offset))?;
        // If it changed meanwhile, notes may be missing.
        if !log.is_stale() {
            return Ok((log, tails));
        }
    }
}

/// A read is tried again this often when the file changed meanwhile.
const ATTEMPTS: usize = 100;

/// The journal is made anew when it is so much longer than the tails in it.
const JOURNAL_BYTES: u64 = 64 << 20;

/// A new journal begins with no more than this of tails, which are in memory meanwhile.
const TAIL_BYTES: u64 = 16 << 20;

/// A checkpoint is cut into commits of about this many bytes.
const CHECKPOINT_BYTES: usize = 8 << 20;

/// Opens a file that others may be writing, again when it changed while libhdf5 looked at it.
pub(crate) fn while_it_changes<T>(
    mut open: impl FnMut() -> Result<(Arc<LoggedFile>, Result<T>)>,
) -> Result<T> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (log, opened) = open()?;
        match opened {
            _ if log.is_stale() && attempt < ATTEMPTS => {}
            Err(error) => {
                let error = log.take_error().unwrap_or(error);
                if let Err(error) = log.give_up() {
                    tracing::warn!(%error, "an empty journal stays behind");
                }
                return Err(error);
            }
            opened => return opened,
        }
    }
}

impl Recording {
    pub(crate) fn new(
        path: PathBuf,
        log: Arc<LoggedFile>,
        tails: Tails,
        options: &crate::options::Hdf5Options,
    ) -> Result<Self> {
        let open = Arc::new(OpenFile::new(log)?);
        Ok(Self {
            path,
            chunk_policy: options.chunk_policy.clone(),
            compression: options.compression,
            read_only: !options.mode.is_writable(),
            closed: AtomicBool::new(false),
            state: RwLock::new(State {
                open: Arc::clone(&open),
                tails,
                series: HashMap::new(),
                trim_from: 0,
                is_unfinished: false,
            }),
            open: Mutex::new(open),
            epoch: AtomicU64::new(0),
            planned: Mutex::default(),
        })
    }

    /// Checks the file that was opened; one that is written gets the marks of a recording.
    pub(crate) fn prepare_file(&self) -> Result<()> {
        let mut state = self.state.write();
        root::check(&state.open).map_err(|e| state.open.explain(e))?;
        if !self.read_only && root::mark(&state.open)? {
            self.commit_file(&mut state, &Note::default())?;
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.read_only {
            let message = "the recording was opened read only; open it with append()";
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Closed,
                operation,
                "the store was closed",
            ));
        }
        Ok(())
    }

    /// See [`Recording::epoch`] the field.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that rows are going to be cut, or that other rows may stand in their place.
    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether this handle reads what others write.
    fn follows(&self) -> bool {
        self.read_only || self.closed.load(Ordering::Acquire)
    }

    /// Opens the file anew for reading, as it is now.
    fn reopen(&self, state: &mut State) -> Result<()> {
        while_it_changes(|| {
            let (log, tails) = open_for_reading(&self.path)?;
            let replaced = self.replace(state, Arc::clone(&log), tails);
            Ok((log, replaced))
        })
    }

    fn replace(&self, state: &mut State, log: Arc<LoggedFile>, tails: Tails) -> Result<()> {
        let open = Arc::new(OpenFile::new(log)?);
        root::check(&open)?;
        state.open = Arc::clone(&open);
        state.tails = tails;
        state.series.clear();
        // Before others can read from it.
        self.next_epoch();
        // Views that read from the file before fail, and try again with this one.
        let before = std::mem::replace(&mut *self.open.lock(), open);
        before.close()
    }

    /// Reads metadata: calls `read` with what is committed now.
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
            // Whatever was read then may lack what could not be.
            if state.open.log.is_stale() && attempt < ATTEMPTS {
                continue;
            }
            return result.map_err(|error| state.open.explain(error));
        }
    }

    /// Reads from the file at hand. What is read must be right for any later state, too.
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
            // Whoever closes the file holds the state until another is in its place.
            let was_replaced = !Arc::ptr_eq(&self.state.read().open, &open);
            if !(is_stale || was_replaced) || attempt == ATTEMPTS {
                return Err(open.explain(error));
            }
        }
    }

    /// The node at `key`, and its path.
    pub(crate) fn find(state: &State, key: &Key) -> Result<Option<(Found, String)>> {
        let found = node::find(&state.open.root, key)?;
        Ok(found.map(|found| (found, path_of(key))))
    }

    /// The journal that the tails of a state are in.
    pub(crate) fn journal(state: &State) -> Result<Journal> {
        state.open.log.journal().ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "read",
                "there are tails and no journal",
            )
        })
    }

    /// Makes what was written to the file, and a note about tails, durable and visible.
    pub(crate) fn commit_file(&self, state: &mut State, note: &Note) -> Result<()> {
        state.open.flush().map_err(|e| state.open.explain(e))?;
        let place = state.open.log.commit(note.as_bytes())?;
        state.tails.apply(note.as_bytes(), place.offset)
    }

    /// Takes back what was written since the last commit.
    pub(crate) fn roll_back(&self, state: &mut State) -> Result<()> {
        state.open.log.abandon();
        // Whatever libhdf5 still wants to write is ignored.
        let closed = state.open.close();
        if let Err(error) = closed {
            tracing::debug!(%error, "closing a file that was given up");
        }
        // They are needed as well if the file cannot be opened now.
        let tails = state.tails.clone();
        let log = Arc::clone(&state.open.log);
        self.replace(state, log, tails)
    }

    /// Makes the journal anew when it has grown long. The commit before stands whether or not that
    /// works; it is tried again when the journal has grown as much once more, since waiting for
    /// another program that reads the file takes seconds.
    pub(crate) fn trim_journal(&self, state: &mut State) {
        let journal_bytes = state.open.log.journal_bytes();
        if journal_bytes < (JOURNAL_BYTES + state.tails.bytes).max(state.trim_from) {
            return;
        }
        let folded = match state.tails.bytes > TAIL_BYTES {
            true => self.fold_tails(state, state.tails.paths_by_size(), TAIL_BYTES / 2),
            false => Ok(()),
        };
        let is_folded = folded.is_ok();
        let Err(error) = folded.and_then(|()| self.checkpoint_file(state)) else {
            state.trim_from = 0;
            return;
        };
        state.trim_from = journal_bytes + JOURNAL_BYTES;
        tracing::warn!(path = %self.path.display(), %error, "the journal stays long");
        // Folding may have ended between two writes; a checkpoint writes nothing of libhdf5.
        if !is_folded && let Err(error) = self.roll_back(state) {
            tracing::error!(path = %self.path.display(), %error, "the file could not be opened anew");
        }
    }

    /// Copies what was committed into the file itself; the tails stay in a new journal.
    fn checkpoint_file(&self, state: &mut State) -> Result<()> {
        let journal = Self::journal(state)?;
        let mut note = Note::default();
        for path in state.tails.paths() {
            state.tails.rewrite(&path, &journal, &mut note)?;
        }
        let place = state.open.log.checkpoint(note.as_bytes())?;
        let mut tails = Tails::default();
        tails.apply(note.as_bytes(), place.offset)?;
        state.tails = tails;
        Ok(())
    }

    /// Brings tails into chunks, until those that are left take no more than `enough` bytes. One
    /// that cannot be read does not keep the others from it.
    fn fold_tails(&self, state: &mut State, paths: Vec<String>, enough: u64) -> Result<()> {
        let mut damaged = Ok(());
        let mut paths = paths.into_iter().peekable();
        while paths.peek().is_some() && state.tails.bytes > enough {
            let mut note = Note::default();
            let mut bytes = 0;
            while bytes < CHECKPOINT_BYTES
                && let Some(path) = paths.next()
            {
                let noted = note.len();
                match self.fold_tail(state, &path, &mut note) {
                    Ok(written) => bytes += written,
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        // Its rows are in no chunk, so they stay where they are.
                        note.truncate(noted);
                        damaged = damaged.and(Err(error.with_key(&path[1..])));
                    }
                    Err(error) => return Err(error.with_key(&path[1..])),
                }
            }
            self.commit_file(state, &note)?;
            // Where their rows are has changed.
            state.series.clear();
        }
        damaged
    }

    /// Brings the tail of one dataset into chunks; returns about how many bytes that wrote.
    fn fold_tail(&self, state: &State, path: &str, note: &mut Note) -> Result<usize> {
        let object = open_object(&state.open.root, path)?;
        let dataset = Dataset::from_handle(object).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "checkpoint",
                "the dataset of a tail is not there",
            )
        })?;
        let own = attributes::read_own(dataset.handle())?;
        let is_foreign = !series::is_made_here(&state.open.root, path, own.as_ref())?;
        let is_ours = own.is_some();
        let column = series::load_column(&dataset, path, is_ours, is_foreign, None, &state.tails)?;
        let bytes = match &column.form {
            Form::Elements(layout) => layout.chunk_bytes(),
            Form::Variable(_) => 1 << 16,
        };
        ColumnAppend::new(column).finish(state, true, note)?;
        Ok(bytes)
    }

    /// Brings everything into the form that other software reads.
    pub(crate) fn checkpoint(&self, state: &mut State) -> Result<()> {
        let all = state.tails.paths();
        let folded = self.fold_tails(state, all, 0);
        match folded {
            Err(error) if error.kind() != ErrorKind::Corrupt => {
                let error = state.open.explain(error);
                self.roll_back(state)?;
                Err(error)
            }
            folded => folded.and(self.checkpoint_file(state)),
        }
    }

    /// Ends writing. Reads go on from the file as it was left.
    pub(crate) fn close(&self, state: &mut State) -> Result<()> {
        let checkpoint = self.checkpoint(state);
        let log = Arc::clone(&state.open.log);
        let closed = state.open.close().map_err(|e| state.open.explain(e));
        // Unless all tails are in chunks, the journal has to stay: they are in it.
        let ended = match checkpoint {
            // What libhdf5 wrote when it closed the file comes along.
            Ok(()) => log.commit(&[]).and_then(|_| log.close()),
            Err(_) => Ok(()),
        };
        let reopened = self.reopen(state);
        checkpoint.and(closed).and(ended).and(reopened)
    }
}
