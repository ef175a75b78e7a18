//! The keys nearest to one that is missing.

use std::collections::{BinaryHeap, VecDeque};

use crate::error::{Error, ErrorKind};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Child;

/// How many keys are named.
const NEAREST_KEYS: usize = 3;
/// How many keys are compared, so that a mistyped key does not list a huge recording.
const MAX_KEYS: usize = 20_000;
/// How many characters of two keys are compared after their common beginning.
const MAX_CHARS: usize = 64;

/// The keys of some stores that are nearest to `key`, the nearest first, preferably of the kind `wanted`. It
/// compares the keys in the nearest existing group first, and then all others, up to [`MAX_KEYS`].
fn nearest_keys<S: DataStore + ?Sized>(stores: &[&S], key: &Key, wanted: NodeKind) -> Vec<Key> {
    let mut nearest = BinaryHeap::new();
    for &store in stores {
        let is_group = |group: &Key| store.node(group).is_ok_and(|node| node.is_some());
        let group = key.ancestors().find(is_group).unwrap_or(Key::ROOT);
        let mut seen = 0;
        let mut open = VecDeque::from([Key::ROOT]);
        if !group.is_root() {
            open.push_front(group.clone());
        }
        while let Some(next) = open.pop_front() {
            if seen > MAX_KEYS {
                break;
            }
            for Child { key: child, kind } in store.children(&next).unwrap_or_default() {
                seen += 1;
                // The nearest group is already first.
                if kind == NodeKind::Group && child != group {
                    open.push_back(child.clone());
                }
                if kind == wanted || kind != NodeKind::Group {
                    let other_kind = usize::from(kind != wanted);
                    nearest.push((distance(&child, key) + 2 * other_kind, child));
                }
                if nearest.len() > NEAREST_KEYS * stores.len() {
                    nearest.pop();
                }
            }
        }
    }
    let mut nearest = nearest.into_sorted_vec();
    nearest.dedup();
    let keys = nearest.into_iter().map(|(_, key)| key);
    keys.take(NEAREST_KEYS).collect()
}

/// The error that there is nothing at a key of these stores. It names the nearest keys, preferably of the kind
/// `wanted`.
pub(crate) fn nothing_near<S: DataStore + ?Sized>(
    stores: &[&S],
    operation: &'static str,
    key: &Key,
    wanted: NodeKind,
) -> Error {
    let message = match &nearest_keys(stores, key, wanted)[..] {
        [] => "there is nothing at this key; the recording is empty".to_owned(),
        keys => {
            let names: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
            format!(
                "there is nothing at this key; the nearest keys are {}",
                names.join(", ")
            )
        }
    };
    Error::new(ErrorKind::NotFound, operation, message).with_key(key.as_str())
}

/// How much a key differs from the wanted one. Case is ignored, and the same name in another group is near.
fn distance(key: &Key, wanted: &Key) -> usize {
    let (a, b) = (key.as_str().to_lowercase(), wanted.as_str().to_lowercase());
    let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let by_name = 2 + 2 * edits(&name(&a), &name(&b));
    edits(&a, &b).min(by_name)
}

/// The number of characters that have to change to turn one text into the other.
fn edits(a: &str, b: &str) -> usize {
    let both = a.chars().zip(b.chars());
    let same = both.take_while(|(a, b)| a == b).count();
    let rest = |text: &str| text.chars().skip(same).take(MAX_CHARS).collect::<String>();
    strsim::levenshtein(&rest(a), &rest(b))
}
