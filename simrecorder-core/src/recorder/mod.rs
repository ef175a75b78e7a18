//! The recorder: what a simulation calls.
//!
//! [`Recorder`] and [`Series`] hand a record to the [fast path](fast_path), which copies it into the
//! buffer of its series. The first record of a key goes through the [registry of keys](key_registry).
//! The [buffers] send full batches to the [stores], each of which has a [queue](pipeline). The
//! [committer] makes the stores commit.

mod buffer_pool;
mod buffers;
mod commit_timer;
mod committer;
mod fast_path;
mod into_stores;
mod key_cache;
mod key_registry;
mod options;
mod parts;
mod pipeline;
mod record_buffer;
mod series;
mod series_buffer;
mod status;
mod stop_flag;
mod store_reader;
mod stores;
mod timeline;

use std::fmt;
use std::sync::Arc;

pub use into_stores::{IntoStores, Named};
pub(crate) use key_registry::timeline_of;
pub use options::{MemoryPolicy, OnDivergence, OnStoreError, RecorderOptions};
pub use series::Series;
pub use status::{Status, StoreState, StoreStatus};
pub use store_reader::StoreReader;
pub use timeline::{
    Coordinate, CoordinateType, CoordinateValue, Member, TIMELINE_ATTRIBUTE, TickRecords, Timeline,
};

use parts::Parts;
use series_buffer::SeriesBuffer;
use store_reader::no_such_store;

use crate::backend::fork::ProcessLocal;
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::Element;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::labeled::SetValue;
use crate::model::record::IntoValue;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::coordinate::CoordinateNumber;
use crate::reading::group::Group;
use crate::reading::tree::Tree;
use crate::reading::view::View;
use crate::store::node::Child;

/// Records values by key into one or several stores, and reads them back.
///
/// ```
/// use simrecorder_core::ndarray::{Array1, s};
/// use simrecorder_core::{InMemoryDataStore, Recorder, prelude::*};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set("meta/seed", 42_u64)?;
/// for step in 0..100 {
///     recorder.record("net/v", &Array1::from_elem(10, step as f64))?;
///     recorder.record("net/spikes", Ragged(&vec![7_u32; step % 3]))?;
/// }
/// recorder.flush()?;
///
/// let v = recorder.get_all("net/v")?;
/// assert_eq!(v.select(s![50.., 3])?.read::<f64>()?.len(), 50);
/// assert_eq!(recorder.get_as::<u64>("meta/seed")?, Some(42));
/// recorder.close()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Recording
/// [`record`](Self::record) copies the value into a buffer and returns; encoding and writing
/// happen on threads of their own. The first record of a key fixes the type and shape of its series.
/// Records keep their order for each thread and key; many threads may record, also to one key.
///
/// # Safety of data
/// - When [`flush`](Self::flush) returns, all that this thread recorded before is visible to
///   other processes and durable, as the store's durability says.
/// - Without a flush, everything is committed about once a second.
/// - Nothing is dropped silently. When a commit fails, the next `record`, `flush` or `close`
///   returns the error, and so do all after it (see [`OnStoreError`]).
/// - [`close`](Self::close) reports every error. Dropping the last handle does the same work
///   and logs what it could not write.
///
/// # Ends of a program
/// Nothing that was flushed is ever lost. What was recorded after the last commit depends on how the
/// program ends:
///
/// | the program ends by | what is stored |
/// |---|---|
/// | [`close`](Self::close) | everything, or the error says what is missing |
/// | dropping the last handle without `close`, also in a panic that unwinds | everything, if the stores finish within [`drop_timeout`](RecorderOptions::drop_timeout); errors are logged with `tracing` only |
/// | a signal without a handler (Ctrl-C, SIGTERM, SIGKILL), [`std::process::exit`], an abort, a panic with `panic = "abort"`, a recorder in a `static` or passed to [`std::mem::forget`] | what was flushed, and what was committed since: all but about the last second |
///
/// After the last of these, a file is as a killed process leaves it: simrecorder reads all of it, and
/// other software sees what the last [`checkpoint`](Self::checkpoint) wrote. To show it the rest, open
/// the recording for appending and close it. A handler of Ctrl-C and SIGTERM sets a flag that the loop
/// checks, and `close` follows the loop: see the cookbook of `simrecorder`, and its example `interrupt`.
///
/// # Handles
/// A clone is cheap and is the same recorder. All methods take `&self`.
///
/// # Forks
/// In a process that is forked from the one that made it, every method is an error of the kind
/// [`Forked`](crate::ErrorKind::Forked) at once, and dropping the recorder does nothing: the parent
/// continues recording. The child opens the recording again to read it.
#[derive(Clone)]
pub struct Recorder {
    /// `None` for a recorder that does nothing.
    parts: Option<Arc<ProcessLocal<Parts>>>,
}

impl Recorder {
    /// A recorder for one store, a tuple of stores, or a `Vec` of `Arc<dyn DataStore>`.
    ///
    /// It writes to all stores, and reads from the first that has the key.
    pub fn new(stores: impl IntoStores) -> Self {
        Self::with_options(stores, RecorderOptions::default())
    }

    /// A recorder with options.
    pub fn with_options(stores: impl IntoStores, options: RecorderOptions) -> Self {
        let parts = Parts::new(stores.into_stores(), &options);
        Self {
            parts: Some(Arc::new(ProcessLocal::new(parts))),
        }
    }

    /// A recorder that does nothing: it accepts every record and stores none. Switch recording off
    /// with it, without touching the loop.
    ///
    /// ```
    /// # use simrecorder_core::Recorder;
    /// let recorder = Recorder::disabled();
    /// recorder.record("net/v", [1.0, 2.0])?;
    /// assert!(recorder.keys()?.is_empty());
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn disabled() -> Self {
        Self { parts: None }
    }

    /// Whether this recorder does nothing.
    pub fn is_disabled(&self) -> bool {
        self.parts.is_none()
    }

    /// Appends a record to the series at `key`.
    ///
    /// # Errors
    /// - [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the series holds something
    ///   else: another element type, shape or kind. Nothing is written.
    /// - [`KindMismatch`](crate::ErrorKind::KindMismatch) if the key is a group or a value, or
    ///   a key above it is a value or a series.
    /// - [`InvalidKey`](crate::ErrorKind::InvalidKey) if the key breaks a rule of [`Key`] or a
    ///   store cannot hold it.
    /// - [`BufferFull`](crate::ErrorKind::BufferFull) with [`MemoryPolicy::Error`].
    /// - [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed).
    /// - The error of an earlier commit that failed.
    #[inline]
    pub fn record(&self, key: impl AsRef<str>, value: impl IntoValue) -> Result<()> {
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        let key = key.as_ref();
        let parts = parts.get("record").map_err(|e| e.with_key(key))?;
        if let Some(scalar) = value.as_scalar()
            && parts
                .fast_path
                .push_by_key(key, |b| b.try_push_scalar(scalar))
        {
            return Ok(());
        }
        parts.record(key, &value)
    }

    /// Appends a record if that needs neither waiting nor a call of a store. Returns whether it was appended.
    /// If not, [`record`](Self::record) does it, or reports why it cannot.
    ///
    /// For callers that hold a lock of their own while they record, such as that of a Python interpreter:
    /// they release it before they wait.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// assert!(!recorder.record_at_once("net/rate", 0.5)?); // the first record makes the series
    /// recorder.record("net/rate", 0.5)?;
    /// assert!(recorder.record_at_once("net/rate", 0.25)?);
    /// assert_eq!(recorder.get_all("net/rate")?.len(), 2);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Forked`](ErrorKind::Forked), and those of [`IntoValue::as_record`].
    #[inline]
    pub fn record_at_once(&self, key: impl AsRef<str>, value: impl IntoValue) -> Result<bool> {
        let Some(parts) = &self.parts else {
            return Ok(true);
        };
        let key = key.as_ref();
        let parts = parts.get("record").map_err(|e| e.with_key(key))?;
        if let Some(scalar) = value.as_scalar() {
            let push = |b: &SeriesBuffer| b.try_push_scalar(scalar);
            return Ok(parts.fast_path.push_by_key(key, push));
        }
        let record = value.as_record();
        let record = record.map_err(|e| e.with_key(key).with_operation("record"))?;
        Ok(parts.fast_path.push_by_key(key, |b| b.try_push(&record)))
    }

    /// A handle for the series at `key`, for the hottest loops: it saves the lookup of the key.
    ///
    /// If there is no such series yet, its first record creates it. `T` is its element type:
    /// only values of it can be recorded through the handle.
    ///
    /// # Errors
    /// [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the series has other elements;
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey) and
    /// [`KindMismatch`](crate::ErrorKind::KindMismatch) as for [`record`](Self::record).
    pub fn series<T: Element>(&self, key: impl AsRef<str>) -> Result<Series<T>> {
        Series::new(self.parts.clone(), key.as_ref())
    }

    /// Opens the timeline of a group, or makes the group a timeline: its series have one record per tick,
    /// and stores get whole ticks. An existing timeline continues after its last tick.
    ///
    /// The type of the ticks is `f64`, `i64` or `u64`. The empty key is the root.
    ///
    /// ```
    /// use simrecorder_core::{Coordinate, InMemoryDataStore, OpenMode, Recorder};
    ///
    /// let store = InMemoryDataStore::new();
    /// let recorder = Recorder::new(store.clone());
    /// let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
    /// net.advance(0.1)?;
    /// net.record("rate", 0.5)?;
    /// net.advance(0.2)?;
    /// net.record("rate", 0.25)?;
    /// recorder.close()?;
    ///
    /// let recorder = Recorder::new(store.open(OpenMode::Append)?);
    /// let mut net = recorder.timeline("net", Coordinate::new("time"))?;
    /// assert_eq!(net.last(), Some(0.2));
    /// net.advance(0.3)?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Locked`](ErrorKind::Locked) if the timeline has a handle already.
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) if the group has series of another length, if it is
    ///   a timeline with a coordinate of another name, and if a group above or below has a coordinate of the
    ///   same name.
    /// - [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the coordinate has another type,
    ///   [`KindMismatch`](ErrorKind::KindMismatch) if the key is no group.
    /// - [`Diverged`](ErrorKind::Diverged) if the stores hold different numbers of ticks, unless
    ///   [`OnDivergence::CutToShortest`] cuts them.
    /// - Else as for [`record`](Self::record).
    pub fn timeline<T: CoordinateType>(
        &self,
        group: impl AsRef<str>,
        coordinate: Coordinate,
    ) -> Result<Timeline<T>> {
        Timeline::new(self.parts.clone(), group.as_ref(), &coordinate)
    }

    /// Removes every tick after `t` from all timelines whose coordinate is called `name`, in one commit: to
    /// resume from a state that was saved at `t`. Open ticks are discarded. It takes effect with the next commit,
    /// as records do.
    ///
    /// ```
    /// use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut fast = recorder.timeline("fast", Coordinate::new("step"))?;
    /// let mut slow = recorder.timeline("slow", Coordinate::new("step"))?;
    /// for step in 0..20_u64 {
    ///     fast.tick(step, (("rate", 0.5),))?;
    ///     if step % 5 == 0 {
    ///         slow.tick(step, (("weight", 1.0),))?;
    ///     }
    /// }
    /// recorder.rewind("step", 12)?;
    /// assert_eq!((fast.last(), slow.last()), (Some(12), Some(10)));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`NotFound`](ErrorKind::NotFound) if there is no such timeline,
    ///   [`InvalidArgument`](ErrorKind::InvalidArgument) if `t` is NaN.
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds) if a store
    ///   [freed](crate::backend::SharedStore::free) the records after `t`.
    /// - Else as for [`flush`](Self::flush).
    pub fn rewind(&self, name: &str, t: impl Into<CoordinateNumber>) -> Result<()> {
        let t = t.into();
        self.write("rewind", name, |parts| parts.keys.rewind(name, t))
    }

    /// Creates a series without records, or describes the one at `key`: its attributes get those of the
    /// schema, and its dimensions their names. Everything else stays as it is.
    ///
    /// A program that resumes a recording may declare the same series again, with other units or names.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("v", -65.0)?;
    /// recorder.declare("v", Schema::scalar::<f64>().with_units("mV"))?;
    /// assert_eq!(recorder.get_all("v")?.attributes()["units"], "mV");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Self::record); [`InvalidArgument`](crate::ErrorKind::InvalidArgument)
    /// if the schema contradicts itself; [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if it asks
    /// for another kind, element type, record shape, chunk policy, compression or fill value than the
    /// series has in one of the stores. Nothing is changed then.
    pub fn declare(&self, key: impl AsRef<str>, schema: Schema) -> Result<()> {
        let key = key.as_ref();
        self.write("declare", key, |parts| parts.keys.declare(key, schema))
    }

    /// Sets the value at `key`, and replaces an existing one. With [`Labeled`](crate::Labeled), its dimensions
    /// get names, and the value gets units.
    ///
    /// # Errors
    /// As for [`record`](Self::record), except that a value may change its type.
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the names do not fit the value.
    pub fn set(&self, key: impl AsRef<str>, value: impl SetValue) -> Result<()> {
        let key = key.as_ref();
        self.write("set", key, |parts| {
            parts.keys.set(key, value.as_labeled_record()?)
        })
    }

    /// Cuts the series at `key` to its first `len` records; if it has no more than that,
    /// nothing happens. It takes effect with the next commit, as records do. If many
    /// processes write to a series, the records of all of them are cut.
    ///
    /// Use it to return to the saved state of a simulation: a run that was killed may have recorded
    /// one series a step further than another.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..10 {
    ///     recorder.record("net/rate", step as f64)?;
    /// }
    /// recorder.truncate("net/rate", 7)?;
    /// recorder.record("net/rate", 0.5)?;
    /// assert_eq!(recorder.get_all("net/rate")?.len(), 8);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`NotFound`](crate::ErrorKind::NotFound) if there is nothing at the key,
    ///   [`KindMismatch`](crate::ErrorKind::KindMismatch) if it is no series.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds) if a store
    ///   [freed](crate::backend::SharedStore::free) the records after the first `len`.
    /// - Else as for [`record`](Self::record).
    pub fn truncate(&self, key: impl AsRef<str>, len: u64) -> Result<()> {
        let key = key.as_ref();
        self.write("truncate", key, |parts| parts.keys.truncate(key, len))
    }

    /// Removes the series, value or group at `key`, with everything below a group, and waits until it is
    /// gone from every store. It takes effect after all that was recorded before; a record that follows
    /// creates the key again. Its space is used again.
    ///
    /// A view that was taken before reads the records that it shows, or reports that they were removed.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("trial/v", 1)?;
    /// recorder.remove("trial")?;
    /// recorder.record("trial/v", [0.5, 1.5])?;
    /// assert_eq!(recorder.get_all("trial/v")?.shape(), [1, 2]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`NotFound`](ErrorKind::NotFound) if there is nothing at the key,
    ///   [`InvalidArgument`](ErrorKind::InvalidArgument) for the root.
    /// - Else as for [`flush`](Self::flush).
    pub fn remove(&self, key: impl AsRef<str>) -> Result<()> {
        let key = key.as_ref();
        self.write("remove", key, |parts| parts.keys.remove(key))
    }

    /// Moves the series, value or group at `from`, with everything below a group, to the key `to`, and
    /// waits until every store has done so. It takes effect after all that was recorded before; a record
    /// at `from` that follows, also through a [`Series`], creates that key again.
    ///
    /// ```
    /// use simrecorder_core::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/v", 0.5)?;
    /// recorder.rename("net/v", "old/voltage")?;
    /// recorder.record("old/voltage", 1.5)?;
    /// assert_eq!(recorder.get_all("old/voltage")?.len(), 2);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`NotFound`](ErrorKind::NotFound) if there is nothing at `from`,
    ///   [`AlreadyExists`](ErrorKind::AlreadyExists) if there is something at `to`.
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for the root, and if `to` is within `from`.
    /// - [`KindMismatch`](ErrorKind::KindMismatch) if a key above `to` is no group,
    ///   [`InvalidKey`](ErrorKind::InvalidKey) if a store cannot hold one of the new keys.
    /// - Else as for [`flush`](Self::flush).
    pub fn rename(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.write("rename", from, |parts| parts.keys.rename(from, to))
    }

    /// Replaces all attributes of the group, value or series at `key`. If the key is unused, a
    /// group is created. The empty key is the root, whose attributes describe the recording.
    ///
    /// # Errors
    /// As for [`record`](Self::record).
    pub fn set_attributes(&self, key: impl AsRef<str>, attributes: Attributes) -> Result<()> {
        let key = key.as_ref();
        self.write("set attributes", key, |parts| {
            parts.keys.set_attributes(key, attributes)
        })
    }

    /// Commits everything. When it returns, all that this thread recorded before is visible to
    /// other processes and durable.
    ///
    /// # Errors
    /// The error of the first commit that failed, now or before, unless
    /// [`OnStoreError::Detach`] says to continue without that store.
    pub fn flush(&self) -> Result<()> {
        self.parts
            .as_ref()
            .map_or(Ok(()), |parts| parts.get("flush")?.committer.flush())
    }

    /// Commits everything and writes it in the form that other software reads. It rewrites
    /// the unfinished chunk of each series, so it costs more than a [`flush`](Self::flush).
    ///
    /// # Errors
    /// As for [`flush`](Self::flush). [`Locked`](crate::ErrorKind::Locked) if another program has
    /// an HDF5 file open; recording continues, nothing is lost, and it may be tried again.
    pub fn checkpoint(&self) -> Result<()> {
        self.parts.as_ref().map_or(Ok(()), |parts| {
            parts.get("checkpoint")?.committer.checkpoint()
        })
    }

    /// Commits everything, writes it in the form that other software reads, and closes the
    /// stores. All handles of this recorder then report
    /// [`Closed`](crate::ErrorKind::Closed); views that were taken before remain readable.
    ///
    /// A second `close` succeeds and does nothing, unless the first one failed.
    ///
    /// Without `close`, dropping the last handle writes the same, but only logs its errors. A signal
    /// without a handler, [`std::process::exit`] and an abort do not drop anything, and lose what was
    /// recorded after the last commit: see [Ends of a program](Self#ends-of-a-program).
    ///
    /// # Errors
    /// The error of each store that failed, now or before, and again each time.
    /// [`Locked`](crate::ErrorKind::Locked) if another program has an HDF5 file open; nothing is
    /// lost, and another `close`, or opening the file for appending and closing it, ends it.
    pub fn close(&self) -> Result<()> {
        self.parts
            .as_ref()
            .map_or(Ok(()), |parts| parts.get("close")?.close())
    }

    /// The state of the recorder and its stores.
    pub fn status(&self) -> Status {
        let Some(parts) = &self.parts else {
            return Status::default();
        };
        match parts.get("status") {
            Ok(parts) => parts.status(),
            Err(error) => parts.constants().status_of_inherited(&error),
        }
    }

    /// Writes to `key`, unless recording is disabled.
    fn write(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Parts) -> Result<()>,
    ) -> Result<()> {
        self.parts
            .as_ref()
            .map_or(Ok(()), |parts| work(parts.get(operation)?))
            .map_err(|e| e.with_key(key).with_operation(operation))
    }
}

/// Reading.
impl Recorder {
    /// The value at `key`; `None` if there is nothing. [`require`](Self::require) makes that an error.
    ///
    /// # Errors
    /// [`KindMismatch`](ErrorKind::KindMismatch) if the key is a series or a group.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        self.reader().map_or(Ok(None), |reader| reader.get(key))
    }

    /// The value at `key`, converted; `None` if there is nothing. [`require_as`](Self::require_as) makes
    /// that an error.
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

    /// The value at `key`; it is an error if there is none.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) names the nearest keys, including those that differ only in
    /// upper and lower case; [`KindMismatch`](ErrorKind::KindMismatch) if the key is a series or a
    /// group.
    ///
    /// ```
    /// use simrecorder_core::{ErrorKind, InMemoryDataStore, Recorder};
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

    /// The value at `key`, converted; it is an error if there is none.
    ///
    /// # Errors
    /// As for [`require`](Self::require); [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is no
    /// `T`.
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

    /// All keys of values and series, sorted as text, level by level: `demo_10` is before `demo_2`.
    /// `println!("{recorder}")` prints them in natural order.
    ///
    /// # Errors
    /// What the stores report.
    pub fn keys(&self) -> Result<Vec<Key>> {
        self.reader().map_or(Ok(Vec::new()), |reader| reader.keys())
    }

    /// What is right below the group `key`, sorted by name as text; the empty key is the root. Nothing
    /// there, or no group: empty.
    ///
    /// # Errors
    /// What the stores report.
    pub fn children(&self, key: impl AsRef<str>) -> Result<Vec<Child>> {
        self.reader()
            .map_or(Ok(Vec::new()), |reader| reader.children(key))
    }

    /// The kind of node at `key`: a group, a value, a series, or nothing.
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
    /// second one of a kind is `memory-2`), or the one that [`Named`] gives.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) names the stores there are.
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

/// The tree of keys with all that this recorder has recorded so far; see [`Tree`]. What cannot be read
/// has its error in its line.
impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reader() {
            Some(reader) => reader.fmt(f),
            None => Tree::of_nothing("(recording is disabled)").fmt(f),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.as_ref().map(|parts| parts.constants());
        let stores = parts.map(|parts| parts.stores.names());
        f.debug_struct("Recorder")
            .field("stores", &stores)
            .finish_non_exhaustive()
    }
}
