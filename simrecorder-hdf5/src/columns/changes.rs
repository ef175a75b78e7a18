//! Changing datasets: chunks and rows go to the file at once, tails into the journal with the commit.

use simrecorder_core::backend::RowsRef;
use simrecorder_core::backend::columns::{ColumnFormat, ColumnSink, ColumnSource, Cut};
use simrecorder_core::{Error, ErrorKind, Region, Result};

use crate::columns::reading::{Column, OpenDataset};
use crate::format::dataset_format::{DatasetFormat, RowFormat};
use crate::format::filters::EncodedChunk;
use crate::format::tail::TailChanges;
use crate::recording::Recording;
use crate::recording::state::State;

/// The changes of datasets and tails that a commit makes. What an error leaves in the file is rolled
/// back by the driver.
pub(crate) struct DatasetChanges<'a> {
    recording: &'a Recording,
    state: &'a State,
    pub(crate) tails: TailChanges,
}

impl<'a> DatasetChanges<'a> {
    pub(crate) fn new(recording: &'a Recording, state: &'a State) -> Self {
        Self {
            recording,
            state,
            tails: TailChanges::default(),
        }
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
        let dataset = to.dataset()?;
        if let Some(cut) = cut {
            // Views are read meanwhile, and must notice what they read.
            self.recording.next_epoch();
            dataset.add_cut()?;
            if cut.len < cut.stored_before {
                dataset.set_len(cut.len)?;
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
        to.dataset()?.write_chunk(&origin, &chunk.bytes, chunk.mask)
    }

    fn encode_chunk(
        &mut self,
        to: &OpenDataset<'a>,
        indices: &[u64],
        rows: RowsRef<'_>,
        repeats: bool,
    ) -> Result<()> {
        let format = &to.column().format;
        if format.is_plain() && rows.count == format.layout().chunk_rows() {
            let origin = format.layout().grid.origin(indices);
            return to.dataset()?.write_chunk(&origin, rows.data, 0);
        }
        let chunk = format.encode(rows, indices)?;
        self.write_chunk(to, indices, &chunk, repeats)
    }

    fn write_rows(&mut self, to: &OpenDataset<'a>, first: u64, rows: RowsRef<'_>) -> Result<()> {
        if rows.count == 0 {
            return Ok(());
        }
        let dataset = to.dataset()?;
        let format = &to.column().format;
        match &format.rows {
            RowFormat::Variable(type_) => type_.write(dataset, first, rows),
            RowFormat::Elements(_) if rows.data.is_empty() => Ok(()),
            RowFormat::Elements(elements) => {
                let layout = format.layout();
                let end = first + rows.count;
                let region = Region::records(first..end, &layout.shape(end));
                let bytes = region.len().map(|len| len * layout.element_size());
                if bytes != Some(rows.data.len()) {
                    let message = "the rows have another size than those of the dataset";
                    return Err(Error::new(ErrorKind::Internal, "commit", message));
                }
                let data = rows.data.as_ptr().cast();
                // SAFETY: the data has the size of the region, as was checked.
                unsafe { dataset.write(&elements.memory, &region, data) }
            }
        }
    }

    fn append_tail(&mut self, column: &Column, frames: Vec<u8>) {
        self.tails.append(&column.path, &frames);
    }

    fn clear_tail(&mut self, column: &Column) {
        self.tails.clear(&column.path);
    }
}
