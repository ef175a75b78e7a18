//! Starting a server.

mod append_only_file;
mod settings;

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::Value;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use simrecorder_core::backend::fork::{NotInherited, ProcessLocal, uninterrupted};
use simrecorder_core::{Error, ErrorKind, Result, expand_home};

use crate::connection::address::Address;
use crate::connection::errors::{corrupt, invalid, is_loading};
use crate::connection::percent::percent_encoded;
use crate::connection::reply::Reply;
use crate::connection::{Connections, Failure, Timeouts};
use settings::Settings;

/// The programs to look for, in this order.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
const CONFIGURATION: &str = "redis.conf";
const LOG: &str = "redis.log";
const LOCK: &str = "simrecorder.lock";
const PAUSE: Duration = Duration::from_millis(5);
/// How many free ports are tried when other programs take them first.
const PORTS: usize = 8;

/// When a server syncs its append-only file; set with [`RedisServerOptions::sync`].
///
/// ```
/// use simrecorder_redis::{RedisServer, RedisSync};
///
/// # let folder = tempfile::tempdir().unwrap();
/// // Each commit is on the disk when it returns.
/// let server = RedisServer::options().sync(RedisSync::Always).start(folder.path())?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisSync {
    /// Before it acknowledges a commit.
    Always,
    /// Every second.
    EverySecond,
    /// When the operating system decides.
    Never,
}

impl RedisSync {
    fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "no",
        }
    }
}

/// A running Redis or Valkey server.
///
/// [`stop`](Self::stop) and dropping stop it, with everything on disk. If the program that started
/// it is killed, the server keeps running. A process that is forked from that program does not stop
/// it.
///
/// ```
/// use simrecorder_redis::{RedisDataStore, RedisServer};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let data_directory = folder.path();
/// let server = RedisServer::start(data_directory)?;
/// let store = RedisDataStore::connect(server.url())?;
/// # use simrecorder_core::DataStore;
/// store.close()?;
/// server.stop()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub struct RedisServer {
    child: ProcessLocal<Child>,
    directory: PathBuf,
    port: u16,
    url: String,
    socket_url: Option<String>,
    stop_timeout: Duration,
    /// Whether its exit was already waited for.
    given_up: bool,
}

impl RedisServer {
    /// Starts a server on a data directory, with default options.
    ///
    /// # Errors
    /// See [`RedisServerOptions::start`].
    pub fn start(data_directory: impl AsRef<Path>) -> Result<Self> {
        Self::options().start(data_directory)
    }

    /// Options for everything else.
    pub fn options() -> RedisServerOptions {
        RedisServerOptions::default()
    }

    /// The URL of the server, with the password if there is one.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of its Unix socket, if it has one, with the password if there is one.
    pub fn socket_url(&self) -> Option<&str> {
        self.socket_url.as_deref()
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.child.constants().id()
    }

    /// Its data directory.
    pub fn data_directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is still running: other programs may end it with a signal or a command.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`] in a process that was forked from the one that started the server.
    pub fn is_running(&mut self) -> Result<bool> {
        let ended = self.child.get_mut("look at")?.try_wait();
        let ended = ended.map_err(|e| Error::io("look at", &self.directory, e))?;
        Ok(ended.is_none())
    }

    /// Stops the server and waits until everything is on disk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it does not end within
    /// [`stop_timeout`](RedisServerOptions::stop_timeout), or ends with an error: `redis.log` in
    /// its data directory contains details. A server that has not ended keeps running.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let failed = |message: String| {
            Error::new(ErrorKind::Io, "stop", message)
                .with_key(self.directory.display().to_string())
        };
        let waited = |e: std::io::Error| Error::io("stop", &self.directory, e);
        let child = self.child.get_mut("stop")?;
        if child.try_wait().map_err(waited)?.is_none() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let asked = pid.map(|pid| kill_process(pid, Signal::TERM));
            if !matches!(asked, Some(Ok(()))) {
                return Err(failed("the server cannot be asked to stop".to_owned()));
            }
        }
        let start = Instant::now();
        loop {
            match child.try_wait().map_err(waited)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let said = last_lines(&self.directory.join(LOG), 0);
                    return Err(failed(format!("the server ended with {status}: {said}")));
                }
                None if start.elapsed() > self.stop_timeout => {
                    self.given_up = true;
                    return Err(failed("the server does not stop".to_owned()));
                }
                None => sleep(PAUSE),
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Only the process that started it stops it.
        let Ok(child) = self.child.get_mut("stop") else {
            return;
        };
        if self.given_up || matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.end() {
            tracing::error!(%error, "a Redis server was not stopped cleanly");
        }
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer")
            .field("port", &self.port)
            .field("process", &self.process_id())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Options for starting a [`RedisServer`].
///
/// | option | default |
/// |---|---|
/// | [`port`](Self::port) | a free one |
/// | [`bind`](Self::bind) | 127.0.0.1 |
/// | [`password`](Self::password) | none |
/// | [`unix_socket`](Self::unix_socket) | none |
/// | [`sync`](Self::sync) | [`RedisSync::EverySecond`] |
/// | [`setting`](Self::setting) | the server's defaults, except `appendonly yes`, `aof-load-truncated no`, `save ""`, `maxmemory-policy noeviction` |
/// | [`program`](Self::program) | `redis-server`, otherwise `valkey-server` |
/// | [`start_timeout`](Self::start_timeout) | 10 minutes |
/// | [`stop_timeout`](Self::stop_timeout) | 2 minutes |
///
/// Password, sync and settings are written to `redis.conf` in the data directory. A server that is
/// started there later uses them, too, unless others are given.
///
/// ```
/// use simrecorder_redis::{RedisServer, RedisSync};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let data_directory = folder.path();
/// let options = RedisServer::options().password("sesame").sync(RedisSync::Always);
/// let server = options.start(data_directory)?;
/// assert!(server.url().contains("sesame"));
/// server.stop()?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisServerOptions {
    port: Option<u16>,
    bind: IpAddr,
    unix_socket: Option<PathBuf>,
    settings: Settings,
    program: Option<PathBuf>,
    start_timeout: Duration,
    stop_timeout: Duration,
}

impl Default for RedisServerOptions {
    fn default() -> Self {
        Self {
            port: None,
            bind: Ipv4Addr::LOCALHOST.into(),
            unix_socket: None,
            settings: Settings::default(),
            program: None,
            start_timeout: Duration::from_secs(600),
            stop_timeout: Duration::from_secs(120),
        }
    }
}

/// Takes the lock of a data directory.
///
/// When a server was killed, its child that rewrites the append-only file, or a process that is
/// just being started, may hold the lock for a while longer.
fn take(lock: &File) -> Result<()> {
    let start = Instant::now();
    while flock(lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if start.elapsed() > LOCK_PATIENCE {
            let message =
                "a server is already running on this directory; connect to it, or stop it";
            return Err(Error::new(ErrorKind::Locked, "start", message));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// How long to wait for a lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

impl RedisServerOptions {
    /// Sets the port on which to listen.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets the address on which to listen. An address that other hosts can reach requires a
    /// password.
    #[must_use]
    pub fn bind(mut self, address: impl Into<IpAddr>) -> Self {
        self.bind = address.into();
        self
    }

    /// Sets the password that clients must give.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        self.setting("requirepass", password)
    }

    /// Also listens on a Unix socket, which only this user may open.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Sets when the append-only file is synced.
    #[must_use]
    pub fn sync(self, sync: RedisSync) -> Self {
        self.setting("appendfsync", sync.as_str())
    }

    /// Adds a setting as in the configuration file of the server, with its value as one word:
    /// `("maxmemory", "4gb")`.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.set(name.into(), value.into());
        self
    }

    /// Sets the program to start.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Sets how long the server may take to load its data.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Sets how long the server may take to write everything to disk when it is asked to stop.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Starts a server on `data_directory`, which is created if it does not exist. A leading `~` is
    /// the home folder. Existing data is loaded. When this returns, the server is ready.
    ///
    /// If a server was killed there during a write, its unfinished transaction is first cut off
    /// from the append-only file. A server that loads such a file itself may damage later records.
    ///
    /// Only this user can access a new directory and all files. The settings in the directory may
    /// name programs to load, so do not start a server on a directory from somebody else.
    ///
    /// # Errors
    /// - [`ErrorKind::Locked`] if a server is already running on the directory.
    /// - [`ErrorKind::AlreadyExists`] if another program listens on the port.
    /// - [`ErrorKind::InvalidArgument`] for an address that other hosts can reach without a
    ///   password, for settings that the server does not accept, and for settings that would change
    ///   a `redis.conf` of other software.
    /// - [`ErrorKind::NotFound`] if no server program is installed.
    /// - [`ErrorKind::Io`] if the server ends, or is not ready in time, with its last log lines.
    pub fn start(self, data_directory: impl AsRef<Path>) -> Result<RedisServer> {
        let directory = expand_home(data_directory)?;
        self.start_on(&directory).map_err(|e| {
            e.with_operation("start")
                .with_key(directory.display().to_string())
        })
    }

    fn start_on(&self, directory: &Path) -> Result<RedisServer> {
        let io = |e| Error::io("start", directory, e);
        // Only for this user, if it is new. In an existing directory, each file is private.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io)?;
        let directory = directory.canonicalize().map_err(io)?;
        let is_ours = directory.join(LOCK).exists();
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(directory.join(LOCK))
            .map_err(io)?;
        let _not_inherited = NotInherited::new(&lock);
        take(&lock)?;
        let configuration = directory.join(CONFIGURATION);
        let found = Settings::read(&configuration)?;
        let settings = found.clone().with(&self.settings);
        let password = settings.get("requirepass").filter(|it| !it.is_empty());
        if !self.bind.is_loopback() && password.is_none() {
            return Err(invalid(format!(
                "{} can be reached by other hosts; give the server a password",
                self.bind
            )));
        }
        if settings != found || !configuration.exists() {
            if configuration.exists() && !is_ours {
                return Err(invalid(
                    "the folder has a redis.conf that simrecorder did not write and does not \
                     change; start the server without settings, or choose another folder",
                ));
            }
            settings.write(&configuration)?;
        }
        append_only_file::cut_unfinished_end(&directory, &settings)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
        let user = password.map_or_else(String::new, |it| {
            format!(":{}@", percent_encoded(it, is_plain))
        });
        for attempt in 1.. {
            let port = self.port.map_or_else(|| self.free_port(), Ok)?;
            let log_start = directory.join(LOG).metadata().map_or(0, |log| log.len());
            // The lock is the server's standard input, so the server holds it as long as it runs.
            // No other child gets a copy.
            let child = uninterrupted(|| {
                let lock = lock.try_clone().map_err(io)?;
                self.spawn(&directory, port, lock)
            })?;
            let host = match self.bind {
                address if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
                address => address.to_string(),
            };
            let socket_url = self.unix_socket.as_ref().map(|path| {
                let pass = password.map_or_else(String::new, |it| {
                    format!("?pass={}", percent_encoded(it, is_plain))
                });
                format!("redis+unix:{}{pass}", path.display())
            });
            let server = RedisServer {
                child: ProcessLocal::new(child),
                directory: directory.clone(),
                port,
                url: format!("redis://{user}{host}:{port}"),
                socket_url,
                stop_timeout: self.stop_timeout,
                given_up: false,
            };
            match self.wait_until_ready(server, log_start) {
                Err(error)
                    if self.port.is_none()
                        && error.kind() == ErrorKind::AlreadyExists
                        && attempt < PORTS => {}
                started => return started,
            }
        }
        Err(corrupt("no port was tried"))
    }

    fn free_port(&self) -> Result<u16> {
        TcpListener::bind((self.bind, 0))
            .and_then(|listener| listener.local_addr())
            .map(|address| address.port())
            .map_err(|e| {
                let message = format!("{} is not an address of this host", self.bind);
                Error::new(ErrorKind::InvalidArgument, "start", message).with_source(e)
            })
    }

    fn spawn(&self, directory: &Path, port: u16, lock: File) -> Result<Child> {
        let named = self.program.as_deref();
        let programs = PROGRAMS.iter().map(Path::new).filter(|_| named.is_none());
        if let Some(program) = programs.chain(named).find_map(find_program) {
            // Servers make their files readable for others unless the umask forbids it.
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", "umask 077 && exec \"$@\"", "sh"])
                .arg(&program)
                .arg(directory.join(CONFIGURATION))
                .arg("--dir")
                .arg(directory)
                .args(["--port", &port.to_string()])
                .args(["--bind", &self.bind.to_string()])
                .args(["--daemonize", "no"])
                .arg("--logfile")
                .arg(directory.join(LOG))
                .current_dir(directory)
                .stdin(lock)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if let Some(socket) = &self.unix_socket {
                command.arg("--unixsocket").arg(socket);
                command.args(["--unixsocketperm", "700"]);
            }
            return command
                .spawn()
                .map_err(|error| Error::io("start", &program, error));
        }
        let message = match named {
            Some(program) => format!("the program {} was not found", program.display()),
            None => "neither redis-server nor valkey-server is installed; on Debian and Ubuntu: \
                     apt-get install redis-server, on macOS: brew install redis"
                .to_owned(),
        };
        Err(Error::new(ErrorKind::NotFound, "start", message))
    }

    /// Waits until the server replies and has loaded its data.
    fn wait_until_ready(&self, mut server: RedisServer, log_start: u64) -> Result<RedisServer> {
        let timeouts = Timeouts {
            answer: Duration::from_secs(5),
            retry_for: Duration::ZERO,
        };
        let connections = Connections::new(Address::parse(&server.url)?, timeouts)?;
        let start = Instant::now();
        loop {
            let ended = server.child.get_mut("start")?.try_wait();
            if let Some(status) = ended.map_err(|e| Error::io("start", &server.directory, e))? {
                let said = last_lines(&server.directory.join(LOG), log_start);
                if said.contains("Address already in use") {
                    let message = format!("another program listens on port {}", server.port);
                    return Err(Error::new(ErrorKind::AlreadyExists, "start", message));
                }
                let said = match said.is_empty() {
                    true => format!("it does not accept a setting in {CONFIGURATION}"),
                    false => said,
                };
                let message = format!("the server ended with {status}: {said}");
                return Err(Error::new(ErrorKind::Io, "start", message));
            }
            let id = connections.connect().and_then(|mut link| {
                let info = link.one(&[b"INFO", b"server"])?.text()?.unwrap_or_default();
                let id = info
                    .lines()
                    .find_map(|line| line.strip_prefix("process_id:"));
                // Any other error concerns its clients: a node of a cluster waits for the others.
                let loading = match link.one(&[b"EXISTS", b"simrecorder"])? {
                    Value::ServerError(error) => is_loading(&error.into()),
                    _ => false,
                };
                Ok((id.map(str::to_owned), !loading))
            });
            match id {
                Ok((Some(id), true)) if id == server.process_id().to_string() => return Ok(server),
                Ok((Some(id), _)) if id != server.process_id().to_string() => {
                    // This server is about to notice that the port is taken.
                }
                Err(Failure::Final(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(error);
                }
                _ => {}
            }
            if start.elapsed() > self.start_timeout {
                let said = last_lines(&server.directory.join(LOG), log_start);
                let message = format!(
                    "the server is not ready after {:.0} s: {said}",
                    self.start_timeout.as_secs_f64()
                );
                return Err(Error::new(ErrorKind::Io, "start", message));
            }
            sleep(PAUSE);
        }
    }
}

impl fmt::Debug for RedisServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServerOptions")
            .field("port", &self.port)
            .field("bind", &self.bind)
            .field("unix_socket", &self.unix_socket)
            .field("settings", &self.settings)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// The path of a program, found as a shell finds it.
fn find_program(program: &Path) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(executable);
    }
    let folders = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&folders).map(|folder| folder.join(program));
    found.find(executable)
}

/// The last lines of a log from `start` on, joined into one line.
fn last_lines(log: &Path, start: u64) -> String {
    const MOST: u64 = 2000;
    let read = || {
        let mut log = File::open(log)?;
        let len = log.metadata()?.len();
        log.seek(SeekFrom::Start(start.max(len.saturating_sub(MOST))))?;
        let mut bytes = Vec::new();
        log.take(MOST).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().rev().take(4).collect();
    lines.reverse();
    lines.join("; ")
}
