//! Options of a recorder: memory, threads, commits, and the reaction to failures.

use std::num::NonZero;
use std::time::Duration;

/// A shorter interval would keep a processor busy for nothing.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The committing thread cannot keep up with more: one encoder compresses about as fast as that thread writes.
const MAX_DEFAULT_ENCODERS: usize = 4;

/// What [`record`](crate::Recorder::record) and [`set`](crate::Recorder::set) do when the
/// memory bound is reached.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, MemoryPolicy, Recorder, RecorderOptions};
///
/// let options = RecorderOptions::new().memory_bound(64 << 20).memory_policy(MemoryPolicy::Error);
/// let recorder = Recorder::with_options(InMemoryDataStore::new(), options);
/// recorder.record("net/rate", 0.5)?; // BufferFull instead of waiting for a slow store
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryPolicy {
    /// Waits until the stores have caught up.
    #[default]
    Block,
    /// Returns an error of kind [`BufferFull`](crate::ErrorKind::BufferFull). The recorder has every record except
    /// this one. `flush` and reading still wait.
    Error,
}

/// What a recorder does when a commit of one of its stores fails.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Named, OnStoreError, Recorder, RecorderOptions};
///
/// // If the store of the live page fails, the other one still gets every record.
/// let stores = (InMemoryDataStore::new(), Named::new("live", InMemoryDataStore::new()));
/// let options = RecorderOptions::new().on_store_error(OnStoreError::Detach);
/// let recorder = Recorder::with_options(stores, options);
/// # recorder.record("net/rate", 0.5)?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnStoreError {
    /// Stops: the next `record`, `flush` or `close` returns the error, and so do all later calls.
    #[default]
    Stop,
    /// Continues with the other stores. The recorder logs the error;
    /// [`status`](crate::Recorder::status) shows it and [`close`](crate::Recorder::close) returns it.
    /// When every store has failed, the recorder stops.
    Detach,
}

/// What a recorder does when its stores have different numbers of records of a series, as they may after a crash.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, OnDivergence, OpenMode, Recorder, RecorderOptions};
///
/// let (a, b) = (InMemoryDataStore::new(), InMemoryDataStore::new());
/// Recorder::new((a.clone(), b.clone())).record("net/rate", 1.0)?;
/// Recorder::new(a.open(OpenMode::Append)?).record("net/rate", 2.0)?; // b does not have this record
///
/// let options = RecorderOptions::new().on_divergence(OnDivergence::CutToShortest);
/// let stores = (a.open(OpenMode::Append)?, b.open(OpenMode::Append)?);
/// let recorder = Recorder::with_options(stores, options);
/// recorder.record("net/rate", 3.0)?;
/// assert_eq!(recorder.get_all("net/rate")?.read::<f64>()?.sum(), 4.0); // 1.0 and 3.0
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDivergence {
    /// The first call that uses the series returns an error of kind [`Diverged`](crate::ErrorKind::Diverged), which
    /// names the numbers.
    #[default]
    Error,
    /// Cuts the series to the records that all stores have. In a store that several programs write to, their records
    /// are cut too.
    CutToShortest,
    /// As `Error`, except that stores that [several programs write to](crate::backend::SharedStore) are not compared,
    /// since they contain records of the others.
    SharedMayDiffer,
}

/// Options of a [`Recorder`](crate::Recorder).
///
/// | option | default |
/// |---|---|
/// | [`memory_bound`](Self::memory_bound) | 256 MiB |
/// | [`memory_policy`](Self::memory_policy) | [`MemoryPolicy::Block`] |
/// | [`commit_interval`](Self::commit_interval) | 1 second |
/// | [`checkpoint_interval`](Self::checkpoint_interval) | none |
/// | [`inline`](Self::inline) | no: the recorder's threads encode and write |
/// | [`encoding_threads`](Self::encoding_threads) | the processors, shared among the stores; 1 to 4 for each |
/// | [`on_store_error`](Self::on_store_error) | [`OnStoreError::Stop`] |
/// | [`on_divergence`](Self::on_divergence) | [`OnDivergence::Error`] |
/// | [`drop_timeout`](Self::drop_timeout) | 30 seconds |
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, OnStoreError, Recorder, RecorderOptions};
///
/// let options = RecorderOptions::new()
///     .memory_bound(64 << 20)
///     .on_store_error(OnStoreError::Detach);
/// let recorder = Recorder::with_options(InMemoryDataStore::new(), options);
/// recorder.record("rate", 0.5)?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderOptions {
    pub(crate) memory_bound: usize,
    pub(crate) memory_policy: MemoryPolicy,
    pub(crate) commit_interval: Option<Duration>,
    pub(crate) checkpoint_interval: Option<Duration>,
    pub(crate) inline: bool,
    pub(crate) encoding_threads: Option<NonZero<usize>>,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) on_divergence: OnDivergence,
    pub(crate) drop_timeout: Duration,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            memory_bound: 256 << 20,
            memory_policy: MemoryPolicy::default(),
            commit_interval: Some(Duration::from_secs(1)),
            checkpoint_interval: None,
            inline: false,
            encoding_threads: None,
            on_store_error: OnStoreError::default(),
            on_divergence: OnDivergence::default(),
            drop_timeout: Duration::from_secs(30),
        }
    }
}

impl RecorderOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many bytes of records may wait in the buffers of the recorder and in the queues of all stores. In
    /// addition, the recorder uses at most 64 MiB for a commit in progress and 2 KiB for each key.
    ///
    /// A single record that is larger passes alone: the recorder copies it once all stores have committed what is in
    /// their queues.
    #[must_use]
    pub fn memory_bound(mut self, bytes: usize) -> Self {
        self.memory_bound = bytes;
        self
    }

    /// Sets what `record` does when the memory bound is reached.
    #[must_use]
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.memory_policy = policy;
        self
    }

    /// Sets how often the recorder commits without a flush, so that a crash loses no more than that; `None` for never.
    /// At least a millisecond. [`inline`](Self::inline) recorders ignore it.
    #[must_use]
    pub fn commit_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.commit_interval = interval.into().map(|interval| interval.max(MIN_INTERVAL));
        self
    }

    /// Sets how often the recorder does a [`checkpoint`](crate::Recorder::checkpoint) by itself; `None` for never. At
    /// least a millisecond. [`inline`](Self::inline) recorders ignore it.
    ///
    /// Recording does not wait for it. If another program has a store open, such as h5py an HDF5 file, the recorder
    /// tries again with the next commits. Each checkpoint writes the unfinished chunk of every series, so an interval
    /// of seconds costs time and space.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use std::time::Duration;
    /// use simrecorder::{InMemoryDataStore, Recorder, RecorderOptions};
    ///
    /// let options = RecorderOptions::new().checkpoint_interval(Duration::from_secs(600));
    /// let recorder = Recorder::with_options(InMemoryDataStore::new(), options);
    /// # recorder.record("rate", 0.5)?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    #[must_use]
    pub fn checkpoint_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.checkpoint_interval = interval.into().map(|interval| interval.max(MIN_INTERVAL));
        self
    }

    /// Sets whether the calling thread does all work, so that the same calls make the same commits every time.
    #[must_use]
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }

    /// Sets how many threads compress for each store, in addition to the one that commits; 0 counts as 1. Threads
    /// without work sleep. Use fewer if the simulation needs all processors, more if compression is slow, as with
    /// [`Compression::Small`](crate::Compression).
    #[must_use]
    pub fn encoding_threads(mut self, threads: usize) -> Self {
        self.encoding_threads = Some(NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN));
        self
    }

    /// Sets what the recorder does when a commit of one store fails.
    #[must_use]
    pub fn on_store_error(mut self, action: OnStoreError) -> Self {
        self.on_store_error = action;
        self
    }

    /// Sets what the recorder does when its stores have different numbers of records.
    #[must_use]
    pub fn on_divergence(mut self, action: OnDivergence) -> Self {
        self.on_divergence = action;
        self
    }

    /// Sets how long dropping the last handle may wait for the stores. `close` has no such limit.
    #[must_use]
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    // A quarter of the bound stays unused, because allocators keep more memory than they hand out.

    /// The most bytes in the open buffers of all series together.
    pub(crate) fn buffer_bound(&self) -> usize {
        self.memory_bound / 4
    }

    /// The size at which a batch is sent even if its chunk is larger.
    pub(crate) fn batch_bound(&self) -> usize {
        (self.memory_bound / 16).clamp(4096, 64 << 20)
    }

    /// The most bytes in the queue of one of `stores` stores. Each has its own part, so that a
    /// store that stalls takes nothing from the others.
    pub(crate) fn queue_bound(&self, stores: usize) -> usize {
        self.memory_bound / 8 * 3 / stores.max(1)
    }

    /// The most bytes in the queue of one of `stores` stores that are encoded ahead of their
    /// commit. They count towards the 64 MiB on top of the memory bound.
    pub(crate) fn encoded_bound(&self, stores: usize) -> usize {
        ((48 << 20) / stores.max(1)).min(32 << 20)
    }

    /// How many threads encode for one of `stores` stores.
    pub(crate) fn encoders(&self, stores: usize) -> usize {
        let shared = || {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            (processors / stores.max(1)).clamp(1, MAX_DEFAULT_ENCODERS)
        };
        self.encoding_threads.map_or_else(shared, NonZero::get)
    }

    /// The most bytes in empty buffers that are kept for reuse.
    pub(crate) fn pool_bound(&self) -> usize {
        self.memory_bound / 8
    }
}
