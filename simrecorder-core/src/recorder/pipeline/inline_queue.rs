//! A queue without threads: the caller encodes and commits.

use std::sync::Arc;

use super::barrier::{Barrier, BarrierKind};
use super::change_queue::{ChangeQueue, WhenFull};
use super::commit_builder::{CommitBuilder, commit_bytes};
use super::queue_room::QueueRoom;
use super::queued_change::{QueuedChange, group_bytes};
use super::store_client::StoreClient;
use super::sync::Mutex;
use crate::store::commit::Change;

/// Collects changes, and commits them in the thread that sends them once they have the size of a commit.
#[derive(Debug)]
pub(super) struct InlineQueue {
    client: Arc<StoreClient>,
    commit_bytes: usize,
    /// Locked while a commit is made, so that commits stay in order.
    builder: Mutex<CommitBuilder>,
    room: Mutex<QueueRoom>,
}

impl InlineQueue {
    pub(super) fn new(client: Arc<StoreClient>, bound: usize) -> Self {
        Self {
            client,
            commit_bytes: commit_bytes(bound),
            builder: Mutex::default(),
            room: Mutex::new(QueueRoom::new(bound)),
        }
    }

    /// Commits the collected changes.
    fn commit(&self, builder: &mut CommitBuilder) {
        if builder.is_empty() {
            return;
        }
        let bytes = builder.bytes();
        self.client.commit(builder.take());
        let mut room = self.room.lock();
        room.release(bytes);
        room.count_made();
    }
}

impl ChangeQueue for InlineQueue {
    fn reserve(&self, bytes: usize, when_full: WhenFull) -> bool {
        let has_room = when_full == WhenFull::Exceed || self.room.lock().has(bytes);
        if !has_room {
            self.commit(&mut self.builder.lock());
        }
        self.room.lock().take(bytes);
        true
    }

    fn release(&self, bytes: usize) {
        self.room.lock().release(bytes);
    }

    fn send(&self, group: Vec<Change>, reserved: usize) {
        let mut builder = self.builder.lock();
        self.release(reserved);
        if self.client.is_over() {
            return;
        }
        self.room.lock().take(group_bytes(&group));
        for mut queued in QueuedChange::group(group) {
            queued.change = self.client.prepare(queued.change);
            builder.push(queued);
        }
        if builder.is_full(self.commit_bytes) {
            self.commit(&mut builder);
        }
    }

    fn send_barrier(&self, kind: BarrierKind) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(kind));
        let mut builder = self.builder.lock();
        self.commit(&mut builder);
        barrier.complete(self.client.reach(&barrier.kind));
        barrier
    }

    fn wake(&self) {
        // No thread waits for room.
        self.room.lock().count_made();
    }

    fn queued_bytes(&self) -> usize {
        self.room.lock().taken()
    }

    fn room_made_count(&self) -> u64 {
        self.room.lock().made_count()
    }

    fn join(&self) {}
}
