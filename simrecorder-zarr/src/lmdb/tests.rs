//! Tests of what the public traits do not reach: commits, tails, snapshots, the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use simrecorder_core::{ErrorKind, OpenMode};

use super::opening::Access;
use super::*;

pub(super) fn open(path: &Path, mode: OpenMode) -> LmdbStorage {
    LmdbStorage::open(path, &LmdbOptions::default().mode(mode)).unwrap()
}

pub(super) fn set(key: &str, value: &[u8]) -> Change {
    Change::Set {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
    }
}

fn append(array: &str, bytes: &[u8]) -> Change {
    Change::AppendTail {
        array: array.to_owned(),
        bytes: Bytes::copy_from_slice(bytes),
    }
}

pub(super) fn erase_path(path: &str) -> Change {
    Change::ErasePath {
        path: path.to_owned(),
    }
}

pub(super) fn get(storage: &LmdbStorage, key: &str) -> Option<Bytes> {
    storage
        .0
        .constants()
        .environment
        .read(|snapshot| snapshot.get(key))
        .unwrap()
}

fn tail(storage: &LmdbStorage, array: &str) -> Vec<u8> {
    storage
        .0
        .constants()
        .environment
        .read(|snapshot| snapshot.tail(array))
        .unwrap()
}

fn children(storage: &LmdbStorage, path: &str) -> Vec<String> {
    let mut names = None;
    storage
        .read(&mut |snapshot| {
            names = Some(snapshot.children(path)?);
            Ok(())
        })
        .unwrap();
    names.unwrap()
}

/// The folder to work on, if [`child`] started this process.
fn role() -> Option<PathBuf> {
    std::env::var_os("SIMRECORDER_TEST_ROLE").map(PathBuf::from)
}

/// Runs the named test in a separate process, where [`role`] returns `path`.
fn child(test: &str, path: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("lmdb::tests::{test}"), "--nocapture"])
        .env("SIMRECORDER_TEST_ROLE", path)
        .output()
        .unwrap()
}

#[test]
fn a_commit_with_one_bad_key_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    for bad in [
        set(&long, b"1"),
        set("", b"1"),
        set("\0t", b"1"),
        Change::Erase { key: long.clone() },
        append(&"a".repeat(MAX_KEY_BYTES - 6), b"1"),
        append("a\0b", b"1"),
        Change::ClearTail {
            array: long.clone(),
        },
    ] {
        let changes = vec![set("a", b"1"), append("b", b"2"), bad.clone()];
        let error = storage.commit(changes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{bad:?}");
        assert!(error.key().is_some());
    }
    assert_eq!(get(&storage, "a"), None);
    assert_eq!(tail(&storage, "b"), b"");
    assert_eq!(get(&storage, &long), None);
    assert_eq!(tail(&storage, &long), b"");
    assert!(children(&storage, &long).is_empty());

    let longest = "a".repeat(MAX_KEY_BYTES - 7);
    storage
        .commit(vec![append(&longest, b"12"), append(&longest, b"3")])
        .unwrap();
    assert_eq!(tail(&storage, &longest), b"123");
}

#[test]
fn commits_are_refused_when_read_only_or_closed() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    writer.commit(vec![set("a", b"1")]).unwrap();
    let reader = open(folder.path(), OpenMode::Read);
    assert!(Storage::is_read_only(&reader) && !Storage::is_read_only(&writer));
    let kind = |storage: &LmdbStorage| storage.commit(vec![set("a", b"2")]).unwrap_err().kind();
    assert_eq!(kind(&reader), ErrorKind::ReadOnly);
    let clone = writer.clone();
    Storage::close(&clone).unwrap();
    Storage::close(&clone).unwrap();
    Storage::checkpoint(&writer).unwrap();
    assert_eq!(kind(&writer), ErrorKind::Closed);
    assert_eq!(get(&writer, "a").unwrap(), "1");
}

#[test]
fn tails_grow_clear_and_persist() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    let large: Vec<u8> = (0..3 << 20).map(|i| (i % 251) as u8).collect();
    let mut expected = Vec::new();
    for i in 0..2000u32 {
        expected.extend(i.to_le_bytes());
        storage
            .commit(vec![append("net/v", &i.to_le_bytes())])
            .unwrap();
    }
    expected.extend(&large);
    expected.extend(b"end");
    storage
        .commit(vec![
            append("net/v", &large),
            append("net/v", b"end"),
            append("net/v", b""),
        ])
        .unwrap();
    storage
        .commit(vec![append("net/v2", b"other"), append("", b"root")])
        .unwrap();
    assert_eq!(tail(&storage, "net/v"), expected);
    drop(storage);

    let storage = open(folder.path(), OpenMode::Append);
    assert_eq!(tail(&storage, "net/v"), expected);
    assert_eq!(tail(&storage, ""), b"root");
    assert_eq!(tail(&storage, "net"), b"");
    assert!(children(&storage, "").is_empty(), "tails do not show");
    storage
        .commit(vec![
            Change::ClearTail {
                array: "net/v".into(),
            },
            Change::ClearTail {
                array: "missing".into(),
            },
            append("net/v", b"new"),
        ])
        .unwrap();
    assert_eq!(tail(&storage, "net/v"), b"new");
    assert_eq!(tail(&storage, "net/v2"), b"other");
}

#[test]
fn small_appends_share_parts_below_the_size_of_a_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    for _ in 0..1000 {
        storage.commit(vec![append("a", &[7; 8])]).unwrap();
    }
    let mut parts = Vec::new();
    storage
        .0
        .constants()
        .environment
        .read(|snapshot| {
            for part in snapshot.entries.iter(snapshot.txn).unwrap() {
                let (key, value) = part.unwrap();
                parts.extend(key.starts_with(b"\0ta\0").then_some(value.len()));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(parts.iter().sum::<usize>(), 8000);
    assert_eq!(parts.len(), 5, "{parts:?}");
}

#[test]
fn a_missing_part_of_a_tail_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    storage
        .commit(vec![append("a", &[1; 3000]), append("a", &[2; 3000])])
        .unwrap();
    storage.close().unwrap();
    drop(storage);
    // SAFETY: no other program has the files open or changes them.
    let env = unsafe { heed::EnvOpenOptions::new().open(folder.path()) }.unwrap();
    let mut txn = env.write_txn().unwrap();
    let entries: super::entries::Entries = env.open_database(&txn, None).unwrap().unwrap();
    assert!(entries.delete(&mut txn, b"\0ta\0\0\0\0\0").unwrap());
    txn.commit().unwrap();
    drop(env);
    let storage = open(folder.path(), OpenMode::Read);
    let error = storage
        .0
        .constants()
        .environment
        .read(|snapshot| snapshot.tail("a"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn children_skip_what_is_below_them_and_keep_siblings_apart() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), OpenMode::CreateNew);
    let mut changes = vec![
        set("zarr.json", b"{}"),
        set("net/zarr.json", b"{}"),
        set("net/v/zarr.json", b"{}"),
        set("net/v-x/zarr.json", b"{}"),
        set("net/v2/zarr.json", b"{}"),
        set("net/ü/zarr.json", b"{}"),
        set("net2/zarr.json", b"{}"),
        append("hidden", b"1"),
    ];
    changes.extend((0..5000).map(|i| set(&format!("net/v/c/{i}"), b"1")));
    storage.commit(changes).unwrap();
    assert_eq!(children(&storage, ""), ["net", "net2"]);
    assert_eq!(children(&storage, "net"), ["v", "v-x", "v2", "ü"]);
    assert_eq!(children(&storage, "net/v"), ["c"]);
    assert!(children(&storage, "net/v/c").is_empty());
    assert!(children(&storage, "ne").is_empty());
    assert!(children(&storage, "\0tnet").is_empty());

    storage
        .commit(vec![append("net/v", b"1"), append("net/v/w", b"2")])
        .unwrap();
    storage
        .commit(vec![append("net/v-x", b"3"), append("net/v2", b"4")])
        .unwrap();
    storage.commit(vec![erase_path("net/v")]).unwrap();
    assert_eq!(children(&storage, "net"), ["v-x", "v2", "ü"]);
    let tails = ["net/v", "net/v/w", "net/v-x", "net/v2"].map(|array| tail(&storage, array));
    assert_eq!(tails, [&b""[..], b"", b"3", b"4"]);
    storage
        .commit(vec![erase_path("\0tnet"), erase_path("net/v-x\0\0\0")])
        .unwrap();
    assert_eq!(tail(&storage, "net/v-x"), b"3");
    storage.commit(vec![erase_path("")]).unwrap();
    assert!(children(&storage, "").is_empty());
    assert_eq!(tail(&storage, "net/v2"), b"");
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    writer
        .commit(vec![set("a", b"1"), append("a", b"x")])
        .unwrap();
    let reader = open(folder.path(), OpenMode::Read);
    reader
        .read(&mut |snapshot| {
            assert_eq!(snapshot.get("a")?.unwrap(), "1");
            writer.commit(vec![set("a", b"2"), append("a", b"y")])?;
            assert_eq!(snapshot.get("a")?.unwrap(), "1");
            assert_eq!(snapshot.tail("a")?, b"x");
            Ok(())
        })
        .unwrap();
    assert_eq!(get(&reader, "a").unwrap(), "2");
    assert_eq!(tail(&reader, "a"), b"xy");
}

#[test]
fn the_map_grows_under_readers_in_four_threads() {
    let folder = tempfile::tempdir().unwrap();
    let options = LmdbOptions::default()
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process)
        .map_size(64 << 10);
    let writer = LmdbStorage::open(folder.path(), &options).unwrap();
    let (_, first_size, _) = writer.0.constants().environment.state();
    assert!(first_size <= 256 << 10, "{first_size}");
    writer.commit(vec![set("n", &0u32.to_le_bytes())]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for i in 0..4 {
            let reader = if i % 2 == 0 {
                writer.clone()
            } else {
                open(folder.path(), OpenMode::Read)
            };
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    reader
                        .read(&mut |snapshot| {
                            let n = snapshot.get("n")?.unwrap();
                            let n = u32::from_le_bytes(n[..].try_into().unwrap());
                            if n > 0 {
                                let chunk = snapshot.get(&format!("c/{n}"))?.unwrap();
                                assert!(chunk.iter().all(|byte| *byte == n as u8));
                            }
                            Ok(())
                        })
                        .unwrap();
                }
            });
        }
        for n in 1..=64u32 {
            writer
                .commit(vec![
                    set(&format!("c/{n}"), &vec![n as u8; 100_000]),
                    set("n", &n.to_le_bytes()),
                ])
                .unwrap();
        }
        // One commit that is larger than twice the map.
        let large = vec![65; 40 << 20];
        writer
            .commit(vec![set("c/65", &large), set("n", &65u32.to_le_bytes())])
            .unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert!(writer.0.constants().environment.state().1 > 40 << 20);
}

#[test]
fn a_reader_follows_a_writer_in_another_process_beyond_its_own_map() {
    if let Some(path) = role() {
        let writer = open(&path, OpenMode::Append);
        return writer.commit(vec![set("big", &vec![9; 4 << 20])]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), OpenMode::CreateNew)
        .commit(vec![set("a", b"1")])
        .unwrap();
    let options = LmdbOptions::default().map_size(64 << 10);
    let reader = LmdbStorage::open(folder.path(), &options).unwrap();
    assert_eq!(get(&reader, "a").unwrap(), "1");
    let output = child(
        "a_reader_follows_a_writer_in_another_process_beyond_its_own_map",
        folder.path(),
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(get(&reader, "big").unwrap().len(), 4 << 20);
}

#[test]
fn slots_of_dead_readers_are_cleared_on_open_and_when_they_run_out() {
    const NAME: &str = "slots_of_dead_readers_are_cleared_on_open_and_when_they_run_out";
    if let Some(path) = role() {
        // The process dies during many reads, as if killed.
        let storage = open(&path, OpenMode::Read);
        let reading = Barrier::new(9);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    storage.0.constants().environment.read(|_| {
                        reading.wait();
                        std::thread::park();
                        Ok(())
                    })
                });
            }
            reading.wait();
            std::process::abort();
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    assert!(!child(NAME, folder.path()).status.success());
    // The first assertion checks this test: the slots are really still taken.
    assert_eq!(writer.0.constants().environment.state().2, 8);
    assert!(!child(NAME, folder.path()).status.success());
    let reader = open(folder.path(), OpenMode::Read);
    assert_eq!(reader.0.constants().environment.state().2, 0);
    drop((writer, reader));
}

#[test]
fn a_read_that_finds_no_slot_clears_those_of_the_dead() {
    const NAME: &str = "a_read_that_finds_no_slot_clears_those_of_the_dead";
    if let Some(path) = role() {
        open(&path, OpenMode::Read)
            .0
            .constants()
            .environment
            .take_all_slots();
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let writer = open(folder.path(), OpenMode::CreateNew);
    writer.commit(vec![set("a", b"1")]).unwrap();
    assert!(!child(NAME, folder.path()).status.success());
    assert_eq!(get(&writer, "a").unwrap(), "1");
    assert_eq!(writer.0.constants().environment.state().2, 0);
}

#[test]
fn an_environment_opened_read_only_becomes_writable() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), OpenMode::CreateNew)
        .commit(vec![set("a", b"1")])
        .unwrap();
    let reader = open(folder.path(), OpenMode::Read);
    assert_eq!(
        reader.0.constants().environment.state().0,
        Access::ReadWrite
    );
    reader
        .0
        .constants()
        .environment
        .set_access(Access::ReadOnly);
    assert_eq!(get(&reader, "a").unwrap(), "1");
    let writer = open(folder.path(), OpenMode::Append);
    assert_eq!(
        reader.0.constants().environment.state().0,
        Access::ReadWrite
    );
    writer.commit(vec![set("a", b"2")]).unwrap();
    assert_eq!(get(&reader, "a").unwrap(), "2");
}

#[test]
fn a_commit_of_more_pages_than_stay_in_memory_is_whole() {
    const ARRAYS: usize = 12_000;
    let name = |array: usize| format!("{}/{array}", array % 2);
    let bytes = |array: usize, commit: u8| {
        let number = array.to_le_bytes();
        number.into_iter().cycle().take(1500).chain([commit])
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let storage = open(&path, OpenMode::CreateNew);
    for commit in 0..3 {
        let bytes = |array| bytes(array, commit).collect::<Vec<_>>();
        let mut changes: Vec<_> = (0..ARRAYS)
            .map(|array| append(&name(array), &bytes(array)))
            .collect();
        if commit == 1 {
            // Entries that the same commit has written, many of them early.
            changes.push(erase_path("0"));
        }
        storage.commit(changes).unwrap();
    }
    drop(storage);
    let storage = open(&path, OpenMode::Read);
    for array in 0..ARRAYS {
        let commits = if array % 2 == 0 { 2..3 } else { 0..3 };
        let expected: Vec<u8> = commits.flat_map(|commit| bytes(array, commit)).collect();
        assert_eq!(tail(&storage, &name(array)), expected, "{array}");
    }
}
