//! One recorder: batches, commits, reading back, handles, status, and the disabled recorder. Its end is
//! in `recorder_end.rs`.

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use simrecorder_core::{
    Attributes, ChunkPolicy, ErrorKind, InMemoryDataStore, Key, NodeKind, OpenMode, Recorder,
    RecorderOptions, Result, Schema, StoreState, Value, prelude::*,
};
use support::{CountingStore, count_up, counting, kind_of, no_timer, numbers, wait_until};

fn key(text: &str) -> Key {
    Key::new(text).expect("a valid key")
}

// ---- batches and commits ---------------------------------------------------------------------

#[test]
fn batches_of_arrays_end_where_chunks_do() -> Result<()> {
    for inline in [false, true] {
        let (store, recorder) = counting(no_timer().inline(inline));
        let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
        recorder.declare("n", schema)?;
        for number in 0..47_u64 {
            recorder.record("n", number)?;
            if number == 24 || number == 26 {
                recorder.flush()?;
            }
        }
        recorder.close()?;
        store.assert_no_gaps(0);
        let wanted = [
            (0, 10),
            (10, 10),
            (20, 5),
            (25, 2),
            (27, 3),
            (30, 10),
            (40, 7),
        ];
        assert_eq!(store.batches("n"), wanted);
        assert_eq!(numbers(&store, "n"), (0..47).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn batches_continue_after_existing_records_and_end_where_chunks_do() -> Result<()> {
    let memory = InMemoryDataStore::new();
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
    let recorder = Recorder::new(memory.clone());
    recorder.declare("n", schema.clone())?;
    count_up(&recorder, "n", 13)?;
    recorder.close()?;

    let mut store = CountingStore::new();
    store.store = memory.open(OpenMode::Append)?;
    let recorder = Recorder::with_options(store.clone(), no_timer());
    recorder.declare("n", schema)?;
    for number in 13..35_u64 {
        recorder.record("n", number)?;
    }
    recorder.close()?;
    assert_eq!(store.batches("n"), [(13, 7), (20, 10), (30, 5)]);
    store.assert_no_gaps(13);
    assert_eq!(numbers(&memory, "n"), (0..35).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_flush_with_nothing_new_makes_no_commit() -> Result<()> {
    for inline in [false, true] {
        let (store, recorder) = counting(no_timer().inline(inline));
        recorder.flush()?;
        assert_eq!(store.commits().len(), 0);
        recorder.record("n", 1_u64)?;
        for _ in 0..3 {
            recorder.flush()?;
        }
        assert_eq!(store.commits().len(), 1);
        recorder.checkpoint()?;
        assert_eq!((store.commits().len(), store.checkpoints()), (1, 1));
        recorder.close()?;
        assert_eq!((store.commits().len(), store.closes()), (1, 1));
        store.assert_no_gaps(0);
    }
    Ok(())
}

#[test]
fn a_flush_of_many_series_is_one_commit() -> Result<()> {
    let (store, recorder) = counting(no_timer());
    for index in 0..3000 {
        recorder.record(format!("n{index}"), [0_u64; 50])?;
    }
    recorder.flush()?;
    let commits = store.commits();
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].batches.len(), 3000);
    assert_eq!(commits[0].bytes, 3000 * 400);
    recorder.close()
}

#[test]
fn records_and_the_cut_after_them_are_one_commit() -> Result<()> {
    // Without memory, each group of changes is a separate commit.
    for inline in [false, true] {
        let (store, recorder) = counting(no_timer().inline(inline).memory_bound(0));
        recorder.declare("n", Schema::scalar::<u64>())?;
        count_up(&recorder, "n", 5)?;
        recorder.flush()?;
        recorder.record("n", 5_u64)?;
        recorder.truncate("n", 3)?;
        recorder.record("n", 3_u64)?;
        recorder.flush()?;
        let commits = store.commits();
        let cut = commits
            .iter()
            .find(|seen| !seen.others.is_empty() && !seen.batches.is_empty());
        let cut = cut.expect("a commit with both");
        assert_eq!(cut.batches, [("n".to_owned(), 5, 1)]);
        assert_eq!(cut.others, [("truncate", "n".to_owned())]);
        recorder.close()?;
        assert_eq!(numbers(&store, "n"), [0, 1, 2, 3]);
    }
    Ok(())
}

#[test]
fn without_an_interval_nothing_is_committed_unasked() -> Result<()> {
    let (store, recorder) = counting(no_timer());
    count_up(&recorder, "n", 1000)?;
    recorder.set("value", 1)?;
    assert_eq!(recorder.status().stores[0].commit_count, 0);
    assert_eq!(store.commits().len(), 0);
    recorder.close()
}

#[test]
fn a_timed_commit_makes_records_visible_without_a_flush() -> Result<()> {
    let store = InMemoryDataStore::new();
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(2));
    let recorder = Recorder::with_options(store.clone(), options);
    for number in 0..3_u64 {
        recorder.record("n", number)?;
        recorder.set("value", number)?;
        wait_until("the record shows", || {
            numbers(&store, "n").len() as u64 == number + 1
        });
        wait_until("the value shows", || {
            let value = store.value(&key("value")).unwrap();
            value == Some(Value::new(number).unwrap())
        });
    }
    recorder.close()
}

#[test]
fn a_timed_commit_reaches_a_series_that_is_recorded_all_the_time() -> Result<()> {
    let store = InMemoryDataStore::new();
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(1));
    let recorder = Recorder::with_options(store.clone(), options);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (recorder, stop) = (recorder.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    recorder.record("busy", 1_u64)?;
                }
                recorder.flush()
            })
        })
        .collect();
    wait_until("records show", || !numbers(&store, "busy").is_empty());
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().unwrap())?;
    recorder.close()
}

#[test]
fn inline_the_same_calls_give_the_same_commits() -> Result<()> {
    let run = || -> Result<_> {
        let options = RecorderOptions::new().inline(true).memory_bound(256 << 10);
        let (store, recorder) = counting(options);
        for number in 0..20_000_u64 {
            recorder.record(format!("n{}", number % 13), [number; 3])?;
            recorder.record("text", "x".repeat(number as usize % 50))?;
            if number % 5000 == 0 {
                recorder.flush()?;
                recorder.set("value", number)?;
            }
        }
        recorder.close()?;
        store.assert_no_gaps(0);
        Ok(store.commits())
    };
    let first = run()?;
    assert!(first.len() > 10);
    for _ in 0..3 {
        assert!(run()? == first);
    }
    Ok(())
}

// ---- reading back ----------------------------------------------------------------------------

#[test]
fn what_was_recorded_is_read_without_a_flush() -> Result<()> {
    for inline in [false, true] {
        let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer().inline(inline));
        for number in 0..50_u64 {
            recorder.record("net/n", number)?;
            assert_eq!(recorder.get_all("net/n")?.shape(), [number + 1]);
            recorder.set("net/value", number)?;
            assert_eq!(recorder.get_as::<u64>("net/value")?, Some(number));
            let mut attributes = Attributes::new();
            attributes.insert("number".into(), number.into());
            recorder.set_attributes("net", attributes.clone())?;
            assert_eq!(recorder.attributes("net")?, Some(attributes.clone()));
            recorder.set_attributes("net/n", attributes.clone())?;
            assert_eq!(recorder.attributes("net/n")?, Some(attributes));
            recorder.record(format!("new/{number}"), number)?;
            assert_eq!(recorder.keys()?.len(), 3 + number as usize);
            assert_eq!(recorder.children("new")?.len(), 1 + number as usize);
        }
        assert_eq!(recorder.kind_of("net")?, Some(NodeKind::Group));
        assert_eq!(recorder.kind_of("net/n")?, Some(NodeKind::Series));
        assert_eq!(recorder.kind_of("net/value")?, Some(NodeKind::Value));
        assert_eq!(recorder.kind_of("nothing")?, None);
        assert_eq!(recorder.attributes("nothing")?, None);
    }
    Ok(())
}

#[test]
fn a_declared_series_is_there_before_its_first_record() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    recorder.declare("v", Schema::array::<f32>([3]).with_units("mV"))?;
    let view = recorder.get_all("v")?;
    assert_eq!(view.shape(), [0, 3]);
    assert_eq!(view.attributes()["units"], "mV");
    recorder.declare("v", Schema::array::<f32>([3]))?;
    let result = recorder.declare("v", Schema::array::<f64>([3]));
    assert_eq!(kind_of(result), ErrorKind::SchemaMismatch);
    let result = recorder.record("v", [1.0_f32; 2]);
    assert_eq!(kind_of(result), ErrorKind::SchemaMismatch);
    recorder.record("v", [1.0_f32; 3])
}

#[test]
fn reading_a_key_as_what_it_is_not_names_the_method_to_use() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    recorder.record("net/v", 1.0)?;
    recorder.set("net/seed", 1_u64)?;
    let cases = [
        (recorder.get("net/v").map(drop), "series", "get_all()"),
        (recorder.get("net").map(drop), "group", "children()"),
        (
            recorder.get_as::<u64>("net/v").map(drop),
            "series",
            "get_all()",
        ),
        (recorder.get_all("net/seed").map(drop), "value", "get()"),
        (recorder.get_all("net").map(drop), "group", "children()"),
    ];
    for (result, is, method) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KindMismatch);
        let text = error.to_string();
        assert!(text.contains(is) && text.contains(method), "{text}");
        assert!(error.key().unwrap().starts_with("net"), "{text}");
    }
    let result = recorder.get_as::<f32>("net/seed");
    assert_eq!(kind_of(result), ErrorKind::TypeMismatch);
    Ok(())
}

#[test]
fn reading_nothing_is_none_or_an_error_with_the_nearest_keys() -> Result<()> {
    let recorder = Recorder::new(InMemoryDataStore::new());
    assert_eq!(recorder.get("net/w")?, None);
    assert_eq!(recorder.get_as::<f64>("net/w")?, None);
    let text = recorder.get_all("net/w").unwrap_err().to_string();
    assert!(text.contains("empty"), "{text}");
    for key in ["net/v", "net/x/y", "log", "something/else/altogether"] {
        recorder.record(key, 1.0)?;
    }
    let error = recorder.get_all("net/w").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.key(), Some("net/w"));
    let text = error.to_string();
    assert!(text.contains("nearest keys are 'net/v'"), "{text}");
    assert!(!text.contains("altogether"), "{text}");
    Ok(())
}

#[test]
fn keys_are_one_thing() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    recorder.record("series", 1.0)?;
    recorder.set("value", 1.0)?;
    recorder.record("group/n", 1.0)?;
    let clashes = [
        recorder.set("series", 1.0),
        recorder.set("group", 1.0),
        recorder.record("value", 1.0),
        recorder.record("group", 1.0),
        recorder.record("series/below", 1.0),
        recorder.record("value/below", 1.0),
        recorder.set("series/below/deep", 1.0),
        recorder.declare("value", Schema::scalar::<f64>()),
        recorder.series::<f64>("value").map(drop),
    ];
    for result in clashes {
        assert_eq!(kind_of(result), ErrorKind::KindMismatch);
    }
    recorder.close()
}

#[test]
fn a_bad_record_is_refused_and_loses_nothing() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    let handle = recorder.series::<f64>("v")?;
    recorder.record("v", [1.0, 2.0])?;
    let results = [
        recorder.record("v", [1.0, 2.0, 3.0]),
        recorder.record("v", 1.0),
        recorder.record("v", [1_u8, 2]),
        recorder.record("v", "text"),
        recorder.record("v", Ragged(&[1.0, 2.0])),
        handle.record(1.0),
        handle.record([[1.0, 2.0]]),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        assert_eq!((error.operation(), error.key()), ("record", Some("v")));
    }
    for bad in ["", "/", "a/../b", "a\nb", "."] {
        assert_eq!(kind_of(recorder.record(bad, 1.0)), ErrorKind::InvalidKey);
        assert_eq!(kind_of(recorder.set(bad, 1.0)), ErrorKind::InvalidKey);
        assert_eq!(kind_of(recorder.series::<f64>(bad)), ErrorKind::InvalidKey);
    }
    handle.record([3.0, 4.0])?;
    assert_eq!(recorder.get_all("v")?.read::<f64>()?.sum(), 10.0);
    assert_eq!(recorder.keys()?, [key("v")]);
    Ok(())
}

#[test]
fn all_spellings_of_a_key_lead_to_one_series() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    for round in 0..3 {
        for spelling in ["a/b", "/a/b", "a/b/", "//a//b//", "/a//b"] {
            recorder.record(spelling, round)?;
        }
        for slashes in 0..50 {
            recorder.record(format!("a{}b", "/".repeat(slashes + 1)), round)?;
        }
    }
    recorder.series::<i32>("/a/b")?.record(1)?;
    assert_eq!(recorder.keys()?, [key("a/b")]);
    assert_eq!(recorder.get_all("a//b/")?.shape(), [3 * 55 + 1]);
    assert_eq!(recorder.status().series_count, 1);
    recorder.set("x//y", 1)?;
    recorder.set("/x/y", 2)?;
    assert_eq!(recorder.get_as::<i32>("x/y")?, Some(2));
    Ok(())
}

// ---- handles ---------------------------------------------------------------------------------

#[test]
fn a_handle_works_before_and_after_the_first_record() -> Result<()> {
    let recorder = Recorder::with_options(InMemoryDataStore::new(), no_timer());
    let early = recorder.series::<u64>("n")?;
    assert_eq!(recorder.keys()?, []);
    recorder.record("n", 0_u64)?;
    let late = recorder.series::<u64>("/n")?;
    early.record(1_u64)?;
    late.record(2_u64)?;
    early.clone().record(3_u64)?;
    recorder.record("n", 4_u64)?;
    let read = recorder.get_all("n")?.read::<u64>()?;
    assert_eq!(read.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(early.key(), "n");
    Ok(())
}

#[test]
fn a_handle_of_another_type_is_refused() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::with_options(store.clone(), no_timer());
    let early = recorder.series::<f32>("n")?;
    recorder.record("n", 1_u64)?;
    assert_eq!(
        kind_of(recorder.series::<f64>("n")),
        ErrorKind::SchemaMismatch
    );
    assert_eq!(kind_of(early.record(1.0_f32)), ErrorKind::SchemaMismatch);
    recorder.close()?;
    // Even for a series that existed before.
    let recorder = Recorder::new(store.open(OpenMode::Append)?);
    assert_eq!(
        kind_of(recorder.series::<f64>("n")),
        ErrorKind::SchemaMismatch
    );
    recorder.series::<u64>("n")?.record(2_u64)?;
    recorder.close()?;
    assert_eq!(numbers(&store, "n"), [1, 2]);
    Ok(())
}

#[test]
fn a_handle_keeps_the_recorder_open() -> Result<()> {
    let (store, recorder) = counting(no_timer());
    let handle = recorder.series::<u64>("n")?;
    drop(recorder);
    handle.record(1_u64)?;
    assert_eq!(store.closes(), 0);
    drop(handle);
    assert_eq!(numbers(&store, "n"), [1]);
    assert_eq!(store.closes(), 1);
    Ok(())
}

// ---- other recorders -------------------------------------------------------------------------

#[test]
fn a_read_only_store_is_read_and_refuses_to_write() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    recorder.record("n", 1_u64)?;
    recorder.close()?;
    let recorder = Recorder::new(store.open(OpenMode::Read)?);
    assert_eq!(recorder.get_all("n")?.shape(), [1]);
    for result in [
        recorder.record("n", 2_u64),
        recorder.set("value", 1),
        recorder.declare("x", Schema::text()),
        recorder.set_attributes("", Attributes::new()),
    ] {
        assert_eq!(kind_of(result), ErrorKind::ReadOnly);
    }
    recorder.close()
}

#[test]
fn status_tells_what_was_recorded_and_committed() -> Result<()> {
    let (_, recorder) = counting(no_timer());
    count_up(&recorder, "a", 10)?;
    count_up(&recorder, "b", 5)?;
    let status = recorder.status();
    assert_eq!((status.series_count, status.record_count), (2, 15));
    assert!(status.buffered_bytes >= 15 * 8);
    assert_eq!(status.stores[0].name, "counting");
    assert_eq!(status.stores[0].committed_record_count, 0);
    recorder.flush()?;
    let status = recorder.status();
    assert_eq!((status.record_count, status.buffered_bytes), (15, 0));
    let store = &status.stores[0];
    assert_eq!((store.committed_record_count, store.commit_count), (15, 1));
    assert_eq!(store.queued_bytes, 0);
    assert!(matches!(store.state, StoreState::Healthy));
    recorder.close()
}

#[test]
fn a_disabled_recorder_takes_everything_and_holds_nothing() -> Result<()> {
    let recorder = Recorder::disabled();
    assert!(recorder.is_disabled() && recorder.clone().is_disabled());
    assert!(!Recorder::new(InMemoryDataStore::new()).is_disabled());
    recorder.record("n", 1.0)?;
    recorder.record("n", "another kind")?;
    recorder.series::<f64>("n")?.record([1.0, 2.0])?;
    recorder.declare("n", Schema::text())?;
    recorder.set("n", 1)?;
    recorder.set_attributes("n", Attributes::new())?;
    recorder.flush()?;
    recorder.checkpoint()?;
    assert_eq!(recorder.get("n")?, None);
    assert_eq!(recorder.get_as::<f64>("n")?, None);
    assert_eq!(kind_of(recorder.get_all("n")), ErrorKind::NotFound);
    assert_eq!(recorder.keys()?, []);
    assert_eq!(recorder.children("")?, []);
    assert_eq!(recorder.kind_of("n")?, None);
    assert_eq!(recorder.attributes("")?, None);
    assert_eq!(kind_of(recorder.store("memory")), ErrorKind::NotFound);
    let status = recorder.status();
    assert_eq!((status.series_count, status.record_count), (0, 0));
    assert!(status.stores.is_empty());
    recorder.close()?;
    recorder.close()?;
    recorder.record("n", 1.0)
}

// ---- much ------------------------------------------------------------------------------------

#[test]
fn a_million_scalars() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    let handle = recorder.series::<u64>("handle")?;
    for number in 0..1_000_000_u64 {
        recorder.record("n", number)?;
        handle.record(number)?;
    }
    recorder.close()?;
    for key in ["n", "handle"] {
        let read = numbers(&store, key);
        assert_eq!(read.len(), 1_000_000);
        assert!(read.into_iter().eq(0..1_000_000));
    }
    Ok(())
}

#[test]
fn ten_thousand_keys_in_one_go() -> Result<()> {
    let store = InMemoryDataStore::new();
    let recorder = Recorder::new(store.clone());
    for index in 0..10_000_u64 {
        recorder.record(format!("group{}/deep/n{index}", index % 100), index)?;
    }
    assert_eq!(recorder.keys()?.len(), 10_000);
    assert_eq!(recorder.children("")?.len(), 100);
    recorder.close()?;
    assert_eq!(numbers(&store, "group7/deep/n4207"), [4207]);
    Ok(())
}
