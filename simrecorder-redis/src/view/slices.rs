//! Parts of frames: the bytes of a large frame that a region needs, so that no more are fetched.

use std::ops::Range;

use simrecorder_core::AxisRange;

/// The number of bytes that arrive in the time of one more command.
const QUESTION_BYTES: u64 = 4 << 10;
/// The same for locating the records of a frame, which takes another round trip.
const TURN_BYTES: u64 = 64 << 10;

/// The indices of `axis` within `range`.
pub(crate) fn within(axis: AxisRange, range: &Range<u64>) -> AxisRange {
    let skipped = range.start.saturating_sub(axis.start).div_ceil(axis.step);
    let start = axis.start.saturating_add(skipped.saturating_mul(axis.step));
    let fitting = range.end.saturating_sub(start).div_ceil(axis.step);
    AxisRange {
        start,
        count: fitting.min(axis.count.saturating_sub(skipped)),
        step: axis.step,
    }
}

/// A way to read a region of a frame in pieces, each of which is a contiguous block.
///
/// The axes before `depth` are iterated index by index. The axis at `depth` is read from the first
/// to the last index of the region, and the axes after it completely.
#[derive(Clone, Debug)]
pub(crate) struct SlicePlan {
    /// The indices of the region along each axis; along the first one, those in the frame.
    axes: Vec<AxisRange>,
    depth: usize,
    /// The first record of the frame.
    first: u64,
    /// The number of bytes from one index to the next along each axis.
    strides: Vec<u64>,
    /// The number of pieces.
    pub(crate) count: u64,
    /// The shape of each piece.
    pub(crate) shape: Vec<u64>,
    /// The length of each piece.
    pub(crate) bytes: u64,
}

/// A block of the array that is contiguous in the frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first index along each axis.
    pub(crate) origin: Vec<u64>,
    /// Its offset among the bytes of the records.
    pub(crate) start: u64,
}

impl SlicePlan {
    /// The cheapest way to read `axes` of the records `rows`, which are those of a frame; `None` if
    /// fetching the whole frame of `frame_bytes` is as fast. Each record has the shape
    /// `record_shape`.
    pub(crate) fn new(
        axes: &[AxisRange],
        rows: Range<u64>,
        record_shape: &[u64],
        element_size: usize,
        frame_bytes: usize,
    ) -> Option<Self> {
        let mut axes = axes.to_vec();
        axes[0] = within(axes[0], &rows);
        let mut strides = vec![element_size as u64; axes.len()];
        for (axis, len) in record_shape.iter().enumerate().rev() {
            strides[axis] = strides[axis + 1].checked_mul(*len)?;
        }
        // The index's information about a frame may be wrong.
        let all = strides[0].checked_mul(rows.end - rows.start)?;
        if all > frame_bytes as u64 {
            return None;
        }
        let span = |axis: usize| axes[axis].bounds().end - axes[axis].bounds().start;
        let ways = (0..axes.len()).map(|depth| {
            let counts = axes[..depth].iter().map(|axis| axis.count);
            let count = counts.fold(1, u64::saturating_mul);
            let bytes = span(depth) * strides[depth];
            let cost = count.saturating_mul(bytes + QUESTION_BYTES);
            (cost, depth, count, bytes)
        });
        let (cost, depth, count, bytes) = ways.min()?;
        if cost.saturating_add(TURN_BYTES) >= frame_bytes as u64 {
            return None;
        }
        let mut shape = vec![1; depth];
        shape.push(span(depth));
        shape.extend(&record_shape[depth..]);
        Some(Self {
            axes,
            depth,
            first: rows.start,
            strides,
            count,
            shape,
            bytes,
        })
    }

    /// One of the pieces, numbered in the order in which they are stored in the frame.
    pub(crate) fn piece(&self, mut number: u64) -> Piece {
        let mut origin = vec![0; self.axes.len()];
        origin[self.depth] = self.axes[self.depth].start;
        for axis in (0..self.depth).rev() {
            let AxisRange { start, count, step } = self.axes[axis];
            origin[axis] = start + number % count * step;
            number /= count;
        }
        let from_first = |(axis, index): (usize, &u64)| match axis {
            0 => index - self.first,
            _ => *index,
        };
        let indices = origin.iter().enumerate().map(from_first);
        let start = indices
            .zip(&self.strides)
            .map(|(index, stride)| index * stride);
        Piece {
            start: start.sum(),
            origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simrecorder_core::{Block, Region, copy_block};

    use super::*;

    #[test]
    fn indices_between_the_steps_are_not_within() {
        let within = |start, count, step, range| {
            let axis = AxisRange { start, count, step };
            let axis = super::within(axis, &range);
            (axis.start, axis.count)
        };
        assert_eq!(within(4, 2, 100, 0..5), (4, 1));
        assert_eq!(within(4, 2, 100, 5..100), (104, 0));
        assert_eq!(within(4, 2, 100, 104..105), (104, 1));
        assert_eq!(within(4, 2, 100, 105..305), (204, 0));
        assert_eq!(within(4, 9, 1, 0..4), (4, 0));
        assert_eq!(within(0, 9, 2, 3..9), (4, 3));
    }

    #[test]
    fn a_line_through_large_records_is_read_in_lines() {
        // The slices [:5, 3, 77, :] of arrays of 10 x 10 000 x 200, of which there are 4 in a frame.
        let axes = [(0, 5), (3, 1), (77, 1), (0, 200)].map(|(start, count)| AxisRange {
            start,
            count,
            step: 1,
        });
        let frame_bytes = 4 * 160_000_000 + 400;
        let slices = SlicePlan::new(&axes, 0..4, &[10, 10_000, 200], 8, frame_bytes).unwrap();
        assert_eq!((slices.count, slices.bytes), (4, 1600));
        assert_eq!(
            slices.piece(3),
            Piece {
                origin: vec![3, 3, 77, 0],
                start: 3 * 160_000_000 + (3 * 10_000 + 77) * 1600,
            }
        );
        // If all records are needed, so is the whole frame.
        let axes = Region::all(&[4, 10, 10_000, 200]);
        assert!(SlicePlan::new(axes.axes(), 0..4, &[10, 10_000, 200], 8, frame_bytes).is_none());
    }

    fn axis(len: u64) -> impl Strategy<Value = AxisRange> {
        (0..len, 1_u64..4, any::<prop::sample::Index>()).prop_map(move |(start, step, count)| {
            let most = (len - start).div_ceil(step) as usize;
            let count = 1 + count.index(most) as u64;
            AxisRange { start, count, step }
        })
    }

    prop_compose! {
        /// The shape of an array, and a region of it.
        fn regions()(shape in prop::collection::vec(1_u64..7, 1..5))
            (axes in shape.iter().map(|&len| axis(len)).collect::<Vec<_>>(), shape in Just(shape))
            -> (Vec<u64>, Vec<AxisRange>)
        {
            (shape, axes)
        }
    }

    proptest! {
        #[test]
        fn pieces_contain_the_requested_elements(
            (shape, axes) in regions(),
            first in any::<prop::sample::Index>(),
        ) {
            let rows = first.index(shape[0] as usize) as u64..shape[0];
            let record_bytes = 2 * shape[1..].iter().product::<u64>();
            let data: Vec<u8> = (0..shape[0] * record_bytes).map(|i| i as u8).collect();
            let frame = &data[(rows.start * record_bytes) as usize..];
            let mut region = axes.clone();
            region[0] = within(axes[0], &rows);
            let region = Region::new(region);
            prop_assume!(!region.is_empty());
            let mut expected = vec![0; 2 * region.len().unwrap()];
            let origin = vec![0; shape.len()];
            let all = Block { data: &data, origin: &origin, shape: &shape };
            copy_block(all, &region, &mut expected, 2)?;

            // Compared with a frame of this length, any other way is cheap.
            let slices = SlicePlan::new(&axes, rows, &shape[1..], 2, 1 << 40).unwrap();
            let mut out = vec![0; expected.len()];
            for number in 0..slices.count {
                let Piece { origin, start } = slices.piece(number);
                let data = &frame[start as usize..(start + slices.bytes) as usize];
                let block = Block { data, origin: &origin, shape: &slices.shape };
                copy_block(block, &region, &mut out, 2)?;
            }
            prop_assert_eq!(out, expected);
        }
    }
}
