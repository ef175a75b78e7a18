//! A damaged recording without its damaged parts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::delegate_store;
use crate::error::Result;
use crate::model::key::Key;
use crate::reading::view::View;
use crate::recorder::TIMELINE_ATTRIBUTE;
use crate::store::data_store::DataStore;
use crate::store::node::{Child, Node};
use crate::tools::recover::sound_view::SoundView;

/// A read-only store with the sound parts of another.
#[derive(Debug)]
pub(super) struct SoundStore<'a> {
    from: &'a dyn DataStore,
    /// Values and series that cannot be read.
    pub(super) hidden: BTreeSet<Key>,
    /// Groups whose attributes cannot be read.
    pub(super) bare: BTreeSet<Key>,
    /// Groups that are not shown as timelines, even with the attribute of a timeline.
    pub(super) plain: BTreeSet<Key>,
    /// Series that are parts of another series, with the key and the records of that.
    pub(super) parts: BTreeMap<Key, (Key, Vec<Range<u64>>)>,
}

impl<'a> SoundStore<'a> {
    pub(super) fn new(from: &'a dyn DataStore) -> Self {
        Self {
            from,
            hidden: BTreeSet::new(),
            bare: BTreeSet::new(),
            plain: BTreeSet::new(),
            parts: BTreeMap::new(),
        }
    }

    /// The sound part of `node` of the source, as it is shown at `key`.
    fn sound(&self, key: &Key, node: Node) -> Node {
        match node {
            Node::Group { mut attributes } if self.plain.contains(key) => {
                attributes.remove(TIMELINE_ATTRIBUTE);
                Node::Group { attributes }
            }
            Node::Series(view) => Node::Series(match self.parts.get(key) {
                Some((_, parts)) => {
                    View::from(Arc::new(SoundView::new(key.clone(), view, parts.clone())))
                }
                None => view,
            }),
            node => node,
        }
    }
}

impl DataStore for SoundStore<'_> {
    fn name(&self) -> &str {
        self.from.name()
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let source = |key: &Key| match self.parts.get(key) {
            Some((of, _)) => of.clone(),
            None => key.clone(),
        };
        let is_read = |key: &&Key| !self.hidden.contains(*key) && !self.bare.contains(*key);
        let read: Vec<Key> = keys.iter().filter(is_read).map(source).collect();
        let mut nodes = self.from.nodes(&read)?.into_iter();
        let nodes = keys.iter().map(|key| {
            if self.bare.contains(key) {
                let attributes = Default::default();
                return Some(Node::Group { attributes });
            }
            match self.hidden.contains(key) {
                true => None,
                false => nodes.next().flatten().map(|node| self.sound(key, node)),
            }
        });
        Ok(nodes.collect())
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        // Nothing in a group that cannot be listed can be copied; the report names the group.
        let mut children = self.from.children(key).unwrap_or_default();
        children.retain(|child| !self.hidden.contains(&child.key));
        Ok(children)
    }

    delegate_store!(self => self.from; plan prepare commit remove rename checkpoint close);
}
