//! Reads a part of a chunk. Decodes no more than necessary, directly into the output where the
//! elements are contiguous in both.

use std::ops::Range;

use simrecorder_core::backend::columns::ColumnLayout;
use simrecorder_core::backend::{room, with_buffer, with_scratch};
use simrecorder_core::{Block, Region, Result, copy_block};

use crate::format::array_format::{ArrayFormat, Coding, damaged};
use crate::format::blosc::{self, Header};
use crate::storage::Entry;

impl ArrayFormat {
    /// Copies the elements of `region` that are in a chunk into `out`, which has the shape of the
    /// region. The first element of the chunk is at `origin`; `rows` rows of the array are in
    /// chunks.
    ///
    /// Verifies the checksum of the chunk if all its rows in the array are read.
    pub(crate) fn read_chunk(
        &self,
        entry: &Entry<'_>,
        origin: &[u64],
        rows: u64,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let chunk = Chunk {
            format: self,
            origin,
            rows,
            region,
        };
        let decoded_len = self.chunk_layout().chunk_bytes();
        with_buffer(|encoded| {
            let result = match self.coding {
                Coding::Plain if self.len_without_checksum(entry.len()) == decoded_len => {
                    let written = entry.read(encoded)?;
                    let data = match chunk.is_all(&chunk.overlaps()) {
                        true => self.checked(written)?,
                        false => &written[..decoded_len],
                    };
                    chunk.copy(data, out)?;
                    Some(())
                }
                Coding::Blosc => chunk.read_frame(entry, out, encoded)?,
                _ => None,
            };
            if result.is_none() {
                // Another codec, or an error that this reports.
                let data = self.decode(entry.read(encoded)?)?;
                chunk.copy(&data, out)?;
            }
            Ok(())
        })
    }
}

/// The part of a chunk to read.
struct Chunk<'a> {
    format: &'a ArrayFormat,
    origin: &'a [u64],
    /// The number of rows of the array in chunks.
    rows: u64,
    region: &'a Region,
}

/// The elements of one axis that are in both the region and the chunk.
struct Overlap {
    /// The first of them, as an index in the chunk.
    start: usize,
    count: usize,
    step: usize,
    /// The first of them, as an index in the output.
    target: usize,
    chunk_len: usize,
    out_len: usize,
}

/// Elements that are contiguous in both the chunk and the output, in bytes.
struct Run {
    start: usize,
    target: usize,
    len: usize,
}

impl Chunk<'_> {
    fn layout(&self) -> &ColumnLayout {
        self.format.chunk_layout()
    }

    fn copy(&self, data: &[u8], out: &mut [u8]) -> Result<()> {
        let block = Block {
            data,
            origin: self.origin,
            shape: self.layout().grid.chunk_shape(),
        };
        copy_block(block, self.region, out, self.layout().element_size())
    }

    /// Reads from a Blosc frame; `None` if the frame is invalid.
    fn read_frame(
        &self,
        entry: &Entry<'_>,
        out: &mut [u8],
        encoded: &mut Vec<u8>,
    ) -> Result<Option<()>> {
        let len = self.format.len_without_checksum(entry.len());
        let overlaps = self.overlaps();
        let is_all = self.is_all(&overlaps);
        let mut loader = FrameLoader::new(entry, len, is_all, encoded)?;
        let Some(header) = loader.header else {
            return Ok(None);
        };
        if header.decoded_len != self.layout().chunk_bytes() {
            return Ok(None);
        }
        if let Some(Run { start, target, len }) = run_of(&overlaps, self.layout().element_size())
            && let Some(out) = out.get_mut(target..target + len)
        {
            let blocks = start / header.block_len..(start + len).div_ceil(header.block_len);
            let frame = match is_all {
                true => self.format.checked(loader.all())?,
                false => loader.load(&[blocks])?,
            };
            return Ok(match len == header.decoded_len {
                true => blosc::decode(frame, out),
                false => blosc::decode_part(frame, start, out),
            });
        }

        let touched = self.touched(&overlaps, header.block_len);
        let frame = match is_all {
            true => self.format.checked(loader.all())?,
            false => loader.load(&touched)?,
        };
        with_scratch(header.decoded_len, |decoded| {
            for blocks in touched {
                let start = blocks.start * header.block_len;
                let end = header.decoded_len.min(blocks.end * header.block_len);
                let part = &mut decoded[start..end];
                let result = match part.len() == header.decoded_len {
                    true => blosc::decode(frame, part),
                    false => blosc::decode_part(frame, start, part),
                };
                if result.is_none() {
                    return Ok(None);
                }
            }
            // Only decoded bytes are copied. The rest of the scratch memory is arbitrary.
            self.copy(decoded, out)?;
            Ok(Some(()))
        })
    }

    fn overlaps(&self) -> Vec<Overlap> {
        let axes = self.region.axes().iter().zip(self.origin);
        let overlap = |((axis, &origin), &len): ((&simrecorder_core::AxisRange, &u64), &u64)| {
            // The first index of the region in the chunk, and the first one after the chunk.
            let first = origin.saturating_sub(axis.start).div_ceil(axis.step);
            let after = (origin + len)
                .saturating_sub(axis.start)
                .div_ceil(axis.step);
            let count = after.min(axis.count).saturating_sub(first);
            let start = axis.start + first.saturating_mul(axis.step);
            Overlap {
                start: start.saturating_sub(origin) as usize,
                count: count as usize,
                step: axis.step as usize,
                target: first as usize,
                chunk_len: len as usize,
                out_len: axis.count as usize,
            }
        };
        axes.zip(self.layout().grid.chunk_shape())
            .map(overlap)
            .collect()
    }

    /// Whether the region includes all elements of this chunk that belong to the array.
    fn is_all(&self, overlaps: &[Overlap]) -> bool {
        let extent = std::iter::once(&self.rows).chain(self.layout().grid.record_shape());
        let axes = overlaps.iter().zip(extent.zip(self.origin));
        axes.into_iter().all(|(overlap, (&extent, &origin))| {
            let there = (extent.saturating_sub(origin)).min(overlap.chunk_len as u64);
            overlap.start == 0
                && overlap.count as u64 >= there
                && (overlap.step == 1 || overlap.count == 1)
        })
    }

    /// The blocks that contain some of the elements, in order.
    fn touched(&self, overlaps: &[Overlap], block_len: usize) -> Vec<Range<usize>> {
        let mut touched: Vec<Range<usize>> = Vec::new();
        let mut stride = self.layout().element_size();
        let mut strides = vec![stride];
        for overlap in overlaps.iter().skip(1).rev() {
            stride *= overlap.chunk_len;
            strides.push(stride);
        }
        strides.reverse();
        let element = self.layout().element_size();
        spans(overlaps, &strides, 0, block_len, element, &mut |bytes| {
            let blocks = bytes.start / block_len..bytes.end.div_ceil(block_len);
            match touched.last_mut() {
                // Spans are in ascending order, but two may share a block.
                Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
                _ => touched.push(blocks),
            }
        });
        touched
    }
}

/// Calls `found` with ranges of bytes that cover all elements, and little else where elements are
/// more than `gap` apart.
fn spans(
    overlaps: &[Overlap],
    strides: &[usize],
    base: usize,
    gap: usize,
    element: usize,
    found: &mut impl FnMut(Range<usize>),
) {
    let at = |(overlap, stride): (&Overlap, &usize)| overlap.start * stride;
    let Some((overlap, inner)) = overlaps.split_first() else {
        return found(base..base + element);
    };
    let stride = strides[0];
    if overlap.count > 1 && stride.saturating_mul(overlap.step) < gap {
        let first: usize = overlaps.iter().zip(strides).map(at).sum();
        let width = |(overlap, stride): (&Overlap, &usize)| match overlap.count {
            0 | 1 => 0,
            count => (count - 1) * overlap.step * stride,
        };
        let width: usize = overlaps.iter().zip(strides).map(width).sum();
        return found(base + first..base + first + width + element);
    }
    for index in 0..overlap.count {
        // The step of a single index may be any number.
        let step = if index == 0 { 0 } else { index * overlap.step };
        let base = base + (overlap.start + step) * stride;
        spans(inner, &strides[1..], base, gap, element, found);
    }
}

/// The elements as one run, if they are contiguous in both the chunk and the output.
fn run_of(overlaps: &[Overlap], element: usize) -> Option<Run> {
    let (mut start, mut target) = (0, 0);
    let (mut chunk_stride, mut out_stride) = (element, element);
    let mut len = element;
    // Whether all axes so far are whole, so that the next one may have many elements.
    let mut whole = true;
    for overlap in overlaps.iter().rev() {
        let adjacent = overlap.count == 1 || (whole && overlap.step == 1);
        if !adjacent {
            return None;
        }
        len *= overlap.count;
        start += overlap.start * chunk_stride;
        target += overlap.target * out_stride;
        chunk_stride *= overlap.chunk_len;
        out_stride *= overlap.out_len;
        whole &= overlap.count == overlap.chunk_len && overlap.count == overlap.out_len;
    }
    Some(Run { start, target, len })
}

/// The bytes of a frame. Of a frame in a file, only the necessary bytes are read.
struct FrameLoader<'a> {
    entry: &'a Entry<'a>,
    /// The length of the frame. A checksum may follow.
    len: usize,
    buffer: &'a mut Vec<u8>,
    header: Option<Header>,
}

/// The number of bytes of a file that are read first: the header and the offsets of the blocks.
const FIRST_BYTES: usize = 4096;

impl<'a> FrameLoader<'a> {
    /// Loads all of an entry, or the part that locates the blocks of its frame.
    fn new(
        entry: &'a Entry<'a>,
        len: usize,
        is_all: bool,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Self> {
        let first = match entry {
            Entry::File(file) => {
                let first = match is_all {
                    true => entry.len(),
                    false => len.min(FIRST_BYTES),
                };
                let first = &mut room(buffer, entry.len())?[..first];
                file.read_at(0, first)?;
                first
            }
            _ => entry.in_memory().unwrap_or_default(),
        };
        let header = Header::parse(first, len);
        Ok(Self {
            entry,
            len,
            buffer,
            header,
        })
    }

    /// The whole entry, including anything after the frame, if it was loaded.
    fn all(&self) -> &[u8] {
        match self.entry.in_memory() {
            Some(bytes) => bytes,
            None => &self.buffer[..self.entry.len()],
        }
    }

    /// The frame. Blocks that were not requested may contain arbitrary bytes.
    fn load(&mut self, touched: &[Range<usize>]) -> Result<&[u8]> {
        let (file, header) = match (self.entry, self.header) {
            (Entry::File(file), Some(header)) => (file, header),
            (Entry::File(_), None) => return Err(damaged()),
            (entry, _) => return Ok(&entry.in_memory().unwrap_or_default()[..self.len]),
        };
        let frame = room(self.buffer, self.len)?;
        let starts = header.starts();
        if starts.end > FIRST_BYTES {
            file.read_at(FIRST_BYTES, &mut frame[FIRST_BYTES..starts.end])?;
        }
        for blocks in touched {
            let mut ranges = header.encoded_ranges(frame, blocks.clone()).into_iter();
            let Some(mut pending) = ranges.next() else {
                continue;
            };
            // Blocks are usually consecutive. The empty range ends the list.
            for range in ranges.chain(std::iter::once(0..0)) {
                if range.start == pending.end {
                    pending.end = range.end;
                } else {
                    file.read_at(pending.start, &mut frame[pending])?;
                    pending = range;
                }
            }
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;
    use serde_json::json;
    use simrecorder_core::AxisRange;

    use super::*;
    use crate::format::metadata::Document;
    use crate::storage::EntryFile;
    use simrecorder_core::backend::RowsRef;

    /// A format with chunks of `shape`, whose last codec may be Blosc.
    fn format(shape: &[u64], data_type: &str, blosc: Option<(&str, u64)>) -> ArrayFormat {
        let mut codecs = vec![json!({"name": "bytes", "configuration": {"endian": "little"}})];
        codecs.extend(blosc.map(|(cname, block_len)| {
            json!({"name": "blosc", "configuration": {
                "cname": cname, "clevel": 1, "shuffle": "shuffle", "typesize": 4,
                "blocksize": block_len}})
        }));
        let document = json!({
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0, "codecs": codecs,
        });
        let document = Document::parse(document.to_string().as_bytes()).unwrap();
        ArrayFormat::new(&document, false).unwrap()
    }

    /// A region that may begin before the chunk and end after it.
    fn regions(shape: [u64; 3]) -> impl Strategy<Value = Region> {
        shape
            .map(|len| {
                (0..2 * len, 1..=2 * len, 1..4_u64).prop_map(|(start, count, step)| AxisRange {
                    start,
                    count,
                    step,
                })
            })
            .prop_map(|axes| Region::new(axes.to_vec()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_part_of_a_chunk_is_what_the_whole_chunk_has_there(
            (shape, region) in [1..40_u64, 1..40_u64, 1..60_u64]
                .prop_flat_map(|shape| (Just(shape), regions(shape))),
            wide: bool,
            blosc in prop::option::of((
                prop::sample::select(vec!["lz4", "zstd", "blosclz"]),
                prop::sample::select(vec![0_u64, 256, 4096]),
            )),
            noise: u8,
        ) {
            let (data_type, size) = if wide { ("float64", 8) } else { ("int32", 4) };
            let format = format(&shape, data_type, blosc);
            prop_assert!(format.coding != Coding::Other);
            let len = shape.iter().product::<u64>() as usize * size;
            let data: Vec<u8> = (0..len).map(|i| (i / 7) as u8 ^ (i as u8 & noise)).collect();
            let rows = RowsRef { count: shape[0], data: &data, ends: &[], base: 0 };
            let encoded = format.encode_chunk(rows, &[0, 0])?;

            // The chunk is at some place in its array.
            let origin = shape.map(|len| len / 2);
            let block = Block { data: &data, origin: &origin, shape: &shape };
            let mut expected = vec![7; region.len().unwrap() * size];
            copy_block(block, &region, &mut expected, size)?;

            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, &encoded).unwrap();
            let entries = [
                Entry::Mapped(&encoded),
                Entry::File(EntryFile {
                    file: File::open(&file).unwrap().into(),
                    offset: 0,
                    len: encoded.len(),
                    path: file.path().into(),
                }),
            ];
            for entry in entries {
                let mut out = vec![7; expected.len()];
                let rows = origin[0] + shape[0];
                format.read_chunk(&entry, &origin, rows, &region, &mut out)?;
                if out != expected {
                    return Err(TestCaseError::fail("other elements"));
                }
            }
        }

        #[test]
        fn a_damaged_chunk_is_an_error_or_elements(
            blosc in prop::option::of((
                prop::sample::select(vec!["lz4", "zstd", "blosclz"]),
                prop::sample::select(vec![0_u64, 256]),
            )),
            region in regions([8, 8, 40]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            begin in prop::collection::vec(any::<u8>(), 0..20),
            cut in any::<prop::sample::Index>(),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let shape = [8, 8, 40];
            let format = format(&shape, "float64", blosc);
            let len = shape.iter().product::<u64>() as usize * 8;
            let data: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let rows = RowsRef { count: shape[0], data: &data, ends: &[], base: 0 };
            let mut encoded = format.encode_chunk(rows, &[0, 0])?.to_vec();
            for (at, byte) in &changes {
                let at = at.index(encoded.len());
                encoded[at] = *byte;
            }
            match changes.len() {
                // The header determines the length of the frame.
                1 => encoded[..begin.len()].copy_from_slice(&begin),
                2 => encoded.truncate(cut.index(encoded.len())),
                3 => encoded.extend_from_slice(&more),
                _ => {}
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, &encoded).unwrap();
            let entries = [
                Entry::Mapped(&encoded),
                Entry::File(EntryFile {
                    file: File::open(&file).unwrap().into(),
                    offset: 0,
                    len: encoded.len(),
                    path: file.path().into(),
                }),
            ];
            for entry in entries {
                let mut out = vec![7; region.len().unwrap() * 8];
                drop(format.read_chunk(&entry, &[0, 0, 0], shape[0], &region, &mut out));
            }
        }
    }
}
