//! How a recorder works: memory, threads, commits, and what to do when something fails.

use std::num::NonZero;
use std::time::Duration;

/// A shorter interval would keep a processor busy with nothing.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// With more, the committing thread could not keep up: one of them compresses about as fast as it
/// writes.
const MAX_DEFAULT_ENCODERS: usize = 4;

/// What [`record`](crate::Recorder::record) and [`set`](crate::Recorder::set) do when the
/// memory bound is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryPolicy {
    /// Waits until the stores have caught up.
    #[default]
    Block,
    /// Returns an error of kind [`BufferFull`](crate::ErrorKind::BufferFull); the record was
    /// not taken, all before it were. `flush` and reading wait nevertheless.
    Error,
}

/// What a recorder does when a commit of one of its stores fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnStoreError {
    /// Stops: the next `record`, `flush` or `close` returns the error, and so do all after it.
    #[default]
    Stop,
    /// Continues with the other stores. The error is logged, shown by
    /// [`status`](crate::Recorder::status) and returned by [`close`](crate::Recorder::close).
    /// When no store is left, the recorder stops.
    Detach,
}

/// What to do when the stores of one recorder hold different numbers of records of a series,
/// as they may after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDivergence {
    /// The first use of the series returns an error of kind
    /// [`Diverged`](crate::ErrorKind::Diverged) that names the numbers.
    #[default]
    Error,
    /// Cuts the series to the records that all stores hold. A store that several programs write
    /// to loses their records too.
    CutToShortest,
    /// As `Error`, but stores that [several programs write to](crate::backend::SharedStore)
    /// are not compared: they hold what others recorded, too.
    SharedMayDiffer,
}

/// How a [`Recorder`](crate::Recorder) works.
///
/// | option | default |
/// |---|---|
/// | [`memory_bound`](Self::memory_bound) | 256 MiB |
/// | [`memory_policy`](Self::memory_policy) | [`MemoryPolicy::Block`] |
/// | [`commit_interval`](Self::commit_interval) | 1 second |
/// | [`checkpoint_interval`](Self::checkpoint_interval) | none |
/// | [`inline`](Self::inline) | no: encoding and writing run on threads of their own |
/// | [`encoding_threads`](Self::encoding_threads) | the processors, shared among the stores; 1 to 4 for each |
/// | [`on_store_error`](Self::on_store_error) | [`OnStoreError::Stop`] |
/// | [`on_divergence`](Self::on_divergence) | [`OnDivergence::Error`] |
/// | [`drop_timeout`](Self::drop_timeout) | 30 seconds |
///
/// ```
/// use simrecorder_core::{InMemoryDataStore, OnStoreError, Recorder, RecorderOptions};
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
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes of records that wait in the buffers of the recorder and in the queues
    /// of all stores. In addition it uses at most 64 MiB for a commit in progress, and 2 KiB for each key.
    ///
    /// A single record larger than that passes alone: it is copied when all stores have
    /// committed everything that is queued.
    #[must_use]
    pub fn memory_bound(mut self, bytes: usize) -> Self {
        self.memory_bound = bytes;
        self
    }

    /// What `record` does when the bound is reached.
    #[must_use]
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.memory_policy = policy;
        self
    }

    /// How often everything is committed without a flush, so that a crash loses no more
    /// than that; `None` for never. At least a millisecond. Inline recorders never do.
    #[must_use]
    pub fn commit_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.commit_interval = interval.into().map(|interval| interval.max(MIN_INTERVAL));
        self
    }

    /// How often everything is written in the form that other software reads, as
    /// [`checkpoint`](crate::Recorder::checkpoint) does, while the recorder runs; `None` for never,
    /// which is the default. At least a millisecond. Inline recorders never do.
    ///
    /// Recording does not wait for it. A store that another program has open, such as an HDF5 file
    /// in h5py, is left out, and tried again with the next commits. Each checkpoint writes the
    /// unfinished chunk of every series, so an interval of seconds costs time and space.
    ///
    /// ```
    /// use std::time::Duration;
    /// use simrecorder_core::{InMemoryDataStore, Recorder, RecorderOptions};
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

    /// Whether all work is done by the thread that calls, so that the same calls give the same
    /// commits every time.
    #[must_use]
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }

    /// How many threads of each store compress, in addition to the one that commits. They sleep while
    /// there is nothing to do. Fewer leave more processors to a simulation that uses all of them;
    /// more help where compression is slow, as with [`Compression::Small`](crate::Compression).
    /// 0 is taken as 1.
    #[must_use]
    pub fn encoding_threads(mut self, threads: usize) -> Self {
        self.encoding_threads = Some(NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN));
        self
    }

    /// What to do when a commit of one store fails.
    #[must_use]
    pub fn on_store_error(mut self, action: OnStoreError) -> Self {
        self.on_store_error = action;
        self
    }

    /// What to do when the stores hold different numbers of records.
    #[must_use]
    pub fn on_divergence(mut self, action: OnDivergence) -> Self {
        self.on_divergence = action;
        self
    }

    /// How long dropping the last handle may wait for the stores. `close` waits as long as it
    /// takes.
    #[must_use]
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    // A quarter of the bound goes to no one: allocators keep more than they hand out.

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
    /// commit. They are not part of the bound, but of what comes on top.
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

    /// The most bytes in buffers that wait to be used again.
    pub(crate) fn pool_bound(&self) -> usize {
        self.memory_bound / 8
    }
}
