//! Files of recordings are damaged, then read completely and appended to, in other processes: LMDB
//! maps its file and trusts its pages.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::path::Path;
use std::process::Command;

use simrecorder_core::{
    ChunkPolicy, Durability, Element, Error, OpenMode, Recorder, Schema, prelude::*,
};
use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

use crate::support;

use damage::{Outcome, Outcomes, survey, tries};
use support::*;

const RECORDS: usize = 600;
/// The number of records between two frames, each with a new key.
const EVERY: usize = 30;

fn open(path: &Path, storage: ZarrStorage, mode: OpenMode) -> Option<Recorder> {
    let options = ZarrDataStore::options()
        .storage(storage)
        .durability(Durability::Process)
        .mode(mode);
    options.open(path).ok().map(Recorder::new)
}

/// Records chunks of all kinds, large and small, compressed and uncompressed, and tails.
fn record(path: &Path, storage: ZarrStorage) -> Recorder {
    let recorder = open(path, storage, OpenMode::CreateNew).unwrap();
    let policy = ChunkPolicy::records(100);
    let n = Schema::scalar::<u64>().with_chunk_policy(policy);
    recorder.declare("net/n", n).unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    recorder.set("meta/name", "a text").unwrap();
    for i in 0..RECORDS {
        recorder.record("net/n", i as u64).unwrap();
        recorder.record("log", format!("step {i}")).unwrap();
        let spikes = vec![i as u64; i % 3];
        recorder.record("spikes", Ragged(&spikes)).unwrap();
        if i % EVERY == 0 {
            recorder.record("frames", noise(i)).unwrap();
            recorder.record(format!("many/{i}"), i as u64).unwrap();
        }
        if i == RECORDS / 2 {
            recorder.checkpoint().unwrap();
        }
    }
    recorder.flush().unwrap();
    recorder
}

/// Bytes that do not compress.
fn noise(i: usize) -> [u8; 6000] {
    let mut numbers = damage::Numbers::new(i);
    [(); 6000].map(|()| numbers.below(256) as u8)
}

/// Compares what was read of one series with what was recorded.
fn compare<T: PartialEq>(
    read: Result<Vec<T>, Error>,
    expected: impl ExactSizeIterator<Item = T>,
) -> Outcome {
    match read {
        Err(_) => Outcome::Error,
        Ok(read) if read.len() > expected.len() => Outcome::Wrong,
        Ok(read) => {
            let all = read.len() == expected.len();
            match read.into_iter().zip(expected).all(|(a, b)| a == b) {
                true if all => Outcome::Correct,
                true => Outcome::Shorter,
                false => Outcome::Wrong,
            }
        }
    }
}

fn numbers<T: Element>(recorder: &Recorder, key: &str) -> Result<Vec<T>, Error> {
    Ok(recorder.get_all(key)?.read::<T>()?.into_iter().collect())
}

fn rows(recorder: &Recorder, key: &str) -> Result<Vec<Vec<u64>>, Error> {
    let view = recorder.get_all(key)?;
    view.iter().map(|row| row?.try_into()).collect()
}

/// Reads everything.
fn read(recorder: &Recorder) -> Outcome {
    let count = (0..RECORDS).step_by(EVERY).len();
    let frames = (0..RECORDS).step_by(EVERY).flat_map(noise);
    let frames: Vec<u8> = frames.collect();
    let texts = (0..RECORDS).map(|i| format!("step {i}"));
    let spikes = (0..RECORDS).map(|i| vec![i as u64; i % 3]);
    let log = recorder.get_all("log").and_then(|view| view.read_text());
    let seed = recorder.get_as::<u64>("meta/seed");
    let name = recorder.get_as::<String>("meta/name");
    let keys = recorder.keys().map(|keys| vec![(); keys.len()]);
    let mut outcomes = vec![
        compare(numbers(recorder, "net/n"), (0..RECORDS).map(|i| i as u64)),
        compare(log, texts),
        compare(rows(recorder, "spikes"), spikes),
        compare(numbers(recorder, "frames"), frames.into_iter()),
        compare(seed.map(Vec::from_iter), [42].into_iter()),
        compare(name.map(Vec::from_iter), ["a text".to_owned()].into_iter()),
        compare(keys, vec![(); 6 + count].into_iter()),
    ];
    for i in (0..RECORDS).step_by(EVERY) {
        let one = numbers(recorder, &format!("many/{i}"));
        outcomes.push(compare(one, [i as u64].into_iter()));
    }
    [Outcome::Wrong, Outcome::Error, Outcome::Shorter]
        .into_iter()
        .find(|outcome| outcomes.contains(outcome))
        .unwrap_or(Outcome::Correct)
}

/// Opens, reads, appends to and reads again a recording that may be damaged.
fn use_all(path: &Path, storage: ZarrStorage) -> Outcome {
    let Some(recorder) = open(path, storage, OpenMode::Read) else {
        return Outcome::Error;
    };
    let outcome = read(&recorder);
    drop(recorder);
    if let Some(recorder) = open(path, storage, OpenMode::Append) {
        for i in 0..100 {
            for key in ["net/n", "many/0", "new"] {
                drop(recorder.record(key, i as u64));
            }
            drop(recorder.record("log", format!("step {i}")));
        }
        for i in 0..3 {
            drop(recorder.record("frames", noise(i)));
            drop(recorder.flush());
        }
        drop(recorder.close());
    }
    if let Some(recorder) = open(path, storage, OpenMode::Read) {
        read(&recorder);
    }
    outcome
}

/// Copies the recording while its writer has it open, with tails in it.
fn copy_while_open(folder: &Path, storage: ZarrStorage, files: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let recorder = record(&scratch.path().join("run"), storage);
    for name in files {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(scratch.path().join(name))
            .arg(folder)
            .status();
        assert!(copied.unwrap().success());
    }
    recorder.close().unwrap();
}

#[test]
fn a_damaged_lmdb_file_neither_ends_the_process_nor_shows_other_records() {
    const NAME: &str = "a_damaged_lmdb_file_neither_ends_the_process_nor_shows_other_records";
    let outcomes = survey(
        NAME,
        tries(60),
        |folder| copy_while_open(folder, ZarrStorage::Lmdb, &["run/data.mdb", "run/chunks.0"]),
        |folder| use_all(folder, ZarrStorage::Lmdb),
    );
    report("LMDB", &outcomes);
    assert!(outcomes.killed.is_empty(), "{outcomes:#?}");
    assert!(outcomes.wrong.is_empty(), "{outcomes:#?}");
}

#[test]
fn a_damaged_directory_neither_ends_the_process_nor_shows_other_records() {
    const NAME: &str = "a_damaged_directory_neither_ends_the_process_nor_shows_other_records";
    let outcomes = survey(
        NAME,
        tries(80),
        |folder| copy_while_open(folder, ZarrStorage::Directory, &["run", "run.journal"]),
        |folder| use_all(&folder.join("run"), ZarrStorage::Directory),
    );
    report("directory", &outcomes);
    assert!(outcomes.killed.is_empty(), "{outcomes:#?}");
    assert!(outcomes.wrong.is_empty(), "{outcomes:#?}");
}

#[allow(clippy::print_stdout, reason = "figures for the documents")]
fn report(what: &str, outcomes: &Outcomes) {
    println!("{what}: {outcomes}");
    for wrong in &outcomes.wrong {
        println!("  wrong: {wrong}");
    }
}
