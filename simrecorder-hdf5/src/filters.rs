//! Filters of chunks, outside libhdf5 and so outside its lock.
//!
//! A chunk that is written is shuffled and deflated, so that every HDF5 reads it. Byte planes
//! that are noise, such as the low bits of measured numbers, do not get shorter by deflating, which
//! takes most of the time: they go into the stream as stored blocks.

use std::cell::RefCell;

use flate2::{Compress, Compression as Level, Decompress, FlushCompress, FlushDecompress, Status};
use simrecorder_core::{Error, ErrorKind, Result};

use crate::shuffle::{shuffle, unshuffle};

/// The numbers of filters in HDF5 files.
pub(crate) const DEFLATE: i32 = 1;
pub(crate) const SHUFFLE: i32 = 2;
pub(crate) const FLETCHER32: i32 = 3;

/// One filter, as far as decoding it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    Deflate { level: u32 },
    Shuffle { size: usize },
    Fletcher32,
}

/// The filters of an array, in the order in which they encode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pipeline(pub(crate) Vec<Filter>);

/// A chunk as it stands in the file.
#[derive(Debug)]
pub(crate) struct EncodedChunk {
    pub(crate) bytes: Vec<u8>,
    /// A bit for each filter that was left out.
    pub(crate) mask: u32,
}

impl Pipeline {
    /// What this library writes: shuffled bytes, deflated.
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

    /// Encodes a chunk. One that does not get shorter is kept as it is, without any filter.
    pub(crate) fn encode(&self, chunk: &[u8]) -> Result<EncodedChunk> {
        let (size, level) = match self.0[..] {
            [] => (1, None),
            [Filter::Deflate { level }] => (1, Some(level)),
            [Filter::Shuffle { size }, Filter::Deflate { level }] => (size, Some(level)),
            // The array is another program's: the library encodes what is appended to it.
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

    /// Whether [`encode`](Self::encode) knows these filters.
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
    /// Memory for one chunk, used again: new memory is slow.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static DEFLATE_STATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    static INFLATE_STATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Lends memory whose contents are anything.
fn with_scratch<T>(length: usize, use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < length {
            *scratch = vec![0; length];
        }
        use_it(&mut scratch[..length])
    })
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "read",
        format!("a chunk does not decode: {what}"),
    )
}

fn check_length(length: usize, out: &[u8]) -> Result<()> {
    match length == out.len() {
        true => Ok(()),
        false => Err(damaged(&format!(
            "it has {length} bytes in place of {}",
            out.len()
        ))),
    }
}

fn copy_whole(bytes: &[u8], out: &mut [u8]) -> Result<()> {
    check_length(bytes.len(), out)?;
    out.copy_from_slice(bytes);
    Ok(())
}

/// Filters in an order that other software chose.
fn decode_one_by_one(filters: &[Filter], encoded: &[u8], out: &mut [u8]) -> Result<()> {
    let mut bytes = encoded.to_vec();
    for filter in filters.iter().rev() {
        // Every filter but the checksum keeps the length, or brings it back.
        let behind = filters.iter().filter(|f| **f == Filter::Fletcher32).count();
        bytes = match filter {
            Filter::Fletcher32 => check_fletcher32(&bytes)?.to_vec(),
            Filter::Shuffle { size } => {
                let mut elements = vec![0; bytes.len()];
                unshuffle(&bytes, *size, &mut elements);
                elements
            }
            Filter::Deflate { .. } => {
                let mut inflated = vec![0; out.len() + 4 * behind];
                let length = inflate_up_to(&bytes, &mut inflated)?;
                inflated.truncate(length);
                inflated
            }
        };
    }
    copy_whole(&bytes, out)
}

/// How much of a plane is tried to see whether deflating it pays.
const SAMPLE: usize = 4096;

/// Deflates planes of `plane` bytes into a zlib stream (RFC 1950); `None` if it is not shorter.
fn deflate(planes: &[u8], plane: usize, level: u32) -> Result<Option<Vec<u8>>> {
    let mut out = vec![0x78, 0x01];
    let mut noise = 0;
    let mut pending = 0..0;
    for start in (0..planes.len()).step_by(plane.max(1)) {
        let range = start..(start + plane).min(planes.len());
        if is_noise(&planes[range.clone()], level)? {
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

/// Whether deflating a plane saves less than about 1 of 32 bytes.
fn is_noise(plane: &[u8], level: u32) -> Result<bool> {
    let middle = plane.len().saturating_sub(SAMPLE) / 2;
    let sample = &plane[middle..plane.len().min(middle + SAMPLE)];
    let mut counts = [0_u32; 256];
    sample
        .iter()
        .for_each(|&byte| counts[usize::from(byte)] += 1);
    // The chance that two bytes are the same: 1/256 for noise, and in between for most others.
    let pairs: u64 = counts.iter().map(|&n| u64::from(n) * u64::from(n)).sum();
    let length = sample.len() as u64;
    if pairs * 96 > length * length + 96 * length {
        return Ok(false);
    }
    let mut deflated = Vec::new();
    deflate_into(sample, level, &mut deflated)?;
    Ok(deflated.len() + sample.len() / 32 >= sample.len())
}

/// Appends deflated blocks (RFC 1951) that end at a byte and refer to nothing before them.
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
            // Room that is left over means that nothing waits inside any more.
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

fn inflate_up_to(encoded: &[u8], out: &mut [u8]) -> Result<usize> {
    INFLATE_STATE.with_borrow_mut(|state| {
        state.reset(true);
        match state.decompress(encoded, out, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => Ok(state.total_out() as usize),
            Ok(_) => Err(damaged("its zlib stream is cut off or too long")),
            Err(error) => Err(damaged("its zlib stream is damaged").with_source(error)),
        }
    })
}

/// Checks the checksum at the end of a chunk, and returns what stands before it.
fn check_fletcher32(chunk: &[u8]) -> Result<&[u8]> {
    let Some((bytes, stored)) = chunk.split_last_chunk::<4>() else {
        return Err(damaged("it is shorter than its checksum"));
    };
    let sum = fletcher32(bytes);
    // Files of libhdf5 before 1.6.3 have the bytes of each half the other way round.
    let swapped = (sum & 0x00ff_00ff) << 8 | (sum >> 8) & 0x00ff_00ff;
    match u32::from_le_bytes(*stored) {
        stored if stored == sum || stored == swapped => Ok(bytes),
        _ => Err(damaged("its checksum is another")),
    }
}

/// Fletcher's checksum as HDF5 computes it: over words of two bytes, the first byte the higher; a
/// byte that is left over is the higher one of a last word.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0_u32, 0_u32);
    let (words, rest) = bytes.as_chunks::<2>();
    // So many words cannot overflow the sums.
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
