//! Many processes write to one recording while its server is repeatedly killed: each record is
//! there once, and in the order of its writer.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use crate::support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use simrecorder_core::{
    DataStore, DrainOptions, ErrorKind, InMemoryDataStore, Key, OpenMode, Recorder,
    RecorderOptions, drain, prelude::*,
};
use simrecorder_redis::{RedisDataStore, RedisServer, RedisSync, RedisWriterState};
use simrecorder_testkit::steps::kills;
use support::{role, server, server_options, signal, this_test};

const WRITERS: u64 = 8;

/// Records until the standard input ends, and prints the number of records and the id of the
/// writer.
fn write_until_told(url: &str) {
    let store = RedisDataStore::options()
        .mode(simrecorder_core::OpenMode::OpenOrCreate)
        .timeout(Duration::from_secs(2))
        .open(url)
        .unwrap();
    let id = store.writer_id();
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(20));
    let recorder = Recorder::with_options(store, options);
    let stop = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut count = 0_u64;
    println!("ready");
    while !stop.is_finished() {
        for _ in 0..40 {
            recorder.record("shared/n", [id, count]).unwrap();
            recorder
                .record("shared/text", format!("{id:x} {count}"))
                .unwrap();
            recorder.record(format!("own/{id:x}"), count).unwrap();
            count += 1;
        }
        if count.is_multiple_of(400) {
            recorder.flush().unwrap();
        }
        sleep(Duration::from_millis(2));
    }
    recorder.close().unwrap();
    println!("recorded {id} {count}");
}

pub(crate) struct Writer(Child, BufReader<ChildStdout>);

impl Writer {
    pub(crate) fn start(test: &str, url: &str) -> Self {
        let mut child = this_test(test, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let lines = output.by_ref().lines();
        assert!(
            lines
                .map_while(Result::ok)
                .any(|line| line.contains("ready"))
        );
        Self(child, output)
    }

    /// Lets it end. Returns the id of the writer and the number of its records.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        drop(self.0.stdin.take());
        let mut output = String::new();
        self.1.read_to_string(&mut output).unwrap();
        assert!(self.0.wait().unwrap().success(), "{output}");
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("recorded "));
        let (id, count) = line.unwrap().split_once(' ').unwrap();
        (id.parse().unwrap(), count.parse().unwrap())
    }
}

/// Checks that each series contains each record of each writer once, in order.
fn check(url: &str, written: &HashMap<u64, u64>) {
    let store = RedisDataStore::open(url).unwrap();
    check_series(&store, written);
    let known: Vec<u64> = store.writers().unwrap().iter().map(|it| it.id).collect();
    assert!(written.keys().all(|id| known.contains(id)));
}

fn check_series(store: &dyn DataStore, written: &HashMap<u64, u64>) {
    let n = store.view(&Key::new("shared/n").unwrap()).unwrap().unwrap();
    let text = store
        .view(&Key::new("shared/text").unwrap())
        .unwrap()
        .unwrap();
    let total: u64 = written.values().sum();
    assert_eq!((n.len(), text.len()), (total, total));

    let mut next = HashMap::new();
    let records = n.read::<u64>().unwrap();
    for (index, record) in records.rows().into_iter().enumerate() {
        let (id, count) = (record[0], record[1]);
        let expected = next.entry(id).or_insert(0_u64);
        assert_eq!(count, *expected, "record {index}, by {id:x}");
        *expected += 1;
        if index % 1009 == 0 && store.as_shared().is_some() {
            assert_eq!(n.writer_of(index as u64).unwrap(), Some(id));
        }
    }
    assert_eq!(next, *written);
    let mut next = HashMap::new();
    for record in text.read_text().unwrap() {
        let (id, count) = record.split_once(' ').unwrap();
        let id = u64::from_str_radix(id, 16).unwrap();
        let expected = next.entry(id).or_insert(0_u64);
        assert_eq!(count.parse::<u64>().unwrap(), *expected);
        *expected += 1;
    }
    assert_eq!(next, *written);
    for (id, count) in written {
        let own = Key::new(format!("own/{id:x}")).unwrap();
        let own = store.view(&own).unwrap().unwrap();
        assert!(own.read::<u64>().unwrap().iter().copied().eq(0..*count));
    }
}

pub(crate) fn start(folder: &Path, port: Option<u16>, sync: RedisSync) -> RedisServer {
    let options = server_options().sync(sync);
    let options = match port {
        Some(port) => options.port(port),
        None => options,
    };
    options.start(folder).unwrap()
}

/// The part of the append-only file to which the server appends.
pub(crate) fn growing_file(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder.join("appendonlydir")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    files.sort();
    files.pop().unwrap()
}

/// Kills the server again and again. If `lose` is set, its latest writes are then lost, as in a
/// power failure.
fn kill_under_writers(test: &str, sync: RedisSync, kills: u64, lose: bool) {
    if let Some(url) = role() {
        return write_until_told(&url);
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), None, sync);
    let (url, port) = (server.url().to_owned(), server.port());
    let writers: Vec<_> = (0..WRITERS).map(|_| Writer::start(test, &url)).collect();
    let pause = Duration::from_millis(150);
    let server = kill_again_and_again(server, folder.path(), sync, kills, lose, pause);
    let written: HashMap<u64, u64> = writers.into_iter().map(Writer::finish).collect();
    assert_eq!(written.len() as u64, WRITERS);
    check(&url, &written);
    // All of it is on disk, too.
    server.stop().unwrap();
    let server = start(folder.path(), Some(port), sync);
    check(server.url(), &written);
}

/// Kills the server, with a pause before each kill, and starts it again.
pub(crate) fn kill_again_and_again(
    mut server: RedisServer,
    folder: &Path,
    sync: RedisSync,
    kills: u64,
    lose: bool,
    pause: Duration,
) -> RedisServer {
    let port = server.port();
    let mut lost = 0;
    for kill in 0..kills {
        sleep(pause + Duration::from_millis(kill * 37 % 200));
        let file = growing_file(folder);
        let before = file.metadata().unwrap().len();
        let looked = Instant::now();
        if lose {
            sleep(Duration::from_millis(200));
        }
        signal(server.process_id(), "KILL");
        drop(server);
        // Older writes may be known to be synced.
        if lose && looked.elapsed() < Duration::from_secs(1) {
            let written = file.metadata().unwrap().len() - before;
            // Anywhere, even within a commit.
            let kept = written * (kill * 37 % 100) / 100;
            lost += written - kept;
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.set_len(before + kept).unwrap();
        }
        server = start(folder, Some(port), sync);
    }
    assert!(
        !lose || lost > 0,
        "nothing was lost that had to be sent again"
    );
    sleep(Duration::from_millis(300));
    server
}

#[test]
fn a_server_that_is_killed_and_syncs_always_loses_and_doubles_nothing() {
    let test = "a_server_that_is_killed_and_syncs_always_loses_and_doubles_nothing";
    kill_under_writers(test, RedisSync::Always, kills(), false);
}

#[test]
fn a_server_that_is_killed_and_syncs_every_second_loses_and_doubles_nothing() {
    let test = "a_server_that_is_killed_and_syncs_every_second_loses_and_doubles_nothing";
    kill_under_writers(test, RedisSync::EverySecond, kills(), false);
}

#[test]
fn a_series_that_the_server_acknowledged_and_lost_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), None, RedisSync::EverySecond);
    let (url, port) = (server.url().to_owned(), server.port());
    let store = RedisDataStore::options()
        .mode(simrecorder_core::OpenMode::CreateNew)
        .open(&url)
        .unwrap();
    let recorder = Recorder::with_options(store, RecorderOptions::new().commit_interval(None));
    recorder.record("first", 0_u64).unwrap();
    recorder.flush().unwrap();
    let file = growing_file(folder.path());
    let before = file.metadata().unwrap().len();
    recorder.record("late", 0_u64).unwrap();
    // Sent from its place in memory, and kept there.
    let large = |number: u64| vec![number; 700_000];
    recorder.record("large", large(0)).unwrap();
    recorder.flush().unwrap();
    // A server that is still syncing earlier writes writes later.
    let flushed = Instant::now();
    while file.metadata().unwrap().len() <= before {
        assert!(
            flushed.elapsed() < Duration::from_secs(60),
            "nothing was written"
        );
        sleep(Duration::from_millis(5));
    }
    signal(server.process_id(), "KILL");
    drop(server);
    let lost = std::fs::File::options().write(true).open(file).unwrap();
    lost.set_len(before).unwrap();
    let _server = start(folder.path(), Some(port), RedisSync::EverySecond);
    recorder.record("late", 1_u64).unwrap();
    recorder.record("large", large(1)).unwrap();
    recorder.record("first", 1_u64).unwrap();
    recorder.close().unwrap();
    let reader = Recorder::new(RedisDataStore::open(&url).unwrap());
    for key in ["first", "late"] {
        let view = reader.get_all(key).unwrap();
        assert!(
            view.read::<u64>().unwrap().iter().copied().eq(0..2),
            "{key}"
        );
    }
    let view = reader.get_all("large").unwrap();
    let numbers = view.read::<u64>().unwrap();
    assert!(numbers.iter().eq(&[large(0), large(1)].concat()));
}

#[test]
fn commits_that_a_server_acknowledged_and_lost_are_sent_again() {
    let test = "commits_that_a_server_acknowledged_and_lost_are_sent_again";
    kill_under_writers(test, RedisSync::EverySecond, 6, true);
}

#[test]
fn a_drain_from_a_server_that_loses_acknowledged_commits_loses_and_duplicates_nothing() {
    let test = "a_drain_from_a_server_that_loses_acknowledged_commits_loses_and_duplicates_nothing";
    if let Some(url) = role() {
        return write_until_told(&url);
    }
    let folder = tempfile::tempdir().unwrap();
    let sync = RedisSync::EverySecond;
    let server = start(folder.path(), None, sync);
    let url = server.url().to_owned();
    let writers: Vec<_> = (0..3).map(|_| Writer::start(test, &url)).collect();
    let target = InMemoryDataStore::new();
    let source = RedisDataStore::append(&url).unwrap();
    let killed = AtomicBool::new(false);
    let server = std::thread::scope(|scope| {
        let drainer = scope.spawn(|| {
            let mut moved_meanwhile = 0;
            while !killed.load(Ordering::Relaxed) {
                match drain(&source, &target, DrainOptions::new()) {
                    Ok(moved) => moved_meanwhile += moved.record_count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{error}"),
                }
            }
            moved_meanwhile
        });
        // Long enough for a drain between two kills.
        let pause = Duration::from_millis(2500);
        let server = kill_again_and_again(server, folder.path(), sync, 5, true, pause);
        killed.store(true, Ordering::Relaxed);
        assert!(drainer.join().unwrap() > 0);
        server
    });
    let written: HashMap<u64, u64> = writers.into_iter().map(Writer::finish).collect();
    drain(&source, &target, DrainOptions::new()).unwrap();
    target.close().unwrap();
    check_series(&target.open(OpenMode::Read).unwrap(), &written);
    server.stop().unwrap();
}

#[test]
fn killed_writers_are_distinguished_from_those_that_closed_the_recording_or_have_it_open() {
    let test =
        "killed_writers_are_distinguished_from_those_that_closed_the_recording_or_have_it_open";
    if let Some(url) = role() {
        return write_until_told(&url);
    }
    let server = server();
    let url = server.server.url();
    let mut killed = Writer::start(test, url);
    let closed = Writer::start(test, url);
    let store = RedisDataStore::append(url).unwrap();
    let states = || {
        let states = store
            .writers()
            .unwrap()
            .into_iter()
            .map(|writer| writer.state.unwrap());
        let mut states: Vec<_> = states.collect();
        states.sort_by_key(|state| format!("{state:?}"));
        states
    };
    use RedisWriterState::{Closed, Lost, Open, Replaced};
    assert_eq!(states(), [Open, Open, Open]);
    closed.finish();
    assert_eq!(states(), [Closed, Open, Open]);
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    // The server's system reports it.
    while states() != [Closed, Lost, Open] {
        sleep(Duration::from_millis(5));
    }
    let info = store.info().unwrap();
    assert_eq!(
        (info.is_being_written, info.lost_writers),
        (Some(true), Some(1))
    );
    assert_eq!(info.is_abandoned(), Some(false));
    store.close().unwrap();
    let info = store.info().unwrap();
    assert_eq!(
        (info.is_being_written, info.is_abandoned()),
        (Some(false), Some(true))
    );

    // A writer that resumes the recording replaces the lost one.
    let resumed = Recorder::new(RedisDataStore::append(url).unwrap());
    assert_eq!(states(), [Closed, Closed, Open, Replaced]);
    let before = store.info().unwrap();
    resumed.record("own/resumed", 1.0).unwrap();
    resumed.flush().unwrap();
    let after = store.info().unwrap();
    assert!(after.revision > before.revision, "{before:?}, {after:?}");
    assert_eq!(after.is_abandoned(), Some(false));
    resumed.close().unwrap();
    let info = store.info().unwrap();
    assert_eq!(
        (info.lost_writers, info.is_abandoned()),
        (Some(0), Some(false))
    );
}
