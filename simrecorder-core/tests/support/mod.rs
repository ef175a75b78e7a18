//! Stores that fail, stall and count, for tests of the recorder.

// Each test program uses a part of it.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use simrecorder_core::{
    Attributes, Batch, Change, Child, ChunkPolicy, Commit, DataStore, Error, ErrorKind,
    InMemoryDataStore, Key, Kind, Node, Prepared, Recorder, RecorderOptions, Result, Schema,
    delegate_store, prelude::*,
};

/// Turns a hang into a failure.
const LIMIT: Duration = Duration::from_secs(60);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs `work` on another thread, and fails if it does not end.
#[track_caller]
pub(crate) fn no_hang<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(work);
    wait_until(what, || thread.is_finished());
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Options without timed commits.
pub(crate) fn no_timer() -> RecorderOptions {
    RecorderOptions::new().commit_interval(None)
}

/// A recorder on a store that counts commits.
pub(crate) fn counting(options: RecorderOptions) -> (CountingStore, Recorder) {
    let store = CountingStore::new();
    let recorder = Recorder::with_options(store.clone(), options);
    (store, recorder)
}

/// All numbers of a series of scalars; none if it does not exist.
#[track_caller]
pub(crate) fn numbers(store: &dyn DataStore, key: &str) -> Vec<u64> {
    let key = Key::new(key).expect("a valid key");
    let view = store.view(&key).expect("a store that can be read");
    view.map_or(Vec::new(), |view| {
        let numbers = view.read::<u64>().expect("a series of u64");
        numbers.into_iter().collect()
    })
}

/// The kind of the expected error.
#[track_caller]
pub(crate) fn kind_of<T: fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error was expected").kind()
}

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Nodes,
    Plan,
    Prepare,
    Commit,
    Checkpoint,
    CheckpointAtOnce,
    Close,
}

/// What an [`Adapter`] does before an operation of its store.
pub(crate) trait Hook: fmt::Debug + Send + Sync {
    fn before(&self, op: Op, commit: Option<&Commit>) -> Result<()>;
}

/// A store in memory with something in front of it. A clone is a handle on the same store.
#[derive(Debug)]
pub(crate) struct Adapter<H> {
    pub(crate) name: &'static str,
    pub(crate) store: InMemoryDataStore,
    pub(crate) hook: Arc<H>,
}

impl<H> Adapter<H> {
    pub(crate) fn with_hook(name: &'static str, hook: H) -> Self {
        Self {
            name,
            store: InMemoryDataStore::new(),
            hook: Arc::new(hook),
        }
    }
}

impl<H> Clone for Adapter<H> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            store: self.store.clone(),
            hook: Arc::clone(&self.hook),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H: Hook> DataStore for Adapter<H> {
    delegate_store!(self => self.store; is_read_only children remove rename info as_shared
        as_encoded);

    fn name(&self) -> &str {
        self.name
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.hook.before(Op::Nodes, None)?;
        self.store.nodes(keys)
    }

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        self.hook.before(Op::Plan, None)?;
        self.store.plan(key, schema)
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        self.hook.before(Op::Prepare, None)?;
        self.store.prepare(batch)
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        self.hook.before(Op::Commit, Some(&commit))?;
        self.store.commit(commit)
    }

    fn checkpoint(&self) -> Result<()> {
        self.hook.before(Op::Checkpoint, None)?;
        self.store.checkpoint()
    }

    fn checkpoint_at_once(&self) -> Result<()> {
        self.hook.before(Op::CheckpointAtOnce, None)?;
        self.store.checkpoint_at_once()
    }

    fn close(&self) -> Result<()> {
        self.hook.before(Op::Close, None)?;
        self.store.close()
    }
}

/// Fails at one operation, and at all later ones if `stays`.
#[derive(Debug)]
pub(crate) struct Fault {
    op: Op,
    at: usize,
    stays: bool,
    panics: bool,
    kind: ErrorKind,
    count: AtomicUsize,
}

pub(crate) type FaultStore = Adapter<Fault>;

impl FaultStore {
    /// Fails once, at the operation number `at` of kind `op`, counted from 1.
    pub(crate) fn new(op: Op, at: usize) -> Self {
        Self::with_hook(
            "faulty",
            Fault {
                op,
                at,
                stays: false,
                panics: false,
                kind: ErrorKind::StorageFull,
                count: AtomicUsize::new(0),
            },
        )
    }

    /// Fails from operation `at` on.
    pub(crate) fn from(op: Op, at: usize) -> Self {
        let mut store = Self::new(op, at);
        Arc::get_mut(&mut store.hook).expect("one handle").stays = true;
        store
    }

    /// Panics once at operation `at`.
    pub(crate) fn panicking(op: Op, at: usize) -> Self {
        let mut store = Self::new(op, at);
        Arc::get_mut(&mut store.hook).expect("one handle").panics = true;
        store
    }

    /// The kind of its error instead of `StorageFull`.
    pub(crate) fn kind(mut self, kind: ErrorKind) -> Self {
        Arc::get_mut(&mut self.hook).expect("one handle").kind = kind;
        self
    }

    pub(crate) fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(crate) fn count(&self) -> usize {
        self.hook.count.load(Ordering::SeqCst)
    }
}

impl Hook for Fault {
    fn before(&self, op: Op, _: Option<&Commit>) -> Result<()> {
        if op != self.op {
            return Ok(());
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count == self.at || self.stays && count > self.at {
            assert!(!self.panics, "the fault panics");
            let message = format!("fault at {op:?} number {count}");
            return Err(Error::new(self.kind, "commit", message));
        }
        Ok(())
    }
}

/// Blocks in `commit` while it is shut.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Whether it is shut, and how many commits wait at it.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

pub(crate) type StallStore = Adapter<Gate>;

impl StallStore {
    /// A store whose gate is shut.
    pub(crate) fn stalled() -> Self {
        let store = Self::with_hook("stalling", Gate::default());
        store.shut();
        store
    }

    pub(crate) fn shut(&self) {
        lock(&self.hook.state).0 = true;
    }

    pub(crate) fn release(&self) {
        lock(&self.hook.state).0 = false;
        self.hook.changed.notify_all();
    }

    /// Waits until a commit waits at the gate.
    #[track_caller]
    pub(crate) fn wait_until_stalled(&self) {
        wait_until("a commit stalls", || lock(&self.hook.state).1 > 0);
    }
}

impl Hook for Gate {
    fn before(&self, op: Op, _: Option<&Commit>) -> Result<()> {
        if op != Op::Commit {
            return Ok(());
        }
        let mut state = lock(&self.state);
        state.1 += 1;
        while state.0 {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poison| poison.into_inner());
        }
        state.1 -= 1;
        Ok(())
    }
}

/// The contents of a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Each batch: its key, the index of its first record, and its number of records.
    pub(crate) batches: Vec<(String, u64, u64)>,
    /// The names and keys of the other changes.
    pub(crate) others: Vec<(&'static str, String)>,
    pub(crate) bytes: usize,
}

/// Lists every commit.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    commits: Mutex<Vec<Seen>>,
    checkpoints: AtomicUsize,
    closes: AtomicUsize,
}

pub(crate) type CountingStore = Adapter<Notes>;

impl CountingStore {
    pub(crate) fn new() -> Self {
        Self::with_hook("counting", Notes::default())
    }

    pub(crate) fn commits(&self) -> Vec<Seen> {
        lock(&self.hook.commits).clone()
    }

    pub(crate) fn checkpoints(&self) -> usize {
        self.hook.checkpoints.load(Ordering::SeqCst)
    }

    pub(crate) fn closes(&self) -> usize {
        self.hook.closes.load(Ordering::SeqCst)
    }

    /// The batches of one series: the index of the first record and the number of records.
    pub(crate) fn batches(&self, key: &str) -> Vec<(u64, u64)> {
        let commits = self.commits();
        let all = commits.iter().flat_map(|seen| &seen.batches);
        all.filter(|batch| batch.0 == key)
            .map(|batch| (batch.1, batch.2))
            .collect()
    }

    /// Fails unless the batches of each series are consecutive from `first` on.
    #[track_caller]
    pub(crate) fn assert_no_gaps(&self, first: u64) {
        let mut ends = BTreeMap::new();
        for (key, start, count) in self.commits().into_iter().flat_map(|seen| seen.batches) {
            let end = ends.entry(key.clone()).or_insert(first);
            assert_eq!(start, *end, "a batch of '{key}' follows the one before");
            assert!(count > 0, "a batch of '{key}' holds records");
            *end += count;
        }
    }
}

impl Hook for Notes {
    fn before(&self, op: Op, commit: Option<&Commit>) -> Result<()> {
        match op {
            Op::Checkpoint => _ = self.checkpoints.fetch_add(1, Ordering::SeqCst),
            Op::Close => _ = self.closes.fetch_add(1, Ordering::SeqCst),
            _ => {}
        }
        let Some(commit) = commit else { return Ok(()) };
        let mut seen = Seen::default();
        for change in &commit.changes {
            let name = match change {
                Change::Append { batch, .. } => {
                    let records = &batch.records;
                    seen.bytes += records.data().len();
                    let batch = (batch.key.to_string(), batch.start, records.len());
                    seen.batches.push(batch);
                    continue;
                }
                Change::Declare { .. } => "declare",
                Change::Set { .. } => "set",
                Change::SetAttributes { .. } => "set attributes",
                Change::Truncate { .. } => "truncate",
                _ => "unknown",
            };
            seen.others.push((name, change.key().to_string()));
        }
        lock(&self.commits).push(seen);
        Ok(())
    }
}

/// A store that counts records and drops them. It may stall, and it may keep the results of `prepare`.
#[derive(Clone, Debug, Default)]
pub(crate) struct NullStore {
    records: Arc<AtomicU64>,
    pub(crate) gate: Arc<Gate>,
    /// Whether `prepare` copies each batch, as for data that do not compress.
    copies: bool,
}

impl NullStore {
    pub(crate) fn copying() -> Self {
        Self {
            copies: true,
            ..Self::default()
        }
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    pub(crate) fn shut(&self) {
        lock(&self.gate.state).0 = true;
    }

    pub(crate) fn release(&self) {
        lock(&self.gate.state).0 = false;
        self.gate.changed.notify_all();
    }
}

impl DataStore for NullStore {
    fn name(&self) -> &str {
        "null"
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let attributes = Attributes::new;
        let root = |key: &Key| {
            key.is_root().then(|| Node::Group {
                attributes: attributes(),
            })
        };
        Ok(keys.iter().map(root).collect())
    }

    fn children(&self, _: &Key) -> Result<Vec<Child>> {
        Ok(Vec::new())
    }

    fn plan(&self, _: &Key, schema: Option<&Schema>) -> Result<u64> {
        match schema {
            Some(schema) if schema.kind() == Kind::Array => {
                let size = schema.dtype().map_or(1, |dtype| dtype.size());
                Ok(ChunkPolicy::default().chunk_shape(schema.record_shape(), size)?[0])
            }
            _ => Ok(1),
        }
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        Ok(self
            .copies
            .then(|| Box::new(batch.records.data().to_vec()) as Prepared))
    }

    fn commit(&self, commit: Commit) -> Result<()> {
        self.gate.before(Op::Commit, None)?;
        for change in &commit.changes {
            if let Change::Append { batch, .. } = change {
                self.records
                    .fetch_add(batch.records.len(), Ordering::SeqCst);
            }
        }
        Ok(())
    }

    fn remove(&self, _: &Key) -> Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Key, _: &Key) -> Result<()> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Records `0..count` at `key`.
pub(crate) fn count_up(recorder: &Recorder, key: &str, count: u64) -> Result<()> {
    (0..count).try_for_each(|number| recorder.record(key, number))
}
