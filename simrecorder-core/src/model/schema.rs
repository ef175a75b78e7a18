//! Schemas: the kind, element type and record shape of a series, and how it is stored.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::dtype::{DType, Element};
use crate::model::kind::Kind;
use crate::model::mismatch::remedy;
use crate::model::record::IntoValue;
use crate::model::record::RecordRef;
use crate::model::value::ArrayValue;
use crate::model::value::Value;

/// User metadata of a group, value or series: a JSON object.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use serde_json::json;
/// use simrecorder::{Attributes, InMemoryDataStore, Recorder};
///
/// let mut attributes = Attributes::new();
/// attributes.insert("title".into(), json!("Brunel 2000"));
/// attributes.insert("g".into(), json!(5.0));
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.set_attributes("net", attributes)?;
/// assert_eq!(recorder.attributes("net")?.unwrap()["g"], 5.0);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub type Attributes = serde_json::Map<String, serde_json::Value>;

/// The properties of a series: the type of its records, and how they are stored.
///
/// The first record of a series fixes its schema. To set dimension names, units, compression or other options,
/// [`declare`](crate::Recorder::declare) the series before:
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, Schema};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let schema = Schema::array::<f32>([100])
///     .with_dimension_names(["time", "neuron"])
///     .with_units("mV")
///     .with_attribute("comment", "excitatory neurons only");
/// assert_eq!(schema.to_string(), "array of float32, shape [100]");
/// recorder.declare("net/v", schema)?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Schema {
    kind: Kind,
    dtype: Option<DType>,
    record_shape: Vec<u64>,
    dimension_names: Option<Vec<Option<String>>>,
    attributes: Attributes,
    fill_value: Option<Value>,
    chunk_policy: Option<ChunkPolicy>,
    compression: Option<Compression>,
}

impl Schema {
    fn new(kind: Kind, dtype: Option<DType>, record_shape: Vec<u64>) -> Self {
        Self {
            kind,
            dtype,
            record_shape,
            dimension_names: None,
            attributes: Attributes::new(),
            fill_value: None,
            chunk_policy: None,
            compression: None,
        }
    }

    /// Describes scalars of type `T`.
    pub fn scalar<T: Element>() -> Self {
        Self::array::<T>([])
    }

    /// Describes arrays of `T` with the shape `record_shape`.
    pub fn array<T: Element>(record_shape: impl Into<Vec<u64>>) -> Self {
        Self::array_of(T::DTYPE, record_shape)
    }

    /// Like [`Schema::array`], with an element type that is known only at run time.
    pub fn array_of(dtype: DType, record_shape: impl Into<Vec<u64>>) -> Self {
        Self::new(Kind::Array, Some(dtype), record_shape.into())
    }

    /// Describes rows of different length. `item_shape` is the shape of an item of a row: `[]` for a row of scalars,
    /// `[3]` for a row of 3-d points.
    pub fn ragged<T: Element>(item_shape: impl Into<Vec<u64>>) -> Self {
        Self::ragged_of(T::DTYPE, item_shape)
    }

    /// Like [`Schema::ragged`], with an element type that is known only at run time.
    pub fn ragged_of(dtype: DType, item_shape: impl Into<Vec<u64>>) -> Self {
        Self::new(Kind::Ragged, Some(dtype), item_shape.into())
    }

    /// Describes text of any length.
    pub fn text() -> Self {
        Self::new(Kind::Text, None, Vec::new())
    }

    /// Describes opaque bytes of any length.
    pub fn bytes() -> Self {
        Self::new(Kind::Bytes, None, Vec::new())
    }

    /// Describes serialised objects.
    pub fn object() -> Self {
        Self::new(Kind::Object, None, Vec::new())
    }

    /// The schema of a series whose first record is this one.
    pub(crate) fn of_record(record: &RecordRef<'_>) -> Self {
        let mut shape: Vec<u64> = record.shape().iter().map(|&len| len as u64).collect();
        if record.kind() == Kind::Ragged {
            shape.remove(0);
        }
        Self::new(record.kind(), record.dtype(), shape)
    }

    /// Names the axes: a name or `None` for the axis along the records, and then for each axis of a record. If a
    /// backend needs names, unnamed axes get default names. Ragged series, text, bytes and objects have one axis.
    #[must_use]
    pub fn with_dimension_names<N: Into<DimensionName>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.dimension_names = Some(names.into_iter().map(|name| name.into().0).collect());
        self
    }

    /// Sets the attribute `units`, by the convention of CF, xarray and UDUNITS, such as `"mV"`.
    #[must_use]
    pub fn with_units(self, units: impl Into<String>) -> Self {
        self.with_attribute("units", units.into())
    }

    /// Sets one attribute.
    #[must_use]
    pub fn with_attribute(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Replaces all attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Sets the value of elements that were never written, a scalar of the element type; by default zero. Only arrays
    /// have a fill value. A series of a [`Timeline`](crate::Timeline) has it in ticks without a record, and other
    /// software shows it if a chunk is missing.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::{Coordinate, InMemoryDataStore, Recorder, Schema};
    ///
    /// let recorder = Recorder::new(InMemoryDataStore::new());
    /// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
    /// net.declare("weight", Schema::scalar::<f64>().with_fill_value(f64::NAN))?;
    /// net.tick(0_u64, [("rate", 0.5)])?; // the weight is not measured in this step
    /// net.finish()?;
    /// assert!(recorder.get_all("net/weight")?.get(0)?.scalar::<f64>()?.is_nan());
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_fill_value<T: Element>(self, fill_value: T) -> Self {
        let bytes = T::bytes_of(std::slice::from_ref(&fill_value)).to_vec();
        match ArrayValue::from_bytes(T::DTYPE, Vec::new(), bytes) {
            Ok(scalar) => self.with_fill_value_of(scalar),
            Err(_) => self,
        }
    }

    /// Like [`with_fill_value`](Self::with_fill_value), with a type that is known only at run time.
    #[must_use]
    pub fn with_fill_value_of(mut self, fill_value: ArrayValue) -> Self {
        self.fill_value = Some(Value::Array(fill_value));
        self
    }

    /// Sets how records are cut into chunks; by default as the store was set to.
    #[must_use]
    pub fn with_chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = Some(policy);
        self
    }

    /// Sets how chunks are compressed; by default as the store was set to.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The same schema without chunk policy and compression, which the store then chooses.
    #[must_use]
    pub(crate) fn without_storage(mut self) -> Self {
        self.chunk_policy = None;
        self.compression = None;
        self
    }

    /// Returns the kind of the records.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the element type; `None` for text, bytes and objects.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// Returns the shape of one record; of a ragged series, the shape of one item of a row.
    pub fn record_shape(&self) -> &[u64] {
        &self.record_shape
    }

    /// Returns the size in bytes of one record, or of one item of a ragged row; 1 for kinds without an element type.
    /// `None` if that overflows `usize`.
    pub fn record_bytes(&self) -> Option<usize> {
        self.record_shape
            .iter()
            .try_fold(self.dtype.map_or(1, DType::size), |bytes, &len| {
                bytes.checked_mul(usize::try_from(len).ok()?)
            })
    }

    /// Returns the names of the axes, records first, if they were set.
    pub fn dimension_names(&self) -> Option<&[Option<String>]> {
        self.dimension_names.as_deref()
    }

    /// Returns the attributes.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Returns the fill value, if it was set.
    pub fn fill_value(&self) -> Option<&Value> {
        self.fill_value.as_ref()
    }

    /// The value of elements that are not stored: the fill value, or the default of the type.
    pub(crate) fn fill_element<T: Element>(&self) -> Result<T> {
        let fill = self.fill_value().map(Value::scalar::<T>).transpose()?;
        Ok(fill.unwrap_or_default())
    }

    /// Returns the chunk policy, if it was set.
    pub fn chunk_policy(&self) -> Option<&ChunkPolicy> {
        self.chunk_policy.as_ref()
    }

    /// Returns the compression, if it was set; for a stored series, its compression, if that is known.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Returns the number of axes of the series, including the one along the records.
    pub fn axes(&self) -> usize {
        if self.kind == Kind::Array {
            self.record_shape.len() + 1
        } else {
            1
        }
    }

    /// Checks that the schema is consistent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong number of dimension names, two equal names, a
    /// fill value of another type, records that do not fit into memory, or ragged rows whose
    /// items have no elements.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| {
            Err(Error::new(
                ErrorKind::InvalidArgument,
                "check schema",
                message,
            ))
        };
        if let Some(names) = &self.dimension_names {
            let first = "; the first names the axis along the records";
            check_dimension_names(names, self.axes(), first).or_else(refuse)?;
        }
        if let Some(fill) = &self.fill_value
            && (fill.dtype() != self.dtype || self.dtype.is_none())
        {
            return refuse(format!(
                "the fill value is a {}, but the series holds {self}; use a scalar of its element type",
                fill.describe()
            ));
        }
        if self
            .record_bytes()
            .is_none_or(|bytes| bytes > isize::MAX as usize)
        {
            return refuse(format!(
                "a record of shape {:?} does not fit into memory",
                self.record_shape
            ));
        }
        if self.kind == Kind::Ragged && self.record_bytes() == Some(0) {
            return refuse(format!(
                "items of shape {:?} have no elements, so the length of a row would be lost",
                self.record_shape
            ));
        }
        if let Some(policy) = &self.chunk_policy
            && self.kind == Kind::Array
        {
            policy.chunk_shape(&self.record_shape, self.dtype.map_or(1, DType::size))?;
        }
        Ok(())
    }

    /// Checks that records of `other` fit a series of this schema: kind, element type and record shape are the same.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] names both schemas, and what to record instead.
    pub fn check_same_records(&self, other: &Self) -> Result<()> {
        if (self.kind, self.dtype, &self.record_shape)
            == (other.kind, other.dtype, &other.record_shape)
        {
            return Ok(());
        }
        Err(self.mismatch_of(other))
    }

    /// The error of records of `other` in a series of this schema.
    pub(crate) fn mismatch_of(&self, other: &Self) -> Error {
        let remedy = remedy(self, other);
        let message = format!("the series holds {self}, this is {other}; {remedy}");
        Error::new(ErrorKind::SchemaMismatch, "record", message)
    }

    /// The same schema with another element type.
    pub(crate) fn with_elements_of<T: Element>(&self) -> Self {
        match self.kind {
            Kind::Ragged => Self::ragged::<T>(self.record_shape.clone()),
            _ => Self::array::<T>(self.record_shape.clone()),
        }
    }

    /// Checks that a series that is stored with this schema, in chunks of these shapes, has the storage options that
    /// `asked` sets. A backend calls it in [`DataStore::plan`](crate::DataStore::plan), with the chunks that a new
    /// series would have.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] names the option that differs, with both settings.
    pub fn check_same_storage(
        &self,
        asked: &Self,
        chunk_shapes: &[Vec<u64>],
        asked_chunk_shapes: &[Vec<u64>],
    ) -> Result<()> {
        self.check_same_records(asked)?;
        let differs = |what: &str, stored: &dyn fmt::Display, asked: &dyn fmt::Display| {
            let message = format!(
                "the series has the {what} {stored}, this asks for {asked}; it cannot change, so leave it \
                 out of the schema or use another key"
            );
            Err(Error::new(ErrorKind::SchemaMismatch, "declare", message))
        };
        if asked.chunk_policy.is_some() {
            let mut pairs = chunk_shapes.iter().zip(asked_chunk_shapes);
            if let Some((stored, asked)) = pairs.find(|(stored, asked)| stored != asked) {
                let [stored, asked] = [stored, asked].map(|shape| format!("{shape:?}"));
                return differs("chunk shape", &stored, &asked);
            }
        }
        if let (Some(stored), Some(asked)) = (self.own_compression(), asked.own_compression())
            && stored != asked
        {
            return differs("compression", &stored, &asked);
        }
        let zero = self.dtype.map(|dtype| vec![0; dtype.size()]);
        let fill_bytes = |schema: &Self| {
            let fill = schema.fill_value.as_ref().and_then(Value::as_array);
            fill.map(|fill| fill.as_bytes().to_vec())
        };
        match (fill_bytes(self).or(zero), fill_bytes(asked)) {
            (Some(stored), Some(asked_fill)) if stored != asked_fill => differs(
                "fill value",
                &self.show_fill_value(),
                &asked.show_fill_value(),
            ),
            _ => Ok(()),
        }
    }

    /// The compression that applies to the element type, since only floating-point numbers are rounded.
    fn own_compression(&self) -> Option<Compression> {
        self.compression.map(|compression| match compression {
            Compression::Lossy(_) if !self.dtype.is_some_and(DType::is_floating) => {
                Compression::Small
            }
            compression => compression,
        })
    }

    fn show_fill_value(&self) -> String {
        let shown = self.fill_value.as_ref().map(|fill| {
            let number = fill.cast::<f64>().ok();
            let number = number.and_then(|number| Some(number.first()?.to_string()));
            let bytes = fill.as_array().map(ArrayValue::as_bytes);
            number.unwrap_or_else(|| format!("of the bytes {bytes:02x?}"))
        });
        shown.unwrap_or_else(|| "zero".to_owned())
    }

    /// The same schema with nothing but kind, element type and record shape.
    pub(crate) fn of_records_only(&self) -> Self {
        Self::new(self.kind, self.dtype, self.record_shape.clone())
    }

    /// Whether `record` fits a series of this schema.
    #[inline]
    pub(crate) fn accepts(&self, record: &RecordRef<'_>) -> bool {
        let shape = record.shape();
        let shape = if record.kind == Kind::Ragged {
            shape.get(1..).unwrap_or(&[])
        } else {
            shape
        };
        self.kind == record.kind
            && self.dtype == record.dtype
            && self.record_shape.len() == shape.len()
            && self
                .record_shape
                .iter()
                .zip(shape)
                .all(|(&a, &b)| a == b as u64)
    }

    pub(crate) fn mismatch(&self, record: &RecordRef<'_>) -> Error {
        self.mismatch_of(&Self::of_record(record))
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.dtype) {
            (Kind::Array, Some(dtype)) if self.record_shape.is_empty() => {
                write!(f, "scalars of {dtype}")
            }
            (Kind::Array, Some(dtype)) => {
                write!(f, "array of {dtype}, shape {:?}", self.record_shape)
            }
            (Kind::Ragged, Some(dtype)) if self.record_shape.is_empty() => {
                write!(f, "ragged rows of {dtype}")
            }
            (Kind::Ragged, Some(dtype)) => {
                write!(
                    f,
                    "ragged rows of {dtype} items of shape {:?}",
                    self.record_shape
                )
            }
            (kind, _) => write!(f, "{kind}"),
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({self})")
    }
}

/// Checks that there is a name for each axis and none twice; returns what is wrong, with `hint`.
pub(crate) fn check_dimension_names(
    names: &[Option<String>],
    axes: usize,
    hint: &str,
) -> std::result::Result<(), String> {
    if names.len() != axes {
        let count = names.len();
        return Err(format!("{count} dimension names for {axes} axes{hint}"));
    }
    let mut given: Vec<_> = names.iter().flatten().collect();
    given.sort_unstable();
    match given.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two axes have the name '{}'", pair[0])),
        None => Ok(()),
    }
}

/// The name of an axis, or no name, converted from a string or an `Option` of one.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{DimensionName, Schema};
///
/// let schema = Schema::array::<f64>([3]);
/// let both_named = schema.clone().with_dimension_names(["time", "x"]);
/// let one_named = schema.clone().with_dimension_names([Some("time"), None]);
/// let computed: Vec<DimensionName> = vec!["time".into(), format!("x{}", 1).into()];
/// let also_named = schema.with_dimension_names(computed);
/// # assert_eq!(one_named.dimension_names().unwrap()[1], None);
/// # assert_eq!(both_named.dimension_names().unwrap()[0], also_named.dimension_names().unwrap()[0]);
/// ```
#[derive(Clone, Debug)]
pub struct DimensionName(pub(crate) Option<String>);

impl From<&str> for DimensionName {
    fn from(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }
}

impl From<String> for DimensionName {
    fn from(name: String) -> Self {
        Self(Some(name))
    }
}

impl<S: Into<String>> From<Option<S>> for DimensionName {
    fn from(name: Option<S>) -> Self {
        Self(name.map(Into::into))
    }
}

/// The schema of a value, for messages and for backends that store values as arrays.
impl TryFrom<&Value> for Schema {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self> {
        Ok(Self::of_record(&value.as_record()?))
    }
}
