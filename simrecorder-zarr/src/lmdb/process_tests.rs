//! Tests of the LMDB storage with other processes, which run this test program again.

use simrecorder_core::OpenMode;
use simrecorder_testkit::{Partner, role, this_test, wait_for_parent};

use super::tests::{get, open, set};
use super::*;
use crate::storage::Entry;

#[test]
fn killed_readers_do_not_make_the_file_grow() {
    const NAME: &str = "killed_readers_do_not_make_the_file_grow";
    const COMMITS: u32 = 1000;
    if let Some(path) = role() {
        let reader = open(&path, OpenMode::Read);
        let read = &mut |_: &dyn Snapshot| {
            wait_for_parent();
            Ok(())
        };
        reader.read(read).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let options = LmdbOptions::default()
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process);
    let writer = LmdbStorage::open(&path, &options).unwrap();
    let commit = |number: u32| {
        let value = [number as u8; 800];
        let keys = (0..10).map(|key| set(&format!("{key}"), &value));
        writer.commit(keys.collect()).unwrap();
    };
    commit(0);
    let readers = [(); 3].map(|()| Partner::start(&mut this_test(NAME, &path)));
    for mut reader in readers {
        reader.0.kill().unwrap();
        reader.0.wait().unwrap();
    }
    (0..COMMITS).for_each(commit);
    let length = std::fs::metadata(path.join("data.mdb")).unwrap().len();
    // A commit writes about six pages, and a killed reader would keep all of them.
    assert!(length < 3 << 20, "the file has {length} bytes");
}

/// Bytes for a chunk file.
fn chunk(byte: u8) -> Bytes {
    vec![byte; 40_000].into()
}

/// Replaces the entry `v/c/0`.
fn replace(storage: &LmdbStorage, byte: u8) {
    let key = ChunkKey::from("v/c/0".to_owned());
    let written = storage.write_ahead(&key, chunk(byte)).unwrap();
    let change = Change::of_chunk(key, written, false);
    storage.commit(vec![change]).unwrap();
}

/// The ranges of the chunk files in use.
fn taken(storage: &LmdbStorage) -> u64 {
    let chunks = storage.0.constants().chunks.as_ref().unwrap();
    chunks
        .used()
        .iter()
        .map(|(_, start, end)| end - start)
        .sum()
}

#[test]
fn data_of_a_snapshot_stays_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    replace(&writer, 1);
    let reader = open(folder.path(), OpenMode::Read);
    reader
        .read(&mut |snapshot| {
            let entry = snapshot.entry("v/c/0")?.unwrap();
            assert!(matches!(entry, Entry::MappedFile(_)), "{entry:?}");
            (2..6).for_each(|byte| replace(&writer, byte));
            assert_eq!(entry.in_memory().unwrap(), chunk(1));
            assert_eq!(taken(&writer), 5 * 40_000);
            Ok(())
        })
        .unwrap();
    replace(&writer, 6);
    assert_eq!(taken(&writer), 40_000);
    assert_eq!(get(&reader, "v/c/0").unwrap(), chunk(6));
}

#[test]
fn a_killed_reader_does_not_keep_the_pages_that_it_read() {
    if let Some(path) = role() {
        let reader = open(&path, OpenMode::Read);
        let read = reader.read(&mut |snapshot| {
            let entry = snapshot.entry("v/c/0")?.unwrap();
            println!("ready");
            loop {
                assert_eq!(entry.in_memory().unwrap(), chunk(1));
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        return read.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    replace(&writer, 1);
    let name = "a_killed_reader_does_not_keep_the_pages_that_it_read";
    let mut reader = Partner::start(&mut this_test(name, folder.path()));
    (2..6).for_each(|byte| replace(&writer, byte));
    assert_eq!(taken(&writer), 5 * 40_000);
    // A writer that opens the recording meanwhile also leaves it alone.
    writer.close().unwrap();
    drop(writer);
    let writer = open(folder.path(), OpenMode::Append);
    replace(&writer, 6);
    assert!(reader.0.try_wait().unwrap().is_none());
    reader.0.kill().unwrap();
    reader.0.wait().unwrap();
    replace(&writer, 7);
    writer.close().unwrap();
    drop(writer);
    assert_eq!(taken(&open(folder.path(), OpenMode::Append)), 40_000);
}

#[test]
fn a_commit_of_which_lmdb_told_no_reader_keeps_its_chunks() {
    if let Some(path) = role() {
        let writer = open(&path, OpenMode::Append);
        let key = ChunkKey::from("v/c/1".to_owned());
        let written = writer.write_ahead(&key, chunk(2)).unwrap();
        let change = Change::of_chunk(key, written, false);
        writer.commit(vec![change]).unwrap();
        let environment = &writer.0.constants().environment;
        let killed: Result<()> = environment.transact(0, |txn, _| {
            // The lock file contains the number of the last commit, which is for readers, after two
            // numbers of four bytes. LMDB writes it when the commit is in the file.
            let lock = File::options().write(true).open(path.join("lock.mdb"))?;
            let before = txn.id() - 2;
            std::os::unix::fs::FileExt::write_all_at(&lock, &before.to_ne_bytes(), 8)?;
            std::process::abort()
        });
        return killed.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    replace(&writer, 1);
    writer.close().unwrap();
    drop(writer);
    // While the recording is open, the lock file stays as it is.
    let reader = open(folder.path(), OpenMode::Read);
    let name = "a_commit_of_which_lmdb_told_no_reader_keeps_its_chunks";
    let output = this_test(name, folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(get(&reader, "v/c/1").is_none(), "{output:?}");
    let writer = open(folder.path(), OpenMode::Append);
    replace(&writer, 3);
    assert!(get(&writer, "v/c/0").unwrap() == chunk(3));
    assert!(get(&writer, "v/c/1").unwrap() == chunk(2));
}
