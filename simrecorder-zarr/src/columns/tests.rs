//! Tests of tails as the storage keeps them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use simrecorder_core::backend::columns::MAX_FRAMES;
use simrecorder_core::backend::frame_sizes;
use simrecorder_core::{
    Batch, Change, ChunkPolicy, Commit, DataStore, DataStoreExt, Durability, ErrorKind, Key,
    OpenMode, Records, Schema,
};

use crate::{ZarrDataStore, ZarrStorage, storage};

const SERIES: &str = "v";

/// Creates a recording with a scalar series.
fn create(path: &Path, storage: ZarrStorage) -> ZarrDataStore {
    let options = ZarrDataStore::options().storage(storage);
    let store = options
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process)
        .chunk_policy(ChunkPolicy::records(1 << 18))
        .open(path)
        .unwrap();
    let declared = Change::Declare {
        key: Key::new(SERIES).unwrap(),
        schema: Arc::new(Schema::scalar::<u64>()),
        filled: 0,
    };
    store.commit(Commit::new(vec![declared])).unwrap();
    store
}

/// Commits each record separately.
fn commit_one_by_one(store: &ZarrDataStore, numbers: Range<u64>) {
    let (key, schema) = (Key::new(SERIES).unwrap(), Arc::new(Schema::scalar::<u64>()));
    for number in numbers {
        let data = number.to_le_bytes().to_vec();
        let records = Records::fixed(Arc::clone(&schema), 1, data).unwrap();
        let change = Change::Append {
            batch: Arc::new(Batch::new(key.clone(), number, records)),
            prepared: None,
        };
        store.commit(Commit::new(vec![change])).unwrap();
    }
}

/// The tail as another store reads it.
fn tail(path: &Path, storage: ZarrStorage) -> Vec<u8> {
    let reader = ZarrDataStore::options()
        .storage(storage)
        .open(path)
        .unwrap();
    let mut tail = Vec::new();
    let read = reader.recording().storage.read(&mut |snapshot| {
        tail = snapshot.tail(SERIES)?;
        Ok(())
    });
    read.unwrap();
    tail
}

const COMMITS: u64 = 100_000;

fn check_tail(tail: &[u8], count: u64) {
    let frames = frame_sizes(tail, 0).unwrap();
    assert!(frames.len() <= MAX_FRAMES, "{} frames", frames.len());
    assert_eq!(frames.iter().map(|frame| frame.rows).sum::<u64>(), count);
    assert!(tail.len() as u64 <= count * 8 + 28 * MAX_FRAMES as u64);
}

#[test]
fn a_series_in_lmdb_that_is_committed_record_by_record_has_few_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    commit_one_by_one(&create(&path, ZarrStorage::Lmdb), 0..COMMITS);
    check_tail(&tail(&path, ZarrStorage::Lmdb), COMMITS);
    // LMDB reuses the pages of replaced frames.
    let bytes = path.join("data.mdb").metadata().unwrap().len();
    assert!(bytes < 8 << 20, "{bytes}");
}

#[test]
fn a_series_in_a_directory_that_is_committed_record_by_record_has_few_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    commit_one_by_one(&create(&path, ZarrStorage::Directory), 0..COMMITS);
    check_tail(&tail(&path, ZarrStorage::Directory), COMMITS);
    // The journal contains each record once for each of five tiers, plus the frames and their
    // overhead.
    let journal = folder.path().join("run.journal");
    let bytes = journal.metadata().unwrap().len();
    assert!(bytes < COMMITS * (5 * 8 + 100), "{bytes}");
}

#[test]
fn a_damaged_frame_keeps_no_record_from_being_appended() {
    for storage in [ZarrStorage::Lmdb, ZarrStorage::Directory] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let store = create(&path, storage);
        commit_one_by_one(&store, 0..300);
        let mut damaged = tail(&path, storage);
        *damaged.last_mut().unwrap() ^= 1;
        let change = storage::Change::ReplaceTailEnd {
            array: SERIES.to_owned(),
            dropped: damaged.len() as u64,
            bytes: damaged.into(),
        };
        store.recording().storage.commit(vec![change]).unwrap();
        commit_one_by_one(&store, 300..340);
        let view = store.view(&Key::new(SERIES).unwrap()).unwrap().unwrap();
        assert_eq!(view.len(), 340);
        let error = view.read_records(0..340, usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
