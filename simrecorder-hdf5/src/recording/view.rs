//! Views of the series of a recording.

use std::sync::Arc;

use simrecorder_core::backend::columns::{
    ColumnStore, ColumnView, SeriesView, replaced, shortened,
};
use simrecorder_core::{ArrayView, Key, NodeKind, Result};

use crate::columns::reading::{Column, DatasetView, OpenDataset, Version};
use crate::format::dataset_format::DatasetFormat;
use crate::format::tail::JournalFile;
use crate::recording::Recording;
use crate::recording::series::load;
use crate::recording::state::State;

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
            // Other rows may be in the place of those that were cut off.
            if self.epoch() != version.epoch {
                let end = result.as_ref().map_or(column.len, |(end, _)| *end);
                let dataset = source.dataset()?;
                let is_cut = dataset.cut_count()? != version.cut_count;
                if is_cut || dataset.len()? < end.min(column.stored) {
                    return Err(shortened());
                }
            }
            result.map(|(_, read)| read)
        })
    }

    fn view(self: &Arc<Self>, key: &Key) -> Result<Option<Arc<dyn ArrayView>>> {
        let view = self.with_state(|state| {
            let Some((found, path)) = state.find(key)? else {
                return Ok(None);
            };
            if found.kind != NodeKind::Series {
                return Ok(None);
            }
            let series = load(&found, &path, &state.tails)?;
            let columns = series
                .columns
                .map(|column| self.view_column(state, column))?;
            let schema = Arc::new(series.schema);
            let view = SeriesView::new(Arc::clone(self), key.clone(), schema, columns);
            Ok(Some(Arc::new(view) as Arc<dyn ArrayView>))
        });
        view.map_err(|e| e.with_key(key.as_str()))
    }
}

impl Recording {
    fn view_column(&self, state: &State, column: Column) -> Result<DatasetView> {
        let tail = match state.tails.get(&column.path) {
            Some(tail) => Some((tail.clone(), state.journal()?)),
            None => None,
        };
        let version = Version {
            epoch: self.epoch(),
            id: state.open.id(),
            cut_count: state.open.dataset(&column.path)?.cut_count()?,
            tail,
        };
        Ok(ColumnView { column, version })
    }
}
