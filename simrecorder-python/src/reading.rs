//! Reads parts of series into Python objects.

use std::ops::Range;

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use simrecorder::backend::Region;
use simrecorder::ndarray::SliceInfoElem;
use simrecorder::{DType, Error, ErrorKind, Selection};

use crate::element::new_array;
use crate::error::{Raise, exception};
use crate::output::to_python;
use crate::selection::{Brackets, Fancy, WHOLE};

/// The approximate number of bytes that are read between two checks for Ctrl-C.
const PART_BYTES: usize = 64 << 20;

/// To reduce the number of reads, at most this many times as many indices as requested are read.
const DENSITY: usize = 4;

/// From one index to another (excluded).
pub(crate) fn slice(from: u64, to: u64) -> SliceInfoElem {
    SliceInfoElem::Slice {
        start: from.cast_signed() as isize,
        end: Some(to.cast_signed() as isize),
        step: 1,
    }
}

/// Reads a whole array, in parts, so that Ctrl-C ends it. Without axes, returns a NumPy scalar.
pub(crate) fn read_array<'py>(
    py: Python<'py>,
    view: &simrecorder::View,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(dtype) = view.dtype() else {
        return Err(PyTypeError::new_err("the records are not arrays"));
    };
    let shape = view
        .shape()
        .iter()
        .map(|&len| usize::try_from(len).unwrap_or(usize::MAX));
    let shape: Vec<usize> = shape.collect();
    let array = new_array(py, dtype, &shape, |out| read_parts(py, view, out, dtype))?;
    match shape.is_empty() {
        true => array.get_item(()),
        false => Ok(array),
    }
}

fn read_parts(
    py: Python<'_>,
    view: &simrecorder::View,
    out: &mut [u8],
    dtype: DType,
) -> PyResult<()> {
    let len = view.shape().first().map_or(1, |&len| len as usize);
    let record = out.len() / len.max(1);
    let chunk = view
        .chunk_shape()
        .first()
        .map_or(1, |&len| len as usize)
        .max(1);
    let records = (PART_BYTES / record.max(1) / chunk * chunk)
        .max(chunk.min(len))
        .max(1);
    if out.len() <= PART_BYTES || record == 0 {
        py.detach(|| view.read_into(&Region::all(view.shape()), out))
            .raise()?;
    } else {
        for (part, out) in out.chunks_mut(records * record).enumerate() {
            let start = part * records;
            let range = start as u64..(start + out.len() / record) as u64;
            let region = Region::records(range, view.shape());
            py.detach(|| view.read_into(&region, out)).raise()?;
            py.check_signals()?;
        }
    }
    if dtype == DType::Bool && out.iter().any(|&byte| byte > 1) {
        let message = "a stored bool is neither 0 nor 1";
        let error = Error::new(ErrorKind::Corrupt, "read", message);
        return Err(exception(&error.with_key(view.key().as_str())));
    }
    Ok(())
}

/// Reads the given indices along one axis.
pub(crate) fn read_fancy<'py>(
    py: Python<'py>,
    view: &simrecorder::View,
    fancy: &Fancy,
) -> PyResult<Bound<'py, PyAny>> {
    let axis = fancy.result_axis;
    let mut sorted = fancy.indices.clone();
    sorted.sort_unstable();
    sorted.dedup();
    // Indices that are close together are read at once.
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut positions = Vec::with_capacity(sorted.len());
    let mut read_len = 0;
    for &index in &sorted {
        match runs.last_mut() {
            Some(run) if index - run.end < DENSITY => run.end = index + 1,
            _ => {
                read_len += runs.last().map_or(0, Range::len);
                runs.push(index..index + 1);
            }
        }
        let start = runs.last().map_or(index, |run| run.start);
        positions.push(read_len + index - start);
    }
    let read = |run: &Range<usize>| {
        let mut elements = vec![WHOLE; axis];
        elements.push(slice(run.start as u64, run.end as u64));
        read_array(py, &view.select(Selection::from(elements)).raise()?)
    };
    let numpy = py.import(intern!(py, "numpy"))?;
    let parts = match runs.is_empty() {
        true => vec![read(&(0..0))?],
        false => runs.iter().map(read).collect::<PyResult<Vec<_>>>()?,
    };
    let array = match <[_; 1]>::try_from(parts) {
        Ok([part]) => part,
        Err(parts) => numpy.call_method1("concatenate", (parts, axis))?,
    };
    let position = |index| positions[sorted.binary_search(index).unwrap_or_default()];
    let wanted: Vec<usize> = fancy.indices.iter().map(position).collect();
    let wanted = numpy.call_method1("asarray", (wanted, "intp"))?;
    numpy.call_method1("take", (array, wanted, axis))
}

/// Reads records that are not arrays of one shape: one, or a list of them.
pub(crate) fn read_records<'py>(
    py: Python<'py>,
    view: &simrecorder::View,
    brackets: Brackets,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(fancy) = brackets.fancy {
        let read = |&index: &usize| record(py, view, index as u64);
        let records = fancy
            .indices
            .iter()
            .map(read)
            .collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(py, records)?.into_any());
    }
    match brackets.elements.as_slice() {
        [SliceInfoElem::Index(index)] => record(py, view, index.unsigned_abs() as u64),
        [] => Ok(read_all(py, view)?.into_any()),
        [SliceInfoElem::Slice { .. }] => {
            let part = view.select(Selection::from(brackets.elements)).raise()?;
            Ok(read_all(py, &part)?.into_any())
        }
        _ => Err(PyIndexError::new_err(
            "such a series has one axis, to which none can be added",
        )),
    }
}

fn record<'py>(
    py: Python<'py>,
    view: &simrecorder::View,
    index: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let value = py.detach(|| view.get(index)).raise()?;
    to_python(py, &value, view.key().as_str())
}

/// Reads all records as a list.
pub(crate) fn read_all<'py>(
    py: Python<'py>,
    view: &simrecorder::View,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    let mut next = 0;
    while next < view.len() {
        let records = py
            .detach(|| view.read_records(next..view.len(), PART_BYTES))
            .raise()?;
        for index in 0..records.len() {
            let value = records.value(index).raise()?;
            list.append(to_python(py, &value, view.key().as_str())?)?;
        }
        next += records.len().max(1);
        py.check_signals()?;
    }
    Ok(list)
}

/// An array of objects with one axis.
pub(crate) fn object_array<'py>(
    py: Python<'py>,
    list: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = py.import("numpy")?;
    let array = numpy.call_method1("empty", (list.len(), "object"))?;
    for (index, item) in list.iter().enumerate() {
        array.set_item(index, item)?;
    }
    Ok(array)
}
