//! The nodes to copy, and the check that the target can store them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::{Attributes, Schema};
use crate::reading::coordinate::{CoordinateRange, indices_by};
use crate::reading::group::Group;
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors;
use crate::store::node::{Child, Node};
use crate::tools::copy::progress::CopyProgress;
use crate::tools::key_patterns::KeyPatterns;
use crate::tools::target_clash;

/// A key to copy.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) key: Key,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Group,
    Value,
    Series {
        /// Which records of its view are copied.
        records: Range<u64>,
        /// How many of them make a chunk of the target.
        chunk: u64,
    },
}

/// The keys that the patterns select, groups before their contents.
pub(in crate::tools) fn select(
    from: &dyn DataStore,
    patterns: &KeyPatterns,
    operation: &'static str,
) -> Result<Vec<Child>> {
    let selected = patterns.select_for_copy(from, operation)?;
    let is_empty = selected.iter().all(|child| child.kind == NodeKind::Group);
    match is_empty && !patterns.exclude.is_empty() {
        true => Err(all_excluded(operation)),
        false => Ok(selected),
    }
}

/// Plans what to copy of the selected keys, after a check that the target can store it.
pub(super) fn plan(
    from: &dyn DataStore,
    to: &dyn DataStore,
    selected: Vec<Child>,
    ranges: &[(String, CoordinateRange)],
    reencode: bool,
) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    let mut timelines = Timelines::new(from, to, ranges);
    for key in selected.into_iter().map(|child| child.key) {
        let what = plan_key(from, to, &key, &mut timelines, reencode)
            .map_err(|e| e.with_key(key.as_str()))?;
        planned.push(Planned { key, what });
    }
    timelines.check_ranges()?;
    Ok(planned)
}

fn plan_key(
    from: &dyn DataStore,
    to: &dyn DataStore,
    key: &Key,
    timelines: &mut Timelines<'_>,
    reencode: bool,
) -> Result<What> {
    let node = from.node(key)?.ok_or_else(|| errors::nothing_at("copy"))?;
    if let Some(there) = to.node(key)? {
        check_clash(node.kind(), there.kind())?;
    }
    Ok(match node {
        Node::Group { attributes } => {
            if !key.is_root() {
                to.plan(key, None)?;
            }
            timelines.add(key, &attributes)?;
            What::Group
        }
        Node::Value { .. } => {
            to.plan(key, None)?;
            What::Value
        }
        Node::Unreadable { error, .. } => return Err(error),
        Node::Series(view) => {
            let records = timelines.records(&view)?;
            let schema = view.schema();
            let chunk = match reencode {
                true => to.plan(key, Some(&Schema::clone(schema).without_storage()))?,
                false if records.start > 0 => to.plan(key, Some(schema))?,
                false => plan_series(to, &view)?,
            };
            What::Series { records, chunk }
        }
    })
}

/// The timelines that are copied, with the ticks that are copied of all their series.
struct Timelines<'a> {
    from: &'a dyn DataStore,
    to: &'a dyn DataStore,
    ranges: &'a [(String, CoordinateRange)],
    /// The names of coordinates in the ranges that a timeline has.
    found: Vec<&'a str>,
    ticks: BTreeMap<Key, Range<u64>>,
    /// Whether the groups of the target are timelines.
    in_target: BTreeMap<Key, bool>,
}

impl<'a> Timelines<'a> {
    fn new(
        from: &'a dyn DataStore,
        to: &'a dyn DataStore,
        ranges: &'a [(String, CoordinateRange)],
    ) -> Self {
        Self {
            from,
            to,
            ranges,
            found: Vec::new(),
            ticks: BTreeMap::new(),
            in_target: BTreeMap::new(),
        }
    }

    /// Adds a group, if it is a timeline.
    fn add(&mut self, key: &Key, attributes: &Attributes) -> Result<()> {
        let Some(name) = timeline_of(attributes) else {
            return Ok(());
        };
        let Some(Ok(group)) = Group::load(self.from, key)? else {
            return Err(errors::nothing_at("copy").with_key(key.as_str()));
        };
        // As of one state: others may be longer by now, or their first records freed.
        let views = || group.series().map(|(_, view)| view);
        let start = views().map(|view| view.first_record()).max().unwrap_or(0);
        let end = views().map(|view| view.first_record() + view.len()).min();
        let mut ticks = start..end.unwrap_or(0).max(start);
        for (wanted, range) in self.ranges.iter().filter(|(wanted, _)| wanted == name) {
            self.found.push(wanted);
            if let Some(view) = group.view(name) {
                let (_, indices) = indices_by(view, name, range)?;
                let first = view.first_record();
                ticks.start = ticks.start.max(first + indices.start);
                ticks.end = ticks.end.min(first + indices.end).max(ticks.start);
            }
        }
        if let Some(Ok(there)) = Group::load(self.to, key)?
            && there.series().next().is_some()
        {
            let message = "the target has series in the group of this timeline, which would not have \
                           the same ticks; use another recording";
            let error = Error::new(ErrorKind::AlreadyExists, "copy", message);
            return Err(error.with_key(key.as_str()));
        }
        self.ticks.insert(key.clone(), ticks);
        Ok(())
    }

    /// The records of a series to copy: all that it has now, since the first ones may have been freed.
    fn records(&mut self, view: &View) -> Result<Range<u64>> {
        let group = view.key().parent().unwrap_or(Key::ROOT);
        if let Some(ticks) = self.ticks.get(&group) {
            let first = view.first_record();
            return Ok(ticks.start.saturating_sub(first)..ticks.end.saturating_sub(first));
        }
        let is_timeline = match self.in_target.get(&group) {
            Some(is_timeline) => *is_timeline,
            None => {
                let attributes = self.to.attributes(&group)?.unwrap_or_default();
                let is_timeline = timeline_of(&attributes).is_some();
                self.in_target.insert(group, is_timeline);
                is_timeline
            }
        };
        if is_timeline {
            let message = "the group is a timeline of the target, to which a copy adds no series; use \
                           another recording";
            let error = Error::new(ErrorKind::AlreadyExists, "copy", message);
            return Err(error.with_key(view.key().as_str()));
        }
        Ok(0..view.len())
    }

    fn check_ranges(&self) -> Result<()> {
        let mut names = self.ranges.iter().map(|(name, _)| &**name);
        match names.find(|name| !self.found.contains(name)) {
            Some(name) => {
                let message = "no timeline that is copied has a coordinate of this name";
                Err(Error::new(ErrorKind::NotFound, "copy", message).with_key(name))
            }
            None => Ok(()),
        }
    }
}

/// How many records of a copy of `view` make a chunk, in the same form if the target takes that.
fn plan_series(to: &dyn DataStore, view: &View) -> Result<u64> {
    let (key, schema) = (view.key(), view.schema());
    if let (Some(to), Some(from)) = (to.as_encoded(), view.as_encoded())
        && let Some(chunk) = to.plan_in_form(key, schema, &from.stored_form())?
    {
        return Ok(chunk);
    }
    to.plan(key, Some(schema))
}

fn all_excluded(operation: &'static str) -> Error {
    let message = "the patterns exclude all values and series of the source; exclude fewer keys";
    Error::new(ErrorKind::NotFound, operation, message)
}

fn check_clash(is: NodeKind, there: NodeKind) -> Result<()> {
    if is != there {
        return Err(target_clash("copy", is, there));
    }
    if is == NodeKind::Group {
        return Ok(());
    }
    let message = format!("the target already has this {is}; use another recording");
    Err(Error::new(ErrorKind::AlreadyExists, "copy", message))
}

impl CopyProgress {
    /// The progress before the first commit.
    pub(super) fn start(planned: &[Planned]) -> Self {
        let records = planned.iter().map(|planned| match planned.what {
            What::Series { ref records, .. } => records.end - records.start,
            _ => 0,
        });
        let keys = planned.iter().filter(|it| !matches!(it.what, What::Group));
        Self {
            key: Key::ROOT,
            key_count: 0,
            key_total: keys.count() as u64,
            record_count: 0,
            record_total: records.fold(0, u64::saturating_add),
            bytes: 0,
        }
    }
}
