//! A key is a group, a value or a series, and a series contains one kind of records. Errors name both
//! sides, and earlier records are kept.

use ndarray::ArrayD;
use serde_json::json;

use super::Harness;
use super::support::{
    append, append_numbers, check_numbers, check_reopened, check_series, check_value, commit,
    declare, expect_error, key, keys, open, recorder, set, set_attributes, value,
};
use crate::error::ErrorKind;
use crate::model::kind::NodeKind;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::{Attributes, Schema};
use crate::recorder::Recorder;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

/// A recording with one of each: `net/n` is a series below the group `net`, `value` a value.
fn fill(recorder: &Recorder) {
    (0..3_u64).for_each(|i| recorder.record("net/n", i).unwrap());
    recorder.set("value", "kept").unwrap();
    recorder.set_attributes("group", Attributes::new()).unwrap();
}

#[track_caller]
fn check_filled(recorder: &Recorder, records: u64) {
    check_numbers(&recorder.get_all("net/n").unwrap(), 0..records);
    check_value(recorder, "value", &value("kept"));
    assert_eq!(keys(recorder), ["net/n", "value"]);
    assert_eq!(recorder.kind_of("group").unwrap(), Some(NodeKind::Group));
}

/// Every clash that a recorder can cause.
fn clash(recorder: &Recorder) {
    let kind = ErrorKind::KindMismatch;
    let none = Attributes::new;
    expect_error(
        recorder.set("net/n", 1),
        kind,
        &["set", "net/n", "series", "value"],
    );
    expect_error(
        recorder.set("net", 1),
        kind,
        &["set", "net", "group", "value"],
    );
    expect_error(recorder.set("group", 1), kind, &["set", "group", "value"]);
    expect_error(
        recorder.record("value", 1),
        kind,
        &["record", "value", "series"],
    );
    expect_error(
        recorder.record("net", 1),
        kind,
        &["record", "net", "group", "series"],
    );
    expect_error(
        recorder.record("group", 1),
        kind,
        &["record", "group", "series"],
    );
    expect_error(
        recorder.declare("value", Schema::text()),
        kind,
        &["value", "series"],
    );
    expect_error(
        recorder.declare("net", Schema::text()),
        kind,
        &["net", "group", "series"],
    );
    for below in ["net/n/below", "net/n/far/below"] {
        let parts = &[below, "'net/n'", "series", "group"];
        expect_error(recorder.record(below, 1), kind, parts);
        expect_error(recorder.set(below, 1), kind, parts);
        expect_error(recorder.declare(below, Schema::text()), kind, parts);
        expect_error(recorder.set_attributes(below, none()), kind, parts);
    }
    for below in ["value/below", "value/far/below"] {
        let parts = &[below, "'value'", "value", "group"];
        expect_error(recorder.record(below, 1), kind, parts);
        expect_error(recorder.set(below, 1), kind, parts);
        expect_error(recorder.set_attributes(below, none()), kind, parts);
    }
    // The errors of reading name the kind of the node, and the method that reads it.
    expect_error(recorder.get("net/n"), kind, &["series", "get_all()"]);
    expect_error(recorder.get("net"), kind, &["group", "children()"]);
    expect_error(recorder.get_all("value"), kind, &["value", "get()"]);
    expect_error(recorder.get_all("net"), kind, &["group", "children()"]);
    expect_error(
        recorder.get_all("net/m"),
        ErrorKind::NotFound,
        &["net/m", "'net/n'"],
    );
    assert_eq!(recorder.get("net/m").unwrap(), None);
    expect_error(
        recorder.series::<u64>("value").map(drop),
        kind,
        &["value", "series"],
    );
}

/// The call that causes a clash of kinds finds it: immediately, or in a reopened recording.
pub fn a_key_is_one_thing(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    fill(&writer);
    clash(&writer);
    writer.flush().unwrap();
    clash(&writer);
    check_filled(&writer, 3);
    writer.record("net/n", 3_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check_filled(reader, 4));

    let writer = recorder(harness, OpenMode::Append);
    clash(&writer);
    writer.record("net/n", 4_u64).unwrap();
    clash(&writer);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check_filled(reader, 5));
}

/// The same for commits to the store without a recorder.
pub fn a_store_refuses_a_clash_of_kinds(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    fill(&writer);
    writer.close().unwrap();
    drop(writer);
    let store = open(harness, OpenMode::Append);
    let kind = ErrorKind::KindMismatch;
    for (change, parts) in [
        (set("net/n", 1), ["net/n", "series", "value"]),
        (set("net", 1), ["net", "group", "value"]),
        (set("group", 1), ["group", "group", "value"]),
        (set("net/n/below", 1), ["net/n/below", "'net/n'", "series"]),
        (set("value/below", 1), ["value/below", "'value'", "value"]),
        (
            declare("value", Schema::text()),
            ["value", "value", "series"],
        ),
        (declare("net", Schema::text()), ["net", "group", "series"]),
        (
            declare("net/n/below", Schema::text()),
            ["net/n/below", "'net/n'", "series"],
        ),
        (
            set_attributes("value/below", json!({})),
            ["value/below", "'value'", "value"],
        ),
        (
            append_numbers(&store, "value", 0, 0..1),
            ["value", "value", "series"],
        ),
        (
            append_numbers(&store, "net", 0, 0..1),
            ["net", "group", "series"],
        ),
    ] {
        expect_error(commit(&store, vec![change]), kind, &parts);
    }
    store.close().unwrap();
    drop(store);
    check_reopened(harness, |reader| check_filled(reader, 3));
}

/// The first record fixes the type of a series: other records are refused, with an error that names both sides.
pub fn a_record_that_differs_from_the_first_is_refused(harness: &dyn Harness) {
    let refuse = |recorder: &Recorder| {
        let kind = ErrorKind::SchemaMismatch;
        let holds = "scalars of uint64";
        expect_error(
            recorder.record("n", 1_i64),
            kind,
            &["record", "'n'", holds, "int64"],
        );
        expect_error(
            recorder.record("n", 1_f32),
            kind,
            &[holds, "scalars of float32"],
        );
        let array = "array of uint64, shape [1]";
        expect_error(recorder.record("n", [1_u64]), kind, &[holds, array]);
        expect_error(recorder.record("n", "text"), kind, &[holds, "text"]);
        expect_error(recorder.record("n", Blob(b"x")), kind, &[holds, "bytes"]);
        expect_error(recorder.record("n", Object(1)), kind, &[holds, "object"]);
        let rows = "ragged rows of uint64";
        expect_error(recorder.record("n", Ragged([1_u64])), kind, &[holds, rows]);
        let holds = "array of float64, shape [2, 3]";
        for shape in [vec![3, 2], vec![6], vec![2, 3, 1], vec![2, 0], vec![]] {
            let record = ArrayD::<f64>::zeros(shape);
            expect_error(recorder.record("v", record), kind, &[holds, "float64"]);
        }
        expect_error(
            recorder.record("v", [[0_f32; 3]; 2]),
            kind,
            &[holds, "float32"],
        );
        expect_error(
            recorder.record("rows", Ragged([1_u8])),
            kind,
            &["ragged rows of int16"],
        );
        expect_error(
            recorder.record("rows", [1_i16]),
            kind,
            &["ragged rows of int16"],
        );
        let points = Ragged([[1_i16; 2]; 3]);
        expect_error(
            recorder.record("rows", points),
            kind,
            &["ragged rows of int16", "[2]"],
        );
        expect_error(recorder.record("text", 1), kind, &["text", "int32"]);
        expect_error(recorder.record("text", Blob("x")), kind, &["text", "bytes"]);
        let schema = Schema::array::<f64>([2, 4]);
        expect_error(
            recorder.declare("v", schema),
            kind,
            &["declare", holds, "[2, 4]"],
        );
        let series = recorder.series::<u32>("n").map(drop);
        expect_error(series, kind, &["scalars of uint64", "uint32"]);
    };
    let record = |recorder: &Recorder| {
        recorder.record("n", 7_u64).unwrap();
        recorder.record("v", [[0.5; 3]; 2]).unwrap();
        recorder.record("rows", Ragged([1_i16, 2])).unwrap();
        recorder.record("text", "x").unwrap();
    };
    let check = |recorder: &Recorder, len: usize| {
        check_series(recorder, "n", &vec![value(7_u64); len]);
        check_series(recorder, "v", &vec![value([[0.5; 3]; 2]); len]);
        check_series(recorder, "rows", &vec![value([1_i16, 2]); len]);
        check_series(recorder, "text", &vec![value("x"); len]);
    };
    let writer = recorder(harness, OpenMode::CreateNew);
    record(&writer);
    refuse(&writer);
    record(&writer);
    writer.flush().unwrap();
    refuse(&writer);
    check(&writer, 2);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check(reader, 2));

    let writer = recorder(harness, OpenMode::Append);
    refuse(&writer);
    record(&writer);
    refuse(&writer);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check(reader, 3));
}

/// The same for commits to the store without a recorder.
pub fn a_store_refuses_records_that_differ_from_their_series(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let vector = Schema::array::<f32>([2]);
    let first = vec![
        declare("v", vector.clone()),
        append(&store, "v", vector, 0, &[value([0.5_f32, 1.5])]),
    ];
    commit(&store, first).unwrap();
    let record = [value([1_f32])];
    for (schema, records) in [
        (Schema::array::<f32>([1]), &record[..]),
        (Schema::ragged::<f32>([]), &record),
        (Schema::array::<f32>([2, 1]), &[]),
        (Schema::array::<f64>([2]), &[]),
        (Schema::array::<i32>([2]), &[value([1, 2])]),
        (Schema::text(), &[value("12345678")]),
        (Schema::bytes(), &[]),
    ] {
        let sides = ["'v'", "array of float32, shape [2]", &schema.to_string()];
        let kind = ErrorKind::SchemaMismatch;
        expect_error(
            commit(&store, vec![declare("v", schema.clone())]),
            kind,
            &sides,
        );
        let change = append(&store, "v", schema.clone(), 1, records);
        expect_error(commit(&store, vec![change]), kind, &sides);
    }
    let view = store.series_view(&key("v")).unwrap();
    assert_eq!(
        view.read::<f32>().unwrap(),
        ndarray::arr2(&[[0.5, 1.5]]).into_dyn()
    );
    store.close().unwrap();
    drop(store);
    check_reopened(harness, |reader| {
        check_series(reader, "v", &[value([0.5_f32, 1.5])]);
    });
}

/// Values that cannot be recorded at all are refused before anything is written.
pub fn what_cannot_be_recorded_is_refused_and_leaves_nothing(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let kind = ErrorKind::InvalidArgument;
    let misshapen = ([3, 3], [0.0; 8].as_slice());
    expect_error(
        writer.record("shape", misshapen),
        kind,
        &["record", "shape", "[3, 3]"],
    );
    expect_error(
        writer.set("shape", misshapen),
        kind,
        &["set", "shape", "[3, 3]"],
    );
    expect_error(writer.record("row", Ragged(1.0)), kind, &["record", "row"]);
    let names = Schema::scalar::<f64>().with_dimension_names(["time", "x"]);
    expect_error(writer.declare("names", names), kind, &["declare", "names"]);
    let twice = Schema::array::<f64>([2]).with_dimension_names(["x", "x"]);
    expect_error(writer.declare("names", twice), kind, &["'x'"]);
    let fill = Schema::scalar::<f64>().with_fill_value(1_u8);
    expect_error(writer.declare("fill", fill), kind, &["declare", "fill"]);
    let huge = Schema::array::<f64>([u64::MAX, 2]);
    expect_error(writer.declare("huge", huge), kind, &["declare", "huge"]);
    writer.record("shape", 1.0).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| assert_eq!(keys(reader), ["shape"]));
}
