//! Lossy compression: no number differs from the recorded one by more than the bound.

use num_complex::Complex;

use super::Harness;
use super::support::{check_reopened, recorder};
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::dtype::DType;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::model::value::{ArrayValue, Value};
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

pub(super) const FLOATING: [DType; 6] = [
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
    DType::Complex64,
    DType::Complex128,
];

const MAX_ERROR: f64 = 0.01;
const CHUNK: u64 = 8;
const WIDTH: usize = 3;

/// A record of `len` numbers between -4 and 4, now and then NaN or infinite.
fn numbers(dtype: DType, index: u64, len: usize) -> Value {
    let parts = if dtype.as_str().starts_with("complex") {
        2
    } else {
        1
    };
    let number = |part: u64| match index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ part
    {
        hash if hash % 13 == 0 => f64::NAN,
        hash if hash % 17 == 0 => f64::NEG_INFINITY,
        hash => (hash % 0x1_0000_0000) as f64 / f64::from(1 << 29) - 4.0,
    };
    let bytes = (0..(len * parts) as u64).flat_map(|part| match dtype.size() / parts {
        2 if dtype == DType::F16 => half::f16::from_f64(number(part)).to_le_bytes().to_vec(),
        2 => half::bf16::from_f64(number(part)).to_le_bytes().to_vec(),
        4 => (number(part) as f32).to_le_bytes().to_vec(),
        _ => number(part).to_le_bytes().to_vec(),
    });
    Value::Array(ArrayValue::from_bytes(dtype, vec![len], bytes.collect()).unwrap())
}

/// The parts of all numbers of a record.
fn parts(record: &Value) -> Vec<f64> {
    let numbers = record.cast::<Complex<f64>>().unwrap();
    numbers
        .iter()
        .flat_map(|number| [number.re, number.im])
        .collect()
}

/// The series of the cases: an array and a ragged one of each floating-point type.
fn series() -> impl Iterator<Item = (String, DType, bool)> {
    let both = |dtype| [false, true].map(|ragged| (format!("{dtype}/{ragged}"), dtype, ragged));
    FLOATING.into_iter().flat_map(both)
}

fn record_of(dtype: DType, ragged: bool, index: u64) -> Value {
    let len = if ragged { index as usize % 4 } else { WIDTH };
    numbers(dtype, index, len)
}

fn declare(recorder: &Recorder) {
    for (key, dtype, ragged) in series() {
        let schema = match ragged {
            true => Schema::ragged_of(dtype, []),
            false => Schema::array_of(dtype, [WIDTH as u64]),
        };
        let schema = schema
            .with_chunk_policy(ChunkPolicy::records(CHUNK))
            .with_compression(Compression::lossy(MAX_ERROR).unwrap());
        recorder.declare(&key, schema).unwrap();
    }
}

fn record(recorder: &Recorder, range: std::ops::Range<u64>) {
    for (key, dtype, ragged) in series() {
        for index in range.clone() {
            let value = record_of(dtype, ragged, index);
            match ragged {
                true => recorder.record(&key, Ragged(&value)).unwrap(),
                false => recorder.record(&key, &value).unwrap(),
            }
        }
    }
}

/// Checks the bound for the first `len` records, and that those in `before` have not changed.
#[track_caller]
fn check(recorder: &Recorder, len: u64, before: &mut Vec<Vec<Value>>) {
    let mut found = Vec::new();
    for (key, dtype, ragged) in series() {
        let view = recorder.get_all(&key).unwrap();
        assert_eq!(view.len(), len, "records of '{key}'");
        let values: Vec<Value> = view.iter().map(Result::unwrap).collect();
        for (index, value) in values.iter().enumerate() {
            let recorded = parts(&record_of(dtype, ragged, index as u64));
            let stored = parts(value);
            assert_eq!(stored.len(), recorded.len(), "record {index} of '{key}'");
            for (recorded, stored) in recorded.into_iter().zip(stored) {
                let same = recorded.to_bits() == stored.to_bits();
                assert!(
                    same || (recorded - stored).abs() <= MAX_ERROR,
                    "record {index} of '{key}': {recorded} is read as {stored}"
                );
            }
        }
        found.push(values);
    }
    for (found, before) in found.iter().zip(&*before) {
        assert!(
            found[..before.len()] == before[..],
            "a number changed after it was read"
        );
    }
    *before = found;
}

/// The bound holds for each number, of single records and of whole chunks, before and after they
/// are folded; all reads of a number return the same.
pub fn lossy_numbers_keep_their_bound_and_never_change_again(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare(&writer);
    let mut before = Vec::new();
    let mut len = 0;
    for more in [1, 2, 1, CHUNK, 3, 3 * CHUNK, 5] {
        record(&writer, len..len + more);
        len += more;
        check(&writer, len, &mut before);
        writer.flush().unwrap();
        check(&writer, len, &mut before);
    }
    writer.checkpoint().unwrap();
    check(&writer, len, &mut before);
    record(&writer, len..len + 1);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check(reader, len + 1, &mut before.clone());
    });
}

/// The bound also holds for records that are appended later.
pub fn a_lossy_series_is_appended_to_after_reopening(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare(&writer);
    record(&writer, 0..3);
    writer.close().unwrap();
    drop(writer);
    let mut before = Vec::new();
    let mut len = 3;
    for more in [1, CHUNK, 2 * CHUNK + 1] {
        let writer = recorder(harness, OpenMode::Append);
        check(&writer, len, &mut before);
        for (key, ..) in series() {
            let view = writer.get_all(&key).unwrap();
            let compression = view.schema().compression();
            assert_eq!(compression, Some(Compression::lossy(MAX_ERROR).unwrap()));
        }
        record(&writer, len..len + more);
        len += more;
        check(&writer, len, &mut before);
        writer.close().unwrap();
    }
    check_reopened(harness, |reader| check(reader, len, &mut before.clone()));
}
