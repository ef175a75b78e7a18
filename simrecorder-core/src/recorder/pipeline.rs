//! The way from the recorder to one store: a queue bounded in bytes, before the threads of
//! `store_threads`.

use std::sync::Arc;

use super::buffer_pool::BufferPool;
use super::status::{StoreState, StoreStatus};
use super::stop::Stop;
use super::store_threads::{Collected, Job, Shared, State, no_panic};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex};
use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::schema::Schema;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Node;

pub(crate) use super::store_threads::{Limits, Mark, Reached};

/// What a change without records counts in the queue.
pub(crate) const CHANGE_BYTES: usize = 512;

/// One store of a recorder, with its queue and its threads.
#[derive(Debug)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What was collected for the next commit, where there are no threads.
    inline: Option<Mutex<Collected>>,
}

/// What to do when a queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    Fail,
    /// Take more than there is: for what takes no more memory in the queue than it did before.
    Exceed,
}

/// Bytes in the queue of a store that changes may use. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    pipeline: &'a Pipeline,
    bytes: usize,
}

impl Reserved<'_> {
    pub(crate) fn pipeline(&self) -> &Pipeline {
        self.pipeline
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends a change that uses all of it.
    pub(crate) fn send(mut self, change: Change) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pipeline.send(change, bytes);
    }

    /// Sends a change that uses a part of it.
    pub(crate) fn send_part(&mut self, change: Change, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.pipeline.send(change, bytes);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let shared = &self.pipeline.shared;
            shared.release(&mut shared.state.lock(), self.bytes);
        }
    }
}

impl Pipeline {
    pub(crate) fn new(
        name: String,
        store: Arc<dyn DataStore>,
        limits: Limits,
        inline: bool,
        stop: Arc<Stop>,
        pool: Arc<BufferPool>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name,
            store,
            limits,
            stop,
            pool,
            state: Mutex::default(),
            encode: Condvar::new(),
            commit: Condvar::new(),
            room: Condvar::new(),
        });
        let inline = inline.then(Mutex::default);
        let mut threads = Vec::new();
        if inline.is_none() {
            match shared.start_threads() {
                Ok(started) => threads = started,
                Err(error) => {
                    let mut state = shared.state.lock();
                    shared.fail(&mut state, error);
                    state.closed = true;
                }
            }
        }
        Self {
            shared,
            threads: Mutex::new(threads),
            inline,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn store(&self) -> &Arc<dyn DataStore> {
        &self.shared.store
    }

    /// The error of the commit that failed, if one did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.state.lock().failed.clone()
    }

    /// Gives the store up, as after a commit that failed.
    pub(crate) fn fail(&self, error: Error) {
        self.shared.fail(&mut self.shared.state.lock(), error);
    }

    /// How often room was made in the queue.
    pub(crate) fn room_made(&self) -> u64 {
        self.shared.state.lock().room_made
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let state = self.shared.state.lock();
        StoreStatus {
            name: self.shared.name.clone(),
            state: match &state.failed {
                Some(error) => StoreState::Failed(error.clone()),
                None if state.closed => StoreState::Closed,
                None => StoreState::Healthy,
            },
            queued_bytes: state.queued_bytes,
            committed_records: state.committed_records,
            commits: state.commits,
        }
    }

    /// The node at a key of the store.
    pub(crate) fn node(&self, key: &Key) -> Result<Option<Node>> {
        no_panic(|| self.shared.store.node(key))
    }

    /// Asks the store whether it can keep this at `key`, and how many records make a chunk.
    pub(crate) fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        no_panic(|| self.shared.store.plan(key, schema))
    }

    /// Sets `bytes` of the queue aside; `None` if there is no room and `when_full` says so.
    /// A store that failed has room for everything: it drops what it gets.
    pub(crate) fn reserve(&self, bytes: usize, when_full: WhenFull) -> Option<Reserved<'_>> {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        // What is larger than the bound goes through alone.
        let has_room = |state: &State| {
            state.queued_bytes == 0
                || state.queued_bytes.saturating_add(bytes) <= shared.limits.queued
        };
        match (when_full, &self.inline) {
            (WhenFull::Exceed, _) => {}
            (_, Some(collected)) => {
                if !has_room(&state) {
                    drop(state);
                    let mut collected = collected.lock();
                    shared.commit(std::mem::take(&mut *collected));
                    state = shared.state.lock();
                }
            }
            (WhenFull::Fail, None) => {
                if !state.is_over() && (state.is_awaited() || !has_room(&state)) {
                    state.refused = true;
                    shared.commit.notify_one();
                    return None;
                }
            }
            (WhenFull::Wait, None) => {
                let turn = state.next_turn;
                state.next_turn += 1;
                while !(state.is_over() || state.turn == turn && has_room(&state)) {
                    shared.commit.notify_one();
                    shared.room.wait(&mut state);
                }
                state.turn += 1;
                if state.is_awaited() {
                    shared.room.notify_all();
                }
            }
        }
        state.queued_bytes += bytes;
        Some(Reserved {
            pipeline: self,
            bytes,
        })
    }

    /// Sends a change for which `bytes` were set aside.
    fn send(&self, change: Change, bytes: usize) {
        let mut collected = self.inline.as_ref().map(Mutex::lock);
        let mut state = self.shared.state.lock();
        if state.is_over() {
            return self.shared.release(&mut state, bytes);
        }
        let Some(collected) = &mut collected else {
            state.to_encode.push_back(Job::Change { change, bytes });
            self.shared.encode.notify_one();
            return;
        };
        drop(state);
        collected.bytes += bytes;
        collected.changes.push(self.shared.prepare(change));
        if collected.bytes >= self.shared.commit_bytes() {
            self.shared.commit(std::mem::take(&mut **collected));
        }
    }

    /// Sends a mark; the answer tells when the store has reached it.
    pub(crate) fn mark(&self, mark: Mark) -> Arc<Reached> {
        let reached = Arc::<Reached>::default();
        if let Some(collected) = &self.inline {
            // Under the lock, so that commits stay in order.
            let mut collected = collected.lock();
            self.shared.commit(std::mem::take(&mut *collected));
            self.shared.reach(mark, &reached);
            return reached;
        }
        let mut state = self.shared.state.lock();
        if state.closed {
            reached.set(state.failed.clone().map_or(Ok(()), Err));
        } else {
            let reached = Arc::clone(&reached);
            state.to_encode.push_back(Job::Mark { mark, reached });
            self.shared.encode.notify_one();
        }
        reached
    }

    /// Closes the store once more, after its threads have ended, unless it failed.
    pub(crate) fn close_again(&self) -> Result<()> {
        match self.failure() {
            Some(error) => Err(error),
            None => no_panic(|| self.shared.store.close()),
        }
    }

    /// Waits for the threads to end after [`Mark::Close`] was reached.
    pub(crate) fn join(&self) {
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() != thread::current().id() {
                // A panic of the thread was turned into an error of its store.
                drop(thread.join());
            }
        }
    }
}
