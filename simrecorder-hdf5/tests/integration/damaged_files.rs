//! The HDF5 file and the journal of a recording are damaged in many ways, then read completely and
//! appended to, in other processes: libhdf5 parses the file in the process.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use std::fs;
use std::path::Path;

use simrecorder_core::{ChunkPolicy, Durability, OpenMode, Recorder, Schema, prelude::*};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support;

use support::damage::{Outcome, Outcomes, survey, tries};

const RECORDS: u64 = 600;

fn open(path: &Path, mode: OpenMode) -> Option<Recorder> {
    let options = Hdf5DataStore::options().durability(Durability::Process);
    // Small chunks, because large ones are all alike.
    let options = options.chunk_policy(ChunkPolicy::target_bytes(800));
    options.mode(mode).open(path).ok().map(Recorder::new)
}

/// Records numbers, with a checkpoint in the middle and tails in the journal, and leaves the
/// recording open.
fn record(folder: &Path) {
    let scratch = tempfile::tempdir().unwrap();
    let recorder = open(&scratch.path().join("run.h5"), OpenMode::CreateNew).unwrap();
    let n = Schema::scalar::<u64>().with_units("mV");
    recorder.declare("net/n", n).unwrap();
    recorder.set("meta/seed", 42_u64).unwrap();
    for i in 0..RECORDS {
        recorder.record("net/n", i).unwrap();
        recorder.record("frames", frame(i)).unwrap();
        let spikes = vec![i; (i % 3) as usize];
        recorder.record("spikes", Ragged(&spikes)).unwrap();
        if i == RECORDS / 2 {
            recorder.checkpoint().unwrap();
        }
    }
    recorder.flush().unwrap();
    for name in ["run.h5", "run.h5.journal"] {
        fs::copy(scratch.path().join(name), folder.join(name)).unwrap();
    }
    recorder.close().unwrap();
}

fn frame(i: u64) -> [f32; 20] {
    [i as f32 / 8.0; 20]
}

/// Compares what was read of one series with what was recorded.
fn compare<T: PartialEq>(
    read: simrecorder_core::Result<Vec<T>>,
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

/// Reads everything: the series, then the rest.
fn read(recorder: &Recorder) -> [Outcome; 5] {
    let view = |key| recorder.get_all(key);
    let n = view("net/n").and_then(|view| Ok(view.read::<u64>()?.into_iter().collect()));
    let frames = view("frames").and_then(|view| Ok(view.read::<f32>()?.into_iter().collect()));
    let spikes = view("spikes").and_then(|view| {
        let rows = view.iter().map(|row| Vec::<u64>::try_from(row?));
        rows.collect()
    });
    let seed = recorder.get_as::<u64>("meta/seed");
    let all_frames: Vec<f32> = (0..RECORDS).flat_map(frame).collect();
    let all_n: Vec<u64> = (0..RECORDS).collect();
    let all_spikes = all_n.iter().map(|&i| vec![i; (i % 3) as usize]);
    [
        compare(n, all_n.iter().copied()),
        compare(frames, all_frames.into_iter()),
        compare(spikes, all_spikes),
        compare(seed.map(Vec::from_iter), [42].into_iter()),
        compare(
            recorder.keys().map(|keys| vec![(); keys.len()]),
            [(); 4].into_iter(),
        ),
    ]
}

/// Opens, reads, appends to and reads again a recording that may be damaged.
fn use_all(folder: &Path) -> Outcome {
    let path = folder.join("run.h5");
    let Some(recorder) = open(&path, OpenMode::Read) else {
        return Outcome::Error;
    };
    let outcomes = read(&recorder);
    drop(recorder);
    // The value has no checksum.
    assert!(!outcomes[..3].contains(&Outcome::Wrong), "{outcomes:?}");
    if let Some(recorder) = open(&path, OpenMode::Append) {
        for i in 0..100 {
            drop(recorder.record("net/n", i));
            drop(recorder.record("new", i));
            drop(recorder.record("frames", frame(i)));
        }
        drop(recorder.close());
    }
    if let Some(recorder) = open(&path, OpenMode::Read) {
        read(&recorder);
    }
    [Outcome::Wrong, Outcome::Error, Outcome::Shorter]
        .into_iter()
        .find(|outcome| outcomes.contains(outcome))
        .unwrap_or(Outcome::Correct)
}

#[allow(clippy::print_stdout, reason = "figures for the documents")]
fn report(outcomes: &Outcomes) {
    println!("HDF5: {outcomes}");
    for wrong in &outcomes.wrong {
        println!("  wrong: {wrong}");
    }
}

#[test]
fn a_damaged_file_of_numbers_neither_ends_the_process_nor_shows_other_records() {
    const NAME: &str = "a_damaged_file_of_numbers_neither_ends_the_process_nor_shows_other_records";
    let outcomes = survey(NAME, tries(80), record, use_all);
    report(&outcomes);
    assert!(outcomes.killed.is_empty(), "{outcomes:#?}");
}
