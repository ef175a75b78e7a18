//! Dimension names that the arrays of a group share, as scales.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hdf5_metno_sys::h5r::hobj_ref_t;
use simrecorder_core::backend::dimensions::{
    CheckedGroup, CoordinateRole, NamedNode, WrittenNames, written_names,
};
use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::{Key, Kind, NodeKind, Result};

use crate::format::dataset::Dataset;
use crate::format::node::{StoredNode, find, groups_on_the_way};
use crate::format::node_path::ENDS;
use crate::format::scales::{
    ScaleUser, can_be_scale, dereference, dimension, is_link_name, is_own_dimension, is_scale,
    mark_as_scale, note_users, scale_name, set_scales, unmark, used_len,
};
use crate::format::tail::TailChanges;
use crate::library::{Handle, link_names, open_object, reference, unlink};
use crate::recording::Recording;
use crate::recording::state::State;

impl Recording {
    /// Connects all arrays with the scales of their dimensions, in the groups that changed.
    /// `is_final` says that there are no tails.
    pub(super) fn write_dimension_names(&self, state: &mut State, is_final: bool) -> Result<()> {
        let mut groups = std::mem::take(&mut state.dimensions);
        let open = Arc::clone(&state.open);
        let mut commit = || self.commit_file(state, &TailChanges::default());
        let mut changes = Changes {
            uncommitted: 0,
            commit: &mut commit,
        };
        let checked = groups.check(is_final, |group| {
            let checked = check_group(&open.root, group, &mut changes);
            checked.map_err(|e| e.with_key(group.as_str()))
        });
        let committed = checked.and_then(|()| changes.commit());
        state.dimensions = groups;
        committed
    }
}

/// Changed objects. Each costs the library and its driver some pages until it is committed.
struct Changes<'a> {
    uncommitted: usize,
    commit: &'a mut dyn FnMut() -> Result<()>,
}

/// The number of objects that are committed together.
const COMMIT_OBJECTS: usize = 512;

impl Changes<'_> {
    /// Counts an object, if it was changed.
    fn count(&mut self, has_changed: bool) -> Result<()> {
        self.uncommitted += usize::from(has_changed);
        match self.uncommitted < COMMIT_OBJECTS {
            true => Ok(()),
            false => self.commit(),
        }
    }

    fn commit(&mut self) -> Result<()> {
        match std::mem::take(&mut self.uncommitted) {
            0 => Ok(()),
            _ => (self.commit)(),
        }
    }
}

/// A node of a group that may have scales or be one.
struct FoundNode {
    key: Key,
    node: NamedNode,
    /// The place of the dataset whose axes have names. Thousands of open datasets would take much
    /// memory.
    place: hobj_ref_t,
    is_group: bool,
    is_own: bool,
    kind: Option<Kind>,
}

impl FoundNode {
    fn open(&self, root: &Handle) -> Result<Handle> {
        dereference(root, self.place)
    }
}

/// The scale that a name requires.
#[derive(Default)]
struct Scale {
    /// The length, unless one of its axes grows.
    len: u64,
    grows: bool,
    users: Vec<ScaleUser>,
}

fn check_group(root: &Handle, key: &Key, changes: &mut Changes<'_>) -> Result<CheckedGroup> {
    let mut checked = CheckedGroup::default();
    let group = match find(root, key)? {
        Some(found) if found.kind == NodeKind::Group => found.object,
        _ => return Ok(checked),
    };
    let (mut found, mut own_dimensions) = (Vec::new(), BTreeSet::new());
    let above = groups_on_the_way(root, key)?;
    for name in link_names(&group)? {
        let Some(child) = key.join(&name).ok().filter(|key| key.name() == name) else {
            continue;
        };
        match find_node(root, &group, child) {
            Ok(Some(node)) => {
                // Other software may put a group into itself.
                if node.is_group && !above.contains(&node.place) {
                    checked.groups.push(node.key.clone());
                }
                found.push(node);
            }
            Ok(None) if is_own_dimension(&open_object(&group, &name)?)? => {
                own_dimensions.insert(name);
            }
            // A node that cannot be read stays as it is, and the others are still checked.
            Err(error) if !is_of_one_node(&error) => return Err(error),
            _ => {}
        }
    }
    let given: BTreeSet<String> = found
        .iter()
        .flat_map(|found| found.node.given.iter().flatten().flatten().cloned())
        .collect();
    for node in found.iter_mut().filter(|it| given.contains(&it.node.name)) {
        node.node.coordinate = coordinate_role(root, node)?;
    }
    let nodes: Vec<_> = found.iter().map(|found| found.node.clone()).collect();
    let written = written_names(&nodes, is_link_name);
    checked.has_names = written.is_some();
    let written = match written {
        Some(written) => written,
        None if own_dimensions.is_empty() => return Ok(checked),
        None => Vec::new(),
    };
    let pairs: Vec<_> = found.iter().zip(written).collect();
    for (found, written) in &pairs {
        if let Some(reason) = &written.withheld
            && found.is_own
        {
            checked.withheld.push((found.key.clone(), reason.clone()));
        }
    }
    write_marks(root, &given, &pairs, changes)?;
    write_links(root, &group, &pairs, own_dimensions, changes)?;
    Ok(checked)
}

/// Marks the coordinates, and no other node, as scales.
fn write_marks(
    root: &Handle,
    given: &BTreeSet<String>,
    nodes: &[(&FoundNode, WrittenNames)],
    changes: &mut Changes<'_>,
) -> Result<()> {
    for (found, written) in nodes {
        let (node, dataset) = (&found.node, found.open(root)?);
        let mark = scale_name(&dataset)?;
        let wanted = written.is_coordinate.then_some(&*node.name);
        let is_renamed = mark.as_ref().is_some_and(|mark| *mark != node.name);
        let may_change = node.given.is_some() || given.contains(&node.name) || is_renamed;
        if !may_change || node.lens.is_empty() || mark.as_deref() == wanted {
            continue;
        }
        match (wanted, &mark) {
            // Marks of other software stay.
            (_, Some(_)) if !found.is_own => continue,
            (Some(name), _) => mark_as_scale(&dataset, name)?,
            (None, _) => unmark(root, &dataset)?,
        }
        changes.count(true)?;
    }
    Ok(())
}

/// Connects arrays and scales, and removes scales that nothing uses.
fn write_links(
    root: &Handle,
    group: &Handle,
    nodes: &[(&FoundNode, WrittenNames)],
    mut own_dimensions: BTreeSet<String>,
    changes: &mut Changes<'_>,
) -> Result<()> {
    let mut scales: BTreeMap<&str, Scale> = BTreeMap::new();
    for (found, written) in nodes
        .iter()
        .filter(|(found, written)| has_scales(found, written))
    {
        for (axis, (name, &len)) in written.names.iter().zip(&found.node.lens).enumerate() {
            let scale = scales.entry(name).or_default();
            scale.len = len;
            scale.grows |= found.node.is_series && axis == 0;
            scale.users.push(ScaleUser::new(found.place, axis));
        }
    }
    let mut places: BTreeMap<&str, hobj_ref_t> = BTreeMap::new();
    let mut objects = Vec::new();
    for (found, _) in nodes.iter().filter(|(_, written)| written.is_coordinate) {
        let name = &*found.node.name;
        places.insert(name, found.place);
        objects.push((found.place, scales.remove(name).unwrap_or_default()));
    }
    for (name, scale) in scales {
        let len = (!scale.grows).then_some(scale.len);
        if let Some(object) = dimension(root, group, name, len)? {
            let place = reference(&object, ".")?;
            places.insert(name, place);
            objects.push((place, scale));
        }
        own_dimensions.remove(name);
    }
    let mut unconnected = BTreeSet::new();
    for (found, written) in nodes.iter().filter(|(found, _)| found.node.given.is_some()) {
        let names = match has_scales(found, written) {
            true => &written.names[..],
            false => &[],
        };
        let places = names.iter().map(|name| places.get(&**name).copied());
        let places: Option<Vec<_>> = places.collect();
        if places.is_none() {
            unconnected.insert(found.place);
        }
        changes.count(set_scales(&found.open(root)?, &places.unwrap_or_default())?)?;
    }
    let own: BTreeSet<_> = nodes.iter().map(|(found, _)| found.place).collect();
    for (place, mut scale) in objects {
        let object = dereference(root, place)?;
        scale
            .users
            .retain(|user| !unconnected.contains(&user.dataset()));
        let (_, is_noted) = note_users(root, &object, scale.users, |place| own.contains(&place))?;
        changes.count(!is_noted)?;
    }
    for name in own_dimensions {
        let object = open_object(group, &name)?;
        let (count, is_noted) =
            note_users(root, &object, Vec::new(), |place| own.contains(&place))?;
        changes.count(!is_noted)?;
        if count == 0 {
            unlink(group, &name)?;
            changes.count(true)?;
        }
    }
    Ok(())
}

/// Whether an array has scales. A coordinate is a scale itself.
fn has_scales(found: &FoundNode, written: &WrittenNames) -> bool {
    found.node.given.is_some() && !written.is_coordinate
}

/// The node of this key in a group, or a dimension that other software created; `None` for anything
/// else.
fn find_node(root: &Handle, group: &Handle, key: Key) -> Result<Option<FoundNode>> {
    let Some(stored) = StoredNode::of(open_object(group, key.name())?)? else {
        return find_dimension(root, open_object(group, key.name())?, key);
    };
    let kind = stored.stored_kind()?;
    let names = stored.dimension_names();
    let is_own = stored.metadata.is_some();
    let is_series = stored.kind == NodeKind::Series;
    let object = match is_series && kind == Some(Kind::Ragged) {
        true => open_object(&stored.object, ENDS)?,
        false => stored.object,
    };
    let dataset = Dataset::borrow(&object)?;
    let is_group = dataset.is_none();
    let lens = match dataset {
        Some(dataset) if stored.kind != NodeKind::Group => dataset.shape()?,
        _ => Vec::new(),
    };
    let given = names.filter(|names| names.len() == lens.len() && !lens.is_empty());
    Ok(Some(FoundNode {
        node: NamedNode {
            name: key.name().to_owned(),
            is_series,
            given,
            lens,
            coordinate: CoordinateRole::Never,
        },
        place: reference(&object, ".")?,
        is_group,
        key,
        is_own,
        kind,
    }))
}

/// A dimension of other software without values. Arrays that share it have the length of those that
/// already use it.
fn find_dimension(root: &Handle, object: Handle, key: Key) -> Result<Option<FoundNode>> {
    if is_own_dimension(&object)? {
        return Ok(None);
    }
    let Some(len) = used_len(root, &object)? else {
        return Ok(None);
    };
    Ok(Some(FoundNode {
        node: NamedNode {
            name: key.name().to_owned(),
            lens: vec![len],
            ..NamedNode::default()
        },
        place: reference(&object, ".")?,
        is_group: false,
        key,
        is_own: false,
        kind: None,
    }))
}

/// Whether a node can be the coordinate of the dimension with its name.
fn coordinate_role(root: &Handle, found: &FoundNode) -> Result<CoordinateRole> {
    let node = &found.node;
    if node.lens.len() != 1 {
        return Ok(CoordinateRole::Never);
    }
    let dataset = &found.open(root)?;
    Ok(match (found.kind, found.is_own) {
        (Some(Kind::Array), _) if node.is_series => CoordinateRole::Always,
        (Some(Kind::Array | Kind::Text), _) => CoordinateRole::IfNamed,
        (None, false) if is_scale(dataset)? || can_be_scale(dataset)? => CoordinateRole::Always,
        _ => CoordinateRole::Never,
    })
}
