//! `set`, `rm`, `mv`, `attr` and `rewind`.

use simrecorder::{DType, Recorder, prelude::*};

use crate::runs::closed;
use crate::support::{Places, answer_no, error, is_file, simrec, stdout};

fn reader(recording: &str) -> Recorder {
    Recorder::new(simrecorder::open(recording).unwrap())
}

fn keys(recording: &str) -> Vec<String> {
    let keys = reader(recording).keys().unwrap();
    keys.iter().map(|key| key.as_str().to_owned()).collect()
}

#[test]
fn values_of_all_kinds_are_set() {
    let places = Places::new();
    for run in closed(&places, "run", 3) {
        for arguments in [
            &["meta/seed", "7"][..],
            &["meta/tau", "-1.5", "--type", "float32", "--units", "ms"],
            &["meta/note", "second attempt"],
            &["meta/number", "7", "--type", "text"],
            &["meta/matrix", "[[1, 2], [3, 4]]"],
            &["meta/object", r#"{"a": [1, null]}"#],
        ] {
            assert_eq!(stdout(&[&["set", &run], arguments].concat()), "");
        }
        let recorder = reader(&run);
        assert_eq!(recorder.get_as::<i64>("meta/seed").unwrap(), Some(7));
        let tau = recorder.require("meta/tau").unwrap();
        assert_eq!(
            (tau.dtype(), tau.scalar::<f32>().unwrap()),
            (Some(DType::F32), -1.5)
        );
        assert_eq!(
            recorder.attributes("meta/tau").unwrap().unwrap()["units"],
            "ms"
        );
        assert_eq!(
            recorder.require("meta/note").unwrap().as_str().unwrap(),
            "second attempt"
        );
        assert_eq!(
            recorder.require("meta/number").unwrap().as_str().unwrap(),
            "7"
        );
        let matrix = recorder
            .require("meta/matrix")
            .unwrap()
            .array::<i64>()
            .unwrap();
        assert_eq!(matrix.shape(), [2, 2]);
        for (arguments, part) in [
            (&["net/v", "1"][..], "net/v"),
            (&["a/../b", "1"], "a/../b"),
            (&["x", "300", "--type", "uint8"], "does not fit into uint8"),
            (&["x", "[1, [2]]"], "equal lengths"),
            (&["x", "1", "--type", "float23"], "float23"),
        ] {
            let line = error(2, &[&["set", &run], arguments].concat());
            assert!(line.contains(part), "{line}");
        }
    }
}

#[test]
fn keys_are_removed_after_a_question() {
    let places = Places::new();
    let program = simrec(&[]).get_program().to_str().unwrap().to_owned();
    for run in closed(&places, "run", 3) {
        let before = keys(&run);
        let line = error(2, &["rm", &run, "net"]);
        assert!(
            line.contains("remove 'net' with 3 keys") && line.ends_with("pass --yes"),
            "{line}"
        );
        assert_eq!(keys(&run), before);
        // `script` runs it in a pseudo-terminal.
        let answer = |answer: &str, status| {
            let command = format!("{program} rm '{run}' spikes");
            let ended = assert_cmd::Command::new("script")
                .args(["-qec", &command, "/dev/null"])
                .write_stdin(answer)
                .assert()
                .code(status);
            let shown = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
            assert!(shown.contains("remove 'spikes'? [y/N]"), "{shown}");
        };
        answer("n\n", 1);
        assert_eq!(keys(&run), before);
        answer("y\n", 0);
        assert!(!keys(&run).contains(&"spikes".to_owned()));
        stdout(&["rm", "--yes", &run, "meta/*", "net", "net/v"]);
        assert_eq!(keys(&run), ["log"]);
        let line = error(2, &["rm", "--yes", &run, "lag"]);
        assert!(line.contains("'lag'") && line.contains("'log'"), "{line}");
    }
}

#[test]
fn keys_are_renamed_with_all_below_them() {
    let places = Places::new();
    for run in closed(&places, "run", 3) {
        stdout(&["mv", &run, "net", "old/net"]);
        stdout(&["mv", &run, "log", "old/log"]);
        let found = keys(&run);
        assert!(found.contains(&"old/net/v".to_owned()) && found.contains(&"old/log".to_owned()));
        let line = error(2, &["mv", &run, "nat", "x"]);
        assert!(line.contains("'nat'"), "{line}");
        let line = error(2, &["mv", &run, "spikes", "old/log"]);
        assert!(line.contains("old/log"), "{line}");
    }
}

#[test]
fn attributes_are_listed_set_and_deleted() {
    let places = Places::new();
    for run in closed(&places, "run", 3) {
        stdout(&["attr", &run, "net/v", "units=mV", "area=0.5", "note=a = b"]);
        assert_eq!(
            stdout(&["attr", &run, "net/v"]),
            "area = 0.5\nnote = \"a = b\"\nunits = \"mV\"\n"
        );
        stdout(&["attr", &run, "net/v", "area=1", "--delete", "note"]);
        let json = stdout(&["attr", "--json", &run, "net/v"]);
        assert_eq!(json, "{\"area\":1,\"units\":\"mV\"}\n");
        stdout(&["attr", &run, "/", "title=A run"]);
        assert_eq!(stdout(&["attr", &run]), "title = \"A run\"\n");
        for (arguments, part) in [
            (&["net/w"][..], "'net/v'"),
            (&["net/v", "units"], "is not NAME=VALUE"),
            (&["net/v", "--delete", "unit"], "area, units"),
            (&["net", "simrecorder_timeline=x"], "coordinate"),
        ] {
            let line = error(2, &[&["attr", &run], arguments].concat());
            assert!(line.contains(part), "{line}");
        }
    }
}

#[test]
fn timelines_are_rewound_after_a_question() {
    let places = Places::new();
    for run in closed(&places, "run", 20) {
        let line = error(2, &["rewind", &run, "time", "7.25"]);
        assert!(line.contains("remove 5 ticks of 1 timelines"), "{line}");
        stdout(&["rewind", &run, "time", "7.25", "--yes"]);
        let net = reader(&run).group("net").unwrap();
        assert!(net.series().all(|(_, view)| view.len() == 15));
        // There are no later ticks, so no confirmation is needed.
        stdout(&["rewind", &run, "time", "7"]);
        let line = error(2, &["rewind", &run, "step", "1", "--yes"]);
        assert!(line.contains("'step'"), "{line}");
        let line = error(2, &["rewind", &run, "time", "soon"]);
        assert!(line.contains("'soon' for '<LAST>'"), "{line}");
    }
}

#[test]
fn a_recording_that_is_written_is_not_changed_by_others() {
    let places = Places::new();
    for run in closed(&places, "run", 3).iter().filter(|run| is_file(run)) {
        let recorder = Recorder::new(simrecorder::append(run).unwrap());
        recorder.record("more", 1.5).unwrap();
        recorder.flush().unwrap();
        for arguments in [
            &["set", run, "x", "1"][..],
            &["rm", "--yes", run, "log"],
            &["mv", run, "log", "x"],
            &["attr", run, "log", "a=1"],
            &["rewind", "--yes", run, "time", "0"],
            &["finish", run],
        ] {
            let line = error(2, arguments);
            assert!(
                line.contains(&**run) && line.contains("is writing this recording"),
                "{line}"
            );
        }
        assert!(recorder.kind_of("log").unwrap().is_some());
    }
    // It was not a `no`.
    let run = &closed(&places, "again", 3)[0];
    assert_eq!(
        answer_no(&["diff", run, &closed(&places, "longer", 4)[0]])
            .lines()
            .count(),
        5
    );
}
