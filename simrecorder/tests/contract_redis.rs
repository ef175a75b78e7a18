//! The contract of the facade on a Redis server, alone and beside other stores.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use simrecorder::ndarray::{Array2, ArrayD, s};
use simrecorder::{
    DType, DataStore, DrainOptions, InMemoryDataStore, Kind, OpenMode, OpenOptions, Recorder,
    RedisDataStore, RedisServer, prelude::*,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Parameters {
    tau: f64,
    limit: f64,
}

const STEPS: usize = 120;

fn record_run(recorder: &Recorder) -> simrecorder::Result<()> {
    let parameters = Parameters {
        tau: 20.0,
        limit: f64::INFINITY,
    };
    recorder.set("meta/seed", 42_u64)?;
    recorder.set("meta/parameters", Object(&parameters))?;
    let counts = recorder.series::<f64>("net/count")?;
    for step in 0..STEPS {
        let v = Array2::from_shape_fn((8, 10), |(i, j)| (step * 80 + i * 10 + j) as f64);
        let spike_ids: Vec<u32> = (0..step as u32 % 4).collect();
        recorder.record("net/rate", step as f64 * 0.5)?;
        recorder.record("net/v", v.slice(s![.., ..;-1]))?;
        recorder.record("net/spikes", Ragged(&spike_ids))?;
        recorder.record("log", format!("step {step}"))?;
        recorder.record("frames", Blob(&[step as u8; 3]))?;
        recorder.record("events", Object(&(step, "event")))?;
        counts.record(step as f64)?;
    }
    Ok(())
}

fn check_run(recorder: &Recorder) -> simrecorder::Result<()> {
    assert_eq!(recorder.get_as::<u64>("meta/seed")?, Some(42));
    assert!(recorder.get("meta/nothing")?.is_none());
    let parameters: Parameters = recorder.get("meta/parameters")?.unwrap().object()?;
    assert_eq!(parameters.limit, f64::INFINITY);
    let v = recorder.get_all("net/v")?;
    assert_eq!(v.shape(), [STEPS as u64, 8, 10]);
    assert_eq!((v.kind(), v.dtype()), (Kind::Array, Some(DType::F64)));
    let window: ArrayD<f64> = v.select(s![..50, 3, ..;3])?.read()?;
    assert_eq!(window[[10, 1]], (10 * 80 + 3 * 10 + (9 - 3)) as f64);
    for (step, value) in v.iter().enumerate() {
        assert_eq!(value?.array::<f64>()?[[0, 9]], (step * 80) as f64);
    }
    let spikes = recorder.get_all("net/spikes")?;
    let row = spikes.read_ragged::<u32>()?.row(7).unwrap().to_vec_of();
    assert_eq!(row, [0, 1, 2]);
    assert_eq!(recorder.get_all("log")?.read_text()?[99], "step 99");
    assert_eq!(recorder.get_all("frames")?.get(5)?.as_bytes()?, [5; 3]);
    let event: (usize, String) = recorder.get_all("events")?.get(9)?.object()?;
    assert_eq!(event, (9, "event".to_owned()));
    assert_eq!(recorder.get_all("net/count")?.read::<f64>()?.sum(), 7140.0);
    assert_eq!(recorder.keys()?.len(), 9);
    assert_eq!(recorder.children("net")?.len(), 4);
    Ok(())
}

/// The elements of a row, whatever its number of axes.
trait ToVecOf {
    fn to_vec_of(&self) -> Vec<u32>;
}

impl ToVecOf for simrecorder::ndarray::ArrayViewD<'_, u32> {
    fn to_vec_of(&self) -> Vec<u32> {
        self.iter().copied().collect()
    }
}

#[test]
fn what_is_recorded_is_read_back_alone_and_beside_other_stores() -> simrecorder::Result<()> {
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
        // Going on with it.
        let recorder = Recorder::new(RedisDataStore::append(&url)?);
        recorder.record("net/rate", 0.5)?;
        recorder.close()?;
        let recorder = Recorder::new(simrecorder::open(&url)?);
        assert_eq!(recorder.get_all("net/rate")?.len(), STEPS as u64 + 1);
    }
    server.stop()
}

/// Moves a run into `to` while it goes on, and reads it there.
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
    assert_eq!((moved.keys, moved.records), (9, 7 * STEPS as u64));
    assert!(lines[0].contains("9 keys, 840 records"), "{lines:?}");
    recorder.record("net/rate", 60.0)?;
    recorder.flush()?;
    let moved = simrecorder::drain(&store, &to, DrainOptions::new())?;
    assert_eq!(moved.records, 1);
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
