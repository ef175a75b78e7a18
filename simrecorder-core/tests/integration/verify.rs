//! What `verify` reports of a store of which parts cannot be read.

#![allow(
    clippy::unwrap_used,
    clippy::single_range_in_vec_init,
    reason = "helpers of tests, too, may panic; ranges are what is compared"
)]

use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::{
    ArrayView, Child, ChunkPolicy, DataStore, Error, ErrorKind, InMemoryDataStore, Key, Node,
    NodeKind, Ragged, Recorder, Records, Region, Result, Schema, View, delegate_store, verify,
};

const RECORDS: u64 = 200;

/// A store of which some keys, and some records of each series, cannot be read.
#[derive(Debug)]
struct DamagedStore {
    store: InMemoryDataStore,
    keys: Vec<&'static str>,
    records: Vec<u64>,
    /// The length that series claim to have.
    length: Option<u64>,
}

impl DamagedStore {
    fn new(keys: &[&'static str], records: &[u64]) -> Self {
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

    /// The ranges of records that the report names at `key`.
    fn damage(&self, key: &str) -> Vec<Range<u64>> {
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
                let records = self.records.clone();
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
        self.view.read_into(region, out)
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        match self.records.iter().any(|record| range.contains(record)) {
            true => Err(damaged()),
            false => self.view.read_records(range, max_bytes),
        }
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        ArrayView::refresh(&self.view)
    }

    fn nodes_beside(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.view.nodes_beside(keys)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }
}

#[test]
fn a_sound_store_is_reported_whole() {
    let report = verify(&DamagedStore::new(&[], &[])).unwrap();
    assert!(report.is_sound());
    let found = report
        .keys
        .iter()
        .map(|it| (it.key.as_str(), it.kind, it.record_count));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("", NodeKind::Group, 0),
            ("net", NodeKind::Group, 0),
            ("net/numbers", NodeKind::Series, RECORDS),
            ("net/rows", NodeKind::Series, RECORDS),
            ("seed", NodeKind::Value, 0),
        ]
    );
    assert_eq!(report.to_string(), "5 keys with 400 records, 0 damaged");
}

#[test]
fn the_chunks_of_damaged_records_are_named_and_no_others() {
    let damage = |records: &[u64]| DamagedStore::new(&[], records).damage("net/numbers");
    assert_eq!(damage(&[0]), [0..10]);
    assert_eq!(damage(&[57, 58]), [50..60]);
    assert_eq!(damage(&[199]), [190..200]);
    assert_eq!(damage(&[9, 10, 40]), [0..20, 40..50]);
    let all: Vec<u64> = (0..RECORDS).collect();
    assert_eq!(damage(&all), [0..RECORDS]);
}

#[test]
fn records_without_a_fixed_size_are_named_within_64() {
    for record in 0..RECORDS {
        let damage = DamagedStore::new(&[], &[record]).damage("net/rows");
        let [range] = &damage[..] else {
            panic!("{damage:?}")
        };
        assert!(
            range.contains(&record) && range.end - range.start <= 64,
            "{range:?}"
        );
    }
}

#[test]
fn a_series_of_a_damaged_length_takes_no_eternity() {
    for length in [u64::MAX, 1 << 40] {
        let mut store = DamagedStore::new(&[], &[]);
        store.length = Some(length);
        for key in ["net/numbers", "net/rows"] {
            let damage = store.damage(key);
            let (first, last) = (damage.first().unwrap(), damage.last().unwrap());
            assert!(first.start <= RECORDS && last.end == length, "{damage:?}");
        }
    }
}

#[test]
fn damaged_keys_are_named_and_the_others_are_read() {
    let report = verify(&DamagedStore::new(&["net/numbers", "seed"], &[])).unwrap();
    let damaged: Vec<_> = report.damaged().map(|it| it.key.as_str()).collect();
    assert_eq!(damaged, ["net/numbers", "seed"]);
    assert!(report.damaged().all(|it| it.damage[0].records.is_none()));
    assert_eq!(report.keys.len(), 5);
    let text = report.to_string();
    assert!(
        text.contains("value 'seed'") && text.contains("damaged for a test"),
        "{text}"
    );

    // A group that cannot be listed hides what is in it, and nothing else.
    let report = verify(&DamagedStore::new(&["net"], &[])).unwrap();
    let keys: Vec<_> = report.keys.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["", "net", "seed"]);
    assert!(!report.is_sound());
}

#[test]
fn a_store_whose_root_cannot_be_listed_is_an_error() {
    let error = verify(&DamagedStore::new(&[""], &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
