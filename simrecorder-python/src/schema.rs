//! Arguments that describe series: their types, dimensions, chunks and compression.

use numpy::PyArrayDescr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use simrecorder::{ArrayValue, ChunkPolicy, Compression, Kind, Schema};

use crate::element::{bytes_of, dtype_of};
use crate::error::{Raise, wrong_type, wrong_value};
use crate::input::as_array;
use crate::json::attributes_of;

const OPERATION: &str = "declare";

/// The description of a series in `declare`, in addition to its type.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Description<'py> {
    pub(crate) dims: Option<Vec<Option<String>>>,
    pub(crate) units: Option<String>,
    pub(crate) attrs: Option<Bound<'py, PyDict>>,
    pub(crate) chunks: Option<Bound<'py, PyAny>>,
    pub(crate) compression: Option<String>,
    pub(crate) fill_value: Option<Bound<'py, PyAny>>,
}

impl Description<'_> {
    /// Adds the description to a schema.
    pub(crate) fn apply(&self, mut schema: Schema) -> PyResult<Schema> {
        if let Some(attrs) = &self.attrs {
            schema = schema.with_attributes(attributes_of(attrs)?);
        }
        if let Some(units) = &self.units {
            schema = schema.with_units(units);
        }
        if let Some(dims) = &self.dims {
            schema = schema.with_dimension_names(dims.iter().cloned());
        }
        if let Some(chunks) = &self.chunks {
            schema = schema.with_chunk_policy(chunk_policy(chunks)?);
        }
        if let Some(compression) = &self.compression {
            schema = schema.with_compression(compression_of(compression)?);
        }
        if let Some(fill_value) = &self.fill_value {
            let Some(dtype) = schema.dtype() else {
                let message = "only arrays and ragged series have a fill value";
                return Err(wrong_value(OPERATION, message));
            };
            let descr = crate::element::descr_of(fill_value.py(), dtype)?;
            let array = as_array(fill_value)?.call_method1("astype", (descr,))?;
            let array = as_array(&array)?;
            let value = ArrayValue::from_bytes(dtype, Vec::new(), bytes_of(&array).to_vec());
            schema = schema.with_fill_value_of(value.raise()?);
        }
        Ok(schema)
    }
}

/// The schema of series whose records have this type and shape. `str`, `bytes` and `object` are
/// kinds.
pub(crate) fn schema_of(
    dtype: &Bound<'_, PyAny>,
    shape: Vec<u64>,
    is_ragged: bool,
) -> PyResult<Schema> {
    let py = dtype.py();
    let named = dtype.extract::<String>().unwrap_or_default();
    let is = |class: &Bound<'_, PyType>, name: &str| dtype.is(class) || named == name;
    let variable = if is(&py.get_type::<PyString>(), "str") {
        Some(Schema::text())
    } else if is(&py.get_type::<PyBytes>(), "bytes") {
        Some(Schema::bytes())
    } else if is(&py.get_type::<PyAny>(), "object") {
        Some(Schema::object())
    } else {
        None
    };
    if let Some(schema) = variable {
        return match shape.is_empty() && !is_ragged {
            true => Ok(schema),
            false => Err(wrong_value(
                OPERATION,
                "text, bytes and objects have no shape",
            )),
        };
    }
    let descr = match named.as_str() {
        "bfloat16" => crate::element::descr_of(py, simrecorder::DType::BF16)?,
        _ => PyArrayDescr::new(py, dtype)?,
    };
    let Some(dtype) = dtype_of(&descr) else {
        let message = format!("series cannot have elements of type {descr}");
        return Err(wrong_type(OPERATION, "", message));
    };
    Ok(match is_ragged {
        true => Schema::ragged_of(dtype, shape),
        false => Schema::array_of(dtype, shape),
    })
}

/// A number of records, or the shape of a chunk.
fn chunk_policy(chunks: &Bound<'_, PyAny>) -> PyResult<ChunkPolicy> {
    match chunks.extract::<u64>() {
        Ok(records) => Ok(ChunkPolicy::records(records)),
        Err(_) => ChunkPolicy::shape(chunks.extract::<Vec<u64>>()?).raise(),
    }
}

/// `"none"`, `"fast"`, `"small"` or `"lossy:1e-3"`.
pub(crate) fn compression_of(text: &str) -> PyResult<Compression> {
    text.parse::<Compression>().raise()
}

/// The NumPy type of the records of a series: `object` if they are not arrays of one shape.
pub(crate) fn element_type<'py>(
    py: Python<'py>,
    schema: &Schema,
) -> PyResult<Bound<'py, PyArrayDescr>> {
    match (schema.kind(), schema.dtype()) {
        (Kind::Array, Some(dtype)) => crate::element::descr_of(py, dtype),
        _ => Ok(PyArrayDescr::object(py)),
    }
}
