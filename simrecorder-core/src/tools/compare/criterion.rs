//! Comparing two numbers.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::Number;

/// The criterion for equal numbers: `|a - b| <= max(atol, rtol * max(|a|, |b|))`, as in Python's `math.isclose`.
///
/// It is symmetric in `a` and `b`. With the default tolerances of 0, it finds every difference. An infinity equals only
/// the same infinity. NaN equals NaN only with `equal_nan`. The tolerances do not apply to `bool`.
///
/// `Display` prints it as one line. [`CompareOptions`](crate::CompareOptions) sets it.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Criterion;
///
/// let exact = Criterion::default();
/// assert_eq!((exact.rtol, exact.atol, exact.equal_nan), (0.0, 0.0, false));
/// assert_eq!(exact.to_string(), "a = b; NaN differs from NaN");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Criterion {
    /// The relative tolerance.
    pub rtol: f64,
    /// The absolute tolerance.
    pub atol: f64,
    /// Whether NaN equals NaN.
    pub equal_nan: bool,
}

/// The verdict of the criterion on two numbers that are not equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Same,
    Different(Distance),
}

/// The difference between two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distance {
    /// Both are NaN.
    BothNan,
    /// One of them is NaN, or they are `bool`.
    None,
    Number {
        absolute: f64,
        relative: f64,
    },
}

impl Criterion {
    pub(super) fn check(&self) -> Result<()> {
        for (name, tolerance) in [("rtol", self.rtol), ("atol", self.atol)] {
            if tolerance.is_nan() || tolerance < 0.0 {
                let message = format!("{name} is {tolerance}; a tolerance must be 0 or more");
                return Err(Error::new(ErrorKind::InvalidArgument, "compare", message));
            }
        }
        Ok(())
    }

    pub(super) fn judge(&self, a: Number, b: Number) -> Verdict {
        let is_nan = |x: Number| match x {
            Number::Integer(_) => false,
            Number::Real(x) => x.is_nan(),
            Number::Complex(re, im) => re.is_nan() || im.is_nan(),
        };
        match (is_nan(a), is_nan(b)) {
            (true, true) if self.equal_nan => return Verdict::Same,
            (true, true) => return Verdict::Different(Distance::BothNan),
            (true, false) | (false, true) => return Verdict::Different(Distance::None),
            (false, false) => {}
        }
        let absolute = distance(a, b);
        let scale = magnitude(a).max(magnitude(b));
        if absolute <= self.atol.max(self.rtol * scale) && scale.is_finite() {
            return Verdict::Same;
        }
        let relative = match scale.is_finite() {
            true => absolute / scale,
            false => f64::INFINITY,
        };
        Verdict::Different(Distance::Number { absolute, relative })
    }
}

/// `|a - b|`.
pub(super) fn distance(a: Number, b: Number) -> f64 {
    match (a, b) {
        // Exact, since 64-bit integers that differ by 1 may be equal as `f64`.
        (Number::Integer(a), Number::Integer(b)) => (a - b).unsigned_abs() as f64,
        _ => {
            let ((a_re, a_im), (b_re, b_im)) = (parts(a), parts(b));
            (a_re - b_re).hypot(a_im - b_im)
        }
    }
}

/// `|x|`.
pub(super) fn magnitude(x: Number) -> f64 {
    let (re, im) = parts(x);
    re.hypot(im)
}

fn parts(x: Number) -> (f64, f64) {
    match x {
        Number::Integer(x) => (x as f64, 0.0),
        Number::Real(x) => (x, 0.0),
        Number::Complex(re, im) => (re, im),
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rtol, atol, .. } = self;
        match (*rtol, *atol) {
            (0.0, 0.0) => write!(f, "a = b")?,
            _ => write!(f, "|a - b| <= max({atol:?}, {rtol:?} * max(|a|, |b|))")?,
        }
        match self.equal_nan {
            true => write!(f, "; NaN equals NaN"),
            false => write!(f, "; NaN differs from NaN"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(criterion: Criterion, a: f64, b: f64) -> bool {
        let [one, other] = [(a, b), (b, a)]
            .map(|(a, b)| criterion.judge(Number::Real(a), Number::Real(b)) == Verdict::Same);
        assert_eq!(one, other, "{a} and {b} in either order");
        one
    }

    #[test]
    fn tolerances_are_those_of_isclose_and_tiny_numbers_differ() {
        let relative = Criterion {
            rtol: 1e-6,
            ..Criterion::default()
        };
        assert!(is_same(relative, 1.0, 1.0 + 1e-7) && !is_same(relative, 1.0, 1.0 + 1e-5));
        assert!(is_same(relative, 1e-300, 1.0000001e-300));
        assert!(!is_same(relative, 1e-300, 2e-300) && !is_same(relative, 0.0, 1e-300));
        let absolute = Criterion {
            atol: 1e-3,
            ..Criterion::default()
        };
        assert!(is_same(absolute, 0.0, 1e-3) && !is_same(absolute, 0.0, 2e-3));
        assert!(!is_same(Criterion::default(), 5e-324, 0.0));
    }

    #[test]
    fn infinities_and_nan_are_not_close_to_other_numbers() {
        let loose = Criterion {
            rtol: 1.0,
            atol: f64::MAX,
            equal_nan: false,
        };
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert!(!is_same(loose, inf, 1.0) && !is_same(loose, inf, -inf));
        assert!(!is_same(loose, nan, nan) && !is_same(loose, nan, 1.0));
        let equal_nan = Criterion {
            equal_nan: true,
            ..loose
        };
        assert!(is_same(equal_nan, nan, nan) && !is_same(equal_nan, nan, 1.0));
    }

    #[test]
    fn large_integers_that_differ_by_one_differ() {
        let (a, b) = (Number::Integer(1 << 60), Number::Integer((1 << 60) + 1));
        let Verdict::Different(Distance::Number { absolute, .. }) =
            Criterion::default().judge(a, b)
        else {
            panic!("they are not told apart")
        };
        assert_eq!(absolute, 1.0);
    }
}
