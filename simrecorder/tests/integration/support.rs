//! A run that every store must record and read back.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use serde::{Deserialize, Serialize};
use simrecorder::ndarray::{Array2, ArrayD, s};
use simrecorder::{DType, Kind, Recorder, prelude::*};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Parameters {
    tau: f64,
    limit: f64,
    names: Vec<String>,
}

/// The number of steps of the run.
pub(crate) const STEPS: usize = 120;

/// A short run with every kind of record.
pub(crate) fn record_run(recorder: &Recorder) -> simrecorder::Result<()> {
    let parameters = Parameters {
        tau: 20.0,
        limit: f64::INFINITY,
        names: vec!["E".into(), "I".into()],
    };
    recorder.set("meta/seed", 42_u64)?;
    recorder.set("meta/parameters", Object(&parameters))?;
    let counts = recorder.series::<f64>("net/count")?;
    for step in 0..STEPS {
        let rate = step as f64 * 0.5;
        let v = Array2::from_shape_fn((8, 10), |(i, j)| (step * 80 + i * 10 + j) as f64);
        let spike_ids: Vec<u32> = (0..step as u32 % 4).collect();
        recorder.record("net/rate", rate)?;
        recorder.record("net/v", v.slice(s![.., ..;-1]))?;
        recorder.record("net/spikes", Ragged(&spike_ids))?;
        recorder.record("log", format!("step {step}"))?;
        recorder.record("frames", Blob(&[step as u8; 3]))?;
        recorder.record("events", Object(&(step, "event")))?;
        counts.record(step as f64)?;
    }
    Ok(())
}

/// Checks that all records are there.
pub(crate) fn check_run(recorder: &Recorder) -> simrecorder::Result<()> {
    assert_eq!(recorder.get("meta/seed")?.unwrap().scalar::<u64>()?, 42);
    assert_eq!(recorder.get_as::<u64>("meta/seed")?, Some(42));
    assert!(recorder.get("meta/nothing")?.is_none());
    let parameters: Parameters = recorder.get("meta/parameters")?.unwrap().object()?;
    assert_eq!(parameters.limit, f64::INFINITY);

    let v = recorder.get_all("net/v")?;
    assert_eq!(v.shape(), [STEPS as u64, 8, 10]);
    assert_eq!((v.kind(), v.dtype()), (Kind::Array, Some(DType::F64)));
    let window: ArrayD<f64> = v.select(s![..50, 3, ..;3])?.read()?;
    assert_eq!(window.shape(), [50, 4]);
    assert_eq!(window[[10, 1]], (10 * 80 + 3 * 10 + (9 - 3)) as f64);
    let all = v.read::<f64>()?;
    assert_eq!(all.slice(s![..50, 3, ..;3]).into_dyn(), window);
    assert_eq!(
        v.get(2)?.array::<f64>()?,
        all.index_axis(simrecorder::ndarray::Axis(0), 2)
    );
    for (step, value) in v.iter().enumerate() {
        assert_eq!(value?.array::<f64>()?[[0, 9]], (step * 80) as f64);
    }

    let spikes = recorder.get_all("net/spikes")?;
    assert_eq!(
        spikes.read_ragged::<u32>()?.row(7).unwrap().as_slice(),
        Some(&[0, 1, 2][..])
    );
    assert_eq!(recorder.get_all("log")?.read_text()?[99], "step 99");
    assert_eq!(recorder.get_all("frames")?.get(5)?.as_bytes()?, [5; 3]);
    let event: (usize, String) = recorder.get_all("events")?.get(9)?.object()?;
    assert_eq!(event, (9, "event".to_owned()));
    assert_eq!(recorder.get_all("net/count")?.read::<f64>()?.sum(), 7140.0);

    let keys: Vec<String> = recorder.keys()?.iter().map(ToString::to_string).collect();
    assert_eq!(
        keys,
        [
            "events",
            "frames",
            "log",
            "meta/parameters",
            "meta/seed",
            "net/count",
            "net/rate",
            "net/spikes",
            "net/v"
        ]
    );
    assert_eq!(recorder.children("net")?.len(), 4);
    Ok(())
}

/// Calls `test` with the URL of a new recording, for each store.
pub(crate) fn in_each_store(test: impl Fn(&str)) {
    let folder = simrecorder_testkit::quick_folder();
    let files = [
        (cfg!(feature = "zarr"), "zarr"),
        (cfg!(feature = "zarr"), "zarr+dir"),
        (cfg!(feature = "hdf5"), "hdf5"),
    ];
    for (_, scheme) in files.into_iter().filter(|(is_on, _)| *is_on) {
        test(&format!(
            "{scheme}:{}",
            folder.path().join(scheme).display()
        ));
    }
    #[cfg(feature = "redis")]
    {
        let server = simrecorder::RedisServer::start(folder.path().join("redis")).unwrap();
        test(server.url());
        server.stop().unwrap();
    }
}
