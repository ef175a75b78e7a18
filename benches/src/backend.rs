//! Opens every store of simrecorder in the same way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder::{DataStore, InMemoryDataStore, OpenMode, RedisDataStore};
use tempfile::TempDir;

use crate::candidate::Result;
use crate::candidates::redis_store::Server;
use crate::candidates::simrecorder_store::Store;
use crate::workloads::scratch;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In the memory of the process.
    Memory,
    /// In a file or folder.
    File(Store),
    /// On a Redis server, with Arrow IPC.
    Redis,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::File(Store::Lmdb),
        Self::File(Store::Directory),
        Self::File(Store::Hdf5),
        Self::Redis,
    ];

    /// A short name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(Store::Lmdb) => "zarr-lmdb",
            Self::File(Store::Directory) => "zarr-directory",
            Self::File(Store::Hdf5) => "hdf5",
            Self::Redis => "redis",
        }
    }
}

/// A place for one recording: memory, a folder or a server, which is removed with it.
#[derive(Debug)]
pub struct Place {
    backend: Backend,
    memory: InMemoryDataStore,
    server: Option<Server>,
    folder: TempDir,
}

impl Place {
    /// Creates a place for a store, among temporary files. Starts a server if necessary.
    ///
    /// # Errors
    ///
    /// The folder cannot be created, or the server cannot be started.
    pub fn new(backend: Backend) -> Result<Self> {
        Self::within(backend, &std::env::temp_dir())
    }

    /// Like [`Self::new`], in a folder within `folder`.
    ///
    /// # Errors
    ///
    /// The folder cannot be created, or the server cannot be started.
    pub fn within(backend: Backend, folder: &Path) -> Result<Self> {
        let folder = scratch(folder)?;
        let server = match backend {
            Backend::Redis => Some(Server::start(folder.path())?),
            _ => None,
        };
        Ok(Self {
            backend,
            memory: InMemoryDataStore::new(),
            server,
            folder,
        })
    }

    /// Opens the store in a mode.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        Ok(match (self.backend, &self.server) {
            (Backend::File(store), _) => store.open(&self.path(), mode)?,
            (Backend::Redis, Some(server)) => {
                Arc::new(RedisDataStore::options().mode(mode).open(server.url())?)
            }
            _ => Arc::new(self.memory.open(mode)?),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("recording")
    }
}
