//! Recordings are moved off a server while they grow, and readers wait for new records.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use crate::support;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::json;
use simrecorder_core::ndarray::s;
use simrecorder_core::{
    ArrayView, Attributes, DataStore, DrainOptions, ErrorKind, InMemoryDataStore, Key, OpenMode,
    Recorder, Schema, View, copy, drain, prelude::*,
};
use simrecorder_redis::{RedisDataStore, RedisSync};
use support::{new_run, role, server, server_with, shared_url, signal, this_test};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn view(store: &dyn DataStore, name: &str) -> View {
    store.view(&key(name)).unwrap().unwrap()
}

fn check_numbers(view: &dyn ArrayView, expected: std::ops::Range<u64>) {
    let found = view.read::<u64>().unwrap();
    assert_eq!(view.len(), expected.end - expected.start);
    assert!(found.iter().copied().eq(expected));
}

#[test]
fn records_are_moved_while_they_are_recorded() {
    let store = RedisDataStore::connect(&new_run()).unwrap();
    let memory = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    recorder.set("seed", 42_u64).unwrap();
    recorder
        .declare("net/n", Schema::scalar::<u64>().with_units("mV"))
        .unwrap();
    let attributes = Attributes::from_iter([("title".to_owned(), json!("a network"))]);
    recorder.set_attributes("net", attributes).unwrap();
    for round in 0..5_u64 {
        for i in round * 40_000..(round + 1) * 40_000 {
            recorder.record("net/n", i).unwrap();
            if i % 100 == 0 {
                recorder.record("log", format!("step {i}")).unwrap();
                recorder
                    .record("net/rows", Ragged(vec![i; (i / 100 % 4) as usize]))
                    .unwrap();
            }
        }
        recorder.flush().unwrap();
        let mut lines = Vec::new();
        let options = DrainOptions::new().on_progress(|progress| {
            lines.push(progress.to_string());
            ControlFlow::Continue(())
        });
        let moved = drain(&store, &memory, options).unwrap();
        assert_eq!((moved.key_count, moved.record_count), (4, 40_800));
        assert!(lines[0].contains("records"), "{lines:?}");

        // The source begins where the target ends.
        let left = view(&store, "net/n");
        assert_eq!((left.first_record(), left.len()), ((round + 1) * 40_000, 0));
        check_numbers(&*view(&memory, "net/n"), 0..(round + 1) * 40_000);
    }
    recorder.close().unwrap();
    let memory = Recorder::new(memory.open(OpenMode::Read).unwrap());
    assert_eq!(memory.get_as::<u64>("seed").unwrap(), Some(42));
    let log = memory.get_all("log").unwrap().read_text().unwrap();
    assert!((0..2000).all(|i| log[i] == format!("step {}", i * 100)));
    let rows = memory.get_all("net/rows").unwrap();
    let rows = rows.read_ragged::<u64>().unwrap();
    assert!((0..2000).all(|i| rows.row(i).unwrap().len() == i % 4));
    let n = memory.get_all("net/n").unwrap();
    assert_eq!(n.attributes()["units"], "mV");
    let group = memory.attributes("net").unwrap().unwrap();
    assert_eq!(group["title"], "a network");
}

#[test]
fn freed_records_give_their_memory_back_and_the_rest_stays() {
    let server = server();
    let url = format!("{}?run=a", server.url());
    let store = RedisDataStore::connect(&url).unwrap();
    let recorder = Recorder::new(store.clone());
    for i in 0..200_000_u64 {
        recorder.record("n", i).unwrap();
    }
    recorder.flush().unwrap();
    let memory = || -> u64 {
        let info = server.cli(&["INFO", "memory"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse().unwrap()
    };
    let (before, old) = (memory(), view(&store, "n"));
    // In the middle of a frame: its other records stay readable.
    store.free(&[(key("n"), 150_001)]).unwrap();
    let left = view(&store, "n");
    assert_eq!(left.first_record(), 150_001);
    check_numbers(&*left, 150_001..200_000);
    assert_eq!(left.get(3).unwrap().scalar::<u64>().unwrap(), 150_004);
    let part = left.select(s![10..;1000]).unwrap();
    assert_eq!(part.first_record(), 150_011);
    assert_eq!(part.read::<u64>().unwrap()[1], 151_011);
    assert!(memory() + 1_000_000 < before, "{} of {before}", memory());
    let error = old.read::<u64>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    check_numbers(&*old.select(150_001..).unwrap(), 150_001..200_000);
    check_numbers(&*old.refresh().unwrap(), 150_001..200_000);
    // A selection has the same records as before.
    let selected = old.select(160_000..170_000).unwrap().refresh().unwrap();
    check_numbers(&*selected, 160_000..170_000);
    let freed = old.select(..10).unwrap().refresh().unwrap_err();
    assert_eq!(freed.kind(), ErrorKind::OutOfBounds);

    // Recording continues, even in another recorder.
    recorder.record("n", 200_000_u64).unwrap();
    recorder.close().unwrap();
    let recorder = Recorder::new(RedisDataStore::append(&url).unwrap());
    recorder.record("n", 200_001_u64).unwrap();
    check_numbers(&*recorder.get_all("n").unwrap(), 150_001..200_002);
    recorder.close().unwrap();
    // A copy takes the remaining records; a drain refuses to leave a gap.
    let to = InMemoryDataStore::new();
    let store = RedisDataStore::append(&url).unwrap();
    copy(&store, &to, Default::default()).unwrap();
    check_numbers(&*view(&to, "n"), 150_001..200_002);
    let error = drain(&store, &InMemoryDataStore::new(), DrainOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    // Free everything, and more than exists.
    store.free(&[(key("n"), u64::MAX >> 12)]).unwrap();
    assert_eq!(view(&store, "n").first_record(), 200_002);
    let error = store.free(&[(key("nothing"), 1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let reader = RedisDataStore::open(&url).unwrap();
    let error = reader.free(&[(key("n"), 1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn what_cannot_be_drained_is_refused_before_anything_is_written() {
    let (memory, other) = (InMemoryDataStore::new(), InMemoryDataStore::new());
    let recorder = Recorder::new(memory.clone());
    recorder.record("n", 1_u64).unwrap();
    recorder.close().unwrap();
    let memory = memory.open(OpenMode::Append).unwrap();
    let error = drain(&memory, &other, DrainOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(other.children(&Key::ROOT).unwrap().is_empty());

    let store = RedisDataStore::connect(&new_run()).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 1.0).unwrap();
    recorder.flush().unwrap();
    let error = drain(&store, &memory, DrainOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
    // A key that is a group cannot be drained into a target in which it is a series.
    let groups = RedisDataStore::connect(&new_run()).unwrap();
    let recorder = Recorder::new(groups.clone());
    recorder.set_attributes("n", Attributes::new()).unwrap();
    recorder.flush().unwrap();
    let error = drain(&groups, &memory, DrainOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KindMismatch, "{error}");
    let read_only = other.open(OpenMode::Read).unwrap();
    let error = drain(&store, &read_only, DrainOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    let options = DrainOptions::new().only(key("nothing"));
    let error = drain(&store, &other, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let options = DrainOptions::new().on_progress(|_| ControlFlow::Break(()));
    let error = drain(&store, &other, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(view(&other, "n").len(), 1);
    recorder.close().unwrap();
}

/// A drain that was killed after the target had committed, and before the source was told.
#[test]
fn what_the_target_has_already_is_freed_only_where_it_is_the_same() {
    let record = |store: RedisDataStore, number: f64, text: &str| {
        let recorder = Recorder::new(store);
        for i in 0..3000_u64 {
            let last = i == 2900;
            let rate = i as f64 * 0.1 + if last { number } else { 0.0 };
            recorder.record("rate", rate).unwrap();
            let line = if last { text } else { "as before" };
            recorder.record("log", line).unwrap();
            recorder
                .record("rows", Ragged(vec![i as f32 * 0.1; (i % 4) as usize]))
                .unwrap();
        }
        recorder.close().unwrap();
    };
    let lossy = |options: simrecorder_redis::RedisOptions| {
        options.compression(simrecorder_core::Compression::lossy(0.2).unwrap())
    };
    for (number, text, same) in [
        (0.0, "as before", true),
        (50.0, "as before", false),
        (0.0, "something", false),
    ] {
        let (from, to) = (new_run(), new_run());
        record(RedisDataStore::connect(&from).unwrap(), 0.0, "as before");
        // A target that rounds, as the schema of the records requires.
        let options = lossy(RedisDataStore::options().mode(OpenMode::CreateNew));
        record(options.open(&to).unwrap(), number, text);
        let from = RedisDataStore::append(&from).unwrap();
        let to = RedisDataStore::append(&to).unwrap();
        let drained = drain(&from, &to, DrainOptions::new());
        let left: Vec<u64> = ["log", "rate", "rows"]
            .map(|name| view(&from, name).len())
            .into();
        if same {
            assert_eq!(drained.unwrap().record_count, 0);
            assert_eq!(left, [0, 0, 0]);
            continue;
        }
        let error = drained.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
        let key = if number == 0.0 { "log" } else { "rate" };
        assert_eq!(error.key(), Some(key));
        assert!(error.to_string().contains("another recording"), "{error}");
        assert_eq!(view(&from, key).len(), 3000);
        assert_eq!(view(&to, key).len(), 3000);
    }
}

#[test]
fn a_drain_moves_what_its_patterns_select_and_the_next_one_may_have_others() {
    let store = RedisDataStore::connect(&new_run()).unwrap();
    let file = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    let drained = |options: DrainOptions<'_>| drain(&store, &file, options);
    let early = drained(DrainOptions::new().include("net/**"));
    assert_eq!(early.unwrap_err().kind(), ErrorKind::NotFound);
    let record = |numbers: std::ops::Range<u64>| {
        for i in numbers {
            for key in ["net/e/rate", "net/e/spikes", "log"] {
                recorder.record(key, i).unwrap();
            }
        }
        recorder.flush().unwrap();
    };
    record(0..100);
    let bad = drained(DrainOptions::new().exclude("net/[a"));
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let rates = || DrainOptions::new().include("net/**").exclude("**/spikes");
    assert_eq!(drained(rates()).unwrap().record_count, 100);
    let left = |name| view(&store, name).len();
    assert_eq!(
        ["net/e/rate", "net/e/spikes", "log"].map(left),
        [0, 100, 100]
    );
    assert!(file.node(&key("log")).unwrap().is_none());

    record(100..150);
    let spikes = DrainOptions::new().include("net/*/spikes");
    assert_eq!(drained(spikes).unwrap().record_count, 150);
    assert_eq!(drained(rates()).unwrap().record_count, 50);
    assert_eq!(drained(DrainOptions::new()).unwrap().record_count, 150);
    for name in ["net/e/rate", "net/e/spikes", "log"] {
        check_numbers(&*view(&file, name), 0..150);
    }
    recorder.close().unwrap();
}

/// Drains one recording into another one on the same server, and prints when it has finished.
fn drain_in_a_process(name: &str) {
    let store = |run| RedisDataStore::connect(&format!("{name}&run={run}")).unwrap();
    let (from, to) = (store("from"), store("to"));
    let options = DrainOptions::new().on_progress(|_| {
        println!("committed");
        ControlFlow::Continue(())
    });
    drain(&from, &to, options).unwrap();
    println!("drained");
}

#[test]
fn a_killed_drain_continues_where_it_stopped() {
    if let Some(url) = role() {
        return drain_in_a_process(&url);
    }
    const RECORDS: u64 = 40_000;
    // It syncs before it acknowledges, so no drain has to wait for a sync.
    let server = server_with(|options| options.sync(RedisSync::Always));
    let url = format!("{}?cluster=false", server.url());
    let store = |run| RedisDataStore::connect(&format!("{url}&run={run}")).unwrap();
    let recorder = Recorder::new(store("from"));
    for i in 0..RECORDS {
        recorder.record("v", [i; 200]).unwrap();
        recorder.record("n", i).unwrap();
    }
    recorder.flush().unwrap();
    let test = "a_killed_drain_continues_where_it_stopped";
    let (mut kills, mut moved_at_kills) = (0, Vec::new());
    loop {
        let mut child = this_test(test, &url)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Later each time, so that even a slow machine makes progress.
        std::thread::sleep(Duration::from_millis(30 + 10 * kills));
        if child.try_wait().unwrap().is_none() {
            signal(child.id(), "KILL");
        }
        let output = child.wait_with_output().unwrap();
        kills += 1;
        let v = view(&store("from"), "v");
        moved_at_kills.push(v.first_record());
        if String::from_utf8_lossy(&output.stdout).contains("drained") {
            break;
        }
    }
    let halfway = |&&moved: &&u64| moved > 0 && moved < RECORDS;
    assert!(
        moved_at_kills.iter().filter(halfway).count() > 0,
        "{moved_at_kills:?}"
    );
    recorder.close().unwrap();
    let to = store("to");
    check_numbers(&*view(&to, "n"), 0..RECORDS);
    let v = view(&to, "v").read::<u64>().unwrap();
    assert!(
        v.rows()
            .into_iter()
            .zip(0..)
            .all(|(row, i)| row[0] == i && row[199] == i)
    );
    assert_eq!(v.shape(), [RECORDS as usize, 200]);
    assert!(view(&store("from"), "v").is_empty());
}

#[test]
fn following_waits_for_records_without_asking_again() {
    let server = server();
    let store = RedisDataStore::connect(server.url()).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.declare("n", Schema::scalar::<u64>()).unwrap();
    recorder.flush().unwrap();
    let empty = view(&store, "n");
    // There are no new records.
    let start = Instant::now();
    let still = empty.follow(Duration::from_millis(400)).unwrap();
    assert!(still.is_empty());
    assert!(start.elapsed() >= Duration::from_millis(400));

    let writer = std::thread::spawn(move || {
        for i in 0..20_u64 {
            std::thread::sleep(Duration::from_millis(50));
            recorder.record("n", i).unwrap();
            recorder.flush().unwrap();
        }
        recorder.close().unwrap();
    });
    let mut followed = still;
    let mut turns = 0;
    while followed.len() < 20 {
        let len = followed.len();
        followed = followed.follow(Duration::from_secs(60)).unwrap();
        assert!(followed.len() > len, "it came back with nothing");
        turns += 1;
    }
    writer.join().unwrap();
    check_numbers(&*followed, 0..20);
    let statistics = server.cli(&["INFO", "commandstats"]);
    let calls = statistics.split("cmdstat_xread:calls=").nth(1).unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert!(calls <= turns + 1, "{calls} questions for {turns} answers");
    let selected = followed.select(..3).unwrap().follow(Duration::ZERO);
    assert_eq!(selected.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(shared_url().starts_with("redis://"));
}
