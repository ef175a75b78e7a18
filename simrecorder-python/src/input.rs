//! Converts Python objects into records.

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyInt, PyList, PyMemoryView,
    PyString, PyTuple,
};
use simrecorder::backend::RecordRef;
use simrecorder::num_complex::Complex64;
use simrecorder::{Blob, DType, Error, ErrorKind, IntoValue, Kind, ObjectValue, Value};

use crate::element;
use crate::error::{Raise, exception};
use crate::objects::encode_object;

/// Larger copies release the interpreter's lock.
const LARGE: usize = 64 << 10;

/// The target of a record or a value.
pub(crate) trait Sink {
    /// The operation, for errors.
    const OPERATION: &'static str;

    /// The key, for errors.
    fn key(&self) -> String;

    /// Stores a value. Releases the interpreter's lock if this has to wait, or if `is_large`.
    fn put<V: IntoValue + Send + Sync>(
        &mut self,
        py: Python<'_>,
        value: &V,
        is_large: bool,
    ) -> Result<(), Error>;
}

/// A row of an array series whose rows differ in length.
///
/// Wraps an array whose first axis may have another length in each record.
///
/// >>> import simrecorder
/// >>> recorder = simrecorder.Recorder("memory:")
/// >>> recorder.record("spikes", simrecorder.Ragged([3, 1, 4]))
/// >>> recorder.record("spikes", simrecorder.Ragged([1]))
/// >>> [row.tolist() for row in recorder["spikes"]]
/// [[3, 1, 4], [1]]
#[pyclass(frozen, module = "simrecorder")]
#[derive(Debug)]
pub(crate) struct Ragged {
    row: Py<PyAny>,
}

#[pymethods]
impl Ragged {
    #[new]
    fn new(row: Py<PyAny>) -> Self {
        Self { row }
    }
}

/// Passes a Python value to a sink.
#[inline]
pub(crate) fn put(sink: &mut impl Sink, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    if value.is_exact_instance_of::<PyFloat>() {
        return put_float(sink, py, value.extract()?);
    }
    put_other(sink, value)
}

fn put_float(sink: &mut impl Sink, py: Python<'_>, number: f64) -> PyResult<()> {
    sink.put(py, &number, false).raise()
}

fn put_other<S: Sink>(sink: &mut S, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return put_array(sink, array, Kind::Array);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return sink.put(py, &flag.is_true(), false).raise();
    }
    if value.is_instance_of::<PyInt>() {
        return put_int(sink, value);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return put_float(sink, py, number.value());
    }
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str()?;
        return sink.put(py, &text, text.len() > LARGE).raise();
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        return sink.put(py, &Blob(bytes), bytes.len() > LARGE).raise();
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return sink.put(py, &Blob(bytes.to_vec()), true).raise();
    }
    if let Ok(ragged) = value.cast::<Ragged>() {
        return put_ragged(sink, ragged.get().row.bind(py));
    }
    if let Ok(number) = value.cast::<PyComplex>() {
        let number = Complex64::new(number.real(), number.imag());
        return sink.put(py, &number, false).raise();
    }
    let is_object = value.is_none()
        || value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PyDict>();
    if !is_object && let Some(array) = plain_array(value).map_err(|e| named(sink, py, &e))? {
        return put_array(sink, &array, Kind::Array);
    }
    let object = encode_object(value).map_err(|e| named(sink, py, &e))?;
    let object = Value::Object(ObjectValue::from_msgpack(object));
    sink.put(py, &object, true).raise()
}

/// Adds the operation and the key to the error for a value.
fn named<S: Sink>(sink: &S, py: Python<'_>, error: &PyErr) -> PyErr {
    let kind = if error.is_instance_of::<pyo3::exceptions::PyTypeError>(py) {
        ErrorKind::TypeMismatch
    } else if error.is_instance_of::<PyValueError>(py) {
        ErrorKind::InvalidArgument
    } else {
        return error.clone_ref(py);
    };
    let message = error.value(py).to_string();
    exception(&Error::new(kind, S::OPERATION, message).with_key(sink.key()))
}

/// An int is recorded as int64, or in the type of its series if that has an equal number.
fn put_int<S: Sink>(sink: &mut S, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let Ok(number) = value.extract::<i128>() else {
        return Err(too_large(sink));
    };
    let mut mismatch = None;
    macro_rules! put_as {
        ($($type:ty),*) => {$(
            if let Ok(number) = <$type>::try_from(number)
                && is_put(sink.put(py, &number, false), &mut mismatch)?
            {
                return Ok(());
            }
        )*};
    }
    macro_rules! put_as_real {
        ($($type:ty),*) => {$(
            let real = number as $type;
            if real as i128 == number && is_put(sink.put(py, &real, false), &mut mismatch)? {
                return Ok(());
            }
        )*};
    }
    put_as!(i64);
    if mismatch.is_none() {
        put_as!(u64);
    }
    if mismatch.is_some() {
        put_as_real!(f64, f32);
        put_as!(u64, i32, u32, i16, u16, i8, u8);
    }
    Err(mismatch.map_or_else(|| too_large(sink), |error| exception(&error)))
}

/// Whether a record was accepted. Returns `false` if its type is not that of the series, and stores
/// the first such error in `mismatch`.
fn is_put(result: Result<(), Error>, mismatch: &mut Option<Error>) -> PyResult<bool> {
    match result {
        Err(error) if error.kind() == ErrorKind::SchemaMismatch => {
            mismatch.get_or_insert(error);
            Ok(false)
        }
        result => result.map(|()| true).raise(),
    }
}

fn too_large<S: Sink>(sink: &S) -> PyErr {
    let message = "this int does not fit into 64 bits; record it as a float or as text";
    exception(&Error::new(ErrorKind::InvalidArgument, S::OPERATION, message).with_key(sink.key()))
}

fn put_array<S: Sink>(sink: &mut S, array: &Bound<'_, PyUntypedArray>, kind: Kind) -> PyResult<()> {
    let py = array.py();
    let put = |sink: &mut S, array: &Bound<'_, PyUntypedArray>, dtype| {
        let bytes = element::bytes_of(array);
        let record = RecordRef::of_bytes(kind, dtype, array.shape(), bytes);
        let record = record.map_err(|e| e.with_key(sink.key()).with_operation(S::OPERATION));
        sink.put(py, &record.raise()?, bytes.len() > LARGE).raise()
    };
    match recordable(array) {
        Some(dtype) => put(sink, array, dtype),
        None => {
            let array = contiguous(array).map_err(|e| named(sink, py, &e))?;
            let dtype = element::dtype_of(&array.dtype());
            let dtype = dtype.ok_or_else(|| named(sink, py, &no_elements(&array)))?;
            put(sink, &array, dtype)
        }
    }
}

fn put_ragged<S: Sink>(sink: &mut S, row: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = row.py();
    let array = as_array(row).map_err(|e| named(sink, py, &e))?;
    if !array.is_empty() || row.is_instance_of::<PyUntypedArray>() {
        return put_array(sink, &array, Kind::Ragged);
    }
    // NumPy converts an empty list to float64, but it has elements of any type.
    let mut mismatch = None;
    for dtype in [DType::F64, DType::I64].into_iter().chain(DType::ALL) {
        let record = RecordRef::of_bytes(Kind::Ragged, dtype, array.shape(), &[]).raise()?;
        if is_put(sink.put(py, &record, false), &mut mismatch)? {
            return Ok(());
        }
    }
    put_array(sink, &array, Kind::Ragged)
}

/// The element type of an array that is recorded without conversion.
#[inline]
fn recordable(array: &Bound<'_, PyUntypedArray>) -> Option<DType> {
    let descr = array.dtype();
    let is_plain = array.is_c_contiguous()
        && descr.byteorder() != b'>'
        && array.get_type().is(ndarray(array.py())?);
    is_plain.then(|| element::dtype_of(&descr))?
}

/// The type `numpy.ndarray`.
fn ndarray(py: Python<'_>) -> Option<&Bound<'_, PyAny>> {
    static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    NDARRAY.import(py, "numpy", "ndarray").ok()
}

/// The same array with contiguous elements, in row-major order and in the machine's byte order. If
/// the array cannot be recorded, raises a `TypeError` with advice.
fn contiguous<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static MASKED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static CONTIGUOUS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = array.py();
    if array.is_instance(MASKED.import(py, "numpy.ma", "MaskedArray")?)? {
        let message = "masked elements cannot be recorded; record x.filled(value) \
                       or, if nothing is masked, x.data";
        return Err(pyo3::exceptions::PyTypeError::new_err(message));
    }
    if element::dtype_of(&array.dtype()).is_none() {
        return Err(no_elements(array));
    }
    let native = array
        .dtype()
        .call_method1(intern!(py, "newbyteorder"), ("=",))?;
    let made = CONTIGUOUS.import(py, "numpy", "ascontiguousarray")?;
    let made = made.call1((array, native))?;
    // This turns a scalar into an array with one axis.
    let made = made.call_method1(intern!(py, "reshape"), (array.shape(),))?;
    Ok(made.cast_into()?)
}

/// The error for an array whose elements cannot be recorded.
fn no_elements(array: &Bound<'_, PyUntypedArray>) -> PyErr {
    let descr = array.dtype();
    let advice = match descr.kind() {
        b'M' | b'm' => "record x.astype('int64') and declare the units",
        b'V' if descr.has_fields() => "record each field by a key of its own",
        b'U' | b'S' | b'T' => "record the texts one by one, or x.tolist() as one object",
        b'O' => "record x.tolist() as one object, or the rows one by one as Ragged(row)",
        _ => "convert it with x.astype(...)",
    };
    let message = format!("an array of {descr} cannot be recorded; {advice}");
    pyo3::exceptions::PyTypeError::new_err(message)
}

/// The array that NumPy makes of a value, in a form that can be recorded.
pub(crate) fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let array = match value.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => ASARRAY
            .import(py, "numpy", "asarray")?
            .call1((value,))?
            .cast_into()?,
    };
    match recordable(&array) {
        Some(_) => Ok(array),
        None => contiguous(&array),
    }
}

/// The array of a value that is an array of NumPy or of another library that shares its memory.
/// `None` for other values.
pub(crate) fn plain_array<'py>(
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyUntypedArray>>> {
    static FROM_DLPACK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    if value.is_instance_of::<PyUntypedArray>()
        || value.is_instance_of::<PyMemoryView>()
        || value.hasattr(intern!(py, "__array__"))?
    {
        return as_array(value).map(Some);
    }
    if value.hasattr(intern!(py, "__dlpack__"))? {
        let array = FROM_DLPACK
            .import(py, "numpy", "from_dlpack")?
            .call1((value,))?;
        return as_array(&array).map(Some);
    }
    Ok(None)
}
