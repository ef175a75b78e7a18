//! The envelope of a view: the smallest and the largest element in each cell of a grid, for plots.

use std::ops::{Range, RangeInclusive};

use ndarray::ArrayD;

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{Element, for_real_type};
use crate::model::kind::Kind;
use crate::model::value::shaped;
use crate::reading::record_iter::{end_of_block, for_each_block};
use crate::reading::selection::{Region, element_count};
use crate::store::array_view::ArrayView;

/// A summary of the elements of a view in one cell of a grid; [`envelope`](crate::View#method.envelope) returns it.
///
/// Elements are converted to `f64`. If a cell contains no number, `first`, `min`, `max` and `last` are NaN.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for x in [3.0, f64::NAN, 1.0, 2.0] {
///     recorder.record("v", x)?;
/// }
/// let extent = recorder.get_all("v")?.envelope(&[vec![0, 4]])?[0];
/// assert_eq!((extent.count, extent.nan_count), (4, 1));
/// assert_eq!((extent.first, extent.min, extent.max, extent.last), (3.0, 1.0, 3.0, 2.0));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Extent {
    /// The number of elements, NaN included.
    pub count: u64,
    /// How many of them are NaN, which the other fields leave out.
    pub nan_count: u64,
    /// The first element, in row-major order.
    pub first: f64,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// The last element.
    pub last: f64,
}

impl Default for Extent {
    /// The summary of a cell without elements.
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Extent {
    const EMPTY: Self = Self {
        count: 0,
        nan_count: 0,
        first: f64::NAN,
        min: f64::NAN,
        max: f64::NAN,
        last: f64::NAN,
    };

    /// Adds the elements of the next cell.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for x in [3.0, f64::NAN, 1.0, 2.0] {
    ///     recorder.record("v", x)?;
    /// }
    /// let halves = recorder.get_all("v")?.envelope(&[vec![0, 2, 4]])?;
    /// let mut whole = halves[0];
    /// whole.merge(&halves[1]);
    /// assert_eq!((whole.count, whole.nan_count), (4, 1));
    /// assert_eq!((whole.first, whole.min, whole.max, whole.last), (3.0, 1.0, 3.0, 2.0));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn merge(&mut self, next: &Self) {
        self.count += next.count;
        self.nan_count += next.nan_count;
        if self.first.is_nan() {
            self.first = next.first;
        }
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        if !next.last.is_nan() {
            self.last = next.last;
        }
    }

    /// Adds each element `times` times.
    fn add<T: Element + PartialOrd>(&mut self, elements: &[T], times: u64) {
        let mut numbers = elements.iter().filter(|x| x.partial_cmp(x).is_some());
        self.count += elements.len() as u64 * times;
        let Some(&first) = numbers.next() else {
            self.nan_count += elements.len() as u64 * times;
            return;
        };
        let (mut min, mut max, mut last, mut count) = (first, first, first, 1);
        for &x in numbers {
            min = if x < min { x } else { min };
            max = if x > max { x } else { max };
            last = x;
            count += 1;
        }
        self.nan_count += (elements.len() as u64 - count) * times;
        let real = |x: T| x.to_number().real();
        if self.first.is_nan() {
            self.first = real(first);
        }
        self.min = self.min.min(real(min));
        self.max = self.max.max(real(max));
        self.last = real(last);
    }
}

/// Plotting.
impl dyn ArrayView + '_ {
    /// Summarises an array for a plot: finds the smallest, largest, first and last element in each cell of a grid.
    ///
    /// `bounds` has, for each axis, the sorted indices that divide it: `[0, 10, 20]` makes the parts `0..10` and
    /// `10..20`. The returned array has an [`Extent`] for each combination of parts. Elements before the first bound
    /// and from the last bound on are left out. The others are read once, about 4 MiB at a time.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for step in 0..1000 {
    ///     recorder.record("v", if step == 321 { 1e6 } else { f64::from(step % 10) })?;
    /// }
    /// let v = recorder.get_all("v")?;
    /// // What ten columns of a plot show.
    /// let bounds: Vec<u64> = (0..=10).map(|part| part * 100).collect();
    /// let columns = v.envelope(&[bounds])?;
    /// assert_eq!((columns[0].min, columns[0].max, columns[0].count), (0.0, 9.0, 100));
    /// assert_eq!(columns[3].max, 1e6);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if the elements are not real numbers; [`ErrorKind::InvalidArgument`] if bounds are
    /// missing for an axis, decrease, or are outside the axis; otherwise the error of the store.
    pub fn envelope(&self, bounds: &[Vec<u64>]) -> Result<ArrayD<Extent>> {
        let dtype = self.dtype().filter(|_| self.kind() == Kind::Array);
        let extents = check(self, bounds).and_then(
            |()| for_real_type!(dtype, T => read::<T>(self, bounds), Err(no_real_numbers(self))),
        );
        extents.map_err(|e| e.with_key(self.key().as_str()))
    }

    /// Divides a range of a coordinate into `parts` parts of equal width, and returns the index at which each begins:
    /// the bounds that [`envelope`](#method.envelope) takes. Reads the coordinate once.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// for time in [0.0, 1.0, 2.0, 9.0] {
    ///     recorder.record("time", time)?;
    /// }
    /// let bounds = recorder.get_all("time")?.bounds_of_parts(0.0..=10.0, 2)?;
    /// assert_eq!(bounds, [0, 3, 4]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the coordinate decreases somewhere, or contains NaN;
    /// [`ErrorKind::TypeMismatch`] if it is not a series of real numbers; otherwise the error of the store.
    pub fn bounds_of_parts(&self, range: RangeInclusive<f64>, parts: usize) -> Result<Vec<u64>> {
        let refuse = |message: String| {
            let error = Error::new(ErrorKind::InvalidArgument, "divide", message);
            error.with_key(self.key().as_str())
        };
        let (start, width) = (*range.start(), range.end() - range.start());
        // Where the parts up to the current element begin.
        let mut bounds = Vec::with_capacity(parts + 1);
        let (mut before, mut next) = (f64::NEG_INFINITY, 0);
        while next < self.len() {
            let end = end_of_block(self, next);
            for (index, x) in (next..).zip(self.select(next..end)?.cast::<f64>()?) {
                if x.is_nan() || x < before {
                    return Err(refuse(format!(
                        "the coordinate is not sorted at index {index}; plot by index instead"
                    )));
                }
                before = x;
                if x > *range.end() {
                    bounds.resize(parts + 1, index);
                    return Ok(bounds);
                }
                if x >= start {
                    let part = ((x - start) / width * parts as f64) as usize;
                    let entered = part.min(parts.saturating_sub(1)) + 1;
                    bounds.resize(entered.max(bounds.len()), index);
                }
            }
            next = end;
        }
        bounds.resize(parts + 1, self.len());
        Ok(bounds)
    }
}

fn no_real_numbers(view: &dyn ArrayView) -> Error {
    let message = format!(
        "the series holds {}; plots need arrays of real numbers",
        view.schema()
    );
    Error::new(ErrorKind::TypeMismatch, "envelope", message)
}

fn check(view: &dyn ArrayView, bounds: &[Vec<u64>]) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, "envelope", message));
    let shape = view.shape();
    if bounds.len() != shape.len() {
        let given = bounds.len();
        return refuse(format!(
            "bounds of {given} axes were given for the shape {shape:?}"
        ));
    }
    for (axis, (bounds, &len)) in bounds.iter().zip(shape).enumerate() {
        if !bounds.is_sorted() || bounds.last().is_some_and(|&last| last > len) {
            return refuse(format!(
                "the bounds of axis {axis} have to be sorted and at most {len}"
            ));
        }
    }
    Ok(())
}

fn read<T: Element + PartialOrd>(
    view: &dyn ArrayView,
    bounds: &[Vec<u64>],
) -> Result<ArrayD<Extent>> {
    let shape: Vec<_> = bounds
        .iter()
        .map(|bounds| bounds.len().saturating_sub(1))
        .collect();
    let mut grid = Grid {
        bounds,
        cells: vec![Extent::EMPTY; shape.iter().product()],
    };
    match bounds.first().map(|bounds| (bounds.first(), bounds.last())) {
        None => {
            let all = Region::all(view.shape());
            grid.cells[0].add(&T::filled_with(1, |out| view.read_into(&all, out))?, 1);
        }
        Some((Some(&start), Some(&end))) => {
            let filled = view.filled().clamp(start, end);
            grid.add_filled::<T>(view, filled)?;
            for_each_block(view, filled..end, |records, elements: &[T]| {
                grid.add(elements, records, view.shape(), 1);
            })?;
        }
        Some(_) => {}
    }
    shaped(&shape, grid.cells)
}

/// The cells, in row-major order, and the bounds between them.
struct Grid<'a> {
    bounds: &'a [Vec<u64>],
    cells: Vec<Extent>,
}

impl Grid<'_> {
    /// Adds the records that the series was declared with, up to `filled`.
    fn add_filled<T: Element + PartialOrd>(
        &mut self,
        view: &dyn ArrayView,
        filled: u64,
    ) -> Result<()> {
        let schema = view.schema();
        let fill: T = schema.fill_element()?;
        let elements = element_count(schema.record_shape()).unwrap_or_default();
        let record = vec![fill; if filled > 0 { elements } else { 0 }];
        for part in self.bounds[0].windows(2) {
            let records = part[0]..part[1].min(filled);
            if !records.is_empty() {
                let times = records.end - records.start;
                self.add(&record, part[0]..part[0] + 1, view.shape(), times);
            }
        }
        Ok(())
    }

    /// Adds each element of some records `times` times.
    fn add<T: Element + PartialOrd>(
        &mut self,
        elements: &[T],
        records: Range<u64>,
        shape: &[u64],
        times: u64,
    ) {
        self.add_along(0, 0, elements, records, shape, times);
    }

    /// Adds elements whose indices along `axis` are `range`, and all along the axes after it. `cell` numbers
    /// the cells of the axes before it.
    fn add_along<T: Element + PartialOrd>(
        &mut self,
        axis: usize,
        cell: usize,
        elements: &[T],
        range: Range<u64>,
        shape: &[u64],
        times: u64,
    ) {
        let bounds = self.bounds;
        let parts = bounds[axis].len().saturating_sub(1);
        let after_first = bounds[axis].partition_point(|&bound| bound <= range.start);
        let len: usize = shape[axis + 1..].iter().map(|&len| len as usize).product();
        let is_last = axis + 1 == bounds.len();
        for part in after_first.saturating_sub(1)..parts {
            let (start, end) = (bounds[axis][part], bounds[axis][part + 1]);
            if start >= range.end {
                break;
            }
            let within = start.max(range.start)..end.min(range.end);
            let cell = cell * parts + part;
            let at = |index: u64| (index - range.start) as usize * len;
            if within.is_empty() {
            } else if is_last {
                self.cells[cell].add(&elements[at(within.start)..at(within.end)], times);
            } else {
                for index in within {
                    let next = &elements[at(index)..at(index + 1)];
                    self.add_along(axis + 1, cell, next, 0..shape[axis + 1], shape, times);
                }
            }
        }
    }
}
