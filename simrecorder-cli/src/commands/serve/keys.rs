//! The page's requests about keys: the tree, the search, and the node at a key.

use serde_json::{Value as Json, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, Attributes, Child, DataStoreExt, Error, Key, NodeKind};

use super::query::Query;
use super::shortened::shorten;
use super::shown::Shown;
use crate::exit::Result;
use crate::listing;

/// The maximum number of nodes in a response. The page requests those on the screen.
const MAX_NODES: usize = 500;
/// The maximum number of keys that a search returns.
const MAX_FOUND: usize = 2000;
/// The maximum number of items of a value in a response.
const MAX_ITEMS: usize = 1000;

/// The recordings, in the order of the command line.
pub(super) fn recordings(shown: &Shown, _: &Query) -> Result<Json> {
    let described = shown.recordings.iter().map(|recording| {
        json!({
            "name": recording.name,
            "location": recording.location,
            "state": shown.state(recording).0,
        })
    });
    Ok(described.collect())
}

/// The keys in a group, in natural order.
pub(super) fn children(shown: &Shown, query: &Query) -> Result<Json> {
    let group = Key::new_or_root(query.get("group").unwrap_or_default())?;
    let store = shown.store(query.recording(shown)?)?;
    let mut children = store.children(&group)?;
    children.sort_by(|a, b| a.key.natural_cmp(&b.key));
    Ok(children.iter().map(child_to_json).collect())
}

/// The keys of series and values that contain a text, ignoring case.
pub(super) fn search(shown: &Shown, query: &Query) -> Result<Json> {
    let keys = shown.keys(query.recording(shown)?)?;
    let text = query.get("text").unwrap_or_default().to_lowercase();
    let is_found = |child: &&Child| {
        child.kind != NodeKind::Group && child.key.as_str().to_lowercase().contains(&text)
    };
    let (mut first, mut total) = (Vec::new(), 0);
    for child in keys.iter().filter(is_found) {
        if total < MAX_FOUND {
            first.push(child_to_json(child));
        }
        total += 1;
    }
    Ok(json!({"keys": first, "total": total}))
}

fn child_to_json(child: &Child) -> Json {
    json!([child.key.as_str(), child.kind.to_string()])
}

/// The output of `simrec ls -l --json` for some keys, except those without a node.
pub(super) fn nodes(shown: &Shown, query: &Query) -> Result<Json> {
    let store = shown.store(query.recording(shown)?)?;
    let mut keys = Vec::new();
    for key in query.all("key").take(MAX_NODES) {
        keys.push(Key::new_or_root(key)?);
    }
    let found = keys.iter().zip(store.each_node(&keys));
    let described = found.filter_map(|(key, node)| {
        let kind = match &node {
            Ok(node) => node.as_ref()?.kind(),
            Err(_) => NodeKind::Series,
        };
        Some(describe(Child::new(key.clone(), kind), node.transpose()?))
    });
    Ok(described.collect())
}

/// The same for one key, with its attributes.
pub(super) fn node(shown: &Shown, query: &Query) -> Result<Json> {
    let store = shown.store(query.recording(shown)?)?;
    let key = Key::new_or_root(query.get("key").unwrap_or_default())?;
    let node = store.require_node(&key, NodeKind::Series)?;
    let attributes = match &node {
        Node::Value { attributes, .. } | Node::Group { attributes, .. } => attributes.clone(),
        Node::Series(view) => view.attributes().clone(),
        _ => Attributes::default(),
    };
    let mut described = describe(Child::new(key, node.kind()), Ok(node));
    described["attributes"] = Json::Object(attributes);
    Ok(described)
}

/// The output of `simrec ls -l --json` for a node, with the beginning of a long value.
fn describe(child: Child, node: Result<Node, Error>) -> Json {
    let mut described = listing::describe(&child, node);
    if let Some(value) = described.get_mut("value")
        && shorten(value, &mut MAX_ITEMS.clone())
    {
        described["truncated"] = true.into();
    }
    described
}
