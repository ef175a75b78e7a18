//! Summaries of long series, so that plotting a part of a series reads few of its records.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use simrecorder::{ArrayView, Error, ErrorKind, Extent, View};

/// The minimum number of records in a block.
const LEAST_BLOCK: u64 = 1 << 10;
/// The maximum number of blocks of a series, until it grows: 12 MiB of extents.
const MOST_BLOCKS: u64 = 1 << 18;

/// The extents of equal blocks of the records of a scalar series. Records after the last complete
/// block are read when they are needed.
#[derive(Clone, Debug)]
pub(crate) struct Pyramid {
    /// The number of records in a block.
    block: u64,
    extents: Vec<Extent>,
}

/// A pyramid, and the series that it summarises.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) view: View,
    pub(crate) pyramid: Arc<Pyramid>,
}

impl Pyramid {
    /// A pyramid without blocks, for a series of about `len` records.
    pub(crate) fn new(len: u64) -> Self {
        Self {
            block: (len / MOST_BLOCKS).next_power_of_two().max(LEAST_BLOCK),
            extents: Vec::new(),
        }
    }

    /// The number of records in a block.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// The number of records in all blocks.
    pub(crate) fn len(&self) -> u64 {
        self.extents.len() as u64 * self.block
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.extents.capacity() * size_of::<Extent>()
    }

    /// Whether it can belong to this series in its current state: the series is not shorter, and
    /// its last block has the same extent.
    pub(crate) fn is_of(&self, view: &View) -> Result<bool, Error> {
        let Some(last) = self.extents.last() else {
            return Ok(true);
        };
        if self.len() > view.len() {
            return Ok(false);
        }
        let now = view.envelope(&[vec![self.len() - self.block, self.len()]])?[0];
        let bits = |e: &Extent| [e.first, e.min, e.max, e.last].map(f64::to_bits);
        Ok(bits(&now) == bits(last) && now.nan_count == last.nan_count)
    }

    /// Adds the complete blocks of the series that are still missing. Reads on all processors.
    pub(crate) fn extend(&mut self, view: &View) -> Result<(), Error> {
        let blocks = self.extents.len() as u64..view.len() / self.block;
        let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
        // Shares so large that few chunks are decoded twice.
        let share = (blocks.end - blocks.start).div_ceil(workers).max(256);
        let shares = (blocks.start..blocks.end)
            .step_by(share as usize)
            .map(|start| start..blocks.end.min(start + share));
        let block = self.block;
        let read = |blocks: Range<u64>| {
            let bounds = (blocks.start..=blocks.end).map(|index| index * block);
            view.envelope(&[bounds.collect()])
        };
        let read: Vec<_> = thread::scope(|scope| {
            let readers: Vec<_> = shares
                .map(|share| scope.spawn(move || read(share)))
                .collect();
            readers.into_iter().map(|reader| reader.join()).collect()
        });
        for extents in read {
            let panicked = |_| Error::new(ErrorKind::Internal, "plot", "a reading thread panicked");
            self.extents.extend(extents.map_err(panicked)??);
        }
        Ok(())
    }

    /// The extent of each block.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extents of the records between bounds, which increase. Reads only the records in blocks
    /// that a bound divides, and those after the last block.
    pub(crate) fn extents_between(
        &self,
        view: &View,
        bounds: &[u64],
    ) -> Result<Vec<Extent>, Error> {
        let between = |part: &[u64]| {
            let (start, end) = (part[0], part[1]);
            let blocks = start.div_ceil(self.block)..end.min(self.len()) / self.block;
            if blocks.is_empty() {
                return read(view, start..end);
            }
            let mut extent = read(view, start..blocks.start * self.block)?;
            for whole in &self.extents[blocks.start as usize..blocks.end as usize] {
                extent.merge(whole);
            }
            extent.merge(&read(view, blocks.end * self.block..end)?);
            Ok(extent)
        };
        bounds.windows(2).map(between).collect()
    }
}

fn read(view: &View, records: Range<u64>) -> Result<Extent, Error> {
    match records.is_empty() {
        true => Ok(Extent::default()),
        false => Ok(view.envelope(&[vec![records.start, records.end]])?[0]),
    }
}
