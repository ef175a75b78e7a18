//! The smallest and the largest element of a view, their mean, and how many are NaN.

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{Element, for_real_type};
use crate::model::kind::Kind;
use crate::model::value::{ArrayValue, Value};
use crate::reading::record_iter::for_each_block;
use crate::reading::selection::{Region, element_count};
use crate::store::array_view::ArrayView;

/// Statistics of the elements of a view; [`statistics`](crate::View#method.statistics) returns them.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, Statistics};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for loss in [2.0, 1.0, 0.5] {
///     recorder.record("loss", loss)?;
/// }
/// let Statistics { min, max, mean, .. } = recorder.get_all("loss")?.statistics()?;
/// if let (Some(min), Some(max), Some(mean)) = (min, max, mean) {
///     println!("loss from {min} to {max}, {mean} on average");
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// The number of elements, NaN included.
    pub count: u64,
    /// How many of them are NaN, which the other fields leave out.
    pub nan_count: u64,
    /// The smallest element, a scalar of the element type; `None` if there is none.
    pub min: Option<Value>,
    /// The largest element.
    pub max: Option<Value>,
    /// The mean of the elements.
    pub mean: Option<f64>,
}

/// Statistics.
impl dyn ArrayView + '_ {
    /// Finds the smallest and the largest element, the mean and the number of NaN of an array or of all ragged rows.
    /// Reads everything, about 4 MiB at a time. A `bool` counts as 0 or 1.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for x in [2.0, f64::NAN, 0.5] {
    ///     recorder.record("loss", x)?;
    /// }
    /// let loss = recorder.get_all("loss")?.statistics()?;
    /// assert_eq!((loss.count, loss.nan_count, loss.mean), (3, 1, Some(1.25)));
    /// assert_eq!(loss.min.unwrap().scalar::<f64>()?, 0.5);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if the elements are not real numbers; otherwise the error of the store.
    pub fn statistics(&self) -> Result<Statistics> {
        let statistics =
            for_real_type!(self.dtype(), T => Running::<T>::of(self), Err(no_real_numbers(self)));
        statistics.map_err(|e| e.with_key(self.key().as_str()))
    }
}

fn no_real_numbers(view: &dyn ArrayView) -> Error {
    let message = format!(
        "the series holds {}; statistics need real numbers",
        view.schema()
    );
    Error::new(ErrorKind::TypeMismatch, "statistics", message)
}

/// The statistics of the elements that were read so far.
struct Running<T> {
    count: u64,
    nan_count: u64,
    range: Option<(T, T)>,
    sum: Sum,
}

impl<T: Element + PartialOrd> Running<T> {
    fn of(view: &dyn ArrayView) -> Result<Statistics> {
        let mut running = Self {
            count: 0,
            nan_count: 0,
            range: None,
            sum: Sum::default(),
        };
        if view.shape().is_empty() {
            let len = element_count(view.shape()).unwrap_or_default();
            let read = |out: &mut [u8]| view.read_into(&Region::all(view.shape()), out);
            running.add(&T::filled_with(len, read)?, 1);
            return running.finish();
        }
        let filled = view.filled();
        if filled > 0 && view.kind() == Kind::Array {
            running.add_filled(view, filled)?;
        }
        for_each_block(view, filled..view.len(), |_, elements| {
            running.add(elements, 1)
        })?;
        running.finish()
    }

    /// Adds the records that the series was declared with.
    fn add_filled(&mut self, view: &dyn ArrayView, records: u64) -> Result<()> {
        let schema = view.schema();
        let fill = schema.fill_element()?;
        let elements = element_count(schema.record_shape()).unwrap_or_default() as u64;
        let count = records.saturating_mul(elements);
        if count > 0 {
            self.add(&[fill], count);
        }
        Ok(())
    }

    /// Adds each element `times` times.
    fn add(&mut self, elements: &[T], times: u64) {
        self.count += elements.len() as u64 * times;
        for &x in elements {
            if x.partial_cmp(&x).is_none() {
                self.nan_count += times;
                continue;
            }
            let (min, max) = self.range.get_or_insert((x, x));
            if x < *min {
                *min = x;
            } else if x > *max {
                *max = x;
            }
            self.sum.add(x.to_number().real(), times as f64);
        }
    }

    fn finish(self) -> Result<Statistics> {
        let scalar = |x: T| {
            let bytes = T::bytes_of(&[x]).to_vec();
            ArrayValue::from_bytes(T::DTYPE, Vec::new(), bytes).map(Value::Array)
        };
        let (min, max) = self.range.unzip();
        let numbers = self.count - self.nan_count;
        Ok(Statistics {
            count: self.count,
            nan_count: self.nan_count,
            min: min.map(scalar).transpose()?,
            max: max.map(scalar).transpose()?,
            mean: (numbers > 0).then(|| self.sum.divided_by(numbers as f64)),
        })
    }
}

/// A sum that neither overflows nor loses small numbers next to large ones.
#[derive(Default)]
struct Sum {
    numbers: Compensated,
    /// The sum of numbers so large that it might overflow, each multiplied by [`DOWN`](Self::DOWN).
    large: Compensated,
}

impl Sum {
    const DOWN: f64 = 1.0 / (1_u128 << 100) as f64;
    const LARGE: f64 = f64::MAX * Self::DOWN;

    fn add(&mut self, x: f64, times: f64) {
        match x.abs() < Self::LARGE {
            true => self.numbers.add(x * times),
            false => self.large.add(x * Self::DOWN * times),
        }
    }

    fn divided_by(&self, count: f64) -> f64 {
        self.numbers.total() / count + self.large.total() / count / Self::DOWN
    }
}

/// A sum with compensation for rounding (Neumaier's).
#[derive(Default)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn add(&mut self, x: f64) {
        let sum = self.sum + x;
        let (large, small) = match self.sum.abs() >= x.abs() {
            true => (self.sum, x),
            false => (x, self.sum),
        };
        self.lost += (large - sum) + small;
        self.sum = sum;
    }

    fn total(&self) -> f64 {
        // With infinities, the compensation is NaN and does not apply.
        match self.lost.is_finite() {
            true => self.sum + self.lost,
            false => self.sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(numbers: &[f64]) -> f64 {
        let mut sum = Sum::default();
        for &x in numbers {
            sum.add(x, 1.0);
        }
        sum.divided_by(numbers.len() as f64)
    }

    #[test]
    fn a_mean_does_not_overflow() {
        assert_eq!(mean(&[f64::MAX; 8]), f64::MAX);
        assert_eq!(mean(&[f64::MAX, -f64::MAX, 3.0]), 1.0);
        assert_eq!(mean(&[f64::INFINITY, 1.0, 2.0]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn a_mean_keeps_small_numbers_next_to_large_ones() {
        assert_eq!(mean(&[1e200, 1.0, -1e200, 1.0]), 0.5);
        let tenths = vec![0.1; 10_000_000];
        assert_eq!(mean(&tenths), 0.1);
    }
}
