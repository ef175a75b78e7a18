//! Pixels as PNG files.

use png::{BitDepth, ColorType};
use simrecorder::{Error, ErrorKind};

/// Encodes a PNG file. The rows of pixels are contiguous.
pub(crate) fn encode(
    operation: &'static str,
    pixels: &[u8],
    (width, height): (u32, u32),
    colour: ColorType,
    depth: BitDepth,
) -> Result<Vec<u8>, Error> {
    let failed = |error: png::EncodingError| {
        Error::new(
            ErrorKind::Unsupported,
            operation,
            format!("the PNG cannot be written: {error}"),
        )
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}
