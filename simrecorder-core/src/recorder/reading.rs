//! Reading what was recorded, through the recorder or one of its stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Recorder;
use super::committing::ToRead;
use super::inner::{Inner, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::schema::{Attributes, NodeKind};
use crate::model::value::Value;
use crate::reading::group::Group;
use crate::reading::view::View;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors::wrong_node;
use crate::store::node::Child;
use crate::store::node::Node;

/// How many keys an error names as near to the one that was asked for.
const NEAREST_KEYS: usize = 3;

impl Recorder {
    /// The value at `key`; `None` if there is nothing.
    ///
    /// # Errors
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a series or a group.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        self.reader().map_or(Ok(None), |reader| reader.get(key))
    }

    /// The value at `key`, converted; `None` if there is nothing.
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is no
    /// `T`.
    pub fn get_as<T: TryFrom<Value, Error = Error>>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<T>> {
        self.reader().map_or(Ok(None), |reader| reader.get_as(key))
    }

    /// A lazy view of the series at `key`, with all that this recorder has recorded so far.
    /// Nothing is read yet.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) names the nearest keys;
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a value or a group.
    pub fn get_all(&self, key: impl AsRef<str>) -> Result<View> {
        match self.reader() {
            Some(reader) => reader.get_all(key),
            None => Err(recording_is_disabled("get_all", key.as_ref())),
        }
    }

    /// The group at `key`, with its series, values and coordinates as of one commit of its store,
    /// which has all that this recorder has recorded so far. The empty key is the root.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) names the nearest keys;
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a value or a series.
    pub fn group(&self, key: impl AsRef<str>) -> Result<Group> {
        match self.reader() {
            Some(reader) => reader.group(key),
            None => Err(recording_is_disabled("group", key.as_ref())),
        }
    }

    /// All keys of values and series, in order.
    ///
    /// # Errors
    /// What the stores report.
    pub fn keys(&self) -> Result<Vec<Key>> {
        self.reader().map_or(Ok(Vec::new()), |reader| reader.keys())
    }

    /// What stands right below the group `key`, in order; the empty key is the root. Nothing
    /// there, or no group: empty.
    ///
    /// # Errors
    /// What the stores report.
    pub fn children(&self, key: impl AsRef<str>) -> Result<Vec<Child>> {
        self.reader()
            .map_or(Ok(Vec::new()), |reader| reader.children(key))
    }

    /// What stands at `key`: a group, a value, a series, or nothing.
    ///
    /// # Errors
    /// What the stores report.
    pub fn kind_of(&self, key: impl AsRef<str>) -> Result<Option<NodeKind>> {
        self.reader().map_or(Ok(None), |reader| reader.kind_of(key))
    }

    /// The attributes of the group, value or series at `key`; `None` if there is nothing. The
    /// empty key is the root.
    ///
    /// # Errors
    /// What the stores report.
    pub fn attributes(&self, key: impl AsRef<str>) -> Result<Option<Attributes>> {
        self.reader()
            .map_or(Ok(None), |reader| reader.attributes(key))
    }

    /// Reads from one store alone, by its name: that of its backend (`memory`, `zarr`, …; a
    /// second one of a kind is `memory-2`), or the one that [`Named`](crate::Named) gives.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) names the stores there are.
    pub fn store(&self, name: &str) -> Result<StoreReader> {
        let pipelines = self.inner().map_or(&[][..], |inner| &inner.pipelines);
        match (
            self.inner(),
            pipelines
                .iter()
                .position(|pipeline| pipeline.name() == name),
        ) {
            (Some(inner), Some(index)) => Ok(StoreReader {
                inner: Arc::clone(inner),
                only: Some(index),
            }),
            _ => {
                let names: Vec<_> = pipelines.iter().map(|pipeline| pipeline.name()).collect();
                let message = format!("there is no such store; there are: {}", names.join(", "));
                Err(Error::new(ErrorKind::NotFound, "store", message).with_key(name))
            }
        }
    }

    fn reader(&self) -> Option<StoreReader> {
        self.inner().map(|inner| StoreReader {
            inner: Arc::clone(inner),
            only: None,
        })
    }
}

fn recording_is_disabled(operation: &'static str, key: &str) -> Error {
    let message = "recording is disabled, there is nothing to read";
    Error::new(ErrorKind::NotFound, operation, message).with_key(key)
}

/// The value at a key, if there is one.
fn find_value(store: &dyn DataStore, key: &Key) -> Result<Option<Value>> {
    match store.node(key)? {
        None => Ok(None),
        Some(Node::Value { value, .. }) => value.map(Some),
        Some(other) => Err(wrong_node(other.kind(), "get")),
    }
}

/// Reads from one store of a recorder; see [`Recorder::store`].
///
/// Its methods are those of [`Recorder`].
#[derive(Clone, Debug)]
pub struct StoreReader {
    inner: Arc<Inner>,
    /// The store to read, or all.
    only: Option<usize>,
}

impl StoreReader {
    /// See [`Recorder::get`].
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

    /// See [`Recorder::get_as`].
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

    /// See [`Recorder::get_all`].
    ///
    /// # Errors
    /// See there.
    pub fn get_all(&self, key: impl AsRef<str>) -> Result<View> {
        let operation = "get_all";
        let (key, stores) = self.prepare(key.as_ref(), operation)?;
        for store in self.stores(stores) {
            let store = store?;
            match store.series_view(&key) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(self.not_found(&key, operation))
    }

    /// See [`Recorder::group`].
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
        Err(self.not_found(&key, operation))
    }

    /// See [`Recorder::keys`].
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

    /// See [`Recorder::children`].
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

    /// See [`Recorder::kind_of`].
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

    /// See [`Recorder::attributes`].
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

    /// The stores to read, each as soon as it holds what was recorded.
    fn stores<'a>(
        &'a self,
        stores: Vec<ToRead<'a>>,
    ) -> impl Iterator<Item = Result<&'a dyn DataStore>> {
        let ready = move |to_read: ToRead<'a>| match self.inner.wait_for(&to_read) {
            Ok(false) if self.only.is_none() => None,
            Ok(_) => Some(Ok(&**to_read.0.store())),
            Err(error) => Some(Err(error)),
        };
        stores.into_iter().filter_map(ready)
    }

    /// Commits what the recorder still holds of `key` (or of all keys, for the root and
    /// groups), and checks the key.
    fn prepare(&self, spelling: &str, operation: &'static str) -> Result<(Key, Vec<ToRead<'_>>)> {
        if self.inner.is_closed() {
            return Err(closed(operation).with_key(spelling));
        }
        let key = Key::new_or_root(spelling).map_err(|e| e.with_operation(operation))?;
        let stores = self.inner.commit_for_reading(&key, self.only)?;
        Ok((key, stores))
    }

    fn not_found(&self, key: &Key, operation: &'static str) -> Error {
        let mut keys = self.keys().unwrap_or_default();
        keys.sort_by_cached_key(|candidate| distance(candidate.as_str(), key.as_str()));
        let message = match &keys[..] {
            [] => "there is nothing at this key; the recording is empty".to_owned(),
            keys => {
                let names = keys.iter().take(NEAREST_KEYS).map(|key| format!("'{key}'"));
                let names: Vec<_> = names.collect();
                format!(
                    "there is nothing at this key; the nearest keys are {}",
                    names.join(", ")
                )
            }
        };
        Error::new(ErrorKind::NotFound, operation, message).with_key(key.as_str())
    }
}

/// How many characters have to change to turn one text into the other (Levenshtein 1966), for
/// the beginnings of both.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_changes_insertions_and_deletions() {
        assert_eq!(distance("net/v", "net/v"), 0);
        assert_eq!(distance("net/v", "net/w"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
