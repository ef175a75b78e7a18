//! The contract between the recorder and its stores.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::nearest::nothing_near;
use crate::reading::tree::{Listing, Tree};
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::commit::{Batch, Commit, Prepared};
use crate::store::encoded::EncodedStore;
use crate::store::errors::{nothing_at, wrong_node};
use crate::store::node::{Child, Node};
use crate::store::recording_info::RecordingInfo;
use crate::store::shared::SharedStore;

/// A place that keeps recordings: what a backend implements.
///
/// Users pass a store to a [`Recorder`](crate::Recorder) and rarely call these methods; [`DataStoreExt`] has convenient
/// ones. A backend gets batches and commits, never single records.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::sync::Arc;
///
/// use simrecorder::{DataStore, InMemoryDataStore, Recorder};
///
/// let store: Arc<dyn DataStore> = Arc::new(InMemoryDataStore::new()); // as simrecorder::create returns it
/// let recorder = Recorder::new(Arc::clone(&store));
/// recorder.record("net/rate", 0.5)?;
/// recorder.close()?;
/// assert_eq!(store.name(), "memory");
/// println!("{store}"); // the tree of its keys
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Contract
/// - All methods take `&self` and may be called from many threads. The recorder calls
///   [`commit`](Self::commit), [`remove`](Self::remove), [`rename`](Self::rename),
///   [`checkpoint`](Self::checkpoint) and [`close`](Self::close) from one thread at a time, but other callers may not.
/// - All reads that begin after a commit has returned see its changes.
/// - No stored data and no argument makes a method panic.
/// - Errors name the operation, the key and the cause.
///
/// The conformance suite (feature `conformance`) tests all of this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store",
    note = "a path or URL is opened first: `simrecorder::create(\"run.mdb\")?`, or `open` to read a \
            recording and `append` to add to it"
)]
pub trait DataStore: fmt::Debug + Send + Sync {
    /// Returns the name of the backend, such as `memory` or `zarr`. It is the name of the store in a recorder unless the
    /// user chooses another.
    fn name(&self) -> &str;

    /// Whether commits fail with `ReadOnly`.
    fn is_read_only(&self) -> bool;

    /// Reads the nodes at `keys`, in their order, as of one commit: even while a writer commits, the lengths of series
    /// that are committed together fit together.
    ///
    /// - Nothing at a key: `None`. The root is always a group.
    /// - Of a series, it reads only metadata, and at most the records that do not fill a chunk. It reads values.
    /// - Attributes of any name are as they were set. Attributes that the backend uses itself are hidden.
    /// - Damaged metadata is an error that names its key.
    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>>;

    /// Lists the keys right below a group, in the order of their names.
    ///
    /// - Nothing at `key`, or a value or series: empty.
    /// - The parts of a series, if the backend stores it in several, are hidden.
    fn children(&self, key: &Key) -> Result<Vec<Child>>;

    /// Checks that the store can keep a series with this schema at `key`, and returns how many of its records make a
    /// chunk. With `None`, it only checks that a value or a group can be at `key`.
    ///
    /// - A key that the backend does not support: `InvalidKey`, with the rule.
    /// - A schema that it does not support: `Unsupported` or `InvalidArgument`.
    /// - At most as many records as the schema's chunk policy asks for.
    /// - An existing series keeps its chunks. If the schema asks for other records, chunks,
    ///   compression or fill value than it has: `SchemaMismatch`, see
    ///   [`Schema::check_same_storage`].
    /// - Read only: `ReadOnly`. Closed: `Closed`.
    /// - Writes nothing. Batches may end anywhere, but cost less if they end where chunks do.
    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64>;

    /// Encodes a batch ahead of its commit, if that does not depend on the contents of the store. It runs on another
    /// thread than the commits, so that encoding overlaps with committing.
    ///
    /// - `None`: the commit encodes the batch.
    /// - No reader sees a change.
    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>>;

    /// Makes all changes of a commit, in their order.
    ///
    /// - When it succeeds, all changes are visible to every process, and as durable as the store was set to. When it
    ///   fails, no change has taken effect.
    /// - An empty commit succeeds.
    /// - A batch that does not start at the end of its series: `Internal`. A batch of a series that was not declared:
    ///   `NotFound`.
    /// - A key, or a group above it, that is a node of another kind: `KindMismatch`.
    /// - Read only: `ReadOnly`. Closed: `Closed`. No space: `StorageFull`.
    fn commit(&self, commit: Commit) -> Result<()>;

    /// Removes the node at `key`, with everything below it, in a separate commit. The groups above it remain. The store
    /// reuses the space.
    ///
    /// - Nothing at `key`: `NotFound`. The root: `InvalidArgument`.
    /// - A view of a removed series still reads its records, or reports that they were removed. It never reads records
    ///   of a series that is created at the key later.
    /// - Durability, visibility and failure: as for [`commit`](Self::commit).
    fn remove(&self, key: &Key) -> Result<()>;

    /// Moves the node at `from`, with everything below it, to `to`, in a separate commit. Creates the groups above `to`;
    /// those above `from` remain.
    ///
    /// - Nothing at `from`: `NotFound`. Something at `to`: `AlreadyExists`.
    /// - The root, or a key within `from`: `InvalidArgument`.
    /// - A new key that the backend does not support, `to` or one below it: `InvalidKey`.
    /// - Views of `from`: as for [`remove`](Self::remove).
    /// - Durability, visibility and failure: as for [`commit`](Self::commit).
    fn rename(&self, from: &Key, to: &Key) -> Result<()>;

    /// Writes everything in the form that other software reads, and removes the journal.
    ///
    /// - Read only: succeeds and does nothing. Closed: `Closed`.
    /// - `Locked` if another program has the recording open in a way that prevents it. The store has not failed:
    ///   committed records are safe, and a later checkpoint may succeed.
    fn checkpoint(&self) -> Result<()>;

    /// Does a checkpoint, or returns `Locked` at once and writes nothing if it had to wait for another program. By
    /// default it calls [`checkpoint`](Self::checkpoint), for stores where that never waits.
    fn checkpoint_at_once(&self) -> Result<()> {
        self.checkpoint()
    }

    /// Does a checkpoint if the store is writable, and ends writing. Existing views remain readable.
    ///
    /// - Closed already: succeeds and does nothing.
    /// - `Locked` if another program has the recording open in a way that prevents the checkpoint. Committed records
    ///   are safe, writing has ended, and another call tries again.
    fn close(&self) -> Result<()>;

    /// Describes the recording as a whole, without reading any series. By default it returns only the
    /// [`name`](Self::name).
    fn info(&self) -> Result<RecordingInfo> {
        Ok(RecordingInfo::new(self.name()))
    }

    /// Returns the methods of a store that several writers append to; `None` if it has one writer.
    fn as_shared(&self) -> Option<&dyn SharedStore> {
        None
    }

    /// Returns the methods that take records as another store of the backend keeps them; `None` if there are none.
    fn as_encoded(&self) -> Option<&dyn EncodedStore> {
        None
    }
}

/// Implements methods of [`DataStore`] by calling them on another store: in an `impl` block,
/// `delegate_store!(self => self.inner; children plan)` implements these two.
#[macro_export]
macro_rules! delegate_store {
    ($this:ident => $store:expr; $($method:ident)*) => {
        $($crate::delegate_store!(@ $method $this $store);)*
    };
    (@ name $this:ident $store:expr) => {
        fn name(&$this) -> &str {
            $store.name()
        }
    };
    (@ is_read_only $this:ident $store:expr) => {
        fn is_read_only(&$this) -> bool {
            $store.is_read_only()
        }
    };
    (@ nodes $this:ident $store:expr) => {
        fn nodes(&$this, keys: &[$crate::Key]) -> $crate::Result<Vec<Option<$crate::Node>>> {
            $store.nodes(keys)
        }
    };
    (@ children $this:ident $store:expr) => {
        fn children(&$this, key: &$crate::Key) -> $crate::Result<Vec<$crate::Child>> {
            $store.children(key)
        }
    };
    (@ plan $this:ident $store:expr) => {
        fn plan(&$this, key: &$crate::Key, schema: Option<&$crate::Schema>) -> $crate::Result<u64> {
            $store.plan(key, schema)
        }
    };
    (@ prepare $this:ident $store:expr) => {
        fn prepare(&$this, batch: &$crate::Batch) -> $crate::Result<Option<$crate::Prepared>> {
            $store.prepare(batch)
        }
    };
    (@ commit $this:ident $store:expr) => {
        fn commit(&$this, commit: $crate::Commit) -> $crate::Result<()> {
            $store.commit(commit)
        }
    };
    (@ remove $this:ident $store:expr) => {
        fn remove(&$this, key: &$crate::Key) -> $crate::Result<()> {
            $store.remove(key)
        }
    };
    (@ rename $this:ident $store:expr) => {
        fn rename(&$this, from: &$crate::Key, to: &$crate::Key) -> $crate::Result<()> {
            $store.rename(from, to)
        }
    };
    (@ checkpoint $this:ident $store:expr) => {
        fn checkpoint(&$this) -> $crate::Result<()> {
            $store.checkpoint()
        }
    };
    (@ checkpoint_at_once $this:ident $store:expr) => {
        fn checkpoint_at_once(&$this) -> $crate::Result<()> {
            $store.checkpoint_at_once()
        }
    };
    (@ close $this:ident $store:expr) => {
        fn close(&$this) -> $crate::Result<()> {
            $store.close()
        }
    };
    (@ info $this:ident $store:expr) => {
        fn info(&$this) -> $crate::Result<$crate::RecordingInfo> {
            $store.info()
        }
    };
    (@ as_shared $this:ident $store:expr) => {
        fn as_shared(&$this) -> Option<&dyn $crate::backend::SharedStore> {
            $store.as_shared()
        }
    };
    (@ as_encoded $this:ident $store:expr) => {
        fn as_encoded(&$this) -> Option<&dyn $crate::backend::EncodedStore> {
            $store.as_encoded()
        }
    };
}

#[deny(clippy::missing_trait_methods)]
impl<S: DataStore + ?Sized> DataStore for Arc<S> {
    delegate_store!(self => (**self); name is_read_only nodes children plan prepare commit remove
        rename checkpoint checkpoint_at_once close info as_shared as_encoded);
}

/// Convenient methods of every [`DataStore`].
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Key, Recorder, prelude::*};
///
/// let store = InMemoryDataStore::new();
/// let recorder = Recorder::new(store.clone());
/// recorder.set("meta/seed", 42_u64)?;
/// recorder.record("net/rate", 0.5)?;
/// recorder.close()?;
/// for child in store.keys_within(&Key::ROOT)? {
///     println!("{}: {}", child.key, child.kind);
/// }
/// let seed = store.value(&Key::new("meta/seed")?)?;
/// assert_eq!(seed.unwrap().scalar::<u64>()?, 42);
/// assert_eq!(store.series_view(&Key::new("net/rate")?)?.len(), 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub trait DataStoreExt: DataStore {
    /// Reads the node at one key; `None` if there is nothing.
    ///
    /// # Errors
    /// The error of the store, including that of a series that cannot be read.
    fn node(&self, key: &Key) -> Result<Option<Node>> {
        let nodes = self.nodes(std::slice::from_ref(key))?;
        match nodes.into_iter().next().flatten() {
            Some(Node::Unreadable { error, .. }) => Err(error),
            node => Ok(node),
        }
    }

    /// Reads the nodes at `keys`, so that an error at one key does not hide the others. If there is no error, all nodes
    /// are of one commit, as from [`nodes`](DataStore::nodes).
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Key, Recorder, prelude::*};
    ///
    /// let store = InMemoryDataStore::new();
    /// Recorder::new(store.clone()).record("net/rate", 0.5)?;
    /// let found = store.each_node(&[Key::new("net/rate")?, Key::new("net/v")?]);
    /// assert!(matches!(found[..], [Ok(Some(_)), Ok(None)]));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    fn each_node(&self, keys: &[Key]) -> Vec<Result<Option<Node>>> {
        let nodes = match self.nodes(keys) {
            Ok(nodes) => nodes.into_iter().map(Ok).collect(),
            Err(_) => keys.iter().map(|key| self.node(key)).collect::<Vec<_>>(),
        };
        let found = nodes.into_iter().map(|node| match node? {
            Some(Node::Unreadable { error, .. }) => Err(error),
            node => Ok(node),
        });
        found.collect()
    }

    /// Reads the node at a key, which must exist.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Key, NodeKind, Recorder, prelude::*};
    ///
    /// let store = InMemoryDataStore::new();
    /// Recorder::new(store.clone()).record("net/rate", 0.5)?;
    /// let error = store.require_node(&Key::new("net/rat")?, NodeKind::Series).unwrap_err();
    /// assert!(error.to_string().contains("the nearest keys are 'net/rate'"));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is nothing, which names the nearest keys, preferably of the
    /// kind `wanted`; otherwise the error of the store. A node of another kind is not an error.
    fn require_node(&self, key: &Key, wanted: NodeKind) -> Result<Node> {
        let nothing = || nothing_near(&[self], "read", key, wanted);
        self.node(key)?.ok_or_else(nothing)
    }

    /// Reads the value at `key`; `None` if there is nothing, or a group or series.
    ///
    /// # Errors
    /// The error of the store.
    fn value(&self, key: &Key) -> Result<Option<Value>> {
        match self.node(key)? {
            Some(Node::Value { value, .. }) => value.map(Some),
            _ => Ok(None),
        }
    }

    /// Returns a view of the series at `key`; `None` if there is nothing, or a group or value.
    ///
    /// # Errors
    /// The error of the store.
    fn view(&self, key: &Key) -> Result<Option<View>> {
        match self.node(key)? {
            Some(Node::Series(view)) => Ok(Some(view)),
            _ => Ok(None),
        }
    }

    /// Reads the attributes of a group, value or series; `None` if there is nothing.
    ///
    /// # Errors
    /// The error of the store.
    fn attributes(&self, key: &Key) -> Result<Option<Attributes>> {
        let nodes = self.nodes(std::slice::from_ref(key))?;
        Ok(nodes
            .into_iter()
            .next()
            .flatten()
            .map(Node::into_attributes))
    }

    /// Lists the keys of all values and series below a group, in order.
    ///
    /// # Errors
    /// The error of the store.
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

    /// Lists the timelines at and below a group: their groups, each with the name of its coordinate.
    ///
    /// # Errors
    /// The error of the store.
    fn timelines_within(&self, group: &Key) -> Result<Vec<(Key, String)>> {
        let mut found = Vec::new();
        let mut open = vec![group.clone()];
        while !open.is_empty() {
            let nodes = self.nodes(&open)?;
            let mut below = Vec::new();
            for (key, node) in open.into_iter().zip(nodes) {
                let Some(Node::Group { attributes }) = node else {
                    continue;
                };
                if let Some(name) = timeline_of(&attributes) {
                    found.push((key.clone(), name.to_owned()));
                }
                let children = self.children(&key)?.into_iter();
                let groups = children.filter(|child| child.kind == NodeKind::Group);
                below.extend(groups.map(|child| child.key));
            }
            open = below;
        }
        Ok(found)
    }

    /// Returns the tree of all keys as text for people. The line of a key that cannot be read shows the error.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, prelude::*};
    ///
    /// assert_eq!(InMemoryDataStore::new().tree().to_string(), "/  (empty)");
    /// ```
    fn tree(&self) -> Tree {
        Tree::collect(|group| Listing::of(self, group))
    }

    /// Returns a view of the series at `key`, which must exist.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is nothing,
    /// [`KindMismatch`](crate::ErrorKind::KindMismatch) if the key is a group or a value.
    fn series_view(&self, key: &Key) -> Result<View> {
        let view = match self.node(key)? {
            Some(Node::Series(view)) => return Ok(view),
            Some(other) => wrong_node(other.kind(), "get_all"),
            None => nothing_at("get_all"),
        };
        Err(Error::with_key(view, key.as_str()))
    }
}

impl<S: DataStore + ?Sized> DataStoreExt for S {}
