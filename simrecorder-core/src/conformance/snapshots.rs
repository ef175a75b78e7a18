//! Views are snapshots.

use std::fmt::Debug;

use super::Harness;
use super::support::{
    append_numbers, check_numbers, check_view, commit, declare, expect_error, key, open, recorder,
    truncate, value,
};
use crate::error::{ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::Recorder;
use crate::store::array_view::ArrayView;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::Node;
use crate::store::open_mode::OpenMode;

fn record(recorder: &Recorder, range: std::ops::Range<u64>) {
    for i in range {
        recorder.record("n", i).unwrap();
        recorder
            .record("rows", Ragged(vec![i; i as usize % 3]))
            .unwrap();
        recorder.record("text", i.to_string()).unwrap();
    }
}

fn declare_all(recorder: &Recorder) {
    let policy = ChunkPolicy::records(8);
    let n = Schema::scalar::<u64>().with_chunk_policy(policy.clone());
    recorder.declare("n", n).unwrap();
    let rows = Schema::ragged::<u64>([]).with_chunk_policy(policy);
    recorder.declare("rows", rows).unwrap();
    recorder.declare("text", Schema::text()).unwrap();
}

/// A view of each series, with its number of records at that time.
struct Taken {
    views: [View; 3],
    len: u64,
}

impl Taken {
    fn take(recorder: &Recorder, len: u64) -> Self {
        let views = ["n", "rows", "text"].map(|key| recorder.get_all(key).unwrap());
        Self { views, len }
    }

    #[track_caller]
    fn check(&self) {
        let [n, rows, text] = &self.views;
        assert_eq!(n.shape(), [self.len]);
        check_numbers(n, 0..self.len);
        let expected: Vec<Value> = (0..self.len)
            .map(|i| value(vec![i; i as usize % 3]))
            .collect();
        check_view(rows, &expected);
        let expected: Vec<Value> = (0..self.len).map(|i| value(i.to_string())).collect();
        check_view(text, &expected);
        let outside = n.read_records(0..self.len + 1, 100);
        expect_error(outside, ErrorKind::OutOfBounds, &[]);
    }
}

/// More records, folding, a checkpoint and closing do not change an existing view.
pub fn a_view_stays_the_same_while_its_series_grows(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    let mut taken = Vec::new();
    let mut len = 0;
    for (round, more) in [0, 1, 4, 2, 1, 1, 7, 8, 9, 40, 3].into_iter().enumerate() {
        record(&writer, len..len + more);
        len += more;
        taken.push(Taken::take(&writer, if round == 0 { 0 } else { len }));
        match round % 3 {
            0 => writer.flush().unwrap(),
            1 => writer.checkpoint().unwrap(),
            _ => {}
        }
        // Records in the tail that no view has yet.
        record(&writer, len..len + 1);
        len += 1;
        writer.flush().unwrap();
        taken.iter().for_each(Taken::check);
    }
    writer.close().unwrap();
    taken.iter().for_each(Taken::check);
    drop(writer);
    taken.iter().for_each(Taken::check);

    let writer = recorder(harness, OpenMode::Append);
    taken.push(Taken::take(&writer, len));
    record(&writer, len..len + 30);
    writer.close().unwrap();
    drop(writer);
    taken.iter().for_each(Taken::check);
}

/// Selections of views do not change either.
pub fn a_selection_stays_the_same_while_its_series_grows(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..11);
    let n = writer.get_all("n").unwrap();
    let part = n.select(9..).unwrap();
    let reversed = n
        .select(vec![ndarray::Slice::new(0, None, -3).into()])
        .unwrap();
    let check = || {
        check_numbers(&part, 9..11);
        check_numbers(&reversed, [10, 7, 4, 1].into_iter());
        check_numbers(&part.refresh().unwrap(), 9..11);
        check_numbers(&reversed.refresh().unwrap(), [10, 7, 4, 1].into_iter());
    };
    check();
    record(&writer, 11..14);
    check();
    writer.checkpoint().unwrap();
    check();
    record(&writer, 14..50);
    writer.flush().unwrap();
    check();
    writer.close().unwrap();
    check();
}

/// `refresh` returns a newer view of the same series.
pub fn refreshing_a_view_sees_later_records(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..3);
    let first = Taken::take(&writer, 3);
    let refresh = |taken: &Taken, len| {
        let views = taken.views.each_ref().map(|view| view.refresh().unwrap());
        let new = Taken { views, len };
        new.check();
        new
    };
    refresh(&first, 3);
    record(&writer, 3..9);
    writer.flush().unwrap();
    let second = refresh(&first, 9);
    record(&writer, 9..20);
    writer.checkpoint().unwrap();
    refresh(&first, 20);
    let third = refresh(&second, 20);
    first.check();
    record(&writer, 20..21);
    writer.close().unwrap();
    refresh(&third, 21);
    first.check();
}

/// The next read of the same store sees a commit.
pub fn a_store_shows_each_commit_at_once(harness: &dyn Harness) {
    let store = open(harness, OpenMode::CreateNew);
    commit(&store, vec![declare("n", Schema::scalar::<u64>())]).unwrap();
    let first = store.series_view(&key("n")).unwrap();
    for len in 0..20 {
        commit(&store, vec![append_numbers(&store, "n", len, len..len + 1)]).unwrap();
        check_numbers(&store.series_view(&key("n")).unwrap(), 0..len + 1);
        check_numbers(&first.refresh().unwrap(), 0..len + 1);
        match store.node(&key("n")).unwrap() {
            Some(Node::Series(view)) => assert_eq!(view.len(), len + 1),
            other => panic!("'n' is {other:?}"),
        }
    }
    assert!(first.is_empty());
    store.close().unwrap();
}

/// A view of records that were cut off may fail, but never reads other records.
pub fn a_view_of_a_series_that_was_cut_gives_no_wrong_records(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..20);
    writer.close().unwrap();
    drop(writer);
    let store = open(harness, OpenMode::Append);
    let old = store.series_view(&key("n")).unwrap();
    let selected = old.select(15..).unwrap();
    let changes = vec![truncate("n", 3), truncate("rows", 3), truncate("text", 3)];
    commit(&store, changes).unwrap();
    assert_eq!(old.shape(), [20]);
    if let Ok(numbers) = old.read::<u64>() {
        assert!(numbers.iter().copied().eq(0..20), "{numbers}");
    }
    if let Ok(numbers) = old.select(..3).unwrap().read::<u64>() {
        assert!(numbers.iter().copied().eq(0..3), "{numbers}");
    }
    assert_eq!(old.refresh().unwrap().shape(), [3]);
    expect_error(
        selected.refresh(),
        ErrorKind::OutOfBounds,
        &["refresh", "n"],
    );
    store.close().unwrap();
}

/// What [`record`] recorded as record `index` of a series.
fn recorded(name: &str, index: u64) -> Value {
    match name {
        "n" => value(index),
        "rows" => value(vec![index; index as usize % 3]),
        _ => value(index.to_string()),
    }
}

/// Records that were cut off after a view was taken read as before or are `OutOfBounds`, with every method, even when
/// other records replaced them.
pub fn records_that_were_cut_read_as_they_were_or_are_out_of_bounds(harness: &dyn Harness) {
    const CUT: u64 = 3;
    const LEN: u64 = 20;
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record(&writer, 0..LEN);
    writer.close().unwrap();
    drop(writer);
    let store = open(harness, OpenMode::Append);
    let names = ["n", "rows", "text"];
    let views = names.map(|name| store.series_view(&key(name)).unwrap());
    let check = || {
        for (name, view) in names.into_iter().zip(&views) {
            assert_eq!(view.len(), LEN);
            let part = view.select(CUT..).unwrap();
            let every_other = view.select(ndarray::s![1..;2]).unwrap();
            let values = [
                (view.read_records(10..11, usize::MAX), 10),
                (part.read_records(10 - CUT..11 - CUT, usize::MAX), 10),
                (every_other.read_records(5..6, usize::MAX), 11),
            ];
            let values = values.map(|(records, index)| (records.and_then(|it| it.value(0)), index));
            let others = [
                (view.get(LEN - 1), LEN - 1),
                (view.iter().nth(15).unwrap(), 15),
                (part.iter().next().unwrap(), CUT),
            ];
            for (result, index) in values.into_iter().chain(others) {
                match result {
                    Ok(found) => assert_eq!(found, recorded(name, index), "'{name}' {index}"),
                    error => expect_cut(error, name),
                }
            }
            if let Err(error) = view.check_records(0..LEN) {
                expect_cut::<()>(Err(error), name);
            }
        }
        match views[0].read::<u64>() {
            Ok(all) => assert!(all.iter().copied().eq(0..LEN), "{all}"),
            error => expect_cut(error, "n"),
        }
        match views[0].select(ndarray::s![..;-7]).unwrap().read::<u64>() {
            Ok(some) => assert!(some.iter().copied().eq([19, 12, 5]), "{some}"),
            error => expect_cut(error, "n"),
        }
    };
    check();
    commit(&store, names.map(|name| truncate(name, CUT)).into()).unwrap();
    check();
    let others = 1000 + CUT..1000 + 2 * LEN;
    commit(&store, vec![append_numbers(&store, "n", CUT, others)]).unwrap();
    check();
    store.close().unwrap();
    check();
}

#[track_caller]
fn expect_cut<T: Debug>(result: Result<T>, name: &str) {
    let words = [name, "removed after it was taken", "take a new view"];
    expect_error(result, ErrorKind::OutOfBounds, &words);
}
