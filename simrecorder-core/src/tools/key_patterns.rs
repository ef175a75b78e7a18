//! The keys that a tool selects.

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

/// A selection of nodes of a recording: those at and below a key that glob patterns select.
///
/// In a pattern, `*` matches any characters of one level, `?` one character, `**` any number of levels, and `[a-c]` one
/// of some characters; `[*]`, `[?]` and `[[]` match these characters literally. Patterns match values and series, not
/// groups: `net/**` matches everything in `net`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, KeyPatterns, Recorder};
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
    /// Selects everything.
    pub fn new() -> Self {
        Self {
            only: Key::ROOT,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    /// Selects only `key` and the keys below it.
    pub fn within(mut self, key: Key) -> Self {
        self.only = key;
        self
    }

    /// Selects only values and series whose keys match `pattern`, or the pattern of another call.
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.include.push(pattern.into());
        self
    }

    /// Leaves out values and series whose keys match `pattern`, even those that are included.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.exclude.push(pattern.into());
        self
    }

    /// Lists the selected nodes, groups before their contents. With patterns, a group is selected if a
    /// value or series in it is.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is nothing at the key, or if an included pattern matches nothing;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a pattern that is not valid; otherwise the error of the
    /// store.
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

    /// Like [`select`](Self::select) for a tool that copies: with a series of a timeline, it also selects the group
    /// and the coordinate.
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

    /// A function that tells whether a value or series is selected, or whether a group may contain selected ones.
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

/// Removes groups without a selected key in them, except the root.
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
