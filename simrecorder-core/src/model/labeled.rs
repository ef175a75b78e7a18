//! Values with dimension names and units, and what can be set as a value.

use crate::error::{Error, ErrorKind, Result};
use crate::model::record::{IntoValue, RecordRef};
use crate::model::schema::{DimensionName, check_dimension_names};
use crate::model::value::Value;

/// A value with names of its dimensions and units, for [`Recorder::set`](crate::Recorder::set).
///
/// A value with one axis that is named like the last part of its key is a *coordinate*: other arrays of
/// its group that name this dimension have its elements as labels, which xarray selects by. A series gets
/// its names and units with [`Schema`](crate::Schema) and
/// [`declare`](crate::Recorder::declare) instead.
///
/// ```
/// use simrecorder_core::{InMemoryDataStore, Labeled, Recorder, Schema};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let x = [0.0, 0.5, 1.0];
/// recorder.set("field/x", Labeled::new(&x, ["x"]).units("m"))?;
/// recorder.set("field/dt", Labeled::unnamed(0.1).units("ms"))?;
/// recorder.declare("field/u", Schema::array::<f64>([3]).with_dimension_names(["time", "x"]))?;
///
/// let stored = recorder.get("field/x")?.unwrap();
/// assert_eq!(stored.dimension_names(), Some(&[Some("x".to_owned())][..]));
/// assert_eq!(recorder.attributes("field/x")?.unwrap()["units"], "m");
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Labeled<V> {
    value: V,
    dimension_names: Option<Vec<Option<String>>>,
    units: Option<String>,
}

impl<V: IntoValue> Labeled<V> {
    /// A value with a name, or `None`, for each of its axes.
    ///
    /// Whether the names fit the value is checked when it is set.
    pub fn new<N: Into<DimensionName>>(
        value: V,
        dimension_names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names = dimension_names.into_iter().map(|name| name.into().0);
        Self {
            dimension_names: Some(names.collect()),
            ..Self::unnamed(value)
        }
    }

    /// A value without names, such as a scalar.
    pub fn unnamed(value: V) -> Self {
        Self {
            value,
            dimension_names: None,
            units: None,
        }
    }

    /// Sets the attribute `units`, by the convention of CF, xarray and UDUNITS: `"mV"`. By default it stays
    /// as it is.
    #[must_use]
    pub fn units(mut self, units: impl Into<String>) -> Self {
        self.units = Some(units.into());
        self
    }
}

/// What [`Recorder::set`](crate::Recorder::set) takes: everything that is [`IntoValue`], and [`Labeled`].
///
/// It cannot be implemented elsewhere: implement [`IntoValue`].
pub trait SetValue: sealed::Sealed {
    /// The value as a record, with the names of its dimensions and its units.
    #[doc(hidden)]
    fn as_labeled_record(&self) -> Result<LabeledRecord<'_>>;
}

/// A value that is set, borrowed from the caller.
#[doc(hidden)]
#[derive(Debug)]
pub struct LabeledRecord<'a> {
    pub(crate) record: RecordRef<'a>,
    dimension_names: Option<&'a [Option<String>]>,
    pub(crate) units: Option<&'a str>,
}

impl LabeledRecord<'_> {
    /// The owned value, with its names.
    pub(crate) fn into_value(self) -> Result<Value> {
        let value = self.record.into_value()?;
        match self.dimension_names {
            Some(names) => value.with_dimension_names(names.iter().cloned()),
            None => Ok(value),
        }
    }
}

mod sealed {
    use super::{IntoValue, Labeled};

    pub trait Sealed {}
    impl<V: IntoValue> Sealed for V {}
    impl<V: IntoValue> Sealed for Labeled<V> {}
}

impl<V: IntoValue> SetValue for V {
    fn as_labeled_record(&self) -> Result<LabeledRecord<'_>> {
        Ok(LabeledRecord {
            record: self.as_record()?,
            dimension_names: None,
            units: None,
        })
    }
}

impl<V: IntoValue> SetValue for Labeled<V> {
    fn as_labeled_record(&self) -> Result<LabeledRecord<'_>> {
        Ok(LabeledRecord {
            record: self.value.as_record()?,
            dimension_names: self.dimension_names.as_deref(),
            units: self.units.as_deref(),
        })
    }
}

impl Value {
    /// The same value with a name, or `None`, for each axis. Names do not make values differ.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong number of names, or two equal ones. Only arrays have axes.
    pub fn with_dimension_names<N: Into<DimensionName>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self> {
        let names: Vec<_> = names.into_iter().map(|name| name.into().0).collect();
        let axes = self.as_array().map_or(0, |array| array.shape().len());
        check_dimension_names(&names, axes, "").map_err(|message| {
            Error::new(ErrorKind::InvalidArgument, "name dimensions", message)
        })?;
        if let Self::Array(array) = &mut self {
            array.set_dimension_names(names);
        }
        Ok(self)
    }

    /// The names of the axes, if the value was set with any: see [`Labeled`].
    pub fn dimension_names(&self) -> Option<&[Option<String>]> {
        self.as_array()?.dimension_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Blob;

    #[test]
    fn names_that_do_not_fit_their_value_are_refused() {
        let refused = |value: &dyn SetValue, part: &str| {
            let record = value.as_labeled_record().unwrap();
            let error = record.into_value().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(&Labeled::new([1, 2], ["x", "y"]), "2 dimension names for 1");
        refused(&Labeled::new("text", ["x"]), "1 dimension names for 0");
        refused(&Labeled::new(Blob([1]), ["x"]), "1 dimension names for 0");
        refused(&Labeled::new([[1]; 2], ["x", "x"]), "the name 'x'");
    }

    #[test]
    fn names_do_not_make_values_differ() {
        let named = Value::new([1.0]).and_then(|value| value.with_dimension_names(["x"]));
        assert_eq!(named.unwrap(), Value::new([1.0]).unwrap());
    }
}
