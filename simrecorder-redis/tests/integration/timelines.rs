//! Timelines of several processes on one server, which is repeatedly killed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use crate::many_writers::{Writer, kill_again_and_again, start};
use crate::support;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use simrecorder_core::{
    ArrayView, Coordinate, DrainOptions, ErrorKind, InMemoryDataStore, OpenMode, Recorder,
    RecorderOptions, Schema, TIMELINE_ATTRIBUTE, Timeline, drain, prelude::*,
};
use simrecorder_redis::{RedisDataStore, RedisSync};
use simrecorder_testkit::steps::kills;
use support::cluster::Cluster;
use support::{new_run, role};

const WRITERS: usize = 8;
const MEMBERS: [&str; 5] = ["step", "n", "rows", "note", "late"];

fn recorder(url: &str) -> (u64, Recorder) {
    let store = RedisDataStore::options()
        .mode(OpenMode::OpenOrCreate)
        .timeout(Duration::from_secs(2))
        .open(url)
        .unwrap();
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(20));
    (store.writer_id(), Recorder::with_options(store, options))
}

fn open_timeline(recorder: &Recorder, group: &str) -> Timeline<u64> {
    recorder.timeline(group, Coordinate::new("step")).unwrap()
}

fn record_tick(timeline: &mut Timeline<u64>, step: u64) {
    if step == 500 {
        let late = Schema::scalar::<u64>().with_fill_value(u64::MAX);
        timeline.declare("late", late).unwrap();
    }
    timeline.advance(step).unwrap();
    timeline.record("n", [step; 3]).unwrap();
    let row = Ragged(vec![step; step as usize % 4]);
    timeline.record("rows", row).unwrap();
    timeline.record("note", format!("step {step}")).unwrap();
    if step >= 500 {
        timeline.record("late", step).unwrap();
    }
}

/// Records a timeline until the standard input ends. Prints its length and its name.
fn write_until_told(url: &str) {
    let (id, recorder) = recorder(url);
    let mut timeline = open_timeline(&recorder, &format!("of/{id:x}"));
    let stop = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut step = 0;
    println!("ready");
    while !stop.is_finished() {
        for _ in 0..40 {
            record_tick(&mut timeline, step);
            step += 1;
        }
        if step.is_multiple_of(400) {
            recorder.flush().unwrap();
        }
        sleep(Duration::from_millis(2));
    }
    timeline.finish().unwrap();
    recorder.close().unwrap();
    println!("recorded {id} {step}");
}

/// The common length of the series of each timeline, as readers see them at this moment.
#[track_caller]
fn lens(reader: &Recorder) -> BTreeMap<String, u64> {
    let groups = reader.children("of").unwrap();
    let lens = groups.into_iter().map(|child| {
        let group = reader.group(child.key.as_str()).unwrap();
        let lens: Vec<_> = group.series().map(|(name, it)| (name, it.len())).collect();
        let len = lens.first().map_or(0, |(_, len)| *len);
        let is_same = lens.iter().all(|(_, other)| *other == len);
        assert!(is_same, "out of step: {} {lens:?}", child.key);
        (child.key.to_string(), len)
    });
    lens.collect()
}

/// Reads all timelines until it is told to stop. Returns how often. They become shorter only on a
/// server that may lose commits that it has shown.
fn look(url: &str, stop: &AtomicBool, may_lose: bool) -> u64 {
    let options = RedisDataStore::options().retry_for(Duration::from_secs(30));
    let reader = Recorder::new(options.mode(OpenMode::Read).open(url).unwrap());
    let mut looks = 0;
    let mut before = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        for (group, len) in lens(&reader) {
            let before = before.insert(group, len).unwrap_or(0);
            assert!(may_lose || len >= before, "{len} after {before}");
        }
        looks += 1;
        sleep(Duration::from_millis(looks * 37 % 50));
    }
    looks
}

/// Checks that a timeline contains these steps, each once, in each of its series.
#[track_caller]
fn check(reader: &Recorder, group: &str, steps: u64) {
    let found = reader.group(group).unwrap();
    let count = if steps > 500 {
        MEMBERS.len()
    } else {
        MEMBERS.len() - 1
    };
    assert_eq!(found.series().count(), count, "{group}");
    let step = found.view("step").unwrap().read::<u64>().unwrap();
    assert!(
        step.iter().copied().eq(0..steps),
        "{group}: {steps} steps, {step:?}"
    );
    let n = found.view("n").unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq((0..steps).flat_map(|step| [step; 3])));
    let note = found.view("note").unwrap().read_text().unwrap();
    let is_note = |(step, note): (usize, &String)| *note == format!("step {step}");
    assert_eq!(note.len() as u64, steps);
    assert!(note.iter().enumerate().all(is_note), "{group}");
    let rows = found.view("rows").unwrap();
    assert_eq!(rows.len(), steps);
    if let Some(late) = found.view("late") {
        let late = late.read::<u64>().unwrap();
        let expected = (0..steps).map(|step| if step < 500 { u64::MAX } else { step });
        assert!(late.iter().copied().eq(expected), "{group}: {late:?}");
    }
}

/// Eight processes record one timeline each, while the server is killed and readers read.
fn kill_under_timelines(test: &str, sync: RedisSync, kills: u64, lose: bool) {
    if let Some(url) = role() {
        return write_until_told(&url);
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), None, sync);
    let (url, port) = (server.url().to_owned(), server.port());
    let writers: Vec<_> = (0..WRITERS).map(|_| Writer::start(test, &url)).collect();
    let stop = AtomicBool::new(false);
    let server = std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| look(&url, &stop, lose)));
        let pause = Duration::from_millis(150);
        let server = kill_again_and_again(server, folder.path(), sync, kills, lose, pause);
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 3, "the readers looked too rarely");
        }
        server
    });
    let written: Vec<_> = writers.into_iter().map(Writer::finish).collect();
    let check_all = |url: &str| {
        let reader = Recorder::new(RedisDataStore::open(url).unwrap());
        assert_eq!(lens(&reader).len(), WRITERS);
        for (id, steps) in &written {
            check(&reader, &format!("of/{id:x}"), *steps);
        }
    };
    check_all(&url);
    // All of it is on disk, too.
    server.stop().unwrap();
    let server = start(folder.path(), Some(port), sync);
    check_all(server.url());
}

#[test]
fn timelines_of_eight_processes_are_whole_while_a_server_that_syncs_always_is_killed() {
    let test = "timelines_of_eight_processes_are_whole_while_a_server_that_syncs_always_is_killed";
    kill_under_timelines(test, RedisSync::Always, kills(), false);
}

#[test]
fn timelines_of_eight_processes_are_whole_while_a_server_loses_acknowledged_commits() {
    let test = "timelines_of_eight_processes_are_whole_while_a_server_loses_acknowledged_commits";
    kill_under_timelines(test, RedisSync::EverySecond, 6, true);
}

#[test]
fn a_resumed_timeline_keeps_the_process_away_that_recorded_it_before() {
    let url = new_run();
    let (_, older) = recorder(&url);
    let mut before = open_timeline(&older, "of/net");
    (0..10).for_each(|step| record_tick(&mut before, step));
    older.flush().unwrap();
    // The previous process records while the timeline is resumed, and then notices.
    let stop = AtomicBool::new(false);
    let (newer, resumed_at) = std::thread::scope(|scope| {
        let zombie = scope.spawn(|| {
            for step in 10_u64.. {
                let recorded = before.tick(
                    step,
                    (
                        ("n", [step; 3]),
                        ("rows", Ragged(vec![step; step as usize % 4])),
                        ("note", format!("step {step}")),
                    ),
                );
                if let Err(error) = recorded.and_then(|()| older.flush()) {
                    return error;
                }
                assert!(!stop.load(Ordering::Relaxed), "it was not kept away");
            }
            unreachable!();
        });
        sleep(Duration::from_millis(100));
        let (_, newer) = recorder(&url);
        let mut net = open_timeline(&newer, "of/net");
        let resumed_at = net.len();
        (resumed_at..resumed_at + 10).for_each(|step| record_tick(&mut net, step));
        newer.flush().unwrap();
        sleep(Duration::from_millis(100));
        let error = zombie.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.to_string().contains("'of/net'"), "{error}");
        net.finish().unwrap();
        (newer, resumed_at)
    });
    assert!(
        resumed_at > 10,
        "the older process recorded nothing meanwhile"
    );
    check(&newer, "of/net", resumed_at + 10);
    // Another process rewinds without a handle, and continues.
    let (_, third) = recorder(&url);
    third.rewind("step", 4_u64).unwrap();
    let mut net = open_timeline(&third, "of/net");
    assert_eq!(net.last(), Some(4));
    (5..8).for_each(|step| record_tick(&mut net, step));
    net.finish().unwrap();
    third.remove("of/net/rows").unwrap();
    assert_eq!(lens(&third)["of/net"], 8);
    third.remove("of/net").unwrap();
    third.close().unwrap();
    newer.close().unwrap();
}

#[test]
fn timelines_in_a_cluster_are_whole_while_its_nodes_are_killed() {
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let (id, writer) = recorder(&url);
    let stop = AtomicBool::new(false);
    let steps = std::thread::scope(|scope| {
        let reader = scope.spawn(|| look(&url, &stop, true));
        let writing = scope.spawn(|| {
            let names = (0..4).map(|number| format!("of/{id:x}-{number}"));
            let mut timelines: Vec<_> = names.map(|name| open_timeline(&writer, &name)).collect();
            let mut step = 0;
            while !stop.load(Ordering::Relaxed) {
                timelines.iter_mut().for_each(|it| record_tick(it, step));
                step += 1;
                sleep(Duration::from_millis(1));
            }
            for timeline in timelines {
                timeline.finish().unwrap();
            }
            step
        });
        for number in 0..3 {
            sleep(Duration::from_millis(400));
            cluster.kill(number);
            sleep(Duration::from_millis(300));
            cluster.start_again(number);
            cluster.wait();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 3, "the reader looked too rarely");
        writing.join().unwrap()
    });
    writer.close().unwrap();
    let reader = Recorder::new(RedisDataStore::open(&url).unwrap());
    for number in 0..4 {
        check(&reader, &format!("of/{id:x}-{number}"), steps);
    }
    // Another writer resumes it.
    let (_, writer) = recorder(&url);
    let mut timeline = open_timeline(&writer, &format!("of/{id:x}-0"));
    timeline.rewind(99).unwrap();
    (100..120).for_each(|step| {
        timeline.advance(step).unwrap();
        timeline.record("n", [step; 3]).unwrap();
        timeline
            .record("rows", Ragged(vec![step; step as usize % 4]))
            .unwrap();
        timeline.record("note", format!("step {step}")).unwrap();
    });
    timeline.finish().unwrap();
    writer.flush().unwrap();
    assert_eq!(lens(&writer)[&format!("of/{id:x}-0")], 120);
}

/// Drains again and again into a store in memory while a writer records and readers read.
fn drain_while_recording(url: &str, count: u32) {
    let (_, writer) = recorder(url);
    let source = RedisDataStore::append(url).unwrap();
    let target = InMemoryDataStore::new();
    let stop = AtomicBool::new(false);
    /// Ends the other threads, even if this one fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (steps, drains) = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let writing = scope.spawn(|| {
            let mut timeline = open_timeline(&writer, "of/net");
            let mut step = 0;
            while step < 700 || !stop.load(Ordering::Relaxed) {
                record_tick(&mut timeline, step);
                step += 1;
                sleep(Duration::from_micros(300));
            }
            timeline.finish().unwrap();
            step
        });
        let of_source = scope.spawn(|| look(url, &stop, true));
        let of_target = scope.spawn(|| {
            let reader = Recorder::new(target.open(OpenMode::Read).unwrap());
            while !stop.load(Ordering::Relaxed) {
                lens(&reader);
            }
        });
        let start = Instant::now();
        let mut drains = 0;
        while drains < count || start.elapsed() < Duration::from_secs(1) {
            assert!(start.elapsed() < Duration::from_secs(60), "never drained");
            // The whole timeline, whichever of its series are named.
            let options = DrainOptions::new().include("of/net/n").include("of/**");
            match drain(&source, &target, options) {
                Ok(_) => drains += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
        drop(stopping);
        assert!(
            of_source.join().unwrap() > 3,
            "the reader looked too rarely"
        );
        of_target.join().unwrap();
        (writing.join().unwrap(), drains)
    });
    assert!(drains > 1);
    writer.close().unwrap();
    drain(&source, &target, DrainOptions::new()).unwrap();
    let reader = Recorder::new(target.open(OpenMode::Read).unwrap());
    check(&reader, "of/net", steps);
    assert_eq!(
        reader.group("of/net").unwrap().attributes()[TIMELINE_ATTRIBUTE],
        "step"
    );
    let late = reader.get_all("of/net/late").unwrap();
    assert!(
        late.filled() > 0,
        "the late series was written from the start"
    );
    let left = Recorder::new(RedisDataStore::open(url).unwrap());
    assert_eq!(lens(&left)["of/net"], 0);
    // It is resumed where it ended.
    let (_, writer) = recorder(url);
    let mut timeline = open_timeline(&writer, "of/net");
    assert_eq!(timeline.len(), steps);
    let late = Schema::scalar::<u64>().with_fill_value(0_u64);
    timeline.declare("later", late).unwrap();
    record_tick(&mut timeline, steps);
    timeline.finish().unwrap();
    writer.flush().unwrap();
    assert_eq!(lens(&writer)["of/net"], 1);
    drain(&source, &target, DrainOptions::new()).unwrap();
    assert_eq!(lens(&reader)["of/net"], steps + 1);
    assert_eq!(reader.group("of/net").unwrap().series().count(), 6);
}

#[test]
fn a_drained_timeline_has_series_of_one_length_at_every_moment() {
    let url = new_run();
    drain_while_recording(&url, 20);
}

#[test]
fn in_a_cluster_a_drained_timeline_has_series_of_one_length_at_every_moment() {
    let cluster = Cluster::start();
    // Each waits until the nodes have synced.
    drain_while_recording(&cluster.url(), 2);
}
