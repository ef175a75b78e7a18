//! Commits: translates the changes of the recorder into calls of libhdf5 and notes in the journal.

use serde_json::json;
use simrecorder_core::backend::columns::{
    CommittedSeries, SeriesAppend, SeriesChanges, StoredSeries,
};
use simrecorder_core::backend::errors::{
    check_filled, clash, not_a_group, not_declared, not_described,
};
use simrecorder_core::{
    Attributes, Change, Error, ErrorKind, Key, NodeKind, Result, Schema, Value,
};

use crate::columns::changes::DatasetChanges;
use crate::format::attributes::{
    Metadata, read_attributes, remove_attributes, write_attributes, write_metadata,
};
use crate::format::dataset_format::DatasetFormat;
use crate::format::node::{StoredNode, create_group, find};
use crate::format::node_path::path_of;
use crate::format::root::cut_base;
use crate::format::scales::{self, RemovedScale, write_axis_labels};
use crate::format::tail::TailChanges;
use crate::format::value::{create_value, overwrite};
use crate::library::{Handle, has_link, unlink};
use crate::recording::Recording;
use crate::recording::new_series::NewSeries;
use crate::recording::series::{LoadedSeries, declared_columns, load};
use crate::recording::state::State;

/// The number of changes of a commit from which on room for its tails is reserved.
const MANY_CHANGES: usize = 1000;

/// The approximate bytes of a change to a tail, in addition to its records.
const TAIL_BYTES: usize = 128;

/// A commit under construction. Datasets are changed at once, series get their new rows at the end.
/// After an error, the driver undoes the changes.
pub(crate) struct CommitBuilder<'a> {
    recording: &'a Recording,
    state: &'a State,
    series: SeriesChanges<DatasetFormat>,
    columns: DatasetChanges<'a>,
    /// The number from which cuts of new datasets are counted, once it was read.
    cut_base: Option<u64>,
}

/// What a commit has written, in addition to the file.
pub(crate) struct FinishedCommit {
    pub(crate) tails: TailChanges,
    pub(crate) series: CommittedSeries<DatasetFormat>,
    /// The keys whose datasets changed, and whether their axes have names.
    pub(crate) renewed: Vec<(Key, bool)>,
}

impl<'a> CommitBuilder<'a> {
    pub(crate) fn new(recording: &'a Recording, state: &'a State) -> Self {
        Self {
            recording,
            state,
            series: SeriesChanges::default(),
            columns: DatasetChanges::new(recording, state),
            cut_base: None,
        }
    }

    /// Makes room for the tails of a commit that changes many series.
    pub(crate) fn reserve(&mut self, changes: &[Change]) {
        if changes.len() >= MANY_CHANGES {
            let room = changes.iter().map(|change| match change {
                Change::Append { batch, .. } => batch.records.data().len() + TAIL_BYTES,
                _ => TAIL_BYTES,
            });
            self.columns.tails.reserve(room.sum());
        }
    }

    fn root(&self) -> &'a Handle {
        &self.state.open.root
    }

    pub(crate) fn add(&mut self, change: Change) -> Result<()> {
        let key = change.key().clone();
        if !matches!(change, Change::Declare { .. } | Change::Append { .. }) {
            self.columns
                .create(&path_of(&key))
                .map_err(|e| e.with_key(key.as_str()))?;
        }
        let result = match change {
            Change::Declare {
                key,
                schema,
                filled,
            } => self.declare(&key, &schema, filled),
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
                series.and_then(|(series, columns)| series.truncate(columns, len))
            }
            // An HDF5 recording has one writer.
            Change::Claim { .. } => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "commit",
                "this store does not support this kind of change",
            )),
        };
        result.map_err(|e| e.with_key(key.as_str()))
    }

    /// Writes the new rows of all series. Returns the changes of tails, and the series.
    pub(crate) fn finish(mut self) -> Result<FinishedCommit> {
        let series = self.series.finish(&mut self.columns)?;
        self.columns.finish_dataset()?;
        Ok(FinishedCommit {
            renewed: self.columns.renewed_keys(),
            tails: self.columns.tails,
            series,
        })
    }

    /// The group for a new node at `key`. Creates the groups above it.
    pub(crate) fn parent_group(&mut self, key: &Key) -> Result<Handle> {
        let Some(parent) = key.parent() else {
            return Err(Error::new(
                ErrorKind::KindMismatch,
                "commit",
                "the root is a group and cannot become something else",
            ));
        };
        let mut missing = Vec::new();
        let mut group = None;
        for above in std::iter::once(parent.clone()).chain(parent.ancestors()) {
            if self.columns.is_declared(&path_of(&above)) {
                return Err(not_a_group("commit", key, &above, NodeKind::Series));
            }
            match find(self.root(), &above)? {
                Some(found) if found.kind == NodeKind::Group => {
                    group = Some(found.object);
                    break;
                }
                Some(found) => return Err(not_a_group("commit", key, &above, found.kind)),
                None => missing.push(above),
            }
        }
        let mut group = match group {
            Some(group) => group,
            None => self.root().share()?,
        };
        for above in missing.into_iter().rev() {
            let removed = scales::make_room(&group, above.name())?;
            group = create_group(&group, above.name())?;
            removed.replace_with(self.root(), &group, above.name())?;
        }
        Ok(group)
    }

    // ---- changes ---------------------------------------------------------------------------

    fn declare(&mut self, key: &Key, schema: &Schema, filled: u64) -> Result<()> {
        check_filled(schema, filled)?;
        let new = NewSeries::plan(
            schema,
            &self.recording.chunk_policy,
            self.recording.compression,
        )?
        .with_filled(filled);
        let path = path_of(key);
        if let Some((stored, _)) = self.columns.declared(&path)? {
            return stored.schema.check_same_records(schema);
        }
        let group = self.parent_group(key)?;
        let is_taken = has_link(&group, key.name())?;
        if is_taken && let Some(found) = find(self.root(), key)? {
            if found.kind != NodeKind::Series {
                return Err(clash("commit", key, found.kind, NodeKind::Series));
            }
            let stored = load(&found, &path, &self.state.tails)?.schema;
            return stored.check_same_records(schema);
        }
        let cut_base = match self.cut_base {
            Some(cut_base) => cut_base,
            None => *self.cut_base.insert(cut_base(self.root())?),
        };
        self.columns.declare(&path, new, cut_base);
        if is_taken {
            // An existing dimension is replaced now, or this fails.
            self.columns.create(&path)?;
        }
        Ok(())
    }

    /// The series at `key` as this commit will leave it, and the other changes of the commit.
    fn series(
        &mut self,
        key: &Key,
    ) -> Result<(&mut SeriesAppend<DatasetFormat>, &DatasetChanges<'a>)> {
        let load = || open_series(self.state, &self.columns, key);
        let series = self.series.series(key, &self.state.series, load)?;
        Ok((series, &self.columns))
    }

    fn set_attributes(&mut self, key: &Key, attributes: &Attributes) -> Result<()> {
        let found = match find(self.root(), key)? {
            Some(found) => found,
            None => {
                let group = self.parent_group(key)?;
                let removed = scales::make_room(&group, key.name())?;
                let object = create_group(&group, key.name())?;
                removed.replace_with(self.root(), &object, key.name())?;
                StoredNode {
                    object,
                    kind: NodeKind::Group,
                    metadata: None,
                }
            }
        };
        replace_attributes(found, attributes, |_| {})
    }

    fn describe(
        &mut self,
        key: &Key,
        names: Option<&[Option<String>]>,
        attributes: &Attributes,
    ) -> Result<()> {
        let found = find(self.root(), key)?;
        let is = found.as_ref().map(|found| found.kind);
        let Some(found) = found.filter(|_| is != Some(NodeKind::Group)) else {
            return Err(not_described(key, is));
        };
        if let Some(names) = names {
            if is != Some(NodeKind::Series) {
                return Err(not_described(key, is));
            }
            let LoadedSeries { schema, columns } = load(&found, &path_of(key), &self.state.tails)?;
            schema.with_dimension_names(names.iter().cloned()).check()?;
            write_axis_labels(columns.records().dataset.handle(), names)?;
        }
        let mut all = read_attributes(&found.object, found.metadata.as_ref())?;
        all.extend(attributes.clone());
        replace_attributes(found, &all, |metadata| {
            if let Some(names) = names {
                metadata.insert("dimension_names".into(), json!(names));
            }
        })
    }

    fn set(&mut self, key: &Key, value: &Value) -> Result<()> {
        let group = self.parent_group(key)?;
        let (attributes, removed) = match find(self.root(), key)? {
            Some(old) if old.kind == NodeKind::Value => {
                if overwrite(&old, value)? {
                    return Ok(());
                }
                let attributes = read_attributes(&old.object, old.metadata.as_ref())?;
                let removed = RemovedScale::of(&old.object)?;
                unlink(&group, key.name())?;
                (attributes, removed)
            }
            Some(other) => return Err(clash("commit", key, other.kind, NodeKind::Value)),
            None => (Attributes::new(), scales::make_room(&group, key.name())?),
        };
        let object = create_value(&group, key.name(), value, &attributes)?;
        removed.replace_with(self.root(), &object, key.name())
    }
}

/// Replaces the user's attributes, and changes the metadata of an object.
fn replace_attributes(
    found: StoredNode,
    attributes: &Attributes,
    note: impl FnOnce(&mut Metadata),
) -> Result<()> {
    remove_attributes(&found.object, found.metadata.as_ref(), attributes)?;
    let noted = found.metadata.is_some();
    let mut metadata = found.metadata.unwrap_or_default();
    write_attributes(&found.object, attributes, &mut metadata)?;
    note(&mut metadata);
    match noted || !metadata.is_empty() {
        true => write_metadata(&found.object, metadata),
        false => Ok(()),
    }
}

fn open_series(
    state: &State,
    changes: &DatasetChanges<'_>,
    key: &Key,
) -> Result<StoredSeries<DatasetFormat>> {
    let path = path_of(key);
    if let Some((series, _)) = changes.declared(&path)? {
        return Ok(StoredSeries {
            kind: series.schema.kind(),
            columns: declared_columns(&series, &path, &state.tails)?,
        });
    }
    let Some(found) = find(&state.open.root, key)? else {
        return Err(not_declared(key));
    };
    if found.kind != NodeKind::Series {
        return Err(clash("commit", key, found.kind, NodeKind::Series));
    }
    let series = load(&found, &path, &state.tails)?;
    Ok(StoredSeries {
        kind: series.schema.kind(),
        columns: series.columns.map(|loaded| Ok(loaded.column))?,
    })
}
