//! The threads of one store: some encode, one commits, so that all go on at the same time.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::buffer_pool::BufferPool;
use super::stop::Stop;
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::store::commit::{Batch, Change, Commit};
use crate::store::data_store::DataStore;

/// A commit is made when this many bytes wait for it, without a flush.
const COMMIT_BYTES: usize = 8 << 20;
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
    pub(super) fn set(&self, result: Result<()>) {
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
pub(super) enum Job {
    Change { change: Change, bytes: usize },
    Mark { mark: Mark, reached: Arc<Reached> },
}

/// Jobs for the thread that commits, in order. Threads that encode keep a place for each job
/// that they take, and fill it later.
#[derive(Debug, Default)]
struct CommitQueue {
    places: VecDeque<Option<Job>>,
    /// How many places went before the first of these.
    gone: u64,
}

impl CommitQueue {
    /// Keeps a place at the end; returns its number.
    fn keep_place(&mut self) -> u64 {
        self.places.push_back(None);
        self.gone + self.places.len() as u64 - 1
    }

    /// Fills a place, unless it is gone: nobody wants the job any more then.
    fn fill(&mut self, place: u64, job: Job) {
        let index = place.checked_sub(self.gone);
        if let Some(place) = index.and_then(|index| self.places.get_mut(index as usize)) {
            *place = Some(job);
        }
    }

    /// The first job, if it is there.
    fn pop(&mut self) -> Option<Job> {
        let job = self.places.front_mut()?.take()?;
        self.places.pop_front();
        self.gone += 1;
        Some(job)
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All jobs that are there.
    fn clear(&mut self) -> Vec<Job> {
        self.gone += self.places.len() as u64;
        self.places.drain(..).flatten().collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Jobs for the threads that encode, in order.
    pub(super) to_encode: VecDeque<Job>,
    to_commit: CommitQueue,
    /// How many jobs are being encoded.
    encoding: usize,
    /// Bytes of all changes from their reservation to the end of their commit.
    pub(super) queued_bytes: usize,
    /// The part of them that is encoded.
    pub(super) encoded_bytes: usize,
    /// Threads that wait for room get it in the order in which they came: the turn of the next
    /// one to come, and the turn that it is now.
    pub(super) next_turn: u64,
    pub(super) turn: u64,
    /// Whether someone found no room and did not wait.
    pub(super) refused: bool,
    /// How often a commit, or a failure, made room.
    pub(super) room_made: u64,
    pub(super) failed: Option<Error>,
    pub(super) closed: bool,
    pub(super) committed_records: u64,
    pub(super) commits: u64,
}

impl State {
    /// Whether commits, and with them waiting for room, are over.
    pub(super) fn is_over(&self) -> bool {
        self.failed.is_some() || self.closed
    }

    /// Whether someone waits for room.
    pub(super) fn is_awaited(&self) -> bool {
        self.turn != self.next_turn && !self.is_over()
    }
}

/// What a store may take of memory and threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes in its queue.
    pub(crate) queued: usize,
    /// The most of them that are encoded and wait for their commit.
    pub(crate) encoded: usize,
    /// How many threads encode.
    pub(crate) encoders: usize,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) store: Arc<dyn DataStore>,
    pub(super) limits: Limits,
    pub(super) stop: Arc<Stop>,
    pub(super) pool: Arc<BufferPool>,
    pub(super) state: Mutex<State>,
    /// There is a job to encode, or room for what it gives.
    pub(super) encode: Condvar,
    /// There is a job to commit, or someone waits for room.
    pub(super) commit: Condvar,
    /// There is room in the queue.
    pub(super) room: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) changes: Vec<Change>,
    pub(super) bytes: usize,
}

impl Shared {
    pub(super) fn start_threads(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>> {
        let start = |what: &str, work: fn(&Self)| {
            let shared = Arc::clone(self);
            thread::Builder::new()
                .name(format!("simrecorder-{what}"))
                .spawn(move || work(&shared))
                .map_err(|e| {
                    let message = "the system started no thread for the store; use inline mode";
                    Error::new(ErrorKind::Io, "start recorder", message)
                        .with_key(&*self.name)
                        .with_source(e)
                })
        };
        let work = std::iter::repeat_n(
            ("encode", Self::encode_jobs as fn(&Self)),
            self.limits.encoders,
        );
        let mut threads = Vec::new();
        for (what, work) in work.chain([("commit", Self::commit_jobs as fn(&Self))]) {
            match start(what, work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.state.lock().closed = true;
                    self.encode.notify_all();
                    return Err(error);
                }
            }
        }
        Ok(threads)
    }

    /// The body of an encoding thread.
    fn encode_jobs(&self) {
        let mut state = self.state.lock();
        loop {
            if self.is_far_ahead(&state) {
                self.encode.wait(&mut state);
                continue;
            }
            match state.to_encode.pop_front() {
                Some(Job::Change { change, bytes }) => {
                    if state.failed.is_some() {
                        self.release(&mut state, bytes);
                        continue;
                    }
                    state.encoding += 1;
                    state.encoded_bytes += bytes;
                    let place = state.to_commit.keep_place();
                    let change = MutexGuard::unlocked(&mut state, || self.prepare(change));
                    state.encoding -= 1;
                    state.to_commit.fill(place, Job::Change { change, bytes });
                    // Another thread may have waited for this one.
                    self.encode.notify_one();
                }
                Some(mark) => {
                    let place = state.to_commit.keep_place();
                    state.to_commit.fill(place, mark);
                }
                None if state.closed => return,
                None => {
                    self.encode.wait(&mut state);
                    continue;
                }
            }
            self.commit.notify_one();
        }
    }

    /// Whether what is encoded waits for its commit already: until then, a batch takes its
    /// memory twice.
    fn is_far_ahead(&self, state: &State) -> bool {
        let ahead = state.encoded_bytes;
        let next = match state.to_encode.front() {
            // Only a thread that is alone may go beyond the bound, lest nothing goes on.
            Some(Job::Change { bytes, .. }) if state.encoding > 0 => *bytes,
            _ => 1,
        };
        ahead > 0 && ahead.saturating_add(next) > self.encoded_bound() && !state.is_over()
    }

    /// The body of the committing thread.
    fn commit_jobs(&self) {
        let mut collected = Collected::default();
        let mut state = self.state.lock();
        loop {
            match state.to_commit.pop() {
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
                    && state.to_commit.is_empty() => {}
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

    pub(super) fn commit_bytes(&self) -> usize {
        COMMIT_BYTES.min(self.limits.queued / 2)
    }

    /// At least a commit, since it is made only when there is enough for it.
    fn encoded_bound(&self) -> usize {
        self.limits.encoded.max(self.commit_bytes())
    }

    /// Lets the store encode a batch ahead of its commit.
    pub(super) fn prepare(&self, change: Change) -> Change {
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

    pub(super) fn commit(&self, collected: Collected) {
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
        self.encode.notify_all();
        self.release(&mut state, bytes);
    }

    pub(super) fn reach(&self, mark: Mark, reached: &Reached) {
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
            // Somebody else has the recording open. It lost nothing, and can be tried again.
            if error.kind() != ErrorKind::Locked {
                self.fail(&mut state, error.clone());
            }
        }
        if mark == Mark::Close {
            state.closed = true;
            self.encode.notify_all();
            self.room.notify_all();
        }
        drop(state);
        reached.set(failed.map_or(result, Err));
    }

    pub(super) fn fail(&self, state: &mut State, error: Error) {
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

    pub(super) fn release(&self, state: &mut State, bytes: usize) {
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        self.room.notify_all();
    }

    /// Answers whoever sent a mark behind [`Mark::Close`].
    fn drop_jobs(&self, state: &mut State) {
        let answer = state.failed.clone().map_or(Ok(()), Err);
        let mut jobs = state.to_commit.clear();
        jobs.extend(state.to_encode.drain(..));
        for job in jobs {
            if let Job::Mark { reached, .. } = job {
                reached.set(answer.clone());
            }
        }
    }
}

/// Turns a panic in a store into an error, so that nobody waits for its thread in vain.
pub(super) fn no_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
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
