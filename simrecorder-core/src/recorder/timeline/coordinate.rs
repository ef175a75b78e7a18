//! Coordinates of timelines: how a user describes one, and its numbers.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{DType, Element};
use crate::model::key::Key;
use crate::model::record::ScalarRef;
use crate::model::schema::{Attributes, Schema};
use crate::reading::coordinate::CoordinateNumber;

/// The coordinate of a timeline: the name of the series that gives each tick its time or step, with its
/// units and other attributes.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Coordinate;
///
/// let time = Coordinate::new("time").units("ms").attribute("long_name", "biological time");
/// assert_eq!(time.name(), "time");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    name: String,
    attributes: Attributes,
}

impl Coordinate {
    /// Describes a coordinate called `name`, one segment of a key such as `time` or `step`. It is also the name of
    /// the first dimension of all series of the timeline.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            attributes: Attributes::new(),
        }
    }

    /// Sets the attribute `units`, such as `"ms"`. Other software reads units such as `seconds since 1970-01-01` as
    /// dates.
    #[must_use]
    pub fn units(self, units: impl Into<String>) -> Self {
        self.attribute("units", units.into())
    }

    /// Sets one attribute.
    #[must_use]
    pub fn attribute(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Replaces all attributes.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the coordinate's series in a group.
    pub(in crate::recorder) fn key(&self, group: &Key) -> Result<Key> {
        member_key(group, &self.name)
    }

    /// The schema of the coordinate's series.
    pub(in crate::recorder) fn schema(&self, dtype: DType) -> Schema {
        Schema::array_of(dtype, [])
            .with_dimension_names([self.name.clone()])
            .with_attributes(self.attributes.clone())
    }
}

/// The key of a series right below the group of a timeline.
pub(in crate::recorder) fn member_key(group: &Key, name: &str) -> Result<Key> {
    let key = group.join(name)?;
    if key.name() != name {
        let message = format!(
            "'{name}' is not a single segment of a key, such as '{}'",
            key.name()
        );
        return Err(Error::new(ErrorKind::InvalidKey, "timeline", message).with_key(name));
    }
    Ok(key)
}

/// The number types that a coordinate can have: `f64`, `i64` and `u64`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, CoordinateType, InMemoryDataStore, Recorder, Result};
///
/// fn record_rates<T: CoordinateType>(recorder: &Recorder, group: &str, ticks: [T; 2]) -> Result<()> {
///     let mut net = recorder.timeline(group, Coordinate::new("t"))?;
///     for tick in ticks {
///         net.tick(tick, [("rate", 0.5)])?;
///     }
///     net.finish()
/// }
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// record_rates(&recorder, "by_time", [0.1, 0.2])?;
/// record_rates(&recorder, "by_step", [1_u64, 2])?;
/// # assert_eq!(recorder.get_all("by_step/t")?.len(), 2);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub trait CoordinateType:
    Element + Copy + PartialOrd + Into<CoordinateNumber> + private::Sealed
{
    /// The number, without its type.
    #[doc(hidden)]
    fn into_value(self) -> CoordinateValue;

    /// The number, if it is of this type.
    #[doc(hidden)]
    fn from_value(value: CoordinateValue) -> Option<Self>;

    /// Whether it is a number that can be compared with others.
    #[doc(hidden)]
    fn is_number(self) -> bool {
        self.partial_cmp(&self).is_some()
    }
}

mod private {
    pub trait Sealed {}
}

/// A number on a coordinate.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CoordinateValue {
    F64(f64),
    I64(i64),
    U64(u64),
}

impl CoordinateValue {
    /// The number with these bytes.
    #[inline(always)]
    pub(super) fn from_bytes(dtype: DType, bytes: [u8; 8]) -> Option<Self> {
        match dtype {
            DType::F64 => Some(Self::F64(f64::from_ne_bytes(bytes))),
            DType::I64 => Some(Self::I64(i64::from_ne_bytes(bytes))),
            DType::U64 => Some(Self::U64(u64::from_ne_bytes(bytes))),
            _ => None,
        }
    }
}

impl fmt::Display for CoordinateValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64(number) => number.fmt(f),
            Self::I64(number) => number.fmt(f),
            Self::U64(number) => number.fmt(f),
        }
    }
}

macro_rules! coordinate_type {
    ($($type:ty => $variant:ident),*) => {$(
        impl private::Sealed for $type {}

        impl CoordinateType for $type {
            #[inline(always)]
            fn into_value(self) -> CoordinateValue {
                CoordinateValue::$variant(self)
            }

            #[inline(always)]
            fn from_value(value: CoordinateValue) -> Option<Self> {
                match value {
                    CoordinateValue::$variant(number) => Some(number),
                    _ => None,
                }
            }
        }
    )*};
}

coordinate_type!(f64 => F64, i64 => I64, u64 => U64);

/// A number on a coordinate as its series records it.
#[inline(always)]
pub(in crate::recorder) fn as_scalar<T: CoordinateType>(number: &T) -> ScalarRef<'_> {
    ScalarRef {
        dtype: T::DTYPE,
        data: T::bytes_of(std::slice::from_ref(number)),
    }
}
