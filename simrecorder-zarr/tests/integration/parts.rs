//! The arrays with the parts of a ragged series are not keys.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::sync::Arc;

use simrecorder_core::{
    Batch, Change, Commit, DataStore, ErrorKind, Key, OpenMode, Recorder, Records, Schema, Value,
    prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

#[test]
fn nothing_can_be_written_at_the_parts_of_a_series() {
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        let folder = tempfile::tempdir().unwrap();
        let options = ZarrDataStore::options();
        let options = options.mode(OpenMode::CreateNew).storage(storage);
        let store = options.open(folder.path().join("run")).unwrap();
        let recorder = Recorder::new(store.clone());
        recorder.record("spikes", Ragged([1_u64, 2])).unwrap();
        // A group may have children of these names.
        recorder.record("net/ends", 1_u64).unwrap();
        recorder.set("net/values", 2_u64).unwrap();
        recorder.record("values", 3_u64).unwrap();
        recorder.record("ends", Ragged([4_u64])).unwrap();
        recorder.flush().unwrap();

        for name in ["spikes/ends", "spikes/values", "ends/ends", "spikes/x"] {
            let key = Key::new(name).unwrap();
            let schema = Arc::new(Schema::scalar::<u64>());
            let records = Records::fixed(Arc::clone(&schema), 1, vec![0; 8]).unwrap();
            let declare = Change::Declare {
                key: key.clone(),
                schema,
                filled: 0,
            };
            let append = Change::Append {
                batch: Arc::new(Batch::new(key.clone(), 1, records)),
                prepared: None,
            };
            let set = Change::Set {
                key: key.clone(),
                value: Arc::new(Value::new(1_u64).unwrap()),
            };
            let set_attributes = Change::SetAttributes {
                key: key.clone(),
                attributes: Arc::default(),
            };
            let truncate = Change::Truncate {
                key: key.clone(),
                len: 0,
            };
            for change in [declare, set, set_attributes] {
                let error = store.commit(Commit::new(vec![change])).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::KindMismatch, "{error}");
                assert!(error.to_string().contains(name), "{error}");
            }
            for change in [append, truncate] {
                let error = store.commit(Commit::new(vec![change])).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            }
        }
        let keys: Vec<_> = recorder.keys().unwrap();
        let keys: Vec<_> = keys.iter().map(Key::as_str).collect();
        assert_eq!(keys, ["ends", "net/ends", "net/values", "spikes", "values"]);
        let spikes = recorder.get_all("spikes").unwrap();
        assert_eq!(spikes.read_ragged::<u64>().unwrap().values().len(), 2);
        recorder.close().unwrap();
    }
}
