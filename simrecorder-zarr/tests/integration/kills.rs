//! Writers that are killed, or whose disk fails, at each single call that changes a file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{OpenMode, Result};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::kill_points::{Attack, Moment};
use support::system_calls::{Progress, Strike};

/// How many calls are struck in a short test.
const SAMPLE: usize = 40;

fn opener(storage: ZarrStorage) -> impl Fn(&Path, OpenMode) -> Result<ZarrDataStore> {
    move |path, mode| {
        let options = ZarrDataStore::options().storage(storage);
        options.mode(mode).open(path)
    }
}

fn attack(test: &str, storage: ZarrStorage, strike: Strike) {
    let attack = Attack {
        test,
        file: "run",
        open: opener(storage),
        look: |path: &Path, moment: Moment, _: Progress| {
            if let Moment::Closed(_) = moment {
                nothing_is_left_over(path);
            }
            moment == Moment::Struck
        },
    };
    if let Some(figures) = attack.run(strike, SAMPLE) {
        eprintln!("{storage:?}: {figures:?}");
        assert!(figures.calls >= 60, "{figures:?}");
        assert!(figures.strikes >= SAMPLE - 4, "{figures:?}");
        assert!(figures.recoveries >= 8, "{figures:?}");
    }
}

fn fail_power(test: &str, storage: ZarrStorage) {
    let attack = Attack {
        test,
        file: "run",
        open: opener(storage),
        look: |_: &Path, _: Moment, _: Progress| false,
    };
    if let Some(failures) = attack.fail_power(SAMPLE) {
        assert_eq!(failures % 3, 0);
        assert!(failures >= 3 * SAMPLE, "{failures}");
    }
}

/// Beside a recording that was closed there may be a lock, but no journal and nothing half done.
fn nothing_is_left_over(path: &Path) {
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let name = file.unwrap().file_name();
        let name = name.to_string_lossy();
        assert!(["run", "run.lock"].contains(&&*name), "{name} is left over");
    }
}

#[test]
fn a_kill_before_any_call_loses_nothing_that_was_flushed_to_lmdb() {
    let name = "a_kill_before_any_call_loses_nothing_that_was_flushed_to_lmdb";
    attack(name, ZarrStorage::Lmdb, Strike::Kill);
}

#[test]
fn a_kill_before_any_call_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_kill_before_any_call_loses_nothing_that_was_flushed_to_a_directory";
    attack(name, ZarrStorage::Directory, Strike::Kill);
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_flushed_to_lmdb() {
    let name = "a_failure_of_any_call_loses_nothing_that_was_flushed_to_lmdb";
    attack(name, ZarrStorage::Lmdb, Strike::Fail);
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_failure_of_any_call_loses_nothing_that_was_flushed_to_a_directory";
    attack(name, ZarrStorage::Directory, Strike::Fail);
}

#[test]
fn a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_lmdb_nor_to_another_store() {
    let name =
        "a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_lmdb_nor_to_another_store";
    attack(name, ZarrStorage::Lmdb, Strike::ReadOnly);
}

#[test]
fn a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_a_directory_nor_to_another_store() {
    let name = "a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_a_directory_nor_to_another_store";
    attack(name, ZarrStorage::Directory, Strike::ReadOnly);
}

#[test]
fn a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_lmdb() {
    let name = "a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_lmdb";
    fail_power(name, ZarrStorage::Lmdb);
}

#[test]
fn a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_a_directory";
    fail_power(name, ZarrStorage::Directory);
}
