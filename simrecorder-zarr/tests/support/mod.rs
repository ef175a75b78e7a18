//! Helpers that the tests of this crate share.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and test helpers may panic"
)]

pub(crate) mod chunks;
pub(crate) mod lmdb;

use std::process::Command;

use serde_json::{Value as Json, json};
pub(crate) use simrecorder_testkit::*;

/// The program `tests/python/NAME` of this crate.
pub(crate) fn python(name: &str) -> Command {
    simrecorder_testkit::python(&format!("simrecorder-zarr/tests/python/{name}"))
}

/// JSON that a reader of metadata may not expect: of each type, and with these large numbers.
pub(crate) fn hostile_values(large: &[u64]) -> Vec<Json> {
    let mut values = vec![json!(null), json!(true), json!(-1), json!(1.5), json!("x")];
    values.extend([json!([]), json!({}), json!([0]), json!(0), json!(1)]);
    values.extend([json!(3), json!([[1]])]);
    values.extend(large.iter().map(|&n| Json::from(n)));
    values.extend(large.iter().map(|n| json!([3, n])));
    values
}

/// The pointers to all parts of a JSON document.
pub(crate) fn json_pointers(json: &Json) -> Vec<String> {
    let mut all = Vec::new();
    collect_pointers(json, String::new(), &mut all);
    all
}

fn collect_pointers(json: &Json, at: String, all: &mut Vec<String>) {
    let children: Vec<(String, &Json)> = match json {
        Json::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let at = format!("{at}/{name}");
        collect_pointers(child, at.clone(), all);
        all.push(at);
    }
}
