//! Decodes gzip, zlib and Zstandard with a bound, which zarrs lacks: a chunk may decode to a
//! thousand times its length, and Zstandard allocates whatever size the chunk declares.

use std::io::{self, Read};

use flate2::read::{GzDecoder, ZlibDecoder};
use zarrs::metadata::v3::MetadataV3;
use zstd::Decoder as ZstdDecoder;

/// A compressor at the end of the codecs of an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compressor {
    Gzip,
    Zlib,
    Zstd,
}

impl Compressor {
    pub(super) fn of(codec: &MetadataV3) -> Option<Self> {
        match codec.name() {
            "gzip" => Some(Self::Gzip),
            "zlib" | "numcodecs.zlib" => Some(Self::Zlib),
            "zstd" | "numcodecs.zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decodes a chunk. Fails if it decodes to more than `max_len` bytes.
    pub(super) fn decode(self, encoded: &[u8], max_len: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read_all(GzDecoder::new(encoded), max_len),
            Self::Zlib => read_all(ZlibDecoder::new(encoded), max_len),
            Self::Zstd => read_all(ZstdDecoder::with_buffer(encoded)?, max_len),
        }
    }
}

fn read_all(decoder: impl Read, max_len: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    let limit = (max_len as u64).saturating_add(1);
    decoder.take(limit).read_to_end(&mut decoded)?;
    match decoded.len() <= max_len {
        true => Ok(decoded),
        false => Err(io::Error::other(
            "it decodes to more bytes than a chunk has",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    /// `len` zeros, encoded with each of the codecs.
    fn encoded(len: usize) -> [(Compressor, Vec<u8>); 3] {
        let zeros = vec![0; len];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&zeros).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&zeros).unwrap();
        [
            (Compressor::Gzip, gzip.finish().unwrap()),
            (Compressor::Zlib, zlib.finish().unwrap()),
            (Compressor::Zstd, zstd::encode_all(&zeros[..], 1).unwrap()),
        ]
    }

    #[test]
    fn no_more_is_decoded_than_a_chunk_has() {
        for (compressor, encoded) in encoded(1 << 24) {
            assert!(encoded.len() < 1 << 18);
            let decoded = compressor.decode(&encoded, 1 << 24).unwrap();
            assert!(decoded == vec![0; 1 << 24]);
            assert!(compressor.decode(&encoded, (1 << 24) - 1).is_err());
            assert!(
                compressor
                    .decode(&encoded[..encoded.len() / 2], 1 << 24)
                    .is_err()
            );
            assert!(compressor.decode(&[], 1 << 24).is_err());
        }
    }

    #[test]
    fn no_memory_is_taken_because_a_chunk_asks_for_it() {
        // A Zstandard frame that declares 2^62 decoded bytes and has one empty block.
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0b1100_0000, 0];
        frame.extend((1_u64 << 62).to_le_bytes());
        frame.extend([1, 0, 0]);
        let decoded = Compressor::Zstd.decode(&frame, 100);
        assert!(decoded.unwrap_or_default().is_empty());
    }
}
