//! A queue with threads: some encode, one commits, so that encoding overlaps with committing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::barrier::{Barrier, BarrierKind};
use super::change_queue::{ChangeQueue, QueueLimits, WhenFull};
use super::commit_builder::{CommitBuilder, commit_bytes};
use super::commit_queue::CommitQueue;
use super::queue_room::QueueRoom;
use super::queued_change::QueuedChange;
use super::store_client::StoreClient;
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::backend::fork::check_threads_start;
use crate::error::{Error, ErrorKind, Result};
use crate::store::commit::Change;

/// The queue of a store, with the threads that empty it.
#[derive(Debug)]
pub(super) struct ThreadedQueue {
    shared: Arc<SharedQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The state that callers and threads share.
#[derive(Debug)]
struct SharedQueue {
    client: Arc<StoreClient>,
    limits: QueueLimits,
    state: Mutex<QueueState>,
    /// Signals that there is something to encode, or room for the result.
    encode: Condvar,
    /// Signals that there is something to commit, or that a thread waits for room.
    commit: Condvar,
    /// Signals that there is room in the queue.
    room: Condvar,
}

/// An item of the queue.
#[derive(Debug)]
enum Job {
    Change(QueuedChange),
    Barrier(Arc<Barrier>),
}

#[derive(Debug)]
struct QueueState {
    room: QueueRoom,
    /// Jobs for the threads that encode, in order.
    to_encode: VecDeque<Job>,
    /// Jobs for the thread that commits, in the same order.
    to_commit: CommitQueue<Job>,
    /// The number of changes that are being encoded.
    encoding_count: usize,
    /// The size of all changes that are encoded or being encoded, and not committed.
    encoded_bytes: usize,
    /// Whether the first change of `to_encode` belongs to a group whose first changes were taken.
    is_inside_group: bool,
}

impl ThreadedQueue {
    /// Starts the threads of a queue. If the system starts none, the store has failed.
    pub(super) fn start(client: Arc<StoreClient>, limits: QueueLimits) -> Self {
        let state = QueueState {
            room: QueueRoom::new(limits.queued),
            to_encode: VecDeque::new(),
            to_commit: CommitQueue::default(),
            encoding_count: 0,
            encoded_bytes: 0,
            is_inside_group: false,
        };
        let shared = Arc::new(SharedQueue {
            client,
            limits,
            state: Mutex::new(state),
            encode: Condvar::new(),
            commit: Condvar::new(),
            room: Condvar::new(),
        });
        let threads = shared.start_threads().unwrap_or_else(|error| {
            shared.client.fail_to_start(error);
            shared.wake(&mut shared.state.lock());
            Vec::new()
        });
        Self {
            shared,
            threads: Mutex::new(threads),
        }
    }
}

impl ChangeQueue for ThreadedQueue {
    fn reserve(&self, bytes: usize, when_full: WhenFull) -> bool {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        match when_full {
            WhenFull::Exceed => {}
            WhenFull::Fail => {
                let has_room = !state.room.is_awaited() && state.room.has(bytes);
                if !has_room && !shared.client.is_over() {
                    state.room.refuse();
                    shared.commit.notify_one();
                    return false;
                }
            }
            WhenFull::Wait => {
                let turn = state.room.join_line();
                while !(state.room.is_turn(turn) && state.room.has(bytes)
                    || shared.client.is_over())
                {
                    shared.commit.notify_one();
                    shared.room.wait(&mut state);
                }
                state.room.end_turn();
                if state.room.is_awaited() {
                    shared.room.notify_all();
                }
            }
        }
        state.room.take(bytes);
        true
    }

    fn release(&self, bytes: usize) {
        self.shared.release(&mut self.shared.state.lock(), bytes);
    }

    fn send(&self, group: Vec<Change>, reserved: usize) {
        let shared = &*self.shared;
        let group = QueuedChange::group(group);
        let count = group.len();
        let mut state = shared.state.lock();
        shared.release(&mut state, reserved);
        if shared.client.is_over() {
            return;
        }
        for queued in group {
            state.room.take(queued.bytes);
            state.to_encode.push_back(Job::Change(queued));
        }
        if count == 1 {
            shared.encode.notify_one();
        } else {
            shared.encode.notify_all();
        }
    }

    fn send_barrier(&self, kind: BarrierKind) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(kind));
        let mut state = self.shared.state.lock();
        if self.shared.client.is_closed() {
            barrier.complete(self.shared.client.failure().map_or(Ok(()), Err));
        } else {
            let job = Job::Barrier(Arc::clone(&barrier));
            state.to_encode.push_back(job);
            self.shared.encode.notify_one();
        }
        barrier
    }

    fn wake(&self) {
        self.shared.wake(&mut self.shared.state.lock());
    }

    fn queued_bytes(&self) -> usize {
        self.shared.state.lock().room.taken()
    }

    fn room_made_count(&self) -> u64 {
        self.shared.state.lock().room.made_count()
    }

    fn join(&self) {
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() != thread::current().id() {
                // A panic of the thread has become an error of its store.
                drop(thread.join());
            }
        }
    }
}

impl SharedQueue {
    fn start_threads(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>> {
        let start = |what: &str, work: fn(&Self)| {
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name(format!("simrecorder-{what}"));
            check_threads_start()
                .and_then(|()| thread.spawn(move || work(&shared)))
                .map_err(|e| {
                    let message =
                        "the system could not start a thread for the store; use inline mode";
                    Error::new(ErrorKind::Io, "start recorder", message)
                        .with_key(&*self.client.name)
                        .with_source(e)
                })
        };
        let encoders = (0..self.limits.encoders).map(|_| start("encode", Self::encode_changes));
        let committer = std::iter::once_with(|| start("commit", Self::commit_changes));
        encoders.chain(committer).collect()
    }

    /// The body of a thread that encodes.
    fn encode_changes(&self) {
        let mut state = self.state.lock();
        loop {
            if self.is_far_ahead(&state) {
                self.encode.wait(&mut state);
                continue;
            }
            match state.to_encode.pop_front() {
                Some(Job::Change(queued)) => {
                    state.is_inside_group = !queued.ends_group;
                    if self.client.has_failed() {
                        self.release(&mut state, queued.bytes);
                        continue;
                    }
                    if state.is_inside_group {
                        // Another thread that was far ahead may continue.
                        self.encode.notify_one();
                    }
                    self.encode(&mut state, queued);
                }
                Some(barrier) => {
                    let slot = state.to_commit.reserve_slot();
                    state.to_commit.fill(slot, barrier);
                }
                None if self.client.is_closed() => return,
                None => {
                    self.encode.wait(&mut state);
                    continue;
                }
            }
            self.commit.notify_one();
        }
    }

    fn encode(&self, state: &mut MutexGuard<'_, QueueState>, mut queued: QueuedChange) {
        state.encoding_count += 1;
        state.encoded_bytes += queued.bytes;
        let slot = state.to_commit.reserve_slot();
        queued.change = MutexGuard::unlocked(state, || self.client.prepare(queued.change));
        state.encoding_count -= 1;
        state.to_commit.fill(slot, Job::Change(queued));
        // Another thread may wait for this one.
        self.encode.notify_one();
        if self.client.has_failed() {
            self.wake(state);
        }
    }

    /// Whether enough changes are encoded and wait for their commit. Until the commit, an encoded batch takes its memory
    /// twice.
    fn is_far_ahead(&self, state: &QueueState) -> bool {
        // A commit waits for the rest of a group, so encoding the rest must not wait for a commit.
        if state.is_inside_group || state.encoded_bytes == 0 || self.client.is_over() {
            return false;
        }
        let next = match state.to_encode.front() {
            // Only a single thread may exceed the bound, so that encoding never stops.
            Some(Job::Change(queued)) if state.encoding_count > 0 => queued.group_bytes,
            _ => 1,
        };
        // At least the size of a commit, since a smaller one is not made.
        let bound = self.limits.encoded.max(self.commit_bytes());
        state.encoded_bytes.saturating_add(next) > bound
    }

    /// The body of the thread that commits.
    fn commit_changes(&self) {
        let mut builder = CommitBuilder::default();
        let mut state = self.state.lock();
        loop {
            match state.to_commit.pop() {
                Some(Job::Change(queued)) => {
                    builder.push(queued);
                    if !builder.is_full(self.commit_bytes()) {
                        continue;
                    }
                }
                Some(Job::Barrier(barrier)) => {
                    MutexGuard::unlocked(&mut state, || {
                        self.commit(builder.take());
                        self.reach(&barrier);
                    });
                    if self.client.is_closed() {
                        self.drop_jobs(&mut state);
                        return;
                    }
                    continue;
                }
                None if self.client.is_closed() => return,
                None if self.must_make_room(&state, &builder) => {}
                None => {
                    self.commit.wait(&mut state);
                    continue;
                }
            }
            state.room.begin_commit();
            MutexGuard::unlocked(&mut state, || self.commit(builder.take()));
        }
    }

    /// Whether a thread needs room that only a commit of `builder` can make.
    fn must_make_room(&self, state: &QueueState, builder: &CommitBuilder) -> bool {
        if builder.is_empty() {
            return false;
        }
        // A failed store drops everything, even the first part of a group.
        self.client.has_failed()
            || builder.ends_with_group()
                && state.room.is_wanted()
                && state.to_encode.is_empty()
                && state.to_commit.is_empty()
    }

    fn commit_bytes(&self) -> usize {
        commit_bytes(self.limits.queued)
    }

    fn commit(&self, builder: CommitBuilder) {
        if builder.is_empty() {
            return;
        }
        let bytes = builder.bytes();
        self.client.commit(builder);
        let mut state = self.state.lock();
        state.encoded_bytes = state.encoded_bytes.saturating_sub(bytes);
        state.room.count_made();
        self.encode.notify_all();
        self.release(&mut state, bytes);
    }

    fn reach(&self, barrier: &Barrier) {
        let result = self.client.reach(&barrier.kind);
        if self.client.is_over() {
            self.wake(&mut self.state.lock());
        }
        barrier.complete(result);
    }

    fn release(&self, state: &mut QueueState, bytes: usize) {
        state.room.release(bytes);
        self.room.notify_all();
    }

    /// Wakes all threads, after the store failed or was closed.
    fn wake(&self, state: &mut QueueState) {
        state.room.count_made();
        self.encode.notify_all();
        self.commit.notify_all();
        self.room.notify_all();
    }

    /// Completes the barriers that were sent after [`BarrierKind::Close`].
    fn drop_jobs(&self, state: &mut QueueState) {
        let mut jobs = state.to_commit.clear();
        jobs.extend(state.to_encode.drain(..));
        for job in jobs {
            if let Job::Barrier(barrier) = job {
                barrier.complete(self.client.failure().map_or(Ok(()), Err));
            }
        }
    }
}
