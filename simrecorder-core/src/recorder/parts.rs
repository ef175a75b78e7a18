//! The parts of a recorder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer_pool::BufferPool;
use super::buffers::Buffers;
use super::commit_timer::CommitTimer;
use super::committer::Committer;
use super::fast_path::FastPath;
use super::key_cache::KeyCache;
use super::key_registry::KeyRegistry;
use super::options::{OnStoreError, RecorderOptions};
use super::status::{Status, StoreState, StoreStatus};
use super::stop_flag::StopFlag;
use super::stores::Stores;
use crate::error::{Error, Result};
use crate::model::record::{IntoValue, RecordRef};

use crate::store::data_store::DataStore;

/// The state that all handles of a recorder share. Dropping the last handle closes the recorder.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) fast_path: FastPath,
    pub(super) keys: Arc<KeyRegistry>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) committer: Arc<Committer>,
    pub(super) stores: Arc<Stores>,
    timer: CommitTimer,
    drop_timeout: Duration,
}

impl Parts {
    pub(super) fn new(stores: Vec<Arc<dyn DataStore>>, options: &RecorderOptions) -> Self {
        let stop = Arc::new(StopFlag::new(match options.on_store_error {
            OnStoreError::Stop => 1,
            OnStoreError::Detach => stores.len(),
        }));
        let pool = Arc::new(BufferPool::new(options.pool_bound()));
        let stores = Arc::new(Stores::new(stores, options, &stop, &pool));
        let buffers = Buffers::new(Arc::clone(&stores), options, Arc::clone(&pool));
        let buffers = Arc::new(buffers);
        let cache = Arc::new(KeyCache::new());
        let keys = Arc::new(KeyRegistry::new(
            Arc::clone(&stores),
            Arc::clone(&buffers),
            Arc::clone(&cache),
            options,
        ));
        let committer = Arc::new(Committer::new(
            Arc::clone(&stores),
            Arc::clone(&keys),
            Arc::clone(&buffers),
            pool,
        ));
        let timer = CommitTimer::start(options, &stores, &buffers);
        Self {
            fast_path: FastPath::new(stop, cache),
            keys,
            buffers,
            committer,
            stores,
            timer,
            drop_timeout: options.drop_timeout,
        }
    }

    /// Takes a record of the series at `key`.
    pub(super) fn record(&self, key: &str, value: &impl IntoValue) -> Result<()> {
        let record = match value.as_record() {
            Ok(record) => record,
            Err(error) => return Err(error.with_key(key).with_operation("record")),
        };
        if self.fast_path.push_by_key(key, |b| b.try_push(&record)) {
            return Ok(());
        }
        self.record_slowly(key, &record)
    }

    #[cold]
    #[inline(never)]
    fn record_slowly(&self, key: &str, record: &RecordRef<'_>) -> Result<()> {
        self.keys
            .record(key, record)
            .map(drop)
            .map_err(|e| e.with_key(key).with_operation("record"))
    }

    pub(super) fn close(&self) -> Result<()> {
        self.timer.stop();
        let result = self.committer.close(None).unwrap_or(Ok(()));
        result.map_err(|e| e.with_operation("close"))
    }

    pub(super) fn status(&self) -> Status {
        let pipelines = self.stores.pipelines().iter();
        Status {
            series_count: self.buffers.series_count(),
            record_count: self.buffers.recorded(),
            buffered_bytes: self.buffers.bytes(),
            stores: pipelines.map(|pipeline| pipeline.status()).collect(),
        }
    }
}

impl Parts {
    /// The status in a forked child, which knows the names of the stores but cannot access them.
    pub(super) fn status_of_inherited(&self, error: &Error) -> Status {
        let unusable = |name: &str| StoreStatus {
            name: name.to_owned(),
            state: StoreState::Failed(error.clone()),
            queued_bytes: 0,
            committed_record_count: 0,
            commit_count: 0,
        };
        Status {
            stores: self.stores.names().into_iter().map(unusable).collect(),
            ..Status::default()
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.timer.stop();
        if self.stores.is_closed() {
            return;
        }
        let timeout = self.drop_timeout;
        match self.committer.close(Instant::now().checked_add(timeout)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(%error, "closing failed when the recorder was dropped; records may be lost");
            }
            None => tracing::error!(
                ?timeout,
                "a store did not finish in time when the recorder was dropped; records may be lost"
            ),
        }
    }
}
