//! Options for opening a recording on a server.

use std::path::PathBuf;
use std::time::Duration;

use simrecorder_core::{ChunkPolicy, Compression, OpenMode, Result, expand_home};

use crate::connection::address::{Address, Topology};
use crate::connection::{Connections, Timeouts};
use crate::format::frame::{FRAME_BYTES, RedisEncoding};

/// Options for opening a recording on a Redis or Valkey server.
///
/// | option | default |
/// |---|---|
/// | [`run`](Self::run) | the value of `?run=` in the URL, otherwise `default` |
/// | [`mode`](Self::mode) | [`OpenMode::Read`] |
/// | [`encoding`](Self::encoding) | [`RedisEncoding::Arrow`] |
/// | [`compression`](Self::compression) | [`Compression::None`] |
/// | [`chunk_policy`](Self::chunk_policy) | frames of about 256 KiB |
/// | [`timeout`](Self::timeout) | 5 seconds |
/// | [`retry_for`](Self::retry_for) | 60 seconds |
/// | [`resend_bytes`](Self::resend_bytes) | 32 MiB |
/// | [`largest_value`](Self::largest_value) | 64 MiB |
/// | [`cluster`](Self::cluster), [`sentinel`](Self::sentinel), [`tls_ca`](Self::tls_ca) | as in the URL |
///
/// Encoding and compression are settings of the recording. They take effect when it is created, and
/// every client reads them from the database.
///
/// ```no_run
/// use std::time::Duration;
///
/// use simrecorder_core::{OpenMode, Recorder};
/// use simrecorder_redis::RedisDataStore;
///
/// let store = RedisDataStore::options()
///     .run("sweep/17")
///     .mode(OpenMode::OpenOrCreate)
///     .retry_for(Duration::from_secs(600))
///     .open("redis://login1:6379")?;
/// let recorder = Recorder::new(store);
/// recorder.record("rate", 0.5)?;
/// recorder.close()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisOptions {
    pub(crate) run: Option<String>,
    pub(crate) mode: OpenMode,
    pub(crate) encoding: RedisEncoding,
    pub(crate) compression: Compression,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) timeout: Duration,
    pub(crate) retry_for: Duration,
    pub(crate) resend_bytes: usize,
    pub(crate) largest_value: usize,
    cluster: bool,
    sentinel: Option<String>,
    tls_ca: Option<PathBuf>,
}

/// The name of a recording without a given name.
const DEFAULT_RUN: &str = "default";
/// Servers accept values of up to 512 MiB.
const MAX_VALUE_BYTES: usize = 512 << 20;

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            run: None,
            mode: OpenMode::default(),
            encoding: RedisEncoding::default(),
            compression: Compression::None,
            chunk_policy: ChunkPolicy::target_bytes(FRAME_BYTES as u64),
            timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(60),
            resend_bytes: 32 << 20,
            largest_value: 64 << 20,
            cluster: false,
            sentinel: None,
            tls_ca: None,
        }
    }
}

impl RedisOptions {
    /// Sets the name of the recording: any text. One server can store several.
    #[must_use]
    pub fn run(mut self, name: impl Into<String>) -> Self {
        self.run = Some(name.into());
        self
    }

    /// Sets what to do if the recording exists, or if it does not.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how records are serialised.
    #[must_use]
    pub fn encoding(mut self, encoding: RedisEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets how frames of new series are compressed, unless their schema specifies it: `Fast` is
    /// LZ4, `Small` and `Lossy` are Zstandard.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets how many records of new series make a frame, unless their schema specifies it.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = policy;
        self
    }

    /// Sets how long to wait for a connection, and for each reply.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Sets how long to try again when a server that was available no longer is or does not reply,
    /// with pauses from 10 milliseconds to a second. After that, operations fail.
    #[must_use]
    pub fn retry_for(mut self, limit: Duration) -> Self {
        self.retry_for = limit;
        self
    }

    /// Sets how much memory a writer uses to keep commits, which it sends again if the server loses
    /// commits that it acknowledged. [`RedisDataStore`](crate::RedisDataStore) explains which
    /// failures this covers. It is in addition to the
    /// [`memory_bound`](simrecorder_core::RecorderOptions::memory_bound) of the recorder.
    #[must_use]
    pub fn resend_bytes(mut self, bytes: usize) -> Self {
        self.resend_bytes = bytes;
        self
    }

    /// Sets the maximum size of a value on the server; larger frames are split. At most 512 MiB,
    /// which is the default limit of servers.
    #[must_use]
    pub fn largest_value(mut self, bytes: usize) -> Self {
        self.largest_value = bytes.clamp(1, MAX_VALUE_BYTES);
        self
    }

    /// Declares that the URL names nodes of a Redis Cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// Declares that the URL names sentinels, which know the address of the server called `name`.
    /// User, password and database in the URL are those of the server.
    #[must_use]
    pub fn sentinel(mut self, name: impl Into<String>) -> Self {
        self.sentinel = Some(name.into());
        self
    }

    /// Sets a file with PEM certificates to trust for `rediss://`, instead of those of the system.
    #[must_use]
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls_ca = Some(path.into());
        self
    }

    /// The connections for a URL with these options, and the name of the recording.
    pub(crate) fn connections(&self, url: &str) -> Result<(Connections, String)> {
        let mut address = Address::parse(url)?;
        if address.topology == Topology::Single {
            if let Some(name) = &self.sentinel {
                address.topology = Topology::Sentinel(name.clone());
            } else if self.cluster {
                address.topology = Topology::Cluster;
            }
        }
        if let (None, Some(path)) = (&address.tls_ca, &self.tls_ca) {
            address.tls_ca = Some(expand_home(path)?);
        }
        let run = address.run.clone().or_else(|| self.run.clone());
        let run = run.unwrap_or_else(|| DEFAULT_RUN.to_owned());
        let timeouts = Timeouts {
            answer: self.timeout,
            retry_for: self.retry_for,
        };
        Ok((Connections::new(address, timeouts)?, run))
    }
}
