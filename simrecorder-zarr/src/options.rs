//! Options for opening a Zarr recording.

use simrecorder_core::{ChunkPolicy, Compression, Durability, OpenMode};

/// Where the entries of a Zarr recording are stored.
///
/// ```
/// use simrecorder_core::OpenMode;
/// use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.zarr");
/// let options = ZarrDataStore::options().mode(OpenMode::CreateNew);
/// let store = options.storage(ZarrStorage::Directory).open(&path)?;
/// assert!(path.is_dir());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ZarrStorage {
    /// In an LMDB database: a folder with one data file. A commit is one transaction. Fast with
    /// many series.
    #[default]
    Lmdb,
    /// In a directory, as files that zarr-python, xarray and others read. Works on network file
    /// systems.
    Directory,
}

/// Options for opening a Zarr recording.
///
/// | option | default |
/// |---|---|
/// | [`mode`](Self::mode) | [`OpenMode::Read`] |
/// | [`storage`](Self::storage) | [`ZarrStorage::Lmdb`] |
/// | [`durability`](Self::durability) | [`Durability::Power`] |
/// | [`chunk_policy`](Self::chunk_policy) | chunks of about 1 MiB |
/// | [`compression`](Self::compression) | [`Compression::Fast`] |
///
/// ```
/// use simrecorder_core::{Compression, OpenMode, Recorder};
/// use simrecorder_zarr::{ZarrDataStore, ZarrStorage};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.zarr");
/// let store = ZarrDataStore::options()
///     .mode(OpenMode::OpenOrCreate)
///     .storage(ZarrStorage::Directory)
///     .compression(Compression::Small)
///     .open(path)?;
/// let recorder = Recorder::new(store);
/// recorder.record("rate", 0.5)?;
/// recorder.close()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ZarrOptions {
    pub(crate) mode: OpenMode,
    pub(crate) storage: ZarrStorage,
    pub(crate) durability: Durability,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) map_size: Option<usize>,
}

impl ZarrOptions {
    /// Sets what to do if the recording exists, or if it does not.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets where the entries are stored.
    #[must_use]
    pub fn storage(mut self, storage: ZarrStorage) -> Self {
        self.storage = storage;
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

    /// Sets how the chunks of new series are compressed, unless their schema specifies it.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the initial size of LMDB's memory map in bytes. It grows automatically; set it only on
    /// systems with little address space.
    #[must_use]
    pub fn map_size(mut self, bytes: usize) -> Self {
        self.map_size = Some(bytes);
        self
    }
}
