//! `verify`, `recover` and `diff`.

use std::fs;
use std::path::{Path, PathBuf};

use simrecorder::{ChunkPolicy, Recorder, Schema, verify};

use crate::runs::{closed, record};
use crate::support::{Places, answer_no, create, error, is_file, simrec, stdout};

/// The number of records of the series of [`damaged`]. Ten of them make a chunk.
const RECORDS: u64 = 100;

/// A record that codecs compress slightly.
fn noise(record: u64) -> Vec<u8> {
    let mut x = record + 1;
    let next = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 24) as u8 % 64
    };
    (0..2000).map(next).collect()
}

/// All files of a recording.
fn files(path: &Path) -> Vec<PathBuf> {
    match path.is_dir() {
        true => {
            let entries = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            entries.flat_map(|entry| files(&entry)).collect()
        }
        false => vec![path.to_owned()],
    }
}

/// Changes a byte of a file so that the records 50 to 59 are damaged, if the file contains them.
fn damage_file(file: &Path, recording: &str) -> bool {
    let sound = fs::read(file).unwrap();
    for at in (0..sound.len()).step_by(1 + sound.len() / 100) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
        let report = simrecorder::open(recording).and_then(|store| verify(&store));
        let damaged = report.iter().flat_map(|report| report.damaged());
        let damage = damaged.flat_map(|key| key.damage.iter().map(|it| it.records.clone()));
        if damage.collect::<Vec<_>>() == [Some(50..60)] {
            return true;
        }
    }
    fs::write(file, sound).unwrap();
    false
}

/// A recording in each backend with files. Its records 50 to 59 are damaged.
fn damaged(places: &Places) -> Vec<String> {
    let recordings = places
        .recordings("damaged")
        .into_iter()
        .filter(|it| is_file(it));
    let damage = |recording: &String| {
        let recorder = Recorder::new(create(recording));
        let noisy = Schema::array::<u8>([2000]).with_chunk_policy(ChunkPolicy::records(10));
        recorder.declare("noise", noisy).unwrap();
        for i in 0..RECORDS {
            recorder.record("noise", noise(i)).unwrap();
            recorder.record("n", i).unwrap();
        }
        recorder.close().unwrap();
        // LMDB maps its index, so a test should not damage it in its own process.
        let files = files(Path::new(recording)).into_iter();
        let mut files = files.filter(|file| file.extension().is_none_or(|it| it != "mdb"));
        assert!(
            files.any(|file| damage_file(&file, recording)),
            "{recording}"
        );
    };
    recordings.inspect(damage).collect()
}

#[test]
fn a_sound_recording_is_verified() {
    let places = Places::new();
    for run in closed(&places, "run", 30) {
        let said = stdout(&["verify", &run]);
        assert!(said.ends_with("with 150 records, 0 damaged\n"), "{said}");
        assert_eq!(stdout(&["verify", "--json", &run]), "");
    }
}

#[test]
fn damaged_records_are_named_by_key() {
    let places = Places::new();
    for run in damaged(&places) {
        let said = answer_no(&["verify", &run]);
        assert!(
            said.contains("series 'noise' of 100 records\n  records 50..60: "),
            "{said}"
        );
        assert!(
            said.ends_with("3 keys with 200 records, 1 damaged\n"),
            "{said}"
        );
        let json = answer_no(&["verify", "--json", &run]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["key"], &json["damage"][0]["records"][0]),
            (&"noise".into(), &50.into())
        );
    }
}

#[test]
fn undamaged_records_are_recovered_and_the_rest_is_listed() {
    let places = Places::new();
    for (i, run) in damaged(&places).iter().enumerate() {
        let to = places.path(&format!("recovered{i}.mdb"));
        let said = answer_no(&["recover", run, &to]);
        for line in [
            "'noise' records 50..60: left out: ",
            "'noise' records 60..100: copied to 'noise@60'\n",
            "3 keys with 190 records copied, 1 parts left out\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
        let copy = Recorder::new(simrecorder::open(&to).unwrap());
        for (key, records) in [("noise", 0..50), ("noise@60", 60..RECORDS)] {
            let view = copy.get_all(key).unwrap();
            let expected: Vec<u8> = records.flat_map(noise).collect();
            assert_eq!(view.read::<u8>().unwrap().as_slice(), Some(&expected[..]));
        }
        stdout(&["verify", &to]);
        let again = places.path(&format!("again{i}.zarr"));
        let said = answer_no(&["recover", "--json", run, &again]);
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(json["left_out"][0]["records"], serde_json::json!([50, 60]));
        assert_eq!(json["moved"][0]["to"], "noise@60");
        // Whether they are equal is unknown.
        let ended = simrec(&["diff", run, &to]).assert().code(2);
        let said = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
        assert!(said.contains("noise: cannot be read in A: "), "{said}");
    }
    let run = &closed(&places, "sound", 5)[0];
    stdout(&["recover", run, &places.path("whole.zarr")]);
}

#[test]
fn the_same_recordings_differ_in_nothing_and_others_are_said_to() {
    let places = Places::new();
    let runs = closed(&places, "run", 30);
    for (i, b) in places.recordings("other").iter().enumerate() {
        let a = &runs[i];
        let recorder = Recorder::new(create(b));
        record(&recorder, 28);
        recorder.set("meta/tau", 20.001).unwrap();
        recorder.set("meta/extra", f64::NAN).unwrap();
        let date = [("date".to_owned(), "today".into())];
        recorder
            .set_attributes("", date.into_iter().collect())
            .unwrap();
        recorder.close().unwrap();
        let said = stdout(&["diff", a, &runs[0]]);
        assert!(
            said.starts_with("0 differences; 7 keys with 150 records compared\n"),
            "{said}"
        );
        let said = answer_no(&["diff", a, b]);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "/: attribute 'date': nothing in A, \"today\" in B",
                "log: records 0..30 in A, 0..28 in B",
                "spikes: records 0..30 in A, 0..28 in B",
                "meta/extra: value only in B",
                "meta/tau: 1 of 1 differ, by up to 1.000e-3 (5.000e-5 relative): 20.0 in A, 20.001 in B",
                "net: 2 ticks only in A, from time 14.0 to 14.5",
                "6 differences; 7 keys with 140 records compared",
                "numbers are the same if a = b; NaN differs from NaN",
            ]
        );
        stdout(&[
            "diff",
            a,
            b,
            "--rtol",
            "1e-4",
            "--ignore-attribute",
            "date",
            "--ignore-key",
            "net",
            "--ignore-key",
            "log",
            "--ignore-key",
            "spik*",
            "--ignore-key",
            "meta/extra",
        ]);
        let nan = ["diff", b, b, "--equal-nan"];
        stdout(&nan);
        assert!(answer_no(&nan[..3]).contains("1 are NaN in both"));
        let json = answer_no(&[
            "diff",
            "--json",
            a,
            b,
            "--ignore-key",
            "net",
            "--atol",
            "1e-9",
        ]);
        let differences: Vec<serde_json::Value> = json
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(differences.len(), 5);
        assert_eq!(differences[4]["key"], "meta/tau");
        assert_eq!(differences[4]["details"]["differing"], 1);
    }
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let places = Places::new();
    let run = &closed(&places, "run", 3)[0];
    for (arguments, part) in [
        (vec!["diff", run, "missing.mdb"], "missing.mdb"),
        (vec!["diff", run, run, "--rtol=-1"], "rtol is -1"),
        (vec!["diff", run, run, "--ignore-key", "a[b"], "'a[b'"),
        (vec!["verify", "missing.h5"], "missing.h5"),
    ] {
        let line = error(2, &arguments);
        assert!(line.contains(part), "{line}");
    }
}
