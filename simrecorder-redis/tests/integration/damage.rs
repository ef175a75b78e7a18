//! Invalid data on a server causes errors only for operations that read it.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use simrecorder_core::{
    Change, Commit, Compression, DataStore, Error, ErrorKind, InMemoryDataStore, Key, OpenMode,
    Recorder, Value, copy, prelude::*, verify,
};
use simrecorder_redis::RedisDataStore;
use simrecorder_testkit::recovery::check_recovery;
use support::{expect, quick, server, view};

#[test]
fn keys_of_other_programs_and_newer_versions_are_named() {
    let server = server();
    let root = |run: &str| format!("simrecorder:{{{run}}}:root");
    let open = |run: &str, mode| quick().run(run).mode(mode).open(server.url());
    server.cli(&["SET", &root("text"), "x"]);
    for mode in [OpenMode::Read, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        expect(open("text", mode), ErrorKind::Corrupt, &["another program"]);
    }
    // A hash that is not a root is neither replaced nor deleted.
    server.cli(&["HSET", &root("hash"), "theirs", "kept", "generation", "7"]);
    for mode in [OpenMode::Read, OpenMode::OpenOrCreate, OpenMode::Truncate] {
        expect(open("hash", mode), ErrorKind::Corrupt, &["another program"]);
    }
    for run in ["hash", "text"] {
        let url = format!("{}?run={run}", server.url());
        let deleted = RedisDataStore::delete(&url);
        expect(deleted, ErrorKind::Corrupt, &["another program"]);
    }
    assert!(server.cli(&["HGETALL", &root("hash")]).contains("kept"));
    assert_eq!(server.cli(&["GET", &root("text")]).trim(), "x");
    assert_eq!(server.cli(&["DBSIZE"]).trim(), "2");
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
fn damage_is_an_error_only_for_the_data_it_touches() {
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
        // An entry after the last record is harmless; everything else is noticed.
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
        // A root that cannot be listed, and a wrong length in the state of the series, cannot be
        // recovered.
        if reader.children(&Key::ROOT).is_ok() && !damage.contains(&"end") {
            let recovery = check_recovery(&reader, &[("n", 100)], |_, i| Value::new(i).unwrap());
            assert_eq!(recovery.is_whole(), harmless, "{damage:?}: {recovery}");
        }
        drop(reader.node(&name));
        drop(reader.value(&name));
        drop(reader.children(&Key::ROOT));
        // A writer either fails or continues; it does not hang.
        recorder.record("n", 100_u64).unwrap();
        drop(recorder.flush());
        drop(recorder);
        let other = quick().run("other").open(server.url()).unwrap();
        let recorder = Recorder::new(other);
        recorder.record("n", 1).unwrap();
        recorder.close().unwrap();
    }
}

/// The metadata of a series may claim that a record is larger than any memory.
#[test]
fn records_that_claim_to_be_huge_are_errors_for_every_reader() {
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

#[test]
fn an_unreadable_key_shows_its_error_in_the_tree_and_hides_no_other() {
    let server = server();
    let recorder = Recorder::new(quick().open(server.url()).unwrap());
    recorder.set("a", 1).unwrap();
    recorder.record("n", 2).unwrap();
    recorder.record("z", 3).unwrap();
    recorder.close().unwrap();
    server.cli(&["HSET", &key_of(&server, ":nodes"), "n", "no json"]);
    let reader = quick().mode(OpenMode::Read).open(server.url()).unwrap();
    let printed = reader.tree().to_string();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    assert!(lines[1].ends_with("1"), "{printed}");
    assert!(lines[2].contains("cannot be read: "), "{printed}");
    assert!(lines[3].contains("int32"), "{printed}");
}

#[test]
fn damaged_claims_are_errors_of_what_is_committed_to_their_group() {
    for damage in [&["HSET", "KEY", "net", "mine"][..], &["SET", "KEY", "x"]] {
        let server = server();
        let store = quick().open(server.url()).unwrap();
        let claim = |group: &str| {
            let group = Key::new_or_root(group).unwrap();
            store.commit(Commit::new(vec![Change::Claim { group }]))
        };
        claim("net").unwrap();
        let claims = key_of(&server, ":claims");
        let is_text = damage[0] == "SET";
        server.cli(&["DEL", &claims]);
        let damage = damage
            .iter()
            .map(|it| if *it == "KEY" { &*claims } else { it });
        server.cli(&damage.collect::<Vec<_>>());
        let error = claim("net").unwrap_err();
        if !is_text {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("'net'"), "{error}");
        }
        assert_eq!(claim("other").is_err(), is_text);
        let recorder = Recorder::new(store.clone());
        recorder.record("elsewhere/n", 1_u64).unwrap();
        assert_eq!(recorder.flush().is_err(), is_text);
    }
}
