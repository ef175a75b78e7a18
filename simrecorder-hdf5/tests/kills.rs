//! A writer is killed before each single call that changes a file, and what it left is opened.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests, too, may panic"
)]

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use simrecorder_core::{ErrorKind, OpenMode, Recorder, RecorderOptions, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

mod support;

use support::steps::*;
use support::{assert_success, python, role, this_test_by};

/// All calls that change a file or a folder. Those that a system has not are left out by strace.
const CALLS: [&str; 15] = [
    "pwrite64",
    "pwritev",
    "pwritev2",
    "write",
    "writev",
    "fdatasync",
    "fsync",
    "?ftruncate",
    "fallocate",
    "?rename",
    "?renameat",
    "renameat2",
    "?unlink",
    "unlinkat",
    "?link",
];

/// Set for a process that is to open what a writer left: how.
const RECOVER: &str = "SIMRECORDER_TEST_RECOVER";

fn open(path: &Path, mode: OpenMode) -> Result<Hdf5DataStore, simrecorder_core::Error> {
    Hdf5DataStore::options().mode(mode).open(path)
}

/// All in this thread, so that calls come in the same order each time.
fn recorder(store: Hdf5DataStore) -> Recorder {
    Recorder::with_options(store, RecorderOptions::new().inline(true))
}

fn record(recorder: &Recorder, steps: std::ops::Range<u64>) {
    for step in steps {
        record_step(recorder, step);
        recorder.record("frames", [step as f32; 500]).unwrap();
        if step % 10 == 0 {
            recorder.set(format!("parameters/{step}"), step).unwrap();
        }
        if step % 8 == 7 {
            recorder.set("last", step).unwrap();
            recorder.flush().unwrap();
            println!("flushed {}", step + 1);
        }
        if step == 20 {
            recorder.checkpoint().unwrap();
            println!("settled {}", step + 1);
        }
    }
}

/// A run with all that happens in one: keys that appear throughout, flushes, a checkpoint, a
/// close, and the same run gone on with.
fn run(path: &Path) {
    let first = recorder(open(path, OpenMode::CreateNew).unwrap());
    declare_steps(&first, 8);
    record(&first, 0..30);
    first.close().unwrap();
    println!("settled 30");
    let second = recorder(open(path, OpenMode::Append).unwrap());
    record(&second, 30..50);
    second.close().unwrap();
    println!("settled 50");
}

/// How far a writer came before it was killed.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// So many steps were flushed.
    flushed: u64,
    /// So many steps were in the main file at the last checkpoint.
    settled: u64,
    was_killed: bool,
}

/// Runs the role of the test, killed before the `n`-th call named `call`.
fn run_until(call: &str, n: u64, name: &str, path: &Path, recover: Option<&str>) -> Progress {
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let trace = format!("trace={call}");
    let arguments = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut command = this_test_by("strace", &arguments, name, path);
    if let Some(recover) = recover {
        command.env(RECOVER, recover);
    }
    let output = command.output();
    let output = output.expect("this test runs strace: install it, as ci/setup does");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = |word: &str| {
        let numbers = text.lines().filter_map(|line| line.split_once(word));
        let numbers = numbers.filter_map(|(_, number)| number.trim().parse::<u64>().ok());
        numbers.max().unwrap_or(0)
    };
    let was_killed = output.status.signal() == Some(9);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        was_killed || output.status.success(),
        "strace must be able to stop a process here: {text}{errors}"
    );
    Progress {
        flushed: last("flushed ").max(last("settled ")),
        settled: last("settled "),
        was_killed,
    }
}

fn journal(path: &Path) -> PathBuf {
    path.with_extension("h5.journal")
}

/// Whether a checkpoint was going on, as docs/format.md has it: other software may not be able to
/// open the file then.
fn in_checkpoint(path: &Path) -> bool {
    let journal = fs::read(journal(path)).unwrap_or_default();
    journal.get(64).is_some_and(|byte| byte % 2 == 1)
}

/// What h5py is to read at the end.
#[derive(Default)]
struct Manifest(Vec<String>);

impl Manifest {
    fn add(&mut self, path: &Path, steps: u64, closed: bool) {
        let line = json!({"path": path, "steps": steps, "closed": closed});
        self.0.push(line.to_string());
    }

    fn check(&self, folder: &Path) {
        let path = folder.join("manifest");
        fs::write(&path, self.0.join("\n")).unwrap();
        assert_success(python("read_steps.py").arg("files").arg(path));
    }
}

/// Opens what a killed writer left, with what was flushed in it, goes on with it, and closes it.
fn check(path: &Path, progress: Progress, manifest: &mut Manifest) {
    let folder = path.parent().unwrap();
    let safe = progress.flushed;
    if path.exists() && !in_checkpoint(path) {
        let copy = folder.join("as_it_was.h5");
        fs::copy(path, &copy).unwrap();
        manifest.add(&copy, progress.settled, false);
    }
    let steps = match open(path, OpenMode::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound && safe == 0 => 0,
        store => {
            let reader = Recorder::new(store.unwrap());
            let is_declared = reader.kind_of("n").unwrap().is_some();
            assert!(is_declared || safe == 0, "{progress:?}");
            match is_declared {
                true => {
                    let lengths = check_all(&reader);
                    assert!(
                        lengths.iter().all(|&len| len >= safe),
                        "{lengths:?} {progress:?}"
                    );
                    *lengths.iter().min().unwrap()
                }
                false => 0,
            }
        }
    };
    if path.exists() {
        // A checkpoint that was interrupted is ended by now.
        assert!(!in_checkpoint(path));
        let copy = folder.join("opened.h5");
        fs::copy(path, &copy).unwrap();
        manifest.add(&copy, progress.settled, false);
    }
    let store = open(path, OpenMode::OpenOrCreate).unwrap();
    cut(&store, steps);
    let again = recorder(store);
    declare_steps(&again, 8);
    for step in steps..steps + 3 {
        record_step(&again, step);
        again.record("frames", [step as f32; 500]).unwrap();
    }
    again.close().unwrap();
    drop(again);
    let files: Vec<_> = fs::read_dir(folder).unwrap().collect();
    let ours = files.iter().map(|file| file.as_ref().unwrap().file_name());
    let ours: Vec<_> = ours
        .filter(|name| name.to_string_lossy().starts_with("run"))
        .collect();
    assert_eq!(ours, ["run.h5"], "something is left over");
    manifest.add(path, steps + 3, true);
}

/// Checks that all series are true prefixes; returns their lengths.
fn check_all(recorder: &Recorder) -> Vec<u64> {
    let mut lengths = check_prefixes(recorder);
    if recorder.kind_of("frames").unwrap().is_some() {
        let frames = recorder.get_all("frames").unwrap();
        for (step, frame) in frames.read::<f32>().unwrap().outer_iter().enumerate() {
            assert!(frame.iter().all(|&x| x == step as f32));
        }
        lengths.push(frames.len());
    } else {
        lengths.push(0);
    }
    lengths
}

fn copy_run(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with("run.h5") {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    to.join("run.h5")
}

/// What the process does that is killed.
fn act(path: &Path) {
    match std::env::var(RECOVER).as_deref() {
        Err(_) => run(path),
        Ok("read") => {
            check_all(&Recorder::new(open(path, OpenMode::Read).unwrap()));
        }
        Ok(_) => {
            let recorder = recorder(open(path, OpenMode::Append).unwrap());
            check_all(&recorder);
            recorder.close().unwrap();
        }
    }
}

#[test]
fn a_writer_killed_before_any_call_that_changes_a_file_loses_nothing_that_was_flushed() {
    const NAME: &str =
        "a_writer_killed_before_any_call_that_changes_a_file_loses_nothing_that_was_flushed";
    if let Some(path) = role() {
        return act(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::default();
    let mut kills = 0;
    let mut interrupted = Vec::new();
    for call in CALLS {
        for n in 1.. {
            let place = folder
                .path()
                .join(format!("{}_{n}", call.trim_start_matches('?')));
            fs::create_dir(&place).unwrap();
            let path = place.join("run.h5");
            let progress = run_until(call, n, NAME, &path, None);
            if !progress.was_killed {
                assert_eq!(progress.settled, 50);
                break;
            }
            kills += 1;
            if in_checkpoint(&path) {
                let copy = copy_run(&path, &place.join("interrupted"));
                interrupted.push((copy, progress));
            }
            check(&path, progress, &mut manifest);
        }
    }
    manifest.check(folder.path());
    println!(
        "{kills} kills, {} of them within a checkpoint",
        interrupted.len()
    );
    io::stdout().flush().unwrap();
    assert!(kills > 80 && interrupted.len() > 5, "{kills}");

    // Whoever ends a checkpoint may be killed as well.
    let mut manifest = Manifest::default();
    let mut kills = 0;
    let some = [
        interrupted.first(),
        interrupted.get(interrupted.len() / 2),
        interrupted.last(),
    ];
    for (from, progress) in some.into_iter().flatten() {
        for recover in ["read", "append"] {
            for call in CALLS {
                for n in 1.. {
                    kills += 1;
                    let place = folder.path().join(format!("recover_{kills}"));
                    let path = copy_run(from, &place);
                    if !run_until(call, n, NAME, &path, Some(recover)).was_killed {
                        break;
                    }
                    check(&path, *progress, &mut manifest);
                }
            }
        }
    }
    manifest.check(folder.path());
    assert!(manifest.0.len() > 40, "{kills}");
}
