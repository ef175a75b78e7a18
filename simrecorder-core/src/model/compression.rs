//! The compression of chunks, and rounding within an error bound.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use half::{bf16, f16};

use crate::error::{Error, ErrorKind, Result};

use crate::model::dtype::DType;

/// How chunks are compressed.
///
/// | | numbers | size | speed of recording |
/// |---|---|---|---|
/// | `None` | exact | that of the data | the highest, if the disk keeps up |
/// | `Fast`, the default | exact | smaller if data repeat or vary little | somewhat below `None`; above it if data shrink a lot |
/// | `Small` | exact | somewhat smaller than `Fast` | about half of `Fast` |
/// | `Lossy` | floating-point numbers within a bound, all others exact | a fraction of `Small` | between `Small` and `Fast` |
///
/// Other software reads all of them without plugins, such as zarr-python, xarray and TensorStore for Zarr.
/// `docs/compression.md` in the repository has measurements.
///
/// With `Lossy`, the store rounds floating-point numbers by at most the bound, as [`ErrorBound::round`] specifies. All
/// reads of a number return the same result, before and after its chunk is full. A store may keep numbers more exactly;
/// the in-memory store does not round. Series without floating-point numbers and values that are
/// [set](crate::Recorder::set) are exact.
///
/// The text form is `none`, `fast`, `small`, or `lossy:` followed by the bound:
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Compression, Schema};
///
/// let compression = Compression::lossy(1e-3)?;
/// let schema = Schema::scalar::<f64>().with_units("mV").with_compression(compression);
/// assert_eq!(schema.compression(), Some(compression));
/// assert_eq!("lossy:1e-3".parse::<Compression>()?, compression);
/// assert_eq!(compression.to_string(), "lossy:0.001");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    None,
    /// Lossless and fast.
    #[default]
    Fast,
    /// Lossless, smaller and slower.
    Small,
    /// Floating-point numbers are rounded within a bound; the rest is lossless.
    Lossy(ErrorBound),
}

impl Compression {
    /// Returns [`Compression::Lossy`] with the bound `max_error`, in the units of the data.
    ///
    /// # Errors
    /// As for [`ErrorBound::new`].
    pub fn lossy(max_error: f64) -> Result<Self> {
        ErrorBound::new(max_error).map(Self::Lossy)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fast => f.write_str("fast"),
            Self::Small => f.write_str("small"),
            Self::Lossy(bound) => write!(f, "lossy:{:?}", bound.max_error()),
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let message = format!(
                "unknown compression '{}'; use none, fast, small or lossy:E, where E \
                 is the largest absolute error, such as lossy:1e-3",
                text.escape_debug()
            );
            Error::new(ErrorKind::InvalidArgument, "read compression", message)
        };
        match text {
            "none" => Ok(Self::None),
            "fast" => Ok(Self::Fast),
            "small" => Ok(Self::Small),
            _ => {
                let max_error = text.strip_prefix("lossy:").ok_or_else(refuse)?;
                Self::lossy(max_error.parse().map_err(|_| refuse())?)
            }
        }
    }
}

/// The largest difference between a stored number and the recorded one: a finite number above zero, in the units of the
/// data.
///
/// The difference is absolute, |stored − recorded|. The bound applies to each floating-point number of any magnitude,
/// and to each part of a complex number.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::ErrorBound;
///
/// let bound = ErrorBound::new(0.05)?;
/// assert_eq!(bound.max_error(), 0.05);
/// assert!(ErrorBound::new(0.0).is_err());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorBound(f64);

// A bound is never NaN.
impl Eq for ErrorBound {}

impl Hash for ErrorBound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl ErrorBound {
    /// Creates a bound.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `max_error` is zero, negative, infinite or NaN. For exact numbers, use
    /// [`Compression::Fast`] or [`Compression::Small`].
    pub fn new(max_error: f64) -> Result<Self> {
        if max_error > 0.0 && max_error.is_finite() {
            return Ok(Self(max_error));
        }
        let message = format!(
            "the error bound is {max_error}, but must be finite and above zero; use fast or small \
             to keep every number exactly"
        );
        let kind = ErrorKind::InvalidArgument;
        Err(Error::new(kind, "choose compression", message))
    }

    /// Returns the bound.
    pub fn max_error(self) -> f64 {
        self.0
    }

    /// Rounds elements of type `dtype`, given by their bytes, as stores do with [`Compression::Lossy`].
    ///
    /// - Each finite number becomes the nearest multiple of a step; of two that are equally near, the even one. The
    ///   step is the largest power of two that is at most twice the bound, but at most 2⁹⁷⁰ (2¹⁰³ for numbers of 32
    ///   bits and less).
    /// - No number changes by more than the bound. Large numbers that are multiples of the step already do not change.
    /// - Infinities, NaN and numbers that would round to an infinity keep every bit. Signs do not change, even of zero.
    /// - Rounding twice gives the same result as rounding once. Rounding preserves order.
    /// - Both parts of a complex number are rounded. Elements of other types do not change.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{DType, ErrorBound};
    ///
    /// let mut elements = 0.3_f64.to_le_bytes();
    /// ErrorBound::new(0.125)?.round(DType::F64, &mut elements); // to multiples of 1/4
    /// assert_eq!(f64::from_le_bytes(elements), 0.25);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn round(self, dtype: DType, elements: &mut [u8]) {
        // The largest power of two that is at most the bound: half a step.
        let bits = self.0.to_bits();
        let half_step = match self.0.is_normal() {
            true => f64::from_bits(bits >> 52 << 52),
            false => f64::from_bits(1 << bits.ilog2()),
        };
        // From here to twice of it, floating-point numbers are the multiples of the step.
        let coarse = (half_step * 2_f64.powi(53)).min(2_f64.powi(1022));
        let coarse_f32 = (half_step * 2_f64.powi(24)).min(2_f64.powi(126)) as f32;
        match dtype {
            DType::F64 | DType::Complex128 => for_each(elements, |bytes| {
                round_f64(f64::from_le_bytes(bytes), coarse).to_le_bytes()
            }),
            DType::F32 | DType::Complex64 => for_each(elements, |bytes| {
                round_f32(f32::from_le_bytes(bytes), coarse_f32).to_le_bytes()
            }),
            DType::F16 => for_each(elements, |bytes| {
                let number = f16::from_le_bytes(bytes).to_f32();
                let rounded = f16::from_f32(round_f32(number, coarse_f32));
                if rounded.is_finite() {
                    rounded.to_le_bytes()
                } else {
                    bytes
                }
            }),
            DType::BF16 => for_each(elements, |bytes| {
                let number = bf16::from_le_bytes(bytes).to_f32();
                let rounded = bf16::from_f32(round_f32(number, coarse_f32));
                if rounded.is_finite() {
                    rounded.to_le_bytes()
                } else {
                    bytes
                }
            }),
            _ => {}
        }
    }
}

fn for_each<const N: usize>(elements: &mut [u8], change: impl Fn([u8; N]) -> [u8; N]) {
    for element in elements.as_chunks_mut().0 {
        *element = change(*element);
    }
}

/// Rounds numbers below `coarse` to multiples of the distance between floating-point numbers above it: the processor
/// rounds the sum in this way, and the difference is exact.
fn round_f64(number: f64, coarse: f64) -> f64 {
    let rounded = (number.abs() + coarse) - coarse;
    if number.abs() < coarse {
        rounded.copysign(number)
    } else {
        number
    }
}

/// Like [`round_f64`].
fn round_f32(number: f32, coarse: f32) -> f32 {
    let rounded = (number.abs() + coarse) - coarse;
    if number.abs() < coarse {
        rounded.copysign(number)
    } else {
        number
    }
}
