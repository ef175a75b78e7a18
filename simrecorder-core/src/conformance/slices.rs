//! Slices of views are those of `ndarray` for the same array in memory.

use ndarray::{Array, ArrayD, Axis, Ix1, Ix2, IxDyn, NewAxis, Slice, SliceInfoElem};
use proptest::prelude::*;

use super::Harness;
use super::support::{
    check_reopened, check_view, expect_error, for_random, recorder, value, write_and_check,
};
use crate::error::{ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::DType;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

/// Random recordings for each number of axes.
const CASES: u32 = 64;
/// Selections of each recording.
const SELECTIONS: usize = 6;

/// A selection along one axis, before its length is known.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Range {
        a: u16,
        b: u16,
        step: i8,
        from_end: (bool, bool),
        open: bool,
    },
    Index {
        at: u16,
        from_end: bool,
    },
    New,
}

fn cut() -> impl Strategy<Value = Cut> {
    let steps =
        prop_oneof![3 => Just(1_i8), 2 => 2..5_i8, 2 => -4..0_i8, 1 => Just(100), 1 => Just(-100)];
    let range = (
        any::<u16>(),
        any::<u16>(),
        steps,
        any::<(bool, bool)>(),
        any::<bool>(),
    );
    let range = range.prop_map(|(a, b, step, from_end, open)| Cut::Range {
        a,
        b,
        step,
        from_end,
        open,
    });
    let index = any::<(u16, bool)>().prop_map(|(at, from_end)| Cut::Index { at, from_end });
    prop_oneof![2 => Just(Cut::Whole), 6 => range, 2 => index, 1 => Just(Cut::New)]
}

/// The elements of a selection, of all axes of `shape` or of the first ones only.
fn selection(cuts: &[Cut], shape: &[usize]) -> Vec<SliceInfoElem> {
    let mut lens = shape.iter().copied();
    let mut elements = Vec::new();
    for &cut in cuts {
        if let Cut::New = cut {
            elements.push(NewAxis.into());
            continue;
        }
        let Some(len) = lens.next() else { break };
        let signed = |index: usize, from_end: bool| {
            let index = index as isize;
            if from_end && index < len as isize {
                index - len as isize
            } else {
                index
            }
        };
        elements.push(match cut {
            Cut::Range {
                a,
                b,
                step,
                from_end,
                open,
            } => {
                let (a, b) = (usize::from(a) % (len + 1), usize::from(b) % (len + 1));
                SliceInfoElem::Slice {
                    start: signed(a.min(b), from_end.0),
                    end: (!open).then(|| signed(a.max(b), from_end.1)),
                    step: step.into(),
                }
            }
            Cut::Index { at, from_end } if len > 0 => {
                SliceInfoElem::Index(signed(usize::from(at) % len, from_end))
            }
            _ => Slice::from(..).into(),
        });
    }
    elements
}

/// The selection of `ndarray`, which, unlike ours, has every axis.
fn expected(array: &ArrayD<i32>, elements: &[SliceInfoElem]) -> ArrayD<i32> {
    let mentioned = elements
        .iter()
        .filter(|element| !element.is_new_axis())
        .count();
    let mut elements = elements.to_vec();
    elements.extend((mentioned..array.ndim()).map(|_| SliceInfoElem::from(Slice::from(..))));
    array.slice(elements.as_slice()).to_owned()
}

#[track_caller]
fn check_slice(view: &dyn ArrayView, expected: &ArrayD<i32>, what: &dyn std::fmt::Debug) {
    let shape: Vec<u64> = expected.shape().iter().map(|&len| len as u64).collect();
    assert_eq!(view.shape(), shape, "the shape of {what:?}");
    assert_eq!(view.chunk_shape().len(), shape.len(), "{what:?}");
    assert_eq!(&view.read::<i32>().unwrap(), expected, "{what:?}");
    // In sequence, and each alone.
    if !shape.is_empty() {
        for (index, (found, expected)) in view.iter().zip(expected.outer_iter()).enumerate() {
            assert_eq!(
                found.unwrap().array::<i32>().unwrap(),
                expected,
                "{what:?} {index}"
            );
        }
        assert_eq!(view.iter().count(), expected.len_of(Axis(0)), "{what:?}");
        if let Some(last) = expected.outer_iter().next_back() {
            let found = view.get(view.len() - 1).unwrap().array::<i32>().unwrap();
            assert_eq!(found, last, "the last of {what:?}");
        }
    }
}

/// A recording of one series, with some chunks and a tail.
#[derive(Clone, Debug)]
struct Series {
    shape: Vec<usize>,
    chunk: Vec<u64>,
    flush_after: usize,
    checkpoint: bool,
}

fn series(axes: usize) -> impl Strategy<Value = Series> {
    let longest = [40_usize, 12, 7, 5][axes - 1];
    let records = 0..[60_usize, 30, 20, 12][axes - 1];
    (
        records,
        prop::collection::vec(0..longest, axes - 1),
        prop::collection::vec(1..9_u64, axes),
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(|(records, record, chunk, flush_after, checkpoint)| Series {
            flush_after: usize::from(flush_after) % (records + 1),
            shape: std::iter::once(records).chain(record).collect(),
            chunk,
            checkpoint,
        })
}

fn record(recorder: &Recorder, series: &Series) -> ArrayD<i32> {
    let mut next = 0;
    let array = ArrayD::from_shape_fn(IxDyn(&series.shape), |_| {
        next += 1;
        next * 7 - 3
    });
    let record_shape: Vec<u64> = series.shape[1..].iter().map(|&len| len as u64).collect();
    let policy = ChunkPolicy::shape(series.chunk.clone()).unwrap();
    let schema = Schema::array::<i32>(record_shape).with_chunk_policy(policy);
    recorder.declare("v", schema).unwrap();
    for (index, row) in array.outer_iter().enumerate() {
        if index == series.flush_after {
            recorder.flush().unwrap();
            if series.checkpoint {
                recorder.checkpoint().unwrap();
            }
        }
        recorder.record("v", row).unwrap();
    }
    array
}

fn compare_with_ndarray(harness: &dyn Harness, axes: usize) {
    let cuts = || prop::collection::vec(cut(), 0..axes + 3);
    let selections = prop::collection::vec((cuts(), cuts()), SELECTIONS);
    for_random(
        CASES,
        &(series(axes), selections),
        |(series, selections)| {
            let harness = harness.another();
            let writer = recorder(&*harness, OpenMode::CreateNew);
            let array = record(&writer, &series);
            let check = |recorder: &Recorder| {
                let view = recorder.get_all("v").unwrap();
                check_slice(&view, &array, &"everything");
                for (first, second) in &selections {
                    let elements = selection(first, &series.shape);
                    let part = view.select(elements.clone()).unwrap();
                    let expected_part = expected(&array, &elements);
                    check_slice(&part, &expected_part, &elements);
                    // A selection of a selection.
                    let more = selection(second, expected_part.shape());
                    let part = part.select(more.clone()).unwrap();
                    check_slice(&part, &expected(&expected_part, &more), &(elements, more));
                }
            };
            check(&writer);
            writer.close().unwrap();
            drop(writer);
            check_reopened(&*harness, check);
        },
    );
}

/// Series of scalars.
pub fn slices_of_scalars_are_those_of_ndarray(harness: &dyn Harness) {
    compare_with_ndarray(harness, 1);
}

/// Series of vectors.
pub fn slices_of_vectors_are_those_of_ndarray(harness: &dyn Harness) {
    compare_with_ndarray(harness, 2);
}

/// Series of matrices.
pub fn slices_of_matrices_are_those_of_ndarray(harness: &dyn Harness) {
    compare_with_ndarray(harness, 3);
}

/// Series of arrays with three axes.
pub fn slices_of_cubes_are_those_of_ndarray(harness: &dyn Harness) {
    compare_with_ndarray(harness, 4);
}

/// Selections made from numbers and ranges of all types.
pub fn indices_and_ranges_select_along_the_records(harness: &dyn Harness) {
    let fill = |recorder: &Recorder| {
        (0..20).for_each(|i| recorder.record("v", [i, 100 * i]).unwrap());
    };
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let firsts = |part: Result<View>| -> Vec<i32> {
            let part = part.unwrap().read::<i32>().unwrap();
            part.index_axis(Axis(1), 0).iter().copied().collect()
        };
        assert_eq!(firsts(view.select(3..6)), [3, 4, 5]);
        assert_eq!(firsts(view.select(3_usize..5)), [3, 4]);
        assert_eq!(firsts(view.select(-2_isize..)), [18, 19]);
        assert_eq!(firsts(view.select(..2)), [0, 1]);
        assert_eq!(firsts(view.select(..)).len(), 20);
        assert_eq!(firsts(view.select(view.len() - 2..)), [18, 19]);
        assert_eq!(firsts(view.select(3_u64..=4)), [3, 4]);
        assert_eq!(firsts(view.select(-3..=-1)), [17, 18, 19]);
        assert_eq!(firsts(view.select(..=1_usize)), [0, 1]);
        assert_eq!(view.last().unwrap(), Some(Value::new([19, 1900]).unwrap()));
        let matrix = view.read_dim::<i32, Ix2>().unwrap();
        assert_eq!(matrix.row(3).to_vec(), [3, 300]);
        let other = view.read_dim::<i32, Ix1>();
        expect_error(other, ErrorKind::InvalidArgument, &["read", "v", "2 axes"]);
        assert!(firsts(view.select(20..)).is_empty());
        assert_eq!(
            view.select(7).unwrap().read::<i32>().unwrap(),
            ndarray::arr1(&[7, 700]).into_dyn()
        );
        let last = view.select(-1).unwrap();
        assert_eq!(last.shape(), [2]);
        assert_eq!(last.get(1).unwrap().scalar::<i32>().unwrap(), 1900);
        assert_eq!(last.select(1).unwrap().read::<i32>().unwrap().sum(), 1900);
        assert!(last.select(1).unwrap().shape().is_empty());
    });
}

/// A step may be longer than the axis: it then takes one index, or none.
pub fn a_step_may_be_longer_than_the_axis(harness: &dyn Harness) {
    let fill = |recorder: &Recorder| {
        (0..20).for_each(|i| recorder.record("v", [i, 100 * i]).unwrap());
    };
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let slice = |start, end, step| vec![SliceInfoElem::Slice { start, end, step }];
        for step in [20, 1 << 40, isize::MAX] {
            let first = view.select(slice(5, None, step)).unwrap();
            assert_eq!(first.read::<i32>().unwrap().sum(), 505);
            let again = first.select(slice(0, None, step)).unwrap();
            assert_eq!(again.read::<i32>().unwrap().sum(), 505);
            let last = view.select(slice(5, Some(10), -step)).unwrap();
            assert_eq!(last.read::<i32>().unwrap().sum(), 909);
            let again = last.select(slice(0, None, -step)).unwrap();
            assert_eq!(again.read::<i32>().unwrap().sum(), 909);
            let none = view.select(slice(5, Some(5), step)).unwrap();
            assert_eq!(none.shape(), [0, 2]);
            let none = none.select(slice(0, None, isize::MIN)).unwrap();
            assert_eq!(none.read::<i32>().unwrap().shape(), [0, 2]);
        }
    });
}

/// Chunks that a step skips are not read.
pub fn a_step_may_be_longer_than_a_chunk(harness: &dyn Harness) {
    let numbers = |len: i32, record: i32| -> Vec<i32> { (0..len).map(|i| i + record).collect() };
    // The length of a record, its chunks, and steps that are longer than these.
    let series = [
        ("short", 12, [2, 1], [8, 5, 3]),
        ("long", 4096, [4, 16], [1024, 100, 17]),
    ];
    let fill = |recorder: &Recorder| {
        for (key, len, chunk, _) in series {
            let schema = Schema::array::<i32>([len as u64]);
            let schema = schema.with_chunk_policy(ChunkPolicy::shape(chunk).unwrap());
            recorder.declare(key, schema).unwrap();
            (0..5).for_each(|i| recorder.record(key, numbers(len, i)).unwrap());
        }
    };
    write_and_check(harness, fill, |recorder| {
        for (key, len, _, steps) in series {
            let view = recorder.get_all(key).unwrap();
            for step in steps {
                for start in [0, 1, 7] {
                    let slice = Slice::new(start, None, step);
                    let part = view.select(vec![Slice::from(..).into(), slice.into()]);
                    let expected = (0..5).flat_map(|record| {
                        let all = numbers(len, record).into_iter();
                        all.skip(start as usize).step_by(step as usize)
                    });
                    let found = part.unwrap().read::<i32>().unwrap();
                    assert!(found.iter().copied().eq(expected), "{key} {start} {step}");
                }
            }
        }
    });
}

/// A selection outside of the shape is an error, not a panic.
pub fn selections_outside_the_shape_are_errors(harness: &dyn Harness) {
    let fill = |recorder: &Recorder| {
        (0..5).for_each(|i| recorder.record("v", [i, i]).unwrap());
        recorder.record("text", "x").unwrap();
    };
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let outside = ErrorKind::OutOfBounds;
        let parts = &["select", "'v'"];
        expect_error(view.select(5), outside, parts);
        expect_error(view.select(-6), outside, parts);
        expect_error(view.select(0..6), outside, parts);
        expect_error(view.select(6..), outside, parts);
        expect_error(view.select(-6..), outside, parts);
        expect_error(view.select(usize::MAX), outside, parts);
        expect_error(view.select(2..usize::MAX), outside, parts);
        expect_error(view.select(..usize::MAX), outside, parts);
        expect_error(view.select(isize::MIN), outside, parts);
        expect_error(view.select(isize::MAX..), outside, parts);
        let all = SliceInfoElem::from(Slice::from(..));
        expect_error(view.select(vec![all; 3]), outside, parts);
        let third = vec![all, SliceInfoElem::Index(2)];
        expect_error(view.select(third), outside, &["axis 1", "length 2"]);
        let standing = SliceInfoElem::Slice {
            start: 0,
            end: None,
            step: 0,
        };
        expect_error(
            view.select(vec![standing]),
            ErrorKind::InvalidArgument,
            &["step"],
        );
        let part = view.select(1..3).unwrap();
        expect_error(part.select(2), outside, parts);
        expect_error(part.select(..3), outside, parts);
        let text = recorder.get_all("text").unwrap();
        expect_error(text.select(1..3), outside, &["'text'"]);
        expect_error(
            text.select(0),
            ErrorKind::KindMismatch,
            &["'text'", "text", "get"],
        );
        let new = vec![SliceInfoElem::from(NewAxis)];
        expect_error(text.select(new), ErrorKind::KindMismatch, &["'text'"]);
    });
}

/// A selection keeps the names of its axes; a dropped axis loses its name, and a new axis has none.
pub fn selections_carry_names_and_attributes_on(harness: &dyn Harness) {
    let schema = Schema::array::<f32>([3, 4])
        .with_dimension_names(["time", "x", "y"])
        .with_units("mV");
    let fill = |recorder: &Recorder| {
        recorder.declare("v", schema.clone()).unwrap();
        (0..5).for_each(|_| recorder.record("v", [[0.5_f32; 4]; 3]).unwrap());
    };
    write_and_check(harness, fill, |recorder| {
        let view = recorder.get_all("v").unwrap();
        let all = SliceInfoElem::from(Slice::from(..));
        let elements = vec![all, SliceInfoElem::Index(1), NewAxis.into(), all];
        let part = view.select(elements).unwrap();
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            part.dimension_names(),
            Some(&[name("time"), None, name("y")][..])
        );
        assert_eq!(part.attributes()["units"], "mV");
        assert_eq!((part.dtype(), part.key().as_str()), (Some(DType::F32), "v"));
    });
}

/// What record `i` of a series is.
type RecordOf = fn(usize) -> Value;

/// Records of unknown size are selected along their one axis.
pub fn slices_of_variable_records_are_those_of_a_list(harness: &dyn Harness) {
    const RECORDS: usize = 30;
    let kinds: [(&str, RecordOf); 4] = [
        ("rows", |i| value(vec![i as u16; i % 5])),
        ("text", |i| value("ü".repeat(i % 4) + &i.to_string())),
        ("bytes", |i| value(Blob(vec![i as u8; i % 3]))),
        ("object", |i| value(Object((i, "x")))),
    ];
    let writer = recorder(harness, OpenMode::CreateNew);
    for i in 0..RECORDS {
        writer
            .record("rows", Ragged(vec![i as u16; i % 5]))
            .unwrap();
        for (key, record) in &kinds[1..] {
            writer.record(key, record(i)).unwrap();
        }
        if i == 17 {
            writer.checkpoint().unwrap();
        }
    }
    let compare = |recorder: &Recorder| {
        for_random(CASES, &(cut(), cut()), |(first, second)| {
            for (key, record) in kinds {
                let view = recorder.get_all(key).unwrap();
                let mut expected: Array<usize, _> = Array::from_iter(0..RECORDS).into_dyn();
                let mut part = view;
                for cut in [first, second] {
                    let cut = match cut {
                        Cut::New | Cut::Index { .. } => Cut::Whole,
                        cut => cut,
                    };
                    let elements = selection(&[cut], expected.shape());
                    expected = expected.slice(elements.as_slice()).to_owned();
                    part = part.select(elements).unwrap();
                }
                let expected: Vec<_> = expected.iter().map(|&i| record(i)).collect();
                check_view(&part, &expected);
            }
        });
    };
    compare(&writer);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, compare);
}
