//! The queue of a store in many interleavings of its threads, with shuttle.

use std::sync::Arc;

use shuttle::{check_pct, check_random, thread};

use super::queued_change::group_bytes;
use super::test_store::{
    TestStore, append, append_members, declare, declare_members, key, member_key, threaded,
};
use super::{BarrierKind, Pipeline, QueueLimits, WhenFull};
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::store::commit::Change;

/// How many random interleavings of each test are tried, and how many with few switches between threads.
const ORDERS: usize = 2000;
/// The size in the queue of a change with one record.
const APPEND_BYTES: usize = 1032;
/// The number of changes in a group.
const LEN: usize = 3;

fn sender_key(sender: usize) -> Key {
    key(format!("sender{sender}"))
}

fn pipeline(store: &TestStore, encoders: usize) -> Arc<Pipeline> {
    let limits = QueueLimits {
        // Room for two batches.
        queued: 2 * APPEND_BYTES,
        encoded: APPEND_BYTES,
        encoders,
    };
    threaded(store, limits)
}

/// Sends a group when there is room for it.
fn send(pipeline: &Pipeline, group: Vec<Change>) {
    let bytes = group_bytes(&group);
    let room = pipeline.reserve(bytes, WhenFull::Wait);
    room.unwrap().send(group);
}

fn reach(pipeline: &Pipeline, kind: BarrierKind) -> Result<()> {
    pipeline.send_barrier(kind).wait(None).unwrap()
}

fn close(pipeline: &Pipeline) -> Result<()> {
    let result = reach(pipeline, BarrierKind::Close);
    pipeline.join();
    result
}

fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    check_random(test.clone(), ORDERS);
    check_pct(test, ORDERS, 3);
}

/// Some senders wait for room, one flushes: everything is committed in order, and no thread waits for ever.
#[test]
fn what_waits_for_room_is_committed_in_order() {
    check(|| {
        let store = TestStore::new();
        let pipeline = pipeline(&store, 2);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    send(&pipeline, vec![declare(sender_key(sender))]);
                    for number in 0..3 {
                        send(&pipeline, vec![append(sender_key(sender), number)]);
                    }
                    if sender == 0 {
                        reach(&pipeline, BarrierKind::Flush).unwrap();
                        assert!(pipeline.status().committed_record_count >= 3);
                    }
                })
            })
            .collect();
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        close(&pipeline).unwrap();
        for sender in 0..2 {
            assert_eq!(store.numbers(&sender_key(sender)), [0, 1, 2]);
        }
        assert_eq!(pipeline.status().queued_bytes, 0);
    });
}

/// A sender that is refused room finds some later, without a flush.
#[test]
fn what_is_refused_gets_room_later() {
    check(|| {
        let store = TestStore::new();
        let pipeline = pipeline(&store, 1);
        send(&pipeline, vec![declare(sender_key(0))]);
        for number in 0..3 {
            let room = loop {
                match pipeline.reserve(APPEND_BYTES, WhenFull::Fail) {
                    Some(room) => break room,
                    None => thread::yield_now(),
                }
            };
            room.send(vec![append(sender_key(0), number)]);
        }
        close(&pipeline).unwrap();
        assert_eq!(store.numbers(&sender_key(0)), [0, 1, 2]);
    });
}

/// A store fails while threads wait for it: all of them continue, and the stored changes are a prefix.
#[test]
fn nobody_waits_for_a_store_that_failed() {
    check(|| {
        let store = TestStore::failing(2);
        let pipeline = pipeline(&store, 2);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    send(&pipeline, vec![declare(sender_key(sender))]);
                    for number in 0..3 {
                        send(&pipeline, vec![append(sender_key(sender), number)]);
                    }
                    drop(reach(&pipeline, BarrierKind::Flush));
                })
            })
            .collect();
        let closer = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || drop(close(&pipeline)))
        };
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        closer.join().unwrap();
        for sender in 0..2 {
            let found = store.numbers(&sender_key(sender));
            assert!(found.iter().copied().eq(0..found.len() as u64));
        }
    });
}

/// The numbers of records of all series of a sender of groups.
fn lens(store: &TestStore, sender: usize) -> Vec<usize> {
    let len = |member| store.numbers(&member_key(sender, member)).len();
    (0..LEN).map(len).collect()
}

/// Sends groups that are larger than the queue, and than what may be encoded.
fn spawn_group_sender(pipeline: &Arc<Pipeline>, sender: usize) -> thread::JoinHandle<()> {
    let pipeline = Arc::clone(pipeline);
    thread::spawn(move || {
        send(&pipeline, declare_members(sender, LEN));
        for number in 0..2 {
            send(&pipeline, append_members(sender, LEN, number));
        }
        if sender == 0 {
            drop(reach(&pipeline, BarrierKind::Flush));
        }
    })
}

/// Senders of groups and of single changes wait for room: every group is in one commit.
#[test]
fn groups_stay_whole() {
    for encoders in [1, 2] {
        check(move || {
            let store = TestStore::new();
            let pipeline = pipeline(&store, encoders);
            let mut senders: Vec<_> = (0..2)
                .map(|sender| spawn_group_sender(&pipeline, sender))
                .collect();
            senders.push({
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    send(&pipeline, vec![declare(key("single"))]);
                    for number in 0..2 {
                        send(&pipeline, vec![append(key("single"), number)]);
                    }
                })
            });
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            close(&pipeline).unwrap();
            store.assert_whole_groups(LEN);
            for sender in 0..2 {
                assert_eq!(lens(&store, sender), [2; LEN]);
            }
            assert_eq!(store.numbers(&key("single")), [0, 1]);
            assert_eq!(pipeline.status().queued_bytes, 0);
        });
    }
}

/// A store fails, at a commit or within a group: each group is stored completely or not at all, and no thread waits for
/// ever.
#[test]
fn groups_of_a_store_that_fails_are_there_or_not() {
    let fail_to_prepare = || {
        TestStore::before_prepare(|batch| match batch.key == member_key(1, 1) {
            true => Err(Error::new(ErrorKind::StorageFull, "prepare", "full")),
            false => Ok(()),
        })
    };
    let fail_to_commit = || TestStore::failing(3);
    for store in [fail_to_prepare as fn() -> TestStore, fail_to_commit] {
        check(move || {
            let store = store();
            let pipeline = pipeline(&store, 2);
            let senders: Vec<_> = (0..2)
                .map(|sender| spawn_group_sender(&pipeline, sender))
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            drop(close(&pipeline));
            store.assert_whole_groups(LEN);
            for sender in 0..2 {
                let lens = lens(&store, sender);
                assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
            }
            assert_eq!(pipeline.status().queued_bytes, 0);
        });
    }
}
