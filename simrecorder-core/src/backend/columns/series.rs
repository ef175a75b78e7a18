//! Series of one or two columns, as commits change them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::backend::columns::append::{ColumnAppend, EncodedRows, NewRows, PreparedChunks};
use crate::backend::columns::column::{Column, ColumnFormat, Columns};
use crate::backend::columns::sink::ColumnSink;
use crate::backend::rows::Rows;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::schema::Kind;
use crate::store::commit::{Batch, Prepared};

/// The columns of a series, and what its records are.
#[derive(Debug)]
pub struct StoredSeries<F> {
    /// What the records are.
    pub kind: Kind,
    /// Their columns.
    pub columns: Columns<Column<F>>,
}

impl<F> Clone for StoredSeries<F> {
    fn clone(&self) -> Self {
        let columns = match &self.columns {
            Columns::Single(column) => Columns::Single(column.clone()),
            Columns::Ragged { ends, items } => Columns::Ragged {
                ends: ends.clone(),
                items: items.clone(),
            },
        };
        Self { columns, ..*self }
    }
}

/// A series as a commit will leave it.
#[derive(Debug)]
pub struct SeriesAppend<F: ColumnFormat> {
    kind: Kind,
    columns: Columns<ColumnAppend<F>>,
}

impl<F: ColumnFormat> SeriesAppend<F> {
    /// A series to which nothing is done yet.
    pub fn new(series: StoredSeries<F>) -> Self {
        let columns = match series.columns {
            Columns::Single(column) => Columns::Single(ColumnAppend::new(column)),
            Columns::Ragged { ends, items } => Columns::Ragged {
                ends: ColumnAppend::new(ends),
                items: ColumnAppend::new(items),
            },
        };
        Self {
            kind: series.kind,
            columns,
        }
    }

    /// How many records it will have.
    pub fn record_count(&self) -> u64 {
        self.columns.records().len()
    }

    fn check_start(&self, start: u64) -> Result<()> {
        let len = self.record_count();
        if start == len {
            return Ok(());
        }
        let message = format!("records from {start} on are appended to a series that has {len}");
        Err(Error::new(ErrorKind::Internal, "commit", message))
    }

    /// Appends the records of a batch, of which `prepared` may have chunks that are
    /// [encoded](PreparedChunks).
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`]; [`ErrorKind::Internal`] if the batch does not begin where the
    /// series ends.
    pub fn append(&mut self, batch: Arc<Batch>, prepared: Option<Prepared>) -> Result<()> {
        self.check_start(batch.start)?;
        let schema = batch.records.schema();
        let layout = self.columns.elements().format().layout();
        layout.check_schema(self.kind, schema)?;
        let count = batch.records.len();
        match &mut self.columns {
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
                let count = batch.records.data().len() as u64 / size;
                items.push(NewRows::Batch {
                    batch,
                    count,
                    prepared: None,
                })
            }
        }
    }

    /// Appends records from `start` on, which were encoded for another series.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if they do not fit the series.
    pub fn append_encoded(&mut self, start: u64, encoded: Columns<EncodedRows<F>>) -> Result<()> {
        self.check_start(start)?;
        match (&mut self.columns, encoded) {
            (Columns::Single(column), Columns::Single(new)) => column.push_encoded(new),
            (
                Columns::Ragged { ends, items },
                Columns::Ragged {
                    ends: new_ends,
                    items: new_items,
                },
            ) => {
                ends.push_encoded(new_ends)?;
                items.push_encoded(new_items)
            }
            _ => {
                let message = "the encoded records are of another kind";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        }
    }

    /// Cuts the series to its first `len` records; nothing happens if it has no more.
    pub fn truncate<S: ColumnSink<Format = F>>(&mut self, sink: &S, len: u64) -> Result<()> {
        if len >= self.record_count() {
            return Ok(());
        }
        match &mut self.columns {
            Columns::Single(column) => column.truncate(sink, len),
            Columns::Ragged { ends, items } => {
                items.truncate(sink, ends.read_end(sink, len)?)?;
                ends.truncate(sink, len)
            }
        }
    }

    /// Hands all changes to `sink`; returns the series as it is then.
    pub fn finish<S: ColumnSink<Format = F>>(self, sink: &mut S) -> Result<StoredSeries<F>> {
        let columns = self.columns.map(|column| column.finish(sink, false))?;
        Ok(StoredSeries {
            kind: self.kind,
            columns,
        })
    }
}

/// Writes the tail of a column as a chunk, or what stands for one.
pub fn fold<S: ColumnSink>(column: Column<S::Format>, sink: &mut S) -> Result<Column<S::Format>> {
    ColumnAppend::new(column).finish(sink, true)
}

/// The formats of series that were planned, for encoding batches ahead of commits.
#[derive(Debug)]
pub struct PlannedFormats<F>(Mutex<HashMap<Key, Arc<F>>>);

impl<F> Default for PlannedFormats<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F: ColumnFormat> PlannedFormats<F> {
    /// Remembers the format of a series of arrays.
    pub fn insert(&self, key: Key, format: Arc<F>) {
        self.0.lock().insert(key, format);
    }

    /// What [`DataStore::prepare`](crate::DataStore::prepare) returns.
    pub fn prepare(&self, batch: &Batch) -> Result<Option<Prepared>> {
        let format = self.0.lock().get(&batch.key).cloned();
        // A batch of another type is for the commit to refuse.
        let schema = batch.records.schema();
        let fits = |format: &Arc<F>| format.layout().check_schema(Kind::Array, schema).is_ok();
        let Some(format) = format.filter(fits) else {
            return Ok(None);
        };
        let prepared = PreparedChunks::encode(format, batch);
        let prepared = prepared.map_err(|e| e.with_key(batch.key.as_str()))?;
        Ok(Some(Box::new(prepared)))
    }
}
