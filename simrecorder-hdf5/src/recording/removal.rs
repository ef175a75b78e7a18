//! Removing and renaming nodes.

use std::collections::HashSet;

use simrecorder_core::backend::errors::{already_there, check_rename, nothing_at, root_stays};
use simrecorder_core::{ErrorKind, Key, Result};

use crate::format::attributes::read_metadata;
use crate::format::dataset::Dataset;
use crate::format::node::find;
use crate::format::node_path::path_of;
use crate::format::root::raise_cut_base;
use crate::format::scales;
use crate::format::tail::TailChanges;
use crate::library::{Handle, link_names, move_link, open_object, reference, unlink};
use crate::recording::Recording;
use crate::recording::commit::CommitBuilder;
use crate::recording::state::State;

impl Recording {
    /// Removes the node at `key`, with everything below it.
    pub(crate) fn remove(&self, state: &mut State, key: &Key) -> Result<()> {
        let Some(parent) = key.parent() else {
            return Err(root_stays("remove"));
        };
        let root = &state.open.root;
        match find(root, key) {
            Ok(None) => return Err(nothing_at("remove")),
            // What cannot be read can be removed.
            Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                return Err(error);
            }
            _ => {}
        }
        // Views are read meanwhile, and must notice what they read.
        self.next_epoch();
        let mut tails = TailChanges::default();
        for path in tails_within(state, &path_of(key)) {
            tails.clear(&path);
        }
        let written = (|| {
            let group = open_object(root, &path_of(&parent))?;
            if let Ok(object) = open_object(&group, key.name()) {
                scales::detach(root, &objects_within(object)?, false)?;
            }
            unlink(&group, key.name())?;
            raise_cut_base(root).map(drop)
        })();
        state.dimensions.changed(key, false);
        self.commit_removal(state, key, written, &tails)
    }

    /// Moves the node at `from`, with everything below it, to `to`.
    pub(crate) fn rename(&self, state: &mut State, from: &Key, to: &Key) -> Result<()> {
        check_rename(from, to)?;
        if find(&state.open.root, from)?.is_none() {
            return Err(nothing_at("rename"));
        }
        if from == to {
            return Ok(());
        }
        if let Some(there) = find(&state.open.root, to)? {
            return Err(already_there(to, there.kind));
        }
        // A tail is known by the path of its dataset.
        let tails = tails_within(state, &path_of(from));
        let folded = self.fold_tails(state, tails, 0);
        self.next_epoch();
        let moved = folded.and_then(|()| self.move_node(state, from, to));
        state.dimensions.renamed();
        self.commit_removal(state, from, moved, &TailChanges::default())
    }

    fn move_node(&self, state: &State, from: &Key, to: &Key) -> Result<()> {
        let root = &state.open.root;
        let mut builder = CommitBuilder::new(self, state);
        let group = builder.parent_group(to)?;
        let removed = scales::make_room(&group, to.name())?;
        let parent = from.parent().unwrap_or(Key::ROOT);
        let parent = open_object(root, &path_of(&parent))?;
        let objects = objects_within(open_object(&parent, from.name())?)?;
        scales::detach(root, &objects, true)?;
        move_link(&parent, from.name(), &group, to.name())?;
        let base = raise_cut_base(root)?;
        for object in &objects {
            let metadata = read_metadata(object)?;
            let node = metadata
                .as_ref()
                .and_then(|metadata| metadata.get("node")?.as_str());
            if let (Some(dataset), None | Some("series")) = (Dataset::borrow(object)?, node) {
                dataset.set_cut_count(base)?;
            }
        }
        removed.replace_with(root, &open_object(&group, to.name())?, to.name())?;
        Ok(())
    }

    fn commit_removal(
        &self,
        state: &mut State,
        key: &Key,
        written: Result<()>,
        tails: &TailChanges,
    ) -> Result<()> {
        state.series.retain(|other, _| !other.is_within(key));
        self.planned.lock().retain(|other, _| !other.is_within(key));
        if let Err(error) = written.and_then(|()| self.commit_file(state, tails)) {
            let error = state.open.explain(error);
            self.roll_back(state)?;
            return Err(error);
        }
        self.trim_journal(state);
        Ok(())
    }
}

/// The paths of the tails at a path and below it.
fn tails_within(state: &State, path: &str) -> Vec<String> {
    let mut paths = state.tails.paths();
    paths.retain(|other| {
        let rest = other.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    paths
}

/// An object and all objects below it, each once.
fn objects_within(object: Handle) -> Result<Vec<Handle>> {
    let mut known = HashSet::from([reference(&object, ".")?]);
    let mut objects = vec![object];
    let mut next = 0;
    while next < objects.len() {
        let group = objects[next].share()?;
        next += 1;
        if Dataset::borrow(&group)?.is_some() {
            continue;
        }
        for name in link_names(&group)? {
            // A link of other software may lead nowhere.
            let Ok(object) = open_object(&group, &name) else {
                continue;
            };
            let place = reference(&object, ".")?;
            if known.insert(place) {
                objects.push(object);
            }
        }
    }
    Ok(objects)
}
