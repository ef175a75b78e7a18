//! A damaged recording, without what is damaged.

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

/// Shows what is sound of a store, as a store that is read.
#[derive(Debug)]
pub(super) struct SoundStore<'a> {
    from: &'a dyn DataStore,
    /// Values and series that cannot be read.
    pub(super) hidden: BTreeSet<Key>,
    /// Groups whose attributes cannot be read.
    pub(super) bare: BTreeSet<Key>,
    /// Groups that are no timelines, whatever their attributes say.
    pub(super) plain: BTreeSet<Key>,
    /// Series that are shown in parts: of which series, and which of its records.
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

    /// What is shown of the node of the source that belongs to `key`.
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
        // A group that cannot be listed has nothing that can be copied; the report names it.
        let mut children = self.from.children(key).unwrap_or_default();
        children.retain(|child| !self.hidden.contains(&child.key));
        Ok(children)
    }

    delegate_store!(self => self.from; plan prepare commit remove rename checkpoint close);
}
