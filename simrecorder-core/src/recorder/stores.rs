//! All stores of a recorder: whether they accept records, and room in their queues.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer_pool::BufferPool;
use super::options::{MemoryPolicy, OnStoreError, RecorderOptions};
use super::pipeline::{
    Barrier, BarrierKind, Pipeline, QueueLimits, Reservation, WhenFull, is_store_failure,
};
use super::stop_flag::StopFlag;
use crate::error::{Error, ErrorKind, Result};
use crate::store::commit::Change;
use crate::store::data_store::DataStore;
use crate::store::errors::closed;

/// The stores of a recorder, each with its queue.
#[derive(Debug)]
pub(super) struct Stores {
    pipelines: Vec<Pipeline>,
    stop: Arc<StopFlag>,
    is_closed: AtomicBool,
    /// A store that was opened read only, if there is one. Then nothing is written.
    read_only: Option<usize>,
    is_threaded: bool,
    on_store_error: OnStoreError,
    memory_policy: MemoryPolicy,
    memory_bound: usize,
}

/// Bytes that were reserved in the queues of several stores.
#[derive(Debug)]
pub(super) struct Reservations<'a>(Vec<Reservation<'a>>);

impl<'a> Reservations<'a> {
    /// Whether every queue has room for a group of `bytes` bytes.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        self.0
            .iter()
            .all(|reservation| reservation.bytes() >= bytes)
    }

    /// Sends the same group of changes to every store, which commits them together or not at all.
    pub(super) fn send(self, group: impl Fn() -> Vec<Change>) {
        for reservation in self.0 {
            reservation.send(group());
        }
    }

    /// The reservations, in the order of the stores.
    pub(super) fn into_vec(self) -> Vec<Reservation<'a>> {
        self.0
    }
}

impl Stores {
    pub(super) fn new(
        stores: Vec<Arc<dyn DataStore>>,
        options: &RecorderOptions,
        stop: &Arc<StopFlag>,
        pool: &Arc<BufferPool>,
    ) -> Self {
        let limits = QueueLimits {
            queued: options.queue_bound(stores.len()),
            encoded: options.encoded_bound(stores.len()),
            encoders: options.encoders(stores.len()),
        };
        let read_only = stores.iter().position(|store| store.is_read_only());
        let is_threaded = !options.inline && read_only.is_none();
        let start = match is_threaded {
            true => Pipeline::threaded,
            false => Pipeline::inline,
        };
        let names = unique_names(&stores);
        let pipelines = stores
            .into_iter()
            .zip(names)
            .map(|(store, name)| start(name, store, limits, Arc::clone(stop), Arc::clone(pool)));
        Self {
            pipelines: pipelines.collect(),
            stop: Arc::clone(stop),
            is_closed: AtomicBool::new(false),
            read_only,
            is_threaded,
            on_store_error: options.on_store_error,
            memory_policy: options.memory_policy,
            memory_bound: options.memory_bound,
        }
    }

    pub(super) fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.pipelines.iter().map(Pipeline::name).collect()
    }

    /// The stores that have not failed.
    pub(super) fn healthy(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines
            .iter()
            .filter(|pipeline| !pipeline.has_failed())
    }

    /// Sends a barrier to every store.
    pub(super) fn send_barriers(&self, kind: &BarrierKind) -> Vec<(&Pipeline, Arc<Barrier>)> {
        let send = |pipeline| (pipeline, Pipeline::send_barrier(pipeline, kind.clone()));
        self.pipelines.iter().map(send).collect()
    }

    /// Whether the stores have threads.
    pub(super) fn is_threaded(&self) -> bool {
        self.is_threaded
    }

    /// Checks that the recorder accepts records and other changes.
    pub(super) fn check_running(&self, operation: &'static str) -> Result<()> {
        if self.is_closed() {
            return Err(closed(operation, "recorder"));
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
        // Reads the flag once, since a store may fail at this moment.
        if !self.is_stopped() {
            return Ok(());
        }
        // Without a reason, another thread is closing it.
        let reason = self.stop_reason();
        Err(reason.unwrap_or_else(|| closed(operation, "recorder")))
    }

    /// Whether the recorder was closed, or stopped because stores failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// The failure that stopped the recorder.
    pub(super) fn stop_reason(&self) -> Option<Error> {
        let failure = |pipeline: &Pipeline| Some(pipeline.failure()?.in_store(pipeline.name()));
        self.is_stopped()
            .then(|| self.pipelines.iter().find_map(failure))
            .flatten()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Refuses everything from now on; `false` if it did so already.
    pub(super) fn close(&self) -> bool {
        let is_first = !self.is_closed.swap(true, Ordering::AcqRel);
        if is_first {
            self.stop.set();
        }
        is_first
    }

    /// The answer of a store; `None` if it failed and the recorder continues without it.
    pub(super) fn answer<T>(&self, pipeline: &Pipeline, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(error)
                if self.on_store_error == OnStoreError::Detach && is_store_failure(&error) =>
            {
                pipeline.fail(error);
                self.stop_reason().map_or(Ok(None), Err)
            }
            answer => answer.map(Some),
        }
    }

    /// An error that a store gave, with the name of the store if there are several.
    pub(super) fn in_store(&self, pipeline: &Pipeline, error: Error) -> Error {
        match self.pipelines.len() {
            0 | 1 => error,
            _ => error.in_store(pipeline.name()),
        }
    }

    /// What to do when a queue has no room, from the options.
    pub(super) fn when_full(&self) -> WhenFull {
        match self.memory_policy {
            MemoryPolicy::Block => WhenFull::Wait,
            MemoryPolicy::Error => WhenFull::Fail,
        }
    }

    /// Reserves room for a group of changes in the queues of all stores, or of none.
    pub(super) fn reserve(&self, bytes: usize, when_full: WhenFull) -> Result<Reservations<'_>> {
        let reserve = |pipeline| Pipeline::reserve(pipeline, bytes, when_full);
        let reserved: Option<_> = self.pipelines.iter().map(reserve).collect();
        reserved.map(Reservations).ok_or_else(|| self.buffer_full())
    }

    pub(super) fn buffer_full(&self) -> Error {
        let slowest = self.pipelines.iter().max_by_key(|p| p.queued_bytes());
        let message = format!(
            "the memory bound of {} bytes is reached, because store '{}' does not keep up; record less often, raise \
             the bound, or let the recorder block",
            self.memory_bound,
            slowest.map_or("", Pipeline::name)
        );
        Error::new(ErrorKind::BufferFull, "record", message)
    }
}

/// The name of each store in its recorder: a second one of a kind gets a number.
fn unique_names(stores: &[Arc<dyn DataStore>]) -> Vec<String> {
    let mut names = BTreeSet::new();
    let name = |store: &Arc<dyn DataStore>| {
        let mut name = store.name().to_owned();
        for number in 2.. {
            if names.insert(name.clone()) {
                break;
            }
            name = format!("{}-{number}", store.name());
        }
        name
    };
    stores.iter().map(name).collect()
}
