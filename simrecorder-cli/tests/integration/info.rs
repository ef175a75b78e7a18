//! `info`.

use serde_json::json;
use simrecorder::{ArrayView, DataStoreExt, Key, Recorder};

use crate::support::{Places, create, error, json_lines, record_run, runs, stdout};

#[test]
fn a_recording_is_described_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        let [facts] = &json_lines(&["info", "--json", &run])[..] else {
            panic!("one line of JSON");
        };
        assert_eq!(facts["version"], 1);
        let counts = ["groups", "values", "series"].map(|name| facts[name].as_u64().unwrap());
        assert_eq!(counts, [4, 2, 7]);
        assert_eq!(
            facts["timelines"],
            json!([{"group": "net", "coordinate": "time", "ticks": 20, "last": 9.5, "units": "ms"}])
        );
        if !run.starts_with("redis") {
            assert!(
                facts["writer"]
                    .as_str()
                    .unwrap()
                    .starts_with("simrecorder ")
            );
            assert!(facts["bytes"].as_u64().unwrap() > 1000);
            assert_eq!(
                (&facts["tails"], &facts["checkpointed"]),
                (&json!(0), &json!(true))
            );
        }
        let text = stdout(&["info", &run]);
        assert!(text.contains("coordinate time"), "{text}");
    }
}

#[test]
fn a_recording_that_is_being_written_is_not_checkpointed() {
    let places = Places::new();
    for run in places.recordings("open") {
        let recorder = Recorder::new(create(&run));
        record_run(&recorder);
        recorder.flush().unwrap();
        let facts = &json_lines(&["info", "--json", &run])[0];
        assert_eq!(facts["timelines"][0]["last"], 9.5);
        if !run.starts_with("redis") {
            assert_eq!(facts["checkpointed"], false, "{run}");
            assert_eq!(facts["being_written"], true, "{run}");
            assert!(facts["tails"].as_u64().unwrap() >= 4, "{facts}");
        }
        recorder.close().unwrap();
    }
}

#[test]
fn a_key_is_described_in_full_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        let facts = |key: &str| json_lines(&["info", "--json", &run, key])[0].clone();
        let v = facts("net/v");
        assert_eq!(
            (&v["dtype"], &v["shape"]),
            (&json!("float32"), &json!([20, 2, 2]))
        );
        assert_eq!(v["attributes"], json!({"units": "mV"}));
        assert_eq!(v["dimension_names"][0], "time");
        assert_eq!(
            v["coordinate"],
            json!({"name": "time", "first": 0.0, "last": 9.5})
        );
        let store = simrecorder::open(&run).unwrap();
        let view = store.series_view(&Key::new("net/v").unwrap()).unwrap();
        let stored = view.stored_bytes().unwrap();
        assert_eq!(
            v.get("stored_bytes").and_then(|bytes| bytes.as_u64()),
            stored
        );
        assert_eq!(facts("meta/seed")["value"], 42);
        assert_eq!(facts("net")["contains"], json!(["rate", "time", "v"]));
        let line = error(2, &["info", &run, "net/u"]);
        assert!(line.contains("the nearest keys are "), "{line}");
        let text = stdout(&["info", &run, "net/v"]);
        assert!(text.contains("units: mV"), "{text}");
    }
}
