//! Changes in the queue of a store: their sizes, and the groups that they form.

use crate::model::records::Records;
use crate::model::value::Value;
use crate::store::commit::Change;

/// The size of a change without data in the queue.
pub(crate) const CHANGE_BYTES: usize = 512;
/// The size of a batch in addition to its records, here and in the store that commits it. It limits the memory of many
/// small batches, and how many of them make a commit.
pub(crate) const BATCH_OVERHEAD: usize = 1024;

/// The size of a batch of these records in the queue.
pub(crate) fn batch_bytes(records: &Records) -> usize {
    BATCH_OVERHEAD + records.capacity_bytes()
}

/// The size of a change in the queue.
fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Append { batch, .. } => batch_bytes(&batch.records),
        Change::Set { value, .. } => CHANGE_BYTES + value_bytes(value),
        Change::Declare { .. }
        | Change::SetAttributes { .. }
        | Change::Describe { .. }
        | Change::Truncate { .. }
        | Change::Claim { .. } => CHANGE_BYTES,
    }
}

/// The size of all changes of a group.
pub(crate) fn group_bytes(changes: &[Change]) -> usize {
    changes.iter().map(change_bytes).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Array(array) => array.as_bytes().len(),
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Object(object) => object.as_msgpack().len(),
    }
}

/// A change on its way to its commit, with its place in the group that is committed together.
#[derive(Debug)]
pub(super) struct QueuedChange {
    pub(super) change: Change,
    /// Its size.
    pub(super) bytes: usize,
    /// The size of its whole group.
    pub(super) group_bytes: usize,
    /// Whether it is the last change of its group.
    pub(super) ends_group: bool,
}

impl QueuedChange {
    /// The changes of a group, in their order.
    pub(super) fn group(changes: Vec<Change>) -> impl ExactSizeIterator<Item = Self> {
        let group_bytes = group_bytes(&changes);
        let count = changes.len();
        let changes = changes.into_iter().enumerate();
        changes.map(move |(index, change)| Self {
            bytes: change_bytes(&change),
            change,
            group_bytes,
            ends_group: index + 1 == count,
        })
    }
}
