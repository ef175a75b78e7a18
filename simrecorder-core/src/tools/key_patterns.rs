//! Which keys a copy or a drain selects.

use glob::{MatchOptions, Pattern};

use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::errors;
use crate::store::node::Child;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A part of a recording: what is at a key and below, as far as the patterns select it.
#[derive(Clone, Debug)]
pub(super) struct KeyPatterns {
    pub(super) only: Key,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

impl KeyPatterns {
    /// Everything.
    pub(super) fn new() -> Self {
        Self {
            only: Key::ROOT,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }

    /// The selected keys, groups before what they contain. With patterns, a group is selected if a
    /// value or series in it is. A series of a timeline brings its group and its coordinate.
    pub(super) fn select(
        &self,
        from: &dyn DataStore,
        operation: &'static str,
    ) -> Result<Vec<Child>> {
        let include = compile(&self.include, operation)?;
        let exclude = compile(&self.exclude, operation)?;
        let Some(only) = from.node(&self.only)? else {
            return Err(errors::nothing_at(operation).with_key(self.only.as_str()));
        };
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
            return Err(no_match(&self.include[pattern], operation));
        }
        if !(include.is_empty() && exclude.is_empty()) {
            remove_empty_groups(&mut selected);
        }
        self.add_coordinates(from, &mut selected)?;
        Ok(selected)
    }
}

impl KeyPatterns {
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

fn compile(patterns: &[String], operation: &'static str) -> Result<Vec<Pattern>> {
    let compile = |text: &String| {
        Pattern::new(text.trim_matches('/')).map_err(|error| {
            let message = format!(
                "this is no pattern: {}, at character {}; `*` matches within a level, `**` any \
                 levels, `[[]` a bracket",
                error.msg, error.pos
            );
            Error::new(ErrorKind::InvalidArgument, operation, message).with_key(text)
        })
    };
    patterns.iter().map(compile).collect()
}

fn no_match(pattern: &str, operation: &'static str) -> Error {
    let message = "this pattern matches no value and no series of the source; `*` matches within a \
                   level, and `group/**` all that a group contains";
    Error::new(ErrorKind::NotFound, operation, message).with_key(pattern)
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
