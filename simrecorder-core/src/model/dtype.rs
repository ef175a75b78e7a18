//! Element types of arrays.

use std::fmt;

use bytemuck::Zeroable;
use half::{bf16, f16};
use num_complex::Complex;

use crate::error::{Error, ErrorKind, Result};
use crate::model::large_pages::prefer_large_pages;

/// A number of any element type, for conversion; it represents every element exactly.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Number {
    Integer(i128),
    Real(f64),
    Complex(f64, f64),
}

impl Number {
    /// The nearest floating-point number, of a complex number its real part.
    pub(crate) fn real(self) -> f64 {
        match self {
            Self::Integer(x) => x as f64,
            Self::Real(x) | Self::Complex(x, _) => x,
        }
    }
}

/// Does `work` with the Rust type `T` of real numbers; `other` for other types.
macro_rules! for_real_type {
    ($dtype:expr, $T:ident => $work:expr, $other:expr) => {
        for_real_type!(@ $dtype, $T => $work, $other, Bool: bool, I8: i8, I16: i16, I32: i32, I64: i64, U8: u8,
            U16: u16, U32: u32, U64: u64, F16: half::f16, BF16: half::bf16, F32: f32, F64: f64)
    };
    (@ $dtype:expr, $T:ident => $work:expr, $other:expr, $($name:ident: $type:ty),*) => {
        match $dtype {
            $(Some($crate::model::dtype::DType::$name) => {
                type $T = $type;
                $work
            })*
            _ => $other,
        }
    };
}
pub(crate) use for_real_type;

/// The type of the elements of an array.
///
/// Its name is the one that Zarr V3 and NumPy use.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::DType;
///
/// assert_eq!(DType::F32.to_string(), "float32");
/// assert_eq!(DType::F32.size(), 4);
/// assert_eq!("complex128".parse::<DType>()?, DType::Complex128);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// `bool`, one byte that is 0 or 1.
    Bool,
    /// `i8`
    I8,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// IEEE half precision, [`half::f16`].
    F16,
    /// The upper half of an `f32`, [`half::bf16`].
    BF16,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// Two `f32`, [`num_complex::Complex32`].
    Complex64,
    /// Two `f64`, [`num_complex::Complex64`].
    Complex128,
}

impl DType {
    /// All element types.
    pub const ALL: [Self; 15] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F16,
        Self::BF16,
        Self::F32,
        Self::F64,
        Self::Complex64,
        Self::Complex128,
    ];

    /// Returns the size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
        }
    }

    /// Whether elements are floating-point or complex numbers.
    pub const fn is_floating(self) -> bool {
        match self {
            Self::F16 | Self::BF16 | Self::F32 | Self::F64 => true,
            Self::Complex64 | Self::Complex128 => true,
            Self::Bool | Self::I8 | Self::I16 | Self::I32 | Self::I64 => false,
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => false,
        }
    }

    /// Returns the name in Zarr V3 and NumPy, such as `float32`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for DType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.as_str() == name)
            .ok_or_else(|| {
                let message = format!("unknown element type '{}'", name.escape_debug());
                Error::new(ErrorKind::Unsupported, "read element type", message)
            })
    }
}

mod sealed {
    pub trait Sealed: bytemuck::Zeroable {}
}

/// A Rust type of elements: `bool`, `i8`–`i64`, `u8`–`u64`, `f32`, `f64`, [`half::f16`], [`half::bf16`], and the two
/// complex types of `num_complex`.
///
/// Every backend stores all of them. Other types cannot implement this trait.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Element, InMemoryDataStore, Recorder, Result, View};
///
/// fn first<T: Element>(view: &View) -> Result<T> {
///     view.get(0)?.scalar()
/// }
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("net/rate", 0.5)?;
/// assert_eq!(first::<f64>(&recorder.get_all("net/rate")?)?, 0.5);
/// assert_eq!(f64::DTYPE.to_string(), "float64");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element type",
    note = "elements are `bool`, integers and floats of at most 64 bits, `half::f16`, `half::bf16`, \
            `num_complex::Complex32` and `num_complex::Complex64`",
    note = "the rows of a `Vec<Vec<f64>>` may differ in length: record each as `Ragged(&row)`, or, if they \
            do not, record an `Array2` of `simrecorder::ndarray` or a `Vec<[f64; N]>`"
)]
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// The element type of `Self`.
    const DTYPE: DType;

    /// The bytes of `elements`, in native order.
    #[doc(hidden)]
    fn bytes_of(elements: &[Self]) -> &[u8];

    /// Calls `fill` with the bytes of `elements`, or with zeros that become them. Bytes that are
    /// no valid element (a `bool` of 2) are an error.
    #[doc(hidden)]
    fn fill(elements: &mut [Self], fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()>;

    /// `len` zeroed elements after [`fill`](Self::fill).
    #[doc(hidden)]
    fn filled_with(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Vec<Self>> {
        let mut elements = zeroed(len)?;
        Self::fill(&mut elements, |bytes| {
            prefer_large_pages(bytes);
            fill(bytes)
        })?;
        Ok(elements)
    }

    /// The elements that `bytes` are, in native order.
    #[doc(hidden)]
    fn decoded(bytes: &[u8]) -> Result<Vec<Self>> {
        Self::filled_with(bytes.len() / size_of::<Self>(), |out| {
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    #[doc(hidden)]
    fn to_number(self) -> Number;

    /// `None` if that would lose an imaginary part.
    #[doc(hidden)]
    fn from_number(number: Number) -> Option<Self>;
}

fn zeroed<T: Zeroable>(len: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| {
        let size = size_of::<T>();
        let message = format!(
            "{len} elements of {size} bytes do not fit into memory; read a smaller selection"
        );
        Error::new(ErrorKind::TooLarge, "read", message)
    })
}

macro_rules! element {
    ($($type:ty => $dtype:ident, $to:expr, $from:expr;)*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;

            #[inline]
            fn bytes_of(elements: &[Self]) -> &[u8] {
                bytemuck::cast_slice(elements)
            }

            fn fill(
                elements: &mut [Self],
                fill: impl FnOnce(&mut [u8]) -> Result<()>,
            ) -> Result<()> {
                fill(bytemuck::cast_slice_mut(elements))
            }

            fn to_number(self) -> Number {
                let to: fn($type) -> Number = $to;
                to(self)
            }

            fn from_number(number: Number) -> Option<Self> {
                let from: fn(Number) -> Option<$type> = $from;
                from(number)
            }
        }
    )*};
}

macro_rules! real {
    ($type:ty) => {
        |number| match number {
            Number::Integer(x) => Some(x as $type),
            Number::Real(x) => Some(x as $type),
            Number::Complex(..) => None,
        }
    };
}

macro_rules! complex {
    ($type:ty) => {
        |number| {
            Some(match number {
                Number::Integer(x) => Complex::new(x as $type, 0.0),
                Number::Real(x) => Complex::new(x as $type, 0.0),
                Number::Complex(re, im) => Complex::new(re as $type, im as $type),
            })
        }
    };
}

fn to_f64(number: Number) -> Option<f64> {
    f64::from_number(number)
}

element! {
    i8 => I8, |x| Number::Integer(x.into()), real!(i8);
    i16 => I16, |x| Number::Integer(x.into()), real!(i16);
    i32 => I32, |x| Number::Integer(x.into()), real!(i32);
    i64 => I64, |x| Number::Integer(x.into()), real!(i64);
    u8 => U8, |x| Number::Integer(x.into()), real!(u8);
    u16 => U16, |x| Number::Integer(x.into()), real!(u16);
    u32 => U32, |x| Number::Integer(x.into()), real!(u32);
    u64 => U64, |x| Number::Integer(x.into()), real!(u64);
    f16 => F16, |x| Number::Real(x.into()), |number| to_f64(number).map(f16::from_f64);
    bf16 => BF16, |x| Number::Real(x.into()), |number| to_f64(number).map(bf16::from_f64);
    f32 => F32, |x| Number::Real(x.into()), real!(f32);
    f64 => F64, Number::Real, real!(f64);
    Complex<f32> => Complex64, |x| Number::Complex(x.re.into(), x.im.into()), complex!(f32);
    Complex<f64> => Complex128, |x| Number::Complex(x.re, x.im), complex!(f64);
}

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;

    #[inline]
    fn bytes_of(elements: &[Self]) -> &[u8] {
        bytemuck::cast_slice(elements)
    }

    fn fill(elements: &mut [Self], fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        let mut bytes: Vec<u8> = zeroed(elements.len())?;
        fill(&mut bytes)?;
        for (element, byte) in elements.iter_mut().zip(bytes) {
            *element = match byte {
                0 => false,
                1 => true,
                _ => {
                    let message = format!("a bool is stored as 0 or 1, but this byte is {byte}");
                    return Err(Error::new(ErrorKind::Corrupt, "read", message));
                }
            };
        }
        Ok(())
    }

    fn to_number(self) -> Number {
        Number::Integer(self.into())
    }

    fn from_number(number: Number) -> Option<Self> {
        Some(match number {
            Number::Integer(x) => x != 0,
            Number::Real(x) => x != 0.0,
            Number::Complex(re, im) => re != 0.0 || im != 0.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_to_its_type() {
        for dtype in DType::ALL {
            assert_eq!(dtype.as_str().parse::<DType>().unwrap(), dtype);
        }
        assert!("float23".parse::<DType>().is_err());
    }

    #[test]
    fn a_bool_that_is_neither_0_nor_1_is_corrupt() {
        let error = bool::filled_with(1, |bytes| {
            bytes[0] = 2;
            Ok(())
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
