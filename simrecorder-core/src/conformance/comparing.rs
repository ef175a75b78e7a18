//! Comparing two recordings.

use std::ops::Range;
use std::sync::Arc;

use ndarray::array;
use num_complex::Complex64;
use serde_json::json;

use super::Harness;
use super::copies::{declare_all, record_all};
use super::support::{attributes, expect_error, inline, open, recorder};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::labeled::Labeled;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::recorder::{Coordinate, Recorder};
use crate::store::data_store::DataStore;
use crate::store::open_mode::OpenMode;
use crate::tools::compare::{
    CompareOptions, Comparison, DifferenceKind, Side, compare, compare_views,
};

/// A recording in memory and one of the backend.
fn two(
    harness: &dyn Harness,
    write: [&dyn Fn(&Recorder); 2],
) -> (InMemoryDataStore, Arc<dyn DataStore>) {
    let memory = InMemoryDataStore::new();
    let in_memory = Recorder::with_options(memory.clone(), inline());
    write[0](&in_memory);
    in_memory.close().unwrap();
    let writer = recorder(harness, OpenMode::CreateNew);
    write[1](&writer);
    writer.close().unwrap();
    drop(writer);
    (memory, open(harness, OpenMode::Read))
}

/// The differences, as a line for each.
#[track_caller]
pub(super) fn lines(found: &Comparison) -> Vec<String> {
    let lines: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(found.is_same(), lines.is_empty());
    lines
}

/// In any store. NaN equals NaN only with `equal_nan`.
pub fn a_recording_is_the_same_as_its_copy_in_any_store(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        declare_all(recorder);
        record_all(recorder, 0..30);
    };
    let (a, b) = two(harness, [&write, &write]);
    for (a, b) in [(&a as &dyn DataStore, &*b), (&*b, &a), (&*b, &*b)] {
        let same = compare(a, b, &CompareOptions::new().equal_nan(true)).unwrap();
        assert_eq!(lines(&same), [""; 0]);
        assert_eq!((same.key_count, same.record_count), (15, 30 * 7 + 3));
        let nan = compare(a, b, &CompareOptions::new()).unwrap();
        assert_eq!(
            lines(&nan),
            ["meta/matrix: 1 of 4 differ, 1 are NaN in both; first at [1, 0]: NaN in A, NaN in B"]
        );
    }
}

/// Differences of all kinds, each with a line that names it.
pub fn every_difference_is_found_at_its_key(harness: &dyn Harness) {
    let write = |is_b: bool| {
        move |recorder: &Recorder| {
            let small = |schema: Schema| schema.with_chunk_policy(ChunkPolicy::records(7));
            let v = small(Schema::array::<f32>([2, 3]));
            let v = match is_b {
                true => v.with_units("V"),
                false => v.with_dimension_names(["t", "y", "x"]).with_units("mV"),
            };
            recorder.declare("net/v", v).unwrap();
            for i in 0..20_u32 {
                let mut v = array![[i as f32, 1.0, 2.0], [3.0, 4.0, 5.0]];
                if is_b && i >= 15 {
                    v[[1, 2]] += 0.5;
                }
                recorder.record("net/v", v).unwrap();
                let last = u32::from(is_b && i == 19);
                recorder.record("rows", Ragged(vec![7 + last; 2])).unwrap();
                recorder
                    .record("lens", Ragged(vec![7_u32; 2 + last as usize]))
                    .unwrap();
                let text = if is_b && i % 10 == 3 { "other" } else { "line" };
                recorder.record("log", text).unwrap();
                recorder.record("spins", is_b && i == 4).unwrap();
                if !is_b || i < 12 {
                    recorder.record("short", i).unwrap();
                }
                recorder
                    .record(if is_b { "only b" } else { "only a" }, i)
                    .unwrap();
                recorder.record("groups/type", i).unwrap();
            }
            match is_b {
                false => {
                    recorder.record("type", 1_u8).unwrap();
                    recorder.record("kind", 1_u8).unwrap();
                    recorder.set("gone/below/x", 1).unwrap();
                }
                true => {
                    recorder.record("type", 1_i8).unwrap();
                    recorder.set("kind", 1_u8).unwrap();
                }
            }
            let z = Complex64::new(3.0, if is_b { 4.0 } else { 0.0 });
            recorder.set("z", z).unwrap();
            recorder
                .set("shape", vec![0_u8; 2 + usize::from(is_b)])
                .unwrap();
            recorder.set("bytes", Blob([u8::from(is_b)])).unwrap();
            recorder.set("object", Object(json!({"b": is_b}))).unwrap();
            recorder
                .set("x", Labeled::new([1.0], [if is_b { "x" } else { "y" }]))
                .unwrap();
            let user = json!({"date": if is_b { 2 } else { 1 }, "same": [1, null]});
            recorder.set_attributes("", attributes(user)).unwrap();
        }
    };
    let (a, b) = two(harness, [&write(false), &write(true)]);
    let found = compare(&a, &b, &CompareOptions::new()).unwrap();
    let expected = [
        "/: attribute 'date': 1 in A, 2 in B",
        "gone: group with 1 keys only in A",
        "kind: series in A, value in B",
        "only a: series only in A",
        "only b: series only in B",
        "bytes: 1 of 1 differ: 1 bytes: 00 in A, 1 bytes: 01 in B",
        r#"object: 1 of 1 differ: {"b": false} in A, {"b": true} in B"#,
        "shape: uint8 array of shape [2] in A, uint8 array of shape [3] in B",
        "x: axes named y in A, x in B",
        "z: 1 of 1 differ, by up to 4.000e0 (8.000e-1 relative): 3.0+0.0i in A, 3.0+4.0i in B",
        "lens: 1 of 20 differ; first at [19]: [7, 7] in A, [7, 7, 7] in B",
        r#"log: 2 of 20 differ; first at [3]: "line" in A, "other" in B"#,
        "rows: 1 of 20 differ, by up to 1.000e0 (1.250e-1 relative); first at [19]: [7, 7] in A, [8, 8] in B",
        "short: records 0..20 in A, 0..12 in B",
        "spins: 1 of 20 differ; first at [4]: false in A, true in B",
        "type: scalars of uint8 in A, scalars of int8 in B",
        r#"net/v: attribute 'units': "mV" in A, "V" in B"#,
        "net/v: axes named t, y, x in A, nothing in B",
        "net/v: 5 of 120 differ, by up to 5.000e-1 (9.091e-2 relative); first at [15, 1, 2]: 5.0 in A, 5.5 in B",
    ];
    assert_eq!(lines(&found), expected);
    assert!(!found.is_incomplete());
    let ignoring = CompareOptions::new()
        .atol(0.5)
        .rtol(0.8)
        .ignore_key("only *")
        .ignore_key("gone/*")
        .ignore_key("[kbols]*")
        .ignore_key("type")
        .ignore_key("r*")
        .ignore_attribute("d[a-c]te")
        .ignore_attribute("units");
    let found = compare(&a, &b, &ignoring).unwrap();
    let names = [
        "x: axes named y in A, x in B",
        "net/v: axes named t, y, x in A, nothing in B",
    ];
    assert_eq!(lines(&found), names);
}

/// At any indices, even in many short runs.
pub fn timelines_are_compared_at_the_ticks_that_both_have(harness: &dyn Harness) {
    let write = |ticks: Range<u32>, step: usize, is_late: bool| {
        move |recorder: &Recorder| {
            let mut net = recorder.timeline("net", Coordinate::new("time")).unwrap();
            let v = Schema::array::<f64>([3]).with_chunk_policy(ChunkPolicy::records(16));
            net.declare("v", v).unwrap();
            for i in ticks.clone().step_by(step) {
                // The bits differ.
                let t = if is_late {
                    f64::from(i) / 10.0
                } else {
                    f64::from(i) * 0.1
                };
                let error = if is_late && i == 123 { 1e-9 } else { 0.0 };
                let text = if is_late && i == 126 { "late" } else { "text" };
                net.tick(t, (("v", [f64::from(i), 0.5, error]), ("log", text)))
                    .unwrap();
            }
        }
    };
    let (a, b) = two(
        harness,
        [&write(0..200, 1, false), &write(100..300, 1, true)],
    );
    let found = compare(&a, &b, &CompareOptions::new().ignore_key("net/time")).unwrap();
    assert_eq!(
        lines(&found),
        [
            "net: 100 ticks only in A, from time 0.0 to 9.9",
            "net: 100 ticks only in B, from time 20.0 to 29.9",
            "net/log: 1 of 100 differ; first at [126]: \"text\" in A, \"late\" in B, where it is record 26",
            "net/v: 1 of 300 differ, by up to 1.000e-9 (1.000e0 relative); first at [123, 2]: 0.0 in A, 1e-9 in B, where it is record 23",
        ]
    );
    let loose = CompareOptions::new().atol(1e-6).ignore_key("net/log");
    let found = compare(&a, &b, &loose).unwrap();
    assert!(
        found
            .differences
            .iter()
            .all(|it| matches!(it.kind, DifferenceKind::Ticks { count: 100, .. })),
        "{found}"
    );
    let another = harness.another();
    let (a, b) = two(
        &*another,
        [&write(0..9000, 1, false), &write(1..9000, 2, false)],
    );
    let found = compare(&a, &b, &CompareOptions::new()).unwrap();
    assert_eq!(
        lines(&found),
        ["net: 4500 ticks only in A, from time 0.0 to 899.8000000000001"]
    );
    assert_eq!(found.record_count, 3 * 4500);
    let found = compare(&b, &a, &CompareOptions::new()).unwrap();
    assert!(matches!(
        found.differences[0].kind,
        DifferenceKind::Ticks { side: Side::B, .. }
    ));
}

/// Selections of one recording, including single elements.
pub fn views_are_compared_by_their_indices(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    for i in 0..30 {
        writer.record("v", [i % 10, 7]).unwrap();
    }
    let v = writer.get_all("v").unwrap();
    let found = |a: Range<isize>, b: Range<isize>| {
        let (a, b) = (v.select(a).unwrap(), v.select(b).unwrap());
        compare_views(&a, &b, &CompareOptions::new()).unwrap()
    };
    assert_eq!(lines(&found(0..10, 10..20)), [""; 0]);
    assert_eq!(
        lines(&found(0..10, 11..20)),
        [
            "v: records 0..10 in A, 0..9 in B",
            "v: 9 of 18 differ, by up to 1.000e0 (1.000e0 relative); first at [0, 0]: 0 in A, 1 in B"
        ]
    );
    let one = |i: isize| v.select(ndarray::s![i, 0]).unwrap();
    let options = CompareOptions::new();
    assert!(
        compare_views(&one(1), &one(11), &options)
            .unwrap()
            .is_same()
    );
    let found = compare_views(&one(1), &one(2), &options).unwrap();
    assert_eq!(
        lines(&found),
        ["v: 1 of 1 differ, by up to 1.000e0 (5.000e-1 relative): 1 in A, 2 in B"]
    );
}

/// Invalid options are refused before anything is read.
pub fn tolerances_and_patterns_that_are_none_are_refused(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let refuse = |options: CompareOptions, part| {
        expect_error(
            compare(&*store, &*store, &options),
            ErrorKind::InvalidArgument,
            &[part],
        );
    };
    refuse(CompareOptions::new().rtol(-1.0), "rtol is -1");
    refuse(CompareOptions::new().atol(f64::NAN), "atol is NaN");
    refuse(CompareOptions::new().ignore_key("a[b"), "'a[b'");
    assert!(
        compare(&*store, &*store, &CompareOptions::new())
            .unwrap()
            .is_same()
    );
}
