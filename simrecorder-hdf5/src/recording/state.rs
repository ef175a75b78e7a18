//! What of a recording is committed, as its handles know it.

use std::sync::Arc;

use simrecorder_core::backend::columns::SeriesCache;
use simrecorder_core::backend::dimensions::DimensionGroups;
use simrecorder_core::{Error, ErrorKind, Key, Result};

use crate::format::dataset_format::DatasetFormat;
use crate::format::node::{self, StoredNode};
use crate::format::node_path::path_of;
use crate::format::tail::{JournalFile, Tails};
use crate::recording::open_file::OpenFile;

/// What is committed.
pub(crate) struct State {
    pub(crate) open: Arc<OpenFile>,
    pub(crate) tails: Tails,
    /// What the writer remembers of series: it is the only one that writes.
    pub(crate) series: SeriesCache<DatasetFormat>,
    /// The groups whose names of dimensions a checkpoint has to write.
    pub(crate) dimensions: DimensionGroups,
    /// How long the journal has to be before it is made anew, after that failed.
    pub(crate) trim_from: u64,
    /// Whether closing failed, so that a journal may still be there.
    pub(crate) is_unfinished: bool,
}

impl State {
    /// The node at `key`, and its path.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<(StoredNode, String)>> {
        let found = node::find(&self.open.root, key)?;
        Ok(found.map(|found| (found, path_of(key))))
    }

    /// The journal that the tails of a state are in.
    pub(crate) fn journal(&self) -> Result<JournalFile> {
        self.open.log.journal().ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "read",
                "there are tails and no journal",
            )
        })
    }
}
