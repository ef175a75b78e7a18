//! The way from the recorder to one store: a queue bounded in bytes, a thread that encodes and
//! a thread that commits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::buffer_pool::BufferPool;
use super::inner::Stop;
use super::status::{StoreState, StoreStatus};
use crate::store::{Batch, Change, Commit, DataStore, Node};
use crate::{Error, ErrorKind, Key, Result, Schema};

/// A commit is made when this many bytes wait for it, without a flush.
const COMMIT_BYTES: usize = 16 << 20;
/// What a change without records counts in the queue.
pub(crate) const CHANGE_BYTES: usize = 512;

/// What to do once all changes before it are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Flush,
    Checkpoint,
    Close,
}

/// Tells when a store has reached a mark.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    result: Mutex<Option<Result<()>>>,
    changed: Condvar,
}

impl Reached {
    fn set(&self, result: Result<()>) {
        *self.result.lock() = Some(result);
        self.changed.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.result.lock().is_some()
    }

    /// Waits for the store; `None` when `deadline` passed first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Result<()>> {
        let mut result = self.result.lock();
        while result.is_none() {
            match deadline {
                Some(deadline) => {
                    if self.changed.wait_until(&mut result, deadline).timed_out() {
                        break;
                    }
                }
                None => self.changed.wait(&mut result),
            }
        }
        result.clone()
    }
}

#[derive(Debug)]
enum Job {
    Change { change: Change, bytes: usize },
    Mark { mark: Mark, reached: Arc<Reached> },
}

#[derive(Debug, Default)]
struct State {
    /// Jobs for the thread that encodes, in order.
    to_encode: VecDeque<Job>,
    /// Jobs for the thread that commits, in order.
    to_commit: VecDeque<Job>,
    /// Whether the encoding thread has a job in hand.
    encoding: bool,
    /// Bytes of all changes from their reservation to the end of their commit.
    queued_bytes: usize,
    /// The part of them that is encoded.
    encoded_bytes: usize,
    /// Threads that wait for room get it in the order in which they came: the turn of the next
    /// one to come, and the turn that it is now.
    next_turn: u64,
    turn: u64,
    /// Whether someone found no room and did not wait.
    refused: bool,
    /// How often a commit, or a failure, made room.
    room_made: u64,
    failed: Option<Error>,
    closed: bool,
    committed_records: u64,
    commits: u64,
}

impl State {
    /// Whether commits, and with them waiting for room, are over.
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.closed
    }

    /// Whether someone waits for room.
    fn is_awaited(&self) -> bool {
        self.turn != self.next_turn && !self.is_over()
    }
}

#[derive(Debug)]
struct Shared {
    name: String,
    store: Arc<dyn DataStore>,
    bound: usize,
    /// The most bytes that are encoded and wait for their commit.
    encoded_bound: usize,
    stop: Arc<Stop>,
    pool: Arc<BufferPool>,
    state: Mutex<State>,
    /// There is a job to encode, or room for what it gives.
    encode: Condvar,
    /// There is a job to commit, or someone waits for room.
    commit: Condvar,
    /// There is room in the queue.
    room: Condvar,
}

/// One store of a recorder, with its queue and its threads.
#[derive(Debug)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What was collected for the next commit, where there are no threads.
    inline: Option<Mutex<Collected>>,
}

#[derive(Debug, Default)]
struct Collected {
    changes: Vec<Change>,
    bytes: usize,
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
        (bound, encoded_bound): (usize, usize),
        inline: bool,
        stop: Arc<Stop>,
        pool: Arc<BufferPool>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name,
            store,
            bound,
            encoded_bound,
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

    /// What there is at a key of the store.
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
            state.queued_bytes == 0 || state.queued_bytes.saturating_add(bytes) <= shared.bound
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

    /// Waits for the threads to end after [`Mark::Close`] was reached.
    pub(crate) fn join(&self) {
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() != std::thread::current().id() {
                // A panic of the thread was turned into an error of its store.
                drop(thread.join());
            }
        }
    }
}

impl Shared {
    fn start_threads(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>> {
        let start = |what: &str, work: fn(&Self)| {
            let shared = Arc::clone(self);
            std::thread::Builder::new()
                .name(format!("simrecorder-{what}"))
                .spawn(move || work(&shared))
                .map_err(|e| {
                    let message = "the system started no thread for the store; use inline mode";
                    Error::new(ErrorKind::Io, "start recorder", message)
                        .with_key(&*self.name)
                        .with_source(e)
                })
        };
        let encoder = start("encode", Self::encode_jobs)?;
        match start("commit", Self::commit_jobs) {
            Ok(committer) => Ok(vec![encoder, committer]),
            Err(error) => {
                self.state.lock().closed = true;
                self.encode.notify_all();
                Err(error)
            }
        }
    }

    /// The body of the encoding thread.
    fn encode_jobs(&self) {
        let mut state = self.state.lock();
        loop {
            // Until its commit, an encoded batch takes its memory twice.
            let ahead = state.encoded_bytes;
            if ahead > 0 && ahead >= self.encoded_bound() && !state.is_over() {
                self.encode.wait(&mut state);
                continue;
            }
            match state.to_encode.pop_front() {
                Some(Job::Change { change, bytes }) => {
                    if state.failed.is_some() {
                        self.release(&mut state, bytes);
                        continue;
                    }
                    state.encoding = true;
                    state.encoded_bytes += bytes;
                    let change = MutexGuard::unlocked(&mut state, || self.prepare(change));
                    state.encoding = false;
                    state.to_commit.push_back(Job::Change { change, bytes });
                }
                Some(mark) => state.to_commit.push_back(mark),
                None if state.closed => return,
                None => {
                    self.encode.wait(&mut state);
                    continue;
                }
            }
            self.commit.notify_one();
        }
    }

    /// The body of the committing thread.
    fn commit_jobs(&self) {
        let mut collected = Collected::default();
        let mut state = self.state.lock();
        loop {
            match state.to_commit.pop_front() {
                Some(Job::Change { change, bytes }) => {
                    collected.changes.push(change);
                    collected.bytes += bytes;
                    if collected.bytes < self.commit_bytes() {
                        continue;
                    }
                }
                Some(Job::Mark { mark, reached }) => {
                    let collected = std::mem::take(&mut collected);
                    MutexGuard::unlocked(&mut state, || {
                        self.commit(collected);
                        self.reach(mark, &reached);
                    });
                    if state.closed {
                        self.drop_jobs(&mut state);
                        return;
                    }
                    continue;
                }
                // Someone needs room that only this commit can make.
                None if (state.is_awaited() || state.refused)
                    && collected.bytes > 0
                    && state.to_encode.is_empty()
                    && !state.encoding => {}
                None if state.closed => return,
                None => {
                    self.commit.wait(&mut state);
                    continue;
                }
            }
            let full = std::mem::take(&mut collected);
            state.refused = false;
            MutexGuard::unlocked(&mut state, || self.commit(full));
        }
    }

    fn commit_bytes(&self) -> usize {
        COMMIT_BYTES.min(self.bound / 2)
    }

    /// At least a commit, since it is made only when there is enough for it.
    fn encoded_bound(&self) -> usize {
        self.encoded_bound.max(self.commit_bytes())
    }

    /// Lets the store encode a batch ahead of its commit.
    fn prepare(&self, change: Change) -> Change {
        let Change::Append {
            batch,
            prepared: None,
        } = change
        else {
            return change;
        };
        let prepared = no_panic(|| self.store.prepare(&batch)).unwrap_or_else(|error| {
            self.fail(&mut self.state.lock(), error);
            None
        });
        Change::Append { batch, prepared }
    }

    fn commit(&self, collected: Collected) {
        let Collected { changes, bytes } = collected;
        if changes.is_empty() {
            return;
        }
        let records: u64 = changes
            .iter()
            .map(|change| match change {
                Change::Append { batch, .. } => batch.records.len(),
                _ => 0,
            })
            .sum();
        // The batches are used again as buffers once no other store needs them.
        let batches: Vec<Arc<Batch>> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Append { batch, .. } => Some(Arc::clone(batch)),
                _ => None,
            })
            .collect();
        let failed = self.state.lock().failed.is_some();
        let result = if failed {
            drop(changes);
            Ok(())
        } else {
            no_panic(|| self.store.commit(Commit::new(changes)))
        };
        for batch in batches.into_iter().filter_map(Arc::into_inner) {
            self.pool.give_back(batch.records.into_parts().0);
        }
        let mut state = self.state.lock();
        match result {
            Ok(()) if !failed => {
                state.committed_records += records;
                state.commits += 1;
            }
            Ok(()) => {}
            Err(error) => self.fail(&mut state, error),
        }
        state.encoded_bytes = state.encoded_bytes.saturating_sub(bytes);
        state.room_made += 1;
        self.encode.notify_one();
        self.release(&mut state, bytes);
    }

    fn reach(&self, mark: Mark, reached: &Reached) {
        let failed = self.state.lock().failed.clone();
        let result = match mark {
            // A failed store is closed too, so that others can open it.
            Mark::Close => no_panic(|| self.store.close()),
            _ if failed.is_some() => Ok(()),
            Mark::Checkpoint => no_panic(|| self.store.checkpoint()),
            Mark::Flush => Ok(()),
        };
        let mut state = self.state.lock();
        if let (None, Err(error)) = (&failed, &result) {
            self.fail(&mut state, error.clone());
        }
        if mark == Mark::Close {
            state.closed = true;
            self.encode.notify_all();
            self.room.notify_all();
        }
        drop(state);
        reached.set(failed.map_or(result, Err));
    }

    fn fail(&self, state: &mut State, error: Error) {
        if state.failed.is_none() {
            state.failed = Some(error.clone());
            state.room_made += 1;
            if self.stop.count_failure() {
                tracing::error!(store = self.name, %error, "a store failed: recording stops");
            } else {
                tracing::error!(store = self.name, %error, "a store failed: detached");
            }
        }
        self.room.notify_all();
    }

    fn release(&self, state: &mut State, bytes: usize) {
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        self.room.notify_all();
    }

    /// Answers whoever sent a mark behind [`Mark::Close`].
    fn drop_jobs(&self, state: &mut State) {
        let answer = state.failed.clone().map_or(Ok(()), Err);
        let jobs: Vec<_> = state.to_encode.drain(..).collect();
        for job in jobs.into_iter().chain(state.to_commit.drain(..)) {
            if let Job::Mark { reached, .. } = job {
                reached.set(answer.clone());
            }
        }
    }
}

/// Turns a panic in a store into an error, so that nobody waits for its thread in vain.
fn no_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("the store panicked: {text}");
        Err(Error::new(ErrorKind::Internal, "commit", message))
    })
}
