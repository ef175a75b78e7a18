//! What only a store with many writers can do.

use crate::error::Result;
use crate::model::key::Key;

/// A store whose series other writers may append to between two batches of this store.
///
/// Such a store gives records their index itself. The `start` of a batch then counts what this store
/// appended: its first batch of a series may start anywhere, each other one starts where the one
/// before ended.
pub trait SharedStore {
    /// Frees, in each of these series, the space of the records before the one with this index, at the same
    /// moment in all series of a group that a writer has [claimed](crate::Change::Claim). Views that are taken later begin at the first record that is left and tell its index as
    /// [`first_record`](super::array_view::SharedView::first_record); indices of records do not change.
    ///
    /// - Nothing at the key: `NotFound`. Read only: `ReadOnly`. Closed: `Closed`.
    fn free(&self, series: &[(Key, u64)]) -> Result<()>;

    /// Calls `look`, which reads from the store, and returns when what it saw cannot be lost any
    /// more; calls it again if the store lost something meanwhile.
    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()>;
}
