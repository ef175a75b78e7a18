//! A part of a view, as a view.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{count_records, read_fixed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::DType;
use crate::model::key::Key;
use crate::model::kind::Kind;
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::{AxisRange, Region, Resolved, SelectedAxis, Selection};
use crate::store::array_view::ArrayView;
use crate::store::array_view::SharedView;
use crate::store::node::Node;

/// The view that `View::select` returns.
#[derive(Clone, Debug)]
pub struct SelectedView {
    parent: Arc<dyn ArrayView>,
    region: Region,
    axes: Vec<SelectedAxis>,
    schema: Arc<Schema>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
}

impl SelectedView {
    pub(crate) fn new(parent: Arc<dyn ArrayView>, selection: &Selection) -> Result<Self> {
        let resolved = selection.resolve(parent.shape())?;
        Self::of_resolved(parent, resolved)
    }

    /// All of a view, except that one axis is restricted to `range`, which is within it.
    pub(crate) fn along_axis(
        parent: Arc<dyn ArrayView>,
        axis: usize,
        range: AxisRange,
        reversed: bool,
    ) -> Result<Self> {
        let mut axes = Region::all(parent.shape()).axes().to_vec();
        if let Some(selected) = axes.get_mut(axis) {
            *selected = range;
        }
        let kept = (0..axes.len()).map(|kept| SelectedAxis::From {
            axis: kept,
            reversed: reversed && kept == axis,
        });
        let axes_kept = kept.collect();
        let region = Region::new(axes);
        Self::of_resolved(
            parent,
            Resolved {
                region,
                axes: axes_kept,
            },
        )
    }

    fn of_resolved(parent: Arc<dyn ArrayView>, resolved: Resolved) -> Result<Self> {
        let Resolved { region, axes } = resolved;
        let keeps_records = matches!(axes[..], [SelectedAxis::From { axis: 0, .. }]);
        if parent.kind() != Kind::Array && !keeps_records {
            let message = format!(
                "a series of kind {} has one axis, along its records: select a range, or get(index)",
                parent.kind()
            );
            return Err(Error::new(ErrorKind::KindMismatch, "select", message));
        }
        let of_axis = |of_parent: &dyn Fn(usize) -> u64| -> Vec<u64> {
            let axes = axes.iter().map(|axis| match axis {
                SelectedAxis::From { axis, .. } => of_parent(*axis),
                SelectedAxis::New => 1,
            });
            axes.collect()
        };
        let shape = of_axis(&|axis| region.axes()[axis].count);
        let chunk_shape =
            of_axis(&|axis| (parent.chunk_shape()[axis] / region.axes()[axis].step).max(1));
        let schema = selected_schema(parent.schema(), &axes, &shape);
        Ok(Self {
            parent,
            region,
            axes,
            schema,
            shape,
            chunk_shape,
        })
    }

    /// The view that it is a part of.
    pub(crate) fn parent(&self) -> &dyn ArrayView {
        &*self.parent
    }

    /// The axis of the parent that `axis` is a part of, and the indices along it that `part` has, ascending,
    /// with whether their order is reversed. `None` for an axis that the parent does not have.
    pub(crate) fn axis_in_parent(
        &self,
        axis: usize,
        part: AxisRange,
    ) -> Option<(usize, AxisRange, bool)> {
        match *self.axes.get(axis)? {
            SelectedAxis::From { axis, reversed } => {
                let indices = compose(*self.region.axes().get(axis)?, part, reversed);
                Some((axis, indices, reversed))
            }
            SelectedAxis::New => None,
        }
    }

    /// Whether the first axis is along the records of the series.
    fn selects_records(&self) -> bool {
        matches!(self.axes.first(), Some(SelectedAxis::From { axis: 0, .. }))
    }

    /// The distance between its records in the parent; `None` if the first axis is not along the records.
    pub(crate) fn record_step(&self) -> Option<usize> {
        let step = self.region.axes().first()?.step;
        self.selects_records()
            .then(|| usize::try_from(step).unwrap_or(usize::MAX))
    }

    /// The index in the parent of a record. If the selection is a single record, the index of that.
    fn record_in_parent(&self, record: u64) -> u64 {
        let whole = self.region.axes().first().copied();
        let whole = whole.unwrap_or(AxisRange::contiguous(0..0));
        let reversed = matches!(
            self.axes.first(),
            Some(SelectedAxis::From { reversed: true, .. })
        );
        let record = match self.selects_records() {
            true if reversed => whole.count.saturating_sub(record.saturating_add(1)),
            true => record,
            false => 0,
        };
        whole.start + record.saturating_mul(whole.step)
    }

    fn read_selected(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        if self.shape.is_empty() {
            let message = "the selection has no axis left; read it with read()";
            return Err(Error::new(ErrorKind::KindMismatch, "read", message));
        }
        count_records(&range, &self.shape)?;
        if self.kind() == Kind::Array {
            return read_fixed(self, range, max_bytes);
        }
        let reversed = matches!(self.axes[0], SelectedAxis::From { reversed: true, .. });
        let wanted = AxisRange::contiguous(range);
        let source = compose(self.region.axes()[0], wanted, reversed);
        if source.step == 1 && !reversed {
            return self.parent.read_records(source.bounds(), max_bytes);
        }
        let mut records = Records::empty(Arc::clone(&self.schema));
        for step in 0..source.count {
            let step = if reversed {
                source.count - 1 - step
            } else {
                step
            };
            let index = source.start + step * source.step;
            let record = self.parent.read_records(index..index + 1, max_bytes)?;
            records.extend_from(&record, 0..record.len());
            if records.data().len() > max_bytes {
                break;
            }
        }
        Ok(records)
    }

    /// The same region in the axes of the parent.
    fn in_parent(&self, region: &Region) -> Region {
        let mut axes = self.region.axes().to_vec();
        for (part, selected) in region.axes().iter().zip(&self.axes) {
            if let SelectedAxis::From { axis, reversed } = *selected {
                axes[axis] = compose(axes[axis], *part, reversed);
            }
        }
        Region::new(axes)
    }
}

/// The indices that `part` takes out of `whole`, ascending; `part` counts from the end of
/// `whole` if it is reversed.
fn compose(whole: AxisRange, part: AxisRange, reversed: bool) -> AxisRange {
    if part.count == 0 {
        return AxisRange { count: 0, ..whole };
    }
    let first = if reversed {
        let last = part.start + (part.count - 1) * part.step;
        whole.count - 1 - last
    } else {
        part.start
    };
    AxisRange {
        start: whole.start + first * whole.step,
        count: part.count,
        // The step of a single index may be any number.
        step: whole.step.saturating_mul(part.step),
    }
}

/// The schema of a part: other axes, hence another record shape and other names.
fn selected_schema(parent: &Schema, axes: &[SelectedAxis], shape: &[u64]) -> Arc<Schema> {
    let mut schema = match (parent.kind(), parent.dtype()) {
        (Kind::Array, Some(dtype)) => {
            Schema::array_of(dtype, shape.get(1..).unwrap_or(&[]).to_vec())
        }
        _ => return Arc::new(parent.clone()),
    };
    if let Some(names) = parent.dimension_names() {
        schema = schema.with_dimension_names(axes.iter().map(|axis| match axis {
            SelectedAxis::From { axis, .. } => names.get(*axis).cloned().flatten(),
            SelectedAxis::New => None,
        }));
    }
    Arc::new(schema.with_attributes(parent.attributes().clone()))
}

impl ArrayView for SelectedView {
    fn key(&self) -> &Key {
        self.parent.key()
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
        let size = self.dtype().map_or(1, DType::size);
        region.check(&self.shape, size, out.len())?;
        if region.is_empty() {
            // Nothing along a new axis: the parent does not have that axis.
            return Ok(());
        }
        self.parent.read_into(&self.in_parent(region), out)?;
        let shape = region.shape();
        for (axis, selected) in self.axes.iter().enumerate() {
            if let SelectedAxis::From { reversed: true, .. } = selected {
                reverse_axis(out, &shape, axis, size);
            }
        }
        Ok(())
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.read_selected(range, max_bytes)
            .map_err(|e| e.with_key(self.key().as_str()))
    }

    /// The same records, since a selection does not grow with its series.
    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        let parent = self.parent.refresh()?;
        let mut axes = self.region.axes().to_vec();
        // The records before the selection may have been freed.
        let freed = parent.first_record() - self.parent.first_record().min(parent.first_record());
        let mut still_there = true;
        if let Some(records) = axes.first_mut() {
            still_there = records.count == 0 || records.start >= freed;
            records.start = records.start.saturating_sub(freed);
        }
        let region = Region::new(axes);
        still_there &= region
            .axes()
            .iter()
            .zip(parent.shape())
            .all(|(axis, &len)| axis.bounds().end <= len);
        if !still_there || parent.shape().len() != region.axes().len() {
            let message = "the selected records were removed from the series; select again";
            return Err(Error::new(ErrorKind::OutOfBounds, "refresh", message)
                .with_key(self.key().as_str()));
        }
        Ok(Arc::new(Self {
            parent,
            region,
            ..self.clone()
        }))
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        self.parent.sibling_nodes(keys)
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }

    fn as_selected(&self) -> Option<&SelectedView> {
        Some(self)
    }

    fn as_shared(&self) -> Option<&dyn SharedView> {
        self.parent.as_shared().map(|_| self as _)
    }
}

impl SharedView for SelectedView {
    fn first_record(&self) -> u64 {
        self.parent.first_record() + self.record_in_parent(0)
    }

    fn filled_end(&self) -> u64 {
        self.parent.as_shared().map_or(0, SharedView::filled_end)
    }

    fn writer_of(&self, record: u64) -> Result<Option<u64>> {
        if self.selects_records() && record >= self.len() {
            let message = format!("there is no record {record}; the view has {}", self.len());
            return Err(Error::new(ErrorKind::OutOfBounds, "writer_of", message)
                .with_key(self.key().as_str()));
        }
        self.parent.writer_of(self.record_in_parent(record))
    }

    fn follow(&self, _timeout: Duration) -> Result<Arc<dyn ArrayView>> {
        let message = "a selection does not grow; follow the view of the series";
        Err(Error::new(ErrorKind::Unsupported, "follow", message).with_key(self.key().as_str()))
    }
}

/// Reverses one axis.
fn reverse_axis(data: &mut [u8], shape: &[u64], axis: usize, element_size: usize) {
    let len = shape[axis] as usize;
    let step = shape[axis + 1..]
        .iter()
        .map(|&len| len as usize)
        .product::<usize>()
        * element_size;
    if step == 0 || len < 2 {
        return;
    }
    for block in data.chunks_exact_mut(len * step) {
        let (front, back) = block.split_at_mut(len / 2 * step);
        let back = back[(len % 2) * step..].chunks_exact_mut(step).rev();
        front
            .chunks_exact_mut(step)
            .zip(back)
            .for_each(|(a, b)| a.swap_with_slice(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversing_an_axis_swaps_whole_steps_of_it() {
        let mut data: Vec<u8> = (0..12).collect();
        reverse_axis(&mut data, &[2, 3, 2], 1, 1);
        assert_eq!(data, [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7]);
    }
}
