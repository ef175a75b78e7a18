//! A store with parts that cannot be read.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::{
    ArrayView, Child, ChunkPolicy, DataStore, Error, ErrorKind, InMemoryDataStore, Key, Node,
    Ragged, Recorder, Records, Region, Result, Schema, View, delegate_store, verify,
};

pub(crate) const RECORDS: u64 = 200;

/// A store with keys, and records of series, that cannot be read.
#[derive(Debug)]
pub(crate) struct DamagedStore {
    store: InMemoryDataStore,
    keys: Vec<&'static str>,
    records: Vec<(&'static str, u64)>,
    /// The length that the series report.
    pub(crate) length: Option<u64>,
}

impl DamagedStore {
    pub(crate) fn new(keys: &[&'static str], records: &[u64]) -> Self {
        let store = InMemoryDataStore::new();
        let recorder = Recorder::new(store.clone());
        let numbers = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
        recorder.declare("net/numbers", numbers).unwrap();
        recorder
            .declare("net/rows", Schema::ragged::<u64>([]))
            .unwrap();
        for i in 0..RECORDS {
            recorder.record("net/numbers", i).unwrap();
            let row = vec![i; i as usize % 3];
            recorder.record("net/rows", Ragged(row)).unwrap();
        }
        recorder.set("seed", 1_u8).unwrap();
        recorder.close().unwrap();
        let both = |&record: &u64| [("net/numbers", record), ("net/rows", record)];
        let records: Vec<_> = records.iter().flat_map(both).collect();
        Self::of(store, keys, &records)
    }

    /// The contents of `store`, except these keys and records.
    pub(crate) fn of(
        store: InMemoryDataStore,
        keys: &[&'static str],
        records: &[(&'static str, u64)],
    ) -> Self {
        Self {
            store,
            keys: keys.to_vec(),
            records: records.to_vec(),
            length: None,
        }
    }

    fn look(&self, key: &Key) -> Result<()> {
        match self.keys.contains(&key.as_str()) {
            true => Err(damaged()),
            false => Ok(()),
        }
    }

    /// The damaged ranges of records in the report at `key`.
    pub(crate) fn damage(&self, key: &str) -> Vec<Range<u64>> {
        let report = verify(self).unwrap();
        let key = report.damaged().find(|it| it.key.as_str() == key);
        let damage = key.map(|key| key.damage.clone()).unwrap_or_default();
        damage.into_iter().filter_map(|it| it.records).collect()
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "read", "damaged for a test")
}

impl DataStore for DamagedStore {
    fn name(&self) -> &str {
        "damaged"
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        keys.iter().try_for_each(|key| self.look(key))?;
        let damaged = |node| match node {
            Some(Node::Series(view)) => {
                let mut shape = view.shape().to_vec();
                shape[0] = self.length.unwrap_or(shape[0]);
                let records = self.records.iter();
                let records = records.filter(|(key, _)| *key == view.key().as_str());
                let records = records.map(|(_, record)| *record).collect();
                let view = DamagedView {
                    view,
                    shape,
                    records,
                };
                Some(Node::Series(View::from(Arc::new(view))))
            }
            other => other,
        };
        Ok(self.store.nodes(keys)?.into_iter().map(damaged).collect())
    }

    fn children(&self, key: &Key) -> Result<Vec<Child>> {
        self.look(key)?;
        self.store.children(key)
    }

    delegate_store!(self => self.store; plan prepare commit remove rename checkpoint close);
}

#[derive(Clone, Debug)]
struct DamagedView {
    view: View,
    shape: Vec<u64>,
    records: Vec<u64>,
}

impl DamagedView {
    fn look(&self, range: Range<u64>) -> Result<()> {
        match self.records.iter().any(|record| range.contains(record)) {
            true => Err(damaged()),
            false => Ok(()),
        }
    }
}

impl ArrayView for DamagedView {
    fn key(&self) -> &Key {
        self.view.key()
    }

    fn schema(&self) -> &Arc<Schema> {
        self.view.schema()
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        self.view.chunk_shape()
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        self.look(region.axes()[0].bounds())?;
        self.view.read_into(region, out)
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.look(range.clone())?;
        self.view.read_records(range, max_bytes)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        ArrayView::refresh(&self.view)
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.view.sibling_nodes(keys)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }
}
