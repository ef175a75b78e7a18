//! The Zarr store.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use simrecorder_core::{
    ArrayValue, ArrayView, Attributes, Batch, Block, Child, ChunkPolicy, Commit, Compression,
    DataStore, Error, ErrorKind, Key, Kind, Node, NodeKind, ObjectValue, OpenMode, Prepared,
    Region, Result, Schema, Value, copy_block,
};

use crate::append::{ColumnAppend, prepare_chunks, set_document};
use crate::column::{Column, get};
use crate::commit::{Stage, Writer, remember};
use crate::directory::DirectoryStorage;
use crate::layout::{Layout, LayoutCache};
use crate::lmdb::{LmdbOptions, LmdbStorage};
use crate::metadata::{ColumnType, Document, corrupt};
use crate::node_path::{child_key, metadata_entry, node_path};
use crate::options::{ZarrOptions, ZarrStorage};
use crate::storage::{Change as StorageChange, Snapshot, Storage};
use crate::view::{Columns, ZarrView};

/// The array of a series of two columns that says where each record ends.
pub(crate) const ENDS: &str = "ends";
/// The array of a series of two columns that holds the items of all records.
pub(crate) const ITEMS: &str = "values";

/// A checkpoint is cut into commits of about this many bytes.
const CHECKPOINT_BYTES: usize = 16 << 20;

/// Keeps a recording as Zarr V3, in LMDB or in a directory.
///
/// A clone is a handle on the same open recording. While a recorder writes, other handles and
/// other processes may read; there is one writer at a time.
///
/// | constructor | the recording | opened for |
/// |---|---|---|
/// | [`create`](Self::create) | must not exist | writing |
/// | [`open`](Self::open) | must exist | reading |
/// | [`append`](Self::append) | must exist | writing |
/// | [`new`](Self::new) | may exist | reading if it does, else writing |
/// | [`options`](Self::options) | as set | as set |
///
/// ```
/// use simrecorder_core::{Recorder, prelude::*};
/// use simrecorder_zarr::ZarrDataStore;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// let recorder = Recorder::new(ZarrDataStore::create(&path)?);
/// recorder.record("net/v", [1.0, 2.0])?;
/// recorder.close()?;
///
/// let recorder = Recorder::new(ZarrDataStore::open(&path)?);
/// assert_eq!(recorder.get_all("net/v")?.shape(), [1, 2]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ZarrDataStore {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    path: PathBuf,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) layouts: LayoutCache,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    /// `None` when it is closed.
    writer: Mutex<Option<Writer>>,
    /// The layouts of series that were planned, for encoding ahead of commits.
    planned: Mutex<HashMap<Key, Arc<Layout>>>,
}

impl ZarrDataStore {
    /// Creates a recording in LMDB at `path`, a folder that does not exist yet or is empty.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; else see [`ZarrOptions::open`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::CreateNew).open(path)
    }

    /// Opens a recording in LMDB for reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; else see [`ZarrOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Read).open(path)
    }

    /// Opens a recording in LMDB for going on with it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; else see [`ZarrOptions::open`].
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().mode(OpenMode::Append).open(path)
    }

    /// Opens the recording in LMDB at `path` for reading if it is there, else creates it.
    ///
    /// # Errors
    /// See [`ZarrOptions::open`].
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        match Self::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            result => result,
        }
    }

    /// Options for all the rest.
    pub fn options() -> ZarrOptions {
        ZarrOptions::default()
    }

    pub(crate) fn open_with(path: &Path, options: ZarrOptions) -> Result<Self> {
        let storage: Box<dyn Storage> = match options.storage {
            ZarrStorage::Directory => Box::new(DirectoryStorage::open(
                path,
                options.mode,
                options.durability,
            )?),
            ZarrStorage::Lmdb => {
                let mut lmdb = LmdbOptions::default()
                    .with_mode(options.mode)
                    .with_durability(options.durability);
                if let Some(bytes) = options.map_size {
                    lmdb = lmdb.with_map_size(bytes);
                }
                Box::new(LmdbStorage::open(path, &lmdb)?)
            }
        };
        let shared = Shared {
            path: path.to_owned(),
            storage,
            layouts: LayoutCache::default(),
            chunk_policy: options.chunk_policy,
            compression: options.compression,
            writer: Mutex::new(Some(Writer::default())),
            planned: Mutex::default(),
        };
        shared
            .check_root()
            .map_err(|e| e.with_key(path.display().to_string()))?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The path of the recording.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.shared.storage
    }
}

impl fmt::Debug for ZarrDataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZarrDataStore")
            .field("path", &self.shared.path)
            .field("storage", &self.shared.storage)
            .finish_non_exhaustive()
    }
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
        return Column::open(snapshot, path.to_owned(), document, layouts).map(Columns::One);
    }
    let mut part = |name: &str| {
        let path = format!("{path}/{name}");
        let document = find(&path)?.ok_or_else(|| missing_part(name))?;
        Column::open(snapshot, path, &document, layouts)
    };
    Ok(Columns::Two {
        ends: part(ENDS)?,
        items: part(ITEMS)?,
    })
}

fn missing_part(name: &str) -> Error {
    corrupt(format!("the array '{name}' of the series is missing"))
}

/// The document at `path` in a snapshot.
fn document_at(snapshot: &dyn Snapshot, path: &str) -> Result<Option<Document>> {
    snapshot
        .get(&metadata_entry(path))?
        .map(|bytes| Document::parse(&bytes))
        .transpose()
}

impl Shared {
    /// Checks the version of the recording; a new one gets its root group.
    fn check_root(&self) -> Result<()> {
        let root = get(&*self.storage, &metadata_entry(""))?;
        match root {
            Some(bytes) => Document::parse(&bytes).map(|_| ()),
            None if self.storage.is_read_only() => Ok(()),
            None => self
                .storage
                .commit(vec![set_document("", &Document::root())]),
        }
    }

    fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.storage.is_read_only() {
            let message = "the recording was opened read only; open it with append()";
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        if self.writer.lock().is_none() {
            return Err(closed(operation));
        }
        Ok(())
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
    ) -> Result<Schema> {
        let kind = self.kind(document)?;
        let part;
        let (elements, names) = match kind {
            Kind::Array | Kind::Text => (document, document.dimension_names()),
            _ => {
                let ends = find(&format!("{path}/{ENDS}"))?.ok_or_else(|| missing_part(ENDS))?;
                part = find(&format!("{path}/{ITEMS}"))?.ok_or_else(|| missing_part(ITEMS))?;
                (&part, ends.dimension_names())
            }
        };
        let layout = self.layouts.get(elements)?;
        let row_shape = layout.row_shape.clone();
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
        if let (Some(names), false) = (names, document.has_flag("default_names")) {
            schema = schema.with_dimension_names(names);
        }
        if document.has_flag("fill_value")
            && let ColumnType::Elements(dtype) = layout.column
        {
            let value = ArrayValue::from_bytes(dtype, Vec::new(), layout.fill_bytes().to_vec())?;
            schema = schema.with_fill_value_of(value);
        }
        Ok(schema.with_attributes(document.attributes()))
    }

    /// The document of the node at `key`, and its path; the parts of a series are no nodes.
    fn find_node(&self, snapshot: &dyn Snapshot, key: &Key) -> Result<Option<(String, Document)>> {
        let Ok(path) = node_path(key) else {
            return Ok(None);
        };
        if let (Some(parent), ENDS | ITEMS) =
            (key.parent().filter(|key| !key.is_root()), key.name())
        {
            let parent = document_at(snapshot, &node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        Ok(document_at(snapshot, &path)?.map(|document| (path, document)))
    }

    /// Calls `read` with the node at `key`; `None` if there is none.
    fn with_node<T>(
        &self,
        key: &Key,
        read: impl Fn(&dyn Snapshot, String, Document) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.storage
            .read(&mut |snapshot| {
                found = self
                    .find_node(snapshot, key)?
                    .map(|(path, document)| read(snapshot, path, document))
                    .transpose()?;
                Ok(())
            })
            .map_err(|e| e.with_key(key.as_str()))?;
        Ok(found)
    }

    fn load_series(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
        path: &str,
        document: &Document,
    ) -> Result<(Schema, Columns)> {
        let mut find = |path: &str| document_at(snapshot, path);
        let schema = self.schema(key, path, document, &mut find)?;
        let columns = load_columns(
            snapshot,
            path,
            document,
            schema.kind(),
            &self.layouts,
            &mut find,
        )?;
        Ok((schema, columns))
    }

    /// Brings all tails into chunks.
    fn fold_tails(&self) -> Result<()> {
        let mut arrays = Vec::new();
        self.storage.read(&mut |snapshot| {
            arrays = snapshot.tails()?;
            Ok(())
        })?;
        let mut changes = Vec::new();
        let mut bytes = 0;
        for path in arrays {
            let mut column = None;
            self.storage.read(&mut |snapshot| {
                column = document_at(snapshot, &path)?
                    .map(|document| {
                        let open = Column::open(snapshot, path.clone(), &document, &self.layouts)?;
                        Ok::<_, Error>((open, document))
                    })
                    .transpose()?;
                Ok(())
            })?;
            let Some((column, mut document)) = column else {
                changes.push(StorageChange::ClearTail { array: path });
                continue;
            };
            let (_, outcome) = ColumnAppend::new(column).finish(&*self.storage, true)?;
            if let Some(stored) = outcome.stored {
                document.set_rows(stored);
                changes.push(set_document(&path, &document));
            }
            for change in &outcome.changes {
                if let StorageChange::SetChunk { value, .. } = change {
                    bytes += value.len();
                }
            }
            changes.extend(outcome.changes);
            if bytes >= CHECKPOINT_BYTES {
                self.storage.commit(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        if changes.is_empty() {
            Ok(())
        } else {
            self.storage.commit(changes)
        }
    }

    fn read_value(
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
            let text = match chunks.into_iter().next().and_then(|chunk| chunk.encoded) {
                Some(encoded) => layout.decode_texts(&encoded, 1).map_err(at)?.data,
                None => layout.fill_bytes().to_vec(),
            };
            return String::from_utf8(text)
                .map(Value::Text)
                .map_err(|e| at(corrupt("a text is not UTF-8").with_source(e)));
        };
        let region = Region::all(&shape);
        let size = region
            .len()
            .and_then(|len| len.checked_mul(dtype.size()))
            .filter(|&size| size < isize::MAX as usize)
            .ok_or_else(|| corrupt("the value does not fit into memory"))?;
        let mut data = vec![0; size];
        for ValueChunk { origin, encoded } in chunks {
            let chunk = match encoded {
                Some(encoded) => layout.decode(&encoded).map_err(at)?,
                None => layout.filled_chunk(),
            };
            let block = Block {
                data: &chunk,
                origin: &origin,
                shape: &layout.chunk_shape,
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

    /// The chunks of a value as a snapshot has them.
    fn value_chunks(
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
        let mut chunks = Vec::new();
        for row in 0..rows {
            for rest in layout.row_chunks() {
                let first = (!shape.is_empty()).then_some(row);
                let indices: Vec<u64> = first.into_iter().chain(rest).collect();
                let encoded = snapshot.get(&layout.chunk_entry(path, &indices))?;
                let origin = indices
                    .iter()
                    .zip(&layout.chunk_shape)
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

struct ValueChunk {
    origin: Vec<u64>,
    encoded: Option<bytes::Bytes>,
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the store was closed")
}

impl DataStore for ZarrDataStore {
    fn name(&self) -> &str {
        "zarr"
    }

    fn is_read_only(&self) -> bool {
        self.shared.storage.is_read_only()
    }

    fn node(&self, key: &Key) -> Result<Option<Node>> {
        if key.is_root() {
            return Ok(Some(Node::Group));
        }
        self.shared.with_node(key, |snapshot, path, document| {
            Ok(match document.node_kind() {
                NodeKind::Value => Node::Value,
                NodeKind::Series => {
                    let (schema, columns) =
                        self.shared.load_series(snapshot, key, &path, &document)?;
                    Node::Series {
                        schema: Arc::new(schema),
                        records: columns.records(),
                    }
                }
                _ => Node::Group,
            })
        })
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        let mut children = Vec::new();
        let Ok(path) = node_path(key) else {
            return Ok(children);
        };
        let read = &mut |snapshot: &dyn Snapshot| {
            children.clear();
            match self.shared.find_node(snapshot, key)? {
                Some((_, document)) if document.node_kind() != NodeKind::Group => return Ok(()),
                None if !key.is_root() => return Ok(()),
                _ => {}
            }
            for name in snapshot.children(&path)? {
                let Some(child) = child_key(key, &name) else {
                    continue;
                };
                let entry = metadata_entry(&node_path(&child)?);
                let Some(bytes) = snapshot.get(&entry)? else {
                    continue;
                };
                // What cannot be read is listed, so that reading it can say why.
                let kind = Document::parse(&bytes)
                    .map_or(NodeKind::Series, |document| document.node_kind());
                children.push(Child::new(child, kind));
            }
            children.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(())
        };
        self.shared
            .storage
            .read(read)
            .map_err(|e| e.with_key(key.as_str()))?;
        Ok(children)
    }

    fn value(&self, key: &Key) -> Result<Option<Value>> {
        let found = self.shared.with_node(key, |snapshot, path, document| {
            if document.node_kind() != NodeKind::Value {
                return Ok(None);
            }
            let chunks = self.shared.value_chunks(snapshot, &path, &document)?;
            Ok(Some((path, document, chunks)))
        })?;
        let Some((path, document, chunks)) = found.flatten() else {
            return Ok(None);
        };
        let value = self.shared.read_value(&path, &document, chunks);
        value.map(Some).map_err(|e| e.with_key(key.as_str()))
    }

    fn view(&self, key: &Key) -> Result<Option<Arc<dyn ArrayView>>> {
        let view = self.shared.with_node(key, |snapshot, path, document| {
            if document.node_kind() != NodeKind::Series {
                return Ok(None);
            }
            let (schema, columns) = self.shared.load_series(snapshot, key, &path, &document)?;
            let schema = Arc::new(schema);
            Ok(Some(ZarrView::new(
                self.clone(),
                key.clone(),
                schema,
                columns,
            )))
        })?;
        Ok(view.flatten().map(|view| Arc::new(view) as _))
    }

    fn attributes(&self, key: &Key) -> Result<Option<Attributes>> {
        let found = self
            .shared
            .with_node(key, |_, _, document| Ok(document.attributes()))?;
        Ok(found.or_else(|| key.is_root().then(Attributes::new)))
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        self.shared.check_writable("plan")?;
        let path = node_path(key)?;
        let Some(schema) = schema else { return Ok(1) };
        let existing = self.shared.with_node(key, |_, _, document| {
            let is_series = document.node_kind() == NodeKind::Series && document.is_array();
            is_series
                .then(|| self.shared.layouts.get(&document))
                .transpose()
        })?;
        let layout = match existing.flatten() {
            Some(layout) => layout,
            None => {
                let documents = self.shared.new_series(key, &path, schema)?;
                let (_, last) = documents
                    .last()
                    .ok_or_else(|| corrupt("a series has no array"))?;
                self.shared.layouts.get(last)?
            }
        };
        let records = layout.chunk_rows();
        if matches!(schema.kind(), Kind::Array) {
            self.shared.planned.lock().insert(key.clone(), layout);
        }
        Ok(records)
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        let layout = self.shared.planned.lock().get(&batch.key).cloned();
        let Some(layout) = layout else {
            return Ok(None);
        };
        let prepared =
            prepare_chunks(&layout, batch).map_err(|e| e.with_key(batch.key.as_str()))?;
        Ok(Some(Box::new(prepared)))
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        self.shared.check_writable("commit")?;
        let mut writer = self.shared.writer.lock();
        let writer = writer.as_mut().ok_or_else(|| closed("commit"))?;
        let mut stage = Stage::new(&self.shared, writer);
        for change in commit.changes {
            stage.add(change)?;
        }
        let (changes, remembered) = stage.finish()?;
        if !changes.is_empty() {
            self.shared.storage.commit(changes)?;
        }
        remember(writer, remembered);
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        let mut writer = self.shared.writer.lock();
        writer
            .as_mut()
            .ok_or_else(|| closed("checkpoint"))?
            .forget();
        self.shared.fold_tails()?;
        self.shared.storage.checkpoint()
    }

    fn close(&self) -> Result<()> {
        let folded = match self.checkpoint() {
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            result => result,
        };
        self.shared.writer.lock().take();
        let closed = self.shared.storage.close();
        folded.and(closed)
    }
}
