//! Filters of chunks, outside libhdf5 and so outside its lock.
//!
//! Chunks are shuffled and deflated, so that every HDF5 can read them. Deflating does not shorten
//! byte planes that are noise, such as the low bits of measured numbers, and takes most of the
//! time. These planes are written into the stream as stored blocks.

use std::cell::RefCell;

use flate2::{Compress, Compression as Level, Decompress, FlushCompress, FlushDecompress, Status};
use simrecorder_core::backend::with_scratch;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::format::shuffle::{shuffle, unshuffle};

/// The numbers of filters in HDF5 files.
pub(crate) const DEFLATE: i32 = 1;
pub(crate) const SHUFFLE: i32 = 2;
pub(crate) const FLETCHER32: i32 = 3;

/// One filter, as far as decoding requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    Deflate { level: u32 },
    Shuffle { size: usize },
    Fletcher32,
}

/// The filters of an array, in the order in which they encode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pipeline(pub(crate) Vec<Filter>);

/// A chunk as it is stored in the file.
#[derive(Debug)]
pub(crate) struct EncodedChunk {
    pub(crate) bytes: Vec<u8>,
    /// A bit for each filter that was not applied.
    pub(crate) mask: u32,
}

impl Pipeline {
    /// The filters that this library writes: shuffled bytes, deflated.
    pub(crate) fn shuffle_deflate(element_size: usize, level: u32) -> Self {
        let deflate = Filter::Deflate { level };
        match element_size {
            0 | 1 => Self(vec![deflate]),
            size => Self(vec![Filter::Shuffle { size }, deflate]),
        }
    }

    /// Whether chunks are stored as they are in memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these filters decode the chunks of `other`.
    pub(crate) fn decodes_like(&self, other: &Self) -> bool {
        let without_level = |filter: &Filter| match filter {
            Filter::Deflate { .. } => Filter::Deflate { level: 0 },
            filter => *filter,
        };
        let (ours, theirs) = (self.0.iter(), other.0.iter());
        ours.map(without_level).eq(theirs.map(without_level))
    }

    /// Encodes a chunk. A chunk that does not become shorter is stored without filters.
    pub(crate) fn encode(&self, chunk: &[u8]) -> Result<EncodedChunk> {
        let (size, level) = match self.0[..] {
            [] => (1, None),
            [Filter::Deflate { level }] => (1, Some(level)),
            [Filter::Shuffle { size }, Filter::Deflate { level }] => (size, Some(level)),
            // Another program created the array: libhdf5 encodes appended chunks.
            _ => {
                let message = "chunks with these filters are not encoded here";
                return Err(Error::new(ErrorKind::Internal, "encode", message));
            }
        };
        let deflated = match level {
            Some(level) => with_scratch(chunk.len(), |planes| {
                shuffle(chunk, size, planes);
                deflate(planes, chunk.len() / size.max(1), level)
            })?,
            None => None,
        };
        Ok(match deflated {
            Some(bytes) => EncodedChunk { bytes, mask: 0 },
            None => EncodedChunk {
                bytes: chunk.to_vec(),
                mask: (1 << self.0.len()) - 1,
            },
        })
    }

    /// Whether [`encode`](Self::encode) supports these filters.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(
            self.0[..],
            [] | [Filter::Deflate { .. }] | [Filter::Shuffle { .. }, Filter::Deflate { .. }]
        )
    }

    /// Decodes a chunk into `out`, which has the size of a chunk in memory.
    pub(crate) fn decode(&self, encoded: &[u8], mask: u32, out: &mut [u8]) -> Result<()> {
        let used = |index: usize| mask & (1 << index) == 0;
        let mut filters: Vec<Filter> = self
            .0
            .iter()
            .enumerate()
            .filter(|(i, _)| used(*i))
            .map(|(_, filter)| *filter)
            .collect();
        let mut encoded = encoded;
        while filters.last() == Some(&Filter::Fletcher32) {
            encoded = check_fletcher32(encoded)?;
            filters.pop();
        }
        match filters[..] {
            [] => copy_whole(encoded, out),
            [Filter::Deflate { .. }] => inflate(encoded, out),
            [Filter::Shuffle { size }] => {
                check_length(encoded.len(), out)?;
                unshuffle(encoded, size, out);
                Ok(())
            }
            [Filter::Shuffle { size }, Filter::Deflate { .. }] => {
                with_scratch(out.len(), |planes| {
                    inflate(encoded, planes)?;
                    unshuffle(planes, size, out);
                    Ok(())
                })
            }
            _ => decode_one_by_one(&filters, encoded, out),
        }
    }
}

thread_local! {
    static DEFLATE_STATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    static INFLATE_STATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "read",
        format!("a chunk cannot be decoded: {what}"),
    )
}

fn check_length(length: usize, out: &[u8]) -> Result<()> {
    match length == out.len() {
        true => Ok(()),
        false => Err(damaged(&format!(
            "it has {length} bytes instead of {}",
            out.len()
        ))),
    }
}

fn copy_whole(bytes: &[u8], out: &mut [u8]) -> Result<()> {
    check_length(bytes.len(), out)?;
    out.copy_from_slice(bytes);
    Ok(())
}

/// Decodes filters in an order that other software chose.
fn decode_one_by_one(filters: &[Filter], encoded: &[u8], out: &mut [u8]) -> Result<()> {
    let mut bytes = encoded.to_vec();
    // Every filter except the checksum preserves or restores the length.
    let checksums = filters
        .iter()
        .filter(|filter| **filter == Filter::Fletcher32)
        .count();
    for filter in filters.iter().rev() {
        bytes = match filter {
            Filter::Fletcher32 => check_fletcher32(&bytes)?.to_vec(),
            Filter::Shuffle { size } => {
                let mut elements = vec![0; bytes.len()];
                unshuffle(&bytes, *size, &mut elements);
                elements
            }
            Filter::Deflate { .. } => {
                let mut inflated = vec![0; out.len() + 4 * checksums];
                let length = inflate_up_to(&bytes, &mut inflated)?;
                inflated.truncate(length);
                inflated
            }
        };
    }
    copy_whole(&bytes, out)
}

/// Deflates planes of `plane` bytes into a zlib stream (RFC 1950); `None` if it is not shorter.
fn deflate(planes: &[u8], plane: usize, level: u32) -> Result<Option<Vec<u8>>> {
    let mut out = vec![0x78, 0x01];
    let mut noise = 0;
    let mut pending = 0..0;
    for start in (0..planes.len()).step_by(plane.max(1)) {
        let range = start..(start + plane).min(planes.len());
        if is_noise(&planes[range.clone()], level) {
            deflate_into(&planes[pending.clone()], level, &mut out)?;
            store_into(&planes[range.clone()], &mut out);
            noise += range.len();
            pending = range.end..range.end;
        } else {
            pending.end = range.end;
        }
    }
    if noise == planes.len() {
        return Ok(None);
    }
    deflate_into(&planes[pending], level, &mut out)?;
    // The last block, which is empty.
    out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    out.extend_from_slice(&simd_adler32::adler32(&planes).to_be_bytes());
    Ok((out.len() < planes.len()).then_some(out))
}

/// The size of the sample of a plane that decides whether it is noise.
const SAMPLE: usize = 4096;

/// Whether deflating a plane would save almost nothing: nothing repeats, and all byte values are
/// about equally frequent.
fn is_noise(plane: &[u8], level: u32) -> bool {
    let middle = plane.len().saturating_sub(SAMPLE) / 2;
    let sample = &plane[middle..plane.len().min(middle + SAMPLE)];
    // Deflate finds repetitions of three or more bytes. Four bytes rarely repeat by chance.
    let mut last = [u32::MAX; 1 << 12];
    let mut repeated = 0;
    for (at, word) in sample.windows(4).enumerate() {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let seen = &mut last[(word.wrapping_mul(0x9e37_79b1) >> 20) as usize];
        let before = std::mem::replace(seen, at as u32) as usize;
        repeated +=
            usize::from(sample.get(before..before.saturating_add(4)) == Some(&word.to_le_bytes()));
    }
    if repeated * 32 >= sample.len() {
        return false;
    }
    // At the lowest level, single bytes have fixed codes, which are not shorter than the bytes.
    if level == FASTEST {
        return true;
    }
    let mut counts = [0_u64; 256];
    sample
        .iter()
        .for_each(|&byte| counts[usize::from(byte)] += 1);
    // The number of equal pairs, compared with the number if all values were equally likely.
    let pairs: u64 = counts.iter().map(|n| n * n.saturating_sub(1)).sum();
    let equally = (sample.len() * sample.len()) as u64 / 256;
    pairs * 4 < equally * 5
}

/// The level at which zlib-rs has fixed codes.
const FASTEST: u32 = 1;

/// Appends deflated blocks (RFC 1951) that end at a byte and do not refer to earlier bytes.
fn deflate_into(bytes: &[u8], level: u32, out: &mut Vec<u8>) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    DEFLATE_STATE.with_borrow_mut(|state| {
        let compress = match state {
            Some((of, compress)) if *of == level => {
                compress.reset();
                compress
            }
            _ => {
                &mut state
                    .insert((level, Compress::new(Level::new(level), false)))
                    .1
            }
        };
        out.reserve(bytes.len() / 2 + 64);
        loop {
            let taken = compress.total_in() as usize;
            let status = compress
                .compress_vec(&bytes[taken..], out, FlushCompress::Sync)
                .map_err(|e| {
                    Error::new(ErrorKind::Internal, "encode", "deflating failed").with_source(e)
                })?;
            // If room is left, no output is pending any more.
            if status != Status::BufError
                && out.len() < out.capacity()
                && compress.total_in() as usize == bytes.len()
            {
                return Ok(());
            }
            out.reserve(bytes.len() / 4 + 1024);
        }
    })
}

/// Appends bytes as stored blocks (RFC 1951, 3.2.4).
fn store_into(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
}

/// Inflates a zlib stream of exactly `out.len()` bytes.
fn inflate(encoded: &[u8], out: &mut [u8]) -> Result<()> {
    let length = inflate_up_to(encoded, out)?;
    check_length(length, out)
}

/// Inflates a zlib stream (RFC 1950) of up to `out.len()` bytes. Returns its length. The checksum
/// is computed here, because the decoder computes it far more slowly.
fn inflate_up_to(encoded: &[u8], out: &mut [u8]) -> Result<usize> {
    let framed = encoded.split_first_chunk::<2>();
    let framed = framed.and_then(|(head, rest)| Some((head, rest.split_last_chunk::<4>()?)));
    let Some((head, (deflated, sum))) = framed else {
        return Err(damaged("its zlib stream is truncated"));
    };
    // Deflate in a window of up to 32 KiB, without a preset dictionary.
    let is_header = head[0] & 0x0f == 8 && u16::from_be_bytes(*head) % 31 == 0;
    if !is_header || head[1] & 0x20 != 0 {
        return Err(damaged("it is not a zlib stream"));
    }
    let length = INFLATE_STATE.with_borrow_mut(|state| {
        state.reset(false);
        match state.decompress(deflated, out, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => Ok(state.total_out() as usize),
            Ok(_) => Err(damaged("its zlib stream is truncated or too long")),
            Err(error) => Err(damaged("its zlib stream is damaged").with_source(error)),
        }
    })?;
    match simd_adler32::adler32(&&out[..length]).to_be_bytes() == *sum {
        true => Ok(length),
        false => Err(damaged("the checksum of its zlib stream does not match")),
    }
}

/// Verifies the checksum at the end of a chunk, and returns the bytes before it.
fn check_fletcher32(chunk: &[u8]) -> Result<&[u8]> {
    let Some((bytes, stored)) = chunk.split_last_chunk::<4>() else {
        return Err(damaged("it is shorter than its checksum"));
    };
    let sum = fletcher32(bytes);
    // libhdf5 before 1.6.3 wrote the bytes of each half in the other order.
    let swapped = (sum & 0x00ff_00ff) << 8 | (sum >> 8) & 0x00ff_00ff;
    match u32::from_le_bytes(*stored) {
        stored if stored == sum || stored == swapped => Ok(bytes),
        _ => Err(damaged("its checksum does not match")),
    }
}

/// Fletcher's checksum as HDF5 computes it: over words of two bytes, the high byte first. A single
/// remaining byte is the high byte of a last word.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0_u32, 0_u32);
    let (words, rest) = bytes.as_chunks::<2>();
    // This many words cannot overflow the sums.
    for block in words.chunks(360) {
        for word in block {
            low += u32::from(u16::from_be_bytes(*word));
            high += low;
        }
        low = (low & 0xffff) + (low >> 16);
        high = (high & 0xffff) + (high >> 16);
    }
    if let [last] = rest {
        low += u32::from(*last) << 8;
        high += low;
        low = (low & 0xffff) + (low >> 16);
        high = (high & 0xffff) + (high >> 16);
    }
    low = (low & 0xffff) + (low >> 16);
    high = (high & 0xffff) + (high >> 16);
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(pipeline: &Pipeline, chunk: &[u8]) -> EncodedChunk {
        let encoded = pipeline.encode(chunk).unwrap();
        let mut decoded = vec![0; chunk.len()];
        pipeline
            .decode(&encoded.bytes, encoded.mask, &mut decoded)
            .unwrap();
        assert!(decoded == chunk);
        encoded
    }

    /// Decodes with the library's decoder, which does not treat noise specially.
    fn inflated(encoded: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        let mut decompress = Decompress::new(true);
        let status = decompress.decompress(encoded, &mut out, FlushDecompress::Finish);
        assert_eq!(status.unwrap(), Status::StreamEnd);
        assert_eq!(decompress.total_out() as usize, length);
        out
    }

    fn noise(len: usize) -> impl Iterator<Item = u64> {
        let mut state = 88_172_645_463_325_252_u64;
        (0..len).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
    }

    #[test]
    fn planes_of_noise_are_stored_and_the_stream_is_plain_zlib() {
        // Two of eight bytes repeat, the others are noise.
        let words: Vec<u8> = noise(40_000)
            .enumerate()
            .flat_map(|(i, noise)| (noise >> 16 | (i as u64 / 1000) << 48).to_le_bytes())
            .collect();
        let pipeline = Pipeline::shuffle_deflate(8, 1);
        let encoded = round_trip(&pipeline, &words);
        assert_eq!(encoded.mask, 0);
        assert!(
            encoded.bytes.len() < words.len() * 78 / 100,
            "{}",
            encoded.bytes.len()
        );
        let mut planes = vec![0; words.len()];
        shuffle(&words, 8, &mut planes);
        assert!(inflated(&encoded.bytes, planes.len()) == planes);
    }

    #[test]
    fn numbers_that_count_are_not_taken_for_noise() {
        // All values of their lowest byte are equally frequent.
        let words: Vec<u8> = (0_u64..40_000).flat_map(u64::to_le_bytes).collect();
        let encoded = round_trip(&Pipeline::shuffle_deflate(8, 1), &words);
        assert!(
            encoded.bytes.len() < words.len() / 50,
            "{}",
            encoded.bytes.len()
        );
    }

    #[test]
    fn chunks_that_do_not_get_shorter_are_kept_without_any_filter() {
        let words: Vec<u8> = noise(5000).flat_map(u64::to_le_bytes).collect();
        let encoded = round_trip(&Pipeline::shuffle_deflate(8, 1), &words);
        assert_eq!((encoded.mask, encoded.bytes == words), (0b11, true));
        let encoded = round_trip(&Pipeline::shuffle_deflate(1, 6), &words);
        assert_eq!((encoded.mask, encoded.bytes == words), (0b1, true));
    }

    proptest! {
        #[test]
        fn any_chunk_round_trips(
            bytes in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..4000),
            size in prop::sample::select(vec![1_usize, 2, 3, 4, 8, 16]),
            level in 1_u32..10,
        ) {
            round_trip(&Pipeline::shuffle_deflate(size, level), &bytes);
        }

        #[test]
        fn garbage_is_an_error_or_bytes_and_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            filters in prop::collection::vec(0..3, 0..4),
            mask in 0_u32..16,
            flip in any::<prop::sample::Index>(),
        ) {
            let filter = |number| match number {
                0 => Filter::Deflate { level: 1 },
                1 => Filter::Shuffle { size: 3 },
                _ => Filter::Fletcher32,
            };
            let any = Pipeline(filters.into_iter().map(filter).collect());
            let _ = any.decode(&bytes, mask, &mut [0; 200]);
            let sound = Pipeline::shuffle_deflate(8, 1);
            let mut encoded = sound.encode(&[7; 200]).unwrap().bytes;
            let at = flip.index(encoded.len());
            encoded[at] ^= 0x55;
            let _ = sound.decode(&encoded, 0, &mut [0; 200]);
            let _ = sound.decode(&encoded[..at], 0, &mut [0; 200]);
        }
    }
}
