//! Tests of the directory storage within one process, and helpers for the other tests.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::{TempDir, tempdir};

use super::overlay::is_below;
use super::*;
use crate::format::shards::{Extent, ShardIndex, Slot, index_len};
use crate::journal::{FORMAT, Record};
use crate::storage::ChunkKey;

/// Makes operations on the disk fail from a chosen point on.
#[derive(Debug)]
pub(super) struct Fault {
    /// The number of operations that succeed before the first failure.
    left: AtomicU64,
    /// Whether one operation fails, as on a full disk, or all from then on, as after a kill.
    once: AtomicBool,
}

thread_local! {
    /// The number of operations that succeed in storages that this thread opens.
    pub(super) static FAULT_AT_OPEN: Cell<u64> = const { Cell::new(u64::MAX) };
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(FAULT_AT_OPEN.get()),
            once: AtomicBool::new(false),
        }
    }
}

impl Fault {
    pub(super) fn step(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            if self.once.load(Ordering::SeqCst) {
                self.left.store(u64::MAX, Ordering::SeqCst);
            }
            return Err(io::Error::new(io::ErrorKind::StorageFull, "injected"));
        }
        self.left.store(
            left.saturating_sub(u64::from(left != u64::MAX)),
            Ordering::SeqCst,
        );
        Ok(())
    }
}

/// Limits so small that small data takes every path through the code.
pub(super) const TINY: Limits = Limits {
    small_chunk: 8,
    journal: u64::MAX,
    held: u64::MAX,
    settle_after: Duration::MAX,
    many_files: 3,
    batch: 64,
};

pub(super) const KEYS: [&str; 11] = [
    "zarr.json",
    "a/zarr.json",
    "a/c/0",
    "a/c/1",
    "a/b/zarr.json",
    "a/b/c/0/0",
    "a-b/zarr.json",
    "a0/zarr.json",
    "ab/zarr.json",
    "ab/c/0",
    "ab/c/1",
];
pub(super) const PATHS: [&str; 7] = ["", "a", "a/b", "a-b", "a0", "ab", "a/b/c"];

/// Shards, each with [`SLOTS`] slots.
pub(super) const SHARDS: [&str; 3] = ["a/s.0", "a/b/s", "ab/s"];
pub(super) const SLOTS: u32 = 4;

pub(super) type Model = BTreeMap<String, Vec<u8>>;

pub(super) fn set(key: &str, value: impl Into<Bytes>) -> Change {
    Change::Set {
        key: key.into(),
        value: value.into(),
    }
}

pub(super) fn chunk(key: &str, value: impl Into<Bytes>) -> Change {
    Change::SetChunk {
        key: key.into(),
        value: value.into(),
    }
}

pub(super) fn tail(array: &str, bytes: impl Into<Bytes>) -> Change {
    Change::AppendTail {
        array: array.into(),
        bytes: bytes.into(),
    }
}

pub(super) fn tail_end(array: &str, dropped: u64, bytes: impl Into<Bytes>) -> Change {
    Change::ReplaceTailEnd {
        array: array.into(),
        dropped,
        bytes: bytes.into(),
    }
}

pub(super) fn erase(key: &str) -> Change {
    Change::Erase { key: key.into() }
}

pub(super) fn slot(shard: &str, index: u32) -> ChunkKey {
    let count = SLOTS;
    ChunkKey {
        entry: shard.into(),
        slot: Some(Slot { index, count }),
    }
}

pub(super) fn set_slot(shard: &str, index: u32, value: impl Into<Bytes>) -> Change {
    let count = SLOTS;
    Change::SetInShard {
        shard: shard.into(),
        slot: Slot { index, count },
        value: Chunk::Bytes(value.into()),
    }
}

pub(super) fn erase_slot(shard: &str, index: u32) -> Change {
    let count = SLOTS;
    Change::EraseInShard {
        shard: shard.into(),
        slot: Slot { index, count },
    }
}

pub(super) fn erase_path(path: &str) -> Change {
    Change::ErasePath { path: path.into() }
}

pub(super) fn clear(array: &str) -> Change {
    Change::ClearTail {
        array: array.into(),
    }
}

pub(super) fn create(path: &Path) -> DirectoryStorage {
    let mode = OpenMode::CreateNew;
    DirectoryStorage::open_with(path, mode, Durability::Power, TINY).unwrap()
}

pub(super) fn append(path: &Path) -> DirectoryStorage {
    DirectoryStorage::open_with(path, OpenMode::Append, Durability::Power, TINY).unwrap()
}

/// Opens a recording for reading, as another process does.
pub(super) fn follow(path: &Path) -> DirectoryStorage {
    let paths = resolve(path, OpenMode::Read, Durability::Power).unwrap();
    DirectoryStorage::follow(paths).unwrap()
}

pub(super) fn get(storage: &DirectoryStorage, key: &str) -> Option<Vec<u8>> {
    let mut value = None;
    storage
        .read(&mut |snapshot| {
            value = snapshot.get(key)?;
            Ok(())
        })
        .unwrap();
    value.map(|value| value.to_vec())
}

pub(super) fn get_tail(storage: &DirectoryStorage, array: &str) -> Vec<u8> {
    let mut tail = Vec::new();
    storage
        .read(&mut |snapshot| {
            tail = snapshot.tail(array)?;
            Ok(())
        })
        .unwrap();
    tail
}

pub(super) fn children(storage: &DirectoryStorage, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    storage
        .read(&mut |snapshot| {
            names = snapshot.children(path)?;
            Ok(())
        })
        .unwrap();
    names
}

pub(super) fn all_slots() -> impl Iterator<Item = (&'static str, u32)> {
    let slots = |shard: &'static str| (0..SLOTS).map(move |slot| (shard, slot));
    SHARDS.into_iter().flat_map(slots)
}

/// The chunks in the file of a shard, as other software reads them; `None` if there is no file.
pub(super) fn shard_file(path: &Path, shard: &str) -> Option<BTreeMap<u32, Vec<u8>>> {
    let bytes = fs::read(path.join(shard)).ok()?;
    let index = ShardIndex::decode(&bytes[..index_len(SLOTS)]).expect("the index is whole");
    let range = |extent: Extent| extent.offset as usize..extent.end() as usize;
    let chunks = index.chunks();
    Some(
        chunks
            .map(|(slot, extent)| (slot, bytes[range(extent)].to_vec()))
            .collect(),
    )
}

/// Everything that is visible of these keys and paths. `tail:` precedes the path of a tail, and `#`
/// the slot of a chunk in a shard.
pub(super) fn dump(storage: &DirectoryStorage) -> Model {
    let mut found = Model::new();
    let mut names = BTreeMap::new();
    storage
        .read(&mut |snapshot| {
            found.clear();
            names.clear();
            for key in KEYS {
                if let Some(value) = snapshot.get(key)? {
                    found.insert(key.to_owned(), value.to_vec());
                }
            }
            for (shard, index) in all_slots() {
                if let Some(value) = snapshot.get_chunk(&slot(shard, index))? {
                    found.insert(format!("{shard}#{index}"), value.to_vec());
                }
            }
            for path in PATHS {
                let tail = snapshot.tail(path)?;
                if !tail.is_empty() {
                    found.insert(format!("tail:{path}"), tail);
                }
                names.insert(path, snapshot.children(path)?);
            }
            Ok(())
        })
        .unwrap();
    for (path, names) in names {
        assert_eq!(names, model_children(&found, path), "children of {path:?}");
    }
    found
}

fn model_children(model: &Model, path: &str) -> Vec<String> {
    let below = |key: &&String| !key.starts_with("tail:") && is_below(key, path);
    let prefix = if path.is_empty() { 0 } else { path.len() + 1 };
    let names: BTreeSet<_> = model
        .keys()
        .filter(below)
        .filter_map(|key| Some(key[prefix..].split_once('/')?.0.to_owned()))
        .collect();
    names.into_iter().collect()
}

pub(super) fn apply_to_model(model: &mut Model, change: &Change) {
    match change {
        Change::Set { key, value } | Change::SetChunk { key, value } => {
            model.insert(key.clone(), value.to_vec());
        }
        Change::Erase { key } => drop(model.remove(key)),
        Change::SetInShard { shard, slot, value } => {
            let value = match value {
                Chunk::Bytes(bytes) => bytes.to_vec(),
                Chunk::InShard(chunk) => chunk.read().unwrap(),
                Chunk::Written(_) => unreachable!("these are of LMDB"),
            };
            model.insert(format!("{shard}#{}", slot.index), value);
        }
        Change::EraseInShard { shard, slot } => {
            model.remove(&format!("{shard}#{}", slot.index));
        }
        Change::ErasePath { path } => model.retain(|key, _| match key.strip_prefix("tail:") {
            Some(array) => array != path && !is_below(array, path),
            None => !is_below(key, path),
        }),
        Change::MovePath { .. } | Change::SetWritten { .. } => {
            unreachable!("these tests move nothing and write nothing ahead")
        }
        Change::AppendTail { array, bytes } => {
            if !bytes.is_empty() {
                model
                    .entry(format!("tail:{array}"))
                    .or_default()
                    .extend_from_slice(bytes);
            }
        }
        Change::ReplaceTailEnd {
            array,
            dropped,
            bytes,
        } => {
            let name = format!("tail:{array}");
            let mut tail = model.remove(&name).unwrap_or_default();
            tail.truncate(tail.len().saturating_sub(*dropped as usize));
            tail.extend_from_slice(bytes);
            if !tail.is_empty() {
                model.insert(name, tail);
            }
        }
        Change::ClearTail { array } => drop(model.remove(&format!("tail:{array}"))),
    }
}

pub(super) fn beside(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(super) fn set_fault(storage: &DirectoryStorage, after: u64, once: bool) {
    if let State::Writer(writer) = &*storage.shared.writer.lock() {
        writer.disk.fault.once.store(once, Ordering::SeqCst);
        writer.disk.fault.left.store(after, Ordering::SeqCst);
    }
}

/// Whether an operation has failed as [`set_fault`] specified.
pub(super) fn is_fault_over(storage: &DirectoryStorage) -> bool {
    match &*storage.shared.writer.lock() {
        State::Writer(writer) => {
            let left = writer.disk.fault.left.load(Ordering::SeqCst);
            left == 0 || left == u64::MAX
        }
        _ => false,
    }
}

pub(super) fn recording() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    (folder, path)
}

pub(super) fn journal_of(path: &Path) -> PathBuf {
    path.with_file_name("run.zarr.journal")
}

pub(super) fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("it should fail").kind()
}

#[test]
fn commits_come_back_in_every_handle() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let changes = [
        set("zarr.json", "root"),
        set("a/zarr.json", vec![7; 10_000]),
        chunk("a/c/0", "a large chunk"),
        chunk("a/c/1", "small"),
        tail("a", "abc"),
        tail("a", vec![1; 5000]),
        tail("a", "def"),
    ];
    let mut model = Model::new();
    changes
        .iter()
        .for_each(|change| apply_to_model(&mut model, change));
    storage.commit(changes.to_vec()).unwrap();
    assert!(
        path.join("a/c/0").exists(),
        "a large chunk is a file at once"
    );
    assert!(!path.join("a/c/1").exists() && !path.join("zarr.json").exists());

    let other = follow(&path);
    assert_eq!(dump(&storage), model);
    assert_eq!(dump(&other), model);
    let shared = DirectoryStorage::open(&path, OpenMode::Read, Durability::Power).unwrap();
    assert!(Arc::ptr_eq(&shared.shared, &storage.shared));
    drop(storage);
    assert_eq!(dump(&other), model);
    assert_eq!(dump(&shared), model);

    let storage = append(&path);
    assert_eq!(dump(&storage), model);
    storage
        .commit(vec![clear("a"), set("a/zarr.json", "new")])
        .unwrap();
    assert_eq!(get(&shared, "a/zarr.json").unwrap(), b"new");
    assert_eq!(get_tail(&shared, "a"), b"");
    assert_eq!(get(&other, "a"), None, "a directory is no entry");
}

#[test]
fn a_checkpoint_leaves_plain_files_alone() {
    let (_folder, path) = recording();
    let storage = create(&path);
    storage
        .commit(vec![
            set("zarr.json", "root"),
            set("a/zarr.json", "1"),
            tail("a", "t"),
        ])
        .unwrap();
    storage
        .commit(vec![chunk("a/c/0", vec![5; 100]), chunk("a/c/1", "s")])
        .unwrap();
    storage.checkpoint().unwrap();
    assert_eq!(
        beside(&path),
        ["run.zarr", "run.zarr.journal", "run.zarr.lock"],
        "a tail remains"
    );
    assert_eq!(get_tail(&storage, "a"), b"t");
    assert_eq!(get_tail(&follow(&path), "a"), b"t");

    storage.commit(vec![clear("a")]).unwrap();
    storage.checkpoint().unwrap();
    assert_eq!(beside(&path), ["run.zarr", "run.zarr.lock"]);
    assert_eq!(fs::read(path.join("zarr.json")).unwrap(), b"root");
    assert_eq!(fs::read(path.join("a/zarr.json")).unwrap(), b"1");
    assert_eq!(fs::read(path.join("a/c/1")).unwrap(), b"s");

    storage
        .commit(vec![erase("a/c/0"), erase("a/c/1"), erase("a/zarr.json")])
        .unwrap();
    assert_eq!(children(&storage, ""), [""; 0]);
    storage.close().unwrap();
    storage.close().unwrap();
    assert_eq!(beside(&path), ["run.zarr"]);
    assert!(
        !path.join("a").exists(),
        "empty directories go with their entries"
    );
    assert_eq!(kind(storage.commit(vec![])), ErrorKind::Closed);
    assert_eq!(kind(storage.checkpoint()), ErrorKind::Closed);
    assert_eq!(get(&storage, "zarr.json").unwrap(), b"root");
}

#[test]
fn the_last_write_of_a_key_counts() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let big = |byte: u8| vec![byte; 64];
    storage
        .commit(vec![
            set("zarr.json", "0"),
            chunk("a/c/0", big(1)),
            tail("a", "t"),
        ])
        .unwrap();
    storage.checkpoint().unwrap();
    // Erased, then set again in the same commit and in a later one.
    storage
        .commit(vec![erase_path("a"), set("a/zarr.json", "1")])
        .unwrap();
    assert_eq!(get(&storage, "a/c/0"), None);
    assert_eq!(get_tail(&storage, "a"), b"");
    storage
        .commit(vec![
            chunk("a/c/0", big(2)),
            chunk("a/c/1", big(3)),
            chunk("a/c/1", big(4)),
        ])
        .unwrap();
    assert_eq!(
        fs::read(path.join("a/c/0")).unwrap(),
        big(1),
        "its path was erased: not yet"
    );
    storage
        .commit(vec![set("a/c/1", "old"), chunk("a/c/1", big(5))])
        .unwrap();
    let check = |storage: &DirectoryStorage| {
        assert_eq!(get(storage, "a/zarr.json").unwrap(), b"1");
        assert_eq!(get(storage, "a/c/0").unwrap(), big(2));
        assert_eq!(get(storage, "a/c/1").unwrap(), big(5));
    };
    check(&storage);
    check(&follow(&path));
    drop(storage);
    let storage = append(&path);
    check(&storage);
    storage.checkpoint().unwrap();
    check(&storage);
    storage
        .commit(vec![chunk("a/c/1", big(6)), erase("a/c/1")])
        .unwrap();
    storage
        .commit(vec![chunk("a/c/0", big(7)), chunk("a/c/0", big(8))])
        .unwrap();
    assert_eq!(get(&storage, "a/c/1"), None);
    assert_eq!(get(&storage, "a/c/0").unwrap(), big(8));
}

#[test]
fn erasing_a_path_spares_its_siblings() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let keys = [
        "zarr.json",
        "a/zarr.json",
        "a/b/zarr.json",
        "a-b/zarr.json",
        "ab/zarr.json",
    ];
    let all = |value: &'static str| keys.iter().map(|key| set(key, value)).collect::<Vec<_>>();
    for checkpoint_before in [false, true] {
        storage.commit(all("x")).unwrap();
        storage
            .commit(vec![tail("a", "1"), tail("a/b", "2"), tail("ab", "3")])
            .unwrap();
        if checkpoint_before {
            storage.checkpoint().unwrap();
        }
        storage.commit(vec![erase_path("a")]).unwrap();
        for _ in 0..2 {
            let left: Vec<_> = dump(&storage).into_keys().collect();
            assert_eq!(
                left,
                ["a-b/zarr.json", "ab/zarr.json", "tail:ab", "zarr.json"]
            );
            storage.checkpoint().unwrap();
        }
        storage.commit(vec![clear("ab")]).unwrap();
    }
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let (_folder, path) = recording();
    drop(create(&path));
    let journal = journal_of(&path);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[8] = 2;
    fs::write(&journal, &bytes).unwrap();
    for mode in [OpenMode::Read, OpenMode::Append] {
        let opened = DirectoryStorage::open(&path, mode, Durability::Power);
        assert_eq!(kind(opened), ErrorKind::Unsupported);
    }
    fs::write(&journal, "garbage, and enough of it for a header").unwrap();
    assert_eq!(
        kind(DirectoryStorage::open(
            &path,
            OpenMode::Append,
            Durability::Power
        )),
        ErrorKind::Corrupt
    );
    assert!(!path.with_file_name("run.zarr.lock").exists());
}

#[test]
fn a_journal_cannot_lead_out_of_the_recording() {
    let (_folder, path) = recording();
    drop(create(&path));
    let (header, position) = FORMAT.encode_header(0);
    let mut bytes = header.to_vec();
    let mut record = Record::default();
    record.push(&set("a/../../outside", "x"));
    bytes.extend_from_slice(&record.seal(position).bytes);
    fs::write(journal_of(&path), bytes).unwrap();
    assert_eq!(
        kind(DirectoryStorage::open(
            &path,
            OpenMode::Append,
            Durability::Power
        )),
        ErrorKind::Corrupt
    );
}

#[test]
fn a_large_journal_is_rewritten() {
    let (_folder, path) = recording();
    let limits = Limits {
        journal: 4000,
        ..TINY
    };
    let mode = OpenMode::CreateNew;
    let storage = DirectoryStorage::open_with(&path, mode, Durability::Process, limits).unwrap();
    let reader = follow(&path);
    storage.commit(vec![set("zarr.json", "0")]).unwrap();
    let mut longest = 0;
    for round in 0..200u32 {
        let text = round.to_string();
        storage
            .commit(vec![
                set("a/zarr.json", text.clone()),
                tail("a", vec![1; 100]),
            ])
            .unwrap();
        if round % 10 == 9 {
            storage
                .commit(vec![clear("a"), chunk("a/c/0", vec![1; 1000])])
                .unwrap();
        }
        let length = (round % 10 + 1) % 10 * 100;
        for storage in [&storage, &reader] {
            assert_eq!(get(storage, "a/zarr.json").unwrap(), text.as_bytes());
            assert_eq!(get_tail(storage, "a").len(), length as usize);
        }
        longest = longest.max(fs::metadata(journal_of(&path)).map_or(0, |it| it.len()));
    }
    assert!((3500..4100).contains(&longest), "{longest}");
}

#[test]
fn the_overlay_does_not_grow_with_the_run() {
    let (_folder, path) = recording();
    let limits = Limits {
        held: 20_000,
        ..TINY
    };
    let mode = OpenMode::CreateNew;
    let storage = DirectoryStorage::open_with(&path, mode, Durability::Process, limits).unwrap();
    storage.commit(vec![set("zarr.json", "0")]).unwrap();
    for round in 0..500u32 {
        storage
            .commit(vec![
                set(&format!("a/c/{round}"), vec![0; 400]),
                tail("ab", "12"),
            ])
            .unwrap();
        assert!(storage.shared.published.current().held() < 21_000);
    }
    assert_eq!(get_tail(&storage, "ab").len(), 1000);
    assert_eq!(get(&storage, "a/c/0").unwrap().len(), 400);
    storage.commit(vec![erase_path("")]).unwrap();
    storage.checkpoint().unwrap();
    assert_eq!(storage.shared.published.current().held(), 0);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn other_software_sees_new_entries_after_a_while_without_a_checkpoint() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let limits = Limits {
        settle_after: Duration::ZERO,
        ..TINY
    };
    let mode = OpenMode::CreateNew;
    let storage = DirectoryStorage::open_with(&path, mode, Durability::Process, limits).unwrap();
    let reader = follow(&path);
    // The moment depends on how long settling takes.
    let mut seen = 0;
    for round in 0..u32::MAX {
        let tail = Change::AppendTail {
            array: "v".into(),
            bytes: format!("{round},").into(),
        };
        let text = format!("{round}");
        storage
            .commit(vec![
                set("zarr.json", "0"),
                set("v/zarr.json", text.clone()),
                tail,
            ])
            .unwrap();
        if let Ok(text) = fs::read_to_string(path.join("v/zarr.json")) {
            seen = text.parse().unwrap();
        }
        let mut tail = Vec::new();
        reader
            .read(&mut |snapshot| {
                tail = snapshot.tail("v")?;
                Ok(())
            })
            .unwrap();
        assert!(tail.ends_with(format!("{round},").as_bytes()));
        if seen > 5 {
            return;
        }
    }
}
