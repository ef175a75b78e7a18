//! The suite itself: a store that differs from the in-memory store wherever backends may differ,
//! but keeps the promises.
//!
//! It exists only once it was created, has one writer at a time, refuses some keys, encodes
//! batches ahead, and makes smaller chunks than it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simrecorder_core::conformance::Harness;
use simrecorder_core::{
    Batch, Change, Commit, DataStore, Error, ErrorKind, InMemoryDataStore, Key, OpenMode, Prepared,
    Result, Schema, delegate_store,
};

const LONGEST_PART: usize = 255;
const LONGEST_KEY: usize = 700;

/// Whether a recording exists, and whether it is being written.
#[derive(Debug, Default)]
struct Recording {
    memory: InMemoryDataStore,
    exists: AtomicBool,
    written: AtomicBool,
}

#[derive(Debug, Default)]
struct StrictHarness(Arc<Recording>);

impl Harness for StrictHarness {
    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DataStore>> {
        let exists = self.0.exists.load(Ordering::SeqCst);
        match mode {
            OpenMode::Read | OpenMode::Append if !exists => {
                let message = "there is no such recording";
                return Err(Error::new(ErrorKind::NotFound, "open", message));
            }
            OpenMode::CreateNew if exists => {
                let message = "there is such a recording already";
                return Err(Error::new(ErrorKind::AlreadyExists, "open", message));
            }
            _ => {}
        }
        if mode.is_writable() && self.0.written.swap(true, Ordering::SeqCst) {
            let message = "another store writes the recording";
            return Err(Error::new(ErrorKind::Locked, "open", message));
        }
        self.0.exists.store(true, Ordering::SeqCst);
        Ok(Arc::new(Strict {
            store: self.0.memory.open(mode)?,
            recording: Arc::clone(&self.0),
            writes: AtomicBool::new(mode.is_writable()),
        }))
    }

    fn another(&self) -> Box<dyn Harness> {
        Box::new(Self::default())
    }

    fn longest_key(&self) -> usize {
        LONGEST_PART
    }

    fn reaches_other_processes(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Strict {
    store: InMemoryDataStore,
    recording: Arc<Recording>,
    writes: AtomicBool,
}

impl Strict {
    fn stop_writing(&self) {
        if self.writes.swap(false, Ordering::SeqCst) {
            self.recording.written.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.stop_writing();
    }
}

fn check_key(key: &Key) -> Result<()> {
    let reserved = |part: &str| part.starts_with("__") || part == "zarr.json";
    let fits = key.as_str().len() <= LONGEST_KEY
        && key
            .parts()
            .all(|part| part.len() <= LONGEST_PART && !reserved(part));
    if fits {
        return Ok(());
    }
    let message = "a name is longer than 255 bytes, or reserved";
    Err(Error::new(ErrorKind::InvalidKey, "check key", message).with_key(key.as_str()))
}

/// The encoded form of a batch: its size, which the commit checks.
struct Encoded(usize);

impl DataStore for Strict {
    fn name(&self) -> &str {
        "strict"
    }

    delegate_store!(self => self.store; is_read_only nodes children remove rename checkpoint);

    fn plan(&self, key: &Key, schema: Option<&Schema>) -> Result<u64> {
        let records = self.store.plan(key, schema)?;
        check_key(key)?;
        Ok(records.min(3))
    }

    fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        Ok(Some(Box::new(Encoded(batch.records.data().len()))))
    }

    fn commit(&self, mut commit: Commit) -> Result<()> {
        for change in &mut commit.changes {
            check_key(change.key())?;
            if let Change::Append { batch, prepared } = change
                && let Some(prepared) = prepared.take()
            {
                let encoded = prepared.downcast::<Encoded>().ok();
                assert_eq!(
                    encoded.map(|encoded| encoded.0),
                    Some(batch.records.data().len()),
                    "what was prepared belongs to the batch"
                );
            }
        }
        self.store.commit(commit)
    }

    fn close(&self) -> Result<()> {
        self.stop_writing();
        self.store.close()
    }
}

simrecorder_core::conformance_tests!(StrictHarness::default());
