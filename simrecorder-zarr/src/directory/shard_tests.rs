//! Tests of shards: kills, failures, damage, and disk space.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::tests::*;
use super::*;
use crate::format::shards::{Extent, ShardIndex, index_len};

/// A chunk of a shard, large enough to be written ahead of its commit.
fn large(byte: u8) -> Vec<u8> {
    vec![byte; 20_000]
}

/// The change that writes a chunk, written ahead if possible.
fn written_ahead(storage: &DirectoryStorage, shard: &str, index: u32, value: Vec<u8>) -> Change {
    let key = slot(shard, index);
    let chunk = storage.write_ahead(&key, value.into()).unwrap();
    Change::of_chunk(key, chunk, true)
}

/// New and growing shards, chunks that are written ahead and rewritten, and a removed shard. An
/// empty commit stands for a checkpoint.
const COMMITS: [fn(&DirectoryStorage) -> Vec<Change>; 6] = [
    |storage| {
        vec![
            set("zarr.json", "0"),
            set("a/zarr.json", "0"),
            written_ahead(storage, "a/s.0", 0, large(1)),
            set_slot("ab/s", 0, large(2)),
        ]
    },
    |storage| {
        vec![
            written_ahead(storage, "a/s.0", 1, large(3)),
            set("a/zarr.json", "1"),
            set_slot("a/s.0", 2, "small"),
            written_ahead(storage, "ab/s", 0, large(4)),
        ]
    },
    |_| vec![],
    |storage| {
        vec![
            written_ahead(storage, "a/s.0", 2, large(5)),
            set("a/zarr.json", "2"),
            erase_slot("ab/s", 0),
        ]
    },
    |_| vec![],
    |storage| {
        vec![
            written_ahead(storage, "a/s.0", 3, large(6)),
            written_ahead(storage, "ab/s", 1, large(7)),
            set("a/zarr.json", "3"),
        ]
    },
];

fn apply_all(model: &mut Model, changes: &[Change]) {
    changes
        .iter()
        .for_each(|change| apply_to_model(model, change));
}

/// Checks that a recording has the expected contents and, in addition, only chunks in shards that
/// appear early.
fn assert_shows(found: &Model, expected: &Model, after: &Model, steps: u64) {
    let mut found = found.clone();
    found.retain(|key, value| {
        let is_early = key.contains('#') && !expected.contains_key(key);
        !(is_early && after.get(key) == Some(value))
    });
    assert_eq!(short(&found), short(expected), "after {steps} steps");
}

/// The first bytes and the length of each entry.
fn short(model: &Model) -> Vec<(&str, &[u8], usize)> {
    let entries = model.iter();
    entries
        .map(|(key, value)| (&**key, &value[..value.len().min(5)], value.len()))
        .collect()
}

#[test]
fn shards_may_be_killed_or_fail_at_any_moment() {
    for once in [false, true] {
        for steps in 0.. {
            let (_folder, path) = recording();
            let storage = create(&path);
            let first = ["zarr.json", "a/zarr.json", "ab/zarr.json"].map(|key| set(key, "first"));
            storage.commit(first.to_vec()).unwrap();
            let early = follow(&path);
            set_fault(&storage, steps, once);
            let mut before = dump(&storage);
            let mut after = before.clone();
            let mut failed = false;
            for commit in COMMITS {
                let changes = commit(&storage);
                after.clone_from(&before);
                apply_all(&mut after, &changes);
                let done = match changes.is_empty() {
                    true => storage.checkpoint(),
                    false => storage.commit(changes),
                };
                failed = done.is_err();
                let expected = if failed { &before } else { &after };
                assert_shows(&dump(&storage), expected, &after, steps);
                if failed {
                    break;
                }
                before.clone_from(&after);
            }
            let has_fired = is_fault_over(&storage);
            let mut goes_on = false;
            if once && failed {
                // The same writer continues.
                let again = vec![
                    written_ahead(&storage, "a/s.0", 3, large(8)),
                    set("a/zarr.json", "8"),
                ];
                goes_on = storage.commit(again.clone()).is_ok();
                if goes_on {
                    apply_all(&mut before, &again);
                    apply_all(&mut after, &again);
                }
                drop(again);
            }
            drop(storage);
            let storage = append(&path);
            let found = dump(&storage);
            // An unreported commit may be there if the process was killed after the record was
            // written, or if the writer could not know that it had succeeded.
            let is_after =
                failed && !goes_on && found.get("a/zarr.json") == after.get("a/zarr.json");
            let expected = if is_after { &after } else { &before };
            assert_shows(&found, expected, &after, steps);
            assert_eq!(short(&dump(&early)), short(&found), "after {steps} steps");
            let more = vec![
                written_ahead(&storage, "a/s.0", 0, large(9)),
                set_slot("ab/s", 3, large(9)),
            ];
            let mut expected = found;
            apply_all(&mut expected, &more);
            storage.commit(more).unwrap();
            assert_eq!(
                short(&dump(&storage)),
                short(&expected),
                "after {steps} steps"
            );
            storage.close().unwrap();
            assert_eq!(
                short(&dump(&early)),
                short(&expected),
                "after {steps} steps"
            );
            let file = shard_file(&path, "a/s.0").unwrap();
            assert_eq!(file[&0], large(9), "after {steps} steps");
            assert_eq!(beside(&path), ["run.zarr"], "after {steps} steps");
            if !has_fired {
                assert!(!failed);
                assert!(steps > 60, "{steps}");
                break;
            }
        }
    }
}

/// Creates a recording with a shard that has one chunk in its file and another in the journal.
fn sharded(path: &Path) -> (DirectoryStorage, Model) {
    let storage = create(path);
    let first = vec![set("zarr.json", "0"), set_slot("a/s.0", 0, large(1))];
    storage.commit(first).unwrap();
    storage.checkpoint().unwrap();
    let second = vec![set_slot("a/s.0", 1, large(2)), tail("a", "t")];
    storage.commit(second).unwrap();
    let model = dump(&storage);
    (storage, model)
}

#[test]
fn a_torn_index_is_mended_from_the_journal() {
    let (_folder, path) = recording();
    let (storage, model) = sharded(&path);
    drop(storage);
    let shard = File::options().write(true).open(path.join("a/s.0"));
    let shard = shard.unwrap();
    for damage in [&[0; 68][..], &[7; 3], &[255; 40]] {
        shard.write_all_at(damage, 0).unwrap();
        assert_eq!(dump(&follow(&path)), model);
    }
    let storage = append(&path);
    assert_eq!(dump(&storage), model);
    let more = vec![set_slot("a/s.0", 2, large(3)), clear("a")];
    storage.commit(more).unwrap();
    storage.close().unwrap();
    let file = shard_file(&path, "a/s.0").unwrap();
    let chunks = [(0, large(1)), (1, large(2)), (2, large(3))];
    assert_eq!(file, BTreeMap::from(chunks));
}

#[test]
fn a_damaged_shard_is_an_error_of_the_chunks_it_touches() {
    let (_folder, path) = recording();
    let (storage, _) = sharded(&path);
    storage.close().unwrap();
    let shard = path.join("a/s.0");
    let whole = fs::read(&shard).unwrap();
    let (_, first) = ShardIndex::decode(&whole[..index_len(SLOTS)])
        .unwrap()
        .chunks()
        .next()
        .unwrap();
    let with = |extent: Extent| {
        let mut index = ShardIndex::decode(&whole[..index_len(SLOTS)]).unwrap();
        index.set(1, Some(extent));
        [&index.encode()[..], &whole[index_len(SLOTS)..]].concat()
    };
    let wrong_sum = {
        let mut bytes = whole.clone();
        bytes[0] ^= 1;
        bytes
    };
    // What remains of the chunks 0 and 1.
    type Damage = (&'static str, Vec<u8>, [Option<ErrorKind>; 2]);
    let damages: [Damage; 8] = [
        ("no file content", vec![], [Some(ErrorKind::Corrupt); 2]),
        (
            "a cut index",
            whole[..20].to_vec(),
            [Some(ErrorKind::Corrupt); 2],
        ),
        ("a wrong checksum", wrong_sum, [Some(ErrorKind::Corrupt); 2]),
        (
            "a cut chunk",
            whole[..whole.len() - 1].to_vec(),
            [None, Some(ErrorKind::Corrupt)],
        ),
        (
            "an offset beyond the file",
            with(Extent {
                offset: 1 << 40,
                len: 5,
            }),
            [None, Some(ErrorKind::Corrupt)],
        ),
        (
            "a huge chunk",
            with(Extent {
                offset: 68,
                len: u64::MAX - 100,
            }),
            [None, Some(ErrorKind::Corrupt)],
        ),
        (
            "an end that overflows",
            with(Extent {
                offset: u64::MAX - 5,
                len: 10,
            }),
            [None, Some(ErrorKind::Corrupt)],
        ),
        ("two chunks in one place", with(first), [None, None]),
    ];
    for (name, bytes, expected) in damages {
        fs::write(&shard, bytes).unwrap();
        for storage in [follow(&path), append(&path)] {
            for (index, expected) in (0..).zip(expected) {
                let read = storage.read(&mut |snapshot| {
                    snapshot.get_chunk(&slot("a/s.0", index))?;
                    snapshot.get("zarr.json").map(drop)
                });
                assert_eq!(read.map_err(|e| e.kind()).err(), expected, "{name}");
            }
            if storage.is_read_only() {
                continue;
            }
            // Other shards are written. Writing a chunk of this one may fail.
            let other = vec![set_slot("ab/s", 0, large(1))];
            storage.commit(other).unwrap();
            match storage.commit(vec![set_slot("a/s.0", 3, large(4))]) {
                Ok(()) => assert_eq!(storage.get_slot("a/s.0", 3), Some(large(4)), "{name}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}"),
            }
            storage.close().unwrap();
        }
    }
}

impl DirectoryStorage {
    fn get_slot(&self, shard: &str, index: u32) -> Option<Vec<u8>> {
        let mut found = None;
        self.read(&mut |snapshot| {
            found = snapshot.get_chunk(&slot(shard, index))?;
            Ok(())
        })
        .unwrap();
        found.map(|bytes| bytes.to_vec())
    }
}

#[test]
fn a_chunk_that_is_written_again_and_again_does_not_make_its_shard_grow() {
    let (_folder, path) = recording();
    let storage = create(&path);
    let reader = follow(&path);
    storage.commit(vec![set("zarr.json", "0")]).unwrap();
    for round in 0..200_u32 {
        // It grows like an unfinished chunk.
        let chunk = vec![round as u8; 10_000 + 50 * round as usize];
        let change = match round.is_multiple_of(2) {
            true => set_slot("a/s.0", 1, chunk.clone()),
            false => written_ahead(&storage, "a/s.0", 1, chunk.clone()),
        };
        storage.commit(vec![change]).unwrap();
        assert_eq!(reader.get_slot("a/s.0", 1).as_ref(), Some(&chunk));
        storage.checkpoint().unwrap();
        assert_eq!(reader.get_slot("a/s.0", 1), Some(chunk));
    }
    let metadata = fs::metadata(path.join("a/s.0")).unwrap();
    assert!(metadata.len() < 80_000, "{}", metadata.len());
    drop(storage);
    // What a killed writer left.
    let file = File::options().append(true).open(path.join("a/s.0"));
    std::io::Write::write_all(&mut file.unwrap(), &[1; 300_000]).unwrap();
    let storage = append(&path);
    storage
        .commit(vec![set_slot("a/s.0", 0, large(1))])
        .unwrap();
    storage.checkpoint().unwrap();
    let metadata = fs::metadata(path.join("a/s.0")).unwrap();
    let blocks = metadata.blocks() * 512;
    assert!(blocks < 100_000 || blocks >= metadata.len(), "{blocks}");
    storage
        .commit(vec![set_slot("a/s.0", 2, vec![2; 200_000])])
        .unwrap();
    storage.close().unwrap();
    let metadata = fs::metadata(path.join("a/s.0")).unwrap();
    assert!(metadata.len() < 600_000, "{}", metadata.len());
}

#[test]
fn a_shard_with_another_name_is_copied_before_it_changes() {
    let (_folder, path) = recording();
    let (storage, _) = sharded(&path);
    storage.close().unwrap();
    let backup = path.with_file_name("backup");
    fs::hard_link(path.join("a/s.0"), &backup).unwrap();
    let before = fs::read(&backup).unwrap();
    let storage = append(&path);
    let reader = follow(&path);
    assert_eq!(reader.get_slot("a/s.0", 1), Some(large(2)));
    storage
        .commit(vec![written_ahead(&storage, "a/s.0", 2, large(3))])
        .unwrap();
    for (index, byte) in [(1, 2), (2, 3)] {
        assert_eq!(reader.get_slot("a/s.0", index), Some(large(byte)));
    }
    storage.close().unwrap();
    assert_eq!(reader.get_slot("a/s.0", 2), Some(large(3)));
    assert_eq!(fs::read(&backup).unwrap(), before);
}

#[test]
fn chunks_of_a_killed_first_commit_count_for_nothing() {
    let (_folder, path) = recording();
    let storage = create(&path);
    storage.commit(vec![set("zarr.json", "0")]).unwrap();
    // Never committed.
    let chunk = written_ahead(&storage, "a/s.0", 0, large(1));
    drop(storage);
    drop(chunk);
    let storage = append(&path);
    assert_eq!(storage.get_slot("a/s.0", 0), None);
    let chunk = written_ahead(&storage, "a/s.0", 1, large(2));
    storage.commit(vec![chunk]).unwrap();
    storage.close().unwrap();
    assert_eq!(beside(&path), ["run.zarr"]);
    let file = shard_file(&path, "a/s.0").unwrap();
    assert_eq!(file, BTreeMap::from([(1, large(2))]));
}
