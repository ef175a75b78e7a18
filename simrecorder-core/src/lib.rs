//! The core of [simrecorder](https://docs.rs/simrecorder): keys, values, schemas, the contract
//! of a store, the recorder, and the store that keeps everything in memory.
//!
//! Programs that record depend on the facade crate `simrecorder`, which re-exports all of this.
//! Backends depend on this crate alone.

// One call of the system is the exception, see `large_pages.rs`.
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("simrecorder keeps data in little-endian order and does not run on this target");

pub mod backend;
mod cast;
mod chunk;
mod compression;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod drain;
mod dtype;
mod error;
mod key;
mod large_pages;
mod memory_store;
mod open_mode;
mod path;
mod ragged_array;
mod record;
mod record_iter;
mod recorder;
mod records;
mod region_copy;
mod schema;
mod selected_view;
mod selection;
mod store;
mod value;
mod verify;
mod view;

pub use half;
pub use ndarray;
pub use num_complex;
pub use serde_json;

pub use chunk::ChunkPolicy;
pub use compression::{Compression, ErrorBound};
pub use copy::{CopyOptions, CopyProgress, copy};
pub use drain::{DrainOptions, DrainProgress, drain};
pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result};
pub use key::Key;
pub use memory_store::InMemoryDataStore;
pub use open_mode::{Durability, OpenMode};
pub use path::expand_home;
pub use ragged_array::RaggedArray;
pub use record::{Blob, IntoValue, Object, Ragged, RecordRef};
pub use record_iter::Iter;
pub use recorder::{
    IntoStores, MemoryPolicy, Named, OnDivergence, OnStoreError, Recorder, RecorderOptions, Series,
    Status, StoreReader, StoreState, StoreStatus,
};
pub use records::Records;
pub use region_copy::{Block, copy_block};
pub use schema::{Attributes, DimensionName, Kind, NodeKind, Schema};
pub use selection::{AxisRange, Region, Selection};
pub use store::{Batch, Change, Child, Commit, DataStore, DataStoreExt, Encoded, Node, Prepared};
pub use value::{ArrayValue, ObjectValue, Value};
pub use verify::{Damage, VerifiedKey, VerifyReport, verify};
pub use view::{ArrayView, ArrayViewExt};

/// The traits and wrappers that recording programs use, for `use simrecorder::prelude::*`.
///
/// Traits come in without a name, so that those of `ndarray` stay free.
pub mod prelude {
    pub use crate::{
        ArrayView as _, ArrayViewExt as _, Blob, DataStore as _, DataStoreExt as _, IntoValue as _,
        Object, Ragged,
    };
}
