//! Writers and servers that are killed at random moments lose no flushed records.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use crate::support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simrecorder_core::{ErrorKind, OpenMode, Recorder, Result};
use simrecorder_redis::{RedisDataStore, RedisServer, RedisSync};
use simrecorder_testkit::steps::{
    check_prefixes, flushed, killed_writers_at, kills, record_for_ever,
};
use simrecorder_testkit::timelines::killed_writers_leave_whole_ticks;
use support::{role, server, server_options, signal, this_test};

/// Opens the URL that is passed as a path.
fn open(url: &Path, mode: OpenMode) -> Result<RedisDataStore> {
    RedisDataStore::options()
        .mode(mode)
        .open(url.to_str().unwrap())
}

#[test]
fn killed_writers_leave_every_flushed_record() {
    let name = "killed_writers_leave_every_flushed_record";
    // A killed process writes to the server of the process that kills it.
    let server = role().is_none().then(server);
    let url = |_: &Path, number: u64| {
        let server = server.as_ref().unwrap().url();
        PathBuf::from(format!("{server}?run={number}"))
    };
    killed_writers_at(name, url, open, |_| {});
}

#[test]
fn killed_writers_leave_whole_ticks_and_readers_see_no_others() {
    let name = "killed_writers_leave_whole_ticks_and_readers_see_no_others";
    let server = role().is_none().then(server);
    let url = |_: &Path, number: u64| {
        let server = server.as_ref().unwrap().url();
        PathBuf::from(format!("{server}?run={number}"))
    };
    killed_writers_leave_whole_ticks(name, url, open);
}

/// The number of steps that the writer has reported as flushed, counted by a thread.
fn follow(output: ChildStdout) -> Arc<AtomicU64> {
    let latest = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&latest);
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for steps in lines.filter_map(|line| flushed(&line)) {
            noted.store(steps, Ordering::SeqCst);
        }
    });
    latest
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited too long until {what}"
        );
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// The number of steps that a reader finds. All series must be correct prefixes.
fn steps_at(url: &str) -> u64 {
    let reader = Recorder::new(open(Path::new(url), OpenMode::Read).unwrap());
    check_prefixes(&reader).into_iter().min().unwrap()
}

/// Starts a server on the directory of a killed one, whose child may still be running.
fn start_again(start: impl Fn() -> Result<RedisServer>) -> RedisServer {
    let begin = Instant::now();
    loop {
        match start() {
            Err(error)
                if error.kind() == ErrorKind::Locked
                    && begin.elapsed() < Duration::from_secs(60) => {}
            started => return started.unwrap(),
        }
    }
}

/// Kills the server of a writer that continues. After fifty kills, there is a new writer.
fn kill_servers(name: &str, sync: RedisSync) {
    const KILLS_OF_ONE: u64 = 50;
    if let Some(url) = role() {
        record_for_ever(open(Path::new(&url), OpenMode::CreateNew).unwrap());
    }
    let mut kill = 0;
    while kill < kills() {
        let folder = tempfile::tempdir().unwrap();
        let options = || server_options().sync(sync);
        let mut server = options().start(folder.path()).unwrap();
        let (url, port) = (server.url().to_owned(), server.port());
        let mut writer = this_test(name, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let latest = follow(writer.stdout.take().unwrap());
        let latest = || latest.load(Ordering::SeqCst);
        for _ in 0..KILLS_OF_ONE.min(kills() - kill) {
            kill += 1;
            let before = latest();
            wait_until("it continues", || latest() > before + kill * 49 % 200);
            std::thread::sleep(Duration::from_micros(kill * 1237 % 9000));
            let safe = latest();
            signal(server.process_id(), "KILL");
            drop(server);
            server = start_again(|| options().port(port).start(folder.path()));
            // If the server acknowledged a commit before writing it, the writer sends it again.
            if sync == RedisSync::EverySecond {
                wait_until("it is sent again", || steps_at(&url) >= safe);
            }
            let found = steps_at(&url);
            assert!(found >= safe, "kill {kill}: {found} of {safe}");
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        server.stop().unwrap();
    }
}

#[test]
fn killed_servers_that_sync_always_lose_nothing_that_was_flushed() {
    let name = "killed_servers_that_sync_always_lose_nothing_that_was_flushed";
    kill_servers(name, RedisSync::Always);
}

#[test]
fn commits_that_a_killed_server_with_a_sync_every_second_lost_are_sent_again() {
    let name = "commits_that_a_killed_server_with_a_sync_every_second_lost_are_sent_again";
    kill_servers(name, RedisSync::EverySecond);
}
