//! Attributes: Python dicts as JSON, and the reverse.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value};
use simrecorder::Attributes;

use crate::error::{wrong_type, wrong_value};

const OPERATION: &str = "attributes";

/// The maximum nesting. Values that contain themselves exceed it.
const MAX_DEPTH: usize = 100;

/// The attributes in a dict.
pub(crate) fn attributes_of(dict: &Bound<'_, PyDict>) -> PyResult<Attributes> {
    object_of(dict, 0)
}

fn object_of(dict: &Bound<'_, PyDict>, depth: usize) -> PyResult<Map<String, Value>> {
    let entry = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| match name.cast::<PyString>()
    {
        Ok(name) => Ok((name.to_str()?.to_owned(), json_of(&value, depth + 1)?)),
        Err(_) => Err(wrong_type(
            OPERATION,
            &name.to_string(),
            "the name of an attribute must be a str",
        )),
    };
    dict.iter().map(entry).collect()
}

/// A value as JSON. NumPy arrays and scalars become lists and numbers.
pub(crate) fn json_of(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        return Err(wrong_value(
            OPERATION,
            "an attribute is nested too deeply, or contains itself",
        ));
    }
    let list = |items: Vec<Bound<'_, PyAny>>| {
        let items = items.iter().map(|item| json_of(item, depth + 1));
        items.collect::<PyResult<_>>().map(Value::Array)
    };
    if value.is_none() {
        Ok(Value::Null)
    } else if let Ok(flag) = value.cast::<PyBool>() {
        Ok(Value::Bool(flag.is_true()))
    } else if value.is_instance_of::<PyInt>() {
        let number = match (value.extract::<i64>(), value.extract::<u64>()) {
            (Ok(number), _) => Number::from(number),
            (_, Ok(number)) => Number::from(number),
            _ => return Err(wrong_value(OPERATION, "an int does not fit into 64 bits")),
        };
        Ok(Value::Number(number))
    } else if let Ok(number) = value.cast::<PyFloat>() {
        let number = Number::from_f64(number.value());
        let message = "JSON has no NaN and no infinity; write it as text";
        number
            .map(Value::Number)
            .ok_or_else(|| wrong_value(OPERATION, message))
    } else if let Ok(text) = value.cast::<PyString>() {
        Ok(Value::String(text.to_str()?.to_owned()))
    } else if let Ok(items) = value.cast::<PyList>() {
        list(items.iter().collect())
    } else if let Ok(items) = value.cast::<PyTuple>() {
        list(items.iter().collect())
    } else if let Ok(dict) = value.cast::<PyDict>() {
        object_of(dict, depth).map(Value::Object)
    } else if value.hasattr(intern!(value.py(), "tolist"))? {
        json_of(
            &value.call_method0(intern!(value.py(), "tolist"))?,
            depth + 1,
        )
    } else {
        let name = value.get_type().name()?;
        let message = format!("an attribute cannot be of type {name}: attributes are JSON");
        Err(wrong_type(OPERATION, "", message))
    }
}

/// Attributes as a new dict.
pub(crate) fn dict_of<'py>(
    py: Python<'py>,
    attributes: &Attributes,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in attributes {
        dict.set_item(name, to_python(py, value)?)?;
    }
    Ok(dict)
}

fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (_, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_python(py, item));
            PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Value::Object(object) => dict_of(py, object)?.into_any(),
    })
}
