//! Names of dimensions that the arrays of a group share.

use simrecorder_core::backend::dimensions::{
    CheckedGroup, CoordinateRole, NamedNode, written_names,
};
use simrecorder_core::backend::errors::is_of_one_node;
use simrecorder_core::{ErrorKind, Key, Kind, NodeKind, Result};

use crate::columns::changes::set_document;
use crate::format::metadata::Document;
use crate::format::node_path::{ENDS, child_key, node_path};
use crate::recording::Recording;
use crate::recording::checkpoint::CHECKPOINT_BYTES;
use crate::recording::documents::document_at;
use crate::storage::Snapshot;

/// A node of a group, with the documents that name its axes.
struct FoundNode {
    key: Key,
    path: String,
    node: NamedNode,
    /// The document of the node.
    document: Document,
    /// That of its array with one row for each record, where that is another.
    ends: Option<Document>,
}

impl Recording {
    /// Writes the names of dimensions again in all groups that changed.
    pub(super) fn write_dimension_names(&self) -> Result<()> {
        let mut groups = self.dimensions.lock();
        groups.check(true, |group| {
            let checked = self.check_group(group);
            checked.map_err(|e| e.with_key(group.as_str()))
        })
    }

    fn check_group(&self, group: &Key) -> Result<CheckedGroup> {
        let mut found = Vec::new();
        let mut groups = Vec::new();
        self.storage.read(&mut |snapshot| {
            (found, groups) = nodes_below(snapshot, group)?;
            Ok(())
        })?;
        let nodes: Vec<_> = found.iter().map(|found| found.node.clone()).collect();
        let mut checked = CheckedGroup {
            groups,
            ..CheckedGroup::default()
        };
        let Some(written) = written_names(&nodes, |_| true) else {
            return Ok(checked);
        };
        checked.has_names = true;
        let mut changes = Vec::new();
        let mut bytes = 0;
        for (found, written) in found.into_iter().zip(written) {
            // Arrays of other software stay as they are.
            if !found.document.is_marked() || written.names.is_empty() {
                continue;
            }
            if let Some(reason) = written.withheld {
                checked.withheld.push((found.key.clone(), reason));
            }
            for (path, document) in found.renamed(&written.names) {
                let change = set_document(&path, &document);
                bytes += document.to_bytes().len();
                changes.push(change);
            }
            if bytes >= CHECKPOINT_BYTES {
                self.storage.commit(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            self.storage.commit(changes)?;
        }
        Ok(checked)
    }
}

impl FoundNode {
    /// The documents that change, for the axes to have these names.
    fn renamed(self, names: &[String]) -> Vec<(String, Document)> {
        let array = self.ends.as_ref().unwrap_or(&self.document);
        let is_written = array.dimension_names().is_some_and(|written| {
            written.len() == names.len()
                && written
                    .iter()
                    .zip(names)
                    .all(|(a, b)| a.as_ref() == Some(b))
        });
        if is_written {
            return Vec::new();
        }
        let Self {
            path,
            node,
            mut document,
            ends,
            ..
        } = self;
        document.mark_names(node.given.as_deref(), names);
        let mut changed = Vec::new();
        match ends {
            None => document.set_dimension_names(names),
            Some(mut ends) => {
                ends.set_dimension_names(names);
                changed.push((format!("{path}/{ENDS}"), ends));
            }
        }
        changed.push((path, document));
        changed
    }
}

/// The nodes right below a group, and which of them are groups.
fn nodes_below(snapshot: &dyn Snapshot, group: &Key) -> Result<(Vec<FoundNode>, Vec<Key>)> {
    let (mut found, mut groups) = (Vec::new(), Vec::new());
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
        let ends = match !is_group && !document.is_array() {
            true => sound_document(snapshot, &format!("{path}/{ENDS}"))?,
            false => None,
        };
        let node = named_node(&key, &document, ends.as_ref());
        found.push(FoundNode {
            key,
            path,
            node,
            document,
            ends,
        });
    }
    Ok((found, groups))
}

/// The document at a path. One that cannot be read, or is a link that is not followed, stays as it is and
/// keeps no other from being checked.
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
