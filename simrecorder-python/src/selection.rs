//! The contents of the brackets of a view, and numbers to look up in coordinates.

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PySlice, PyTuple};
use simrecorder::CoordinateNumber;
use simrecorder::ndarray::SliceInfoElem;

use crate::input::as_array;

/// The contents of the brackets, for each axis of a view.
pub(crate) struct Brackets {
    /// Indices, slices and new axes in the terms of `ndarray`. The axis of `fancy` is complete.
    pub(crate) elements: Vec<SliceInfoElem>,
    /// An array of indices along one axis.
    pub(crate) fancy: Option<Fancy>,
}

/// Indices along one axis, each within it.
pub(crate) struct Fancy {
    /// The axis in the result.
    pub(crate) result_axis: usize,
    pub(crate) indices: Vec<usize>,
}

impl Brackets {
    /// Parses the contents of the brackets for a view of this shape.
    pub(crate) fn parse(brackets: &Bound<'_, PyAny>, shape: &[u64]) -> PyResult<Self> {
        let items: Vec<Bound<'_, PyAny>> = match brackets.cast::<PyTuple>() {
            Ok(tuple) => tuple.iter().collect(),
            Err(_) => vec![brackets.clone()],
        };
        let is_axis =
            |item: &&Bound<'_, PyAny>| !item.is_none() && !item.is_instance_of::<PyEllipsis>();
        let named = items.iter().filter(is_axis).count();
        if named > shape.len() {
            let message = format!(
                "too many indices: the view has {} axes, {named} are given",
                shape.len()
            );
            return Err(PyIndexError::new_err(message));
        }
        let mut parsed = Self {
            elements: Vec::new(),
            fancy: None,
        };
        let (mut axis, mut result_axis, mut has_ellipsis) = (0, 0, false);
        for item in items {
            if item.is_none() {
                parsed.elements.push(SliceInfoElem::NewAxis);
                result_axis += 1;
            } else if item.is_instance_of::<PyEllipsis>() {
                if has_ellipsis {
                    let message = "an index can only have a single ellipsis ('...')";
                    return Err(PyIndexError::new_err(message));
                }
                has_ellipsis = true;
                for _ in named..shape.len() {
                    parsed.elements.push(WHOLE);
                    (axis, result_axis) = (axis + 1, result_axis + 1);
                }
            } else {
                let len = length(shape[axis])?;
                match parse_item(&item, len, axis)? {
                    Item::Element(element) => {
                        result_axis += usize::from(matches!(element, SliceInfoElem::Slice { .. }));
                        parsed.elements.push(element);
                    }
                    Item::Fancy(indices) => {
                        if parsed.fancy.is_some() {
                            let message = "arrays of indices along more than one axis are not supported; read \
                                           the view first, as in view[...][rows, columns]";
                            return Err(PyIndexError::new_err(message));
                        }
                        parsed.fancy = Some(Fancy {
                            result_axis,
                            indices,
                        });
                        parsed.elements.push(WHOLE);
                        result_axis += 1;
                    }
                }
                axis += 1;
            }
        }
        Ok(parsed)
    }
}

/// All of an axis.
pub(crate) const WHOLE: SliceInfoElem = SliceInfoElem::Slice {
    start: 0,
    end: None,
    step: 1,
};

enum Item {
    Element(SliceInfoElem),
    Fancy(Vec<usize>),
}

fn length(len: u64) -> PyResult<isize> {
    isize::try_from(len).map_err(|_| PyIndexError::new_err("the axis is longer than memory"))
}

fn parse_item(item: &Bound<'_, PyAny>, len: isize, axis: usize) -> PyResult<Item> {
    if let Ok(slice) = item.cast::<PySlice>() {
        let indices = slice.indices(len)?;
        let (start, step, count) = (
            indices.start,
            indices.step,
            indices.slicelength.cast_signed(),
        );
        // A slice of `ndarray` with a negative step begins at its end.
        let (start, end) = match count {
            0 => (0, 0),
            _ if step > 0 => (start, start + (count - 1) * step + 1),
            _ => (start + (count - 1) * step, start + 1),
        };
        return Ok(Item::Element(SliceInfoElem::Slice {
            start,
            end: Some(end),
            step,
        }));
    }
    if !item.is_instance_of::<PyBool>()
        && (item.is_instance_of::<PyInt>() || is_scalar_with_index(item)?)
    {
        let index: isize = item.call_method0("__index__")?.extract()?;
        return Ok(Item::Element(SliceInfoElem::Index(within(
            index, len, axis,
        )?)));
    }
    let array = as_array(item).map_err(|_| not_an_index(item))?;
    match (array.dtype_kind(), array.ndim()) {
        (b'b', 1) => {
            let mask: Vec<bool> = array.extract()?;
            if mask.len() != len.unsigned_abs() {
                let message = format!(
                    "a boolean index of length {} does not fit axis {axis}, which has the length {len}",
                    mask.len()
                );
                return Err(PyIndexError::new_err(message));
            }
            let chosen = mask.iter().enumerate().filter(|(_, chosen)| **chosen);
            Ok(Item::Fancy(chosen.map(|(index, _)| index).collect()))
        }
        (b'i' | b'u', 1) => {
            let indices: Vec<isize> = array.extract()?;
            let indices = indices.iter().map(|&index| within(index, len, axis));
            let indices = indices.map(|index| Ok(index?.unsigned_abs()));
            Ok(Item::Fancy(indices.collect::<PyResult<_>>()?))
        }
        (_, 1) if array.len() == 0 => Ok(Item::Fancy(Vec::new())),
        _ => Err(not_an_index(item)),
    }
}

/// Whether it is a number that can be an index, such as a NumPy scalar.
fn is_scalar_with_index(item: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_array = item
        .cast::<PyUntypedArray>()
        .is_ok_and(|array| array.ndim() > 0);
    Ok(!is_array && item.hasattr("__index__")? && item.call_method0("__index__").is_ok())
}

fn within(index: isize, len: isize, axis: usize) -> PyResult<isize> {
    let from_start = if index < 0 { index + len } else { index };
    if (0..len).contains(&from_start) {
        return Ok(from_start);
    }
    let message =
        format!("index {index} is out of bounds for axis {axis}, which has the length {len}");
    Err(PyIndexError::new_err(message))
}

fn not_an_index(item: &Bound<'_, PyAny>) -> PyErr {
    let name = item
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let message = format!(
        "a value of type {name} cannot be an index; use ints, slices, '...', None, or one array of booleans or ints \
         along one axis"
    );
    PyTypeError::new_err(message)
}

trait DtypeKind {
    fn dtype_kind(&self) -> u8;
}

impl DtypeKind for Bound<'_, PyUntypedArray> {
    fn dtype_kind(&self) -> u8 {
        use numpy::PyArrayDescrMethods;
        self.dtype().kind()
    }
}

/// A number to look up in a coordinate.
pub(crate) fn coordinate_number(number: &Bound<'_, PyAny>) -> PyResult<CoordinateNumber> {
    if let Ok(number) = number.extract::<i64>() {
        return Ok(number.into());
    }
    if let Ok(number) = number.extract::<u64>() {
        return Ok(number.into());
    }
    Ok(number.extract::<f64>()?.into())
}
