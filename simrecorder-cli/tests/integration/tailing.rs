//! `tail`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;
use simrecorder::Recorder;

use crate::support::{Places, create, json_lines, runs, simrec, stdout};

#[test]
fn the_last_records_are_printed_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        assert_eq!(
            stdout(&["tail", "-n", "2", &run, "net/rate"]),
            "18.0\n19.0\n"
        );
        assert_eq!(
            stdout(&[
                "tail", "-c", "-n", "1", "--format", "%g", &run, "net/rate", "net/time"
            ]),
            "==> net/rate <==\n9.5 19\n==> net/time <==\n9.5 9.5\n"
        );
        assert_eq!(
            json_lines(&["tail", "--json", "-n", "1", &run, "net/rate", "events/rows"]),
            [
                json!({"key": "events/rows", "index": 3, "value": [3, 3, 3]}),
                json!({"key": "net/rate", "index": 19, "coordinate": {"time": 9.5}, "value": 19.0}),
            ]
        );
        assert_eq!(stdout(&["tail", &run, "events/log"]).lines().count(), 4);
    }
}

#[test]
fn records_are_followed_while_a_writer_adds_them_on_every_backend() {
    let places = Places::new();
    for run in places.recordings("growing") {
        let recorder = Recorder::new(create(&run));
        let record = |x: f64| {
            recorder.record("a", x).unwrap();
            recorder.record("b", -x).unwrap();
            recorder.flush().unwrap();
        };
        record(1.0);
        let follow = |keys: &[&str]| {
            let mut child = Command::new(simrec(&[]).get_program())
                .args(["tail", "-f", &run])
                .args(keys)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            (child, lines.map(Result::unwrap))
        };
        let (mut one, mut lines_of_one) = follow(&["a"]);
        let (mut two, mut lines_of_two) = follow(&["a", "b"]);
        assert_eq!(lines_of_one.next().unwrap(), "1.0");
        let first: Vec<_> = lines_of_two.by_ref().take(4).collect();
        assert_eq!(first, ["==> a <==", "1.0", "==> b <==", "-1.0"]);
        record(2.0);
        assert_eq!(lines_of_one.next().unwrap(), "2.0");
        let next: Vec<_> = lines_of_two.by_ref().take(4).collect();
        assert_eq!(next, ["==> a <==", "2.0", "==> b <==", "-2.0"]);
        for child in [&mut one, &mut two] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        recorder.close().unwrap();
    }
}
