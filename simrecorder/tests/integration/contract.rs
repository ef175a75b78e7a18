//! The contract of the facade, on which README and other programs rely.
#![cfg(any(feature = "zarr", feature = "hdf5"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use simrecorder::ndarray::{Array3, s};
use simrecorder::{
    ArrayView, CopyOptions, DataStore, InMemoryDataStore, OpenMode, OpenOptions, Recorder, View,
    prelude::*,
};

use crate::support;

use tempfile::TempDir;

use support::{STEPS, check_run, record_run};

/// The places of recordings of each backend of this build.
struct Places {
    /// Stopped before the folder is removed.
    #[cfg(feature = "redis")]
    server: simrecorder::RedisServer,
    folder: TempDir,
}

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            #[cfg(feature = "redis")]
            server: simrecorder::RedisServer::start(folder.path().join("server")).unwrap(),
            folder,
        }
    }

    /// A recording for each backend.
    fn urls(&self, name: &str) -> Vec<String> {
        let schemes = [
            (cfg!(feature = "zarr"), "zarr", "mdb"),
            (cfg!(feature = "zarr"), "zarr+dir", "zarr"),
            (cfg!(feature = "hdf5"), "hdf5", "h5"),
        ];
        let there = schemes.into_iter().filter(|(is_on, ..)| *is_on);
        let path = |ending| self.folder.path().join(format!("{name}.{ending}"));
        let files = there.map(|(_, scheme, ending)| format!("{scheme}:{}", path(ending).display()));
        let servers: [String; _] = [
            #[cfg(feature = "redis")]
            format!("{}?run={name}", self.server.url()),
        ];
        files.chain(servers).collect()
    }
}

fn create(url: &str) -> simrecorder::Result<Arc<dyn DataStore>> {
    simrecorder::open_with(url, &OpenOptions::new().mode(OpenMode::CreateNew))
}

/// The code of the design, word for word.
fn as_the_design_has_it(
    writing: impl simrecorder::IntoStores,
    reading: impl FnOnce() -> Arc<dyn DataStore>,
) -> simrecorder::Result<()> {
    let steps = 100;
    let v = Array3::<f64>::from_elem((8, 10, 5), 0.5);
    let rate = 0.5;
    let spike_ids = vec![3_u32, 1, 4];

    let recorder = Recorder::new(writing);
    recorder.set("meta/seed", 42u64)?;
    for _step in 0..steps {
        recorder.record("net/rate", rate)?;
        recorder.record("net/v", &v)?;
        recorder.record("net/spikes", Ragged(&spike_ids))?;
        recorder.record("log", "text of any length")?;
    }
    let rate = recorder.series::<f64>("net/rate")?;
    rate.record(0.5)?;
    recorder.flush()?;
    recorder.close()?;

    let recorder = Recorder::new(reading());
    let seed = recorder.get("meta/seed")?;
    assert_eq!(seed.map(|seed| seed.scalar::<u64>()).transpose()?, Some(42));
    let v = recorder.get_all("net/v")?;
    assert_eq!(v.shape(), &[100_u64, 8, 10, 5]);
    let _ = (v.kind(), v.dtype(), v.attributes());
    let window = v.select(s![..50, 3, 7, ..])?.read::<f64>()?;
    let all = v.read::<f64>()?;
    let third = v.get(2)?;
    for value in v.iter() {
        let value = value?;
        assert_eq!(value, third);
    }
    assert_eq!(all.len(), 100 * 400);
    assert_eq!(window.shape(), [50, 5]);
    assert_eq!(recorder.keys()?.len(), 5);
    assert_eq!(recorder.children("net")?.len(), 3);
    Ok(())
}

#[test]
fn the_code_of_the_design_works_on_every_store() -> simrecorder::Result<()> {
    let memory = InMemoryDataStore::new();
    as_the_design_has_it(memory.clone(), || {
        Arc::new(memory.open(OpenMode::Read).unwrap())
    })?;

    let places = Places::new();
    for url in places.urls("run") {
        as_the_design_has_it(create(&url)?, || simrecorder::open(&url).unwrap())?;
    }

    // Several stores at once, read from the last.
    for url in places.urls("second") {
        let memory = InMemoryDataStore::new();
        as_the_design_has_it((memory.clone(), create(&url)?), || {
            simrecorder::open(&url).unwrap()
        })?;
        assert_eq!(Recorder::new(memory.open(OpenMode::Read)?).keys()?.len(), 5);
    }
    Ok(())
}

#[test]
fn what_is_recorded_is_read_back_by_the_writer_and_after_reopening() -> simrecorder::Result<()> {
    let places = Places::new();
    let urls = places.urls("run");
    let memory = InMemoryDataStore::new();
    let mut stores: Vec<Arc<dyn DataStore>> = vec![Arc::new(memory.clone())];
    for url in &urls {
        stores.push(create(url)?);
    }
    let recorder = Recorder::new(stores);
    record_run(&recorder)?;
    check_run(&recorder)?;
    recorder.flush()?;
    for url in &urls {
        check_run(&Recorder::new(simrecorder::open(url)?))?;
    }
    recorder.close()?;

    let mut stores: Vec<Arc<dyn DataStore>> = vec![Arc::new(memory.open(OpenMode::Read)?)];
    for url in &urls {
        stores.push(simrecorder::open(url)?);
    }
    for store in stores {
        let recorder = Recorder::new(store);
        check_run(&recorder)?;
        assert!(recorder.record("net/rate", 0.0).is_err());
    }
    Ok(())
}

#[test]
fn a_recording_is_copied_from_any_store_into_any_other() -> simrecorder::Result<()> {
    let places = Places::new();
    let memory = InMemoryDataStore::new();
    let recorder = Recorder::new(memory.clone());
    record_run(&recorder)?;
    recorder.close()?;

    for (index, from) in places.urls("from").into_iter().enumerate() {
        simrecorder::copy(&memory, &create(&from)?, CopyOptions::new())?;
        let from = simrecorder::open(&from)?;
        for url in places.urls(&format!("from-{index}")) {
            let to = create(&url)?;
            let mut lines = Vec::new();
            let options = CopyOptions::new().on_progress(|progress| {
                lines.push(progress.to_string());
                ControlFlow::Continue(())
            });
            let copied = simrecorder::copy(&from, &to, options)?;
            assert_eq!(
                (copied.key_count, copied.record_count),
                (9, 7 * STEPS as u64)
            );
            assert!(
                lines[0].contains("9 of 9 keys, 840 of 840 records"),
                "{lines:?}"
            );
            check_run(&Recorder::new(simrecorder::open(&url)?))?;
        }
    }
    Ok(())
}

#[test]
fn appending_continues_where_a_recording_ended() -> simrecorder::Result<()> {
    let places = Places::new();
    for url in places.urls("run") {
        let recorder = Recorder::new(create(&url)?);
        recorder.record("x", 1_i32)?;
        recorder.close()?;
        let append = OpenOptions::new().mode(OpenMode::Append);
        let recorder = Recorder::new(simrecorder::open_with(&url, &append)?);
        recorder.record("x", 2_i32)?;
        recorder.close()?;
        let recorder = Recorder::new(simrecorder::open(&url)?);
        let view: View = recorder.get_all("x")?;
        assert_eq!(view.read::<i32>()?.as_slice(), Some(&[1, 2][..]));
    }
    Ok(())
}

/// What `new` does with each kind of store.
#[test]
fn new_creates_what_is_not_there_and_reads_what_is() -> simrecorder::Result<()> {
    fn check<S: DataStore + 'static>(
        new: impl Fn() -> simrecorder::Result<S>,
    ) -> simrecorder::Result<()> {
        let recorder = Recorder::new(new()?);
        recorder.record("x", 1_i32)?;
        recorder.close()?;
        let recorder = Recorder::new(new()?);
        assert_eq!(recorder.get_all("x")?.read::<i32>()?[0], 1);
        assert!(recorder.record("x", 2_i32).is_err());
        Ok(())
    }
    let folder = tempfile::tempdir().unwrap();
    #[cfg(feature = "zarr")]
    check(|| simrecorder::ZarrDataStore::new(folder.path().join("run.mdb")))?;
    #[cfg(feature = "hdf5")]
    check(|| simrecorder::Hdf5DataStore::new(folder.path().join("run.h5")))?;
    Ok(())
}
