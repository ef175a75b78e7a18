//! Commits: from the changes of the recorder to calls of libhdf5 and notes in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use simrecorder_core::{
    Attributes, Batch, Change, Error, ErrorKind, Key, Kind, NodeKind, Prepared, Result, Schema,
    Value,
};

use crate::columns::Columns;
use crate::columns::append::{ColumnAppend, NewRows, PreparedChunks};
use crate::columns::column::{Column, ColumnLayout};
use crate::format::attributes::{
    read_attributes, remove_attributes, write_attributes, write_metadata,
};
use crate::format::node::{StoredNode, create_group, find};
use crate::format::node_path::path_of;
use crate::format::scales;
use crate::format::tail::TailChanges;
use crate::format::value::{create_value, overwrite};
use crate::format::variable::Variable;
use crate::library::{Handle, unlink};
use crate::recording::Recording;
use crate::recording::series::{NewSeries, load};
use crate::recording::state::State;

/// A commit that is being made. Datasets are changed at once, series get their new rows at the
/// end; what an error leaves behind is taken back by the driver.
pub(crate) struct CommitBuilder<'a> {
    recording: &'a Recording,
    state: &'a State,
    series: BTreeMap<Key, (Kind, Columns<ColumnAppend>)>,
    scales: scales::ScaleLinks,
}

/// What the writer will remember when the commit has succeeded.
pub(crate) type SeriesChanges = Vec<(Key, (Kind, Columns<Column>))>;

impl<'a> CommitBuilder<'a> {
    pub(crate) fn new(recording: &'a Recording, state: &'a State) -> Self {
        Self {
            recording,
            state,
            series: BTreeMap::new(),
            scales: scales::ScaleLinks::default(),
        }
    }

    fn root(&self) -> &'a Handle {
        &self.state.open.root
    }

    pub(crate) fn add(&mut self, change: Change) -> Result<()> {
        let key = change.key().clone();
        let result = match change {
            Change::Declare { key, schema } => self.declare(&key, &schema),
            Change::Append { batch, prepared } => self.append(batch, prepared),
            Change::Set { key, value } => self.set(&key, &value),
            Change::SetAttributes { key, attributes } => self.set_attributes(&key, &attributes),
            Change::Truncate { key, len } => self.truncate(&key, len),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "commit",
                "this change is not known",
            )),
        };
        result.map_err(|e| e.with_key(key.as_str()))
    }

    /// Writes what is left to be written; returns the note for the journal, and what the writer
    /// will remember.
    pub(crate) fn finish(mut self) -> Result<(TailChanges, SeriesChanges)> {
        let mut changes = TailChanges::default();
        let mut remembered = Vec::new();
        for (key, (kind, columns)) in std::mem::take(&mut self.series) {
            let columns = columns.map(|column| column.finish(self.state, false, &mut changes));
            let columns = columns.map_err(|e| e.with_key(key.as_str()))?;
            remembered.push((key, (kind, columns)));
        }
        std::mem::take(&mut self.scales).write(self.root())?;
        Ok((changes, remembered))
    }

    /// The group that a new node at `key` goes into, with the groups above it made.
    fn parent_group(&mut self, key: &Key) -> Result<Handle> {
        let Some(parent) = key.parent() else {
            return Err(Error::new(
                ErrorKind::KindMismatch,
                "commit",
                "the root is a group, it cannot become something else",
            ));
        };
        let mut missing = Vec::new();
        let mut group = None;
        for above in std::iter::once(parent.clone()).chain(parent.ancestors()) {
            match find(self.root(), &above)? {
                Some(found) if found.kind == NodeKind::Group => {
                    group = Some(found.object);
                    break;
                }
                Some(found) => {
                    let message = format!(
                        "'{above}' is a {}, not a group, so nothing can stand below it",
                        found.kind
                    );
                    return Err(Error::new(ErrorKind::KindMismatch, "commit", message));
                }
                None => missing.push(above),
            }
        }
        let mut group = match group {
            Some(group) => group,
            None => self.root().share()?,
        };
        for above in missing.into_iter().rev() {
            let users = scales::make_room(&group, above.name())?;
            group = create_group(&group, above.name())?;
            self.scales.attach_again(self.root(), &above, users)?;
        }
        Ok(group)
    }

    // ---- changes ---------------------------------------------------------------------------

    fn declare(&mut self, key: &Key, schema: &Schema) -> Result<()> {
        let new = NewSeries::plan(
            schema,
            &self.recording.chunk_policy,
            self.recording.compression,
        )?;
        if let Some(found) = find(self.root(), key)? {
            if found.kind != NodeKind::Series {
                return Err(clash(found.kind, NodeKind::Series));
            }
            let path = path_of(key);
            let stored = load(&found, &path, &self.state.tails)?.schema;
            return stored.check_same_records(schema);
        }
        let group = self.parent_group(key)?;
        let users = scales::make_room(&group, key.name())?;
        new.create(&group, key)?;
        self.scales.declare(self.root(), key, schema)?;
        self.scales.attach_again(self.root(), key, users)
    }

    /// The series at `key` as this commit will leave it.
    fn series(&mut self, key: &Key) -> Result<&mut (Kind, Columns<ColumnAppend>)> {
        if !self.series.contains_key(key) {
            let (kind, columns) = match self.state.series.get(key) {
                Some((kind, columns)) => (*kind, columns.clone()),
                None => self.open_series(key)?,
            };
            let columns = columns.map(|column| Ok(ColumnAppend::new(column)))?;
            self.series.insert(key.clone(), (kind, columns));
        }
        self.series
            .get_mut(key)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "commit", "a staged series is gone"))
    }

    fn open_series(&self, key: &Key) -> Result<(Kind, Columns<Column>)> {
        let Some((found, path)) = self.state.find(key)? else {
            let message = "the series was not declared";
            return Err(Error::new(ErrorKind::NotFound, "commit", message));
        };
        if found.kind != NodeKind::Series {
            return Err(clash(found.kind, NodeKind::Series));
        }
        let loaded = load(&found, &path, &self.state.tails)?;
        Ok((loaded.schema.kind(), loaded.columns))
    }

    fn append(&mut self, batch: Arc<Batch>, prepared: Option<Prepared>) -> Result<()> {
        let (kind, columns) = self.series(&batch.key)?;
        let record_count = columns.record_column().total();
        if batch.start != record_count {
            let message = format!(
                "records from {} on are appended to a series that has {record_count}",
                batch.start
            );
            return Err(Error::new(ErrorKind::Internal, "commit", message));
        }
        let schema = batch.records.schema();
        let count = batch.records.len();
        match columns {
            Columns::One(column) => {
                check_layout(*kind, column.layout(), schema)?;
                let prepared = prepared.and_then(|any| any.downcast::<PreparedChunks>().ok());
                column.push(NewRows::Batch {
                    batch,
                    count,
                    prepared,
                });
            }
            Columns::Two { ends, items } => {
                check_layout(*kind, items.layout(), schema)?;
                let size = schema.record_bytes().unwrap_or(1).max(1) as u64;
                let base = items.total();
                let row_ends = batch.records.ends().iter().map(|end| base + end / size);
                ends.push(NewRows::Owned(simrecorder_core::backend::Rows {
                    count,
                    data: row_ends.flat_map(u64::to_le_bytes).collect(),
                    ends: Vec::new(),
                }));
                let count = batch.records.data().len() as u64 / size;
                items.push(NewRows::Batch {
                    batch,
                    count,
                    prepared: None,
                });
            }
        }
        Ok(())
    }

    fn truncate(&mut self, key: &Key, len: u64) -> Result<()> {
        let (state, recording) = (self.state, self.recording);
        let (_, columns) = self.series(key)?;
        if len >= columns.record_column().total() {
            return Ok(());
        }
        // Views are read meanwhile, and must notice what they read.
        recording.next_epoch();
        match columns {
            Columns::One(column) => column.truncate(state, len)?,
            Columns::Two { ends, items } => {
                let last = ends.read_end(state, len)?;
                items.truncate(state, last)?;
                ends.truncate(state, len)?;
            }
        }
        Ok(())
    }

    fn set_attributes(&mut self, key: &Key, attributes: &Attributes) -> Result<()> {
        let found = match find(self.root(), key)? {
            Some(found) => found,
            None => {
                let group = self.parent_group(key)?;
                let users = scales::make_room(&group, key.name())?;
                let object = create_group(&group, key.name())?;
                self.scales.attach_again(self.root(), key, users)?;
                StoredNode {
                    object,
                    kind: NodeKind::Group,
                    metadata: None,
                }
            }
        };
        remove_attributes(&found.object, attributes)?;
        let noted = found.metadata.is_some();
        let mut metadata = found.metadata.unwrap_or_default();
        write_attributes(&found.object, attributes, &mut metadata)?;
        match noted || !metadata.is_empty() {
            true => write_metadata(&found.object, metadata),
            false => Ok(()),
        }
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<()> {
        let group = self.parent_group(key)?;
        let (attributes, users) = match find(self.root(), key)? {
            Some(old) if old.kind == NodeKind::Value => {
                if overwrite(&old, value)? {
                    return Ok(());
                }
                let attributes = read_attributes(&old.object, old.metadata.as_ref())?;
                let users = scales::users(&old.object)?;
                unlink(&group, key.name())?;
                (attributes, users)
            }
            Some(other) => return Err(clash(other.kind, NodeKind::Value)),
            None => (Attributes::new(), scales::make_room(&group, key.name())?),
        };
        create_value(&group, key.name(), value, &attributes)?;
        self.scales.attach_again(self.root(), key, users)
    }
}

fn clash(is: NodeKind, wanted: NodeKind) -> Error {
    let message = format!("this is a {is}, it cannot become a {wanted}");
    Error::new(ErrorKind::KindMismatch, "commit", message)
}

/// Checks that the rows of a batch have the form of the column that takes them.
pub(crate) fn check_layout(kind: Kind, layout: &ColumnLayout, batch: &Schema) -> Result<()> {
    let stored = match (kind, layout) {
        (Kind::Array, ColumnLayout::Elements(layout)) => {
            Schema::array_of(layout.dtype, layout.grid.record_shape())
        }
        (Kind::Ragged, ColumnLayout::Elements(layout)) => {
            Schema::ragged_of(layout.dtype, layout.grid.record_shape())
        }
        (Kind::Object, ColumnLayout::Variable(Variable::Bytes)) => Schema::object(),
        (Kind::Bytes, ColumnLayout::Variable(Variable::Bytes)) => Schema::bytes(),
        _ => Schema::text(),
    };
    stored
        .check_same_records(batch)
        .map_err(|e| e.with_operation("commit"))
}
