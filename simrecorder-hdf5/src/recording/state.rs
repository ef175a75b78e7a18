//! The committed state of a recording, as its handles know it.

use std::sync::Arc;

use simrecorder_core::backend::columns::{Columns, SeriesCache};
use simrecorder_core::backend::dimensions::DimensionGroups;
use simrecorder_core::{Error, ErrorKind, Key, NodeKind, Result};

use crate::columns::reading::Column;
use crate::format::dataset_format::DatasetFormat;
use crate::format::declared::Declaration;
use crate::format::node::{self, StoredNode};
use crate::format::node_path::path_of;
use crate::format::tail::{JournalFile, Tails};
use crate::recording::new_series::NewSeries;
use crate::recording::open_file::OpenFile;
use crate::recording::series::{declared_columns, load};

/// The committed state.
pub(crate) struct State {
    pub(crate) open: Arc<OpenFile>,
    pub(crate) tails: Tails,
    /// The writer's cache of series. It is the only writer.
    pub(crate) series: SeriesCache<DatasetFormat>,
    /// The groups whose dimension names a checkpoint has to write.
    pub(crate) dimensions: DimensionGroups,
    /// The length at which the journal is replaced, after an earlier attempt failed.
    pub(crate) trim_from: u64,
    /// Whether closing failed, so that there may still be a journal.
    pub(crate) is_unfinished: bool,
}

/// The keys of the series to which the dataset at `path` may belong.
fn owners(path: &str) -> impl Iterator<Item = Key> + use<> {
    let key = Key::new(path.trim_start_matches('/')).ok();
    let parent = key.as_ref().and_then(Key::parent);
    key.into_iter().chain(parent)
}

/// The node at a key.
pub(crate) enum FoundNode {
    Stored(StoredNode),
    /// A series without datasets, and its cut base.
    Declared(Box<NewSeries>, u64),
}

impl FoundNode {
    pub(crate) fn kind(&self) -> NodeKind {
        match self {
            Self::Stored(found) => found.kind,
            Self::Declared(..) => NodeKind::Series,
        }
    }
}

impl State {
    /// The node at `key`, and its path.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<(FoundNode, String)>> {
        let path = path_of(key);
        let found = match self.declared(&path)? {
            Some((series, cut_base)) => Some(FoundNode::Declared(Box::new(series), cut_base)),
            None => node::find(&self.open.root, key)?.map(FoundNode::Stored),
        };
        Ok(found.map(|found| (found, path)))
    }

    /// The series at `path`, if it has no datasets yet, and its cut base.
    pub(crate) fn declared(&self, path: &str) -> Result<Option<(NewSeries, u64)>> {
        let declared = self.tails.declared.get(path);
        let decode = |it: Declaration| Ok((NewSeries::decode(&it)?, it.cut_base));
        declared.map(decode).transpose()
    }

    /// Records keys whose datasets changed, and whether their axes have names: the next checkpoint
    /// updates what other datasets say about them.
    pub(crate) fn note_renewed(&mut self, renewed: &[(Key, bool)]) {
        for (key, has_names) in renewed {
            self.dimensions.changed(key, *has_names);
        }
    }

    /// Records the number of rows of a dataset after its tail was folded.
    pub(crate) fn note_stored(&mut self, path: &str, stored: u64) {
        for key in owners(path) {
            let columns = self.series.get_mut(&key).map(|series| &mut series.columns);
            let columns: Vec<&mut Column> = match columns {
                None => continue,
                Some(Columns::Single(column)) => vec![column],
                Some(Columns::Ragged { ends, items }) => vec![ends, items],
            };
            for column in columns.into_iter().filter(|column| &*column.path == path) {
                column.stored = stored;
                column.frames = Arc::default();
            }
        }
    }

    /// The column with the rows of the dataset at `path` and of its tail.
    pub(crate) fn column(&self, path: &str) -> Result<Column> {
        let is_it = |column: &&Column| &*column.path == path;
        let of = |columns: &Columns<Column>| {
            let both = [columns.records(), columns.elements()];
            both.into_iter().find(is_it).cloned()
        };
        for key in owners(path) {
            if let Some(column) = self.series.get(&key).and_then(|series| of(&series.columns)) {
                return Ok(column);
            }
        }
        for key in owners(path) {
            let columns = match self.find(&key)? {
                Some((FoundNode::Declared(series, _), path)) => {
                    declared_columns(&series, &path, &self.tails)?
                }
                Some((FoundNode::Stored(found), path)) if found.kind == NodeKind::Series => {
                    let series = load(&found, &path, &self.tails)?;
                    series.columns.map(|loaded| Ok(loaded.column))?
                }
                _ => continue,
            };
            if let Some(column) = of(&columns) {
                return Ok(column);
            }
        }
        let message = "the dataset of a tail is missing";
        Err(Error::new(ErrorKind::Corrupt, "read", message))
    }

    /// The journal that contains the tails of a state.
    pub(crate) fn journal(&self) -> Result<JournalFile> {
        self.open.log.journal().ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                "read",
                "there are tails and no journal",
            )
        })
    }
}
