//! The recorder: what a simulation calls.
//!
//! [`Recorder`] and [`Series`] pass a record to the [fast path](fast_path), which copies it into the
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
mod reading;
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

use crate::backend::fork::ProcessLocal;
use crate::error::Result;
use crate::model::dtype::Element;
use crate::model::labeled::SetValue;
use crate::model::record::IntoValue;
use crate::model::schema::{Attributes, Schema};
use crate::reading::coordinate::CoordinateNumber;

/// Records values by key into one or several stores, and reads them back.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ndarray::{Array1, s};
/// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
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
/// [`record`](Self::record) copies the value into a buffer and returns. Threads of the recorder encode and write it.
/// The first record of a key fixes the type and shape of its series. Many threads may record, even to the same key;
/// each thread's records stay in order within a key.
///
/// # Safety of data
/// - When [`flush`](Self::flush) returns, everything that this thread recorded before is visible to other processes,
///   and as durable as the store was set to.
/// - Without a flush, the recorder commits about once a second.
/// - Nothing is dropped silently. When a commit fails, the next `record`, `flush` or `close`
///   returns the error, and so do all later calls (see [`OnStoreError`]).
/// - [`close`](Self::close) reports every error. Dropping the last handle writes the same, but only logs errors.
///
/// # Ends of a program
/// Flushed records are never lost. What happens to the records after the last commit depends on how the program ends:
///
/// | the program ends by | what is stored |
/// |---|---|
/// | [`close`](Self::close) | everything, or the error says what is missing |
/// | dropping the last handle without `close`, including during a panic that unwinds | everything, if the stores finish within [`drop_timeout`](RecorderOptions::drop_timeout); errors are logged with `tracing` only |
/// | a signal without a handler (Ctrl-C, SIGTERM, SIGKILL), [`std::process::exit`], an abort, a panic with `panic = "abort"`, a recorder in a `static` or passed to [`std::mem::forget`] | what was flushed or committed: all except about the last second |
///
/// In the last case, simrecorder reads everything that was committed, but other software sees only what the last
/// [`checkpoint`](Self::checkpoint) wrote. To show other software the rest, open the recording for appending and
/// close it. To end well on Ctrl-C and SIGTERM, let a signal handler set a flag, check the flag in the loop, and call
/// `close` after the loop: see the cookbook of `simrecorder` and its example `interrupt`.
///
/// # Handles
/// Cloning is cheap and gives another handle to the same recorder. All methods take `&self`.
///
/// # Forks
/// In a child process after a fork, every method returns an error of kind [`Forked`](crate::ErrorKind::Forked) at
/// once, and dropping the recorder does nothing. The parent continues recording. To read the recording, the child
/// opens it again.
#[derive(Clone)]
pub struct Recorder {
    /// `None` for a disabled recorder.
    parts: Option<Arc<ProcessLocal<Parts>>>,
}

impl Recorder {
    /// Creates a recorder for one store, or for several: a tuple, an array or a `Vec` of stores.
    ///
    /// It writes to all of them, and reads from the first that has the key.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new((InMemoryDataStore::new(), InMemoryDataStore::new()));
    /// recorder.record("net/rate", 0.5)?; // into both
    /// recorder.close()?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn new(stores: impl IntoStores) -> Self {
        Self::with_options(stores, RecorderOptions::default())
    }

    /// Creates a recorder with options.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, RecorderOptions};
    ///
    /// let options = RecorderOptions::new().memory_bound(1 << 30); // 1 GiB
    /// let recorder = Recorder::with_options(InMemoryDataStore::new(), options);
    /// # recorder.close()?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn with_options(stores: impl IntoStores, options: RecorderOptions) -> Self {
        let parts = Parts::new(stores.into_stores(), &options);
        Self {
            parts: Some(Arc::new(ProcessLocal::new(parts))),
        }
    }

    /// Creates a recorder that accepts every record and stores none, to switch recording off without changing the
    /// loop.
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

    /// Whether the recorder is [`disabled`](Self::disabled).
    pub fn is_disabled(&self) -> bool {
        self.parts.is_none()
    }

    /// Appends a record to the series at `key`. The first record creates the series.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..100 {
    ///     recorder.record("net/rate", 0.5)?;               // a scalar
    ///     recorder.record("net/v", [-65.0, -64.5])?;       // an array
    ///     recorder.record("log", format!("step {step}"))?; // text
    /// }
    /// assert_eq!(recorder.get_all("net/v")?.shape(), [100, 2]);
    /// assert!(recorder.record("net/v", [-65.0]).is_err()); // all records have one shape
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the records of the series have another element type,
    ///   shape or kind. Nothing is written.
    /// - [`KindMismatch`](crate::ErrorKind::KindMismatch) if the key is a group or a value, or
    ///   a key above it is a value or a series.
    /// - [`InvalidKey`](crate::ErrorKind::InvalidKey) if the key breaks a rule of [`Key`](crate::Key) or a
    ///   store does not support it.
    /// - [`BufferFull`](crate::ErrorKind::BufferFull) if the memory bound is reached, with [`MemoryPolicy::Error`].
    /// - [`ReadOnly`](crate::ErrorKind::ReadOnly) if a store was opened read only, [`Closed`](crate::ErrorKind::Closed)
    ///   after [`close`](Self::close).
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

    /// Appends a record if it need not wait or call a store; returns whether the record was appended. If it was not,
    /// call [`record`](Self::record), which appends it or returns the error.
    ///
    /// This is for callers that hold a lock while they record, such as that of a Python interpreter, and release it
    /// before they wait.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
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
    /// [`Forked`](crate::ErrorKind::Forked), and those of [`IntoValue::as_record`].
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

    /// Returns a handle for the series at `key`, for hot loops: it saves looking up the key.
    ///
    /// The first record creates the series if it does not exist. `T` is its element type; the handle records no other.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let rate = recorder.series::<f64>("net/rate")?;
    /// for step in 0..1000 {
    ///     rate.record(0.5 * f64::from(step))?;
    /// }
    /// # assert_eq!(recorder.get_all("net/rate")?.len(), 1000);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the series has another element type;
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey) and
    /// [`KindMismatch`](crate::ErrorKind::KindMismatch) as for [`record`](Self::record).
    pub fn series<T: Element>(&self, key: impl AsRef<str>) -> Result<Series<T>> {
        Series::new(self.parts.clone(), key.as_ref())
    }

    /// Opens the timeline of a group, or makes the group a timeline. Its series have one record per tick, and each
    /// commit contains whole ticks. An existing timeline continues after its last tick.
    ///
    /// `T`, the type of the coordinate, is `f64`, `i64` or `u64`. The empty key is the root.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Coordinate, InMemoryDataStore, OpenMode, Recorder};
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
    /// - [`Locked`](crate::ErrorKind::Locked) if the timeline has a handle already.
    /// - [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the group has series of another length, if it is a
    ///   timeline with a coordinate of another name, or if a group above or below it has a coordinate of the same
    ///   name.
    /// - [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the coordinate has another type,
    ///   [`KindMismatch`](crate::ErrorKind::KindMismatch) if the key is not a group.
    /// - [`Diverged`](crate::ErrorKind::Diverged) if the stores have different numbers of ticks, unless
    ///   [`OnDivergence::CutToShortest`] cuts them.
    /// - Otherwise as for [`record`](Self::record).
    pub fn timeline<T: CoordinateType>(
        &self,
        group: impl AsRef<str>,
        coordinate: Coordinate,
    ) -> Result<Timeline<T>> {
        Timeline::new(self.parts.clone(), group.as_ref(), &coordinate)
    }

    /// Removes every tick after `t` from all timelines whose coordinate is called `name`, in one commit. Use it to
    /// resume from a state that was saved at `t`. Open ticks are discarded. Like a record, it takes effect with the
    /// next commit.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Coordinate, InMemoryDataStore, Recorder};
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
    /// - [`NotFound`](crate::ErrorKind::NotFound) if there is no such timeline,
    ///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if `t` is NaN.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds) if a store
    ///   [freed](crate::backend::SharedStore::free) the records after `t`.
    /// - Otherwise as for [`flush`](Self::flush).
    pub fn rewind(&self, name: &str, t: impl Into<CoordinateNumber>) -> Result<()> {
        let t = t.into();
        self.write("rewind", name, |parts| parts.keys.rewind(name, t))
    }

    /// Creates a series without records at `key`. If the series exists, sets the attributes and dimension names that
    /// the schema has, and leaves everything else unchanged.
    ///
    /// A program that resumes a recording may declare the same series again, with other units or names.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, Schema};
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
    /// if the schema is inconsistent; [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if it asks
    /// for another kind, element type, record shape, chunk policy, compression or fill value than the
    /// series has in one of the stores. Nothing changes then.
    pub fn declare(&self, key: impl AsRef<str>, schema: Schema) -> Result<()> {
        let key = key.as_ref();
        self.write("declare", key, |parts| parts.keys.declare(key, schema))
    }

    /// Sets the value at `key`, and replaces an existing one. [`Labeled`](crate::Labeled) adds dimension names and
    /// units.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Labeled, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.set("meta/seed", 42_u64)?;
    /// recorder.set("meta/model", "Brunel 2000")?;
    /// recorder.set("field/x", Labeled::new([0.0, 0.5, 1.0], ["x"]).units("m"))?;
    /// recorder.set("meta/seed", 43_u64)?;
    /// assert_eq!(recorder.get_as::<u64>("meta/seed")?, Some(43));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Self::record), except that the new value may have another type than the old one.
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the names do not fit the value.
    pub fn set(&self, key: impl AsRef<str>, value: impl SetValue) -> Result<()> {
        let key = key.as_ref();
        self.write("set", key, |parts| {
            parts.keys.set(key, value.as_labeled_record()?)
        })
    }

    /// Cuts the series at `key` to its first `len` records. A series that is no longer than that does not change.
    /// Like a record, the cut takes effect with the next commit. If several processes write to the series, records of
    /// all of them are cut.
    ///
    /// Use it to return to the saved state of a simulation: after a kill, one series may be a record longer than
    /// another.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
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
    ///   [`KindMismatch`](crate::ErrorKind::KindMismatch) if it is not a series.
    /// - [`OutOfBounds`](crate::ErrorKind::OutOfBounds) if a store
    ///   [freed](crate::backend::SharedStore::free) the records after the first `len`.
    /// - Otherwise as for [`record`](Self::record).
    pub fn truncate(&self, key: impl AsRef<str>, len: u64) -> Result<()> {
        let key = key.as_ref();
        self.write("truncate", key, |parts| parts.keys.truncate(key, len))
    }

    /// Removes the series, value or group at `key`, with everything below a group, and waits until every store has
    /// removed it. It takes effect after everything that was recorded before. A later record creates the key again.
    /// The store reuses the space.
    ///
    /// An existing view still reads its records, or reports that they were removed.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
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
    /// - [`NotFound`](crate::ErrorKind::NotFound) if there is nothing at the key,
    ///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for the root.
    /// - Otherwise as for [`flush`](Self::flush).
    pub fn remove(&self, key: impl AsRef<str>) -> Result<()> {
        let key = key.as_ref();
        self.write("remove", key, |parts| parts.keys.remove(key))
    }

    /// Moves the series, value or group at `from`, with everything below a group, to the key `to`, and waits until
    /// every store has moved it. It takes effect after everything that was recorded before. A later record at `from`,
    /// even through an existing [`Series`], creates that key again.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
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
    /// - [`NotFound`](crate::ErrorKind::NotFound) if there is nothing at `from`,
    ///   [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if there is something at `to`.
    /// - [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for the root, and if `to` is within `from`.
    /// - [`KindMismatch`](crate::ErrorKind::KindMismatch) if a key above `to` is not a group,
    ///   [`InvalidKey`](crate::ErrorKind::InvalidKey) if a store does not support one of the new keys.
    /// - Otherwise as for [`flush`](Self::flush).
    pub fn rename(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.write("rename", from, |parts| parts.keys.rename(from, to))
    }

    /// Replaces all attributes of the group, value or series at `key`. Creates a group if there is nothing at the key.
    /// The empty key is the root, whose attributes describe the recording.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use serde_json::json;
    /// use simrecorder::{Attributes, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let attributes: Attributes = [("title".into(), json!("Brunel 2000"))].into_iter().collect();
    /// recorder.set_attributes("", attributes)?;
    /// assert_eq!(recorder.attributes("")?.unwrap()["title"], "Brunel 2000");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`record`](Self::record).
    pub fn set_attributes(&self, key: impl AsRef<str>, attributes: Attributes) -> Result<()> {
        let key = key.as_ref();
        self.write("set attributes", key, |parts| {
            parts.keys.set_attributes(key, attributes)
        })
    }

    /// Commits everything. When it returns, everything that this thread recorded before is durable and visible to
    /// other processes.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, OpenMode, Recorder};
    ///
    /// let store = InMemoryDataStore::new();
    /// let recorder = Recorder::new(store.clone());
    /// recorder.record("net/rate", 0.5)?;
    /// recorder.flush()?;
    /// let reader = Recorder::new(store.open(OpenMode::Read)?); // as another process does
    /// assert_eq!(reader.get_all("net/rate")?.len(), 1);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the first commit that failed, now or earlier, unless [`OnStoreError::Detach`] tells the recorder
    /// to continue without that store.
    pub fn flush(&self) -> Result<()> {
        self.parts
            .as_ref()
            .map_or(Ok(()), |parts| parts.get("flush")?.committer.flush())
    }

    /// Commits everything and writes it in the form that other software reads. It rewrites the unfinished chunk of
    /// each series, so it costs more than a [`flush`](Self::flush).
    ///
    /// ```
    /// # use simrecorder_core::{InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..10_000 {
    ///     recorder.record("net/rate", 0.5)?;
    ///     if step % 1000 == 999 {
    ///         recorder.checkpoint()?; // zarr-python, xarray or h5py can now read all steps so far
    ///     }
    /// }
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`flush`](Self::flush). [`Locked`](crate::ErrorKind::Locked) if another program has an HDF5 file open:
    /// nothing is lost, recording continues, and a later checkpoint may succeed.
    pub fn checkpoint(&self) -> Result<()> {
        self.parts.as_ref().map_or(Ok(()), |parts| {
            parts.get("checkpoint")?.committer.checkpoint()
        })
    }

    /// Commits everything, writes it in the form that other software reads, and closes the stores. All handles of the
    /// recorder then return [`Closed`](crate::ErrorKind::Closed). Existing views remain readable.
    ///
    /// A second `close` succeeds and does nothing, unless the first one failed.
    ///
    /// Without `close`, dropping the last handle writes the same, but only logs its errors. A signal without a handler,
    /// [`std::process::exit`] and an abort drop nothing, and lose what was recorded after the last commit: see
    /// [Ends of a program](Self#ends-of-a-program).
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{ErrorKind, InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/rate", 0.5)?;
    /// let rate = recorder.get_all("net/rate")?;
    /// recorder.close()?;
    /// assert_eq!(rate.read::<f64>()?.len(), 1);
    /// assert_eq!(recorder.record("net/rate", 0.5).unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of all stores that failed, now or earlier. Calling `close` again returns them again.
    /// [`Locked`](crate::ErrorKind::Locked) if another program has an HDF5 file open: nothing is lost. Call `close`
    /// again later, or open the file for appending and close it.
    pub fn close(&self) -> Result<()> {
        self.parts
            .as_ref()
            .map_or(Ok(()), |parts| parts.get("close")?.close())
    }

    /// Returns the state of the recorder and its stores.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.record("net/rate", 0.5)?;
    /// recorder.record("net/rate", 0.25)?;
    /// assert_eq!(recorder.status().record_count, 2);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
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

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.as_ref().map(|parts| parts.constants());
        let stores = parts.map(|parts| parts.stores.names());
        f.debug_struct("Recorder")
            .field("stores", &stores)
            .finish_non_exhaustive()
    }
}
