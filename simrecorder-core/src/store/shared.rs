//! Stores with many writers.

use crate::error::Result;
use crate::model::key::Key;

/// A store whose series other writers may append to between two batches of this store.
///
/// Such a store assigns the indices of records itself. The `start` of a batch counts the records that this handle
/// appended: its first batch of a series may start anywhere, and every later batch starts where the previous one ended.
pub trait SharedStore {
    /// Frees, in each of these series, the space of the records before this index, at the same moment in all series of a
    /// group that a writer has [claimed](crate::Change::Claim). New views begin at the first remaining record, whose
    /// index is [`first_record`](super::array_view::SharedView::first_record). Indices of records do not change.
    ///
    /// - Nothing at the key: `NotFound`. Read only: `ReadOnly`. Closed: `Closed`.
    fn free(&self, series: &[(Key, u64)]) -> Result<()>;

    /// Calls `look`, which reads from the store, and returns when everything that it read is durable. Calls it again
    /// if the store lost something in between.
    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()>;
}
