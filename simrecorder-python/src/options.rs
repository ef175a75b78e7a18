//! The options of a recorder.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use simrecorder::{MemoryPolicy, OnDivergence, OnStoreError, RecorderOptions};

use crate::error::wrong_value;
use crate::recorder::key_of;

const OPERATION: &str = "create recorder";

/// The options in keyword arguments.
pub(crate) fn recorder_options(given: Option<&Bound<'_, PyDict>>) -> PyResult<RecorderOptions> {
    let mut options = RecorderOptions::new();
    for (name, value) in given.into_iter().flatten() {
        options = match key_of(&name)? {
            "memory_bound" => options.memory_bound(value.extract()?),
            "memory_policy" => options.memory_policy(one_of(
                &value,
                &[
                    ("block", MemoryPolicy::Block),
                    ("error", MemoryPolicy::Error),
                ],
            )?),
            "commit_interval" => options.commit_interval(interval(&value)?),
            "checkpoint_interval" => options.checkpoint_interval(interval(&value)?),
            "encoding_threads" => options.encoding_threads(value.extract()?),
            "on_store_error" => options.on_store_error(one_of(
                &value,
                &[
                    ("stop", OnStoreError::Stop),
                    ("detach", OnStoreError::Detach),
                ],
            )?),
            "on_divergence" => options.on_divergence(one_of(
                &value,
                &[
                    ("error", OnDivergence::Error),
                    ("cut-to-shortest", OnDivergence::CutToShortest),
                    ("shared-may-differ", OnDivergence::SharedMayDiffer),
                ],
            )?),
            other => {
                let message = format!(
                    "unknown option '{other}'; the options are memory_bound, memory_policy, commit_interval, \
                     checkpoint_interval, encoding_threads, on_store_error and on_divergence"
                );
                return Err(pyo3::exceptions::PyTypeError::new_err(message));
            }
        };
    }
    Ok(options)
}

/// The choice that a text names.
fn one_of<T: Copy>(value: &Bound<'_, PyAny>, choices: &[(&str, T)]) -> PyResult<T> {
    let text = key_of(value)?;
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        wrong_value(
            OPERATION,
            format!("'{text}' is not one of: {}", names.join(", ")),
        )
    })
}

/// Seconds, or `None` for never.
fn interval(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let seconds: Option<f64> = value.extract()?;
    let interval = seconds.map(Duration::try_from_secs_f64).transpose();
    interval.map_err(|_| {
        wrong_value(
            OPERATION,
            "an interval must be a positive number of seconds",
        )
    })
}
