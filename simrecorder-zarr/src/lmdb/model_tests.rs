//! Arbitrary sequences of commits, compared with a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use simrecorder_core::OpenMode;

use super::tests::open;
use super::*;

/// The expected contents of a storage, kept in the simplest way.
#[derive(Debug, Default, PartialEq)]
struct Model {
    entries: BTreeMap<String, Vec<u8>>,
    tails: BTreeMap<String, Vec<u8>>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Set { key, value } | Change::SetChunk { key, value } => {
                self.entries.insert(key.clone(), value.to_vec());
            }
            Change::SetWritten { .. } => {
                unreachable!("the model sees changes before they are written")
            }
            Change::Erase { key } => {
                self.entries.remove(key);
            }
            Change::SetInShard { .. } | Change::EraseInShard { .. } => {
                unreachable!("LMDB has none")
            }
            Change::ErasePath { path } => {
                let prefix = if path.is_empty() {
                    String::new()
                } else {
                    format!("{path}/")
                };
                self.entries.retain(|key, _| !key.starts_with(&prefix));
                self.tails
                    .retain(|key, _| key != path && !key.starts_with(&prefix));
            }
            Change::MovePath { from, to } => {
                let prefix = format!("{from}/");
                let moved = self
                    .entries
                    .extract_if(prefix.clone().., |key, _| key.starts_with(&prefix));
                let moved: Vec<_> = moved.collect();
                let entries = moved
                    .into_iter()
                    .filter(|(key, _)| !key.ends_with("/zarr.json"));
                self.entries.extend(
                    entries.map(|(key, value)| (format!("{to}/{}", &key[prefix.len()..]), value)),
                );
            }
            Change::AppendTail { array, bytes } => {
                self.tails.entry(array.clone()).or_default().extend(bytes);
            }
            Change::ReplaceTailEnd {
                array,
                dropped,
                bytes,
            } => {
                let tail = self.tails.entry(array.clone()).or_default();
                tail.truncate(tail.len().saturating_sub(*dropped as usize));
                tail.extend(bytes);
            }
            Change::ClearTail { array } => {
                self.tails.remove(array);
            }
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let below = self
            .entries
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix));
        let mut names: Vec<String> = below
            .filter_map(|rest| Some(rest.split_once('/')?.0.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn check(&self, storage: &LmdbStorage) {
        storage
            .0
            .constants()
            .environment
            .read(|snapshot| {
                let mut keys = Vec::new();
                snapshot.for_each("", |key, size| keys.push((key, size)))?;
                let expected: Vec<_> = self
                    .entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.len()))
                    .collect();
                assert_eq!(keys, expected);
                for (key, value) in &self.entries {
                    assert_eq!(snapshot.get(key)?.unwrap(), value);
                }
                for path in paths() {
                    let tail = self.tails.get(&path).cloned().unwrap_or_default();
                    assert!(snapshot.tail(&path)? == tail, "tail of '{path}'");
                    let end = &tail[tail.len().saturating_sub(1000)..];
                    assert!(snapshot.tail_end(&path, 1000)? == end, "its end");
                    assert_eq!(snapshot.children(&path)?, self.children(&path), "'{path}'");
                }
                Ok(())
            })
            .unwrap();
    }
}

/// Paths of up to three names that sort before, at and after `/`.
fn paths() -> Vec<String> {
    let names = ["a", "a-", "a0", "b"];
    let mut paths = vec![String::new()];
    for first in names {
        paths.push(first.to_owned());
        for second in names {
            paths.push(format!("{first}/{second}"));
            paths.push(format!("{first}/{second}/c"));
        }
    }
    paths
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = (0..5usize, any::<u8>())
        .prop_map(|(size, byte)| Bytes::from(vec![byte; [0, 10, 900, 5000, 70_000][size]]));
    (0..7, proptest::sample::select(paths()), bytes).prop_map(|(kind, path, bytes)| match kind {
        0 => Change::Set {
            key: format!("{path}/zarr.json").trim_matches('/').into(),
            value: bytes,
        },
        1 => Change::SetChunk {
            key: format!("{path}/c/0").trim_matches('/').into(),
            value: bytes,
        },
        2 => Change::Erase {
            key: format!("{path}/c/0").trim_matches('/').into(),
        },
        3 => Change::ErasePath { path },
        4 => Change::AppendTail { array: path, bytes },
        5 => Change::ReplaceTailEnd {
            array: path,
            dropped: bytes.first().map_or(3, |&byte| u64::from(byte) * 40),
            bytes,
        },
        _ => Change::ClearTail { array: path },
    })
}

/// Checks that the ranges of chunk files in use are those to which entries lead.
fn check_space(storage: &LmdbStorage) {
    let handle = storage.0.constants();
    let mut extents = handle
        .environment
        .read(|snapshot| snapshot.extents())
        .unwrap();
    extents.sort_unstable();
    let used = handle.chunks.as_ref().unwrap().used();
    let mut joined: Vec<(u32, u64, u64)> = Vec::new();
    for extent in extents {
        let end = extent.offset + extent.len;
        match joined.last_mut() {
            Some((file, _, until)) if (*file, *until) == (extent.file, extent.offset) => {
                *until = end
            }
            _ => joined.push((extent.file, extent.offset, end)),
        }
    }
    assert_eq!(used, joined);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn commits_behave_like_those_of_a_map(
        commits in prop::collection::vec(prop::collection::vec(change(), 0..20), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let options = LmdbOptions::default()
            .durability(Durability::Process)
            .map_size(1);
        let mut mode = OpenMode::CreateNew;
        let mut model = Model::default();
        for (i, commit) in commits.into_iter().enumerate() {
            let storage = LmdbStorage::open(folder.path(), &options.clone().mode(mode)).unwrap();
            mode = OpenMode::Append;
            commit.iter().for_each(|change| model.apply(change));
            let written = commit.into_iter().map(|change| match change {
                Change::SetChunk { key, value } => {
                    let key = key.into();
                    let chunk = storage.write_ahead(&key, value).unwrap();
                    Change::of_chunk(key, chunk, true)
                }
                change => change,
            });
            if i % 2 == 0 {
                storage.commit(written.collect()).unwrap();
            } else {
                written.for_each(|change| storage.commit(vec![change]).unwrap());
            }
            model.check(&storage);
            check_space(&storage);
        }
        model.check(&open(folder.path(), OpenMode::Read));
    }
}
