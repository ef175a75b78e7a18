//! What a recorder tells about itself.

use crate::error::Error;

/// The state of a recorder and its stores; see [`Recorder::status`](crate::Recorder::status).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// How many series this recorder has written to.
    pub series_count: usize,
    /// How many records it has accepted.
    pub record_count: u64,
    /// Bytes in the open buffers of its series.
    pub buffered_bytes: usize,
    /// Its stores, in their order.
    pub stores: Vec<StoreStatus>,
}

/// The state of one store of a recorder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The name of the store.
    pub name: String,
    /// Its health.
    pub state: StoreState,
    /// Bytes that wait in its queue or are being committed.
    pub queued_bytes: usize,
    /// How many records were committed.
    pub committed_record_count: u64,
    /// How many commits there were.
    pub commit_count: u64,
}

/// Health of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreState {
    /// Operating normally.
    Healthy,
    /// A commit failed. With [`OnStoreError::Detach`](crate::OnStoreError::Detach) the recorder
    /// continues without the store, else it has stopped.
    Failed(Error),
    /// The recorder was closed.
    Closed,
}
