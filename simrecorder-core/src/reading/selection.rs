//! Selections: which part of an array to read.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use ndarray::{Dimension, SliceInfo, SliceInfoElem};

use crate::error::{Error, ErrorKind, Result};

/// Indices along one axis, `step` apart, in ascending order.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::AxisRange;
///
/// let every_tenth = AxisRange { start: 5, count: 3, step: 10 }; // 5, 15 and 25
/// assert_eq!(every_tenth.bounds(), 5..26);
/// assert_eq!(AxisRange::contiguous(5..8), AxisRange { start: 5, count: 3, step: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisRange {
    /// The first index.
    pub start: u64,
    /// The number of indices.
    pub count: u64,
    /// The distance between neighbouring indices; at least 1.
    pub step: u64,
}

impl AxisRange {
    /// Takes every index of `range`.
    pub fn contiguous(range: Range<u64>) -> Self {
        Self {
            start: range.start,
            count: range.end.saturating_sub(range.start),
            step: 1,
        }
    }

    /// Returns the smallest range that contains all indices; empty if there are none.
    pub fn bounds(&self) -> Range<u64> {
        match self.count {
            0 => self.start..self.start,
            count => self.start..self.start + (count - 1) * self.step + 1,
        }
    }
}

/// A box of elements: the indices along each axis.
///
/// Stores read regions. A region is within the shape of the view, has positive steps, and drops no axis. Users write
/// a [`Selection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    axes: Vec<AxisRange>,
}

impl Region {
    /// Creates a region of the given axes.
    pub fn new(axes: Vec<AxisRange>) -> Self {
        Self { axes }
    }

    /// Selects all of an array of this shape.
    pub fn all(shape: &[u64]) -> Self {
        Self::new(
            shape
                .iter()
                .map(|&len| AxisRange::contiguous(0..len))
                .collect(),
        )
    }

    /// Selects the whole records of `range` of an array of this shape.
    pub fn records(range: Range<u64>, shape: &[u64]) -> Self {
        let mut region = Self::all(shape);
        if let Some(first) = region.axes.first_mut() {
            *first = AxisRange::contiguous(range);
        }
        region
    }

    /// Returns the indices along each axis.
    pub fn axes(&self) -> &[AxisRange] {
        &self.axes
    }

    /// Returns the number of indices along each axis.
    pub fn shape(&self) -> Vec<u64> {
        self.axes.iter().map(|axis| axis.count).collect()
    }

    /// Returns the number of elements; `None` if that overflows `usize`.
    pub fn len(&self) -> Option<usize> {
        element_count(&self.shape())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.axes.iter().any(|axis| axis.count == 0)
    }

    /// Whether every axis has the step 1.
    pub fn is_contiguous(&self) -> bool {
        self.axes.iter().all(|axis| axis.step == 1)
    }

    /// Checks that the region is within `shape` and fits a buffer of `buffer_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] if it is outside the shape, [`ErrorKind::InvalidArgument`] if the buffer has another
    /// size.
    pub fn check(&self, shape: &[u64], element_size: usize, buffer_bytes: usize) -> Result<()> {
        let within = self.axes.len() == shape.len()
            && self.axes.iter().zip(shape).all(|(axis, &len)| {
                let last = axis
                    .count
                    .saturating_sub(1)
                    .checked_mul(axis.step)
                    .and_then(|span| axis.start.checked_add(span));
                axis.step > 0 && (axis.count == 0 || last.is_some_and(|last| last < len))
            });
        if !within {
            let message = format!("the region {:?} is outside the shape {shape:?}", self.axes);
            return Err(Error::new(ErrorKind::OutOfBounds, "read", message));
        }
        let bytes = self.len().and_then(|len| len.checked_mul(element_size));
        if bytes != Some(buffer_bytes) {
            let message = format!("the region has {bytes:?} bytes, the buffer has {buffer_bytes}");
            return Err(Error::new(ErrorKind::InvalidArgument, "read", message));
        }
        Ok(())
    }
}

pub(crate) fn element_count(shape: &[u64]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |count, &len| {
        count.checked_mul(usize::try_from(len).ok()?)
    })
}

/// A part of a view in the notation of `ndarray`, converted from `s![..50, 3, ..;-2]`, a range, or an index.
///
/// - As in `ndarray`, negative indices count from the end, and a negative step reverses an axis.
/// - An index drops its axis, `NewAxis` adds one.
/// - Missing axes at the end are selected completely.
/// - A selection outside the array is an error, where `ndarray` panics.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ndarray::{Array2, s};
/// use simrecorder::{InMemoryDataStore, Recorder, Selection};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for step in 0..100 {
///     recorder.record("field/u", Array2::from_elem((8, 10), f64::from(step)))?;
/// }
/// let u = recorder.get_all("field/u")?;
/// assert_eq!(u.select(..50)?.shape(), [50, 8, 10]);
/// assert_eq!(u.select(s![-10.., 3, ..;2])?.shape(), [10, 5]);
/// let chosen: Selection = s![99, .., 0].into();
/// assert_eq!(u.select(chosen)?.shape(), [8]);
/// assert!(u.select(100).is_err());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selection(Vec<SliceInfoElem>);

impl<T, Din, Dout> From<SliceInfo<T, Din, Dout>> for Selection
where
    T: AsRef<[SliceInfoElem]>,
    Din: Dimension,
    Dout: Dimension,
{
    fn from(slice: SliceInfo<T, Din, Dout>) -> Self {
        Self(slice.as_ref().to_vec())
    }
}

impl From<Vec<SliceInfoElem>> for Selection {
    fn from(elements: Vec<SliceInfoElem>) -> Self {
        Self(elements)
    }
}

macro_rules! selection_from {
    ($($type:ty),*) => {$(
        impl From<$type> for Selection {
            fn from(element: $type) -> Self {
                Self(vec![element.into()])
            }
        }
    )*};
}

selection_from!(RangeFull);
selection_from!(isize, Range<isize>, RangeFrom<isize>, RangeTo<isize>);
selection_from!(RangeInclusive<isize>, RangeToInclusive<isize>);
selection_from!(i32, Range<i32>, RangeFrom<i32>, RangeTo<i32>);
selection_from!(RangeInclusive<i32>, RangeToInclusive<i32>);

/// Converts an unsigned index. `ndarray` would count a very large one from the end; here it is outside of any array.
fn from_start(index: impl TryInto<isize>) -> isize {
    index.try_into().unwrap_or(isize::MAX)
}

macro_rules! selection_from_unsigned {
    ($($type:ty),*) => {$(
        impl From<$type> for Selection {
            fn from(index: $type) -> Self {
                from_start(index).into()
            }
        }

        impl From<Range<$type>> for Selection {
            fn from(range: Range<$type>) -> Self {
                (from_start(range.start)..from_start(range.end)).into()
            }
        }

        impl From<RangeFrom<$type>> for Selection {
            fn from(range: RangeFrom<$type>) -> Self {
                (from_start(range.start)..).into()
            }
        }

        impl From<RangeTo<$type>> for Selection {
            fn from(range: RangeTo<$type>) -> Self {
                (..from_start(range.end)).into()
            }
        }

        impl From<RangeInclusive<$type>> for Selection {
            fn from(range: RangeInclusive<$type>) -> Self {
                (from_start(*range.start())..from_start(*range.end()).saturating_add(1)).into()
            }
        }

        impl From<RangeToInclusive<$type>> for Selection {
            fn from(range: RangeToInclusive<$type>) -> Self {
                (..from_start(range.end).saturating_add(1)).into()
            }
        }
    )*};
}

selection_from_unsigned!(usize, u64);

/// An axis of a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelectedAxis {
    /// An axis of the array, by its number.
    From { axis: usize, reversed: bool },
    /// An axis of length 1 that the array does not have.
    New,
}

/// A selection that was checked against a shape.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) region: Region,
    pub(crate) axes: Vec<SelectedAxis>,
}

impl Selection {
    /// Checks the selection against `shape`.
    pub(crate) fn resolve(&self, shape: &[u64]) -> Result<Resolved> {
        let mut region = Region::all(shape);
        let mut axes = Vec::with_capacity(shape.len());
        let mut axis = 0;
        for element in &self.0 {
            if let SliceInfoElem::NewAxis = element {
                axes.push(SelectedAxis::New);
                continue;
            }
            let Some(&len) = shape.get(axis) else {
                let message = format!("the selection has more axes than the shape {shape:?}");
                return Err(Error::new(ErrorKind::OutOfBounds, "select", message));
            };
            match *element {
                SliceInfoElem::Index(index) => {
                    let start = resolve_index(index, len, axis)?;
                    region.axes[axis] = AxisRange {
                        start,
                        count: 1,
                        step: 1,
                    };
                }
                SliceInfoElem::Slice { start, end, step } => {
                    region.axes[axis] = resolve_slice(start, end, step, len, axis)?;
                    axes.push(SelectedAxis::From {
                        axis,
                        reversed: step < 0,
                    });
                }
                SliceInfoElem::NewAxis => {}
            }
            axis += 1;
        }
        axes.extend((axis..shape.len()).map(|axis| SelectedAxis::From {
            axis,
            reversed: false,
        }));
        Ok(Resolved { region, axes })
    }
}

fn outside(what: String, len: u64, axis: usize) -> Error {
    let message = format!("{what} is outside axis {axis}, which has the length {len}");
    Error::new(ErrorKind::OutOfBounds, "select", message)
}

fn from_end(index: isize, len: u64) -> Option<u64> {
    match u64::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(index.unsigned_abs() as u64),
    }
}

fn resolve_index(index: isize, len: u64, axis: usize) -> Result<u64> {
    from_end(index, len)
        .filter(|&index| index < len)
        .ok_or_else(|| outside(format!("index {index}"), len, axis))
}

fn resolve_slice(
    start: isize,
    end: Option<isize>,
    step: isize,
    len: u64,
    axis: usize,
) -> Result<AxisRange> {
    let bound = |index: isize| {
        from_end(index, len)
            .filter(|&index| index <= len)
            .ok_or_else(|| outside(format!("bound {index}"), len, axis))
    };
    let start = bound(start)?;
    let end = end.map_or(Ok(len), bound)?.max(start);
    let reversed = step < 0;
    let step = step.unsigned_abs() as u64;
    if step == 0 {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "select",
            "a step of 0 selects nothing",
        ));
    }
    let count = (end - start).div_ceil(step);
    let start = match count {
        // A negative step starts from the end, so the remainder is left out at the start.
        1.. if reversed => end - 1 - (count - 1) * step,
        _ => start,
    };
    Ok(AxisRange { start, count, step })
}
