//! Python reads a recording in LMDB while another process writes it, and after that process was
//! killed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers may panic"
)]

use std::path::Path;

use simrecorder_core::{
    ChunkPolicy, Compression, Durability, OpenMode, Recorder, RecorderOptions, Schema, prelude::*,
};
use simrecorder_zarr::ZarrDataStore;

use crate::support;

use support::python;
use support::{Partner, assert_success, role, this_test};

/// Commits as fast as possible: chunks, tails, new keys, and overwritten values.
fn record_for_ever(path: &Path) -> ! {
    let store = ZarrDataStore::options()
        .mode(OpenMode::CreateNew)
        .durability(Durability::Process)
        // So that values keep their size.
        .compression(Compression::None)
        .open(path)
        .unwrap();
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    let small = ChunkPolicy::records(8);
    for (key, schema) in [
        ("n", Schema::scalar::<u64>()),
        ("rows", Schema::ragged::<u64>([])),
        ("log", Schema::text()),
    ] {
        let schema = schema.with_chunk_policy(small.clone());
        recorder.declare(key, schema).unwrap();
    }
    for step in 0_u64.. {
        recorder.record("n", step).unwrap();
        recorder
            .record("rows", Ragged(vec![step; step as usize % 4]))
            .unwrap();
        recorder.record("log", format!("step {step}")).unwrap();
        recorder.set("narrow", vec![step; 8]).unwrap();
        recorder.flush().unwrap();
        recorder.set("wide", vec![step; 4000]).unwrap();
        let late = format!("late/{}", step / 40);
        recorder.record(late, [step; 5]).unwrap();
        recorder.flush().unwrap();
        if step == 100 {
            println!("ready");
        }
        if step % 130 == 129 {
            recorder.checkpoint().unwrap();
        }
    }
    std::process::exit(0)
}

#[test]
fn python_follows_a_writer_of_lmdb_until_it_is_killed_and_after() {
    if let Some(path) = role() {
        record_for_ever(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let name = "python_follows_a_writer_of_lmdb_until_it_is_killed_and_after";
    let mut writer = Partner::start(&mut this_test(name, &path));
    let mut reader = Partner::start(python("follow_writer.py").arg(&path));
    reader.wait_for("enough");
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    reader.finish();
}

#[test]
fn python_refuses_a_damaged_recording_in_lmdb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mdb");
    let recorder = Recorder::new(ZarrDataStore::create(&path).unwrap());
    for key in 0..50 {
        recorder.record(format!("group/{key}"), 1.0).unwrap();
    }
    let noise: Vec<u64> = (1..4000_u64)
        .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    recorder.set("large", noise).unwrap();
    recorder.close().unwrap();
    assert_success(python("damaged_lmdb.py").arg(&path));
}
