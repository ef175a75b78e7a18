//! The Redis store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use simrecorder_core::backend::SharedStore;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::{
    Batch, Child, Commit, DataStore, Key, Node, OpenMode, Prepared, RecordingInfo, Result, Schema,
};

use crate::connection::address::Address;
use crate::connection::errors::invalid;
use crate::options::RedisOptions;
use crate::recording::Recording;
use crate::recording::catalog::runs;
use crate::recording::registry::{RedisWriter, RedisWriterState, Registry};
use crate::server::RedisServer;
use crate::view::nodes;

/// Stores a recording on a Redis or Valkey server, where many processes on many hosts can write to
/// it at the same time.
///
/// | constructor | the recording | opened for |
/// |---|---|---|
/// | [`connect`](Self::connect) | may exist | writing |
/// | [`create`](Self::create) | must not exist | writing |
/// | [`open`](Self::open) | must exist | reading |
/// | [`append`](Self::append) | must exist | writing |
/// | [`launch`](Self::launch) | may exist | writing, on a server of its own |
/// | [`options`](Self::options) | as set | as set |
///
/// A clone is a handle on the same open recording, and the same writer.
///
/// ```no_run
/// use simrecorder_core::{Recorder, prelude::*};
/// use simrecorder_redis::RedisDataStore;
///
/// let recorder = Recorder::new(RedisDataStore::connect("redis://login1:6379?run=sweep")?);
/// recorder.record("energy", 0.5)?;
/// recorder.close()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Many writers
/// Writers may append to the same series. Then
/// - each batch is stored exactly once, and its records are consecutive;
/// - the records of one writer are in the order in which it recorded them;
/// - batches of different writers are in the order in which they arrived, which may differ from the
///   order of recording;
/// - [`writer_of`](simrecorder_core::backend::SharedView::writer_of) returns the writer of a
///   record, and [`writers`](Self::writers) describes all writers.
///
/// A writer can claim a group, as a timeline does with
/// [`Change::Claim`](simrecorder_core::Change::Claim). Then
/// - commits of other writers to the series directly in the group fail as a whole with
///   [`Locked`](simrecorder_core::ErrorKind::Locked), until they claim it themselves;
/// - each batch must start where its series ends;
/// - the claim lasts until another writer claims the group, or removes or renames the group or one
///   of these series.
///
/// # Durability
/// A commit returns when the server has acknowledged it. With the server's `appendfsync always`, it
/// is then on disk. With `everysec`, the default of [`RedisServer`], it is in the server's memory
/// for a moment, and on disk about a second later. So a writer keeps its latest commits, and sends
/// them again if a server that was killed or lost its power lost them and was restarted on its
/// data. For this
/// - the writer must still be running, and commit again or be closed after the server is back;
/// - the append-only file of the server must be on, with `no-appendfsync-on-rewrite no`, its
///   default, and `aof-load-truncated no`, which is not its default. With `yes`, Redis, and Valkey
///   without its change 4342, cut off too little after they were killed during a write, and may
///   damage later commits; opening logs a warning. With `no`, such a server starts after
///   `redis-check-aof --fix`. A [`RedisServer`] does this automatically;
/// - against a power failure, the commits that were not on the disk yet must fit into
///   [`resend_bytes`](RedisOptions::resend_bytes). Against a killed server, they need not;
/// - in a cluster, the writer keeps the commits of the last five seconds, as far as they fit.
///
/// A [`drain`](simrecorder_core::drain()) waits for that second, and moves only records that a
/// server with `always` or `everysec` has on its disk; in a cluster, records that are five seconds
/// old.
///
/// A replica that is promoted while it lags behind loses commits permanently if their writer no
/// longer keeps them; the next commit of that writer then fails.
///
/// # Clusters
/// In a cluster, a commit is atomic for each series, for the series of each claimed group, and for
/// the hierarchy; not across them. A group that already has series cannot be claimed there.
#[derive(Clone)]
pub struct RedisDataStore {
    pub(crate) recording: Arc<ProcessLocal<Recording>>,
}

impl RedisDataStore {
    /// Opens the recording at `url` for writing, and creates it if it does not exist.
    /// [`RedisOptions::open`] describes the URLs.
    ///
    /// # Errors
    /// See [`RedisOptions::open`].
    pub fn connect(url: &str) -> Result<Self> {
        Self::options().mode(OpenMode::OpenOrCreate).open(url)
    }

    /// Creates the recording at `url`.
    ///
    /// # Errors
    /// [`AlreadyExists`](simrecorder_core::ErrorKind::AlreadyExists); otherwise see [`RedisOptions::open`].
    pub fn create(url: &str) -> Result<Self> {
        Self::options().mode(OpenMode::CreateNew).open(url)
    }

    /// Opens the recording at `url` for reading.
    ///
    /// # Errors
    /// [`NotFound`](simrecorder_core::ErrorKind::NotFound); otherwise see [`RedisOptions::open`].
    pub fn open(url: &str) -> Result<Self> {
        Self::options().mode(OpenMode::Read).open(url)
    }

    /// Opens the recording at `url` for appending to it.
    ///
    /// # Errors
    /// [`NotFound`](simrecorder_core::ErrorKind::NotFound); otherwise see [`RedisOptions::open`].
    pub fn append(url: &str) -> Result<Self> {
        Self::options().mode(OpenMode::Append).open(url)
    }

    /// Starts a server on `data_directory` and opens its recording `default` for writing, which is
    /// created if it does not exist. Dropping the last handle on the store and its last view stops
    /// the server, with everything on disk.
    ///
    /// While the server is running, other processes reach it at [`server_url`](Self::server_url).
    ///
    /// ```
    /// use simrecorder_core::{Recorder, prelude::*};
    /// use simrecorder_redis::RedisDataStore;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let recorder = Recorder::new(RedisDataStore::launch(folder.path())?);
    /// recorder.record("energy", 0.5)?;
    /// assert_eq!(recorder.get_all("energy")?.read::<f64>()?[0], 0.5);
    /// recorder.close()?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`RedisServerOptions::start`](crate::RedisServerOptions::start) and
    /// [`RedisOptions::open`].
    pub fn launch(data_directory: impl AsRef<Path>) -> Result<Self> {
        let server = RedisServer::start(data_directory)?;
        let url = server.url().to_owned();
        Self::options()
            .mode(OpenMode::OpenOrCreate)
            .open_on(&url, Some(server))
    }

    /// The names of the recordings on the server at `url`, in order. Ignores `run=` in the URL. It
    /// scans all keys of the server.
    ///
    /// ```no_run
    /// use simrecorder_redis::RedisDataStore;
    ///
    /// let server = "redis://login1:6379";
    /// for run in RedisDataStore::runs(server)? {
    ///     println!("{run}");
    /// }
    /// RedisDataStore::delete(&format!("{server}?run=sweep"))?;
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the server, and those of [`RedisOptions::open`] for the URL.
    pub fn runs(url: &str) -> Result<Vec<String>> {
        let (connections, _) = Self::options().connections(url)?;
        runs(&connections)
    }

    /// Deletes the recording at `url` permanently. The URL must name it with `?run=`.
    ///
    /// Other programs that have it open are not asked: their next commits and reads fail with
    /// [`NotFound`](simrecorder_core::ErrorKind::NotFound). The recording disappears at once, then
    /// its memory is freed step by step. If this is interrupted, the next program that opens a
    /// recording of the same name for writing completes it.
    ///
    /// # Errors
    /// [`NotFound`](simrecorder_core::ErrorKind::NotFound) if there is none;
    /// [`InvalidArgument`](simrecorder_core::ErrorKind::InvalidArgument) for a URL without a name;
    /// [`Unsupported`](simrecorder_core::ErrorKind::Unsupported) for one of a newer version; otherwise
    /// see [`RedisOptions::open`].
    pub fn delete(url: &str) -> Result<()> {
        if Address::parse(url)?.run.is_none() {
            let message = "the URL does not name a recording; add ?run=NAME";
            return Err(invalid(message).with_operation("delete"));
        }
        let options = Self::options();
        let (connections, run) = options.connections(url)?;
        Recording::open(connections, run, &options, None)
            .and_then(|recording| recording.delete())
            .map_err(|e| e.with_operation("delete"))
    }

    /// Options for everything else.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// The name of the recording.
    pub fn run(&self) -> &str {
        &self.recording.constants().keyspace.run
    }

    /// The URL of the server that [`launch`](Self::launch) started, while it is running.
    pub fn server_url(&self) -> Option<&str> {
        self.recording
            .constants()
            .keyspace
            .server
            .as_ref()
            .map(RedisServer::url)
    }

    /// The number of this store among the writers; see
    /// [`SharedView::writer_of`](simrecorder_core::backend::SharedView::writer_of).
    pub fn writer_id(&self) -> u64 {
        self.recording.constants().id
    }

    /// All stores that opened the recording for writing, in the order of opening.
    ///
    /// # Errors
    /// Errors of the server.
    pub fn writers(&self) -> Result<Vec<RedisWriter>> {
        Ok(Registry::read(&self.recording.get("writers")?.keyspace)?.writers)
    }
}

impl RedisOptions {
    /// Opens the recording on the server at `url`.
    ///
    /// | URL | server |
    /// |---|---|
    /// | `redis://host:6379` | at a host; `/2` after it chooses a database |
    /// | `redis://user:password@host` | with a user, or only a password: `:password@` |
    /// | `rediss://host` | with TLS |
    /// | `redis+unix:/path/to/socket` | at a Unix socket, with `?db=`, `?user=`, `?pass=` |
    ///
    /// The query string may contain `run=`, `cluster=true`, `sentinel=` and `tls_ca=`, joined by `&`,
    /// which take precedence over the options. A cluster or sentinels may be named by several
    /// hosts: `redis://a:7000,b:7000?cluster=true`.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](simrecorder_core::ErrorKind::NotFound) or
    ///   [`AlreadyExists`](simrecorder_core::ErrorKind::AlreadyExists), depending on the mode.
    /// - [`InvalidArgument`](simrecorder_core::ErrorKind::InvalidArgument) for a malformed URL, and
    ///   for writing to a server that deletes keys when its memory is full.
    /// - [`PermissionDenied`](simrecorder_core::ErrorKind::PermissionDenied) for a wrong password
    ///   or a user without rights.
    /// - [`Corrupt`](simrecorder_core::ErrorKind::Corrupt) or
    ///   [`Unsupported`](simrecorder_core::ErrorKind::Unsupported) if the data there is not a
    ///   recording, or was written by a newer version.
    /// - [`Io`](simrecorder_core::ErrorKind::Io) if the server does not answer in time.
    pub fn open(self, url: &str) -> Result<RedisDataStore> {
        self.open_on(url, None)
    }

    /// Opens the recording on a server that is stopped together with it.
    pub(crate) fn open_on(self, url: &str, server: Option<RedisServer>) -> Result<RedisDataStore> {
        let (connections, run) = self.connections(url)?;
        let recording = Recording::open(connections, run, &self, server)?;
        Ok(RedisDataStore {
            recording: Arc::new(ProcessLocal::new(recording)),
        })
    }
}

impl fmt::Debug for RedisDataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyspace = &self.recording.constants().keyspace;
        f.debug_struct("RedisDataStore")
            .field("server", keyspace.connections.address())
            .field("run", &keyspace.run)
            .finish_non_exhaustive()
    }
}

impl DataStore for RedisDataStore {
    fn name(&self) -> &str {
        "redis"
    }

    fn is_read_only(&self) -> bool {
        self.recording.constants().read_only
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        nodes(&self.recording.get("read")?.keyspace, keys)
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        let children = self.recording.get("children")?.keyspace.children(key);
        children.map_err(|e| e.with_key(key.as_str()))
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        let recording = self.recording.get("plan")?;
        recording.check_writable("plan")?;
        schema.map_or(Ok(1), |schema| recording.plan(key, schema))
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        self.recording.get("prepare")?.prepare(batch)
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        self.recording.get("commit")?.commit(commit)
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let removed = self.recording.get("remove")?.remove(key);
        removed.map_err(|e| e.with_key(key.as_str()))
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let renamed = self.recording.get("rename")?.rename(from, to);
        renamed.map_err(|e| e.with_key(from.as_str()))
    }

    fn checkpoint(&self) -> Result<()> {
        let recording = self.recording.get("checkpoint")?;
        match self.is_read_only() {
            true => Ok(()),
            false => recording.check_writable("checkpoint"),
        }
    }

    fn close(&self) -> Result<()> {
        self.recording.get("close")?.close()
    }

    fn info(&self) -> Result<RecordingInfo> {
        let keyspace = &self.recording.get("info")?.keyspace;
        let root = keyspace.scan(&keyspace.names.root())?;
        let text = |name: &str| String::from_utf8(root.get(name)?.clone()).ok();
        let mut info = RecordingInfo::new("Redis");
        info.version = text("format").and_then(|version| version.parse().ok());
        let features = text("requires").unwrap_or_default();
        info.features = features.split_whitespace().map(str::to_owned).collect();
        info.id = text("generation");
        let registry = Registry::read(keyspace)?;
        let open_count = registry.count(RedisWriterState::Open);
        info.is_being_written = open_count.map(|count| count > 0);
        info.lost_writers = registry.count(RedisWriterState::Lost);
        info.revision = registry.revision;
        Ok(info)
    }

    fn as_shared(&self) -> Option<&dyn SharedStore> {
        Some(self)
    }
}

impl SharedStore for RedisDataStore {
    fn free(&self, series: &[(Key, u64)]) -> Result<()> {
        self.recording.get("free")?.free(series)
    }

    fn read_durable(&self, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.recording.get("drain")?.read_durable(look)
    }
}
