//! What a store is asked to write: changes, and the commits that they make up.

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
    /// A batch of the series at `key`; its first record has the index `start`.
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
    /// Creates a series, and the groups above it. If it is there already with the same kind of
    /// records, nothing happens.
    Declare {
        /// The key of the series.
        key: Key,
        /// Its schema.
        schema: Arc<Schema>,
        /// How many records of its fill value the series begins with; the store does not write them.
        /// Records of any kind but `Array` have no fill value: then a number other than 0 is
        /// `InvalidArgument`.
        filled: u64,
    },
    /// Appends records to a series. It was declared before, in this commit or an earlier one,
    /// and `batch.start` is its number of records.
    Append {
        /// The records.
        batch: Arc<Batch>,
        /// The result of this store's `prepare` for the batch.
        prepared: Option<Prepared>,
    },
    /// Sets a value, with the names of its axes, replaces an existing one, and creates the
    /// groups above it. The attributes stay.
    Set {
        /// The key of the value.
        key: Key,
        /// The value.
        value: Arc<Value>,
    },
    /// Replaces all attributes of a group, value or series. Creates the group, and the groups
    /// above it, if there is nothing at the key.
    SetAttributes {
        /// The key; the root too has attributes.
        key: Key,
        /// The new attributes.
        attributes: Arc<Attributes>,
    },
    /// Sets attributes of a value or series, and names the axes of a series; its other attributes
    /// stay. Nothing at the key is `NotFound`, a group `KindMismatch`; names that do not fit the
    /// series, or names for a value, which has those that it was set with, `InvalidArgument`.
    Describe {
        /// The key of the value or series.
        key: Key,
        /// A name, or none, for each axis; `None` leaves them as they are.
        dimension_names: Option<Arc<[Option<String>]>>,
        /// The attributes to set.
        attributes: Arc<Attributes>,
    },
    /// Cuts a series to its first records. Nothing at the key is `NotFound`, a group or value
    /// `KindMismatch`. A view of the series that was taken before may fail to read what was
    /// cut, but gives no other records.
    Truncate {
        /// The key of the series.
        key: Key,
        /// How many records remain. If there are no more than that, nothing happens.
        len: u64,
    },
    /// Makes this writer the only one of the series right below a group, which is there. What
    /// other writers append to them, cut or declare there afterwards fails with `Locked` and changes
    /// nothing, until they claim the group themselves, or remove or rename it. From here on, [`Batch::start`] counts the records of these series that the store has, also
    /// where it has many writers: a writer claims the group first and then asks for the lengths.
    /// Stores with one writer have nothing to do.
    Claim {
        /// The key of the group.
        group: Key,
    },
}

impl Change {
    /// The key it is about.
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

    /// Whether it gives names to the axes of a series or value.
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

/// Changes of many keys that become visible and durable together, or not at all.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Commit {
    /// The changes, in the order in which they take effect.
    pub changes: Vec<Change>,
}

impl Commit {
    /// A commit of `changes`.
    pub fn new(changes: Vec<Change>) -> Self {
        Self { changes }
    }
}
