//! A commit takes effect completely or not at all.

use std::sync::Arc;

use serde_json::json;

use super::Harness;
use super::support::{
    append, append_numbers, attributes, check_numbers, commit, declare, expect_error, key, open,
    set, set_attributes, truncate, value,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::store::commit::{Change, Commit};
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

/// Everything that is visible in a store.
#[derive(Debug, PartialEq)]
struct Contents {
    nodes: Vec<(Key, NodeKind, Option<Attributes>)>,
    values: Vec<Option<Value>>,
    records: Vec<Vec<Value>>,
}

fn contents(store: &dyn DataStore) -> Contents {
    let mut nodes = vec![(
        Key::ROOT,
        NodeKind::Group,
        store.attributes(&Key::ROOT).unwrap(),
    )];
    let (mut values, mut records) = (Vec::new(), Vec::new());
    let mut next = 0;
    while let Some((key, kind, _)) = nodes.get(next).cloned() {
        next += 1;
        assert_eq!(
            store.node(&key).unwrap().map(|node| node.kind()),
            Some(kind),
            "{key}"
        );
        let children = store.children(&key).unwrap();
        nodes.extend(children.into_iter().map(|child| {
            let attributes = store.attributes(&child.key).unwrap();
            (child.key, child.kind, attributes)
        }));
        values.push(store.value(&key).unwrap());
        if let Some(view) = store.view(&key).unwrap() {
            records.push(view.iter().map(|record| record.unwrap()).collect());
        }
    }
    Contents {
        nodes,
        values,
        records,
    }
}

/// A store with some of everything in it.
fn filled(harness: &dyn Harness) -> Arc<dyn DataStore> {
    let store = open(harness, OpenMode::CreateNew);
    let changes = vec![
        declare("net/n", Schema::scalar::<u64>()),
        append_numbers(&store, "net/n", 0, 0..5),
        declare("net/text", Schema::text()),
        append(
            &store,
            "net/text",
            Schema::text(),
            0,
            &["a", "b"].map(value),
        ),
        declare("net/rows", Schema::ragged::<u64>([])),
        append(
            &store,
            "net/rows",
            Schema::ragged::<u64>([]),
            0,
            &[value([1_u64, 2])],
        ),
        set("value", 1.5),
        set_attributes("", json!({"of": "root"})),
        set_attributes("net/n", json!({"units": "mV"})),
        set_attributes("group", json!({"of": "group"})),
    ];
    commit(&store, changes).unwrap();
    store
}

/// Valid changes of every kind.
fn good(store: &dyn DataStore) -> Vec<Change> {
    vec![
        declare("new/series", Schema::scalar::<u64>()),
        append_numbers(store, "new/series", 0, 0..3),
        append_numbers(store, "net/n", 5, 5..9),
        append(store, "net/text", Schema::text(), 2, &[value("c")]),
        append(
            store,
            "net/rows",
            Schema::ragged::<u64>([]),
            1,
            &[value([7_u64])],
        ),
        set("value", "another type"),
        set("new/value", [1, 2, 3]),
        set_attributes("", json!({"of": "another root"})),
        set_attributes("net/n", json!({})),
        set_attributes("group", json!({"more": 1})),
        set_attributes("new group", json!({"more": 1})),
        truncate("net/text", 1),
    ]
}

/// If the last change is invalid in any way, no change before it takes effect.
pub fn a_commit_whose_last_change_is_bad_changes_nothing(harness: &dyn Harness) {
    let store = filled(harness);
    let before = contents(&store);
    let wrong_shape = Schema::array::<u64>([2]);
    let bad: Vec<(&str, Vec<ErrorKind>, Change)> = vec![
        (
            "a batch after the end",
            vec![ErrorKind::Internal],
            append_numbers(&store, "net/n", 10, 10..11),
        ),
        (
            "a batch before the end",
            vec![ErrorKind::Internal],
            append_numbers(&store, "net/n", 8, 8..9),
        ),
        (
            "a batch of another shape",
            vec![ErrorKind::SchemaMismatch],
            append(
                &store,
                "net/n",
                wrong_shape.clone(),
                9,
                &[value([1_u64, 2])],
            ),
        ),
        (
            "a batch of a series that was not declared",
            vec![ErrorKind::NotFound, ErrorKind::Internal],
            append_numbers(&store, "nowhere", 0, 0..1),
        ),
        (
            "a batch for a value",
            vec![ErrorKind::KindMismatch],
            append_numbers(&store, "value", 0, 0..1),
        ),
        (
            "a batch for a group",
            vec![ErrorKind::KindMismatch],
            append_numbers(&store, "net", 0, 0..1),
        ),
        (
            "a value on a series",
            vec![ErrorKind::KindMismatch],
            set("net/n", 1),
        ),
        (
            "a value on a group",
            vec![ErrorKind::KindMismatch],
            set("net", 1),
        ),
        (
            "a value below a value",
            vec![ErrorKind::KindMismatch],
            set("value/below", 1),
        ),
        (
            "a series below a series",
            vec![ErrorKind::KindMismatch],
            declare("net/n/below/far", Schema::text()),
        ),
        (
            "another series on a series",
            vec![ErrorKind::SchemaMismatch],
            declare("net/n", wrong_shape),
        ),
        (
            "a series on a value",
            vec![ErrorKind::KindMismatch],
            declare("value", Schema::text()),
        ),
        (
            "attributes below a value",
            vec![ErrorKind::KindMismatch],
            set_attributes("value/below", json!({})),
        ),
        (
            "a cut of nothing",
            vec![ErrorKind::NotFound],
            truncate("nowhere", 0),
        ),
        (
            "a value at the root",
            vec![ErrorKind::KindMismatch],
            Change::Set {
                key: Key::ROOT,
                value: Arc::new(value(1)),
            },
        ),
        (
            "a series at the root",
            vec![ErrorKind::KindMismatch],
            Change::Declare {
                key: Key::ROOT,
                schema: Arc::new(Schema::text()),
                filled: 0,
            },
        ),
        (
            "a clash with what the commit itself made",
            vec![ErrorKind::KindMismatch],
            set("new/series/below", 1),
        ),
        (
            "another clash with what the commit itself made",
            vec![ErrorKind::KindMismatch],
            set("new", 1),
        ),
    ];
    for (what, kinds, change) in bad {
        let mut changes = good(&store);
        changes.push(change);
        let error = commit(&store, changes).expect_err(what);
        assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
        assert_eq!(contents(&store), before, "after {what}");
    }
    // The store still works after all these failures.
    commit(&store, good(&store)).unwrap();
    let after = contents(&store);
    assert_ne!(after, before);
    check_numbers(&store.series_view(&key("net/n")).unwrap(), 0..9);
    store.close().unwrap();
    assert_eq!(contents(&store), after, "after close");
    drop(store);
    assert_eq!(
        contents(&open(harness, OpenMode::Read)),
        after,
        "after reopening"
    );
}

/// The root is a group, even in a store that was never written to.
pub fn the_root_becomes_no_value_and_no_series(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let value = || Change::Set {
        key: Key::ROOT,
        value: Arc::new(self::value(1)),
    };
    let series = || Change::Declare {
        key: Key::ROOT,
        schema: Arc::new(Schema::text()),
        filled: 0,
    };
    let cut = || Change::Truncate {
        key: Key::ROOT,
        len: 0,
    };
    let empty = contents(&store);
    for change in [value(), series()] {
        expect_error(
            commit(&store, vec![change]),
            ErrorKind::KindMismatch,
            &["group"],
        );
        assert_eq!(contents(&store), empty);
    }
    assert!(commit(&store, vec![cut()]).is_err());
    commit(
        &store,
        vec![set_attributes("", json!({"x": 1})), set("value", 1)],
    )
    .unwrap();
    let before = contents(&store);
    for change in [value(), series(), cut()] {
        expect_error(
            commit(&store, vec![change]),
            ErrorKind::KindMismatch,
            &["group"],
        );
        assert_eq!(contents(&store), before);
    }
    store.close().unwrap();
}

/// An invalid change does no harm at any position.
pub fn a_commit_whose_first_change_is_bad_changes_nothing(harness: &dyn Harness) {
    let store = filled(harness);
    let before = contents(&store);
    let mut changes = vec![append_numbers(&store, "net/n", 6, 6..7)];
    changes.extend(good(&store));
    expect_error(commit(&store, changes), ErrorKind::Internal, &["net/n"]);
    assert_eq!(contents(&store), before);
    store.close().unwrap();
    drop(store);
    assert_eq!(contents(&open(harness, OpenMode::Read)), before);
}

/// A batch that does not start at the end of its series is refused, with an error that names both positions.
pub fn a_batch_that_starts_at_the_wrong_record_is_refused(harness: &dyn Harness) {
    let store = filled(harness);
    for start in [0, 4, 6, 100, u64::MAX] {
        let change = append_numbers(&store, "net/n", start, 0..1);
        let parts = ["net/n", "5", &start.to_string()];
        expect_error(commit(&store, vec![change]), ErrorKind::Internal, &parts);
    }
    let rows = Schema::ragged::<u64>([]);
    for (key, schema, record) in [
        ("net/text", Schema::text(), value("c")),
        ("net/rows", rows, value([1_u64])),
    ] {
        for start in [0, 9] {
            let change = append(
                &store,
                key,
                schema.clone(),
                start,
                std::slice::from_ref(&record),
            );
            expect_error(commit(&store, vec![change]), ErrorKind::Internal, &[key]);
        }
    }
    check_numbers(&store.series_view(&key("net/n")).unwrap(), 0..5);
    commit(&store, vec![append_numbers(&store, "net/n", 5, 5..6)]).unwrap();
    check_numbers(&store.series_view(&key("net/n")).unwrap(), 0..6);
    store.close().unwrap();
}

/// Planning a series, and encoding batches of it, has no visible effect.
pub fn planning_and_preparing_change_nothing(harness: &dyn Harness) {
    let store = filled(harness);
    let before = contents(&store);
    let eight = Schema::array::<f32>([3]).with_chunk_policy(ChunkPolicy::records(8));
    let records = store.plan(&key("new/series"), Some(&eight)).unwrap();
    assert!(
        (1..=8).contains(&records),
        "{records} records are more than asked for"
    );
    for schema in [
        Schema::text(),
        Schema::ragged::<u8>([2]),
        Schema::scalar::<u64>(),
    ] {
        for name in ["new/series", "net/n", "x"] {
            // At a key with another node, an error is allowed too.
            if let Ok(records) = store.plan(&key(name), Some(&schema)) {
                assert!(records > 0, "no record fits a chunk of {schema}");
            }
        }
    }
    assert!(store.plan(&key("new/value"), None).unwrap() > 0);
    for prepared in [
        append_numbers(&store, "net/n", 5, 5..500),
        append_numbers(&store, "new/series", 0, 0..500),
        append(&store, "new/text", Schema::text(), 0, &[value("x")]),
    ] {
        assert_eq!(contents(&store), before);
        drop(prepared);
    }
    assert_eq!(contents(&store), before);
    store.close().unwrap();
}

/// Batches may be encoded ahead of earlier commits, even before their series exists.
pub fn batches_may_be_prepared_long_before_their_commit(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(8));
    let batches: Vec<_> = [0..5, 5..8, 8..30, 30..33]
        .into_iter()
        .map(|range| append_numbers(&store, "n", range.start, range))
        .collect();
    commit(&store, vec![declare("n", schema)]).unwrap();
    for batch in batches {
        commit(&store, vec![set("other", 1), batch]).unwrap();
        store.checkpoint().unwrap();
    }
    check_numbers(&store.series_view(&key("n")).unwrap(), 0..33);
    store.close().unwrap();
    drop(store);
    let store = open(harness, OpenMode::Read);
    check_numbers(&store.series_view(&key("n")).unwrap(), 0..33);
}

/// Commits without changes, and batches without records.
pub fn empty_commits_and_empty_batches_change_nothing(harness: &dyn Harness) {
    let store = filled(harness);
    let before = contents(&store);
    commit(&store, Vec::new()).unwrap();
    store.commit(Commit::default()).unwrap();
    commit(&store, vec![append_numbers(&store, "net/n", 5, 5..5)]).unwrap();
    commit(
        &store,
        vec![append(&store, "net/text", Schema::text(), 2, &[])],
    )
    .unwrap();
    assert_eq!(contents(&store), before);
    store.close().unwrap();
    assert_eq!(contents(&store), before);
}

/// Declaring a series again with the same kind of records changes nothing.
pub fn declaring_a_series_again_changes_nothing(harness: &dyn Harness) {
    let store = filled(harness);
    let before = contents(&store);
    let again = Schema::scalar::<u64>()
        .with_units("ms")
        .with_attribute("new", 1);
    commit(&store, vec![declare("net/n", again)]).unwrap();
    assert_eq!(contents(&store), before);
    store.close().unwrap();
    drop(store);
    assert_eq!(contents(&open(harness, OpenMode::Read)), before);
}

/// A commit makes one change after the other: the last change of a key counts.
pub fn the_changes_of_a_commit_take_effect_in_their_order(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    let changes = vec![
        set("value", 1),
        set_attributes("value", json!({"first": 1})),
        set("value", "two"),
        set_attributes("group", json!({"first": 1})),
        declare("group/n", Schema::scalar::<u64>().with_units("mV")),
        append_numbers(&store, "group/n", 0, 0..3),
        set_attributes("group", json!({"second": 2})),
        append_numbers(&store, "group/n", 3, 3..9),
        set("value", [3, 4]),
    ];
    commit(&store, changes).unwrap();
    let check = |store: &dyn DataStore| {
        assert_eq!(store.value(&key("value")).unwrap(), Some(value([3, 4])));
        let expect = |name: &str, json| {
            let found = store.attributes(&key(name)).unwrap();
            assert_eq!(found, Some(attributes(json)), "{name}");
        };
        expect("value", json!({"first": 1}));
        expect("group", json!({"second": 2}));
        expect("group/n", json!({"units": "mV"}));
        check_numbers(&store.series_view(&key("group/n")).unwrap(), 0..9);
    };
    check(&store);
    store.close().unwrap();
    drop(store);
    check(&open(harness, OpenMode::Read));
}
