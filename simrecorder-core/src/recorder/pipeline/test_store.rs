//! A store for tests of the queue: it lists its commits, and fails or waits on request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Pipeline, QueueLimits};
use crate::delegate_store;
use crate::error::{Error, ErrorKind, Result};
use crate::memory_store::InMemoryDataStore;
use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::recorder::buffer_pool::BufferPool;
use crate::recorder::stop_flag::StopFlag;
use crate::store::commit::{Batch, Change, Commit, Prepared};
use crate::store::data_store::{DataStore, DataStoreExt};

/// The key and the first index of each batch of a commit.
type CommittedBatches = Vec<(String, u64)>;

/// Called before a batch is prepared.
type Hook = dyn Fn(&Batch) -> Result<()> + Send + Sync;

/// A store in memory. A clone is a handle on the same store.
#[derive(Clone)]
pub(super) struct TestStore {
    pub(super) memory: InMemoryDataStore,
    /// The commits that were made.
    commits: Arc<Mutex<Vec<CommittedBatches>>>,
    /// The number of commits that were tried.
    pub(super) attempts: Arc<AtomicUsize>,
    /// The number of the commit that fails, counted from 1.
    failing_commit: usize,
    before_prepare: Arc<Hook>,
}

impl TestStore {
    pub(super) fn new() -> Self {
        Self {
            memory: InMemoryDataStore::new(),
            commits: Arc::default(),
            attempts: Arc::default(),
            failing_commit: 0,
            before_prepare: Arc::new(|_| Ok(())),
        }
    }

    /// A store whose commit with this number fails, counted from 1.
    pub(super) fn failing(commit: usize) -> Self {
        Self {
            failing_commit: commit,
            ..Self::new()
        }
    }

    /// A store that calls `hook` before it prepares a batch.
    pub(super) fn before_prepare(
        hook: impl Fn(&Batch) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            before_prepare: Arc::new(hook),
            ..Self::new()
        }
    }

    pub(super) fn commits(&self) -> MutexGuard<'_, Vec<Vec<(String, u64)>>> {
        self.commits.lock().unwrap()
    }

    /// All numbers of a series; none if it does not exist.
    pub(super) fn numbers(&self, key: &Key) -> Vec<u64> {
        let view = self.memory.view(key).unwrap();
        view.map_or(Vec::new(), |view| {
            view.read::<u64>().unwrap().into_iter().collect()
        })
    }

    /// Fails unless every commit has all changes of a group or none, in their order.
    #[track_caller]
    pub(super) fn assert_whole_groups(&self, len: usize) {
        for commit in self.commits().iter() {
            let mut changes = commit.iter();
            while let Some((key, start)) = changes.next() {
                let Some((sender, member)) = key.split_once("/member") else {
                    continue;
                };
                assert_eq!(member, "0", "a group begins with its first change");
                for number in 1..len {
                    let next = (format!("{sender}/member{number}"), *start);
                    assert_eq!(changes.next(), Some(&next), "the rest of the group follows");
                }
            }
        }
    }
}

impl std::fmt::Debug for TestStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestStore")
    }
}

impl DataStore for TestStore {
    fn name(&self) -> &str {
        "test"
    }
    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        (self.before_prepare)(batch)?;
        self.memory.prepare(batch)
    }
    fn commit(&self, commit: Commit) -> Result<()> {
        if self.attempts.fetch_add(1, Ordering::Relaxed) + 1 == self.failing_commit {
            return Err(Error::new(ErrorKind::StorageFull, "commit", "full"));
        }
        let batches = commit.changes.iter().filter_map(|change| match change {
            Change::Append { batch, .. } => Some((batch.key.to_string(), batch.start)),
            _ => None,
        });
        let batches = batches.collect();
        self.memory.commit(commit)?;
        self.commits().push(batches);
        Ok(())
    }

    delegate_store!(self => self.memory; is_read_only nodes children plan remove rename checkpoint close as_shared
        as_encoded);
}

pub(super) fn key(text: impl AsRef<str>) -> Key {
    Key::new(text).unwrap()
}

pub(super) fn declare(key: Key) -> Change {
    Change::Declare {
        key,
        schema: Schema::scalar::<u64>().into(),
        filled: 0,
    }
}

/// A change that appends one record, whose number is its index.
pub(super) fn append(key: Key, number: u64) -> Change {
    let data = number.to_ne_bytes().to_vec();
    let records = Records::fixed(Schema::scalar::<u64>().into(), 1, data).unwrap();
    Change::Append {
        batch: Arc::new(Batch::new(key, number, records)),
        prepared: None,
    }
}

/// The key of a change of a group.
pub(super) fn member_key(sender: usize, member: usize) -> Key {
    key(format!("sender{sender}/member{member}"))
}

/// A group that declares the series of a sender.
pub(super) fn declare_members(sender: usize, len: usize) -> Vec<Change> {
    let members = 0..len;
    members
        .map(|member| declare(member_key(sender, member)))
        .collect()
}

/// A group that appends one record to each series of a sender.
pub(super) fn append_members(sender: usize, len: usize, number: u64) -> Vec<Change> {
    let members = 0..len;
    members
        .map(|member| append(member_key(sender, member), number))
        .collect()
}

pub(super) fn threaded(store: &TestStore, limits: QueueLimits) -> Arc<Pipeline> {
    let (stop, pool) = (Arc::new(StopFlag::new(1)), Arc::new(BufferPool::new(0)));
    let store = Arc::new(store.clone());
    Arc::new(Pipeline::threaded("test".into(), store, limits, stop, pool))
}
