//! A record as an image with one pixel per element.

use png::{BitDepth, ColorType};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, DType, DataStore, Error, ErrorKind, Kind, Value, View};

use crate::exit::Result;
use crate::pixels;
use crate::recording;

/// The record that `keys` selects. It must be the only one.
pub(super) fn select(store: &dyn DataStore, keys: &[String]) -> Result<View> {
    let [key] = keys else {
        let message = format!(
            "a .png file contains one image, but the keys name {}",
            keys.len()
        );
        return Err(Error::new(ErrorKind::InvalidArgument, "export", message).into());
    };
    match recording::find(store, key)? {
        (Node::Series(view), Some(selection)) => Ok(view.select(selection.resolve(&view)?)?),
        (Node::Series(view), None) => Ok(view),
        (Node::Group { .. }, _) => Err(recording::is_group(key).into()),
        _ => {
            let message = "a value is printed by 'simrec cat'; images are records of series";
            let error = Error::new(ErrorKind::KindMismatch, "export", message);
            Err(error.with_key(key.as_str()).into())
        }
    }
}

/// The record as a PNG file. Each pixel has the value of its element.
pub(super) fn png(view: &View) -> Result<Vec<u8>, Error> {
    let shape = view.shape();
    let (colour, depth) = match (view.dtype().filter(|_| view.kind() == Kind::Array), shape) {
        (Some(DType::Bool), [_, _]) => (ColorType::Grayscale, BitDepth::Eight),
        (Some(DType::U8), [_, _]) => (ColorType::Grayscale, BitDepth::Eight),
        (Some(DType::U16), [_, _]) => (ColorType::Grayscale, BitDepth::Sixteen),
        (Some(DType::U8), [_, _, 3]) => (ColorType::Rgb, BitDepth::Eight),
        (Some(DType::U8), [_, _, 4]) => (ColorType::Rgba, BitDepth::Eight),
        _ => {
            let message = format!(
                "no image: the selection is of {} with the shape {shape:?}; select one record of bool, uint8 or \
                 uint16, as in 'KEY[-1]', with the shape [height, width] or of uint8 [height, width, 3 or 4]; \
                 'simrec plot' draws other numbers in colours",
                view.schema()
            );
            let error = Error::new(ErrorKind::Unsupported, "export", message);
            return Err(error.with_key(view.key().as_str()));
        }
    };
    let side = |axis: usize| u32::try_from(shape[axis]).unwrap_or(u32::MAX);
    let size = (side(1), side(0));
    let Value::Array(array) = view.read_value()? else {
        return Ok(Vec::new());
    };
    let bytes = array.as_bytes();
    let pixels: Vec<u8> = match view.dtype() {
        Some(DType::Bool) => bytes
            .iter()
            .map(|&is_set| 255 * u8::from(is_set != 0))
            .collect(),
        Some(DType::U16) => {
            // PNG has its own byte order.
            let numbers = bytes.as_chunks().0.iter().map(|&x| u16::from_ne_bytes(x));
            numbers.flat_map(u16::to_be_bytes).collect()
        }
        _ => bytes.to_vec(),
    };
    pixels::encode("export", &pixels, size, colour, depth)
        .map_err(|error| error.with_key(view.key().as_str()))
}
