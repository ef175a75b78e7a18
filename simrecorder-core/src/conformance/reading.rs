//! Reading: the limits of what a view can read.

use std::ops::Range;

use ndarray::Array2;

use super::Harness;
use super::support::{expect_error, value, write_and_check};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::DType;
use crate::model::kind::Kind;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::selection::{AxisRange, Region};
use crate::reading::view::View;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;

const RECORDS: u64 = 20;

/// A series of arrays with some chunks and a tail, and one series of each other kind.
fn fill(recorder: &Recorder) {
    let schema = Schema::array::<u16>([3]).with_chunk_policy(ChunkPolicy::records(8));
    recorder.declare("v", schema).unwrap();
    for i in 0..RECORDS as u16 {
        recorder.record("v", [3 * i, 3 * i + 1, 3 * i + 2]).unwrap();
        recorder
            .record("rows", Ragged(vec![i; usize::from(i) % 4]))
            .unwrap();
        recorder
            .record("text", "x".repeat(usize::from(i) % 5))
            .unwrap();
        recorder
            .record("bytes", Blob(vec![i as u8; usize::from(i) % 3]))
            .unwrap();
        recorder.record("object", Object(i)).unwrap();
    }
}

const KEYS: [&str; 5] = ["v", "rows", "text", "bytes", "object"];

fn record(key: &str, i: u64) -> Value {
    let i = i as u16;
    match key {
        "v" => value([3 * i, 3 * i + 1, 3 * i + 2]),
        "rows" => value(vec![i; usize::from(i) % 4]),
        "text" => value("x".repeat(usize::from(i) % 5)),
        "bytes" => value(Blob(vec![i as u8; usize::from(i) % 3])),
        _ => value(Object(i)),
    }
}

fn axis(start: u64, count: u64, step: u64) -> AxisRange {
    AxisRange { start, count, step }
}

/// A region is read into a buffer of its size; an empty region into an empty buffer.
pub fn a_region_is_read_into_a_buffer_of_its_size(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let all = Array2::from_shape_fn((20, 3), |(i, j)| (3 * i + j) as u16);
        for (rows, columns) in [
            (axis(0, 20, 1), axis(0, 3, 1)),
            (axis(7, 3, 1), axis(1, 1, 1)),
            (axis(0, 3, 8), axis(0, 2, 2)),
            (axis(19, 1, 1), axis(2, 1, 1)),
            (axis(5, 1, u64::MAX), axis(0, 1, 1)),
            (axis(0, 0, 1), axis(0, 3, 1)),
            (axis(20, 0, 1), axis(3, 0, 7)),
            (axis(3, 4, 2), axis(1, 0, 1)),
        ] {
            let region = Region::new(vec![rows, columns]);
            let mut out = vec![0xaa; region.len().unwrap() * 2];
            view.read_into(&region, &mut out).unwrap();
            let at = |axis: AxisRange, i: u64| (axis.start + i * axis.step) as usize;
            let expected: Vec<u8> = (0..rows.count)
                .flat_map(|i| (0..columns.count).map(move |j| (i, j)))
                .flat_map(|(i, j)| all[[at(rows, i), at(columns, j)]].to_ne_bytes())
                .collect();
            assert_eq!(out, expected, "{region:?}");
        }
    });
}

/// Regions outside the shape, and buffers of another size, are refused.
pub fn a_region_that_does_not_fit_is_refused(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        for part in [view.clone(), view.select(..).unwrap()] {
            for axes in [
                vec![axis(0, 21, 1), axis(0, 3, 1)],
                vec![axis(20, 1, 1), axis(0, 3, 1)],
                vec![axis(0, 20, 1), axis(1, 3, 1)],
                vec![axis(0, 2, 20), axis(0, 3, 1)],
                vec![axis(0, 2, 0), axis(0, 3, 1)],
                vec![axis(u64::MAX, 2, u64::MAX), axis(0, 3, 1)],
                vec![axis(0, u64::MAX, 1), axis(0, u64::MAX, 1)],
                vec![axis(0, 20, 1)],
                vec![axis(0, 20, 1), axis(0, 3, 1), axis(0, 1, 1)],
                vec![],
            ] {
                let mut out = [0; 120];
                let result = part.read_into(&Region::new(axes), &mut out);
                expect_error(result, ErrorKind::OutOfBounds, &[]);
            }
            for len in [0, 1, 119, 121] {
                let result = part.read_into(&Region::all(&[20, 3]), &mut vec![0; len]);
                expect_error(result, ErrorKind::InvalidArgument, &["120"]);
            }
            let nothing = Region::new(vec![axis(0, 0, 1), axis(0, 3, 1)]);
            let result = part.read_into(&nothing, &mut [0; 2]);
            expect_error(result, ErrorKind::InvalidArgument, &[]);
        }
        for key in &KEYS[1..] {
            let view = recorder.get_all(key).unwrap();
            let result = view.read_into(&Region::all(&[RECORDS]), &mut [0; 20]);
            expect_error(result, ErrorKind::KindMismatch, &[key]);
        }
    });
}

/// Blocks of records: whole ranges, parts that end at `max_bytes`, and ranges at the ends of the series.
pub fn records_are_read_in_blocks_of_any_size(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        for key in KEYS {
            let view = recorder.get_all(key).unwrap();
            for max_bytes in [0, 1, 7, 48, 1000, usize::MAX] {
                for range in [0..RECORDS, 3..17, 7..9, 8..16, 19..20] {
                    let mut next = range.start;
                    while next < range.end {
                        let block = view.read_records(next..range.end, max_bytes).unwrap();
                        assert!(
                            !block.is_empty(),
                            "'{key}' {next}..{} {max_bytes}",
                            range.end
                        );
                        assert!(
                            next + block.len() <= range.end,
                            "'{key}' gave too many records"
                        );
                        assert_eq!(block.schema().kind(), view.kind());
                        for i in 0..block.len() {
                            let found = block.value(i).unwrap();
                            assert_eq!(found, record(key, next + i), "'{key}' {}", next + i);
                        }
                        next += block.len();
                    }
                }
            }
            let backwards = Range { start: 5, end: 2 };
            for empty in [0..0, 5..5, RECORDS..RECORDS, backwards] {
                let records = view.read_records(empty.clone(), 100).unwrap();
                assert!(records.is_empty(), "'{key}' {empty:?}");
            }
        }
    });
}

/// Ranges that end after the last record are refused before memory is allocated for them.
pub fn records_after_the_last_one_are_refused(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        for key in KEYS {
            let view = recorder.get_all(key).unwrap();
            for part in [view.clone(), view.select(2..).unwrap()] {
                let len = part.len();
                for range in [
                    0..len + 1,
                    len..len + 1,
                    0..1 << 50,
                    1..u64::MAX,
                    len + 5..len + 6,
                ] {
                    for max_bytes in [0, 100, usize::MAX] {
                        let result = part.read_records(range.clone(), max_bytes);
                        expect_error(result, ErrorKind::OutOfBounds, &[]);
                    }
                }
                expect_error(part.get(len), ErrorKind::OutOfBounds, &["get", key]);
                expect_error(part.get(u64::MAX), ErrorKind::OutOfBounds, &["get", key]);
            }
        }
    });
}

/// Iterating returns each record once, and can skip records.
pub fn iterating_gives_every_record_in_order(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        for key in KEYS {
            let view = recorder.get_all(key).unwrap();
            let found: Vec<_> = view.iter().map(|record| record.unwrap()).collect();
            let expected: Vec<_> = (0..RECORDS).map(|i| record(key, i)).collect();
            assert_eq!(found, expected, "{key}");
            let skipping: Vec<_> = view.iter().skip(3).step_by(5).map(|r| r.unwrap()).collect();
            let expected: Vec<_> = [3, 8, 13, 18].into_iter().map(|i| record(key, i)).collect();
            assert_eq!(skipping, expected, "{key}");
            assert_eq!(view.iter().size_hint(), (20, Some(20)));
            assert!(view.iter().nth(20).is_none());
            let part: Vec<_> = view
                .select(18..)
                .unwrap()
                .iter()
                .map(|r| r.unwrap())
                .collect();
            assert_eq!(part, [record(key, 18), record(key, 19)], "{key}");
        }
    });
}

/// A method that does not fit the kind is refused, and the error names one that does.
pub fn reading_as_another_kind_or_type_is_refused(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        let of = |key: &str| recorder.get_all(key).unwrap();
        let kind = ErrorKind::KindMismatch;
        for key in &KEYS[1..] {
            expect_error(of(key).read::<u16>(), kind, &[key, "iter()"]);
            expect_error(of(key).cast::<f64>(), kind, &[key]);
            expect_error(of(key).read_value(), kind, &[key]);
        }
        expect_error(of("rows").read::<u16>(), kind, &["read_ragged()"]);
        expect_error(of("text").read::<u16>(), kind, &["read_text()"]);
        expect_error(of("v").read_ragged::<u16>(), kind, &["v", "read()"]);
        expect_error(of("v").read_text(), kind, &["v", "read()"]);
        expect_error(of("bytes").read_text(), kind, &["bytes", "get()"]);
        let other = ErrorKind::TypeMismatch;
        expect_error(
            of("v").read::<i16>(),
            other,
            &["'v'", "uint16", "int16", "cast"],
        );
        expect_error(of("v").read::<f64>(), other, &["uint16", "float64"]);
        expect_error(
            of("rows").read_ragged::<u32>(),
            other,
            &["'rows'", "uint16", "uint32"],
        );
    });
}

/// `cast` converts as Rust's `as` does, and returns an error if it cannot.
pub fn casting_converts_as_rust_does(harness: &dyn Harness) {
    let elements = [300.7, -1.5, f64::NAN, f64::INFINITY, 0.0];
    let fill = |recorder: &Recorder| {
        recorder.record("f", elements).unwrap();
        recorder.record("b", [true, false]).unwrap();
        recorder.record("u", [u64::MAX, 0]).unwrap();
        recorder
            .record("c", num_complex::Complex::new(1.0_f32, 2.0))
            .unwrap();
    };
    write_and_check(harness, fill, |recorder| {
        let of = |key: &str| recorder.get_all(key).unwrap();
        let bytes = of("f").cast::<u8>().unwrap();
        assert_eq!(bytes.shape(), [1, 5]);
        assert_eq!(
            bytes.iter().copied().collect::<Vec<_>>(),
            elements.map(|x| x as u8)
        );
        let single = of("f").select(0).unwrap().cast::<f32>().unwrap();
        assert_eq!(single[1], -1.5);
        assert_eq!(of("b").cast::<f64>().unwrap().sum(), 1.0);
        assert_eq!(of("u").cast::<u64>().unwrap()[[0, 0]], u64::MAX);
        assert_eq!(of("u").cast::<f32>().unwrap()[[0, 0]], u64::MAX as f32);
        let wide = of("c").cast::<num_complex::Complex<f64>>().unwrap();
        assert_eq!(wide[0], num_complex::Complex::new(1.0, 2.0));
        expect_error(
            of("c").cast::<f64>(),
            ErrorKind::TypeMismatch,
            &["'c'", "complex64"],
        );
    });
}

/// Arrays whose element type is known only at run time.
pub fn arrays_are_read_without_knowing_their_type(harness: &dyn Harness) {
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let expected = Array2::from_shape_fn((20, 3), |(i, j)| (3 * i + j) as u16);
        assert_eq!(view.read_value().unwrap(), value(&expected));
        let part = view.select(2..4).unwrap().read_value().unwrap();
        assert_eq!(
            part,
            value(expected.slice_axis(ndarray::Axis(0), (2..4).into()))
        );
        assert_eq!((view.kind(), view.dtype()), (Kind::Array, Some(DType::U16)));
        assert_eq!(view.key().as_str(), "v");
        let again = View::from(view.to_arc());
        assert_eq!(again.read_value().unwrap(), value(&expected));
    });
}
