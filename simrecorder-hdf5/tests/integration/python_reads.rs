//! Other programs open what the recorder wrote, without plugins: every kind and element type, bit
//! for bit.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;
use std::process::Command;

use serde_json::json;
use simrecorder_core::ndarray::Array2;
use simrecorder_core::num_complex::Complex64;
use simrecorder_core::{ChunkPolicy, Compression, DType, OpenMode, Recorder, Schema, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::recording::*;
use support::{assert_success, python};

/// Records into a new file, closes it, and calls `read` with its path.
fn with_recording(
    compression: Compression,
    record: impl FnOnce(&Recorder),
    read: impl FnOnce(&Path),
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let options = Hdf5DataStore::options().mode(OpenMode::CreateNew);
    let recorder = Recorder::new(options.compression(compression).open(&path).unwrap());
    record(&recorder);
    recorder.close().unwrap();
    read(&path);
}

fn python_reads(what: &str, path: &Path) {
    assert_success(python("read_recording.py").arg(what).arg(path));
}

/// Runs h5dump, which must print all data without errors, and returns its output.
fn h5dump(path: &Path) -> String {
    let output = Command::new("h5dump").arg(path).output();
    let output = output.expect("this test runs h5dump: install hdf5-tools, as ci/setup does");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn record_all(recorder: &Recorder) {
    let policy = ChunkPolicy::records(4);
    for dtype in DType::ALL {
        record_elements(recorder, dtype, |group| format!("{group}/{dtype}"));
    }
    record_other_kinds(recorder);
    let folded = Schema::scalar::<u64>().with_chunk_policy(policy);
    recorder.declare("folded", folded).unwrap();
    for i in 0..10_u64 {
        recorder.record("folded", i).unwrap();
    }
    record_group(recorder);
}

#[test]
fn h5py_and_h5dump_read_every_kind_and_type_with_each_compression() {
    // The numbers are too coarse for this bound, so they stay exact.
    let lossy = Compression::lossy(f64::from_bits(1)).unwrap();
    for compression in [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        lossy,
    ] {
        with_recording(compression, record_all, |path| {
            python_reads("all", path);
            // It escapes non-ASCII characters.
            let dump = h5dump(path);
            for part in ["GROUP \"no_rows\"", "one text, gr", "H5T_ENUM"] {
                assert!(dump.contains(part), "h5dump does not print {part}");
            }
        });
    }
}

#[test]
fn h5py_reads_all_attributes_that_hdf5_has_a_form_for() {
    let record = |recorder: &Recorder| {
        let mut schema = Schema::scalar::<f64>();
        for (name, value) in [
            ("flag", json!(true)),
            ("flags", json!([true, false])),
            ("small", json!(-3)),
            ("large", json!(u64::MAX)),
            ("real", json!(0.1)),
            ("list", json!([1, 2, 3])),
            ("reals", json!([0.5, 1e300])),
            ("text", json!("größer 🧠")),
            ("none", json!("")),
            ("texts", json!(["a", "", "ü"])),
            ("mixed", json!([1, "a"])),
            ("empty", json!([])),
            ("null", json!(null)),
            ("nul", json!("a\0b")),
        ] {
            schema = schema.with_attribute(name, value);
        }
        recorder.declare("x", schema).unwrap();
    };
    with_recording(Compression::Fast, record, |path| {
        python_reads("attributes", path);
        h5dump(path);
    });
}

#[test]
fn h5py_sees_the_fill_values_that_were_declared() {
    let record = |recorder: &Recorder| {
        for (key, schema) in [
            ("number", Schema::scalar::<i32>().with_fill_value(-7_i32)),
            ("nan", Schema::scalar::<f64>().with_fill_value(f64::NAN)),
            ("flag", Schema::scalar::<bool>().with_fill_value(true)),
            (
                "complex",
                Schema::scalar::<Complex64>().with_fill_value(Complex64::new(1.0, -2.0)),
            ),
            ("plain", Schema::scalar::<f32>()),
        ] {
            recorder.declare(key, schema).unwrap();
        }
    };
    with_recording(Compression::Fast, record, |path| {
        python_reads("filled", path);
    });
}

#[test]
fn h5py_reads_records_that_are_larger_than_a_chunk() {
    let record = |recorder: &Recorder| {
        for (key, compression) in [
            ("none", Compression::None),
            ("fast", Compression::Fast),
            ("small", Compression::Small),
        ] {
            let schema = Schema::array::<f64>([300, 1000]).with_compression(compression);
            recorder.declare(key, schema).unwrap();
            for record in 1..=3 {
                let value = |(i, j)| ((i * 1000 + j) * record % 1000) as f64 / 8.0;
                let frame = Array2::from_shape_fn((300, 1000), value);
                recorder.record(key, &frame).unwrap();
            }
        }
    };
    with_recording(Compression::Fast, record, |path| {
        python_reads("large", path);
        h5dump(path);
    });
}

#[test]
fn h5py_reads_lossy_numbers_within_their_bound() {
    let lossy = Compression::lossy(0.001).unwrap();
    with_recording(lossy, record_rounded, |path| python_reads("lossy", path));
}

/// Records a series over time and neurons.
fn record_v(recorder: &Recorder, group: &str) {
    let v = Schema::array::<f32>([3]).with_dimension_names(["time", "neuron"]);
    let key = format!("{group}/v");
    recorder.declare(&key, v.with_units("mV")).unwrap();
    for i in 0..12_u8 {
        let first = f32::from(i) * 3.0;
        recorder
            .record(&key, [first, first + 1.0, first + 2.0])
            .unwrap();
    }
}

fn record_time(recorder: &Recorder, group: &str) {
    let key = format!("{group}/time");
    let time = Schema::scalar::<f64>().with_dimension_names(["time"]);
    recorder.declare(&key, time).unwrap();
    for i in 0..12_u8 {
        recorder.record(&key, f64::from(i) / 2.0).unwrap();
    }
}

fn record_dimensions(recorder: &Recorder) {
    let neurons = |group: &str| {
        let key = format!("{group}/neuron");
        let neurons = Labeled::new([10_i64, 20, 30], ["neuron"]);
        recorder.set(key, neurons).unwrap();
    };
    record_v(recorder, "names");
    record_time(recorder, "before");
    neurons("before");
    recorder.flush().unwrap();
    record_v(recorder, "before");
    record_v(recorder, "after");
    record_time(recorder, "after");
    neurons("after");
    record_v(recorder, "late");
    recorder.checkpoint().unwrap();
    record_time(recorder, "late");
    recorder.flush().unwrap();
    neurons("late");
    record_v(recorder, "one");
    record_time(recorder, "one");

    for (key, records) in [("lengths/fast", 100), ("lengths/slow", 10)] {
        let schema = Schema::scalar::<f64>().with_dimension_names(["time"]);
        recorder.declare(key, schema).unwrap();
        for i in 0..records {
            recorder.record(key, f64::from(i)).unwrap();
        }
    }
    for (key, name) in [("parts/a", Some("parts_x")), ("parts/b", None)] {
        let names = [Some("time"), name].map(|name| name.map(str::to_owned));
        let schema = Schema::array::<u8>([2]).with_dimension_names(names);
        recorder.declare(key, schema).unwrap();
        recorder.record(key, [1_u8, 2]).unwrap();
    }
    for i in 0..10_u8 {
        let x = f64::from(i);
        recorder.record("undeclared/x", x).unwrap();
        recorder
            .record("undeclared/y", [2.0 * x, 2.0 * x + 1.0])
            .unwrap();
    }
    recorder.set("undeclared/seed", 42_u64).unwrap();
    let trials = Schema::ragged::<u64>([]).with_dimension_names(["trial"]);
    recorder.declare("ragged/spikes", trials).unwrap();
    for i in 0..4_usize {
        recorder
            .record("ragged/spikes", Ragged(vec![i as u64; i]))
            .unwrap();
    }
    let log = Schema::text().with_dimension_names(["time"]);
    recorder.declare("text/log", log).unwrap();
    for i in 0..3 {
        recorder.record("text/log", format!("step {i}")).unwrap();
    }
}

#[test]
fn xarray_sees_the_names_of_dimensions_and_their_coordinates_in_whatever_order_they_came() {
    with_recording(Compression::Fast, record_dimensions, |path| {
        python_reads("dimensions", path);
        h5dump(path);
    });
}

#[test]
fn h5py_reads_objects_that_json_can_represent_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let open = |mode| Hdf5DataStore::options().mode(mode).open(&path);
    support::objects::objects_are_json_attributes(&path, open);
}

#[test]
fn the_programs_in_the_documents_run() {
    let record = |recorder: &Recorder| {
        let schema = Schema::array::<f64>([5, 2])
            .with_dimension_names(["time", "neuron", "part"])
            .with_units("mV");
        recorder.declare("net/v", schema).unwrap();
        for step in 0..10_u32 {
            let v = Array2::from_shape_fn((5, 2), |(i, _)| f64::from(10 * step) + i as f64);
            recorder.record("net/v", &v).unwrap();
            let row = vec![step; step as usize % 4];
            recorder.record("net/spikes", Ragged(&row)).unwrap();
            recorder.record("log", format!("step {step}")).unwrap();
            recorder
                .record("events", Object(&json!({ "step": step })))
                .unwrap();
        }
        let parameters = json!({ "tau": 20.0 });
        recorder
            .set("meta/parameters", Object(&parameters))
            .unwrap();
    };
    with_recording(Compression::Fast, record, |path| {
        let folder = path.parent().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_success(python("run_docs.py").arg(folder).arg(repository));
    });
}
