//! How a recording on a server is opened.

use std::path::PathBuf;
use std::time::Duration;

use simrecorder_core::{ChunkPolicy, Compression, OpenMode, Result, expand_home};

use crate::connection::address::{Address, Topology};
use crate::connection::{Connections, Timeouts};
use crate::format::frame::{FRAME_BYTES, RedisEncoding};

/// How a recording on a Redis or Valkey server is opened.
///
/// | option | default |
/// |---|---|
/// | [`run`](Self::run) | what `?run=` in the URL says, else `default` |
/// | [`mode`](Self::mode) | [`OpenMode::Read`] |
/// | [`encoding`](Self::encoding) | [`RedisEncoding::Arrow`] |
/// | [`compression`](Self::compression) | [`Compression::None`] |
/// | [`chunk_policy`](Self::chunk_policy) | frames of about 256 KiB |
/// | [`timeout`](Self::timeout) | 5 seconds |
/// | [`retry_for`](Self::retry_for) | 60 seconds |
/// | [`resend_bytes`](Self::resend_bytes) | 32 MiB |
/// | [`largest_value`](Self::largest_value) | 64 MiB |
/// | [`cluster`](Self::cluster), [`sentinel`](Self::sentinel), [`tls_ca`](Self::tls_ca) | what the URL says |
///
/// Encoding and compression are settings of the recording: they count when it is created, and
/// are in the database from then on, where each client finds them.
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

/// The name of a recording that was given none.
const DEFAULT_RUN: &str = "default";
/// Servers take values of up to 512 MiB.
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
    /// The name of the recording: any text. One server may hold several.
    #[must_use]
    pub fn run(mut self, name: impl Into<String>) -> Self {
        self.run = Some(name.into());
        self
    }

    /// What to do with the recording that is, or is not, there.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// How records are serialised.
    #[must_use]
    pub fn encoding(mut self, encoding: RedisEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How frames of new series are compressed, unless their schema says: `Fast` is LZ4, `Small`
    /// and `Lossy` are Zstandard.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How many records of new series make a frame, unless their schema says.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = policy;
        self
    }

    /// How long to wait for a connection, and for each answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// For how long to try again, with pauses from 10 milliseconds to a second, when a server
    /// that was there is gone or does not answer. Then it is an error.
    #[must_use]
    pub fn retry_for(mut self, limit: Duration) -> Self {
        self.retry_for = limit;
        self
    }

    /// How much memory a writer keeps to send it again, in case the server loses what it
    /// acknowledged. [`RedisDataStore`](crate::RedisDataStore) says what that protects from. It is beside the
    /// [`memory_bound`](simrecorder_core::RecorderOptions::memory_bound) of the recorder.
    #[must_use]
    pub fn resend_bytes(mut self, bytes: usize) -> Self {
        self.resend_bytes = bytes;
        self
    }

    /// The largest value to store on the server; frames above it are split. At most 512 MiB,
    /// which is all that a server takes by default.
    #[must_use]
    pub fn largest_value(mut self, bytes: usize) -> Self {
        self.largest_value = bytes.clamp(1, MAX_VALUE_BYTES);
        self
    }

    /// The URL names nodes of a Redis Cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// The URL names sentinels, which know where the server called `name` is. User, password
    /// and database of the URL are those of the server.
    #[must_use]
    pub fn sentinel(mut self, name: impl Into<String>) -> Self {
        self.sentinel = Some(name.into());
        self
    }

    /// For `rediss://`: a file with the certificates, as PEM, to trust instead of those of the
    /// system.
    #[must_use]
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls_ca = Some(path.into());
        self
    }

    /// Where a URL leads, with these options, and the name of the recording there.
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
