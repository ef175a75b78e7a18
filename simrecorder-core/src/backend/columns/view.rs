//! Lazy views of series of one or two columns.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::columns::column::{Column, ColumnFormat, Columns};
use crate::backend::columns::read::{read_region, read_rows, read_variable};
use crate::backend::columns::source::ColumnSource;
use crate::backend::fork::ProcessLocal;
use crate::backend::ragged::{count_records, read_fixed, read_ragged, read_record_ends};
use crate::backend::rows::RowSize;
use crate::error::{Error, ErrorKind, Result};
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::Region;
use crate::store::array_view::ArrayView;
use crate::store::encoded::{Encoded, EncodedView, StoredForm};
use crate::store::node::Node;

/// A column as of one commit, with the state of the store that tells whether its rows still exist.
#[derive(Clone, Debug)]
pub struct ColumnView<C, V> {
    /// The column.
    pub column: C,
    /// The state of the store.
    pub version: V,
}

/// A column of a view of the store `S`.
type ViewedColumn<S> = ColumnView<Column<<S as ColumnStore>::Format>, <S as ColumnStore>::Version>;

/// An open store whose series have columns.
pub trait ColumnStore: Sized + Send + Sync + 'static {
    /// How the columns are stored.
    type Format: ColumnFormat;
    /// The state of the store that a view keeps.
    type Version: Clone + fmt::Debug + Send + Sync;
    /// An open column.
    type Source<'a>: ColumnSource<Format = Self::Format>;

    /// Opens a column and calls `read`, which returns the index after the last row that it read. Then checks that none
    /// of these rows was cut off, and that no other recording has replaced that of the view; otherwise it returns the
    /// error [`shortened`](crate::backend::errors::shortened) or [`replaced`](crate::backend::errors::replaced).
    ///
    /// It may call `read` again and discard the result of the previous call.
    fn read_column<T>(
        &self,
        view: &ViewedColumn<Self>,
        read: impl FnMut(&Self::Source<'_>) -> Result<(u64, T)>,
    ) -> Result<T>;

    /// Reads nodes as [`DataStore::nodes`](crate::DataStore::nodes).
    fn nodes(store: &Arc<ProcessLocal<Self>>, keys: &[Key]) -> Result<Vec<Option<Node>>>;

    /// Implements [`EncodedView::read_encoded`] for a view with these columns and a `range` that is not empty.
    fn read_encoded(
        &self,
        columns: &Columns<ViewedColumn<Self>>,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Option<Encoded>> {
        let _ = (columns, range, max_bytes);
        Ok(None)
    }
}

/// A view of a series as of one state of its store.
pub struct SeriesView<S: ColumnStore> {
    store: Arc<ProcessLocal<S>>,
    key: Key,
    schema: Arc<Schema>,
    columns: Columns<ViewedColumn<S>>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
    form: Option<StoredForm>,
}

impl<S: ColumnStore> Clone for SeriesView<S> {
    fn clone(&self) -> Self {
        let (store, key, schema) = (Arc::clone(&self.store), self.key.clone(), &self.schema);
        let view = Self::new(store, key, Arc::clone(schema), self.columns.clone());
        let form = self.form.clone();
        Self { form, ..view }
    }
}

impl<S: ColumnStore> fmt::Debug for SeriesView<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SeriesView");
        shown.field("key", &self.key).field("shape", &self.shape);
        shown.finish_non_exhaustive()
    }
}

impl<S: ColumnStore> SeriesView<S> {
    /// Makes a view of the series at `key`.
    pub fn new(
        store: Arc<ProcessLocal<S>>,
        key: Key,
        schema: Arc<Schema>,
        columns: Columns<ViewedColumn<S>>,
    ) -> Self {
        let Column { format, len, .. } = &columns.records().column;
        let mut shape = format.layout().shape(*len);
        let mut chunk_shape = format.layout().grid.chunk_shape().to_vec();
        if schema.kind() != Kind::Array {
            shape.truncate(1);
            chunk_shape.truncate(1);
        }
        Self {
            store,
            key,
            schema,
            columns,
            shape,
            chunk_shape,
            form: None,
        }
    }

    /// Sets the form in which the series is stored, so that its records can be copied without decoding.
    #[must_use]
    pub fn with_stored_form(mut self, form: StoredForm) -> Self {
        self.form = Some(form);
        self
    }

    fn store(&self) -> Result<&S> {
        self.store.get("read")
    }

    fn at(&self, error: Error) -> Error {
        error.with_key(self.key.as_str())
    }

    fn read_rows(&self, view: &ViewedColumn<S>, rows: Range<u64>) -> Result<Vec<u8>> {
        self.store()?.read_column(view, |source| {
            Ok((rows.end, read_rows(source, rows.clone())?))
        })
    }

    /// Checks the whole chunks with the rows of `range`, and those rows that are in the tail.
    fn check_rows(&self, view: &ViewedColumn<S>, range: Range<u64>) -> Result<()> {
        let Column { len, filled, .. } = view.column;
        let stored = view.column.written();
        let layout = view.column.layout();
        let chunk = layout.chunk_rows();
        let range = range.start.max(filled)..range.end;
        if range.is_empty() {
            return Ok(());
        }
        let end = len.min(range.end.div_ceil(chunk).saturating_mul(chunk));
        let some = match layout.row_size() {
            RowSize::Fixed(size) => (CHECK_BYTES / size.max(1)) as u64 / chunk * chunk,
            RowSize::Variable => chunk,
        };
        let mut start = range.start / chunk * chunk;
        while start < end {
            start = self.store()?.read_column(view, |source| {
                let mut end = end.min(start.saturating_add(some.max(chunk)));
                if start < stored {
                    source.check_chunks(start..end.min(stored))?;
                }
                match layout.row_size() {
                    RowSize::Fixed(_) => drop(read_rows(source, start..end)?),
                    RowSize::Variable => {
                        end = start + read_variable(source, start..end, CHECK_BYTES)?.count;
                    }
                }
                Ok((end, end))
            })?;
        }
        Ok(())
    }
}

impl<S: ColumnStore> ArrayView for SeriesView<S> {
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
        let (Columns::Single(view), Some(dtype)) = (&self.columns, self.schema.dtype()) else {
            let kind = self.schema.kind();
            let message =
                format!("a series of kind {kind} cannot be read as an array; use get() and iter()");
            return Err(self.at(Error::new(ErrorKind::KindMismatch, "read", message)));
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        let end = region.axes().first().map_or(0, |rows| rows.bounds().end);
        let read = self.store().and_then(|store| {
            store.read_column(view, |source| Ok((end, read_region(source, region, out)?)))
        });
        read.map_err(|e| self.at(e))
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        let schema = &self.schema;
        if count_records(&range, &self.shape)? == 0 {
            return Ok(Records::empty(Arc::clone(schema)));
        }
        let read = || match &self.columns {
            Columns::Single(_) if schema.kind().is_fixed() => read_fixed(self, range, max_bytes),
            Columns::Single(view) => self.store()?.read_column(view, |source| {
                let rows = read_variable(source, range.clone(), max_bytes)?;
                let end = range.start + rows.count;
                let records = Records::variable(Arc::clone(schema), rows.ends, rows.data)?;
                Ok((end, records))
            }),
            Columns::Ragged { ends, items } => {
                let read_ends = |rows| self.read_rows(ends, rows);
                let read_items = |rows| self.read_rows(items, rows);
                let len = items.column.len;
                read_ragged(schema, range, max_bytes, len, read_ends, read_items)
            }
        };
        read().map_err(|e| self.at(e))
    }

    fn check_records(&self, range: Range<u64>) -> Result<()> {
        if count_records(&range, &self.shape)? == 0 {
            return Ok(());
        }
        let check = || match &self.columns {
            Columns::Single(view) => self.check_rows(view, range),
            Columns::Ragged { ends, items } => {
                self.check_rows(ends, range.clone())?;
                let read_ends = |rows| self.read_rows(ends, rows);
                let (first, record_ends) = read_record_ends(range, items.column.len, read_ends)?;
                let last = record_ends.last().copied().unwrap_or(first);
                self.check_rows(items, first..last)
            }
        };
        check().map_err(|e| self.at(e))
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let mut nodes = S::nodes(&self.store, std::slice::from_ref(&self.key))?;
        match nodes.pop().flatten() {
            Some(Node::Series(view)) => Ok(view.into()),
            Some(Node::Unreadable { error, .. }) => Err(error),
            _ => {
                let message = "the series no longer exists";
                Err(self.at(Error::new(ErrorKind::NotFound, "refresh", message)))
            }
        }
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let nodes = S::nodes(&self.store, keys)?;
        // Rows that exist now existed when the nodes were looked up.
        let column = self.columns.records();
        let all = |_: &S::Source<'_>| Ok((column.column.len, ()));
        let checked = self
            .store()
            .and_then(|store| store.read_column(column, all));
        checked.map(|()| nodes).map_err(|e| self.at(e))
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn filled(&self) -> u64 {
        self.columns.records().column.filled
    }

    fn stored_bytes(&self) -> Result<Option<u64>> {
        let of_column = |view: &ViewedColumn<S>| {
            self.store()?
                .read_column(view, |source| Ok((0, source.stored_bytes()?)))
        };
        let sum = || match &self.columns {
            Columns::Single(view) => of_column(view),
            Columns::Ragged { ends, items } => {
                let both = of_column(ends)?.zip(of_column(items)?);
                Ok(both.map(|(ends, items)| ends + items))
            }
        };
        sum().map_err(|e| self.at(e))
    }

    fn as_encoded(&self) -> Option<&dyn EncodedView> {
        self.form.as_ref().map(|_| self as _)
    }
}

impl<S: ColumnStore> EncodedView for SeriesView<S> {
    fn stored_form(&self) -> StoredForm {
        self.form.clone().unwrap_or_else(|| StoredForm::new(()))
    }

    fn read_encoded(&self, range: Range<u64>, max_bytes: usize) -> Result<Option<Encoded>> {
        if count_records(&range, &self.shape)? == 0 {
            return Ok(None);
        }
        let encoded = self
            .store()
            .and_then(|store| store.read_encoded(&self.columns, range, max_bytes));
        encoded.map_err(|e| self.at(e))
    }
}

/// About how many bytes are checked at once.
const CHECK_BYTES: usize = 16 << 20;
