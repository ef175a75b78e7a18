//! Removing and renaming nodes.

use simrecorder_core::backend::columns::SeriesCache;
use simrecorder_core::backend::errors::{
    already_there, check_rename, is_of_one_node, nothing_at, root_stays,
};
use simrecorder_core::{Key, NodeKind, Result};

use crate::columns::changes::{StorageChanges, set_document};
use crate::format::array_format::ArrayFormat;
use crate::format::metadata::Document;
use crate::format::node_path::{ENDS, ITEMS, entry, node_path};
use crate::recording::Recording;
use crate::recording::documents::document_at;
use crate::storage::{Change, Snapshot};

impl Recording {
    /// Removes the node at `key`, with everything below it.
    pub(crate) fn remove(&self, cache: &mut SeriesCache<ArrayFormat>, key: &Key) -> Result<()> {
        if key.is_root() {
            return Err(root_stays("remove"));
        }
        let path = node_path(key).map_err(|_| nothing_at("remove"))?;
        let mut changes = StorageChanges::new(&*self.storage);
        match changes.node(key, &path) {
            Ok(None) => return Err(nothing_at("remove")),
            // Even a node that cannot be read can be removed.
            Err(error) if !is_of_one_node(&error) => return Err(error),
            _ => {}
        }
        changes.push(Change::ErasePath { path });
        changes.raise_cut_base(|| self.new_root())?;
        changes.remove_copies(key)?;
        self.dimensions.lock().changed(key, false);
        self.commit_removal(cache, key, changes)
    }

    /// Moves the node at `from`, with everything below it, to `to`.
    pub(crate) fn rename(
        &self,
        cache: &mut SeriesCache<ArrayFormat>,
        from: &Key,
        to: &Key,
    ) -> Result<()> {
        check_rename(from, to)?;
        let old = node_path(from).map_err(|_| nothing_at("rename"))?;
        let new = node_path(to)?;
        let mut changes = StorageChanges::new(&*self.storage);
        if changes.node(from, &old)?.is_none() {
            return Err(nothing_at("rename"));
        }
        if from == to {
            return Ok(());
        }
        if let Some(document) = changes.node(to, &new)? {
            return Err(already_there(to, document.node_kind()));
        }
        changes.make_groups_above(to)?;
        // Only chunks and metadata still have to be moved.
        cache.retain(|key, _| !key.is_within(from));
        self.fold_tails(&old)?;
        let base = changes.raise_cut_base(|| self.new_root())?;
        changes.push(Change::MovePath {
            from: old.clone(),
            to: new.clone(),
        });
        for (below, mut document) in self.documents_within(&old)? {
            let path = match below.is_empty() {
                true => new.clone(),
                false => entry(&new, &below),
            };
            if document.is_array() && document.node_kind() == NodeKind::Series {
                document.set_cut_base(base);
            }
            changes.push(set_document(&path, &document));
        }
        changes.remove_copies(from)?;
        changes.remove_copies(to)?;
        self.dimensions.lock().renamed();
        self.commit_removal(cache, from, changes)
    }

    fn commit_removal(
        &self,
        cache: &mut SeriesCache<ArrayFormat>,
        key: &Key,
        changes: StorageChanges<'_>,
    ) -> Result<()> {
        let committed = self.storage.commit(changes.into_changes());
        cache.retain(|other, _| !other.is_within(key));
        self.planned.lock().retain(|other, _| !other.is_within(key));
        committed?;
        // So that a directory frees its files.
        if let Err(error) = self.storage.checkpoint() {
            tracing::warn!(%error, "the space of removed data could not be freed yet");
        }
        Ok(())
    }

    /// The metadata at a path and below it, with paths relative to it.
    fn documents_within(&self, path: &str) -> Result<Vec<(String, Document)>> {
        let mut found = Vec::new();
        self.storage.read(&mut |snapshot: &dyn Snapshot| {
            found.clear();
            let mut open = vec![String::new()];
            while let Some(below) = open.pop() {
                let full = match below.is_empty() {
                    true => path.to_owned(),
                    false => entry(path, &below),
                };
                let Some(document) = document_at(snapshot, &full)? else {
                    continue;
                };
                if !document.is_array() {
                    let names = match document.node_kind() {
                        NodeKind::Group => snapshot.children(&full)?,
                        _ => [ENDS, ITEMS].map(str::to_owned).to_vec(),
                    };
                    open.extend(names.iter().map(|name| entry(&below, name)));
                }
                found.push((below, document));
            }
            Ok(())
        })?;
        Ok(found)
    }
}
