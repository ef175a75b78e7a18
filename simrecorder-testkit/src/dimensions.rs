//! Recordings with arrays that share names of dimensions, as other software must see them.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use simrecorder_core::{DataStore, Labeled, OpenMode, Recorder, RecorderOptions, Result, Schema};

use crate::log::warnings;
use crate::{assert_success, python, role, this_test};

/// Appends records to the series `field/mass`, which counts.
fn record_mass(recorder: &Recorder, records: std::ops::Range<u32>) {
    for i in records {
        recorder.record("field/mass", f64::from(i)).unwrap();
    }
}

/// Appends records to `field/u`, which has two elements in each record.
fn record_u(recorder: &Recorder, records: std::ops::Range<u32>) {
    for i in records {
        let first = f64::from(2 * i);
        recorder.record("field/u", [first, first + 1.0]).unwrap();
    }
}

fn declare_field(recorder: &Recorder) {
    let mass = Schema::scalar::<f64>().with_dimension_names(["time"]);
    let u = Schema::array::<f64>([2]).with_dimension_names(["time", "x"]);
    recorder.declare("field/mass", mass).unwrap();
    recorder.declare("field/u", u).unwrap();
}

/// The expected dimensions of the two: with the shared name if they agree.
fn field(mass: u64, u: u64) -> Json {
    let [of_mass, of_u] = match mass == u {
        true => ["time", "time"],
        false => ["mass_record", "u_record"],
    };
    json!({"field": {"arrays": {
        "mass": {"shape": [mass], "dims": [of_mass]},
        "u": {"shape": [u, 2], "dims": [of_u, "x"]},
    }}})
}

fn check_with_python(path: &Path, expected: &Json) {
    let mut program = python("simrecorder-testkit/python/dimensions.py");
    assert_success(program.arg(path).arg(expected.to_string()));
}

fn inline<S: DataStore + 'static>(store: S) -> Recorder {
    Recorder::with_options(store, RecorderOptions::new().inline(true))
}

/// A reported case: `mass` has 20 records, `u` has two, and both name their records `time`. At each checkpoint and close
/// they have that name only while their lengths agree; our views always have it.
pub fn arrays_share_a_name_only_while_they_are_equally_long<S: DataStore + 'static>(
    path: &Path,
    open: impl Fn(OpenMode) -> Result<S>,
) {
    let check = |mass, u| {
        check_with_python(path, &field(mass, u));
        let recorder = inline(open(OpenMode::Read).unwrap());
        for key in ["field/mass", "field/u"] {
            let view = recorder.get_all(key).unwrap();
            let names = view.dimension_names().unwrap();
            assert_eq!(names[0].as_deref(), Some("time"), "{key}");
        }
    };
    let ((), logged) = warnings(|| {
        let recorder = inline(open(OpenMode::CreateNew).unwrap());
        declare_field(&recorder);
        record_mass(&recorder, 0..20);
        record_u(&recorder, 0..2);
        recorder.checkpoint().unwrap();
        check(20, 2);
        record_u(&recorder, 2..19);
        recorder.checkpoint().unwrap();
        record_u(&recorder, 19..20);
        recorder.checkpoint().unwrap();
        check(20, 20);
        record_mass(&recorder, 20..21);
        recorder.close().unwrap();
        check(21, 20);
    });
    for key in ["field/mass", "field/u"] {
        let of_key: Vec<_> = logged.iter().filter(|line| line.contains(key)).collect();
        assert_eq!(of_key.len(), 1, "one warning of '{key}': {logged:?}");
        assert!(of_key[0].contains("'time'"), "{of_key:?}");
    }
    // A later session makes them agree, so there is no warning.
    let ((), logged) = warnings(|| {
        let recorder = inline(open(OpenMode::Append).unwrap());
        record_u(&recorder, 20..21);
        recorder.close().unwrap();
        check(21, 21);
    });
    assert!(logged.is_empty(), "{logged:?}");
}

/// The same with a writer that is killed after a flush, and a recording that is then opened and closed.
/// `name` is the name of the test.
pub fn names_are_right_when_a_killed_recording_was_closed<S: DataStore + 'static>(
    name: &str,
    file: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    if let Some(path) = role() {
        let recorder = inline(open(&path, OpenMode::CreateNew).unwrap());
        declare_field(&recorder);
        record_mass(&recorder, 0..5);
        record_u(&recorder, 0..5);
        recorder.checkpoint().unwrap();
        record_mass(&recorder, 5..20);
        recorder.flush().unwrap();
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    let mut writer = this_test(name, &path);
    writer.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!writer.status().unwrap().success());
    inline(open(&path, OpenMode::Append).unwrap())
        .close()
        .unwrap();
    check_with_python(&path, &field(20, 5));
}

/// All other arrays that may share a name: ragged series, values, coordinates, and axes other than those of
/// the records.
pub fn every_kind_of_array_shares_names_or_does_not<S: DataStore + 'static>(path: &Path, store: S) {
    let recorder = inline(store);
    let scalars = |names: [&str; 1]| Schema::scalar::<f64>().with_dimension_names(names);
    let grids = |x: u64| Schema::array::<f64>([x]).with_dimension_names(["time", "x"]);
    let count = |key: &str, len: u32| {
        for i in 0..len {
            recorder.record(key, f64::from(i)).unwrap();
        }
    };
    let counted = |key: &str, len: u32, width: u32| {
        for i in 0..len {
            let record: Vec<_> = (i * width..(i + 1) * width).map(f64::from).collect();
            recorder.record(key, record).unwrap();
        }
    };
    // A coordinate that was not declared, and one with another length than its dimension.
    for (group, len) in [("timed", 4), ("mistimed", 3)] {
        let v = format!("{group}/v");
        recorder.declare(&v, scalars(["time"])).unwrap();
        count(&v, 4);
        count(&format!("{group}/time"), len);
    }
    // Axes that are not those of records.
    recorder.declare("axes/a", grids(2)).unwrap();
    recorder.declare("axes/b", grids(3)).unwrap();
    counted("axes/a", 4, 2);
    counted("axes/b", 4, 3);
    // Values that are coordinates, one without a name, and one with another length.
    recorder.declare("static/u", grids(3)).unwrap();
    counted("static/u", 4, 3);
    recorder
        .set("static/x", Labeled::new([0.0, 1.0, 2.0], ["x"]).units("m"))
        .unwrap();
    let mask = Labeled::new([0_i64, 1, 2], ["x"]);
    recorder.set("static/mask", mask).unwrap();
    recorder.declare("unsaid/u", grids(3)).unwrap();
    counted("unsaid/u", 4, 3);
    recorder.set("unsaid/x", [0.0, 1.0, 2.0]).unwrap();
    recorder.declare("unequal/u", grids(3)).unwrap();
    counted("unequal/u", 4, 3);
    recorder
        .set("unequal/x", Labeled::new([0.0, 1.0], ["x"]))
        .unwrap();
    // A scalar cannot be a coordinate.
    recorder.declare("taken/v", scalars(["seed"])).unwrap();
    count("taken/v", 4);
    recorder.set("taken/seed", 0).unwrap();
    // Rows and numbers of one group.
    for (group, rows) in [("rows", 4), ("fewer", 3)] {
        let v = format!("{group}/v");
        recorder.declare(&v, scalars(["trial"])).unwrap();
        count(&v, 4);
        let spikes = format!("{group}/spikes");
        let ragged = Schema::ragged::<f64>([]).with_dimension_names(["trial"]);
        recorder.declare(&spikes, ragged).unwrap();
        for _ in 0..rows {
            recorder
                .record(&spikes, simrecorder_core::Ragged([0.0]))
                .unwrap();
        }
    }
    // A series without records does not prevent the name of another.
    recorder.declare("empty/v", scalars(["time"])).unwrap();
    count("empty/v", 4);
    recorder.declare("empty/w", scalars(["time"])).unwrap();
    recorder.close().unwrap();
    let one = |len: u64, dim: Option<&str>| json!({"shape": [len], "dims": [dim]});
    let two = |x: u64, dims: [&str; 2]| json!({"shape": [4, x], "dims": dims});
    let expected = json!({
        "timed": {
            "arrays": {"v": one(4, Some("time")), "time": one(4, Some("time"))},
            "coordinates": ["time"],
        },
        "mistimed": {"arrays": {"v": one(4, Some("v_record")), "time": one(3, None)}},
        "axes": {"arrays": {
            "a": two(2, ["time", "a_axis_1"]),
            "b": two(3, ["time", "b_axis_1"]),
        }},
        "static": {
            "arrays": {
                "u": two(3, ["time", "x"]),
                "x": one(3, Some("x")),
                "mask": one(3, Some("x")),
            },
            "coordinates": ["x"],
        },
        "unsaid": {"arrays": {"u": two(3, ["time", "u_axis_1"]), "x": one(3, None)}},
        "unequal": {"arrays": {
            "u": two(3, ["time", "u_axis_1"]),
            "x": one(2, Some("x_axis_0")),
        }},
        "taken": {"arrays": {"v": one(4, Some("v_record"))}},
        "rows": {"arrays": {"v": one(4, Some("trial"))}},
        "fewer": {"arrays": {"v": one(4, Some("v_record"))}},
        "empty": {"arrays": {"v": one(4, Some("time")), "w": one(0, Some("w_record"))}},
    });
    check_with_python(path, &expected);
}
