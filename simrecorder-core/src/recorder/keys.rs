//! What a recorder knows of each key, and the first use of a key.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::inner::{Inner, closed};
use super::options::{OnDivergence, OnStoreError};
use super::pipeline::{CHANGE_BYTES, Pipeline, Reserved, WhenFull};
use super::series_buffer::SeriesState;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::schema::{Attributes, NodeKind, Schema};
use crate::model::value::Value;
use crate::store::commit::Change;
use crate::store::node::Node;

/// Spellings of one key that are remembered; others are brought to the normal form each time.
const MAX_SPELLINGS: u32 = 8;

/// What stands at a key.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Group,
    Value,
    Series(Arc<SeriesState>),
}

impl Known {
    fn kind(&self) -> NodeKind {
        match self {
            Self::Group => NodeKind::Group,
            Self::Value => NodeKind::Value,
            Self::Series(_) => NodeKind::Series,
        }
    }
}

impl Inner {
    /// The series at `key`, if this recorder has used it.
    pub(crate) fn known_series(&self, key: &str) -> Option<Arc<SeriesState>> {
        self.spellings.get(key).cloned()
    }

    /// The series at `key`; if there is none, it is made with `schema`.
    pub(crate) fn find_or_create(
        &self,
        spelling: &str,
        schema: impl FnOnce() -> Schema,
    ) -> Result<Arc<SeriesState>> {
        self.check_running("record")?;
        if let Some(state) = self.known_series(spelling) {
            return Ok(state);
        }
        let key = Key::new(spelling)?;
        let known = self.nodes.lock().get(&key).cloned();
        let state = match known {
            Some(Known::Series(state)) => state,
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            None => self.create_series(key, schema())?,
        };
        if state.spellings.fetch_add(1, Ordering::Relaxed) < MAX_SPELLINGS {
            self.spellings.insert(spelling, &state);
        }
        Ok(state)
    }

    fn create_series(&self, key: Key, schema: Schema) -> Result<Arc<SeriesState>> {
        schema.check()?;
        // First, so that nobody waits for room with the keys locked.
        let reserved = self.reserve(2 * CHANGE_BYTES, self.when_full())?;
        let mut nodes = self.nodes.lock();
        // Closing takes this lock after it has set the flag.
        self.check_running("record")?;
        match nodes.get(&key) {
            Some(Known::Series(state)) => return Ok(Arc::clone(state)),
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            None => {}
        }
        let groups = self.check_groups_above(&nodes, &key)?;
        let mut lengths = Vec::with_capacity(reserved.len());
        for reserved in reserved {
            let pipeline = reserved.pipeline();
            if pipeline.failure().is_some() {
                continue;
            }
            let Some(node) = self.ask(pipeline, pipeline.node(&key))? else {
                continue;
            };
            let length = match node {
                None => None,
                Some(Node::Series(view)) => {
                    view.schema().check_same_records(&schema)?;
                    Some(view.first_record() + view.len())
                }
                Some(other) => return Err(clash(&key, other.kind(), NodeKind::Series)),
            };
            lengths.push((reserved, length));
        }
        let mut chunk_records = None;
        for (reserved, length) in &lengths {
            let pipeline = reserved.pipeline();
            let Some(records) = self.ask(pipeline, pipeline.plan(&key, Some(&schema)))? else {
                continue;
            };
            // A store that has the series already keeps its chunks.
            chunk_records = chunk_records.or(Some(records));
            tracing::trace!(store = pipeline.name(), %key, ?length, records, "series");
        }
        lengths.retain(|(reserved, _)| reserved.pipeline().failure().is_none());
        let schema = Arc::new(schema);
        let start = self.common_length(&key, &lengths)?;
        for (reserved, length) in &mut lengths {
            if length.is_none() {
                let change = Change::Declare {
                    key: key.clone(),
                    schema: Arc::clone(&schema),
                };
                reserved.send_part(change, CHANGE_BYTES);
            }
            if length.is_some_and(|length| length > start)
                && self.options.on_divergence == OnDivergence::CutToShortest
            {
                let change = Change::Truncate {
                    key: key.clone(),
                    len: start,
                };
                reserved.send_part(change, CHANGE_BYTES);
            }
        }
        let chunk_records = chunk_records.unwrap_or(1);
        let state = Arc::new(SeriesState::new(key.clone(), schema, chunk_records, start));
        self.series.write().push(Arc::clone(&state));
        nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
        nodes.insert(key, Known::Series(Arc::clone(&state)));
        Ok(state)
    }

    /// How many records of a series all stores hold.
    fn common_length(&self, key: &Key, lengths: &[(Reserved<'_>, Option<u64>)]) -> Result<u64> {
        let shared_may_differ = self.options.on_divergence == OnDivergence::SharedMayDiffer;
        let of_others = |reserved: &Reserved<'_>| {
            shared_may_differ && reserved.pipeline().store().as_shared().is_some()
        };
        let compared = || lengths.iter().filter(|(reserved, _)| !of_others(reserved));
        let counts = || compared().map(|(_, length)| length.unwrap_or(0));
        let shortest = counts().min().unwrap_or(0);
        if counts().all(|count| count == shortest)
            || self.options.on_divergence == OnDivergence::CutToShortest
        {
            return Ok(shortest);
        }
        let held: Vec<_> = compared()
            .map(|(reserved, length)| {
                let name = reserved.pipeline().name();
                format!("'{name}' {}", length.unwrap_or(0))
            })
            .collect();
        let message = format!(
            "the stores hold different numbers of records: {}; \
             RecorderOptions::on_divergence(OnDivergence::CutToShortest) cuts all to {shortest}",
            held.join(", ")
        );
        Err(Error::new(ErrorKind::Diverged, "record", message).with_key(key.as_str()))
    }

    /// Checks that the keys above `key` are, or can become, groups; returns those that are not
    /// known yet.
    fn check_groups_above(&self, nodes: &HashMap<Key, Known>, key: &Key) -> Result<Vec<Key>> {
        let mut new = Vec::new();
        for group in key.ancestors() {
            match nodes.get(&group) {
                Some(Known::Group) => break,
                Some(other) => return Err(not_a_group(key, &group, other.kind())),
                None => {}
            }
            for pipeline in self.working_pipelines() {
                let there = self.ask(pipeline, pipeline.node(&group))?.flatten();
                match there.map(|node| node.kind()) {
                    None | Some(NodeKind::Group) => {}
                    Some(other) => return Err(not_a_group(key, &group, other)),
                }
            }
            new.push(group);
        }
        Ok(new)
    }

    /// What the series at `key` holds, if there is one.
    pub(crate) fn series_schema(&self, key: &Key) -> Result<Option<Arc<Schema>>> {
        match self.nodes.lock().get(key) {
            Some(Known::Series(state)) => return Ok(Some(Arc::clone(&state.schema))),
            Some(other) => return Err(clash(key, other.kind(), NodeKind::Series)),
            None => {}
        }
        for pipeline in self.working_pipelines() {
            match pipeline.node(key)? {
                Some(Node::Series(view)) => return Ok(Some(Arc::clone(view.schema()))),
                Some(other) => return Err(clash(key, other.kind(), NodeKind::Series)),
                None => {}
            }
        }
        Ok(None)
    }

    pub(crate) fn declare(&self, key: &str, schema: Schema) -> Result<()> {
        schema.check()?;
        let state = self.find_or_create(key, || schema.clone())?;
        state.schema.check_same_records(&schema)
    }

    pub(crate) fn truncate(&self, spelling: &str, records: u64) -> Result<()> {
        self.check_running("truncate")?;
        let key = Key::new(spelling)?;
        let schema = self.series_schema(&key)?.ok_or_else(|| {
            let message = "there is nothing at this key to truncate";
            Error::new(ErrorKind::NotFound, "truncate", message)
        })?;
        for pipeline in self.working_pipelines() {
            let first = match self.ask(pipeline, pipeline.node(&key))?.flatten() {
                Some(Node::Series(view)) => view.first_record(),
                _ => 0,
            };
            if records < first {
                let message = format!(
                    "'{}' freed the records before {first}, so it cannot go back to {records}",
                    pipeline.name()
                );
                return Err(Error::new(ErrorKind::OutOfBounds, "truncate", message));
            }
        }
        let state = self.find_or_create(spelling, || Schema::clone(&schema))?;
        // Other writers of a store may have appended, so it is the store that knows how many
        // records there are.
        let mut series = self.send_buffer(state.lock(), self.when_full())?;
        if series.is_closed() {
            return Err(closed("truncate"));
        }
        // Under the lock, where nobody may wait.
        for reserved in self.reserve(CHANGE_BYTES, WhenFull::Exceed)? {
            let key = key.clone();
            reserved.send(Change::Truncate { key, len: records });
        }
        series.rewind(records);
        Ok(())
    }

    pub(crate) fn set(&self, spelling: &str, value: Value) -> Result<()> {
        self.check_running("set")?;
        let key = Key::new(spelling)?;
        let bytes = match &value {
            Value::Array(array) => array.as_bytes().len(),
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Object(object) => object.as_msgpack().len(),
        };
        let reserved = self.reserve(CHANGE_BYTES + bytes, self.when_full())?;
        let mut nodes = self.nodes.lock();
        self.check_running("set")?;
        match nodes.get(&key) {
            Some(Known::Value) => {}
            Some(other) => return Err(clash(&key, other.kind(), NodeKind::Value)),
            None => {
                let groups = self.check_groups_above(&nodes, &key)?;
                for pipeline in self.working_pipelines() {
                    let there = self.ask(pipeline, pipeline.node(&key))?.flatten();
                    match there.map(|node| node.kind()) {
                        None | Some(NodeKind::Value) => {}
                        Some(other) => return Err(clash(&key, other, NodeKind::Value)),
                    }
                    self.ask(pipeline, pipeline.plan(&key, None))?;
                }
                nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
                nodes.insert(key.clone(), Known::Value);
            }
        }
        let value = Arc::new(value);
        self.wrote.store(true, Ordering::Relaxed);
        // Under the lock, so that values set one after the other arrive in this order.
        for reserved in reserved {
            let (key, value) = (key.clone(), Arc::clone(&value));
            reserved.send(Change::Set { key, value });
        }
        Ok(())
    }

    pub(crate) fn set_attributes(&self, spelling: &str, attributes: Attributes) -> Result<()> {
        self.check_running("set attributes")?;
        let key = Key::new_or_root(spelling)?;
        let mut reserved = self.reserve(CHANGE_BYTES, self.when_full())?;
        let mut nodes = self.nodes.lock();
        self.check_running("set attributes")?;
        if !key.is_root() && !nodes.contains_key(&key) {
            let mut groups = self.check_groups_above(&nodes, &key)?;
            let mut there = Vec::new();
            for reserved in &reserved {
                let pipeline = reserved.pipeline();
                there.push(match pipeline.failure() {
                    Some(_) => None,
                    None => {
                        self.ask(pipeline, pipeline.plan(&key, None))?;
                        let node = self.ask(pipeline, pipeline.node(&key))?.flatten();
                        node.map(|node| node.kind())
                    }
                });
            }
            if there.iter().all(Option::is_none) {
                groups.push(key.clone());
            } else if there.iter().flatten().any(|kind| *kind != NodeKind::Group) {
                // A store that has nothing there would make it a group.
                let mut there = there.iter();
                reserved.retain(|_| there.next().is_some_and(Option::is_some));
            }
            nodes.extend(groups.into_iter().map(|group| (group, Known::Group)));
        }
        let attributes = Arc::new(attributes);
        self.wrote.store(true, Ordering::Relaxed);
        for reserved in reserved {
            let (key, attributes) = (key.clone(), Arc::clone(&attributes));
            reserved.send(Change::SetAttributes { key, attributes });
        }
        Ok(())
    }

    /// What a store answered; `None` if it failed, and the recorder goes on without it.
    fn ask<T>(&self, pipeline: &Pipeline, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(error)
                if self.options.on_store_error == OnStoreError::Detach
                    && is_of_the_store(&error) =>
            {
                pipeline.fail(error);
                self.stop_reason().map_or(Ok(None), Err)
            }
            answer => answer.map(Some),
        }
    }

    /// The stores that have not failed.
    fn working_pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines
            .iter()
            .filter(|pipeline| pipeline.failure().is_none())
    }
}

/// Whether an answer says nothing about the key that was asked for.
fn is_of_the_store(error: &Error) -> bool {
    use ErrorKind::{Internal, Io, PermissionDenied, StorageFull};
    matches!(error.kind(), Io | Internal | PermissionDenied | StorageFull)
}

fn clash(key: &Key, is: NodeKind, wanted: NodeKind) -> Error {
    let verb = match wanted {
        NodeKind::Series => "record",
        NodeKind::Value => "set",
        NodeKind::Group => "create",
    };
    let message = format!("the key is a {is}, so it cannot be a {wanted}; use another key");
    Error::new(ErrorKind::KindMismatch, verb, message).with_key(key.as_str())
}

fn not_a_group(key: &Key, group: &Key, is: NodeKind) -> Error {
    let message = format!("'{group}' is a {is}, not a group, so nothing can stand below it");
    Error::new(ErrorKind::KindMismatch, "create", message).with_key(key.as_str())
}
