//! Rewinding timelines: all series of one are cut to the same tick, in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::timelines::{coordinate_before, record_count, timeline_of};
use super::{KeyRegistry, Nodes, RegisteredNode};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::reading::coordinate::{CoordinateNumber, indices_by};
use crate::reading::group::Group;
use crate::recorder::pipeline::{BarrierKind, Pipeline, WhenFull};
use crate::recorder::timeline::{CoordinateValue, LockedTimeline, TimelineBuffer};
use crate::store::commit::Change;
use crate::store::data_store::DataStoreExt;
use crate::store::node::Node;

/// Where a timeline will end.
#[derive(Clone, Copy)]
enum End {
    /// At the last tick that is not after this one.
    At(CoordinateNumber),
    /// After this many ticks.
    Len(u64),
}

/// The number of ticks that a timeline keeps, and the coordinate of the last one.
type Kept = (u64, Option<CoordinateValue>);

impl KeyRegistry {
    /// Removes every tick after `t` from one timeline.
    pub(in crate::recorder) fn rewind_group(&self, group: &Key, t: CoordinateNumber) -> Result<()> {
        let nodes = self.nodes.lock();
        self.cut(
            &nodes,
            End::At(t),
            |timeline| timeline.group == *group,
            |key, _| key == group,
        )
        .map(drop)
    }

    /// Removes every tick after `t` from all timelines with a coordinate of this name.
    pub(in crate::recorder) fn rewind(&self, name: &str, t: CoordinateNumber) -> Result<()> {
        let nodes = self.nodes.lock();
        let mut names = BTreeSet::new();
        let is_meant = |timeline: &TimelineBuffer| timeline.coordinate.name() == name;
        let count = self.cut(&nodes, End::At(t), is_meant, |_, coordinate| {
            names.insert(coordinate.to_owned());
            coordinate == name
        })?;
        if count > 0 {
            return Ok(());
        }
        let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        let message = match names.is_empty() {
            true => "there is no timeline".to_owned(),
            false => format!(
                "no timeline has a coordinate of this name; the coordinates are {}",
                names.join(", ")
            ),
        };
        Err(Error::new(ErrorKind::NotFound, "rewind", message).with_key(name))
    }

    /// Cuts all series of a timeline to their first `len` records, if `key` is one of them.
    pub(super) fn truncate_timeline(&self, key: &Key, len: u64) -> Result<bool> {
        let nodes = self.nodes.lock();
        let group = key.parent().unwrap_or(Key::ROOT);
        if self.coordinate_of(&nodes, &group)?.is_none() {
            return Ok(false);
        }
        let mut is_series = matches!(nodes.get(key), Some(RegisteredNode::Member(_)));
        for pipeline in self.stores.healthy() {
            let node = self.stores.answer(pipeline, pipeline.node(key))?.flatten();
            is_series |= matches!(node, Some(Node::Series(_)));
        }
        if is_series {
            let of_group = |timeline: &TimelineBuffer| timeline.group == group;
            self.cut(&nodes, End::Len(len), of_group, |other, _| *other == group)?;
        }
        Ok(is_series)
    }

    /// The name of the coordinate of a group, if that is a timeline.
    pub(super) fn coordinate_of(&self, nodes: &Nodes, group: &Key) -> Result<Option<String>> {
        let name = |node: &RegisteredNode| node.coordinate_name().map(str::to_owned);
        match nodes.get(group) {
            Some(node) => Ok(name(node)),
            None => Ok(self.stored_group(group)?.ok().as_ref().and_then(name)),
        }
    }

    /// Cuts timelines, all in one commit; returns how many. `is_open` selects among those with a handle, `is_meant`
    /// among those in the stores, by their groups and coordinates.
    fn cut(
        &self,
        _nodes: &Nodes,
        end: End,
        is_open: impl Fn(&TimelineBuffer) -> bool,
        mut is_meant: impl FnMut(&Key, &str) -> bool,
    ) -> Result<usize> {
        self.stores.check_running("rewind")?;
        self.has_written.store(true, Ordering::Relaxed);
        let mut open = self.buffers.timelines();
        open.retain(|timeline| is_open(timeline));
        // Locked until the end, so that no other thread adds ticks.
        let mut locked: Vec<LockedTimeline<'_>> = Vec::new();
        for timeline in &open {
            let mut timeline = self.buffers.lock(timeline);
            timeline.check_open("rewind")?;
            self.buffers.discard_tick(&mut timeline);
            locked.push(self.buffers.send(timeline, WhenFull::Exceed)?);
        }
        self.change_all(&BarrierKind::Flush)?;
        let mut kept: BTreeMap<Key, Kept> = BTreeMap::new();
        let mut cuts = Vec::new();
        for pipeline in self.stores.healthy() {
            let found = pipeline.store().timelines_within(&Key::ROOT);
            let mut groups = self.stores.answer(pipeline, found)?.unwrap_or_default();
            groups.retain(|(group, coordinate)| is_meant(group, coordinate));
            let mut changes = Vec::new();
            for (group, _) in groups {
                let before = changes.len();
                let cut = cut_in_store(pipeline, &group, end, &mut changes);
                let cut = cut.map_err(|e| self.stores.in_store(pipeline, e))?;
                // A timeline with a handle was claimed when it was opened. If another writer has claimed it
                // since, that writer keeps it.
                let is_claimed = open.iter().any(|timeline| timeline.group == group);
                if changes.len() > before && !is_claimed {
                    let group = group.clone();
                    changes.insert(before, Change::Claim { group });
                }
                if let Some(cut) = cut {
                    kept.entry(group).or_insert(cut);
                }
            }
            cuts.push((pipeline, changes));
        }
        Self::send_to_each(cuts);
        for timeline in &mut locked {
            if let Some((ticks, last)) = kept.get(timeline.group()) {
                timeline.rewind(*ticks, *last);
            }
        }
        Ok(kept.len())
    }
}

/// Adds the changes that cut a timeline of one store; returns what it keeps.
fn cut_in_store(
    pipeline: &Pipeline,
    group: &Key,
    end: End,
    changes: &mut Vec<Change>,
) -> Result<Option<Kept>> {
    let Some(Ok(found)) = Group::load(&**pipeline.store(), group)? else {
        return Ok(None);
    };
    let Some(coordinate) = timeline_of(found.attributes()).and_then(|name| found.view(name)) else {
        return Ok(None);
    };
    let len = match end {
        End::At(t) => {
            let (_, kept) = indices_by(coordinate, coordinate.key().name(), &(..=t).into())?;
            coordinate.first_record() + kept.end
        }
        End::Len(len) => len,
    };
    if len < record_count(coordinate) {
        for (_, view) in found.series() {
            if len < view.first_record() {
                let message = format!(
                    "the records before {} were freed, so the timeline cannot be cut to {len} ticks",
                    view.first_record()
                );
                let error = Error::new(ErrorKind::OutOfBounds, "rewind", message);
                return Err(error.with_key(view.key().as_str()));
            }
            let key = view.key().clone();
            changes.push(Change::Truncate { key, len });
        }
    }
    Ok(Some((len, coordinate_before(coordinate, len)?)))
}
