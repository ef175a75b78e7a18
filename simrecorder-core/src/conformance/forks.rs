//! Processes that are forked from a process that records and reads.

use std::io::{Read, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Harness;
use super::child::{Ending, ForkedChild};
use super::support::{check_numbers, check_reopened, expect_error, open, value};
use crate::error::{ErrorKind, Result};
use crate::memory_store::InMemoryDataStore;
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::record::Ragged;
use crate::model::schema::{Attributes, Schema};
use crate::reading::view::View;
use crate::recorder::{Recorder, StoreState};
use crate::store::commit::Commit;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::open_mode::OpenMode;

/// How often the parent forks while it records. A lock that is not safe across a fork is locked at one of a few tens
/// of forks.
const FORKS: usize = 20;

/// The number of records before the first fork: many chunks.
const START: u64 = 200;

/// A recording with a series of many chunks.
fn create(harness: &dyn Harness) -> Recorder {
    record(open(harness, OpenMode::CreateNew))
}

fn record(store: Arc<dyn DataStore>) -> Recorder {
    let recorder = Recorder::new(store);
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(20));
    recorder.declare("n", schema).unwrap();
    (0..START).for_each(|i| recorder.record("n", i).unwrap());
    recorder.set("value", "text").unwrap();
    recorder.flush().unwrap();
    recorder
}

/// Checks the series of [`create`]: numbers from 0 on.
fn check_prefix(view: &View) {
    let len = view.len();
    assert!(len >= START, "{len}");
    check_numbers(view, 0..len);
}

/// Does `work` repeatedly while other threads record, flush, set, and read back. Returns the number of
/// records.
fn beside_threads(recorder: &Recorder, mut work: impl FnMut()) -> u64 {
    /// Ends the threads even after a panic.
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let ends = AtomicBool::new(false);
    let is_running = || !ends.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = START;
            while is_running() {
                // Few enough in the end that reading them takes no longer than at first.
                if next < 5 * START {
                    recorder.record("n", next).unwrap();
                    let row = vec![next; next as usize % 3];
                    recorder.record("rows", Ragged(&row)).unwrap();
                    next += 1;
                }
                recorder.set("value", format!("at {next}")).unwrap();
                recorder.record(format!("new/{}", next % 20), 1.0).unwrap();
                recorder.flush().unwrap();
            }
            next
        });
        let reader = scope.spawn(|| {
            while is_running() {
                check_prefix(&recorder.get_all("n").unwrap());
                recorder.get("value").unwrap();
                recorder.keys().unwrap();
            }
        });
        let end = End(&ends);
        (0..FORKS).for_each(|_| work());
        drop(end);
        reader.join().unwrap();
        writer.join().unwrap()
    })
}

/// Closes the parent's recorder, and checks that nothing is missing.
fn check_whole(harness: &dyn Harness, recorder: Recorder, len: u64) {
    recorder.close().unwrap();
    drop(recorder);
    check_reopened(harness, |reader| {
        check_numbers(&reader.get_all("n").unwrap(), 0..len);
        let rows = reader.get_all("rows").unwrap();
        assert_eq!(rows.len(), len - START);
        for (row, n) in rows.iter().zip(START..) {
            assert_eq!(row.unwrap(), value(Ragged(&vec![n; n as usize % 3])));
        }
    });
}

fn expect_forked<T: std::fmt::Debug>(result: Result<T>) {
    expect_error(result, ErrorKind::Forked, &["open the recording again"]);
}

/// The child reads a recording that it opens, with any work of the parent's threads during the fork.
pub fn a_forked_child_reads_a_recording_that_it_opens_itself(harness: &dyn Harness) {
    let recorder = create(harness);
    let len = beside_threads(&recorder, || {
        let child = ForkedChild::start(Ending::AtOnce, || {
            if !harness.reaches_other_processes() {
                expect_forked(harness.open(OpenMode::Read));
                return;
            }
            // Twice, since the first recording that the child opens creates the values of its process.
            for _ in 0..2 {
                let reader = Recorder::new(open(harness, OpenMode::Read));
                check_prefix(&reader.get_all("n").unwrap());
                assert!(reader.get("value").unwrap().is_some());
                assert!(reader.keys().unwrap().len() >= 2);
                thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| check_prefix(&reader.get_all("n").unwrap()));
                    }
                });
                reader.close().unwrap();
            }
        });
        child.finish();
    });
    check_whole(harness, recorder, len);
}

/// A child that records with its parent's recorder gets an error, and does not hang.
pub fn an_inherited_recorder_is_an_error_at_once(harness: &dyn Harness) {
    let recorder = create(harness);
    let series = recorder.series::<u64>("n").unwrap();
    let name = open(harness, OpenMode::Read).name().to_owned();
    let reader = recorder.store(&name).unwrap();
    let len = beside_threads(&recorder, || {
        let child = ForkedChild::start(Ending::AtOnce, || {
            expect_forked(recorder.record("n", 1_u64));
            expect_forked(recorder.record("other", [1.0, 2.0]));
            expect_forked(recorder.set("value", 2));
            expect_forked(recorder.declare("other", Schema::text()));
            expect_forked(recorder.truncate("n", 3));
            expect_forked(recorder.set_attributes("", Attributes::new()));
            expect_forked(recorder.series::<u64>("n"));
            expect_forked(series.record(1_u64));
            expect_forked(recorder.remove("n"));
            expect_forked(recorder.rename("n", "m"));
            assert!(recorder.to_string().contains("open the recording again"));
            expect_forked(recorder.flush());
            expect_forked(recorder.checkpoint());
            expect_forked(recorder.get("value"));
            expect_forked(recorder.get_all("n"));
            expect_forked(recorder.group(""));
            expect_forked(recorder.keys());
            expect_forked(recorder.children(""));
            expect_forked(recorder.kind_of("n"));
            expect_forked(recorder.attributes(""));
            expect_forked(reader.get_all("n"));
            expect_forked(recorder.close());
            let status = recorder.status();
            assert!(matches!(status.stores[0].state, StoreState::Failed(_)));
            drop((recorder.clone(), series.clone(), reader.clone()));
        });
        child.finish();
    });
    drop((series, reader));
    check_whole(harness, recorder, len);
}

/// A store, a view and a group of the parent can be read, or return an error that says what to do.
pub fn inherited_stores_and_views_read_or_are_an_error_at_once(harness: &dyn Harness) {
    let recorder = create(harness);
    let view = recorder.get_all("n").unwrap();
    let group = recorder.group("").unwrap();
    let store = open(harness, OpenMode::Read);
    let len = beside_threads(&recorder, || {
        let child = ForkedChild::start(Ending::AtOnce, || {
            assert_eq!((view.len(), view.key().as_str()), (START, "n"));
            match view.read::<u64>() {
                Ok(numbers) => assert!(numbers.iter().copied().eq(0..START)),
                error => expect_forked(error),
            }
            match view.get(3) {
                Ok(number) => assert_eq!(number, value(3_u64)),
                error => expect_forked(error),
            }
            expect_forked(view.refresh());
            assert!(group.view("n").is_some());
            expect_forked(store.node(view.key()));
            expect_forked(store.children(&Key::ROOT));
            expect_forked(store.plan(view.key(), None));
            expect_forked(store.commit(Commit::new(Vec::new())));
            expect_forked(store.remove(view.key()));
            expect_forked(store.checkpoint());
            expect_forked(store.close());
        });
        child.finish();
    });
    check_whole(harness, recorder, len);
}

/// A child drops what it inherits and ends like a program, and the parent's recording is complete.
pub fn a_forked_child_that_ends_disturbs_nothing(harness: &dyn Harness) {
    let mut recorder = Some(create(harness));
    let view = recorder.as_ref().unwrap().get_all("n").unwrap();
    let mut handles = Some((view, open(harness, OpenMode::Read)));
    let shared = recorder.clone().unwrap();
    let len = beside_threads(&shared, || {
        let child = ForkedChild::start(Ending::Normal, || {
            drop(recorder.take());
            drop(handles.take());
        });
        child.finish();
    });
    drop((shared, handles));
    check_whole(harness, recorder.unwrap(), len);
}

/// A forked process creates a recorder with threads. After it is killed, its recording can be opened for writing, even
/// while a child of it still runs.
pub fn a_recording_is_not_locked_by_children_of_its_writer(harness: &dyn Harness) {
    let beside = harness.another();
    let recorder = create(&*beside);
    let (mut is_recorded, recorded) = pipe().unwrap();
    let (mut is_checked, checked) = pipe().unwrap();
    let mut ends = Some((recorded, checked));
    let writer = ForkedChild::start(Ending::AtOnce, || {
        let (mut recorded, checked) = ends.take().unwrap();
        drop(checked);
        let store = match harness.reaches_other_processes() {
            true => open(harness, OpenMode::CreateNew),
            false => Arc::new(InMemoryDataStore::new()),
        };
        let _recorder = record(store);
        let child = ForkedChild::start(Ending::AtOnce, || {
            recorded.write_all(b"x").unwrap();
            // Until the test ends.
            let _ = is_checked.read(&mut [0]);
        });
        drop(recorded);
        child.finish();
    });
    let (recorded, checked) = ends.take().unwrap();
    drop(recorded);
    if is_recorded.read_exact(&mut [0]).is_err() {
        writer.finish();
        panic!("the writer does not record");
    }
    writer.kill();
    if harness.reaches_other_processes() {
        let again = Recorder::new(open(harness, OpenMode::Append));
        again.record("n", START).unwrap();
        check_numbers(&again.get_all("n").unwrap(), 0..START + 1);
        again.close().unwrap();
    }
    drop(checked);
    check_prefix(&recorder.get_all("n").unwrap());
    recorder.close().unwrap();
}
