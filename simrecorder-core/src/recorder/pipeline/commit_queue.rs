//! The items for the thread that commits, in the order in which they were sent.

use std::collections::VecDeque;

/// Items in order. An encoding thread reserves a slot for each item that it takes, and fills the slot when it is done.
#[derive(Debug)]
pub(super) struct CommitQueue<T> {
    slots: VecDeque<Option<T>>,
    /// The number of slots that were removed before the first of these.
    removed: u64,
}

impl<T> Default for CommitQueue<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            removed: 0,
        }
    }
}

impl<T> CommitQueue<T> {
    /// Reserves a slot at the end; returns its number.
    pub(super) fn reserve_slot(&mut self) -> u64 {
        self.slots.push_back(None);
        self.removed + self.slots.len() as u64 - 1
    }

    /// Fills a slot, unless the queue was cleared since it was reserved.
    pub(super) fn fill(&mut self, slot: u64, item: T) {
        let index = slot.checked_sub(self.removed);
        if let Some(slot) = index.and_then(|index| self.slots.get_mut(index as usize)) {
            *slot = Some(item);
        }
    }

    /// The first item, if its slot is filled.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.slots.front_mut()?.take()?;
        self.slots.pop_front();
        self.removed += 1;
        Some(item)
    }

    /// Whether there are no slots, filled or not.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Removes all slots; returns the items of those that are filled.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.removed += self.slots.len() as u64;
        self.slots.drain(..).flatten().collect()
    }
}
