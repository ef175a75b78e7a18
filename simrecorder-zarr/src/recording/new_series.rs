//! The metadata of new series.

use serde_json::Value as Json;
use simrecorder_core::backend::columns::{ENDS_DTYPE, ragged_chunk_shapes};
use simrecorder_core::backend::dimensions::default_dimension_name;
use simrecorder_core::{
    Attributes, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, NodeKind, Result,
    Schema, Value,
};

use crate::columns::encoded::SeriesEncoding;
use crate::format::fill_value::fill_value_json;
use crate::format::metadata::{Document, check_attributes};
use crate::format::node_path::{ENDS, ITEMS};
use crate::recording::Recording;

impl Recording {
    /// The documents of a new series. If it is a copy, it gets the encoding of `original`.
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
            files: self.storage.keeps_shards().then(|| {
                let policy = schema.chunk_policy();
                policy.unwrap_or(&self.chunk_policy)
            }),
            compression: schema.compression().unwrap_or(compression),
            original,
        };
        match schema.kind() {
            Kind::Array => new.arrays(),
            Kind::Text => new.texts(),
            _ => new.rows(),
        }
    }
}

/// A series that is being created.
struct NewSeries<'a> {
    name: &'a str,
    path: &'a str,
    schema: &'a Schema,
    policy: &'a ChunkPolicy,
    /// How chunks are combined into shards, if entries are files.
    files: Option<&'a ChunkPolicy>,
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
        let document = self.column(None, &[0], &[rows], None, &names);
        let document = self.mark(self.in_files(self.like_original(document)));
        Ok(vec![(self.path.to_owned(), document)])
    }

    /// Records of variable length: a group with their items and their ends.
    fn rows(&self) -> Result<Vec<(String, Document)>> {
        let dtype = self.dtype();
        let (ends_chunk, item_chunk) = ragged_chunk_shapes(self.policy, self.schema)?;
        check_chunk_size(&item_chunk, dtype.size())?;
        check_chunk_size(&ends_chunk, ENDS_DTYPE.size())?;
        let item_axes = 1 + self.schema.record_shape().len();
        let item_names = axis_names(&format!("{}_{ITEMS}", self.name), item_axes, None);
        let items = self.elements(&item_chunk, &item_names);
        let ends_type = Some(ENDS_DTYPE);
        let names = record_names(self.name, self.schema);
        let mut ends = self.column(ends_type, &[0], &ends_chunk, None, &names);
        if let Some(original) = self.original {
            original.apply_to_ends(&mut ends);
        }
        ends.note_chunk_shape();
        let ends = self.in_files(ends);
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

    /// The array of all elements, still empty.
    fn elements(&self, chunk: &[u64], names: &[String]) -> Document {
        let shape: Vec<u64> = std::iter::once(0)
            .chain(self.schema.record_shape().iter().copied())
            .collect();
        let fill_value = self.schema.fill_value().and_then(Value::as_array);
        let fill_value = fill_value
            .zip(self.schema.dtype())
            .map(|(value, dtype)| fill_value_json(dtype, value.as_bytes()));
        let dtype = Some(self.dtype());
        self.in_files(self.like_original(self.column(dtype, &shape, chunk, fill_value, names)))
    }

    fn column(
        &self,
        dtype: Option<DType>,
        shape: &[u64],
        chunk: &[u64],
        fill_value: Option<Json>,
        names: &[String],
    ) -> Document {
        Document::array(dtype, shape, chunk, fill_value, self.compression, names)
    }

    fn like_original(&self, mut elements: Document) -> Document {
        if let Some(original) = self.original {
            original.apply_to_elements(&mut elements);
        }
        elements.note_chunk_shape();
        elements
    }

    /// Combines the chunks of an array into shards if entries are files and a shard may contain
    /// several.
    fn in_files(&self, mut document: Document) -> Document {
        if let Some(policy) = self.files {
            document.set_flat_keys();
            if let Some(shape) = document.shard_shape(policy) {
                document.add_shards(&shape);
            }
        }
        document
    }

    fn mark(&self, mut document: Document) -> Document {
        document.set_attributes(self.schema.attributes());
        let has_fill_value = self.schema.fill_value().is_some();
        document.mark(NodeKind::Series, self.schema.kind(), has_fill_value);
        let names = record_names(self.name, self.schema);
        document.mark_names(self.schema.dimension_names(), &names);
        document
    }
}

/// The number of texts in a chunk, unless the chunk policy specifies it.
const TEXT_CHUNK_RECORDS: u64 = 256;
/// The maximum size of a chunk. Blosc supports up to 2 GiB, and a reader must hold a whole chunk.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

pub(super) fn check_chunk_size(chunk: &[u64], element_size: usize) -> Result<()> {
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

/// The declared names; for other axes, names that no other series of the same group has, because
/// xarray rejects a name with two lengths.
pub(super) fn record_names(name: &str, schema: &Schema) -> Vec<String> {
    names_of_axes(name, true, schema.axes(), schema.dimension_names())
}

/// Like [`record_names`], for a node without records.
pub(super) fn axis_names(name: &str, axes: usize, given: Option<&[Option<String>]>) -> Vec<String> {
    names_of_axes(name, false, axes, given)
}

fn names_of_axes(
    name: &str,
    is_series: bool,
    axes: usize,
    given: Option<&[Option<String>]>,
) -> Vec<String> {
    let given = given.unwrap_or_default();
    let name_of = |axis: usize| match given.get(axis) {
        Some(Some(given)) => given.clone(),
        _ => default_dimension_name(name, is_series, axis),
    };
    (0..axes).map(name_of).collect()
}
