//! Which keys a tool selects.

use glob::{MatchOptions, Pattern};

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Child;

const SELECT: &str = "select";

pub(super) const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Which nodes of a recording a tool works on: what is at a key and below, as far as glob patterns select it.
///
/// In a pattern, `*` matches any characters of one level, `?` for one of them, `**` for any number
/// of levels, and `[a-c]` for one of some characters; `[*]`, `[?]` and `[[]` match these characters themselves. A
/// pattern does not match groups: `net/**` matches all that `net` contains.
///
/// ```
/// use simrecorder_core::{InMemoryDataStore, KeyPatterns, Recorder};
///
/// let store = InMemoryDataStore::new();
/// let recorder = Recorder::new(store.clone());
/// for key in ["net/e/rate", "net/e/spikes", "log"] {
///     recorder.record(key, 1)?;
/// }
/// recorder.close()?;
/// let selected = KeyPatterns::new().include("net/**").exclude("**/spikes").select(&store)?;
/// let keys = selected.iter().map(|child| child.key.as_str());
/// assert_eq!(keys.collect::<Vec<_>>(), ["", "net", "net/e", "net/e/rate"]);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyPatterns {
    pub(super) only: Key,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

impl Default for KeyPatterns {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyPatterns {
    /// Everything.
    pub fn new() -> Self {
        Self {
            only: Key::ROOT,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    /// Only what is at `key` and below.
    pub fn within(mut self, key: Key) -> Self {
        self.only = key;
        self
    }

    /// Only the values and series whose keys match `pattern`, or a pattern of another call.
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.include.push(pattern.into());
        self
    }

    /// None of the values and series whose keys match `pattern`, also not those that are included.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.exclude.push(pattern.into());
        self
    }

    /// The selected nodes, groups before what they contain. With patterns, a group is selected if a
    /// value or series in it is.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is nothing at the key, or a pattern that is included
    /// matches nothing; [`InvalidArgument`](ErrorKind::InvalidArgument) for a pattern that is not valid; else
    /// what the store reports.
    pub fn select(&self, from: &dyn DataStore) -> Result<Vec<Child>> {
        let include = compile(&self.include, SELECT)?;
        let exclude = compile(&self.exclude, SELECT)?;
        let only = from.require_node(&self.only, NodeKind::Group)?;
        let mut has_matched = vec![false; include.len()];
        let mut selected = Vec::new();
        let mut open = vec![Child::new(self.only.clone(), only.kind())];
        while let Some(child) = open.pop() {
            if child.kind == NodeKind::Group {
                open.extend(from.children(&child.key)?.into_iter().rev());
                selected.push(child);
                continue;
            }
            let matches = |pattern: &Pattern| pattern.matches_with(child.key.as_str(), OPTIONS);
            let mut is_included = include.is_empty();
            for (pattern, has_matched) in include.iter().zip(&mut has_matched) {
                let is_match = matches(pattern);
                *has_matched |= is_match;
                is_included |= is_match;
            }
            if is_included && !exclude.iter().any(matches) {
                selected.push(child);
            }
        }
        if let Some(pattern) = has_matched.iter().position(|has_matched| !has_matched) {
            return Err(no_match(&self.include[pattern]));
        }
        if !(include.is_empty() && exclude.is_empty()) {
            remove_empty_groups(&mut selected);
        }
        Ok(selected)
    }

    /// The same for a tool that writes what is selected elsewhere: a series of a timeline brings its group
    /// and its coordinate.
    pub(super) fn select_for_copy(
        &self,
        from: &dyn DataStore,
        operation: &'static str,
    ) -> Result<Vec<Child>> {
        let selected = self.select(from);
        let mut selected = selected.map_err(|error| match error.operation() {
            SELECT => error.with_operation(operation),
            _ => error,
        })?;
        self.add_coordinates(from, &mut selected)?;
        Ok(selected)
    }

    /// Whether a value or series is selected, or a group may contain some that are.
    pub(super) fn filter(&self, operation: &'static str) -> Result<impl Fn(&Key) -> bool> {
        let include = compile(&self.include, operation)?;
        let exclude = compile(&self.exclude, operation)?;
        let only = self.only.clone();
        Ok(move |key: &Key| {
            let matches = |pattern: &Pattern| pattern.matches_with(key.as_str(), OPTIONS);
            (include.is_empty() || include.iter().any(matches))
                && !exclude.iter().any(matches)
                && key.is_within(&only)
        })
    }

    fn add_coordinates(&self, from: &dyn DataStore, selected: &mut Vec<Child>) -> Result<()> {
        let within = match selected.first() {
            Some(first) if first.kind == NodeKind::Series => self.only.parent(),
            _ => Some(self.only.clone()),
        };
        let within = within.unwrap_or(Key::ROOT);
        for (group, coordinate) in from.timelines_within(&within)? {
            let coordinate = group.join(coordinate)?;
            let is_member = |child: &Child| {
                child.kind == NodeKind::Series && child.key.parent().as_ref() == Some(&group)
            };
            let Some(first) = selected.iter().position(is_member) else {
                continue;
            };
            let is_selected = |key: &Key| selected.iter().any(|child| child.key == *key);
            let is_missing = [(&group, NodeKind::Group), (&coordinate, NodeKind::Series)];
            let missing = is_missing.into_iter().filter(|(key, _)| !is_selected(key));
            let missing: Vec<_> = missing
                .map(|(key, kind)| Child::new(key.clone(), kind))
                .collect();
            selected.splice(first..first, missing);
        }
        Ok(())
    }
}

pub(super) fn compile(patterns: &[String], operation: &'static str) -> Result<Vec<Pattern>> {
    let compile = |text: &String| {
        Pattern::new(text.trim_matches('/')).map_err(|error| {
            let message = format!(
                "this is not a valid pattern: {}, at character {}; `*` matches within a level, `**` any \
                 levels, `[[]` a bracket",
                error.msg, error.pos
            );
            Error::new(ErrorKind::InvalidArgument, operation, message).with_key(text)
        })
    };
    patterns.iter().map(compile).collect()
}

fn no_match(pattern: &str) -> Error {
    let message = "this pattern matches no value and no series of the source; `*` matches within a \
                   level, and `group/**` all that a group contains";
    Error::new(ErrorKind::NotFound, SELECT, message).with_key(pattern)
}

/// Keeps the groups that are followed by a key in them, and the root.
fn remove_empty_groups(selected: &mut Vec<Child>) {
    let mut kept: Vec<Child> = Vec::new();
    for child in selected.drain(..).rev() {
        let is_empty = || {
            !kept
                .last()
                .is_some_and(|next: &Child| next.key.is_within(&child.key))
        };
        if child.kind != NodeKind::Group || child.key.is_root() || !is_empty() {
            kept.push(child);
        }
    }
    selected.extend(kept.into_iter().rev());
}
