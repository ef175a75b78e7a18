//! What a recorder reads from its stores.

use std::fmt;

use super::store_reader::no_such_store;
use super::{Recorder, StoreReader};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Attributes;
use crate::model::value::Value;
use crate::reading::group::Group;
use crate::reading::tree::Tree;
use crate::reading::view::View;
use crate::store::node::Child;

/// Reading.
impl Recorder {
    /// Reads the value at `key`; `None` if there is nothing. [`require`](Self::require) makes that an error.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/weights", [0.5, 1.5])?;
    /// if let Some(weights) = recorder.get("meta/weights")? {
    ///     assert_eq!(weights.array::<f64>()?.sum(), 2.0);
    /// }
    /// assert!(recorder.get("meta/delays")?.is_none());
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a series or a group.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        self.reader().map_or(Ok(None), |reader| reader.get(key))
    }

    /// Reads the value at `key` as a `T`; `None` if there is nothing. [`require_as`](Self::require_as) makes that an
    /// error.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/model", "Brunel 2000")?;
    /// let model = recorder.get_as::<String>("meta/model")?.unwrap_or_default();
    /// let seed: u64 = recorder.get_as("meta/seed")?.unwrap_or(1);
    /// # assert_eq!((model.as_str(), seed), ("Brunel 2000", 1));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is not a `T`.
    pub fn get_as<T: TryFrom<Value, Error = Error>>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<T>> {
        self.reader().map_or(Ok(None), |reader| reader.get_as(key))
    }

    /// Reads the value at `key`, which must exist.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is nothing, which names the nearest keys;
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a series or a group.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{ErrorKind, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/seed", 42_u64)?;
    /// assert_eq!(recorder.require("meta/seed")?.scalar::<u64>()?, 42);
    ///
    /// let error = recorder.require("meta/Sed").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// assert_eq!(
    ///     error.to_string(),
    ///     "require 'meta/Sed': there is nothing at this key; the nearest keys are 'meta/seed'"
    /// );
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn require(&self, key: impl AsRef<str>) -> Result<Value> {
        match self.reader() {
            Some(reader) => reader.require(key),
            None => Err(recording_is_disabled("require", key.as_ref())),
        }
    }

    /// Reads the value at `key`, which must exist, as a `T`.
    ///
    /// # Errors
    /// As for [`require`](Self::require); [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is not a `T`.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/dt", 0.1)?;
    /// let dt: f64 = recorder.require_as("meta/dt")?;
    /// # assert_eq!(dt, 0.1);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn require_as<T: TryFrom<Value, Error = Error>>(&self, key: impl AsRef<str>) -> Result<T> {
        match self.reader() {
            Some(reader) => reader.require_as(key),
            None => Err(recording_is_disabled("require", key.as_ref())),
        }
    }

    /// Returns a lazy view of the series at `key`, which includes everything that this recorder has recorded so far.
    /// Records are read only when a method of the view asks for them.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..100 {
    ///     recorder.record("net/v", [f64::from(step), -65.0])?;
    /// }
    /// let v = recorder.get_all("net/v")?;
    /// assert_eq!(v.shape(), [100, 2]);
    /// let last = v.select(90..)?.read::<f64>()?;
    /// assert_eq!(last.shape(), [10, 2]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is nothing, which names the nearest keys;
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a value or a group.
    pub fn get_all(&self, key: impl AsRef<str>) -> Result<View> {
        match self.reader() {
            Some(reader) => reader.get_all(key),
            None => Err(recording_is_disabled("get_all", key.as_ref())),
        }
    }

    /// Reads the group at `key`: its series, values and coordinates as of one commit, which includes everything that
    /// this recorder has recorded so far. The empty key is the root.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("net/size", 100_u64)?;
    /// recorder.record("net/rate", 0.5)?;
    /// for (name, view) in recorder.group("net")?.series() {
    ///     println!("{name} has {} records", view.len());
    /// }
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is nothing, which names the nearest keys;
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a value or a series.
    pub fn group(&self, key: impl AsRef<str>) -> Result<Group> {
        match self.reader() {
            Some(reader) => reader.group(key),
            None => Err(recording_is_disabled("group", key.as_ref())),
        }
    }

    /// Lists the keys of all values and series. They are sorted level by level as text: `demo_10` is before `demo_2`.
    /// `println!("{recorder}")` prints them in natural order.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/seed", 42_u64)?;
    /// recorder.record("net/rate", 0.5)?;
    /// let keys = recorder.keys()?;
    /// assert_eq!(keys.iter().map(|key| key.as_str()).collect::<Vec<_>>(), ["meta/seed", "net/rate"]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of a store.
    pub fn keys(&self) -> Result<Vec<Key>> {
        self.reader().map_or(Ok(Vec::new()), |reader| reader.keys())
    }

    /// Lists the keys right below the group `key`, sorted by name as text. The empty key is the root. The list is
    /// empty if there is nothing at `key`, or no group.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, NodeKind, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/e/rate", 0.5)?;
    /// recorder.record("net/rate", 0.5)?;
    /// let children = recorder.children("net")?;
    /// assert_eq!((children[0].key.name(), children[0].kind), ("e", NodeKind::Group));
    /// assert_eq!((children[1].key.name(), children[1].kind), ("rate", NodeKind::Series));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of a store.
    pub fn children(&self, key: impl AsRef<str>) -> Result<Vec<Child>> {
        self.reader()
            .map_or(Ok(Vec::new()), |reader| reader.children(key))
    }

    /// Returns whether a group, a value or a series is at `key`; `None` if there is nothing.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, NodeKind, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/rate", 0.5)?;
    /// assert_eq!(recorder.kind_of("net/rate")?, Some(NodeKind::Series));
    /// assert_eq!(recorder.kind_of("net/weights")?, None);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of a store.
    pub fn kind_of(&self, key: impl AsRef<str>) -> Result<Option<NodeKind>> {
        self.reader().map_or(Ok(None), |reader| reader.kind_of(key))
    }

    /// Reads the attributes of the group, value or series at `key`; `None` if there is nothing. The empty key is the
    /// root.
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder, Schema};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.declare("net/v", Schema::scalar::<f64>().with_units("mV"))?;
    /// assert_eq!(recorder.attributes("net/v")?.unwrap()["units"], "mV");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of a store.
    pub fn attributes(&self, key: impl AsRef<str>) -> Result<Option<Attributes>> {
        self.reader()
            .map_or(Ok(None), |reader| reader.attributes(key))
    }

    /// Returns a reader of one store. Its name is that of its backend (`memory`, `zarr`, …; a second store of one kind
    /// is `memory-2`), or the one that [`Named`](crate::Named) gives it.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new((InMemoryDataStore::new(), InMemoryDataStore::new()));
    /// recorder.record("net/rate", 0.5)?;
    /// assert_eq!(recorder.store("memory-2")?.get_all("net/rate")?.len(), 1);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such store, which names the stores of the recorder.
    pub fn store(&self, name: &str) -> Result<StoreReader> {
        match &self.parts {
            Some(parts) => StoreReader::of_one(parts, name),
            None => Err(no_such_store(name, &[])),
        }
    }

    fn reader(&self) -> Option<StoreReader> {
        let parts = self.parts.as_ref()?;
        Some(StoreReader::of_all(parts))
    }
}

fn recording_is_disabled(operation: &'static str, key: &str) -> Error {
    let message = "recording is disabled, so there is nothing to read";
    Error::new(ErrorKind::NotFound, operation, message).with_key(key)
}

/// The [`Tree`] of keys, which includes everything that this recorder has recorded so far. The line of a key that
/// cannot be read shows the error.
impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reader() {
            Some(reader) => reader.fmt(f),
            None => Tree::of_nothing("(recording is disabled)").fmt(f),
        }
    }
}
