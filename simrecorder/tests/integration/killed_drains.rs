//! Drains from a Redis server into files, killed while processes write to the server.
#![cfg(all(feature = "redis", any(feature = "zarr", feature = "hdf5")))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::collections::HashMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use simrecorder::{
    Coordinate, DataStore, DrainOptions, Key, OpenMode, OpenOptions, Recorder, RedisDataStore,
    RedisServer, RedisSync, Schema, prelude::*,
};
use simrecorder_testkit::full_name;

/// The role and the arguments of this process, if it was started by [`child`].
fn role() -> Option<Vec<String>> {
    let role = std::env::var("SIMRECORDER_TEST_ROLE").ok()?;
    Some(role.split('\n').map(str::to_owned).collect())
}

/// Starts the named test in another process, where [`role`] returns `role`.
fn child(name: &str, role: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &full_name(name), "--nocapture"])
        .env("SIMRECORDER_TEST_ROLE", role.join("\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn open_or_create(url: &str) -> Arc<dyn DataStore> {
    let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
    simrecorder::open_with(url, &options).unwrap()
}

/// Records until the standard input ends, and stores the number of records as a value.
fn write_until_told(url: &str) -> simrecorder::Result<()> {
    let store = RedisDataStore::connect(url)?;
    let id = store.writer_id();
    let recorder = Recorder::new(store);
    let mut net = recorder.timeline(format!("net_{id}"), Coordinate::new("step"))?;
    let stop = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut count = 0_u64;
    while !stop.is_finished() {
        for _ in 0..40 {
            recorder.record("shared/n", [id, count])?;
            recorder.record("shared/text", format!("{id} {count}"))?;
            if count == LATE {
                let late = Schema::scalar::<u64>().with_fill_value(7_u64);
                net.declare("late", late)?;
            }
            net.advance(count)?;
            net.record("n", count)?;
            net.record("rows", Ragged(vec![count; count as usize % 3]))?;
            if count > LATE {
                net.record("late", count)?;
            }
            count += 1;
        }
        recorder.flush()?;
        sleep(Duration::from_millis(2));
    }
    net.finish()?;
    recorder.set(format!("counts/{id}"), count)?;
    recorder.close()
}

/// The tick at which a series joins the timeline of each writer.
const LATE: u64 = 500;

/// Checks that the series of each timeline have the same length; returns the total number of ticks.
fn check_timelines(target: &str) -> simrecorder::Result<u64> {
    let reader = Recorder::new(simrecorder::open(target)?);
    let mut ticks = 0;
    for child in reader.children("")? {
        if !child.key.name().starts_with("net_") {
            continue;
        }
        let net = reader.group(&child.key)?;
        let Some(step) = net.view("step") else {
            continue;
        };
        let len = step.len();
        let lens: Vec<_> = net.series().map(|(name, it)| (name, it.len())).collect();
        assert!(
            lens.iter().all(|(_, other)| *other == len),
            "{target}: {lens:?}"
        );
        assert!(step.read::<u64>()?.iter().copied().eq(0..len), "{target}");
        if let Some(late) = net.view("late") {
            let expected = (0..len).map(|step| if step > LATE { step } else { 7 });
            assert!(late.read::<u64>()?.iter().copied().eq(expected), "{target}");
        }
        ticks += len;
    }
    Ok(ticks)
}

fn drain_for_ever(from: &str, to: &str) -> simrecorder::Result<()> {
    let (from, to) = (RedisDataStore::append(from)?, open_or_create(to));
    loop {
        simrecorder::drain(&from, &to, DrainOptions::new())?;
    }
}

#[test]
fn drains_that_are_killed_under_writers_lose_and_double_nothing() -> simrecorder::Result<()> {
    let name = "drains_that_are_killed_under_writers_lose_and_double_nothing";
    match role().as_deref() {
        Some([role, url]) if role == "write" => return write_until_told(url),
        Some([role, from, to]) if role == "drain" => return drain_for_ever(from, to),
        _ => {}
    }
    let folder = tempfile::tempdir().unwrap();
    // The server syncs before it acknowledges, so that drains need no pause.
    let server = RedisServer::options().sync(RedisSync::Always);
    let server = server.start(folder.path().join("server"))?;
    let schemes = [
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    for (_, scheme) in schemes.into_iter().filter(|(is_on, _)| *is_on) {
        let from = format!("{}?run={scheme}", server.url());
        let to = format!("{scheme}:{}", folder.path().join(scheme).display());
        let source = RedisDataStore::connect(&from)?;
        let mut writers = [0; 2].map(|_| child(name, &["write", &from]));
        let moved = || {
            let view = source.view(&Key::new("shared/n").unwrap()).unwrap();
            view.map_or(0, |view| view.first_record())
        };
        let mut moved_at_kills = vec![0];
        for kill in 0..6_u64 {
            let mut drainer = child(name, &["drain", &from, &to]);
            // Longer on a slow machine, so that each drain moves something.
            while moved() <= moved_at_kills[kill as usize] {
                assert!(drainer.try_wait().unwrap().is_none(), "{scheme}: it ended");
            }
            sleep(Duration::from_millis(kill * 67 % 150));
            drainer.kill().unwrap();
            drainer.wait().unwrap();
            check_timelines(&to)?;
            moved_at_kills.push(moved());
        }
        for writer in &mut writers {
            drop(writer.stdin.take());
            assert!(writer.wait().unwrap().success());
        }
        let target = open_or_create(&to);
        simrecorder::drain(&source, &target, DrainOptions::new())?;
        target.close()?;
        drop(target);

        let reader = Recorder::new(simrecorder::open(&to)?);
        let mut written = HashMap::new();
        for child in reader.children("counts")? {
            let id = child.key.as_str().strip_prefix("counts/").unwrap();
            let count = reader.get_as::<u64>(child.key.as_str())?.unwrap();
            written.insert(id.parse::<u64>().unwrap(), count);
        }
        assert_eq!(written.len(), 2);
        let (mut numbers, mut texts) = (HashMap::new(), HashMap::new());
        for record in reader.get_all("shared/n")?.read::<u64>()?.rows() {
            let next = numbers.entry(record[0]).or_insert(0_u64);
            assert_eq!(record[1], *next, "{scheme}");
            *next += 1;
        }
        for text in reader.get_all("shared/text")?.read_text()? {
            let (id, count) = text.split_once(' ').unwrap();
            let next = texts.entry(id.parse::<u64>().unwrap()).or_insert(0_u64);
            assert_eq!(count.parse::<u64>().unwrap(), *next, "{scheme}");
            *next += 1;
        }
        assert_eq!((&numbers, &texts), (&written, &written), "{scheme}");
        drop(reader);
        assert_eq!(
            check_timelines(&to)?,
            written.values().sum::<u64>(),
            "{scheme}"
        );
    }
    server.stop()
}
