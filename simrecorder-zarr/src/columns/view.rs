//! Lazy views of series.

use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::backend::{
    Encoded, EncodedView, StoredForm, count_records, read_ragged, read_stops,
};
use simrecorder_core::{
    ArrayView, DType, DataStoreExt, Error, ErrorKind, Key, Kind, Records, Region, Result, Schema,
};

use crate::columns::column::Column;
use crate::columns::encoded::{self, SeriesEncoding};
use crate::store::ZarrDataStore;

/// The columns of a series.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// Arrays or texts.
    One(Column),
    /// Where each record ends, in items, and the items.
    Two { ends: Column, items: Column },
}

impl Columns {
    /// The column with one row for each record.
    pub(crate) fn record_column(&self) -> &Column {
        match self {
            Self::One(column) => column,
            Self::Two { ends, .. } => ends,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ZarrView {
    store: ZarrDataStore,
    key: Key,
    schema: Arc<Schema>,
    encoding: Arc<SeriesEncoding>,
    columns: Columns,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
}

impl ZarrView {
    pub(crate) fn new(
        store: ZarrDataStore,
        key: Key,
        schema: Schema,
        encoding: SeriesEncoding,
        columns: Columns,
    ) -> Self {
        let mut shape = columns.record_column().shape();
        let mut chunk_shape = columns.record_column().layout.grid.chunk_shape().to_vec();
        if schema.kind() != Kind::Array {
            shape.truncate(1);
            chunk_shape.truncate(1);
        }
        Self {
            store,
            key,
            schema: Arc::new(schema),
            encoding: Arc::new(encoding),
            columns,
            shape,
            chunk_shape,
        }
    }

    fn explain(&self, error: Error) -> Error {
        let column = self.columns.record_column();
        let error = column.explain(self.store.storage(), error);
        error.with_key(self.key.as_str())
    }
}

impl ArrayView for ZarrView {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        &self.chunk_shape
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let (Columns::One(column), Some(dtype)) = (&self.columns, self.dtype()) else {
            let message = format!(
                "a series of kind {} is not read as an array; use get() and iter()",
                self.kind()
            );
            return Err(
                Error::new(ErrorKind::KindMismatch, "read", message).with_key(self.key.as_str())
            );
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        column
            .read_into(self.store.storage(), region, out)
            .map_err(|e| self.explain(e))
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        let count = count_records(&range, &self.shape)?;
        if count == 0 {
            return Ok(Records::empty(Arc::clone(&self.schema)));
        }
        let storage = self.store.storage();
        let read = || match &self.columns {
            Columns::Two { ends, items } => read_ragged(
                &self.schema,
                range,
                max_bytes,
                items.rows,
                |rows| ends.read_rows(storage, rows),
                |rows| items.read_rows(storage, rows),
            ),
            Columns::One(column) if self.kind() == Kind::Text => {
                let rows = column.read_texts(storage, range, max_bytes)?;
                Records::variable(Arc::clone(&self.schema), rows.ends, rows.data)
            }
            Columns::One(column) => {
                let record = self.schema.record_bytes().unwrap_or(0).max(1);
                let count = count.min((max_bytes / record).max(1) as u64);
                let data = column.read_rows(storage, range.start..range.start + count)?;
                Records::fixed(Arc::clone(&self.schema), count, data)
            }
        };
        read().map_err(|e| self.explain(e))
    }

    fn check_records(&self, range: Range<u64>) -> Result<()> {
        if count_records(&range, &self.shape)? == 0 {
            return Ok(());
        }
        let storage = self.store.storage();
        let check = || match &self.columns {
            Columns::One(column) => column.check_rows(storage, range),
            Columns::Two { ends, items } => {
                ends.check_chunks(storage, range.clone())?;
                let read_ends = |rows| ends.read_rows(storage, rows);
                let (first, stops) = read_stops(range, items.rows, read_ends)?;
                items.check_rows(storage, first..stops.last().copied().unwrap_or(first))
            }
        };
        check().map_err(|e| self.explain(e))
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let view = self.store.view(&self.key)?.ok_or_else(|| {
            let message = "the series is no longer there";
            Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str())
        })?;
        Ok(view.into())
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        Some(self)
    }
}

impl EncodedView for ZarrView {
    fn stored_form(&self) -> StoredForm {
        StoredForm::new(Arc::clone(&self.encoding))
    }

    fn read_encoded(&self, range: Range<u64>, max_bytes: usize) -> Result<Option<Encoded>> {
        if count_records(&range, &self.shape)? == 0 {
            return Ok(None);
        }
        let storage = self.store.storage();
        let read = || match &self.columns {
            Columns::One(column) => encoded::read_one(column, storage, range, max_bytes),
            Columns::Two { ends, items } => {
                let most = encoded::most_records(ends, max_bytes);
                let end = range.end.min(range.start.saturating_add(most));
                let read_ends = |rows| ends.read_rows(storage, rows);
                let (first, stops) = read_stops(range.start..end, items.rows, read_ends)?;
                encoded::read_two(ends, items, storage, range, (first, &stops), max_bytes)
            }
        };
        read().map_err(|e| self.explain(e))
    }
}

/// The element type of the ends of records.
pub(crate) const ENDS_DTYPE: DType = DType::U64;
