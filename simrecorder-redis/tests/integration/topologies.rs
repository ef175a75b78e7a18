//! Other ways to reach servers: a cluster, sentinels, TLS.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use simrecorder_core::{
    ArrayView, DrainOptions, ErrorKind, InMemoryDataStore, OpenMode, Recorder, drain, prelude::*,
};
use simrecorder_redis::RedisDataStore;
use support::cluster::{Cluster, free_port, run, wait_until};
use support::{cli, server_options, view};

fn record(recorder: &Recorder, range: std::ops::Range<u64>) {
    for i in range {
        for key in 0..20 {
            recorder.record(format!("net/n{key}"), i * key).unwrap();
        }
        recorder.record("log", format!("step {i}")).unwrap();
        recorder
            .record("rows", Ragged(vec![i; i as usize % 4]))
            .unwrap();
        recorder.set("last", i).unwrap();
    }
}

fn check(recorder: &Recorder, len: u64) {
    for key in 0..20 {
        let n = recorder.get_all(format!("net/n{key}")).unwrap();
        assert!(
            n.read::<u64>()
                .unwrap()
                .iter()
                .copied()
                .eq((0..len).map(|i| i * key))
        );
    }
    let log = recorder.get_all("log").unwrap().read_text().unwrap();
    assert!((0..len).all(|i| log[i as usize] == format!("step {i}")));
    assert_eq!(recorder.get_all("rows").unwrap().len(), len);
    assert_eq!(recorder.get_as::<u64>("last").unwrap(), Some(len - 1));
    assert_eq!(recorder.keys().unwrap().len(), 23);
}

#[test]
fn a_cluster_of_three_masters_keeps_a_recording_while_a_node_is_killed() {
    let mut cluster = Cluster::start();
    let recorder = Recorder::new(RedisDataStore::create(&cluster.url()).unwrap());
    record(&recorder, 0..200);
    recorder.flush().unwrap();
    check(&recorder, 200);
    // Each node stores a part of it.
    for server in &cluster.servers {
        assert!(cli(server.port(), &["DBSIZE"]).parse::<u64>().unwrap() > 5);
    }
    for (number, until) in [(0, 400), (1, 600), (2, 800)] {
        cluster.kill(number);
        record(&recorder, until - 200..until);
        sleep(Duration::from_millis(300));
        cluster.start_again(number);
        recorder.flush().unwrap();
        check(&recorder, until);
    }
    recorder.close().unwrap();
    cluster.wait();
    let reader = Recorder::new(RedisDataStore::open(&cluster.url()).unwrap());
    check(&reader, 800);

    // Clashes are noticed, draining works, and a recording is deleted, as on one server.
    let store = RedisDataStore::append(&cluster.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    let error = recorder.record("log", 1.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    let error = recorder.record("last", 1.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KindMismatch);
    let memory = InMemoryDataStore::new();
    drain(&store, &memory, DrainOptions::new()).unwrap();
    assert_eq!(view(&store, "log").first_record(), 800);
    check(&Recorder::new(memory), 800);
    check_removal_in_a_cluster(&recorder);
    let followed = view(&store, "log")
        .follow(Duration::from_millis(50))
        .unwrap();
    assert!(followed.is_empty());
    recorder.close().unwrap();
    let options = RedisDataStore::options().mode(OpenMode::Truncate);
    options.open(&cluster.url()).unwrap();
    for server in &cluster.servers {
        let left = cli(server.port(), &["KEYS", "*index"]);
        assert_eq!(left, "", "left");
    }
    let other = RedisDataStore::create(&format!("{}&run=other", cluster.url())).unwrap();
    let recorder = Recorder::new(other);
    record(&recorder, 0..50);
    recorder.flush().unwrap();
    assert_eq!(
        RedisDataStore::runs(&cluster.url()).unwrap(),
        ["default", "other"]
    );
    for run in ["default", "other"] {
        RedisDataStore::delete(&format!("{}&run={run}", cluster.url())).unwrap();
    }
    for server in &cluster.servers {
        // Frames that were sent twice expire.
        for key in cli(server.port(), &["KEYS", "*"]).lines() {
            assert_ne!(cli(server.port(), &["TTL", key]), "-1", "{key} is left");
        }
    }
    recorder.record("log", "more").unwrap();
    assert_eq!(recorder.flush().unwrap_err().kind(), ErrorKind::NotFound);
    // A program that does not know that it is a cluster gets an error that says so.
    let one = format!("redis://127.0.0.1:{}", cluster.servers[0].port());
    let mut opened = (0..20).map(|run| RedisDataStore::connect(&format!("{one}?run={run}")));
    let error = opened.find_map(Result::err).unwrap();
    assert!(error.to_string().contains("cluster=true"), "{error}");
}

/// The hierarchy is on one node, the records of each series on another.
fn check_removal_in_a_cluster(recorder: &Recorder) {
    for key in ["trial/a", "trial/b/c"] {
        recorder.record(key, [1.5; 100]).unwrap();
    }
    recorder.set("values/seed", 42_u64).unwrap();
    let error = recorder.rename("trial", "renamed").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let before = recorder.get_all("trial/a").unwrap();
    assert_eq!(before.len(), 1);
    recorder.remove("trial").unwrap();
    assert_eq!(recorder.kind_of("trial").unwrap(), None);
    recorder.record("trial/a", [2.5; 100]).unwrap();
    assert_eq!(recorder.get_all("trial/a").unwrap().len(), 1);
    assert_eq!(
        before.read::<f64>().unwrap_err().kind(),
        ErrorKind::OutOfBounds
    );
    recorder.remove("trial").unwrap();
    recorder.rename("values", "renamed").unwrap();
    assert_eq!(recorder.get_as("renamed/seed").unwrap(), Some(42_u64));
    recorder.remove("renamed").unwrap();
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sentinels_tell_where_the_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_options().start(folder.path().join("data")).unwrap();
    let configuration = folder.path().join("sentinel.conf");
    let port = free_port();
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor lab 127.0.0.1 {} 1\n",
        folder.path().display(),
        server.port()
    );
    std::fs::write(&configuration, text).unwrap();
    let sentinel = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .arg(&configuration)
        .arg("--sentinel")
        .stdout(std::process::Stdio::null())
        .spawn();
    let _sentinel = Killed(sentinel.unwrap());
    wait_until("a sentinel", || cli(port, &["PING"]) == "PONG");
    // There is no sentinel at the first of the two addresses.
    let url = format!("redis://127.0.0.1:1,127.0.0.1:{port}?sentinel=lab");
    let recorder = Recorder::new(RedisDataStore::create(&url).unwrap());
    recorder.record("n", 1_u64).unwrap();
    recorder.close().unwrap();
    let direct = RedisDataStore::open(server.url()).unwrap();
    assert_eq!(view(&direct, "n").len(), 1);
    let url = format!("redis://127.0.0.1:{port}?sentinel=kitchen");
    let error = RedisDataStore::open(&url).unwrap_err();
    assert!(error.to_string().contains("'kitchen'"), "{error}");
}

#[test]
fn servers_are_reached_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let key = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ];
    run(
        "openssl",
        &[
            &key[..],
            &[
                "-keyout",
                &path("ca.key"),
                "-out",
                &path("ca.pem"),
                "-subj",
                "/CN=test",
            ],
        ]
        .concat(),
    );
    let request = [
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
    ];
    let files = ["-keyout", &path("key.pem"), "-out", &path("request.pem")];
    run("openssl", &[&request[..], &files].concat());
    std::fs::write(
        folder.path().join("names"),
        "subjectAltName=DNS:localhost\n",
    )
    .unwrap();
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-CAcreateserial",
            "-in",
            &path("request.pem"),
            "-out",
            &path("cert.pem"),
            "-CA",
            &path("ca.pem"),
            "-CAkey",
            &path("ca.key"),
            "-extfile",
            &path("names"),
        ],
    );
    let port = free_port();
    let _server = server_options()
        .password("sesame")
        .setting("tls-port", port.to_string())
        .setting("tls-cert-file", path("cert.pem"))
        .setting("tls-key-file", path("key.pem"))
        .setting("tls-ca-cert-file", path("ca.pem"))
        .setting("tls-auth-clients", "no")
        .start(folder.path().join("data"))
        .unwrap();
    let url = format!("rediss://:sesame@localhost:{port}");
    let trusted = format!("{url}?tls_ca={}", path("ca.pem"));
    let recorder = Recorder::new(RedisDataStore::create(&trusted).unwrap());
    (0..100_000_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.flush().unwrap();
    let n = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq(0..100_000));
    recorder.close().unwrap();
    // No other authority signed this certificate, and it is valid for no other name.
    for url in [url.clone(), trusted.replace("localhost", "127.0.0.1")] {
        let error = RedisDataStore::open(&url).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
    let missing = format!("{url}?tls_ca={}", path("missing.pem"));
    let error = RedisDataStore::open(&missing).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
}
