//! An open recording.

mod checkpoint;
pub(crate) mod commit;
pub(crate) mod loading;
mod new_series;
mod values;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use simrecorder_core::backend::columns::{
    ColumnStore, Columns, PlannedFormats, SeriesView, StoredSeries,
};
use simrecorder_core::{
    ArrayView, ChunkPolicy, Compression, Encoded, Error, ErrorKind, Key, NodeKind, Result,
};

use crate::columns::changes::set_document;
use crate::columns::encoded::read_encoded;
use crate::columns::reading::{self, OpenArray, Version, get};
use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::Document;
use crate::format::node_path::{metadata_entry, node_path, parent_of_part};
use crate::format::recording_id::RecordingId;
use crate::recording::loading::document_at;
use crate::storage::{Snapshot, Storage};

/// The series that the writer has changed, as it left them. It is the only one that writes, so they
/// stay true.
pub(crate) type WriterCache = HashMap<Key, StoredSeries<ArrayFormat>>;

/// What all handles of an open recording share.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) formats: FormatCache,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) writer: Mutex<WriterCache>,
    pub(crate) closed: AtomicBool,
    pub(crate) planned: PlannedFormats<ArrayFormat>,
}

impl Recording {
    /// Checks the version of the recording; a new one gets its root group.
    pub(crate) fn check_root(&self) -> Result<()> {
        let root = get(&*self.storage, &metadata_entry(""))?;
        let root = root.map(|bytes| Document::parse(&bytes)).transpose()?;
        if root.as_ref().is_some_and(Document::is_array) {
            let message = "the root is an array; simrecorder opens groups, which hold arrays";
            return Err(Error::new(ErrorKind::Unsupported, "open", message));
        }
        if self.storage.is_read_only() {
            return Ok(());
        }
        let root = match root {
            None => self.new_root(),
            Some(mut root) => match root.remove_consolidated() {
                true => root,
                false => return Ok(()),
            },
        };
        self.storage.commit(vec![set_document("", &root)])
    }

    /// The root group of a recording that has none yet.
    pub(crate) fn new_root(&self) -> Document {
        match self.storage.recording() {
            Some(id) => Document::root(id),
            None => Document::root(&RecordingId::random()),
        }
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.storage.is_read_only() {
            let message = "the recording was opened read only; open it with append()";
            return Err(Error::new(ErrorKind::ReadOnly, operation, message));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Closed,
                operation,
                "the store was closed",
            ));
        }
        Ok(())
    }

    /// The document of the node at `key`, and its path; the parts of a series are no nodes.
    pub(crate) fn find_node(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
    ) -> Result<Option<(String, Document)>> {
        let Ok(path) = node_path(key) else {
            return Ok(None);
        };
        if let Some(parent) = parent_of_part(key) {
            let parent = document_at(snapshot, &node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        Ok(document_at(snapshot, &path)?.map(|document| (path, document)))
    }

    /// Calls `read` with the node at `key`; `None` if there is none.
    pub(crate) fn with_node<T>(
        &self,
        key: &Key,
        read: impl Fn(&dyn Snapshot, String, Document) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.storage
            .read(&mut |snapshot| {
                found = self
                    .find_node(snapshot, key)?
                    .map(|(path, document)| read(snapshot, path, document))
                    .transpose()?;
                Ok(())
            })
            .map_err(|e| e.with_key(key.as_str()))?;
        Ok(found)
    }
}

impl ColumnStore for Recording {
    type Format = ArrayFormat;
    type Version = Version;
    type Source<'a> = OpenArray<'a>;

    fn read_column<T>(
        &self,
        view: &reading::ArrayView,
        read: impl FnMut(&OpenArray<'_>) -> Result<(u64, T)>,
    ) -> Result<T> {
        reading::read_column(&*self.storage, view, read)
    }

    fn view(self: &Arc<Self>, key: &Key) -> Result<Option<Arc<dyn ArrayView>>> {
        let series = self.with_node(key, |snapshot, path, document| {
            let is_series = document.node_kind() == NodeKind::Series;
            is_series
                .then(|| self.load_series(snapshot, key, &path, &document))
                .transpose()
        })?;
        Ok(series.flatten().map(|(schema, columns)| {
            let view = SeriesView::new(Arc::clone(self), key.clone(), Arc::new(schema), columns);
            Arc::new(view) as Arc<dyn ArrayView>
        }))
    }

    fn read_encoded(
        &self,
        columns: &Columns<reading::ArrayView>,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Option<Encoded>> {
        read_encoded(&*self.storage, columns, range, max_bytes)
    }
}
