//! Opening recordings, and finding keys in them.

use std::sync::Arc;

use simrecorder::{Child, DataStore, DataStoreExt, Key, KeyPatterns};

use crate::args::RecordingArg;
use crate::exit::Result;

/// Opens a recording for reading.
pub(crate) fn open(arg: &RecordingArg) -> Result<Arc<dyn DataStore>> {
    Ok(simrecorder::open(&arg.recording)?)
}

/// The nodes that keys and globs name, in natural order, each group before what it contains. A key
/// brings everything below it. Without any, everything.
///
/// # Errors
/// A key with nothing at it, and a glob that matches nothing.
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

/// What a text names: a key, or else the keys that a glob matches.
fn patterns(store: &dyn DataStore, text: &str) -> Result<KeyPatterns> {
    let has_wildcard = |part: &str| part.contains(['*', '?', '[']);
    if !has_wildcard(text) {
        return Ok(KeyPatterns::new().within(Key::new_or_root(text)?));
    }
    // Brackets and the like may be a part of a key.
    if let Ok(key) = Key::new(text)
        && store.node(&key)?.is_some()
    {
        return Ok(KeyPatterns::new().within(key));
    }
    // Only the group where the first wildcard is has to be searched.
    let start: Vec<_> = text
        .split('/')
        .take_while(|part| !has_wildcard(part))
        .collect();
    let group = Key::new_or_root(start.join("/"))?;
    Ok(KeyPatterns::new().within(group).include(text))
}
