//! The sound parts of a damaged recording, and their keys in the copy.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::reading::view::View;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::{Child, Node};
use crate::tools::copy::select;
use crate::tools::key_patterns::KeyPatterns;
use crate::tools::recover::sound_store::SoundStore;
use crate::tools::recover::sound_view::SoundView;
use crate::tools::recover::{LeftOut, MovedRecords};
use crate::tools::verify::{VerifiedKey, VerifyReport, disorder_of};

/// The plan of a recovery.
pub(super) struct Plan<'a> {
    pub(super) store: SoundStore<'a>,
    pub(super) selected: Vec<Child>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) moved: Vec<MovedRecords>,
}

type Damaged<'a> = BTreeMap<&'a Key, &'a VerifiedKey>;

impl<'a> Plan<'a> {
    pub(super) fn new(
        from: &'a dyn DataStore,
        report: &VerifyReport,
        patterns: &KeyPatterns,
    ) -> Result<Self> {
        let damaged: Damaged<'_> = report.damaged().map(|it| (&it.key, it)).collect();
        let mut store = SoundStore::new(from);
        for (&key, damaged) in &damaged {
            match damaged.kind {
                NodeKind::Group if from.node(key).is_err() => store.bare.insert(key.clone()),
                NodeKind::Series if !sound_parts(damaged).is_empty() => false,
                NodeKind::Group => false,
                _ => store.hidden.insert(key.clone()),
            };
        }
        let mut selected = select(&store, patterns, "recover")?;
        // A series of a timeline selects its coordinate too, even if that cannot be read.
        selected.retain(|child| !store.hidden.contains(&child.key));
        let mut plan = Self {
            store,
            selected,
            left_out: Vec::new(),
            moved: Vec::new(),
        };
        for (group, coordinate) in plan.store.timelines_within(&Key::ROOT)? {
            plan.add_timeline(&group, &coordinate, &damaged)?;
        }
        plan.add_series(from, &damaged)?;
        let is_wanted = patterns.filter("recover")?;
        for damaged in damaged.into_values().filter(|it| is_wanted(&it.key)) {
            plan.list_damage(from, damaged);
        }
        plan.left_out.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(plan)
    }

    /// Leaves out the ticks of a timeline at which a series is damaged.
    fn add_timeline(&mut self, group: &Key, coordinate: &str, damaged: &Damaged<'_>) -> Result<()> {
        let is_member = |child: &&Child| {
            child.kind == NodeKind::Series && child.key.parent().as_ref() == Some(group)
        };
        let members = self.selected.iter().filter(is_member);
        let keys: Vec<Key> = members.map(|child| child.key.clone()).collect();
        if !damaged.contains_key(group) && !keys.iter().any(|key| damaged.contains_key(key)) {
            return Ok(());
        }
        let nodes = self.store.nodes(&keys)?.into_iter();
        let members = nodes.filter_map(|node| match node {
            Some(Node::Series(view)) => Some(Member::new(view, damaged)),
            _ => None,
        });
        let members: Vec<Member> = members.collect();
        let Some(ticks) = sound_ticks(&members, coordinate) else {
            self.store.plain.insert(group.clone());
            return Ok(());
        };
        for member in &members {
            let parts = member.records_of(&ticks);
            for records in member.dropped(&parts) {
                self.list_dropped(member, &members, records);
            }
            let key = member.view.key().clone();
            self.store.parts.insert(key.clone(), (key, parts));
        }
        Ok(())
    }

    /// Lists sound records that are left out because other series are damaged at their ticks.
    fn list_dropped(&mut self, member: &Member, members: &[Member], records: Range<u64>) {
        let ticks = records.start + member.first..records.end + member.first;
        let is_damaged = |other: &&Member| {
            let mut damage = other.damage.iter();
            damage.any(|damage| damage.start < ticks.end && ticks.start < damage.end)
        };
        let names = members.iter().filter(is_damaged);
        let names: Vec<_> = names
            .map(|it| format!("'{}'", it.view.key().name()))
            .collect();
        let message = match names.is_empty() {
            true => "another series of the timeline does not have these ticks".to_owned(),
            false => format!(
                "{} of the timeline is damaged at these ticks",
                names.join(", ")
            ),
        };
        self.left_out.push(LeftOut {
            key: member.view.key().clone(),
            records: Some(records),
            error: Error::new(ErrorKind::Corrupt, "recover", message),
        });
    }

    /// Cuts a damaged series outside of timelines, and moves the records after the cut.
    fn add_series(&mut self, from: &dyn DataStore, damaged: &Damaged<'_>) -> Result<()> {
        let mut selected = Vec::with_capacity(self.selected.len());
        for child in std::mem::take(&mut self.selected) {
            let key = child.key.clone();
            selected.push(child);
            let cut = damaged.get(&key).filter(|it| it.kind == NodeKind::Series);
            let Some(cut) = cut.filter(|_| !self.store.parts.contains_key(&key)) else {
                continue;
            };
            let (mut first, mut rest) = (0..0, sound_parts(cut));
            if rest.first().is_some_and(|part| part.start == 0) {
                first = rest.remove(0);
            }
            self.store
                .parts
                .insert(key.clone(), (key.clone(), vec![first]));
            for records in rest {
                let to = Key::new(format!("{key}@{}", records.start))?;
                if from.node(&to)?.is_some() {
                    let message = "the source has this key, which the records after a damaged part would \
                                   have in the copy; rename it, or exclude the damaged series";
                    let error = Error::new(ErrorKind::AlreadyExists, "recover", message);
                    return Err(error.with_key(to.as_str()));
                }
                selected.push(Child::new(to.clone(), NodeKind::Series));
                let moved = MovedRecords {
                    from: key.clone(),
                    records: records.clone(),
                    to: to.clone(),
                };
                self.moved.push(moved);
                self.store.parts.insert(to, (key.clone(), vec![records]));
            }
        }
        self.selected = selected;
        Ok(())
    }

    fn list_damage(&mut self, from: &dyn DataStore, damaged: &VerifiedKey) {
        let key = &damaged.key;
        // Damage of a timeline may be damage of its coordinate, which is listed there.
        let is_left_out = damaged.kind != NodeKind::Group
            || self.store.bare.contains(key)
            || self.store.plain.contains(key)
            || from.children(key).is_err();
        let damage = damaged.damage.iter().filter(|_| is_left_out);
        self.left_out.extend(damage.map(|damage| LeftOut {
            key: key.clone(),
            records: damage.records.clone(),
            error: damage.error.clone(),
        }));
    }
}

/// A series of a timeline.
struct Member {
    view: View,
    /// The tick of its first record.
    first: u64,
    /// The ticks at which it is damaged, in order.
    damage: Vec<Range<u64>>,
}

impl Member {
    fn new(view: View, damaged: &Damaged<'_>) -> Self {
        let first = view.first_record();
        let damage = damaged.get(view.key()).map(|it| &it.damage[..]);
        let records = damage
            .unwrap_or_default()
            .iter()
            .filter_map(|it| it.records.as_ref());
        let damage = records.map(|it| it.start + first..it.end + first).collect();
        Self {
            view,
            first,
            damage,
        }
    }

    /// The records at `ticks`, all of which it has.
    fn records_of(&self, ticks: &[Range<u64>]) -> Vec<Range<u64>> {
        let records = |ticks: &Range<u64>| ticks.start - self.first..ticks.end - self.first;
        ticks.iter().map(records).collect()
    }

    /// The sound records outside of `parts`.
    fn dropped(&self, parts: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut known = self.records_of(&self.damage);
        known.extend_from_slice(parts);
        known.sort_unstable_by_key(|records| records.start);
        complement(&known, self.view.len())
    }
}

/// The ticks at which no series is damaged; `None` if the series do not form a timeline.
fn sound_ticks(members: &[Member], coordinate: &str) -> Option<Vec<Range<u64>>> {
    let ends = members
        .iter()
        .map(|member| member.first + member.view.len());
    let end = ends.clone().min()?;
    if ends.max()? != end {
        return None;
    }
    let start = members.iter().map(|member| member.first).max()?.min(end);
    let damage = members.iter().flat_map(|member| &member.damage).cloned();
    let mut damage: Vec<_> = std::iter::once(0..start).chain(damage).collect();
    damage.sort_unstable_by_key(|ticks| ticks.start);
    let ticks = complement(&damage, end);
    let coordinate = members
        .iter()
        .find(|it| it.view.key().name() == coordinate)?;
    let (key, view) = (coordinate.view.key().clone(), coordinate.view.clone());
    let sound = SoundView::new(key, view, coordinate.records_of(&ticks));
    match disorder_of(&View::from(Arc::new(sound))) {
        Ok(None) => Some(ticks),
        _ => None,
    }
}

/// The sound records of a series; none if the series itself cannot be read.
fn sound_parts(verified: &VerifiedKey) -> Vec<Range<u64>> {
    let damage: Option<Vec<_>> = verified
        .damage
        .iter()
        .map(|it| it.records.clone())
        .collect();
    damage.map_or_else(Vec::new, |damage| {
        complement(&damage, verified.record_count)
    })
}

/// The gaps between sorted ranges, up to `end`.
fn complement(ranges: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let (mut found, mut next) = (Vec::new(), 0);
    for range in ranges.iter().cloned().chain(std::iter::once(end..end)) {
        let start = range.start.min(end);
        if next < start {
            found.push(next..start);
        }
        next = next.max(range.end);
    }
    found
}
