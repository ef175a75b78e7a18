//! What h5py sees of a file while it is recorded, and recording to a file that h5py has open.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic and print"
)]

use std::path::Path;
use std::time::Duration;

use simrecorder_core::{
    DataStore, ErrorKind, InMemoryDataStore, OpenMode, Recorder, RecorderOptions, StoreState,
};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support::{
    Partner, expect, output_within_a_minute, python, role, this_test, wait_for_parent,
};

/// The output of `watch.py` for a file.
fn watch(arguments: &[&str], path: &Path) -> String {
    let mut command = python("watch.py");
    command.arg(arguments[0]).arg(path).args(&arguments[1..]);
    let output = output_within_a_minute(&mut command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn look(path: &Path) -> String {
    watch(&["look"], path)
}

/// The number of records that h5py sees, once it sees at least `count`.
fn wait_for(path: &Path, count: u64) -> u64 {
    let seen = watch(&["wait", &count.to_string()], path);
    let (count, state) = seen.split_once(' ').unwrap();
    assert_eq!(state, "unfinished");
    count.parse().unwrap()
}

/// Starts h5py with the file open for reading.
fn hold(path: &Path) -> Partner {
    Partner::start(python("edit.py").arg("hold").arg(path).arg("r"))
}

fn open(path: &Path, mode: OpenMode) -> Hdf5DataStore {
    let options = Hdf5DataStore::options().mode(mode);
    let options = options.lock_timeout(Duration::from_millis(50));
    options.open(path).unwrap()
}

fn record(recorder: &Recorder, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| recorder.record("n", n).unwrap());
}

fn check(path: &Path, count: u64) {
    let recorder = Recorder::new(open(path, OpenMode::Read));
    let n = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(n.iter().copied().eq(0..count));
}

/// Starts a recorder with 3000 records, of which h5py sees 1000, and h5py with its file open.
fn record_and_hold(path: &Path) -> (Recorder, Partner) {
    let recorder = Recorder::new(open(path, OpenMode::CreateNew));
    record(&recorder, 0..1000);
    recorder.checkpoint().unwrap();
    record(&recorder, 1000..3000);
    (recorder, hold(path))
}

#[test]
fn a_file_that_is_not_closed_has_an_attribute_that_says_so() {
    const NAME: &str = "a_file_that_is_not_closed_has_an_attribute_that_says_so";
    if let Some(path) = role() {
        let recorder = Recorder::new(open(&path, OpenMode::Append));
        record(&recorder, 20..30);
        recorder.flush().unwrap();
        return wait_for_parent();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew));
    record(&recorder, 0..10);
    recorder.flush().unwrap();
    assert_eq!(look(&path), "0 unfinished");
    let text = watch(&["attribute"], &path);
    for part in [".journal", "appending", "close"] {
        assert!(text.contains(part), "{text}");
    }
    recorder.checkpoint().unwrap();
    assert_eq!(look(&path), "10 unfinished");
    recorder.close().unwrap();
    assert_eq!(look(&path), "10 closed");
    // It is not an attribute of the user.
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    assert!(recorder.attributes("").unwrap().unwrap().is_empty());
    assert_eq!(look(&path), "10 unfinished");
    record(&recorder, 10..20);
    recorder.close().unwrap();
    assert_eq!(look(&path), "20 closed");
    // A killed writer leaves it, and the next one shows it.
    let mut writer = Partner::start(&mut this_test(NAME, &path));
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    assert_eq!(look(&path), "20 unfinished");
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    assert_eq!(look(&path), "20 unfinished");
    recorder.close().unwrap();
    assert_eq!(look(&path), "30 closed");
    check(&path, 30);
}

#[test]
fn a_file_of_other_software_says_that_it_is_written_until_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.h5");
    let mut make = python("edit.py");
    assert!(
        make.arg("long")
            .arg(&path)
            .arg("10")
            .status()
            .unwrap()
            .success()
    );
    let recorder = Recorder::new(open(&path, OpenMode::Append));
    record(&recorder, 0..10);
    recorder.flush().unwrap();
    assert_eq!(look(&path), "0 unfinished");
    recorder.close().unwrap();
    assert_eq!(look(&path), "10 closed");
}

#[test]
fn close_says_how_to_finish_a_file_that_another_program_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let (recorder, other) = record_and_hold(&path);
    for _ in 0..2 {
        let parts = [
            "close() again",
            "for appending",
            "Hdf5Options::lock_timeout",
        ];
        expect(recorder.close().unwrap_err(), ErrorKind::Locked, &parts);
    }
    assert_eq!(look(&path), "1000 unfinished");
    check(&path, 3000);
    other.finish();
    recorder.close().unwrap();
    assert_eq!(look(&path), "3000 closed");
    check(&path, 3000);
}

/// The other way to finish.
#[test]
fn what_close_left_is_finished_by_appending_and_closing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let (recorder, other) = record_and_hold(&path);
    recorder.close().unwrap_err();
    drop(recorder);
    other.finish();
    assert_eq!(look(&path), "1000 unfinished");
    open(&path, OpenMode::Append).close().unwrap();
    assert_eq!(look(&path), "3000 closed");
    check(&path, 3000);
}

#[test]
fn h5py_sees_a_run_grow_with_regular_checkpoints_and_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    // If anything waited for h5py, this test would take more than a minute.
    let store = Hdf5DataStore::options()
        .mode(OpenMode::CreateNew)
        .lock_timeout(Duration::from_secs(3600))
        .open(&path)
        .unwrap();
    let beside = InMemoryDataStore::new();
    let options = RecorderOptions::new()
        .commit_interval(Duration::from_millis(5))
        .checkpoint_interval(Duration::from_millis(20));
    let recorder = Recorder::with_options((store, beside.clone()), options);
    let mut seen = Vec::new();
    record(&recorder, 0..1000);
    seen.push(wait_for(&path, 1000));
    record(&recorder, 1000..2000);
    seen.push(wait_for(&path, 2000));
    let other = hold(&path);
    for thousand in 2..12 {
        record(&recorder, thousand * 1000..(thousand + 1) * 1000);
        recorder.flush().unwrap();
    }
    seen.push(wait_for(&path, 0));
    check(&path, 12_000);
    for store in recorder.status().stores {
        assert!(matches!(store.state, StoreState::Healthy), "{store:?}");
        assert_eq!(store.committed_record_count, 12_000);
    }
    other.finish();
    // Nothing is recorded any more, and no program requests a checkpoint.
    seen.push(wait_for(&path, 12_000));
    println!("h5py saw {seen:?} records: running, running, held, released");
    assert_eq!(seen, [1000, 2000, 2000, 12_000]);
    record(&recorder, 12_000..13_000);
    recorder.close().unwrap();
    assert_eq!(look(&path), "13000 closed");
    check(&path, 13_000);
}
