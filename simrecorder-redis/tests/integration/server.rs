//! Starting and stopping servers.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use simrecorder_core::conformance::child::{Ending, ForkedChild};
use simrecorder_core::{ErrorKind, Key, Recorder, Result, prelude::*};
use simrecorder_redis::{RedisDataStore, RedisServer, RedisSync};
use simrecorder_testkit::full_name;
use support::{server, server_options};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, parts: &[&str]) {
    let error = result.map(|server| format!("{server:?}")).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "no '{part}': {error}");
    }
}

fn record(server: &RedisServer, run: &str) {
    let url = format!("{}?run={run}", server.url());
    let recorder = Recorder::new(RedisDataStore::create(&url).unwrap());
    (0..100_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.close().unwrap();
}

#[track_caller]
fn check(server: &RedisServer, run: &str) {
    let url = format!("{}?run={run}", server.url());
    let recorder = Recorder::new(RedisDataStore::open(&url).unwrap());
    let n = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq(0..100));
}

#[test]
fn data_and_settings_are_there_when_a_server_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/data");
    let first = server_options()
        .password("öpen \"sesame\"")
        .sync(RedisSync::Always)
        .setting("maxmemory", "100mb")
        .start(&path)
        .unwrap();
    record(&first, "stopped");
    first.stop().unwrap();
    // No options are given: password and settings are the previous ones.
    let second = server_options().start(&path).unwrap();
    check(&second, "stopped");
    let without = format!("redis://127.0.0.1:{}", second.port());
    let error = RedisDataStore::connect(&without).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    record(&second, "dropped");
    drop(second);
    let third = server_options().password("other").start(&path).unwrap();
    check(&third, "stopped");
    check(&third, "dropped");
    let configuration = std::fs::read_to_string(path.join("redis.conf")).unwrap();
    for line in ["appendfsync always", "maxmemory 100mb", "appendonly yes"] {
        assert!(configuration.contains(line), "{configuration}");
    }
    assert_eq!(third.data_directory(), path.canonicalize().unwrap());
}

#[test]
fn a_configuration_of_other_software_is_used_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.conf");
    let text = "# My settings.\nappendonly   yes\nmaxmemory 50mb\n";
    std::fs::write(&path, text).unwrap();
    let changed = server_options().setting("maxmemory", "1gb");
    refused(
        changed.start(folder.path()),
        ErrorKind::InvalidArgument,
        &["start", "redis.conf"],
    );
    let server = server_options().start(folder.path()).unwrap();
    record(&server, "log");
    check(&server, "log");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_second_server_on_a_directory_or_a_port_is_refused() {
    let server = server();
    let again = server_options().start(server.folder.path());
    refused(
        again,
        ErrorKind::Locked,
        &["start", "running on this directory"],
    );
    let other = tempfile::tempdir().unwrap();
    let port = server.server.port();
    let taken = server_options().port(port).start(other.path());
    refused(
        taken,
        ErrorKind::AlreadyExists,
        &["start", &port.to_string()],
    );
    // Another program may use it, too.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = server_options().port(port).start(other.path());
    refused(taken, ErrorKind::AlreadyExists, &[&port.to_string()]);
    record(&server.server, "undisturbed");
    check(&server.server, "undisturbed");
    // The directory is free again as soon as its server has ended, for whatever reason.
    let folder = server.kill();
    check(
        &server_options().start(folder.path()).unwrap(),
        "undisturbed",
    );
}

#[test]
fn unsafe_and_impossible_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = server_options()
        .bind(Ipv4Addr::UNSPECIFIED)
        .start(folder.path());
    refused(open, ErrorKind::InvalidArgument, &["0.0.0.0", "password"]);
    let missing = RedisServer::options()
        .program("no-such-server")
        .start(folder.path());
    refused(missing, ErrorKind::NotFound, &["no-such-server"]);
    let setting = server_options()
        .setting("no-such-setting", "1")
        .start(folder.path());
    refused(setting, ErrorKind::Io, &["setting"]);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(server_options().start(&file).is_err());
    let foreign = server_options()
        .bind(Ipv4Addr::new(192, 0, 2, 1))
        .password("x");
    let elsewhere = tempfile::tempdir().unwrap();
    refused(
        foreign.start(elsewhere.path()),
        ErrorKind::InvalidArgument,
        &["192.0.2.1"],
    );
}

#[test]
fn a_server_that_does_not_stop_is_waited_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = server_options().stop_timeout(Duration::from_secs(5));
    let server = options.start(folder.path()).unwrap();
    let process = server.process_id();
    support::signal(process, "STOP");
    let start = Instant::now();
    refused(server.stop(), ErrorKind::Io, &["does not stop"]);
    let waited = start.elapsed().as_secs();
    support::signal(process, "KILL");
    assert!((5..10).contains(&waited), "{waited} seconds");
}

#[test]
fn the_error_for_a_missing_program_names_what_to_install() {
    let test = "the_error_for_a_missing_program_names_what_to_install";
    if let Some(folder) = support::role() {
        let missing = RedisServer::start(Path::new(&folder));
        return refused(
            missing,
            ErrorKind::NotFound,
            &["apt-get install redis-server"],
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &full_name(test)]);
    command.env("PATH", folder.path());
    command.env("SIMRECORDER_TEST_ROLE", folder.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn valkey_is_started_if_redis_is_not_installed() {
    let test = "valkey_is_started_if_redis_is_not_installed";
    if let Some(folder) = support::role() {
        let server = RedisServer::start(Path::new(&folder).join("data")).unwrap();
        let command = format!("/proc/{}/cmdline", server.process_id());
        let command = std::fs::read_to_string(command).unwrap();
        assert!(command.contains("valkey-server"), "{command}");
        let recorder = Recorder::new(RedisDataStore::connect(server.url()).unwrap());
        recorder.record("n", 1_u64).unwrap();
        assert_eq!(recorder.get_all("n").unwrap().len(), 1);
        recorder.close().unwrap();
        return server.stop().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut programs = std::env::split_paths(&path).map(|path| path.join("redis-server"));
    let program = programs.find(|path| path.exists()).unwrap();
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    // The same program under the other name: only the name is checked.
    std::os::unix::fs::symlink(program, programs.join("valkey-server")).unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &full_name(test)]);
    command.env("PATH", programs);
    command.env("SIMRECORDER_TEST_ROLE", folder.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn a_recording_is_written_and_read_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let options = server_options().password("p&ss?").unix_socket(&socket);
    let server = options.start(folder.path().join("data")).unwrap();
    let url = server.socket_url().unwrap();
    let recorder = Recorder::new(RedisDataStore::connect(url).unwrap());
    (0..1000_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.set("seed", 42_u64).unwrap();
    recorder.close().unwrap();
    for url in [url, server.url()] {
        let reader = Recorder::new(RedisDataStore::open(url).unwrap());
        let n = reader.get_all("n").unwrap().read::<u64>().unwrap();
        assert!(n.iter().copied().eq(0..1000), "{url}");
        assert_eq!(reader.get_as::<u64>("seed").unwrap(), Some(42));
    }
}

#[test]
fn passwords_show_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let options = server_options().password("sesame").unix_socket(&socket);
    let texts = [format!("{options:?}")];
    let server = options.start(folder.path().join("data")).unwrap();
    let store = RedisDataStore::connect(server.url()).unwrap();
    let at_socket = RedisDataStore::append(server.socket_url().unwrap()).unwrap();
    let error = RedisDataStore::open("redis://:sesame@127.0.0.1:1").unwrap_err();
    let view_error = store.free(&[(Key::new("x").unwrap(), 1)]).unwrap_err();
    let texts = texts.into_iter().chain([
        format!("{server:?} {store:?} {at_socket:?}"),
        format!("{error} {error:?} {view_error:?}"),
        std::fs::read_to_string(folder.path().join("data/redis.log")).unwrap(),
    ]);
    for text in texts {
        assert!(!text.contains("sesame"), "{text}");
    }
    use std::os::unix::fs::PermissionsExt;
    for path in [socket, folder.path().join("data/redis.conf")] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn launching_starts_a_server_and_connects_in_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let store = RedisDataStore::launch(&path).unwrap();
    let url = store.server_url().unwrap().to_owned();
    let recorder = Recorder::new(store);
    recorder.record("n", 1_u64).unwrap();
    recorder.flush().unwrap();
    // Other programs use it meanwhile.
    let other = RedisDataStore::open(&url).unwrap();
    let n = other.view(&Key::new("n").unwrap()).unwrap().unwrap();
    assert_eq!(n.len(), 1);
    let view = recorder.get_all("n").unwrap();
    recorder.close().unwrap();
    assert_eq!(view.get(0).unwrap().scalar::<u64>().unwrap(), 1);
    drop((recorder, view));
    assert_eq!(
        RedisDataStore::open(&url).unwrap_err().kind(),
        ErrorKind::Io
    );

    let recorder = Recorder::new(RedisDataStore::launch(&path).unwrap());
    recorder.record("n", 2_u64).unwrap();
    let n = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert_eq!(n.as_slice(), Some(&[1, 2][..]));
    recorder.close().unwrap();
}

#[test]
fn a_forked_child_does_not_stop_the_server_of_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Some(server_options().start(folder.path()).unwrap());
    let mut store = Some(RedisDataStore::connect(server.as_ref().unwrap().url()).unwrap());
    for stops in [false, true] {
        let child = ForkedChild::start(Ending::Normal, || {
            drop(store.take());
            let server = server.take().unwrap();
            assert!(server.port() > 0 && server.process_id() > 0);
            if stops {
                refused(server.stop(), ErrorKind::Forked, &["stop"]);
            }
        });
        child.finish();
    }
    // The child dropped the store, but the parent's connection still works.
    let store = store.unwrap();
    assert!(store.writers().unwrap().len() == 1);
    record(server.as_ref().unwrap(), "whole");
    check(server.as_ref().unwrap(), "whole");
    drop(store);
    server.unwrap().stop().unwrap();
}
