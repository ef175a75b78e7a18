//! Large data: a record larger than the memory bound, many keys, many records.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::{Compression, Durability, OpenMode, Recorder, RecorderOptions};
use simrecorder_hdf5::Hdf5DataStore;

#[test]
fn a_record_larger_than_the_memory_bound_ten_thousand_keys_and_a_million_records_go_through() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let options = RecorderOptions::new().memory_bound(1 << 20);
    let store = Hdf5DataStore::options()
        .mode(OpenMode::CreateNew)
        .compression(Compression::None)
        .durability(Durability::Process);
    let recorder = Recorder::with_options(store.open(&path).unwrap(), options);
    let large: Vec<u64> = (0..1 << 20).collect();
    for _ in 0..3 {
        recorder.record("large", &large).unwrap();
    }
    for key in 0..10_000_u64 {
        recorder.record(format!("keys/{key}"), key).unwrap();
    }
    let tiny = recorder.series::<u8>("tiny").unwrap();
    for i in 0..1_000_000_u32 {
        tiny.record(i as u8).unwrap();
    }
    recorder.close().unwrap();
    let recorder = Recorder::new(Hdf5DataStore::open(&path).unwrap());
    let read = recorder.get_all("large").unwrap().get(2).unwrap();
    assert!(read.array::<u64>().unwrap().iter().eq(&large));
    assert_eq!(recorder.keys().unwrap().len(), 10_002);
    for key in (0..10_000_u64).step_by(331) {
        let view = recorder.get_all(format!("keys/{key}")).unwrap();
        assert_eq!(view.get(0).unwrap().scalar::<u64>().unwrap(), key);
    }
    let tiny = recorder.get_all("tiny").unwrap().read::<u8>().unwrap();
    assert_eq!(tiny.len(), 1_000_000);
    assert!(tiny.iter().zip(0_u32..).all(|(&x, i)| x == i as u8));
}
