//! Options for opening an HDF5 recording.

use std::time::Duration;

use simrecorder_core::{ChunkPolicy, Compression, Durability, OpenMode};

use crate::driver::logged_file::{LOCK_TIMEOUT, Writing};

/// Options for opening an HDF5 recording.
///
/// | option | default |
/// |---|---|
/// | [`mode`](Self::mode) | [`OpenMode::Read`] |
/// | [`durability`](Self::durability) | [`Durability::Power`] |
/// | [`lock_timeout`](Self::lock_timeout) | 2 seconds |
/// | [`chunk_policy`](Self::chunk_policy) | chunks of about 1 MiB |
/// | [`compression`](Self::compression) | [`Compression::Fast`] |
///
/// ```
/// use simrecorder_core::{Compression, OpenMode, Recorder};
/// use simrecorder_hdf5::Hdf5DataStore;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.h5");
/// let store = Hdf5DataStore::options()
///     .mode(OpenMode::OpenOrCreate)
///     .compression(Compression::Small)
///     .open(path)?;
/// let recorder = Recorder::new(store);
/// recorder.record("rate", 0.5)?;
/// recorder.close()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hdf5Options {
    pub(crate) mode: OpenMode,
    pub(crate) durability: Durability,
    pub(crate) lock_timeout: Duration,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
}

impl Default for Hdf5Options {
    fn default() -> Self {
        Self {
            mode: OpenMode::default(),
            durability: Durability::default(),
            lock_timeout: LOCK_TIMEOUT,
            chunk_policy: ChunkPolicy::default(),
            compression: Compression::default(),
        }
    }
}

impl Hdf5Options {
    /// Options for reopening a file that was written in this way.
    pub(crate) fn of(mode: OpenMode, writing: Writing) -> Self {
        Self::default()
            .mode(mode)
            .durability(writing.durability)
            .lock_timeout(writing.lock_timeout)
    }

    pub(crate) fn writing(&self) -> Writing {
        Writing {
            durability: self.durability,
            lock_timeout: self.lock_timeout,
        }
    }

    /// Sets what to do if the recording exists, or if it does not.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what a commit survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how the records of new series are divided into chunks, unless their schema specifies
    /// it.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = policy;
        self
    }

    /// Sets how long opening for writing, checkpoints and `close` wait for other programs, such as
    /// h5py, to close the file; by default 2 seconds. After that, they fail with
    /// [`Locked`](simrecorder_core::ErrorKind::Locked). Nothing is lost, and they can be tried
    /// again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use simrecorder_core::OpenMode;
    /// use simrecorder_hdf5::Hdf5DataStore;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("run.h5");
    /// let store = Hdf5DataStore::options()
    ///     .mode(OpenMode::CreateNew)
    ///     .lock_timeout(Duration::from_secs(60))
    ///     .open(path)?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets how the chunks of new series are compressed, unless their schema specifies it. They use
    /// the filters `shuffle` and `deflate`, which every HDF5 library supports.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}
