//! Records of an unfinished chunk, read before and after they are folded into it, and across
//! several reopenings; and cutting series.

use super::Harness;
use super::support::{
    append, append_numbers, check_numbers, check_reopened, check_series, check_view, commit,
    declare, expect_error, inline, key, open, recorder, set, truncate, value,
};
use crate::error::ErrorKind;
use crate::model::chunk::ChunkPolicy;
use crate::model::record::{Blob, Object, Ragged};
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

const CHUNK: u64 = 8;

/// What record `index` of each series is.
fn records(index: u64) -> [(&'static str, Value); 6] {
    let row: Vec<u64> = (0..index % 4).map(|i| i + index).collect();
    [
        ("array", value([[index, 1], [2, index]])),
        ("scalar", value(index as f32)),
        ("ragged", value(row)),
        (
            "text",
            value("x".repeat(index as usize % 5) + &index.to_string()),
        ),
        ("bytes", value(Blob(vec![index as u8; index as usize % 6]))),
        ("object", value(Object((index, Some(0.5))))),
    ]
}

fn record(recorder: &Recorder, range: std::ops::Range<u64>) {
    for index in range {
        for (key, value) in records(index) {
            match (key, &value) {
                ("ragged", value) => {
                    let row = value.array::<u64>().unwrap();
                    recorder.record(key, Ragged(row)).unwrap();
                }
                _ => recorder.record(key, value).unwrap(),
            }
        }
    }
}

fn declare_all(recorder: &Recorder) {
    let policy = ChunkPolicy::records(CHUNK);
    for (key, schema) in [
        ("array", Schema::array::<u64>([2, 2])),
        ("scalar", Schema::scalar::<f32>()),
        ("ragged", Schema::ragged::<u64>([])),
        ("text", Schema::text()),
        ("bytes", Schema::bytes()),
        ("object", Schema::object()),
    ] {
        recorder
            .declare(key, schema.with_chunk_policy(policy.clone()))
            .unwrap();
    }
}

#[track_caller]
fn check(recorder: &Recorder, len: u64) {
    for (number, (key, _)) in records(0).into_iter().enumerate() {
        let expected: Vec<_> = (0..len)
            .map(|index| records(index)[number].1.clone())
            .collect();
        check_series(recorder, key, &expected);
    }
}

/// Tails are read as part of their series, before and after they are folded.
pub fn tails_are_read_before_and_after_they_are_folded(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..3);
    writer.flush().unwrap();
    check(&writer, 3);
    record(&writer, 3..5);
    writer.flush().unwrap();
    check(&writer, 5);
    writer.checkpoint().unwrap();
    check(&writer, 5);
    record(&writer, 5..7);
    writer.checkpoint().unwrap();
    record(&writer, 7..8);
    writer.flush().unwrap();
    check(&writer, 8);
    record(&writer, 8..20);
    writer.checkpoint().unwrap();
    writer.checkpoint().unwrap();
    check(&writer, 20);
    record(&writer, 20..21);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check(reader, 21));

    let writer = recorder(harness, OpenMode::Append);
    check(&writer, 21);
    record(&writer, 21..22);
    check(&writer, 22);
    writer.flush().unwrap();
    record(&writer, 22..26);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check(reader, 26));
}

/// Each reopening continues at the previous end, with tails of all lengths.
pub fn appending_continues_across_many_reopenings(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    writer.close().unwrap();
    drop(writer);
    let mut len = 0;
    for (round, more) in [1, 7, 8, 9, 0, 3, 20, 1].into_iter().enumerate() {
        let mode = if round % 2 == 0 {
            OpenMode::Append
        } else {
            OpenMode::OpenOrCreate
        };
        let writer = recorder(harness, mode);
        record(&writer, len..len + more);
        len += more;
        if round % 3 == 0 {
            writer.flush().unwrap();
        }
        if round % 3 == 1 {
            check(&writer, len);
        }
        writer.close().unwrap();
        drop(writer);
        check_reopened(harness, |reader| check(reader, len));
    }
}

/// Without another declaration, a series keeps its chunk policy.
pub fn a_series_is_appended_to_after_reopening_as_it_was_declared(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let schema = Schema::array::<u64>([2, 2])
        .with_chunk_policy(ChunkPolicy::records(CHUNK))
        .with_units("mV");
    writer.declare("array", schema).unwrap();
    writer.close().unwrap();
    drop(writer);
    let chunk = {
        let reader = recorder(harness, OpenMode::Read);
        reader.get_all("array").unwrap().chunk_shape().to_vec()
    };
    for round in 0..3_u64 {
        let writer = recorder(harness, OpenMode::Append);
        for index in 5 * round..5 * round + 5 {
            writer.record("array", [[index; 2]; 2]).unwrap();
        }
        // Declared once more, without the details.
        writer
            .declare("array", Schema::array::<u64>([2, 2]))
            .unwrap();
        writer.close().unwrap();
    }
    check_reopened(harness, |reader| {
        let view = reader.get_all("array").unwrap();
        assert_eq!(view.chunk_shape(), chunk);
        assert_eq!(view.attributes()["units"], "mV");
        check_numbers(&view, (0..15).flat_map(|index| [index; 4]));
    });
}

/// Many slow series and a fast one: every flush has a little of each.
pub fn many_slow_series_next_to_a_fast_one_are_whole(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    for step in 0..30_u64 {
        for series in 0..20 {
            if step % (series + 1) == 0 {
                writer.record(format!("slow/{series}"), step).unwrap();
            }
        }
        (0..50).for_each(|i| writer.record("fast", 50 * step + i).unwrap());
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("fast").unwrap(), 0..1500);
        for series in 0..20 {
            let steps = (0..30).filter(|step| step % (series + 1) == 0);
            check_numbers(&reader.get_all(format!("slow/{series}")).unwrap(), steps);
        }
    });
}

/// A commit for every record: more commits than a tail may have frames, and than a chunk has
/// records.
pub fn series_of_many_tiny_commits_are_whole(harness: &dyn Harness) {
    const COMMITS: u64 = 700;
    let store = open(harness, OpenMode::CreateNew);
    let rows = |records| ChunkPolicy::records(records);
    let schemas = [
        ("n", Schema::scalar::<u64>().with_chunk_policy(rows(600))),
        (
            "short",
            Schema::scalar::<u64>().with_chunk_policy(rows(100)),
        ),
        (
            "rows",
            Schema::ragged::<u64>([]).with_chunk_policy(rows(600)),
        ),
        ("text", Schema::text().with_chunk_policy(rows(650))),
    ];
    let of = |key: &str, i: u64| match key {
        "n" | "short" => value(i),
        "rows" => value(vec![i; i as usize % 3]),
        _ => value(i.to_string()),
    };
    let declared = schemas
        .iter()
        .map(|(key, schema)| declare(key, schema.clone()));
    commit(&store, declared.collect()).unwrap();
    let mut views = Vec::new();
    let commit_until = |store: &_, range: std::ops::Range<u64>| {
        for i in range {
            let appends = schemas.iter().map(|(key, schema)| {
                let record = of(key, i);
                append(store, key, schema.clone(), i, std::slice::from_ref(&record))
            });
            commit(store, appends.collect()).unwrap();
        }
    };
    let check = |view: &View| {
        let key = view.key().as_str().to_owned();
        let expected: Vec<_> = (0..view.shape()[0]).map(|i| of(&key, i)).collect();
        check_view(view, &expected);
    };
    for start in (0..COMMITS).step_by(100) {
        commit_until(&store, start..start + 100);
        for (name, _) in &schemas {
            let view = store.series_view(&key(name)).unwrap();
            assert_eq!(view.shape(), [start + 100]);
            views.push(view);
        }
        views.iter().for_each(check);
    }
    store.close().unwrap();
    drop((views, store));
    check_reopened(harness, |reader| {
        for (name, _) in &schemas {
            let view = reader.get_all(name).unwrap();
            assert_eq!(view.shape(), [COMMITS]);
            check(&view);
        }
    });
}

/// A checkpoint and a flush without new records do no harm, even in an empty recording.
pub fn flush_and_checkpoint_without_records_succeed(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.flush().unwrap();
    writer.checkpoint().unwrap();
    writer.record("n", 0_u64).unwrap();
    for _ in 0..3 {
        writer.flush().unwrap();
        writer.checkpoint().unwrap();
    }
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..1);
    });
}

// ---- cutting -------------------------------------------------------------------------------

/// Cuts within a chunk, at its border, to nothing, and to more than there is; then appends.
pub fn a_series_is_cut_and_appended_to(harness: &dyn Harness) {
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(CHUNK));
    let store = open(harness, OpenMode::CreateNew);
    commit(&store, vec![declare("n", schema)]).unwrap();
    store.close().unwrap();
    drop(store);
    // The records of the series; a record that is written again gets another number.
    let mut expected: Vec<u64> = Vec::new();
    let cuts = [100, 20, 17, 16, 15, 8, 7, 1, 0, 0];
    for (round, cut) in cuts.into_iter().enumerate() {
        let store = open(harness, OpenMode::Append);
        let start = expected.len() as u64;
        let new = 1000 * round as u64..1000 * round as u64 + 21;
        expected.extend(new.clone());
        commit(&store, vec![append_numbers(&store, "n", start, new)]).unwrap();
        if round % 2 == 0 {
            store.checkpoint().unwrap();
        }
        commit(&store, vec![truncate("n", cut)]).unwrap();
        expected.truncate(cut as usize);
        check_numbers(
            &store.series_view(&key("n")).unwrap(),
            expected.iter().copied(),
        );
        // Within one commit: records, a cut, and records in their place.
        let len = expected.len() as u64;
        let changes = vec![
            append_numbers(&store, "n", len, 5..15),
            truncate("n", len + 3),
            append_numbers(&store, "n", len + 3, 90..92),
        ];
        commit(&store, changes).unwrap();
        expected.extend([5, 6, 7, 90, 91]);
        check_numbers(
            &store.series_view(&key("n")).unwrap(),
            expected.iter().copied(),
        );
        store.close().unwrap();
        drop(store);
        check_reopened(harness, |reader| {
            let view = reader.get_all("n").unwrap();
            check_numbers(&view, expected.iter().copied());
        });
    }
}

/// Series of all kinds are cut in the same way.
pub fn series_of_all_kinds_are_cut(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..21);
    writer.close().unwrap();
    drop(writer);
    for len in [19, 16, 13, 3, 0] {
        let store = open(harness, OpenMode::Append);
        let cuts = records(0).map(|(key, _)| truncate(key, len));
        commit(&store, Vec::from(cuts)).unwrap();
        store.close().unwrap();
        drop(store);
        check_reopened(harness, |reader| check(reader, len));
    }
    let writer = recorder(harness, OpenMode::Append);
    record(&writer, 0..10);
    check(&writer, 10);
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| check(reader, 10));
}

/// A recorder cuts its series to an earlier record, even those that it has not used yet.
pub fn a_recorder_goes_back_and_continues(harness: &dyn Harness) {
    for options in [inline(), RecorderOptions::new()] {
        let harness = &*harness.another();
        let writer = Recorder::with_options(open(harness, OpenMode::CreateNew), options.clone());
        declare_all(&writer);
        record(&writer, 0..30);
        let go_back = |writer: &Recorder, records_left: u64| {
            for (key, _) in records(0) {
                writer.truncate(key, records_left).unwrap();
            }
        };
        // Cuts records in the buffers, records in the store, nothing, and everything.
        for (cut, is_committed, until) in [(29, false, 40), (16, true, 21), (0, true, 5)] {
            if is_committed {
                writer.flush().unwrap();
            }
            go_back(&writer, cut);
            record(&writer, cut..until);
            go_back(&writer, until + 1);
            check(&writer, until);
        }
        writer.close().unwrap();
        expect_error(writer.truncate("array", 0), ErrorKind::Closed, &[]);
        drop(writer);

        let writer = Recorder::with_options(open(harness, OpenMode::Append), options);
        go_back(&writer, 3);
        record(&writer, 3..10);
        writer.set("value", 1_u8).unwrap();
        let parts = &["truncate", "value"];
        expect_error(writer.truncate("value", 0), ErrorKind::KindMismatch, parts);
        let parts = &["truncate", "nothing"];
        expect_error(writer.truncate("nothing", 0), ErrorKind::NotFound, parts);
        writer.close().unwrap();
        drop(writer);
        check_reopened(harness, |reader| {
            check(reader, 10);
            expect_error(
                reader.truncate("array", 0),
                ErrorKind::ReadOnly,
                &["truncate"],
            );
        });
    }
}

/// Only a series can be cut.
pub fn cutting_what_is_no_series_is_an_error(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    commit(&store, vec![set("group/value", 1_u8)]).unwrap();
    for key in ["group", "group/value"] {
        let result = commit(&store, vec![truncate(key, 0)]);
        expect_error(result, ErrorKind::KindMismatch, &[key]);
    }
    expect_error(
        commit(&store, vec![truncate("nothing", 0)]),
        ErrorKind::NotFound,
        &["nothing"],
    );
    assert_eq!(store.value(&key("group/value")).unwrap(), Some(value(1_u8)));
    store.close().unwrap();
}
