//! Dimension names that the arrays of a group share.

use simrecorder_core::backend::dimensions::{
    CheckedGroup, CoordinateRole, NamedNode, written_names,
};
use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::{ErrorKind, Key, Kind, NodeKind, Result};

use crate::columns::changes::StorageChanges;
use crate::format::metadata::Document;
use crate::format::node_path::{ENDS, child_key, node_path};
use crate::recording::Recording;
use crate::recording::checkpoint::{CHECKPOINT_BYTES, PAGE};
use crate::recording::documents::document_at;
use crate::storage::Snapshot;

/// A node of a group whose axes may get other names.
struct FoundNode {
    key: Key,
    path: String,
    /// The path of its array with one row per record, if that is another array.
    ends: Option<String>,
    /// The stored names.
    names: Option<Vec<Option<String>>>,
    /// Whether simrecorder created it. Arrays of other software are not changed.
    is_marked: bool,
}

/// The number of nodes whose names are written in one commit; each touches a page.
const RENAMED_AT_ONCE: usize = CHECKPOINT_BYTES / PAGE;

impl Recording {
    /// Updates the dimension names in all groups that changed.
    pub(super) fn write_dimension_names(&self) -> Result<()> {
        let mut groups = self.dimensions.lock();
        groups.check(true, |group| {
            let checked = self.check_group(group);
            checked.map_err(|e| e.with_key(group.as_str()))
        })
    }

    fn check_group(&self, group: &Key) -> Result<CheckedGroup> {
        let (mut found, mut nodes, mut groups) = Default::default();
        self.storage.read(&mut |snapshot| {
            (found, nodes, groups) = nodes_below(snapshot, group)?;
            Ok(())
        })?;
        let mut checked = CheckedGroup {
            groups,
            ..CheckedGroup::default()
        };
        let Some(written) = written_names(&nodes, |_| true) else {
            return Ok(checked);
        };
        checked.has_names = true;
        let mut renamed = Vec::new();
        for ((found, node), written) in found.into_iter().zip(nodes).zip(written) {
            if !found.is_marked || written.names.is_empty() {
                continue;
            }
            if let Some(reason) = written.withheld {
                checked.withheld.push((found.key.clone(), reason));
            }
            if !found.has_names(&written.names) {
                renamed.push((found, node.given, written.names));
            }
        }
        for renamed in renamed.chunks(RENAMED_AT_ONCE) {
            let mut changes = StorageChanges::new(&*self.storage);
            for (found, given, names) in renamed {
                found.rename(given.as_deref(), names, &mut changes)?;
            }
            self.storage.commit(changes.into_changes())?;
        }
        Ok(checked)
    }
}

impl FoundNode {
    fn has_names(&self, names: &[String]) -> bool {
        let written = self.names.iter().flatten().map(Option::as_ref);
        self.names.is_some() && written.eq(names.iter().map(Some))
    }

    fn rename(
        &self,
        given: Option<&[Option<String>]>,
        names: &[String],
        changes: &mut StorageChanges<'_>,
    ) -> Result<()> {
        let array = self.ends.as_ref().unwrap_or(&self.path);
        if let Some(mut document) = changes.document(array)? {
            document.set_dimension_names(names);
            changes.write_document(array, document);
        }
        if let Some(mut document) = changes.document(&self.path)? {
            document.mark_names(given, names);
            changes.write_document(&self.path, document);
        }
        Ok(())
    }
}

/// The children of a group: their places, their names, and which of them are groups.
type NodesBelow = (Vec<FoundNode>, Vec<NamedNode>, Vec<Key>);

fn nodes_below(snapshot: &dyn Snapshot, group: &Key) -> Result<NodesBelow> {
    let (mut found, mut nodes, mut groups) = NodesBelow::default();
    for name in snapshot.children(&node_path(group)?)? {
        let Some(key) = child_key(group, &name) else {
            continue;
        };
        let path = node_path(&key)?;
        let Some(document) = sound_document(snapshot, &path)? else {
            continue;
        };
        let is_group = document.node_kind() == NodeKind::Group;
        if is_group {
            groups.push(key.clone());
        }
        let ends_path = format!("{path}/{ENDS}");
        let ends = match !is_group && !document.is_array() {
            true => sound_document(snapshot, &ends_path)?,
            false => None,
        };
        nodes.push(named_node(&key, &document, ends.as_ref()));
        found.push(FoundNode {
            names: ends.as_ref().unwrap_or(&document).dimension_names(),
            is_marked: document.is_marked(),
            ends: ends.map(|_| ends_path),
            key,
            path,
        });
    }
    Ok((found, nodes, groups))
}

/// The document at a path. If it cannot be read, or is a link, it stays as it is, and the others
/// are still checked.
fn sound_document(snapshot: &dyn Snapshot, path: &str) -> Result<Option<Document>> {
    match document_at(snapshot, path) {
        Err(e) if is_of_one_node(&e) || e.kind() == ErrorKind::InvalidArgument => Ok(None),
        result => result,
    }
}

fn named_node(key: &Key, document: &Document, ends: Option<&Document>) -> NamedNode {
    let array = ends.unwrap_or(document);
    let lens = array.shape().unwrap_or_default();
    let is_series = document.node_kind() == NodeKind::Series;
    let is_list = document.is_array() && lens.len() == 1;
    let coordinate = match document.kind() {
        _ if !is_list => CoordinateRole::Never,
        Ok(Some(Kind::Array)) if is_series => CoordinateRole::Always,
        Ok(Some(Kind::Array | Kind::Text)) => CoordinateRole::IfNamed,
        Ok(None) => CoordinateRole::IfNamed,
        _ => CoordinateRole::Never,
    };
    NamedNode {
        name: key.name().to_owned(),
        is_series,
        given: match lens.is_empty() {
            true => None,
            false => document.given_names(array.dimension_names()),
        },
        lens,
        coordinate,
    }
}
