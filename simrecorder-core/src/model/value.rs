//! Values of any kind.

use std::fmt;

use ndarray::{Array, ArrayD, Dimension, IxDyn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::model::cast::cast_elements;
use crate::model::dtype::{DType, Element};

/// An owned value or record of any kind.
///
/// Convert it with [`scalar`](Value::scalar), [`array`](Value::array), [`as_str`](Value::as_str),
/// [`as_bytes`](Value::as_bytes) and [`object`](Value::object), or with `TryFrom` into the Rust type. Of these, none
/// changes the element type; [`cast`](Value::cast) does.
///
/// Two values are equal if their types, shapes and bytes are equal: a NaN equals itself, and 0.0 differs from -0.0.
/// Dimension names are not compared.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Value;
///
/// let value = Value::new([1.5, 2.5])?;
/// assert_eq!(value.array::<f64>()?.sum(), 4.0);
/// assert_eq!(Vec::<f64>::try_from(value.clone())?, [1.5, 2.5]);
/// assert_eq!(ndarray::Array1::<f64>::try_from(value.clone())?.sum(), 4.0);
/// assert!(value.array::<f32>().is_err());
/// assert_eq!(value.cast::<f32>()?.sum(), 4.0);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A scalar, an array, or one ragged row.
    Array(ArrayValue),
    /// Text.
    Text(String),
    /// Opaque bytes.
    Bytes(Vec<u8>),
    /// A serialised object.
    Object(ObjectValue),
}

impl Value {
    /// Returns the type and shape as text for messages: `float64 array of shape [3]`, `text`, ….
    pub fn describe(&self) -> String {
        match self {
            Self::Array(array) if array.shape.is_empty() => format!("{} scalar", array.dtype),
            Self::Array(array) => format!("{} array of shape {:?}", array.dtype, array.shape),
            Self::Text(_) => "text".into(),
            Self::Bytes(_) => "bytes".into(),
            Self::Object(_) => "object".into(),
        }
    }

    /// Returns the element type of an array or scalar; `None` for the other kinds.
    pub fn dtype(&self) -> Option<DType> {
        self.as_array().map(ArrayValue::dtype)
    }

    /// Returns the scalar or array without its Rust type; `None` for the other kinds.
    pub fn as_array(&self) -> Option<&ArrayValue> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Returns the serialised object; `None` for the other kinds.
    pub fn as_object(&self) -> Option<&ObjectValue> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the element of a scalar, or of an array with one element.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::Value;
    ///
    /// let seed = Value::new(42_u64)?;
    /// assert_eq!(seed.scalar::<u64>()?, 42);
    /// assert!(seed.scalar::<f64>().is_err()); // cast() converts
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] for anything else.
    pub fn scalar<T: Element>(&self) -> Result<T> {
        match self.as_array() {
            Some(array) if array.len() == 1 => Ok(array.to_vec::<T>()?[0]),
            _ => Err(self.mismatch(format!("{} scalar", T::DTYPE))),
        }
    }

    /// Returns a scalar or array as an array of `ndarray`.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] for anything else, or another element type.
    pub fn array<T: Element>(&self) -> Result<ArrayD<T>> {
        match self {
            Self::Array(array) => array.to_array(),
            _ => Err(self.mismatch(format!("{} array", T::DTYPE))),
        }
    }

    /// Returns a scalar or array with its elements converted as Rust's `as` does. A `bool` becomes 0 or 1, and a real
    /// number a complex one.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] for other kinds, and from complex to real.
    pub fn cast<T: Element>(&self) -> Result<ArrayD<T>> {
        match self {
            Self::Array(array) => {
                let elements = cast_elements(array.dtype, &array.data)?;
                shaped(&array.shape, elements)
            }
            _ => Err(self.mismatch(format!("{} array", T::DTYPE))),
        }
    }

    /// Returns the text.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] for anything else.
    pub fn as_str(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(self.mismatch("text")),
        }
    }

    /// Returns the bytes of a [`Blob`](crate::Blob).
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] for anything else.
    pub fn as_bytes(&self) -> Result<&[u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mismatch("bytes")),
        }
    }

    /// Deserialises an object.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if it is not an object, or cannot be deserialised as a `T`.
    pub fn object<T: DeserializeOwned>(&self) -> Result<T> {
        match self {
            Self::Object(object) => object.read(),
            _ => Err(self.mismatch("object")),
        }
    }

    fn mismatch(&self, wanted: impl fmt::Display) -> Error {
        let message = format!("this is a value of type {}, not {wanted}", self.describe());
        Error::new(ErrorKind::TypeMismatch, "convert", message)
    }
}

/// A scalar or array whose element type is known only at run time.
///
/// Elements are in row-major order. A scalar has no axes.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{ArrayValue, DType, InMemoryDataStore, Recorder, Value};
///
/// // As a program does that reads the data and its type from a file.
/// let data: Vec<u8> = [1.5_f32, 2.5].iter().flat_map(|x| x.to_ne_bytes()).collect();
/// let weights = ArrayValue::from_bytes(DType::F32, vec![2], data)?;
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set("net/weights", Value::Array(weights))?;
/// assert_eq!(recorder.require("net/weights")?.array::<f32>()?.sum(), 4.0);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ArrayValue {
    dtype: DType,
    shape: Vec<usize>,
    data: Vec<u8>,
    /// Comparisons ignore them.
    dimension_names: Option<Box<[Option<String>]>>,
}

impl PartialEq for ArrayValue {
    fn eq(&self, other: &Self) -> bool {
        (self.dtype, &self.shape, &self.data) == (other.dtype, &other.shape, &other.data)
    }
}

impl ArrayValue {
    /// Makes an array of elements in row-major order and native byte order.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the length of `data` does not fit the type and the shape.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, data: Vec<u8>) -> Result<Self> {
        let size = shape
            .iter()
            .try_fold(dtype.size(), |size, &len| size.checked_mul(len));
        if size != Some(data.len()) {
            let message = format!(
                "{} bytes do not make a {dtype} array of shape {shape:?}",
                data.len()
            );
            return Err(Error::new(ErrorKind::Corrupt, "convert", message));
        }
        Ok(Self {
            dtype,
            shape,
            data,
            dimension_names: None,
        })
    }

    pub(crate) fn dimension_names(&self) -> Option<&[Option<String>]> {
        self.dimension_names.as_deref()
    }

    pub(crate) fn set_dimension_names(&mut self, names: Vec<Option<String>>) {
        self.dimension_names = Some(names.into());
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the length of each axis; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the elements in row-major order and native byte order.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype {
            let message = format!(
                "the elements are {}, not {}; cast::<T>() converts them",
                self.dtype,
                T::DTYPE
            );
            return Err(Error::new(ErrorKind::TypeMismatch, "convert", message));
        }
        T::decoded(&self.data)
    }

    fn to_array<T: Element>(&self) -> Result<ArrayD<T>> {
        shaped(&self.shape, self.to_vec()?)
    }
}

pub(crate) fn shaped<T>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>> {
    ArrayD::from_shape_vec(IxDyn(shape), elements)
        .map_err(|e| Error::new(ErrorKind::TooLarge, "read", e.to_string()))
}

impl fmt::Debug for ArrayValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayValue")
            .field("dtype", &self.dtype)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// MessagePack of `object`, with structs as maps from field names.
pub(crate) fn encode_object<T: Serialize + ?Sized>(object: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(object).map_err(|e| {
        let name = std::any::type_name::<T>();
        let message = format!("the object of type {name} cannot be serialised");
        Error::new(ErrorKind::InvalidArgument, "convert", message).with_source(e)
    })
}

/// A serialised object: MessagePack, with structs as maps from field names.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ObjectValue;
///
/// let object = ObjectValue::new(("stimulus", 1.5))?;
/// let (name, time): (String, f64) = object.read()?;
/// assert_eq!((name.as_str(), time), ("stimulus", 1.5));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct ObjectValue {
    msgpack: Vec<u8>,
}

impl ObjectValue {
    /// Wraps MessagePack, which is checked only when it is [read](Self::read).
    pub fn from_msgpack(msgpack: Vec<u8>) -> Self {
        Self { msgpack }
    }

    /// Serialises `object`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it cannot be serialised.
    pub fn new(object: impl Serialize) -> Result<Self> {
        encode_object(&object).map(Self::from_msgpack)
    }

    /// Returns the MessagePack.
    pub fn as_msgpack(&self) -> &[u8] {
        &self.msgpack
    }

    /// Deserialises the object. `serde_json::Value` is a `T` for any object without NaN.
    ///
    /// # Errors
    /// [`ErrorKind::TypeMismatch`] if it cannot be deserialised as a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        rmp_serde::from_slice(&self.msgpack).map_err(|e| {
            let message = format!("the object is not a {}", std::any::type_name::<T>());
            Error::new(ErrorKind::TypeMismatch, "convert", message).with_source(e)
        })
    }
}

impl fmt::Debug for ObjectValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.read::<serde_json::Value>() {
            Ok(json) => write!(f, "{json}"),
            Err(_) => write!(f, "{} bytes of MessagePack", self.msgpack.len()),
        }
    }
}

macro_rules! try_from_value {
    ($($type:ty),*) => {$(
        impl TryFrom<Value> for $type {
            type Error = Error;

            fn try_from(value: Value) -> Result<Self> {
                value.scalar()
            }
        }
    )*};
}

try_from_value!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    half::f16,
    half::bf16,
    f32,
    f64,
    num_complex::Complex32,
    num_complex::Complex64
);

macro_rules! try_from_value_pointer_sized {
    ($($type:ty as $fixed:ty),*) => {$(
        impl TryFrom<Value> for $type {
            type Error = Error;

            fn try_from(value: Value) -> Result<Self> {
                let number = value.scalar::<$fixed>()?;
                Self::try_from(number).map_err(|e| {
                    let message = format!("{number} does not fit into {}", stringify!($type));
                    Error::new(ErrorKind::TypeMismatch, "convert", message).with_source(e)
                })
            }
        }
    )*};
}

try_from_value_pointer_sized!(usize as u64, isize as i64);

impl TryFrom<Value> for String {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(other.mismatch("text")),
        }
    }
}

impl<T: Element, D: Dimension> TryFrom<Value> for Array<T, D> {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        let array = value.array::<T>()?.into_dimensionality();
        array.map_err(|_| {
            let axes = D::NDIM.unwrap_or_default();
            value.mismatch(format!("{axes}-d {} array", T::DTYPE))
        })
    }
}

impl<T: Element> TryFrom<Value> for Vec<T> {
    type Error = Error;

    /// The elements of a 1-d array.
    fn try_from(value: Value) -> Result<Self> {
        match value.as_array() {
            Some(array) if array.shape().len() == 1 => array.to_vec(),
            _ => Err(value.mismatch(format!("1-d {} array", T::DTYPE))),
        }
    }
}
