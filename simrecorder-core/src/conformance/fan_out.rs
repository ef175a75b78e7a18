//! One recorder with several stores.

use std::sync::Arc;

use super::Harness;
use super::support::{
    append_numbers, check_numbers, check_reopened, check_series, check_value, commit, declare,
    expect_error, inline, key, keys, open, recorder, value,
};
use crate::error::ErrorKind;
use crate::memory_store::InMemoryDataStore;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::recorder::{Named, OnDivergence, Recorder, RecorderOptions};
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

fn fill(recorder: &Recorder) {
    for i in 0..100_u64 {
        recorder.record("net/n", i).unwrap();
        recorder
            .record("net/rows", Ragged(vec![i; i as usize % 4]))
            .unwrap();
    }
    recorder.record("log", "text").unwrap();
    recorder.set("value", 1.5).unwrap();
}

#[track_caller]
fn check(recorder: &Recorder) {
    check_numbers(&recorder.get_all("net/n").unwrap(), 0..100);
    let rows: Vec<_> = (0..100_u64)
        .map(|i| value(vec![i; i as usize % 4]))
        .collect();
    check_series(recorder, "net/rows", &rows);
    check_series(recorder, "log", &[value("text")]);
    check_value(recorder, "value", &value(1.5));
    assert_eq!(keys(recorder), ["log", "net/n", "net/rows", "value"]);
}

/// Two stores of this backend, and one in memory, get the same records.
pub fn several_stores_get_the_same(harness: &dyn Harness) {
    for options in [inline(), RecorderOptions::new()] {
        let (first, second) = (harness.another(), harness.another());
        let memory = InMemoryDataStore::new();
        let stores: Vec<Arc<dyn DataStore>> = vec![
            open(&*first, OpenMode::CreateNew),
            Arc::new(Named::new("other", open(&*second, OpenMode::CreateNew))),
            Arc::new(Named::new("third", memory.clone())),
        ];
        let writer = Recorder::with_options(stores, options);
        fill(&writer);
        check(&writer);
        for name in ["other", "third"] {
            let store = writer.store(name).unwrap();
            check_numbers(&store.get_all("net/n").unwrap(), 0..100);
            assert_eq!(store.get("value").unwrap(), Some(value(1.5)));
        }
        writer.close().unwrap();
        drop(writer);
        check_reopened(&*first, check);
        check_reopened(&*second, check);
        check(&Recorder::new(memory.open(OpenMode::Read).unwrap()));
    }
}

/// Reading uses the first store that has the key.
pub fn reading_takes_the_first_store_that_holds_the_key(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    writer.record("both", 1_u64).unwrap();
    writer.record("here", 2_u64).unwrap();
    writer.close().unwrap();
    drop(writer);
    let memory = InMemoryDataStore::new();
    let writer = Recorder::with_options(memory.clone(), inline());
    (0..2_u64).for_each(|i| writer.record("both", i).unwrap());
    writer.record("there", 3_u64).unwrap();
    writer.close().unwrap();
    let reader = Recorder::new((
        open(harness, OpenMode::Read),
        Named::new("second", memory.open(OpenMode::Read).unwrap()),
    ));
    check_numbers(&reader.get_all("both").unwrap(), 1..2);
    check_numbers(&reader.get_all("here").unwrap(), 2..3);
    check_numbers(&reader.get_all("there").unwrap(), 3..4);
    assert_eq!(keys(&reader), ["both", "here", "there"]);
    let second = reader.store("second").unwrap();
    check_numbers(&second.get_all("both").unwrap(), 0..2);
    expect_error(second.get_all("here"), ErrorKind::NotFound, &["here"]);
    reader.close().unwrap();
}

/// An error names stores with different lengths, as after a crash; they are cut only with `CutToShortest`.
pub fn stores_that_differ_in_length_are_cut_only_if_asked(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    (0..30_u64).for_each(|i| writer.record("n", i).unwrap());
    writer.close().unwrap();
    drop(writer);
    let memory = InMemoryDataStore::new();
    let change = declare("n", Schema::scalar::<u64>());
    commit(
        &memory,
        vec![change, append_numbers(&memory, "n", 0, 0..21)],
    )
    .unwrap();
    let stores = || {
        let memory = memory.open(OpenMode::Append).unwrap();
        (
            open(harness, OpenMode::Append),
            Named::new("shorter", memory),
        )
    };

    let writer = Recorder::with_options(stores(), inline());
    let parts = &["n", "'shorter' 21", "30", "CutToShortest"];
    expect_error(writer.record("n", 99_u64), ErrorKind::Diverged, parts);
    writer.record("other", 1_u64).unwrap();
    writer.close().unwrap();
    drop(writer);

    let options = inline().on_divergence(OnDivergence::CutToShortest);
    let writer = Recorder::with_options(stores(), options);
    writer.record("n", 99_u64).unwrap();
    check_numbers(&writer.get_all("n").unwrap(), (0..21).chain([99]));
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), (0..21).chain([99]));
        check_numbers(&reader.get_all("other").unwrap(), 1..2);
    });
    check_numbers(&memory.series_view(&key("n")).unwrap(), (0..21).chain([99]));
}
