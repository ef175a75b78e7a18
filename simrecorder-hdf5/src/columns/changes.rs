//! Changes datasets: chunks and rows are written to the file at once, tails to the journal with the
//! commit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use simrecorder_core::backend::columns::{ColumnFormat, ColumnSink, ColumnSource, Columns, Cut};
use simrecorder_core::backend::{Rows, RowsRef};
use simrecorder_core::{Error, Key, Result};

use crate::columns::reading::{Column, OpenDataset};
use crate::format::attributes::{read_metadata, write_metadata};
use crate::format::dataset_format::{DatasetFormat, RowFormat};
use crate::format::filters::EncodedChunk;
use crate::format::replacement::Replacement;
use crate::format::tail::TailChanges;
use crate::recording::Recording;
use crate::recording::new_series::NewSeries;
use crate::recording::series::FILLED;
use crate::recording::state::State;

/// The changes of a commit to datasets and tails. If the commit fails, the driver rolls the file
/// back.
pub(crate) struct DatasetChanges<'a> {
    recording: &'a Recording,
    state: &'a State,
    pub(crate) tails: TailChanges,
    /// Whether tails are folded, so that other software sees them.
    folds: bool,
    /// The series that this commit declares, with their cut base.
    declared: BTreeMap<String, (NewSeries, u64)>,
    /// Declared series that have datasets now.
    created: BTreeSet<String>,
    /// The dataset that replaces another one.
    replacement: Option<Replacement>,
    /// The paths of the datasets that changed, and whether their axes have names.
    renewed: Vec<(String, bool)>,
    /// The datasets whose tails were folded, and the number of rows of each.
    folded: Vec<(String, u64)>,
}

impl<'a> DatasetChanges<'a> {
    pub(crate) fn new(recording: &'a Recording, state: &'a State) -> Self {
        Self {
            recording,
            state,
            tails: TailChanges::default(),
            folds: false,
            declared: BTreeMap::new(),
            created: BTreeSet::new(),
            replacement: None,
            renewed: Vec::new(),
            folded: Vec::new(),
        }
    }

    /// The changes that fold tails.
    pub(crate) fn folding(recording: &'a Recording, state: &'a State) -> Self {
        Self {
            folds: true,
            ..Self::new(recording, state)
        }
    }

    // ---- series without datasets ---------------------------------------------------------------

    /// Declares a series. Its datasets are created later.
    pub(crate) fn declare(&mut self, path: &str, series: NewSeries, cut_base: u64) {
        self.tails.declare(path, &series.declaration(cut_base));
        self.created.remove(path);
        self.declared.insert(path.to_owned(), (series, cut_base));
    }

    /// Whether the series at `path` has no datasets.
    pub(crate) fn is_declared(&self, path: &str) -> bool {
        !self.created.contains(path)
            && (self.declared.contains_key(path) || self.state.tails.declared.get(path).is_some())
    }

    /// The series at `path`, if it has no datasets, and its cut base.
    pub(crate) fn declared(&self, path: &str) -> Result<Option<(NewSeries, u64)>> {
        if self.created.contains(path) {
            return Ok(None);
        }
        match self.declared.get(path) {
            Some(declared) => Ok(Some(declared.clone())),
            None => self.state.declared(path),
        }
    }

    /// Creates the datasets of a series that has none yet. Returns whether it had none.
    pub(crate) fn create(&mut self, path: &str) -> Result<bool> {
        let none = Columns::Single(Rows::default());
        self.create_with(path, |_, _| Ok(none))
    }

    /// Like [`Self::create`], with the rows of short datasets.
    fn create_with(
        &mut self,
        path: &str,
        rows: impl FnOnce(&Self, &NewSeries) -> Result<Columns<Rows>>,
    ) -> Result<bool> {
        let Some((series, cut_base)) = self.declared(path)? else {
            return Ok(false);
        };
        let rows = rows(self, &series)?;
        series.create(&self.state.open.root, path, cut_base, &rows)?;
        self.tails.create(path);
        self.created.insert(path.to_owned());
        let has_names = series.schema.dimension_names().is_some();
        self.renewed.push((path.to_owned(), has_names));
        Ok(true)
    }

    /// Creates the datasets of a series that has none yet. Short datasets get the rows of their
    /// tails; the other rows stay in their tails. Returns the approximate number of written bytes.
    pub(crate) fn fold_declared(&mut self, path: &str) -> Result<usize> {
        let mut bytes = 0;
        let mut folded = Vec::new();
        self.create_with(path, |changes, series| {
            series.columns(path).map(|(path, format)| {
                let tail = changes.state.tails.get(&path);
                let count = series.filled + tail.map_or(0, |tail| tail.row_count);
                let (Some(tail), true) = (tail, format.is_short(count, 0)) else {
                    return Ok(Rows::default());
                };
                let size = format.layout().row_size();
                let mut rows = format.layout().filled_rows(series.filled)?;
                let tail = tail.read(&*changes.state.journal()?, series.filled, size)?;
                rows.extend_from(tail.as_rows_ref());
                bytes += rows.bytes();
                folded.push((path, rows.count));
                Ok(rows)
            })
        })?;
        folded.iter().for_each(|(path, _)| self.tails.clear(path));
        self.folded.extend(folded);
        Ok(bytes)
    }

    /// Records the number of rows of a dataset after its tail was folded.
    pub(crate) fn folded(&mut self, path: &str, stored: u64) {
        self.folded.push((path.to_owned(), stored));
    }

    /// The datasets whose tails were folded, and the number of rows of each.
    pub(crate) fn take_folded(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.folded)
    }

    // ---- short datasets ------------------------------------------------------------------------

    /// Ends the changes of a dataset. A dataset that replaces another one becomes visible now.
    pub(crate) fn finish_dataset(&mut self) -> Result<()> {
        match self.replacement.take() {
            Some(replacement) => replacement.link(&self.state.open.root),
            None => Ok(()),
        }
    }

    /// The keys whose datasets changed, and whether their axes have names.
    pub(crate) fn renewed_keys(&self) -> Vec<(Key, bool)> {
        let mut keys = Vec::new();
        for (path, has_names) in &self.renewed {
            if let Ok(key) = Key::new(&path[1..]) {
                // The path may be the path of a part of a series.
                keys.extend(key.parent().map(|parent| (parent, *has_names)));
                keys.push((key, *has_names));
            }
        }
        keys
    }

    /// Replaces a dataset by one with another layout if its layout does not fit `stored` rows.
    fn replace(&mut self, to: &OpenDataset<'a>, stored: u64) -> Result<()> {
        let Column {
            format,
            stored: before,
            ..
        } = to.column();
        if !format.may_be_short(*before) {
            return Ok(());
        }
        let (old, is_chunked) = (to.dataset()?, to.dataset()?.is_chunked()?);
        let may_shrink = self.folds || (!is_chunked && stored <= *before);
        let is_short = may_shrink && format.is_short(stored, if self.folds { *before } else { 0 });
        let has_len = is_chunked || old.len()? == stored;
        if is_chunked != is_short && has_len {
            return Ok(());
        }
        let (root, path) = (&self.state.open.root, &to.column().path);
        let new = format.make(stored, is_short, |new| {
            Replacement::new(root, path, old, new)
        })?;
        // Full chunks and folded rows are written as a whole.
        if (is_short && !self.folds) || matches!(format.rows, RowFormat::Variable(_)) {
            let kept = to.read_stored(stored.min(*before))?;
            format.write(&new.new, 0, kept.as_rows_ref())?;
        }
        to.replace_with(&new.new, is_short)?;
        self.renewed.push((path.to_string(), false));
        self.replacement = Some(new);
        Ok(())
    }

    /// Replaces a dataset by an empty one of `len` rows, all of them filled. To shorten the old
    /// one, the library would look for each chunk that may exist.
    fn replace_filled(&mut self, to: &OpenDataset<'a>, len: u64) -> Result<()> {
        if self.replacement.is_some() {
            return Ok(());
        }
        let (root, path) = (&self.state.open.root, &to.column().path);
        let old = to.dataset()?;
        let new = to
            .column()
            .format
            .make(len, false, |new| Replacement::new(root, path, old, new))?;
        to.replace_with(&new.new, false)?;
        self.renewed.push((path.to_string(), false));
        self.replacement = Some(new);
        Ok(())
    }
}

impl<'a> ColumnSink for DatasetChanges<'a> {
    type Format = DatasetFormat;
    type Source = OpenDataset<'a>;

    fn open(&self, column: &Column) -> Result<OpenDataset<'a>> {
        let tail = self.state.tails.get(&column.path);
        let tail = tail.map(|tail| Ok::<_, Error>((tail, self.state.journal()?)));
        let file = &*self.state.open;
        Ok(OpenDataset::new(file, column.clone(), tail.transpose()?))
    }

    fn set_stored(&mut self, to: &OpenDataset<'a>, stored: u64, cut: Option<Cut>) -> Result<()> {
        self.finish_dataset()?;
        let path = &to.column().path;
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let _ = self.create(path)? || self.create(parent)?;
        self.replace(to, stored)?;
        if let Some(cut) = cut.filter(|cut| cut.len < cut.filled_before) {
            self.replace_filled(to, cut.len)?;
        }
        let dataset = to.target()?;
        if let Some(cut) = cut {
            // Views read during this change, and must notice it.
            self.recording.next_epoch();
            dataset.add_cut()?;
            if cut.len < cut.stored_before {
                dataset.set_len(cut.len.min(dataset.len()?))?;
            }
            if to.column().filled < cut.filled_before {
                let mut metadata = read_metadata(dataset.handle())?.unwrap_or_default();
                metadata.insert(FILLED.into(), json!(to.column().filled));
                write_metadata(dataset.handle(), metadata)?;
            }
        }
        dataset.set_len(stored)
    }

    fn write_chunk(
        &mut self,
        to: &OpenDataset<'a>,
        indices: &[u64],
        chunk: &EncodedChunk,
        _repeats: bool,
    ) -> Result<()> {
        let origin = to.column().layout().grid.origin(indices);
        to.target()?.write_chunk(&origin, &chunk.bytes, chunk.mask)
    }

    fn encode_chunk(
        &mut self,
        to: &OpenDataset<'a>,
        indices: &[u64],
        rows: RowsRef<'_>,
        repeats: bool,
    ) -> Result<()> {
        let format = &to.column().format;
        if to.is_short() {
            // All rows at once, whatever chunks they would be in.
            return match indices.iter().all(|&index| index == 0) {
                true => format.write(to.target()?, 0, rows),
                false => Ok(()),
            };
        }
        if format.is_plain() && rows.count == format.layout().chunk_rows() {
            let origin = format.layout().grid.origin(indices);
            return to.target()?.write_chunk(&origin, rows.data, 0);
        }
        let chunk = format.encode(rows, indices)?;
        self.write_chunk(to, indices, &chunk, repeats)
    }

    fn write_rows(&mut self, to: &OpenDataset<'a>, first: u64, rows: RowsRef<'_>) -> Result<()> {
        to.column().format.write(to.target()?, first, rows)
    }

    fn append_tail(&mut self, column: &Column, frames: Vec<u8>) {
        self.tails.append(&column.path, &frames);
    }

    fn replace_tail_end(&mut self, column: &Column, bytes: u64, frames: Vec<u8>) {
        self.tails.replace(&column.path, bytes, &frames);
    }

    fn clear_tail(&mut self, column: &Column) {
        self.tails.clear(&column.path);
    }
}
