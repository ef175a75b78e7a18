//! Commits on request: flush, checkpoint, before reading, and at the end.

use std::sync::Arc;
use std::time::Instant;

use super::buffer_pool::BufferPool;
use super::buffers::{AnyBuffer, Buffers};
use super::key_registry::KeyRegistry;
use super::pipeline::{Barrier, BarrierKind, Pipeline, WhenFull};
use super::stores::Stores;
use crate::backend::sync::Mutex;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::store::array_view::ArrayView;
use crate::store::data_store::DataStore;

/// Sends buffered records to the stores, and waits until they have committed them.
#[derive(Debug)]
pub(super) struct Committer {
    stores: Arc<Stores>,
    keys: Arc<KeyRegistry>,
    buffers: Arc<Buffers>,
    pool: Arc<BufferPool>,
    /// The result of closing. Locked while a thread closes the recorder.
    closing: Mutex<Result<()>>,
}

/// A store to read from, once it has committed what was recorded.
#[derive(Debug)]
pub(super) struct ReadableStore<'a> {
    pipeline: &'a Pipeline,
    /// The barrier to wait for, if anything was written.
    barrier: Option<Arc<Barrier>>,
}

impl Committer {
    pub(super) fn new(
        stores: Arc<Stores>,
        keys: Arc<KeyRegistry>,
        buffers: Arc<Buffers>,
        pool: Arc<BufferPool>,
    ) -> Self {
        Self {
            stores,
            keys,
            buffers,
            pool,
            closing: Mutex::new(Ok(())),
        }
    }

    /// The stores that it commits to.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Commits everything and waits until it is durable.
    pub(super) fn flush(&self) -> Result<()> {
        self.commit_all(BarrierKind::Flush, "flush")
    }

    /// Commits everything and writes it in the form that other software reads.
    pub(super) fn checkpoint(&self) -> Result<()> {
        self.commit_all(BarrierKind::Checkpoint, "checkpoint")
    }

    fn commit_all(&self, kind: BarrierKind, operation: &'static str) -> Result<()> {
        match self.stores.check_running(operation) {
            // Nothing was written.
            Err(error) if error.kind() == ErrorKind::ReadOnly => return Ok(()),
            running => running?,
        }
        self.buffers.complete_ticks();
        self.buffers.send_all(WhenFull::Wait, 0);
        let mut held_up = Ok(());
        for (pipeline, barrier) in self.stores.send_barriers(&kind) {
            // The pipelines keep errors, except those that are not failures of the store.
            let result = barrier.wait(None).unwrap_or(Ok(()));
            if !pipeline.has_failed() {
                held_up = held_up.and(result.map_err(|e| e.in_store(pipeline.name())));
            }
        }
        self.stores.stop_reason().map_or(held_up, Err)
    }

    /// Commits the buffered records of `key`, or of the series right below it, and everything that was declared and
    /// set. Returns the stores to read, in their order: all that have not failed, or `only` one.
    pub(super) fn commit_for_reading(
        &self,
        key: &Key,
        only: Option<usize>,
    ) -> Result<Vec<ReadableStore<'_>>> {
        let buffer = self.keys.buffer(key);
        let has_written = self.keys.has_written();
        let wanted = buffer.map_or_else(|| self.buffers.below(key), |buffer| vec![buffer]);
        for buffer in wanted {
            self.buffers.send_any(&buffer, WhenFull::Wait)?;
        }
        let is_wanted = |index: usize, pipeline: &Pipeline| match only {
            Some(only) => only == index,
            None => !pipeline.has_failed() || self.stores.is_stopped(),
        };
        let pipelines = self.stores.pipelines().iter().enumerate();
        let wanted = pipelines.filter(|(index, pipeline)| is_wanted(*index, pipeline));
        let readable = wanted.map(|(_, pipeline)| ReadableStore {
            pipeline,
            barrier: has_written.then(|| pipeline.send_barrier(BarrierKind::Flush)),
        });
        Ok(readable.collect())
    }

    /// Commits the buffered records of the series that may be coordinates of a view of a readable store, and waits
    /// until they have an element for each record of the view.
    pub(super) fn commit_coordinates(
        &self,
        readable: &ReadableStore<'_>,
        view: &dyn ArrayView,
    ) -> Result<()> {
        let group = view.key().parent().unwrap_or(Key::ROOT);
        let names = view.dimension_names().unwrap_or_default().iter().flatten();
        let keys = names.filter_map(|name| group.join(name).ok());
        // A timeline was sent together with the series of the view.
        let coordinates = keys.filter_map(|key| match self.keys.buffer(&key) {
            Some(AnyBuffer::Series(buffer)) if key != *view.key() => Some(buffer),
            _ => None,
        });
        let mut barrier = None;
        for buffer in coordinates {
            drop(self.buffers.send(buffer.lock(), WhenFull::Wait)?);
            barrier = Some(readable.pipeline.send_barrier(BarrierKind::Flush));
        }
        if let Some(barrier) = barrier {
            // The pipelines keep errors.
            barrier.wait(None);
        }
        Ok(())
    }

    /// [`commit_for_reading`](Self::commit_for_reading) for all series.
    pub(super) fn commit_all_for_reading(
        &self,
        only: Option<usize>,
    ) -> Result<Vec<ReadableStore<'_>>> {
        self.buffers.send_all(WhenFull::Wait, 0);
        self.commit_for_reading(&Key::ROOT, only)
    }

    /// Waits until a store can be read; `None` if it failed in the meantime, and is not the `only`
    /// one to read.
    pub(super) fn wait_for<'a>(
        &self,
        readable: &ReadableStore<'a>,
        only: Option<usize>,
    ) -> Result<Option<&'a dyn DataStore>> {
        if let Some(barrier) = &readable.barrier {
            // The pipelines keep errors.
            barrier.wait(None);
        }
        if let Some(error) = self.stores.stop_reason() {
            return Err(error);
        }
        let pipeline = readable.pipeline;
        let is_readable = only.is_some() || !pipeline.has_failed();
        Ok(is_readable.then(|| &**pipeline.store()))
    }

    /// Closes the recorder; `None` if the deadline passed before all stores were closed.
    pub(super) fn close(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        // A second caller gets the result of the first one.
        let mut closing = self.closing.lock();
        let pipelines = self.stores.pipelines();
        if !self.stores.close() {
            if closing.is_err() {
                *closing = first_error(pipelines.iter().map(|p| (p.name(), p.close_again())));
            }
            return Some(closing.clone());
        }
        self.keys.wait_for_changes();
        self.buffers.close();
        let results: Vec<_> = self
            .stores
            .send_barriers(&BarrierKind::Close)
            .into_iter()
            .map(|(pipeline, barrier)| Some((pipeline.name(), barrier.wait(deadline)?)))
            .collect::<Option<_>>()?;
        pipelines.iter().for_each(Pipeline::join);
        self.pool.clear();
        *closing = first_error(results.into_iter());
        Some(closing.clone())
    }
}

fn first_error<'a>(results: impl Iterator<Item = (&'a str, Result<()>)>) -> Result<()> {
    let mut errors = results.filter_map(|(name, result)| Some((name, result.err()?)));
    let Some((name, first)) = errors.next() else {
        return Ok(());
    };
    let others: Vec<_> = errors
        .map(|(name, error)| format!("store '{name}': {error}"))
        .collect();
    let first = first.in_store(name);
    if others.is_empty() {
        return Err(first);
    }
    let message = format!("several stores failed; also {}", others.join("; "));
    Err(Error::new(first.kind(), "close", message).with_source(first))
}
