//! Several processes on one recording: readers that follow a writer, and writers that are
//! killed.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;

use simrecorder_core::{OpenMode, Recorder, Result, prelude::*};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::steps::*;
use support::timelines::killed_writers_leave_whole_ticks;

fn opener(storage: ZarrStorage) -> impl Fn(&Path, OpenMode) -> Result<ZarrDataStore> {
    move |path, mode| {
        let options = ZarrDataStore::options().storage(storage);
        options.mode(mode).open(path)
    }
}

#[test]
fn killed_writers_on_lmdb_leave_every_flushed_record() {
    let name = "killed_writers_on_lmdb_leave_every_flushed_record";
    killed_writers_leave_every_flushed_record(name, opener(ZarrStorage::Lmdb), |_| {});
}

#[test]
fn killed_writers_on_a_directory_leave_every_flushed_record() {
    let name = "killed_writers_on_a_directory_leave_every_flushed_record";
    killed_writers_leave_every_flushed_record(name, opener(ZarrStorage::Directory), |_| {});
}

#[test]
fn killed_writers_on_lmdb_leave_whole_ticks_and_readers_see_no_others() {
    let name = "killed_writers_on_lmdb_leave_whole_ticks_and_readers_see_no_others";
    killed_writers_leave_whole_ticks(name, in_folder, opener(ZarrStorage::Lmdb));
}

#[test]
fn killed_writers_in_a_directory_leave_whole_ticks_and_readers_see_no_others() {
    let name = "killed_writers_in_a_directory_leave_whole_ticks_and_readers_see_no_others";
    killed_writers_leave_whole_ticks(name, in_folder, opener(ZarrStorage::Directory));
}

#[test]
fn appending_waits_for_the_lock_of_a_killed_writer_on_lmdb() {
    let name = "appending_waits_for_the_lock_of_a_killed_writer_on_lmdb";
    appending_waits_for_a_killed_writer(name, opener(ZarrStorage::Lmdb));
}

#[test]
fn appending_waits_for_the_lock_of_a_killed_writer_on_a_directory() {
    let name = "appending_waits_for_the_lock_of_a_killed_writer_on_a_directory";
    appending_waits_for_a_killed_writer(name, opener(ZarrStorage::Directory));
}

#[test]
fn a_reader_in_another_process_follows_a_writer_on_lmdb() {
    let name = "a_reader_in_another_process_follows_a_writer_on_lmdb";
    readers_follow_a_writer(name, opener(ZarrStorage::Lmdb));
}

#[test]
fn a_reader_in_another_process_follows_a_writer_in_a_directory() {
    let name = "a_reader_in_another_process_follows_a_writer_in_a_directory";
    readers_follow_a_writer(name, opener(ZarrStorage::Directory));
}

#[test]
fn a_writer_on_lmdb_that_never_flushes_commits_at_regular_times() {
    let name = "a_writer_on_lmdb_that_never_flushes_commits_at_regular_times";
    a_writer_that_never_flushes_commits(name, opener(ZarrStorage::Lmdb));
}

#[test]
fn a_writer_in_a_directory_that_never_flushes_commits_at_regular_times() {
    let name = "a_writer_in_a_directory_that_never_flushes_commits_at_regular_times";
    a_writer_that_never_flushes_commits(name, opener(ZarrStorage::Directory));
}

#[test]
fn the_map_grows_by_itself_while_views_are_alive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let options = ZarrDataStore::options()
        .mode(OpenMode::CreateNew)
        .map_size(1 << 20);
    let recorder = Recorder::new(options.open(&path).unwrap());
    let mut views = Vec::new();
    for step in 0..400_u64 {
        let noise: Vec<u64> = (0..10_000)
            .map(|i| (i + step * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        recorder.record("x", &noise).unwrap();
        if step % 50 == 0 {
            views.push(recorder.get_all("x").unwrap());
        }
    }
    recorder.close().unwrap();
    for (i, view) in views.iter().enumerate() {
        assert_eq!(view.shape(), [i as u64 * 50 + 1, 10_000]);
        let last = view.get(i as u64 * 50).unwrap().array::<u64>().unwrap();
        assert_eq!(
            last[1],
            (1 + i as u64 * 50 * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
    }
}
