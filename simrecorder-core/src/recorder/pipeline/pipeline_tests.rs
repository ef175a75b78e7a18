//! The queue of a store in every order of its threads' steps that shuttle tries.

use std::sync::Arc;

use shuttle::{check_pct, check_random, thread};

use super::buffer_pool::BufferPool;
use super::pipeline::{Limits, Mark, Pipeline, WhenFull};
use super::stop::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::memory_store::InMemoryDataStore;
use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::{Attributes, Schema};
use crate::model::value::Value;
use crate::reading::view::ArrayView;
use crate::store::data_store::Child;
use crate::store::data_store::{Batch, Change, Commit, DataStore, Node, Prepared};

/// How many orders are tried of each test, by chance and by few changes between threads.
const ORDERS: usize = 2000;
const BYTES: usize = 100;

fn key(sender: u64) -> Key {
    Key::new(format!("sender{sender}")).unwrap()
}

/// One record, as a change of its own.
fn append(sender: u64, number: u64) -> Change {
    let data = number.to_ne_bytes().to_vec();
    let records = Records::fixed(Schema::scalar::<u64>().into(), 1, data).unwrap();
    let batch = Batch::new(key(sender), number, records);
    Change::Append {
        batch: Arc::new(batch),
        prepared: None,
    }
}

fn declare(sender: u64) -> Change {
    Change::Declare {
        key: key(sender),
        schema: Schema::scalar::<u64>().into(),
    }
}

fn pipeline(store: Arc<dyn DataStore>, encoders: usize) -> Arc<Pipeline> {
    let limits = Limits {
        // Room for two batches.
        queued: 2 * BYTES,
        encoded: BYTES,
        encoders,
    };
    let (stop, pool) = (Arc::new(Stop::new(1)), Arc::new(BufferPool::new(0)));
    Arc::new(Pipeline::new(
        "tried".into(),
        store,
        limits,
        false,
        stop,
        pool,
    ))
}

fn close(pipeline: &Pipeline) -> Result<()> {
    let result = pipeline.mark(Mark::Close).wait(None).unwrap();
    pipeline.join();
    result
}

fn numbers(store: &InMemoryDataStore, sender: u64) -> Vec<u64> {
    use crate::reading::view::ArrayViewExt;
    let view = store.view(&key(sender)).unwrap().unwrap();
    view.read::<u64>().unwrap().into_iter().collect()
}

fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    check_random(test.clone(), ORDERS);
    check_pct(test, ORDERS, 3);
}

/// Senders that wait for room, one that flushes: all is committed, in order, and nobody waits for ever.
#[test]
fn what_waits_for_room_is_committed_in_order() {
    check(|| {
        let store = InMemoryDataStore::new();
        let pipeline = pipeline(Arc::new(store.clone()), 2);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    let send = |change| {
                        let room = pipeline.reserve(BYTES, WhenFull::Wait).unwrap();
                        room.send(change);
                    };
                    send(declare(sender));
                    (0..3).for_each(|number| send(append(sender, number)));
                    if sender == 0 {
                        pipeline.mark(Mark::Flush).wait(None).unwrap().unwrap();
                        assert!(pipeline.status().committed_records >= 3);
                    }
                })
            })
            .collect();
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        close(&pipeline).unwrap();
        for sender in 0..2 {
            assert_eq!(numbers(&store, sender), [0, 1, 2]);
        }
        assert_eq!(pipeline.status().queued_bytes, 0);
    });
}

/// One that is refused room finds some later, without a flush.
#[test]
fn what_is_refused_gets_room_later() {
    check(|| {
        let store = InMemoryDataStore::new();
        let pipeline = pipeline(Arc::new(store.clone()), 1);
        pipeline
            .reserve(BYTES, WhenFull::Wait)
            .unwrap()
            .send(declare(0));
        for number in 0..3 {
            let room = loop {
                match pipeline.reserve(BYTES, WhenFull::Fail) {
                    Some(room) => break room,
                    None => thread::yield_now(),
                }
            };
            room.send(append(0, number));
        }
        close(&pipeline).unwrap();
        assert_eq!(numbers(&store, 0), [0, 1, 2]);
    });
}

/// Fails at its second commit.
#[derive(Debug)]
struct Failing(InMemoryDataStore, std::sync::atomic::AtomicUsize);

impl DataStore for Failing {
    fn name(&self) -> &str {
        "failing"
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn node(&self, key: &Key) -> Result<Option<Node>> {
        self.0.node(key)
    }
    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        self.0.children(key)
    }
    fn value(&self, key: &Key) -> Result<Option<Value>> {
        self.0.value(key)
    }
    fn view(&self, key: &Key) -> Result<Option<Arc<dyn ArrayView>>> {
        self.0.view(key)
    }
    fn attributes(&self, key: &Key) -> Result<Option<Attributes>> {
        self.0.attributes(key)
    }
    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        self.0.plan(key, schema)
    }
    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        self.0.prepare(batch)
    }
    fn commit(&self, commit: Commit) -> Result<()> {
        match self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            1 => Err(Error::new(ErrorKind::StorageFull, "commit", "full")),
            _ => self.0.commit(commit),
        }
    }
    fn checkpoint(&self) -> Result<()> {
        self.0.checkpoint()
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

/// A store that fails while others wait for it: they all go on, and what is there is a prefix.
#[test]
fn nobody_waits_for_a_store_that_failed() {
    check(|| {
        let memory = InMemoryDataStore::new();
        let store = Failing(memory.clone(), 0.into());
        let pipeline = pipeline(Arc::new(store), 2);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    let send = |change| {
                        let room = pipeline.reserve(BYTES, WhenFull::Wait).unwrap();
                        room.send(change);
                    };
                    send(declare(sender));
                    (0..3).for_each(|number| send(append(sender, number)));
                    drop(pipeline.mark(Mark::Flush).wait(None).unwrap());
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
            if memory.view(&key(sender)).unwrap().is_some() {
                let found = numbers(&memory, sender);
                assert!(found.iter().copied().eq(0..found.len() as u64));
            }
        }
    });
}
