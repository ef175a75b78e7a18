//! Errors of simrecorder as Python exceptions; the classes are in `_errors.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use simrecorder::{Error, ErrorKind};

/// Converts errors of simrecorder into exceptions.
pub(crate) trait Raise<T> {
    fn raise(self) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T, Error> {
    #[inline]
    fn raise(self) -> PyResult<T> {
        self.map_err(|error| exception(&error))
    }
}

/// The exception for an error, with the same message.
#[cold]
pub(crate) fn exception(error: &Error) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Python::attach(|py| {
        let make = MAKE.import(py, "simrecorder._errors", "make_exception");
        let made = make.and_then(|make| {
            make.call1((
                format!("{:?}", error.kind()),
                error.to_string(),
                error.operation(),
                error.key(),
                error.is_retryable(),
            ))
        });
        made.map_or_else(|failed| failed, PyErr::from_value)
    })
}

/// A `TypeError` for the argument `key`.
pub(crate) fn wrong_type(operation: &'static str, key: &str, message: impl Into<String>) -> PyErr {
    exception(&Error::new(ErrorKind::TypeMismatch, operation, message).with_key(key))
}

/// A `ValueError` about an argument.
pub(crate) fn wrong_value(operation: &'static str, message: impl Into<String>) -> PyErr {
    exception(&Error::new(ErrorKind::InvalidArgument, operation, message))
}
