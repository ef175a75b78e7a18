//! An open recording: finding its nodes, reading values, folding tails.

pub(crate) mod commit;
mod new_node;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use simrecorder_core::backend::errors;
use simrecorder_core::{
    ArrayValue, Block, ChunkPolicy, Compression, DType, Error, ErrorKind, Key, Kind, NodeKind,
    ObjectValue, Region, Result, Schema, Value, copy_block,
};

use crate::columns::append::{ColumnAppend, set_document};
use crate::columns::column::{Column, get};
use crate::columns::encoded::SeriesEncoding;
use crate::columns::view::{Columns, ENDS_DTYPE};
use crate::format::layout::{Layout, LayoutCache};
use crate::format::metadata::{ColumnType, Document, corrupt};
use crate::format::node_path::{METADATA_OF_ZARR_V2, entry, metadata_entry, node_path};
use crate::format::recording_id::RecordingId;
use crate::recording::commit::Writer;
use crate::storage::{Change as StorageChange, Snapshot, Storage};

/// The array of a series of two columns that says where each record ends.
pub(crate) const ENDS: &str = "ends";
/// The array of a series of two columns that holds the items of all records.
pub(crate) const ITEMS: &str = "values";

/// A value has no more chunks than this: each of them is looked up.
const MAX_VALUE_CHUNKS: u64 = 1 << 24;

/// A checkpoint is cut into commits of about this many bytes.
const CHECKPOINT_BYTES: usize = 8 << 20;

/// What all handles of an open recording share.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) layouts: LayoutCache,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) closed: AtomicBool,
    /// The layouts of series that were planned, for encoding ahead of commits.
    pub(crate) planned: Mutex<HashMap<Key, Arc<Layout>>>,
}

/// Finds documents by their path.
type Find<'a> = &'a mut dyn FnMut(&str) -> Result<Option<Document>>;

/// The columns of the series at `path`, as a snapshot shows them.
pub(crate) fn load_columns(
    snapshot: &dyn Snapshot,
    path: &str,
    document: &Document,
    kind: Kind,
    layouts: &LayoutCache,
    find: Find<'_>,
) -> Result<Columns> {
    if matches!(kind, Kind::Array | Kind::Text) {
        let column = Column::open(snapshot, path.to_owned(), document, layouts)?;
        if (column.layout.column == ColumnType::Text) != (kind == Kind::Text) {
            return Err(corrupt(format!("the array does not fit the kind {kind}")));
        }
        return Ok(Columns::One(column));
    }
    let mut part = |name: &str| {
        let path = format!("{path}/{name}");
        let document = find(&path)?.ok_or_else(|| missing_part(name))?;
        Column::open(snapshot, path, &document, layouts)
    };
    let (ends, items) = (part(ENDS)?, part(ITEMS)?);
    let is = |column: &Column, dtype| {
        column.layout.column == ColumnType::Elements(dtype)
            && column.layout.grid.record_shape().is_empty()
    };
    let sound = match kind {
        Kind::Ragged => items.layout.column != ColumnType::Text,
        _ => is(&items, DType::U8),
    };
    if !sound || !is(&ends, ENDS_DTYPE) {
        return Err(corrupt("the arrays of the series do not fit its kind"));
    }
    Ok(Columns::Two { ends, items })
}

/// The key above `key` if that may be a series of which this is a part.
pub(crate) fn parent_of_part(key: &Key) -> Option<Key> {
    match key.name() {
        ENDS | ITEMS => key.parent().filter(|parent| !parent.is_root()),
        _ => None,
    }
}

fn missing_part(name: &str) -> Error {
    corrupt(format!("the array '{name}' of the series is missing"))
}

/// The document at `path` in a snapshot.
pub(crate) fn document_at(snapshot: &dyn Snapshot, path: &str) -> Result<Option<Document>> {
    if let Some(bytes) = snapshot.get(&metadata_entry(path))? {
        return Document::parse(&bytes).map(Some);
    }
    for name in METADATA_OF_ZARR_V2 {
        if snapshot.get(&entry(path, name))?.is_some() {
            let message = "this is Zarr V2; simrecorder reads Zarr V3";
            return Err(Error::new(ErrorKind::Unsupported, "read metadata", message));
        }
    }
    Ok(None)
}

impl Recording {
    /// Checks the version of the recording; a new one gets its root group.
    pub(crate) fn check_root(&self) -> Result<()> {
        let root = get(&*self.storage, &metadata_entry(""))?;
        let root = root.map(|bytes| Document::parse(&bytes)).transpose()?;
        if root.as_ref().is_some_and(Document::is_array) {
            let message = "the root is an array; simrecorder opens groups, which hold arrays";
            return Err(Error::new(ErrorKind::Unsupported, "open", message));
        }
        if self.storage.is_read_only() {
            return Ok(());
        }
        let root = match root {
            None => self.new_root(),
            Some(mut root) => match root.remove_consolidated() {
                true => root,
                false => return Ok(()),
            },
        };
        self.storage.commit(vec![set_document("", &root)])
    }

    /// The root group of a recording that has none yet.
    pub(crate) fn new_root(&self) -> Document {
        match self.storage.recording() {
            Some(id) => Document::root(id),
            None => Document::root(&RecordingId::random()),
        }
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.storage.is_read_only() {
            return Err(errors::read_only(operation));
        }
        match self.closed.load(Ordering::Acquire) {
            true => Err(errors::closed(operation, "store")),
            false => Ok(()),
        }
    }

    /// The kind of the records of a series.
    pub(crate) fn kind(&self, document: &Document) -> Result<Kind> {
        match document.kind()? {
            Some(kind) => Ok(kind),
            None if !document.is_array() => Err(corrupt("a group is marked as a series")),
            None => Ok(match self.layouts.get(document)?.column {
                ColumnType::Text => Kind::Text,
                ColumnType::Elements(_) => Kind::Array,
            }),
        }
    }

    /// The schema of the series with this document.
    pub(crate) fn schema(
        &self,
        key: &Key,
        path: &str,
        document: &Document,
        find: Find<'_>,
    ) -> Result<(Schema, SeriesEncoding)> {
        let kind = self.kind(document)?;
        let parts;
        let (elements, ends) = match kind {
            Kind::Array | Kind::Text => (document, None),
            _ => {
                let mut part =
                    |name| find(&format!("{path}/{name}"))?.ok_or_else(|| missing_part(name));
                parts = (part(ENDS)?, part(ITEMS)?);
                (&parts.1, Some(&parts.0))
            }
        };
        let names = ends.unwrap_or(document).dimension_names();
        let layout = self.layouts.get(elements)?;
        let row_shape = layout.grid.record_shape().to_vec();
        let mut schema = match (kind, layout.column) {
            (Kind::Array, ColumnType::Elements(dtype)) => Schema::array_of(dtype, row_shape),
            (Kind::Ragged, ColumnType::Elements(dtype)) => Schema::ragged_of(dtype, row_shape),
            (Kind::Text, ColumnType::Text) => Schema::text(),
            (Kind::Bytes, ColumnType::Elements(_)) => Schema::bytes(),
            (Kind::Object, ColumnType::Elements(_)) => Schema::object(),
            (kind, column) => {
                return Err(corrupt(format!("a series of kind {kind} holds {column:?}"))
                    .with_key(key.as_str()));
            }
        };
        if let Some(names) = names.and_then(|names| document.given_names(names)) {
            schema = schema.with_dimension_names(names);
        }
        if document.has_given_fill_value()
            && let ColumnType::Elements(dtype) = layout.column
        {
            let value = ArrayValue::from_bytes(dtype, Vec::new(), layout.fill_bytes().to_vec())?;
            schema = schema.with_fill_value_of(value);
        }
        if let Some(compression) = layout.compression {
            schema = schema.with_compression(compression);
        }
        let schema = schema.with_attributes(document.attributes());
        Ok((schema, SeriesEncoding::of(elements, ends)))
    }

    /// The document of the node at `key`, and its path; the parts of a series are no nodes.
    pub(crate) fn find_node(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
    ) -> Result<Option<(String, Document)>> {
        let Ok(path) = node_path(key) else {
            return Ok(None);
        };
        if let Some(parent) = parent_of_part(key) {
            let parent = document_at(snapshot, &node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        Ok(document_at(snapshot, &path)?.map(|document| (path, document)))
    }

    /// Calls `read` for each of the nodes at `keys`, all as one snapshot shows them; `None` where there is
    /// none.
    pub(crate) fn with_nodes<T>(
        &self,
        keys: &[Key],
        read: impl Fn(&dyn Snapshot, &Key, String, Document) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        let mut nodes = Vec::new();
        self.storage.read(&mut |snapshot| {
            nodes.clear();
            for key in keys {
                let node = self.find_node(snapshot, key).and_then(|node| {
                    node.map(|(path, document)| read(snapshot, key, path, document))
                        .transpose()
                });
                nodes.push(node.map_err(|e| e.with_key(key.as_str()))?);
            }
            Ok(())
        })?;
        Ok(nodes)
    }

    pub(crate) fn load_series(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
        path: &str,
        document: &Document,
    ) -> Result<(Schema, SeriesEncoding, Columns)> {
        let mut find = |path: &str| document_at(snapshot, path);
        let (schema, encoding) = self.schema(key, path, document, &mut find)?;
        let columns = load_columns(
            snapshot,
            path,
            document,
            schema.kind(),
            &self.layouts,
            &mut find,
        )?;
        Ok((schema, encoding, columns))
    }

    /// Brings everything into the form that other software reads.
    pub(crate) fn checkpoint(&self, writer: &mut Writer) -> Result<()> {
        writer.forget();
        let folded = self.fold_tails();
        folded.and(self.storage.checkpoint())
    }

    /// Brings all tails into chunks. One that cannot be read does not keep the others from it.
    pub(crate) fn fold_tails(&self) -> Result<()> {
        let mut arrays = Vec::new();
        self.storage.read(&mut |snapshot| {
            arrays = snapshot.tails()?;
            Ok(())
        })?;
        let mut changes = Vec::new();
        let mut bytes = 0;
        let mut damaged = Ok(());
        for path in arrays {
            match self.fold_tail(&path) {
                Ok((more, tail_bytes)) => {
                    // Taking a tail away costs the storage as much memory as it had bytes.
                    bytes += tail_bytes + more.iter().map(size_of_change).sum::<usize>();
                    changes.extend(more);
                }
                Err(error) => damaged = damaged.and(Err(error.with_key(path))),
            }
            if bytes >= CHECKPOINT_BYTES {
                self.storage.commit(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            self.storage.commit(changes)?;
        }
        damaged
    }

    /// What brings the tail of one array into chunks, and how many bytes the tail has.
    fn fold_tail(&self, path: &str) -> Result<(Vec<StorageChange>, usize)> {
        let mut column = None;
        let mut tail_bytes = 0;
        self.storage.read(&mut |snapshot| {
            let tail = snapshot.tail(path)?;
            tail_bytes = tail.len();
            column = document_at(snapshot, path)?
                .map(|document| {
                    let open = Column::with_tail(path.to_owned(), &document, &self.layouts, &tail)?;
                    Ok::<_, Error>((open, document))
                })
                .transpose()?;
            Ok(())
        })?;
        let Some((column, mut document)) = column else {
            let array = path.to_owned();
            return Ok((vec![StorageChange::ClearTail { array }], tail_bytes));
        };
        let (_, outcome) = ColumnAppend::new(column).finish(&*self.storage, true)?;
        let mut changes = outcome.changes;
        if let Some(rows) = outcome.rows {
            rows.write_to(&mut document);
            changes.push(set_document(path, &document));
        }
        Ok((changes, tail_bytes))
    }

    pub(crate) fn read_value(
        &self,
        path: &str,
        document: &Document,
        chunks: Vec<ValueChunk>,
    ) -> Result<Value> {
        let layout = self.layouts.get(document)?;
        let kind = self.kind(document)?;
        let shape = document.shape()?;
        let at = |e: Error| {
            let message = format!("the value in the array '{path}' is damaged");
            Error::new(e.kind(), "get", message).with_source(e)
        };
        let ColumnType::Elements(dtype) = layout.column else {
            let text = match chunks.first() {
                Some(chunk) => layout.decode_texts(&chunk.encoded, 1).map_err(at)?.data,
                None => layout.fill_bytes().to_vec(),
            };
            return String::from_utf8(text)
                .map(Value::Text)
                .map_err(|e| at(corrupt("a text is not UTF-8").with_source(e)));
        };
        let region = Region::all(&shape);
        let mut data = layout.filled(region.len().unwrap_or(usize::MAX))?;
        for ValueChunk { origin, encoded } in chunks {
            let chunk = layout.decode(&encoded).map_err(at)?;
            let block = Block {
                data: &chunk,
                origin: &origin,
                shape: layout.grid.chunk_shape(),
            };
            copy_block(block, &region, &mut data, dtype.size());
        }
        Ok(match kind {
            Kind::Bytes => Value::Bytes(data),
            Kind::Object => Value::Object(ObjectValue::from_msgpack(data)),
            _ => {
                let shape = shape.iter().map(|&len| len as usize).collect();
                Value::Array(ArrayValue::from_bytes(dtype, shape, data)?)
            }
        })
    }

    /// The chunks of a value as a snapshot has them; those that were never written are left out.
    pub(crate) fn value_chunks(
        &self,
        snapshot: &dyn Snapshot,
        path: &str,
        document: &Document,
    ) -> Result<Vec<ValueChunk>> {
        let layout = self.layouts.get(document)?;
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
            return Err(corrupt(format!("a value of {count} chunks is not read")));
        }
        // Before looking for what may be a million chunks that were never written.
        let elements = Region::all(&shape).len().unwrap_or(usize::MAX);
        drop(simrecorder_core::backend::zeroed(
            elements.saturating_mul(layout.element_size()),
        )?);
        for row in 0..rows {
            for rest in layout.grid.row() {
                let first = (!shape.is_empty()).then_some(row);
                let indices: Vec<u64> = first.into_iter().chain(rest).collect();
                let Some(encoded) = snapshot.get(&layout.chunk_entry(path, &indices))? else {
                    continue;
                };
                let origin = indices
                    .iter()
                    .zip(layout.grid.chunk_shape())
                    .map(|(i, len)| i * len);
                chunks.push(ValueChunk {
                    origin: origin.collect(),
                    encoded,
                });
            }
        }
        Ok(chunks)
    }
}

/// A chunk of a value, still encoded.
pub(crate) struct ValueChunk {
    origin: Vec<u64>,
    encoded: bytes::Bytes,
}

/// What a change takes in memory, about: what it writes, and the page that it touches.
fn size_of_change(change: &StorageChange) -> usize {
    const PAGE: usize = 4096;
    match change {
        StorageChange::Set { value, .. } | StorageChange::SetChunk { value, .. } => {
            value.len() + PAGE
        }
        StorageChange::AppendTail { bytes, .. } => bytes.len() + PAGE,
        _ => PAGE,
    }
}
