//! The keys that the recorder has used, and the first use of a key.

mod removal;
mod rewind;
mod timelines;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

use crate::backend::sync::Mutex;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::labeled::LabeledRecord;
use crate::model::record::RecordRef;
use crate::model::schema::{Attributes, Schema};
use crate::reading::view::View;
use crate::recorder::buffers::{AnyBuffer, Buffers};
use crate::recorder::key_cache::KeyCache;
use crate::recorder::options::{OnDivergence, RecorderOptions};
use crate::recorder::pipeline::{BarrierKind, CHANGE_BYTES, Pipeline, Reservation, WhenFull};
use crate::recorder::series_buffer::SeriesBuffer;
use crate::recorder::stores::Stores;
use crate::recorder::timeline::TimelineBuffer;
use crate::store::commit::Change;
use crate::store::errors::{clash, not_a_group, not_truncated, nothing_at};
use crate::store::node::Node;
pub(crate) use timelines::timeline_of;
use timelines::with_mark;

/// How many texts of one key are cached. Other texts are normalised on each call.
const MAX_CACHED_TEXTS: u32 = 8;

/// The nodes that the recorder has used, and the series of key texts.
#[derive(Debug)]
pub(super) struct KeyRegistry {
    stores: Arc<Stores>,
    buffers: Arc<Buffers>,
    cache: Arc<KeyCache>,
    nodes: Mutex<Nodes>,
    /// The buffers of removed series, which the key cache still contains. Locked after `nodes`.
    removed: Mutex<HashMap<Key, Arc<SeriesBuffer>>>,
    /// The schemas that were declared, until the attributes of their series are set.
    declared: Mutex<HashMap<Key, Schema>>,
    /// Whether anything except records was written.
    has_written: AtomicBool,
    on_divergence: OnDivergence,
}

type Nodes = HashMap<Key, RegisteredNode>;

/// A node that this recorder has used.
#[derive(Clone, Debug)]
enum RegisteredNode {
    /// A group that is not a timeline.
    Group,
    /// A timeline without a handle of this recorder, with the name of its coordinate.
    StoredTimeline(Box<str>),
    /// A timeline with a handle.
    Timeline(Arc<TimelineBuffer>),
    /// A series of a timeline with a handle.
    Member(Arc<TimelineBuffer>),
    Value,
    /// A free-standing series.
    Series(Arc<SeriesBuffer>),
}

/// What [`KeyRegistry::create_series`] does with a series that a store already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    /// Use it without a change.
    Use,
    /// Change its attributes and names.
    Describe,
}

impl RegisteredNode {
    fn kind(&self) -> NodeKind {
        match self {
            Self::Group | Self::StoredTimeline(_) | Self::Timeline(_) => NodeKind::Group,
            Self::Value => NodeKind::Value,
            Self::Series(_) | Self::Member(_) => NodeKind::Series,
        }
    }
}

impl KeyRegistry {
    pub(super) fn new(
        stores: Arc<Stores>,
        buffers: Arc<Buffers>,
        cache: Arc<KeyCache>,
        options: &RecorderOptions,
    ) -> Self {
        Self {
            stores,
            buffers,
            cache,
            nodes: Mutex::default(),
            removed: Mutex::default(),
            declared: Mutex::default(),
            has_written: AtomicBool::new(false),
            on_divergence: options.on_divergence,
        }
    }

    /// The buffer of the series at a key, if this recorder has used it.
    pub(super) fn buffer(&self, key: &Key) -> Option<AnyBuffer> {
        match self.nodes.lock().get(key) {
            Some(RegisteredNode::Series(series)) => Some(AnyBuffer::Series(Arc::clone(series))),
            Some(RegisteredNode::Member(timeline)) => {
                Some(AnyBuffer::Timeline(Arc::clone(timeline)))
            }
            _ => None,
        }
    }

    /// Whether anything was written: a series, a value or attributes.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed) || !self.buffers.is_empty()
    }

    /// Waits for the thread that writes to a new key, if there is one. Later threads see that the recorder is closed.
    pub(super) fn wait_for_changes(&self) {
        drop(self.nodes.lock());
    }

    /// Takes a record of the series at a key, and creates the series if there is none.
    pub(super) fn record(&self, text: &str, record: &RecordRef<'_>) -> Result<Arc<SeriesBuffer>> {
        loop {
            let series = self.find_or_create(text, || Schema::of_record(record))?;
            // Fails if the series was removed in the meantime.
            if self.buffers.record(&series, record)? {
                return Ok(series);
            }
        }
    }

    /// The series at `key`; creates it with `schema` if there is none.
    pub(super) fn find_or_create(
        &self,
        text: &str,
        schema: impl FnOnce() -> Schema,
    ) -> Result<Arc<SeriesBuffer>> {
        self.stores.check_running("record")?;
        let cached = self.cache.get(text);
        if let Some(series) = cached.filter(|series| series.schema().is_some()) {
            return Ok(Arc::clone(series));
        }
        let key = Key::new(text)?;
        let series = match self.registered_series(&key)? {
            Some(series) => series,
            None => self.create_series(key, schema(), Existing::Use)?.0,
        };
        if cached.is_none() {
            self.cache_text(text, &series);
        }
        Ok(series)
    }

    /// The series at a key, if this recorder has used it.
    fn registered_series(&self, key: &Key) -> Result<Option<Arc<SeriesBuffer>>> {
        match self.nodes.lock().get(key) {
            Some(RegisteredNode::Series(series)) => Ok(Some(Arc::clone(series))),
            Some(RegisteredNode::Member(timeline)) => {
                Err(in_timeline("record", key, &timeline.group))
            }
            Some(other) => Err(clash("record", key, other.kind(), NodeKind::Series)),
            None => Ok(None),
        }
    }

    fn cache_text(&self, text: &str, series: &Arc<SeriesBuffer>) {
        if series.cached_texts.fetch_add(1, Ordering::Relaxed) < MAX_CACHED_TEXTS {
            self.cache.insert(text, series);
        }
    }

    /// Creates the series at `key` in all stores that do not have it. If another thread was faster, returns its series
    /// with `false`.
    fn create_series(
        &self,
        key: Key,
        schema: Schema,
        existing: Existing,
    ) -> Result<(Arc<SeriesBuffer>, bool)> {
        schema.check()?;
        // Reserves room first, so that no thread waits for it while the keys are locked.
        let when_full = self.stores.when_full();
        let room = self.stores.reserve(2 * CHANGE_BYTES, when_full)?;
        let mut nodes = self.nodes.lock();
        // Closing takes this lock after it has set the flag.
        self.stores.check_running("record")?;
        match nodes.get(&key) {
            Some(RegisteredNode::Series(series)) => return Ok((Arc::clone(series), false)),
            Some(RegisteredNode::Member(timeline)) => {
                return Err(in_timeline("record", &key, &timeline.group));
            }
            Some(other) => return Err(clash("record", &key, other.kind(), NodeKind::Series)),
            None => {}
        }
        let groups = self.check_groups_above(&nodes, &key)?;
        self.check_free_standing(&nodes, &groups, &key)?;
        let mut stored = Vec::new();
        for room in room.into_vec() {
            let pipeline = room.pipeline();
            if pipeline.has_failed() {
                continue;
            }
            let Some(node) = self.stores.answer(pipeline, pipeline.node(&key))? else {
                continue;
            };
            let describe = match (&node, existing) {
                (Some(Node::Series(view)), Existing::Describe) => description(&key, view, &schema),
                _ => None,
            };
            stored.push(StoredSeries {
                room,
                len: series_len(&key, node, &schema)?,
                describe,
            });
        }
        let mut chunk_records = None;
        for StoredSeries { room, len, .. } in &stored {
            let pipeline = room.pipeline();
            let planned = match (len, existing) {
                (Some(_), Existing::Use) => pipeline.plan(&key, Some(&schema.of_records_only())),
                _ => pipeline.plan(&key, Some(&schema)),
            };
            let planned = planned.map_err(|e| self.stores.in_store(pipeline, e));
            let Some(records) = self.stores.answer(pipeline, planned)? else {
                continue;
            };
            // A store that already has the series keeps its chunks.
            chunk_records = chunk_records.or(Some(records));
            tracing::trace!(store = pipeline.name(), %key, ?len, records, "series");
        }
        stored.retain(|stored| !stored.room.pipeline().has_failed());
        let start = self.common_len(&key, &stored)?;
        let schema = Arc::new(schema);
        for StoredSeries {
            room,
            len,
            describe,
        } in stored
        {
            let declare = len.is_none().then(|| Change::Declare {
                key: key.clone(),
                schema: Arc::clone(&schema),
                filled: 0,
            });
            let is_longer = len.is_some_and(|len| len > start);
            let is_cut = is_longer && self.on_divergence == OnDivergence::CutToShortest;
            let truncate = is_cut.then(|| Change::Truncate {
                key: key.clone(),
                len: start,
            });
            let changes = declare.into_iter().chain(describe).chain(truncate);
            room.send(changes.collect());
        }
        let chunk_records = chunk_records.unwrap_or(1);
        let removed = self.removed.lock().remove(&key);
        let series = match removed {
            Some(series) => {
                series.restart(schema, chunk_records, start);
                series
            }
            None => {
                let series = SeriesBuffer::new(key.clone(), schema, chunk_records, start);
                let series = Arc::new(series);
                self.buffers.add(Arc::clone(&series));
                series
            }
        };
        nodes.extend(groups);
        nodes.insert(key, RegisteredNode::Series(Arc::clone(&series)));
        Ok((series, true))
    }

    /// The number of records of a series in all stores.
    fn common_len(&self, key: &Key, stored: &[StoredSeries<'_>]) -> Result<u64> {
        let shared_may_differ = self.on_divergence == OnDivergence::SharedMayDiffer;
        let is_compared = |stored: &&StoredSeries<'_>| {
            !(shared_may_differ && stored.room.pipeline().store().as_shared().is_some())
        };
        let compared: Vec<_> = stored.iter().filter(is_compared).collect();
        let lens = || compared.iter().map(|stored| stored.len.unwrap_or(0));
        let shortest = lens().min().unwrap_or(0);
        if lens().all(|len| len == shortest) || self.on_divergence == OnDivergence::CutToShortest {
            return Ok(shortest);
        }
        let names = compared.iter().map(|stored| stored.room.pipeline().name());
        Err(diverged(names.zip(lens()), "records").with_key(key.as_str()))
    }

    /// Checks that the keys above `key` are, or can become, groups; returns those that are not
    /// registered yet, including the root.
    fn check_groups_above(&self, nodes: &Nodes, key: &Key) -> Result<Vec<(Key, RegisteredNode)>> {
        let mut new = Vec::new();
        for group in key.ancestors().chain([Key::ROOT]) {
            match nodes.get(&group) {
                Some(node) if node.kind() == NodeKind::Group => break,
                Some(other) => return Err(not_a_group("create", key, &group, other.kind())),
                None => {}
            }
            let node = self.stored_group(&group)?;
            let node = node.map_err(|other| not_a_group("create", key, &group, other))?;
            new.push((group, node));
        }
        Ok(new)
    }

    /// The group as the stores have it, or the kind of another node at its key.
    fn stored_group(&self, group: &Key) -> Result<Result<RegisteredNode, NodeKind>> {
        let mut registered = RegisteredNode::Group;
        for pipeline in self.stores.healthy() {
            let answer = self.stores.answer(pipeline, pipeline.node(group))?;
            match answer.flatten() {
                None => {}
                Some(Node::Group { attributes }) => {
                    if let Some(name) = timeline_of(&attributes) {
                        registered = RegisteredNode::StoredTimeline(name.into());
                    }
                }
                Some(other) => return Ok(Err(other.kind())),
            }
        }
        Ok(Ok(registered))
    }

    /// Sends each store its changes, which it commits together. It does not wait for room, since the changes are small
    /// compared with what was read to find them.
    fn send_to_each(changes: Vec<(&Pipeline, Vec<Change>)>) {
        for (pipeline, changes) in changes {
            if let Some(room) = pipeline.reserve(changes.len() * CHANGE_BYTES, WhenFull::Exceed) {
                room.send(changes);
            }
        }
    }

    /// The schema of the series at `key`, if there is one; `clash` makes the error of another node.
    pub(super) fn series_schema(
        &self,
        key: &Key,
        clash: impl Fn(&Key, NodeKind) -> Error,
    ) -> Result<Option<Arc<Schema>>> {
        match self.nodes.lock().get(key) {
            Some(RegisteredNode::Series(series)) => return Ok(series.schema()),
            Some(RegisteredNode::Member(timeline)) => {
                return Err(in_timeline("record", key, &timeline.group));
            }
            Some(other) => return Err(clash(key, other.kind())),
            None => {}
        }
        for pipeline in self.stores.healthy() {
            match pipeline.node(key)? {
                Some(Node::Series(view)) => return Ok(Some(Arc::clone(view.schema()))),
                Some(other) => return Err(clash(key, other.kind())),
                None => {}
            }
        }
        Ok(None)
    }

    pub(super) fn declare(&self, text: &str, schema: Schema) -> Result<()> {
        schema.check()?;
        self.stores.check_running("declare")?;
        let key = Key::new(text)?;
        if self.declared.lock().get(&key) == Some(&schema) {
            return Ok(());
        }
        let (series, is_new) = match self.registered_series(&key)? {
            Some(series) => (series, false),
            None => self.create_series(key.clone(), schema.clone(), Existing::Describe)?,
        };
        if self.cache.get(text).is_none() {
            self.cache_text(text, &series);
        }
        if !is_new {
            let Some(stored) = series.schema() else {
                // Another thread removed it after it was declared.
                return Ok(());
            };
            stored.check_same_records(&schema)?;
            self.describe(&key, &schema)?;
        }
        self.declared.lock().insert(key, schema);
        Ok(())
    }

    /// Changes the attributes and names of a series that this recorder uses.
    fn describe(&self, key: &Key, schema: &Schema) -> Result<()> {
        if *schema == schema.of_records_only() {
            return Ok(());
        }
        // Changes in the queues still change what the stores have.
        for (_, barrier) in self.stores.send_barriers(&BarrierKind::Flush) {
            barrier.wait(None);
        }
        let room = self.stores.reserve(CHANGE_BYTES, self.stores.when_full())?;
        let _nodes = self.nodes.lock();
        self.stores.check_running("declare")?;
        let mut changes = Vec::new();
        for room in room.into_vec() {
            let pipeline = room.pipeline();
            if pipeline.has_failed() {
                continue;
            }
            let node = self.stores.answer(pipeline, pipeline.node(key))?;
            let Some(Some(Node::Series(view))) = node else {
                continue;
            };
            let planned = pipeline.plan(key, Some(schema));
            let planned = planned.map_err(|e| self.stores.in_store(pipeline, e));
            if self.stores.answer(pipeline, planned)?.is_some()
                && let Some(change) = description(key, &view, schema)
            {
                changes.push((room, change));
            }
        }
        for (room, change) in changes {
            room.send(vec![change]);
        }
        Ok(())
    }

    pub(super) fn truncate(&self, text: &str, len: u64) -> Result<()> {
        self.stores.check_running("truncate")?;
        let key = Key::new(text)?;
        if self.truncate_timeline(&key, len)? {
            return Ok(());
        }
        let schema = self.series_schema(&key, not_truncated)?;
        let schema = schema.ok_or_else(|| nothing_at("truncate"))?;
        for pipeline in self.stores.healthy() {
            let answer = self.stores.answer(pipeline, pipeline.node(&key))?;
            let first = match answer.flatten() {
                Some(Node::Series(view)) => view.first_record(),
                _ => 0,
            };
            if len < first {
                let message = format!(
                    "'{}' freed the records before {first}, so the series cannot be cut to {len}",
                    pipeline.name()
                );
                return Err(Error::new(ErrorKind::OutOfBounds, "truncate", message));
            }
        }
        let series = self.find_or_create(text, || Schema::clone(&schema))?;
        // Other writers of a store may have appended, so only the store knows the number of records.
        self.buffers.truncate(&series, len)
    }

    pub(super) fn set(&self, text: &str, value: LabeledRecord<'_>) -> Result<()> {
        self.stores.check_running("set")?;
        let key = Key::new(text)?;
        let bytes = 2 * CHANGE_BYTES + value.record.data.len();
        let room = self.stores.reserve(bytes, self.stores.when_full())?;
        let attributes = value.units.map(|units| {
            let units = ("units".to_owned(), units.into());
            Arc::new(Attributes::from_iter([units]))
        });
        // Copies the value once there is room, as for a large record.
        let value = Arc::new(value.into_value()?);
        let changes = || {
            let set = Change::Set {
                key: key.clone(),
                value: Arc::clone(&value),
            };
            let describe = attributes.as_ref().map(|attributes| Change::Describe {
                key: key.clone(),
                dimension_names: None,
                attributes: Arc::clone(attributes),
            });
            std::iter::once(set).chain(describe).collect::<Vec<_>>()
        };
        let mut nodes = self.nodes.lock();
        self.stores.check_running("set")?;
        match nodes.get(&key) {
            Some(RegisteredNode::Value) => {}
            Some(other) => return Err(clash("set", &key, other.kind(), NodeKind::Value)),
            None => {
                let groups = self.check_groups_above(&nodes, &key)?;
                for pipeline in self.stores.healthy() {
                    let answer = self.stores.answer(pipeline, pipeline.node(&key))?;
                    match answer.flatten().map(|node| node.kind()) {
                        None | Some(NodeKind::Value) => {}
                        Some(other) => return Err(clash("set", &key, other, NodeKind::Value)),
                    }
                    self.stores.answer(pipeline, pipeline.plan(&key, None))?;
                }
                nodes.extend(groups);
                nodes.insert(key.clone(), RegisteredNode::Value);
            }
        }
        self.has_written.store(true, Ordering::Relaxed);
        // Sends under the lock, so that values arrive in the order in which they were set.
        room.send(changes);
        Ok(())
    }

    pub(super) fn set_attributes(&self, text: &str, attributes: Attributes) -> Result<()> {
        self.stores.check_running("set attributes")?;
        let key = Key::new_or_root(text)?;
        let when_full = self.stores.when_full();
        let room = self.stores.reserve(CHANGE_BYTES, when_full)?;
        let mut room = room.into_vec();
        let mut nodes = self.nodes.lock();
        self.stores.check_running("set attributes")?;
        // A timeline keeps the attribute that marks it.
        let mark = self.coordinate_of(&nodes, &key)?;
        if !key.is_root() && !nodes.contains_key(&key) {
            let mut groups = self.check_groups_above(&nodes, &key)?;
            let mut kinds = Vec::new();
            for room in &room {
                let pipeline = room.pipeline();
                kinds.push(match pipeline.has_failed() {
                    true => None,
                    false => {
                        self.stores.answer(pipeline, pipeline.plan(&key, None))?;
                        let answer = self.stores.answer(pipeline, pipeline.node(&key))?;
                        answer.flatten().map(|node| node.kind())
                    }
                });
            }
            if kinds.iter().all(Option::is_none) {
                groups.push((key.clone(), RegisteredNode::Group));
            } else if kinds.iter().flatten().any(|kind| *kind != NodeKind::Group) {
                // A store without a node there would create a group.
                let mut kinds = kinds.iter();
                room.retain(|_| kinds.next().is_some_and(Option::is_some));
            }
            nodes.extend(groups);
        }
        let attributes = Arc::new(match mark {
            Some(name) => with_mark(attributes, &name),
            None => attributes,
        });
        self.declared.lock().remove(&key);
        self.has_written.store(true, Ordering::Relaxed);
        for room in room {
            let (key, attributes) = (key.clone(), Arc::clone(&attributes));
            room.send(vec![Change::SetAttributes { key, attributes }]);
        }
        Ok(())
    }
}

/// A series as a store has it, and room in the queue of that store.
struct StoredSeries<'a> {
    room: Reservation<'a>,
    /// The number of its records; `None` if the store does not have it.
    len: Option<u64>,
    /// The change that gives it the declared attributes and names.
    describe: Option<Change>,
}

/// The change that gives a series the attributes and the dimension names of a schema, if they differ.
fn description(key: &Key, view: &View, schema: &Schema) -> Option<Change> {
    let stored = view.schema();
    let names = schema.dimension_names();
    let new_names = names.filter(|names| stored.dimension_names() != Some(names));
    let is_new = |(name, value): &(&String, _)| stored.attributes().get(*name) != Some(*value);
    let attributes = schema.attributes().iter().filter(is_new);
    let attributes: Attributes = attributes
        .map(|(name, it)| (name.clone(), it.clone()))
        .collect();
    (new_names.is_some() || !attributes.is_empty()).then(|| Change::Describe {
        key: key.clone(),
        dimension_names: new_names.map(Arc::from),
        attributes: Arc::new(attributes),
    })
}

/// The number of records of a series; `None` if the store does not have it.
fn series_len(key: &Key, node: Option<Node>, schema: &Schema) -> Result<Option<u64>> {
    match node {
        None => Ok(None),
        Some(Node::Series(view)) => {
            view.schema().check_same_records(schema)?;
            Ok(Some(view.first_record() + view.len()))
        }
        Some(other) => Err(clash("record", key, other.kind(), NodeKind::Series)),
    }
}

/// The error of stores with different numbers of records or ticks.
fn diverged<'a>(held: impl Iterator<Item = (&'a str, u64)> + Clone, what: &str) -> Error {
    let shortest = held.clone().map(|(_, len)| len).min().unwrap_or(0);
    let held: Vec<_> = held.map(|(name, len)| format!("'{name}' {len}")).collect();
    let message = format!(
        "the stores have different numbers of {what}: {}; \
         RecorderOptions::on_divergence(OnDivergence::CutToShortest) cuts all to {shortest}",
        held.join(", ")
    );
    Error::new(ErrorKind::Diverged, "record", message)
}

/// The error of a series that belongs to a timeline and was used without its handle.
fn in_timeline(operation: &'static str, key: &Key, group: &Key) -> Error {
    let message = format!(
        "the group '{group}' is a timeline, whose series are recorded through the handle that \
         Recorder::timeline returns; use that, or a key in another group"
    );
    Error::new(ErrorKind::InvalidArgument, operation, message).with_key(key.as_str())
}
