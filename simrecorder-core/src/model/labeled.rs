//! Values with dimension names and units.

use crate::error::{Error, ErrorKind, Result};
use crate::model::record::{IntoValue, RecordRef};
use crate::model::schema::{DimensionName, check_dimension_names};
use crate::model::value::Value;

/// A value with dimension names and units, for [`Recorder::set`](crate::Recorder::set).
///
/// A value with one axis, named like the last part of its key, is a *coordinate*: its elements are the labels of this
/// dimension for the arrays of the same group, and [`select_by`](crate::View#method.select_by) and xarray select by
/// them. For a series, set names and units with [`Schema`](crate::Schema) and [`declare`](crate::Recorder::declare).
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Labeled, Recorder, Schema};
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
    /// Adds a name, or `None`, for each axis of a value.
    ///
    /// [`Recorder::set`](crate::Recorder::set) checks that the names fit the value.
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

    /// Wraps a value without dimension names, such as a scalar, to add units.
    pub fn unnamed(value: V) -> Self {
        Self {
            value,
            dimension_names: None,
            units: None,
        }
    }

    /// Sets the attribute `units`, by the convention of CF, xarray and UDUNITS: `"mV"`. Without this call, the attribute
    /// does not change.
    #[must_use]
    pub fn units(mut self, units: impl Into<String>) -> Self {
        self.units = Some(units.into());
        self
    }
}

/// A value that [`Recorder::set`](crate::Recorder::set) takes: any [`IntoValue`], or [`Labeled`].
///
/// Other types cannot implement this trait; implement [`IntoValue`] instead.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Labeled, Recorder, Result, SetValue};
///
/// fn set_parameter(recorder: &Recorder, name: &str, value: impl SetValue) -> Result<()> {
///     recorder.set(format!("meta/{name}"), value)
/// }
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// set_parameter(&recorder, "seed", 42_u64)?;
/// set_parameter(&recorder, "dt", Labeled::unnamed(0.1).units("ms"))?;
/// # assert_eq!(recorder.keys()?.len(), 2);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
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
    /// Sets a name, or `None`, for each axis. Comparisons of values ignore names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong number of names, or two equal names. Only arrays have axes.
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

    /// Returns the names of the axes, if the value was set with names: see [`Labeled`].
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
    fn values_with_different_names_are_equal() {
        let named = Value::new([1.0]).and_then(|value| value.with_dimension_names(["x"]));
        assert_eq!(named.unwrap(), Value::new([1.0]).unwrap());
    }
}
