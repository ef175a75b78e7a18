//! The commit that is put together of the changes in a queue.

use std::sync::Arc;

use super::queued_change::QueuedChange;
use crate::store::commit::{Batch, Change, Commit};

/// A commit is made when this many bytes wait for it, without a flush.
const COMMIT_BYTES: usize = 8 << 20;

/// How many bytes make a commit, where a queue holds `queue_bound`.
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

    /// What its changes count in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it ends where a group does, so that it may be committed.
    pub(super) fn ends_with_group(&self) -> bool {
        !self.is_inside_group
    }

    /// Whether it may be committed and has at least this many bytes.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.ends_with_group() && self.bytes >= bytes
    }

    /// Takes everything out.
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
