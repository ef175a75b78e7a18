//! Timelines.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyTuple};
use simrecorder::{Coordinate, DType, Error, ErrorKind, IntoValue};

use crate::error::{Raise, exception, wrong_type, wrong_value};
use crate::input::{Sink, put};
use crate::messages;
use crate::recorder::key_of;
use crate::schema::{Description, schema_of};

/// A group whose series have one record per tick; `Recorder.timeline` opens it.
///
/// It is a context manager that finishes the timeline at the end.
///
/// >>> recorder = simrecorder.Recorder("memory:")
/// >>> with recorder.timeline("net", "step", dtype=int) as net:
/// ...     for step in range(10):
/// ...         net.tick(step, {"rate": 0.5, "v": np.zeros(3)})
/// >>> recorder["net/v"].shape
/// (10, 3)
#[pyclass(frozen, weakref, module = "simrecorder")]
pub(crate) struct Timeline {
    /// `None` once it is finished.
    ticks: Mutex<Option<Ticks>>,
    group: String,
    /// The process that opened it.
    process: u32,
}

/// A timeline, by the number type of its coordinate.
enum Ticks {
    F64(simrecorder::Timeline<f64>),
    I64(simrecorder::Timeline<i64>),
    U64(simrecorder::Timeline<u64>),
}

/// Does the same for each number type.
macro_rules! each {
    ($ticks:expr, $timeline:ident => $work:expr) => {
        match $ticks {
            Ticks::F64($timeline) => $work,
            Ticks::I64($timeline) => $work,
            Ticks::U64($timeline) => $work,
        }
    };
}

impl Timeline {
    pub(crate) fn open(
        py: Python<'_>,
        recorder: &simrecorder::Recorder,
        group: &str,
        coordinate: Coordinate,
        dtype: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let dtype = match dtype {
            Some(dtype) => schema_of(dtype, Vec::new(), false)?.dtype(),
            None => {
                let key = key_in(group, coordinate.name());
                let view = py.detach(|| recorder.get_all(key));
                view.ok().and_then(|view| view.dtype())
            }
        };
        let open = || {
            Ok(match dtype {
                None | Some(DType::F64) => Ticks::F64(recorder.timeline(group, coordinate)?),
                Some(DType::I64) => Ticks::I64(recorder.timeline(group, coordinate)?),
                Some(DType::U64) => Ticks::U64(recorder.timeline(group, coordinate)?),
                Some(other) => {
                    let message =
                        format!("a coordinate must be float64, int64 or uint64, not {other}");
                    return Err(
                        Error::new(ErrorKind::InvalidArgument, "timeline", message).with_key(group)
                    );
                }
            })
        };
        let ticks = py.detach(open).raise()?;
        Ok(Self {
            ticks: Mutex::new(Some(ticks)),
            group: group.to_owned(),
            process: std::process::id(),
        })
    }

    fn lock(
        &self,
        py: Python<'_>,
        operation: &'static str,
    ) -> PyResult<MutexGuard<'_, Option<Ticks>>> {
        match self.ticks.try_lock() {
            Ok(locked) => Ok(locked),
            Err(_) if std::process::id() != self.process => {
                let message = "the process that opened the timeline forked this one";
                Err(self.refusal(ErrorKind::Forked, operation, message))
            }
            Err(_) => {
                let locked = self.ticks.lock_py_attached(py);
                Ok(locked.unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Does `work` with the timeline.
    fn with<T>(
        &self,
        py: Python<'_>,
        operation: &'static str,
        work: impl FnOnce(&mut Ticks) -> PyResult<T>,
    ) -> PyResult<T> {
        match &mut *self.lock(py, operation)? {
            Some(ticks) => work(ticks),
            None => {
                let message = "the timeline was finished; open it again with recorder.timeline()";
                Err(self.refusal(ErrorKind::Closed, operation, message))
            }
        }
    }

    fn refusal(&self, kind: ErrorKind, operation: &'static str, message: &str) -> PyErr {
        exception(&Error::new(kind, operation, message).with_key(self.group.as_str()))
    }

    /// Takes the timeline, unless it was finished.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Ticks>> {
        let locked = self.lock(py, "finish");
        locked.map(|mut locked| locked.take())
    }
}

#[pymethods]
impl Timeline {
    /// Begins the tick at `t`, and completes the previous one.
    fn advance(&self, py: Python<'_>, t: &Bound<'_, PyAny>) -> PyResult<()> {
        self.with(py, "advance", |ticks| advance(py, ticks, t))
    }

    /// Records the open tick of the series called `name`.
    fn record(&self, name: &Bound<'_, PyAny>, val: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = key_of(name)?;
        self.with(val.py(), "record", |ticks| {
            put(&mut self.sink(ticks, name), val)
        })
    }

    /// Records the open tick of each series that a dict names.
    fn record_dict(&self, d: &Bound<'_, PyDict>) -> PyResult<()> {
        self.with(d.py(), "record", |ticks| self.record_all(ticks, d))
    }

    /// Begins the tick at `t` and records all of it. The tick is complete when this returns; if a
    /// part of it is rejected, the whole tick is discarded.
    #[pyo3(signature = (t, records=None, **more))]
    fn tick(
        &self,
        t: &Bound<'_, PyAny>,
        records: Option<&Bound<'_, PyDict>>,
        more: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = t.py();
        self.with(py, "tick", |ticks| {
            advance(py, ticks, t)?;
            let recorded = [records, more].into_iter().flatten();
            let recorded = recorded.map(|records| self.record_all(ticks, records));
            let done = recorded.collect::<PyResult<()>>().and_then(|()| {
                py.detach(|| each!(ticks, timeline => timeline.complete_tick()))
                    .raise()
            });
            if done.is_err() {
                each!(ticks, timeline => timeline.discard_tick());
            }
            done
        })
    }

    /// Creates a series without records, or describes the existing one, like `Recorder.declare`. A
    /// series with a fill value gets it in ticks for which nothing is recorded.
    #[pyo3(signature = (name, dtype=None, shape=Vec::new(), *, ragged=false, dims=None, units=None,
                        attrs=None, chunks=None, compression=None, fill_value=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "all but three of them are keyword arguments in Python"
    )]
    fn declare<'py>(
        &self,
        py: Python<'py>,
        name: &str,
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
        let Some(dtype) = dtype else {
            return Err(wrong_value(
                "declare",
                "a series of a timeline is declared with its dtype",
            ));
        };
        let description = Description {
            dims,
            units,
            attrs,
            chunks,
            compression,
            fill_value,
        };
        let schema = description.apply(schema_of(dtype, shape, ragged)?)?;
        self.with(py, "declare", |ticks| {
            py.detach(|| each!(ticks, timeline => timeline.declare(name, schema)))
                .raise()
        })
    }

    /// Discards the open tick and everything that was recorded in it.
    fn discard_tick(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, "discard tick", |ticks| {
            each!(ticks, timeline => timeline.discard_tick());
            Ok(())
        })
    }

    /// Removes every tick after `t`, from all series in one commit.
    fn rewind(&self, py: Python<'_>, t: &Bound<'_, PyAny>) -> PyResult<()> {
        self.with(py, "rewind", |ticks| {
            each!(ticks, timeline => {
                let t = t.extract()?;
                py.detach(|| timeline.rewind(t)).raise()
            })
        })
    }

    /// The coordinate of the last complete tick; `None` if there is none.
    #[getter]
    fn last(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.with(py, "last", |ticks| {
            each!(ticks, timeline => {
                let last = timeline.last().map(|t| t.into_pyobject(py));
                Ok(last.transpose()?.map(|t| t.into_any().unbind()))
            })
        })
    }

    /// The number of complete ticks.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, "len", |ticks| {
            let len = each!(ticks, timeline => timeline.len());
            Ok(usize::try_from(len).unwrap_or(usize::MAX))
        })
    }

    /// Completes the open tick and ends the timeline. `Recorder.timeline` can continue it.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let finished = match self.take(py)? {
            Some(ticks) => py
                .detach(|| each!(ticks, timeline => timeline.finish()))
                .raise(),
            None => Ok(()),
        };
        messages::deliver(py)?;
        finished
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Finishes the timeline. After an exception, an incomplete tick is discarded.
    #[pyo3(signature = (kind, *_exception))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        if kind.is_none() {
            return self.finish(py);
        }
        let ticks = self.take(py)?;
        py.detach(|| drop(ticks));
        messages::deliver(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = match self.with(py, "print", |ticks| {
            Ok(each!(ticks, timeline => timeline.len()))
        }) {
            Ok(len) => format!("{len} ticks"),
            Err(_) => "finished".to_owned(),
        };
        Ok(format!("<Timeline '{}': {state}>", self.group))
    }
}

impl Timeline {
    fn sink<'a>(&'a self, ticks: &'a mut Ticks, name: &'a str) -> TickSink<'a> {
        TickSink {
            ticks,
            group: &self.group,
            name,
        }
    }

    fn record_all(&self, ticks: &mut Ticks, records: &Bound<'_, PyDict>) -> PyResult<()> {
        records
            .iter()
            .try_for_each(|(name, value)| put(&mut self.sink(ticks, key_of(&name)?), &value))
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        let ticks = self
            .ticks
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Python::try_attach(|py| py.detach(|| drop(ticks)));
    }
}

fn advance(py: Python<'_>, ticks: &mut Ticks, t: &Bound<'_, PyAny>) -> PyResult<()> {
    macro_rules! advance {
        ($timeline:expr, $t:expr) => {{
            let t = $t;
            match $timeline.advance_at_once(t).raise()? {
                true => Ok(()),
                false => {
                    let advanced = py.detach(|| $timeline.advance(t));
                    messages::deliver(py)?;
                    advanced.raise()
                }
            }
        }};
    }
    let whole = |what: &str| {
        let message =
            format!("the coordinate of this timeline is {what}; convert it, as in int(t)");
        wrong_type("advance", &t.to_string(), message)
    };
    match ticks {
        Ticks::F64(timeline) => advance!(timeline, t.extract()?),
        Ticks::I64(timeline) => advance!(timeline, t.extract().map_err(|_| whole("int64"))?),
        Ticks::U64(timeline) => advance!(timeline, t.extract().map_err(|_| whole("uint64"))?),
    }
}

/// The key of a series in a group.
fn key_in(group: &str, name: &str) -> String {
    match group {
        "" => name.to_owned(),
        group => format!("{group}/{name}"),
    }
}

/// Receives the record of a series in the open tick.
struct TickSink<'a> {
    ticks: &'a mut Ticks,
    group: &'a str,
    name: &'a str,
}

impl Sink for TickSink<'_> {
    const OPERATION: &'static str = "record";

    fn key(&self) -> String {
        key_in(self.group, self.name)
    }

    #[inline]
    fn put<V: IntoValue + Send + Sync>(
        &mut self,
        py: Python<'_>,
        value: &V,
        is_large: bool,
    ) -> Result<(), Error> {
        each!(&mut *self.ticks, timeline => {
            if !is_large && timeline.record_at_once(self.name, value)? {
                return Ok(());
            }
            py.detach(|| timeline.record(self.name, value))
        })
    }
}
