//! The state of a recorder and its stores.

use crate::error::Error;

/// The state of a recorder and its stores, from [`Recorder::status`](crate::Recorder::status).
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for _ in 0..100 {
///     recorder.record("net/rate", 0.5)?;
/// }
/// let status = recorder.status();
/// assert_eq!((status.series_count, status.record_count), (1, 100));
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// The number of series that this recorder has written to.
    pub series_count: usize,
    /// The number of records that it has accepted.
    pub record_count: u64,
    /// Bytes in the open buffers of its series.
    pub buffered_bytes: usize,
    /// Its stores, in the order in which they were given.
    pub stores: Vec<StoreStatus>,
}

/// The state of one store of a recorder, in [`Status::stores`].
///
/// ```
/// # use simrecorder_core::{InMemoryDataStore, Recorder};
/// # let recorder = Recorder::new(InMemoryDataStore::new());
/// recorder.record("net/rate", 0.5)?;
/// recorder.flush()?;
/// for store in recorder.status().stores {
///     println!("{} has {} records, {} bytes wait", store.name, store.committed_record_count, store.queued_bytes);
///     # assert_eq!((store.name.as_str(), store.committed_record_count), ("memory", 1));
/// }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The name of the store in its recorder.
    pub name: String,
    /// Its health.
    pub state: StoreState,
    /// Bytes that wait in its queue or are being committed.
    pub queued_bytes: usize,
    /// The number of records that were committed.
    pub committed_record_count: u64,
    /// The number of commits.
    pub commit_count: u64,
}

/// Whether a store of a recorder works.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Recorder, StoreState};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// match &recorder.status().stores[0].state {
///     StoreState::Failed(error) => eprintln!("recording stopped: {error}"),
///     state => println!("{state:?}"),
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreState {
    /// Operating normally.
    Healthy,
    /// A commit failed. With [`OnStoreError::Detach`](crate::OnStoreError::Detach) the recorder
    /// continues without the store; otherwise it has stopped.
    Failed(Error),
    /// The recorder was closed.
    Closed,
}
