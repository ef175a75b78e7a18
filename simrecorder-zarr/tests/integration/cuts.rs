//! Cutting a series: no view returns other records than before, whatever is appended afterwards,
//! and no order of changes in one commit loses or mixes records.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;
use std::sync::Arc;

use simrecorder_core::{
    Batch, Change, ChunkPolicy, Commit, DataStore, DataStoreExt, Durability, ErrorKind, Key,
    OpenMode, Recorder, RecorderOptions, Records, Result, Schema, View, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support::chunks;

const BOTH: [ZarrStorage; 2] = [ZarrStorage::Lmdb, ZarrStorage::Directory];
const KINDS: [&str; 3] = ["n", "rows", "text"];

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> ZarrDataStore {
    ZarrDataStore::options()
        .storage(storage)
        .durability(Durability::Process)
        .mode(mode)
        .open(path)
        .unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn schema(name: &str) -> Arc<Schema> {
    let schema = match name {
        "n" => Schema::scalar::<u64>(),
        "rows" => Schema::ragged::<u64>([]),
        _ => Schema::text(),
    };
    Arc::new(schema.with_chunk_policy(ChunkPolicy::records(4)))
}

fn declare(name: &str) -> Change {
    Change::Declare {
        key: key(name),
        schema: schema(name),
        filled: 0,
    }
}

/// The record of a number: the number, `number % 3` times the number, or its text.
fn records(name: &str, numbers: &[u64]) -> Records {
    let bytes = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
    let mut data: Vec<u8> = Vec::new();
    let mut ends = Vec::new();
    for &n in numbers {
        match name {
            "rows" => data.extend::<Vec<u8>>(bytes(&vec![n; n as usize % 3])),
            _ => data.extend(n.to_string().bytes()),
        }
        ends.push(data.len() as u64);
    }
    match name {
        "n" => Records::fixed(schema(name), numbers.len() as u64, bytes(numbers)).unwrap(),
        _ => Records::variable(schema(name), ends, data).unwrap(),
    }
}

fn append(store: &ZarrDataStore, name: &str, start: usize, numbers: &[u64]) -> Change {
    let batch = Batch::new(key(name), start as u64, records(name, numbers));
    Change::Append {
        prepared: store.prepare(&batch).unwrap(),
        batch: Arc::new(batch),
    }
}

fn truncate(name: &str, records: u64) -> Change {
    Change::Truncate {
        key: key(name),
        len: records,
    }
}

fn commit(store: &ZarrDataStore, changes: Vec<Change>) {
    store.commit(Commit::new(changes)).unwrap();
}

/// The number of each record of a view.
fn numbers(name: &str, view: &View) -> Result<Vec<u64>> {
    Ok(match name {
        "n" => view.read::<u64>()?.into_raw_vec_and_offset().0,
        "rows" => {
            let rows = view.read_ragged::<u64>()?;
            // Empty rows are multiples of 3, but which ones is unknown.
            rows.rows()
                .map(|row| row.first().copied().unwrap_or(u64::MAX))
                .collect()
        }
        _ => view
            .read_text()?
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
    })
}

fn expected(name: &str, numbers: &[u64]) -> Vec<u64> {
    let shown = |n: &u64| {
        if name == "rows" && n.is_multiple_of(3) {
            u64::MAX
        } else {
            *n
        }
    };
    numbers.iter().map(shown).collect()
}

#[track_caller]
fn check(store: &ZarrDataStore, name: &str, all: &[u64]) {
    let view = store.series_view(&key(name)).unwrap();
    assert_eq!(view.shape(), [all.len() as u64], "{name}");
    assert_eq!(numbers(name, &view).unwrap(), expected(name, all), "{name}");
}

#[test]
fn a_view_of_a_series_that_was_cut_and_continued_returns_no_other_records() {
    for storage in BOTH {
        // In the tail, in an unfinished chunk, and in full chunks; with and without a checkpoint.
        for (before, kept, folded) in [(10, 9, false), (10, 9, true), (11, 5, false), (9, 0, true)]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("run");
            let store = open(&path, storage, OpenMode::CreateNew);
            let old: Vec<u64> = (0..before).map(|i| 3 * i + 1).collect();
            let new: Vec<u64> = (0..20).map(|i| 3 * i + 1001).collect();
            for name in KINDS {
                commit(&store, vec![declare(name), append(&store, name, 0, &old)]);
            }
            if folded {
                store.checkpoint().unwrap();
            }
            let reader = open(&path, storage, OpenMode::Read);
            let views: Vec<_> = [&store, &reader]
                .iter()
                .flat_map(|store| KINDS.map(|name| (name, store.series_view(&key(name)).unwrap())))
                .collect();
            for name in KINDS {
                commit(&store, vec![truncate(name, kept)]);
                commit(&store, vec![append(&store, name, kept as usize, &new)]);
            }
            for (name, view) in &views {
                match numbers(name, view) {
                    Ok(found) => assert_eq!(found, expected(name, &old), "{name} {before} {kept}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{error}"),
                }
                // Everything before the cut is still there.
                for i in 0..kept {
                    let record = view.read_records(i..i + 1, 100).unwrap();
                    assert_eq!(record.data(), records(name, &[old[i as usize]]).data());
                }
            }
            for name in KINDS {
                let all = [&old[..kept as usize], &new[..]].concat();
                check(&store, name, &all);
            }
            store.close().unwrap();
            for name in KINDS {
                let all = [&old[..kept as usize], &new[..]].concat();
                check(&reader, name, &all);
            }
        }
    }
}

#[test]
fn any_order_of_cutting_and_appending_in_one_commit_is_applied() {
    // A generator of random numbers (splitmix, Steele et al. 2014).
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % below
    };
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut store = open(&path, storage, OpenMode::CreateNew);
        commit(&store, KINDS.map(declare).into());
        let mut model: [Vec<u64>; 3] = Default::default();
        let mut next = 0;
        for _ in 0..150 {
            let mut changes = Vec::new();
            for _ in 0..random(6) {
                let which = random(3) as usize;
                let all = &mut model[which];
                if random(3) == 0 {
                    let keep = random(all.len() as u64 + 2);
                    changes.push(truncate(KINDS[which], keep));
                    all.truncate(keep as usize);
                } else {
                    let new: Vec<u64> = (0..random(7)).map(|i| next + i).collect();
                    next += new.len() as u64;
                    store
                        .plan(&key(KINDS[which]), Some(&schema(KINDS[which])))
                        .unwrap();
                    changes.push(append(&store, KINDS[which], all.len(), &new));
                    all.extend(new);
                }
            }
            commit(&store, changes);
            match random(8) {
                0 => store.checkpoint().unwrap(),
                1 => {
                    if random(2) == 0 {
                        store.close().unwrap();
                    }
                    drop(store);
                    store = open(&path, storage, OpenMode::Append);
                }
                _ => {}
            }
            for (name, all) in KINDS.iter().zip(&model) {
                check(&store, name, all);
            }
        }
    }
}

/// A chunk file is written before the journal contains the commit. After a cut, it must not replace
/// records that are valid until then.
#[test]
fn a_commit_that_cuts_and_appends_and_fails_leaves_the_records_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let store = open(&path, ZarrStorage::Directory, OpenMode::CreateNew);
    let policy = ChunkPolicy::records(1000);
    let schema = Arc::new(
        Schema::scalar::<u64>()
            .with_chunk_policy(policy)
            .with_compression(simrecorder_core::Compression::None),
    );
    let append = |start: u64, first: u64, count: u64| {
        let data = (first..first + count).flat_map(u64::to_ne_bytes).collect();
        let records = Records::fixed(Arc::clone(&schema), count, data).unwrap();
        Change::Append {
            batch: Arc::new(Batch::new(key("n"), start, records)),
            prepared: None,
        }
    };
    let declare = Change::Declare {
        key: key("n"),
        schema: Arc::clone(&schema),
        filled: 0,
    };
    commit(&store, vec![declare, append(0, 0, 2000)]);
    store.checkpoint().unwrap();
    let chunk = chunks::place(&path, "n/c/1").read().unwrap();
    commit(&store, vec![truncate("n", 1500), append(1500, 5000, 500)]);
    // As if the process had been killed before the journal was written.
    assert!(chunks::place(&path, "n/c/1").read().unwrap() == chunk);
    let view = store.series_view(&key("n")).unwrap();
    let expected = (0..1500).chain(5000..5500);
    assert!(view.read::<u64>().unwrap().into_iter().eq(expected.clone()));
    store.close().unwrap();
    let view = store.series_view(&key("n")).unwrap();
    assert!(view.read::<u64>().unwrap().into_iter().eq(expected));
}

#[test]
fn chunks_that_were_encoded_ahead_for_another_layout_are_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(
        &folder.path().join("run"),
        ZarrStorage::Lmdb,
        OpenMode::CreateNew,
    );
    let other = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(2));
    store.plan(&key("n"), Some(&other)).unwrap();
    let numbers: Vec<u64> = (0..10).collect();
    let change = append(&store, "n", 0, &numbers);
    commit(&store, vec![declare("n"), change]);
    check(&store, "n", &numbers);
    // Another type.
    let other = Schema::array::<f32>([7]);
    store.plan(&key("m"), Some(&other)).unwrap();
    let batch = Batch::new(key("m"), 0, records("n", &numbers));
    assert!(store.prepare(&batch).unwrap().is_none());
}

#[test]
fn dropping_a_store_without_closing_it_loses_nothing() {
    for storage in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut all = Vec::new();
        for round in 0..6_u64 {
            let mode = OpenMode::OpenOrCreate;
            let store = open(&path, storage, mode);
            let numbers: Vec<u64> = (round * 5..round * 5 + 5).collect();
            for name in KINDS {
                let changes = vec![declare(name), append(&store, name, all.len(), &numbers)];
                commit(&store, changes);
            }
            all.extend(numbers);
            if round % 2 == 1 {
                store.close().unwrap();
                store.close().unwrap();
            }
            drop(store);
            for name in KINDS {
                check(&open(&path, storage, OpenMode::Read), name, &all);
            }
        }
        let options = RecorderOptions::new().inline(true);
        let recorder = Recorder::with_options(open(&path, storage, OpenMode::Append), options);
        recorder.record("n", 30_u64).unwrap();
        recorder.close().unwrap();
    }
}
