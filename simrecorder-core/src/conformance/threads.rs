//! Many threads, many keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Harness;
use super::support::{check_numbers, check_reopened, check_value, keys, open, value};
use crate::model::chunk::ChunkPolicy;
use crate::model::record::Ragged;
use crate::model::schema::Schema;
use crate::recorder::{Recorder, RecorderOptions};
use crate::store::array_view::ArrayView;
use crate::store::open_mode::OpenMode;

const THREADS: u64 = 8;
const RECORDS: u64 = 2000;

/// With threads, and commits at any moment.
fn threaded(harness: &dyn Harness, mode: OpenMode) -> Recorder {
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(5));
    Recorder::with_options(open(harness, mode), options)
}

/// Each thread records to its own key; a reader finds a prefix of each series at any time.
pub fn threads_may_record_to_keys_of_their_own(harness: &dyn Harness) {
    let writer = threaded(harness, OpenMode::CreateNew);
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(64));
    for thread in 0..THREADS {
        writer
            .declare(format!("t{thread}/n"), schema.clone())
            .unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for thread in 0..THREADS {
                    let view = writer.get_all(format!("t{thread}/n")).unwrap();
                    check_numbers(&view, 0..view.len());
                }
                assert!(keys(&writer).len() as u64 >= THREADS);
            }
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let writer = &writer;
                scope.spawn(move || {
                    for i in 0..RECORDS {
                        writer.record(format!("t{thread}/n"), i).unwrap();
                        if i % 100 == 0 {
                            writer
                                .record(format!("t{thread}/text"), i.to_string())
                                .unwrap();
                            writer.set(format!("t{thread}/last"), i).unwrap();
                        }
                        if i % 500 == thread {
                            writer.flush().unwrap();
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        for thread in 0..THREADS {
            check_numbers(&reader.get_all(format!("t{thread}/n")).unwrap(), 0..RECORDS);
            let text = reader.get_all(format!("t{thread}/text")).unwrap();
            assert_eq!(text.read_text().unwrap().len() as u64, RECORDS / 100);
            check_value(reader, &format!("t{thread}/last"), &value(RECORDS - 100));
        }
    });
}

/// For each thread, its records are in its order; returns how many records of each.
#[track_caller]
fn check_order(view: &dyn ArrayView) -> Vec<u64> {
    let mut next = vec![0; THREADS as usize];
    for record in view.read::<u64>().unwrap().outer_iter() {
        let (thread, i) = (record[0] as usize, record[1]);
        assert_eq!(i, next[thread], "the order of thread {thread}");
        next[thread] += 1;
    }
    next
}

/// All threads record to one key; each finds its records in the order in which it recorded them.
pub fn threads_may_record_to_one_key(harness: &dyn Harness) {
    let writer = threaded(harness, OpenMode::CreateNew);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut before = 0;
            while !done.load(Ordering::Acquire) {
                if let Ok(view) = writer.get_all("shared") {
                    check_order(&view);
                    assert!(view.len() >= before, "a view got shorter");
                    before = view.len();
                }
            }
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let writer = &writer;
                scope.spawn(move || {
                    for i in 0..RECORDS {
                        writer.record("shared", [thread, i]).unwrap();
                        writer
                            .record("rows", Ragged(vec![thread; i as usize % 3]))
                            .unwrap();
                        if i == RECORDS / 2 {
                            // The records of this thread are visible when the flush returns.
                            writer.flush().unwrap();
                            let view = writer.get_all("shared").unwrap();
                            assert!(check_order(&view)[thread as usize] > i);
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        let view = reader.get_all("shared").unwrap();
        assert_eq!(check_order(&view), vec![RECORDS; THREADS as usize]);
        assert_eq!(reader.get_all("rows").unwrap().len(), THREADS * RECORDS);
    });
}

/// Many keys with few records each are all stored.
pub fn ten_thousand_keys_with_few_records_are_all_there(harness: &dyn Harness) {
    const GROUPS: u64 = 100;
    const KEYS: u64 = 100;
    let writer = Recorder::new(open(harness, OpenMode::CreateNew));
    for round in 0..2 {
        for group in 0..GROUPS {
            for number in 0..KEYS {
                let record = 1000 * group + number + round;
                writer
                    .record(format!("group{group}/cell{number}"), record)
                    .unwrap();
            }
        }
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        assert_eq!(reader.keys().unwrap().len() as u64, GROUPS * KEYS);
        assert_eq!(reader.children("").unwrap().len() as u64, GROUPS);
        assert_eq!(reader.children("group7").unwrap().len() as u64, KEYS);
        for (group, number) in (0..GROUPS).zip((0..KEYS).rev()) {
            let view = reader
                .get_all(format!("group{group}/cell{number}"))
                .unwrap();
            let first = 1000 * group + number;
            check_numbers(&view, first..first + 2);
        }
    });
}

/// Several threads may read one view and its selections.
pub fn a_view_may_be_read_by_many_threads(harness: &dyn Harness) {
    let writer = threaded(harness, OpenMode::CreateNew);
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
    writer.declare("n", schema).unwrap();
    (0..RECORDS).for_each(|i| writer.record("n", i).unwrap());
    writer.close().unwrap();
    drop(writer);
    check_reopened(harness, |reader| {
        let view = reader.get_all("n").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let view = &view;
                scope.spawn(move || {
                    for start in (thread..RECORDS - 50).step_by(97) {
                        let part = view.select(start as usize..start as usize + 50).unwrap();
                        check_numbers(&part, start..start + 50);
                    }
                    check_numbers(view, 0..RECORDS);
                });
            }
        });
    });
}
