//! Shards in directories: which series have them, which files exist, and how often they are synced.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use simrecorder_core::{
    ChunkPolicy, CopyOptions, Durability, OpenMode, Recorder, RecorderOptions, Schema, copy,
    prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrOptions, ZarrStorage};

use crate::support::{assert_success, names_in, python};

fn options(mode: OpenMode) -> ZarrOptions {
    let options = ZarrDataStore::options().storage(ZarrStorage::Directory);
    options.mode(mode)
}

fn recorder(path: &Path, mode: OpenMode) -> Recorder {
    Recorder::new(options(mode).open(path).unwrap())
}

fn metadata(path: &Path, array: &str) -> Json {
    serde_json::from_slice(&fs::read(path.join(array).join("zarr.json")).unwrap()).unwrap()
}

/// The names of all files of an array except its metadata.
fn files(path: &Path, array: &str) -> Vec<String> {
    let mut names = names_in(&path.join(array));
    names.retain(|name| name != "zarr.json");
    names
}

/// The number of files and folders in a folder, including itself.
fn inodes(path: &Path) -> usize {
    if !path.is_dir() {
        return 1;
    }
    let entries = fs::read_dir(path).unwrap();
    1 + entries
        .map(|entry| inodes(&entry.unwrap().path()))
        .sum::<usize>()
}

#[test]
fn a_chunk_policy_says_how_large_shards_are_and_whether_there_are_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = recorder(&path, OpenMode::CreateNew);
    let chunks = || ChunkPolicy::records(10);
    let policies = [
        ("default", chunks()),
        // Of 240 bytes before compression, two chunks fit.
        ("two", chunks().with_shard_bytes(500)),
        ("single", chunks().with_shard_bytes(300)),
        ("off", chunks().with_shard_bytes(0)),
    ];
    for (key, policy) in policies {
        let schema = Schema::array::<f64>([3]).with_chunk_policy(policy);
        recorder.declare(key, schema).unwrap();
        for i in 0..45 {
            recorder.record(key, [f64::from(i); 3]).unwrap();
        }
    }
    recorder.close().unwrap();
    let single = ["c.0.0", "c.1.0", "c.2.0", "c.3.0", "c.4.0"];
    let expected = [
        ("default", &single[..1], json!([10240, 3])),
        ("two", &single[..3], json!([20, 3])),
        ("single", &single[..], json!([10, 3])),
        ("off", &single[..], json!([10, 3])),
    ];
    let reader = self::recorder(&path, OpenMode::Read);
    for (key, names, shape) in expected {
        assert_eq!(files(&path, key), names, "{key}");
        let written = metadata(&path, key);
        assert_eq!(written["chunk_grid"]["configuration"]["chunk_shape"], shape);
        let records = reader.get_all(key).unwrap().read::<f64>().unwrap();
        assert!((0..45).all(|i| records[[i, 1]] == i as f64), "{key}");
    }
}

#[test]
fn a_record_in_many_chunks_has_few_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let recorder = recorder(&path, OpenMode::CreateNew);
    let policy = ChunkPolicy::target_bytes(64).with_shard_bytes(1024);
    let schema = Schema::array::<f64>([5, 4, 8]).with_chunk_policy(policy);
    recorder.declare("v", schema).unwrap();
    let record: Vec<f64> = (0..160).map(f64::from).collect();
    for _ in 0..4 {
        recorder.record("v", (&[5, 4, 8][..], &record[..])).unwrap();
    }
    recorder.close().unwrap();
    // Of the 20 chunks of a record, 16 fit into a shard: four of the five rows with all of their
    // columns.
    let shape = &metadata(&path, "v")["chunk_grid"]["configuration"]["chunk_shape"];
    assert_eq!(shape, &json!([1, 4, 4, 8]));
    assert_eq!(files(&path, "v").len(), 4 * 2);
    let reader = self::recorder(&path, OpenMode::Read);
    let read = reader.get_all("v").unwrap().read::<f64>().unwrap();
    assert!(read.iter().eq(record.iter().cycle().take(640)));
}

#[test]
fn short_series_have_three_inodes_each_and_their_groups_two() {
    const SERIES: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let options = options(OpenMode::CreateNew).durability(Durability::Process);
    let recorder = Recorder::new(options.open(&path).unwrap());
    for i in 0..SERIES {
        recorder.record(format!("g{i}/v"), [i as f32; 50]).unwrap();
    }
    recorder.close().unwrap();
    // The root and its metadata are two more.
    assert_eq!(inodes(&path), SERIES * (3 + 2) + 2);
}

#[test]
fn a_copy_into_a_directory_has_shards_and_its_copy_into_lmdb_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["a", "b", "c"].map(|name| folder.path().join(name));
    let lmdb = |path: &Path, mode| {
        let options = ZarrDataStore::options().mode(mode);
        options.open(path).unwrap()
    };
    let recorder = Recorder::new(lmdb(&first, OpenMode::CreateNew));
    let schema = Schema::scalar::<u64>().with_chunk_policy(ChunkPolicy::records(10));
    recorder.declare("n", schema).unwrap();
    (0..95_u64).for_each(|i| recorder.record("n", i).unwrap());
    recorder.close().unwrap();
    drop(recorder);

    let target = options(OpenMode::CreateNew).open(&second).unwrap();
    copy(&lmdb(&first, OpenMode::Read), &target, CopyOptions::new()).unwrap();
    target.close().unwrap();
    assert_eq!(files(&second, "n"), ["c.0"]);
    let back = lmdb(&third, OpenMode::CreateNew);
    let source = options(OpenMode::Read).open(&second).unwrap();
    copy(&source, &back, CopyOptions::new()).unwrap();
    back.close().unwrap();
    drop(back);
    let recorder = Recorder::new(lmdb(&third, OpenMode::Append));
    (95..130_u64).for_each(|i| recorder.record("n", i).unwrap());
    let read = recorder.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(read.iter().copied().eq(0..130));
}

/// Directories of earlier versions have a file for each chunk, in folders.
#[test]
fn a_directory_with_single_chunks_is_appended_to_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let plain = ChunkPolicy::records(10).with_shard_bytes(0);
    let write = |mode, range: std::ops::Range<u64>| {
        let recorder = recorder(&path, mode);
        if mode == OpenMode::CreateNew {
            let schema = Schema::scalar::<u64>().with_chunk_policy(plain.clone());
            recorder.declare("n", schema).unwrap();
        }
        range.for_each(|i| recorder.record("n", i).unwrap());
        recorder.close().unwrap();
    };
    write(OpenMode::CreateNew, 0..25);
    let mut old = metadata(&path, "n");
    old["chunk_key_encoding"]["configuration"]["separator"] = json!("/");
    let own = old["attributes"]["simrecorder"].as_object_mut().unwrap();
    own.remove("chunk_shape").unwrap();
    fs::write(path.join("n/zarr.json"), old.to_string()).unwrap();
    fs::create_dir(path.join("n/c")).unwrap();
    for name in files(&path, "n").iter().filter(|name| name.contains('.')) {
        fs::rename(
            path.join("n").join(name),
            path.join("n").join(name.replace('.', "/")),
        )
        .unwrap();
    }
    write(OpenMode::Append, 25..60);
    assert_eq!(files(&path, "n"), ["c"]);
    assert_eq!(fs::read_dir(path.join("n/c")).unwrap().count(), 6);
    let reader = recorder(&path, OpenMode::Read);
    let read = reader.get_all("n").unwrap().read::<u64>().unwrap();
    assert!(read.iter().copied().eq(0..60));
}

/// A reader in another process finds chunks before, while and after they are added to the index.
#[test]
fn readers_follow_a_shard_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let store = options(OpenMode::CreateNew).open(&path).unwrap();
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    let schema = Schema::array::<u64>([500]).with_chunk_policy(ChunkPolicy::records(4));
    recorder.declare("v", schema).unwrap();
    let mut early = None;
    for i in 0..70_u64 {
        recorder.record("v", vec![i; 500]).unwrap();
        if i % 3 == 0 {
            recorder.flush().unwrap();
        }
        if i % 20 == 7 {
            recorder.checkpoint().unwrap();
        }
        let view = recorder.get_all("v").unwrap();
        let early = early.get_or_insert_with(|| view.clone());
        for view in [&view, early] {
            let read = view.read::<u64>().unwrap();
            assert!((0..view.len() as usize).all(|row| read[[row, 499]] == row as u64));
        }
    }
    recorder.close().unwrap();
    assert_eq!(files(&path, "v"), ["c.0.0"]);
}

/// Other software reads what the last checkpoint wrote to the files, whatever was appended since.
#[test]
fn other_software_reads_shards_while_they_grow_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.zarr");
    let store = options(OpenMode::CreateNew).open(&path).unwrap();
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    let schema = Schema::array::<u64>([500]).with_chunk_policy(ChunkPolicy::records(4));
    recorder.declare("v", schema).unwrap();
    let read = |rows: u64| {
        let mut program = python("read_steps.py");
        assert_success(program.arg(&path).arg(rows.to_string()));
    };
    let record = |rows: std::ops::Range<u64>| {
        rows.for_each(|i| recorder.record("v", vec![i; 500]).unwrap());
    };
    record(0..30);
    recorder.checkpoint().unwrap();
    read(30);
    // The unfinished chunk is rewritten and others follow, only in the journal.
    record(30..50);
    recorder.flush().unwrap();
    read(30);
    recorder.checkpoint().unwrap();
    read(50);
    record(50..70);
    recorder.flush().unwrap();
    // As after a kill.
    std::mem::forget(recorder);
    read(50);
}
