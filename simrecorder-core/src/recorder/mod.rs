//! The recorder: what a simulation calls.

mod buffer_pool;
mod buffering;
mod commit_timer;
mod committing;
mod inner;
mod into_stores;
mod keys;
mod options;
mod pipeline;
#[cfg(all(test, shuttle))]
mod pipeline_tests;
mod reading;
mod series;
mod series_buffer;
mod spellings;
mod status;
mod stop;
mod store_threads;
mod sync;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use into_stores::{IntoStores, Named};
pub use options::{MemoryPolicy, OnDivergence, OnStoreError, RecorderOptions};
pub use reading::StoreReader;
pub use series::Series;
pub use status::{Status, StoreState, StoreStatus};

use commit_timer::CommitTimer;
use inner::Inner;
use pipeline::Mark;

use crate::error::Result;

use crate::model::dtype::Element;

use crate::model::record::IntoValue;

use crate::model::schema::{Attributes, Schema};

use crate::model::value::Value;

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
/// happen on threads of their own. The first record of a key fixes what its series holds.
/// Order is kept for each thread and key; many threads may record, also to one key.
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
/// # Handles
/// A clone is cheap and stands for the same recorder. All methods take `&self`.
#[derive(Clone)]
pub struct Recorder {
    /// `None` for a recorder that does nothing.
    handle: Option<Arc<Handle>>,
}

/// The last of its owners closes the recorder.
struct Handle {
    inner: Arc<Inner>,
    timer: CommitTimer,
}

impl Recorder {
    /// A recorder for one store, a tuple of stores, or a `Vec` of `Arc<dyn DataStore>`.
    ///
    /// Writing goes to all stores, reading to the first that holds the key.
    pub fn new(stores: impl IntoStores) -> Self {
        Self::with_options(stores, RecorderOptions::default())
    }

    /// A recorder with options.
    pub fn with_options(stores: impl IntoStores, options: RecorderOptions) -> Self {
        let inner = Arc::new(Inner::new(stores.into_stores(), options));
        let timer = CommitTimer::start(&inner);
        Self {
            handle: Some(Arc::new(Handle { inner, timer })),
        }
    }

    /// A recorder that does nothing: it takes every record and holds none. Switch recording off
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
        Self { handle: None }
    }

    /// Whether this recorder does nothing.
    pub fn is_disabled(&self) -> bool {
        self.handle.is_none()
    }

    fn inner(&self) -> Option<&Arc<Inner>> {
        self.handle.as_ref().map(|handle| &handle.inner)
    }

    /// Appends a record to the series at `key`.
    ///
    /// # Errors
    /// - [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the series holds something
    ///   else: another element type, shape or kind. Nothing is written.
    /// - [`KindMismatch`](crate::ErrorKind::KindMismatch) if the key is a group or a value, or
    ///   a key above it is a value or a series.
    /// - [`InvalidKey`](crate::ErrorKind::InvalidKey) if the key breaks a rule of [`Key`](crate::Key) or a
    ///   store cannot hold it.
    /// - [`BufferFull`](crate::ErrorKind::BufferFull) with [`MemoryPolicy::Error`].
    /// - [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed).
    /// - The error of an earlier commit that failed.
    #[inline]
    pub fn record(&self, key: impl AsRef<str>, value: impl IntoValue) -> Result<()> {
        let Some(handle) = &self.handle else {
            return Ok(());
        };
        let (inner, key) = (&handle.inner, key.as_ref());
        match value.as_scalar() {
            Some(scalar) if inner.try_record_scalar(key, scalar) => Ok(()),
            _ => inner.record(key, &value),
        }
    }

    /// A handle for the series at `key`, for the hottest loops: it saves looking the key up.
    ///
    /// If the series is not there yet, its first record makes it. `T` is its element type:
    /// only values of it can be recorded through the handle.
    ///
    /// # Errors
    /// [`SchemaMismatch`](crate::ErrorKind::SchemaMismatch) if the series has other elements;
    /// [`InvalidKey`](crate::ErrorKind::InvalidKey) and
    /// [`KindMismatch`](crate::ErrorKind::KindMismatch) as for [`record`](Self::record).
    pub fn series<T: Element>(&self, key: impl AsRef<str>) -> Result<Series<T>> {
        Series::new(self.clone(), key.as_ref())
    }

    /// Makes a series without records, or checks that the one at `key` holds the same.
    ///
    /// # Errors
    /// As for [`record`](Self::record); [`InvalidArgument`](crate::ErrorKind::InvalidArgument)
    /// if the schema contradicts itself.
    pub fn declare(&self, key: impl AsRef<str>, schema: Schema) -> Result<()> {
        let key = key.as_ref();
        self.inner()
            .map_or(Ok(()), |inner| inner.declare(key, schema))
            .map_err(|e| e.with_key(key).with_operation("declare"))
    }

    /// Sets the value at `key`, whether or not there is one.
    ///
    /// # Errors
    /// As for [`record`](Self::record), except that a value may change its type.
    pub fn set(&self, key: impl AsRef<str>, value: impl IntoValue) -> Result<()> {
        let key = key.as_ref();
        self.inner()
            .map_or(Ok(()), |inner| inner.set(key, Value::new(value)?))
            .map_err(|e| e.with_key(key).with_operation("set"))
    }

    /// Cuts the series at `key` to its first `records` records; if it has no more than that,
    /// nothing happens. It is done with the next commit, as all that is recorded is. Where many
    /// processes write to a series, what all of them recorded is cut.
    ///
    /// For going back to where a simulation was saved: a run that was killed may have recorded
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
    ///   [freed](crate::DataStore::free) the records behind.
    /// - Else as for [`record`](Self::record).
    pub fn truncate(&self, key: impl AsRef<str>, records: u64) -> Result<()> {
        let key = key.as_ref();
        self.inner()
            .map_or(Ok(()), |inner| inner.truncate(key, records))
            .map_err(|e| e.with_key(key).with_operation("truncate"))
    }

    /// Replaces all attributes of the group, value or series at `key`. If there is nothing, a
    /// group is made. The empty key is the root, whose attributes describe the recording.
    ///
    /// # Errors
    /// As for [`record`](Self::record).
    pub fn set_attributes(&self, key: impl AsRef<str>, attributes: Attributes) -> Result<()> {
        let key = key.as_ref();
        self.inner()
            .map_or(Ok(()), |inner| inner.set_attributes(key, attributes))
            .map_err(|e| e.with_key(key).with_operation("set attributes"))
    }

    /// Commits everything. When it returns, all that this thread recorded before is visible to
    /// other processes and durable.
    ///
    /// # Errors
    /// The error of the first commit that failed, now or before, unless
    /// [`OnStoreError::Detach`] says to go on without that store.
    pub fn flush(&self) -> Result<()> {
        self.inner()
            .map_or(Ok(()), |inner| inner.commit_all(Mark::Flush, "flush"))
    }

    /// Commits everything and brings it into the form that other software reads. It rewrites
    /// the unfinished chunk of each series, so it costs more than a [`flush`](Self::flush).
    ///
    /// # Errors
    /// As for [`flush`](Self::flush). [`Locked`](crate::ErrorKind::Locked) if another program has
    /// an HDF5 file open; recording goes on then, nothing is lost, and it may be tried again.
    pub fn checkpoint(&self) -> Result<()> {
        self.inner().map_or(Ok(()), |inner| {
            inner.commit_all(Mark::Checkpoint, "checkpoint")
        })
    }

    /// Commits everything, brings it into the form that other software reads, and closes the
    /// stores. All handles of this recorder then report
    /// [`Closed`](crate::ErrorKind::Closed); views that were taken before go on to work.
    ///
    /// A second `close` succeeds and does nothing, unless the first one failed.
    ///
    /// # Errors
    /// The error of each store that failed, now or before, and again each time.
    /// [`Locked`](crate::ErrorKind::Locked) if another program has an HDF5 file open; nothing is
    /// lost, and another `close`, or opening the file for appending and closing it, ends it.
    pub fn close(&self) -> Result<()> {
        let Some(handle) = &self.handle else {
            return Ok(());
        };
        handle.timer.stop();
        handle
            .inner
            .close(None)
            .unwrap_or(Ok(()))
            .map_err(|e| e.with_operation("close"))
    }

    /// How the recorder and its stores are doing.
    pub fn status(&self) -> Status {
        let Some(inner) = self.inner() else {
            return Status::default();
        };
        Status {
            series: inner.series_count(),
            records: inner.recorded(),
            buffered_bytes: inner.buffered_bytes(),
            stores: inner
                .pipelines
                .iter()
                .map(pipeline::Pipeline::status)
                .collect(),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.timer.stop();
        if self.inner.is_closed() {
            return;
        }
        let timeout = self.inner.options.drop_timeout;
        match self.inner.close(Instant::now().checked_add(timeout)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(%error, "closing failed when the recorder was dropped; records may be lost");
            }
            None => tracing::error!(
                ?timeout,
                "a store did not finish in time when the recorder was dropped; records may be lost"
            ),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores = self.inner().map(|inner| {
            inner
                .pipelines
                .iter()
                .map(|pipeline| pipeline.name().to_owned())
                .collect::<Vec<_>>()
        });
        f.debug_struct("Recorder")
            .field("stores", &stores)
            .finish_non_exhaustive()
    }
}
