//! Collecting changes from a queue for a commit.

use std::sync::Arc;

use super::queued_change::QueuedChange;
use crate::store::commit::{Batch, Change, Commit};

/// The size in bytes at which a commit is made without a flush.
const COMMIT_BYTES: usize = 8 << 20;

/// The size of a commit in bytes for a queue with the bound `queue_bound`.
pub(super) fn commit_bytes(queue_bound: usize) -> usize {
    COMMIT_BYTES.min(queue_bound / 2)
}

/// The changes of the next commit, in their order.
#[derive(Debug, Default)]
pub(super) struct CommitBuilder {
    changes: Vec<Change>,
    bytes: usize,
    /// Whether the rest of a group is missing.
    is_inside_group: bool,
}

impl CommitBuilder {
    pub(super) fn push(&mut self, queued: QueuedChange) {
        self.changes.push(queued.change);
        self.bytes += queued.bytes;
        self.is_inside_group = !queued.ends_group;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The size of its changes in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it ends with a whole group, so that it may be committed.
    pub(super) fn ends_with_group(&self) -> bool {
        !self.is_inside_group
    }

    /// Whether it may be committed and has at least this many bytes.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.ends_with_group() && self.bytes >= bytes
    }

    /// Removes and returns all changes.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The batches that it appends.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.changes.iter().filter_map(|change| match change {
            Change::Append { batch, .. } => Some(batch),
            _ => None,
        })
    }

    pub(super) fn into_commit(self) -> Commit {
        Commit::new(self.changes)
    }
}
