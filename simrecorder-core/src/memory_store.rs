//! The store that keeps everything in memory.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::fork::ProcessLocal;
use crate::backend::sync::RwLock;
use crate::backend::{count_records, fill_records, read_fixed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::{Kind, NodeKind};
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::region_copy::{Block, copy_block};
use crate::reading::selection::Region;
use crate::reading::view::{View, no_array};
use crate::store::array_view::ArrayView;
use crate::store::commit::{Batch, Change, Commit, Prepared};
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors;
use crate::store::node::{Child, Node};
use crate::store::open_mode::OpenMode;

/// A store that keeps a recording in memory, for tests and short runs.
///
/// A clone is another handle on the same data. Keep one to read after the recorder was closed, or to
/// [`open`](Self::open) the data again. The data is freed when the last handle and the last view are dropped.
///
/// Records are not compressed, and do not count towards the recorder's memory bound once they are committed.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, OpenMode, Recorder, prelude::*};
///
/// let store = InMemoryDataStore::new();
/// let recorder = Recorder::new(store.clone());
/// recorder.record("rate", 0.5)?;
/// recorder.close()?;
///
/// let recorder = Recorder::new(store.open(OpenMode::Read)?);
/// assert_eq!(recorder.get_all("rate")?.shape(), [1]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InMemoryDataStore {
    tree: Arc<ProcessLocal<RwLock<Tree>>>,
    access: Arc<Access>,
}

#[derive(Debug, Default)]
struct Access {
    read_only: bool,
    closed: AtomicBool,
}

/// The node at each key. Groups are in it too, except for the root's attributes.
#[derive(Clone, Debug, Default)]
struct Tree {
    entries: BTreeMap<Key, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    contents: Contents,
    attributes: Arc<Attributes>,
}

#[derive(Clone, Debug)]
enum Contents {
    Group,
    Value(Arc<Value>),
    Series(Series),
}

#[derive(Clone, Debug)]
struct Series {
    schema: Arc<Schema>,
    len: u64,
    /// Replaced by each cut, so that a view can tell whether its records still exist.
    version: Arc<()>,
    /// How many records at the beginning have the fill value, and are in no run.
    filled: u64,
    /// Runs of the other records, each with the index of its first record, in order and without gaps.
    runs: Arc<Vec<Run>>,
}

type Run = (u64, Arc<Records>);

/// How to undo one change of a failed commit.
#[derive(Debug)]
enum Undo {
    Cut(Key, u64),
    Restore(Key, Option<Entry>),
}

/// Runs smaller than this are joined, so that many small commits do not make many runs.
const RUN_BYTES: usize = 1 << 20;

impl Default for InMemoryDataStore {
    fn default() -> Self {
        Self::new()
    }
}

impl InMemoryDataStore {
    /// Creates an empty store, open for writing.
    pub fn new() -> Self {
        Self {
            tree: Arc::new(ProcessLocal::new(RwLock::default())),
            access: Arc::default(),
        }
    }

    /// Opens the same data again, even if this handle was closed.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] for [`OpenMode::CreateNew`] if there is any data.
    pub fn open(&self, mode: OpenMode) -> Result<Self> {
        let tree = self.tree.get("open")?;
        match mode {
            OpenMode::CreateNew if !tree.read().entries.is_empty() => {
                let message = "the store contains data; open it with Append or Truncate";
                return Err(
                    Error::new(ErrorKind::AlreadyExists, "open", message).with_key("memory")
                );
            }
            OpenMode::Truncate => *tree.write() = Tree::default(),
            _ => {}
        }
        let access = Access {
            read_only: !mode.is_writable(),
            closed: AtomicBool::new(false),
        };
        Ok(Self {
            tree: Arc::clone(&self.tree),
            access: Arc::new(access),
        })
    }

    fn check_writable(&self, operation: &'static str) -> Result<&RwLock<Tree>> {
        let tree = self.tree.get(operation)?;
        if self.access.read_only {
            return Err(errors::read_only(operation));
        }
        match self.access.closed.load(Ordering::Acquire) {
            true => Err(errors::closed(operation, "store")),
            false => Ok(tree),
        }
    }

    fn node_in(&self, tree: &Tree, key: &Key) -> Result<Option<Node>> {
        let Some(Entry {
            contents,
            attributes,
        }) = tree.entries.get(key)
        else {
            let attributes = Attributes::new();
            return Ok(key.is_root().then_some(Node::Group { attributes }));
        };
        let attributes = Attributes::clone(attributes);
        Ok(Some(match contents {
            Contents::Group => Node::Group { attributes },
            Contents::Value(value) => Node::Value {
                value: Ok(Value::clone(value)),
                attributes,
            },
            Contents::Series(series) => {
                let schema = Schema::clone(&series.schema).with_attributes(attributes);
                let chunk_shape = chunk_shape(&schema)?;
                let mut shape = vec![series.len];
                if schema.kind() == Kind::Array {
                    shape.extend(schema.record_shape());
                }
                let view = MemoryView {
                    store: self.clone(),
                    key: key.clone(),
                    schema: Arc::new(schema),
                    version: Arc::clone(&series.version),
                    filled: series.filled,
                    runs: Arc::clone(&series.runs),
                    shape,
                    chunk_shape,
                };
                Node::Series(View::from(Arc::new(view)))
            }
        }))
    }
}

impl Tree {
    /// The entry of a new or existing key. Creates the groups above it.
    fn entry(&mut self, key: &Key, new: impl FnOnce() -> Contents) -> Result<&mut Entry> {
        let mut missing = Vec::new();
        for group in key.ancestors() {
            match self.entries.get(&group) {
                Some(Entry {
                    contents: Contents::Group,
                    ..
                }) => break,
                Some(entry) => {
                    let is = entry.contents.kind();
                    return Err(errors::not_a_group("commit", key, &group, is));
                }
                None => missing.push(group),
            }
        }
        let groups = missing.into_iter();
        self.entries
            .extend(groups.map(|group| (group, Entry::new(Contents::Group))));
        Ok(self.entries.entry(key.clone()).or_insert_with(|| {
            // The root is a group even while it has no entry.
            Entry::new(if key.is_root() {
                Contents::Group
            } else {
                new()
            })
        }))
    }

    fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Declare {
                key,
                schema,
                filled,
            } => {
                errors::check_filled(&schema, filled).map_err(|e| e.with_key(key.as_str()))?;
                let attributes = Arc::new(schema.attributes().clone());
                let mut new = false;
                let entry = self.entry(&key, || {
                    new = true;
                    Contents::Series(Series {
                        schema: Arc::clone(&schema),
                        version: Arc::default(),
                        len: filled,
                        filled,
                        runs: Arc::default(),
                    })
                })?;
                if new {
                    entry.attributes = attributes;
                }
                let series = entry.series(&key)?;
                series
                    .schema
                    .check_same_records(&schema)
                    .map_err(|e| e.with_key(key.as_str()))
            }
            Change::Append { batch, .. } => self.existing(&batch.key)?.append(&batch),
            Change::Set { key, value } => {
                let entry = self.entry(&key, || Contents::Value(Arc::clone(&value)))?;
                match &mut entry.contents {
                    Contents::Value(old) => *old = value,
                    other => {
                        return Err(errors::clash("commit", &key, other.kind(), NodeKind::Value));
                    }
                }
                Ok(())
            }
            Change::SetAttributes { key, attributes } => {
                self.entry(&key, || Contents::Group)?.attributes = attributes;
                Ok(())
            }
            Change::Describe {
                key,
                dimension_names,
                attributes,
            } => {
                let entry = self.entries.get_mut(&key);
                let entry = entry.ok_or_else(|| errors::not_described(&key, None))?;
                match (&mut entry.contents, dimension_names) {
                    (Contents::Series(series), Some(names)) => {
                        let schema = Schema::clone(&series.schema);
                        let schema = schema.with_dimension_names(names.iter().cloned());
                        schema.check().map_err(|e| e.with_key(key.as_str()))?;
                        series.schema = Arc::new(schema);
                    }
                    (Contents::Series(_) | Contents::Value(_), None) => {}
                    (other, _) => return Err(errors::not_described(&key, Some(other.kind()))),
                }
                Arc::make_mut(&mut entry.attributes).extend((*attributes).clone());
                Ok(())
            }
            Change::Truncate { key, len } => {
                let series = self.existing(&key)?;
                if len < series.len {
                    series.version = Arc::default();
                    series.truncate(len);
                }
                Ok(())
            }
            // The store has one writer.
            Change::Claim { .. } => Ok(()),
        }
    }

    /// Remembers how to undo `change`, in case it or a later change of its commit fails.
    fn prepare_undo(&self, change: &Change, undo: &mut Vec<Undo>) {
        if let Change::Append { batch, .. } = change {
            // A copy would share the last run, which then could not grow in place.
            if let Some(Contents::Series(series)) =
                self.entries.get(&batch.key).map(|entry| &entry.contents)
            {
                undo.push(Undo::Cut(batch.key.clone(), series.len));
            }
            return;
        }
        let touched = std::iter::once(change.key().clone()).chain(change.key().ancestors());
        undo.extend(touched.map(|key| {
            let before = self.entries.get(&key).cloned();
            Undo::Restore(key, before)
        }));
    }

    fn undo(&mut self, step: Undo) {
        match step {
            Undo::Cut(key, len) => {
                if let Ok(series) = self.existing(&key) {
                    series.truncate(len);
                }
            }
            Undo::Restore(key, Some(entry)) => {
                self.entries.insert(key, entry);
            }
            Undo::Restore(key, None) => {
                self.entries.remove(&key);
            }
        }
    }

    /// Removes the entries of a key and of all keys below it.
    fn take(&mut self, key: &Key) -> Vec<(Key, Entry)> {
        let range = self.entries.range(key.clone()..);
        let within = range.take_while(|(other, _)| other.is_within(key));
        let keys: Vec<_> = within.map(|(other, _)| other.clone()).collect();
        let take = |key: Key| Some((key.clone(), self.entries.remove(&key)?));
        keys.into_iter().filter_map(take).collect()
    }

    fn existing(&mut self, key: &Key) -> Result<&mut Series> {
        match self.entries.get_mut(key) {
            Some(entry) => entry.series(key),
            None => Err(errors::not_declared(key)),
        }
    }
}

impl Entry {
    fn new(contents: Contents) -> Self {
        Self {
            contents,
            attributes: Arc::default(),
        }
    }

    fn series(&mut self, key: &Key) -> Result<&mut Series> {
        match &mut self.contents {
            Contents::Series(series) => Ok(series),
            other => Err(errors::clash("commit", key, other.kind(), NodeKind::Series)),
        }
    }
}

impl Contents {
    fn kind(&self) -> NodeKind {
        match self {
            Self::Group => NodeKind::Group,
            Self::Value(_) => NodeKind::Value,
            Self::Series(_) => NodeKind::Series,
        }
    }
}

impl Series {
    fn append(&mut self, batch: &Arc<Batch>) -> Result<()> {
        let records = &batch.records;
        self.schema
            .check_same_records(records.schema())
            .map_err(|e| e.with_key(batch.key.as_str()))?;
        if batch.start != self.len {
            return Err(errors::wrong_start(&batch.key, batch.start, self.len));
        }
        if records.is_empty() {
            return Ok(());
        }
        let runs = Arc::make_mut(&mut self.runs);
        let size = |records: &Records| records.data().len() + records.ends().len() * 8;
        if let Some((_, last)) = runs.last_mut()
            && size(last) + size(records) <= RUN_BYTES
            // Extending a run that a view shares copies it, so that the new part has to be at least as
            // large.
            && (Arc::strong_count(last) == 1 || size(last) <= size(records))
        {
            Arc::make_mut(last).extend_from(records, 0..records.len());
        } else {
            runs.push((self.len, Arc::new(records.clone())));
        }
        self.len += records.len();
        Ok(())
    }

    fn truncate(&mut self, len: u64) {
        if len >= self.len {
            return;
        }
        let runs = Arc::make_mut(&mut self.runs);
        runs.retain(|(start, _)| *start < len);
        if let Some((start, last)) = runs.last_mut() {
            *last = Arc::new(last.slice(0..last.len().min(len - *start)));
        }
        self.len = len;
        self.filled = self.filled.min(len);
    }
}

impl DataStore for InMemoryDataStore {
    fn name(&self) -> &str {
        "memory"
    }

    fn is_read_only(&self) -> bool {
        self.access.read_only
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let tree = self.tree.get("read")?.read();
        keys.iter().map(|key| self.node_in(&tree, key)).collect()
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        let tree = self.tree.get("children")?.read();
        let mut children = Vec::new();
        let mut after = Bound::Excluded(key.clone());
        // Every group has an entry, so the first key after `key`, or after a child with everything that
        // it contains, is a child.
        while let Some((child, entry)) = tree.entries.range((after, Bound::Unbounded)).next()
            && child.is_within(key)
        {
            children.push(Child::new(child.clone(), entry.contents.kind()));
            after = Bound::Excluded(child.end_of_subtree());
        }
        Ok(children)
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        let tree = self.check_writable("plan")?;
        let Some(schema) = schema else {
            return Ok(1);
        };
        let asked = chunk_shape(schema)?;
        let tree = tree.read();
        let stored = tree.entries.get(key).map(|entry| &entry.contents);
        let Some(Contents::Series(Series { schema: stored, .. })) = stored else {
            return Ok(asked[0]);
        };
        let chunk_shape = chunk_shape(stored)?;
        let rows = chunk_shape[0];
        let same = stored.check_same_storage(schema, &[chunk_shape], &[asked]);
        same.map_err(|e| e.with_key(key.as_str())).map(|()| rows)
    }

    fn prepare(&self, _batch: &Batch) -> Result<Option<Prepared>> {
        Ok(None)
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        let mut tree = self.check_writable("commit")?.write();
        let mut undo = Vec::new();
        for change in commit.changes {
            tree.prepare_undo(&change, &mut undo);
            if let Err(error) = tree.apply(change) {
                undo.into_iter().rev().for_each(|step| tree.undo(step));
                return Err(error);
            }
        }
        Ok(())
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let tree = self.check_writable("remove")?;
        if key.is_root() {
            return Err(errors::root_stays("remove"));
        }
        match tree.write().take(key).is_empty() {
            true => Err(errors::nothing_at("remove").with_key(key.as_str())),
            false => Ok(()),
        }
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let tree = self.check_writable("rename")?;
        errors::check_rename(from, to)?;
        let mut tree = tree.write();
        if !tree.entries.contains_key(from) {
            return Err(errors::nothing_at("rename").with_key(from.as_str()));
        }
        if from == to {
            return Ok(());
        }
        if let Some(entry) = tree.entries.get(to) {
            return Err(errors::already_there(to, entry.contents.kind()));
        }
        tree.entry(to, || Contents::Group)?;
        for (key, entry) in tree.take(from) {
            if let Some(key) = key.rebase(from, to)? {
                tree.entries.insert(key, entry);
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        self.tree.get("checkpoint")?;
        match self.access.read_only {
            true => Ok(()),
            false => self.check_writable("checkpoint").map(drop),
        }
    }

    fn close(&self) -> Result<()> {
        self.tree.get("close")?;
        self.access.closed.store(true, Ordering::Release);
        Ok(())
    }
}

fn chunk_shape(schema: &Schema) -> Result<Vec<u64>> {
    let default = ChunkPolicy::default();
    let policy = schema.chunk_policy().unwrap_or(&default);
    if schema.kind() == Kind::Array {
        policy.chunk_shape(schema.record_shape(), schema.dtype().map_or(1, DType::size))
    } else {
        // Records of unknown size: as many as have a chunk of ends.
        ChunkPolicy::default().chunk_shape(&[], size_of::<u64>())
    }
}

#[derive(Clone, Debug)]
struct MemoryView {
    store: InMemoryDataStore,
    key: Key,
    schema: Arc<Schema>,
    version: Arc<()>,
    filled: u64,
    runs: Arc<Vec<Run>>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
}

impl MemoryView {
    /// The runs that contain records of `range`.
    fn runs_within(&self, range: Range<u64>) -> impl Iterator<Item = &Run> {
        let first = self
            .runs
            .partition_point(|(start, run)| start + run.len() <= range.start);
        self.runs[first..]
            .iter()
            .take_while(move |(start, _)| *start < range.end)
    }
}

impl ArrayView for MemoryView {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        &self.chunk_shape
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let Some(dtype) = self.dtype().filter(|_| self.kind() == Kind::Array) else {
            return Err(no_array(self, "read_into()"));
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        let (region, out) = fill_records(region, self.filled, &self.schema, out);
        let mut origin = vec![0; self.shape.len()];
        let mut shape = self.shape.clone();
        for (start, run) in self.runs_within(region.axes()[0].bounds()) {
            (origin[0], shape[0]) = (*start, run.len());
            let block = Block {
                data: run.data(),
                origin: &origin,
                shape: &shape,
            };
            copy_block(block, &region, out, dtype.size())?;
        }
        Ok(())
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        count_records(&range, &self.shape)?;
        if range.start < self.filled {
            return read_fixed(self, range, max_bytes);
        }
        let mut records = Records::empty(Arc::clone(&self.schema));
        for (start, run) in self.runs_within(range.clone()) {
            let first = range.start.max(*start) - start;
            let after = (range.end - start).min(run.len());
            if max_bytes == usize::MAX {
                records.extend_from(run, first..after);
                continue;
            }
            for index in first..after {
                records.extend_from(run, index..index + 1);
                if records.data().len() >= max_bytes {
                    return Ok(records);
                }
            }
        }
        Ok(records)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let view = self.store.view(&self.key)?.ok_or_else(|| {
            let message = "the series no longer exists";
            Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str())
        })?;
        Ok(view.into())
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let tree = self.store.tree.get("read")?.read();
        let contents = tree.entries.get(&self.key).map(|entry| &entry.contents);
        match contents {
            Some(Contents::Series(now)) if Arc::ptr_eq(&now.version, &self.version) => {
                let nodes = keys.iter().map(|key| self.store.node_in(&tree, key));
                nodes.collect()
            }
            _ => Err(errors::shortened().with_key(self.key.as_str())),
        }
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn filled(&self) -> u64 {
        self.filled
    }
}
