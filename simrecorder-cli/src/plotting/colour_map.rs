//! The colours of numbers and of lines. Colour-blind people can distinguish them.

use std::ops::RangeInclusive;

use plotters::prelude::{ColorMap, RGBColor, ViridisRGB};

use super::figure::{Colour, part_of};

/// The colour of NaN.
const GREY: Colour = [0xb0, 0xb0, 0xb0];

/// The colours of lines: those of Okabe and Ito (2008) that are visible on white and on black, a
/// grey, and a purple of Tol (2021).
const LINES: [Colour; 8] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x88, 0x88, 0x88],
    [0xaa, 0x44, 0x99],
];

/// The colour of a number in a range. Numbers outside of it have the colour of its nearer end.
pub(crate) fn colour(number: f64, range: &RangeInclusive<f64>) -> Colour {
    if number.is_nan() {
        return GREY;
    }
    let part = match range.start() / 2.0 < range.end() / 2.0 {
        true => part_of(range, number).clamp(0.0, 1.0),
        false => 0.5,
    };
    let RGBColor(red, green, blue) = ViridisRGB.get_color(part as f32);
    [red, green, blue]
}

/// The colour of a dot with `count` events, if the largest dot has `most`.
pub(crate) fn dot(count: u64, most: u64) -> Colour {
    const FEW: Colour = [0x9e, 0xca, 0xe1];
    const MOST: Colour = [0x08, 0x30, 0x6b];
    if most <= 1 {
        return line(0);
    }
    let part = (count as f64).ln() / (most as f64).ln();
    let channel = |index: usize| {
        let (few, most) = (f64::from(FEW[index]), f64::from(MOST[index]));
        (few + (most - few) * part) as u8
    };
    [channel(0), channel(1), channel(2)]
}

/// The colour of a line.
pub(crate) fn line(index: usize) -> Colour {
    LINES[index % LINES.len()]
}
