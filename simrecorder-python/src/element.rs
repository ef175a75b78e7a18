//! Element types, and NumPy arrays as bytes.

use numpy::npyffi::_PyArray_GET_ITEM_DATA;
use numpy::{
    PyArray1, PyArrayDescr, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use simrecorder::{ArrayValue, DType};

/// The element type for a NumPy type in the machine's byte order; `None` if there is none.
pub(crate) fn dtype_of(descr: &Bound<'_, PyArrayDescr>) -> Option<DType> {
    Some(match (descr.kind(), descr.itemsize()) {
        (b'f', 8) => DType::F64,
        (b'f', 4) => DType::F32,
        (b'f', 2) => DType::F16,
        (b'i', 8) => DType::I64,
        (b'i', 4) => DType::I32,
        (b'i', 2) => DType::I16,
        (b'i', 1) => DType::I8,
        (b'u', 8) => DType::U64,
        (b'u', 4) => DType::U32,
        (b'u', 2) => DType::U16,
        (b'u', 1) => DType::U8,
        (b'b', 1) => DType::Bool,
        (b'c', 8) => DType::Complex64,
        (b'c', 16) => DType::Complex128,
        // The type of `ml_dtypes` has the kind of a structure.
        (b'V', 2) if !descr.has_fields() => {
            let name = descr.getattr(intern!(descr.py(), "name")).ok()?;
            (name.extract::<String>().ok()? == "bfloat16").then_some(DType::BF16)?
        }
        _ => return None,
    })
}

/// The NumPy type. That of bfloat16 is in `ml_dtypes`, which must be installed.
pub(crate) fn descr_of(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyArrayDescr>> {
    if dtype == DType::BF16 {
        let ml_dtypes = py.import("ml_dtypes")?;
        return PyArrayDescr::new(py, ml_dtypes.getattr("bfloat16")?);
    }
    PyArrayDescr::new(py, dtype.as_str())
}

/// The bytes of an array whose elements are contiguous in row-major order.
pub(crate) fn bytes_of<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [u8] {
    debug_assert!(array.is_c_contiguous());
    let len = array.len() * array.dtype().itemsize();
    if len == 0 {
        return &[];
    }
    // SAFETY: this is a NumPy array with `len` bytes at `data` as long as it exists, and it
    // outlives the slice. As in NumPy itself, another thread must not write to the array meanwhile.
    unsafe {
        let data = (*_PyArray_GET_ITEM_DATA(array.as_array_ptr().cast_const())).data;
        std::slice::from_raw_parts(data.cast_const().cast(), len)
    }
}

/// Creates an array of the given type and shape. `fill` writes its bytes.
pub(crate) fn new_array<'py, E: Into<PyErr>>(
    py: Python<'py>,
    dtype: DType,
    shape: &[usize],
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> PyResult<Bound<'py, PyAny>> {
    let count = shape
        .iter()
        .try_fold(dtype.size(), |count, &len| count.checked_mul(len));
    let Some(len) = count.filter(|&len| len < isize::MAX as usize) else {
        let message = format!("an array of {dtype} of shape {shape:?} does not fit into memory");
        return Err(pyo3::exceptions::PyMemoryError::new_err(message));
    };
    // Zeroed memory from the system costs nothing until it is written.
    let bytes = zeros(py, len)?;
    fill(bytes.readwrite().as_slice_mut()?).map_err(Into::into)?;
    let array = bytes.call_method1(intern!(py, "view"), (descr_of(py, dtype)?,))?;
    match shape {
        [_] => Ok(array),
        shape => array.call_method1(intern!(py, "reshape"), (shape,)),
    }
}

/// Zeroed bytes, or a `MemoryError` where `PyArray1::zeros` would panic.
fn zeros(py: Python<'_>, len: usize) -> PyResult<Bound<'_, PyArray1<u8>>> {
    static ZEROS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let zeros = ZEROS.import(py, "numpy", "zeros")?;
    let made = zeros.call1((len, intern!(py, "uint8")))?;
    Ok(made.cast_into()?)
}

/// The array or scalar of a value.
pub(crate) fn array_of<'py>(py: Python<'py>, value: &ArrayValue) -> PyResult<Bound<'py, PyAny>> {
    let array = new_array(py, value.dtype(), value.shape(), |out| {
        out.copy_from_slice(value.as_bytes());
        PyResult::Ok(())
    })?;
    match value.shape() {
        // A NumPy scalar.
        [] => array.get_item(()),
        _ => Ok(array),
    }
}
