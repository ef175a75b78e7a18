//! Servers that were killed while they wrote a commit to their append-only file.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::ops::Range;
use std::path::Path;

use simrecorder_core::Recorder;
use simrecorder_redis::{RedisDataStore, RedisServer, RedisSync};

use simrecorder_testkit::log::warnings;

use crate::many_writers::{growing_file, start};
use crate::support::{cli, server, signal};

/// Records these numbers to a series that all writers share, with one commit each.
fn record(url: &str, numbers: Range<u64>) {
    let recorder = Recorder::new(RedisDataStore::connect(url).unwrap());
    for number in numbers {
        recorder.record("shared", number).unwrap();
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
}

fn recorded(url: &str) -> Vec<u64> {
    let recorder = Recorder::new(RedisDataStore::open(url).unwrap());
    let view = recorder.get_all("shared").unwrap();
    view.read::<u64>().unwrap().into_iter().collect()
}

fn kill(server: RedisServer) {
    signal(server.process_id(), "KILL");
    // It has already ended, so there is nothing to stop.
    drop(server);
}

/// The offsets of the commands in the last transaction of a file, and of a place within each of
/// them.
fn places_in_last_transaction(file: &[u8]) -> Vec<usize> {
    let begins = |at: &usize, command: &[u8]| file[*at..].starts_with(command);
    let mut places = 0..file.len();
    // After it, the writer notes that it closed the recording.
    let last = places.rfind(|at| begins(at, b"*1\r\n$4\r\nEXEC\r\n"));
    let first = places.rfind(|at| begins(at, b"*1\r\n$5\r\nMULTI\r\n"));
    let commands = (first.unwrap()..=last.unwrap()).filter(|at| begins(at, b"*"));
    commands.flat_map(|at| [at, at + 9]).collect()
}

#[test]
fn a_commit_that_a_killed_server_wrote_in_part_is_not_made_and_those_after_it_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let start = |folder: &Path| start(folder, None, RedisSync::Always);
    let server = start(folder.path());
    record(server.url(), 0..2);
    kill(server);
    let file = growing_file(folder.path());
    let whole = std::fs::read(&file).unwrap();
    let places = places_in_last_transaction(&whole);
    assert!(places.len() >= 10, "{places:?}");
    for place in places {
        std::fs::write(&file, &whole[..place]).unwrap();
        let server = start(folder.path());
        assert_eq!(recorded(server.url()), [0], "cut at {place}");
        record(server.url(), 100..102);
        kill(server);
        let server = start(folder.path());
        assert_eq!(recorded(server.url()), [0, 100, 101], "cut at {place}");
        kill(server);
    }
}

#[test]
fn opening_for_writing_warns_of_a_server_that_cuts_its_file_by_itself() {
    let server = server();
    let open = || RedisDataStore::connect(server.url()).unwrap();
    assert_eq!(warnings(open).1, [""; 0]);
    cli(
        server.server.port(),
        &["CONFIG", "SET", "aof-load-truncated", "yes"],
    );
    let (_, logged) = warnings(open);
    assert!(logged[0].contains("aof-load-truncated"), "{logged:?}");
    cli(server.server.port(), &["CONFIG", "SET", "appendonly", "no"]);
    assert_eq!(warnings(open).1, [""; 0]);
}
