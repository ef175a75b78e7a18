//! `copy`, `drain` and `finish`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use simrecorder::ndarray::Array1;
use simrecorder::{OpenMode, Recorder};

use crate::runs::{closed, record};
use crate::support::{Places, create, error, is_file, names_beside, send, simrec, start, stdout};

fn reader(recording: &str) -> Recorder {
    Recorder::new(simrecorder::open(recording).unwrap())
}

#[test]
fn a_recording_is_copied_into_any_store_and_is_the_same_there() {
    let places = Places::new();
    for (i, from) in closed(&places, "run", 30).into_iter().enumerate() {
        for to in places.recordings(&format!("copy{i}")) {
            let said = stdout(&["copy", &from, &to]);
            assert_eq!(said, "7 keys with 150 records copied\n", "{from} to {to}");
            stdout(&["diff", &from, &to]);
            if is_file(&to) {
                let names = names_beside(&to);
                assert!(
                    !names.iter().any(|name| name.contains("partial")),
                    "{names:?}"
                );
            }
        }
    }
}

#[test]
fn a_recording_is_copied_while_it_is_written() {
    let places = Places::new();
    for (i, from) in places.recordings("run").iter().enumerate() {
        let writer = Recorder::new(create(from));
        record(&writer, 30);
        writer.flush().unwrap();
        let to = &places.recordings("copy")[i];
        stdout(&["copy", from, to]);
        assert_eq!(reader(to).get_all("net/v").unwrap().shape(), [30, 50]);
        writer.close().unwrap();
    }
}

#[test]
fn a_part_is_copied_and_encoded_again() {
    let places = Places::new();
    for (i, from) in closed(&places, "run", 30).iter().enumerate() {
        let to = &places.recordings("part")[i];
        stdout(&[
            "copy",
            from,
            to,
            "--include",
            "net/*",
            "--include",
            "log",
            "--exclude",
            "**/rate",
            "--select",
            "time=2..=3",
            "--compression",
            "small",
        ]);
        let part = reader(to);
        let keys: Vec<_> = part.keys().unwrap();
        let keys: Vec<_> = keys.iter().map(|key| key.as_str()).collect();
        assert_eq!(keys, ["log", "net/time", "net/v"]);
        let time = part.get_all("net/time").unwrap().read::<f64>().unwrap();
        assert_eq!(time.as_slice().unwrap(), [2.0, 2.5, 3.0]);
        // Nothing is replaced; records are added only on request.
        let line = error(2, &["copy", from, to]);
        assert!(line.contains("already exists"), "{line}");
        stdout(&["copy", from, to, "--append", "--include", "meta/*"]);
        assert_eq!(reader(to).get_as::<u64>("meta/seed").unwrap(), Some(42));
        let line = error(2, &["copy", from, to, "--append", "--include", "meta/*"]);
        assert!(line.contains("'meta/seed'"), "{line}");
    }
}

#[test]
fn wrong_arguments_of_a_copy_are_named() {
    let places = Places::new();
    let from = &closed(&places, "run", 3)[0];
    let to = places.recordings("copy")[0].clone();
    for (option, value, part) in [
        ("--select", "time=1", "'time=1' is not a range"),
        ("--select", "time=a..b", "is not a range"),
        ("--select", "step=1..2", "'step'"),
        ("--include", "no/such", "'no/such'"),
        ("--compression", "tiny", "tiny"),
    ] {
        let line = error(2, &["copy", from, &to, option, value]);
        assert!(line.contains(part), "{line}");
        assert!(!Path::new(&to).exists());
    }
    let line = error(2, &["copy", from, &places.path("copy.txt")]);
    assert!(line.contains("copy.txt"), "{line}");
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let places = Places::new();
    let from = &places.recordings("run")[0];
    let recorder = Recorder::new(create(from));
    // So much that it is not copied before the signal arrives.
    let frame: Array1<f64> = (0..1_u64 << 17)
        .map(|i| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2))
        .collect();
    (0..200).for_each(|_| recorder.record("v", &frame).unwrap());
    recorder.close().unwrap();
    for to in places.recordings("copy").iter().filter(|to| is_file(to)) {
        let before = names_beside(to);
        let child = start(&["copy", from, to]);
        while names_beside(to) == before {
            thread::sleep(Duration::from_millis(1));
        }
        send("INT", &child);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.ends_with("interrupted; nothing was kept\n"), "{said}");
        assert_eq!(names_beside(to), before);
    }
}

#[test]
fn progress_is_shown_at_a_terminal_alone() {
    let places = Places::new();
    let from = &closed(&places, "run", 30)[0];
    let to = &places.path("copy.zarr");
    let program = simrec(&[]).get_program().to_str().unwrap().to_owned();
    let command = format!("{program} copy {from} {to}");
    // `script` runs it in a pseudo-terminal.
    let ended = assert_cmd::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .assert()
        .success();
    let shown = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    assert!(shown.contains(" % ") && shown.contains("/s "), "{shown:?}");
}

#[cfg(feature = "redis")]
#[test]
fn records_are_drained_from_a_server_once_and_as_they_come() {
    let places = Places::new();
    let from = places.recordings("run").pop().unwrap();
    let recorder = Recorder::new(create(&from));
    (0..100_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.flush().unwrap();
    let to = places.path("drained.mdb");
    assert_eq!(stdout(&["drain", &from, &to]), "100 records moved\n");
    assert_eq!(reader(&to).get_all("n").unwrap().len(), 100);

    let child = start(&["drain", &from, &to, "--follow", "--interval", "1"]);
    (100..150_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.flush().unwrap();
    while reader(&to).get_all("n").unwrap().len() < 150 {
        thread::sleep(Duration::from_millis(20));
    }
    send("TERM", &child);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(
        String::from_utf8(ended.stdout).unwrap(),
        "50 records moved\n"
    );
    let numbers = reader(&to).get_all("n").unwrap().read::<u64>().unwrap();
    assert!(numbers.into_iter().eq(0..150));
    recorder.close().unwrap();
    let line = error(2, &["drain", &to, &places.path("other.mdb")]);
    assert!(line.contains("copy from it instead"), "{line}");
}

/// Writes the recording named by the role, and ends without closing it.
fn killed_writer() {
    let Some(recording) = simrecorder_testkit::role() else {
        return;
    };
    let recorder = Recorder::new(create(recording.to_str().unwrap()));
    record(&recorder, 30);
    recorder.flush().unwrap();
    std::process::abort();
}

#[test]
fn the_recording_of_a_killed_writer_is_finished() {
    killed_writer();
    let places = Places::new();
    for recording in places.recordings("run") {
        let name = "the_recording_of_a_killed_writer_is_finished";
        let mut child = simrecorder_testkit::this_test(name, Path::new(&recording));
        assert!(!child.output().unwrap().status.success());
        // It can be read, copied and compared as it is.
        let copy = places.path("before.mdb");
        stdout(&["copy", &recording, &copy]);
        stdout(&["verify", &recording]);
        let said = stdout(&["finish", &recording]);
        let was_moved = said.ends_with("were folded, so that other software reads them\n");
        assert_eq!(was_moved, is_file(&recording), "{said}");
        stdout(&["diff", &recording, &copy]);
        if is_file(&recording) {
            let beside = names_beside(&recording);
            let journals = beside.iter().filter(|name| name.contains("journal"));
            assert_eq!(journals.count(), 0, "{beside:?}");
            fs::remove_dir_all(&copy).unwrap();
        }
        assert_eq!(stdout(&["finish", &recording]), "nothing to repair\n");
        let json = stdout(&["finish", "--json", &recording]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["was_finished"], true);
        assert_eq!(
            (&json["tails"], &json["journal_bytes"]),
            (&0.into(), &0.into())
        );
        let options = simrecorder::OpenOptions::new().mode(OpenMode::Read);
        assert!(simrecorder::open_with(&recording, &options).is_ok());
    }
    let line = error(2, &["finish", &places.path("missing.mdb")]);
    assert!(line.contains("missing.mdb"), "{line}");
}
