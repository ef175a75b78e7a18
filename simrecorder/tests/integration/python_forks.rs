//! Python forks while it records, with `os.fork` and with `multiprocessing`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use simrecorder::RedisServer;
use simrecorder_testkit::{output_within_a_minute, python, quick_folder};

/// The library that the program calls, which is built as an example with the tests.
fn library() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let built = program.parent().unwrap().parent().unwrap();
    let name = match cfg!(target_os = "macos") {
        true => "libc_abi.dylib",
        false => "libc_abi.so",
    };
    let library = built.join("examples").join(name);
    assert!(
        library.exists(),
        "{} is missing: build the examples, too, as cargo test does without --test",
        library.display()
    );
    library
}

fn fork_and_record(url: &str) {
    let mut command = python("simrecorder/tests/python/forks.py");
    let output = output_within_a_minute(command.arg(library()).arg(url));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {said}");
}

#[test]
fn python_forks_while_it_records_to_lmdb() {
    let folder = quick_folder();
    fork_and_record(folder.path().join("run.mdb").to_str().unwrap());
}

#[test]
fn python_forks_while_it_records_to_a_directory() {
    let folder = quick_folder();
    fork_and_record(folder.path().join("run.zarr").to_str().unwrap());
}

#[test]
fn python_forks_while_it_records_to_hdf5() {
    let folder = quick_folder();
    fork_and_record(folder.path().join("run.h5").to_str().unwrap());
}

#[test]
fn python_forks_while_it_records_to_redis() {
    let folder = quick_folder();
    let server = RedisServer::start(folder.path()).unwrap();
    fork_and_record(&format!("{}?run=forks", server.url()));
    server.stop().unwrap();
}
