//! The metadata and chunks of nodes that are made: new series, and values.

use serde_json::Value as Json;
use simrecorder_core::backend::RowsRef;
use simrecorder_core::{
    Attributes, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, NodeKind, Result,
    Schema, Value,
};

use crate::encoded::SeriesEncoding;
use crate::metadata::{ColumnType, Document, check_attributes, fill_value_json};
use crate::recording::{ENDS, ITEMS, Recording};
use crate::storage::Change as StorageChange;
use crate::view::ENDS_DTYPE;

impl Recording {
    /// The documents of a new series.
    pub(crate) fn new_series(
        &self,
        key: &Key,
        path: &str,
        schema: &Schema,
    ) -> Result<Vec<(String, Document)>> {
        check_attributes(schema.attributes())?;
        let name = key.name();
        // A series that was read from another recording is kept as it was there.
        let original = schema.stored_form::<SeriesEncoding>();
        let by_default = (&ChunkPolicy::default(), Compression::default());
        let (policy, compression) = match original {
            Some(_) => by_default,
            None => (&self.chunk_policy, self.compression),
        };
        let policy = schema.chunk_policy().unwrap_or(policy);
        let compression = schema.compression().unwrap_or(compression);
        let fill_value = match (
            schema.fill_value().and_then(Value::as_array),
            schema.dtype(),
        ) {
            (Some(value), Some(dtype)) => Some(fill_value_json(dtype, value.as_bytes())),
            _ => None,
        };
        let record_names = || record_names(name, schema);
        let like_original = |mut elements: Document| {
            if let Some(original) = original {
                original.apply_to_elements(&mut elements);
            }
            elements
        };
        let mark = |mut document: Document| {
            document.set_attributes(schema.attributes());
            document.mark(NodeKind::Series, schema.kind(), Some(schema));
            document
        };
        let column = |column: ColumnType,
                      shape: &[u64],
                      chunk: &[u64],
                      fill: Option<Json>,
                      names: &[String]| {
            Document::array(column, shape, chunk, fill, compression, names)
        };
        let dtype = schema.dtype().unwrap_or(DType::U8);
        match schema.kind() {
            Kind::Array => {
                let chunk = policy.chunk_shape(schema.record_shape(), dtype.size())?;
                check_chunk_size(&chunk, dtype.size())?;
                let shape: Vec<u64> = std::iter::once(0)
                    .chain(schema.record_shape().iter().copied())
                    .collect();
                let elements = ColumnType::Elements(dtype);
                let document = column(elements, &shape, &chunk, fill_value, &record_names());
                Ok(vec![(path.to_owned(), mark(like_original(document)))])
            }
            Kind::Text => {
                let rows = policy.fixed_records().unwrap_or(TEXT_CHUNK_RECORDS);
                check_chunk_size(&[rows], size_of::<u64>())?;
                let document = column(ColumnType::Text, &[0], &[rows], None, &record_names());
                Ok(vec![(path.to_owned(), mark(like_original(document)))])
            }
            _ => {
                let by_size = without_records(policy);
                let item_chunk = by_size.chunk_shape(schema.record_shape(), dtype.size())?;
                let ends_chunk = match policy.fixed_records() {
                    Some(records) => vec![records],
                    None => by_size.chunk_shape(&[], ENDS_DTYPE.size())?,
                };
                check_chunk_size(&item_chunk, dtype.size())?;
                check_chunk_size(&ends_chunk, ENDS_DTYPE.size())?;
                let item_shape: Vec<u64> = std::iter::once(0)
                    .chain(schema.record_shape().iter().copied())
                    .collect();
                let item_names = axis_names(&format!("{name}_{ITEMS}"), item_shape.len());
                let items = column(
                    ColumnType::Elements(dtype),
                    &item_shape,
                    &item_chunk,
                    fill_value,
                    &item_names,
                );
                let ends_type = ColumnType::Elements(ENDS_DTYPE);
                let mut ends = column(ends_type, &[0], &ends_chunk, None, &record_names());
                if let Some(original) = original {
                    original.apply_to_ends(&mut ends);
                }
                Ok(vec![
                    (path.to_owned(), mark(Document::group(&Attributes::new()))),
                    (format!("{path}/{ITEMS}"), like_original(items)),
                    (format!("{path}/{ENDS}"), ends),
                ])
            }
        }
    }

    /// The document and the chunks of a value.
    pub(crate) fn encode_value(
        &self,
        key: &Key,
        path: &str,
        value: &Value,
    ) -> Result<(Document, Vec<StorageChange>)> {
        let bytes_shape;
        let (kind, column, shape, data, ends): (_, _, &[u64], &[u8], &[u64]) = match value {
            Value::Array(array) => {
                bytes_shape = array
                    .shape()
                    .iter()
                    .map(|&len| len as u64)
                    .collect::<Vec<_>>();
                let column = ColumnType::Elements(array.dtype());
                (Kind::Array, column, &bytes_shape, array.as_bytes(), &[])
            }
            Value::Text(text) => {
                bytes_shape = vec![text.len() as u64];
                (
                    Kind::Text,
                    ColumnType::Text,
                    &[],
                    text.as_bytes(),
                    &bytes_shape,
                )
            }
            Value::Bytes(bytes) => {
                bytes_shape = vec![bytes.len() as u64];
                (
                    Kind::Bytes,
                    ColumnType::Elements(DType::U8),
                    &bytes_shape,
                    bytes,
                    &[],
                )
            }
            Value::Object(object) => {
                bytes_shape = vec![object.as_msgpack().len() as u64];
                let data = object.as_msgpack();
                (
                    Kind::Object,
                    ColumnType::Elements(DType::U8),
                    &bytes_shape,
                    data,
                    &[],
                )
            }
            _ => {
                let message = "values of this kind are not stored by this version";
                return Err(Error::new(ErrorKind::Unsupported, "set", message));
            }
        };
        let size = match column {
            ColumnType::Elements(dtype) => dtype.size(),
            ColumnType::Text => 1,
        };
        let chunk = match shape {
            [] => Vec::new(),
            [first, rest @ ..] => {
                let mut chunk = without_records(&self.chunk_policy).chunk_shape(rest, size)?;
                chunk[0] = chunk[0].min(*first).max(1);
                check_chunk_size(&chunk, size)?;
                chunk
            }
        };
        let names = axis_names(key.name(), shape.len());
        let compression = match self.compression {
            // Values are kept as they are.
            Compression::Lossy(_) => Compression::Small,
            lossless => lossless,
        };
        let mut document = Document::array(column, shape, &chunk, None, compression, &names);
        document.set_attributes(&Attributes::new());
        document.mark(NodeKind::Value, kind, None);
        let layout = self.layouts.get(&document)?;
        let count = shape.first().copied().unwrap_or(1);
        let rows = RowsRef {
            count,
            data,
            ends,
            base: 0,
        };
        let mut changes = Vec::new();
        if shape.is_empty() {
            let value = layout.encode(rows, &[])?;
            changes.push(StorageChange::Set {
                key: layout.chunk_entry(path, &[]),
                value,
            });
        } else if !data.is_empty() {
            for index in 0..count.div_ceil(layout.chunk_rows()) {
                let start = index * layout.chunk_rows();
                let end = (start + layout.chunk_rows()).min(count);
                let rows = rows.slice(start, end, layout.row_size());
                for rest in layout.grid.row() {
                    let indices: Vec<u64> = std::iter::once(index).chain(rest.clone()).collect();
                    let value = layout.encode(rows, &rest)?;
                    let key = layout.chunk_entry(path, &indices);
                    changes.push(StorageChange::Set { key, value });
                }
            }
        }
        Ok((document, changes))
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
