//! Writers that are killed, or whose disk fails, at every single call that changes a file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{OpenMode, Result};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use support::kill_points::{Attack, Moment, Run, StepsRun, TimelinesRun};
use support::system_calls::{Progress, Strike};

/// The number of calls that a short test interrupts.
const SAMPLE: usize = 40;
/// The same for a run with timelines.
const SAMPLE_OF_TICKS: usize = 16;

fn opener(storage: ZarrStorage) -> impl Fn(&Path, OpenMode) -> Result<ZarrDataStore> {
    move |path, mode| {
        let options = ZarrDataStore::options().storage(storage);
        options.mode(mode).open(path)
    }
}

fn attack(test: &str, storage: ZarrStorage, run: impl Run, strike: Strike, sample: usize) {
    let attack = Attack {
        run,
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
    if let Some(figures) = attack.strike(strike, sample) {
        eprintln!("{storage:?}: {figures:?}");
        assert!(figures.calls >= 60, "{figures:?}");
        assert!(figures.strikes >= sample - 4, "{figures:?}");
        assert!(figures.recoveries >= 4, "{figures:?}");
    }
}

fn fail_power(test: &str, storage: ZarrStorage, run: impl Run, sample: usize) {
    let attack = Attack {
        run,
        test,
        file: "run",
        open: opener(storage),
        look: |_: &Path, _: Moment, _: Progress| false,
    };
    if let Some(failures) = attack.fail_power(sample) {
        eprintln!("{storage:?}: {failures} power failures");
        assert_eq!(failures % 3, 0);
        assert!(failures >= 3 * sample, "{failures}");
    }
}

/// Next to a closed recording, there may be a lock file, but no journal and no unfinished files.
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
    attack(name, ZarrStorage::Lmdb, StepsRun, Strike::Kill, SAMPLE);
}

#[test]
fn a_kill_before_any_call_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_kill_before_any_call_loses_nothing_that_was_flushed_to_a_directory";
    attack(name, ZarrStorage::Directory, StepsRun, Strike::Kill, SAMPLE);
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_flushed_to_lmdb() {
    let name = "a_failure_of_any_call_loses_nothing_that_was_flushed_to_lmdb";
    attack(name, ZarrStorage::Lmdb, StepsRun, Strike::Fail, SAMPLE);
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_failure_of_any_call_loses_nothing_that_was_flushed_to_a_directory";
    attack(name, ZarrStorage::Directory, StepsRun, Strike::Fail, SAMPLE);
}

#[test]
fn a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_lmdb_nor_to_another_store() {
    let name =
        "a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_lmdb_nor_to_another_store";
    attack(name, ZarrStorage::Lmdb, StepsRun, Strike::ReadOnly, SAMPLE);
}

#[test]
fn a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_a_directory_nor_to_another_store() {
    let name = "a_disk_that_gets_read_only_loses_nothing_that_was_flushed_to_a_directory_nor_to_another_store";
    attack(
        name,
        ZarrStorage::Directory,
        StepsRun,
        Strike::ReadOnly,
        SAMPLE,
    );
}

#[test]
fn a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_lmdb() {
    let name = "a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_lmdb";
    fail_power(name, ZarrStorage::Lmdb, StepsRun, SAMPLE);
}

#[test]
fn a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_a_directory() {
    let name = "a_power_failure_at_any_moment_loses_nothing_that_was_flushed_to_a_directory";
    fail_power(name, ZarrStorage::Directory, StepsRun, SAMPLE);
}

#[test]
fn a_kill_before_any_call_leaves_whole_ticks_on_lmdb() {
    let name = "a_kill_before_any_call_leaves_whole_ticks_on_lmdb";
    attack(
        name,
        ZarrStorage::Lmdb,
        TimelinesRun,
        Strike::Kill,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_failure_of_any_call_leaves_whole_ticks_on_lmdb() {
    let name = "a_failure_of_any_call_leaves_whole_ticks_on_lmdb";
    attack(
        name,
        ZarrStorage::Lmdb,
        TimelinesRun,
        Strike::Fail,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_disk_that_becomes_read_only_leaves_whole_ticks_on_lmdb() {
    let name = "a_disk_that_becomes_read_only_leaves_whole_ticks_on_lmdb";
    attack(
        name,
        ZarrStorage::Lmdb,
        TimelinesRun,
        Strike::ReadOnly,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_power_failure_at_any_moment_leaves_whole_ticks_on_lmdb() {
    let name = "a_power_failure_at_any_moment_leaves_whole_ticks_on_lmdb";
    fail_power(name, ZarrStorage::Lmdb, TimelinesRun, SAMPLE_OF_TICKS);
}

#[test]
fn a_kill_before_any_call_leaves_whole_ticks_in_a_directory() {
    let name = "a_kill_before_any_call_leaves_whole_ticks_in_a_directory";
    attack(
        name,
        ZarrStorage::Directory,
        TimelinesRun,
        Strike::Kill,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_failure_of_any_call_leaves_whole_ticks_in_a_directory() {
    let name = "a_failure_of_any_call_leaves_whole_ticks_in_a_directory";
    attack(
        name,
        ZarrStorage::Directory,
        TimelinesRun,
        Strike::Fail,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_disk_that_becomes_read_only_leaves_whole_ticks_in_a_directory() {
    let name = "a_disk_that_becomes_read_only_leaves_whole_ticks_in_a_directory";
    attack(
        name,
        ZarrStorage::Directory,
        TimelinesRun,
        Strike::ReadOnly,
        SAMPLE_OF_TICKS,
    );
}

#[test]
fn a_power_failure_at_any_moment_leaves_whole_ticks_in_a_directory() {
    let name = "a_power_failure_at_any_moment_leaves_whole_ticks_in_a_directory";
    fail_power(name, ZarrStorage::Directory, TimelinesRun, SAMPLE_OF_TICKS);
}
