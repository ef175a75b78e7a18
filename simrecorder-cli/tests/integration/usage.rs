//! What all commands have in common.

use simrecorder::Recorder;

use crate::support::{Places, create, error, start, stdout};

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

#[cfg(not(feature = "serve"))]
#[test]
fn a_program_without_serve_says_how_to_build_it() {
    let line = error(2, &["serve", "run.mdb"]);
    assert!(line.contains("--features serve"), "{line}");
}

#[test]
fn a_recording_that_is_missing_is_named() {
    let line = error(2, &["ls", "missing.mdb"]);
    assert!(line.starts_with("simrec: open 'missing.mdb': "), "{line}");
}

#[test]
fn a_closed_pipe_ends_the_program_silently() {
    let places = Places::new();
    let run = places.path("run.mdb");
    let recorder = Recorder::new(create(&run));
    recorder.record("v", vec![0.5; 100_000]).unwrap();
    recorder.close().unwrap();
    for arguments in [
        &["--help"][..],
        &["cat", &run, "v"],
        &["cat", "--csv", &run, "v"],
        &["cat", "--json", &run, "v"],
    ] {
        let mut child = start(arguments);
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8(ended.stderr).unwrap(),
            "",
            "{arguments:?}"
        );
        assert!(ended.status.success(), "{arguments:?}");
    }
}
