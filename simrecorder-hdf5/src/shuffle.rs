//! The filter `shuffle` of HDF5: the first bytes of all elements, then their second bytes, and so
//! on. Numbers that are alike have runs of equal bytes then.

/// Writes the bytes of `elements`, each of `size` bytes, plane by plane. Bytes behind the last
/// whole element stay where they are. Both have the same length.
pub(crate) fn shuffle(elements: &[u8], size: usize, planes: &mut [u8]) {
    debug_assert_eq!(elements.len(), planes.len());
    let count = elements.len() / size.max(1);
    if size < 2 || count < 2 {
        planes.copy_from_slice(elements);
        return;
    }
    let whole = count * size;
    planes[whole..].copy_from_slice(&elements[whole..]);
    let (elements, planes) = (&elements[..whole], &mut planes[..whole]);
    match size {
        2 => split::<2>(elements, planes),
        4 => split::<4>(elements, planes),
        8 => split_words::<1>(elements, planes),
        16 => split_words::<2>(elements, planes),
        _ => {
            for (number, plane) in planes.chunks_exact_mut(count).enumerate() {
                let bytes = elements[number..].iter().step_by(size);
                plane
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Undoes [`shuffle`].
pub(crate) fn unshuffle(planes: &[u8], size: usize, elements: &mut [u8]) {
    debug_assert_eq!(elements.len(), planes.len());
    let count = elements.len() / size.max(1);
    if size < 2 || count < 2 {
        elements.copy_from_slice(planes);
        return;
    }
    let whole = count * size;
    elements[whole..].copy_from_slice(&planes[whole..]);
    let (elements, planes) = (&mut elements[..whole], &planes[..whole]);
    match size {
        2 => join::<2>(planes, elements),
        4 => join::<4>(planes, elements),
        8 => join_words::<1>(planes, elements),
        16 => join_words::<2>(planes, elements),
        _ => {
            for (number, plane) in planes.chunks_exact(count).enumerate() {
                let bytes = elements[number..].iter_mut().step_by(size);
                bytes.zip(plane).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

fn split<const N: usize>(elements: &[u8], planes: &mut [u8]) {
    let elements = elements.as_chunks::<N>().0;
    for (number, plane) in planes.chunks_exact_mut(elements.len()).enumerate() {
        for (to, element) in plane.iter_mut().zip(elements) {
            *to = element[number];
        }
    }
}

fn join<const N: usize>(planes: &[u8], elements: &mut [u8]) {
    let elements = elements.as_chunks_mut::<N>().0;
    let count = elements.len();
    let mut each: [&[u8]; N] = [&[]; N];
    for (plane, bytes) in each.iter_mut().zip(planes.chunks_exact(count)) {
        *plane = bytes;
    }
    for (index, element) in elements.iter_mut().enumerate() {
        *element = std::array::from_fn(|number| each[number][index]);
    }
}

/// Elements of `W` words of 8 bytes: eight of them at a time as matrices of 8 by 8 bytes.
fn split_words<const W: usize>(elements: &[u8], planes: &mut [u8]) {
    let words = elements.as_chunks::<8>().0;
    let count = words.len() / W;
    let blocks = count / 8;
    for word in 0..W {
        let planes = &mut planes[word * 8 * count..(word + 1) * 8 * count];
        for block in 0..blocks {
            let rows =
                std::array::from_fn(|i| u64::from_le_bytes(words[(block * 8 + i) * W + word]));
            for (number, row) in transpose(rows).into_iter().enumerate() {
                let at = number * count + block * 8;
                planes[at..at + 8].copy_from_slice(&row.to_le_bytes());
            }
        }
        for index in blocks * 8..count {
            for (number, byte) in words[index * W + word].into_iter().enumerate() {
                planes[number * count + index] = byte;
            }
        }
    }
}

fn join_words<const W: usize>(planes: &[u8], elements: &mut [u8]) {
    let words = elements.as_chunks_mut::<8>().0;
    let count = words.len() / W;
    let blocks = count / 8;
    for word in 0..W {
        let planes = &planes[word * 8 * count..(word + 1) * 8 * count];
        for block in 0..blocks {
            let rows = std::array::from_fn(|number| {
                let at = number * count + block * 8;
                let mut row = [0; 8];
                row.copy_from_slice(&planes[at..at + 8]);
                u64::from_le_bytes(row)
            });
            for (i, row) in transpose(rows).into_iter().enumerate() {
                words[(block * 8 + i) * W + word] = row.to_le_bytes();
            }
        }
        for index in blocks * 8..count {
            words[index * W + word] = std::array::from_fn(|number| planes[number * count + index]);
        }
    }
}

/// Transposes a matrix of 8 by 8 bytes: blocks of 4 by 4 change places, then those of 2 by 2
/// within them, then bytes.
fn transpose(mut rows: [u64; 8]) -> [u64; 8] {
    const STEPS: [(usize, u32, u64); 3] = [
        (4, 32, 0x0000_0000_ffff_ffff),
        (2, 16, 0x0000_ffff_0000_ffff),
        (1, 8, 0x00ff_00ff_00ff_00ff),
    ];
    for (distance, bits, mask) in STEPS {
        for first in 0..8 {
            if first & distance == 0 {
                let (a, b) = (rows[first], rows[first + distance]);
                rows[first] = (a & mask) | ((b & mask) << bits);
                rows[first + distance] = ((a >> bits) & mask) | (b & !mask);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn planes_are_those_of_the_specification_and_go_back(
            elements in prop::collection::vec(any::<u8>(), 0..600),
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
