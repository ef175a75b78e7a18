//! Opening, closing, and reading only.

use serde_json::json;

use super::Harness;
use super::support::{
    append_numbers, attributes, check_numbers, check_reopened, check_value, children, commit,
    declare, expect_error, key, keys, open, recorder, set, set_attributes, truncate, value,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::recorder::Recorder;
use crate::store::commit::Batch;
use crate::store::commit::Change;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

fn fill(recorder: &Recorder) {
    (0..5_u64).for_each(|i| recorder.record("group/n", i).unwrap());
    recorder.set("value", 1).unwrap();
}

fn create(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    fill(&writer);
    writer
        .set_attributes("", attributes(json!({"of": "root"})))
        .unwrap();
    writer.close().unwrap();
}

/// A missing recording is neither read nor appended to.
pub fn a_recording_that_is_missing_is_created_only_if_asked(harness: &dyn Harness) {
    for mode in [OpenMode::Read, OpenMode::Append] {
        if harness.persists() {
            expect_error(harness.open(mode), ErrorKind::NotFound, &["open"]);
        } else {
            let found = recorder(harness, mode);
            assert!(keys(&found).is_empty());
            found.close().unwrap();
        }
    }
    for mode in [
        OpenMode::OpenOrCreate,
        OpenMode::CreateNew,
        OpenMode::Truncate,
    ] {
        let harness = harness.another();
        let writer = recorder(&*harness, mode);
        assert!(keys(&writer).is_empty());
        fill(&writer);
        writer.close().unwrap();
        drop(writer);
        check_reopened(&*harness, |reader| {
            check_numbers(&reader.get_all("group/n").unwrap(), 0..5);
        });
    }
}

/// An existing recording is kept unless the mode deletes it.
pub fn an_existing_recording_is_deleted_only_if_asked(harness: &dyn Harness) {
    create(harness);
    expect_error(
        harness.open(OpenMode::CreateNew),
        ErrorKind::AlreadyExists,
        &["open"],
    );
    for (mode, before) in [(OpenMode::Append, 5), (OpenMode::OpenOrCreate, 6)] {
        let writer = recorder(harness, mode);
        check_numbers(&writer.get_all("group/n").unwrap(), 0..before);
        writer.record("group/n", before).unwrap();
        writer.close().unwrap();
    }
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("group/n").unwrap(), 0..7);
        check_value(reader, "value", &value(1));
    });
    let writer = recorder(harness, OpenMode::Truncate);
    assert!(children(&writer, "").is_empty());
    assert_eq!(writer.attributes("").unwrap(), Some(Attributes::new()));
    // Another kind of record than before, at the same key.
    writer.record("group/n", "text").unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        assert_eq!(keys(reader), ["group/n"]);
        assert_eq!(
            reader.get_all("group/n").unwrap().read_text().unwrap(),
            ["text"]
        );
        assert_eq!(reader.attributes("").unwrap(), Some(Attributes::new()));
    });
}

/// A recording exists once it was created, even without records.
pub fn an_empty_recording_exists_once_it_was_created(harness: &dyn Harness) {
    recorder(harness, OpenMode::CreateNew).close().unwrap();
    if harness.persists() {
        let again = harness.open(OpenMode::CreateNew);
        expect_error(again, ErrorKind::AlreadyExists, &["open"]);
    } else {
        open(harness, OpenMode::CreateNew).close().unwrap();
    }
    check_reopened(harness, |reader| assert!(keys(reader).is_empty()));
    let writer = recorder(harness, OpenMode::Append);
    fill(&writer);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        assert_eq!(keys(reader), ["group/n", "value"])
    });
}

/// Checks what readers get from every store, open or closed.
#[track_caller]
fn check_readable(store: &dyn DataStore) {
    assert!(!store.name().is_empty());
    assert_eq!(store.children(&key("group")).unwrap().len(), 1);
    assert!(store.node(&key("group/n")).unwrap().is_some());
    assert_eq!(store.value(&key("value")).unwrap(), Some(value(1)));
    assert_eq!(
        store.attributes(&key("value")).unwrap(),
        Some(Attributes::new())
    );
    let view = store.series_view(&key("group/n")).unwrap();
    check_numbers(&view, 0..5);
    check_numbers(&view.refresh().unwrap(), 0..5);
}

fn batch() -> Batch {
    let records = Records::fixed(Schema::scalar::<u64>().into(), 1, vec![0; 8]);
    Batch::new(key("group/n"), 5, records.unwrap())
}

/// Every change is refused with the same kind of error, and has no effect.
#[track_caller]
fn check_refuses_changes(store: &dyn DataStore, kind: ErrorKind) {
    let append = || Change::Append {
        batch: batch().into(),
        prepared: None,
    };
    for change in [
        set("value", 2),
        set("new", 2),
        declare("new", Schema::text()),
        set_attributes("", json!({})),
        truncate("group/n", 0),
        append(),
    ] {
        expect_error(commit(store, vec![change]), kind, &[]);
    }
    expect_error(store.plan(&key("new"), Some(&Schema::text())), kind, &[]);
    expect_error(store.plan(&key("new"), None), kind, &[]);
    // The store may encode a batch or not, but must not panic.
    drop(store.prepare(&batch()));
}

/// A store that was opened read only can be read, and refuses everything else.
pub fn a_read_only_store_refuses_every_change(harness: &dyn Harness) {
    create(harness);
    let store = open(harness, OpenMode::Read);
    assert!(store.is_read_only());
    check_refuses_changes(&store, ErrorKind::ReadOnly);
    check_readable(&store);
    store.checkpoint().unwrap();
    store.close().unwrap();
    store.close().unwrap();
    check_readable(&store);
    drop(store);
    check_reopened(harness, |reader| {
        assert_eq!(keys(reader), ["group/n", "value"]);
        assert_eq!(reader.attributes("").unwrap().unwrap().len(), 1);
    });
}

/// A recorder whose store was opened read only returns an error immediately.
pub fn a_recorder_on_a_read_only_store_refuses_every_change(harness: &dyn Harness) {
    create(harness);
    let reader = recorder(harness, OpenMode::Read);
    let kind = ErrorKind::ReadOnly;
    expect_error(
        reader.record("group/n", 5_u64),
        kind,
        &["record", "group/n"],
    );
    expect_error(reader.record("new", 5_u64), kind, &["record", "new"]);
    expect_error(reader.set("value", 2), kind, &["set", "value"]);
    expect_error(
        reader.declare("new", Schema::text()),
        kind,
        &["declare", "new"],
    );
    expect_error(
        reader.set_attributes("", Attributes::new()),
        kind,
        &["set attributes"],
    );
    check_numbers(&reader.get_all("group/n").unwrap(), 0..5);
    assert_eq!(keys(&reader), ["group/n", "value"]);
    reader.close().unwrap();
    reader.close().unwrap();
}

/// After `close`, a store refuses changes; reads still work.
pub fn a_closed_store_refuses_changes_and_still_reads(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    assert!(!store.is_read_only());
    let changes = vec![
        set("value", 1),
        declare("group/n", Schema::scalar::<u64>()),
        append_numbers(&store, "group/n", 0, 0..5),
    ];
    commit(&store, changes).unwrap();
    let view = store.series_view(&key("group/n")).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    check_refuses_changes(&store, ErrorKind::Closed);
    expect_error(commit(&store, Vec::new()), ErrorKind::Closed, &[]);
    expect_error(store.checkpoint(), ErrorKind::Closed, &[]);
    check_readable(&store);
    check_numbers(&view, 0..5);
    drop(store);
    check_numbers(&view, 0..5);
    check_reopened(harness, |reader| {
        assert_eq!(keys(reader), ["group/n", "value"])
    });
}

/// Without other programs, `checkpoint_at_once` does the same as `checkpoint`.
pub fn a_checkpoint_at_once_is_one_where_no_other_program_is_waited_for(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    store.checkpoint_at_once().unwrap();
    let declare = vec![declare("group/n", Schema::scalar::<u64>())];
    commit(&store, declare).unwrap();
    for start in [0, 5] {
        let numbers = append_numbers(&store, "group/n", start, start..start + 5);
        commit(&store, vec![numbers]).unwrap();
        store.checkpoint_at_once().unwrap();
        let end = start + 5;
        check_numbers(&store.series_view(&key("group/n")).unwrap(), 0..end);
    }
    store.close().unwrap();
    expect_error(store.checkpoint_at_once(), ErrorKind::Closed, &[]);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("group/n").unwrap(), 0..10);
    });
}

/// After `close`, a recorder refuses every call; existing views remain readable.
pub fn a_closed_recorder_refuses_every_call(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    fill(&writer);
    let handle = writer.series::<u64>("group/n").unwrap();
    let view = writer.get_all("group/n").unwrap();
    let clone = writer.clone();
    writer.close().unwrap();
    let kind = ErrorKind::Closed;
    expect_error(clone.record("group/n", 5_u64), kind, &["record", "group/n"]);
    expect_error(clone.record("new", 5_u64), kind, &["record", "new"]);
    expect_error(handle.record(5_u64), kind, &["record"]);
    expect_error(clone.set("value", 2), kind, &["set"]);
    expect_error(clone.declare("new", Schema::text()), kind, &["declare"]);
    expect_error(
        clone.set_attributes("", Attributes::new()),
        kind,
        &["set attributes"],
    );
    expect_error(clone.series::<u64>("new").map(drop), kind, &[]);
    expect_error(clone.flush(), kind, &["flush"]);
    expect_error(clone.checkpoint(), kind, &["checkpoint"]);
    expect_error(clone.get("value"), kind, &["get"]);
    expect_error(clone.get_all("group/n"), kind, &["get_all"]);
    expect_error(clone.keys(), kind, &["keys"]);
    expect_error(clone.children(""), kind, &["children"]);
    expect_error(clone.attributes(""), kind, &["attributes"]);
    clone.close().unwrap();
    check_numbers(&view, 0..5);
    check_numbers(&view.refresh().unwrap(), 0..5);
}

/// A commit is durable without a checkpoint and without closing the store.
pub fn what_was_committed_is_there_without_closing(harness: &dyn Harness) {
    let mut len = 0;
    for (round, more) in [3, 1, 130, 0, 7].into_iter().enumerate() {
        let store = open(harness, OpenMode::OpenOrCreate);
        let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(8));
        let mut changes = vec![
            set("value", len),
            declare(&format!("new/{round}"), Schema::text()),
        ];
        if round == 0 {
            changes.push(declare("n", schema));
        }
        changes.push(append_numbers(&store, "n", len, len..len + more));
        commit(&store, changes).unwrap();
        let change = append_numbers(&store, "n", len + more, len + more..len + more + 2);
        commit(&store, vec![change]).unwrap();
        drop(store);
        let check = |recorder: &Recorder, len| {
            check_numbers(&recorder.get_all("n").unwrap(), 0..len);
            assert_eq!(children(recorder, "new").len(), round + 1);
        };
        check_reopened(harness, |reader| {
            check_value(reader, "value", &value(len));
            check(reader, len + more + 2);
        });
        len += more + 2;
    }
    let writer = recorder(harness, OpenMode::Append);
    writer.record("n", len).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..len + 1);
    });
}

/// One writer at a time, if the backend promises that.
pub fn a_second_writer_is_locked_out_or_may_write_too(harness: &dyn Harness) {
    create(harness);
    let writer = recorder(harness, OpenMode::Append);
    for mode in [OpenMode::Append, OpenMode::OpenOrCreate] {
        if harness.many_writers() {
            let second = recorder(harness, mode);
            check_numbers(&second.get_all("group/n").unwrap(), 0..5);
            second.set(format!("by {}", mode.as_str()), 1).unwrap();
            second.close().unwrap();
        } else {
            expect_error(harness.open(mode), ErrorKind::Locked, &["open"]);
        }
    }
    if !harness.many_writers() {
        expect_error(
            harness.open(OpenMode::Truncate),
            ErrorKind::Locked,
            &["open"],
        );
    }
    // The first writer is not disturbed.
    writer.record("group/n", 5_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("group/n").unwrap(), 0..6);
        let by = keys(reader)
            .iter()
            .filter(|key| key.starts_with("by "))
            .count();
        assert_eq!(by, if harness.many_writers() { 2 } else { 0 });
    });
    // Closed, it can be opened for writing again.
    let writer = recorder(harness, OpenMode::Append);
    writer.record("group/n", 6_u64).unwrap();
    writer.close().unwrap();
}

/// A reader sees flushed records while the recording is written.
pub fn a_reader_sees_what_a_writer_has_flushed(harness: &dyn Harness) {
    create(harness);
    let writer = recorder(harness, OpenMode::Append);
    if !harness.allows_concurrent_readers() {
        expect_error(harness.open(OpenMode::Read), ErrorKind::Locked, &["open"]);
        writer.close().unwrap();
        return;
    }
    let reader = recorder(harness, OpenMode::Read);
    let first = reader.get_all("group/n").unwrap();
    check_numbers(&first, 0..5);
    for len in 5..40 {
        writer.record("group/n", len).unwrap();
        writer.set("value", len).unwrap();
        writer.record(format!("new/{len}"), "text").unwrap();
        writer.flush().unwrap();
        if len % 7 == 0 {
            writer.checkpoint().unwrap();
        }
        check_numbers(&reader.get_all("group/n").unwrap(), 0..len + 1);
        check_numbers(&first.refresh().unwrap(), 0..len + 1);
        check_numbers(&first, 0..5);
        check_value(&reader, "value", &value(len));
        assert_eq!(children(&reader, "new").len() as u64, len - 4);
    }
    writer.close().unwrap();
    drop(writer);
    check_numbers(&reader.get_all("group/n").unwrap(), 0..40);
    check_numbers(&first.refresh().unwrap(), 0..40);
    reader.close().unwrap();
    check_numbers(&first, 0..5);
}

/// Readers exclude neither each other nor a later writer.
pub fn many_readers_may_be_open_at_once(harness: &dyn Harness) {
    create(harness);
    let readers: Vec<_> = (0..4).map(|_| recorder(harness, OpenMode::Read)).collect();
    for reader in &readers {
        check_numbers(&reader.get_all("group/n").unwrap(), 0..5);
        check_value(reader, "value", &value(1));
    }
    readers[0].close().unwrap();
    check_numbers(&readers[1].get_all("group/n").unwrap(), 0..5);
    readers.iter().for_each(|reader| reader.close().unwrap());
}
