//! Lazy views of series.

use std::ops::Bound as End;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyIndexError, PyKeyError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySlice, PyTuple};
use simrecorder::ndarray::SliceInfoElem;
use simrecorder::{CoordinateRange, prelude::*};
use simrecorder::{Error, ErrorKind, Key, Kind, NodeKind, Selection};

use crate::error::Raise;
use crate::json::dict_of;
use crate::reading::{object_array, read_all, read_array, read_fancy, read_records, slice};
use crate::recorder::html;
use crate::schema::element_type;
use crate::selection::{Brackets, WHOLE, coordinate_number};
use crate::store::Store;
use crate::waiting::interruptible;

/// A lazy view of one series: a snapshot of its length, which reads only the requested parts.
///
/// `view[...]` reads a part as a NumPy array, and `numpy.asarray(view)` reads all of it.
/// `view.sel(time=slice(1.0, 2.0))` is a view of the part with these coordinates, both ends
/// included, as in xarray. A series of text, bytes, objects or rows of different length is a
/// sequence of these.
///
/// A pickled view contains the location of its recording, so that other processes can read it.
///
/// >>> recorder = simrecorder.Recorder("memory:")
/// >>> for step in range(100):
/// ...     recorder.record("net/v", np.full(8, 0.1 * step))
/// >>> view = recorder["net/v"]
/// >>> view.shape
/// (100, 8)
/// >>> view[10:20, 3].shape
/// (10,)
#[pyclass(frozen, weakref, sequence, module = "simrecorder")]
#[derive(Debug)]
pub(crate) struct View {
    opened: Mutex<Opened>,
    /// The location at which another process can open the recording; `None` in memory.
    location: Option<Arc<str>>,
    /// The part of each axis of the series.
    windows: Vec<Window>,
    /// Whether it is only a part of the series.
    is_part: bool,
}

/// A view that a process has open.
#[derive(Clone, Debug)]
struct Opened {
    view: simrecorder::View,
    process: u32,
}

/// The part of an axis.
#[derive(Clone, Debug, FromPyObject, IntoPyObject)]
pub(crate) enum Window {
    /// From one index to another (excluded).
    Range((u64, u64)),
    /// An index, which removes the axis.
    Index(u64),
}

impl View {
    pub(crate) fn new(view: simrecorder::View, location: Option<Arc<str>>) -> Self {
        let windows = view
            .shape()
            .iter()
            .map(|&len| Window::Range((0, len)))
            .collect();
        Self::with_windows(view, location, windows, false)
    }

    fn with_windows(
        view: simrecorder::View,
        location: Option<Arc<str>>,
        windows: Vec<Window>,
        is_part: bool,
    ) -> Self {
        let process = std::process::id();
        Self {
            opened: Mutex::new(Opened { view, process }),
            location,
            windows,
            is_part,
        }
    }

    /// The view for reading its shape and attributes.
    fn meta(&self) -> simrecorder::View {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.view.clone()
    }

    /// The view for reading records. In a forked child, the recording is opened again.
    fn view(&self, py: Python<'_>) -> PyResult<simrecorder::View> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let process = std::process::id();
        match &self.location {
            Some(location) if opened.process != process => {
                let view = open(py, location, opened.view.key().as_str(), &self.windows)?;
                let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                *opened = Opened {
                    view: view.clone(),
                    process,
                };
                Ok(view)
            }
            _ => Ok(opened.view),
        }
    }

    fn brackets<'py>(
        &self,
        py: Python<'py>,
        brackets: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let view = self.view(py)?;
        let parsed = Brackets::parse(brackets, view.shape())?;
        if view.kind() != Kind::Array {
            return read_records(py, &view, parsed);
        }
        let selected = view.select(Selection::from(parsed.elements)).raise()?;
        match parsed.fancy {
            Some(fancy) => read_fancy(py, &selected, &fancy),
            None => read_array(py, &selected),
        }
    }

    /// The axes of the series that the view has, in order.
    fn axes(&self) -> Vec<usize> {
        let windows = self.windows.iter().enumerate();
        let kept = windows.filter(|(_, window)| matches!(window, Window::Range(_)));
        kept.map(|(axis, _)| axis).collect()
    }

    /// The view of a part along one of its axes.
    fn part(&self, view: &simrecorder::View, axis: usize, window: Window) -> PyResult<Self> {
        let base = self.axes()[axis];
        let Window::Range((start, _)) = self.windows[base] else {
            return Err(PyIndexError::new_err("the axis is gone"));
        };
        let mut elements = vec![WHOLE; axis];
        let (element, window) = match window {
            Window::Range((from, to)) => {
                (slice(from, to), Window::Range((start + from, start + to)))
            }
            Window::Index(index) => (
                SliceInfoElem::Index(index.cast_signed() as isize),
                Window::Index(start + index),
            ),
        };
        elements.push(element);
        let selected = view.select(Selection::from(elements)).raise()?;
        let mut windows = self.windows.clone();
        windows[base] = window;
        Ok(Self::with_windows(
            selected,
            self.location.clone(),
            windows,
            true,
        ))
    }
}

#[pymethods]
impl View {
    /// The key of the series.
    #[getter]
    fn key(&self) -> String {
        self.meta().key().to_string()
    }

    /// The kind of the records: "array", "ragged", "text", "bytes" or "object".
    #[getter]
    fn kind(&self) -> &'static str {
        self.meta().kind().as_str()
    }

    /// The length of each axis, records first.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.meta().shape())
    }

    /// The type of the elements; `object` unless the records are arrays of one shape.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(element_type(py, self.meta().schema())?.into_any())
    }

    /// The number of axes.
    #[getter]
    fn ndim(&self) -> usize {
        self.meta().shape().len()
    }

    /// The number of elements.
    #[getter]
    fn size(&self) -> u64 {
        self.meta()
            .shape()
            .iter()
            .fold(1, |size, &len| size.saturating_mul(len))
    }

    /// The size of all elements in memory; for records without a fixed size, the size of references
    /// to them.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<u64> {
        use numpy::PyArrayDescrMethods;
        let itemsize = element_type(py, self.meta().schema())?.itemsize();
        Ok(self.size().saturating_mul(itemsize as u64))
    }

    /// The length of a chunk along each axis. Reads that begin and end at chunks are the fastest.
    #[getter]
    fn chunks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.meta().chunk_shape())
    }

    /// The attributes, as a new dict.
    #[getter]
    fn attrs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict_of(py, self.meta().attributes())
    }

    /// The names of the dimensions; "dim_0", "dim_1" ... for unnamed ones.
    #[getter]
    fn dims<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let view = self.meta();
        let names = view.dimension_names().unwrap_or_default();
        let name = |axis: usize| match names.get(axis) {
            Some(Some(name)) => name.clone(),
            _ => format!("dim_{axis}"),
        };
        PyTuple::new(py, (0..view.shape().len()).map(name))
    }

    /// The coordinates of the dimensions that have one, read as arrays.
    #[getter]
    fn coords<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let view = self.view(py)?;
        let names = self.dims(py)?;
        let coords = PyDict::new(py);
        for axis in 0..view.shape().len() {
            if let Some(coordinate) = py.detach(|| view.coordinate(axis)).raise()? {
                coords.set_item(names.get_item(axis)?, read_array(py, &coordinate)?)?;
            }
        }
        Ok(coords)
    }

    fn __len__(&self) -> PyResult<usize> {
        let view = self.meta();
        match view.shape().first() {
            Some(&len) => Ok(usize::try_from(len).unwrap_or(usize::MAX)),
            None => Err(PyTypeError::new_err("a view without axes has no len()")),
        }
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        brackets: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.brackets(py, brackets)
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py()
            .import("simrecorder._lazy")?
            .call_method1("iterate", (slf,))
    }

    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if copy == Some(false) {
            let message = "the array of a view is always a copy; leave out copy=False";
            return Err(PyValueError::new_err(message));
        }
        let view = self.view(py)?;
        let array = match view.kind() {
            Kind::Array => read_array(py, &view)?,
            _ => object_array(py, &read_all(py, &view)?)?,
        };
        match dtype {
            Some(dtype) => {
                let options = PyDict::new(py);
                options.set_item("copy", false)?;
                array.call_method("astype", (dtype,), Some(&options))
            }
            // Without axes, a NumPy scalar.
            None => py.import("numpy")?.call_method1("asarray", (array,)),
        }
    }

    /// A view of the part with the given coordinates: `view.sel(time=slice(1.0, 2.0))`, both ends
    /// included, or `view.sel(time=1.5)`, which removes the axis. With `method="nearest"`, the
    /// nearest coordinate is used.
    #[pyo3(signature = (indexers=None, method=None, **more))]
    fn sel(
        slf: &Bound<'_, Self>,
        indexers: Option<&Bound<'_, PyDict>>,
        method: Option<&str>,
        more: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<Self>> {
        let py = slf.py();
        if !matches!(method, None | Some("nearest")) {
            return Err(PyValueError::new_err("the only method is \"nearest\""));
        }
        let mut selected = slf.clone().unbind();
        for (name, label) in [indexers, more].into_iter().flatten().flatten() {
            let name: String = name.extract()?;
            let part = selected
                .get()
                .select_by(py, &name, &label, method.is_some())?;
            selected = Py::new(py, part)?;
        }
        Ok(selected)
    }

    /// The index along a dimension whose coordinate is nearest to `x`.
    fn nearest(&self, py: Python<'_>, name: &str, x: &Bound<'_, PyAny>) -> PyResult<u64> {
        let (view, x) = (self.view(py)?, coordinate_number(x)?);
        py.detach(|| view.nearest(name, x)).raise()
    }

    /// A view of the same series in its current state.
    fn refresh(&self, py: Python<'_>) -> PyResult<Self> {
        let view = self.view(py)?;
        let view = py.detach(|| view.refresh()).raise()?;
        Ok(self.renewed(view))
    }

    /// Waits until there are more records, for at most `timeout` seconds, and returns a view with
    /// them. Only Redis can wait.
    fn follow(&self, py: Python<'_>, timeout: f64) -> PyResult<Self> {
        let timeout = Duration::try_from_secs_f64(timeout);
        let timeout = timeout.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let view = self.view(py)?;
        let view = interruptible(py, move || view.follow(timeout))?.raise()?;
        Ok(self.renewed(view))
    }

    /// An xarray `DataArray` that reads on use.
    fn to_xarray<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py()
            .import("simrecorder._lazy")?
            .call_method1("to_xarray", (slf,))
    }

    /// A dask array with the chunks of the series.
    #[pyo3(signature = (chunks=None))]
    fn to_dask<'py>(
        slf: &Bound<'py, Self>,
        chunks: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.py()
            .import("simrecorder._lazy")?
            .call_method1("to_dask", (slf, chunks))
    }

    /// A pandas `Series` or `DataFrame`, with the coordinate of the records as its index.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py()
            .import("simrecorder._lazy")?
            .call_method1("to_pandas", (slf,))
    }

    fn __repr__(&self) -> String {
        format!("<View {}>", self.meta())
    }

    fn _repr_html_(&self) -> String {
        html(&self.__repr__())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(location) = &self.location else {
            let message =
                "a view of a store in memory cannot be pickled; pickle numpy.asarray(view)";
            return Err(PyTypeError::new_err(message));
        };
        let open = py
            .import("simrecorder._simrecorder")?
            .getattr("_open_view")?;
        let arguments = (&**location, self.key(), self.windows.clone());
        Ok((open, arguments).into_pyobject(py)?.into_any())
    }
}

impl View {
    /// The view of the same series after a change.
    fn renewed(&self, view: simrecorder::View) -> Self {
        match self.is_part {
            true => Self::with_windows(view, self.location.clone(), self.windows.clone(), true),
            false => Self::new(view, self.location.clone()),
        }
    }

    fn select_by(
        &self,
        py: Python<'_>,
        name: &str,
        label: &Bound<'_, PyAny>,
        is_nearest: bool,
    ) -> PyResult<Self> {
        let view = self.view(py)?;
        let Ok(slice) = label.cast::<PySlice>() else {
            let x = coordinate_number(label)?;
            let found = py.detach(|| match is_nearest {
                true => {
                    let index = view.nearest(name, x)?;
                    let all = view.indices_by(name, ..)?;
                    Ok((all.0, index..index + 1))
                }
                false => view.indices_by(name, (End::Included(x), End::Included(x))),
            });
            let (axis, indices) = found.raise()?;
            if indices.is_empty() {
                let message = format!(
                    "no coordinate of '{name}' is {label}; method=\"nearest\" finds the nearest"
                );
                return Err(PyKeyError::new_err(message));
            }
            return self.part(&view, axis, Window::Index(indices.start));
        };
        if !slice.getattr("step")?.is_none() {
            return Err(PyValueError::new_err("a slice of coordinates has no step"));
        }
        let end = |name| {
            let bound = slice.getattr(name)?;
            match bound.is_none() {
                true => PyResult::Ok(End::Unbounded),
                false => Ok(End::Included(coordinate_number(&bound)?)),
            }
        };
        let range: CoordinateRange = (end("start")?, end("stop")?).into();
        let (axis, indices) = py.detach(|| view.indices_by(name, range)).raise()?;
        self.part(&view, axis, Window::Range((indices.start, indices.end)))
    }
}

/// Opens the view of a recording that another process pickled.
#[pyfunction]
pub(crate) fn _open_view(
    py: Python<'_>,
    location: &str,
    key: &str,
    windows: Vec<Window>,
) -> PyResult<View> {
    let view = open(py, location, key, &windows)?;
    Ok(View::with_windows(
        view,
        Some(location.into()),
        windows,
        true,
    ))
}

fn open(
    py: Python<'_>,
    location: &str,
    key: &str,
    windows: &[Window],
) -> PyResult<simrecorder::View> {
    let places = py.import(intern!(py, "simrecorder._places"))?;
    let store = places.call_method1(intern!(py, "open_for_views"), (location,))?;
    let store = store.cast_into::<Store>()?;
    let store = &store.get().store;
    let elements = windows.iter().map(|window| match window {
        Window::Range((from, to)) => slice(*from, *to),
        Window::Index(index) => SliceInfoElem::Index(index.cast_signed() as isize),
    });
    let selection = Selection::from(elements.collect::<Vec<_>>());
    let find = || {
        let key = Key::new(key)?;
        match store.require_node(&key, NodeKind::Series)? {
            simrecorder::backend::Node::Series(view) => view.select(selection),
            _ => {
                let message = "the series no longer exists";
                Err(Error::new(ErrorKind::NotFound, "read", message).with_key(key.as_str()))
            }
        }
    };
    py.detach(find).raise()
}
