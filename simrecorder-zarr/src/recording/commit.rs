//! Commits: from the changes of the recorder to those of the storage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use simrecorder_core::backend::{Encoded, EncodedChange, Rows, errors};
use simrecorder_core::{
    Attributes, Batch, Change, Error, ErrorKind, Key, Kind, NodeKind, Prepared, Result, Schema,
    Value,
};

use crate::columns::append::{ColumnAppend, NewRows, PreparedChunks, StoredRows, set_document};
use crate::columns::column::get;
use crate::columns::encoded::{EncodedColumns, SeriesEncoding, unfitting};
use crate::columns::view::Columns;
use crate::format::layout::Layout;
use crate::format::metadata::{ColumnType, Document, check_attributes};
use crate::format::node_path::{metadata_entry, node_path};
use crate::recording::{Recording, document_at, load_columns, parent_of_part};
use crate::storage::Change as StorageChange;

/// What the writer remembers from commit to commit. It is the only one that writes, so this
/// stays true.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    series: HashMap<Key, (Kind, Columns)>,
}

impl Writer {
    /// Takes over what a commit has changed.
    pub(crate) fn remember(&mut self, remembered: Remembered) {
        self.series.extend(remembered);
    }

    /// Forgets all series; they are read again when they are needed.
    pub(crate) fn forget(&mut self) {
        self.series.clear();
    }
}

/// A commit that is being put together.
pub(crate) struct Stage<'a> {
    recording: &'a Recording,
    writer: &'a Writer,
    /// Documents that this commit writes, by path; `None` for what it has looked up in vain.
    documents: HashMap<String, Option<Document>>,
    /// The paths in `documents` that are to be written.
    written: BTreeSet<String>,
    series: BTreeMap<Key, StagedSeries>,
    changes: Vec<StorageChange>,
}

struct StagedSeries {
    kind: Kind,
    columns: StagedColumns,
}

enum StagedColumns {
    One(ColumnAppend),
    Two {
        ends: ColumnAppend,
        items: Box<ColumnAppend>,
    },
}

impl StagedColumns {
    fn records(&self) -> u64 {
        match self {
            Self::One(column) => column.total(),
            Self::Two { ends, .. } => ends.total(),
        }
    }

    fn check_start(&self, start: u64) -> Result<()> {
        let records = self.records();
        if start == records {
            return Ok(());
        }
        let message =
            format!("records from {start} on are appended to a series that has {records}");
        Err(Error::new(ErrorKind::Internal, "commit", message))
    }
}

impl From<Columns> for StagedColumns {
    fn from(columns: Columns) -> Self {
        match columns {
            Columns::One(column) => Self::One(ColumnAppend::new(column)),
            Columns::Two { ends, items } => Self::Two {
                ends: ColumnAppend::new(ends),
                items: Box::new(ColumnAppend::new(items)),
            },
        }
    }
}

/// What the writer will remember when the commit has succeeded.
pub(crate) type Remembered = Vec<(Key, (Kind, Columns))>;

impl<'a> Stage<'a> {
    pub(crate) fn new(recording: &'a Recording, writer: &'a Writer) -> Self {
        Self {
            recording,
            writer,
            documents: HashMap::new(),
            written: BTreeSet::new(),
            series: BTreeMap::new(),
            changes: Vec::new(),
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

    /// All changes for the storage, and what the writer will remember.
    pub(crate) fn finish(mut self) -> Result<(Vec<StorageChange>, Remembered)> {
        let mut remembered = Vec::new();
        for (key, series) in std::mem::take(&mut self.series) {
            let mut finish = |column: ColumnAppend| {
                let (column, outcome) = column.finish(&*self.recording.storage, false)?;
                self.changes.extend(outcome.changes);
                if let Some(rows) = outcome.rows {
                    self.set_rows(&column.path, rows)?;
                }
                Ok(column)
            };
            let columns = match series.columns {
                StagedColumns::One(column) => finish(column).map(Columns::One),
                StagedColumns::Two { ends, items } => finish(*items).and_then(|items| {
                    Ok(Columns::Two {
                        ends: finish(ends)?,
                        items,
                    })
                }),
            };
            let columns = columns.map_err(|e: Error| e.with_key(key.as_str()))?;
            remembered.push((key, (series.kind, columns)));
        }
        for path in &self.written {
            if let Some(Some(document)) = self.documents.get(path) {
                self.changes.push(set_document(path, document));
            }
        }
        Ok((self.changes, remembered))
    }

    fn set_rows(&mut self, path: &str, rows: StoredRows) -> Result<()> {
        let Some(mut document) = self.document(path)? else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "commit",
                "the series is not there",
            ));
        };
        rows.write_to(&mut document);
        self.write(path, document);
        Ok(())
    }

    // ---- documents -------------------------------------------------------------------------

    /// The document at `path`, as this commit will leave it.
    fn document(&mut self, path: &str) -> Result<Option<Document>> {
        if let Some(document) = self.documents.get(path) {
            return Ok(document.clone());
        }
        let document = get(&*self.recording.storage, &metadata_entry(path))?
            .map(|bytes| Document::parse(&bytes))
            .transpose()?;
        self.documents.insert(path.to_owned(), document.clone());
        Ok(document)
    }

    fn write(&mut self, path: &str, document: Document) {
        self.written.insert(path.to_owned());
        self.documents.insert(path.to_owned(), Some(document));
    }

    /// The document of the node at `key`; the parts of a series are no nodes.
    fn node(&mut self, key: &Key, path: &str) -> Result<Option<Document>> {
        if let Some(parent) = parent_of_part(key) {
            let parent = self.document(&node_path(&parent)?)?;
            if parent.is_some_and(|parent| parent.node_kind() != NodeKind::Group) {
                return Ok(None);
            }
        }
        self.document(path)
    }

    /// Makes the groups above `key`, and checks that they are groups.
    fn make_groups_above(&mut self, key: &Key) -> Result<()> {
        let mut missing = Vec::new();
        for group in key.ancestors() {
            let path = node_path(&group)?;
            match self.document(&path)? {
                Some(document) if document.node_kind() == NodeKind::Group => break,
                Some(document) => {
                    let is = document.node_kind();
                    return Err(errors::not_a_group("commit", key, &group, is));
                }
                None => missing.push(path),
            }
        }
        for path in missing {
            self.write(&path, Document::group(&Attributes::new()));
        }
        Ok(())
    }

    /// Removes copies of the metadata of `key` in groups above it, which other software keeps
    /// and would believe more; that in the root goes when the recording is opened.
    fn remove_copies(&mut self, key: &Key) -> Result<()> {
        for group in key.ancestors() {
            let path = node_path(&group)?;
            if let Some(mut document) = self.document(&path)?
                && document.remove_consolidated()
            {
                self.write(&path, document);
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
            let (stored, _) = self
                .recording
                .schema(key, &path, &document, &mut |path| self.document(path))?;
            return stored.check_same_records(schema);
        }
        self.make_groups_above(key)?;
        self.remove_copies(key)?;
        for (path, document) in self.recording.new_series(key, &path, schema, original)? {
            self.write(&path, document);
        }
        Ok(())
    }

    /// The series at `key` as this commit will leave it.
    fn series(&mut self, key: &Key) -> Result<&mut StagedSeries> {
        if !self.series.contains_key(key) {
            let (kind, columns) = match self.writer.series.get(key) {
                Some((kind, columns)) => (*kind, columns.clone()),
                None => self.open_series(key)?,
            };
            let staged = StagedSeries {
                kind,
                columns: columns.into(),
            };
            self.series.insert(key.clone(), staged);
        }
        self.series
            .get_mut(key)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "commit", "a staged series is gone"))
    }

    fn open_series(&mut self, key: &Key) -> Result<(Kind, Columns)> {
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
            // What this commit writes comes first; the rest must come from this snapshot.
            let mut find = |path: &str| match self.documents.get(path) {
                Some(document) => Ok(document.clone()),
                None => document_at(snapshot, path),
            };
            columns = Some(load_columns(
                snapshot,
                &path,
                &document,
                kind,
                &recording.layouts,
                &mut find,
            )?);
            Ok(())
        })?;
        columns.map(|columns| (kind, columns)).ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "commit",
                "the storage gave no snapshot",
            )
        })
    }

    fn append(&mut self, batch: Arc<Batch>, prepared: Option<Prepared>) -> Result<()> {
        let series = self.series(&batch.key)?;
        series.columns.check_start(batch.start)?;
        let schema = batch.records.schema();
        let count = batch.records.len();
        match &mut series.columns {
            StagedColumns::One(column) => {
                check_layout(series.kind, &column.column.layout, schema)?;
                let prepared = prepared.and_then(|any| any.downcast::<PreparedChunks>().ok());
                column.push(NewRows::of_batch(batch, count, prepared))
            }
            StagedColumns::Two { ends, items } => {
                check_layout(series.kind, &items.column.layout, schema)?;
                let size = schema.record_bytes().unwrap_or(1).max(1) as u64;
                let base = items.total();
                let stops = batch.records.ends().iter().map(|end| base + end / size);
                let rows = Rows {
                    count,
                    data: stops.flat_map(u64::to_le_bytes).collect(),
                    ends: Vec::new(),
                };
                ends.push(NewRows::owned(rows))?;
                let item_count = batch.records.data().len() as u64 / size;
                items.push(NewRows::of_batch(batch, item_count, None))
            }
        }
    }

    fn append_encoded(&mut self, key: &Key, start: u64, encoded: Encoded) -> Result<()> {
        let series = self.series(key)?;
        series.columns.check_start(start)?;
        match (&mut series.columns, encoded.into_contents()) {
            (StagedColumns::One(column), Some(EncodedColumns::One(new))) => {
                column.push_encoded(new)
            }
            (
                StagedColumns::Two { ends, items },
                Some(EncodedColumns::Two {
                    ends: new_ends,
                    items: new_items,
                }),
            ) => {
                ends.push_encoded(new_ends)?;
                items.push_encoded(new_items)
            }
            _ => Err(unfitting(
                "the encoded records are of another kind or store",
            )),
        }
    }

    fn truncate(&mut self, key: &Key, records: u64) -> Result<()> {
        let storage = &*self.recording.storage;
        let series = self.series(key)?;
        if records >= series.columns.records() {
            return Ok(());
        }
        let changes = match &mut series.columns {
            StagedColumns::One(column) => column.truncate(storage, records)?,
            StagedColumns::Two { ends, items } => {
                let last = match records {
                    0 => 0,
                    _ => {
                        let bytes = ends.read_row(storage, records - 1)?;
                        bytes
                            .first_chunk()
                            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
                    }
                };
                let mut changes = items.truncate(storage, last)?;
                changes.extend(ends.truncate(storage, records)?);
                changes
            }
        };
        self.changes.extend(changes);
        Ok(())
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
        self.write(&path, document);
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
            self.changes
                .push(StorageChange::ErasePath { path: path.clone() });
        } else {
            self.make_groups_above(key)?;
        }
        let (mut document, chunks) = self.recording.encode_value(key, &path, value)?;
        if let Some(old) = &old {
            document.set_attributes(&old.attributes());
        }
        self.changes.extend(chunks);
        self.write(&path, document);
        self.remove_copies(key)
    }
}

fn unknown_change() -> Error {
    Error::new(ErrorKind::Unsupported, "commit", "this change is not known")
}

/// Checks that the rows of a batch have the form of the column that takes them.
pub(crate) fn check_layout(kind: Kind, layout: &Layout, batch: &Schema) -> Result<()> {
    let row_shape = layout.grid.record_shape().to_vec();
    let stored = match (kind, layout.column) {
        (Kind::Array, ColumnType::Elements(dtype)) => Schema::array_of(dtype, row_shape),
        (Kind::Ragged, ColumnType::Elements(dtype)) => Schema::ragged_of(dtype, row_shape),
        (Kind::Text, _) => Schema::text(),
        (Kind::Object, _) => Schema::object(),
        _ => Schema::bytes(),
    };
    stored
        .check_same_records(batch)
        .map_err(|e| e.with_operation("commit"))
}
