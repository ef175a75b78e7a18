//! An open recording.

mod checkpoint;
pub(crate) mod commit;
mod dimensions;
pub(crate) mod documents;
pub(crate) mod loading;
mod new_series;
mod nodes;
mod removal;
pub(crate) mod values;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simrecorder_core::backend::columns::{ColumnStore, Columns, PlannedFormats, SeriesCache};
use simrecorder_core::backend::dimensions::DimensionGroups;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{Encoded, errors};
use simrecorder_core::{ChunkPolicy, Compression, Error, ErrorKind, Key, Node, NodeKind, Result};

use crate::columns::changes::set_document;
use crate::columns::encoded::read_encoded;
use crate::columns::reading::{self, OpenArray, Version};
use crate::format::array_format::{ArrayFormat, FormatCache};
use crate::format::metadata::Document;
use crate::format::node_path::{node_path, parent_of_part};
use crate::format::recording_id::RecordingId;
use crate::recording::documents::document_at;
use crate::storage::{Snapshot, Storage};

/// The state that all handles of an open recording share.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) formats: FormatCache,
    pub(crate) chunk_policy: ChunkPolicy,
    pub(crate) compression: Compression,
    pub(crate) writer: Mutex<SeriesCache<ArrayFormat>>,
    pub(crate) dimensions: Mutex<DimensionGroups>,
    pub(crate) closed: AtomicBool,
    pub(crate) planned: PlannedFormats<ArrayFormat>,
}

impl Recording {
    /// Checks the version of the recording. Writes the root group of a new one.
    pub(crate) fn check_root(&self) -> Result<()> {
        let (mut root, mut is_empty) = (None, false);
        self.storage.read(&mut |snapshot| {
            root = snapshot.document("")?;
            is_empty = root.is_none() && snapshot.children("")?.is_empty();
            Ok(())
        })?;
        if root.as_ref().is_some_and(Document::is_array) {
            let message = "the root is an array; simrecorder opens groups of arrays";
            return Err(Error::new(ErrorKind::Unsupported, "open", message));
        }
        if self.storage.is_read_only() {
            return Ok(());
        }
        if is_empty {
            *self.dimensions.lock() = DimensionGroups::of_new_recording();
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

    /// The root group of a new recording.
    pub(crate) fn new_root(&self) -> Document {
        let features = self.storage.required_features();
        match self.storage.recording() {
            Some(id) => Document::root(id, features),
            None => Document::root(&RecordingId::random(), features),
        }
    }

    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.storage.is_read_only() {
            return Err(errors::read_only(operation));
        }
        match self.closed.load(Ordering::Acquire) {
            true => Err(errors::closed(operation, "store")),
            false => Ok(()),
        }
    }

    /// The document of the node at `key`, and its path. The parts of a series are not nodes.
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

    /// Calls `read` for each of the nodes at `keys`, all in the same snapshot; with `None` if there
    /// is no node.
    pub(crate) fn with_nodes<T>(
        &self,
        keys: &[Key],
        read: impl Fn(&dyn Snapshot, &Key, String, Document) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        let mut nodes = Vec::new();
        self.storage.read(&mut |snapshot| {
            nodes.clear();
            for key in keys {
                let node = self.find_node(snapshot, key).and_then(|node| {
                    node.map(|(path, document)| read(snapshot, key, path, document))
                        .transpose()
                });
                nodes.push(node.map_err(|e| e.with_key(key.as_str()))?);
            }
            Ok(())
        })?;
        Ok(nodes)
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

    fn nodes(store: &Arc<ProcessLocal<Self>>, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        Self::load_nodes(store, keys)
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
