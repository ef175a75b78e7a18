//! Reading from all stores of a recorder, or from one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::committer::{Committer, ReadableStore};
use super::parts::Parts;
use crate::backend::fork::ProcessLocal;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Attributes;
use crate::model::value::Value;
use crate::reading::group::Group;
use crate::reading::nearest::nothing_near;
use crate::reading::tree::{Listing, Tree};
use crate::reading::view::View;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors::{closed, wrong_node};
use crate::store::node::{Child, Node};

/// The value at a key, if there is one.
fn find_value(store: &dyn DataStore, key: &Key) -> Result<Option<Value>> {
    match store.node(key)? {
        None => Ok(None),
        Some(Node::Value { value, .. }) => value.map(Some),
        Some(other) => Err(wrong_node(other.kind(), "get")),
    }
}

/// Reads from one store of a recorder; [`Recorder::store`](crate::Recorder::store) returns it.
///
/// Its methods are those of [`Recorder`](crate::Recorder) that read.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Named, Recorder};
///
/// let stores = (InMemoryDataStore::new(), Named::new("live", InMemoryDataStore::new()));
/// let recorder = Recorder::new(stores);
/// recorder.record("net/rate", 0.5)?;
/// let live = recorder.store("live")?;
/// assert_eq!(live.get_all("net/rate")?.len(), 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoreReader {
    committer: ProcessLocal<Arc<Committer>>,
    /// The index of the store to read; `None` for all stores.
    only: Option<usize>,
}

impl StoreReader {
    /// Reads from the first store that has a key.
    pub(super) fn of_all(parts: &ProcessLocal<Parts>) -> Self {
        Self {
            committer: parts.map(|parts| Arc::clone(&parts.committer)),
            only: None,
        }
    }

    /// Reads from the store with this name.
    pub(super) fn of_one(parts: &ProcessLocal<Parts>, name: &str) -> Result<Self> {
        let names = parts.constants().stores.names();
        match names.iter().position(|other| *other == name) {
            Some(index) => Ok(Self {
                only: Some(index),
                ..Self::of_all(parts)
            }),
            None => Err(no_such_store(name, &names)),
        }
    }

    /// See [`Recorder::get`](crate::Recorder::get).
    ///
    /// # Errors
    /// See there.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        let operation = "get";
        let (key, stores) = self.prepare(key.as_ref(), operation)?;
        for store in self.stores(stores) {
            let store = store?;
            if let Some(value) = find_value(store, &key).map_err(|e| e.with_key(key.as_str()))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// See [`Recorder::get_as`](crate::Recorder::get_as).
    ///
    /// # Errors
    /// See there.
    pub fn get_as<T: TryFrom<Value, Error = Error>>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<T>> {
        let key = key.as_ref();
        let value = self.get(key)?.map(T::try_from).transpose();
        value.map_err(|e| e.with_key(key).with_operation("get"))
    }

    /// See [`Recorder::require`](crate::Recorder::require).
    ///
    /// # Errors
    /// See there.
    pub fn require(&self, key: impl AsRef<str>) -> Result<Value> {
        let operation = "require";
        let key = key.as_ref();
        match self.get(key).map_err(|e| e.with_operation(operation))? {
            Some(value) => Ok(value),
            None => {
                let key = Key::new_or_root(key).map_err(|e| e.with_operation(operation))?;
                Err(self.not_found(&key, operation, NodeKind::Value))
            }
        }
    }

    /// See [`Recorder::require_as`](crate::Recorder::require_as).
    ///
    /// # Errors
    /// See there.
    pub fn require_as<T: TryFrom<Value, Error = Error>>(&self, key: impl AsRef<str>) -> Result<T> {
        let key = key.as_ref();
        let value = self.require(key).and_then(T::try_from);
        value.map_err(|e| e.with_key(key).with_operation("require"))
    }

    /// See [`Recorder::get_all`](crate::Recorder::get_all).
    ///
    /// # Errors
    /// See there.
    pub fn get_all(&self, key: impl AsRef<str>) -> Result<View> {
        let operation = "get_all";
        let (key, stores) = self.prepare(key.as_ref(), operation)?;
        let committer = self.committer.get(operation)?;
        for readable in stores {
            let Some(store) = committer.wait_for(&readable, self.only)? else {
                continue;
            };
            match store.series_view(&key) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(view) => {
                    committer.commit_coordinates(&readable, &view)?;
                    return Ok(view);
                }
            }
        }
        Err(self.not_found(&key, operation, NodeKind::Series))
    }

    /// See [`Recorder::group`](crate::Recorder::group).
    ///
    /// # Errors
    /// See there.
    pub fn group(&self, key: impl AsRef<str>) -> Result<Group> {
        let operation = "group";
        let (key, stores) = self.prepare(key.as_ref(), operation)?;
        for store in self.stores(stores) {
            match Group::load(store?, &key).map_err(|e| e.with_operation(operation))? {
                Some(Ok(group)) => return Ok(group),
                Some(Err(kind)) => return Err(wrong_node(kind, operation).with_key(key.as_str())),
                None => {}
            }
        }
        Err(self.not_found(&key, operation, NodeKind::Group))
    }

    /// See [`Recorder::keys`](crate::Recorder::keys).
    ///
    /// # Errors
    /// See there.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let (_, stores) = self.prepare("", "keys")?;
        let mut keys = Vec::new();
        for store in self.stores(stores) {
            let store = store?;
            keys.extend(
                store
                    .keys_within(&Key::ROOT)?
                    .into_iter()
                    .map(|child| child.key),
            );
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// See [`Recorder::children`](crate::Recorder::children).
    ///
    /// # Errors
    /// See there.
    pub fn children(&self, key: impl AsRef<str>) -> Result<Vec<Child>> {
        let (key, stores) = self.prepare(key.as_ref(), "children")?;
        let mut children = BTreeMap::new();
        for store in self.stores(stores) {
            let store = store?;
            for child in store.children(&key)? {
                children.entry(child.key.clone()).or_insert(child);
            }
        }
        Ok(children.into_values().collect())
    }

    /// See [`Recorder::kind_of`](crate::Recorder::kind_of).
    ///
    /// # Errors
    /// See there.
    pub fn kind_of(&self, key: impl AsRef<str>) -> Result<Option<NodeKind>> {
        let (key, stores) = self.prepare(key.as_ref(), "kind_of")?;
        for store in self.stores(stores) {
            let store = store?;
            if let Some(node) = store.node(&key)? {
                return Ok(Some(node.kind()));
            }
        }
        Ok(None)
    }

    /// See [`Recorder::attributes`](crate::Recorder::attributes).
    ///
    /// # Errors
    /// See there.
    pub fn attributes(&self, key: impl AsRef<str>) -> Result<Option<Attributes>> {
        let (key, stores) = self.prepare(key.as_ref(), "attributes")?;
        for store in self.stores(stores) {
            let store = store?;
            if let Some(attributes) = store.attributes(&key)? {
                return Ok(Some(attributes));
            }
        }
        Ok(None)
    }

    /// The stores to read, each as soon as it has committed what was recorded.
    fn stores<'a>(
        &'a self,
        stores: Vec<ReadableStore<'a>>,
    ) -> impl Iterator<Item = Result<&'a dyn DataStore>> {
        let wait = |readable| {
            let committer = self.committer.get("read");
            let waited = committer.and_then(|committer| committer.wait_for(&readable, self.only));
            waited.transpose()
        };
        stores.into_iter().filter_map(wait)
    }

    /// Commits what the recorder has buffered of `key` (or of all keys, for the root and
    /// groups), and checks the key.
    fn prepare(
        &self,
        text: &str,
        operation: &'static str,
    ) -> Result<(Key, Vec<ReadableStore<'_>>)> {
        let committer = self
            .committer
            .get(operation)
            .map_err(|e| e.with_key(text))?;
        if committer.stores().is_closed() {
            return Err(closed(operation, "recorder").with_key(text));
        }
        let key = Key::new_or_root(text).map_err(|e| e.with_operation(operation))?;
        let stores = committer.commit_for_reading(&key, self.only)?;
        Ok((key, stores))
    }

    /// The tree of all keys.
    pub(super) fn tree(&self) -> Tree {
        let committer = self.committer.get("display");
        let stores = committer.and_then(|committer| match committer.stores().is_closed() {
            true => Err(closed("display", "recorder")),
            false => committer.commit_all_for_reading(self.only),
        });
        let stores = stores.map(|stores| self.stores(stores).collect::<Vec<_>>());
        Tree::collect(|group| match &stores {
            Err(error) => Listing::failed(error.clone()),
            Ok(stores) => {
                let mut listing = Listing::default();
                for store in stores {
                    match store {
                        Ok(store) => listing.merge(Listing::of(*store, group)),
                        Err(error) if group.is_root() => {
                            listing.merge(Listing::failed(error.clone()));
                        }
                        Err(_) => {}
                    }
                }
                listing
            }
        })
    }

    fn not_found(&self, key: &Key, operation: &'static str, wanted: NodeKind) -> Error {
        let stores = self.prepare("", operation).map(|(_, stores)| stores);
        let stores = self.stores(stores.unwrap_or_default());
        let stores: Vec<_> = stores.filter_map(Result::ok).collect();
        nothing_near(&stores, operation, key, wanted)
    }
}

/// The tree of keys in this store; see [`Tree`].
impl fmt::Display for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

pub(super) fn no_such_store(name: &str, names: &[&str]) -> Error {
    let message = format!(
        "the recorder has no store of this name; its stores are: {}",
        names.join(", ")
    );
    Error::new(ErrorKind::NotFound, "store", message).with_key(name)
}
