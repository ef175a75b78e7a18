//! `ls`.

use simrecorder::Recorder;

use crate::support::{Places, create, error, stdout};

/// A recording of each backend with these series, each with a record.
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
        assert_eq!(
            stdout(&["ls", "--json", &run, "log"]),
            "{\"key\":\"log\",\"kind\":\"series\"}\n"
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
