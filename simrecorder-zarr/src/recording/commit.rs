//! Commits: from the changes of the recorder to those of the storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use simrecorder_core::backend::columns::{SeriesAppend, StoredSeries};
use simrecorder_core::backend::{Encoded, EncodedChange, errors};
use simrecorder_core::{
    Attributes, Batch, Change, Error, ErrorKind, Key, NodeKind, Prepared, Result, Schema, Value,
};

use crate::columns::changes::StorageChanges;
use crate::columns::encoded::{EncodedColumns, SeriesEncoding};
use crate::format::array_format::ArrayFormat;
use crate::format::metadata::{Document, check_attributes};
use crate::format::node_path::{node_path, parent_of_part};
use crate::recording::documents::document_at;
use crate::recording::loading::load_columns;
use crate::recording::{Recording, WriterCache};
use crate::storage::Change as StorageChange;

/// A commit that is being put together.
pub(crate) struct CommitBuilder<'a> {
    recording: &'a Recording,
    cache: &'a WriterCache,
    series: BTreeMap<Key, SeriesAppend<ArrayFormat>>,
    changes: StorageChanges<'a>,
}

/// The series that a commit changes, as they are when it has succeeded.
pub(crate) type ChangedSeries = Vec<(Key, StoredSeries<ArrayFormat>)>;

impl<'a> CommitBuilder<'a> {
    pub(crate) fn new(recording: &'a Recording, cache: &'a WriterCache) -> Self {
        Self {
            recording,
            cache,
            series: BTreeMap::new(),
            changes: StorageChanges::new(&*recording.storage),
        }
    }

    pub(crate) fn add_encoded(&mut self, change: EncodedChange) -> Result<()> {
        let (key, added) = match change {
            EncodedChange::Plain(change) => return self.add(change),
            EncodedChange::Declare { key, schema, form } => {
                let original = SeriesEncoding::in_form(&form);
                let declared = self.declare(&key, &schema, original);
                (key, declared)
            }
            EncodedChange::Append {
                key,
                start,
                encoded,
            } => {
                let appended = self.append_encoded(&key, start, encoded);
                (key, appended)
            }
            _ => return Err(unknown_change()),
        };
        added.map_err(|e| e.with_key(key.as_str()))
    }

    fn add(&mut self, change: Change) -> Result<()> {
        let key = change.key().clone();
        let result = match change {
            Change::Declare { key, schema } => self.declare(&key, &schema, None),
            Change::Append { batch, prepared } => self.append(batch, prepared),
            Change::Set { key, value } => self.set(&key, &value),
            Change::SetAttributes { key, attributes } => self.set_attributes(&key, &attributes),
            Change::Truncate { key, len } => self.truncate(&key, len),
            _ => Err(unknown_change()),
        };
        result.map_err(|e| e.with_key(key.as_str()))
    }

    /// All changes for the storage, and the series that they change.
    pub(crate) fn finish(mut self) -> Result<(Vec<StorageChange>, ChangedSeries)> {
        let changes = &mut self.changes;
        let series = self.series.into_iter().map(|(key, series)| {
            let series = series.finish(changes);
            let series = series.map_err(|e| e.with_key(key.as_str()))?;
            Ok((key, series))
        });
        let series = series.collect::<Result<_>>()?;
        Ok((self.changes.into_changes(), series))
    }

    /// The document of the node at `key`; the parts of a series are no nodes.
    fn node(&mut self, key: &Key, path: &str) -> Result<Option<Document>> {
        if let Some(parent) = parent_of_part(key) {
            let parent = self.changes.document(&node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        self.changes.document(path)
    }

    /// Makes the groups above `key`, and checks that they are groups.
    fn make_groups_above(&mut self, key: &Key) -> Result<()> {
        let mut missing = Vec::new();
        for group in key.ancestors() {
            let path = node_path(&group)?;
            match self.changes.document(&path)? {
                Some(document) if document.node_kind() == NodeKind::Group => break,
                Some(document) => {
                    let is = document.node_kind();
                    return Err(errors::not_a_group("commit", key, &group, is));
                }
                None => missing.push(path),
            }
        }
        for path in missing {
            self.changes
                .write_document(&path, Document::group(&Attributes::new()));
        }
        Ok(())
    }

    /// Removes copies of the metadata of `key` in groups above it, which other software keeps
    /// and would believe more; that in the root goes when the recording is opened.
    fn remove_copies(&mut self, key: &Key) -> Result<()> {
        for group in key.ancestors() {
            let path = node_path(&group)?;
            if let Some(mut document) = self.changes.document(&path)?
                && document.remove_consolidated()
            {
                self.changes.write_document(&path, document);
            }
        }
        Ok(())
    }

    // ---- changes ---------------------------------------------------------------------------

    /// Declares a series, with the encoding of `original` if it is a copy of that.
    fn declare(
        &mut self,
        key: &Key,
        schema: &Schema,
        original: Option<&SeriesEncoding>,
    ) -> Result<()> {
        schema.check()?;
        let path = node_path(key)?;
        if let Some(document) = self.node(key, &path)? {
            if document.node_kind() != NodeKind::Series {
                let is = document.node_kind();
                return Err(errors::clash("commit", key, is, NodeKind::Series));
            }
            let mut find = |path: &str| self.changes.document(path);
            let (stored, _) = self.recording.schema(key, &path, &document, &mut find)?;
            return stored.check_same_records(schema);
        }
        self.make_groups_above(key)?;
        self.remove_copies(key)?;
        for (path, document) in self.recording.new_series(key, &path, schema, original)? {
            self.changes.write_document(&path, document);
        }
        Ok(())
    }

    /// Changes the series at `key`.
    fn change_series(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut SeriesAppend<ArrayFormat>, &StorageChanges<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut series = match (self.series.remove(key), self.cache.get(key)) {
            (Some(series), _) => series,
            (None, Some(series)) => SeriesAppend::new(series.clone()),
            (None, None) => SeriesAppend::new(self.open_series(key)?),
        };
        change(&mut series, &self.changes)?;
        self.series.insert(key.clone(), series);
        Ok(())
    }

    fn open_series(&mut self, key: &Key) -> Result<StoredSeries<ArrayFormat>> {
        let path = node_path(key)?;
        let Some(document) = self.node(key, &path)? else {
            return Err(errors::not_declared(key));
        };
        if document.node_kind() != NodeKind::Series {
            let is = document.node_kind();
            return Err(errors::clash("commit", key, is, NodeKind::Series));
        }
        self.remove_copies(key)?;
        let recording = self.recording;
        let kind = recording.kind(&document)?;
        let mut columns = None;
        recording.storage.read(&mut |snapshot| {
            // What this commit writes comes first; all else must come from this snapshot.
            let mut find = |path: &str| match self.changes.cached_document(path) {
                Some(document) => Ok(document.clone()),
                None => document_at(snapshot, path),
            };
            let formats = &recording.formats;
            columns = Some(load_columns(
                snapshot, &path, &document, kind, formats, &mut find,
            )?);
            Ok(())
        })?;
        let columns = columns.ok_or_else(|| {
            let message = "the storage gave no snapshot";
            Error::new(ErrorKind::Internal, "commit", message)
        })?;
        let columns = columns.map(|view| Ok(view.column))?;
        Ok(StoredSeries { kind, columns })
    }

    fn append(&mut self, batch: Arc<Batch>, prepared: Option<Prepared>) -> Result<()> {
        let key = batch.key.clone();
        self.change_series(&key, |series, _| series.append(batch, prepared))
    }

    fn append_encoded(&mut self, key: &Key, start: u64, encoded: Encoded) -> Result<()> {
        let encoded = encoded.into_contents::<EncodedColumns>().ok_or_else(|| {
            let message = "the encoded records are of another store";
            Error::new(ErrorKind::Internal, "commit", message)
        })?;
        self.change_series(key, |series, _| series.append_encoded(start, encoded))
    }

    fn truncate(&mut self, key: &Key, len: u64) -> Result<()> {
        self.change_series(key, |series, changes| series.truncate(changes, len))
    }

    fn set_attributes(&mut self, key: &Key, attributes: &Attributes) -> Result<()> {
        check_attributes(attributes)?;
        let path = node_path(key)?;
        let mut document = match self.node(key, &path)? {
            Some(document) => document,
            None if key.is_root() => self.recording.new_root(),
            None => {
                self.make_groups_above(key)?;
                Document::group(&Attributes::new())
            }
        };
        document.set_attributes(attributes);
        self.changes.write_document(&path, document);
        self.remove_copies(key)
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<()> {
        let path = node_path(key)?;
        let old = self.node(key, &path)?;
        if let Some(old) = &old {
            if old.node_kind() != NodeKind::Value {
                let is = old.node_kind();
                return Err(errors::clash("commit", key, is, NodeKind::Value));
            }
            let path = path.clone();
            self.changes.push(StorageChange::ErasePath { path });
        } else {
            self.make_groups_above(key)?;
        }
        let (mut document, chunks) = self.recording.encode_value(key, &path, value)?;
        if let Some(old) = &old {
            document.set_attributes(&old.attributes());
        }
        chunks
            .into_iter()
            .for_each(|chunk| self.changes.push(chunk));
        self.changes.write_document(&path, document);
        self.remove_copies(key)
    }
}

fn unknown_change() -> Error {
    Error::new(ErrorKind::Unsupported, "commit", "this change is not known")
}
