//! Runs the programs of docs/guide.md in order, and checks that its commands print what the guide
//! shows for the recordings of the Rust programs. `test_documentation.py` of simrecorder-python
//! does the same for Python.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use simrecorder::Recorder;
use simrecorder_testkit::{role, this_test};

use crate::documents::{blocks, document, run_commands};
use crate::support::{Places, send, start};

/// Makes a module of a program. `run` calls its `main`.
macro_rules! program {
    ($name:ident, $file:literal) => {
        #[allow(clippy::print_stdout)]
        mod $name {
            include!(concat!("../../../docs/guide/", $file));

            pub(super) fn run() {
                main().unwrap();
            }
        }
    };
}

program!(record, "record.rs");
program!(read, "read.rs");
program!(resume, "resume.rs");
program!(worker, "worker.rs");

/// The Rust programs in order: their text in the guide, and the function that runs it.
const PROGRAMS: [(&str, fn()); 4] = [
    (include_str!("../../../docs/guide/record.rs"), record::run),
    (include_str!("../../../docs/guide/read.rs"), read::run),
    (include_str!("../../../docs/guide/resume.rs"), resume::run),
    (include_str!("../../../docs/guide/worker.rs"), worker::run),
];

/// The environment variable with the program that this process runs.
const PROGRAM: &str = "SIMRECORDER_GUIDE_PROGRAM";

const TEST: &str = "the_programs_and_commands_of_the_guide_run_in_their_order";

#[test]
fn the_programs_and_commands_of_the_guide_run_in_their_order() {
    if role().is_some() {
        let program: usize = std::env::var(PROGRAM).unwrap().parse().unwrap();
        return PROGRAMS[program].1();
    }
    let places = Places::new();
    let folder = places.path("");
    let mut programs = 0..PROGRAMS.len();
    let mut server = None;
    let (mut url, mut differing) = (String::new(), String::new());
    for (language, block) in blocks(&document("guide.md")) {
        match language {
            "rust,no_run" => {
                let program = programs.next().unwrap();
                assert_eq!(block, PROGRAMS[program].0, "docs/guide has the same");
                run_program(program, &block, Path::new(&folder), &url);
            }
            "sh" => server = Some(serve(&block, &folder, &mut url)),
            "console" => {
                let (count, other) = run_commands(&block, &folder, &[("SWEEP_URL", &url)]);
                assert!(count > 0);
                differing.push_str(&other);
            }
            "text" | "python" => {}
            other => panic!("a block of '{other}'"),
        }
    }
    assert_eq!(programs.len(), 0, "the guide has all programs");
    assert!(
        differing.is_empty(),
        "the guide shows something else than:\n{differing}"
    );
    let server: Child = server.unwrap();
    send("INT", &server);
    assert!(server.wait_with_output().unwrap().status.success());
}

/// Runs a program to its end. If it handles signals, interrupts it once first.
fn run_program(program: usize, text: &str, folder: &Path, url: &str) {
    let command = || {
        let mut command = this_test(TEST, folder);
        command
            .current_dir(folder)
            .env(PROGRAM, program.to_string());
        command.envs([("SWEEP_URL", url), ("WORKER", "1")]);
        command
    };
    if text.contains("SIGINT") {
        interrupt(command(), &folder.join("walk.mdb"));
    }
    assert!(command().status().unwrap().success(), "program {program}");
}

/// Sends SIGINT to a program when another process sees the state that it saved.
fn interrupt(mut command: Command, recording: &Path) {
    let mut child = command.spawn().unwrap();
    let saved = || {
        let recorder = Recorder::new(simrecorder::open(recording).ok()?);
        recorder.get("state").ok()?
    };
    while saved().is_none() {
        assert!(child.try_wait().unwrap().is_none(), "it runs for longer");
        std::thread::sleep(Duration::from_millis(10));
    }
    send("INT", &child);
    assert!(child.wait().unwrap().success());
}

/// Starts the server of a block, on a free port.
fn serve(block: &str, folder: &str, url: &mut String) -> Child {
    let lines: Vec<_> = block.lines().collect();
    let [secret, server] = lines[..] else {
        panic!("{block}");
    };
    let secret = Command::new("sh")
        .args(["-c", secret])
        .current_dir(folder)
        .status();
    assert!(secret.unwrap().success());
    let arguments = server
        .strip_prefix("simrec server data --port 6379 ")
        .unwrap();
    let arguments = arguments.replace("--password-file ", &format!("--password-file {folder}/"));
    let data = format!("{folder}/data");
    let arguments: Vec<_> = ["server", &data]
        .into_iter()
        .chain(arguments.split(' '))
        .collect();
    let mut child = start(&arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(url).unwrap();
    url.truncate(url.trim_end().len());
    url.push_str("?run=sweep");
    child
}
