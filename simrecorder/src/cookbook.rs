//! Small programs, each for one task. Longer ones are in `examples/`: `quickstart` (a whole
//! simulation), `resume` (resuming after a crash), `read_while_writing`, `copy` (from one path or URL
//! to another), `verify`.
//!
//! # Record into several stores, and continue if one fails
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Named, OnStoreError, Recorder, RecorderOptions, prelude::*};
//!
//! let live = Named::new("live", InMemoryDataStore::new());
//! let safe = Named::new("safe", InMemoryDataStore::new()); // or simrecorder::create("run.mdb")?
//! let options = RecorderOptions::new().on_store_error(OnStoreError::Detach);
//! let recorder = Recorder::with_options((live, safe), options);
//! recorder.record("rate", 0.5)?;
//! assert_eq!(recorder.store("live")?.get_all("rate")?.shape(), [1]);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Give units, dimension names and attributes
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Recorder, Schema, prelude::*};
//!
//! let recorder = Recorder::new(InMemoryDataStore::new());
//! let schema = Schema::array::<f32>([100])
//!     .with_dimension_names(["time", "neuron"])
//!     .with_units("mV")
//!     .with_attribute("sampling_interval_ms", 0.1);
//! recorder.declare("net/v", schema)?;
//! recorder.record("net/v", &vec![-65.0_f32; 100])?;
//! assert_eq!(recorder.get_all("net/v")?.attributes()["units"], "mV");
//!
//! // The positions of the neurons: xarray then selects by `neuron`.
//! let depth: Vec<f64> = (0..100).map(|i| f64::from(i) * 0.5).collect();
//! recorder.set("net/neuron", Labeled::new(&depth, ["neuron"]).units("um"))?;
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Choose chunks and compression
//!
//! By default, chunks are about 1 MiB large and compressed without loss. If a part of a series is often read alone, make
//! it a chunk:
//!
//! ```
//! use simrecorder::{ChunkPolicy, Compression, InMemoryDataStore, Recorder, Schema};
//!
//! let recorder = Recorder::new(InMemoryDataStore::new()); // for Zarr and HDF5; memory ignores both
//! let schema = Schema::array::<f32>([512, 512])
//!     .with_chunk_policy(ChunkPolicy::records(16))
//!     .with_compression(Compression::lossy(1e-3)?); // no number changes by more than that
//! recorder.declare("field", schema)?;
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Record series that share time
//!
//! ```
//! use simrecorder::{Coordinate, InMemoryDataStore, Recorder, Schema};
//!
//! # let recorder = Recorder::new(InMemoryDataStore::new());
//! let mut net = recorder.timeline("net", Coordinate::new("time").units("ms"))?;
//! let mut weights = recorder.timeline("weights", Coordinate::new("time").units("ms"))?; // another rate
//! let event = Schema::scalar::<u32>().with_fill_value(0_u32);
//! net.declare("event", event)?; // 0 in the ticks without a record of it
//! for step in 0..100_u32 {
//!     let t = f64::from(step) * 0.1;
//!     net.advance(t)?; // begins a tick; every series without a fill value needs a record in it
//!     net.record("rate", 0.5)?;
//!     net.record("v", [-65.0, -64.5])?;
//!     if step == 42 {
//!         net.record("event", step)?;
//!     }
//!     if step % 10 == 0 {
//!         weights.tick(t, (("w", [1.0; 4]), ("mean", 1.0)))?; // a whole tick
//!     }
//! }
//! recorder.flush()?;
//! let v = recorder.get_all("net/v")?;
//! assert_eq!(v.select_by("time", 1.95..=3.05)?.shape(), [11, 2]);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Resume a run that was killed
//!
//! ```
//! use simrecorder::{Coordinate, InMemoryDataStore, OpenMode, Recorder};
//!
//! # let earlier = InMemoryDataStore::new();
//! # let recorder = Recorder::new(earlier.clone());
//! # let mut net = recorder.timeline("net", Coordinate::new("step"))?;
//! # for step in 0..=12_u64 { net.tick(step, [("rate", 0.5)])?; }
//! # recorder.close()?;
//! # let saved_step = 10_u64;
//! let store = earlier.open(OpenMode::Append)?; // or simrecorder::append("run.mdb")?
//! let recorder = Recorder::new(store);
//! recorder.rewind("step", saved_step)?; // removes the ticks after the saved state from all timelines
//! let mut net = recorder.timeline::<u64>("net", Coordinate::new("step"))?;
//! assert_eq!(net.last(), Some(saved_step));
//! for step in saved_step + 1..16 {
//!     net.tick(step, [("rate", 0.5)])?;
//! }
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! Save the state after a `flush`, so that it is never ahead of the recording. Cut free-standing series one by one with
//! [`Recorder::truncate`](crate::Recorder::truncate).
//!
//! # Read into an array of known dimension, a vector, rows
//!
//! ```
//! use simrecorder::ndarray::{Array2, Ix2};
//! use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//!
//! # let recorder = Recorder::new(InMemoryDataStore::new());
//! # recorder.record("net/v", [1.0, 2.0])?;
//! # recorder.record("net/spikes", Ragged(&[3_u32, 1]))?;
//! # recorder.record("log", "started")?;
//! let v: Array2<f64> = recorder.get_all("net/v")?.read_dim::<f64, Ix2>()?;
//! let last: Option<Vec<f64>> = recorder.get_all("net/v")?.last()?.map(Vec::try_from).transpose()?;
//! let spikes = recorder.get_all("net/spikes")?.read_ragged::<u32>()?;
//! let first_spikes = spikes.row(0);
//! let log: Vec<String> = recorder.get_all("log")?.read_text()?; // also read_bytes, read_objects
//! # assert_eq!((v.sum(), last, log), (3.0, Some(vec![1.0, 2.0]), vec!["started".to_owned()]));
//! # assert_eq!(first_spikes.map(|row| row.len()), Some(2));
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Read by time, step or position
//!
//! The coordinate of an axis is an array in the same group, named like the dimension: a series of scalars, such as that
//! of a timeline, or a value that was set with [`Labeled`](crate::Labeled).
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//!
//! let recorder = Recorder::new(InMemoryDataStore::new()); // or simrecorder::open("run.mdb")?
//! # let u = simrecorder::Schema::array::<f64>([3]).with_dimension_names(["time", "x"]);
//! # recorder.set("field/x", Labeled::new([0.0, 0.5, 1.0], ["x"]).units("m"))?;
//! # recorder.declare("field/u", u)?;
//! # for step in 0..300 {
//! #     recorder.record("field/time", f64::from(step) * 0.1)?;
//! #     recorder.record("field/u", [f64::from(step); 3])?;
//! # }
//! let u = recorder.get_all("field/u")?;
//! let window = u.select_by("time", 10.0..20.0)?; // Rust's ranges: `..20.0` excludes 20.0, `..=20.0` includes it
//! let left = window.select_by("x", ..=0.5)?.read::<f64>()?;
//! let time = window.coordinate(0)?.expect("field/time").read::<f64>()?;
//! let row = u.get(u.nearest("time", 12.3)?)?;
//! # assert_eq!((left.shape(), time.len()), (&[100, 2][..], 100));
//! # assert_eq!(row.array::<f64>()?[0], 123.0);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! A coordinate is the same length as its view, even while the simulation is still running, and the views of one
//! [`Recorder::group`](crate::Recorder::group) have the coordinates of one commit. Of the coordinate of a timeline, only
//! small parts are read; other coordinates, which may have any order, are read completely. This also works for Zarr and
//! netCDF-4 files of other software, and for H5MD files by `time` and `step`.
//!
//! # Iterate over a series larger than memory
//!
//! ```
//! # use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//! # let recorder = Recorder::new(InMemoryDataStore::new());
//! # for step in 0..10 { recorder.record("net/v", [step as f64, 1.0])?; }
//! let mut sum = 0.0;
//! for record in recorder.get_all("net/v")?.iter() {
//!     sum += record?.array::<f64>()?.sum();
//! }
//! assert_eq!(sum, 55.0);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # End on Ctrl-C or SIGTERM without losing a record
//!
//! Without a handler, a signal ends the process at once, and the records after the last commit, about a second, are
//! lost. With the crate [`signal-hook`](https://docs.rs/signal-hook), the signal sets a flag instead, which the loop
//! checks. Batch systems send SIGTERM some time before they kill a job.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use signal_hook::consts::{SIGINT, SIGTERM};
//! use simrecorder::{InMemoryDataStore, Recorder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let is_ending = Arc::new(AtomicBool::new(false));
//! for signal in [SIGINT, SIGTERM] {
//!     // A second Ctrl-C ends the program at once.
//!     signal_hook::flag::register_conditional_shutdown(signal, 1, is_ending.clone())?;
//!     signal_hook::flag::register(signal, is_ending.clone())?;
//! }
//! # let store = InMemoryDataStore::new();
//! let recorder = Recorder::new(store);
//! for step in 0..1000_u64 {
//!     if is_ending.load(Ordering::Relaxed) {
//!         break;
//!     }
//!     recorder.record("step", step)?;
//! }
//! recorder.close()?; // after a signal too
//! # Ok(())
//! # }
//! ```
//!
//! [`std::process::exit`] also loses these records: return from `main` instead, or call
//! [`close`](crate::Recorder::close) before it. The example `interrupt` is a whole program that also resumes its
//! recording. [`Recorder`](crate::Recorder#ends-of-a-program) lists what is stored after each end of a program.
//!
//! # Convert a recording into a Zarr directory
//!
//! ```
//! # #[cfg(feature = "zarr")] {
//! use std::ops::ControlFlow;
//!
//! use simrecorder::{CopyOptions, Recorder, prelude::*};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = |name| folder.path().join(name);
//! # let recorder = Recorder::new(simrecorder::create(path("run.mdb"))?);
//! # recorder.record("net/v", [1.0, 2.0])?;
//! # recorder.close()?;
//! let from = simrecorder::open(path("run.mdb"))?;
//! let to = simrecorder::create(path("run.zarr"))?;
//! let options = CopyOptions::new().on_progress(|progress| {
//!     eprintln!("{progress}"); // net/v: 1 of 1 keys, 1 of 1 records, 0.0 MiB
//!     ControlFlow::Continue(())
//! });
//! simrecorder::copy(&from, &to, options)?; // chunks are copied without decoding
//! to.close()?;
//! assert!(path("run.zarr").join("net/v/zarr.json").exists());
//! # }
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Open a recording of any format
//!
//! ```
//! # #[cfg(feature = "zarr")] {
//! use simrecorder::{OpenMode, OpenOptions, Recorder, prelude::*};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("run.mdb");
//! // A new recording: .mdb is Zarr in LMDB, .zarr Zarr in a directory, .h5 and .hdf5 are HDF5.
//! let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
//! let recorder = Recorder::new(simrecorder::open_with(&path, &options)?);
//! recorder.record("net/rate", 0.5)?;
//! recorder.close()?;
//!
//! // It is recognised by its contents, with any name.
//! let other = path.with_file_name("results of May");
//! std::fs::rename(&path, &other)?;
//! let recorder = Recorder::new(simrecorder::open(&other)?);
//! assert_eq!(recorder.get_all("net/rate")?.len(), 1);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Switch recording off
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Recorder};
//!
//! let wanted = std::env::var_os("RECORD").is_some();
//! let recorder = match wanted {
//!     true => Recorder::new(InMemoryDataStore::new()),
//!     false => Recorder::disabled(),
//! };
//! recorder.record("rate", 0.5)?;
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Record from many threads
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//!
//! let recorder = Recorder::new(InMemoryDataStore::new());
//! std::thread::scope(|scope| {
//!     for worker in 0..4 {
//!         let recorder = recorder.clone();
//!         scope.spawn(move || {
//!             for step in 0..100 {
//!                 recorder.record(format!("worker/{worker}"), step).expect("the store works");
//!             }
//!         });
//!     }
//! });
//! assert_eq!(recorder.children("worker")?.len(), 4);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Store any serde value
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Parameters { tau_ms: f64, populations: Vec<String> }
//!
//! let recorder = Recorder::new(InMemoryDataStore::new());
//! let parameters = Parameters { tau_ms: 20.0, populations: vec!["E".into(), "I".into()] };
//! recorder.set("meta/parameters", Object(&parameters))?;
//! let stored = recorder.get("meta/parameters")?.expect("it was set");
//! assert_eq!(stored.object::<Parameters>()?, parameters);
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Record from many processes, and move the records into a file
//!
//! Each process of the simulation opens the same recording, and records to its own keys or to shared ones:
//!
//! ```no_run
//! # #[cfg(feature = "redis")] {
//! use simrecorder::{Recorder, RedisDataStore, prelude::*};
//!
//! let store = RedisDataStore::connect("redis://:password@login1:6379?run=sweep")?;
//! let recorder = Recorder::new(store);
//! recorder.record("energy", 0.5)?;
//! recorder.close()?;
//! # }
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! One process starts the server, and moves the records of the run into a file before the server's memory is full:
//!
//! ```no_run
//! # #[cfg(all(feature = "redis", feature = "zarr"))] {
//! use std::time::Duration;
//!
//! use simrecorder::{DataStore, DrainOptions, OpenMode, OpenOptions, RedisServer};
//!
//! let server = RedisServer::options()
//!     .port(6379)
//!     .bind(std::net::Ipv4Addr::UNSPECIFIED)
//!     .password("password")
//!     .start("~/output/server")?;
//! let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
//! let store = simrecorder::open_with(format!("{}?run=sweep", server.url()), &options)?;
//! let file = simrecorder::open_with("~/output/sweep.mdb", &options)?;
//! # let simulations_run = || false;
//! while simulations_run() {
//!     simrecorder::drain(&store, &file, DrainOptions::new())?;
//!     std::thread::sleep(Duration::from_secs(5));
//! }
//! simrecorder::drain(&store, &file, DrainOptions::new())?;
//! file.close()?;
//! # }
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Wait for records of other processes
//!
//! ```no_run
//! # #[cfg(feature = "redis")] {
//! use std::time::Duration;
//!
//! use simrecorder::{Recorder, RedisDataStore, prelude::*};
//!
//! let recorder = Recorder::new(RedisDataStore::open("redis://:password@login1?run=sweep")?);
//! let mut energy = recorder.get_all("energy")?;
//! let mut next = energy.first_record() + energy.len();
//! loop {
//!     energy = energy.follow(Duration::from_secs(60))?;
//!     // If a drain has freed records, the view begins at a later one.
//!     let new = next.saturating_sub(energy.first_record());
//!     for value in energy.select(new..)?.iter() {
//!         println!("{:?}", value?.scalar::<f64>()?);
//!     }
//!     next = energy.first_record() + energy.len();
//! }
//! # }
//! # #[allow(unreachable_code)]
//! # Ok::<(), simrecorder::Error>(())
//! ```
