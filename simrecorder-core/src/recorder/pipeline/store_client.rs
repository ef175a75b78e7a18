//! One store as its queue sees it: the calls that write to it, its failure, and its commits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::barrier::BarrierKind;
use super::commit_builder::CommitBuilder;
use super::sync::Mutex;
use crate::backend::return_freed;
use crate::error::{Error, ErrorKind, Result};
use crate::recorder::buffer_pool::BufferPool;
use crate::recorder::status::{StoreState, StoreStatus};
use crate::recorder::stop_flag::StopFlag;
use crate::store::commit::{Batch, Change};
use crate::store::data_store::DataStore;

/// After commits of this many batches, freed memory is returned to the system.
const TRIM_BATCHES: usize = 1000;

/// A store with its name in the recorder. After a failed call, it gets only `close`.
#[derive(Debug)]
pub(super) struct StoreClient {
    pub(super) name: String,
    pub(super) store: Arc<dyn DataStore>,
    stop: Arc<StopFlag>,
    pool: Arc<BufferPool>,
    /// Locked last, and only briefly.
    health: Mutex<StoreHealth>,
}

#[derive(Debug, Default)]
struct StoreHealth {
    failure: Option<Error>,
    is_closed: bool,
    committed_record_count: u64,
    commits: u64,
}

impl StoreClient {
    pub(super) fn new(
        name: String,
        store: Arc<dyn DataStore>,
        stop: Arc<StopFlag>,
        pool: Arc<BufferPool>,
    ) -> Self {
        Self {
            name,
            store,
            stop,
            pool,
            health: Mutex::default(),
        }
    }

    /// The error of the first call that failed, if one did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.health.lock().failure.clone()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.health.lock().failure.is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.health.lock().is_closed
    }

    /// Whether the store accepts no more commits.
    pub(super) fn is_over(&self) -> bool {
        let health = self.health.lock();
        health.failure.is_some() || health.is_closed
    }

    pub(super) fn status(&self, queued_bytes: usize) -> StoreStatus {
        let health = self.health.lock();
        StoreStatus {
            name: self.name.clone(),
            state: match &health.failure {
                Some(error) => StoreState::Failed(error.clone()),
                None if health.is_closed => StoreState::Closed,
                None => StoreState::Healthy,
            },
            queued_bytes,
            committed_record_count: health.committed_record_count,
            commit_count: health.commits,
        }
    }

    /// Marks the store as failed, unless it failed before. The caller wakes the threads that wait for it.
    pub(super) fn fail(&self, error: Error) {
        let mut health = self.health.lock();
        if health.failure.is_some() {
            return;
        }
        health.failure = Some(error.clone());
        let stops = self.stop.count_failure();
        // The subscriber of the log may call the recorder.
        drop(health);
        if stops {
            tracing::error!(store = self.name, %error, "a store failed: recording stops");
        } else {
            tracing::error!(store = self.name, %error, "a store failed: detached");
        }
    }

    /// Marks a store as failed whose threads did not start.
    pub(super) fn fail_to_start(&self, error: Error) {
        self.health.lock().is_closed = true;
        self.fail(error);
    }

    /// Lets the store encode a batch before its commit.
    pub(super) fn prepare(&self, change: Change) -> Change {
        let Change::Append {
            batch,
            prepared: None,
        } = change
        else {
            return change;
        };
        let prepared = no_panic("prepare", || self.store.prepare(&batch)).unwrap_or_else(|error| {
            self.fail(error);
            None
        });
        Change::Append { batch, prepared }
    }

    /// Commits all changes, unless the store failed, and releases their buffers.
    pub(super) fn commit(&self, builder: CommitBuilder) {
        let records: u64 = builder.batches().map(|batch| batch.records.len()).sum();
        let batches: Vec<Arc<Batch>> = builder.batches().map(Arc::clone).collect();
        let batch_count = batches.len();
        if self.has_failed() {
            drop(builder);
        } else {
            match no_panic("commit", || self.store.commit(builder.into_commit())) {
                Ok(()) => {
                    let mut health = self.health.lock();
                    health.committed_record_count += records;
                    health.commits += 1;
                }
                Err(error) => self.fail(error),
            }
        }
        // The last store that is done with a batch returns its buffer to the pool.
        for batch in batches.into_iter().filter_map(Arc::into_inner) {
            self.pool.give_back(batch.records.into_parts().0);
        }
        if batch_count >= TRIM_BATCHES {
            return_freed();
        }
    }

    /// Does what a barrier asks for, after every change before it was committed.
    pub(super) fn reach(&self, kind: &BarrierKind) -> Result<()> {
        let failure = self.failure();
        let result = match kind {
            // A failed store is closed too, so that others can open it.
            BarrierKind::Close => no_panic("close", || self.store.close()),
            _ if failure.is_some() => Ok(()),
            BarrierKind::Checkpoint => no_panic("checkpoint", || self.store.checkpoint()),
            BarrierKind::Remove(key) => no_panic("remove", || self.store.remove(key)),
            BarrierKind::Rename { from, to } => no_panic("rename", || self.store.rename(from, to)),
            BarrierKind::TimedCheckpoint => {
                no_panic("checkpoint", || self.store.checkpoint_at_once())
            }
            BarrierKind::Flush => Ok(()),
        };
        if let (None, Err(error)) = (&failure, &result) {
            let is_failure = match kind {
                BarrierKind::Remove(_) | BarrierKind::Rename { .. } => is_store_failure(error),
                // Another program has the recording open. Nothing is lost, and a later try may succeed.
                _ => error.kind() != ErrorKind::Locked,
            };
            if is_failure {
                self.fail(error.clone());
            }
        }
        if *kind == BarrierKind::Close {
            self.health.lock().is_closed = true;
        }
        failure.map_or(result, Err)
    }

    /// Closes the store again, after its queue has ended, unless it failed.
    pub(super) fn close_again(&self) -> Result<()> {
        match self.failure() {
            Some(error) => Err(error),
            None => no_panic("close", || self.store.close()),
        }
    }
}

/// Turns a panic in a store into an error, so that no caller waits for ever for the thread that called
/// it.
pub(super) fn no_panic<T>(operation: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("the store panicked: {text}");
        Err(Error::new(ErrorKind::Internal, operation, message))
    })
}

/// Whether an error is about the store, and not about the requested key.
pub(in crate::recorder) fn is_store_failure(error: &Error) -> bool {
    use ErrorKind::{Internal, Io, PermissionDenied, StorageFull};
    matches!(error.kind(), Io | Internal | PermissionDenied | StorageFull)
}
