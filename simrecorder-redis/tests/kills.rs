//! Writers and servers that are killed at random moments lose nothing that was flushed.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use simrecorder_core::{OpenMode, Recorder, Result};
use simrecorder_redis::RedisDataStore;
use simrecorder_testkit::steps::{
    check_prefixes, flushed, killed_writers_at, kills, record_for_ever,
};
use support::{role, server, server_options, signal, this_test};

/// Opens the URL that is given as a path.
fn open(url: &Path, mode: OpenMode) -> Result<RedisDataStore> {
    RedisDataStore::options()
        .mode(mode)
        .open(url.to_str().unwrap())
}

#[test]
fn killed_writers_leave_every_flushed_record() {
    let name = "killed_writers_leave_every_flushed_record";
    // What is killed writes to the server of the one who kills.
    let server = role().is_none().then(server);
    let url = |_: &Path, number: u64| {
        let server = server.as_ref().unwrap().url();
        PathBuf::from(format!("{server}?run={number}"))
    };
    killed_writers_at(name, url, open, |_| {});
}

/// Reads what the writer prints, `flushes` flushes on; returns how many steps are safe.
fn after_flushes(lines: &mut Lines<BufReader<ChildStdout>>, flushes: u64) -> u64 {
    let lines = lines.map(|line| line.unwrap());
    let mut steps = lines.filter_map(|line| flushed(&line));
    steps.nth(flushes as usize - 1).unwrap()
}

#[test]
fn killed_servers_lose_nothing_that_was_flushed_and_their_writer_goes_on() {
    let name = "killed_servers_lose_nothing_that_was_flushed_and_their_writer_goes_on";
    if let Some(url) = role() {
        record_for_ever(open(Path::new(&url), OpenMode::CreateNew).unwrap());
    }
    const KILLS_OF_ONE: u64 = 50;
    let mut kill = 0;
    while kill < kills() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = server_options().start(folder.path()).unwrap();
        let (url, port) = (server.url().to_owned(), server.port());
        let mut writer = this_test(name, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        for _ in 0..KILLS_OF_ONE.min(kills() - kill) {
            kill += 1;
            let safe = after_flushes(&mut lines, 1 + kill * 7 % 30);
            std::thread::sleep(Duration::from_micros(kill * 1237 % 9000));
            signal(server.process_id(), "KILL");
            drop(server);
            server = server_options().port(port).start(folder.path()).unwrap();
            let reader = Recorder::new(open(Path::new(&url), OpenMode::Read).unwrap());
            let lengths = check_prefixes(&reader);
            assert!(lengths.iter().all(|&len| len >= safe), "{lengths:?} {safe}");
        }
        let safe = after_flushes(&mut lines, 3);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let reader = Recorder::new(open(Path::new(&url), OpenMode::Read).unwrap());
        let lengths = check_prefixes(&reader);
        assert!(lengths.iter().all(|&len| len >= safe), "{lengths:?} {safe}");
    }
}
