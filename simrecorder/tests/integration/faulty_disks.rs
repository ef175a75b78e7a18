//! Full disks, and recordings that are deleted while they are written.
#![cfg(all(target_os = "linux", any(feature = "zarr", feature = "hdf5")))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;

use simrecorder::{
    DataStore, Error, ErrorKind, InMemoryDataStore, OnStoreError, OpenMode, OpenOptions, Recorder,
    RecorderOptions, Result, StoreState, prelude::*,
};
use simrecorder_testkit::{output_within_a_minute, role, this_test_by};

/// A store with recordings in files.
fn schemes() -> impl Iterator<Item = &'static str> {
    let schemes = [
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    let there = schemes.into_iter().filter(|(is_on, _)| *is_on);
    there.map(|(_, scheme)| scheme)
}

fn open(url: &str, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
    simrecorder::open_with(url, &OpenOptions::new().mode(mode))
}

/// A record that does not compress.
fn row(i: u64) -> [u64; 2] {
    [i, i.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
}

/// Records and flushes until that fails, and calls `flushed` with the number of records after
/// each flush.
fn record_until_refused(recorder: &Recorder, mut flushed: impl FnMut(u64)) -> Error {
    let mut count = 0;
    while count < 1_000_000 {
        let mut rows = count..count + 500;
        let recorded = rows.try_for_each(|i| recorder.record("x", row(i)));
        if let Err(error) = recorded.and_then(|()| recorder.flush()) {
            let again = recorder.record("x", row(0)).unwrap_err();
            assert_eq!(again.kind(), error.kind(), "{again}");
            return error;
        }
        count += 500;
        flushed(count);
    }
    panic!("nothing was refused");
}

/// Checks that there are at least `flushed` records and no wrong ones, and continues.
fn check_and_continue(url: &str, flushed: u64) {
    let reader = Recorder::new(open(url, OpenMode::Read).unwrap());
    let view = reader.get_all("x").unwrap();
    assert!(view.len() >= flushed, "{url}: {} of {flushed}", view.len());
    for (i, found) in view.read::<u64>().unwrap().outer_iter().enumerate() {
        assert_eq!(found.as_slice(), Some(&row(i as u64)[..]), "{url}");
    }
    let recorder = Recorder::new(open(url, OpenMode::Append).unwrap());
    recorder.record("x", row(view.len())).unwrap();
    recorder.close().unwrap();
    let reader = Recorder::new(open(url, OpenMode::Read).unwrap());
    assert_eq!(reader.get_all("x").unwrap().len(), view.len() + 1);
}

/// Records with a limit for the size of files; with `ignores`, the process ignores the signal
/// of the limit. Returns the exit status of the process, and its output.
fn with_limit(name: &str, url: &str, ignores: bool) -> (std::process::ExitStatus, String) {
    let signal = if ignores {
        "--ignore-signal=XFSZ"
    } else {
        "--default-signal=XFSZ"
    };
    let limits = [signal, "prlimit", "--fsize=400000", "--core=0"];
    let mut command = this_test_by("env", &limits, name, Path::new(url));
    let output = output_within_a_minute(&mut command);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status, text.into_owned())
}

#[test]
fn files_that_may_not_grow_are_an_error_or_end_a_process_that_does_not_ignore_the_signal() {
    let name =
        "files_that_may_not_grow_are_an_error_or_end_a_process_that_does_not_ignore_the_signal";
    if let Some(url) = role() {
        let store = open(url.to_str().unwrap(), OpenMode::CreateNew).unwrap();
        let recorder = Recorder::new(store);
        let error = record_until_refused(&recorder, |count| println!("flushed {count}"));
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        assert_eq!(recorder.close().unwrap_err().kind(), ErrorKind::StorageFull);
        return;
    }
    for scheme in schemes() {
        for ignores in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("{scheme}:{}", folder.path().join("run").display());
            let (status, text) = with_limit(name, &url, ignores);
            const SIGXFSZ: i32 = 25;
            let was_ended = status.signal() == Some(SIGXFSZ);
            // The system first writes a part without a signal, which makes LMDB stop.
            let may_succeed = ignores || scheme == "zarr";
            assert!(
                status.success() && may_succeed || was_ended && !ignores,
                "{url}: {text}"
            );
            let flushed = text.lines().filter_map(|line| line.split_once("flushed "));
            let flushed = flushed.filter_map(|(_, count)| count.parse().ok()).max();
            check_and_continue(&url, flushed.unwrap());
        }
    }
}

#[test]
fn a_recording_that_is_deleted_under_its_writer_is_an_error_and_other_stores_continue() {
    for scheme in schemes() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let url = format!("{scheme}:{}", inner.join("run").display());
        let memory = InMemoryDataStore::new();
        let store = open(&url, OpenMode::CreateNew).unwrap();
        let options = RecorderOptions::new().on_store_error(OnStoreError::Detach);
        let recorder = Recorder::with_options((store.clone(), memory.clone()), options);
        let alone = format!("{scheme}:{}", inner.join("alone").display());
        let alone = Recorder::new(open(&alone, OpenMode::CreateNew).unwrap());
        let record_and_flush = |rows: Range<u64>| {
            let mut rows = rows;
            rows.try_for_each(|i| recorder.record("x", row(i))).unwrap();
            recorder.flush().unwrap();
        };
        let error = record_until_refused(&alone, |count| {
            record_and_flush(count - 500..count);
            if count == 2000 {
                fs::remove_dir_all(&inner).unwrap();
            }
        });
        assert_eq!(error.kind(), ErrorKind::NotFound, "{scheme}: {error}");
        assert!(alone.close().is_err());
        record_and_flush(2000..2500);
        let status = recorder.status();
        let [detached, goes_on] = &status.stores[..] else {
            panic!("{status:?}");
        };
        assert!(
            matches!(&detached.state, StoreState::Failed(error) if error.kind() == ErrorKind::NotFound),
            "{scheme}: {detached:?}"
        );
        assert!(matches!(goes_on.state, StoreState::Healthy), "{goes_on:?}");
        record_and_flush(2500..3000);
        let error = recorder.close().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{scheme}: {error}");
        let reader = Recorder::new(memory.open(OpenMode::Read).unwrap());
        let rows = reader.get_all("x").unwrap().read::<u64>().unwrap();
        assert!(rows.into_iter().eq((0..3000).flat_map(row)), "{scheme}");
        assert!(!inner.exists(), "{scheme}: nothing is created again");
    }
}
