//! How a recording on a server is opened.

use std::path::PathBuf;
use std::time::Duration;

use simrecorder_core::{ChunkPolicy, Compression, OpenMode, Result, expand_home};

use crate::connection::address::{Address, Topology};
use crate::connection::{Connections, Patience};
use crate::format::frame::RedisEncoding;
use crate::recording::Recording;
use crate::server::RedisServer;
use crate::store::RedisDataStore;

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
/// stand in the database from then on, where each client finds them.
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
/// The size of a frame. Messages of 64 to 256 KiB moved most.
pub(crate) const FRAME_BYTES: usize = 256 << 10;
/// Servers take values of up to 512 MiB.
const LARGEST_PART: usize = 512 << 20;

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
    /// acknowledged. [`RedisDataStore`] says what that protects from. It is beside the
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
        self.largest_value = bytes.clamp(1, LARGEST_PART);
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

    /// Opens the recording on the server at `url`.
    ///
    /// | URL | server |
    /// |---|---|
    /// | `redis://host:6379` | at a host; `/2` behind it chooses a database |
    /// | `redis://user:password@host` | with a user, or only a password: `:password@` |
    /// | `rediss://host` | with TLS |
    /// | `redis+unix:/path/to/socket` | at a Unix socket, with `?db=`, `?user=`, `?pass=` |
    ///
    /// Behind a `?` may stand `run=`, `cluster=true`, `sentinel=` and `tls_ca=`, joined by `&`,
    /// which take precedence over the options. A cluster or sentinels may be named by several
    /// hosts: `redis://a:7000,b:7000?cluster=true`.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](simrecorder_core::ErrorKind::NotFound) or
    ///   [`AlreadyExists`](simrecorder_core::ErrorKind::AlreadyExists), as the mode asks for.
    /// - [`InvalidArgument`](simrecorder_core::ErrorKind::InvalidArgument) for a URL that is not
    ///   understood, and for writing to a server that deletes keys when its memory is full.
    /// - [`PermissionDenied`](simrecorder_core::ErrorKind::PermissionDenied) for a wrong password
    ///   or a user without rights.
    /// - [`Corrupt`](simrecorder_core::ErrorKind::Corrupt) or
    ///   [`Unsupported`](simrecorder_core::ErrorKind::Unsupported) if what stands there is no
    ///   recording, or was written by a newer version.
    /// - [`Io`](simrecorder_core::ErrorKind::Io) if the server does not answer in time.
    pub fn open(self, url: &str) -> Result<RedisDataStore> {
        self.open_on(url, None)
    }

    /// Opens the recording on a server that ends with it.
    pub(crate) fn open_on(self, url: &str, server: Option<RedisServer>) -> Result<RedisDataStore> {
        let (connections, run) = self.connections(url)?;
        let recording = Recording::open(connections, run, &self, server)?;
        Ok(RedisDataStore::new(recording))
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
        let patience = Patience {
            timeout: self.timeout,
            retry_for: self.retry_for,
        };
        Ok((Connections::new(address, patience)?, run))
    }
}
