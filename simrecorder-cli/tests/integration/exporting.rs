//! `export`.

use std::path::Path;
use std::process::Command;

use simrecorder::backend::{Change, Commit};
use simrecorder::{Key, Schema};
use simrecorder_testkit::{assert_success, python};

use crate::support::{Places, create, error, names_beside, runs, send, simrec, start, stdout};

/// Exports, and checks that nothing is printed.
fn export(run: &str, keys: &[&str], file: &str, options: &[&str]) {
    let arguments = [&["export", run], keys, &["-o", file], options].concat();
    assert_eq!(stdout(&arguments), "");
}

#[test]
fn a_timeline_becomes_one_table_of_csv_and_json_lines_on_every_backend() {
    let places = Places::new();
    for (index, run) in runs(&places).iter().enumerate() {
        let csv = places.path(&format!("{index}.csv"));
        export(run, &["net/*"], &csv, &["--from", "9"]);
        assert_eq!(
            std::fs::read_to_string(&csv).unwrap(),
            "time,rate,\"v[0,0]\",\"v[0,1]\",\"v[1,0]\",\"v[1,1]\"\n\
             9.0,18.0,18.0,18.1,18.2,18.3\n9.5,19.0,19.0,19.1,19.2,19.3\n"
        );
        let lines = places.path(&format!("{index}.jsonl"));
        export(
            run,
            &["net/rate"],
            &lines,
            &["--from", "1.5", "--to", "2.5"],
        );
        assert_eq!(
            std::fs::read_to_string(&lines).unwrap(),
            "{\"time\":1.5,\"rate\":\"NaN\"}\n{\"time\":2.0,\"rate\":4.0}\n"
        );
        let events = places.path(&format!("{index}-events.csv"));
        export(run, &["events/*"], &events, &[]);
        let text = std::fs::read_to_string(&events).unwrap();
        let row = text.lines().nth(3).unwrap();
        assert_eq!(
            row,
            "02ff,\"line 2, \"\"quoted\"\"\",\"{\"\"i\"\":2,\"\"name\"\":\"\"e\"\"}\",\"[2, 2]\""
        );
    }
}

#[test]
fn numpy_and_pyarrow_read_what_is_exported_on_every_backend() {
    let places = Places::new();
    for (index, run) in runs(&places).iter().enumerate() {
        let folder = places.path(&index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let file = |name: &str| format!("{folder}/{name}");
        export(run, &["net/v"], &file("v.npy"), &[]);
        export(run, &["net/v", "net/rate"], &file("net.npz"), &[]);
        for format in ["parquet", "arrow"] {
            export(run, &["net/*"], &file(&format!("net.{format}")), &[]);
            export(run, &["events/*"], &file(&format!("events.{format}")), &[]);
        }
        let program = "simrecorder-cli/tests/python/read_exported.py";
        assert_success(python(program).arg(&folder));
    }
}

#[test]
fn what_cannot_be_exported_is_named_and_leaves_no_file() {
    let places = Places::new();
    for run in runs(&places) {
        let failed = |keys: &[&str], name: &str| {
            let file = places.path(name);
            let line = error(2, &[&["export", &run], keys, &["-o", &file]].concat());
            assert!(!Path::new(&file).exists(), "{line}");
            line
        };
        let line = failed(&["net/rate"], "rate.txt");
        assert!(
            line.contains("its extension names no format; end it in .csv"),
            "{line}"
        );
        let line = failed(&["net/rate", "events/log"], "both.csv");
        assert!(
            line.contains("the columns of a table must have equal lengths"),
            "{line}"
        );
        let line = failed(&["events/log"], "log.npy");
        assert!(
            line.contains("'events/log': numpy has no array of text"),
            "{line}"
        );
        let line = failed(&["net/*"], "net.npy");
        assert!(line.contains("use .npz"), "{line}");
        let line = failed(&["meta"], "meta.csv");
        assert!(line.contains("the keys name no series"), "{line}");
        assert_eq!(
            std::fs::read_dir(places.path(""))
                .unwrap()
                .filter(|entry| {
                    let name = entry.as_ref().unwrap().file_name();
                    name.to_string_lossy().starts_with(".simrec-")
                })
                .count(),
            0
        );
        let file = places.path("there.csv");
        std::fs::write(&file, "before").unwrap();
        let line = error(2, &["export", &run, "net/rate", "-o", &file]);
        assert!(line.contains("this path already exists"), "{line}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
        export(&run, &["net/rate"], &file, &["--force"]);
        assert!(
            std::fs::read_to_string(&file)
                .unwrap()
                .starts_with("time,rate\n")
        );
    }
}

/// 512 MiB of records, which the store does not keep, in 300 MiB.
#[test]
fn a_recording_far_larger_than_memory_is_exported_within_300_mib() {
    let places = Places::new();
    let run = places.path("large.mdb");
    let store = create(&run);
    let schema = Schema::array::<f64>([4096]).with_fill_value(0.5);
    let key = Key::new("v").unwrap();
    store.plan(&key, Some(&schema)).unwrap();
    let declare = Change::Declare {
        key,
        schema: schema.into(),
        filled: 1 << 14,
    };
    store.commit(Commit::new(vec![declare])).unwrap();
    store.close().unwrap();
    let program = simrec(&[]).get_program().to_owned();
    for name in ["v.parquet", "v.npy"] {
        let file = places.path(name);
        let script = "ulimit -d 307200 && exec \"$0\" \"$@\"";
        assert_success(
            Command::new("sh")
                .args(["-c", script])
                .arg(&program)
                .args(["export", &run, "v", "-o", &file]),
        );
        assert!(std::fs::metadata(&file).unwrap().len() > 1000);
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn an_export_that_is_interrupted_leaves_no_file() {
    let places = Places::new();
    let run = places.path("long.mdb");
    let store = create(&run);
    let schema = Schema::scalar::<f64>().with_fill_value(0.5);
    let key = Key::new("v").unwrap();
    store.plan(&key, Some(&schema)).unwrap();
    let declare = Change::Declare {
        key,
        schema: schema.into(),
        filled: 1 << 40,
    };
    store.commit(Commit::new(vec![declare])).unwrap();
    store.close().unwrap();
    for name in ["v.csv", "v.npy"] {
        let file = places.path(name);
        let child = start(&["export", &run, "v", "-o", &file]);
        while !names_beside(&file)
            .iter()
            .any(|name| name.starts_with(".simrec-"))
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        send("INT", &child);
        let ended = child.wait_with_output().unwrap();
        let line = String::from_utf8(ended.stderr).unwrap();
        assert!(
            line.contains("it was interrupted; nothing was written"),
            "{line}"
        );
        assert_eq!(ended.status.code(), Some(2));
        let names = names_beside(&file);
        assert!(
            !names
                .iter()
                .any(|left| left.starts_with(".simrec-") || left == name),
            "{names:?}"
        );
    }
}
