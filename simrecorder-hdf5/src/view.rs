//! Lazy views of series.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use simrecorder_core::backend::{count_records, read_ragged};
use simrecorder_core::{
    ArrayView, Error, ErrorKind, Key, Kind, Node, NodeKind, Records, Region, Result, Schema,
};

use crate::columns::Columns;
use crate::columns::column::ColumnLayout;
use crate::columns::read::ColumnView;
use crate::format::attributes::read_attributes;
use crate::format::value::read_value;
use crate::recording::Recording;
use crate::recording::series::load;
use crate::recording::state::State;

#[derive(Clone)]
pub(crate) struct Hdf5View {
    recording: Arc<Recording>,
    key: Key,
    schema: Arc<Schema>,
    columns: Columns<ColumnView>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
}

/// The node at `key` as `state` has it.
pub(crate) fn node_at(
    recording: &Arc<Recording>,
    state: &State,
    key: &Key,
) -> Result<Option<Node>> {
    let Some((found, path)) = state.find(key)? else {
        return Ok(None);
    };
    let attributes = || read_attributes(&found.object, found.metadata.as_ref());
    Ok(Some(match found.kind {
        NodeKind::Value => Node::Value {
            value: read_value(&found).map_err(|e| e.with_key(key.as_str())),
            attributes: attributes()?,
        },
        NodeKind::Series => {
            let loaded = load(&found, &path, &state.tails)?;
            let (epoch, id) = (recording.epoch(), state.open.id());
            let columns = loaded.columns.map(|column| {
                let tail = state.tails.get(&column.path).cloned();
                let tail = tail.map(|tail| Ok::<_, Error>((tail, state.journal()?)));
                Ok(ColumnView::new(column, tail.transpose()?, epoch, id))
            })?;
            let schema = Arc::new(loaded.schema);
            let view = Hdf5View::new(Arc::clone(recording), key.clone(), schema, columns);
            Node::Series(Arc::new(view).into())
        }
        _ => Node::Group {
            attributes: attributes()?,
        },
    }))
}

impl fmt::Debug for Hdf5View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hdf5View")
            .field("path", &self.recording.path)
            .field("key", &self.key)
            .field("schema", &self.schema)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Hdf5View {
    fn new(
        recording: Arc<Recording>,
        key: Key,
        schema: Arc<Schema>,
        columns: Columns<ColumnView>,
    ) -> Self {
        let column = &columns.record_column().column;
        let mut shape = vec![column.rows];
        let mut chunk_shape = vec![column.layout.chunk_rows()];
        if let (Kind::Array, ColumnLayout::Elements(layout)) = (schema.kind(), &column.layout) {
            shape.extend(layout.grid.record_shape());
            chunk_shape = layout.grid.chunk_shape().to_vec();
        }
        Self {
            recording,
            key,
            schema,
            columns,
            shape,
            chunk_shape,
        }
    }
}

impl ArrayView for Hdf5View {
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
            .read_into(&self.recording, region, out)
            .map_err(|e| e.with_key(self.key.as_str()))
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        let count = count_records(&range, &self.shape)?;
        if count == 0 {
            return Ok(Records::empty(Arc::clone(&self.schema)));
        }
        let recording = &*self.recording;
        let read = || match &self.columns {
            Columns::Two { ends, items } => read_ragged(
                &self.schema,
                range,
                max_bytes,
                items.column.rows,
                |rows| ends.read_rows(recording, rows),
                |rows| items.read_rows(recording, rows),
            ),
            Columns::One(column) if self.kind() == Kind::Array => {
                let record = self.schema.record_bytes().unwrap_or(0).max(1);
                let count = count.min((max_bytes / record).max(1) as u64);
                let data = column.read_rows(recording, range.start..range.start + count)?;
                Records::fixed(Arc::clone(&self.schema), count, data)
            }
            Columns::One(column) => {
                let rows = column.read_variable(recording, range, max_bytes)?;
                Records::variable(Arc::clone(&self.schema), rows.ends, rows.data)
            }
        };
        read().map_err(|e| e.with_key(self.key.as_str()))
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let node = self
            .recording
            .with_state(|state| node_at(&self.recording, state, &self.key));
        match node.map_err(|e| e.with_key(self.key.as_str()))? {
            Some(Node::Series(view)) => Ok(view.into()),
            _ => {
                let message = "the series is no longer there";
                Err(Error::new(ErrorKind::NotFound, "refresh", message).with_key(self.key.as_str()))
            }
        }
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }
}
