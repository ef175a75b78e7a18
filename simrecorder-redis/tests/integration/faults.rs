//! Whatever the server or the network does, there is a clear error in time, and earlier records
//! remain.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use simrecorder_core::{
    ArrayView, Change, Commit, DataStore, DrainOptions, ErrorKind, InMemoryDataStore, Key,
    OpenMode, Recorder, Result, drain, prelude::*,
};
use simrecorder_redis::{RedisServer, RedisSync, RedisWriterState};
use support::{expect, quick, server, server_options, server_with, signal, view};

/// A program on a port that replies `reply` to everything.
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
fn hosts_that_are_not_redis_servers_are_errors_in_time() {
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
    // An unused address, where packets are lost or rejected.
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
        &["does not let this user"],
    );
    let recorder = Recorder::new(quick().open(&at("writer:w@")).unwrap());
    recorder.record("n", 1_u64).unwrap();
    recorder.close().unwrap();
    let reader = quick().mode(OpenMode::Read).open(&at("reader:r@")).unwrap();
    assert_eq!(view(&reader, "n").read::<u64>().unwrap()[0], 1);
    assert_eq!(reader.info().unwrap().is_abandoned(), Some(false));
    // A user without permission to list connections does not learn whether a writer is connected.
    let _writer = quick().open(&at("writer:w@")).unwrap();
    let info = reader.info().unwrap();
    assert_eq!(
        (info.is_being_written, info.lost_writers, info.revision),
        (None, None, None)
    );
    let writers = reader.writers().unwrap();
    let closed = writers
        .iter()
        .find(|it| it.state == Some(RedisWriterState::Closed));
    assert!(writers.len() == 2 && closed.is_some());
}

/// On newer servers, the last id of a stream cannot go below ids that were deleted.
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
    // Within a frame, between two frames, and all frames.
    for (records, goes_on) in [(1213, 3), (1214, 20), (0, 7)] {
        let store = quick().open(&url).unwrap();
        let cut = Change::Truncate {
            key: key.clone(),
            len: records,
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
    // Freeing what is already free succeeds, and freeing makes room.
    store.free(&[(Key::new("v").unwrap(), 0)]).unwrap();
    store.free(&[(Key::new("v").unwrap(), flushed)]).unwrap();
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
    // A file size limit of 2 MiB has the effect of a full disk.
    let script = "#!/bin/bash\ntrap '' XFSZ\nulimit -f 2048\n\
                  exec setpriv --pdeathsig KILL redis-server \"$@\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    for sync in [RedisSync::EverySecond, RedisSync::Always] {
        let data = folder.path().join(format!("{sync:?}"));
        let options = RedisServer::options().sync(sync).program(&program);
        let server = options.start(&data).unwrap();
        let port = server.port();
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
        // A server that always syncs exits when it cannot.
        if sync == RedisSync::EverySecond {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            assert!(error.to_string().contains("disk"), "{error}");
            assert!(view(&store, "v").len() >= flushed);
            signal(server.process_id(), "KILL");
        } else {
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        }
        drop(server);
        // With room again, its writer sends the commits that the server has not written.
        let _server = server_options().port(port).start(&data).unwrap();
        drop(recorder);
        store.close().unwrap();
        let v = view(&store, "v").read::<u64>().unwrap();
        assert!(
            v.shape()[0] as u64 >= flushed,
            "{} of {flushed}",
            v.shape()[0]
        );
        let rows = v.rows().into_iter().zip(0..);
        rows.for_each(|(row, i)| assert!(row.iter().all(|&it| it == i), "record {i}"));
    }
}

#[test]
fn writers_wait_for_a_hanging_server_until_the_limit() {
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
        // Several attempts are in the queues of the server when it continues.
        (0..1000_u64).for_each(|i| recorder.record("m", round * 1000 + i).unwrap());
        recorder.flush().unwrap();
        waker.join().unwrap();
    }
    let m = view(&store, "m").read::<u64>().unwrap();
    assert!(m.iter().copied().eq(0..3000), "{} records", m.len());
    assert_eq!(view(&store, "n").len(), 3);
    // Commits that were sent twice last as long as those that were sent once.
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
fn reading_following_and_draining_end_when_a_server_hangs() {
    let server = server();
    let store = quick().open(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 1_u64).unwrap();
    recorder.flush().unwrap();
    let n = view(&store, "n");
    let target = InMemoryDataStore::new();
    let works: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("read", &|| n.read::<u64>().map(drop)),
        ("node", &|| store.node(&Key::new("n").unwrap()).map(drop)),
        ("follow", &|| n.follow(Duration::from_secs(1)).map(drop)),
        ("drain", &|| {
            drain(&store, &target, DrainOptions::new()).map(drop)
        }),
    ];
    for (what, work) in works {
        signal(server.server.process_id(), "STOP");
        let start = Instant::now();
        let error = expect(work(), ErrorKind::Io, &["127.0.0.1", "retry_for"]);
        let elapsed = start.elapsed();
        signal(server.server.process_id(), "CONT");
        assert!(
            elapsed < Duration::from_secs(8),
            "{what} {elapsed:?} {error}"
        );
        work().unwrap();
    }
    recorder.close().unwrap();
}

#[test]
fn servers_that_refuse_to_write_say_what_to_do() {
    let server = server();
    let store = quick().open(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 1_u64).unwrap();
    recorder.flush().unwrap();
    for (begin, end, part) in [
        (
            &["REPLICAOF", "127.0.0.1", "1"][..],
            &["REPLICAOF", "NO", "ONE"][..],
            "replica and accepts no records; connect to its primary",
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "min-replicas-to-write",
        ),
    ] {
        assert_eq!(server.cli(begin), "OK");
        expect(
            quick().run("other").open(server.url()),
            ErrorKind::Io,
            &[part],
        );
        let other = quick().open(server.url()).map(drop);
        expect(other, ErrorKind::Io, &[part]);
        let free = store.free(&[(Key::new("n").unwrap(), 1)]);
        expect(free, ErrorKind::Io, &[part, "retry_for"]);
        assert_eq!(view(&store, "n").read::<u64>().unwrap()[0], 1);
        // A writer waits until it is over.
        recorder.record("n", 2_u64).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(500));
                server.cli(end);
            });
            recorder.flush().unwrap();
        });
    }
    recorder.close().unwrap();
    assert_eq!(view(&store, "n").len(), 3);
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
    // The same while another recording of this name exists.
    let other = Recorder::new(quick().open(server.url()).unwrap());
    other.record("n", 3).unwrap();
    other.close().unwrap();
    assert!(recorder.close().is_err());
}
