//! Copying, draining and verifying recordings.

use std::ops::ControlFlow;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use simrecorder::{
    CopyOptions, CopyProgress, DrainOptions, DrainProgress, Error, Key, VerifyOptions,
    VerifyProgress,
};

use crate::error::{Raise, exception};
use crate::store::Store;

/// Reports the progress to a Python function, with a dict, and checks for Ctrl-C. If the function
/// raises or returns `False`, the work ends.
struct Progress {
    tell: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Progress {
    fn new(tell: Option<Py<PyAny>>) -> Self {
        Self { tell, raised: None }
    }

    fn report(&mut self, facts: &[(&str, u64)], key: &Key) -> ControlFlow<()> {
        let told = Python::attach(|py| {
            py.check_signals()?;
            let Some(tell) = &self.tell else {
                return Ok(true);
            };
            let dict = PyDict::new(py);
            dict.set_item("key", key.as_str())?;
            for (name, number) in facts {
                dict.set_item(name, number)?;
            }
            let answer = tell.call1(py, (dict,))?;
            PyResult::Ok(!answer.bind(py).is(pyo3::types::PyBool::new(py, false)))
        });
        match told {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                self.raised = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// The exception of the function, or otherwise the result.
    fn end<T>(self, result: Result<T, Error>) -> PyResult<T> {
        match self.raised {
            Some(error) => Err(error),
            None => result.raise(),
        }
    }
}

fn copied(progress: &CopyProgress) -> [(&'static str, u64); 5] {
    [
        ("key_count", progress.key_count),
        ("key_total", progress.key_total),
        ("record_count", progress.record_count),
        ("record_total", progress.record_total),
        ("bytes", progress.bytes),
    ]
}

fn drained(progress: &DrainProgress) -> [(&'static str, u64); 3] {
    [
        ("key_count", progress.key_count),
        ("record_count", progress.record_count),
        ("bytes", progress.bytes),
    ]
}

fn dict_of<'py>(py: Python<'py>, facts: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    facts
        .iter()
        .try_for_each(|(name, number)| dict.set_item(name, number))?;
    Ok(dict)
}

/// Copies a recording, or the keys that match patterns, into another store.
#[pyfunction]
#[pyo3(signature = (source, target, include, exclude, reencode, progress))]
pub(crate) fn _copy<'py>(
    py: Python<'py>,
    source: &Store,
    target: &Store,
    include: Vec<String>,
    exclude: Vec<String>,
    reencode: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (source, target) = (Arc::clone(&source.store), Arc::clone(&target.store));
    let mut telling = Progress::new(progress);
    let result = py.detach(|| {
        let options = CopyOptions::new().reencode(reencode);
        let options = include.into_iter().fold(options, CopyOptions::include);
        let options = exclude.into_iter().fold(options, CopyOptions::exclude);
        let options =
            options.on_progress(|progress| telling.report(&copied(progress), &progress.key));
        simrecorder::copy(&*source, &*target, options)
    });
    dict_of(py, &copied(&telling.end(result)?))
}

/// Moves records from a server into a file, and frees them on the server.
#[pyfunction]
#[pyo3(signature = (source, target, include, exclude, progress))]
pub(crate) fn _drain<'py>(
    py: Python<'py>,
    source: &Store,
    target: &Store,
    include: Vec<String>,
    exclude: Vec<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (source, target) = (Arc::clone(&source.store), Arc::clone(&target.store));
    let mut telling = Progress::new(progress);
    let result = py.detach(|| {
        let options = DrainOptions::new();
        let options = include.into_iter().fold(options, DrainOptions::include);
        let options = exclude.into_iter().fold(options, DrainOptions::exclude);
        let options =
            options.on_progress(|progress| telling.report(&drained(progress), &progress.key));
        simrecorder::drain(&*source, &*target, options)
    });
    dict_of(py, &drained(&telling.end(result)?))
}

/// Reads everything. Returns the damage: `(key, first record or None, end, error)`.
#[pyfunction]
#[pyo3(signature = (store, progress))]
pub(crate) fn _verify<'py>(
    py: Python<'py>,
    store: &Store,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let store = Arc::clone(&store.store);
    let mut telling = Progress::new(progress);
    let result = py.detach(|| {
        let tell = |progress: &VerifyProgress| {
            let facts = [
                ("key_count", progress.key_count),
                ("record_count", progress.record_count),
            ];
            telling.report(&facts, &progress.key)
        };
        simrecorder::verify_with(&*store, VerifyOptions::new().on_progress(tell))
    });
    let found = PyList::empty(py);
    for key in telling.end(result)?.damaged() {
        for damage in &key.damage {
            let records = damage
                .records
                .clone()
                .map(|records| (records.start, records.end));
            let error = exception(&damage.error).into_value(py);
            found.append((key.key.as_str(), records, error))?;
        }
    }
    Ok(found)
}
