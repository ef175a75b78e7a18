//! What a managed server exposes to others: nothing, unless it was asked to.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

mod support;

use std::fmt::{self, Write};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use simrecorder_core::Recorder;
use simrecorder_redis::{RedisDataStore, RedisServer};
use support::{server_options, signal};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const SECRET: &str = "open-sesame";

fn record(server: &RedisServer) {
    let recorder = Recorder::new(RedisDataStore::create(server.url()).unwrap());
    (0..1000_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.close().unwrap();
}

/// The addresses on which a program listens at a port, in the system's notation.
fn listening(port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next().unwrap(), words.nth(1).unwrap_or(""));
            if let Some((address, at)) = local.split_once(':')
                && state == "0A"
                && u16::from_str_radix(at, 16) == Ok(port)
            {
                found.push(address.to_owned());
            }
        }
    }
    found
}

#[test]
fn a_server_listens_on_the_loopback_address_only() {
    // Neither a setting nor an existing file changes that.
    let loopback = format!("{:08X}", u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()));
    for file in [None, Some("bind 0.0.0.0\nprotected-mode no\n")] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = server_options();
        match file {
            Some(settings) => fs::write(folder.path().join("redis.conf"), settings).unwrap(),
            None => options = options.setting("bind", "0.0.0.0"),
        }
        let server = options.start(folder.path()).unwrap();
        assert_eq!(listening(server.port()), [&*loopback]);
    }
}

/// Everything in a folder.
fn everything(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(folder);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything(&path, visit);
        } else {
            visit(&path);
        }
    }
}

#[track_caller]
fn assert_private(path: &Path) {
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
}

#[test]
fn data_is_for_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("a/new/one");
    let server = server_options().start(&new).unwrap();
    record(&server);
    server.stop().unwrap();
    everything(&new, &mut assert_private);
    // An existing folder keeps its mode, and the files in it are private.
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let server = server_options().start(&open).unwrap();
    record(&server);
    assert_eq!(support::cli(server.port(), &["save"]), "OK");
    server.stop().unwrap();
    let mut count = 0;
    everything(&open, &mut |path| {
        if path != open {
            assert_private(path);
            count += 1;
        }
    });
    assert!(count > 4, "{count} files");
}

#[test]
fn the_password_is_in_no_argument_and_in_no_environment() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_options()
        .password(SECRET)
        .start(folder.path())
        .unwrap();
    record(&server);
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{file}", server.process_id())).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(SECRET), "{file}: {text}");
    }
}

/// Keeps everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn note(&self, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}").unwrap();
    }
}

struct Fields<'a>(&'a Log);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0.note(value);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(self));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(self));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(self));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An error and all its sources.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(next) = source {
        write!(text, " {next} {next:?}").unwrap();
        source = next.source();
    }
    text
}

#[test]
fn the_password_is_in_no_log_and_no_error() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = server_options()
        .password(SECRET)
        .start(folder.path())
        .unwrap();
    let port = server.port();
    let mut texts = Vec::new();
    // A wrong password, a host that does not exist, and URLs with an error in each part.
    for url in [
        format!("redis://:{SECRET}x@127.0.0.1:{port}"),
        format!("redis://{SECRET}:{SECRET}@127.0.0.1:{port}"),
        format!("redis://:{SECRET}@127.0.0.1:1"),
        format!("redis://:{SECRET}@127.0.0.1:{port}/99"),
        format!("redis://:{SECRET}@127.0.0.1:{port}/x"),
        format!("redis://:{SECRET}@127.0.0.1:port"),
        format!("redis://:{SECRET}@[::1"),
        format!("redis://:{SECRET}@127.0.0.1:{port}?rum=1"),
        format!("rediss://:{SECRET}@127.0.0.1:{port}"),
        format!("redis+unix:/none?pass={SECRET}"),
        format!("redis://:{SECRET}@127.0.0.1:{port}?cluster=true"),
        format!("redis://:{SECRET}@127.0.0.1:{port}?sentinel=x"),
        format!("http://:{SECRET}@127.0.0.1:{port}"),
        format!("redis:///{SECRET}@127.0.0.1"),
    ] {
        let options = RedisDataStore::options().retry_for(std::time::Duration::ZERO);
        texts.push(format!("{options:?}"));
        match options.open(&url) {
            Ok(store) => panic!("{store:?} was opened"),
            Err(error) => texts.push(in_full(&error)),
        }
    }
    let store = RedisDataStore::options()
        .mode(simrecorder_core::OpenMode::OpenOrCreate)
        .retry_for(std::time::Duration::from_secs(1))
        .open(server.url())
        .unwrap();
    texts.push(format!("{store:?} {server:?}"));
    let recorder = Recorder::new(store);
    recorder.record("n", 1_u64).unwrap();
    recorder.flush().unwrap();
    texts.push(format!("{recorder:?} {:?}", recorder.status()));
    signal(server.process_id(), "KILL");
    recorder.record("n", 2_u64).unwrap();
    texts.push(in_full(&recorder.flush().unwrap_err()));
    texts.push(in_full(&recorder.close().unwrap_err()));
    drop((recorder, server));
    let logged = log.0.lock().unwrap().clone();
    assert!(!logged.is_empty(), "nothing was logged");
    for text in texts.iter().chain([&logged]) {
        assert!(!text.contains(SECRET), "{text}");
    }
}
