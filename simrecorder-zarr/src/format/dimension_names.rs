//! Names of dimensions in the metadata: those that the user gave, and those that are written.

use serde_json::{Value as Json, json};
use simrecorder_core::NodeKind;

use crate::format::metadata::Document;

/// The member of the attribute `simrecorder` of a series that lists the axes with default names.
const DEFAULT_NAMES: &str = "default_names";
/// The member of that attribute with the names that the user gave, for a value or where other names
/// are written.
const GIVEN_NAMES: &str = "dimension_names";

impl Document {
    /// Records which names the user gave to the axes of a marked node, for which `written` are
    /// written.
    pub(crate) fn mark_names(&mut self, given: Option<&[Option<String>]>, written: &[String]) {
        let is_value = self.node_kind() == NodeKind::Value;
        let mut reserved = self.take_reserved();
        reserved.remove(DEFAULT_NAMES);
        reserved.remove(GIVEN_NAMES);
        let is_written = |axis: usize| {
            let given = given.and_then(|given| given.get(axis)?.as_ref());
            given == written.get(axis)
        };
        let unwritten: Vec<_> = (0..written.len())
            .filter(|&axis| !is_written(axis))
            .collect();
        match given {
            // A value has no names unless they are recorded.
            None if is_value => {}
            None => drop(reserved.insert(DEFAULT_NAMES.to_owned(), json!(true))),
            Some(given) => {
                let is_kept = |&axis: &usize| given.get(axis).is_some_and(Option::is_some);
                if is_value || unwritten.iter().any(is_kept) {
                    reserved.insert(GIVEN_NAMES.to_owned(), json!(given));
                }
                if !is_value && !unwritten.is_empty() {
                    reserved.insert(DEFAULT_NAMES.to_owned(), json!(unwritten));
                }
            }
        }
        self.set_reserved(Json::Object(reserved));
    }

    /// Sets the names that are written for the axes of an array.
    pub(crate) fn set_dimension_names(&mut self, names: &[String]) {
        self.fields_mut()
            .insert("dimension_names".to_owned(), json!(names));
    }

    /// The names that the user gave to the axes of the node, for which `written` are written.
    pub(crate) fn given_names(
        &self,
        written: Option<Vec<Option<String>>>,
    ) -> Option<Vec<Option<String>>> {
        let noted = |name: &str| self.reserved().and_then(|reserved| reserved.get(name));
        if let Some(given) = noted(GIVEN_NAMES).and_then(Json::as_array) {
            return Some(names_of(given));
        }
        if self.is_marked() && self.node_kind() == NodeKind::Value {
            return None;
        }
        let mut names = written?;
        match noted(DEFAULT_NAMES) {
            Some(Json::Bool(true)) => return None,
            Some(Json::Array(axes)) => {
                let axes = axes.iter().filter_map(Json::as_u64);
                for axis in axes.filter_map(|axis| usize::try_from(axis).ok()) {
                    if let Some(name) = names.get_mut(axis) {
                        *name = None;
                    }
                }
            }
            _ => {}
        }
        Some(names)
    }

    /// The names that are written for the axes of an array.
    pub(crate) fn dimension_names(&self) -> Option<Vec<Option<String>>> {
        let names = self.fields().get("dimension_names")?.as_array()?;
        Some(names_of(names))
    }
}

fn names_of(names: &[Json]) -> Vec<Option<String>> {
    let names = names.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect()
}
