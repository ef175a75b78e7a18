//! Several keys looked up as of one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::Harness;
use super::support::{check_numbers, commit, declare, key, open, recorder, value};
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::record::Ragged;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::commit::{Batch, Change};
use crate::store::data_store::DataStore;
use crate::store::node::Node;
use crate::store::open_mode::OpenMode;

/// Each key gets its own result: nothing, a group, a value or a series, with attributes.
pub fn nodes_are_answered_in_the_order_of_their_keys(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.record("net/v", [1.5, 2.5]).unwrap();
    writer.set("net/seed", 42_u64).unwrap();
    for key in ["", "net", "net/v", "net/seed"] {
        let attributes = json!({ "of": key });
        let attributes = attributes.as_object().unwrap().clone();
        writer.set_attributes(key, attributes).unwrap();
    }
    writer.close().unwrap();
    drop(writer);

    let store = open(harness, OpenMode::Read);
    assert!(store.nodes(&[]).unwrap().is_empty());
    let keys = ["net/v", "nothing", "net", "net/v", "net/seed", "net/v/x"].map(key);
    let mut keys = keys.to_vec();
    keys.push(Key::ROOT);
    let nodes = store.nodes(&keys).unwrap();
    let kinds = nodes.iter().map(|node| node.as_ref().map(Node::kind));
    let (group, series) = (Some(NodeKind::Group), Some(NodeKind::Series));
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [
            series,
            None,
            group,
            series,
            Some(NodeKind::Value),
            None,
            group
        ]
    );
    for (key, node) in keys.iter().zip(&nodes) {
        if let Some(node) = node {
            let of = node.attributes().get("of").and_then(|of| of.as_str());
            assert_eq!(of, Some(key.as_str()), "the attributes of '{key}'");
        }
    }
    match &nodes[3..5] {
        [
            Some(Node::Series(view)),
            Some(Node::Value { value: seed, .. }),
        ] => {
            assert_eq!(view.key().as_str(), "net/v");
            assert_eq!(view.read::<f64>().unwrap().sum(), 4.0);
            assert_eq!(seed.as_ref().unwrap(), &value(42_u64));
        }
        other => panic!("not a series and a value: {other:?}"),
    }
    store.close().unwrap();
}

const COMMITS: u64 = 300;

/// A commit appends one record to each of these.
const KEYS: [&str; 4] = ["net/n", "net/rows", "net/text", "count"];

fn records(schema: &Arc<Schema>, record: impl crate::IntoValue) -> Records {
    let mut records = Records::empty(Arc::clone(schema));
    records.push(&record.as_record().unwrap());
    records
}

/// Commits one record of each series, and their number, repeatedly.
fn commit_all_the_time(store: &Arc<dyn DataStore>, done: &AtomicBool) {
    let schemas = [
        Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(16)),
        Schema::ragged::<u64>([]).with_chunk_policy(ChunkPolicy::records(16)),
        Schema::text(),
    ]
    .map(Arc::new);
    for index in 0..COMMITS {
        let batches = [
            records(&schemas[0], index),
            records(&schemas[1], Ragged(vec![index; index as usize % 5])),
            records(&schemas[2], index.to_string()),
        ];
        let appends = KEYS
            .iter()
            .zip(batches)
            .map(|(name, records)| Change::Append {
                batch: Arc::new(Batch::new(key(name), index, records)),
                prepared: None,
            });
        let mut changes: Vec<_> = appends.collect();
        changes.push(Change::Set {
            key: key("count"),
            value: Arc::new(value(index + 1)),
        });
        commit(store, changes).unwrap();
        if index % 50 == 49 {
            store.checkpoint().unwrap();
        }
    }
    done.store(true, Ordering::Release);
}

#[track_caller]
fn check_one_commit(nodes: &[Option<Node>]) -> u64 {
    match nodes {
        [
            Some(Node::Series(n)),
            Some(Node::Series(rows)),
            Some(Node::Series(text)),
            Some(Node::Value { value: count, .. }),
        ] => {
            let len = n.len();
            assert_eq!((rows.len(), text.len()), (len, len), "series of one commit");
            let count: u64 = count.clone().unwrap().try_into().unwrap();
            assert_eq!(count, len, "the value that was set with them");
            check_numbers(n, 0..len);
            if let Some(last) = len.checked_sub(1) {
                assert_eq!(text.get(last).unwrap(), value(last.to_string()));
                let row = Ragged(vec![last; last as usize % 5]);
                assert_eq!(rows.get(last).unwrap(), value(row));
            }
            len
        }
        other => panic!("not three series and a value: {other:?}"),
    }
}

/// Series that are always committed together have the same length in each result, while a writer commits and folds all
/// the time; for the store that writes, and for another one.
pub fn several_keys_are_looked_up_as_of_one_commit(harness: &dyn Harness) {
    let writer = open(harness, OpenMode::CreateNew);
    let mut changes = vec![
        declare(
            "net/n",
            Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(16)),
        ),
        declare(
            "net/rows",
            Schema::ragged::<u64>([]).with_chunk_policy(ChunkPolicy::records(16)),
        ),
        declare("net/text", Schema::text()),
    ];
    changes.push(Change::Set {
        key: key("count"),
        value: Arc::new(value(0_u64)),
    });
    commit(&writer, changes).unwrap();
    let mut readers = vec![Arc::clone(&writer)];
    if harness.allows_concurrent_readers() {
        readers.push(open(harness, OpenMode::Read));
    }
    let keys = KEYS.map(key);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| commit_all_the_time(&writer, &done));
        let mut lengths = vec![0; readers.len()];
        while !done.load(Ordering::Acquire) && !committing.is_finished() {
            for (reader, length) in readers.iter().zip(&mut lengths) {
                let now = check_one_commit(&reader.nodes(&keys).unwrap());
                assert!(now >= *length, "from {length} back to {now} records");
                *length = now;
            }
        }
        committing.join().unwrap();
    });
    for reader in &readers {
        assert_eq!(check_one_commit(&reader.nodes(&keys).unwrap()), COMMITS);
    }
    readers.iter().for_each(|reader| reader.close().unwrap());
}

/// A recorder reads a group as of one commit, including its buffered records.
pub fn a_group_is_read_with_its_series_values_and_coordinates(harness: &dyn Harness) {
    let writer = Recorder::with_options(
        open(harness, OpenMode::CreateNew),
        RecorderOptions::new().commit_interval(None),
    );
    let named = Schema::scalar::<f64>().with_dimension_names(["time"]);
    writer.declare("net/v", named).unwrap();
    writer.set("net/seed", 1_u64).unwrap();
    writer.record("net/deeper/x", 1.0).unwrap();
    for step in 0..10 {
        writer.record("net/time", f64::from(step)).unwrap();
        writer.record("net/v", 0.5).unwrap();
    }
    let check = |recorder: &Recorder| {
        let net = recorder.group("net").unwrap();
        assert_eq!(net.key().as_str(), "net");
        let series: Vec<_> = net
            .series()
            .map(|(name, view)| (name, view.len()))
            .collect();
        assert_eq!(series, [("time", 10), ("v", 10)]);
        assert_eq!(net.value_names().collect::<Vec<_>>(), ["seed"]);
        assert_eq!(net.group_names().collect::<Vec<_>>(), ["deeper"]);
        assert_eq!(net.value("seed").unwrap(), Some(&value(1_u64)));
        assert_eq!(net.value("v").unwrap(), None);
        assert!(net.view("seed").is_none() && net.view("v").is_some());
        let coordinates: Vec<_> = net.coordinates().map(|(name, _)| name).collect();
        assert_eq!(coordinates, ["time"]);
        let root = recorder.group("").unwrap();
        assert_eq!(root.group_names().collect::<Vec<_>>(), ["net"]);
        let error = recorder.group("net/v").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::KindMismatch, "{error}");
        let error = recorder.group("nett").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("net/"), "{error}");
    };
    check(&writer);
    writer.close().unwrap();
    drop(writer);
    check(&recorder(harness, OpenMode::Read));
}
