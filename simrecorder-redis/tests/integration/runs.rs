//! Recordings on a server are listed and deleted.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use simrecorder_core::{ErrorKind, OpenMode, Recorder, prelude::*};
use simrecorder_redis::RedisDataStore;
use support::{expect, quick, server, view};

const RUNS: [&str; 4] = ["a/b", "b c}:root", "default", "ü%{x}"];

/// A recorder with every kind of key that a recording has on a server.
fn record(url: &str, run: &str) -> Recorder {
    let options = quick()
        .run(run)
        .mode(OpenMode::CreateNew)
        .largest_value(1000);
    let recorder = Recorder::new(options.open(url).unwrap());
    for i in 0..300_u64 {
        recorder.record("net/v", vec![i; 300]).unwrap();
        recorder.record("x}:root", i).unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        if i % 100 == 0 {
            recorder.flush().unwrap();
        }
    }
    recorder.set("meta/seed", vec![1_u64; 1000]).unwrap();
    recorder.set_attributes("net", Default::default()).unwrap();
    recorder.flush().unwrap();
    recorder
}

#[test]
fn recordings_are_listed_by_their_names_and_nothing_else_is() {
    let server = server();
    assert!(RedisDataStore::runs(server.url()).unwrap().is_empty());
    for run in RUNS {
        record(server.url(), run).close().unwrap();
    }
    server.cli(&["SET", "simrecorder:{text}:root", "x"]);
    server.cli(&["HSET", "simrecorder:{%zz}:root", "x", "y"]);
    server.cli(&[
        "HSET",
        "simrecorder:{run}:generation:group:x}:root",
        "x",
        "y",
    ]);
    assert_eq!(RedisDataStore::runs(server.url()).unwrap(), RUNS);
    let nowhere = RedisDataStore::runs("redis://127.0.0.1:1");
    expect(nowhere, ErrorKind::Io, &["list", "127.0.0.1:1"]);
}

#[test]
fn deleting_a_recording_leaves_no_keys_and_its_users_get_an_error() {
    let server = server();
    server.cli(&["SET", "of another program", "x"]);
    let kept = record(server.url(), "kept");
    let keys = || {
        let keys = server.cli(&["KEYS", "*"]);
        let mut keys: Vec<String> = keys.lines().map(str::to_owned).collect();
        keys.sort();
        keys
    };
    let before = keys();
    let url = format!("{}?run=gone", server.url());
    let writer = record(server.url(), "gone");
    let reader = RedisDataStore::open(&url).unwrap();
    let log = view(&reader, "log");
    assert!(keys().len() > before.len() + 300);
    let unnamed = RedisDataStore::delete(server.url());
    expect(unnamed, ErrorKind::InvalidArgument, &["?run="]);
    RedisDataStore::delete(&url).unwrap();
    assert_eq!(keys(), before);

    expect(log.get(0), ErrorKind::NotFound, &["log"]);
    writer.record("log", "more").unwrap();
    expect(writer.flush(), ErrorKind::NotFound, &["gone", "deleted"]);
    drop(writer);
    for again in [
        RedisDataStore::delete(&url),
        RedisDataStore::open(&url).map(drop),
    ] {
        expect(again, ErrorKind::NotFound, &["gone"]);
    }
    // Uncommitted frames of the writer expire; everything else is as before.
    let left = server.cli(&["KEYS", "simrecorder:{gone*"]);
    for key in left.lines() {
        assert_ne!(server.cli(&["TTL", key]), "-1", "{key}");
    }
    assert_eq!(kept.get_all("log").unwrap().len(), 300);
    kept.record("log", "more").unwrap();
    kept.close().unwrap();
    let again = record(server.url(), "gone");
    assert_eq!(again.get_all("log").unwrap().len(), 300);
    again.close().unwrap();
    assert_eq!(
        RedisDataStore::runs(server.url()).unwrap(),
        ["gone", "kept"]
    );
}

#[test]
fn removing_a_node_leaves_no_keys_and_other_writers_get_an_error() {
    let server = server();
    let kept = record(server.url(), "run");
    let open = || {
        let options = quick().run("run").mode(OpenMode::Append);
        Recorder::new(options.open(server.url()).unwrap())
    };
    let other = open();
    other.record("log", "of another writer").unwrap();
    other.flush().unwrap();
    // Large frames are split over several keys, and one is cut.
    kept.truncate("net/v", 250).unwrap();
    kept.rename("net", "moved/net").unwrap();
    assert_eq!(kept.get_all("moved/net/v").unwrap().len(), 250);
    for key in ["moved", "x}:root", "log", "meta"] {
        kept.remove(key).unwrap();
    }
    let left = server.cli(&["KEYS", "*"]);
    for key in left.lines().filter(|key| server.cli(&["TTL", key]) == "-1") {
        let is_of_the_recording = ["root", "commits", "writers"]
            .iter()
            .any(|name| key.ends_with(name));
        assert!(is_of_the_recording, "{key} is left");
    }
    other.record("log", "one more").unwrap();
    expect(other.flush(), ErrorKind::NotFound, &["log"]);
    kept.record("log", 1.5).unwrap();
    kept.close().unwrap();
    let third = open();
    assert_eq!(third.get_all("log").unwrap().len(), 1);
    third.close().unwrap();
}
