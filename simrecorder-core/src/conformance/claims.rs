//! A writer claims the series of a group.

use serde_json::json;

use super::Harness;
use super::support::{
    append_numbers, check_numbers, claim, commit, declare, expect_error, key, open, set_attributes,
    truncate,
};
use crate::error::ErrorKind;
use crate::model::key::Key;
use crate::model::schema::Schema;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

fn len(store: &dyn DataStore, name: &str) -> u64 {
    store.series_view(&key(name)).unwrap().len()
}

/// A store with a claimed group of two series with five records.
fn claimed(harness: &dyn Harness) -> std::sync::Arc<dyn DataStore> {
    let store = open(harness, OpenMode::CreateNew);
    commit(&store, vec![set_attributes("net", json!({}))]).unwrap();
    let mut changes = vec![claim("net")];
    for name in ["net/time", "net/n"] {
        changes.push(declare(name, Schema::scalar::<u64>()));
        changes.push(append_numbers(&store, name, 0, 0..5));
    }
    commit(&store, changes).unwrap();
    store
}

/// A writer that claims a group, even twice, appends at the ends of its series.
pub fn a_claimed_group_takes_batches_that_start_at_its_end(harness: &dyn Harness) {
    let store = claimed(harness);
    commit(&store, vec![claim("net")]).unwrap();
    for start in [0, 4, 6] {
        let error = commit(&store, vec![append_numbers(&store, "net/n", start, 5..6)]);
        expect_error(error, ErrorKind::Internal, &["net/n", "5"]);
    }
    let changes = ["net/time", "net/n"].map(|name| append_numbers(&store, name, 5, 5..8));
    commit(&store, changes.into()).unwrap();
    store.close().unwrap();
    drop(store);

    let store = open(harness, OpenMode::Append);
    commit(&store, vec![claim("net")]).unwrap();
    for start in [0, 7, 9] {
        let error = commit(&store, vec![append_numbers(&store, "net/n", start, 8..9)]);
        expect_error(error, ErrorKind::Internal, &["net/n", "8"]);
    }
    commit(&store, vec![append_numbers(&store, "net/n", 8, 8..9)]).unwrap();
    let again = vec![
        truncate("net/n", 6),
        append_numbers(&store, "net/n", 6, 6..10),
    ];
    commit(&store, again).unwrap();
    for (name, len) in [("net/time", 8), ("net/n", 10)] {
        check_numbers(&store.series_view(&key(name)).unwrap(), 0..len);
    }
    store.close().unwrap();
}

/// A claim is a part of its commit, and invisible to readers.
pub fn a_claim_changes_nothing_that_is_read(harness: &dyn Harness) {
    let store = claimed(harness);
    let node = |name: &str| {
        let node = store.node(&Key::new_or_root(name).unwrap()).unwrap();
        node.map(|node| (node.kind(), node.attributes().clone()))
    };
    let before = ["", "net", "net/time", "net/n"].map(node);
    commit(&store, vec![claim(""), claim("net")]).unwrap();
    assert_eq!(["", "net", "net/time", "net/n"].map(node), before);
    assert_eq!(store.children(&Key::ROOT).unwrap().len(), 1);
    let failing = vec![claim("net"), append_numbers(&store, "net/none", 0, 0..1)];
    expect_error(commit(&store, failing), ErrorKind::NotFound, &["net/none"]);
    assert_eq!(len(&store, "net/n"), 5);
    store.close().unwrap();
    expect_error(
        commit(&store, vec![claim("net")]),
        ErrorKind::Closed,
        &["commit"],
    );
    drop(store);
    let reader = open(harness, OpenMode::Read);
    expect_error(
        commit(&reader, vec![claim("net")]),
        ErrorKind::ReadOnly,
        &["commit"],
    );
}

/// Another writer without a claim removes and renames a claimed group.
pub fn a_group_that_was_claimed_is_removed_and_renamed_by_a_later_writer(harness: &dyn Harness) {
    claimed(harness).close().unwrap();
    let store = open(harness, OpenMode::Append);
    store.rename(&key("net"), &key("old")).unwrap();
    for name in ["old/time", "old/n"] {
        check_numbers(&store.series_view(&key(name)).unwrap(), 0..5);
    }
    store.remove(&key("old/n")).unwrap();
    store.remove(&key("old")).unwrap();
    // The new series at the key has none of the old records.
    let mut changes = vec![declare("net/n", Schema::scalar::<u64>())];
    changes.push(append_numbers(&store, "net/n", 0, 0..3));
    commit(&store, changes).unwrap();
    store.close().unwrap();
    drop(store);
    let reader = open(harness, OpenMode::Read);
    check_numbers(&reader.series_view(&key("net/n")).unwrap(), 0..3);
}

/// The claim of a group moves with it, and ends with it.
pub fn a_claim_follows_its_group(harness: &dyn Harness) {
    let store = claimed(harness);
    store.rename(&key("net"), &key("moved/net")).unwrap();
    let name = "moved/net/n";
    let error = commit(&store, vec![append_numbers(&store, name, 0, 5..6)]);
    expect_error(error, ErrorKind::Internal, &[name, "5"]);
    commit(&store, vec![append_numbers(&store, name, 5, 5..6)]).unwrap();
    check_numbers(&store.series_view(&key(name)).unwrap(), 0..6);
    store.remove(&key("moved")).unwrap();
    let changes = vec![
        declare(name, Schema::scalar::<u64>()),
        append_numbers(&store, name, 0, 0..2),
    ];
    commit(&store, changes).unwrap();
    check_numbers(&store.series_view(&key(name)).unwrap(), 0..2);
    store.close().unwrap();
}
