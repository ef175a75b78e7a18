//! Servers for tests. They end with the test, whatever happens to it.

#![allow(
    dead_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and test helpers may panic"
)]

pub(crate) mod cluster;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use simrecorder_core::{DataStore, DataStoreExt, Error, ErrorKind, Key, OpenMode, Result, View};
use simrecorder_redis::{RedisDataStore, RedisOptions, RedisServer, RedisServerOptions};
use simrecorder_testkit::full_name;
use tempfile::TempDir;

/// A program that runs a server and kills it when the thread that started it ends.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("server-{}", std::process::id()));
    let script = "#!/bin/sh\nexec setpriv --pdeathsig KILL redis-server \"$@\"\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn program_of_this_process() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(program)
}

/// Options for a server that ends with the thread that starts it.
pub(crate) fn server_options() -> RedisServerOptions {
    RedisServer::options().program(program_of_this_process())
}

/// A server for one test, with its own folder.
pub(crate) struct TestServer {
    pub(crate) server: RedisServer,
    pub(crate) folder: TempDir,
}

pub(crate) fn server() -> TestServer {
    server_with(|options| options)
}

pub(crate) fn server_with(
    set: impl FnOnce(RedisServerOptions) -> RedisServerOptions,
) -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    let server = set(server_options()).start(folder.path()).unwrap();
    TestServer { server, folder }
}

impl TestServer {
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Kills the server, as a crash does, and returns the folder.
    pub(crate) fn kill(self) -> TempDir {
        signal(self.server.process_id(), "KILL");
        // It has already ended, so there is nothing to stop.
        drop(self.server);
        self.folder
    }

    /// The output of `redis-cli`.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        cli(self.server.port(), arguments)
    }
}

pub(crate) fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn signal(process: u32, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// The URL of a server that all tests of this process share. It stores nothing on disk.
pub(crate) fn shared_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let (sender, started) = channel();
        // The server lives as long as this thread, which lives as long as the process.
        std::thread::spawn(move || {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file_name());
            let _ = std::fs::remove_dir_all(&folder);
            let options = server_options().setting("appendonly", "no");
            let server = options.start(&folder).unwrap();
            sender.send(server.url().to_owned()).unwrap();
            loop {
                std::thread::park();
            }
        });
        started.recv().unwrap()
    })
}

fn file_name() -> String {
    let executable = std::env::current_exe().unwrap();
    executable
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

/// The URL of a recording that does not exist yet, on the shared server.
pub(crate) fn new_run() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}?run=test%20{number}", shared_url())
}

/// The task of this process, if [`this_test`] started it.
pub(crate) fn role() -> Option<String> {
    std::env::var("SIMRECORDER_TEST_ROLE").ok()
}

/// The named test in a separate process, where [`role`] returns `role`. It ends with the thread
/// that starts it.
pub(crate) fn this_test(name: &str, role: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &full_name(name), "--nocapture"])
        .env("SIMRECORDER_TEST_ROLE", role);
    command
}

/// Options with short timeouts.
pub(crate) fn quick() -> RedisOptions {
    RedisDataStore::options()
        .mode(OpenMode::OpenOrCreate)
        .timeout(Duration::from_millis(500))
        .retry_for(Duration::from_secs(2))
}

/// The error, which must be of this kind and contain all of `parts`.
#[track_caller]
pub(crate) fn expect<T>(result: Result<T>, kind: ErrorKind, parts: &[&str]) -> Error {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "no '{part}': {error}");
    }
    error
}

/// The existing series.
pub(crate) fn view(store: &dyn DataStore, name: &str) -> View {
    store.view(&Key::new(name).unwrap()).unwrap().unwrap()
}
