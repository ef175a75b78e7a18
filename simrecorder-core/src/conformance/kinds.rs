//! Every kind and element type is read back bit for bit.

use ndarray::{Array1, Array2, ArrayD, Axis};
use num_complex::Complex;

use super::Harness;
use super::support::{bytes, check_series, check_value, value, write_and_check};
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::{DType, Element};
use crate::model::kind::Kind;
use crate::model::record::{IntoValue, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;

/// Elements whose bits are easily lost.
pub(super) trait Special: Element + IntoValue<Element = Self> {
    fn specials() -> Vec<Self>;
}

macro_rules! special_integers {
    ($($type:ty),*) => {$(
        impl Special for $type {
            fn specials() -> Vec<Self> {
                vec![0, 1, <$type>::MAX, <$type>::MIN, <$type>::MAX / 3, <$type>::MIN / 3]
            }
        }
    )*};
}

special_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Special for bool {
    fn specials() -> Vec<Self> {
        vec![true, false, false, true, true]
    }
}

macro_rules! special_floats {
    ($($type:ty: $one:expr, $infinity:expr, $payload:expr, $signalling:expr, $smallest:expr;)*) => {$(
        impl Special for $type {
            fn specials() -> Vec<Self> {
                let bits = |bits| <$type>::from_bits(bits);
                vec![
                    bits(0),
                    // -0.0, infinities, and NaN: quiet with a payload, negative, signalling.
                    bits(1 << (<$type>::specials_bits() - 1)),
                    bits($infinity),
                    bits($infinity | 1 << (<$type>::specials_bits() - 1)),
                    bits($payload),
                    bits($payload | 1 << (<$type>::specials_bits() - 1)),
                    bits($signalling),
                    bits($smallest),
                    <$type>::MAX,
                    <$type>::MIN,
                    <$type>::MIN_POSITIVE,
                    bits($one),
                ]
            }
        }

        impl Bits for $type {}
    )*};
}

trait Bits: Sized {
    fn specials_bits() -> u32 {
        8 * size_of::<Self>() as u32
    }
}

special_floats! {
    half::f16: 0x3c00, 0x7c00, 0x7e55, 0x7c01, 1;
    half::bf16: 0x3f80, 0x7f80, 0x7fd5, 0x7f81, 1;
    f32: 0x3f80_0000, 0x7f80_0000, 0x7fc1_2345, 0x7f80_0001, 1;
    f64: 0x3ff0_0000_0000_0000, 0x7ff0_0000_0000_0000, 0x7ff8_0123_4567_89ab, 0x7ff0_0000_0000_0001, 1;
}

impl<T: Special> Special for Complex<T>
where
    Self: Element + IntoValue<Element = Self>,
{
    fn specials() -> Vec<Self> {
        let parts = T::specials();
        let turned = parts.iter().cycle().skip(3);
        parts
            .iter()
            .zip(turned)
            .map(|(&re, &im)| Self::new(re, im))
            .collect()
    }
}

/// Calls a generic function for every element type.
macro_rules! for_each_element {
    ($function:ident($($argument:expr),*)) => {
        $function::<bool>($($argument),*);
        $function::<i8>($($argument),*);
        $function::<i16>($($argument),*);
        $function::<i32>($($argument),*);
        $function::<i64>($($argument),*);
        $function::<u8>($($argument),*);
        $function::<u16>($($argument),*);
        $function::<u32>($($argument),*);
        $function::<u64>($($argument),*);
        $function::<half::f16>($($argument),*);
        $function::<half::bf16>($($argument),*);
        $function::<f32>($($argument),*);
        $function::<f64>($($argument),*);
        $function::<num_complex::Complex<f32>>($($argument),*);
        $function::<num_complex::Complex<f64>>($($argument),*);
    };
}
pub(super) use for_each_element;

/// Scalars of every element type, NaN payloads and signed zeros included.
pub fn scalars_of_every_element_type_keep_every_bit(harness: &dyn Harness) {
    fn write<T: Special>(recorder: &Recorder) {
        for x in T::specials() {
            recorder.record(T::DTYPE.as_str(), x).unwrap();
        }
    }
    fn check<T: Special>(recorder: &Recorder) {
        let view = recorder.get_all(T::DTYPE.as_str()).unwrap();
        assert_eq!((view.kind(), view.dtype()), (Kind::Array, Some(T::DTYPE)));
        assert_eq!(view.shape(), [T::specials().len() as u64]);
        let found = view.read::<T>().unwrap();
        assert_eq!(bytes(&found), bytes(&T::specials()), "{}", T::DTYPE);
    }
    write_and_check(
        harness,
        |recorder| {
            for_each_element!(write(recorder));
        },
        |recorder| {
            for_each_element!(check(recorder));
            assert_eq!(recorder.keys().unwrap().len(), DType::ALL.len());
        },
    );
}

fn rotated<T: Special>(by: usize) -> Vec<T> {
    let mut elements = T::specials();
    let len = elements.len();
    elements.rotate_left(by % len);
    elements
}

/// Arrays of every element type, over several chunks and an unfinished one.
pub fn arrays_of_every_element_type_keep_every_bit(harness: &dyn Harness) {
    const RECORDS: usize = 11;
    fn write<T: Special>(recorder: &Recorder) {
        let len = T::specials().len() as u64;
        let schema = Schema::array::<T>([1, len]).with_chunk_policy(ChunkPolicy::records(4));
        recorder.declare(T::DTYPE.as_str(), schema).unwrap();
        for step in 0..RECORDS {
            let elements = rotated::<T>(step);
            let shape = [1, elements.len()];
            let record = (shape, elements.as_slice());
            recorder.record(T::DTYPE.as_str(), record).unwrap();
        }
    }
    fn check<T: Special>(recorder: &Recorder) {
        let view = recorder.get_all(T::DTYPE.as_str()).unwrap();
        let len = T::specials().len() as u64;
        assert_eq!(view.shape(), [RECORDS as u64, 1, len]);
        assert_eq!(view.dtype(), Some(T::DTYPE));
        let found = view.read::<T>().unwrap();
        let expected: Vec<T> = (0..RECORDS).flat_map(rotated).collect();
        assert_eq!(bytes(&found), bytes(&expected), "{}", T::DTYPE);
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

/// Ragged rows of every element type.
pub fn ragged_rows_of_every_element_type_keep_every_bit(harness: &dyn Harness) {
    const ROWS: usize = 7;
    fn row<T: Special>(index: usize) -> Vec<T> {
        let mut row = rotated::<T>(index);
        row.truncate(index);
        row
    }
    fn write<T: Special>(recorder: &Recorder) {
        for index in 0..ROWS {
            let row = Ragged(row::<T>(index));
            recorder.record(T::DTYPE.as_str(), row).unwrap();
        }
    }
    fn check<T: Special>(recorder: &Recorder) {
        let view = recorder.get_all(T::DTYPE.as_str()).unwrap();
        assert_eq!((view.kind(), view.dtype()), (Kind::Ragged, Some(T::DTYPE)));
        assert_eq!(view.shape(), [ROWS as u64]);
        let rows = view.read_ragged::<T>().unwrap();
        assert_eq!(rows.len(), ROWS);
        for (index, found) in rows.rows().enumerate() {
            let expected = row::<T>(index);
            assert_eq!(bytes(&found), bytes(&expected), "{} {index}", T::DTYPE);
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

/// Values of every element type: scalars, vectors, and arrays with several axes.
pub fn values_of_every_element_type_keep_every_bit(harness: &dyn Harness) {
    fn values<T: Special>() -> Vec<(String, Value)> {
        let all = T::specials();
        let mut values = vec![
            ("vector".to_owned(), value(all.as_slice())),
            (
                "cube".to_owned(),
                value(([1, all.len(), 1], all.as_slice())),
            ),
            ("nothing".to_owned(), value(([2, 0, 3], &all[..0]))),
        ];
        let scalars = all.iter().enumerate();
        values.extend(scalars.map(|(i, x)| (format!("scalar {i}"), value(x))));
        values
    }
    fn write<T: Special>(recorder: &Recorder) {
        for (name, value) in values::<T>() {
            let key = format!("{}/{name}", T::DTYPE);
            recorder.set(key, value).unwrap();
        }
    }
    fn check<T: Special>(recorder: &Recorder) {
        for (name, value) in values::<T>() {
            check_value(recorder, &format!("{}/{name}", T::DTYPE), &value);
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

/// `usize` and `isize` become `u64` and `i64`.
pub fn pointer_sized_integers_are_stored_with_64_bits(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.record("usize", usize::MAX).unwrap();
            recorder.record("isize", isize::MIN).unwrap();
            recorder.record("slice", [1_usize, 2].as_slice()).unwrap();
            recorder.set("value", -1_isize).unwrap();
        },
        |recorder| {
            check_series(recorder, "usize", &[value(usize::MAX as u64)]);
            check_series(recorder, "isize", &[value(isize::MIN as i64)]);
            check_series(recorder, "slice", &[value([1_u64, 2])]);
            assert_eq!(recorder.get_as::<isize>("value").unwrap(), Some(-1));
            assert_eq!(recorder.get_as::<i64>("value").unwrap(), Some(-1));
        },
    );
}

/// Records with an axis of length 0 are counted and keep their shape.
pub fn records_without_elements_are_counted_and_keep_their_shape(harness: &dyn Harness) {
    let shapes: [&[usize]; 4] = [&[0], &[3, 0], &[0, 3], &[2, 0, 2]];
    write_and_check(
        harness,
        |recorder| {
            for (index, shape) in shapes.iter().enumerate() {
                for _ in 0..5 {
                    let record = ArrayD::<f64>::zeros(*shape);
                    recorder.record(format!("s{index}"), record).unwrap();
                }
            }
        },
        |recorder| {
            for (index, shape) in shapes.iter().enumerate() {
                let view = recorder.get_all(format!("s{index}")).unwrap();
                let expected: Vec<usize> = [5].into_iter().chain(shape.iter().copied()).collect();
                assert_eq!(view.read::<f64>().unwrap().shape(), expected);
                check_series(
                    recorder,
                    &format!("s{index}"),
                    &vec![value(ArrayD::<f64>::zeros(*shape)); 5],
                );
            }
        },
    );
}

/// The memory layout of a record does not matter.
pub fn records_in_any_memory_layout_come_back_in_row_major_order(harness: &dyn Harness) {
    let matrix = Array2::from_shape_fn((3, 4), |(i, j)| (10 * i + j) as i32);
    let mut reversed = matrix.clone();
    reversed.invert_axis(Axis(1));
    let records = [matrix.view(), reversed.view()];
    write_and_check(
        harness,
        |recorder| {
            for record in &records {
                recorder.record("v", record).unwrap();
                recorder.record("transposed", record.t()).unwrap();
                recorder.record("column", record.column(1)).unwrap();
                recorder.record("shared", record.to_shared()).unwrap();
            }
        },
        |recorder| {
            for (index, record) in records.iter().enumerate() {
                let found = |key: &str| {
                    let view = recorder.get_all(key).unwrap();
                    view.get(index as u64).unwrap().array::<i32>().unwrap()
                };
                assert_eq!(found("v"), record.to_owned().into_dyn());
                assert_eq!(found("shared"), record.to_owned().into_dyn());
                assert_eq!(found("transposed"), record.t().to_owned().into_dyn());
                assert_eq!(found("column"), record.column(1).to_owned().into_dyn());
            }
        },
    );
}

/// Records may have many axes.
pub fn records_with_many_axes_keep_their_shape(harness: &dyn Harness) {
    let shapes: [&[usize]; 3] = [&[2, 3, 4], &[2, 1, 3, 2], &[2, 1, 2, 1, 2, 1, 3]];
    let record = |shape: &[usize], step: usize| {
        let len: usize = shape.iter().product();
        let elements = (0..len).map(|i| (1000 * step + i) as f32).collect();
        ArrayD::from_shape_vec(shape, elements).unwrap()
    };
    write_and_check(
        harness,
        |recorder| {
            for shape in shapes {
                for step in 0..3 {
                    let key = format!("axes{}", shape.len());
                    recorder.record(key, record(shape, step)).unwrap();
                }
            }
        },
        |recorder| {
            for shape in shapes {
                let expected: Vec<_> = (0..3).map(|step| value(record(shape, step))).collect();
                check_series(recorder, &format!("axes{}", shape.len()), &expected);
            }
        },
    );
}

/// Vectors as long as a chunk, and longer than a batch.
pub fn large_records_come_back(harness: &dyn Harness) {
    let record = |step: u32| Array1::from_shape_fn(300_000, |i| (i as u32).wrapping_mul(step + 7));
    write_and_check(
        harness,
        |recorder| {
            for step in 0..5 {
                recorder.record("large", record(step)).unwrap();
            }
        },
        |recorder| {
            let view = recorder.get_all("large").unwrap();
            assert_eq!(view.shape(), [5, 300_000]);
            for step in [4, 0, 2] {
                let found = view.get(u64::from(step)).unwrap().array::<u32>().unwrap();
                assert!(found == record(step).into_dyn(), "record {step} differs");
            }
        },
    );
}
