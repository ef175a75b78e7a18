//! Values that can be recorded: [`IntoValue`], and the wrappers that choose a kind.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};
use ndarray::{ArrayBase, ArrayRef, Data, Dimension, RawData};
use num_complex::{Complex32, Complex64};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{DType, Element};
use crate::model::kind::Kind;
use crate::model::value::{ArrayValue, ObjectValue, Value, encode_object};

/// A record: its kind, element type, shape and bytes, borrowed from the caller if they are contiguous in memory.
#[derive(Clone, Debug)]
pub struct RecordRef<'a> {
    pub(crate) kind: Kind,
    pub(crate) dtype: Option<DType>,
    pub(crate) shape: ShapeRef<'a>,
    pub(crate) data: Cow<'a, [u8]>,
}

/// The shape of a record, without an allocation for the common cases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShapeRef<'a> {
    Slice(&'a [usize]),
    OneAxis(usize),
    TwoAxes([usize; 2]),
}

impl ShapeRef<'_> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[usize] {
        match self {
            Self::Slice(shape) => shape,
            Self::OneAxis(len) => std::slice::from_ref(len),
            Self::TwoAxes(shape) => shape,
        }
    }
}

impl<'a> RecordRef<'a> {
    /// An array record; `data` has the elements in row-major order.
    #[inline]
    fn array<T: Element>(shape: ShapeRef<'a>, data: &'a [T]) -> Self {
        Self {
            kind: Kind::Array,
            dtype: Some(T::DTYPE),
            shape,
            data: Cow::Borrowed(T::bytes_of(data)),
        }
    }

    fn variable(kind: Kind, data: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            kind,
            dtype: None,
            shape: ShapeRef::Slice(&[]),
            data: data.into(),
        }
    }

    /// Makes a record of an array or a ragged row whose element type is known only at run time. `data` has the elements
    /// in row-major order and native byte order.
    ///
    /// ```
    /// use simrecorder_core::{DType, Kind, RecordRef};
    ///
    /// let data = 0.5_f64.to_ne_bytes();
    /// let record = RecordRef::of_bytes(Kind::Array, DType::F64, &[1], &data)?;
    /// assert_eq!(record.shape(), [1]);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the length of `data` does not fit the type and the shape, for another kind,
    /// and for a ragged row without an axis.
    pub fn of_bytes(kind: Kind, dtype: DType, shape: &'a [usize], data: &'a [u8]) -> Result<Self> {
        let size = shape
            .iter()
            .try_fold(dtype.size(), |size, &len| size.checked_mul(len));
        let message = match kind {
            Kind::Array if size == Some(data.len()) => None,
            Kind::Ragged if shape.is_empty() => {
                Some("a ragged row is an array with at least one axis".to_owned())
            }
            Kind::Ragged if size == Some(data.len()) => None,
            Kind::Array | Kind::Ragged => Some(format!(
                "{} bytes do not make a {dtype} array of shape {shape:?}",
                data.len()
            )),
            other => Some(format!("elements make no record of kind {other}")),
        };
        match message {
            Some(message) => Err(Error::new(ErrorKind::InvalidArgument, "convert", message)),
            None => Ok(Self {
                kind,
                dtype: Some(dtype),
                shape: ShapeRef::Slice(shape),
                data: Cow::Borrowed(data),
            }),
        }
    }

    /// Returns the kind of the record.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the element type; `None` for text, bytes and objects.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// Returns the shape; of a ragged row, its length first. Empty for text, bytes and objects.
    pub fn shape(&self) -> &[usize] {
        self.shape.as_slice()
    }

    /// Returns the elements in row-major order and native byte order, the UTF-8 text, the bytes, or the MessagePack of
    /// an object.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The owned value.
    pub(crate) fn into_value(self) -> Result<Value> {
        let data = self.data.into_owned();
        Ok(match (self.kind, self.dtype) {
            (Kind::Array | Kind::Ragged, Some(dtype)) => Value::Array(ArrayValue::from_bytes(
                dtype,
                self.shape.as_slice().to_vec(),
                data,
            )?),
            (Kind::Text, _) => Value::Text(
                String::from_utf8(data)
                    .map_err(|e| Error::new(ErrorKind::Internal, "convert", e.to_string()))?,
            ),
            (Kind::Object, _) => Value::Object(ObjectValue::from_msgpack(data)),
            _ => Value::Bytes(data),
        })
    }
}

/// A value that can be recorded or set.
///
/// It is implemented for
/// - scalars: the [`Element`] types, and `usize` and `isize` (stored as `u64` and `i64`);
/// - slices, `Vec`s and arrays of scalars; of [`Element`]s also slices and `Vec`s of arrays, such as
///   `Vec<[f64; 3]>`, and arrays of arrays up to three levels;
/// - owned, borrowed and shared arrays of `ndarray` with any [`Element`] type and memory layout;
/// - `(shape, slice)` with elements in row-major order, for arrays of another version of `ndarray`;
/// - `str` and `String`;
/// - [`Ragged`], [`Blob`] and [`Object`], which choose a kind;
/// - [`Value`], [`RecordRef`], and a reference to any of these.
///
/// For your own type, delegate to one of these:
///
/// ```
/// # mod simrecorder {
/// #     pub use simrecorder_core::*;
/// #     pub mod backend { pub use simrecorder_core::RecordRef; }
/// # }
/// use simrecorder::{IntoValue, Result, backend::RecordRef};
///
/// struct Position { x: [f64; 3] }
///
/// impl IntoValue for Position {
///     type Element = f64;
///     fn as_record(&self) -> Result<RecordRef<'_>> {
///         self.x.as_record()
///     }
/// }
/// assert_eq!(Position { x: [0.0; 3] }.as_record()?.shape(), [3]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be recorded as it is",
    note = "rows of different length: record each as `Ragged(&row)`",
    note = "an array of another version of `ndarray`: use `simrecorder::ndarray`, or record \
            `(array.shape(), elements)` with the elements as a slice in row-major order",
    note = "bytes of any length: `Blob(&bytes)`; anything else that `serde` serialises: `Object(&value)`"
)]
pub trait IntoValue {
    /// The element type: an [`Element`], `str` for text, `[u8]` for bytes, `()` for objects.
    /// It lets the compiler check the values that are recorded through a [`Series`](crate::Series).
    type Element: ?Sized;

    /// Describes the value as a record.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an object that cannot be serialised, a shape that does not fit its slice, and
    /// a ragged row without an axis.
    fn as_record(&self) -> Result<RecordRef<'_>>;

    /// The same for a scalar, which fits into registers and is recorded twice as fast.
    #[doc(hidden)]
    #[inline(always)]
    fn as_scalar(&self) -> Option<ScalarRef<'_>> {
        None
    }
}

/// A scalar record.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ScalarRef<'a> {
    pub(crate) dtype: DType,
    pub(crate) data: &'a [u8],
}

impl<'a> ScalarRef<'a> {
    /// The scalar as any other record.
    pub(crate) fn as_record(self) -> RecordRef<'a> {
        RecordRef {
            kind: Kind::Array,
            dtype: Some(self.dtype),
            shape: ShapeRef::Slice(&[]),
            data: Cow::Borrowed(self.data),
        }
    }
}

impl<V: IntoValue + ?Sized> IntoValue for &V {
    type Element = V::Element;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        (**self).as_record()
    }

    #[inline(always)]
    fn as_scalar(&self) -> Option<ScalarRef<'_>> {
        (**self).as_scalar()
    }
}

impl IntoValue for RecordRef<'_> {
    type Element = Value;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef {
            kind: self.kind,
            dtype: self.dtype,
            shape: self.shape,
            data: Cow::Borrowed(&self.data),
        })
    }
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl IntoValue for $type {
            type Element = $type;

            #[inline]
            fn as_record(&self) -> Result<RecordRef<'_>> {
                Ok(RecordRef::array(ShapeRef::Slice(&[]), std::slice::from_ref(self)))
            }

            #[inline(always)]
            fn as_scalar(&self) -> Option<ScalarRef<'_>> {
                let data = <$type>::bytes_of(std::slice::from_ref(self));
                Some(ScalarRef { dtype: <$type>::DTYPE, data })
            }
        }
    )*};
}

scalar!(
    bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64, Complex32, Complex64
);

macro_rules! pointer_sized {
    ($($type:ty => $fixed:ty),*) => {$(
        impl IntoValue for $type {
            type Element = $fixed;

            #[inline]
            fn as_record(&self) -> Result<RecordRef<'_>> {
                let record = std::slice::from_ref(self).as_record()?;
                Ok(RecordRef { shape: ShapeRef::Slice(&[]), ..record })
            }
        }

        impl IntoValue for [$type] {
            type Element = $fixed;

            #[inline]
            fn as_record(&self) -> Result<RecordRef<'_>> {
                let data: Cow<'_, [u8]> = match bytemuck::try_cast_slice::<$type, $fixed>(self) {
                    Ok(same) => Cow::Borrowed(bytemuck::cast_slice(same)),
                    Err(_) => self.iter().flat_map(|&x| (x as $fixed).to_ne_bytes()).collect(),
                };
                Ok(RecordRef {
                    kind: Kind::Array,
                    dtype: Some(<$fixed>::DTYPE),
                    shape: ShapeRef::OneAxis(self.len()),
                    data,
                })
            }
        }

        impl IntoValue for Vec<$type> {
            type Element = $fixed;

            fn as_record(&self) -> Result<RecordRef<'_>> {
                self.as_slice().as_record()
            }
        }

        impl<const N: usize> IntoValue for [$type; N] {
            type Element = $fixed;

            fn as_record(&self) -> Result<RecordRef<'_>> {
                self.as_slice().as_record()
            }
        }
    )*};
}

pointer_sized!(usize => u64, isize => i64);

impl<T: Element> IntoValue for [T] {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::array(ShapeRef::OneAxis(self.len()), self))
    }
}

impl<T: Element> IntoValue for Vec<T> {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        self.as_slice().as_record()
    }
}

impl<T: Element, const N: usize> IntoValue for [T; N] {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::array(ShapeRef::OneAxis(N), self))
    }
}

impl<T: Element, const N: usize> IntoValue for [[T; N]] {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::array(
            ShapeRef::TwoAxes([self.len(), N]),
            self.as_flattened(),
        ))
    }
}

impl<T: Element, const N: usize> IntoValue for Vec<[T; N]> {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        self.as_slice().as_record()
    }
}

impl<T: Element, const N: usize, const M: usize> IntoValue for [[T; N]; M] {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::array(
            ShapeRef::Slice(const { &[M, N] }),
            self.as_flattened(),
        ))
    }
}

impl<T: Element, const N: usize, const M: usize, const L: usize> IntoValue for [[[T; N]; M]; L] {
    type Element = T;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        let elements = self.as_flattened().as_flattened();
        Ok(RecordRef::array(
            ShapeRef::Slice(const { &[L, M, N] }),
            elements,
        ))
    }
}

impl<A: Element, D: Dimension> IntoValue for ArrayRef<A, D> {
    type Element = A;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        let shape = ShapeRef::Slice(self.shape());
        Ok(match self.as_slice() {
            Some(elements) => RecordRef::array(shape, elements),
            None => RecordRef {
                kind: Kind::Array,
                dtype: Some(A::DTYPE),
                shape,
                data: Cow::Owned(gather(self.iter())),
            },
        })
    }
}

impl<S, D> IntoValue for ArrayBase<S, D>
where
    S: Data + RawData<Elem: Element>,
    D: Dimension,
{
    type Element = S::Elem;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        let array: &ArrayRef<S::Elem, D> = self;
        array.as_record()
    }
}

/// The bytes of elements that are not contiguous in memory.
fn gather<'a, T: Element>(elements: impl ExactSizeIterator<Item = &'a T>) -> Vec<u8> {
    let mut data = Vec::with_capacity(elements.len() * size_of::<T>());
    elements.for_each(|x| data.extend_from_slice(T::bytes_of(std::slice::from_ref(x))));
    data
}

impl<S: AsRef<[usize]>, T: Element> IntoValue for (S, &[T]) {
    type Element = T;

    fn as_record(&self) -> Result<RecordRef<'_>> {
        let shape = self.0.as_ref();
        let count = shape
            .iter()
            .try_fold(1_usize, |count, &len| count.checked_mul(len));
        if count != Some(self.1.len()) {
            let message = format!(
                "the shape {shape:?} does not fit the {} elements of the slice",
                self.1.len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, "convert", message));
        }
        Ok(RecordRef::array(ShapeRef::Slice(shape), self.1))
    }
}

impl IntoValue for str {
    type Element = str;

    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::variable(Kind::Text, self.as_bytes()))
    }
}

impl IntoValue for String {
    type Element = str;

    fn as_record(&self) -> Result<RecordRef<'_>> {
        self.as_str().as_record()
    }
}

/// Opaque bytes of any length.
///
/// Without it, a byte slice is an array of `u8`, and every record has the same length.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Blob, InMemoryDataStore, Recorder};
///
/// # fn render_png(step: usize) -> Vec<u8> { vec![0x89; 100 + step] }
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for step in 0..10 {
///     recorder.record("frames", Blob(render_png(step)))?;
/// }
/// assert_eq!(recorder.get_all("frames")?.get(9)?.as_bytes()?.len(), 109);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Blob<B: AsRef<[u8]>>(pub B);

impl<B: AsRef<[u8]>> IntoValue for Blob<B> {
    type Element = [u8];

    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::variable(Kind::Bytes, self.0.as_ref()))
    }
}

/// A row whose length may differ from record to record.
///
/// It wraps a 1-d array, slice or `Vec`, or an n-d array. The length of the first axis may differ between records; the
/// other axes have the same length in all records.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Ragged, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for step in 0..10 {
///     let spikes: Vec<u32> = (0..step).collect(); // the neurons that spike in this step
///     recorder.record("net/spikes", Ragged(&spikes))?;
///     let positions = vec![[0.0, 0.5]; step as usize]; // 2-d points
///     recorder.record("particles/x", Ragged(&positions))?;
/// }
/// assert_eq!(recorder.get_all("net/spikes")?.get(9)?.array::<u32>()?.shape(), [9]);
/// assert_eq!(recorder.get_all("particles/x")?.get(9)?.array::<f64>()?.shape(), [9, 2]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ragged<A>(pub A);

impl<A: IntoValue> IntoValue for Ragged<A> {
    type Element = A::Element;

    #[inline]
    fn as_record(&self) -> Result<RecordRef<'_>> {
        let record = self.0.as_record()?;
        if record.kind != Kind::Array || record.shape().is_empty() {
            let message = "a ragged row is a slice, or an array with at least one axis";
            return Err(Error::new(ErrorKind::InvalidArgument, "convert", message));
        }
        Ok(RecordRef {
            kind: Kind::Ragged,
            ..record
        })
    }
}

/// Any value that `serde` can serialise, stored as MessagePack with field names.
///
/// MessagePack represents integers, NaN and infinities exactly, and there are libraries for most languages. Enum
/// variants are stored by name. `None` and `()` are both stored as nil, so `Some(None)` is read as `None`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use serde::{Deserialize, Serialize};
/// use simrecorder::{IntoValue, Object, Value};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Parameters { tau: f64, name: String }
///
/// let parameters = Parameters { tau: f64::INFINITY, name: "excitatory".into() };
/// let value = Value::new(Object(&parameters))?;
/// assert_eq!(value.object::<Parameters>()?, parameters);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Object<T>(pub T);

impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object")
            .field(&std::any::type_name::<T>())
            .finish()
    }
}

impl<T: Serialize> IntoValue for Object<T> {
    type Element = ();

    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(RecordRef::variable(Kind::Object, encode_object(&self.0)?))
    }
}

impl Value {
    /// Converts anything that can be recorded.
    ///
    /// # Errors
    /// As for [`IntoValue::as_record`].
    pub fn new(value: impl IntoValue) -> Result<Self> {
        value.as_record().and_then(RecordRef::into_value)
    }
}

impl IntoValue for Value {
    type Element = Self;

    fn as_record(&self) -> Result<RecordRef<'_>> {
        Ok(match self {
            Self::Array(array) => RecordRef {
                kind: Kind::Array,
                dtype: Some(array.dtype()),
                shape: ShapeRef::Slice(array.shape()),
                data: Cow::Borrowed(array.as_bytes()),
            },
            Self::Text(text) => return text.as_record(),
            Self::Bytes(bytes) => RecordRef::variable(Kind::Bytes, bytes.as_slice()),
            Self::Object(object) => RecordRef::variable(Kind::Object, object.as_msgpack()),
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, Slice, arr2};

    use super::*;

    #[test]
    fn an_array_in_any_memory_layout_gives_its_elements_in_row_major_order() {
        let array = arr2(&[[1_i32, 2, 3], [4, 5, 6]]);
        let expected = i32::bytes_of(&[1, 4, 2, 5, 3, 6]);
        assert_eq!(array.t().as_record().unwrap().data(), expected);
        assert_eq!(array.t().to_shared().as_record().unwrap().shape(), [3, 2]);
        let mut reversed = array.slice_axis(Axis(1), Slice::from(1..2));
        reversed.invert_axis(Axis(0));
        assert_eq!(reversed.as_record().unwrap().data(), i32::bytes_of(&[5, 2]));
    }

    #[test]
    fn nested_arrays_and_shaped_slices_have_the_expected_shape() {
        assert_eq!([[[0_u8; 4]; 3]; 2].as_record().unwrap().shape(), [2, 3, 4]);
        let shaped = ([2, 3], [0.0_f32; 6].as_slice());
        assert_eq!(shaped.as_record().unwrap().shape(), [2, 3]);
        assert!(([4], [0.0_f32; 6].as_slice()).as_record().is_err());
        assert_eq!(vec![1_usize].as_record().unwrap().dtype(), Some(DType::U64));
        assert_eq!(Ragged(&[1_usize, 2]).as_record().unwrap().shape(), [2]);
        let points = vec![[0.0_f64, 1.0, 2.0]; 5];
        assert_eq!(points.as_record().unwrap().shape(), [5, 3]);
        assert_eq!(points[1..].as_record().unwrap().data().len(), 4 * 3 * 8);
        assert_eq!(
            (-1_isize).as_record().unwrap().data(),
            (-1_i64).to_ne_bytes()
        );
    }

    #[test]
    fn a_ragged_row_needs_an_axis() {
        assert_eq!(
            Ragged(&[1_u32, 2][..]).as_record().unwrap().kind(),
            Kind::Ragged
        );
        assert!(Ragged(1_u32).as_record().is_err());
        assert!(Ragged("text").as_record().is_err());
    }
}
