//! The interface of a store's queue, with threads or without.

use std::fmt;
use std::sync::Arc;

use super::barrier::{Barrier, BarrierKind};
use crate::store::commit::Change;

/// The limits of a store's memory and threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// The most bytes in its queue.
    pub(crate) queued: usize,
    /// The most bytes that are encoded and wait for their commit.
    pub(crate) encoded: usize,
    /// The number of threads that encode.
    pub(crate) encoders: usize,
}

/// What to do when a queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    Fail,
    /// Exceed the bound, for records that take no more memory in the queue than they did before.
    Exceed,
}

/// The queue of a store: groups of changes, and barriers, until they are committed.
pub(super) trait ChangeQueue: fmt::Debug + Send + Sync {
    /// Reserves `bytes` of the queue; `false` if there is no room and `when_full` says so.
    ///
    /// A failed store has room for everything, since it drops all changes.
    fn reserve(&self, bytes: usize, when_full: WhenFull) -> bool;

    /// Gives reserved bytes back.
    fn release(&self, bytes: usize);

    /// Queues changes, for which `reserved` bytes were reserved. The store commits all of them together, in their
    /// order, or none.
    fn send(&self, group: Vec<Change>, reserved: usize);

    /// Queues a barrier.
    fn send_barrier(&self, kind: BarrierKind) -> Arc<Barrier>;

    /// Wakes all threads after a failure of the store.
    fn wake(&self);

    /// The bytes that are reserved, or belong to changes that are not committed yet.
    fn queued_bytes(&self) -> usize;

    /// How often a commit, or a failure, made room.
    fn room_made_count(&self) -> u64;

    /// Waits for the threads to end, after [`BarrierKind::Close`] was reached.
    fn join(&self);
}
