//! The nodes of a recording, and views of its series.

use std::sync::Arc;

use simrecorder_core::backend::columns::{ColumnStore, ColumnView, SeriesView};
use simrecorder_core::backend::errors::{replaced, shortened};
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::{Key, Node, NodeKind, Result};

use crate::columns::reading::{Column, DatasetView, OpenDataset, Version};
use crate::format::attributes::read_attributes;
use crate::format::dataset_format::DatasetFormat;
use crate::format::tail::JournalFile;
use crate::format::value::read_value;
use crate::recording::Recording;
use crate::recording::series::{LoadedColumn, LoadedSeries, declared_columns, load};
use crate::recording::state::{FoundNode, State};

impl ColumnStore for Recording {
    type Format = DatasetFormat;
    type Version = Version;
    type Source<'a> = OpenDataset<'a>;

    fn read_column<T>(
        &self,
        view: &DatasetView,
        mut read: impl FnMut(&OpenDataset<'_>) -> Result<(u64, T)>,
    ) -> Result<T> {
        let ColumnView { column, version } = view;
        self.with_open(|file| {
            // A file without an id may have got one since.
            if version.id.is_some() && file.id() != version.id {
                return Err(replaced());
            }
            let tail = version.tail.as_ref();
            let tail = tail.map(|(tail, journal)| (tail, JournalFile::clone(journal)));
            let source = OpenDataset::new(file, column.clone(), tail);
            let result = read(&source);
            // Other rows may have replaced those that were cut off.
            if self.epoch() != version.epoch {
                let end = result.as_ref().map_or(column.len, |(end, _)| *end);
                // A series gets its datasets before it stops being declared.
                if let Some(cut_base) = file.declared_cut_base(&column.path) {
                    return match cut_base == version.cut_count && column.written() == 0 {
                        true => result.map(|(_, read)| read),
                        false => Err(shortened()),
                    };
                }
                if !file.has_object(&column.path)? {
                    return Err(shortened());
                }
                let dataset = source.dataset()?;
                let is_cut = dataset.cut_count()? != version.cut_count;
                if is_cut || dataset.len()? < end.min(column.stored) {
                    return Err(shortened());
                }
            }
            result.map(|(_, read)| read)
        })
    }

    /// The nodes at `keys`, as of one commit.
    fn nodes(store: &Arc<ProcessLocal<Self>>, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        store.get("read")?.with_state(|state| {
            let nodes = keys.iter().map(|key| {
                let node = Self::node(store, state, key).map_err(|e| state.open.explain(e));
                node.map_err(|e| e.with_key(key.as_str()))
            });
            nodes.collect()
        })
    }
}

impl Recording {
    fn node(store: &Arc<ProcessLocal<Self>>, state: &State, key: &Key) -> Result<Option<Node>> {
        let Some((found, path)) = state.find(key)? else {
            return Ok(None);
        };
        let attributes = || match &found {
            FoundNode::Stored(found) => read_attributes(&found.object, found.metadata.as_ref()),
            FoundNode::Declared(series, _) => Ok(series.schema.attributes().clone()),
        };
        let explained = |error| state.open.explain(error).with_key(key.as_str());
        Ok(Some(match &found {
            found if found.kind() == NodeKind::Series => {
                match Self::view_series(store, state, key, found, &path) {
                    Ok(view) => Node::Series(Arc::new(view).into()),
                    Err(error) => Node::Unreadable {
                        error: explained(error),
                        attributes: attributes()?,
                    },
                }
            }
            FoundNode::Stored(found) if found.kind == NodeKind::Value => Node::Value {
                value: read_value(found).map_err(explained),
                attributes: attributes()?,
            },
            _ => Node::Group {
                attributes: attributes()?,
            },
        }))
    }

    fn view_series(
        store: &Arc<ProcessLocal<Self>>,
        state: &State,
        key: &Key,
        found: &FoundNode,
        path: &str,
    ) -> Result<SeriesView<Self>> {
        let recording = store.get("read")?;
        let (schema, columns) = match found {
            FoundNode::Stored(found) => {
                let LoadedSeries { schema, columns } = load(found, path, &state.tails)?;
                let columns = columns.map(|LoadedColumn { column, dataset }| {
                    recording.view_column(state, column, dataset.cut_count()?)
                })?;
                (schema, columns)
            }
            FoundNode::Declared(series, cut_base) => {
                let columns = declared_columns(series, path, &state.tails)?;
                let view = |column| recording.view_column(state, column, *cut_base);
                (series.schema.clone(), columns.map(view)?)
            }
        };
        let schema = Arc::new(schema);
        Ok(SeriesView::new(
            Arc::clone(store),
            key.clone(),
            schema,
            columns,
        ))
    }

    fn view_column(&self, state: &State, column: Column, cut_count: u64) -> Result<DatasetView> {
        let tail = match state.tails.get(&column.path) {
            Some(tail) => Some((tail.clone(), state.journal()?)),
            None => None,
        };
        let version = Version {
            epoch: self.epoch(),
            id: state.open.id(),
            cut_count,
            tail,
        };
        Ok(ColumnView { column, version })
    }
}
