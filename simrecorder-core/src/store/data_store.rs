//! What a backend is: the contract between the recorder and its stores.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::{Attributes, NodeKind, Schema};
use crate::model::value::Value;
use crate::reading::view::ArrayView;

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

/// What [`DataStore::prepare`] made of a batch; only the store that made it knows what it is.
pub type Prepared = Box<dyn Any + Send>;

/// Consecutive records of one series as a store keeps them, for a store that keeps them in the same
/// way: what [`ArrayView::read_encoded`] gives and [`Change::AppendEncoded`] takes.
pub struct Encoded {
    records: u64,
    bytes: usize,
    contents: Box<dyn Any + Send>,
}

impl Encoded {
    /// `records` records that take about `bytes` bytes to write; only the backend that made
    /// `contents` knows what they are.
    pub fn new(records: u64, bytes: usize, contents: impl Any + Send) -> Self {
        Self {
            records,
            bytes,
            contents: Box::new(contents),
        }
    }

    /// How many records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many bytes they take to write, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The contents, if they are a `T`.
    pub fn contents<T: Any>(&self) -> Option<&T> {
        self.contents.downcast_ref()
    }

    /// The contents, if they are a `T`.
    pub fn into_contents<T: Any>(self) -> Option<T> {
        self.contents.downcast().ok().map(|contents| *contents)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("records", &self.records)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// One change of a [`Commit`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// Creates a series without records, and the groups above it. If it is there already with
    /// the same kind of records, nothing happens.
    Declare {
        /// The key of the series.
        key: Key,
        /// What it will hold.
        schema: Arc<Schema>,
    },
    /// Appends records to a series. It was declared before, in this commit or an earlier one,
    /// and `batch.start` is its number of records.
    Append {
        /// The records.
        batch: Arc<Batch>,
        /// What this store's `prepare` gave for the batch.
        prepared: Option<Prepared>,
    },
    /// Appends records to a series as another store keeps them, if
    /// [`takes_encoded`](DataStore::takes_encoded) allowed it. The series holds nothing but the
    /// records before them, which came in the same way from the same view, and its records have
    /// no other change in the commit.
    AppendEncoded {
        /// The key of the series.
        key: Key,
        /// The index of the first record in the series, which is its number of records.
        start: u64,
        /// The records.
        encoded: Encoded,
    },
    /// Sets a value, whether or not there is one, and creates the groups above it. The
    /// attributes stay.
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
    /// Cuts a series to its first records. Nothing at the key is `NotFound`, a group or value
    /// `KindMismatch`. A view of the series that was taken before may fail to read what was
    /// cut, but gives no other records.
    Truncate {
        /// The key of the series.
        key: Key,
        /// How many records stay. If there are no more than that, nothing happens.
        records: u64,
    },
}

impl Change {
    /// The key it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Declare { key, .. }
            | Self::AppendEncoded { key, .. }
            | Self::Set { key, .. }
            | Self::SetAttributes { key, .. }
            | Self::Truncate { key, .. } => key,
            Self::Append { batch, .. } => &batch.key,
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

/// What there is at a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Node {
    /// A group.
    Group,
    /// A value.
    Value,
    /// A series.
    Series {
        /// What it holds.
        schema: Arc<Schema>,
        /// How many records it has.
        records: u64,
    },
}

impl Node {
    /// What it is.
    pub fn kind(&self) -> NodeKind {
        match self {
            Self::Group => NodeKind::Group,
            Self::Value => NodeKind::Value,
            Self::Series { .. } => NodeKind::Series,
        }
    }
}

/// A key right below a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Its key.
    pub key: Key,
    /// What it is.
    pub kind: NodeKind,
}

impl Child {
    /// A child.
    pub fn new(key: Key, kind: NodeKind) -> Self {
        Self { key, kind }
    }
}

/// A place that keeps recordings: what a backend implements.
///
/// Users hand a store to a [`Recorder`](crate::Recorder) and do not call these methods.
/// Implementers never see single records.
///
/// # Contract
/// - All methods take `&self` and may be called from many threads. The recorder calls
///   [`commit`](Self::commit), [`checkpoint`](Self::checkpoint) and [`close`](Self::close) from
///   one thread at a time; a store that is shared must not rely on that.
/// - What a commit brought is seen by all reads that begin after it returned.
/// - No method panics, whatever is stored or sent.
/// - Errors name the operation, the key and the cause.
///
/// The conformance suite (feature `conformance`) holds a store to all of this.
pub trait DataStore: fmt::Debug + Send + Sync {
    /// The name of the backend, such as `memory` or `zarr`; it names the store in a recorder
    /// unless the user gives it another.
    fn name(&self) -> &str;

    /// Whether commits are refused with `ReadOnly`.
    fn is_read_only(&self) -> bool;

    /// What there is at `key`.
    ///
    /// - Nothing there: `None`.
    /// - The root is always a group.
    fn node(&self, key: &Key) -> Result<Option<Node>>;

    /// The keys right below a group, in the order of their names.
    ///
    /// - Nothing at `key`, or a value or series: empty.
    /// - What holds the parts of a series does not show.
    fn children(&self, key: &Key) -> Result<Vec<Child>>;

    /// The value at `key`.
    ///
    /// - Nothing there, or a group or series: `None`.
    fn value(&self, key: &Key) -> Result<Option<Value>>;

    /// A lazy view of the series at `key`.
    ///
    /// - Nothing there, or a group or value: `None`.
    /// - Reads as little as it can: the metadata, and no more records than do not fill a chunk.
    fn view(&self, key: &Key) -> Result<Option<Arc<dyn ArrayView>>>;

    /// The attributes of a group, value or series.
    ///
    /// - Nothing there: `None`.
    /// - They come back as they were set, whatever their names; what the backend keeps there for
    ///   itself does not show.
    fn attributes(&self, key: &Key) -> Result<Option<Attributes>>;

    /// How many records of a new series at `key` a chunk holds, after a check that the store
    /// can keep such a series there. For `None`, only the key is checked, for a value or a group.
    ///
    /// - A key the backend cannot store: `InvalidKey`, with the rule.
    /// - A schema it cannot store: `Unsupported` or `InvalidArgument`.
    /// - Not more than the schema's chunk policy asks for.
    /// - Read only: `ReadOnly`. Closed: `Closed`.
    /// - Writes nothing. Batches need not end where chunks do, but cost less if they do.
    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64>;

    /// Encodes a batch ahead of its commit, if that can be done without knowing what the store
    /// holds. It runs on another thread than the commits, so that both go on at the same time.
    ///
    /// - `None`: the commit will do it.
    /// - Changes nothing that can be seen.
    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>>;

    /// Whether a series that is declared at `key` with `schema` takes `encoded`, and all else
    /// that comes from the same view, as it is. If not, its records are read and appended.
    ///
    /// - Writes nothing.
    /// - By default, nothing is taken.
    fn takes_encoded(&self, key: &Key, schema: &Schema, encoded: &Encoded) -> Result<bool> {
        let _ = (key, schema, encoded);
        Ok(false)
    }

    /// Makes all changes of a commit, in their order.
    ///
    /// - When it returns, all of it is visible to every process and durable, as the store was
    ///   set to. When it fails, none of it is.
    /// - An empty commit succeeds.
    /// - A batch that starts behind the end of its series, or before it: `Internal`; one of a
    ///   series that was not declared: `NotFound`.
    /// - Encoded records that do not fit the series, or not there: `Internal`.
    /// - A key that is already something else, here or at a group above: `KindMismatch`.
    /// - Read only: `ReadOnly`. Closed: `Closed`. No space: `StorageFull`.
    fn commit(&self, commit: Commit) -> Result<()>;

    /// Whether other writers may append to a series between two batches of this store.
    ///
    /// If so, the store gives records their index itself. `batch.start` then counts what this
    /// store appended: its first batch of a series may start anywhere, each other one starts
    /// where the one before ended. By default, there is one writer.
    fn has_many_writers(&self) -> bool {
        false
    }

    /// Frees the space of the records before the one with the index `before` in its series.
    /// Views that are taken later begin at the first record that is left and tell its index as
    /// [`first_record`](ArrayView::first_record); indices of records do not change.
    ///
    /// - Nothing at the key: `NotFound`. Read only: `ReadOnly`. Closed: `Closed`.
    /// - A store that cannot: `Unsupported`, as by default.
    fn free(&self, key: &Key, before: u64) -> Result<()> {
        let _ = before;
        let message = "this store cannot free records";
        Err(Error::new(ErrorKind::Unsupported, "free", message).with_key(key.as_str()))
    }

    /// Calls `look`, which reads from the store, and returns when what it saw cannot be lost any
    /// more; calls it again if the store lost something meanwhile.
    ///
    /// - A store whose commits are durable when they return calls it once, as by default.
    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        look()
    }

    /// Brings everything into the form that other software reads, and leaves no journal.
    ///
    /// - Read only: succeeds and does nothing. Closed: `Closed`.
    /// - `Locked` if another program keeps the store from it for now. This is no failure of the
    ///   store: what was committed is safe, and it may be tried again.
    fn checkpoint(&self) -> Result<()>;

    /// Does a checkpoint, if it is writable, and ends writing. Views and reads go on to work.
    ///
    /// - Closed already: succeeds and does nothing.
    /// - `Locked` if another program keeps the store from it for now: what was committed is safe,
    ///   writing has ended all the same, and another call tries again.
    fn close(&self) -> Result<()>;
}

#[deny(clippy::missing_trait_methods)]
impl<S: DataStore + ?Sized> DataStore for Arc<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn is_read_only(&self) -> bool {
        (**self).is_read_only()
    }

    fn node(&self, key: &Key) -> Result<Option<Node>> {
        (**self).node(key)
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        (**self).children(key)
    }

    fn value(&self, key: &Key) -> Result<Option<Value>> {
        (**self).value(key)
    }

    fn view(&self, key: &Key) -> Result<Option<Arc<dyn ArrayView>>> {
        (**self).view(key)
    }

    fn attributes(&self, key: &Key) -> Result<Option<Attributes>> {
        (**self).attributes(key)
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        (**self).plan(key, schema)
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        (**self).prepare(batch)
    }

    fn takes_encoded(&self, key: &Key, schema: &Schema, encoded: &Encoded) -> Result<bool> {
        (**self).takes_encoded(key, schema, encoded)
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        (**self).commit(commit)
    }

    fn has_many_writers(&self) -> bool {
        (**self).has_many_writers()
    }

    fn free(&self, key: &Key, before: u64) -> Result<()> {
        (**self).free(key, before)
    }

    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        (**self).read_durable(look)
    }

    fn checkpoint(&self) -> Result<()> {
        (**self).checkpoint()
    }

    fn close(&self) -> Result<()> {
        (**self).close()
    }
}

/// The convenient forms of [`DataStore`], for every store.
pub trait DataStoreExt: DataStore {
    /// The keys of all values and series within a group, in order; the group itself is left
    /// out.
    ///
    /// # Errors
    /// What the store reports.
    fn keys_within(&self, group: &Key) -> Result<Vec<Child>> {
        let mut found = Vec::new();
        // A stack rather than recursion: a key may have two thousand levels.
        let mut open = self.children(group)?;
        open.reverse();
        while let Some(child) = open.pop() {
            match child.kind {
                NodeKind::Group => open.extend(self.children(&child.key)?.into_iter().rev()),
                NodeKind::Value | NodeKind::Series => found.push(child),
            }
        }
        Ok(found)
    }

    /// The lazy view of a series that must be there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing, [`ErrorKind::KindMismatch`] if the key is a
    /// group or a value.
    fn series_view(&self, key: &Key) -> Result<Arc<dyn ArrayView>> {
        if let Some(view) = self.view(key)? {
            return Ok(view);
        }
        let nothing = || {
            Error::new(
                ErrorKind::NotFound,
                "get_all",
                "there is nothing at this key",
            )
        };
        let view = match self.node(key)? {
            // It came between the two questions.
            Some(Node::Series { .. }) => self.view(key)?.ok_or_else(nothing),
            Some(other) => Err(wrong_node(other.kind(), "get_all")),
            None => Err(nothing()),
        };
        view.map_err(|e| e.with_key(key.as_str()))
    }
}

impl<S: DataStore + ?Sized> DataStoreExt for S {}

/// The error of reading a key as something that it is not.
pub(crate) fn wrong_node(kind: NodeKind, operation: &'static str) -> Error {
    let message = match kind {
        NodeKind::Group => "this is a group; list it with children() or keys()",
        NodeKind::Value => "this is a value; read it with get()",
        NodeKind::Series => "this is a series; read it with get_all()",
    };
    Error::new(ErrorKind::KindMismatch, operation, message)
}
