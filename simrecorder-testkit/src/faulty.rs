//! A store around another one in which one operation goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use simrecorder_core::{
    Batch, Commit, DataStore, Error, ErrorKind, Key, Node, Prepared, Result, Schema, delegate_store,
};

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails before anything was done.
    Before,
    /// A commit makes the first half of its changes before it fails.
    HalfWay,
    /// It fails after everything was done, as if a reply was lost.
    After,
    /// It succeeds after a delay.
    Delay,
}

/// A store whose `at`-th operation goes wrong, counted from 0, among those that writing needs. If it
/// fails, all later commits fail too, since a broken disk stays broken.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    fault: Fault,
    at: usize,
    done: Arc<AtomicUsize>,
}

/// The message of [`FaultyStore`]'s error.
pub const MESSAGE: &str = "a fault of the test";

impl<S: DataStore> FaultyStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, fault: Fault, at: usize) -> Self {
        let done = Arc::default();
        Self {
            inner,
            fault,
            at,
            done,
        }
    }

    /// Returns the number of operations.
    pub fn operations(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    fn error() -> Error {
        Error::new(ErrorKind::Io, "commit", MESSAGE)
    }

    fn operation<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.done.fetch_add(1, Ordering::SeqCst) != self.at {
            return run();
        }
        match self.fault {
            Fault::Before | Fault::HalfWay => Err(Self::error()),
            Fault::After => run().and(Err(Self::error())),
            Fault::Delay => {
                std::thread::sleep(Duration::from_millis(30));
                run()
            }
        }
    }

    /// Whether the disk was broken before this operation.
    fn is_broken(&self) -> bool {
        self.operations() > self.at && !matches!(self.fault, Fault::Delay)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: DataStore> DataStore for FaultyStore<S> {
    delegate_store!(self => self.inner; is_read_only children info as_shared as_encoded);

    fn name(&self) -> &str {
        "faulty"
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.operation(|| self.inner.nodes(keys))
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        self.operation(|| self.inner.plan(key, schema))
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        self.operation(|| self.inner.prepare(batch))
    }

    fn commit(&self, mut commit: Commit) -> Result<()> {
        if self.is_broken() {
            return Err(Self::error());
        }
        let is_next = self.operations() == self.at;
        if is_next && self.fault == Fault::HalfWay {
            let half = commit.changes.len() / 2;
            commit.changes.truncate(half);
            self.inner.commit(commit)?;
            commit = Commit::default();
        }
        self.operation(|| self.inner.commit(commit))
    }

    fn remove(&self, key: &Key) -> Result<()> {
        self.operation(|| self.inner.remove(key))
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        self.operation(|| self.inner.rename(from, to))
    }

    fn checkpoint(&self) -> Result<()> {
        self.operation(|| self.inner.checkpoint())
    }

    fn checkpoint_at_once(&self) -> Result<()> {
        self.operation(|| self.inner.checkpoint_at_once())
    }

    fn close(&self) -> Result<()> {
        self.operation(|| self.inner.close())
    }
}
