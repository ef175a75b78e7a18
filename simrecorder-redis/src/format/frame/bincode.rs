//! Frames in the wire format of bincode 1, with little-endian integers:
//!
//! ```text
//! enum Frame {
//!     Plain { records: u64, ends: Vec<u64>, data: Vec<u8> },
//!     Lz4 { len: u64, plain: Vec<u8> },  // the fields of `Plain`, compressed
//!     Zstd { len: u64, plain: Vec<u8> },
//! }
//! ```

use std::ops::Range;

use simrecorder_core::Result;
use wincode::config::{Configuration, deserialize, deserialize_exact, serialize};

use super::codec::{Codec, compress, decompress};
use super::contents::{DecodedFrame, FrameBytes, FrameContents, Piece};
use crate::connection::errors::corrupt;

const PLAIN: u32 = 0;
const LZ4: u32 = 1;
const ZSTD: u32 = 2;
/// The length of the number that identifies the variant.
const VARIANT: usize = size_of::<u32>();

pub(super) fn encode<'a>(
    contents: &FrameContents<'a>,
    codec: Option<Codec>,
) -> Result<FrameBytes<'a>> {
    let failed = |e| corrupt("a frame was not encoded").with_source(e);
    let config = Configuration::default().disable_preallocation_size_limit();
    // The data is the last field: first the fields before it, then the data itself.
    let len = contents.data.len() as u64;
    let before =
        serialize(&(PLAIN, contents.count, &contents.ends[..], len), config).map_err(failed)?;
    let plain = FrameBytes(vec![
        Piece::Bytes(before.into()),
        Piece::Records(contents.data.clone()),
    ]);
    let Some(codec) = codec else { return Ok(plain) };
    let variant = match codec {
        Codec::Lz4 => LZ4,
        Codec::Zstd => ZSTD,
    };
    let fields = plain.pieces(VARIANT..plain.len());
    let fields = fields.flat_map(|(piece, range)| piece.blocks(range));
    let len = plain.len() - VARIANT;
    let compressed = compress(codec, len, fields)?;
    let frame = serialize(&(variant, len as u64, &compressed[..]), config);
    Ok(FrameBytes(vec![Piece::Bytes(
        frame.map_err(failed)?.into(),
    )]))
}

pub(super) fn decode(frame: Vec<u8>) -> Result<DecodedFrame> {
    let damaged =
        |e: wincode::ReadError| corrupt("a bincode frame cannot be decoded").with_source(e);
    let config = Configuration::default().disable_preallocation_size_limit();
    let variant = frame.first_chunk().copied().map(u32::from_le_bytes);
    let codec = match variant {
        Some(PLAIN) => return plain(frame, VARIANT),
        Some(LZ4) => Codec::Lz4,
        Some(ZSTD) => Codec::Zstd,
        _ => return Err(corrupt("a frame does not begin with the bincode header")),
    };
    let (_, len, compressed) =
        deserialize_exact::<(u32, u64, &[u8]), _>(&frame, config).map_err(damaged)?;
    plain(decompress(codec, compressed, len)?, 0)
}

/// The number of records of a frame of arrays that begins with `start`, and the place of their
/// bytes; `None` if they are compressed.
pub(super) fn locate(start: &[u8]) -> Option<(u64, Range<usize>)> {
    let fields = deserialize::<(u32, u64, u64, u64), _>(start, Configuration::default());
    let (variant, count, ends, len) = fields.ok()?;
    let data = VARIANT + 3 * size_of::<u64>();
    let end = data.checked_add(usize::try_from(len).ok()?)?;
    (variant == PLAIN && ends == 0).then_some((count, data..end))
}

/// Decodes the fields of an uncompressed frame, from `start` on.
fn plain(bytes: Vec<u8>, start: usize) -> Result<DecodedFrame> {
    let config = Configuration::default().disable_preallocation_size_limit();
    // Lengths are checked before memory is allocated for them.
    let claimed = bytes
        .get(start + 8..start + 16)
        .and_then(|len| len.try_into().ok());
    let claimed = claimed.map_or(u64::MAX, u64::from_le_bytes);
    if claimed > bytes.len() as u64 / 8 {
        return Err(corrupt("a bincode frame ends early"));
    }
    let fields = deserialize_exact::<(u64, Vec<u64>, &[u8]), _>(&bytes[start..], config);
    let (count, ends, data) =
        fields.map_err(|e| corrupt("a bincode frame cannot be decoded").with_source(e))?;
    let data = bytes.len() - data.len()..bytes.len();
    Ok(DecodedFrame {
        count,
        bytes,
        data,
        ends,
    })
}

#[cfg(test)]
mod tests {
    use simrecorder_core::{Records, Schema};

    use super::*;

    #[test]
    fn frames_have_the_bytes_of_bincode() {
        let schema = Schema::text();
        let records = Records::variable(schema.into(), vec![1, 3], b"abc".to_vec()).unwrap();
        let contents = FrameContents::new(&records, 0..2, None);
        let frame = encode(&contents, None).unwrap().concat();
        let numbers = [2_u64, 2, 1, 3, 3].map(u64::to_le_bytes).concat();
        assert_eq!(frame, [&[0; 4], &numbers[..], b"abc"].concat());
        for codec in [None, Some(Codec::Lz4), Some(Codec::Zstd)] {
            let frame = encode(&contents, codec).unwrap().concat();
            let decoded = decode(frame.clone()).unwrap();
            assert_eq!((decoded.count, decoded.data()), (2, &b"abc"[..]));
            assert_eq!(decoded.ends, [1, 3]);
            for len in 0..frame.len() {
                assert!(decode(frame[..len].to_vec()).is_err(), "{codec:?} {len}");
            }
        }
    }
}
