//! Removing and renaming nodes.

use std::collections::HashSet;

use hdf5_metno_sys::h5r::hobj_ref_t;
use simrecorder_core::backend::errors::{
    already_there, check_rename, is_of_one_node, nothing_at, root_stays,
};
use simrecorder_core::backend::is_path_within;
use simrecorder_core::{Key, Result};

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
        let path = path_of(key);
        let is_declared = state.tails.declared.get(&path).is_some();
        match find(root, key) {
            _ if is_declared => {}
            Ok(None) => return Err(nothing_at("remove")),
            // Even a node that cannot be read can be removed.
            Err(error) if !is_of_one_node(&error) => return Err(error),
            _ => {}
        }
        // Views read during this change, and must notice it.
        self.next_epoch();
        let mut tails = TailChanges::default();
        for path in within(state.tails.paths(), &path) {
            tails.clear(&path);
        }
        for path in within(state.tails.declared.paths(), &path) {
            tails.create(&path);
        }
        let written = (|| {
            if is_declared {
                return raise_cut_base(root).map(drop);
            }
            let group = open_object(root, &path_of(&parent))?;
            if let Ok(object) = open_object(&group, key.name()) {
                scales::detach(root, &places_within(root, &object)?)?;
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
        if state.find(from)?.is_none() {
            return Err(nothing_at("rename"));
        }
        if from == to {
            return Ok(());
        }
        if let Some((there, _)) = state.find(to)? {
            return Err(already_there(to, there.kind()));
        }
        // A tail is identified by the path of its dataset.
        let path = path_of(from);
        let declared = within(state.tails.declared.paths(), &path);
        let created = self.create_declared(state, declared);
        let folded =
            created.and_then(|()| self.fold_tails(state, within(state.tails.paths(), &path), 0));
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
        let places = places_within(root, &open_object(&parent, from.name())?)?;
        scales::detach(root, &places)?;
        move_link(&parent, from.name(), &group, to.name())?;
        let base = raise_cut_base(root)?;
        for place in places {
            let object = scales::dereference(root, place)?;
            let metadata = read_metadata(&object)?;
            let node = metadata
                .as_ref()
                .and_then(|metadata| metadata.get("node")?.as_str());
            if let (Some(dataset), None | Some("series")) = (Dataset::from_handle(object), node) {
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

/// The paths that are at a path or below it.
fn within(mut paths: Vec<String>, path: &str) -> Vec<String> {
    paths.retain(|other| is_path_within(other, path));
    paths
}

/// The places of an object and all objects below it, each once. Thousands of open objects would
/// take much memory.
fn places_within(root: &Handle, object: &Handle) -> Result<Vec<hobj_ref_t>> {
    let mut places = vec![reference(object, ".")?];
    let mut known = HashSet::from([places[0]]);
    let mut next = 0;
    while let Some(&place) = places.get(next) {
        next += 1;
        let group = scales::dereference(root, place)?;
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
                places.push(place);
            }
        }
    }
    Ok(places)
}
