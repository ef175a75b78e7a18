//! The metadata and chunks of nodes that are made: new series, and values.

use serde_json::Value as Json;
use simrecorder_core::backend::RowsRef;
use simrecorder_core::{
    Attributes, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, NodeKind, Result,
    Schema, Value,
};

use crate::columns::encoded::SeriesEncoding;
use crate::columns::view::ENDS_DTYPE;
use crate::format::fill_value::fill_value_json;
use crate::format::layout::Layout;
use crate::format::metadata::{ColumnType, Document, check_attributes};
use crate::recording::{ENDS, ITEMS, Recording};
use crate::storage::Change as StorageChange;

impl Recording {
    /// The documents of a new series, with the encoding of `original` if it is a copy of that.
    pub(crate) fn new_series(
        &self,
        key: &Key,
        path: &str,
        schema: &Schema,
        original: Option<&SeriesEncoding>,
    ) -> Result<Vec<(String, Document)>> {
        check_attributes(schema.attributes())?;
        let by_default = ChunkPolicy::default();
        let (policy, compression) = match original {
            Some(_) => (&by_default, Compression::default()),
            None => (&self.chunk_policy, self.compression),
        };
        let new = NewSeries {
            name: key.name(),
            path,
            schema,
            policy: schema.chunk_policy().unwrap_or(policy),
            compression: schema.compression().unwrap_or(compression),
            original,
        };
        match schema.kind() {
            Kind::Array => new.arrays(),
            Kind::Text => new.texts(),
            _ => new.rows(),
        }
    }

    /// The document and the chunks of a value.
    pub(crate) fn encode_value(
        &self,
        key: &Key,
        path: &str,
        value: &Value,
    ) -> Result<(Document, Vec<StorageChange>)> {
        let value = ValueArray::of(value)?;
        let size = match value.column {
            ColumnType::Elements(dtype) => dtype.size(),
            ColumnType::Text => 1,
        };
        let chunk = match &value.shape[..] {
            [] => Vec::new(),
            [first, rest @ ..] => {
                let mut chunk = without_records(&self.chunk_policy).chunk_shape(rest, size)?;
                chunk[0] = chunk[0].min(*first).max(1);
                check_chunk_size(&chunk, size)?;
                chunk
            }
        };
        let names = axis_names(key.name(), value.shape.len());
        let compression = match self.compression {
            // Values are kept as they are.
            Compression::Lossy(_) => Compression::Small,
            lossless => lossless,
        };
        let mut document = Document::array(
            value.column,
            &value.shape,
            &chunk,
            None,
            compression,
            &names,
        );
        document.set_attributes(&Attributes::new());
        document.mark(NodeKind::Value, value.kind, None);
        let layout = self.layouts.get(&document)?;
        Ok((document, value.chunks(path, &layout)?))
    }
}

/// A series that is made.
struct NewSeries<'a> {
    name: &'a str,
    path: &'a str,
    schema: &'a Schema,
    policy: &'a ChunkPolicy,
    compression: Compression,
    original: Option<&'a SeriesEncoding>,
}

impl NewSeries<'_> {
    fn arrays(&self) -> Result<Vec<(String, Document)>> {
        let dtype = self.dtype();
        let chunk = self
            .policy
            .chunk_shape(self.schema.record_shape(), dtype.size())?;
        check_chunk_size(&chunk, dtype.size())?;
        let names = record_names(self.name, self.schema);
        let document = self.mark(self.elements(&chunk, &names));
        Ok(vec![(self.path.to_owned(), document)])
    }

    fn texts(&self) -> Result<Vec<(String, Document)>> {
        let rows = self.policy.fixed_records().unwrap_or(TEXT_CHUNK_RECORDS);
        check_chunk_size(&[rows], size_of::<u64>())?;
        let names = record_names(self.name, self.schema);
        let document = self.column(ColumnType::Text, &[0], &[rows], None, &names);
        let document = self.mark(self.like_original(document));
        Ok(vec![(self.path.to_owned(), document)])
    }

    /// Records of any length: a group of what they hold, and of where they end.
    fn rows(&self) -> Result<Vec<(String, Document)>> {
        let dtype = self.dtype();
        let by_size = without_records(self.policy);
        let item_chunk = by_size.chunk_shape(self.schema.record_shape(), dtype.size())?;
        let ends_chunk = match self.policy.fixed_records() {
            Some(records) => vec![records],
            None => by_size.chunk_shape(&[], ENDS_DTYPE.size())?,
        };
        check_chunk_size(&item_chunk, dtype.size())?;
        check_chunk_size(&ends_chunk, ENDS_DTYPE.size())?;
        let item_axes = 1 + self.schema.record_shape().len();
        let item_names = axis_names(&format!("{}_{ITEMS}", self.name), item_axes);
        let items = self.elements(&item_chunk, &item_names);
        let ends_type = ColumnType::Elements(ENDS_DTYPE);
        let names = record_names(self.name, self.schema);
        let mut ends = self.column(ends_type, &[0], &ends_chunk, None, &names);
        if let Some(original) = self.original {
            original.apply_to_ends(&mut ends);
        }
        let path = self.path;
        let group = self.mark(Document::group(&Attributes::new()));
        Ok(vec![
            (path.to_owned(), group),
            (format!("{path}/{ITEMS}"), items),
            (format!("{path}/{ENDS}"), ends),
        ])
    }

    fn dtype(&self) -> DType {
        self.schema.dtype().unwrap_or(DType::U8)
    }

    /// The array of all elements, without any yet.
    fn elements(&self, chunk: &[u64], names: &[String]) -> Document {
        let shape: Vec<u64> = std::iter::once(0)
            .chain(self.schema.record_shape().iter().copied())
            .collect();
        let fill_value = self.schema.fill_value().and_then(Value::as_array);
        let fill_value = fill_value
            .zip(self.schema.dtype())
            .map(|(value, dtype)| fill_value_json(dtype, value.as_bytes()));
        let column = ColumnType::Elements(self.dtype());
        self.like_original(self.column(column, &shape, chunk, fill_value, names))
    }

    fn column(
        &self,
        column: ColumnType,
        shape: &[u64],
        chunk: &[u64],
        fill_value: Option<Json>,
        names: &[String],
    ) -> Document {
        Document::array(column, shape, chunk, fill_value, self.compression, names)
    }

    fn like_original(&self, mut elements: Document) -> Document {
        if let Some(original) = self.original {
            original.apply_to_elements(&mut elements);
        }
        elements
    }

    fn mark(&self, mut document: Document) -> Document {
        document.set_attributes(self.schema.attributes());
        document.mark(NodeKind::Series, self.schema.kind(), Some(self.schema));
        document
    }
}

/// A value as an array.
struct ValueArray<'a> {
    kind: Kind,
    column: ColumnType,
    shape: Vec<u64>,
    data: &'a [u8],
    /// Where texts end.
    ends: Vec<u64>,
}

impl<'a> ValueArray<'a> {
    fn of(value: &'a Value) -> Result<Self> {
        let bytes = |kind, data: &'a [u8]| Self {
            kind,
            column: ColumnType::Elements(DType::U8),
            shape: vec![data.len() as u64],
            data,
            ends: Vec::new(),
        };
        match value {
            Value::Array(array) => Ok(Self {
                kind: Kind::Array,
                column: ColumnType::Elements(array.dtype()),
                shape: array.shape().iter().map(|&len| len as u64).collect(),
                data: array.as_bytes(),
                ends: Vec::new(),
            }),
            Value::Text(text) => Ok(Self {
                kind: Kind::Text,
                column: ColumnType::Text,
                shape: Vec::new(),
                data: text.as_bytes(),
                ends: vec![text.len() as u64],
            }),
            Value::Bytes(data) => Ok(bytes(Kind::Bytes, data)),
            Value::Object(object) => Ok(bytes(Kind::Object, object.as_msgpack())),
            _ => {
                let message = "values of this kind are not stored by this version";
                Err(Error::new(ErrorKind::Unsupported, "set", message))
            }
        }
    }

    fn chunks(&self, path: &str, layout: &Layout) -> Result<Vec<StorageChange>> {
        let count = self.shape.first().copied().unwrap_or(1);
        let rows = RowsRef {
            count,
            data: self.data,
            ends: &self.ends,
            base: 0,
        };
        let chunk = |rows, indices: &[u64], rest: &[_]| -> Result<StorageChange> {
            Ok(StorageChange::Set {
                key: layout.chunk_entry(path, indices),
                value: layout.encode(rows, rest)?,
            })
        };
        if self.shape.is_empty() {
            return Ok(vec![chunk(rows, &[], &[])?]);
        }
        let mut chunks = Vec::new();
        if !self.data.is_empty() {
            for index in 0..count.div_ceil(layout.chunk_rows()) {
                let start = index * layout.chunk_rows();
                let end = (start + layout.chunk_rows()).min(count);
                let rows = rows.slice(start, end, layout.row_size());
                for rest in layout.grid.row() {
                    let indices: Vec<u64> = std::iter::once(index).chain(rest.clone()).collect();
                    chunks.push(chunk(rows, &indices, &rest)?);
                }
            }
        }
        Ok(chunks)
    }
}

/// How many texts share a chunk, unless the chunk policy says.
const TEXT_CHUNK_RECORDS: u64 = 256;
/// The largest chunk: Blosc takes 2 GiB at once, and a reader must hold a whole one.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// A policy for what holds no records, the items of ragged rows and values: a number of records
/// or a shape says nothing about them.
fn without_records(policy: &ChunkPolicy) -> ChunkPolicy {
    match policy.fixed_records() {
        Some(_) => ChunkPolicy::default(),
        None => policy.clone(),
    }
}

fn check_chunk_size(chunk: &[u64], element_size: usize) -> Result<()> {
    let bytes = chunk
        .iter()
        .try_fold(element_size as u64, |bytes, &len| bytes.checked_mul(len));
    if bytes.is_some_and(|bytes| bytes <= MAX_CHUNK_BYTES) {
        return Ok(());
    }
    let message = format!(
        "chunks of shape {chunk:?} are larger than {MAX_CHUNK_BYTES} bytes; choose smaller ones"
    );
    Err(Error::new(
        ErrorKind::InvalidArgument,
        "choose chunks",
        message,
    ))
}

/// The names that were declared; for others, names that no other series of the same group has:
/// xarray refuses one name with two lengths.
fn record_names(name: &str, schema: &Schema) -> Vec<String> {
    let mut names = axis_names(name, schema.axes());
    if let Some(first) = names.first_mut() {
        *first = format!("{name}_record");
    }
    let declared = schema.dimension_names().unwrap_or_default();
    for (name, declared) in names.iter_mut().zip(declared) {
        if let Some(declared) = declared {
            name.clone_from(declared);
        }
    }
    names
}

/// The same for what has no records.
fn axis_names(name: &str, axes: usize) -> Vec<String> {
    (0..axes)
        .map(|axis| format!("{name}_axis_{axis}"))
        .collect()
}
