//! `ls` and `tree`.

use simrecorder::Recorder;

use crate::support::{Places, create, error, json_lines, runs, stdout};
use serde_json::json;

/// A recording in each backend with these series, each with a record.
fn recordings(places: &Places, keys: &[&str]) -> Vec<String> {
    let recordings = places.recordings("run");
    for recording in &recordings {
        let recorder = Recorder::new(create(recording));
        for key in keys {
            recorder.record(*key, 1.5).unwrap();
        }
        recorder.close().unwrap();
    }
    recordings
}

#[test]
fn keys_are_listed_in_natural_order_on_every_backend() {
    let places = Places::new();
    for run in recordings(&places, &["net/p10/v", "net/p2/v", "net/p2/u", "log"]) {
        assert_eq!(
            stdout(&["ls", &run]),
            "log\nnet/p2/u\nnet/p2/v\nnet/p10/v\n"
        );
        assert_eq!(stdout(&["ls", &run, "net/p2"]), "net/p2/u\nnet/p2/v\n");
        assert_eq!(
            stdout(&["ls", &run, "net/*/v", "log"]),
            "log\nnet/p2/v\nnet/p10/v\n"
        );
        let line = error(2, &["ls", &run, "net/p3"]);
        assert!(
            line.contains("'net/p3': there is nothing at this key; the nearest keys are "),
            "{line}"
        );
        let line = error(2, &["ls", &run, "net/*/w"]);
        assert!(
            line.contains("'net/*/w': this pattern matches no value"),
            "{line}"
        );
    }
}

#[test]
fn a_key_with_characters_of_globs_names_itself() {
    let places = Places::new();
    for run in recordings(&places, &["v[0]", "v0"]) {
        assert_eq!(stdout(&["ls", &run, "v[0]"]), "v[0]\n");
        assert_eq!(stdout(&["ls", &run, "v[01]"]), "v0\n");
    }
}

/// The lines, with each run of spaces replaced by one space.
fn squeezed(text: &str) -> Vec<String> {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(squeeze).collect()
}

#[test]
fn a_long_listing_describes_each_key_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        let listed = stdout(&["ls", "-l", &run, "net/*", "meta", "events/rows"]);
        let lines = squeezed(&listed);
        assert_eq!(
            lines[0],
            "KEY KIND TYPE SHAPE CHUNKS CODEC STORED RATIO UNITS FIRST LAST"
        );
        let of = |key: &str| {
            lines
                .iter()
                .find(|line| line.starts_with(key))
                .unwrap()
                .clone()
        };
        let v = of("net/v ");
        assert!(v.starts_with("net/v series float32 [20, 2, 2] ["), "{v}");
        assert!(v.ends_with(" mV 0.0 9.5"), "{v}");
        assert!(of("net/time").ends_with(" ms 0.0 9.5"), "{listed}");
        assert!(
            of("events/rows").starts_with("events/rows series ragged uint32 [4, var] ["),
            "{listed}"
        );
        assert_eq!(of("meta/seed"), "meta/seed value uint64");

        let lines = json_lines(&[
            "ls",
            "-l",
            "--stats",
            "--json",
            &run,
            "net/rate",
            "meta/name",
        ]);
        assert_eq!(
            lines[0],
            json!({"key": "meta/name", "kind": "value", "record_kind": "text", "shape": [], "value": "a run"})
        );
        let rate = lines[1].as_object().unwrap();
        let coordinate = json!({"name": "time", "first": 0.0, "last": 9.5});
        assert_eq!(rate["coordinate"], coordinate);
        assert_eq!(rate["dtype"], "float64");
        assert_eq!(
            (&rate["min"], &rate["max"], &rate["nan_count"]),
            (&json!(0.0), &json!(19.0), &json!(1))
        );
        assert_eq!(rate["mean"], json!(187.0 / 19.0));
    }
}

#[test]
fn a_tree_shows_groups_with_what_they_contain_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        assert_eq!(
            stdout(&["tree", &run, "net/*", "meta"]),
            "\
/             group
├── meta      group
│   ├── name  value   text                 \"a run\"
│   └── seed  value   uint64               42
└── net       group
    ├── rate  series  float64  [20]
    ├── time  series  float64  [20]        ms
    └── v     series  float32  [20, 2, 2]  mV
"
        );
    }
}

#[test]
fn a_listing_shows_the_errors_of_unreadable_keys_among_the_others() {
    let places = Places::new();
    let run = places.path("run.zarr");
    let recorder = Recorder::new(create(&run));
    recorder.record("good", 1.0).unwrap();
    recorder.record("bad", 1.0).unwrap();
    recorder.close().unwrap();
    let metadata = std::path::Path::new(&run).join("bad/zarr.json");
    let text = std::fs::read_to_string(&metadata).unwrap();
    std::fs::write(&metadata, text.replace("float64", "float65")).unwrap();
    let listed = stdout(&["ls", "-l", &run]);
    assert!(listed.contains("cannot be read: "), "{listed}");
    assert!(listed.contains("good  series  float64"), "{listed}");
}
