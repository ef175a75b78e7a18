//! Records and values as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use simrecorder::{Error, ErrorKind, Value};

use crate::element;
use crate::error::exception;
use crate::objects::decode_object;

/// The Python object for a value: a NumPy array or scalar, text, bytes, or the recorded object.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    value: &Value,
    key: &str,
) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Array(array) => element::array_of(py, array),
        Value::Text(text) => Ok(PyString::new(py, text).into_any()),
        Value::Bytes(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Value::Object(object) => decode_object(py, object.as_msgpack()).map_err(|error| {
            let message = error.value(py).to_string();
            exception(&Error::new(ErrorKind::Corrupt, "read", message).with_key(key))
        }),
        _ => {
            let message = "this version of the package does not support this kind of record";
            Err(exception(
                &Error::new(ErrorKind::Unsupported, "read", message).with_key(key),
            ))
        }
    }
}
