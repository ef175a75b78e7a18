//! The few bytes of an HDF5 file that are read without libhdf5.

use std::fs::File;
use std::io;

use super::pages::{PAGE, PAGE_LEN, read_or_zero};

/// The beginning of every HDF5 file, after an optional user block.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Open for writing, and open for writing with concurrent readers.
const OPEN_FLAGS: u8 = 0b101;
const VERSION_AT: usize = 8;
const OFFSET_SIZE_AT: usize = 9;
const FLAGS_AT: usize = 11;

/// The possible offsets of a superblock: the start, 512, 1024, 2048 …
pub(super) fn offsets(length: u64) -> impl Iterator<Item = u64> {
    let doubled = std::iter::successors(Some(512_u64), |at| at.checked_mul(2));
    std::iter::once(0)
        .chain(doubled)
        .take_while(move |at| at.saturating_add(SIGNATURE.len() as u64) <= length)
}

/// Whether a superblock begins here.
pub(super) fn is_signature(bytes: [u8; 8]) -> bool {
    bytes == SIGNATURE
}

/// Whether this is a new, unused file of this library: a killed writer leaves it under the name of
/// new files.
pub(super) fn is_new_file(bytes: &[u8]) -> bool {
    let writer = b"simrecorder";
    bytes.starts_with(&SIGNATURE) && bytes.windows(writer.len()).any(|part| part == writer)
}

/// The bytes of the superblock itself, from the bytes that begin with it.
pub(super) fn own(bytes: &[u8]) -> &[u8] {
    // Those of the first versions have this length with the entry of the root group, or are longer.
    let end = checksum_at(bytes).map_or(96, |at| at + 4);
    &bytes[..end.min(bytes.len())]
}

/// The checksum of the page of the main file that contains its superblock.
pub(super) fn page_checksum(main: &File, superblock: u64) -> io::Result<u32> {
    Ok(crc32fast::hash(&page_of(main, superblock)?))
}

/// The page of the main file that contains its superblock.
pub(super) fn page_of(main: &File, superblock: u64) -> io::Result<[u8; PAGE]> {
    let mut page = [0; PAGE];
    read_or_zero(main, &mut page, superblock / PAGE_LEN * PAGE_LEN)?;
    Ok(page)
}

/// Clears the flags of a file that is open for writing in a superblock. Returns whether any were
/// set. Only superblocks of version 3 have them.
pub(super) fn clear_open_flags(superblock: &mut [u8]) -> bool {
    if superblock.get(VERSION_AT) != Some(&3) {
        return false;
    }
    let Some(end) = checksum_at(superblock) else {
        return false;
    };
    let flags = superblock[FLAGS_AT];
    if flags & OPEN_FLAGS == 0 {
        return false;
    }
    superblock[FLAGS_AT] = flags & !OPEN_FLAGS;
    write_checksum(superblock, end);
    true
}

/// Updates the checksum of a superblock, if its version has one.
pub(crate) fn renew_checksum(superblock: &mut [u8]) {
    if let Some(end) = checksum_at(superblock) {
        write_checksum(superblock, end);
    }
}

/// The offset of the checksum of a superblock: after four addresses, from version 2 on.
fn checksum_at(superblock: &[u8]) -> Option<usize> {
    let has_checksum =
        superblock.starts_with(&SIGNATURE) && matches!(superblock.get(VERSION_AT), Some(2 | 3));
    let size = superblock.get(OFFSET_SIZE_AT).filter(|_| has_checksum)?;
    let end = FLAGS_AT + 1 + 4 * usize::from(*size);
    (superblock.len() >= end + 4).then_some(end)
}

fn write_checksum(superblock: &mut [u8], end: usize) {
    let checksum = lookup3(&superblock[..end]);
    superblock[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// The checksum of HDF5's metadata: `hashlittle` of Bob Jenkins' lookup3, from 0.
fn lookup3(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = bytes;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        let [x, y, z] = words(block);
        (a, b, c) = mix(a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z));
        rest = after;
    }
    if rest.is_empty() {
        return c;
    }
    let [x, y, z] = words(rest);
    finish(a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z))
}

/// Up to twelve bytes as three numbers, padded with zeros.
fn words(bytes: &[u8]) -> [u32; 3] {
    let mut words = [0; 3];
    for (index, &byte) in bytes.iter().enumerate() {
        words[index / 4] |= u32::from(byte) << (8 * (index % 4));
    }
    words
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Corrects the checksum of a changed superblock.
    pub(in super::super) fn set_checksum(superblock: &mut [u8]) {
        let end = FLAGS_AT + 1 + 4 * 8;
        let checksum = lookup3(&superblock[..end]);
        superblock[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    #[test]
    fn checksums_are_those_of_hdf5() {
        // Known values of hashlittle.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    #[test]
    fn a_superblock_is_looked_for_at_doubled_places() {
        assert_eq!(offsets(7).count(), 0);
        assert_eq!(offsets(8).collect::<Vec<_>>(), [0]);
        assert_eq!(offsets(2056).collect::<Vec<_>>(), [0, 512, 1024, 2048]);
        assert!(offsets(u64::MAX).count() < 60);
    }

    #[test]
    fn odd_superblocks_stay_as_they_are() {
        for length in 0..60 {
            let mut bytes = vec![0xff; length];
            assert!(!clear_open_flags(&mut bytes));
            assert_eq!(bytes, vec![0xff; length]);
            let mut short = SIGNATURE.to_vec();
            short.extend([3, 255, 8, 5]);
            short.resize(12.max(length), 1);
            let before = short.clone();
            assert!(!clear_open_flags(&mut short));
            assert_eq!(short, before);
        }
    }
}
