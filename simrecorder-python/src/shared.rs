//! The state that a recorder shares with its threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use simrecorder::{Error, ErrorKind};

use crate::messages;
use crate::waiting::wait_for_all;

/// The open recorders, which are closed when the interpreter exits.
static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// The state that a recorder shares with its threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recorder: simrecorder::Recorder,
    pub(crate) sources: Vec<Source>,
    /// The process that created it.
    process: u32,
    /// Recorders for single stores, by index, for the argument `datastore`.
    alone: Mutex<HashMap<usize, simrecorder::Recorder>>,
}

/// One of the stores of a recorder.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) location: Option<Arc<str>>,
    pub(crate) store: Arc<dyn simrecorder::DataStore>,
}

impl Shared {
    /// The shared state of a recorder with these stores, which is closed when the interpreter
    /// exits.
    pub(crate) fn new(recorder: simrecorder::Recorder, sources: Vec<Source>) -> Arc<Self> {
        let shared = Arc::new(Self {
            recorder,
            sources,
            process: std::process::id(),
            alone: Mutex::default(),
        });
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|shared| shared.strong_count() > 0);
        open.push(Arc::downgrade(&shared));
        shared
    }

    /// The recorder that writes to the given store alone, or to all.
    pub(crate) fn writer(&self, only: Option<usize>) -> simrecorder::Recorder {
        match only {
            Some(index) if self.sources.len() > 1 && !self.is_inherited() => {
                let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
                let new = || simrecorder::Recorder::new(Arc::clone(&self.sources[index].store));
                alone.entry(index).or_insert_with(new).clone()
            }
            _ => self.recorder.clone(),
        }
    }

    /// Calls `work` with the recorders of single stores, then `last` with the recorder of all.
    pub(crate) fn each(
        &self,
        work: impl Fn(&simrecorder::Recorder) -> Result<(), Error>,
        last: impl FnOnce(&simrecorder::Recorder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.is_inherited() {
            let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            let alone: Vec<_> = alone.values().cloned().collect();
            alone.iter().try_for_each(work)?;
        }
        last(&self.recorder)
    }

    /// Whether this is a child of the process that created it. Locks may be held forever, so the
    /// recorder reports it.
    fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        let flush = simrecorder::Recorder::flush;
        self.each(flush, flush)
    }

    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        self.each(
            simrecorder::Recorder::flush,
            simrecorder::Recorder::checkpoint,
        )
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        self.each(simrecorder::Recorder::flush, simrecorder::Recorder::close)
    }

    /// The view at a key. If that is a group of pickled objects of the original SimRecorder, the
    /// error says so.
    pub(crate) fn view_or_reason(
        &self,
        key: &str,
        only: Option<usize>,
    ) -> Result<(simrecorder::View, Option<Arc<str>>), Error> {
        self.view(key, only).map_err(|error| match error.kind() {
            ErrorKind::KindMismatch => match self.view(&format!("{key}/0"), only) {
                Err(first) if first.kind() == ErrorKind::Unsupported => first,
                _ => error,
            },
            _ => error,
        })
    }

    /// The view at a key, from the given store or the first one that has it, with the location of
    /// the store.
    fn view(
        &self,
        key: &str,
        only: Option<usize>,
    ) -> Result<(simrecorder::View, Option<Arc<str>>), Error> {
        self.each(simrecorder::Recorder::flush, |_| Ok(()))?;
        if let ([source], None | Some(0)) = (self.sources.as_slice(), only) {
            return Ok((self.recorder.get_all(key)?, source.location.clone()));
        }
        if let Some(source) = only.and_then(|index| self.sources.get(index)) {
            let view = self.recorder.store(&source.name)?.get_all(key)?;
            return Ok((view, source.location.clone()));
        }
        for source in &self.sources {
            match self.recorder.store(&source.name)?.get_all(key) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                view => return Ok((view?, source.location.clone())),
            }
        }
        // The error names the nearest keys.
        Ok((self.recorder.get_all(key)?, None))
    }
}

/// Closes all open recorders, and waits for running work, when the interpreter exits.
#[pyfunction]
pub(crate) fn _close_all(py: Python<'_>) -> PyResult<()> {
    let open = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
    py.detach(|| {
        for shared in open.iter().filter_map(Weak::upgrade) {
            match shared.close() {
                // A forked child leaves this to its parent.
                Err(error) if error.kind() != ErrorKind::Forked => {
                    tracing::error!(%error, "closing failed when the interpreter exited; records may be lost");
                }
                _ => {}
            }
        }
        wait_for_all();
    });
    messages::deliver(py)
}
