//! Tails, as the storage holds them.

use std::sync::Arc;

use simrecorder_core::backend::columns::MAX_FRAMES;
use simrecorder_core::backend::frame_sizes;
use simrecorder_core::{
    Batch, Change, ChunkPolicy, Commit, DataStore, Durability, Key, OpenMode, Records, Schema,
};

use crate::{ZarrDataStore, ZarrStorage};

/// Commits `count` records of a scalar series, each by itself, and looks at the storage before
/// it is closed.
fn commit_one_by_one(storage: ZarrStorage, count: u64) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let store = ZarrDataStore::options()
        .storage(storage)
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process)
        .chunk_policy(ChunkPolicy::records(1 << 18))
        .open(&path)
        .unwrap();
    let (key, schema) = (Key::new("v").unwrap(), Arc::new(Schema::scalar::<u64>()));
    let declared = Change::Declare {
        key: key.clone(),
        schema: Arc::clone(&schema),
    };
    store.commit(Commit::new(vec![declared])).unwrap();
    for number in 0..count {
        let data = number.to_le_bytes().to_vec();
        let records = Records::fixed(Arc::clone(&schema), 1, data).unwrap();
        let batch = Arc::new(Batch::new(key.clone(), number, records));
        let prepared = None;
        let change = Change::Append { batch, prepared };
        store.commit(Commit::new(vec![change])).unwrap();
    }
    let mut tail = Vec::new();
    let reader = ZarrDataStore::options()
        .storage(storage)
        .open(&path)
        .unwrap();
    let read = reader.recording().storage.read(&mut |snapshot| {
        tail = snapshot.tail("v")?;
        Ok(())
    });
    read.unwrap();
    (folder, tail)
}

fn check_tail(tail: &[u8], count: u64) {
    let frames = frame_sizes(tail, 0).unwrap();
    assert!(frames.len() <= MAX_FRAMES, "{} frames", frames.len());
    assert_eq!(frames.iter().map(|frame| frame.rows).sum::<u64>(), count);
    assert!(tail.len() as u64 <= count * 8 + 28 * MAX_FRAMES as u64);
}

#[test]
fn a_series_in_lmdb_that_is_committed_record_by_record_has_few_frames() {
    let (folder, tail) = commit_one_by_one(ZarrStorage::Lmdb, 100_000);
    check_tail(&tail, 100_000);
    // LMDB uses the pages of replaced frames again.
    let bytes = folder.path().join("run/data.mdb").metadata().unwrap().len();
    assert!(bytes < 8 << 20, "{bytes}");
}

#[test]
fn a_series_in_a_directory_that_is_committed_record_by_record_has_few_frames() {
    let (folder, tail) = commit_one_by_one(ZarrStorage::Directory, 100_000);
    check_tail(&tail, 100_000);
    // The journal has each record once for each of five tiers, the frames and what is around them.
    let bytes = folder.path().join("run.journal").metadata().unwrap().len();
    assert!(bytes < 100_000 * (5 * 8 + 100), "{bytes}");
}
