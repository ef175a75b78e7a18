//! The contents of copies: from the backend to memory, from memory to the backend, and within the backend.

use std::sync::Arc;

use ndarray::Array2;
use proptest::prelude::*;
use serde_json::json;

use super::Harness;
use super::support::{
    attributes, commit, expect_error, for_random, inline, key, open, recorder, show, truncate,
};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::compression::Compression;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::data_store::DataStore;
use crate::store::data_store::DataStoreExt;
use crate::store::open_mode::OpenMode;
use crate::tools::copy::{CopyOptions, CopyProgress, copy as copy_with};
use crate::tools::verify::verify;

fn copy(from: &dyn DataStore, to: &dyn DataStore) -> CopyProgress {
    copy_with(from, to, CopyOptions::new()).unwrap()
}

/// All keys with their kinds, groups before their contents.
pub(super) fn nodes(store: &dyn DataStore) -> Vec<(Key, NodeKind)> {
    let mut found = vec![(Key::ROOT, NodeKind::Group)];
    let mut next = 0;
    while let Some((key, _)) = found.get(next).cloned() {
        next += 1;
        let children = store.children(&key).unwrap();
        found.extend(children.into_iter().map(|child| (child.key, child.kind)));
    }
    found
}

#[track_caller]
pub(super) fn assert_same_series(found: &dyn ArrayView, expected: &dyn ArrayView) {
    let name = found.key();
    let of = |view: &dyn ArrayView| {
        let schema = view.schema();
        let names = schema.dimension_names().map(<[_]>::to_vec);
        let fill_value = schema.fill_value().cloned();
        (
            schema.to_string(),
            names,
            fill_value,
            schema.attributes().clone(),
        )
    };
    assert_eq!(of(found), of(expected), "the schema of '{name}'");
    assert_eq!(found.shape(), expected.shape(), "the shape of '{name}'");
    for (i, (found, expected)) in found.iter().zip(expected.iter()).enumerate() {
        let (found, expected) = (found.unwrap(), expected.unwrap());
        assert!(
            found == expected,
            "record {i} of '{name}' is {}, not {}",
            show(&found),
            show(&expected)
        );
    }
}

/// Checks that two stores have the same contents.
#[track_caller]
fn assert_same(found: &dyn DataStore, expected: &dyn DataStore) {
    assert_eq!(nodes(found), nodes(expected));
    assert_sound(found);
    assert_sound(expected);
    for (key, _) in nodes(expected) {
        assert_eq!(
            found.attributes(&key).unwrap(),
            expected.attributes(&key).unwrap(),
            "the attributes of '{key}'"
        );
        let (value, original) = (found.value(&key).unwrap(), expected.value(&key).unwrap());
        assert!(
            value == original,
            "the value at '{key}': {value:?} is not {original:?}"
        );
        let (view, original) = (found.view(&key).unwrap(), expected.view(&key).unwrap());
        if let (Some(view), Some(original)) = (view, original) {
            assert_same_series(&view, &original);
        }
    }
}

/// [`verify()`] finds every key and all records, and no damage.
#[track_caller]
fn assert_sound(store: &dyn DataStore) {
    let report = verify(store).unwrap();
    assert!(report.is_sound(), "{report}");
    let mut found: Vec<_> = report.keys.iter().map(|it| (&it.key, it.kind)).collect();
    let nodes = nodes(store);
    let mut expected: Vec<_> = nodes.iter().map(|(key, kind)| (key, *kind)).collect();
    found.sort_unstable_by_key(|(key, _)| *key);
    expected.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(found, expected);
    for verified in &report.keys {
        let view = store.view(&verified.key).unwrap();
        assert_eq!(verified.record_count, view.map_or(0, |view| view.len()));
    }
}

/// Groups, values and series of all kinds; series with more than a chunk, with less, and without records.
pub(super) fn declare_all(recorder: &Recorder) {
    let small = ChunkPolicy::records(7);
    let names = ["time", "x"];
    let v = Schema::array::<f32>([3])
        .with_dimension_names(names)
        .with_units("mV");
    let v = v.with_fill_value(f32::NAN).with_chunk_policy(small.clone());
    recorder.declare("net/v", v).unwrap();
    let split = ChunkPolicy::target_bytes(64);
    let split = Schema::array::<u16>([5, 9]).with_chunk_policy(split);
    recorder
        .declare("net/split", split.with_compression(Compression::Small))
        .unwrap();
    let rows = Schema::ragged::<u32>([2]).with_dimension_names(["event"]);
    let rows = rows.with_chunk_policy(ChunkPolicy::target_bytes(100));
    recorder
        .declare("net/rows", rows.with_attribute("of", json!([1, null])))
        .unwrap();
    let text = Schema::text().with_chunk_policy(small.clone());
    recorder
        .declare("log", text.with_compression(Compression::None))
        .unwrap();
    recorder
        .declare("bytes", Schema::bytes().with_chunk_policy(small))
        .unwrap();
    recorder
        .declare("none/array", Schema::array::<f64>([2, 0]))
        .unwrap();
    recorder
        .declare("none/rows", Schema::ragged::<f64>([]))
        .unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    recorder
        .set("meta/matrix", [[1.5, -0.0], [f64::NAN, 2.0]])
        .unwrap();
    recorder.set("meta/text", "größe").unwrap();
    recorder.set("meta/bytes", Blob([0, 255])).unwrap();
    recorder
        .set("meta/object", Object(json!({"a": [1, null]})))
        .unwrap();
    for (key, name) in [
        ("", "title"),
        ("net", "units"),
        ("empty/group", "x"),
        ("meta/seed", "y"),
    ] {
        recorder
            .set_attributes(key, attributes(json!({name: {"of": key}})))
            .unwrap();
    }
    recorder
        .set_attributes("bare", attributes(json!({})))
        .unwrap();
    // Attributes may be replaced after the series was declared.
    recorder
        .set_attributes("log", attributes(json!({"language": "de"})))
        .unwrap();
}

pub(super) fn record_all(recorder: &Recorder, steps: std::ops::Range<u64>) {
    for i in steps {
        recorder
            .record("net/v", [i as f32, -0.0, f32::INFINITY])
            .unwrap();
        recorder
            .record("net/split", Array2::from_elem((5, 9), i as u16))
            .unwrap();
        let row = Array2::from_elem((i as usize % 4 * 3, 2), i as u32);
        recorder.record("net/rows", Ragged(row)).unwrap();
        recorder
            .record("log", "ü🧠".repeat(i as usize % 5))
            .unwrap();
        recorder
            .record("bytes", Blob(vec![i as u8; i as usize % 9]))
            .unwrap();
        recorder.record("object", Object(json!({"i": i}))).unwrap();
        recorder.record("short", i).unwrap();
        if i % 10 == 0 {
            recorder.record("empty rows", Ragged([0_i8; 0])).unwrap();
        }
    }
}

/// A recording in memory with all of these.
fn original() -> InMemoryDataStore {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), inline());
    declare_all(&recorder);
    record_all(&recorder, 0..30);
    recorder.close().unwrap();
    store.open(OpenMode::Append).unwrap()
}

/// Everything is equal in the copy, from and to memory, and between recordings of the backend,
/// in any state of the original.
pub fn a_copy_holds_what_its_original_holds(harness: &dyn Harness) {
    let copy_and_check = |from: &dyn DataStore, expected: &dyn DataStore| {
        let in_memory = InMemoryDataStore::new();
        copy(from, &in_memory);
        assert_same(&in_memory, expected);
        for from in [from, &in_memory] {
            let harness = harness.another();
            let to = open(&*harness, OpenMode::CreateNew);
            copy(from, &to);
            assert_same(&to, expected);
            to.close().unwrap();
            drop(to);
            assert_same(&open(&*harness, OpenMode::Read), expected);
        }
    };
    let store = open(harness, OpenMode::CreateNew);
    let expected = InMemoryDataStore::new();
    let recorders = [store.clone(), Arc::new(expected.clone()) as _]
        .map(|store| Recorder::with_options(store, inline()));
    recorders.iter().for_each(declare_all);
    copy_and_check(&store, &expected);
    for steps in [0..20, 20..24, 24..50] {
        for recorder in &recorders {
            record_all(recorder, steps.clone());
            recorder.flush().unwrap();
        }
        copy_and_check(&store, &expected);
        if steps.end == 20 {
            recorders[0].checkpoint().unwrap();
            copy_and_check(&store, &expected);
        }
    }
    recorders[0].close().unwrap();
    drop((recorders, store));
    copy_and_check(&open(harness, OpenMode::Read), &expected);
}

/// Series with any chunks and lengths, with and without tails, cut or not.
pub fn copies_of_random_recordings_are_whole(harness: &dyn Harness) {
    #[derive(Clone, Copy, Debug)]
    enum Then {
        Flush,
        Checkpoint,
        Cut(u64),
    }
    let then = prop_oneof![
        3 => Just(Then::Flush),
        2 => Just(Then::Checkpoint),
        1 => (0..40_u64).prop_map(Then::Cut)
    ];
    let steps = prop::collection::vec((0..25_u64, then), 1..6);
    for_random(
        24,
        &(1..9_u64, 1..90_u64, steps),
        |(records, bytes, steps)| {
            let harness = harness.another();
            let store = open(&*harness, OpenMode::CreateNew);
            let recorder = Recorder::with_options(store.clone(), inline());
            let [by_number, by_size] = [
                ChunkPolicy::records(records),
                ChunkPolicy::target_bytes(bytes),
            ];
            let declare = |key, schema: Schema, policy: &ChunkPolicy| {
                recorder
                    .declare(key, schema.with_chunk_policy(policy.clone()))
                    .unwrap();
            };
            declare("numbers", Schema::array::<u16>([3]), &by_number);
            declare("text", Schema::text(), &by_number);
            declare("rows", Schema::ragged::<u8>([]), &by_size);
            declare("points", Schema::ragged::<u16>([2]), &by_number);
            for (count, then) in steps {
                for i in 0..count {
                    recorder.record("numbers", [i as u16; 3]).unwrap();
                    recorder.record("text", "x".repeat(i as usize % 7)).unwrap();
                    recorder
                        .record("rows", Ragged(vec![i as u8; i as usize * i as usize % 31]))
                        .unwrap();
                    recorder
                        .record(
                            "points",
                            Ragged(Array2::from_elem((i as usize % 3, 2), 1_u16)),
                        )
                        .unwrap();
                }
                recorder.flush().unwrap();
                match then {
                    Then::Flush => {}
                    Then::Checkpoint => recorder.checkpoint().unwrap(),
                    Then::Cut(keep) => {
                        let keys = ["numbers", "text", "rows", "points"];
                        commit(&store, keys.map(|key| truncate(key, keep)).into()).unwrap();
                        break;
                    }
                }
            }
            let another = harness.another();
            let to = open(&*another, OpenMode::CreateNew);
            copy(&store, &to);
            assert_same(&to, &store);
        },
    );
}

/// Records that are appended to a copy are after the copied ones.
pub fn a_copy_is_appended_to_where_its_original_ended(harness: &dyn Harness) {
    let original = original();
    let store = open(harness, OpenMode::CreateNew);
    copy(&original, &store);
    let another = harness.another();
    let again = open(&*another, OpenMode::CreateNew);
    copy(&store, &again);
    store.close().unwrap();
    drop(store);
    let go_on = |store: Arc<dyn DataStore>| {
        let recorder = Recorder::with_options(store, inline());
        record_all(&recorder, 30..60);
        recorder.flush().unwrap();
        recorder
    };
    go_on(Arc::new(original.clone()));
    go_on(again.clone());
    assert_same(&again, &original);
    let reopened = open(harness, OpenMode::Append);
    go_on(reopened.clone()).checkpoint().unwrap();
    assert_same(&reopened, &original);
}

/// Chunks and compression may be left to the target.
pub fn a_copy_that_is_encoded_again_holds_the_same(harness: &dyn Harness) {
    let original = original();
    let stores = [harness.another(), harness.another()];
    let [first, second] = [&stores[0], &stores[1]].map(|it| open(&**it, OpenMode::CreateNew));
    copy(&original, &first);
    copy_with(&first, &second, CopyOptions::new().reencode(true)).unwrap();
    assert_same(&second, &original);
    let chunks = |store: &dyn DataStore| {
        let view = store.view(&key("net/v")).unwrap().unwrap();
        view.chunk_shape()[0]
    };
    assert!(chunks(&first) <= 7 && chunks(&second) >= chunks(&first));
}

/// Other keys of the target do not change; a group in both gets the attributes of both.
pub fn a_recording_is_copied_into_one_that_holds_other_keys(harness: &dyn Harness) {
    let original = original();
    let to = recorder(harness, OpenMode::CreateNew);
    to.record("net/other", 1.5).unwrap();
    to.set_attributes("", attributes(json!({"title": "old", "author": "x"})))
        .unwrap();
    to.close().unwrap();
    drop(to);
    let to = open(harness, OpenMode::Append);
    copy(&original, &to);
    let expected = original.clone();
    let recorder = Recorder::with_options(expected.clone(), inline());
    recorder.record("net/other", 1.5).unwrap();
    let root = json!({"title": {"of": ""}, "author": "x"});
    recorder.set_attributes("", attributes(root)).unwrap();
    recorder.flush().unwrap();
    assert_same(&to, &expected);
}

/// A copy of one key, or of one group with everything below it, creates the groups above.
pub fn a_part_of_a_recording_is_copied_alone(harness: &dyn Harness) {
    let original = original();
    let parts = [
        ("net", 3),
        ("net/rows", 1),
        ("meta/seed", 1),
        ("empty", 0),
        ("bare", 0),
    ];
    for (part, count) in parts {
        let harness = harness.another();
        let to = open(&*harness, OpenMode::CreateNew);
        let copied = copy_with(&original, &to, CopyOptions::new().only(key(part))).unwrap();
        assert_eq!(
            (copied.key_count, copied.key_total),
            (count, count),
            "{part}"
        );
        let all = nodes(&original).into_iter();
        let expected = all.filter(|(it, _)| it.is_within(&key(part)) || key(part).is_within(it));
        assert_eq!(nodes(&to), expected.collect::<Vec<_>>(), "{part}");
        for (key, _) in nodes(&to)
            .into_iter()
            .filter(|(it, _)| it.is_within(&key(part)))
        {
            assert_eq!(
                to.attributes(&key).unwrap(),
                original.attributes(&key).unwrap()
            );
        }
        if let Some(view) = original.view(&key(part)).unwrap() {
            assert_same_series(&to.view(&key(part)).unwrap().unwrap(), &view);
        }
    }
    let to = open(harness, OpenMode::CreateNew);
    let missing = copy_with(&original, &to, CopyOptions::new().only(key("no/such")));
    expect_error(missing, ErrorKind::NotFound, &["no/such"]);
}

/// A key that the target already has, or does not support, is an error before anything is written.
pub fn a_copy_that_clashes_writes_nothing(harness: &dyn Harness) {
    let original = original();
    type Occupy = fn(&Recorder);
    let clashes: [(Occupy, ErrorKind, &str); 7] = [
        (
            |r| r.record("net/v", 1.5).unwrap(),
            ErrorKind::AlreadyExists,
            "net/v",
        ),
        (
            |r| r.record("short", 1_u64).unwrap(),
            ErrorKind::AlreadyExists,
            "short",
        ),
        (
            |r| r.set("meta/seed", 1).unwrap(),
            ErrorKind::AlreadyExists,
            "meta/seed",
        ),
        (
            |r| r.set("net/v", 1).unwrap(),
            ErrorKind::KindMismatch,
            "net/v",
        ),
        (
            |r| r.record("meta/seed", 1).unwrap(),
            ErrorKind::KindMismatch,
            "meta/seed",
        ),
        (
            |r| r.record("net/v/below", 1).unwrap(),
            ErrorKind::KindMismatch,
            "net/v",
        ),
        (
            |r| r.set("empty", 1).unwrap(),
            ErrorKind::KindMismatch,
            "empty",
        ),
    ];
    for (occupy, kind, name) in clashes {
        let harness = harness.another();
        let to = recorder(&*harness, OpenMode::CreateNew);
        occupy(&to);
        to.close().unwrap();
        drop(to);
        let to = open(&*harness, OpenMode::Append);
        let before = InMemoryDataStore::new();
        copy(&to, &before);
        expect_error(copy_with(&original, &to, CopyOptions::new()), kind, &[name]);
        assert_same(&to, &before);
    }
    // A recording cannot be copied into itself, and a series has no keys below it.
    let to = open(harness, OpenMode::CreateNew);
    copy(&original, &to);
    let itself = copy_with(&to, &to, CopyOptions::new());
    expect_error(itself, ErrorKind::AlreadyExists, &[]);
    let below = InMemoryDataStore::new();
    Recorder::with_options(below.clone(), inline())
        .record("short/below/it", 1)
        .unwrap();
    let result = copy_with(&below, &to, CopyOptions::new().only(key("short/below/it")));
    expect_error(result, ErrorKind::KindMismatch, &["short"]);
    assert_same(&to, &original);
}

/// A copy into a store that is read only or closed is an error, even if there is nothing to copy.
pub fn a_copy_into_a_store_that_is_not_written_is_refused(harness: &dyn Harness) {
    let closed = open(harness, OpenMode::CreateNew);
    closed.close().unwrap();
    for from in [original(), InMemoryDataStore::new()] {
        let refused = copy_with(&from, &closed, CopyOptions::new());
        expect_error(refused, ErrorKind::Closed, &[]);
        let read_only = open(harness, OpenMode::Read);
        let refused = copy_with(&from, &read_only, CopyOptions::new());
        expect_error(refused, ErrorKind::ReadOnly, &[]);
    }
}

/// A recording without keys.
pub fn an_empty_recording_is_copied(harness: &dyn Harness) {
    let empty = InMemoryDataStore::new();
    let to = open(harness, OpenMode::CreateNew);
    let copied = copy(&empty, &to);
    assert_eq!(
        (copied.key_total, copied.record_total, copied.bytes),
        (0, 0, 0)
    );
    copy(&to, &empty);
    assert_eq!(nodes(&to), nodes(&empty));
}
