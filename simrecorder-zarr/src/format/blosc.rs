//! Blosc frames, as Zarr's codec `blosc` writes them: parsing their header, and decoding a whole
//! frame or some of its blocks into existing memory. All calls of the C library are here.

use std::ops::Range;

/// The header of a frame. Blosc 1 specifies its layout:
/// <https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst>.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// The size of an item, the unit in which parts of a frame are addressed.
    pub(crate) item_len: usize,
    /// The decoded size of the frame.
    pub(crate) decoded_len: usize,
    /// The decoded size of a block, a multiple of `item_len`. The last block may be shorter.
    pub(crate) block_len: usize,
    encoded_len: usize,
    /// Whether the data is uncompressed.
    is_copy: bool,
}

/// The length of a header.
pub(crate) const HEADER_LEN: usize = 16;

/// The format version of frames.
const VERSION: u8 = blosc_src::BLOSC_VERSION_FORMAT as u8;

impl Header {
    /// Parses the header of a frame of `encoded_len` bytes from its first bytes; `None` if the
    /// frame cannot be decoded in parts.
    pub(crate) fn parse(first: &[u8], encoded_len: usize) -> Option<Self> {
        let first = first.first_chunk::<HEADER_LEN>()?;
        let number = |at: usize| {
            let bytes = [first[at], first[at + 1], first[at + 2], first[at + 3]];
            usize::try_from(i32::from_le_bytes(bytes)).ok()
        };
        let header = Self {
            item_len: first[3].into(),
            decoded_len: number(4)?,
            block_len: number(8)?,
            encoded_len: number(12)?,
            is_copy: first[2] & blosc_src::BLOSC_MEMCPYED as u8 != 0,
        };
        let is_sound = first[0] == VERSION
            && header.item_len > 0
            && header.block_len > 0
            && header.block_len.is_multiple_of(header.item_len)
            && header.block_len <= header.decoded_len
            && header.decoded_len.is_multiple_of(header.item_len)
            && header.encoded_len == encoded_len
            && header.starts().end <= encoded_len;
        is_sound.then_some(header)
    }

    pub(crate) fn block_count(&self) -> usize {
        self.decoded_len.div_ceil(self.block_len)
    }

    /// The range that contains the offset of each block.
    pub(crate) fn starts(&self) -> Range<usize> {
        match self.is_copy {
            true => HEADER_LEN..HEADER_LEN,
            false => HEADER_LEN..HEADER_LEN + 4 * self.block_count(),
        }
    }

    /// The ranges of the frame that contain some blocks, given its first bytes up to the end of
    /// [`starts`](Self::starts). Blocks may be in any order.
    pub(crate) fn encoded_ranges(&self, first: &[u8], blocks: Range<usize>) -> Vec<Range<usize>> {
        let in_frame = |at: usize| at.min(self.encoded_len);
        if self.is_copy {
            let at = |block: usize| in_frame(HEADER_LEN + block * self.block_len);
            return std::iter::once(at(blocks.start)..at(blocks.end)).collect();
        }
        let starts = first.get(self.starts()).unwrap_or_default();
        let starts = starts.as_chunks().0.iter();
        let starts: Vec<usize> = starts
            .map(|bytes| in_frame(u32::from_le_bytes(*bytes) as usize))
            .collect();
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        let end = |start: usize| {
            let after = sorted.partition_point(|&other| other <= start);
            sorted.get(after).copied().unwrap_or(self.encoded_len)
        };
        let blocks = starts.get(blocks).unwrap_or_default();
        blocks.iter().map(|&start| start..end(start)).collect()
    }
}

/// Decodes a whole frame into `out`, which has the decoded size; `None` if the frame is damaged.
pub(crate) fn decode(frame: &[u8], out: &mut [u8]) -> Option<()> {
    Header::parse(frame, frame.len()).filter(|header| header.decoded_len == out.len())?;
    // SAFETY: the header says that the frame has `frame.len()` bytes, beyond which the library does
    // not read, and `out.len()` bounds what it writes. The library checks everything else itself,
    // for any bytes: blosc_cbuffer_validate promises this for frames with correct sizes.
    let written = unsafe {
        blosc_src::blosc_decompress_ctx(
            frame.as_ptr().cast(),
            out.as_mut_ptr().cast(),
            out.len(),
            1,
        )
    };
    (usize::try_from(written) == Ok(out.len())).then_some(())
}

/// Decodes the bytes from `start` on, to fill `out`. Only the blocks that contain them are
/// accessed. `None` if these are damaged, or if the bytes do not begin and end with an item.
pub(crate) fn decode_part(frame: &[u8], start: usize, out: &mut [u8]) -> Option<()> {
    let header = Header::parse(frame, frame.len())?;
    let item = header.item_len;
    let fits = start.is_multiple_of(item)
        && out.len().is_multiple_of(item)
        && start.checked_add(out.len())? <= header.decoded_len;
    let first = i32::try_from(start / item).ok().filter(|_| fits)?;
    let count = i32::try_from(out.len() / item).ok()?;
    // SAFETY: as for `decode`; `first` and `count` lie within the frame, and the items asked for
    // take `out.len()` bytes.
    let written = unsafe {
        blosc_src::blosc_getitem(frame.as_ptr().cast(), first, count, out.as_mut_ptr().cast())
    };
    (usize::try_from(written) == Ok(out.len())).then_some(())
}
