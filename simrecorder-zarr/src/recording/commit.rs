//! Commits: translates the changes of the recorder into those of the storage.

use simrecorder_core::backend::columns::{
    CommittedSeries, Series, SeriesAppend, SeriesCache, SeriesChanges, StoredSeries,
};
use simrecorder_core::backend::{Encoded, EncodedChange, errors};
use simrecorder_core::{
    Attributes, Change, Error, ErrorKind, Key, NodeKind, ObjectValue, Result, Schema, Value,
};

use crate::columns::changes::StorageChanges;
use crate::columns::encoded::{EncodedColumns, SeriesEncoding};
use crate::format::array_format::ArrayFormat;
use crate::format::metadata::{Document, check_attributes};
use crate::format::node_path::{ENDS, node_path};
use crate::recording::Recording;
use crate::recording::documents::document_at;
use crate::recording::loading::load_columns;
use crate::recording::new_series::record_names;
use crate::storage::Change as StorageChange;

/// A commit under construction.
pub(crate) struct CommitBuilder<'a> {
    recording: &'a Recording,
    cache: &'a SeriesCache<ArrayFormat>,
    series: SeriesChanges<ArrayFormat>,
    changes: StorageChanges<'a>,
}

impl<'a> CommitBuilder<'a> {
    pub(crate) fn new(recording: &'a Recording, cache: &'a SeriesCache<ArrayFormat>) -> Self {
        Self {
            recording,
            cache,
            series: SeriesChanges::default(),
            changes: StorageChanges::new(&*recording.storage),
        }
    }

    pub(crate) fn add_encoded(&mut self, change: EncodedChange) -> Result<()> {
        let (key, added) = match change {
            EncodedChange::Plain(change) => return self.add(change),
            EncodedChange::Declare {
                key,
                schema,
                form,
                filled,
            } => {
                let original = SeriesEncoding::in_form(&form);
                let declared = self.declare(&key, &schema, filled, original);
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
            Change::Declare {
                key,
                schema,
                filled,
            } => self.declare(&key, &schema, filled, None),
            Change::Append { batch, prepared } => {
                let series = self.series(&batch.key);
                series.and_then(|(series, _)| series.append(batch, prepared))
            }
            Change::Set { key, value } => self.set(&key, &value),
            Change::SetAttributes { key, attributes } => self.set_attributes(&key, &attributes),
            Change::Describe {
                key,
                dimension_names,
                attributes,
            } => self.describe(&key, dimension_names.as_deref(), &attributes),
            Change::Truncate { key, len } => {
                let series = self.series(&key);
                series.and_then(|(series, changes)| series.truncate(changes, len))
            }
            // A Zarr recording has one writer.
            Change::Claim { .. } => Ok(()),
            _ => Err(unknown_change()),
        };
        result.map_err(|e| e.with_key(key.as_str()))
    }

    /// All changes for the storage, and the series that they change.
    pub(crate) fn finish(mut self) -> Result<(Vec<StorageChange>, CommittedSeries<ArrayFormat>)> {
        let series = self.series.finish(&mut self.changes)?;
        Ok((self.changes.into_changes(), series))
    }

    // ---- changes ---------------------------------------------------------------------------

    /// Declares a series that begins with `filled` records. If it is a copy, it gets the encoding
    /// of `original`.
    fn declare(
        &mut self,
        key: &Key,
        schema: &Schema,
        filled: u64,
        original: Option<&SeriesEncoding>,
    ) -> Result<()> {
        schema.check()?;
        errors::check_filled(schema, filled)?;
        let path = node_path(key)?;
        if let Some(document) = self.changes.node(key, &path)? {
            if document.node_kind() != NodeKind::Series {
                let is = document.node_kind();
                return Err(errors::clash("commit", key, is, NodeKind::Series));
            }
            let mut find = |path: &str| self.changes.document(path);
            let (stored, _) = self.recording.schema(key, &path, &document, &mut find)?;
            return stored.check_same_records(schema);
        }
        self.changes.make_groups_above(key)?;
        self.changes.remove_copies(key)?;
        let cut_base = self.changes.cut_base()?;
        for (path, mut document) in self.recording.new_series(key, &path, schema, original)? {
            if cut_base > 0 && document.is_array() {
                document.set_cut_base(cut_base);
            }
            if filled > 0 {
                document.set_filled(filled);
            }
            self.changes.write_document(&path, document);
        }
        Ok(())
    }

    /// The series at `key`, and the other changes of the commit.
    fn series(
        &mut self,
        key: &Key,
    ) -> Result<(&mut SeriesAppend<ArrayFormat>, &StorageChanges<'a>)> {
        let (recording, changes) = (self.recording, &mut self.changes);
        let load = || open_series(recording, changes, key);
        let series = self.series.series(key, self.cache, load)?;
        Ok((series, &self.changes))
    }

    fn append_encoded(&mut self, key: &Key, start: u64, encoded: Encoded) -> Result<()> {
        let encoded = encoded.into_contents::<EncodedColumns>().ok_or_else(|| {
            let message = "the records were encoded for another store";
            Error::new(ErrorKind::Internal, "commit", message)
        })?;
        let (series, _) = self.series(key)?;
        series.append_encoded(key, start, encoded)
    }

    fn set_attributes(&mut self, key: &Key, attributes: &Attributes) -> Result<()> {
        check_attributes(attributes)?;
        let path = node_path(key)?;
        let mut document = match self.changes.node(key, &path)? {
            Some(document) => document,
            None if key.is_root() => self.recording.new_root(),
            None => {
                self.changes.make_groups_above(key)?;
                Document::group(&Attributes::new())
            }
        };
        document.set_attributes(attributes);
        self.changes.write_document(&path, document);
        self.changes.remove_copies(key)
    }

    fn describe(
        &mut self,
        key: &Key,
        names: Option<&[Option<String>]>,
        attributes: &Attributes,
    ) -> Result<()> {
        let path = node_path(key)?;
        let document = self.changes.node(key, &path)?;
        let is = document.as_ref().map(Document::node_kind);
        let Some(mut document) = document.filter(|_| is != Some(NodeKind::Group)) else {
            return Err(errors::not_described(key, is));
        };
        let mut all = document.attributes();
        all.extend(attributes.clone());
        check_attributes(&all)?;
        document.set_attributes(&all);
        if let Some(names) = names {
            if is != Some(NodeKind::Series) {
                return Err(errors::not_described(key, is));
            }
            let mut find = |path: &str| self.changes.document(path);
            let (schema, _) = self.recording.schema(key, &path, &document, &mut find)?;
            let schema = schema.with_dimension_names(names.iter().cloned());
            schema.check()?;
            let written = record_names(key.name(), &schema);
            document.mark_names(Some(names), &written);
            let ends = format!("{path}/{ENDS}");
            match self.changes.document(&ends)? {
                Some(mut array) if !document.is_array() => {
                    array.set_dimension_names(&written);
                    self.changes.write_document(&ends, array);
                }
                _ => document.set_dimension_names(&written),
            }
        }
        self.changes.write_document(&path, document);
        self.changes.remove_copies(key)
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<()> {
        let path = node_path(key)?;
        let old = self.changes.node(key, &path)?;
        if let Some(old) = &old {
            if old.node_kind() != NodeKind::Value {
                let is = old.node_kind();
                return Err(errors::clash("commit", key, is, NodeKind::Value));
            }
            let path = path.clone();
            self.changes.push(StorageChange::ErasePath { path });
        } else {
            self.changes.make_groups_above(key)?;
        }
        let (mut document, chunks) = self.recording.encode_value(key, &path, value)?;
        if let Some(old) = &old {
            document.set_attributes(&old.attributes());
        }
        if let Some(json) = value.as_object().and_then(ObjectValue::exact_json) {
            document.set_json(json);
        }
        chunks
            .into_iter()
            .for_each(|chunk| self.changes.push(chunk));
        self.changes.write_document(&path, document);
        self.changes.remove_copies(key)
    }
}

fn unknown_change() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "commit",
        "this store does not support this kind of change",
    )
}

/// Opens the series at `key`, whose metadata this commit may have changed.
fn open_series(
    recording: &Recording,
    changes: &mut StorageChanges<'_>,
    key: &Key,
) -> Result<StoredSeries<ArrayFormat>> {
    let path = node_path(key)?;
    let Some(document) = changes.node(key, &path)? else {
        return Err(errors::not_declared(key));
    };
    if document.node_kind() != NodeKind::Series {
        let is = document.node_kind();
        return Err(errors::clash("commit", key, is, NodeKind::Series));
    }
    changes.remove_copies(key)?;
    let kind = recording.kind(&document)?;
    let mut columns = None;
    recording.storage.read(&mut |snapshot| {
        // What this commit writes has precedence; everything else must come from this snapshot.
        let mut find = |path: &str| match changes.cached_document(path)? {
            Some(document) => Ok(document),
            None => document_at(snapshot, path),
        };
        let formats = &recording.formats;
        let loaded = load_columns(snapshot, &path, &document, kind, formats, &mut find)?;
        columns = Some(loaded.map(|view| Ok(view.column))?);
        Ok(())
    })?;
    let no_snapshot = || Error::new(ErrorKind::Internal, "commit", "there is no snapshot");
    let columns = columns.ok_or_else(no_snapshot)?;
    Ok(Series { kind, columns })
}
