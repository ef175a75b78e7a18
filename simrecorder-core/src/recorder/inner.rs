//! The recorder behind its handles: what it consists of and how it is doing.
//!
//! Its work stands in `buffering`, `keys` and `committing`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::buffer_pool::BufferPool;
use super::keys::Known;
use super::options::{OnStoreError, RecorderOptions};
use super::pipeline::{Limits, Pipeline};
use super::series_buffer::SeriesState;
use super::spellings::Spellings;
use super::stop::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::store::data_store::DataStore;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: RecorderOptions,
    pub(crate) pipelines: Vec<Pipeline>,
    /// Spellings of keys as users gave them.
    pub(super) spellings: Spellings,
    /// What this recorder knows of each key.
    pub(super) nodes: Mutex<HashMap<Key, Known>>,
    /// All series of `nodes`, in the order in which they came.
    pub(super) series: RwLock<Vec<Arc<SeriesState>>>,
    /// What the open buffers take.
    pub(super) buffered_bytes: AtomicUsize,
    pub(super) pool: Arc<BufferPool>,
    /// Held while buffers are sent off to make room. If there was no room in the queues, it
    /// tells how often room had been made by then: to try again before costs much for nothing.
    pub(super) spilling: Mutex<Option<u64>>,
    pub(super) stop: Arc<Stop>,
    pub(super) closed: AtomicBool,
    /// Held while the recorder is closed: how that went.
    pub(super) closing: Mutex<Result<()>>,
    /// Whether anything but records was written.
    pub(super) wrote: AtomicBool,
    /// The store that was opened read only, if there is one: then nothing is written.
    pub(super) read_only: Option<usize>,
}

impl Inner {
    pub(crate) fn new(stores: Vec<Arc<dyn DataStore>>, options: RecorderOptions) -> Self {
        let pool = Arc::new(BufferPool::new(options.pool_bound()));
        let limits = Limits {
            queued: options.queue_bound(stores.len()),
            encoded: options.encoded_bound(stores.len()),
            encoders: options.encoders(stores.len()),
        };
        let read_only = stores.iter().position(|store| store.is_read_only());
        let stop = Arc::new(Stop::new(match options.on_store_error {
            OnStoreError::Stop => 1,
            OnStoreError::Detach => stores.len(),
        }));
        let mut names = BTreeSet::new();
        let pipelines = stores.into_iter().map(|store| {
            let mut name = store.name().to_owned();
            for count in 2.. {
                if names.insert(name.clone()) {
                    break;
                }
                name = format!("{}-{count}", store.name());
            }
            let inline = options.inline || read_only.is_some();
            Pipeline::new(
                name,
                store,
                limits,
                inline,
                Arc::clone(&stop),
                Arc::clone(&pool),
            )
        });
        Self {
            pipelines: pipelines.collect(),
            options,
            spellings: Spellings::new(),
            nodes: Mutex::default(),
            series: RwLock::default(),
            buffered_bytes: AtomicUsize::new(0),
            pool,
            spilling: Mutex::default(),
            stop,
            closed: AtomicBool::new(false),
            closing: Mutex::new(Ok(())),
            wrote: AtomicBool::new(false),
            read_only,
        }
    }

    pub(crate) fn check_running(&self, operation: &'static str) -> Result<()> {
        if self.is_closed() {
            return Err(closed(operation));
        }
        if self.pipelines.is_empty() {
            let message = "the recorder has no store; give it one, or use Recorder::disabled()";
            return Err(Error::new(ErrorKind::InvalidArgument, operation, message));
        }
        if let Some(index) = self.read_only {
            let message = format!(
                "store '{}' was opened read only; open it for appending to write",
                self.pipelines[index].name()
            );
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        match self.stop_reason() {
            Some(error) => Err(error),
            // Another thread is closing it.
            None if self.stop.is_set() => Err(closed(operation)),
            None => Ok(()),
        }
    }

    /// The failure that stopped the recorder.
    pub(super) fn stop_reason(&self) -> Option<Error> {
        let failure = |pipeline: &Pipeline| Some(pipeline.failure()?.in_store(pipeline.name()));
        self.stop
            .is_set()
            .then(|| self.pipelines.iter().find_map(failure))
            .flatten()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Whether the stores have threads of their own.
    pub(crate) fn has_threads(&self) -> bool {
        !self.options.inline && self.read_only.is_none()
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.read().len()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes.load(Ordering::Relaxed)
    }

    /// How many records this recorder has taken.
    pub(crate) fn recorded(&self) -> u64 {
        self.series
            .read()
            .iter()
            .map(|state| state.lock().recorded())
            .sum()
    }
}

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the recorder was closed")
}
