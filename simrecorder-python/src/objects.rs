//! Python objects as MessagePack, as `docs/format.md` specifies.

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple,
};
use rmp::Marker;
use rmp::{decode, encode};
use simrecorder::DType;

use crate::element;
use crate::input::{as_array, plain_array};

/// The maximum nesting of lists and dicts. Objects that contain themselves exceed it.
const MAX_DEPTH: usize = 200;

/// The type of the MessagePack extension for arrays: MessagePack of the name of the element type, the shape,
/// and the elements in row-major, little-endian order.
const ARRAY: i8 = 1;

/// Encodes an object as MessagePack. The documentation of the package lists what it may contain.
pub(crate) fn encode_object(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = Vec::new();
    write(&mut out, object, 0)?;
    Ok(out)
}

/// Writing into a `Vec` cannot fail.
fn written<T, E: std::fmt::Debug>(result: Result<T, E>) -> PyResult<T> {
    result.map_err(|error| PyValueError::new_err(format!("{error:?}")))
}

fn write(out: &mut Vec<u8>, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if depth > MAX_DEPTH {
        let message = format!("it is nested deeper than {MAX_DEPTH} levels, or contains itself");
        return Err(PyValueError::new_err(message));
    }
    if object.is_none() {
        encode::write_nil(out)?;
    } else if let Ok(flag) = object.cast::<PyBool>() {
        encode::write_bool(out, flag.is_true())?;
    } else if let Ok(number) = object.cast::<PyFloat>()
        && !is_numpy_scalar(object)
    {
        written(encode::write_f64(out, number.value()))?;
    } else if object.is_instance_of::<PyInt>() {
        write_int(out, object)?;
    } else if let Ok(text) = object.cast::<PyString>() {
        written(encode::write_str(out, text.to_str()?))?;
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        written(encode::write_bin(out, bytes.as_bytes()))?;
    } else if let Ok(bytes) = object.cast::<PyByteArray>() {
        written(encode::write_bin(out, &bytes.to_vec()))?;
    } else if let Ok(list) = object.cast::<PyList>() {
        written(encode::write_array_len(out, len_of(list.len())?))?;
        for item in list {
            write(out, &item, depth + 1)?;
        }
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        written(encode::write_array_len(out, len_of(tuple.len())?))?;
        for item in tuple {
            write(out, &item, depth + 1)?;
        }
    } else if let Ok(dict) = object.cast::<PyDict>() {
        written(encode::write_map_len(out, len_of(dict.len())?))?;
        for (key, value) in dict {
            write(out, &key, depth + 1)?;
            write(out, &value, depth + 1)?;
        }
    } else {
        let array = match object.is_instance_of::<PyComplex>() {
            true => Some(as_array(object)?),
            false => plain_array(object)?,
        };
        match array {
            Some(array) => write_array(out, &array)?,
            None => return Err(unsupported(object)),
        }
    }
    Ok(())
}

/// Whether it is a NumPy scalar, which is restored as one.
fn is_numpy_scalar(object: &Bound<'_, PyAny>) -> bool {
    !object.is_exact_instance_of::<PyFloat>() && object.hasattr("dtype").unwrap_or(false)
}

fn write_int(out: &mut Vec<u8>, number: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(number) = number.extract::<i64>() {
        written(encode::write_sint(out, number))?;
    } else if let Ok(number) = number.extract::<u64>() {
        written(encode::write_uint(out, number))?;
    } else {
        let message = "an int does not fit into 64 bits; record it as a float or as text";
        return Err(PyValueError::new_err(message));
    }
    Ok(())
}

fn write_array(out: &mut Vec<u8>, array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    let Some(dtype) = element::dtype_of(&array.dtype()) else {
        let message = format!("an array of {} cannot be recorded", array.dtype());
        return Err(pyo3::exceptions::PyTypeError::new_err(message));
    };
    let mut payload = Vec::new();
    written(encode::write_array_len(&mut payload, 3))?;
    written(encode::write_str(&mut payload, dtype.as_str()))?;
    written(encode::write_array_len(&mut payload, len_of(array.ndim())?))?;
    for &len in array.shape() {
        written(encode::write_uint(&mut payload, len as u64))?;
    }
    written(encode::write_bin(&mut payload, element::bytes_of(array)))?;
    written(encode::write_ext_meta(out, len_of(payload.len())?, ARRAY))?;
    out.extend_from_slice(&payload);
    Ok(())
}

fn len_of(len: usize) -> PyResult<u32> {
    u32::try_from(len).map_err(|_| PyValueError::new_err("a part of it is larger than 4 GiB"))
}

fn unsupported(object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().fully_qualified_name();
    let name = name.map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let message = format!(
        "a value of type {name} cannot be recorded; record numbers, arrays, text, bytes, or lists and dicts \
         of these"
    );
    pyo3::exceptions::PyTypeError::new_err(message)
}

/// Decodes the object in `data`.
pub(crate) fn decode_object<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut rest = data;
    let object = read(py, &mut rest, 0)?;
    match rest.is_empty() {
        true => Ok(object),
        false => Err(damaged("there are bytes after its end")),
    }
}

fn damaged(why: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("the object is damaged: {why}"))
}

fn read<'py>(py: Python<'py>, rest: &mut &[u8], depth: usize) -> PyResult<Bound<'py, PyAny>> {
    if depth > MAX_DEPTH {
        return Err(damaged("it is nested too deeply"));
    }
    let marker = rest.first().map(|&byte| Marker::from_u8(byte));
    match marker.ok_or_else(|| damaged("it ends early"))? {
        Marker::Null => {
            decode::read_nil(rest).map_err(damaged)?;
            Ok(py.None().into_bound(py))
        }
        Marker::True | Marker::False => {
            let flag = decode::read_bool(rest).map_err(damaged)?;
            Ok(PyBool::new(py, flag).to_owned().into_any())
        }
        Marker::F32 => {
            let number = decode::read_f32(rest).map_err(damaged)?;
            Ok(PyFloat::new(py, number.into()).into_any())
        }
        Marker::F64 => {
            let number = decode::read_f64(rest).map_err(damaged)?;
            Ok(PyFloat::new(py, number).into_any())
        }
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::U8
        | Marker::U16
        | Marker::U32
        | Marker::U64
        | Marker::I8
        | Marker::I16
        | Marker::I32
        | Marker::I64 => {
            let number: i128 = decode::read_int(rest).map_err(damaged)?;
            Ok(number.into_pyobject(py)?.into_any())
        }
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            let len = decode::read_str_len(rest).map_err(damaged)?;
            let text = std::str::from_utf8(take(rest, len)?).map_err(damaged)?;
            Ok(PyString::new(py, text).into_any())
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
            let len = decode::read_bin_len(rest).map_err(damaged)?;
            Ok(PyBytes::new(py, take(rest, len)?).into_any())
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let len = decode::read_array_len(rest).map_err(damaged)?;
            let list = PyList::empty(py);
            for _ in 0..len {
                list.append(read(py, rest, depth + 1)?)?;
            }
            Ok(list.into_any())
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let len = decode::read_map_len(rest).map_err(damaged)?;
            let dict = PyDict::new(py);
            for _ in 0..len {
                let key = read(py, rest, depth + 1)?;
                // A tuple that is the key of a dict was written as a list, which cannot be a key.
                let key = match key.cast_into::<PyList>() {
                    Ok(list) => list.to_tuple().into_any(),
                    Err(error) => error.into_inner(),
                };
                dict.set_item(key, read(py, rest, depth + 1)?)?;
            }
            Ok(dict.into_any())
        }
        _ => {
            let meta = decode::read_ext_meta(rest).map_err(damaged)?;
            let payload = take(rest, meta.size)?;
            match meta.typeid {
                ARRAY => read_array(py, payload),
                other => Err(damaged(format!(
                    "this version does not know the extension {other}"
                ))),
            }
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], len: u32) -> PyResult<&'a [u8]> {
    let taken = rest.split_off(..len as usize);
    taken.ok_or_else(|| damaged("it ends early"))
}

fn read_array<'py>(py: Python<'py>, mut payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let rest = &mut payload;
    if decode::read_array_len(rest).map_err(damaged)? != 3 {
        return Err(damaged("an array has three parts"));
    }
    let len = decode::read_str_len(rest).map_err(damaged)?;
    let name = std::str::from_utf8(take(rest, len)?).map_err(damaged)?;
    let dtype: DType = name.parse().map_err(damaged)?;
    let axes = decode::read_array_len(rest).map_err(damaged)?;
    let shape = (0..axes).map(|_| decode::read_int::<usize, _>(rest).map_err(damaged));
    let shape: Vec<usize> = shape.collect::<PyResult<_>>()?;
    let len = decode::read_bin_len(rest).map_err(damaged)?;
    let elements = take(rest, len)?;
    let value = simrecorder::ArrayValue::from_bytes(dtype, shape, elements.to_vec());
    element::array_of(py, &value.map_err(damaged)?)
}
