//! The room in the queue of a store: the bytes in use, and the order of the waiting threads.

/// Bytes in the queue of a store, and the threads that wait for some of them.
#[derive(Debug)]
pub(super) struct QueueRoom {
    /// The most bytes in use, except that a larger group passes alone.
    bound: usize,
    /// The size of all changes, from their reservation to the end of their commit.
    taken: usize,
    /// The turn of the next thread that waits. Threads get room in the order in which they began to wait.
    next_turn: u64,
    /// The current turn.
    turn: u64,
    /// Whether a thread found no room and did not wait.
    is_refused: bool,
    /// How often a commit, or a failure, made room.
    made_count: u64,
}

impl QueueRoom {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            taken: 0,
            next_turn: 0,
            turn: 0,
            is_refused: false,
            made_count: 0,
        }
    }

    /// Whether there is room for `bytes`. A group larger than the bound passes alone, or with few other bytes, since
    /// the declaration of its series may still be in the queue.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.taken.saturating_add(bytes) <= self.bound
            || bytes > self.bound && self.taken <= self.bound / 8
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Joins the threads that wait; returns the turn of this one.
    pub(super) fn join_line(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn - 1
    }

    pub(super) fn is_turn(&self, turn: u64) -> bool {
        self.turn == turn
    }

    pub(super) fn end_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether a thread waits for room.
    pub(super) fn is_awaited(&self) -> bool {
        self.turn != self.next_turn
    }

    /// Remembers that a thread found no room and did not wait.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Whether a thread waits for room, or was refused room since the last commit began.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_awaited() || self.is_refused
    }

    /// Notes the begin of a commit, which will make room.
    pub(super) fn begin_commit(&mut self) {
        self.is_refused = false;
    }

    /// Counts a commit or a failure.
    pub(super) fn count_made(&mut self) {
        self.made_count += 1;
    }

    pub(super) fn made_count(&self) -> u64 {
        self.made_count
    }
}
