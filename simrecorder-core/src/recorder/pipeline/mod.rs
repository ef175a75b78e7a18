//! The path from the recorder to one store: a queue bounded in bytes, and the commits made of it.

mod barrier;
mod change_queue;
mod commit_builder;
mod commit_queue;
mod inline_queue;
#[cfg(all(test, shuttle))]
mod pipeline_tests;
mod queue_room;
mod queued_change;
mod store_client;
mod sync;
#[cfg(test)]
mod test_store;
#[cfg(all(test, not(shuttle)))]
mod tests;
mod threaded_queue;

use std::sync::Arc;

pub(super) use barrier::{Barrier, BarrierKind};
pub(super) use change_queue::{QueueLimits, WhenFull};
pub(super) use queued_change::{BATCH_OVERHEAD, CHANGE_BYTES, batch_bytes};

use change_queue::ChangeQueue;
use inline_queue::InlineQueue;
use store_client::{StoreClient, no_panic};

pub(super) use store_client::is_store_failure;
use threaded_queue::ThreadedQueue;

use super::buffer_pool::BufferPool;
use super::status::StoreStatus;
use super::stop_flag::StopFlag;
use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::schema::Schema;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Node;

/// One store of a recorder, with its queue.
#[derive(Debug)]
pub(super) struct Pipeline {
    client: Arc<StoreClient>,
    queue: Box<dyn ChangeQueue>,
}

/// Bytes in the queue of a store that are reserved for a group of changes. Dropping it releases them.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    pipeline: &'a Pipeline,
    bytes: usize,
}

impl<'a> Reservation<'a> {
    pub(super) fn pipeline(&self) -> &'a Pipeline {
        self.pipeline
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends changes that the store commits together, in their order, or not at all.
    ///
    /// They may be larger than the reservation.
    pub(super) fn send(mut self, group: Vec<Change>) {
        if !group.is_empty() {
            let reserved = std::mem::take(&mut self.bytes);
            self.pipeline.queue.send(group, reserved);
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pipeline.queue.release(self.bytes);
        }
    }
}

impl Pipeline {
    /// A store whose changes are encoded and committed by threads.
    pub(super) fn threaded(
        name: String,
        store: Arc<dyn DataStore>,
        limits: QueueLimits,
        stop: Arc<StopFlag>,
        pool: Arc<BufferPool>,
    ) -> Self {
        let client = Arc::new(StoreClient::new(name, store, stop, pool));
        let queue = Box::new(ThreadedQueue::start(Arc::clone(&client), limits));
        Self { client, queue }
    }

    /// A store whose changes are encoded and committed by the thread that sends them.
    pub(super) fn inline(
        name: String,
        store: Arc<dyn DataStore>,
        limits: QueueLimits,
        stop: Arc<StopFlag>,
        pool: Arc<BufferPool>,
    ) -> Self {
        let client = Arc::new(StoreClient::new(name, store, stop, pool));
        let queue = Box::new(InlineQueue::new(Arc::clone(&client), limits.queued));
        Self { client, queue }
    }

    pub(super) fn name(&self) -> &str {
        &self.client.name
    }

    pub(super) fn store(&self) -> &Arc<dyn DataStore> {
        &self.client.store
    }

    /// The error of the first commit that failed, if one did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.client.failure()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.client.has_failed()
    }

    /// Treats the store as failed, as after a commit that failed.
    pub(super) fn fail(&self, error: Error) {
        self.client.fail(error);
        self.queue.wake();
    }

    /// How often a commit, or a failure, made room in the queue.
    pub(super) fn room_made_count(&self) -> u64 {
        self.queue.room_made_count()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    pub(super) fn status(&self) -> StoreStatus {
        self.client.status(self.queued_bytes())
    }

    /// The node at a key of the store.
    pub(super) fn node(&self, key: &Key) -> Result<Option<Node>> {
        no_panic("node", || self.client.store.node(key))
    }

    /// Asks the store whether it can keep such a series at `key`, and how many records make a chunk.
    pub(super) fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        no_panic("plan", || self.client.store.plan(key, schema))
    }

    /// Reserves `bytes` of the queue; `None` if there is no room and `when_full` says so.
    pub(super) fn reserve(&self, bytes: usize, when_full: WhenFull) -> Option<Reservation<'_>> {
        let pipeline = self;
        let is_reserved = self.queue.reserve(bytes, when_full);
        is_reserved.then(|| Reservation { pipeline, bytes })
    }

    /// Sends a barrier, which tells when the store has reached it.
    pub(super) fn send_barrier(&self, kind: BarrierKind) -> Arc<Barrier> {
        self.queue.send_barrier(kind)
    }

    /// Closes the store once more, after its queue has ended, unless it failed.
    pub(super) fn close_again(&self) -> Result<()> {
        self.client.close_again()
    }

    /// Waits for the threads to end after [`BarrierKind::Close`] was reached.
    pub(super) fn join(&self) {
        self.queue.join();
    }
}
