//! Writers that are killed, or whose disk fails, at every single call that changes a file. h5py
//! reads the remains.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::Path;

use serde_json::json;
use simrecorder_core::{OpenMode, Result};
use simrecorder_hdf5::Hdf5DataStore;
use tempfile::TempDir;

use crate::support;

use support::kill_points::{Attack, Moment, StepsRun, TimelinesRun};
use support::system_calls::{Progress, Strike};
use support::{assert_success, python};

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore> {
    Hdf5DataStore::options().mode(mode).open(path)
}

/// Whether a checkpoint was in progress, as docs/format-hdf5.md specifies: other software may then
/// be unable to open the file.
fn in_checkpoint(path: &Path) -> bool {
    let journal = fs::read(path.with_extension("h5.journal")).unwrap_or_default();
    journal.get(64).is_some_and(|byte| byte % 2 == 1)
}

/// Truncates the last record of the journal, as if the commit had been interrupted while writing
/// it.
fn tear(path: &Path) -> bool {
    let Ok(journal) = File::options()
        .write(true)
        .open(path.with_extension("h5.journal"))
    else {
        return false;
    };
    // A journal without records is shorter.
    let cut = journal.metadata().unwrap().len().checked_sub(100);
    cut.is_some_and(|length| journal.set_len(length).is_ok())
}

/// Copies of the remains of writers, which h5py reads at the end.
#[derive(Default)]
struct Copies {
    folder: OnceCell<TempDir>,
    manifest: Vec<String>,
    interrupted: usize,
}

impl Copies {
    /// Created when it is first needed: a test that is interrupted must not create folders itself.
    fn folder(&self) -> &Path {
        self.folder
            .get_or_init(|| tempfile::tempdir().unwrap())
            .path()
    }

    fn add(&mut self, path: &Path, steps: u64, closed: bool) {
        let name = format!("{}.h5", self.manifest.len());
        let copy = self.folder().join(name);
        fs::copy(path, &copy).unwrap();
        let line = json!({"path": copy, "steps": steps, "closed": closed});
        self.manifest.push(line.to_string());
    }

    /// Returns whether a checkpoint was interrupted, which the next process that opens the file
    /// completes, or whether a commit was torn.
    fn look(&mut self, path: &Path, moment: Moment, progress: Progress) -> bool {
        if !path.exists() {
            return false;
        }
        let in_checkpoint = in_checkpoint(path);
        match moment {
            Moment::Struck if in_checkpoint => self.interrupted += 1,
            Moment::Struck => self.add(path, progress.settled, false),
            Moment::Unreported => {
                assert!(!in_checkpoint);
                return tear(path);
            }
            Moment::Read => {
                assert!(!in_checkpoint, "opening it completes a checkpoint");
                self.add(path, progress.settled, false);
            }
            Moment::Closed(steps) => {
                self.add(path, steps, true);
                nothing_is_left_over(path);
            }
        }
        in_checkpoint
    }

    fn check(&self) {
        let path = self.folder().join("manifest");
        fs::write(&path, self.manifest.join("\n")).unwrap();
        assert_success(python("read_steps.py").arg("files").arg(path));
    }
}

fn nothing_is_left_over(path: &Path) {
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let name = file.unwrap().file_name();
        assert_eq!(name, "run.h5", "something is left over");
    }
}

fn attack(test: &str, strike: Strike, sample: usize) {
    let mut copies = Copies::default();
    let attack = Attack {
        run: StepsRun,
        test,
        file: "run.h5",
        open,
        look: |path: &Path, moment: Moment, progress: Progress| copies.look(path, moment, progress),
    };
    if let Some(figures) = attack.strike(strike, sample) {
        copies.check();
        let interrupted = copies.interrupted;
        eprintln!("{figures:?}, a checkpoint was interrupted {interrupted} times");
        assert!(figures.calls >= 120 && interrupted >= 4, "{figures:?}");
        assert!(figures.strikes >= sample - 4, "{figures:?}");
        assert!(figures.recoveries >= 8 && figures.torn >= 4, "{figures:?}");
    }
}

/// The same with timelines, which only this library reads: other software sees what a checkpoint
/// left.
fn attack_timelines(test: &str, strike: Strike) {
    let sample = 16;
    let attack = Attack {
        run: TimelinesRun,
        test,
        file: "run.h5",
        open,
        look: |path: &Path, moment: Moment, _: Progress| match moment {
            Moment::Struck => true,
            Moment::Unreported => tear(path),
            Moment::Read => false,
            Moment::Closed(_) => {
                nothing_is_left_over(path);
                false
            }
        },
    };
    if let Some(figures) = attack.strike(strike, sample) {
        eprintln!("{figures:?}");
        assert!(figures.calls >= 120, "{figures:?}");
        assert!(figures.strikes >= sample - 4, "{figures:?}");
        assert!(figures.recoveries >= 4, "{figures:?}");
    }
}

#[test]
fn a_kill_before_any_call_loses_nothing_that_was_flushed() {
    let name = "a_kill_before_any_call_loses_nothing_that_was_flushed";
    attack(name, Strike::Kill, 40);
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_flushed() {
    let name = "a_failure_of_any_call_loses_nothing_that_was_flushed";
    attack(name, Strike::Fail, 40);
}

#[test]
fn a_disk_that_gets_read_only_loses_nothing_that_was_flushed_nor_recorded_to_another_store() {
    let name =
        "a_disk_that_gets_read_only_loses_nothing_that_was_flushed_nor_recorded_to_another_store";
    attack(name, Strike::ReadOnly, 40);
}

#[test]
fn a_kill_before_any_call_leaves_whole_ticks() {
    attack_timelines("a_kill_before_any_call_leaves_whole_ticks", Strike::Kill);
}

#[test]
fn a_failure_of_any_call_leaves_whole_ticks() {
    attack_timelines("a_failure_of_any_call_leaves_whole_ticks", Strike::Fail);
}

#[test]
fn a_disk_that_becomes_read_only_leaves_whole_ticks() {
    attack_timelines(
        "a_disk_that_becomes_read_only_leaves_whole_ticks",
        Strike::ReadOnly,
    );
}
