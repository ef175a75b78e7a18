//! Single elements of arrays of any type.

use std::fmt;

use serde_json::{Number, Value as Json, json};
use simrecorder::half::{bf16, f16};
use simrecorder::{ArrayValue, DType, Value};

/// An element of an array. `Display` prints enough digits to parse the same element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Element {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    /// Also a 16-bit float.
    Single(f32),
    Double(f64),
    Complex64(f32, f32),
    Complex128(f64, f64),
    /// An element of a type that this version does not know.
    Unknown,
}

/// The elements of an array in row-major order.
pub(crate) fn elements(array: &ArrayValue) -> impl ExactSizeIterator<Item = Element> {
    let dtype = array.dtype();
    let bytes = array.as_bytes().chunks_exact(dtype.size());
    bytes.map(move |bytes| Element::from_bytes(dtype, bytes))
}

/// A scalar as the nearest `f64`.
pub(crate) fn scalar(value: Value) -> Option<f64> {
    match value {
        Value::Array(array) => elements(&array).next().map(Element::to_f64),
        _ => None,
    }
}

impl Element {
    pub(crate) fn from_bytes(dtype: DType, bytes: &[u8]) -> Self {
        macro_rules! read {
            ($type:ty, $bytes:expr) => {{
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice($bytes);
                <$type>::from_ne_bytes(array)
            }};
            ($type:ty) => {
                read!($type, bytes)
            };
        }
        match dtype {
            DType::Bool => Self::Bool(bytes != [0]),
            DType::I8 => Self::Signed(read!(i8).into()),
            DType::I16 => Self::Signed(read!(i16).into()),
            DType::I32 => Self::Signed(read!(i32).into()),
            DType::I64 => Self::Signed(read!(i64)),
            DType::U8 => Self::Unsigned(read!(u8).into()),
            DType::U16 => Self::Unsigned(read!(u16).into()),
            DType::U32 => Self::Unsigned(read!(u32).into()),
            DType::U64 => Self::Unsigned(read!(u64)),
            DType::F16 => Self::Single(read!(f16).to_f32()),
            DType::BF16 => Self::Single(read!(bf16).to_f32()),
            DType::F32 => Self::Single(read!(f32)),
            DType::F64 => Self::Double(read!(f64)),
            DType::Complex64 => {
                let (re, im) = bytes.split_at(4);
                Self::Complex64(read!(f32, re), read!(f32, im))
            }
            DType::Complex128 => {
                let (re, im) = bytes.split_at(8);
                Self::Complex128(read!(f64, re), read!(f64, im))
            }
            _ => Self::Unknown,
        }
    }

    /// The nearest `f64`; for a complex number, that of its real part.
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Bool(x) => x.into(),
            Self::Signed(x) => x as f64,
            Self::Unsigned(x) => x as f64,
            Self::Single(x) | Self::Complex64(x, _) => x.into(),
            Self::Double(x) | Self::Complex128(x, _) => x,
            Self::Unknown => f64::NAN,
        }
    }

    /// The element as JSON. NaN and infinities, which JSON lacks, are text. A complex number is a
    /// pair.
    pub(crate) fn to_json(self) -> Json {
        match self {
            Self::Bool(x) => x.into(),
            Self::Signed(x) => x.into(),
            Self::Unsigned(x) => x.into(),
            Self::Single(x) => single_to_json(x),
            Self::Double(x) => double_to_json(x),
            Self::Complex64(re, im) => json!([single_to_json(re), single_to_json(im)]),
            Self::Complex128(re, im) => json!([double_to_json(re), double_to_json(im)]),
            Self::Unknown => Json::Null,
        }
    }
}

/// The shortest number that parses to the same `f32`.
fn single_to_json(x: f32) -> Json {
    match x.is_finite() {
        true => double_to_json(x.to_string().parse().unwrap_or(x.into())),
        false => double_to_json(x.into()),
    }
}

pub(crate) fn double_to_json(x: f64) -> Json {
    match Number::from_f64(x) {
        Some(number) => number.into(),
        None if x.is_nan() => "NaN".into(),
        None if x > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(x) => write!(f, "{x}"),
            Self::Signed(x) => write!(f, "{x}"),
            Self::Unsigned(x) => write!(f, "{x}"),
            Self::Single(x) => write!(f, "{x:?}"),
            Self::Double(x) => write!(f, "{x:?}"),
            Self::Complex64(re, im) => write!(f, "{re:?}{im:+?}i"),
            Self::Complex128(re, im) => write!(f, "{re:?}{im:+?}i"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// A value as JSON: an array as nested lists, bytes as hexadecimal digits, an object unchanged.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Array(array) => nested(array.shape(), &mut elements(array)),
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(bytes) => hex(bytes).into(),
        Value::Object(object) => object
            .read()
            .unwrap_or_else(|_| json!({"msgpack": hex(object.as_msgpack())})),
        _ => Json::Null,
    }
}

fn nested(shape: &[usize], elements: &mut impl Iterator<Item = Element>) -> Json {
    match shape.split_first() {
        None => elements.next().map_or(Json::Null, Element::to_json),
        Some((&len, inner)) => (0..len).map(|_| nested(inner, elements)).collect(),
    }
}

/// Two hexadecimal digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
