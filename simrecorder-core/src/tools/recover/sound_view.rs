//! The sound records of a damaged series, as a view.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::count_records;
use crate::error::Result;
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::{AxisRange, Region, element_count};
use crate::reading::view::{View, no_array};
use crate::store::array_view::ArrayView;
use crate::store::node::Node;

/// Parts of a series, one after the other, at another key.
#[derive(Clone, Debug)]
pub(super) struct SoundView {
    key: Key,
    view: View,
    /// The records of the series, in order.
    parts: Vec<Range<u64>>,
    shape: Vec<u64>,
}

impl SoundView {
    pub(super) fn new(key: Key, view: View, parts: Vec<Range<u64>>) -> Self {
        let mut shape = view.shape().to_vec();
        if let Some(len) = shape.first_mut() {
            *len = parts.iter().map(|part| part.end - part.start).sum();
        }
        Self {
            key,
            view,
            parts,
            shape,
        }
    }

    /// The parts, each with the index of its first record in this view.
    fn placed(&self) -> impl Iterator<Item = (u64, &Range<u64>)> {
        self.parts.iter().scan(0, |next, part| {
            let first = *next;
            *next += part.end - part.start;
            Some((first, part))
        })
    }
}

impl ArrayView for SoundView {
    fn key(&self) -> &Key {
        &self.key
    }

    fn schema(&self) -> &Arc<Schema> {
        self.view.schema()
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn chunk_shape(&self) -> &[u64] {
        self.view.chunk_shape()
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let Some(dtype) = self.dtype() else {
            return Err(no_array(self, "read()"));
        };
        region.check(&self.shape, dtype.size(), out.len())?;
        let [records, within @ ..] = region.axes() else {
            return Err(no_array(self, "read()"));
        };
        let row = record_bytes(within, dtype);
        for (first, part) in self.placed() {
            // Which of the wanted records are in this part.
            let steps = |record: u64| {
                let steps = record.saturating_sub(records.start).div_ceil(records.step);
                steps.min(records.count)
            };
            let wanted = steps(first)..steps(first + (part.end - part.start));
            if wanted.is_empty() {
                continue;
            }
            let start = records.start + wanted.start * records.step - first + part.start;
            let mut axes = vec![AxisRange {
                start,
                count: wanted.end - wanted.start,
                step: records.step,
            }];
            axes.extend_from_slice(within);
            let bytes = wanted.start as usize * row..wanted.end as usize * row;
            self.view.read_into(&Region::new(axes), &mut out[bytes])?;
        }
        Ok(())
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        count_records(&range, &self.shape)?;
        let mut placed = self.placed();
        let part = placed.find(|(first, part)| range.start < first + (part.end - part.start));
        let Some((first, part)) = part.filter(|_| !range.is_empty()) else {
            return Ok(Records::empty(Arc::clone(self.schema())));
        };
        let start = range.start - first + part.start;
        let end = part.end.min(start + (range.end - range.start));
        self.view.read_records(start..end, max_bytes)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        Ok(self.to_arc())
    }

    /// Groups have them: the coordinates of a view that leaves records out are not those of its series.
    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        Ok(vec![None; keys.len()])
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn filled(&self) -> u64 {
        match self.parts.first() {
            Some(part) if part.start == 0 => self.view.filled().min(part.end),
            _ => 0,
        }
    }
}

/// The number of bytes of each record that a region selects.
fn record_bytes(within: &[AxisRange], dtype: DType) -> usize {
    let counts: Vec<u64> = within.iter().map(|axis| axis.count).collect();
    element_count(&counts).unwrap_or(0) * dtype.size()
}
