//! The anonymous memory of a process that records onto a server stays within the bound.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

mod support;

use simrecorder_core::OpenMode;
use simrecorder_redis::RedisDataStore;
use simrecorder_testkit::memory::{assert_large_records_take_the_memory_of_one, exceeded};
use support::{role, server};

#[test]
fn memory_stays_within_the_bound_with_one_key_and_with_ten_thousand() {
    let server = server();
    let failures = exceeded("redis", |folder| {
        let run = folder.file_name().unwrap().to_string_lossy().into_owned();
        let options = RedisDataStore::options().run(run);
        let options = options.mode(OpenMode::CreateNew);
        options.open(server.url()).unwrap()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn large_records_on_a_server_take_the_memory_of_one() {
    let test = "large_records_on_a_server_take_the_memory_of_one";
    // Only of the recording process; the server is another one.
    let server = role().map(|_| server());
    assert_large_records_take_the_memory_of_one(test, 40 << 20, |_| {
        let options = RedisDataStore::options().mode(OpenMode::CreateNew);
        options.open(server.as_ref().unwrap().url()).unwrap()
    });
}
