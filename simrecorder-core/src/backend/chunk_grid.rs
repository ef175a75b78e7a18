//! The chunks that a region touches, for backends with chunks.

use crate::error::Result;
use crate::reading::region_copy::{Block, copy_block};
use crate::reading::selection::{AxisRange, Region};

/// Chunks of one shape that cover an array, for backends.
///
/// Chunks with the same index along the first axis form a *row of chunks*; they contain parts of the same records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChunkGrid {
    chunk_shape: Vec<u64>,
    record_shape: Vec<u64>,
}

impl ChunkGrid {
    /// Makes the grid of an array with records of `record_shape`, in chunks of `chunk_shape`, which has
    /// one axis more and no zero.
    pub fn new(chunk_shape: Vec<u64>, record_shape: Vec<u64>) -> Self {
        debug_assert_eq!(chunk_shape.len().saturating_sub(1), record_shape.len());
        Self {
            chunk_shape,
            record_shape,
        }
    }

    /// Returns the shape of a chunk, records first.
    pub fn chunk_shape(&self) -> &[u64] {
        &self.chunk_shape
    }

    /// Returns the shape of a record.
    pub fn record_shape(&self) -> &[u64] {
        &self.record_shape
    }

    /// Returns the number of records in a chunk.
    pub fn chunk_records(&self) -> u64 {
        self.chunk_shape.first().copied().unwrap_or(1)
    }

    /// The number of chunks along each axis except the first.
    fn row_shape(&self) -> Vec<u64> {
        let axes = self
            .record_shape
            .iter()
            .zip(self.chunk_shape.iter().skip(1));
        axes.map(|(len, chunk)| len.div_ceil(*chunk)).collect()
    }

    /// Returns the number of chunks in a row of chunks.
    pub fn row_len(&self) -> u64 {
        self.row_shape()
            .iter()
            .fold(1, |count, len| count.saturating_mul(*len))
    }

    /// Iterates over the indices of all chunks in the row of chunks `first`.
    pub fn chunks_in_row(&self, first: u64) -> impl Iterator<Item = Vec<u64>> + use<> {
        let shape = self.row_shape();
        (0..self.row_len()).map(move |mut number| {
            let mut indices = vec![first; shape.len() + 1];
            for (index, len) in indices[1..].iter_mut().zip(&shape).rev() {
                *index = number % len;
                number /= len;
            }
            indices
        })
    }

    /// Returns the indices in the array of the first element of the chunk `indices`.
    pub fn origin(&self, indices: &[u64]) -> Vec<u64> {
        let axes = indices.iter().zip(&self.chunk_shape);
        axes.map(|(index, len)| index * len).collect()
    }

    /// Splits a region by rows of chunks. For each, it returns the first index of the chunks, the part of the region, and
    /// the part of `out`, which has the size of the region.
    pub fn split<'a>(
        &self,
        region: &Region,
        out: &'a mut [u8],
    ) -> impl Iterator<Item = (u64, Region, &'a mut [u8])> + use<'a> {
        let chunk_records = self.chunk_records();
        let axes = region.axes().to_vec();
        let records = axes.first().copied();
        let records = records.filter(|_| !region.is_empty() && !out.is_empty());
        let record_bytes = records.map_or(0, |records| out.len() / records.count as usize);
        let mut rest = out;
        let mut done = 0;
        std::iter::from_fn(move || {
            let records = records.filter(|records| done < records.count)?;
            let start = records.start + done * records.step;
            let chunk = start / chunk_records;
            let after = (chunk + 1).saturating_mul(chunk_records);
            let end = (after - records.start)
                .div_ceil(records.step)
                .min(records.count);
            let bytes = (end - done) as usize * record_bytes;
            let (part, others) = std::mem::take(&mut rest).split_at_mut(bytes);
            rest = others;
            let mut axes = axes.clone();
            axes[0].start = start;
            axes[0].count = end - done;
            done = end;
            Some((chunk, Region::new(axes), part))
        })
    }

    /// Calls `each` with the indices of every chunk of the row of chunks `first` that a region
    /// touches.
    ///
    /// # Errors
    /// The first error of `each`.
    pub fn for_each_touched<E>(
        &self,
        first: u64,
        region: &Region,
        mut each: impl FnMut(&[u64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let axes = region.axes().iter().zip(&self.chunk_shape).skip(1);
        let touched: Vec<AxisChunks> = axes
            .map(|(axis, &len)| AxisChunks::new(*axis, len))
            .collect();
        if touched.iter().any(|axis| axis.count == 0) {
            return Ok(());
        }
        // The number of the chunk along each axis, among the touched ones.
        let mut numbers = vec![0; touched.len()];
        loop {
            let others = touched
                .iter()
                .zip(&numbers)
                .map(|(axis, &number)| axis.nth(number));
            let indices: Vec<u64> = std::iter::once(first).chain(others).collect();
            each(&indices)?;

            // The next number, the last axis first.
            let more = |axis: &usize| numbers[*axis] + 1 < touched[*axis].count;
            let Some(axis) = (0..numbers.len()).rev().find(more) else {
                return Ok(());
            };
            numbers[axis] += 1;
            numbers[axis + 1..].fill(0);
        }
    }

    /// The number of elements of `region` in the chunk at `origin`, along each axis, and where they begin in the output.
    fn share(&self, origin: &[u64], region: &Region) -> (Vec<u64>, Vec<u64>) {
        let axes = region.axes().iter().zip(origin).zip(&self.chunk_shape);
        axes.map(|((axis, &origin), &len)| {
            let before = |at: u64| {
                at.saturating_sub(axis.start)
                    .div_ceil(axis.step)
                    .min(axis.count)
            };
            let first = before(origin);
            (first, before(origin.saturating_add(len)) - first)
        })
        .unzip()
    }

    /// Fills the elements of `region` in the chunk at `origin`, which was never written; `filled` makes the bytes of a
    /// number of elements.
    ///
    /// # Errors
    /// Those of `filled` and [`copy_block`].
    pub fn fill_chunk(
        &self,
        origin: &[u64],
        region: &Region,
        out: &mut [u8],
        element_size: usize,
        filled: impl FnOnce(usize) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let (first, shape) = self.share(origin, region);
        let elements = shape.iter().product::<u64>() as usize;
        let block = Block {
            data: &filled(elements)?,
            origin: &first,
            shape: &shape,
        };
        copy_block(block, &Region::all(&region.shape()), out, element_size)
    }

    /// Copies the part of `records` that is in the chunk `indices` to its place in `chunk`, and leaves the other elements
    /// unchanged. The first record is the first one of the chunk.
    ///
    /// # Errors
    /// Those of [`copy_block`].
    pub fn place_records(
        &self,
        count: u64,
        records: &[u8],
        indices: &[u64],
        chunk: &mut [u8],
        element_size: usize,
    ) -> Result<()> {
        let mut shape = vec![count];
        shape.extend(&self.record_shape);
        let origin = vec![0; shape.len()];
        let mut starts = self.origin(indices);
        starts.iter_mut().take(1).for_each(|start| *start = 0);
        let axes = starts.into_iter().zip(&self.chunk_shape);
        let axes = axes.map(|(start, &len)| AxisRange::contiguous(start..start + len));
        let block = Block {
            data: records,
            origin: &origin,
            shape: &shape,
        };
        copy_block(block, &Region::new(axes.collect()), chunk, element_size)
    }
}

/// The chunks along one axis that contain an index of a region.
struct AxisChunks {
    axis: AxisRange,
    chunk_len: u64,
    count: u64,
}

impl AxisChunks {
    fn new(axis: AxisRange, chunk_len: u64) -> Self {
        let bounds = axis.bounds();
        let count = match axis.step > chunk_len {
            // Each index is in a different chunk, and chunks between them are skipped.
            true => axis.count,
            false => bounds
                .end
                .div_ceil(chunk_len)
                .saturating_sub(bounds.start / chunk_len),
        };
        Self {
            axis,
            chunk_len,
            count: if axis.count == 0 { 0 } else { count },
        }
    }

    fn nth(&self, number: u64) -> u64 {
        match self.axis.step > self.chunk_len && number > 0 {
            true => (self.axis.start + number * self.axis.step) / self.chunk_len,
            false => self.axis.start / self.chunk_len + number,
        }
    }
}

impl Region {
    /// Splits the region into the part before the record `at` and the rest.
    pub fn split_at_record(&self, at: u64) -> (Self, Self) {
        let Some(&records) = self.axes().first() else {
            return (self.clone(), self.clone());
        };
        let before = at
            .saturating_sub(records.start)
            .div_ceil(records.step)
            .min(records.count);
        let with = |records: AxisRange| {
            let mut axes = self.axes().to_vec();
            axes[0] = records;
            Self::new(axes)
        };
        (
            with(AxisRange {
                count: before,
                ..records
            }),
            with(AxisRange {
                // The step of a single index may be any number.
                start: records
                    .start
                    .saturating_add(before.saturating_mul(records.step)),
                count: records.count - before,
                step: records.step,
            }),
        )
    }
}
