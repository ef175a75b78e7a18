//! The targets of a recorder's values: series, and keys.

use pyo3::prelude::*;
use simrecorder::{Error, IntoValue, Labeled};

use crate::input::Sink;

/// Receives the records of a series.
pub(crate) struct RecordSink<'a> {
    pub(crate) recorder: &'a simrecorder::Recorder,
    pub(crate) key: &'a str,
}

impl Sink for RecordSink<'_> {
    const OPERATION: &'static str = "record";

    fn key(&self) -> String {
        self.key.to_owned()
    }

    #[inline]
    fn put<V: IntoValue + Send + Sync>(
        &mut self,
        py: Python<'_>,
        value: &V,
        is_large: bool,
    ) -> Result<(), Error> {
        if !is_large && self.recorder.record_at_once(self.key, value)? {
            return Ok(());
        }
        py.detach(|| self.recorder.record(self.key, value))
    }
}

/// Receives a value.
pub(crate) struct SetSink<'a> {
    pub(crate) recorder: &'a simrecorder::Recorder,
    pub(crate) key: &'a str,
    pub(crate) dims: Option<Vec<Option<String>>>,
    pub(crate) units: Option<String>,
}

impl Sink for SetSink<'_> {
    const OPERATION: &'static str = "set";

    fn key(&self) -> String {
        self.key.to_owned()
    }

    fn put<V: IntoValue + Send + Sync>(
        &mut self,
        py: Python<'_>,
        value: &V,
        _: bool,
    ) -> Result<(), Error> {
        let mut labeled = match self.dims.take() {
            Some(dims) => Labeled::new(value, dims),
            None => Labeled::unnamed(value),
        };
        if let Some(units) = self.units.take() {
            labeled = labeled.units(units);
        }
        py.detach(|| self.recorder.set(self.key, labeled))
    }
}
