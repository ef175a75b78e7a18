//! Removing and renaming keys.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::recorder::key_registry::{KeyRegistry, Nodes, RegisteredNode};
use crate::recorder::pipeline::BarrierKind;
use crate::recorder::series_buffer::SeriesBuffer;
use crate::store::data_store::DataStoreExt;
use crate::store::errors::{already_there, check_rename, nothing_at, root_stays};

impl KeyRegistry {
    /// Removes a key and all keys below it from all stores.
    pub(in crate::recorder) fn remove(&self, text: &str) -> Result<()> {
        self.stores.check_running("remove")?;
        let key = Key::new_or_root(text)?;
        if key.is_root() {
            return Err(root_stays("remove"));
        }
        // Locked until the end, so that no other thread finds the key in the stores before it is removed.
        let mut nodes = self.nodes.lock();
        self.stores.check_running("remove")?;
        self.check_no_timeline(&nodes, "remove", &key)?;
        self.has_written.store(true, Ordering::Relaxed);
        for series in series_within(&nodes, &key) {
            self.buffers.remove(&series);
        }
        self.forget(&mut nodes, &key);
        self.change_all(&BarrierKind::Remove(key))
    }

    /// Moves a key and all keys below it to another key in all stores.
    pub(in crate::recorder) fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.stores.check_running("rename")?;
        let (from, to) = (Key::new_or_root(from)?, Key::new_or_root(to)?);
        check_rename(&from, &to)?;
        let mut nodes = self.nodes.lock();
        self.stores.check_running("rename")?;
        self.check_no_timeline(&nodes, "rename", &from)?;
        self.has_written.store(true, Ordering::Relaxed);
        // The stores know only what they have committed.
        self.change_all(&BarrierKind::Flush)?;
        self.check_free(&nodes, &from, &to)?;
        self.check_new_group(&nodes, &from, &to)?;
        for series in series_within(&nodes, &from) {
            self.buffers.rename(&series)?;
        }
        self.forget(&mut nodes, &from);
        self.change_all(&BarrierKind::Rename { from, to })
    }

    /// Checks before any store renames that all of them can.
    fn check_free(&self, nodes: &Nodes, from: &Key, to: &Key) -> Result<()> {
        let mut is_there = false;
        for pipeline in self.stores.healthy() {
            let Some(node) = self.stores.answer(pipeline, pipeline.node(from))? else {
                continue;
            };
            if node.is_none() {
                continue;
            }
            is_there = true;
            let store = pipeline.store();
            let below = self.stores.answer(pipeline, store.keys_within(from))?;
            let below = below.unwrap_or_default();
            for key in below.iter().map(|child| &child.key).chain([from]) {
                if let Some(new) = key.rebase(from, to)? {
                    self.stores.answer(pipeline, pipeline.plan(&new, None))?;
                }
            }
        }
        if !is_there {
            return Err(nothing_at("rename"));
        }
        if from == to {
            return Ok(());
        }
        self.check_groups_above(nodes, to)?;
        for pipeline in self.stores.healthy() {
            let answer = self.stores.answer(pipeline, pipeline.node(to))?;
            if let Some(node) = answer.flatten() {
                return Err(already_there(to, node.kind()));
            }
        }
        Ok(())
    }

    /// Checks that no timeline needs a key: because the timeline has a handle, or because the key is its coordinate.
    fn check_no_timeline(&self, nodes: &Nodes, operation: &'static str, key: &Key) -> Result<()> {
        let is_member = matches!(nodes.get(key), Some(RegisteredNode::Member(_)));
        let open = self.buffers.timelines().into_iter();
        let mut needing = open.filter(|timeline| {
            timeline.group.is_within(key) || is_member && key.is_within(&timeline.group)
        });
        if let Some(timeline) = needing.next() {
            let message = format!(
                "the timeline '{}' has a handle that writes this; call its finish() first",
                timeline.group
            );
            return Err(Error::new(ErrorKind::Locked, operation, message));
        }
        let group = key.parent().unwrap_or(Key::ROOT);
        if self.coordinate_of(nodes, &group)?.as_deref() == Some(key.name()) {
            let message = format!(
                "this is the coordinate of the timeline '{group}', without which its series have no ticks; \
                 name the group instead"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, operation, message));
        }
        Ok(())
    }

    /// Checks that a key fits the timelines at its new place: no free-standing series in the group of a timeline, and
    /// no timeline within another with a coordinate of the same name.
    fn check_new_group(&self, nodes: &Nodes, from: &Key, to: &Key) -> Result<()> {
        let mut moved = Vec::new();
        let mut is_series = false;
        for pipeline in self.stores.healthy() {
            let found = pipeline.store().timelines_within(from);
            moved.extend(self.stores.answer(pipeline, found)?.unwrap_or_default());
            let node = self.stores.answer(pipeline, pipeline.node(from))?.flatten();
            is_series |= node.is_some_and(|node| node.kind() == NodeKind::Series);
        }
        let refuse = |group: &Key, why: String| {
            let message = format!("the group '{group}' is a timeline{why}; use another key");
            Err(Error::new(ErrorKind::InvalidArgument, "rename", message))
        };
        for group in to.ancestors().chain([Key::ROOT]) {
            let Some(name) = self.coordinate_of(nodes, &group)? else {
                continue;
            };
            let is_parent = to.parent().as_ref() == Some(&group);
            if is_series && is_parent && from.parent().as_ref() != Some(&group) {
                return refuse(&group, ", whose series share their ticks".to_owned());
            }
            if moved.iter().any(|(_, coordinate)| *coordinate == name) {
                return refuse(&group, format!(" with a coordinate '{name}' of its own"));
            }
        }
        Ok(())
    }

    /// Forgets a key and all keys below it. Keeps the buffers of series, since the key cache contains them.
    fn forget(&self, nodes: &mut Nodes, key: &Key) {
        let mut removed = self.removed.lock();
        let mut declared = self.declared.lock();
        declared.retain(|other, _| !other.is_within(key));
        nodes.retain(|other, node| {
            let stays = !other.is_within(key);
            if let (false, RegisteredNode::Series(series)) = (stays, node) {
                removed.insert(other.clone(), Arc::clone(series));
            }
            stays
        });
    }

    /// Sends a barrier to every store and waits for all. It succeeds if at least one of them had the key.
    pub(super) fn change_all(&self, kind: &BarrierKind) -> Result<()> {
        let mut missing = None;
        let mut is_done = false;
        let mut refusal: Option<Error> = None;
        for (pipeline, barrier) in self.stores.send_barriers(kind) {
            match barrier.wait(None).unwrap_or(Ok(())) {
                Ok(()) => is_done = true,
                // The pipeline keeps the error.
                Err(_) if pipeline.has_failed() => {}
                Err(error) if error.kind() == ErrorKind::NotFound => missing = Some(error),
                Err(error) => refusal = Some(error.in_store(pipeline.name())),
            }
        }
        if let Some(error) = self.stores.stop_reason().or(refusal) {
            return Err(error);
        }
        match missing {
            Some(error) if !is_done => Err(error),
            _ => Ok(()),
        }
    }
}

/// The series at a key, or below it.
fn series_within(nodes: &Nodes, key: &Key) -> Vec<Arc<SeriesBuffer>> {
    let within = nodes.iter().filter(|(other, _)| other.is_within(key));
    let series = within.filter_map(|(_, node)| match node {
        RegisteredNode::Series(series) => Some(Arc::clone(series)),
        _ => None,
    });
    series.collect()
}
