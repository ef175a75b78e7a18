//! `cat`.

use std::io::{BufRead, BufReader};

use simrecorder::backend::{Change, Commit};
use simrecorder::{Key, Schema};

use crate::support::{Places, create, error, runs, simrec, start, stdout};

#[test]
fn records_of_every_kind_are_printed_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        let cat = |arguments: &[&str]| stdout(&[&["cat", &run], arguments].concat());
        assert_eq!(cat(&["net/rate[:5]"]), "0.0\n1.0\n2.0\nNaN\n4.0\n");
        assert_eq!(cat(&["net/v[-1]"]), "[19.0, 19.1]\n[19.2, 19.3]\n");
        assert_eq!(
            cat(&["net/v[::-7, 0, ::-1]"]),
            "[19.1, 19.0]\n[12.1, 12.0]\n[5.1, 5.0]\n"
        );
        assert_eq!(cat(&["net/v[-1, 1, 1]", "-f", "<%8.3f>"]), "<  19.300>\n");
        assert_eq!(cat(&["events/log", "-n", "1"]), "line 0, \"quoted\"\n");
        assert_eq!(cat(&["events/rows[1:]"]), "[1]\n[2, 2]\n[3, 3, 3]\n");
        assert_eq!(cat(&["events/bytes[-1]"]), "03ff\n");
        assert_eq!(cat(&["events/objects[1]"]), "{\"i\":1,\"name\":\"e\"}\n");
        assert_eq!(cat(&["meta/seed"]), "42\n");
        assert_eq!(cat(&["meta/name"]), "a run\n");
    }
}

#[test]
fn records_are_selected_by_their_coordinate_on_every_backend() {
    let places = Places::new();
    for run in runs(&places) {
        let cat = |arguments: &[&str]| stdout(&[&["cat", &run], arguments].concat());
        assert_eq!(cat(&["net/rate", "--from", "8.5"]), "17.0\n18.0\n19.0\n");
        assert_eq!(cat(&["net/rate", "--from", "4", "--to", "5"]), "8.0\n9.0\n");
        assert_eq!(cat(&["net/rate[0]", "--from", "4", "--to", "5"]), "8.0\n");
        assert_eq!(cat(&["net/rate[-2:]", "-c"]), "9.0 18.0\n9.5 19.0\n");
        assert_eq!(cat(&["net/rate", "--to", "-1"]), "");
        let line = error(2, &["cat", &run, "events/log", "--from", "1"]);
        assert!(
            line.contains("'events/log': the series has no coordinate; select by index"),
            "{line}"
        );
    }
}

#[test]
fn csv_has_a_column_for_each_element_and_the_coordinate() {
    let places = Places::new();
    for run in runs(&places) {
        let cat = |arguments: &[&str]| stdout(&[&["cat", "--csv", &run], arguments].concat());
        assert_eq!(
            cat(&["net/v[:2]", "-f", "%.1f"]),
            "time,\"v[0,0]\",\"v[0,1]\",\"v[1,0]\",\"v[1,1]\"\n0.0,0.0,0.1,0.2,0.3\n0.5,1.0,1.1,1.2,1.3\n"
        );
        assert_eq!(cat(&["net/time[1:2]"]), "time\n0.5\n");
        assert_eq!(
            cat(&["events/log[:1]"]),
            "log\n\"line 0, \"\"quoted\"\"\"\n"
        );
        assert_eq!(
            cat(&["events/rows[2:]"]),
            "rows\n\"[2, 2]\"\n\"[3, 3, 3]\"\n"
        );
    }
}

#[test]
fn json_keeps_every_record() {
    let places = Places::new();
    for run in runs(&places) {
        let cat = |arguments: &[&str]| stdout(&[&["cat", "--json", &run], arguments].concat());
        assert_eq!(cat(&["net/rate[2:4]"]), "2.0\n\"NaN\"\n");
        assert_eq!(cat(&["net/v[1:2]"]), "[[1.0,1.1],[1.2,1.3]]\n");
        assert_eq!(
            cat(&["net/rate[1:2]", "-c"]),
            "{\"coordinate\":{\"time\":0.5},\"value\":1.0}\n"
        );
        assert_eq!(cat(&["events/log[:1]"]), "\"line 0, \\\"quoted\\\"\"\n");
    }
}

#[test]
fn raw_bytes_are_those_in_memory() {
    let places = Places::new();
    for run in runs(&places) {
        let ended = simrec(&["cat", "--raw", &run, "net/rate[1:3]"])
            .assert()
            .success();
        let expected = [1.0_f64, 2.0].map(f64::to_ne_bytes).concat();
        assert_eq!(ended.get_output().stdout, expected);
        let ended = simrec(&["cat", "--raw", &run, "events/bytes[:2]"])
            .assert()
            .success();
        assert_eq!(ended.get_output().stdout, [0, 0xff, 1, 0xff]);
    }
}

#[test]
fn what_cannot_be_printed_is_named_with_the_remedy() {
    let places = Places::new();
    for run in runs(&places) {
        let cat = |key: &str| error(2, &["cat", &run, key]);
        let line = cat("net");
        assert!(
            line.contains("'net': this is a group; name a series or value in it"),
            "{line}"
        );
        let line = cat("net/rat");
        assert!(line.contains("the nearest keys are 'net/rate'"), "{line}");
        let line = cat("net/rate[20]");
        assert!(
            line.contains("'net/rate': index 20 is outside axis 0"),
            "{line}"
        );
        let line = cat("net/rate[a]");
        assert!(
            line.contains("'[a]': 'a' is not an integer; write [5], [-10:]"),
            "{line}"
        );
        let line = cat("meta/seed[0]");
        assert!(line.contains("leave out the selection"), "{line}");
        let line = error(2, &["cat", &run, "net/rate", "-f", "%s"]);
        assert!(line.contains("give one conversion of printf"), "{line}");
    }
}

#[test]
fn the_first_records_of_a_thousand_million_are_printed_at_once_on_every_backend() {
    const RECORDS: u64 = 1_000_000_000;
    let places = Places::new();
    for run in places.recordings("long") {
        let store = create(&run);
        let schema = Schema::scalar::<f64>().with_fill_value(0.5);
        let key = Key::new("long").unwrap();
        store.plan(&key, Some(&schema)).unwrap();
        let declare = Change::Declare {
            key,
            schema: schema.into(),
            filled: RECORDS,
        };
        store.commit(Commit::new(vec![declare])).unwrap();
        store.close().unwrap();

        for selected in ["long", "long[::100000]", "long[::-100000]"] {
            let mut child = start(&["cat", &run, selected]);
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let first: Vec<_> = lines.take(3).map(Result::unwrap).collect();
            assert_eq!(first, ["0.5"; 3]);
            // The pipe is closed: the program must end without a message.
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{run}");
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
        }
        assert_eq!(stdout(&["cat", &run, "long[-1]"]), "0.5\n");
        assert_eq!(stdout(&["tail", "-n", "1", &run, "long"]), "0.5\n");
    }
}
