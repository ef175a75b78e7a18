//! Record what a simulation computes, by key and nearly for free, and read it back as lazy views.
//!
//! A simulation calls [`recorder.record("net/v", &v)`](Recorder::record) in its loop. This copies the value into a
//! buffer. Background threads compress it and write it into [Zarr V3](ZarrDataStore), into [HDF5](Hdf5DataStore), to a
//! [Redis server](RedisDataStore), into memory, or into several of these at once. Flushed records survive a crash. Lazy
//! views read only the chunks that they need. zarr-python, xarray and TensorStore read a recording in a directory;
//! h5py and xarray read one in HDF5.
//!
//! ```
//! use simrecorder::ndarray::s;
//! use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
//!
//! # let v = simrecorder::ndarray::Array2::<f64>::zeros((8, 10));
//! let store = InMemoryDataStore::new(); // or simrecorder::create("run.mdb")?
//! let recorder = Recorder::new(store);
//! recorder.set("meta/seed", 42u64)?;                   // one value
//! for step in 0..100 {
//!     recorder.record("net/rate", 0.5)?;               // appends a scalar
//!     recorder.record("net/v", &v)?;                   // appends an array
//!     recorder.record("net/spikes", Ragged(&[3u32]))?; // rows of different length
//!     recorder.record("log", "text of any length")?;   // text
//! }
//! recorder.flush()?;                                   // durable, visible to others
//!
//! let v = recorder.get_all("net/v")?;                  // lazy, nothing is read yet
//! assert_eq!(v.shape(), [100, 8, 10]);
//! let window = v.select(s![..50, 3, ..])?.read::<f64>()?;
//! assert_eq!(window.shape(), [50, 10]);
//! recorder.close()?;
//! # Ok::<(), simrecorder::Error>(())
//! ```
//!
//! The [guide] goes from a loop to xarray in five minutes; the [cookbook] has a small program for each task.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | record | [`Recorder`]; [`IntoValue`] for the values that can be recorded; [`Series`] for hot loops |
//! | record series that share time | [`Recorder::timeline`], then [`Timeline`] |
//! | choose units, dimension names, chunks, compression | [`Schema`] with [`Recorder::declare`]; for values, [`Labeled`] |
//! | set memory, threads, and the reaction to errors | [`RecorderOptions`] |
//! | read | [`Recorder::get_all`], then [`View`] |
//! | create a recording, open one, continue one, by path or URL | [`create`], [`open`], [`append`], [`open_with`] |
//! | copy a recording into another store | [`copy`](fn@copy) |
//! | move records into another store while they are recorded | [`drain`](fn@drain) |
//! | compare two recordings | [`compare`](fn@compare) |
//! | find damage, and copy the sound parts | [`verify`](fn@verify), [`recover`](fn@recover) |
//! | record from many processes | [`RedisDataStore`] |
//! | write a backend | [`backend`], and the feature `conformance` of `simrecorder-core` |
//!
//! # Features
//!
//! No feature is on by default. The core and the in-memory store need no C compiler.
//!
//! | feature | adds | needs |
//! |---|---|---|
//! | `zarr` | [`ZarrDataStore`]: Zarr V3 over LMDB (`run.mdb`) or a directory (`run.zarr`) | a C and a C++ compiler |
//! | `hdf5` | [`Hdf5DataStore`]: HDF5 (`run.h5`) | libhdf5 1.10.8 or newer with its headers, a C compiler |
//! | `hdf5-static` | the same, with a libhdf5 that is built from source | a C compiler, CMake 3.26 or newer |
//! | `redis` | [`RedisDataStore`], [`RedisServer`]: on a Redis or Valkey server | a C compiler; a server |

pub mod backend;
pub mod cookbook;
mod detect;
pub mod guide;
mod opening;
mod options;
mod staged;
mod url;

// The items that users need, by subject: recording, reading, keys and values, stores, whole recordings,
// errors. Items that only backends need are in `backend`.
pub use simrecorder_core::{
    Blob, Coordinate, CoordinateType, Element, IntoStores, IntoValue, Labeled, Member,
    MemoryPolicy, Named, Object, OnDivergence, OnStoreError, Ragged, Recorder, RecorderOptions,
    Series, SetValue, Status, StoreReader, StoreState, StoreStatus, TickRecords, Timeline,
};

pub use simrecorder_core::{
    ArrayView, AxisRange, CoordinateNumber, CoordinateRange, Extent, Group, Iter, RaggedArray,
    Selection, Statistics, View,
};

pub use simrecorder_core::{
    ArrayValue, Attributes, Child, ChunkPolicy, Compression, DType, DimensionName, ErrorBound, Key,
    Kind, NodeKind, ObjectValue, Schema, TIMELINE_ATTRIBUTE, Value,
};

pub use simrecorder_core::{
    DataStore, DataStoreExt, Durability, InMemoryDataStore, OpenMode, RecordingInfo,
};

pub use simrecorder_core::{
    CompareOptions, Comparison, CopyOptions, CopyProgress, Criterion, Damage, Difference,
    DifferenceKind, DrainOptions, DrainProgress, KeyPatterns, LeftOut, MovedRecords, Recovery,
    Side, ValueDifference, VerifiedKey, VerifyOptions, VerifyProgress, VerifyReport, compare,
    compare_views, copy, drain, recover, verify, verify_with,
};

pub use simrecorder_core::{Error, ErrorKind, Result};

pub use simrecorder_core::{half, ndarray, num_complex, prelude, serde_json};

#[cfg(feature = "hdf5")]
pub use simrecorder_hdf5::{Hdf5DataStore, Hdf5Options};
#[cfg(feature = "redis")]
pub use simrecorder_redis::{
    RedisDataStore, RedisEncoding, RedisOptions, RedisServer, RedisServerOptions, RedisSync,
    RedisWriter, RedisWriterState,
};
#[cfg(feature = "zarr")]
pub use simrecorder_zarr::{ZarrDataStore, ZarrOptions, ZarrStorage, lmdb};

pub use opening::{append, create, open, open_with};
pub use options::OpenOptions;
pub use staged::StagedRecording;

/// The code of the README compiles.
#[cfg(all(doctest, feature = "zarr"))]
#[doc = include_str!("../../README.md")]
struct Readme;
