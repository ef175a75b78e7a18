//! The queue of a store: groups are committed together or not at all, with and without threads.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use super::queued_change::group_bytes;
use super::test_store::{
    TestStore, append, append_members, declare, declare_members, key, member_key, threaded,
};
use super::{BarrierKind, Pipeline, QueueLimits, WhenFull};
use crate::error::{Error, ErrorKind, Result};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::recorder::buffer_pool::BufferPool;
use crate::recorder::stop_flag::StopFlag;
use crate::store::commit::{Batch, Change};

/// The number of changes in a group.
const LEN: usize = 7;
/// The size in the queue of a change with one record.
const APPEND_BYTES: usize = 1032;
/// Turns a hang into a failure.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Bounds of the queue and of the encoded bytes. In turn, everything fits; a group is larger than a commit and than the
/// encoded bytes; a group is larger than the queue; every change is larger than the queue.
const BOUNDS: [(usize, usize); 4] = [
    (64 << 20, 32 << 20),
    (8 * APPEND_BYTES, 1),
    (2 * APPEND_BYTES, 1),
    (0, 0),
];

fn limits(queued: usize, encoded: usize) -> QueueLimits {
    QueueLimits {
        queued,
        encoded,
        encoders: 1,
    }
}

fn inline(store: &TestStore, limits: QueueLimits) -> Arc<Pipeline> {
    let (stop, pool) = (Arc::new(StopFlag::new(1)), Arc::new(BufferPool::new(0)));
    let store = Arc::new(store.clone());
    Arc::new(Pipeline::inline("test".into(), store, limits, stop, pool))
}

/// Runs a test with each kind of queue.
fn with_each_queue(
    store: impl Fn() -> TestStore,
    limits: QueueLimits,
    test: impl Fn(&TestStore, &Arc<Pipeline>),
) {
    for encoders in [1, 2, 4] {
        let (store, limits) = (store(), QueueLimits { encoders, ..limits });
        test(&store, &threaded(&store, limits));
    }
    let store = store();
    test(&store, &inline(&store, limits));
}

/// Sends a group when there is room for it.
fn send(pipeline: &Pipeline, group: Vec<Change>) {
    let room = pipeline.reserve(group_bytes(&group), WhenFull::Wait);
    room.unwrap().send(group);
}

#[track_caller]
fn reach(pipeline: &Pipeline, kind: BarrierKind) -> Result<()> {
    let barrier = pipeline.send_barrier(kind);
    let deadline = Instant::now() + TIMEOUT;
    barrier.wait(Some(deadline)).expect("no hang")
}

#[track_caller]
fn close(pipeline: &Pipeline) -> Result<()> {
    let result = reach(pipeline, BarrierKind::Close);
    pipeline.join();
    result
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "no hang");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[track_caller]
fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        wait_until(|| thread.is_finished());
        thread.join().expect("no panic");
    }
}

/// The numbers of records of all series of a sender.
fn lens(store: &TestStore, sender: usize) -> Vec<usize> {
    let numbers = |member| store.numbers(&member_key(sender, member));
    (0..LEN)
        .map(numbers)
        .inspect(|numbers| assert!(numbers.iter().copied().eq(0..numbers.len() as u64)))
        .map(|numbers| numbers.len())
        .collect()
}

#[test]
fn a_group_is_committed_together_however_large_it_is() {
    for (queued, encoded) in BOUNDS {
        with_each_queue(
            TestStore::new,
            limits(queued, encoded),
            |store, pipeline| {
                send(pipeline, declare_members(0, LEN));
                send(pipeline, vec![declare(key("single"))]);
                for number in 0..20 {
                    send(pipeline, vec![append(key("single"), number)]);
                    send(pipeline, append_members(0, LEN, number));
                }
                reach(pipeline, BarrierKind::Flush).unwrap();
                assert_eq!(pipeline.queued_bytes(), 0);
                store.assert_whole_groups(LEN);
                assert_eq!(lens(store, 0), [20; LEN]);
                assert_eq!(store.numbers(&key("single")).len(), 20);
                close(pipeline).unwrap();
            },
        );
    }
}

#[test]
fn a_group_larger_than_a_commit_is_one_commit() {
    let schema = Arc::new(Schema::scalar::<u64>());
    let count = (4 << 20) / 8;
    let append = |number: usize| {
        let data = vec![0; 4 << 20];
        let records = Records::fixed(Arc::clone(&schema), count, data).unwrap();
        Change::Append {
            batch: Arc::new(Batch::new(member_key(0, number), 0, records)),
            prepared: None,
        }
    };
    with_each_queue(TestStore::new, limits(96 << 20, 1), |store, pipeline| {
        send(pipeline, declare_members(0, 5));
        reach(pipeline, BarrierKind::Flush).unwrap();
        // 20 MiB, while a commit has 8 MiB.
        send(pipeline, (0..5).map(append).collect());
        wait_until(|| store.commits().len() == 2);
        store.assert_whole_groups(5);
        close(pipeline).unwrap();
    });
}

#[test]
fn groups_of_many_senders_stay_whole_among_other_changes() {
    const ROUNDS: u64 = 50;
    for (queued, encoded) in BOUNDS {
        with_each_queue(
            TestStore::new,
            limits(queued, encoded),
            |store, pipeline| {
                let groups = (0..3).map(|sender| {
                    let pipeline = Arc::clone(pipeline);
                    spawn(move || {
                        send(&pipeline, declare_members(sender, LEN));
                        let groups = (0..ROUNDS).map(|number| append_members(sender, LEN, number));
                        groups.for_each(|group| send(&pipeline, group));
                    })
                });
                let singles = (0..3).map(|sender| {
                    let (pipeline, key) = (Arc::clone(pipeline), key(format!("single{sender}")));
                    spawn(move || {
                        send(&pipeline, vec![declare(key.clone())]);
                        for number in 0..ROUNDS {
                            send(&pipeline, vec![append(key.clone(), number)]);
                            if number % 10 == 0 {
                                reach(&pipeline, BarrierKind::Flush).unwrap();
                            }
                        }
                    })
                });
                join(groups.chain(singles).collect::<Vec<_>>());
                close(pipeline).unwrap();
                assert_eq!(pipeline.queued_bytes(), 0);
                store.assert_whole_groups(LEN);
                for sender in 0..3 {
                    assert_eq!(lens(store, sender), [ROUNDS as usize; LEN]);
                    let single = store.numbers(&key(format!("single{sender}")));
                    assert!(single.into_iter().eq(0..ROUNDS));
                }
            },
        );
    }
}

/// Blocks the thread that prepares a batch of `member`, and sends a message; continues after a message.
fn stopping_at(member: usize) -> (TestStore, Receiver<()>, Sender<()>) {
    let (stopped, is_stopped) = channel();
    let (proceed, may_proceed) = channel();
    let channels = Mutex::new((stopped, may_proceed));
    let stop = move |batch: &Batch| {
        if batch.key == member_key(0, member) {
            let (stopped, may_proceed) = &*channels.lock().unwrap();
            stopped.send(()).unwrap();
            may_proceed.recv_timeout(2 * TIMEOUT).unwrap();
        }
        Ok(())
    };
    (TestStore::before_prepare(stop), is_stopped, proceed)
}

#[test]
fn a_thread_that_waits_for_room_does_not_split_a_group() {
    for encoders in [1, 2, 4] {
        for member in [0, 3, LEN - 1] {
            let (store, is_stopped, proceed) = stopping_at(member);
            let queued = 10 * APPEND_BYTES;
            let limits = QueueLimits {
                encoders,
                ..limits(queued, 1)
            };
            let pipeline = threaded(&store, limits);
            send(&pipeline, declare_members(0, LEN));
            reach(&pipeline, BarrierKind::Flush).unwrap();
            send(&pipeline, append_members(0, LEN, 0));
            is_stopped.recv_timeout(TIMEOUT).unwrap();

            let is_waiting = Arc::new(AtomicBool::new(false));
            let waiting = {
                let (pipeline, is_waiting) = (Arc::clone(&pipeline), Arc::clone(&is_waiting));
                spawn(move || {
                    is_waiting.store(true, Ordering::Relaxed);
                    send(&pipeline, append_members(0, LEN, 1));
                })
            };
            wait_until(|| is_waiting.load(Ordering::Relaxed));
            // Another thread is refused room.
            assert!(pipeline.reserve(queued, WhenFull::Fail).is_none());
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(store.commits().len(), 1);
            assert!(!waiting.is_finished());

            proceed.send(()).unwrap();
            proceed.send(()).unwrap();
            join([waiting]);
            close(&pipeline).unwrap();
            store.assert_whole_groups(LEN);
            assert_eq!(lens(&store, 0), [2; LEN]);
        }
    }
}

#[test]
fn a_store_whose_commit_fails_has_each_group_completely_or_not_at_all() {
    for (queued, encoded) in BOUNDS {
        for commit in 1..8 {
            let store = || TestStore::failing(commit);
            with_each_queue(store, limits(queued, encoded), |store, pipeline| {
                send(pipeline, declare_members(0, LEN));
                for number in 0..20 {
                    send(pipeline, append_members(0, LEN, number));
                }
                // With large bounds, everything is one commit.
                let result = reach(pipeline, BarrierKind::Flush);
                assert_eq!(
                    result.is_err(),
                    store.attempts.load(Ordering::Relaxed) >= commit
                );
                assert_eq!(pipeline.queued_bytes(), 0);
                store.assert_whole_groups(LEN);
                let lens = lens(store, 0);
                assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
                drop(close(pipeline));
            });
        }
    }
}

#[test]
fn a_group_with_a_batch_that_cannot_be_prepared_is_not_committed() {
    let fail = |_: &Batch| Err(Error::new(ErrorKind::StorageFull, "prepare", "full"));
    let panic = |_: &Batch| panic!("the store panics");
    let hooks: [fn(&Batch) -> Result<()>; 2] = [fail, panic];
    for (hook, member) in hooks
        .into_iter()
        .flat_map(|hook| [(hook, 0), (hook, 3), (hook, 6)])
    {
        let is_fatal = move |batch: &Batch| batch.key == member_key(0, member) && batch.start == 5;
        let store = || {
            TestStore::before_prepare(move |batch| match is_fatal(batch) {
                true => hook(batch),
                false => Ok(()),
            })
        };
        for (queued, encoded) in BOUNDS {
            with_each_queue(store, limits(queued, encoded), |store, pipeline| {
                send(pipeline, declare_members(0, LEN));
                for number in 0..10 {
                    send(pipeline, append_members(0, LEN, number));
                }
                let error = reach(pipeline, BarrierKind::Flush).unwrap_err();
                assert_eq!(error.operation(), "prepare");
                assert_eq!(pipeline.queued_bytes(), 0);
                store.assert_whole_groups(LEN);
                let lens = lens(store, 0);
                assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
                assert!(lens[0] <= 5);
                assert!(close(pipeline).is_err());
            });
        }
    }
}

#[test]
fn a_group_of_a_failed_store_is_dropped_and_no_thread_waits_for_it() {
    let (store, is_stopped, proceed) = stopping_at(3);
    let pipeline = threaded(&store, limits(4 * APPEND_BYTES, 1));
    send(&pipeline, declare_members(0, LEN));
    reach(&pipeline, BarrierKind::Flush).unwrap();
    send(&pipeline, append_members(0, LEN, 0));
    is_stopped.recv_timeout(TIMEOUT).unwrap();
    let waiting = {
        let pipeline = Arc::clone(&pipeline);
        spawn(move || send(&pipeline, append_members(0, LEN, 1)))
    };
    pipeline.fail(Error::new(ErrorKind::Io, "read", "the disk is gone"));
    join([waiting]);
    proceed.send(()).unwrap();
    // Encoded changes are dropped too, without a flush.
    wait_until(|| pipeline.queued_bytes() == 0);
    assert!(close(&pipeline).is_err());
    assert_eq!(lens(&store, 0), [0; LEN]);
}

#[test]
fn a_group_without_changes_gives_its_room_back() {
    with_each_queue(
        TestStore::new,
        limits(1 << 20, 1 << 20),
        |store, pipeline| {
            pipeline
                .reserve(100, WhenFull::Wait)
                .unwrap()
                .send(Vec::new());
            drop(pipeline.reserve(100, WhenFull::Fail).unwrap());
            assert_eq!(pipeline.queued_bytes(), 0);
            reach(pipeline, BarrierKind::Flush).unwrap();
            assert!(store.commits().is_empty());
            close(pipeline).unwrap();
        },
    );
}

#[test]
fn a_group_counts_its_size_and_not_its_reservation() {
    for reserved in [1, LEN * APPEND_BYTES, 1 << 20] {
        let (store, is_stopped, proceed) = stopping_at(0);
        let pipeline = threaded(&store, limits(2 << 20, 1));
        send(&pipeline, declare_members(0, LEN));
        reach(&pipeline, BarrierKind::Flush).unwrap();
        let room = pipeline.reserve(reserved, WhenFull::Wait).unwrap();
        assert_eq!(pipeline.queued_bytes(), reserved);
        let group = append_members(0, LEN, 0);
        assert_eq!(group_bytes(&group[..1]), APPEND_BYTES);
        room.send(group);
        is_stopped.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(pipeline.queued_bytes(), LEN * APPEND_BYTES);
        proceed.send(()).unwrap();
        close(&pipeline).unwrap();
        assert_eq!(pipeline.queued_bytes(), 0);
    }
}

#[test]
fn a_group_that_is_sent_after_the_end_is_dropped() {
    with_each_queue(
        TestStore::new,
        limits(APPEND_BYTES, 1),
        |store, pipeline| {
            send(pipeline, declare_members(0, LEN));
            send(pipeline, append_members(0, LEN, 0));
            close(pipeline).unwrap();
            send(pipeline, append_members(0, LEN, 1));
            reach(pipeline, BarrierKind::Flush).unwrap();
            assert_eq!(pipeline.queued_bytes(), 0);
            assert_eq!(lens(store, 0), [1; LEN]);
        },
    );
}

#[test]
fn a_panic_is_an_error_of_the_operation_that_panicked() {
    let panic = |_: &Batch| panic!("the store panics");
    let store = TestStore::before_prepare(panic);
    for pipeline in [
        threaded(&store, limits(1 << 20, 1)),
        inline(&store, limits(1 << 20, 1)),
    ] {
        send(&pipeline, vec![declare(key("n"))]);
        send(&pipeline, vec![append(key("n"), 0)]);
        let error = reach(&pipeline, BarrierKind::Checkpoint).unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::Internal, "prepare")
        );
        assert!(error.to_string().contains("the store panics"), "{error}");
        drop(close(&pipeline));
    }
}
