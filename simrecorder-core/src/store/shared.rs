//! What only a store with many writers can do.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::model::key::Key;
use crate::store::array_view::ArrayView;

/// A store whose series other writers may append to between two batches of this store.
///
/// Such a store gives records their index itself. The `start` of a batch then counts what this store
/// appended: its first batch of a series may start anywhere, each other one starts where the one
/// before ended.
pub trait SharedStore {
    /// Frees the space of the records before the one with the index `before` in its series.
    /// Views that are taken later begin at the first record that is left and tell its index as
    /// [`first_record`](SharedView::first_record); indices of records do not change.
    ///
    /// - Nothing at the key: `NotFound`. Read only: `ReadOnly`. Closed: `Closed`.
    fn free(&self, key: &Key, before: u64) -> Result<()>;

    /// Calls `look`, which reads from the store, and returns when what it saw cannot be lost any
    /// more; calls it again if the store lost something meanwhile.
    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()>;
}

/// A view of a series in a [`SharedStore`].
pub trait SharedView {
    /// The index in its series of the first record of the view. It is 0 unless records were
    /// [freed](SharedStore::free): then views begin at the first one that is left.
    fn first_record(&self) -> u64;

    /// The writer of a record: a number that each writer of the store has for itself.
    ///
    /// - `None` if the store does not know.
    /// - No such record: `OutOfBounds`.
    fn writer_of(&self, record: u64) -> Result<Option<u64>>;

    /// Waits until there are records after the last one of the view, but no longer than
    /// `timeout`, and gives a view of the series as it is then.
    ///
    /// - The store waits without asking again and again.
    /// - A view that cannot grow: `Unsupported`.
    fn follow(&self, timeout: Duration) -> Result<Arc<dyn ArrayView>>;
}
