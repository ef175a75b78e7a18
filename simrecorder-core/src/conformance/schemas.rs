//! The schema of a series is read back from its view.

use super::Harness;
use super::kinds::{Special, for_each_element};
use super::lossy::FLOATING;
use super::support::{
    attributes, check_reopened, check_series, keys, recorder, value, write_and_check,
};
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::dtype::DType;
use crate::model::kind::{Kind, NodeKind};
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::{ArrayValue, Value};
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

/// Checks that a view shows all that users see of its schema.
#[track_caller]
pub(super) fn check_schema(recorder: &Recorder, key: &str, expected: &Schema, records: u64) {
    let view = recorder.get_all(key).unwrap();
    let schema = view.schema();
    assert_eq!(schema.kind(), expected.kind(), "kind of '{key}'");
    assert_eq!(schema.dtype(), expected.dtype(), "element type of '{key}'");
    assert_eq!(
        schema.record_shape(),
        expected.record_shape(),
        "record shape of '{key}'"
    );
    assert_eq!(
        schema.dimension_names(),
        expected.dimension_names(),
        "'{key}'"
    );
    assert_eq!(
        schema.attributes(),
        expected.attributes(),
        "attributes of '{key}'"
    );
    assert_eq!(
        view.attributes(),
        expected.attributes(),
        "attributes of '{key}'"
    );
    assert_eq!(
        recorder.attributes(key).unwrap().as_ref(),
        Some(expected.attributes())
    );
    if let Some(fill_value) = expected.fill_value() {
        assert_eq!(
            schema.fill_value(),
            Some(fill_value),
            "fill value of '{key}'"
        );
    }
    if let Some(compression) = expected.compression() {
        assert_eq!(
            schema.compression(),
            Some(compression),
            "compression of '{key}'"
        );
    }
    let mut shape = vec![records];
    if expected.kind() == Kind::Array {
        shape.extend(expected.record_shape());
    }
    assert_eq!(view.shape(), shape, "shape of '{key}'");
    assert_eq!(
        view.chunk_shape().len(),
        shape.len(),
        "chunk shape of '{key}'"
    );
    assert!(!view.chunk_shape().contains(&0), "chunk shape of '{key}'");
}

pub(super) fn rich() -> Vec<(&'static str, Schema)> {
    let nested = attributes(serde_json::json!({
        "long_name": "membrane potential, größe Δ 🧠",
        "nested": {"list": [1, -2, 2.5, "x", null, true, [], {}], "empty": {}},
        "integers": [i64::MIN, i64::MAX, u64::MAX, 0],
        "floats": [0.1, -0.0, 1e300, 5e-324, 1.0],
        "null": null,
        "text": "",
        "with / slash": "and \"quotes\"",
    }));
    vec![
        (
            "scalar",
            Schema::scalar::<f64>()
                .with_dimension_names(["time"])
                .with_compression(Compression::lossy(1e-9).unwrap())
                .with_units("mV"),
        ),
        (
            "matrix",
            Schema::array::<f32>([3, 4])
                .with_dimension_names([Some("time"), None, Some("größe Δ")])
                .with_attributes(nested.clone())
                .with_fill_value(-1.5_f32),
        ),
        (
            "names only",
            Schema::array::<u8>([2])
                .with_dimension_names(["step", "x"])
                .with_compression(Compression::None),
        ),
        (
            "no names",
            Schema::array::<i16>([2, 0]).with_attribute("comment", "nothing else"),
        ),
        (
            "rows",
            Schema::ragged::<u32>([])
                .with_dimension_names(["time"])
                .with_attributes(nested.clone()),
        ),
        (
            "points",
            Schema::ragged::<f64>([3])
                .with_compression(Compression::lossy(0.1).unwrap())
                .with_units("µm"),
        ),
        (
            "text",
            Schema::text()
                .with_dimension_names(["line"])
                .with_compression(Compression::Fast)
                .with_attribute("language", "de"),
        ),
        (
            "bytes",
            Schema::bytes()
                .with_compression(Compression::Small)
                .with_attribute("media type", "image/png"),
        ),
        ("object", Schema::object().with_attributes(nested)),
        ("plain", Schema::scalar::<bool>()),
    ]
}

/// Kind, element type, shape, dimension names, attributes, fill value and compression, for series
/// without records, and after reopening.
pub fn what_was_declared_is_read_back(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            for (key, schema) in rich() {
                recorder.declare(key, schema).unwrap();
            }
        },
        |recorder| {
            for (key, schema) in rich() {
                check_schema(recorder, key, &schema, 0);
                check_series(recorder, key, &[]);
                assert_eq!(recorder.kind_of(key).unwrap(), Some(NodeKind::Series));
            }
            assert_eq!(keys(recorder).len(), rich().len());
        },
    );
}

/// Later records do not change the schema, even after reopening.
pub fn what_was_declared_stays_when_records_come(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    for (key, schema) in rich() {
        writer.declare(key, schema).unwrap();
    }
    writer.close().unwrap();
    drop(writer);
    for round in 1..3 {
        let writer = recorder(harness, OpenMode::Append);
        writer.record("scalar", 0.5).unwrap();
        writer.record("matrix", [[0.5_f32; 4]; 3]).unwrap();
        writer.record("rows", Ragged([1_u32, 2])).unwrap();
        writer.record("points", Ragged([[0.5; 3]; 2])).unwrap();
        writer.record("text", "text").unwrap();
        writer.close().unwrap();
        drop(writer);
        check_reopened(harness, |reader| {
            for (key, schema) in rich() {
                let recorded = ["scalar", "matrix", "rows", "points", "text"].contains(&key);
                check_schema(reader, key, &schema, if recorded { round } else { 0 });
            }
        });
    }
}

/// Empty series are read as arrays of length 0.
pub fn a_declared_series_without_records_reads_as_empty(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.declare("v", Schema::array::<f32>([2, 3])).unwrap();
            recorder.declare("rows", Schema::ragged::<u8>([2])).unwrap();
            recorder.declare("text", Schema::text()).unwrap();
        },
        |recorder| {
            let v = recorder.get_all("v").unwrap();
            assert_eq!(v.read::<f32>().unwrap().shape(), [0, 2, 3]);
            assert!(v.is_empty());
            assert_eq!(
                v.select(..).unwrap().read::<f32>().unwrap().shape(),
                [0, 2, 3]
            );
            let rows = recorder
                .get_all("rows")
                .unwrap()
                .read_ragged::<u8>()
                .unwrap();
            assert_eq!((rows.len(), rows.values().shape()), (0, &[0, 2][..]));
            assert!(
                recorder
                    .get_all("text")
                    .unwrap()
                    .read_text()
                    .unwrap()
                    .is_empty()
            );
        },
    );
}

/// The first record fixes the schema as if it had been declared.
pub fn the_first_record_fixes_the_schema(harness: &dyn Harness) {
    let expected = [
        ("scalar", Schema::scalar::<f32>()),
        ("cube", Schema::array::<u16>([2, 1, 3])),
        ("rows", Schema::ragged::<i64>([])),
        ("points", Schema::ragged::<i64>([2])),
        ("text", Schema::text()),
        ("bytes", Schema::bytes()),
        ("object", Schema::object()),
    ];
    write_and_check(
        harness,
        |recorder| {
            recorder.record("scalar", 0.5_f32).unwrap();
            recorder.record("cube", [[[1_u16, 2, 3]]; 2]).unwrap();
            recorder.record("rows", Ragged([1_i64; 3])).unwrap();
            recorder.record("points", Ragged([[1_i64; 2]; 3])).unwrap();
            recorder.record("text", "x").unwrap();
            recorder.record("bytes", Blob(b"x")).unwrap();
            recorder.record("object", Object(1)).unwrap();
        },
        |recorder| {
            for (key, schema) in &expected {
                check_schema(recorder, key, schema, 1);
            }
        },
    );
}

/// Fill values of every element type, NaN payloads included.
pub fn fill_values_of_every_element_type_are_read_back(harness: &dyn Harness) {
    fn schemas<T: Special>() -> Vec<(String, Schema)> {
        let all = T::specials().into_iter().enumerate();
        let schema = |fill| Schema::array::<T>([2]).with_fill_value(fill);
        all.map(|(index, fill)| (format!("{}/{index}", T::DTYPE), schema(fill)))
            .collect()
    }
    fn write<T: Special>(recorder: &Recorder) {
        for (key, schema) in schemas::<T>() {
            recorder.declare(&key, schema).unwrap();
            recorder
                .record(&key, [T::default(), T::specials()[1]])
                .unwrap();
        }
    }
    fn check<T: Special>(recorder: &Recorder) {
        for (key, schema) in schemas::<T>() {
            check_schema(recorder, &key, &schema, 1);
            check_series(recorder, &key, &[value([T::default(), T::specials()[1]])]);
        }
    }
    write_and_check(
        harness,
        |recorder| {
            for_each_element!(write(recorder));
        },
        |recorder| {
            for_each_element!(check(recorder));
        },
    );
}

/// Every compression keeps every bit of every kind, of data that shrinks and data that does not;
/// a lossy one keeps those of all but floating-point numbers.
pub fn compression_keeps_every_bit_that_it_may_not_round(harness: &dyn Harness) {
    let compressions = [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        Compression::lossy(1.0).unwrap(),
    ];
    let dtypes = |compression| {
        let is_exact = move |dtype: &DType| {
            !matches!(compression, Compression::Lossy(_)) || !FLOATING.contains(dtype)
        };
        DType::ALL.into_iter().filter(is_exact)
    };
    let noise = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let records = |dtype: DType, step: u64| {
        let bytes = (0..16 * dtype.size() as u64)
            .map(|i| match (dtype, step % 3) {
                (_, 0) => 0,
                (DType::Bool, _) => (noise(i + step) >> 20) as u8 & 1,
                (_, 1) => noise(i + 1000 * step) as u8,
                _ => (i / 8) as u8,
            })
            .collect();
        Value::Array(ArrayValue::from_bytes(dtype, vec![16], bytes).unwrap())
    };
    let text = |step: u64| format!("{:x}", noise(step)).repeat(step as usize);
    write_and_check(
        harness,
        |recorder| {
            for compression in compressions {
                for dtype in dtypes(compression) {
                    let key = format!("{compression:?}/{dtype}");
                    let schema = Schema::array_of(dtype, [16])
                        .with_compression(compression)
                        .with_chunk_policy(ChunkPolicy::records(5));
                    recorder.declare(&key, schema).unwrap();
                    for step in 0..12 {
                        recorder.record(&key, records(dtype, step)).unwrap();
                    }
                }
                let key = format!("{compression:?}/text");
                let schema = Schema::text().with_compression(compression);
                recorder.declare(&key, schema).unwrap();
                let rows = format!("{compression:?}/rows");
                let schema = Schema::ragged::<u64>([]).with_compression(compression);
                recorder.declare(&rows, schema).unwrap();
                for step in 0..12 {
                    recorder.record(&key, text(step)).unwrap();
                    let row: Vec<u64> = (0..step).map(noise).collect();
                    recorder.record(&rows, Ragged(row)).unwrap();
                }
            }
        },
        |recorder| {
            for compression in compressions {
                for dtype in dtypes(compression) {
                    let key = format!("{compression:?}/{dtype}");
                    let expected: Vec<_> = (0..12).map(|step| records(dtype, step)).collect();
                    check_series(recorder, &key, &expected);
                }
                let expected: Vec<_> = (0..12).map(|step| value(text(step))).collect();
                check_series(recorder, &format!("{compression:?}/text"), &expected);
                let rows = |step| value((0..step).map(noise).collect::<Vec<u64>>());
                let expected: Vec<_> = (0..12).map(rows).collect();
                check_series(recorder, &format!("{compression:?}/rows"), &expected);
            }
        },
    );
}
