//! What all commands have in common.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{error, simrec, stdout};

#[test]
fn the_version_and_the_help_go_to_standard_output() {
    assert_eq!(
        stdout(&["--version"]),
        concat!("simrec ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = stdout(&["--help"]);
    assert!(help.contains("Usage: simrec"), "{help}");
    let help = stdout(&["ls", "--help"]);
    assert!(help.contains("Examples:\n  simrec ls "), "{help}");
}

#[test]
fn wrong_usage_is_one_line_with_status_2() {
    let line = error(2, &["ls"]);
    assert_eq!(
        line,
        "simrec: the following required arguments were not provided: <RECORDING>; \
         usage: simrec ls <RECORDING> [KEY]..."
    );
    let line = error(2, &["lss", "run.mdb"]);
    assert!(
        line.starts_with("simrec: unrecognized subcommand 'lss'; "),
        "{line}"
    );
    assert!(line.contains("'ls'"), "{line}");
    assert_eq!(
        error(2, &[]),
        "simrec: a command is missing; see 'simrec --help'"
    );
}

#[test]
fn a_recording_that_is_missing_is_named() {
    let line = error(2, &["ls", "missing.mdb"]);
    assert!(line.starts_with("simrec: open 'missing.mdb': "), "{line}");
}

#[test]
fn a_closed_pipe_ends_the_program_silently() {
    let program = simrec(&["--help"]).get_program().to_owned();
    let mut child = Command::new(program)
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut reported = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut reported).unwrap();
    assert_eq!(reported, "");
    assert!(child.wait().unwrap().success());
}
