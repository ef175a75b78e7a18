//! Several processes on one file: readers that follow a writer, and writers that are killed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use simrecorder_core::{ErrorKind, OpenMode, Recorder, Result, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::steps::*;
use support::timelines::killed_writers_leave_whole_ticks;
use support::{Partner, assert_success, expect, python, role, this_test};

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore> {
    Hdf5DataStore::options().mode(mode).open(path)
}

#[test]
fn killed_writers_leave_every_flushed_record_and_a_file_that_h5py_opens() {
    let name = "killed_writers_leave_every_flushed_record_and_a_file_that_h5py_opens";
    killed_writers_leave_every_flushed_record(name, open, |path| {
        let journal = path.with_file_name("run.journal");
        // During a checkpoint, other software has to wait until this library has completed it.
        let journal = fs::read(journal).ok();
        if journal.is_some_and(|journal| journal[64] % 2 == 1) {
            return;
        }
        let manifest = path.with_file_name("manifest");
        let line = json!({"path": path, "steps": 0, "closed": false});
        fs::write(&manifest, line.to_string()).unwrap();
        assert_success(python("read_steps.py").arg("files").arg(manifest));
    });
}

#[test]
fn killed_writers_leave_whole_ticks_and_readers_see_no_others() {
    let name = "killed_writers_leave_whole_ticks_and_readers_see_no_others";
    killed_writers_leave_whole_ticks(name, in_folder, open);
}

#[test]
fn appending_waits_for_the_lock_of_a_killed_writer() {
    let name = "appending_waits_for_the_lock_of_a_killed_writer";
    appending_waits_for_a_killed_writer(name, open);
}

#[test]
fn a_reader_in_another_process_follows_a_writer() {
    let name = "a_reader_in_another_process_follows_a_writer";
    readers_follow_a_writer(name, open);
}

#[test]
fn a_writer_that_never_flushes_commits_at_regular_times() {
    let name = "a_writer_that_never_flushes_commits_at_regular_times";
    a_writer_that_never_flushes_commits(name, open);
}

#[test]
fn a_file_is_opened_listed_and_read_while_checkpoint_follows_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    recorder.record("n", 0_u64).unwrap();
    // A listing reads much, so the file changes meanwhile.
    (0..40).for_each(|i| recorder.record(format!("group{i}/x"), 0_u64).unwrap());
    recorder.flush().unwrap();
    let read = || {
        let follower = Recorder::new(open(&path, OpenMode::Read).unwrap());
        let mut keys = 0;
        for _ in 0..150 {
            for reader in [
                &follower,
                &Recorder::new(open(&path, OpenMode::Read).unwrap()),
            ] {
                let view = reader.get_all("n").unwrap();
                let n = view.read::<u64>().unwrap();
                assert!(n.iter().copied().eq(0..view.len()));
                let now = reader.keys().unwrap().len();
                assert!(now >= keys, "{now} keys after {keys}");
                keys = now;
            }
        }
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let mut steps = 1_u64..;
        while !reader.is_finished() {
            let step = steps.next().unwrap();
            recorder.record("n", step).unwrap();
            recorder
                .record(format!("late/{}", step / 10), step)
                .unwrap();
            recorder.checkpoint().unwrap();
        }
    });
    recorder.close().unwrap();
}

#[test]
fn h5py_opens_the_file_as_of_the_last_checkpoint_while_it_is_written_and_after_a_kill() {
    let name = "h5py_opens_the_file_as_of_the_last_checkpoint_while_it_is_written_and_after_a_kill";
    if let Some(path) = role() {
        let store = open(&path, OpenMode::OpenOrCreate).unwrap();
        println!("ready");
        record_for_ever(store);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let mut writer = Partner::start(&mut this_test(name, &path));
    // The output of the writer must not fill the pipe.
    let mut output = writer.1;
    let drain = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let mut reader = Partner::start(python("read_steps.py").arg("follow").arg(&path));
    reader.wait_for("enough");
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    drain.join().unwrap().unwrap();
    drop(open(&path, OpenMode::Read).unwrap());
    reader.finish();
}

/// A recording with a checkpoint and a later flush, which h5py has open for reading.
fn held_up(folder: &Path) -> (PathBuf, Hdf5DataStore, Recorder, Partner) {
    let path = folder.join("run.h5");
    let store = open(&path, OpenMode::CreateNew).unwrap();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 0_u64).unwrap();
    recorder.checkpoint().unwrap();
    recorder.record("n", 1_u64).unwrap();
    recorder.flush().unwrap();
    let other = Partner::start(python("edit.py").arg("hold").arg(&path).arg("r"));
    (path, store, recorder, other)
}

/// h5py finds all records of [`held_up`], and no files remain next to the file.
fn is_whole(path: &Path) {
    assert!(!path.with_extension("h5.journal").exists());
    let manifest = path.with_extension("json");
    let line = json!({"path": path, "steps": 0, "closed": true, "n": 2});
    fs::write(&manifest, line.to_string()).unwrap();
    assert_success(python("read_steps.py").arg("files").arg(&manifest));
}

#[test]
fn a_close_that_another_program_held_up_is_an_error_until_it_has_been_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store, recorder, other) = held_up(folder.path());
    for _ in 0..2 {
        expect(
            recorder.close().unwrap_err(),
            ErrorKind::Locked,
            &["close", "run.h5"],
        );
        expect(store.close().unwrap_err(), ErrorKind::Locked, &["run.h5"]);
    }
    other.finish();
    recorder.close().unwrap();
    is_whole(&path);
    recorder.close().unwrap();
    store.close().unwrap();
}

#[test]
fn a_close_that_another_program_held_up_is_ended_by_opening_for_appending_and_closing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store, recorder, other) = held_up(folder.path());
    expect(recorder.close().unwrap_err(), ErrorKind::Locked, &["close"]);
    other.finish();
    open(&path, OpenMode::Append).unwrap().close().unwrap();
    is_whole(&path);
    recorder.close().unwrap();
    store.close().unwrap();
    is_whole(&path);
}
