//! The recorder.

use std::sync::{Arc, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use simrecorder::{Error, ErrorKind, NodeKind, Status, StoreState, StoreStatus};

use crate::error::{Raise, exception, wrong_type, wrong_value};
use crate::input::put;
use crate::json::{attributes_of, dict_of};
use crate::messages;
use crate::options::recorder_options;
use crate::output::to_python;
use crate::schema::{Description, schema_of};
use crate::shared::{Shared, Source};
use crate::sinks::{RecordSink, SetSink};
use crate::store::Store;
use crate::timeline::Timeline;
use crate::view::View;
use crate::waiting::interruptible;

/// Records values by key into one or several stores, and reads them back.
///
/// `stores` are paths, URLs and data stores. A path names the format by its extension: `run.mdb`
/// (Zarr in LMDB), `run.zarr` (Zarr in a directory), `run.h5` (HDF5). An existing recording is
/// continued; `simrecorder.open` opens it for reading. Records are written to all stores, and read
/// from the first store that has the key.
///
/// Options, by name: `memory_bound` (bytes, 256 MiB), `memory_policy` ("block" or "error"), `commit_interval`
/// (seconds, 1.0; None for never), `checkpoint_interval` (seconds, None), `encoding_threads`, `on_store_error`
/// ("stop" or "detach"), `on_divergence` ("error", "cut-to-shortest" or "shared-may-differ").
///
/// >>> from simrecorder import Recorder
/// >>> with Recorder("run.mdb") as recorder:
/// ...     for step in range(100):
/// ...         recorder.record("net/rate", 0.5 * step)
/// >>> recorder = simrecorder.open("run.mdb")
/// >>> recorder["net/rate"]
/// <View net/rate: array of float64, shape [100]>
/// >>> float(recorder["net/rate"][-1])
/// 49.5
#[pyclass(frozen, subclass, weakref, mapping, module = "simrecorder")]
pub(crate) struct Recorder {
    /// `None` while it is being dropped.
    shared: Option<Arc<Shared>>,
    /// The stores as they were passed.
    given: Vec<Py<PyAny>>,
    /// The index of its only store, if it does not write to all.
    only: Option<usize>,
}

#[pymethods]
impl Recorder {
    #[new]
    #[pyo3(signature = (*stores, **options))]
    fn new(stores: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = stores.py();
        let options = recorder_options(options)?;
        if stores.is_empty() {
            let message = "a recorder needs a store or a path, such as Recorder(\"run.mdb\")";
            return Err(wrong_value("create recorder", message));
        }
        let as_store = py.import("simrecorder._places")?.getattr("as_store")?;
        let opened = stores.iter().map(|given| match given.cast::<Store>() {
            Ok(store) => Ok(store.clone()),
            Err(_) => Ok(as_store.call1((given,))?.cast_into::<Store>()?),
        });
        let opened = opened.collect::<PyResult<Vec<_>>>()?;
        let opened: Vec<&Store> = opened.iter().map(Bound::get).collect();
        let stores_of_core: Vec<_> = opened
            .iter()
            .map(|store| Arc::clone(&store.store))
            .collect();
        let recorder = py.detach(|| simrecorder::Recorder::with_options(stores_of_core, options));
        let names = recorder.status().stores.into_iter().map(|store| store.name);
        let sources = names.zip(&opened).map(|(name, store)| Source {
            name,
            location: store.location.clone(),
            store: Arc::clone(&store.store),
        });
        let shared = Shared::new(recorder, sources.collect());
        for (index, store) in opened.iter().enumerate() {
            let mut user = store.user.lock().unwrap_or_else(PoisonError::into_inner);
            *user = Some((Arc::downgrade(&shared), index));
        }
        Ok(Self {
            shared: Some(shared),
            given: stores.iter().map(Bound::unbind).collect(),
            only: None,
        })
    }

    /// A recorder that does nothing, to disable recording without changing the loop.
    #[staticmethod]
    fn disabled() -> Self {
        Self {
            shared: Some(Shared::new(simrecorder::Recorder::disabled(), Vec::new())),
            given: Vec::new(),
            only: None,
        }
    }

    /// Appends a record to the series at `key`. The first record fixes its type and shape.
    #[pyo3(signature = (key, val, datastore=None))]
    fn record(
        &self,
        key: &Bound<'_, PyAny>,
        val: &Bound<'_, PyAny>,
        datastore: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let key = key_of(key)?;
        let shared = self.shared()?;
        if datastore.is_none() && self.only.is_none() {
            let recorder = &shared.recorder;
            return put(&mut RecordSink { recorder, key }, val);
        }
        let recorder = &shared.writer(self.index_of(datastore)?);
        put(&mut RecordSink { recorder, key }, val)
    }

    /// Records each value of a dict, at `prefix/name`.
    fn record_dict(&self, prefix: &str, d: &Bound<'_, PyDict>) -> PyResult<()> {
        let recorder = &self.shared()?.recorder;
        for (name, value) in d {
            let name = key_of(&name)?;
            let key = match prefix {
                "" => name.to_owned(),
                prefix => format!("{}/{name}", prefix.trim_end_matches('/')),
            };
            put(
                &mut RecordSink {
                    recorder,
                    key: &key,
                },
                &value,
            )?;
        }
        Ok(())
    }

    /// Sets the value at `key`, replacing an existing one. `dims` names its dimensions.
    #[pyo3(signature = (key, val, datastore=None, *, dims=None, units=None, attrs=None))]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        val: &Bound<'_, PyAny>,
        datastore: Option<&Bound<'_, PyAny>>,
        dims: Option<Vec<Option<String>>>,
        units: Option<String>,
        attrs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let key = key_of(key)?;
        let recorder = self.shared()?.writer(self.index_of(datastore)?);
        let mut attributes = attrs.map(attributes_of).transpose()?;
        if let (Some(attributes), Some(units)) = (&mut attributes, &units) {
            attributes.insert("units".to_owned(), units.clone().into());
        }
        let sink = &mut SetSink {
            recorder: &recorder,
            key,
            dims,
            units,
        };
        put(sink, val)?;
        match attributes {
            Some(attributes) => {
                let set = || recorder.set_attributes(key, attributes);
                val.py().detach(set).raise()
            }
            None => Ok(()),
        }
    }

    /// The value at `key`, or `default` if there is none. A series is read with `get_all`.
    #[pyo3(signature = (key, datastore=None, default=None))]
    fn get(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        datastore: Option<&Bound<'_, PyAny>>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let key = key_of(key)?;
        let shared = self.shared()?;
        let only = self.index_of(datastore)?;
        let get = || {
            shared.each(simrecorder::Recorder::flush, |_| Ok(()))?;
            match only {
                Some(index) => shared.recorder.store(&shared.sources[index].name)?.get(key),
                None => shared.recorder.get(key),
            }
        };
        let value = py.detach(get).raise()?;
        messages::deliver(py)?;
        match value {
            Some(value) => Ok(to_python(py, &value, key)?.unbind()),
            None => Ok(default.unwrap_or_else(|| py.None())),
        }
    }

    /// A lazy view of the series at `key`, with everything that was recorded so far. If there is no
    /// series, returns `None`, or an empty list if the store is in memory; `recorder[key]` raises a
    /// `KeyError`.
    #[pyo3(signature = (key, datastore=None))]
    fn get_all(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        datastore: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        match self.view(py, key_of(key)?, self.index_of(datastore)?)? {
            Ok(view) => Ok(Py::new(py, view)?.into_any()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let only = self.index_of(datastore)?.unwrap_or(0);
                match self.shared()?.sources.get(only) {
                    Some(source) if source.store.name() == "memory" => {
                        Ok(PyList::empty(py).into_any().unbind())
                    }
                    _ => Ok(py.None()),
                }
            }
            Err(error) => Err(exception(&error)),
        }
    }

    /// The view of a series, or the value, at `key`.
    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let key = key_of(key)?;
        let recorder = &self.shared()?.recorder;
        match py.detach(|| recorder.kind_of(key)).raise()? {
            Some(NodeKind::Value) => {
                let value = py.detach(|| recorder.require(key)).raise()?;
                Ok(to_python(py, &value, key)?.unbind())
            }
            _ => Ok(Py::new(py, self.view(py, key, None)?.raise()?)?.into_any()),
        }
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(key) = key_of(key) else {
            return Ok(false);
        };
        let recorder = &self.shared()?.recorder;
        match py.detach(|| recorder.kind_of(key)) {
            Err(error) if error.kind() == ErrorKind::InvalidKey => Ok(false),
            kind => Ok(kind.raise()?.is_some_and(|kind| kind != NodeKind::Group)),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.keys(py).map(|keys| keys.len())
    }

    /// A recorder is true, even before the first record.
    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        PyList::new(py, self.keys(py)?)?
            .into_any()
            .try_iter()
            .map(Bound::into_any)
    }

    /// The keys of all series and values, sorted.
    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let recorder = &self.shared()?.recorder;
        let keys = py.detach(|| recorder.keys()).raise()?;
        Ok(keys.iter().map(ToString::to_string).collect())
    }

    /// The children of a group: their names, each with "group", "value" or "series".
    #[pyo3(signature = (key=""))]
    fn children<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyDict>> {
        let recorder = &self.shared()?.recorder;
        let children = PyDict::new(py);
        for child in py.detach(|| recorder.children(key)).raise()? {
            children.set_item(child.key.name(), child.kind.as_str())?;
        }
        Ok(children)
    }

    /// The attributes of the group, value or series at `key`; the empty key is the recording.
    #[pyo3(signature = (key=""))]
    fn attributes<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyDict>> {
        let recorder = &self.shared()?.recorder;
        match py.detach(|| recorder.attributes(key)).raise()? {
            Some(attributes) => dict_of(py, &attributes),
            None => Err(PyKeyError::new_err(key.to_owned())),
        }
    }

    /// Replaces the attributes of the group, value or series at `key`; the empty key is the recording.
    fn set_attributes(&self, key: &str, attrs: &Bound<'_, PyDict>) -> PyResult<()> {
        let attributes = attributes_of(attrs)?;
        let recorder = &self.shared()?.recorder;
        attrs
            .py()
            .detach(|| recorder.set_attributes(key, attributes))
            .raise()
    }

    /// Creates a series without records, or describes the one at `key`.
    ///
    /// `dtype` is a NumPy type, `str`, `bytes` or `object`, and `shape` is the shape of one record;
    /// both can be left out for an existing series. `ragged=True` is for rows of different length,
    /// and `shape` is then the shape of an item of a row. `dims` names the dimensions, records
    /// first. `chunks` is the number of records in a chunk, or its shape; `compression` is "none",
    /// "fast", "small" or "lossy:1e-3".
    #[pyo3(signature = (key, dtype=None, shape=Vec::new(), *, ragged=false, dims=None, units=None, attrs=None,
                        chunks=None, compression=None, fill_value=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "all but three of them are keyword arguments in Python"
    )]
    fn declare<'py>(
        &self,
        py: Python<'py>,
        key: &str,
        dtype: Option<&Bound<'py, PyAny>>,
        shape: Vec<u64>,
        ragged: bool,
        dims: Option<Vec<Option<String>>>,
        units: Option<String>,
        attrs: Option<Bound<'py, PyDict>>,
        chunks: Option<Bound<'py, PyAny>>,
        compression: Option<String>,
        fill_value: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let recorder = &self.shared()?.recorder;
        let schema = match dtype {
            Some(dtype) => schema_of(dtype, shape, ragged)?,
            None => {
                let view = py
                    .detach(|| recorder.get_all(key))
                    .map_err(|e| e.with_operation("declare"));
                simrecorder::Schema::clone(view.raise()?.schema())
            }
        };
        let description = Description {
            dims,
            units,
            attrs,
            chunks,
            compression,
            fill_value,
        };
        let schema = description.apply(schema)?;
        py.detach(|| recorder.declare(key, schema)).raise()
    }

    /// Opens the timeline of a group: series with one record per tick, and a coordinate that gives each tick its
    /// time or step. `dtype` is that of the coordinate: float, the default, or int.
    ///
    /// >>> recorder = simrecorder.Recorder("memory:")
    /// >>> with recorder.timeline("net", "time", units="ms") as net:
    /// ...     for step in range(100):
    /// ...         net.advance(0.1 * step)
    /// ...         net.record("rate", 0.5)
    /// >>> recorder["net/rate"].sel(time=slice(1.0, 1.95)).shape
    /// (10,)
    #[pyo3(signature = (group, coordinate, *, dtype=None, units=None, attrs=None))]
    fn timeline(
        &self,
        py: Python<'_>,
        group: &str,
        coordinate: &str,
        dtype: Option<&Bound<'_, PyAny>>,
        units: Option<String>,
        attrs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Timeline> {
        let mut described = simrecorder::Coordinate::new(coordinate);
        if let Some(attrs) = attrs {
            described = described.attributes(attributes_of(attrs)?);
        }
        if let Some(units) = units {
            described = described.units(units);
        }
        Timeline::open(py, &self.shared()?.recorder, group, described, dtype)
    }

    /// Removes every tick after `t` from all timelines whose coordinate is called `name`, in one commit.
    fn rewind(&self, py: Python<'_>, name: &str, t: &Bound<'_, PyAny>) -> PyResult<()> {
        let t = crate::selection::coordinate_number(t)?;
        let recorder = &self.shared()?.recorder;
        py.detach(|| recorder.rewind(name, t)).raise()
    }

    /// Cuts the series at `key` to its first `len` records.
    fn truncate(&self, py: Python<'_>, key: &str, len: u64) -> PyResult<()> {
        let recorder = &self.shared()?.recorder;
        py.detach(|| recorder.truncate(key, len)).raise()
    }

    /// Removes the series, value or group at `key`, with everything below a group.
    fn remove(&self, py: Python<'_>, key: &str) -> PyResult<()> {
        let (shared, key) = (Arc::clone(self.shared()?), key.to_owned());
        interruptible(py, move || shared.recorder.remove(key))?.raise()
    }

    /// Moves the series, value or group at `old` to the key `new`.
    fn rename(&self, py: Python<'_>, old: &str, new: &str) -> PyResult<()> {
        let (shared, old, new) = (Arc::clone(self.shared()?), old.to_owned(), new.to_owned());
        interruptible(py, move || shared.recorder.rename(old, new))?.raise()
    }

    /// Commits everything. When it returns, all records are durable and visible to other processes.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.wait(py, Shared::flush)
    }

    /// Commits everything and writes it in the form that other software reads.
    fn checkpoint(&self, py: Python<'_>) -> PyResult<()> {
        self.wait(py, Shared::checkpoint)
    }

    /// Writes everything and closes the stores. Existing views remain readable.
    ///
    /// After Ctrl-C it raises at once, and closing continues until the interpreter exits.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.wait(py, Shared::close)
    }

    /// The state of the recorder and its stores, as a dict.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        messages::deliver(py)?;
        status_of(py, &self.shared()?.recorder.status())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// The tree of keys.
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let recorder = &self.shared()?.recorder;
        Ok(py.detach(|| recorder.to_string()))
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        Ok(html(&self.__repr__(py)?))
    }

    /// The first of its stores, after all records were committed.
    fn _flushed_store(&self, py: Python<'_>) -> PyResult<Store> {
        let shared = self.shared()?;
        let Some(source) = shared.sources.first() else {
            return Err(wrong_value(
                "read",
                "recording is disabled, so there is nothing to read",
            ));
        };
        if !source.store.is_read_only() {
            self.flush(py)?;
        }
        Ok(Store::of(
            Arc::clone(&source.store),
            source.location.clone(),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.given.iter().try_for_each(|given| visit.call(given))
    }
}

impl Recorder {
    /// A recorder for one of the stores of another recorder, unless that one was closed.
    pub(crate) fn of_store(shared: Arc<Shared>, index: usize) -> Option<Self> {
        let is_closed = |store: &StoreStatus| matches!(store.state, StoreState::Closed);
        let status = shared.recorder.status();
        if status.stores.get(index).is_none_or(is_closed) {
            return None;
        }
        Some(Self {
            shared: Some(shared),
            given: Vec::new(),
            only: Some(index),
        })
    }

    fn shared(&self) -> PyResult<&Arc<Shared>> {
        let dropped = || wrong_value("use", "the recorder no longer exists");
        self.shared.as_ref().ok_or_else(dropped)
    }

    /// Does work that may wait long, then passes messages about it to `logging`.
    fn wait(&self, py: Python<'_>, work: fn(&Shared) -> Result<(), Error>) -> PyResult<()> {
        let shared = Arc::clone(self.shared()?);
        let done = interruptible(py, move || work(&shared))?;
        messages::deliver(py)?;
        done.raise()
    }

    /// The index of a store that was passed to the recorder.
    fn index_of(&self, datastore: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
        let Some(datastore) = datastore.filter(|datastore| !datastore.is_none()) else {
            return Ok(self.only);
        };
        let index = self.given.iter().position(|given| given.is(datastore));
        let message = "this data store does not belong to the recorder";
        index
            .map(Some)
            .ok_or_else(|| wrong_value("choose store", message))
    }

    fn view(
        &self,
        py: Python<'_>,
        key: &str,
        only: Option<usize>,
    ) -> PyResult<Result<View, Error>> {
        let (shared, key) = (Arc::clone(self.shared()?), key.to_owned());
        let view = interruptible(py, move || shared.view_or_reason(&key, only))?;
        messages::deliver(py)?;
        Ok(view.map(|(view, location)| View::new(view, location)))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let shared = self.shared.take();
        // Dropping the last handle writes all records. Other threads need not wait for this.
        Python::try_attach(|py| py.detach(|| drop(shared)));
    }
}

/// Text in a monospaced font, for notebooks.
pub(crate) fn html(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("<pre>{text}</pre>")
}

/// The text of a key.
#[inline]
pub(crate) fn key_of<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    match key.cast::<PyString>() {
        Ok(key) => key.to_str(),
        Err(_) => Err(wrong_type(
            "look up",
            &key.to_string(),
            "a key must be a str",
        )),
    }
}

fn status_of<'py>(py: Python<'py>, status: &Status) -> PyResult<Bound<'py, PyDict>> {
    let stores = PyList::empty(py);
    for store in &status.stores {
        let (state, error) = match &store.state {
            StoreState::Healthy => ("healthy", None),
            StoreState::Closed => ("closed", None),
            StoreState::Failed(error) => ("failed", Some(exception(error).into_value(py))),
            _ => ("unknown", None),
        };
        let entry = PyDict::new(py);
        entry.set_item("name", &store.name)?;
        entry.set_item("state", state)?;
        entry.set_item("error", error)?;
        entry.set_item("queued_bytes", store.queued_bytes)?;
        entry.set_item("committed_record_count", store.committed_record_count)?;
        entry.set_item("commit_count", store.commit_count)?;
        stores.append(entry)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("series_count", status.series_count)?;
    dict.set_item("record_count", status.record_count)?;
    dict.set_item("buffered_bytes", status.buffered_bytes)?;
    dict.set_item("stores", stores)?;
    Ok(dict)
}
