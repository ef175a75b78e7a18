//! Small programs, each for one task.
//!
//! # Record into several stores, and go on when one fails
//!
//! ```
//! use simrecorder::{InMemoryDataStore, Named, OnStoreError, Recorder, RecorderOptions, prelude::*};
//!
//! let live = Named::new("live", InMemoryDataStore::new());
//! let safe = Named::new("safe", InMemoryDataStore::new()); // or a ZarrDataStore
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
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! # Iterate over more than fits into memory
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
//! # Make a directory of a recording, for colleagues
//!
//! ```
//! # #[cfg(feature = "zarr")] {
//! use std::ops::ControlFlow;
//!
//! use simrecorder::{CopyOptions, OpenMode, OpenOptions, Recorder, ZarrDataStore, prelude::*};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = |name| folder.path().join(name);
//! # let recorder = Recorder::new(ZarrDataStore::create(path("run.mdb"))?);
//! # recorder.record("net/v", [1.0, 2.0])?;
//! # recorder.close()?;
//! let from = ZarrDataStore::open(path("run.mdb"))?;
//! let url = format!("zarr+dir:{}", path("run.zarr").display());
//! let to = simrecorder::open_with(&url, &OpenOptions::new().mode(OpenMode::CreateNew))?;
//! let options = CopyOptions::new().on_progress(|progress| {
//!     eprintln!("{progress}"); // net/v: 1 of 1 keys, 1 of 1 records, 0.0 MiB
//!     ControlFlow::Continue(())
//! });
//! simrecorder::copy(&from, &to, options)?; // whole chunks go as they are
//! to.close()?;
//! assert!(path("run.zarr").join("net/v/zarr.json").exists());
//! # }
//! # Ok::<(), simrecorder::Error>(())
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
//! # Keep any serde value
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
//! Longer programs stand in `examples/`: `quickstart` (a whole simulation), `resume` (going on
//! after a kill), `read_while_writing`, `copy` (from one URL to another).
//!
//! # Record from many processes, and move the records into a file meanwhile
//!
//! Each process of the simulation opens the same recording and records to keys of its own, or to the
//! same ones:
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
//! One process starts the server, and empties it into a file before its memory is full:
//!
//! ```no_run
//! # #[cfg(all(feature = "redis", feature = "zarr"))] {
//! use std::time::Duration;
//!
//! use simrecorder::{DataStore, DrainOptions, OpenMode, RedisDataStore, RedisServer, ZarrDataStore};
//!
//! let server = RedisServer::options()
//!     .port(6379)
//!     .bind(std::net::Ipv4Addr::UNSPECIFIED)
//!     .password("password")
//!     .start("~/output/server")?;
//! let store = RedisDataStore::options().run("sweep").mode(OpenMode::OpenOrCreate);
//! let store = store.open(server.url())?;
//! let file = ZarrDataStore::options().mode(OpenMode::OpenOrCreate).open("~/output/sweep.mdb")?;
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
//! # Wait for records that others make
//!
//! ```no_run
//! # #[cfg(feature = "redis")] {
//! use std::time::Duration;
//!
//! use simrecorder::{Recorder, RedisDataStore, prelude::*};
//!
//! let recorder = Recorder::new(RedisDataStore::open("redis://:password@login1?run=sweep")?);
//! let mut energy = recorder.get_all("energy")?;
//! loop {
//!     let seen = energy.len();
//!     energy = energy.follow(Duration::from_secs(60))?;
//!     for index in seen..energy.len() {
//!         println!("{:?} of writer {:?}", energy.get(index)?, energy.writer_of(index)?);
//!     }
//! }
//! # }
//! # #[allow(unreachable_code)]
//! # Ok::<(), simrecorder::Error>(())
//! ```
