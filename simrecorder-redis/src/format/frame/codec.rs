//! The compression of frames.

use std::borrow::Cow;

use simrecorder_core::{Error, ErrorKind, Result};

use crate::connection::errors::corrupt;

/// The maximum decoded size of a compressed frame. Larger frames are not compressed, so that a few
/// bytes cannot fill the memory of the reader.
pub(super) const MAX_COMPRESSED_BYTES: u64 = 128 << 20;

/// The codec that compresses the buffers of an Arrow message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Lz4,
    Zstd,
}

/// The minimum window of Zstandard, 8 MiB, as a power of two.
const MIN_WINDOW_LOG: u32 = 23;

/// Decompresses data with the claimed length `len`, without allocating more memory than it really
/// decodes to.
pub(super) fn decompress(codec: Codec, compressed: &[u8], len: u64) -> Result<Vec<u8>> {
    use std::io::Read;

    if len > MAX_COMPRESSED_BYTES {
        return Err(corrupt(format!("a frame claims to hold {len} bytes")));
    }
    let damaged = |e| corrupt("a compressed frame cannot be decoded").with_source(e);
    let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
    match codec {
        Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(compressed)
            .take(len + 1)
            .read_to_end(&mut bytes),
        Codec::Zstd => zstd::Decoder::new(compressed).and_then(|mut decoder| {
            // Data that refers back further than its length is damaged, or would take much memory.
            let needed = len.max(1).ilog2() + 1;
            decoder.window_log_max(needed.clamp(MIN_WINDOW_LOG, 31))?;
            decoder.take(len + 1).read_to_end(&mut bytes)
        }),
    }
    .map_err(damaged)?;
    match bytes.len() as u64 == len {
        true => Ok(bytes),
        false => Err(corrupt(
            "a compressed frame does not have the length that it claims",
        )),
    }
}

/// Compresses blocks with a total of `len` bytes.
pub(super) fn compress<'a>(
    codec: Codec,
    len: usize,
    blocks: impl Iterator<Item = Cow<'a, [u8]>>,
) -> Result<Vec<u8>> {
    use std::io::Write;

    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Internal, "commit", "a frame was not compressed").with_source(e)
    };
    let write = |encoder: &mut dyn Write| {
        let mut blocks = blocks;
        blocks.try_for_each(|block| encoder.write_all(&block))
    };
    match codec {
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            write(&mut encoder).map_err(failed)?;
            encoder.finish().map_err(|e| failed(e.into()))
        }
        Codec::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).map_err(failed)?;
            let size = encoder.set_pledged_src_size(Some(len as u64));
            size.and_then(|()| write(&mut encoder)).map_err(failed)?;
            encoder.finish().map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_larger_than_a_frame_needs_is_an_error() {
        use std::io::Write;

        for (window_log, sound) in [(MIN_WINDOW_LOG, true), (27, false)] {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(b"little").unwrap();
            let compressed = encoder.finish().unwrap();
            let plain = decompress(Codec::Zstd, &compressed, 6);
            assert_eq!(plain.is_ok(), sound, "{window_log}: {plain:?}");
        }
    }
}
