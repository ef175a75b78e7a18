//! The core of [simrecorder](https://docs.rs/simrecorder): keys, values, schemas, the contract
//! of a store, the recorder, and the store that keeps everything in memory.
//!
//! Programs that record depend on the facade crate `simrecorder`, which re-exports all of this.
//! Backends depend on this crate alone.

// The only exception is a system call in `large_pages.rs`.
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("simrecorder keeps data in little-endian order and does not run on this target");

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod memory_store;
mod model;
mod reading;
mod recorder;
mod store;
mod tools;

pub use half;
pub use ndarray;
pub use num_complex;
pub use serde_json;

pub use error::{Error, ErrorKind, Result};
pub use memory_store::InMemoryDataStore;
pub use model::chunk::ChunkPolicy;
pub use model::compression::{Compression, ErrorBound};
pub use model::dtype::{DType, Element};
pub use model::key::Key;
pub use model::kind::{Kind, NodeKind};
pub use model::labeled::{Labeled, SetValue};
pub use model::record::{Blob, IntoValue, Object, Ragged, RecordRef};
pub use model::records::Records;
pub use model::schema::{Attributes, DimensionName, Schema};
pub use model::value::{ArrayValue, ObjectValue, Value};
pub use reading::coordinate::{CoordinateNumber, CoordinateRange};
pub use reading::envelope::Extent;
pub use reading::group::Group;
pub use reading::ragged_array::RaggedArray;
pub use reading::record_iter::Iter;
pub use reading::region_copy::{Block, copy_block};
pub use reading::selection::{AxisRange, Region, Selection};
pub use reading::statistics::Statistics;
pub use reading::tree::Tree;
pub use reading::view::View;
pub use recorder::{
    Coordinate, CoordinateType, CoordinateValue, IntoStores, Member, MemoryPolicy, Named,
    OnDivergence, OnStoreError, Recorder, RecorderOptions, Series, Status, StoreReader, StoreState,
    StoreStatus, TIMELINE_ATTRIBUTE, TickRecords, Timeline,
};
pub use store::array_view::ArrayView;
pub use store::commit::{Batch, Change, Commit, Prepared};
pub use store::data_store::{DataStore, DataStoreExt};
pub use store::home::expand_home;
pub use store::node::{Child, Node};
pub use store::open_mode::{Durability, OpenMode};
pub use store::recording_info::RecordingInfo;
pub use tools::compare::{
    CompareOptions, Comparison, Criterion, Difference, DifferenceKind, Side, ValueDifference,
    compare, compare_views,
};
pub use tools::copy::{CopyOptions, CopyProgress, copy};
pub use tools::drain::{DrainOptions, DrainProgress, drain};
pub use tools::key_patterns::KeyPatterns;
pub use tools::recover::{LeftOut, MovedRecords, Recovery, recover};
pub use tools::verify::{
    Damage, VerifiedKey, VerifyOptions, VerifyProgress, VerifyReport, verify, verify_with,
};

/// The traits and wrappers that recording programs use, for `use simrecorder::prelude::*`.
///
/// Traits are imported without their names, so that they do not clash with names of `ndarray`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, prelude::*};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("net/spikes", Ragged(&[3_u32, 1, 4]))?;
/// recorder.record("frames", Blob(b"a picture"))?;
/// recorder.set("x", Labeled::new([0.0, 0.5], ["x"]).units("m"))?;
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub mod prelude {
    pub use crate::{
        ArrayView as _, Blob, DataStore as _, DataStoreExt as _, IntoValue as _, Labeled, Object,
        Ragged, backend::SharedStore as _,
    };
}
