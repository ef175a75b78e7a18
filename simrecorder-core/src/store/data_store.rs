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
/// Users hand a store to a [`Recorder`](crate::Recorder) and do not call these methods.
/// Implementers never see single records.
///
/// # Contract
/// - All methods take `&self` and may be called from many threads. The recorder calls
///   [`commit`](Self::commit), [`remove`](Self::remove), [`rename`](Self::rename),
///   [`checkpoint`](Self::checkpoint) and [`close`](Self::close) from one thread at a time; a store
///   that is shared must not rely on that.
/// - All reads that begin after a commit returned see its changes.
/// - No method panics, whatever is stored or sent.
/// - Errors name the operation, the key and the cause.
///
/// The conformance suite (feature `conformance`) holds a store to all of this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store",
    note = "a path or URL is opened first: `simrecorder::create(\"run.mdb\")?`, or `open` to read a \
            recording and `append` to add to it"
)]
pub trait DataStore: fmt::Debug + Send + Sync {
    /// The name of the backend, such as `memory` or `zarr`; it names the store in a recorder
    /// unless the user gives it another.
    fn name(&self) -> &str;

    /// Whether commits are refused with `ReadOnly`.
    fn is_read_only(&self) -> bool;

    /// The nodes at `keys`, in their order, as of one commit: series that are committed together
    /// have the lengths that one commit gave them, even while a writer commits.
    ///
    /// - Nothing at a key: `None`. The root is always a group.
    /// - A series reads as little as it can: its metadata, and no more records than do not fill a
    ///   chunk. A value is read.
    /// - Attributes are as they were set, whatever their names; what the backend keeps there for
    ///   itself does not show.
    /// - Metadata that is damaged is an error that names its key.
    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>>;

    /// The keys right below a group, in the order of their names.
    ///
    /// - Nothing at `key`, or a value or series: empty.
    /// - What holds the parts of a series does not show.
    fn children(&self, key: &Key) -> Result<Vec<Child>>;

    /// How many records of a new series at `key` a chunk holds, after a check that the store
    /// can keep such a series there. For `None`, only the key is checked, for a value or a group.
    ///
    /// - A key the backend cannot store: `InvalidKey`, with the rule.
    /// - A schema it cannot store: `Unsupported` or `InvalidArgument`.
    /// - Not more than the schema's chunk policy asks for.
    /// - A series that is there keeps its chunks. If the schema asks for other records, chunks,
    ///   compression or fill value than it has: `SchemaMismatch`, see
    ///   [`Schema::check_same_storage`].
    /// - Read only: `ReadOnly`. Closed: `Closed`.
    /// - Writes nothing. Batches need not end where chunks do, but cost less if they do.
    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64>;

    /// Encodes a batch ahead of its commit, if that can be done without knowing what the store
    /// holds. It runs on another thread than the commits, so that encoding overlaps with committing.
    ///
    /// - `None`: the commit will do it.
    /// - Changes nothing that can be seen.
    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>>;

    /// Makes all changes of a commit, in their order.
    ///
    /// - When it returns, all of it is visible to every process and durable, as the store was
    ///   set to. When it fails, none of it is.
    /// - An empty commit succeeds.
    /// - A batch that starts after the end of its series, or before it: `Internal`; one of a
    ///   series that was not declared: `NotFound`.
    /// - A key that is already something else, here or at a group above: `KindMismatch`.
    /// - Read only: `ReadOnly`. Closed: `Closed`. No space: `StorageFull`.
    fn commit(&self, commit: Commit) -> Result<()>;

    /// Removes the node at `key`, with everything below it, in a commit of its own. Its space is used
    /// again, and the groups above it stay.
    ///
    /// - Nothing at `key`: `NotFound`. The root: `InvalidArgument`.
    /// - A view of a removed series reads the records that it shows, or reports that they were removed. It
    ///   never shows those of a series that is created at the key later.
    /// - When it returns and when it fails: as for [`commit`](Self::commit).
    fn remove(&self, key: &Key) -> Result<()>;

    /// Moves the node at `from`, with everything below it, to `to`, in a commit of its own. Creates the
    /// groups above `to`; those above `from` stay.
    ///
    /// - Nothing at `from`: `NotFound`. Something at `to`: `AlreadyExists`.
    /// - The root, or a key within `from`: `InvalidArgument`.
    /// - A key that the backend cannot store, here or of something below: `InvalidKey`.
    /// - Views of `from`: as for [`remove`](Self::remove).
    /// - When it returns and when it fails: as for [`commit`](Self::commit).
    fn rename(&self, from: &Key, to: &Key) -> Result<()>;

    /// Writes everything in the form that other software reads, and removes the journal.
    ///
    /// - Read only: succeeds and does nothing. Closed: `Closed`.
    /// - `Locked` if another program keeps the store from it for now. This is no failure of the
    ///   store: what was committed is safe, and it may be tried again.
    fn checkpoint(&self) -> Result<()>;

    /// Does a checkpoint unless that would have to wait for another program: then it is `Locked` at
    /// once, and nothing is written. By default it calls [`checkpoint`](Self::checkpoint), which is
    /// right where that never waits.
    fn checkpoint_at_once(&self) -> Result<()> {
        self.checkpoint()
    }

    /// Does a checkpoint, if it is writable, and ends writing. Existing views remain readable.
    ///
    /// - Closed already: succeeds and does nothing.
    /// - `Locked` if another program keeps the store from it for now: what was committed is safe,
    ///   writing has ended all the same, and another call tries again.
    fn close(&self) -> Result<()>;

    /// What the store knows of its recording as a whole, at little cost: no series is read. By default
    /// nothing but its [`name`](Self::name).
    fn info(&self) -> Result<RecordingInfo> {
        Ok(RecordingInfo::new(self.name()))
    }

    /// What the store can do because other writers may append to its series; `None` if it has one
    /// writer.
    fn as_shared(&self) -> Option<&dyn SharedStore> {
        None
    }

    /// Takes records as another store of its backend keeps them; `None` if it cannot.
    fn as_encoded(&self) -> Option<&dyn EncodedStore> {
        None
    }
}

/// Implements the named methods of [`DataStore`] by calling them on another store:
/// `delegate_store!(self => self.inner; children plan)` in an `impl` block.
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

/// The convenient forms of [`DataStore`], for every store.
pub trait DataStoreExt: DataStore {
    /// The node at one key.
    ///
    /// # Errors
    /// What the store reports, also of a series that cannot be read.
    fn node(&self, key: &Key) -> Result<Option<Node>> {
        let nodes = self.nodes(std::slice::from_ref(key))?;
        match nodes.into_iter().next().flatten() {
            Some(Node::Unreadable { error, .. }) => Err(error),
            node => Ok(node),
        }
    }

    /// The nodes at keys, each alone if it is damaged: that hides no other. Where none is, all are of one
    /// commit, as from [`nodes`](DataStore::nodes).
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Key, Recorder, prelude::*};
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

    /// The node at a key that must be there.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Key, NodeKind, Recorder, prelude::*};
    ///
    /// let store = InMemoryDataStore::new();
    /// Recorder::new(store.clone()).record("net/rate", 0.5)?;
    /// let error = store.require_node(&Key::new("net/rat")?, NodeKind::Series).unwrap_err();
    /// assert!(error.to_string().contains("the nearest keys are 'net/rate'"));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is nothing: the error names the nearest keys,
    /// preferably of the kind `wanted`. A node of another kind is no error. Else what the store reports.
    fn require_node(&self, key: &Key, wanted: NodeKind) -> Result<Node> {
        let nothing = || nothing_near(&[self], "read", key, wanted);
        self.node(key)?.ok_or_else(nothing)
    }

    /// The value at `key`; `None` if there is nothing, or a group or series.
    ///
    /// # Errors
    /// What the store reports.
    fn value(&self, key: &Key) -> Result<Option<Value>> {
        match self.node(key)? {
            Some(Node::Value { value, .. }) => value.map(Some),
            _ => Ok(None),
        }
    }

    /// The lazy view of the series at `key`; `None` if there is nothing, or a group or value.
    ///
    /// # Errors
    /// What the store reports.
    fn view(&self, key: &Key) -> Result<Option<View>> {
        match self.node(key)? {
            Some(Node::Series(view)) => Ok(Some(view)),
            _ => Ok(None),
        }
    }

    /// The attributes of a group, value or series; `None` if there is nothing.
    ///
    /// # Errors
    /// What the store reports.
    fn attributes(&self, key: &Key) -> Result<Option<Attributes>> {
        let nodes = self.nodes(std::slice::from_ref(key))?;
        Ok(nodes
            .into_iter()
            .next()
            .flatten()
            .map(Node::into_attributes))
    }

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

    /// The timelines at and below a group: their groups, each with the name of its coordinate.
    ///
    /// # Errors
    /// What the store reports.
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

    /// All keys with what they are, as text for people. What cannot be read has its error in its line.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, prelude::*};
    ///
    /// assert_eq!(InMemoryDataStore::new().tree().to_string(), "/  (empty)");
    /// ```
    fn tree(&self) -> Tree {
        Tree::collect(|group| Listing::of(self, group))
    }

    /// The lazy view of a series that must be there.
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
