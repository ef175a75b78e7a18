//! Removing and renaming keys.

use super::Harness;
use super::support::{
    attributes, check_series, check_value, children, expect_error, inline, keys, open, recorder,
    value, write_and_check,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::data_store::DataStore;
use crate::store::open_mode::OpenMode;

/// Series of every kind below a group, each with more than a chunk.
fn record_all(recorder: &Recorder, group: &str, from: u64, to: u64) {
    let small = || ChunkPolicy::records(8);
    let declare = |name: &str, schema: Schema| {
        let schema = schema.with_chunk_policy(small());
        recorder.declare(format!("{group}/{name}"), schema).unwrap();
    };
    declare("numbers", Schema::scalar::<u64>());
    declare("deep/rows", Schema::ragged::<u64>([]));
    for i in from..to {
        let at = |name: &str| format!("{group}/{name}");
        recorder.record(at("numbers"), i).unwrap();
        recorder
            .record(at("deep/rows"), Ragged(vec![i; i as usize % 3]))
            .unwrap();
        recorder
            .record(at("deep/text"), format!("text {i}"))
            .unwrap();
        recorder
            .record(at("deep/bytes"), Blob(vec![i as u8; 3]))
            .unwrap();
    }
    recorder
        .set(format!("{group}/seed"), vec![from, to])
        .unwrap();
}

#[track_caller]
fn check_all(recorder: &Recorder, group: &str, count: u64) {
    let check = |name: &str, record: &dyn Fn(u64) -> Value| {
        let expected: Vec<_> = (0..count).map(record).collect();
        check_series(recorder, &format!("{group}/{name}"), &expected);
    };
    check("numbers", &|i| value(i));
    check("deep/rows", &|i| value(Ragged(vec![i; i as usize % 3])));
    check("deep/text", &|i| value(format!("text {i}")));
    check("deep/bytes", &|i| value(Blob(vec![i as u8; 3])));
}

/// A series of any kind, a value and a group are removed with everything below, and nothing else.
pub fn what_is_removed_is_gone_with_all_below_it(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            for group in ["net", "net2", "network/part"] {
                record_all(recorder, group, 0, 20);
            }
            recorder.flush().unwrap();
            record_all(recorder, "net", 20, 23);
            recorder.remove("network/part/numbers").unwrap();
            recorder.remove("network/part/deep/rows").unwrap();
            recorder.remove("network/part/deep/text").unwrap();
            recorder.remove("network/part/seed").unwrap();
            recorder.remove("net").unwrap();
        },
        |recorder| {
            check_all(recorder, "net2", 20);
            assert_eq!(
                children(recorder, ""),
                ["net2: group", "network: group"],
                "the groups above stay"
            );
            assert_eq!(
                children(recorder, "network/part"),
                ["network/part/deep: group"]
            );
            assert_eq!(
                children(recorder, "network/part/deep"),
                ["network/part/deep/bytes: series"]
            );
            for gone in [
                "net",
                "net/numbers",
                "net/deep",
                "net/deep/rows",
                "net/seed",
            ] {
                assert_eq!(recorder.kind_of(gone).unwrap(), None, "'{gone}'");
            }
            assert_eq!(recorder.get("network/part/seed").unwrap(), None);
            let missing = recorder.get_all("net/numbers");
            expect_error(missing, ErrorKind::NotFound, &["net/numbers"]);
        },
    );
}

/// Earlier records are removed, even if they were not committed; later records are not.
pub fn removing_is_ordered_with_what_is_recorded(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            recorder.record("new", 1).unwrap();
            recorder.remove("new").unwrap();
            let typed = recorder.series::<f64>("typed").unwrap();
            for round in 0..3_u64 {
                for i in 0..10 {
                    recorder.record("x", i).unwrap();
                    typed.record(i as f64).unwrap();
                }
                if round == 1 {
                    recorder.flush().unwrap();
                }
                recorder.remove("x").unwrap();
                recorder.remove("typed").unwrap();
                // Another kind each time.
                recorder.record("x", [round as f32; 2]).unwrap();
                recorder.remove("x").unwrap();
                recorder.record("/x/", format!("round {round}")).unwrap();
                recorder.set("x2", round).unwrap();
                recorder.remove("x").unwrap();
            }
            recorder.record("x", 1.5).unwrap();
            recorder.record("x", 2.5).unwrap();
            typed.record(7.0).unwrap();
            // A value or a group may replace a series, and a series may replace them.
            recorder.set("new", "a value").unwrap();
            recorder.remove("x2").unwrap();
            recorder.record("x2/below", 1).unwrap();
            assert_eq!(recorder.status().series_count, 3);
        },
        |recorder| {
            check_series(recorder, "x", &[value(1.5), value(2.5)]);
            check_series(recorder, "typed", &[value(7.0)]);
            check_series(recorder, "x2/below", &[value(1)]);
            check_value(recorder, "new", &value("a value"));
            assert_eq!(keys(recorder), ["new", "typed", "x", "x2/below"]);
        },
    );
}

/// With its records, attributes and schema, in chunks, tails and buffers; recording continues at the new key.
pub fn what_is_renamed_moves_with_all_below_it(harness: &dyn Harness) {
    write_and_check(
        harness,
        |recorder| {
            record_all(recorder, "net", 0, 20);
            recorder.flush().unwrap();
            record_all(recorder, "net", 20, 21);
            for key in ["net", "net/numbers", "net/deep/rows", "net/seed"] {
                let of = attributes(serde_json::json!({ "of": key }));
                recorder.set_attributes(key, of).unwrap();
            }
            recorder.rename("net", "old/run 1").unwrap();
            record_all(recorder, "old/run 1", 21, 30);
            recorder.checkpoint().unwrap();
            record_all(recorder, "old/run 1", 30, 33);
            recorder.rename("old/run 1/numbers", "numbers").unwrap();
            recorder.rename("numbers", "numbers").unwrap();
            recorder.record("numbers", 33_u64).unwrap();
            recorder.rename("old/run 1/seed", "seed").unwrap();
            // The old keys are free.
            recorder.record("net/numbers", "text").unwrap();
            record_all(recorder, "again", 0, 9);
            recorder.rename("again/deep", "deep").unwrap();
            recorder.remove("again").unwrap();
            record_all(recorder, "again", 0, 17);
        },
        |recorder| {
            let numbers: Vec<_> = (0..34_u64).map(value).collect();
            check_series(recorder, "numbers", &numbers);
            check_value(recorder, "seed", &value(vec![30_u64, 33]));
            let rows: Vec<_> = (0..33_u64)
                .map(|i| value(Ragged(vec![i; i as usize % 3])))
                .collect();
            check_series(recorder, "old/run 1/deep/rows", &rows);
            check_series(recorder, "net/numbers", &[value("text")]);
            check_all(recorder, "again", 17);
            let text: Vec<_> = (0..9_u64).map(|i| value(format!("text {i}"))).collect();
            check_series(recorder, "deep/text", &text);
            assert_eq!(
                children(recorder, ""),
                [
                    "again: group",
                    "deep: group",
                    "net: group",
                    "numbers: series",
                    "old: group",
                    "seed: value",
                ]
            );
            for (key, of) in [
                ("old/run 1", "net"),
                ("numbers", "net/numbers"),
                ("old/run 1/deep/rows", "net/deep/rows"),
                ("seed", "net/seed"),
            ] {
                let found = recorder.attributes(key).unwrap().unwrap();
                assert_eq!(found, attributes(serde_json::json!({ "of": of })));
            }
        },
    );
}

/// A removal or renaming that is not possible is an error, and changes nothing.
pub fn removals_and_renamings_that_are_refused_change_nothing(harness: &dyn Harness) {
    let fill = |recorder: &Recorder| {
        record_all(recorder, "net", 0, 20);
        recorder.set("seed", 1).unwrap();
    };
    let refuse = |recorder: &Recorder| {
        let missing = |result| expect_error(result, ErrorKind::NotFound, &["nothing"]);
        missing(recorder.remove("nothing"));
        missing(recorder.remove("net/nothing"));
        missing(recorder.rename("net/nothing", "x"));
        for part in ["ends", "values"] {
            missing(
                recorder
                    .remove(format!("net/deep/rows/{part}"))
                    .map_err(|e| e.with_key("nothing")),
            );
        }
        for (result, key) in [
            (recorder.rename("net", "seed"), "seed"),
            (recorder.rename("seed", "net"), "net"),
            (recorder.rename("seed", "net/deep/rows"), "net/deep/rows"),
        ] {
            expect_error(result, ErrorKind::AlreadyExists, &[key]);
        }
        for result in [
            recorder.remove(""),
            recorder.rename("", "x"),
            recorder.rename("seed", "/"),
            recorder.rename("net", "net/below"),
        ] {
            expect_error(result, ErrorKind::InvalidArgument, &[]);
        }
        let below_a_value = recorder.rename("net", "seed/net");
        expect_error(below_a_value, ErrorKind::KindMismatch, &["seed"]);
        let below_a_series = recorder.rename("seed", "net/numbers/x");
        expect_error(below_a_series, ErrorKind::KindMismatch, &["net/numbers"]);
        let too_long = "x".repeat(Key::MAX_BYTES - 3);
        let refused = recorder.rename("net", too_long);
        expect_error(refused, ErrorKind::InvalidKey, &[]);
        expect_error(recorder.remove("a//../b"), ErrorKind::InvalidKey, &[]);
    };
    write_and_check(
        harness,
        |recorder| {
            fill(recorder);
            refuse(recorder);
            recorder.flush().unwrap();
            refuse(recorder);
        },
        |recorder| {
            check_all(recorder, "net", 20);
            check_value(recorder, "seed", &value(1));
            assert_eq!(children(recorder, ""), ["net: group", "seed: value"]);
        },
    );
    let reader = recorder(harness, OpenMode::Read);
    expect_error(reader.remove("net"), ErrorKind::ReadOnly, &[]);
    expect_error(reader.rename("net", "x"), ErrorKind::ReadOnly, &[]);
    reader.close().unwrap();
    let store = open(harness, OpenMode::Read);
    let (net, x) = (Key::new("net").unwrap(), Key::new("x").unwrap());
    expect_error(store.remove(&net), ErrorKind::ReadOnly, &[]);
    expect_error(store.rename(&net, &x), ErrorKind::ReadOnly, &[]);
    let store = open(harness, OpenMode::Append);
    store.close().unwrap();
    expect_error(store.remove(&net), ErrorKind::Closed, &[]);
    expect_error(store.rename(&net, &x), ErrorKind::Closed, &[]);
}

/// A view of a removed series reads its records or returns an error, never padding or records of another series.
#[track_caller]
fn check_old_view(view: &View, expected: &[Value], what: &str) {
    for (index, expected) in expected.iter().enumerate() {
        match view.get(index as u64) {
            Ok(found) => assert!(found == *expected, "record {index} of {what}: {found:?}"),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::OutOfBounds),
                "record {index} of {what}: {error:?}"
            ),
        }
    }
}

/// Before and after another series is created at the key or moved there.
pub fn views_of_what_was_removed_show_no_other_records(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let expected = |names: &[&str; 3]| {
        let [numbers, rows, text] = names.map(|name| writer.get_all(name).unwrap());
        [numbers, rows, text].map(|view| {
            let records: Vec<_> = view.iter().map(|record| record.unwrap()).collect();
            (view, records)
        })
    };
    let names = ["net/numbers", "net/deep/rows", "net/deep/text"];
    record_all(&writer, "net", 0, 20);
    let mut views = Vec::from(expected(&names));
    writer.checkpoint().unwrap();
    views.extend(expected(&names));
    let reader = harness
        .allows_concurrent_readers()
        .then(|| open(harness, OpenMode::Read));
    if let Some(reader) = &reader {
        for (name, (_, records)) in names.iter().zip(expected(&names)) {
            let view = crate::DataStoreExt::series_view(reader, &Key::new(name).unwrap());
            views.push((view.unwrap(), records));
        }
    }
    let check = |what: &str| {
        for (view, records) in &views {
            check_old_view(view, records, &format!("'{}' {what}", view.key()));
        }
    };
    writer.remove("net").unwrap();
    check("after its removal");
    expect_error(views[0].0.refresh(), ErrorKind::NotFound, &["net/numbers"]);
    // As long, with other records.
    record_all(&writer, "net", 100, 120);
    check("after other records took its place");
    writer.checkpoint().unwrap();
    check("after they became chunks");
    assert_eq!(views[0].0.refresh().unwrap().len(), 20);
    views.extend(expected(&names));
    record_all(&writer, "other", 200, 220);
    writer.checkpoint().unwrap();
    writer.remove("net").unwrap();
    writer.rename("other", "net").unwrap();
    for (view, records) in &views {
        check_old_view(view, records, &format!("'{}' after a renaming", view.key()));
    }
    let found = writer.get_all("net/numbers").unwrap();
    assert!(found.read::<u64>().unwrap().iter().copied().eq(200..220));
    writer.close().unwrap();
    for (view, records) in &views {
        check_old_view(view, records, &format!("'{}' after closing", view.key()));
    }
}

/// While threads record to the keys that are removed and renamed.
pub fn keys_are_removed_while_threads_record_to_them(harness: &dyn Harness) {
    const ROUNDS: u64 = 12;
    let options = RecorderOptions::new().memory_bound(256 << 10);
    let recorder = Recorder::with_options(open(harness, OpenMode::CreateNew), options);
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let recorder = &recorder;
            scope.spawn(move || {
                for i in 0..3000_u64 {
                    recorder.record("shared", thread).unwrap();
                    recorder.record(format!("own/{thread}"), i).unwrap();
                    let object = Object(serde_json::json!([thread, i]));
                    recorder.record("shared objects", object).unwrap();
                }
            });
        }
        for round in 0..ROUNDS {
            for key in ["shared", "shared objects"] {
                match recorder.remove(key) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    result => result.unwrap(),
                }
            }
            match recorder.rename("shared", format!("moved/{round}")) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => result.unwrap(),
            }
        }
    });
    recorder.close().unwrap();
    let reader = Recorder::with_options(open(harness, OpenMode::Read), inline());
    for thread in 0..2 {
        let own = reader.get_all(format!("own/{thread}")).unwrap();
        assert!(own.read::<u64>().unwrap().iter().copied().eq(0..3000));
    }
    for child in reader.children("moved").unwrap() {
        let moved = reader.get_all(&child.key).unwrap();
        assert!(moved.read::<u64>().unwrap().iter().all(|&x| x < 2));
    }
    reader.close().unwrap();
}
