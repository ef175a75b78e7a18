//! Opening recordings, and finding keys in them.

use std::sync::Arc;

use simrecorder::backend::Node;
use simrecorder::{Child, DataStore, DataStoreExt, Error, ErrorKind, Key, KeyPatterns, NodeKind};

use crate::args::RecordingArg;
use crate::exit::Result;
use crate::selection::{self, PythonSelection};

/// Opens a recording for reading.
pub(crate) fn open(arg: &RecordingArg) -> Result<Arc<dyn DataStore>> {
    Ok(simrecorder::open(&arg.recording)?)
}

/// The nodes that match keys and globs, in natural order. A group precedes its contents. A key
/// includes everything below it. Without keys, all nodes.
///
/// # Errors
///
/// If there is no node at a key, or a glob matches nothing.
pub(crate) fn select(store: &dyn DataStore, texts: &[String]) -> Result<Vec<Child>> {
    let mut selected = match texts {
        [] => KeyPatterns::new().select(store)?,
        _ => Vec::new(),
    };
    for text in texts {
        selected.extend(patterns(store, text)?.select(store)?);
    }
    selected.sort_by(|a, b| a.key.natural_cmp(&b.key));
    selected.dedup_by(|b, a| a.key == b.key);
    Ok(selected)
}

/// The keys that a text names: a key, or otherwise those that match a glob.
fn patterns(store: &dyn DataStore, text: &str) -> Result<KeyPatterns> {
    let has_wildcard = |part: &str| part.contains(['*', '?', '[']);
    if !has_wildcard(text) {
        return Ok(KeyPatterns::new().within(Key::new_or_root(text)?));
    }
    // Brackets and the like may be part of a key.
    if let Ok(key) = Key::new(text)
        && store.node(&key)?.is_some()
    {
        return Ok(KeyPatterns::new().within(key));
    }
    // Only the group of the first wildcard has to be searched.
    let start: Vec<_> = text
        .split('/')
        .take_while(|part| !has_wildcard(part))
        .collect();
    let group = Key::new_or_root(start.join("/"))?;
    Ok(KeyPatterns::new().within(group).include(text))
}

/// The number of nodes that are looked up at once.
const NODES: usize = 256;

/// The nodes at keys, looked up when they are needed. A node that cannot be read, or was removed
/// meanwhile, is an error among the others.
pub(crate) fn nodes(
    store: &dyn DataStore,
    children: Vec<Child>,
) -> impl Iterator<Item = (Child, Result<Node, Error>)> {
    let mut children = children.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<_> = children.by_ref().take(NODES).collect();
        (!some.is_empty()).then(|| look_up(store, some))
    })
    .flatten()
}

fn look_up(store: &dyn DataStore, children: Vec<Child>) -> Vec<(Child, Result<Node, Error>)> {
    let keys: Vec<_> = children.iter().map(|child| child.key.clone()).collect();
    let found = children.into_iter().zip(store.each_node(&keys));
    let found = found.map(|(child, node)| match node {
        Ok(Some(node)) => (child, Ok(node)),
        Ok(None) => {
            let error = Error::new(ErrorKind::NotFound, "read", "it was removed meanwhile");
            let error = error.with_key(child.key.as_str());
            (child, Err(error))
        }
        Err(error) => (child, Err(error)),
    });
    found.collect()
}

/// The node that `KEY` or `KEY[SELECTION]` names, with the selection.
pub(crate) fn find(store: &dyn DataStore, text: &str) -> Result<(Node, Option<PythonSelection>)> {
    let parts = selection::split(text);
    // Brackets may be part of a key.
    if parts.is_none()
        || Key::new(text).is_ok_and(|key| store.node(&key).is_ok_and(|n| n.is_some()))
    {
        let node = store.require_node(&Key::new_or_root(text)?, NodeKind::Series)?;
        return Ok((node, None));
    }
    let (key, brackets) = parts.unwrap_or((text, ""));
    let selection = PythonSelection::parse(brackets)?;
    let node = store.require_node(&Key::new_or_root(key)?, NodeKind::Series)?;
    Ok((node, Some(selection)))
}

/// The error for a group where a series or value is required.
pub(crate) fn is_group(key: &str) -> Error {
    let message = "this is a group; name a series or value in it, which 'simrec ls' lists";
    Error::new(ErrorKind::KindMismatch, "read", message).with_key(key)
}
