//! How an HDF5 recording is opened.

use simrecorder_core::{ChunkPolicy, Compression, Durability, OpenMode};

/// How an HDF5 recording is opened.
///
/// | option | default |
/// |---|---|
/// | [`mode`](Self::mode) | [`OpenMode::Read`] |
/// | [`durability`](Self::durability) | [`Durability::Power`] |
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
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Hdf5Options {
    pub(crate) mode: OpenMode,
    pub(crate) durability: Durability,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
}

impl Hdf5Options {
    /// What to do with the recording that is, or is not, there.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// What a commit survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How the records of new series are cut into chunks, unless their schema says.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = policy;
        self
    }

    /// How the chunks of new series are compressed, unless their schema says: with the filters
    /// `shuffle` and `deflate`, which every HDF5 reads.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}
