//! Copying records as they are stored, between stores of one backend.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::model::key::Key;
use crate::model::schema::Schema;
use crate::store::commit::Change;

/// How a store keeps a series, in addition to its schema. Only the backend that made it knows the contents.
#[derive(Clone)]
pub struct StoredForm(Arc<dyn Any + Send + Sync>);

impl StoredForm {
    /// Wraps a form of the backend.
    pub fn new(form: impl Any + Send + Sync) -> Self {
        Self(Arc::new(form))
    }

    /// Returns the form if it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for StoredForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredForm").finish_non_exhaustive()
    }
}

/// Consecutive records of one series as a store keeps them, which [`EncodedView::read_encoded`] returns and
/// [`EncodedChange::Append`] takes.
pub struct Encoded {
    len: u64,
    bytes: usize,
    contents: Box<dyn Any + Send>,
}

impl Encoded {
    /// Wraps `len` records that take about `bytes` bytes to write. Only the backend knows the type of `contents`.
    pub fn new(len: u64, bytes: usize, contents: impl Any + Send) -> Self {
        Self {
            len,
            bytes,
            contents: Box::new(contents),
        }
    }

    /// Returns the number of records.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns about how many bytes they take to write.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the contents if they are a `T`.
    pub fn contents<T: Any>(&self) -> Option<&T> {
        self.contents.downcast_ref()
    }

    /// Returns the contents if they are a `T`.
    pub fn into_contents<T: Any>(self) -> Option<T> {
        self.contents.downcast().ok().map(|contents| *contents)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("len", &self.len)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// One change of a commit to an [`EncodedStore`].
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodedChange {
    /// A change that any store takes.
    Plain(Change),
    /// Creates a series in the form of another one; otherwise as [`Change::Declare`].
    Declare {
        /// The key of the series.
        key: Key,
        /// Its schema.
        schema: Arc<Schema>,
        /// The form of the series that it is a copy of.
        form: StoredForm,
        /// How many records of its fill value the series begins with.
        filled: u64,
    },
    /// Appends records to a series as another store keeps them, if
    /// [`takes_encoded`](EncodedStore::takes_encoded) allowed it. The series contains only the
    /// records before them, which were appended in the same way from the same view, and the commit changes
    /// its records in no other way.
    Append {
        /// The key of the series.
        key: Key,
        /// The index of the first record in the series, which is its number of records.
        start: u64,
        /// The records.
        encoded: Encoded,
    },
}

impl EncodedChange {
    /// Returns the key that it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Plain(change) => change.key(),
            Self::Declare { key, .. } | Self::Append { key, .. } => key,
        }
    }

    /// Whether it names axes; see [`Change::names_axes`].
    pub fn names_axes(&self) -> bool {
        match self {
            Self::Plain(change) => change.names_axes(),
            Self::Declare { schema, .. } => schema.dimension_names().is_some(),
            Self::Append { .. } => false,
        }
    }

    /// The change, if any store takes it.
    pub(crate) fn into_plain(self) -> Option<Change> {
        match self {
            Self::Plain(change) => Some(change),
            _ => None,
        }
    }

    /// The change, if any store takes it.
    pub(crate) fn plain(&mut self) -> Option<&mut Change> {
        match self {
            Self::Plain(change) => Some(change),
            _ => None,
        }
    }
}

/// A store that takes records as another store of its backend keeps them.
pub trait EncodedStore {
    /// Like [`DataStore::plan`](crate::DataStore::plan) for a new series in the form `form`: returns how many records
    /// make a chunk. `None` if the form belongs to another backend.
    fn plan_in_form(&self, key: &Key, schema: &Schema, form: &StoredForm) -> Result<Option<u64>>;

    /// Whether a series that is declared at `key` with `schema` and `form` takes `encoded`, and all further records of
    /// the same view, without decoding. If not, the records are read and appended.
    ///
    /// - Writes nothing.
    fn takes_encoded(
        &self,
        key: &Key,
        schema: &Schema,
        form: &StoredForm,
        encoded: &Encoded,
    ) -> Result<bool>;

    /// Makes all changes, in their order, as [`DataStore::commit`](crate::DataStore::commit) does.
    ///
    /// - Encoded records that do not fit the series or its end: `Internal`.
    fn commit_encoded(&self, changes: Vec<EncodedChange>) -> Result<()>;
}

/// A view that can return records as they are stored.
pub trait EncodedView {
    /// Returns how the store keeps the series.
    fn stored_form(&self) -> StoredForm;

    /// Reads records from the start of `range` on, encoded as they are stored, for a copy into
    /// a store that keeps them in the same way.
    ///
    /// - `None`: these records, and all that follow them, have to be read with
    ///   [`read_records`](crate::ArrayView::read_records).
    /// - Otherwise at least one record and at most `range`, which is not empty and is within
    ///   the view; it may end early after `max_bytes`.
    /// - Records are neither decoded nor checked, so damage is copied too.
    fn read_encoded(&self, range: Range<u64>, max_bytes: usize) -> Result<Option<Encoded>>;
}
