//! What the queue of a store does, with threads or without.

use std::fmt;
use std::sync::Arc;

use super::barrier::{Barrier, BarrierKind};
use crate::store::commit::Change;

/// What a store may take of memory and threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// The most bytes in its queue.
    pub(crate) queued: usize,
    /// The most of them that are encoded and wait for their commit.
    pub(crate) encoded: usize,
    /// How many threads encode.
    pub(crate) encoders: usize,
}

/// What to do when a queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    Fail,
    /// Take more than there is: for what takes no more memory in the queue than it did before.
    Exceed,
}

/// The queue of a store: groups of changes, and barriers, until they are committed.
pub(super) trait ChangeQueue: fmt::Debug + Send + Sync {
    /// Reserves `bytes` of the queue; `false` if there is no room and `when_full` says so.
    ///
    /// A store that failed has room for everything: it drops what it gets.
    fn reserve(&self, bytes: usize, when_full: WhenFull) -> bool;

    /// Gives reserved bytes back.
    fn release(&self, bytes: usize);

    /// Queues changes, for which `reserved` bytes were reserved.
    ///
    /// They are committed together, in their order, or none of them is.
    fn send(&self, group: Vec<Change>, reserved: usize);

    /// Queues a barrier.
    fn send_barrier(&self, kind: BarrierKind) -> Arc<Barrier>;

    /// Wakes all threads after a failure of the store.
    fn wake(&self);

    /// How many bytes are reserved, or taken by changes that are not committed yet.
    fn queued_bytes(&self) -> usize;

    /// How often a commit, or a failure, made room.
    fn room_made_count(&self) -> u64;

    /// Waits for the threads to end, after [`BarrierKind::Close`] was reached.
    fn join(&self);
}
