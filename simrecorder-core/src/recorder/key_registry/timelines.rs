//! Opening timelines, and adding series to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{KeyRegistry, Nodes, RegisteredNode, description, in_timeline};
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::{Kind, NodeKind};
use crate::model::record::RecordRef;
use crate::model::schema::{Attributes, Schema};
use crate::reading::group::Group;
use crate::reading::view::View;
use crate::recorder::buffers::append;
use crate::recorder::options::OnDivergence;
use crate::recorder::pipeline::{BarrierKind, CHANGE_BYTES, Pipeline, WhenFull};
use crate::recorder::timeline::{
    COORDINATE, Coordinate, CoordinateValue, TIMELINE_ATTRIBUTE, TimelineBuffer, member_key,
    no_open_tick,
};
use crate::store::commit::Change;
use crate::store::data_store::DataStoreExt;
use crate::store::errors::{clash, wrong_node};
use crate::store::node::Node;

const OPERATION: &str = "timeline";

/// A timeline as one store has it.
struct StoredTimeline<'a> {
    pipeline: &'a Pipeline,
    /// The attributes of the group, if it exists.
    attributes: Option<Attributes>,
    /// Its series by name.
    series: BTreeMap<String, View>,
    /// The number of its ticks.
    len: u64,
}

/// The plan for opening a timeline.
struct Opening<'a> {
    stored: Vec<StoredTimeline<'a>>,
    members: Vec<OpenedMember>,
    /// The number of ticks that all stores keep, and the coordinate of the last one.
    len: u64,
    last: Option<CoordinateValue>,
}

/// A series of a timeline that is opened, as all stores have it.
struct OpenedMember {
    key: Key,
    schema: Arc<Schema>,
    chunk_records: u64,
}

impl KeyRegistry {
    /// Opens the timeline of a group, or makes the group a timeline.
    pub(in crate::recorder) fn open_timeline(
        &self,
        group: &str,
        coordinate: &Coordinate,
        dtype: DType,
    ) -> Result<Arc<TimelineBuffer>> {
        self.stores.check_running(OPERATION)?;
        let group = Key::new_or_root(group)?;
        let key = coordinate.key(&group)?;
        let mut nodes = self.nodes.lock();
        self.stores.check_running(OPERATION)?;
        match nodes.get(&group) {
            Some(RegisteredNode::Timeline(_)) => return Err(open_already(&group)),
            Some(node) if node.kind() != NodeKind::Group => {
                return Err(clash(OPERATION, &group, node.kind(), NodeKind::Group));
            }
            _ => {}
        }
        // The stores know only what they have committed.
        for buffer in self.buffers.below(&group) {
            self.buffers.send_any(&buffer, WhenFull::Exceed)?;
        }
        self.change_all(&BarrierKind::Flush)?;
        let groups = self.check_groups_above(&nodes, &key)?;
        let mut opening = self.plan_opening(&group, coordinate, dtype)?;
        self.check_names(&nodes, &groups, &group, coordinate.name())?;
        self.send_opening(&group, coordinate.name(), &opening)?;
        let mut pipelines = self.stores.healthy();
        if pipelines.any(|pipeline| pipeline.store().as_shared().is_some()) {
            // An older writer may have appended until the claim was committed.
            self.change_all(&BarrierKind::Flush)?;
            let before = opening.len;
            opening = self.plan_opening(&group, coordinate, dtype)?;
            if opening.len != before {
                self.send_opening(&group, coordinate.name(), &opening)?;
            }
        }
        let Opening {
            members, len, last, ..
        } = opening;
        self.has_written.store(true, Ordering::Relaxed);

        let timeline = Arc::new(TimelineBuffer::new(group.clone(), key, len, last));
        nodes.extend(groups);
        self.forget_series(&mut nodes, &group);
        let mut locked = timeline.lock();
        for OpenedMember {
            key,
            schema,
            chunk_records,
        } in members
        {
            let member = RegisteredNode::Member(Arc::clone(&timeline));
            nodes.insert(key.clone(), member);
            locked.add(key, schema, chunk_records);
        }
        drop(locked);
        nodes.insert(group, RegisteredNode::Timeline(Arc::clone(&timeline)));
        self.buffers.add_timeline(Arc::clone(&timeline));
        Ok(timeline)
    }

    /// Plans how to open a timeline, from what the stores have committed.
    fn plan_opening(
        &self,
        group: &Key,
        coordinate: &Coordinate,
        dtype: DType,
    ) -> Result<Opening<'_>> {
        let mut stored = Vec::new();
        for pipeline in self.stores.healthy() {
            let found = self
                .stores
                .answer(pipeline, Group::load(&**pipeline.store(), group))?;
            if let Some(found) = found {
                let found = StoredTimeline::of_group(pipeline, group, found, coordinate, dtype);
                stored.push(found.map_err(|e| self.stores.in_store(pipeline, e))?);
            }
        }
        let len = self.common_tick_count(group, &stored)?;
        let key = coordinate.key(group)?;
        Ok(Opening {
            members: self.plan_members(&key, coordinate.schema(dtype), &stored)?,
            last: last_tick(&stored, coordinate.name(), len)?,
            len,
            stored,
        })
    }

    /// Checks that no group above or below has a coordinate of the same name, since xarray refuses that.
    fn check_names(
        &self,
        nodes: &Nodes,
        new: &[(Key, RegisteredNode)],
        group: &Key,
        name: &str,
    ) -> Result<()> {
        let refuse = |other: &Key| {
            let message = format!(
                "the timeline '{other}' also has a coordinate '{name}', and one of the two groups is within \
                 the other, which xarray refuses; give the coordinate another name, or move the group"
            );
            Err(Error::new(ErrorKind::InvalidArgument, OPERATION, message).with_key(group.as_str()))
        };
        let known = nodes
            .iter()
            .chain(new.iter().map(|(key, node)| (key, node)));
        let is_related =
            |other: &Key| other != group && (other.is_within(group) || group.is_within(other));
        for (other, node) in known {
            if is_related(other) && node.coordinate_name() == Some(name) {
                return refuse(other);
            }
        }
        for pipeline in self.stores.healthy() {
            let below = pipeline.store().timelines_within(group);
            let below = self.stores.answer(pipeline, below)?.unwrap_or_default();
            let mut others = below.iter().filter(|(other, _)| other != group);
            if let Some((other, _)) = others.find(|(_, coordinate)| coordinate == name) {
                return refuse(other);
            }
        }
        Ok(())
    }

    /// The number of ticks of the timeline in all stores.
    fn common_tick_count(&self, group: &Key, stored: &[StoredTimeline<'_>]) -> Result<u64> {
        let shortest = stored.iter().map(|stored| stored.len).min().unwrap_or(0);
        let is_same = stored.iter().all(|stored| stored.len == shortest);
        if is_same || self.on_divergence == OnDivergence::CutToShortest {
            return Ok(shortest);
        }
        let held = stored
            .iter()
            .map(|stored| (stored.pipeline.name(), stored.len));
        Err(super::diverged(held, "ticks").with_key(group.as_str()))
    }

    /// The series of a timeline, the coordinate first, after a check that all stores can append to them.
    fn plan_members(
        &self,
        coordinate: &Key,
        schema: Schema,
        stored: &[StoredTimeline<'_>],
    ) -> Result<Vec<OpenedMember>> {
        let mut schemas = BTreeMap::new();
        for (name, view) in stored.iter().flat_map(|stored| &stored.series) {
            schemas.entry(name).or_insert(view.schema());
        }
        schemas.retain(|name, _| **name != *coordinate.name());
        let group = coordinate.parent().unwrap_or(Key::ROOT);
        let others = schemas.into_iter().map(|(name, schema)| {
            let schema = with_coordinate(Schema::clone(schema), coordinate.name())?;
            Ok((group.join(name)?, schema))
        });
        let all = std::iter::once(Ok((coordinate.clone(), schema))).chain(others);
        let plan = |member: Result<(Key, Schema)>| {
            let (key, schema) = member?;
            schema.check().map_err(|e| e.with_key(key.as_str()))?;
            let mut chunk_records = None;
            for stored in stored {
                let is_there = stored.series.contains_key(key.name());
                let asked = match is_there {
                    true => schema.of_records_only(),
                    false => schema.clone(),
                };
                let planned = stored.pipeline.plan(&key, Some(&asked));
                let planned = planned.map_err(|e| self.stores.in_store(stored.pipeline, e));
                let planned = self.stores.answer(stored.pipeline, planned)?;
                chunk_records = chunk_records.or(planned);
            }
            let (schema, chunk_records) = (Arc::new(schema), chunk_records.unwrap_or(1));
            Ok(OpenedMember {
                key,
                schema,
                chunk_records,
            })
        };
        all.map(plan).collect()
    }

    /// Sends the changes that make the group a timeline of `len` ticks in every store, as one group.
    fn send_opening(&self, group: &Key, coordinate: &str, opening: &Opening<'_>) -> Result<()> {
        let Opening {
            stored,
            members,
            len,
            ..
        } = opening;
        let len = *len;
        let mut all_changes = Vec::new();
        for stored in stored {
            let mut changes = Vec::new();
            let attributes = stored.attributes.clone().unwrap_or_default();
            if !attributes.contains_key(TIMELINE_ATTRIBUTE) {
                let attributes = Arc::new(with_mark(attributes, coordinate));
                changes.push(Change::SetAttributes {
                    key: group.clone(),
                    attributes,
                });
            }
            changes.push(Change::Claim {
                group: group.clone(),
            });
            for (index, OpenedMember { key, schema, .. }) in members.iter().enumerate() {
                let Some(view) = stored.series.get(key.name()) else {
                    if len > 0 && schema.fill_value().is_none() {
                        return Err(missing_member(stored.pipeline.name(), key));
                    }
                    changes.push(Change::Declare {
                        key: key.clone(),
                        schema: Arc::clone(schema),
                        filled: len,
                    });
                    continue;
                };
                // Members keep their attributes; only the name of their first dimension may change.
                let described = match index {
                    COORDINATE => Schema::clone(schema),
                    _ => {
                        let stored = Schema::clone(view.schema());
                        with_coordinate(stored, coordinate)?.with_attributes(Attributes::new())
                    }
                };
                changes.extend(description(key, view, &described));
                if stored.len > len {
                    changes.push(Change::Truncate {
                        key: key.clone(),
                        len,
                    });
                }
            }
            all_changes.push((stored.pipeline, changes));
        }
        Self::send_to_each(all_changes);
        Ok(())
    }

    /// Adds the series of a first record to a timeline, unless it exists; returns its index.
    pub(in crate::recorder) fn add_member(
        &self,
        timeline: &Arc<TimelineBuffer>,
        name: &str,
        record: &RecordRef<'_>,
    ) -> Result<usize> {
        let locked = self.buffers.lock(timeline);
        locked.check_open("record")?;
        if !locked.has_open_tick() {
            return Err(no_open_tick());
        }
        drop(locked);
        self.create_member(timeline, name, Schema::of_record(record))
            .map(|(index, _)| index)
    }

    /// Adds a series to a timeline, or changes the attributes and names of an existing one; returns its index.
    pub(in crate::recorder) fn declare_member(
        &self,
        timeline: &Arc<TimelineBuffer>,
        name: &str,
        schema: Schema,
    ) -> Result<usize> {
        let key = member_key(&timeline.group, name)?;
        let schema = with_coordinate(schema, timeline.coordinate.name())?;
        let (index, is_new) = self.create_member(timeline, name, schema.clone())?;
        if !is_new {
            timeline.lock().schema(index).check_same_records(&schema)?;
            self.describe(&key, &schema)?;
            timeline.lock().set_fill_value(index, &schema);
        }
        Ok(index)
    }

    /// Creates a series of a timeline in all stores; returns its index, and whether it is new.
    fn create_member(
        &self,
        timeline: &Arc<TimelineBuffer>,
        name: &str,
        schema: Schema,
    ) -> Result<(usize, bool)> {
        self.stores.check_running("record")?;
        let key = member_key(&timeline.group, name)?;
        let schema = with_coordinate(schema, timeline.coordinate.name())?;
        schema.check()?;
        let mut nodes = self.nodes.lock();
        self.stores.check_running("record")?;
        if let Some(node) = nodes.get(&key) {
            return match timeline.lock().position(&key) {
                Some(index) => Ok((index, false)),
                None => Err(clash("record", &key, node.kind(), NodeKind::Series)),
            };
        }
        let mut chunk_records = None;
        for pipeline in self.stores.healthy() {
            let node = self.stores.answer(pipeline, pipeline.node(&key))?;
            if let Some(node) = node.flatten() {
                return Err(clash("record", &key, node.kind(), NodeKind::Series));
            }
            let planned = pipeline.plan(&key, Some(&schema));
            let planned = planned.map_err(|e| self.stores.in_store(pipeline, e));
            chunk_records = chunk_records.or(self.stores.answer(pipeline, planned)?);
        }
        let mut locked = self.buffers.lock(timeline);
        locked.check_open("record")?;
        let ticks = locked.ticks();
        if ticks > 0 && schema.fill_value().is_none() {
            return Err(late_member(&key, ticks));
        }
        // The new series has as many records as the others, which are sent with it. They take no more memory in
        // the queues than in their buffers.
        let batches = self.buffers.cut(&mut locked);
        let room = self.stores.reserve(CHANGE_BYTES, WhenFull::Exceed)?;
        let schema = Arc::new(schema);
        let declare = || Change::Declare {
            key: key.clone(),
            schema: Arc::clone(&schema),
            filled: ticks,
        };
        room.send(|| batches.iter().map(append).chain([declare()]).collect());
        let index = locked.add(key.clone(), Arc::clone(&schema), chunk_records.unwrap_or(1));
        nodes.insert(key, RegisteredNode::Member(Arc::clone(timeline)));
        Ok((index, true))
    }

    /// Sends the complete ticks of a timeline, and closes it.
    pub(in crate::recorder) fn finish_timeline(&self, timeline: &Arc<TimelineBuffer>) {
        let mut nodes = self.nodes.lock();
        let mut locked = self.buffers.lock(timeline);
        self.buffers.end_tick(&mut locked);
        locked.finish();
        // Does not wait for room, since the records take no more memory in the queues than in the buffers.
        if let Ok(locked) = self.buffers.send(locked, WhenFull::Exceed) {
            locked.keys().for_each(|key| {
                nodes.remove(key);
            });
        }
        let name = timeline.coordinate.name().into();
        if let Some(node) = nodes.get_mut(&timeline.group) {
            *node = RegisteredNode::StoredTimeline(name);
        }
        self.buffers.remove_timeline(timeline);
    }

    /// Forgets the buffers of the series right below a group that becomes a timeline.
    fn forget_series(&self, nodes: &mut Nodes, group: &Key) {
        let mut removed = self.removed.lock();
        let mut declared = self.declared.lock();
        nodes.retain(|key, node| match node {
            RegisteredNode::Series(series) if key.parent().as_ref() == Some(group) => {
                self.buffers.remove(series);
                declared.remove(key);
                removed.insert(key.clone(), Arc::clone(series));
                false
            }
            _ => true,
        });
    }
}

impl<'a> StoredTimeline<'a> {
    /// The timeline as a store has it, after a check that the node at its key can be one.
    fn of_group(
        pipeline: &'a Pipeline,
        key: &Key,
        group: Option<Result<Group, NodeKind>>,
        coordinate: &Coordinate,
        dtype: DType,
    ) -> Result<Self> {
        let mut stored = Self {
            pipeline,
            attributes: None,
            series: BTreeMap::new(),
            len: 0,
        };
        let group = match group {
            None => return Ok(stored),
            Some(Err(other)) => return Err(clash(OPERATION, key, other, NodeKind::Group)),
            Some(Ok(group)) => group,
        };
        let name = coordinate.name();
        if let Some(other) = timeline_of(group.attributes())
            && other != name
        {
            let message = format!(
                "this is a timeline with the coordinate '{other}', not '{name}'; use that name"
            );
            return Err(
                Error::new(ErrorKind::InvalidArgument, OPERATION, message).with_key(key.as_str())
            );
        }
        for (name, node) in group.nodes() {
            match node {
                Node::Series(view) => {
                    stored.series.insert(name.to_owned(), view.clone());
                }
                Node::Unreadable { error, .. } => return Err(error.clone()),
                _ if name == coordinate.name() => {
                    return Err(wrong_node(node.kind(), OPERATION).with_key(name));
                }
                _ => {}
            }
        }
        if let Some(view) = stored.series.get(name) {
            view.schema()
                .check_same_records(&coordinate.schema(dtype))?;
            stored.len = record_count(view);
        }
        let differs = |(_, view): &(&String, &View)| record_count(view) != stored.len;
        if let Some((_, other)) = stored.series.iter().find(differs) {
            let message = format!(
                "the series '{}' has {} records, but the timeline has {} ticks; truncate it, or use \
                 another group",
                other.key(),
                record_count(other),
                stored.len
            );
            return Err(
                Error::new(ErrorKind::InvalidArgument, OPERATION, message).with_key(key.as_str())
            );
        }
        stored.attributes = Some(group.attributes().clone());
        Ok(stored)
    }
}

/// The number of records of a series, including freed ones.
pub(super) fn record_count(view: &View) -> u64 {
    view.first_record() + view.len()
}

/// The name of the coordinate, if these are the attributes of a timeline.
pub(crate) fn timeline_of(attributes: &Attributes) -> Option<&str> {
    attributes.get(TIMELINE_ATTRIBUTE)?.as_str()
}

/// The attributes of a group with the mark of a timeline.
pub(super) fn with_mark(mut attributes: Attributes, coordinate: &str) -> Attributes {
    attributes.insert(TIMELINE_ATTRIBUTE.to_owned(), coordinate.into());
    attributes
}

/// The schema of a series of a timeline: its first dimension is that of the coordinate.
fn with_coordinate(schema: Schema, coordinate: &str) -> Result<Schema> {
    let mut names = match schema.dimension_names() {
        Some(names) => names.to_vec(),
        None => vec![None; schema.axes()],
    };
    match names.first_mut() {
        Some(Some(other)) if other != coordinate => {
            let message = format!(
                "the first dimension of a series of this timeline is '{coordinate}', not '{other}'; name it \
                 so, or leave it without a name"
            );
            Err(Error::new(ErrorKind::InvalidArgument, "declare", message))
        }
        Some(first) => {
            *first = Some(coordinate.to_owned());
            Ok(schema.with_dimension_names(names))
        }
        None => Ok(schema),
    }
}

/// The coordinate of the last of the first `len` ticks.
fn last_tick(
    stored: &[StoredTimeline<'_>],
    name: &str,
    len: u64,
) -> Result<Option<CoordinateValue>> {
    let Some(view) = stored.iter().find_map(|stored| stored.series.get(name)) else {
        return Ok(None);
    };
    coordinate_before(view, len)
}

/// The coordinate of the last of the first `len` ticks; `None` if there is none, or if it was freed.
pub(super) fn coordinate_before(view: &View, len: u64) -> Result<Option<CoordinateValue>> {
    let before = len.saturating_sub(view.first_record());
    match before.checked_sub(1) {
        Some(last) => coordinate_at(view, last).map(Some),
        None => Ok(None),
    }
}

/// An element of a coordinate.
pub(super) fn coordinate_at(view: &View, index: u64) -> Result<CoordinateValue> {
    let value = view.get(index)?;
    match (view.kind(), view.dtype()) {
        (Kind::Array, Some(DType::F64)) => value.scalar().map(CoordinateValue::F64),
        (Kind::Array, Some(DType::I64)) => value.scalar().map(CoordinateValue::I64),
        (Kind::Array, Some(DType::U64)) => value.scalar().map(CoordinateValue::U64),
        _ => {
            let message = format!(
                "{} cannot be the coordinate of a timeline; use float64, int64 or uint64",
                view.schema()
            );
            Err(Error::new(ErrorKind::SchemaMismatch, OPERATION, message)
                .with_key(view.key().as_str()))
        }
    }
}

fn open_already(group: &Key) -> Error {
    let message = "the timeline already has a handle; use it, or call its finish() first";
    Error::new(ErrorKind::Locked, OPERATION, message).with_key(group.as_str())
}

fn late_member(key: &Key, ticks: u64) -> Error {
    let message = format!(
        "the series has no records of the first {ticks} ticks; declare() it with a fill value for them, or \
         record it from the first tick on"
    );
    Error::new(ErrorKind::InvalidArgument, "record", message).with_key(key.as_str())
}

fn missing_member(store: &str, key: &Key) -> Error {
    let message = format!(
        "store '{store}' does not have this series, which others have, and it has no fill value; remove it \
         from the others, or copy the recording again"
    );
    Error::new(ErrorKind::Diverged, OPERATION, message).with_key(key.as_str())
}

impl RegisteredNode {
    /// The name of the coordinate, if it is a group that is a timeline.
    pub(super) fn coordinate_name(&self) -> Option<&str> {
        match self {
            Self::Timeline(timeline) => Some(timeline.coordinate.name()),
            Self::StoredTimeline(name) => Some(name),
            _ => None,
        }
    }
}

impl KeyRegistry {
    /// Checks that the group of a free-standing series is not a timeline. The group is in `nodes` or `new`.
    pub(super) fn check_free_standing(
        &self,
        nodes: &Nodes,
        new: &[(Key, RegisteredNode)],
        key: &Key,
    ) -> Result<()> {
        let group = key.parent().unwrap_or(Key::ROOT);
        let is_group = |(other, _): &&(Key, RegisteredNode)| *other == group;
        let node = new.iter().find(is_group).map(|(_, node)| node);
        let name = node
            .or_else(|| nodes.get(&group))
            .and_then(RegisteredNode::coordinate_name);
        name.map_or(Ok(()), |_| Err(in_timeline("record", key, &group)))
    }
}
