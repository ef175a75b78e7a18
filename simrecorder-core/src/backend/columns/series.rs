//! Series of one or two columns, as commits change them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::backend::columns::append::{ColumnAppend, EncodedRows, NewRows, PreparedChunks};
use crate::backend::columns::column::{Column, ColumnFormat, Columns, Series};
use crate::backend::columns::sink::ColumnSink;
use crate::backend::columns::tiers::MergeBytes;
use crate::backend::rows::Rows;
use crate::backend::sync::Mutex;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::store::commit::{Batch, Prepared};
use crate::store::errors::wrong_start;

/// A series as it is stored, without the rows of its tails.
pub type StoredSeries<F> = Series<Column<F>>;

/// The series that the writer keeps from commit to commit. They stay valid, since it is the only writer.
pub type SeriesCache<F> = HashMap<Key, StoredSeries<F>>;

/// The series that a commit has changed, for the cache.
pub type CommittedSeries<F> = Vec<(Key, StoredSeries<F>)>;

/// The series that a commit changes, in their state after the commit.
#[derive(Debug)]
pub struct SeriesChanges<F: ColumnFormat>(BTreeMap<Key, SeriesAppend<F>>);

impl<F: ColumnFormat> Default for SeriesChanges<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<F: ColumnFormat> SeriesChanges<F> {
    /// Returns the series at `key`, from the cache or loaded.
    pub fn series(
        &mut self,
        key: &Key,
        cache: &SeriesCache<F>,
        load: impl FnOnce() -> Result<StoredSeries<F>>,
    ) -> Result<&mut SeriesAppend<F>> {
        Ok(match self.0.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Series { kind, columns } = cache.get(key).cloned().map_or_else(load, Ok)?;
                let columns = columns.map(|column| Ok(ColumnAppend::new(column)))?;
                entry.insert(SeriesAppend(Series { kind, columns }))
            }
        })
    }

    /// Passes all changes to `sink`; returns the series after them.
    pub fn finish<S>(self, sink: &mut S) -> Result<CommittedSeries<F>>
    where
        S: ColumnSink<Format = F>,
    {
        let mut merges = MergeBytes::of_commit();
        let series = self.0.into_iter().map(|(key, SeriesAppend(series))| {
            let columns = series
                .columns
                .map(|column| column.finish(sink, false, &mut merges));
            let columns = columns.map_err(|e| e.with_key(key.as_str()))?;
            let kind = series.kind;
            Ok((key, Series { kind, columns }))
        });
        series.collect()
    }
}

/// A series in its state after a commit.
#[derive(Debug)]
pub struct SeriesAppend<F: ColumnFormat>(Series<ColumnAppend<F>>);

impl<F: ColumnFormat> SeriesAppend<F> {
    fn check_start(&self, key: &Key, start: u64) -> Result<()> {
        match self.0.columns.records().len() {
            len if len == start => Ok(()),
            len => Err(wrong_start(key, start, len)),
        }
    }

    /// Appends the records of a batch, of which some chunks may be [prepared](prepare).
    pub fn append(&mut self, batch: Arc<Batch>, prepared: Option<Prepared>) -> Result<()> {
        self.check_start(&batch.key, batch.start)?;
        let schema = batch.records.schema();
        let layout = self.0.columns.elements().format().layout();
        layout.check_schema(self.0.kind, schema)?;
        let count = batch.records.len();
        match &mut self.0.columns {
            Columns::Single(column) => column.push(NewRows::Batch {
                batch,
                count,
                prepared: prepared.and_then(|any| any.downcast::<PreparedChunks<F>>().ok()),
            }),
            Columns::Ragged { ends, items } => {
                let size = schema.record_bytes().unwrap_or(1).max(1) as u64;
                let base = items.len();
                let new_ends = batch.records.ends().iter().map(|end| base + end / size);
                ends.push(NewRows::Owned(Rows {
                    count,
                    data: new_ends.flat_map(u64::to_le_bytes).collect(),
                    ends: Vec::new(),
                }))?;
                items.push(NewRows::Batch {
                    count: batch.records.data().len() as u64 / size,
                    batch,
                    prepared: None,
                })
            }
        }
    }

    /// Appends records from `start` on, which were encoded for another series.
    pub fn append_encoded(
        &mut self,
        key: &Key,
        start: u64,
        encoded: Columns<EncodedRows<F>>,
    ) -> Result<()> {
        self.check_start(key, start)?;
        match (&mut self.0.columns, encoded) {
            (Columns::Single(column), Columns::Single(new)) => column.push_encoded(new),
            (Columns::Ragged { ends, items }, Columns::Ragged { ends: e, items: i }) => {
                ends.push_encoded(e)?;
                items.push_encoded(i)
            }
            _ => {
                let message = "the encoded records are of another kind";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        }
    }

    /// Cuts the series to its first `len` records, if it has more.
    pub fn truncate<S: ColumnSink<Format = F>>(&mut self, sink: &S, len: u64) -> Result<()> {
        if len >= self.0.columns.records().len() {
            return Ok(());
        }
        match &mut self.0.columns {
            Columns::Single(column) => column.truncate(sink, len),
            Columns::Ragged { ends, items } => {
                items.truncate(sink, ends.read_end(sink, len)?)?;
                ends.truncate(sink, len)
            }
        }
    }
}

/// Stores the tail of a column, in an unfinished chunk.
pub fn fold<S: ColumnSink>(column: Column<S::Format>, sink: &mut S) -> Result<Column<S::Format>> {
    ColumnAppend::new(column).finish(sink, true, &mut MergeBytes::of_commit())
}

/// The formats of planned series of arrays, for encoding batches ahead of commits.
pub type PlannedFormats<F> = Mutex<HashMap<Key, Arc<F>>>;

/// Implements [`DataStore::prepare`](crate::DataStore::prepare). Passes each encoded chunk through `keep`, which may
/// write it ahead of the commit.
pub fn prepare<F: ColumnFormat>(
    formats: &PlannedFormats<F>,
    batch: &Batch,
    keep: impl Fn(&F, &[u64], F::Chunk) -> Result<F::Chunk>,
) -> Result<Option<Prepared>> {
    let format = formats.lock().get(&batch.key).cloned();
    // The commit refuses a batch of another type.
    let schema = batch.records.schema();
    let fits = |format: &Arc<F>| format.layout().check_schema(Kind::Array, schema).is_ok();
    let prepared = format.filter(fits).map(|format| {
        let prepared = PreparedChunks::encode(format, batch, keep);
        let prepared = prepared.map_err(|e| e.with_key(batch.key.as_str()))?;
        Ok(Box::new(prepared) as Prepared)
    });
    prepared.transpose()
}
