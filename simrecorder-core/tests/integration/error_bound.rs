//! Rounding within a bound, as lossy compression does.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use proptest::prelude::*;
use simrecorder_core::half::{bf16, f16};
use simrecorder_core::{Compression, DType, Element, ErrorBound, ErrorKind};

/// A floating-point type with what these tests need.
trait Float: Element {
    /// The number with these lowest bits.
    fn of_bits(bits: u64) -> Self;
    /// The same number.
    fn wide(self) -> f64;
}

macro_rules! float {
    ($type:ty, $bits:ty, $wide:expr) => {
        impl Float for $type {
            fn of_bits(bits: u64) -> Self {
                Self::from_bits(bits as $bits)
            }

            fn wide(self) -> f64 {
                $wide(self)
            }
        }
    };
}

float!(f64, u64, |x| x);
float!(f32, u32, f64::from);
float!(f16, u16, f64::from);
float!(bf16, u16, f64::from);

fn round<T: Float>(numbers: &[T], bound: ErrorBound) -> Vec<T> {
    let mut bytes = T::bytes_of(numbers).to_vec();
    bound.round(T::DTYPE, &mut bytes);
    T::filled_with(numbers.len(), |out| {
        out.copy_from_slice(&bytes);
        Ok(())
    })
    .unwrap()
}

/// Checks everything that is promised for any numbers and any bound.
fn check<T: Float>(mut numbers: Vec<T>, max_error: f64) {
    numbers.sort_by(|a, b| a.wide().total_cmp(&b.wide()));
    let bound = ErrorBound::new(max_error).unwrap();
    let rounded = round(&numbers, bound);
    for (&number, &rounded) in numbers.iter().zip(&rounded) {
        let (x, y) = (number.wide(), rounded.wide());
        if x.is_finite() {
            // The difference between a number and a neighbouring grid point is exact.
            assert!(
                (y - x).abs() <= max_error,
                "{x:e} became {y:e}, bound {max_error:e}"
            );
            assert_eq!(
                x.is_sign_negative(),
                y.is_sign_negative(),
                "{x:e}, bound {max_error:e}"
            );
        } else {
            assert_eq!(T::bytes_of(&[number]), T::bytes_of(&[rounded]), "{x}");
        }
    }
    let in_order: Vec<_> = rounded
        .iter()
        .map(|y| y.wide())
        .filter(|y| !y.is_nan())
        .collect();
    assert!(in_order.is_sorted(), "bound {max_error:e}");
    let again = round(&rounded, bound);
    assert_eq!(
        T::bytes_of(&again),
        T::bytes_of(&rounded),
        "bound {max_error:e}"
    );
}

/// Any positive finite number, including subnormal ones.
fn any_bound() -> impl Strategy<Value = f64> {
    (1..f64::INFINITY.to_bits()).prop_map(f64::from_bits)
}

/// Bounds between the smallest and the largest number of a type.
fn bound_between(smallest: f64, largest: f64) -> impl Strategy<Value = f64> {
    (smallest.to_bits()..=largest.to_bits()).prop_map(f64::from_bits)
}

/// Any bits, and numbers of about the size of `max_error`, which rounding changes.
fn numbers<T: Float>(max_error: f64, bits: &[u64]) -> Vec<T> {
    let size = T::DTYPE.size() as u32 * 8;
    let any = bits.iter().map(|&bits| T::of_bits(bits));
    let near = bits.iter().map(|&bits| {
        let scale = 2_f64.powi((bits % 64) as i32 - 6);
        let fraction = 1.0 + (bits >> 12) as f64 / 2_f64.powi(52);
        let sign = if bits & 64 == 0 { 1.0 } else { -1.0 };
        let number = sign * max_error * scale * fraction;
        match size {
            16 if T::DTYPE == DType::F16 => T::of_bits(f16::from_f64(number).to_bits().into()),
            16 => T::of_bits(bf16::from_f64(number).to_bits().into()),
            32 => T::of_bits((number as f32).to_bits().into()),
            _ => T::of_bits(number.to_bits()),
        }
    });
    any.chain(near).collect()
}

fn bits() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 200)
}

proptest! {
    #[test]
    fn any_double_keeps_any_bound_its_sign_and_its_order(
        max_error in any_bound(),
        bits in bits(),
    ) {
        check::<f64>(numbers(max_error, &bits), max_error);
    }

    #[test]
    fn any_single_keeps_any_bound_its_sign_and_its_order(
        max_error in prop_oneof![any_bound(), bound_between(1e-46, 4e38)],
        bits in bits(),
    ) {
        check::<f32>(numbers(max_error, &bits), max_error);
        check::<bf16>(numbers(max_error, &bits), max_error);
    }

    #[test]
    fn each_number_becomes_the_nearest_even_multiple_of_the_step(
        exponent in -300..300_i32,
        within in 1.0..2.0_f64,
        numbers in prop::collection::vec((-1e18..1e18_f64, 0..60_i32), 100),
        halves in prop::collection::vec(-1000..1000_i32, 50),
    ) {
        let step = 2_f64.powi(exponent);
        let bound = ErrorBound::new(step / 2.0 * within).unwrap();
        let numbers = numbers.iter().map(|(number, scale)| number / 2_f64.powi(*scale) * step);
        let halves = halves.iter().map(|&half| f64::from(half) * step / 2.0);
        let numbers: Vec<f64> = numbers.chain(halves).collect();
        let expected = numbers.iter().map(|number| (number / step).round_ties_even() * step);
        prop_assert_eq!(round(&numbers, bound), expected.collect::<Vec<_>>());
    }
}

#[test]
fn every_number_of_16_bits_keeps_every_bound_its_sign_and_its_order() {
    let all = || 0..=u64::from(u16::MAX);
    for exponent in -30..20 {
        for within in [1.0, 1.999] {
            let max_error = 2_f64.powi(exponent) * within;
            check::<f16>(all().map(f16::of_bits).collect(), max_error);
        }
    }
    for exponent in (-140..130).step_by(9) {
        check::<bf16>(all().map(bf16::of_bits).collect(), 2_f64.powi(exponent));
    }
}

#[test]
fn the_smallest_and_the_largest_numbers_keep_extreme_bounds() {
    let numbers = [
        0.0,
        -0.0,
        f64::from_bits(1),
        f64::MIN_POSITIVE,
        -1.5,
        2_f64.powi(1022).next_down(),
        2_f64.powi(1022),
        2_f64.powi(1023).next_down(),
        -f64::MAX,
        f64::MAX,
        f64::INFINITY,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::from_bits(0xfff8_0000_dead_beef),
    ];
    for max_error in [f64::from_bits(1), f64::MIN_POSITIVE, 1e291, 1e300, f64::MAX] {
        check::<f64>(numbers.to_vec(), max_error);
        check::<f32>(numbers.map(|number| number as f32).to_vec(), max_error);
        let singles = [
            f32::MAX,
            f32::MAX.next_down(),
            -f32::MIN_POSITIVE,
            f32::from_bits(1),
        ];
        check::<f32>(singles.to_vec(), max_error);
    }
}

#[test]
fn both_parts_of_complex_numbers_are_rounded_and_other_types_are_not() {
    let bound = ErrorBound::new(0.5).unwrap();
    let parts = [0.7_f64, 2.2, -1.9, 0.1];
    let mut bytes = f64::bytes_of(&parts).to_vec();
    bound.round(DType::Complex128, &mut bytes);
    assert_eq!(bytes, f64::bytes_of(&[1.0, 2.0, -2.0, 0.0]));
    let parts = parts.map(|part| part as f32);
    let mut bytes = f32::bytes_of(&parts).to_vec();
    bound.round(DType::Complex64, &mut bytes);
    assert_eq!(bytes, f32::bytes_of(&[1.0, 2.0, -2.0, 0.0]));
    let is_exact = |name: &str| name.contains("int") || name == "bool";
    for dtype in DType::ALL {
        if !is_exact(dtype.as_str()) {
            continue;
        }
        let before: Vec<u8> = (0..64).collect();
        let mut after = before.clone();
        bound.round(dtype, &mut after);
        assert_eq!(after, before, "{dtype}");
    }
}

#[test]
fn a_bound_is_a_finite_number_above_zero() {
    for max_error in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = Compression::lossy(max_error).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(
            error.to_string().contains(&max_error.to_string()),
            "{error}"
        );
    }
}

#[test]
fn compressions_are_read_from_their_text() {
    let lossy = |max_error| Compression::lossy(max_error).unwrap();
    for compression in [
        Compression::None,
        Compression::Fast,
        Compression::Small,
        lossy(0.1),
        lossy(1e-300),
        lossy(f64::MAX),
        lossy(f64::from_bits(1)),
    ] {
        let text = compression.to_string();
        assert_eq!(text.parse::<Compression>().unwrap(), compression, "{text}");
    }
    for text in [
        "",
        "Fast",
        "lossy",
        "lossy:",
        "lossy:x",
        "lossy:0",
        "lossy:-1",
        "lossy:nan",
    ] {
        let error = text.parse::<Compression>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    }
}
