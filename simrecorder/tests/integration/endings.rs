//! The ends of a program, and what of its recording is stored then.
#![cfg(all(unix, feature = "zarr"))]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests, too, may panic"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use simrecorder::{OpenMode, OpenOptions, Recorder, RecorderOptions};
use simrecorder_testkit::{role, this_test};

#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/interrupt.rs"]
mod interrupt;

fn file_stores() -> impl Iterator<Item = &'static str> {
    let hdf5 = cfg!(feature = "hdf5").then_some("run.h5");
    ["run.mdb", "run.zarr"].into_iter().chain(hdf5)
}

/// The numbers of the series `step` of a recording, which are 0, 1, 2 and so on.
fn step_count(path: &Path) -> u64 {
    let recorder = Recorder::new(simrecorder::open(path).unwrap());
    let steps = recorder.get_all("step").unwrap().read::<u64>().unwrap();
    assert!(steps.iter().copied().eq(0..steps.len() as u64));
    steps.len() as u64
}

/// Sends a signal to a running program.
fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let kill = kill.args([&format!("-{name}"), &child.id().to_string()]);
    assert!(kill.status().unwrap().success());
}

/// Reads the output of a program up to a line with this beginning; returns the rest of the line.
fn wait_for_line(lines: &mut impl Iterator<Item = String>, start: &str) -> String {
    let rest = |line: String| line.strip_prefix(start).map(str::to_owned);
    lines.find_map(rest).unwrap()
}

#[test]
fn a_simulation_that_is_ended_by_ctrl_c_or_sigterm_has_every_record() {
    let name = "a_simulation_that_is_ended_by_ctrl_c_or_sigterm_has_every_record";
    if let Some(path) = role() {
        return interrupt::simulate(&path).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    for store in file_stores() {
        let path = folder.path().join(store);
        let mut expected = 0;
        // The second run continues the first one.
        for signal_name in ["INT", "TERM"] {
            let mut command = this_test(name, &path);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut lines = lines.map_while(Result::ok);
            wait_for_line(&mut lines, "step ");
            signal(&child, signal_name);
            let recorded = wait_for_line(&mut lines, "recorded ");
            assert!(child.wait().unwrap().success(), "{store}, {signal_name}");
            let count = step_count(&path);
            assert_eq!(recorded, format!("{count} steps"), "{store}, {signal_name}");
            assert!(count > expected, "{store}, {signal_name}");
            expected = count;
        }
    }
}

const FLUSHED: u64 = 100;
const MORE: u64 = 10;

/// Records, flushes, records some more, and ends in the named way.
fn end(ending: &str, path: &Path) {
    let options = OpenOptions::new().mode(OpenMode::CreateNew);
    let store = simrecorder::open_with(path, &options).unwrap();
    // Only the flush commits.
    let options = RecorderOptions::new().commit_interval(None);
    let recorder = Recorder::with_options(store, options);
    let record = |steps: std::ops::Range<u64>| {
        steps.for_each(|step| recorder.record("step", step).unwrap());
    };
    record(0..FLUSHED);
    recorder.flush().unwrap();
    record(FLUSHED..FLUSHED + MORE);
    println!("recorded");
    match ending {
        "drop" => {}
        "panic" => panic!("the simulation fails"),
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "forget" => std::mem::forget(recorder),
        // Runs until the signal.
        _ => loop {
            std::thread::park();
        },
    }
}

#[test]
fn a_program_that_ends_without_close_has_what_the_documentation_says() {
    let name = "a_program_that_ends_without_close_has_what_the_documentation_says";
    if let Some(path) = role() {
        return end(&std::env::var("SIMRECORDER_TEST_ENDING").unwrap(), &path);
    }
    let folder = tempfile::tempdir().unwrap();
    // A recorder that is dropped, even by a panic, writes everything.
    let all = FLUSHED + MORE;
    type HasEnded = fn(ExitStatus) -> bool;
    let endings: [(&str, u64, HasEnded); 8] = [
        ("drop", all, |status| status.success()),
        ("panic", all, |status| !status.success()),
        ("exit", FLUSHED, |status| status.success()),
        ("forget", FLUSHED, |status| status.success()),
        ("abort", FLUSHED, |status| status.code().is_none()),
        ("INT", FLUSHED, |status| status.code().is_none()),
        ("TERM", FLUSHED, |status| status.code().is_none()),
        ("KILL", FLUSHED, |status| status.code().is_none()),
    ];
    for (ending, expected, has_ended) in endings {
        for store in file_stores() {
            let path = folder.path().join(format!("{ending}-{store}"));
            let mut command = this_test(name, &path);
            command.env("SIMRECORDER_TEST_ENDING", ending);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut lines = lines.map_while(Result::ok);
            wait_for_line(&mut lines, "recorded");
            if ending.chars().all(char::is_uppercase) {
                signal(&child, ending);
            }
            let status = child.wait().unwrap();
            assert!(has_ended(status), "{ending}, {store}: {status}");
            assert_eq!(step_count(&path), expected, "{ending}, {store}");
        }
    }
}
