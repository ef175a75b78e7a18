//! Which part of a coordinate to take.

use std::cmp::Ordering;
use std::ops::{
    Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{Element, Number};

/// A number to find in a coordinate, converted from any integer or floating-point number.
///
/// It is compared with the elements exactly, even if they have another type.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, CoordinateNumber, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
/// for step in 0..10_u64 {
///     net.tick(step * 5, [("rate", 0.5)])?;
/// }
/// let rate = recorder.get_all("net/rate")?;
/// let wanted = [CoordinateNumber::from(12), CoordinateNumber::from(12.6)]; // of either type
/// assert_eq!(rate.nearest("step", wanted[0])?, 2);
/// assert_eq!(rate.nearest("step", wanted[1])?, 3);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoordinateNumber(Number);

macro_rules! coordinate_number_from {
    ($($type:ty),*) => {$(
        impl From<$type> for CoordinateNumber {
            fn from(x: $type) -> Self {
                Self(x.to_number())
            }
        }
    )*};
}

coordinate_number_from!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

impl From<usize> for CoordinateNumber {
    fn from(x: usize) -> Self {
        Self(Number::Integer(x as i128))
    }
}

impl CoordinateNumber {
    pub(super) fn is_nan(self) -> bool {
        self.real().is_nan()
    }

    /// The nearest floating-point number.
    fn real(self) -> f64 {
        self.0.real()
    }

    /// `None` if one of them is NaN.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self.0, other.0) {
            (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
            (Number::Integer(a), _) => compare_with_real(a, other.real()),
            (_, Number::Integer(b)) => compare_with_real(b, self.real()).map(Ordering::reverse),
            _ => self.real().partial_cmp(&other.real()),
        }
    }

    /// The distance to `other`: exact between integers, even if one has a floating-point type.
    fn distance(self, other: Self) -> (u128, f64) {
        let integer = |x: Self| match x.0 {
            Number::Integer(x) => Some(x),
            Number::Real(x) if x.fract() == 0.0 && x.abs() < EXACT_BOUND => Some(x as i128),
            _ => None,
        };
        match (integer(self), integer(other)) {
            (Some(a), Some(b)) => (a.abs_diff(b), 0.0),
            _ => {
                let distance = (self.real() - other.real()).abs();
                (distance as u128, distance.fract())
            }
        }
    }

    /// Whether `a` is nearer to this number than `b`.
    pub(super) fn is_nearer(self, a: Self, b: Self) -> bool {
        if self.compare(b) == Some(Ordering::Equal) {
            return false;
        }
        self.compare(a) == Some(Ordering::Equal) || self.distance(a) < self.distance(b)
    }
}

/// All integers of 64 bits are below it, and `i128` holds all integers below it.
const EXACT_BOUND: f64 = (1_u128 << 100) as f64;

fn compare_with_real(integer: i128, real: f64) -> Option<Ordering> {
    if real.is_nan() {
        return None;
    }
    let floor = real.floor().clamp(-EXACT_BOUND, EXACT_BOUND);
    match integer.cmp(&(floor as i128)) {
        Ordering::Equal if real > floor => Some(Ordering::Less),
        order => Some(order),
    }
}

/// A part of a coordinate, converted from any of Rust's ranges of numbers: `10.0..20.0`, `3..=5`, `..7_u64` or `..`.
///
/// It selects the elements that the range contains, as Rust defines it: `10.0..20.0` excludes 20.0. The bounds may
/// have another type than the elements.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, CoordinateRange, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
/// for step in 0..100 {
///     net.tick(f64::from(step), [("rate", 0.5)])?;
/// }
/// let windows: [CoordinateRange; 3] = [(10.0..20.0).into(), (10..=20).into(), (90..).into()];
/// let rate = recorder.get_all("net/rate")?;
/// for (window, len) in windows.into_iter().zip([10, 11, 10]) {
///     assert_eq!(rate.select_by("time", window)?.len(), len);
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoordinateRange {
    start: Bound<CoordinateNumber>,
    end: Bound<CoordinateNumber>,
}

macro_rules! coordinate_range_from {
    ($($range:ident),*) => {$(
        impl<T: Into<CoordinateNumber> + Copy> From<$range<T>> for CoordinateRange {
            fn from(range: $range<T>) -> Self {
                Self {
                    start: range.start_bound().map(|&x| x.into()),
                    end: range.end_bound().map(|&x| x.into()),
                }
            }
        }
    )*};
}

coordinate_range_from!(Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive);

impl From<RangeFull> for CoordinateRange {
    fn from(_: RangeFull) -> Self {
        Self {
            start: Bound::Unbounded,
            end: Bound::Unbounded,
        }
    }
}

impl<T: Into<CoordinateNumber>> From<(Bound<T>, Bound<T>)> for CoordinateRange {
    fn from((start, end): (Bound<T>, Bound<T>)) -> Self {
        Self {
            start: start.map(Into::into),
            end: end.map(Into::into),
        }
    }
}

impl CoordinateRange {
    /// Whether it contains all elements, including NaN.
    pub(super) fn is_full(&self) -> bool {
        matches!((self.start, self.end), (Bound::Unbounded, Bound::Unbounded))
    }

    /// Whether `x` is below the range.
    pub(super) fn is_above(&self, x: CoordinateNumber) -> bool {
        match self.start {
            Bound::Included(start) => x.compare(start) == Some(Ordering::Less),
            Bound::Excluded(start) => x.compare(start).is_some_and(Ordering::is_le),
            Bound::Unbounded => false,
        }
    }

    /// Whether `x` is above the range.
    pub(super) fn is_below(&self, x: CoordinateNumber) -> bool {
        match self.end {
            Bound::Included(end) => x.compare(end) == Some(Ordering::Greater),
            Bound::Excluded(end) => x.compare(end).is_some_and(Ordering::is_ge),
            Bound::Unbounded => false,
        }
    }

    pub(super) fn contains(&self, x: CoordinateNumber) -> bool {
        !x.is_nan() && !self.is_above(x) && !self.is_below(x)
    }

    /// Checks that the bounds are numbers, and in order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub(super) fn check(&self) -> Result<()> {
        let number = |bound| match bound {
            Bound::Included(x) | Bound::Excluded(x) => Some(x),
            Bound::Unbounded => None,
        };
        let (start, end): (Option<CoordinateNumber>, _) = (number(self.start), number(self.end));
        let message = match (start, end) {
            _ if start.or(end).is_some_and(CoordinateNumber::is_nan) => NAN_BOUND,
            (_, Some(end)) if end.is_nan() => NAN_BOUND,
            (Some(start), Some(end)) if start.compare(end) == Some(Ordering::Greater) => {
                "the range begins after its end; swap its bounds, even for a coordinate that decreases"
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidArgument, "select_by", message))
    }
}

const NAN_BOUND: &str = "a bound of the range is NaN; give a number, or leave the bound out";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_compared_with_floating_point_numbers_exactly() {
        let compare = |a: CoordinateNumber, b: CoordinateNumber| a.compare(b);
        let above = (1_i64 << 53) + 1;
        assert_eq!(
            compare(above.into(), 9007199254740992.0.into()),
            Some(Ordering::Greater)
        );
        assert_eq!(
            compare(u64::MAX.into(), 18446744073709551616.0.into()),
            Some(Ordering::Less)
        );
        assert_eq!(compare((-1).into(), (-0.5).into()), Some(Ordering::Less));
        assert_eq!(compare(0.5.into(), 1_u8.into()), Some(Ordering::Less));
        assert_eq!(compare(3.into(), 3.0.into()), Some(Ordering::Equal));
        assert_eq!(
            compare(i64::MIN.into(), f64::NEG_INFINITY.into()),
            Some(Ordering::Greater)
        );
        assert_eq!(compare(0.into(), f64::NAN.into()), None);
    }

    #[test]
    fn distances_between_large_integers_are_exact() {
        let x = CoordinateNumber::from(u64::MAX);
        assert!(x.is_nearer((u64::MAX - 1).into(), (u64::MAX - 2).into()));
        assert!(!x.is_nearer((u64::MAX - 2).into(), (u64::MAX - 1).into()));
        let infinity = CoordinateNumber::from(f64::INFINITY);
        assert!(infinity.is_nearer(f64::INFINITY.into(), 1.0.into()));
        assert!(!infinity.is_nearer(2.0.into(), 1.0.into()));
    }

    proptest! {
        #[test]
        fn a_range_contains_what_ranges_of_rust_contain(a in -9_i64..9, b in -9_i64..9, x in -9_i64..9) {
            let has = |range: CoordinateRange| range.contains((x as f64).into());
            prop_assert_eq!(has((a..b).into()), (a..b).contains(&x));
            prop_assert_eq!(has((a..=b).into()), (a..=b).contains(&x));
            prop_assert_eq!(has((a..).into()), (a..).contains(&x));
            prop_assert_eq!(has((..b).into()), (..b).contains(&x));
            prop_assert_eq!(has((..=b).into()), (..=b).contains(&x));
            let without_start = (Bound::Excluded(a), Bound::Included(b));
            prop_assert_eq!(has(without_start.into()), without_start.contains(&x));
            prop_assert!(has((..).into()));
        }
    }
}
