//! Copying the part of a block that is in a region.

use crate::error::{Error, ErrorKind, Result};
use crate::reading::selection::Region;

/// A block of elements in memory: a decoded chunk, a run of records.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The elements in row-major order.
    pub data: &'a [u8],
    /// Where the block begins in its array.
    pub origin: &'a [u64],
    /// The length of each axis.
    pub shape: &'a [u64],
}

/// How one axis is walked: bytes from one index to the next in source and target.
#[derive(Clone, Copy)]
struct Walk {
    count: usize,
    source_step: usize,
    target_step: usize,
}

/// Copies the elements of `block` that are in `region` into `out`, which has the shape of the region in row-major
/// order. Other elements of `out` do not change.
///
/// # Errors
/// [`ErrorKind::Internal`] if the axes of block and region differ in number or a buffer is too
/// short for its shape. Nothing is copied then.
pub fn copy_block(
    block: Block<'_>,
    region: &Region,
    out: &mut [u8],
    element_size: usize,
) -> Result<()> {
    let axes = region.axes();
    let fits = |shape: &[u64], len: usize| {
        let elements = shape
            .iter()
            .try_fold(element_size as u64, |bytes, &len| bytes.checked_mul(len));
        elements.is_some_and(|bytes| bytes <= len as u64)
    };
    if axes.len() != block.shape.len()
        || axes.len() != block.origin.len()
        || !fits(block.shape, block.data.len())
        || !fits(&region.shape(), out.len())
    {
        let message = format!(
            "a block of shape {:?} with {} bytes does not fit a region of shape {:?} with {} bytes",
            block.shape,
            block.data.len(),
            region.shape(),
            out.len()
        );
        return Err(Error::new(ErrorKind::Internal, "read", message));
    }

    let mut walks = Vec::with_capacity(axes.len());
    let (mut source, mut target) = (0, 0);
    let (mut source_stride, mut target_stride) = (element_size, element_size);
    for (axis, range) in axes.iter().enumerate().rev() {
        let (origin, len) = (block.origin[axis], block.shape[axis]);
        // The first index of the region in the block, and the first after it.
        let first = origin.saturating_sub(range.start).div_ceil(range.step);
        let after = (origin + len)
            .saturating_sub(range.start)
            .div_ceil(range.step);
        let after = after.min(range.count);
        if first >= after {
            return Ok(());
        }
        source += (range.start + first * range.step - origin) as usize * source_stride;
        target += first as usize * target_stride;
        walks.push(Walk {
            count: (after - first) as usize,
            // The step of a single index may be any number; then it is not used.
            source_step: (range.step as usize).saturating_mul(source_stride),
            target_step: target_stride,
        });
        // Of an array without elements, the product of the other axes may be any number.
        source_stride = source_stride.saturating_mul(len as usize);
        target_stride = target_stride.saturating_mul(range.count as usize);
    }

    // Axes that lie together in both source and target are copied in one run.
    let mut run = element_size;
    let joined = walks.iter().take_while(|walk| {
        let together = walk.source_step == run && walk.target_step == run;
        if together {
            run *= walk.count;
        }
        together
    });
    let outer = joined.count();
    let mut walks = walks.split_off(outer);
    walks.reverse();
    copy_runs(&walks, &block.data[source..], &mut out[target..], run);
    Ok(())
}

fn copy_runs(walks: &[Walk], source: &[u8], out: &mut [u8], run: usize) {
    match walks {
        [] => out[..run].copy_from_slice(&source[..run]),
        // Single elements: the length known at compile time makes each copy one instruction.
        [walk] => match run {
            1 => copy_elements::<1>(*walk, source, out),
            2 => copy_elements::<2>(*walk, source, out),
            4 => copy_elements::<4>(*walk, source, out),
            8 => copy_elements::<8>(*walk, source, out),
            16 => copy_elements::<16>(*walk, source, out),
            _ => (0..walk.count).for_each(|i| {
                let (from, to) = (i * walk.source_step, i * walk.target_step);
                out[to..to + run].copy_from_slice(&source[from..from + run]);
            }),
        },
        [walk, inner @ ..] => (0..walk.count).for_each(|i| {
            let (from, to) = (i * walk.source_step, i * walk.target_step);
            copy_runs(inner, &source[from..], &mut out[to..], run);
        }),
    }
}

fn copy_elements<const N: usize>(walk: Walk, source: &[u8], out: &mut [u8]) {
    for i in 0..walk.count {
        let (from, to) = (i * walk.source_step, i * walk.target_step);
        out[to..to + N].copy_from_slice(&source[from..from + N]);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis, Slice};
    use proptest::prelude::*;

    use super::*;
    use crate::reading::selection::AxisRange;

    #[test]
    fn a_block_that_does_not_fit_its_region_is_an_error_and_copies_nothing() {
        let region = Region::records(0..2, &[2, 3]);
        let origin = [0, 0];
        let block = |data, shape| Block {
            data,
            origin: &origin,
            shape,
        };
        let mut out = [7; 6];
        for (data, shape) in [
            (&[1_u8; 6][..], &[2_u64][..]),
            (&[1; 5], &[2, 3]),
            (&[1; 6], &[u64::MAX, 3]),
        ] {
            let error = copy_block(block(data, shape), &region, &mut out, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        }
        let short = copy_block(block(&[1; 6], &[2, 3]), &region, &mut out[..5], 1);
        assert!(short.is_err());
        assert_eq!(out, [7; 6]);
    }

    proptest! {
        #[test]
        fn blocks_put_together_give_what_ndarray_slices(
            axes in prop::collection::vec((1_u64..7, 1_u64..4, 0_u64..7, 0_u64..7, 1_u64..4), 1..4),
        ) {
            let shape: Vec<u64> = axes.iter().map(|axis| axis.0).collect();
            let chunk: Vec<u64> = axes.iter().map(|axis| axis.1).collect();
            let len = shape.iter().product::<u64>() as usize;
            let dims: Vec<usize> = shape.iter().map(|&len| len as usize).collect();
            let elements: Vec<u16> = (0..len as u16).collect();
            let array = ArrayD::from_shape_vec(dims, elements).unwrap();

            let mut expected = array.view();
            let mut ranges = Vec::new();
            for (axis, &(len, _, a, b, step)) in axes.iter().enumerate() {
                let (start, end) = (a.min(b).min(len), a.max(b).min(len));
                let slice = Slice::new(start as isize, Some(end as isize), step as isize);
                expected.slice_axis_inplace(Axis(axis), slice);
                ranges.push(AxisRange { start, count: (end - start).div_ceil(step), step });
            }
            let region = Region::new(ranges);

            let mut out = vec![0_u8; region.len().unwrap() * 2];
            let grid: Vec<u64> = shape.iter().zip(&chunk).map(|(&s, &c)| s.div_ceil(c)).collect();
            for number in 0..grid.iter().product::<u64>() {
                let mut rest = number;
                let mut origin = vec![0; grid.len()];
                for axis in (0..grid.len()).rev() {
                    origin[axis] = rest % grid[axis] * chunk[axis];
                    rest /= grid[axis];
                }
                let mut block = array.view();
                let mut block_shape = Vec::new();
                for axis in 0..grid.len() {
                    let end = (origin[axis] + chunk[axis]).min(shape[axis]);
                    block_shape.push(end - origin[axis]);
                    block.slice_axis_inplace(Axis(axis), Slice::from(origin[axis] as usize..end as usize));
                }
                let data: Vec<u8> = block.iter().flat_map(|x| x.to_ne_bytes()).collect();
                let block = Block { data: &data, origin: &origin, shape: &block_shape };
                copy_block(block, &region, &mut out, 2)?;
            }
            let expected: Vec<u8> = expected.iter().flat_map(|x| x.to_ne_bytes()).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
