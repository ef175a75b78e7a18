//! Changes that a store writes, and commits of several changes.

use std::any::Any;
use std::sync::Arc;

use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;

/// Consecutive records of one series, on their way to the stores.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The key of the series.
    pub key: Key,
    /// The index of the first record in the series.
    pub start: u64,
    /// The records. Their schema is the one the series was declared with.
    pub records: Records,
}

impl Batch {
    /// Makes a batch of the series at `key`; its first record has the index `start`.
    pub fn new(key: Key, start: u64, records: Records) -> Self {
        Self {
            key,
            start,
            records,
        }
    }
}

/// The result of [`DataStore::prepare`](crate::DataStore::prepare) for a batch; only the store that made it
/// knows its type.
pub type Prepared = Box<dyn Any + Send>;

/// One change of a [`Commit`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// Creates a series, and the groups above it. Changes nothing if the series exists with the same kind of
    /// records.
    Declare {
        /// The key of the series.
        key: Key,
        /// Its schema.
        schema: Arc<Schema>,
        /// How many records of its fill value the series begins with; the store does not write them.
        /// Only records of kind `Array` have a fill value; for other kinds, a number other than 0 is
        /// `InvalidArgument`.
        filled: u64,
    },
    /// Appends records to a series that was declared before, in this commit or an earlier one, and whose number of
    /// records is `batch.start`.
    Append {
        /// The records.
        batch: Arc<Batch>,
        /// The result of this store's `prepare` for the batch.
        prepared: Option<Prepared>,
    },
    /// Sets a value with the names of its axes. Replaces an existing value, keeps its attributes, and creates the groups
    /// above it.
    Set {
        /// The key of the value.
        key: Key,
        /// The value.
        value: Arc<Value>,
    },
    /// Replaces all attributes of a group, value or series. Creates the group, and the groups
    /// above it, if there is nothing at the key.
    SetAttributes {
        /// The key. The root has attributes too.
        key: Key,
        /// The new attributes.
        attributes: Arc<Attributes>,
    },
    /// Sets attributes of a value or series, and names the axes of a series. Other attributes do not change. Nothing at
    /// the key is `NotFound`, a group `KindMismatch`. `InvalidArgument` are names that do not fit the series, and names
    /// for a value, which keeps the names that it was set with.
    Describe {
        /// The key of the value or series.
        key: Key,
        /// A name, or none, for each axis; `None` does not change them.
        dimension_names: Option<Arc<[Option<String>]>>,
        /// The attributes to set.
        attributes: Arc<Attributes>,
    },
    /// Cuts a series to its first records. Nothing at the key is `NotFound`, a group or value `KindMismatch`. An existing
    /// view of the series may fail to read the records that were cut off, but never returns other records.
    Truncate {
        /// The key of the series.
        key: Key,
        /// How many records remain. A series that is no longer than that does not change.
        len: u64,
    },
    /// Makes this writer the only one of the series right below an existing group. If other writers append to these
    /// series, cut them or declare a series there afterwards, that fails with `Locked` and changes nothing, until they
    /// claim the group themselves, or remove or rename it. From here on, [`Batch::start`] counts the records that the
    /// store has of these series, even if the store has many writers: a writer claims the group first and then asks for
    /// the lengths. Stores with one writer do nothing.
    Claim {
        /// The key of the group.
        group: Key,
    },
}

impl Change {
    /// Returns the key that it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Declare { key, .. }
            | Self::Set { key, .. }
            | Self::SetAttributes { key, .. }
            | Self::Describe { key, .. }
            | Self::Truncate { key, .. }
            | Self::Claim { group: key } => key,
            Self::Append { batch, .. } => &batch.key,
        }
    }

    /// Whether it names the axes of a series or value.
    pub fn names_axes(&self) -> bool {
        match self {
            Self::Declare { schema, .. } => schema.dimension_names().is_some(),
            Self::Set { value, .. } => value.dimension_names().is_some(),
            Self::Describe {
                dimension_names, ..
            } => dimension_names.is_some(),
            _ => false,
        }
    }
}

/// Changes to many keys that become visible and durable together, or not at all.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Commit {
    /// The changes, in the order in which they take effect.
    pub changes: Vec<Change>,
}

impl Commit {
    /// Makes a commit of `changes`.
    pub fn new(changes: Vec<Change>) -> Self {
        Self { changes }
    }
}
