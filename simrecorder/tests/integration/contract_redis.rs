//! The contract of the facade on a Redis server, alone and with other stores.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use simrecorder::{
    DataStore, DrainOptions, InMemoryDataStore, OpenMode, OpenOptions, Recorder, RedisDataStore,
    RedisServer, prelude::*,
};

use crate::support;

use support::{STEPS, check_run, record_run};

#[test]
fn what_is_recorded_is_read_back_alone_and_with_other_stores() -> simrecorder::Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path())?;
    let create = OpenOptions::new().mode(OpenMode::CreateNew);
    for beside in [false, true] {
        let url = format!("{}?run=beside-{beside}", server.url());
        let store = simrecorder::open_with(&url, &create)?;
        let memory = InMemoryDataStore::new();
        let recorder = match beside {
            false => Recorder::new(store),
            true => Recorder::new((store, memory.clone())),
        };
        record_run(&recorder)?;
        check_run(&recorder)?;
        recorder.flush()?;
        check_run(&Recorder::new(simrecorder::open(&url)?))?;
        recorder.close()?;
        let reader = Recorder::new(simrecorder::open(&url)?);
        check_run(&reader)?;
        assert!(reader.record("net/rate", 0.0).is_err());
        if beside {
            check_run(&Recorder::new(memory.open(OpenMode::Read)?))?;
        }
        // Appending to it.
        let recorder = Recorder::new(RedisDataStore::append(&url)?);
        recorder.record("net/rate", 0.5)?;
        recorder.close()?;
        let recorder = Recorder::new(simrecorder::open(&url)?);
        assert_eq!(recorder.get_all("net/rate")?.len(), STEPS as u64 + 1);
    }
    server.stop()
}

/// Drains a run into `to` while it records, and reads it there.
fn drain_a_run(to: Arc<dyn DataStore>, read: impl Fn() -> Recorder) -> simrecorder::Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let store = RedisDataStore::launch(folder.path())?;
    let recorder = Recorder::new(store.clone());
    record_run(&recorder)?;
    recorder.flush()?;
    let mut lines = Vec::new();
    let options = DrainOptions::new().on_progress(|progress| {
        lines.push(progress.to_string());
        ControlFlow::Continue(())
    });
    let moved = simrecorder::drain(&store, &to, options)?;
    assert_eq!((moved.key_count, moved.record_count), (9, 7 * STEPS as u64));
    assert!(lines[0].contains("9 keys, 840 records"), "{lines:?}");
    recorder.record("net/rate", 60.0)?;
    recorder.flush()?;
    let moved = simrecorder::drain(&store, &to, DrainOptions::new())?;
    assert_eq!(moved.record_count, 1);
    recorder.close()?;
    to.close()?;
    drop(to);
    let reader = read();
    assert_eq!(reader.get_all("net/rate")?.read::<f64>()?[STEPS], 60.0);
    check_run(&reader)
}

#[test]
fn a_recording_on_a_server_is_drained_into_memory() -> simrecorder::Result<()> {
    let memory = InMemoryDataStore::new();
    drain_a_run(Arc::new(memory.clone()), || {
        Recorder::new(memory.open(OpenMode::Read).unwrap())
    })
}

#[cfg(any(feature = "zarr", feature = "hdf5"))]
#[test]
fn a_recording_on_a_server_is_drained_into_files() -> simrecorder::Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let schemes = [
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    for (_, scheme) in schemes.into_iter().filter(|(is_on, _)| *is_on) {
        let url = format!("{scheme}:{}", folder.path().join(scheme).display());
        let create = OpenOptions::new().mode(OpenMode::CreateNew);
        let to = simrecorder::open_with(&url, &create)?;
        drain_a_run(to, || Recorder::new(simrecorder::open(&url).unwrap()))?;
    }
    Ok(())
}

/// A drain that was killed after the target had committed, and before the server was told.
#[cfg(any(feature = "zarr", feature = "hdf5"))]
#[test]
fn what_a_file_has_already_is_compared_as_it_keeps_it_and_freed() -> simrecorder::Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path().join("server"))?;
    let schemes = [
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    for (_, scheme) in schemes.into_iter().filter(|(is_on, _)| *is_on) {
        for compression in ["fast", "lossy:0.3"] {
            let name = format!("{scheme}-{compression}").replace(':', "-");
            let path = folder.path().join(&name);
            let url = format!("{scheme}:{}?compression={compression}", path.display());
            let open = |mode| simrecorder::open_with(&url, &OpenOptions::new().mode(mode));
            let source = format!("{}?run={name}", server.url());
            // The file rounds numbers, the server does not.
            let both = (
                RedisDataStore::connect(&source)?,
                open(OpenMode::CreateNew)?,
            );
            let recorder = Recorder::new(both);
            record_run(&recorder)?;
            (0..500).try_for_each(|i| recorder.record("thirds", f64::from(i) / 3.0))?;
            recorder.close()?;
            drop(recorder);
            let (store, to) = (RedisDataStore::append(&source)?, open(OpenMode::Append)?);
            let thirds = |store: &dyn DataStore| {
                let key = simrecorder::Key::new("thirds").unwrap();
                store.view(&key).unwrap().unwrap()
            };
            let is_rounded = thirds(&to).read::<f64>()?[1] != 1.0 / 3.0;
            assert_eq!(is_rounded, compression != "fast", "{name}");
            let moved = simrecorder::drain(&store, &to, DrainOptions::new())?;
            assert_eq!(moved.record_count, 0, "{name}");
            let left = thirds(&store);
            assert_eq!((left.first_record(), left.len()), (500, 0), "{name}");
            to.close()?;
        }
    }
    server.stop()
}
