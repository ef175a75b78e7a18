//! Whatever the server or the network does, there is a clear error in time, and what was
//! recorded before stays.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simrecorder_core::{
    ArrayView, Change, Commit, Compression, DataStore, Error, ErrorKind, InMemoryDataStore, Key,
    OpenMode, Recorder, Result, copy, prelude::*, verify,
};
use simrecorder_redis::{RedisDataStore, RedisOptions, RedisServer};
use support::{server, server_options, server_with, signal};

fn quick() -> RedisOptions {
    RedisDataStore::options()
        .mode(OpenMode::OpenOrCreate)
        .timeout(Duration::from_millis(500))
        .retry_for(Duration::from_secs(2))
}

#[track_caller]
fn expect<T>(result: Result<T>, kind: ErrorKind, parts: &[&str]) -> Error {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "no '{part}': {error}");
    }
    error
}

fn view(store: &RedisDataStore, name: &str) -> Arc<dyn ArrayView> {
    store.view(&Key::new(name).unwrap()).unwrap().unwrap()
}

/// A program on a port that answers everything it is sent with `reply`.
fn answering(reply: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    if stream.write_all(reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://127.0.0.1:{port}")
}

#[test]
fn hosts_that_are_no_redis_servers_are_errors_in_time() {
    let replies: [&[u8]; 12] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n",
        b":1\r\n:2\r\n",
        b"$99999999999999\r\nabc",
        b"*99999999999\r\n:1\r\n",
        b"*2\r\n$6\r\nformat\r\n$1\r\n9\r\n",
        b"*1\r\n*1\r\n*1\r\n:1\r\n",
        b"$-7\r\n%-1\r\n=-1\r\n",
        b"-LOADING soon\r\n-LOADING soon\r\n",
        b"\xff\xfe\x00\r\n",
        b"*-1\r\n|1\r\n+a\r\n+b\r\n",
    ];
    for reply in replies {
        let url = answering(reply);
        for mode in [OpenMode::Read, OpenMode::OpenOrCreate] {
            let start = Instant::now();
            let opened = quick().mode(mode).open(&url);
            let error = opened.map(drop).unwrap_err();
            let shown = String::from_utf8_lossy(reply);
            assert!(start.elapsed() < Duration::from_secs(5), "{shown}: {error}");
            assert!(error.to_string().starts_with("open"), "{shown}: {error}");
        }
    }
    let start = Instant::now();
    expect(
        quick().open("redis://127.0.0.1:1"),
        ErrorKind::Io,
        &["127.0.0.1:1"],
    );
    // An address that nobody has, where packets vanish or are refused.
    expect(
        quick().open("redis://192.0.2.1"),
        ErrorKind::Io,
        &["192.0.2.1"],
    );
    expect(
        quick().open("redis://no-such-host.invalid"),
        ErrorKind::Io,
        &["no-such-host"],
    );
    expect(
        quick().open("redis+unix:/no/such/socket"),
        ErrorKind::Io,
        &["/no/such/socket"],
    );
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn users_without_the_right_password_or_rights_are_refused() {
    let server = server_with(|options| options.password("sesame"));
    let at = |user: &str| format!("redis://{user}127.0.0.1:{}", server.server.port());
    for user in ["", ":wrong@", "nobody:sesame@"] {
        expect(
            quick().open(&at(user)),
            ErrorKind::PermissionDenied,
            &["open", "127.0.0.1"],
        );
    }
    let redis = |arguments: &[&str]| server.cli(&[&["-a", "sesame"], arguments].concat());
    redis(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">r",
        "~*",
        "+@read",
        "+@connection",
        "+info",
    ]);
    redis(&[
        "ACL",
        "SETUSER",
        "writer",
        "on",
        ">w",
        "~simrecorder:*",
        "+@all",
        "-@admin",
    ]);
    expect(
        quick().open(&at("reader:r@")),
        ErrorKind::PermissionDenied,
        &["does not allow"],
    );
    let recorder = Recorder::new(quick().open(&at("writer:w@")).unwrap());
    recorder.record("n", 1_u64).unwrap();
    recorder.close().unwrap();
    let reader = quick().mode(OpenMode::Read).open(&at("reader:r@")).unwrap();
    assert_eq!(view(&reader, "n").read::<u64>().unwrap()[0], 1);
}

/// Newer servers let no stream go back behind what was deleted from it.
#[test]
fn series_are_cut_on_a_server_whose_streams_do_not_go_back() {
    let server = server();
    server.cli(&[
        "ACL", "SETUSER", "user", "on", ">u", "~*", "&*", "+@all", "-xsetid",
    ]);
    let url = format!("redis://user:u@127.0.0.1:{}", server.server.port());
    let store = quick().open(&url).unwrap();
    let recorder = Recorder::new(store.clone());
    // More frames than are moved at once.
    for record in 0..1500_u64 {
        recorder.record("v", record).unwrap();
        if record % 2 == 1 {
            recorder.flush().unwrap();
        }
    }
    recorder.close().unwrap();
    drop((recorder, store));
    let key = Key::new("v").unwrap();
    // Within a frame, between two, and all.
    for (records, goes_on) in [(1213, 3), (1214, 20), (0, 7)] {
        let store = quick().open(&url).unwrap();
        let cut = Change::Truncate {
            key: key.clone(),
            records,
        };
        store.commit(Commit::new(vec![cut])).unwrap();
        assert_eq!(view(&store, "v").len(), records);
        let recorder = Recorder::new(store.clone());
        (records..records + goes_on).for_each(|record| recorder.record("v", record).unwrap());
        recorder.flush().unwrap();
        let v = view(&store, "v");
        let found = v.read::<u64>().unwrap();
        assert!(found.iter().copied().eq(0..records + goes_on), "{records}");
        recorder.close().unwrap();
    }
}

#[test]
fn a_server_at_its_memory_limit_refuses_records_and_keeps_the_others() {
    let server = server_with(|options| options.setting("maxmemory", "16mb"));
    let store = quick().open(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    let mut flushed = 0;
    let error = loop {
        let record = |i: u64| recorder.record("v", vec![flushed + i; 1000]);
        if let Err(error) = (0..100)
            .try_for_each(record)
            .and_then(|()| recorder.flush())
        {
            break error;
        }
        flushed += 100;
        assert!(flushed < 10_000, "nothing is refused");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("memory limit"), "{error}");
    assert!(flushed > 500);
    let v = view(&store, "v");
    assert_eq!(v.len(), flushed);
    assert_eq!(
        v.get(flushed - 1).unwrap().array::<u64>().unwrap()[999],
        flushed - 1
    );
    // Who asks to free what is free already is not refused, and what is freed makes room.
    store.free(&Key::new("v").unwrap(), 0).unwrap();
    store.free(&Key::new("v").unwrap(), flushed).unwrap();
    drop(recorder);
    let recorder = Recorder::new(quick().open(server.url()).unwrap());
    recorder.record("v", vec![1_u64; 1000]).unwrap();
    recorder.close().unwrap();
}

#[test]
fn a_server_that_deletes_keys_to_make_room_is_not_written_to() {
    let server = server_with(|options| {
        options
            .setting("maxmemory", "1gb")
            .setting("maxmemory-policy", "allkeys-lru")
    });
    expect(
        quick().open(server.url()),
        ErrorKind::InvalidArgument,
        &["noeviction"],
    );
}

#[test]
fn a_server_whose_disk_is_full_refuses_records_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    // Files that may not grow beyond 2 MiB are as good as a full disk.
    let script = "#!/bin/bash\ntrap '' XFSZ\nulimit -f 2048\n\
                  exec setpriv --pdeathsig KILL redis-server \"$@\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let server = RedisServer::options().program(&program);
    let server = server.start(folder.path().join("data")).unwrap();
    let store = quick().open(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    let mut flushed = 0;
    let error = loop {
        let record = |i: u64| recorder.record("v", vec![flushed + i; 1000]);
        if let Err(error) = (0..20).try_for_each(record).and_then(|()| recorder.flush()) {
            break error;
        }
        flushed += 20;
        assert!(flushed < 10_000, "nothing is refused");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("disk"), "{error}");
    assert!(view(&store, "v").len() >= flushed);
    drop(recorder);
    signal(server.process_id(), "KILL");
}

#[test]
fn a_server_that_stands_still_is_waited_for_until_the_limit() {
    let server = server();
    let store = quick()
        .retry_for(Duration::from_secs(20))
        .open(server.url())
        .unwrap();
    let recorder = Recorder::new(store.clone());
    for round in 0..3_u64 {
        recorder.record("n", round).unwrap();
        recorder.flush().unwrap();
        signal(server.server.process_id(), "STOP");
        let process = server.server.process_id();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1700));
            signal(process, "CONT");
        });
        // Several attempts lie in the queues of the server when it goes on.
        (0..1000_u64).for_each(|i| recorder.record("m", round * 1000 + i).unwrap());
        recorder.flush().unwrap();
        waker.join().unwrap();
    }
    let m = view(&store, "m").read::<u64>().unwrap();
    assert!(m.iter().copied().eq(0..3000), "{} records", m.len());
    assert_eq!(view(&store, "n").len(), 3);
    // What was sent once more stays as long as what was sent once.
    let expiring = "local n = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                    if redis.call('TTL', key) ~= -1 then n = n + 1 end end return n";
    assert_eq!(server.cli(&["EVAL", expiring, "0"]), "0");

    let impatient = Recorder::new(quick().open(server.url()).unwrap());
    impatient.record("other", 1).unwrap();
    impatient.flush().unwrap();
    signal(server.server.process_id(), "STOP");
    let start = Instant::now();
    impatient.record("other", 2).unwrap();
    expect(
        impatient.flush(),
        ErrorKind::Io,
        &["retry_for", "127.0.0.1"],
    );
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    assert!(start.elapsed() > Duration::from_millis(900));
    signal(server.server.process_id(), "CONT");
    drop(impatient);
    recorder.close().unwrap();
}

#[test]
fn a_server_that_keeps_nothing_is_an_error_for_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    let options = || server_options().setting("appendonly", "no");
    let server = options().start(folder.path()).unwrap();
    let port = server.port();
    let recorder = Recorder::new(quick().open(server.url()).unwrap());
    recorder.record("n", 1).unwrap();
    recorder.flush().unwrap();
    signal(server.process_id(), "KILL");
    drop(server);
    let server = options().port(port).start(folder.path()).unwrap();
    recorder.record("n", 2).unwrap();
    expect(recorder.flush(), ErrorKind::NotFound, &["default"]);
    // The same, while another recording of the name is there.
    let other = Recorder::new(quick().open(server.url()).unwrap());
    other.record("n", 3).unwrap();
    other.close().unwrap();
    assert!(recorder.close().is_err());
}

#[test]
fn keys_of_other_programs_and_newer_versions_are_named() {
    let server = server();
    let root = |run: &str| format!("simrecorder:{{{run}}}:root");
    let open = |run: &str, mode| quick().run(run).mode(mode).open(server.url());
    server.cli(&["SET", &root("text"), "x"]);
    for mode in [OpenMode::Read, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        expect(open("text", mode), ErrorKind::Corrupt, &["another program"]);
    }
    let fields = [
        "format",
        "1",
        "requires",
        "",
        "generation",
        "g",
        "encoding",
        "arrow",
    ];
    let whole = [&fields[..], &["compression", "none"]].concat();
    for (run, field, value, kind) in [
        ("newer", "format", "2", ErrorKind::Unsupported),
        ("feature", "requires", "wings", ErrorKind::Unsupported),
        ("encoding", "encoding", "pickle", ErrorKind::Unsupported),
        (
            "compression",
            "compression",
            "magic",
            ErrorKind::InvalidArgument,
        ),
    ] {
        server.cli(&[&["HSET", &root(run)], &whole[..], &[field, value]].concat());
        for mode in [OpenMode::Read, OpenMode::OpenOrCreate] {
            expect(open(run, mode), kind, &[run, value]);
        }
    }
    server.cli(&[&["HSET", &root("short")], &fields[..]].concat());
    expect(
        open("short", OpenMode::Read),
        ErrorKind::Corrupt,
        &["compression"],
    );
}

/// The key on the server whose name ends with `end`.
fn key_of(server: &support::TestServer, end: &str) -> String {
    let keys = server.cli(&["KEYS", &format!("*{end}")]);
    keys.lines().next().unwrap().to_owned()
}

#[test]
fn damage_is_an_error_for_what_it_touches_and_for_nothing_else() {
    for (end, damage) in [
        ("-0", &["SET", "KEY", "garbage"][..]),
        ("-0", &["DEL", "KEY"]),
        ("-0", &["APPEND", "KEY", "more"]),
        ("-0", &["SETRANGE", "KEY", "9", "xxxxxxxxxxxx"]),
        (":state", &["HSET", "KEY", "end", "-5"]),
        (":state", &["HSET", "KEY", "end", "many"]),
        (":state", &["HSET", "KEY", "end", "18446744073709551615"]),
        (":state", &["HDEL", "KEY", "cuts"]),
        (":index", &["DEL", "KEY"]),
        (":index", &["XADD", "KEY", "9999-1", "n", "x"]),
        (":nodes", &["HSET", "KEY", "n", "{}"]),
        (":nodes", &["HSET", "KEY", "n", "no json"]),
        (
            ":nodes",
            &[
                "HSET",
                "KEY",
                "n",
                r#"{"node":"series","kind":"array","dtype":"float64","shape":[99999999999,99999999999,99999]}"#,
            ],
        ),
        (":state", &["SET", "KEY", "x"]),
        (":index", &["SET", "KEY", "x"]),
        (":nodes", &["SET", "KEY", "x"]),
    ] {
        let server = server();
        let store = quick().open(server.url()).unwrap();
        let recorder = Recorder::new(store.clone());
        (0..100_u64).for_each(|i| recorder.record("n", i).unwrap());
        recorder.flush().unwrap();
        let key = key_of(&server, end);
        let damage: Vec<&str> = damage
            .iter()
            .map(|it| if *it == "KEY" { &*key } else { it })
            .collect();
        if damage[0] == "SET" {
            server.cli(&["DEL", &key]);
        }
        server.cli(&damage);
        let reader = quick().mode(OpenMode::Read).open(server.url()).unwrap();
        let name = Key::new("n").unwrap();
        let read = || {
            let view = reader.view(&name)?;
            let view = view.ok_or_else(|| Error::new(ErrorKind::NotFound, "read", "n"))?;
            if view.len() > 1000 {
                return view.get(view.len() - 1).map(drop);
            }
            view.read::<u64>().map(drop)
        };
        let error = read().map(drop);
        // An entry behind the last record does no harm; all else is noticed.
        let harmless = damage.contains(&"9999-1");
        assert_eq!(error.is_ok(), harmless, "{damage:?}");
        if let Err(error) = error {
            let kinds = [
                ErrorKind::Corrupt,
                ErrorKind::NotFound,
                ErrorKind::Unsupported,
            ];
            assert!(kinds.contains(&error.kind()), "{damage:?}: {error}");
            assert!(
                error.to_string().contains("read") || error.key().is_some(),
                "{error}"
            );
        }
        match verify(&reader) {
            Ok(report) => assert_eq!(report.is_sound(), harmless, "{damage:?}: {report}"),
            Err(error) => assert!(!harmless, "{damage:?}: {error}"),
        }
        drop(reader.node(&name));
        drop(reader.value(&name));
        drop(reader.children(&Key::ROOT));
        // A writer is refused, or goes on; it does not hang.
        recorder.record("n", 100_u64).unwrap();
        drop(recorder.flush());
        drop(recorder);
        let other = quick().run("other").open(server.url()).unwrap();
        let recorder = Recorder::new(other);
        recorder.record("n", 1).unwrap();
        recorder.close().unwrap();
    }
}

/// What stands about a series may claim that a record is larger than any memory.
#[test]
fn records_that_claim_to_be_huge_are_errors_whoever_reads_them() {
    let server = server();
    for compression in [Compression::None, Compression::Fast, Compression::Small] {
        for shape in [1_u64 << 40, 1 << 48] {
            let run = format!("{compression}-{shape}");
            let options = || quick().run(&run).compression(compression);
            let recorder = Recorder::new(options().open(server.url()).unwrap());
            (0..100).for_each(|i| recorder.record("n", [i as u8]).unwrap());
            recorder.close().unwrap();
            let nodes = key_of(&server, ":nodes");
            let document = server.cli(&["HGET", &nodes, "n"]);
            let document = document
                .replace("\"shape\":[1]", &format!("\"shape\":[{shape}]"))
                .replace(",1]", &format!(",{shape}]"));
            assert!(
                document.matches(&shape.to_string()).count() > 1,
                "{document}"
            );
            server.cli(&["HSET", &nodes, "n", &document]);

            let reader = options().mode(OpenMode::Read).open(server.url()).unwrap();
            let view = view(&reader, "n");
            let kinds = [ErrorKind::TooLarge, ErrorKind::Corrupt];
            let target = InMemoryDataStore::new();
            for (what, done) in [
                ("get", view.get(3).map(drop)),
                ("iter", view.iter().try_for_each(|it| it.map(drop))),
                ("read", view.read::<u8>().map(drop)),
                ("copy", copy(&reader, &target, Default::default()).map(drop)),
            ] {
                let error = done.unwrap_err();
                assert!(kinds.contains(&error.kind()), "{what} {run}: {error}");
                assert_eq!(error.key(), Some("n"), "{what} {run}: {error}");
            }
            assert!(!verify(&reader).unwrap().is_sound(), "{run}");
            drop(view);
            server.cli(&["FLUSHALL"]);
        }
    }
}
