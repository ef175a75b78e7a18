//! Values, each stored as an array.

use bytes::Bytes;
use simrecorder_core::backend::columns::{ColumnFormat, policy_by_size};
use simrecorder_core::backend::{RowsRef, zeroed};
use simrecorder_core::{
    ArrayValue, Attributes, Block, Compression, DType, Error, ErrorKind, Key, Kind, NodeKind,
    ObjectValue, Region, Result, Value, copy_block,
};

use crate::format::array_format::ArrayFormat;
use crate::format::metadata::{Document, corrupt};
use crate::recording::Recording;
use crate::recording::new_series::{axis_names, check_chunk_size};
use crate::storage::{Change, Snapshot, Storage};

/// The maximum number of chunks of a value. Each of them is looked up.
const MAX_VALUE_CHUNKS: u64 = 1 << 24;

impl Recording {
    /// The document and the chunks of a value.
    pub(crate) fn encode_value(
        &self,
        key: &Key,
        path: &str,
        value: &Value,
    ) -> Result<(Document, Vec<Change>)> {
        let value = ValueArray::of(value)?;
        let size = value.dtype.map_or(1, DType::size);
        let chunk = match &value.shape[..] {
            [] => Vec::new(),
            [first, rest @ ..] => {
                let mut chunk = policy_by_size(&self.chunk_policy).chunk_shape(rest, size)?;
                chunk[0] = chunk[0].min(*first).max(1);
                check_chunk_size(&chunk, size)?;
                chunk
            }
        };
        let names = axis_names(key.name(), value.shape.len(), value.names);
        let compression = match self.compression {
            // Values are never rounded.
            Compression::Lossy(_) => Compression::Small,
            lossless => lossless,
        };
        let shape = &value.shape;
        let mut document = Document::array(value.dtype, shape, &chunk, None, compression, &names);
        if self.storage.keeps_shards() {
            document.set_flat_keys();
        }
        document.set_attributes(&Attributes::new());
        document.mark(NodeKind::Value, value.kind, false);
        document.mark_names(value.names, &names);
        let format = self.formats.get(&document)?;
        Ok((document, value.chunks(&*self.storage, path, &format)?))
    }
    pub(crate) fn read_value(
        &self,
        path: &str,
        document: &Document,
        chunks: Vec<ValueChunk>,
    ) -> Result<Value> {
        let format = self.formats.get(document)?;
        let layout = format.layout();
        let kind = self.kind(document)?;
        let shape = document.shape()?;
        let at = |e: Error| {
            let message = format!("the value in the array '{path}' is damaged");
            Error::new(e.kind(), "get", message).with_source(e)
        };
        let Some(dtype) = layout.dtype else {
            let text = match chunks.first() {
                Some(chunk) => format.decode_texts(&chunk.encoded, 1).map_err(at)?.data,
                None => layout.filled(1)?,
            };
            return String::from_utf8(text)
                .map(Value::Text)
                .map_err(|e| at(corrupt("a text is not UTF-8").with_source(e)));
        };
        let region = Region::all(&shape);
        let mut data = layout.filled(region.len().unwrap_or(usize::MAX))?;
        for ValueChunk { origin, encoded } in chunks {
            let chunk = format.decode(&encoded).map_err(at)?;
            let block = Block {
                data: &chunk,
                origin: &origin,
                shape: layout.grid.chunk_shape(),
            };
            copy_block(block, &region, &mut data, dtype.size())?;
        }
        Ok(match kind {
            Kind::Bytes => Value::Bytes(data),
            Kind::Object => Value::Object(ObjectValue::from_msgpack(data)),
            _ => {
                let shape = shape.iter().map(|&len| len as usize).collect();
                let value = Value::Array(ArrayValue::from_bytes(dtype, shape, data)?);
                match document.given_names(document.dimension_names()) {
                    Some(names) => value.with_dimension_names(names)?,
                    None => value,
                }
            }
        })
    }

    /// The chunks of a value in a snapshot. Chunks that were never written are omitted.
    pub(crate) fn value_chunks(
        &self,
        snapshot: &dyn Snapshot,
        path: &str,
        document: &Document,
    ) -> Result<Vec<ValueChunk>> {
        let format = self.formats.get(document)?;
        let layout = format.layout();
        let shape = document.shape()?;
        let rows = shape
            .first()
            .map_or(1, |rows| rows.div_ceil(layout.chunk_rows()));
        let count = rows.saturating_mul(layout.grid.row_len());
        let mut chunks = Vec::new();
        if count == 0 {
            return Ok(chunks);
        }
        if count > MAX_VALUE_CHUNKS {
            return Err(corrupt(format!(
                "a value of {count} chunks is not supported"
            )));
        }
        // Before looking up what may be a million chunks that were never written.
        let elements = Region::all(&shape).len().unwrap_or(usize::MAX);
        drop(zeroed(elements.saturating_mul(layout.element_size()))?);
        let grid = &layout.grid;
        for row in 0..rows {
            for indices in grid.chunks_in_row(row) {
                // The chunk of a value without axes has no index.
                let indices = &indices[..shape.len()];
                if let Some(encoded) = snapshot.get_chunk(&format.chunk_key(path, indices))? {
                    let origin = grid.origin(indices);
                    chunks.push(ValueChunk { origin, encoded });
                }
            }
        }
        Ok(chunks)
    }
}

/// A chunk of a value, still encoded.
pub(crate) struct ValueChunk {
    origin: Vec<u64>,
    encoded: Bytes,
}

/// A value as an array.
struct ValueArray<'a> {
    kind: Kind,
    dtype: Option<DType>,
    shape: Vec<u64>,
    data: &'a [u8],
    /// The ends of texts.
    ends: Vec<u64>,
    names: Option<&'a [Option<String>]>,
}

impl<'a> ValueArray<'a> {
    fn of(value: &'a Value) -> Result<Self> {
        let bytes = |kind, data: &'a [u8]| Self {
            kind,
            dtype: Some(DType::U8),
            shape: vec![data.len() as u64],
            data,
            ends: Vec::new(),
            names: None,
        };
        match value {
            Value::Array(array) => Ok(Self {
                kind: Kind::Array,
                dtype: Some(array.dtype()),
                shape: array.shape().iter().map(|&len| len as u64).collect(),
                data: array.as_bytes(),
                ends: Vec::new(),
                names: value.dimension_names(),
            }),
            Value::Text(text) => Ok(Self {
                kind: Kind::Text,
                dtype: None,
                shape: Vec::new(),
                data: text.as_bytes(),
                ends: vec![text.len() as u64],
                names: None,
            }),
            Value::Bytes(data) => Ok(bytes(Kind::Bytes, data)),
            Value::Object(object) => Ok(bytes(Kind::Object, object.as_msgpack())),
            _ => {
                let message = "this version does not store values of this kind";
                Err(Error::new(ErrorKind::Unsupported, "set", message))
            }
        }
    }

    fn chunks(
        &self,
        storage: &dyn Storage,
        path: &str,
        format: &ArrayFormat,
    ) -> Result<Vec<Change>> {
        let count = self.shape.first().copied().unwrap_or(1);
        let rows = RowsRef {
            count,
            data: self.data,
            ends: &self.ends,
            base: 0,
        };
        let chunk = |rows, indices: &[u64]| -> Result<Change> {
            let key = format.chunk_key(path, indices);
            let chunk = storage.write_ahead(&key, format.encode_chunk(rows, indices)?)?;
            Ok(Change::of_chunk(key, chunk, false))
        };
        if self.shape.is_empty() {
            return Ok(vec![chunk(rows, &[])?]);
        }
        let mut chunks = Vec::new();
        if !self.data.is_empty() {
            let layout = format.layout();
            for index in 0..count.div_ceil(layout.chunk_rows()) {
                let start = index * layout.chunk_rows();
                let end = (start + layout.chunk_rows()).min(count);
                let rows = rows.slice(start, end, layout.row_size());
                for indices in layout.grid.chunks_in_row(index) {
                    chunks.push(chunk(rows, &indices)?);
                }
            }
        }
        Ok(chunks)
    }
}
