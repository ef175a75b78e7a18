//! The filter `shuffle` of HDF5: the first bytes of all elements, then their second bytes, and so
//! on. Similar numbers then have runs of equal bytes.

/// Writes the bytes of `elements`, each of `size` bytes, plane by plane. Bytes after the last
/// complete element stay where they are. Both slices have the same length.
pub(crate) fn shuffle(elements: &[u8], size: usize, planes: &mut [u8]) {
    debug_assert_eq!(elements.len(), planes.len());
    let count = elements.len() / size.max(1);
    let whole = count * size;
    planes[whole..].copy_from_slice(&elements[whole..]);
    let (elements, planes) = (&elements[..whole], &mut planes[..whole]);
    let done = match size {
        0 | 1 => return planes.copy_from_slice(elements),
        2 => split::<2>(elements, planes),
        4 => split::<4>(elements, planes),
        8 => split::<8>(elements, planes),
        16 => split::<16>(elements, planes),
        _ => 0,
    };
    for (number, plane) in planes.chunks_exact_mut(count.max(1)).enumerate() {
        let bytes = elements[done * size..].iter().skip(number).step_by(size);
        plane[done..]
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Undoes [`shuffle`].
pub(crate) fn unshuffle(planes: &[u8], size: usize, elements: &mut [u8]) {
    debug_assert_eq!(elements.len(), planes.len());
    let count = elements.len() / size.max(1);
    let whole = count * size;
    elements[whole..].copy_from_slice(&planes[whole..]);
    let (elements, planes) = (&mut elements[..whole], &planes[..whole]);
    let done = match size {
        0 | 1 => return elements.copy_from_slice(planes),
        2 => join::<2>(planes, elements),
        4 => join::<4>(planes, elements),
        8 => join::<8>(planes, elements),
        16 => join::<16>(planes, elements),
        _ => 0,
    };
    for (number, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        let bytes = elements[done * size..]
            .iter_mut()
            .skip(number)
            .step_by(size);
        bytes.zip(&plane[done..]).for_each(|(to, from)| *to = *from);
    }
}

/// Sixteen bytes, the width of vector registers.
type Vector = [u8; 16];

/// Splits as many elements of `N` bytes as fill blocks of sixteen. Returns their number.
///
/// A block is `N` vectors. If e are the bits of an element's index and b those of a byte's index in
/// it, a byte is at eeee·b…b and moves to b…b·eeee: its index is rotated by four bits, one at a
/// time with [`rotate`].
fn split<const N: usize>(elements: &[u8], planes: &mut [u8]) -> usize {
    let blocks = elements.as_chunks::<16>().0.as_chunks::<N>().0;
    let count = elements.len() / N;
    for (index, block) in blocks.iter().enumerate() {
        let split = rotate(rotate(rotate(rotate(*block))));
        for (number, vector) in split.iter().enumerate() {
            let at = number * count + index * 16;
            planes[at..at + 16].copy_from_slice(vector);
        }
    }
    blocks.len() * 16
}

/// Undoes [`split`], with as many further rotations as bring each byte back to its place.
fn join<const N: usize>(planes: &[u8], elements: &mut [u8]) -> usize {
    let count = elements.len() / N;
    let blocks = elements.as_chunks_mut::<16>().0.as_chunks_mut::<N>().0;
    for (index, block) in blocks.iter_mut().enumerate() {
        for (number, vector) in block.iter_mut().enumerate() {
            let at = number * count + index * 16;
            vector.copy_from_slice(&planes[at..at + 16]);
        }
        for _ in 0..N.ilog2() {
            *block = rotate(*block);
        }
    }
    blocks.len() * 16
}

/// Moves each byte to the index whose bits are rotated to the left by one.
#[inline(always)]
fn rotate<const N: usize>(block: [Vector; N]) -> [Vector; N] {
    let mut rotated = block;
    for half in 0..N / 2 {
        let (low, high) = interleave(block[half], block[half + N / 2]);
        rotated[2 * half] = low;
        rotated[2 * half + 1] = high;
    }
    rotated
}

/// The bytes of two vectors, alternating.
#[cfg(target_feature = "sse2")]
#[inline(always)]
fn interleave(a: Vector, b: Vector) -> (Vector, Vector) {
    use safe_arch::{m128i, unpack_high_i8_m128i, unpack_low_i8_m128i};
    let (a, b) = (m128i::from(a), m128i::from(b));
    let (low, high) = (unpack_low_i8_m128i(a, b), unpack_high_i8_m128i(a, b));
    (low.into(), high.into())
}

/// The bytes of two vectors, alternating.
#[cfg(not(target_feature = "sse2"))]
#[inline(always)]
fn interleave(a: Vector, b: Vector) -> (Vector, Vector) {
    let of = |first: usize| {
        std::array::from_fn(|i| match i % 2 {
            0 => a[first + i / 2],
            _ => b[first + i / 2],
        })
    };
    (of(0), of(8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn planes_are_those_of_the_specification_and_go_back(
            elements in prop::collection::vec(any::<u8>(), 0..900),
            size in prop::sample::select(vec![1_usize, 2, 3, 4, 8, 12, 16, 17]),
        ) {
            let mut planes = vec![0; elements.len()];
            shuffle(&elements, size, &mut planes);
            let count = elements.len() / size;
            for (index, byte) in elements[..count * size].iter().enumerate() {
                prop_assert_eq!(planes[index % size * count + index / size], *byte);
            }
            let mut back = vec![0; elements.len()];
            unshuffle(&planes, size, &mut back);
            prop_assert_eq!(back, elements);
        }
    }
}
