//! Coordinates: the arrays that give each index along an axis its time, step or position.

mod computed;
mod range;
mod search;

use std::ops::Range;
use std::sync::Arc;

pub use range::{CoordinateNumber, CoordinateRange};

use computed::{ComputedCoordinate, is_real};
use search::{Numbers, Search};

use crate::backend::zeroed;
use crate::error::{Error, ErrorKind, Result};
use crate::model::cast::cast_elements;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::value::Value;
use crate::reading::selected_view::SelectedView;
use crate::reading::selection::{AxisRange, Region};
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::array_view::ArrayView;
use crate::store::node::Node;

/// Reading by coordinate.
///
/// The *coordinate* of an axis is a one-dimensional array in the same group, named like the dimension: a series, such
/// as `net/time` for the dimension `time` of `net/v`, or a value that was set with [`Labeled`](crate::Labeled). It
/// matches the view: it has as many elements as the axis, even while the simulation is still running, and the view's
/// selection applies to it. A view of a [`Group`](crate::Group) has the coordinates of the group.
///
/// In H5MD files, the coordinates of the first axis of `value` are `time` and `step` next to it. A scalar there is the
/// step from one element to the next.
impl dyn ArrayView + '_ {
    /// Returns the coordinate of an axis; `None` if it has none.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.declare("net/v", Schema::scalar::<f64>().with_dimension_names(["time"]))?;
    /// for step in 0..4 {
    ///     recorder.record("net/time", step as f64 * 0.5)?;
    ///     recorder.record("net/v", -65.0)?;
    /// }
    /// let v = recorder.get_all("net/v")?;
    /// let time = v.select(2..)?.coordinate(0)?.unwrap();
    /// assert_eq!(time.read::<f64>()?.as_slice(), Some(&[1.0, 1.5][..]));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::OutOfBounds`] if there is no such axis, if the coordinate has fewer elements than the
    ///   axis, or if records of the view were cut off.
    /// - The error of the store if the coordinate cannot be read.
    pub fn coordinate(&self, axis: usize) -> Result<Option<View>> {
        let find = || {
            let axes = self.shape().len();
            if axis >= axes {
                let message = format!("there is no axis {axis}; the view has {axes}");
                return Err(Error::new(ErrorKind::OutOfBounds, "coordinate", message));
            }
            let Some(axis) = Axis::of(self, axis) else {
                return Ok(None);
            };
            for name in axis
                .name()
                .into_iter()
                .chain(axis.names_in_h5md().iter().copied())
            {
                if let Some(found) = axis.coordinate(name)? {
                    return Ok(Some(View::from(found.view)));
                }
            }
            Ok(None)
        };
        find().map_err(|e: Error| e.with_key(self.key().as_str()))
    }

    /// Returns a view of the part whose coordinate along the dimension `name` is in `range`, any of Rust's ranges of
    /// numbers. Integers and floating-point numbers are compared exactly.
    ///
    /// The coordinate of a timeline is sorted, so only a few small parts of it are read. Any other coordinate is read
    /// completely, half a MiB at a time. It need not be sorted, if the elements within the range are next to each
    /// other. NaN is in no range.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Labeled, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let schema = Schema::array::<f64>([3]).with_dimension_names(["time", "x"]);
    /// recorder.declare("field/u", schema)?;
    /// recorder.set("field/x", Labeled::new([0.0, 0.5, 1.0], ["x"]))?;
    /// for step in 0..100 {
    ///     recorder.record("field/time", step as f64 * 0.1)?;
    ///     recorder.record("field/u", [step, step + 1, step + 2].map(f64::from))?;
    /// }
    /// let u = recorder.get_all("field/u")?;
    /// let window = u.select_by("time", 1.95..=3.05)?.select_by("x", ..0.7)?;
    /// assert_eq!(window.shape(), [11, 2]);
    /// assert_eq!(window.read::<f64>()?[[0, 0]], 20.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidArgument`] if there is no dimension `name`, a bound is NaN, the range begins after
    ///   its end, or the elements within it are not next to each other.
    /// - [`ErrorKind::NotFound`] if the dimension has no coordinate, [`ErrorKind::TypeMismatch`] if its
    ///   elements are not real numbers.
    /// - [`ErrorKind::Corrupt`] if the coordinate of a timeline is not sorted.
    /// - Otherwise as for [`coordinate`](#method.coordinate).
    pub fn select_by(&self, name: &str, range: impl Into<CoordinateRange>) -> Result<View> {
        let range = range.into();
        let select = || {
            let (axis, indices) = indices_by(self, name, &range)?;
            let part = AxisRange::contiguous(indices);
            let selected = SelectedView::along_axis(self.to_arc(), axis, part, false)?;
            Ok(View::from(Arc::new(selected)))
        };
        select().map_err(|e: Error| at(self, e, "select_by"))
    }

    /// Returns what [`select_by`](#method.select_by) selects: the axis of the dimension `name`, and the indices along
    /// it whose coordinate is in `range`.
    ///
    /// ```
    /// # use simrecorder_core::{Coordinate, InMemoryDataStore, Recorder};
    /// # let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("time"))?;
    /// for step in 0..100 {
    ///     net.tick(f64::from(step) * 0.5, (("v", -65.0),))?;
    /// }
    /// let v = recorder.get_all("net/v")?;
    /// assert_eq!(v.indices_by("time", 10.0..12.0)?, (0, 20..24));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`select_by`](#method.select_by).
    pub fn indices_by(
        &self,
        name: &str,
        range: impl Into<CoordinateRange>,
    ) -> Result<(usize, Range<u64>)> {
        let found = indices_by(self, name, &range.into());
        found.map_err(|e| at(self, e, "indices_by"))
    }

    /// Returns the index along the dimension `name` whose coordinate is nearest to `x`; of two that are equally near,
    /// the lower one. It reads as much of the coordinate as [`select_by`](#method.select_by).
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{InMemoryDataStore, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// recorder.declare("net/v", Schema::scalar::<f64>().with_dimension_names(["time"]))?;
    /// for step in 0..100 {
    ///     recorder.record("net/time", step as f64 * 0.1)?;
    ///     recorder.record("net/v", step as f64)?;
    /// }
    /// let v = recorder.get_all("net/v")?;
    /// let index = v.nearest("time", 1.234)?;
    /// assert_eq!(v.get(index)?.scalar::<f64>()?, 12.0);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `x` is NaN, [`ErrorKind::OutOfBounds`] if the coordinate has no elements or
    /// only NaN; otherwise as for [`select_by`](#method.select_by).
    pub fn nearest(&self, name: &str, x: impl Into<CoordinateNumber>) -> Result<u64> {
        let x = x.into();
        let find = || {
            let (_, coordinate) = require_coordinate(self, name)?;
            coordinate.search()?.nearest(x)?.ok_or_else(|| {
                let message =
                    format!("the coordinate '{name}' has no elements, so none is nearest");
                Error::new(ErrorKind::OutOfBounds, "nearest", message)
            })
        };
        find().map_err(|e: Error| at(self, e, "nearest"))
    }
}

/// The axis of the dimension `name`, and the indices along it whose coordinate is in `range`.
pub(crate) fn indices_by(
    view: &dyn ArrayView,
    name: &str,
    range: &CoordinateRange,
) -> Result<(usize, Range<u64>)> {
    let (axis, coordinate) = require_coordinate(view, name)?;
    Ok((axis, coordinate.search()?.indices_of(range)?))
}

fn at(view: &dyn ArrayView, error: Error, operation: &'static str) -> Error {
    error
        .with_key(view.key().as_str())
        .with_operation(operation)
}

/// An axis of a view, and its place in the view that the store returned.
struct Axis<'a> {
    view: &'a dyn ArrayView,
    number: usize,
    /// The indices in the view of the store, ascending.
    part: AxisRange,
    is_reversed: bool,
}

/// A coordinate of an axis.
struct AxisCoordinate {
    view: Arc<dyn ArrayView>,
    /// Whether its elements are known to be in order.
    is_sorted: bool,
}

/// The axis of a view that has the dimension `name`, with its coordinate.
fn require_coordinate(view: &dyn ArrayView, name: &str) -> Result<(usize, AxisCoordinate)> {
    let axes = || (0..view.shape().len()).filter_map(|axis| Some((axis, Axis::of(view, axis)?)));
    let in_h5md = |axis: &Axis<'_>| axis.names_in_h5md().contains(&name);
    let is_named = |axis: &Axis<'_>| axis.name() == Some(name) || axis.is_coordinate(name);
    if let Some((number, axis)) = axes().find(|(_, axis)| is_named(axis) || in_h5md(axis)) {
        if let Some(coordinate) = axis.coordinate(name)? {
            return Ok((number, coordinate));
        }
        if is_named(&axis) {
            let message = format!(
                "the dimension '{name}' has no coordinate: the group has no array '{name}' with one axis; \
                 select by index with select()"
            );
            return Err(Error::new(ErrorKind::NotFound, "select_by", message));
        }
    }
    let names: Vec<_> = axes()
        .filter_map(|(_, axis)| axis.name().map(|name| format!("'{name}'")))
        .collect();
    let message = match &names[..] {
        [] => format!(
            "there is no dimension '{name}', since no axis has a name; name them with \
             Schema::with_dimension_names, or select by index with select()"
        ),
        names => format!(
            "there is no dimension '{name}'; the dimensions are: {}",
            names.join(", ")
        ),
    };
    Err(Error::new(ErrorKind::InvalidArgument, "select_by", message))
}

impl<'a> Axis<'a> {
    /// `None` for an axis that a selection added.
    fn of(view: &'a dyn ArrayView, number: usize) -> Option<Self> {
        let len = view.shape().get(number).copied()?;
        let mut axis = Self {
            view,
            number,
            part: AxisRange::contiguous(0..len),
            is_reversed: false,
        };
        while let Some(selected) = axis.view.as_selected() {
            let (number, part, is_reversed) = selected.axis_in_parent(axis.number, axis.part)?;
            axis = Self {
                view: selected.parent(),
                number,
                part,
                is_reversed: axis.is_reversed != is_reversed,
            };
        }
        Some(axis)
    }

    /// The name of its dimension.
    fn name(&self) -> Option<&'a str> {
        self.view.dimension_names()?.get(self.number)?.as_deref()
    }

    /// Whether the view itself is the coordinate called `name`, whose dimension need not be named.
    fn is_coordinate(&self, name: &str) -> bool {
        self.view.shape().len() == 1
            && self.view.dimension_names().is_none()
            && self.view.key().name() == name
    }

    /// The names of the coordinates of the axis if the series is the `value` of an H5MD element.
    fn names_in_h5md(&self) -> &'static [&'static str] {
        match self.number == 0 && self.view.key().name() == "value" {
            true => &["time", "step"],
            false => &[],
        }
    }

    /// The coordinate called `name`.
    fn coordinate(&self, name: &str) -> Result<Option<AxisCoordinate>> {
        let own = self.view.key();
        let group = own.parent().unwrap_or(Key::ROOT);
        // Other software gives dimensions names that are not valid keys.
        let Some(key) = group.join(name).ok().filter(|key| key.name() == name) else {
            return Ok(None);
        };
        let mut nodes = self.view.sibling_nodes(&[group, key.clone()])?.into_iter();
        let (group, node) = (nodes.next().flatten(), nodes.next().flatten());
        let mut is_sorted =
            group.is_some_and(|group| timeline_of(group.attributes()) == Some(name));
        let view: Arc<dyn ArrayView> = match node {
            _ if key == *own && self.view.shape().len() == 1 => self.view.to_arc(),
            Some(Node::Series(view)) if view.shape().len() == 1 && view.kind() != Kind::Ragged => {
                view.into()
            }
            Some(Node::Value { value, attributes }) => match value? {
                Value::Array(value) if value.shape().len() == 1 => {
                    Arc::new(ComputedCoordinate::of_value(self, key, value, attributes))
                }
                Value::Array(value)
                    if value.shape().is_empty() && self.names_in_h5md().contains(&name) =>
                {
                    match ComputedCoordinate::evenly_spaced(self, key, value, attributes)? {
                        Some(coordinate) => {
                            is_sorted = coordinate.is_strict();
                            Arc::new(coordinate)
                        }
                        None => return Ok(None),
                    }
                }
                _ => return Ok(None),
            },
            Some(Node::Unreadable { error, .. }) => return Err(error),
            _ => return Ok(None),
        };
        let view = self.align(view)?;
        Ok(Some(AxisCoordinate { view, is_sorted }))
    }

    /// The part of a coordinate that belongs to the axis.
    fn align(&self, coordinate: Arc<dyn ArrayView>) -> Result<Arc<dyn ArrayView>> {
        let len = self.view.shape().get(self.number).copied().unwrap_or(0);
        let found = coordinate.len();
        // A coordinate of records may have grown since the view was taken; others do not grow.
        let (mut first, mut fits) = (0, found == len);
        if self.number == 0 {
            first = self
                .view
                .first_record()
                .checked_sub(coordinate.first_record())
                .ok_or_else(|| {
                    let message = format!(
                        "the first elements of its coordinate '{}' were freed; take a new view",
                        coordinate.key()
                    );
                    Error::new(ErrorKind::NotFound, "coordinate", message)
                })?;
            fits = first.saturating_add(self.part.bounds().end) <= found;
        }
        if !fits {
            let message = format!(
                "its coordinate '{}' has {found} elements, the axis {len}; record one element for each, or \
                 select by index with select()",
                coordinate.key()
            );
            return Err(Error::new(ErrorKind::OutOfBounds, "coordinate", message));
        }
        let mut part = self.part;
        part.start += first;
        if !self.is_reversed && part == AxisRange::contiguous(0..found) {
            return Ok(coordinate);
        }
        let selected = SelectedView::along_axis(coordinate, 0, part, self.is_reversed)?;
        Ok(Arc::new(selected))
    }
}

impl AxisCoordinate {
    fn search(&self) -> Result<Search<impl FnMut(Range<u64>) -> Result<Numbers>>> {
        let view = &*self.view;
        let Some(dtype) = view.dtype().filter(|&dtype| is_real(dtype)) else {
            let message = format!(
                "its coordinate '{}' is {}, not real numbers; select by index with select()",
                view.key(),
                view.schema()
            );
            return Err(Error::new(ErrorKind::TypeMismatch, "select_by", message));
        };
        let read = move |range: Range<u64>| {
            let region = Region::records(range.clone(), view.shape());
            let mut bytes = zeroed((range.end - range.start) as usize * dtype.size())?;
            view.read_into(&region, &mut bytes)?;
            Ok(match dtype {
                dtype if dtype.is_floating() => Numbers::Real(cast_elements(dtype, &bytes)?),
                DType::U8 | DType::U16 | DType::U32 | DType::U64 => {
                    Numbers::Unsigned(cast_elements(dtype, &bytes)?)
                }
                _ => Numbers::Signed(cast_elements(dtype, &bytes)?),
            })
        };
        Ok(Search::new(view.len(), self.is_sorted, read))
    }
}
