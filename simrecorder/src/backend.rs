//! Items for backends: the types in the signatures of [`DataStore`] and [`ArrayView`], and the parts that backends
//! share.
//!
//! Programs that record and read need only [`RecordRef`], to implement [`IntoValue`](crate::IntoValue). Backends depend
//! on `simrecorder-core` alone, whose feature `conformance` has the tests that every backend must pass.

pub use simrecorder_core::backend::*;
pub use simrecorder_core::{
    ArrayView, Batch, Block, Change, Child, Commit, DataStore, Node, NodeKind, Prepared, RecordRef,
    Records, Region, copy_block, expand_home,
};
