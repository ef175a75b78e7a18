//! Names of dimensions: which of the user's names may be written.
//!
//! Other software assumes that arrays of one group have the same length along a dimension with the same name: netCDF
//! readers pad the shorter ones, xarray refuses the group. So a name is written only while all arrays with the name have
//! the same length there. Otherwise each array is written with a default name, and the user's name is kept for later.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::model::key::Key;

/// A node of a group, with what decides about names of dimensions.
#[derive(Clone, Debug, Default)]
pub struct NamedNode {
    /// The last part of its key.
    pub name: String,
    /// Whether its first axis is along records.
    pub is_series: bool,
    /// The user's names; `None` if there are none.
    pub given: Option<Vec<Option<String>>>,
    /// The stored length of each axis; empty for groups and nodes without axes.
    pub lens: Vec<u64>,
    /// Whether it can be the coordinate of the dimension with its name.
    pub coordinate: CoordinateRole,
}

/// Whether a node can be the coordinate of the dimension with its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoordinateRole {
    /// It cannot, so a dimension with its name is not written.
    #[default]
    Never,
    /// It can if its axis has the same name. It is an array with one axis.
    IfNamed,
    /// It can even without a name for its axis. It is a series of numbers.
    Always,
}

/// The names that are written for the axes of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenNames {
    /// The name of each axis: that of the user or the default.
    pub names: Vec<String>,
    /// Whether the node is the coordinate of the dimension with its name.
    pub is_coordinate: bool,
    /// The log message about a name of the user that is not written.
    pub withheld: Option<String>,
}

/// Returns the default name of an axis.
pub fn default_dimension_name(node: &str, is_series: bool, axis: usize) -> String {
    match (is_series, axis) {
        (true, 0) => format!("{node}_record"),
        _ => format!("{node}_axis_{axis}"),
    }
}

/// A name that a user gave, with the arrays of the group that have it.
#[derive(Debug, Default)]
struct Dimension {
    lens: BTreeSet<u64>,
    obstacle: Option<String>,
}

impl Dimension {
    /// The common length of all arrays with records. An array without records does not prevent a name.
    fn len(&self) -> Option<u64> {
        let mut recorded = self.lens.iter().filter(|&&len| len > 0);
        match (recorded.next(), recorded.next()) {
            (None, _) => Some(0),
            (len, None) => len.copied(),
            _ => None,
        }
    }

    fn allows(&self, len: u64) -> bool {
        self.obstacle.is_none() && self.len() == Some(len)
    }
}

/// Chooses the names for the axes of all nodes of a group, in their order; `None` if the user named none.
/// `is_possible` tells which names the format can store.
pub fn written_names(
    nodes: &[NamedNode],
    is_possible: impl Fn(&str) -> bool,
) -> Option<Vec<WrittenNames>> {
    let mut dimensions: BTreeMap<&str, Dimension> = BTreeMap::new();
    for node in nodes {
        for (name, len) in node.given_lens() {
            dimensions.entry(name).or_default().lens.insert(len);
        }
    }
    if nodes.iter().all(|node| node.given.is_none()) {
        return None;
    }
    for node in nodes.iter().filter(|node| node.is_candidate()) {
        if let Some(dimension) = dimensions.get_mut(&*node.name) {
            dimension.lens.extend(&node.lens);
        }
    }
    for node in nodes {
        if let Some(dimension) = dimensions.get_mut(&*node.name) {
            let is_coordinate =
                node.is_candidate() && node.lens.first().copied() == dimension.len();
            if !is_coordinate && dimension.len().is_some() {
                dimension.obstacle =
                    Some("the array of this name is not its coordinate".to_owned());
            }
        }
        for (axis, &len) in node.lens.iter().enumerate() {
            let default = default_dimension_name(&node.name, node.is_series, axis);
            let Some(dimension) = dimensions.get_mut(&*default) else {
                continue;
            };
            let names_another_axis = node.given_name(axis) != Some(&default)
                && node.given_lens().any(|(name, _)| name == default);
            if names_another_axis || (len > 0 && !dimension.allows(len)) {
                dimension.obstacle = Some("an unnamed axis has this name".to_owned());
            }
        }
    }
    for (name, dimension) in &mut dimensions {
        if !is_possible(name) {
            dimension.obstacle = Some("the format cannot store it".to_owned());
        }
    }
    let written = nodes.iter().map(|node| node.written(&dimensions));
    Some(written.collect())
}

impl NamedNode {
    fn given_name(&self, axis: usize) -> Option<&String> {
        self.given.as_ref()?.get(axis)?.as_ref()
    }

    /// The user's names with the lengths of their axes.
    fn given_lens(&self) -> impl Iterator<Item = (&str, u64)> {
        let lens = self.lens.iter().enumerate();
        lens.filter_map(|(axis, &len)| Some((&**self.given_name(axis)?, len)))
    }

    /// Whether it is the coordinate of the dimension with its name, if there is such a dimension.
    fn is_candidate(&self) -> bool {
        let names_itself = self.given_name(0) == Some(&self.name);
        self.lens.len() == 1
            && match self.coordinate {
                CoordinateRole::Never => false,
                CoordinateRole::IfNamed => names_itself,
                CoordinateRole::Always => names_itself || self.given.is_none(),
            }
    }

    fn written(&self, dimensions: &BTreeMap<&str, Dimension>) -> WrittenNames {
        let mut withheld = None;
        let mut is_coordinate = false;
        let names = self.lens.iter().enumerate().map(|(axis, &len)| {
            let implied = self.given.is_none() && self.is_candidate();
            let name = match implied {
                true => Some(&self.name),
                false => self.given_name(axis),
            };
            let dimension = name.and_then(|name| Some((name, dimensions.get(&**name)?)));
            let Some((name, dimension)) = dimension else {
                return default_dimension_name(&self.name, self.is_series, axis);
            };
            if dimension.allows(len) {
                is_coordinate |= self.is_candidate();
                return name.clone();
            }
            let default = default_dimension_name(&self.name, self.is_series, axis);
            let reason = match &dimension.obstacle {
                Some(obstacle) => obstacle.clone(),
                None => format!(
                    "arrays of the group have the lengths {:?} there",
                    dimension.lens
                ),
            };
            // Nothing is lost of an array that has nothing.
            if len > 0 && !implied {
                withheld.get_or_insert(format!(
                    "its dimension '{name}' is written as '{default}': {reason}"
                ));
            }
            default
        });
        let names = names.collect();
        WrittenNames {
            names,
            is_coordinate,
            withheld,
        }
    }
}

/// The groups of a recording whose names of dimensions the next checkpoint writes again.
#[derive(Debug, Default)]
pub struct DimensionGroups {
    /// The groups in which the user named an axis; `None` until the hierarchy was searched.
    named: Option<BTreeSet<Key>>,
    changed: BTreeSet<Key>,
    /// Keys with a logged warning about a withheld name.
    logged: BTreeSet<Key>,
}

/// The contents of a group that a backend has checked and written the names of.
#[derive(Debug, Default)]
pub struct CheckedGroup {
    /// Whether the user named an axis in it.
    pub has_names: bool,
    /// The groups right below it.
    pub groups: Vec<Key>,
    /// The nodes with a withheld name, each with the reason.
    pub withheld: Vec<(Key, String)>,
}

impl DimensionGroups {
    /// Makes the value for a new recording, whose hierarchy need not be searched.
    pub fn of_new_recording() -> Self {
        Self {
            named: Some(BTreeSet::new()),
            ..Self::default()
        }
    }

    /// Notes that a node at `key` was created or changed. `has_names` says whether the user named its axes.
    pub fn changed(&mut self, key: &Key, has_names: bool) {
        let (Some(named), Some(group)) = (&mut self.named, key.parent()) else {
            return;
        };
        if has_names {
            named.insert(group.clone());
        }
        if named.contains(&group) {
            self.changed.insert(group);
        }
    }

    /// Notes that groups were renamed, so that all are checked again.
    pub fn renamed(&mut self) {
        self.named = None;
    }

    /// Calls `check` for each group that changed; the first time, for all groups. With `is_final`, warns of withheld
    /// names, once for each key.
    ///
    /// # Errors
    /// Those of `check`. The next call then checks all groups again.
    pub fn check(
        &mut self,
        is_final: bool,
        mut check: impl FnMut(&Key) -> Result<CheckedGroup>,
    ) -> Result<()> {
        let changed = std::mem::take(&mut self.changed);
        let known = self.named.take();
        let is_search = known.is_none();
        let mut named = known.unwrap_or_default();
        let mut open: Vec<Key> = match is_search {
            true => vec![Key::ROOT],
            false => changed.into_iter().collect(),
        };
        let mut unfinished = BTreeSet::new();
        while let Some(group) = open.pop() {
            let checked = check(&group)?;
            if is_search {
                open.extend(checked.groups);
            }
            if is_final {
                for (key, reason) in checked.withheld {
                    if self.logged.insert(key.clone()) {
                        tracing::warn!(key = %key, "'{key}': {reason}");
                    }
                }
            } else if checked.has_names {
                // Records that are still in tails are going to count.
                unfinished.insert(group.clone());
            }
            match checked.has_names {
                true => named.insert(group),
                false => named.remove(&group),
            };
        }
        self.named = Some(named);
        self.changed = unfinished;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, given: &[Option<&str>], lens: &[u64]) -> NamedNode {
        let given = given.iter().map(|name| name.map(str::to_owned));
        NamedNode {
            name: name.to_owned(),
            is_series: true,
            given: Some(given.collect()),
            lens: lens.to_vec(),
            coordinate: CoordinateRole::Always,
        }
    }

    fn unnamed(name: &str, lens: &[u64]) -> NamedNode {
        NamedNode {
            given: None,
            ..series(name, &[], lens)
        }
    }

    fn names(nodes: &[NamedNode]) -> Vec<String> {
        let written = written_names(nodes, |name| !name.is_empty()).unwrap_or_default();
        written.iter().map(|it| it.names.join(" ")).collect()
    }

    #[test]
    fn a_name_is_written_only_while_all_arrays_that_have_it_agree() {
        let pair = |len| {
            [
                series("mass", &[Some("time")], &[20]),
                series("u", &[Some("time"), Some("x")], &[len, 2]),
            ]
        };
        assert_eq!(names(&pair(20)), ["time", "time x"]);
        assert_eq!(names(&pair(2)), ["mass_record", "u_record x"]);
        let written = written_names(&pair(2), |_| true).unwrap();
        assert!(written.iter().all(|it| it.withheld.is_some()));
    }

    #[test]
    fn an_array_without_records_takes_the_name_from_no_other() {
        let nodes = [
            series("a", &[Some("time")], &[3]),
            series("b", &[Some("time")], &[0]),
        ];
        assert_eq!(names(&nodes), ["time", "b_record"]);
        let written = written_names(&nodes, |_| true).unwrap();
        assert!(written.iter().all(|it| it.withheld.is_none()));
    }

    #[test]
    fn one_array_may_have_no_axis_as_long_as_another_of_its_name() {
        let nodes = [
            series("v", &[Some("time"), Some("x")], &[5, 3]),
            series("w", &[Some("x"), Some("time")], &[3, 4]),
        ];
        assert_eq!(names(&nodes), ["v_record x", "x w_axis_1"]);
    }

    #[test]
    fn a_series_of_numbers_is_the_coordinate_of_the_dimension_that_has_its_name() {
        let v = series("v", &[Some("time")], &[5]);
        let is_coordinate = |nodes: &[NamedNode]| {
            let written = written_names(nodes, |_| true).unwrap();
            written[1].is_coordinate
        };
        let nodes = [v.clone(), unnamed("time", &[5])];
        assert_eq!(names(&nodes), ["time", "time"]);
        assert!(is_coordinate(&nodes));
        let nodes = [v.clone(), unnamed("time", &[4])];
        assert_eq!(names(&nodes), ["v_record", "time_record"]);
        assert!(!is_coordinate(&nodes));
        // It was not declared as one.
        let value = NamedNode {
            is_series: false,
            coordinate: CoordinateRole::IfNamed,
            ..unnamed("time", &[5])
        };
        assert_eq!(names(&[v.clone(), value]), ["v_record", "time_axis_0"]);
        assert_eq!(names(&[v, unnamed("time", &[])]), ["v_record", ""]);
    }

    #[test]
    fn names_that_clash_with_defaults_or_have_no_place_are_withheld() {
        let nodes = [unnamed("a", &[4]), series("b", &[Some("a_record")], &[5])];
        assert_eq!(names(&nodes), ["a_record", "b_record"]);
        let nodes = [unnamed("a", &[4]), series("b", &[Some("a_record")], &[4])];
        assert_eq!(names(&nodes), ["a_record", "a_record"]);
        let twice = [series("b", &[Some("b_axis_1"), None], &[4, 4])];
        assert_eq!(names(&twice), ["b_record b_axis_1"]);
        assert_eq!(names(&[series("b", &[Some("")], &[4])]), ["b_record"]);
        assert_eq!(written_names(&[unnamed("a", &[4])], |_| true), None);
    }

    #[test]
    fn all_groups_are_checked_once_and_those_that_changed_later() {
        let [net, deep] = ["net", "net/deep"].map(|key| Key::new(key).unwrap());
        let mut groups = DimensionGroups::default();
        let mut checked = Vec::new();
        let mut check = |groups: &mut DimensionGroups| {
            checked.clear();
            let result = groups.check(true, |group| {
                checked.push(group.clone());
                Ok(CheckedGroup {
                    has_names: *group == net,
                    groups: match group {
                        group if group.is_root() => vec![net.clone()],
                        group if *group == net => vec![deep.clone()],
                        _ => Vec::new(),
                    },
                    withheld: Vec::new(),
                })
            });
            result.unwrap();
            checked.clone()
        };
        assert_eq!(check(&mut groups), [Key::ROOT, net.clone(), deep.clone()]);
        assert!(check(&mut groups).is_empty());
        groups.changed(&net.join("v").unwrap(), false);
        groups.changed(&deep.join("v").unwrap(), false);
        assert_eq!(check(&mut groups), std::slice::from_ref(&net));
        groups.changed(&deep.join("v").unwrap(), true);
        assert_eq!(check(&mut groups), [deep]);
    }
}
