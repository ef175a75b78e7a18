//! The contents of a plot, independent of how it is drawn.

use std::ops::RangeInclusive;

#[cfg(feature = "serve")]
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
#[cfg(feature = "serve")]
use serde_json::{Value as Json, json};
#[cfg(feature = "serve")]
use simrecorder::Error;

use crate::element::Element;
use crate::number_format::NumberFormat;
#[cfg(feature = "serve")]
use crate::pixels::encode;

/// A plot in the units of its data.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) title: String,
    /// How much of the data is drawn.
    pub(crate) note: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    #[serde(flatten)]
    pub(crate) marks: Marks,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Whether positions are decimal logarithms of the numbers.
    pub(crate) is_log: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Marks {
    Lines(Vec<Line>),
    Cells(Cells),
}

/// A line, interrupted where there are no numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) parts: Vec<Vec<(f64, f64)>>,
    /// The positions on the x axis of NaN and infinities.
    pub(crate) nan: Vec<f64>,
}

/// A grid of colours.
#[derive(Debug, Serialize)]
pub(crate) struct Cells {
    /// The edges of the columns.
    pub(crate) x_edges: Vec<f64>,
    /// The edges of the rows, from the bottom of the plot to its top.
    pub(crate) y_edges: Vec<f64>,
    /// Row by row.
    pub(crate) colours: Vec<Vec<Option<Colour>>>,
    /// The numbers of the first and the last colour of the scale, and its label.
    pub(crate) scale: Option<Scale>,
}

/// Red, green and blue.
pub(crate) type Colour = [u8; 3];

#[derive(Debug, Serialize)]
pub(crate) struct Scale {
    pub(crate) label: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl Axis {
    /// An axis that includes all of `range`.
    pub(crate) fn around(label: String, range: RangeInclusive<f64>, margin: f64) -> Self {
        let (start, end) = range.into_inner();
        let width = end - start;
        let has_width = width > 0.0 && width.is_finite();
        let margin = match has_width {
            true => width * margin,
            false => (start.abs() * 0.1).max(0.5),
        };
        // If no number is negative, the axis does not begin below 0.
        let least = if has_width && start >= 0.0 {
            0.0
        } else {
            f64::MIN
        };
        Self {
            label,
            start: (start - margin).max(least),
            end: (end + margin).min(f64::MAX),
            is_log: false,
        }
    }

    /// The number at a position, as text with `digits` more digits than all positions have in
    /// common.
    pub(crate) fn label_at(&self, position: f64, digits: usize) -> String {
        let width = (self.end / 2.0 - self.start / 2.0).abs() * 2.0;
        let common = (self.start.abs().max(self.end.abs()) / width)
            .log10()
            .floor();
        let common = if self.is_log {
            0.0
        } else {
            common.clamp(0.0, 12.0)
        };
        // A rounding error around 0 is 0.
        let is_zero = position.abs() < (self.end / 2.0 - self.start / 2.0).abs() * 1e-9;
        let position = if is_zero { 0.0 } else { position };
        let number = match self.is_log {
            true => 10_f64.powf(position).min(f64::MAX),
            false => position,
        };
        NumberFormat::shortest(digits + common as usize).format(Element::Double(number))
    }

    /// The part of the axis before a position, from 0 to 1.
    pub(crate) fn part(&self, position: f64) -> f64 {
        part_of(&(self.start..=self.end), position)
    }

    /// The inverse of [`Self::part`].
    pub(crate) fn position(&self, part: f64) -> f64 {
        self.start * (1.0 - part) + self.end * part
    }

    /// Round numbers on the axis, at most `most`; only its ends if no round numbers are close
    /// enough to each other.
    pub(crate) fn ticks(&self, most: usize) -> Vec<f64> {
        let (start, end) = (self.start.min(self.end), self.start.max(self.end));
        let least = (end - start) / most.max(2) as f64;
        let power = 10_f64.powf(least.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= least);
        let has_steps = |step: &f64| step.is_normal() && start.abs().max(end.abs()) / step < 1e12;
        let Some(step) = step.filter(has_steps) else {
            return vec![self.start, self.end];
        };
        // Between decades, a logarithm is not a round number.
        let step = if self.is_log { step.ceil() } else { step };
        let (first, last) = ((start / step).ceil(), (end / step).floor());
        let count = (last - first).max(0.0) as usize;
        (0..=count)
            .map(|index| (first + index as f64) * step)
            .collect()
    }
}

#[cfg(feature = "serve")]
impl Figure {
    /// The figure as JSON, with the cells as a picture of this many columns and rows.
    pub(crate) fn to_json(&self, columns: usize, rows: usize) -> Result<Json, Error> {
        let Marks::Cells(cells) = &self.marks else {
            return Ok(json!(self));
        };
        let picture = cells.to_png((&self.x, &self.y), columns, rows)?;
        Ok(json!({
            "title": self.title,
            "note": self.note,
            "x": self.x,
            "y": self.y,
            "cells": {"picture": STANDARD.encode(picture), "scale": cells.scale},
        }))
    }
}

impl Cells {
    /// The colour at a position.
    pub(crate) fn colour_at(&self, x: f64, y: f64) -> Option<Colour> {
        let part = |edges: &[f64], position: f64| {
            edges
                .partition_point(|&edge| edge <= position)
                .checked_sub(1)
        };
        let row = self.colours.get(part(&self.y_edges, y)?)?;
        *row.get(part(&self.x_edges, x)?)?
    }

    /// A picture of the area between two axes. Where there are no cells, it is transparent.
    #[cfg(feature = "serve")]
    fn to_png(&self, axes: (&Axis, &Axis), columns: usize, rows: usize) -> Result<Vec<u8>, Error> {
        let mut pixels = Vec::with_capacity(columns * rows * 4);
        for row in (0..rows).rev() {
            let y = axes.1.position((row as f64 + 0.5) / rows as f64);
            for column in 0..columns {
                let x = axes.0.position((column as f64 + 0.5) / columns as f64);
                pixels.extend(match self.colour_at(x, y) {
                    Some([red, green, blue]) => [red, green, blue, 255],
                    None => [0; 4],
                });
            }
        }
        let size = (columns as u32, rows as u32);
        encode(
            "plot",
            &pixels,
            size,
            png::ColorType::Rgba,
            png::BitDepth::Eight,
        )
    }
}

/// The part of a range before a number, from 0 to 1.
pub(crate) fn part_of(range: &RangeInclusive<f64>, x: f64) -> f64 {
    // Halves cannot overflow.
    let half = |x: f64| x / 2.0 - range.start() / 2.0;
    half(x) / half(*range.end())
}

/// The smallest and the largest of these numbers, without NaN and infinities.
pub(crate) fn range_of(numbers: impl IntoIterator<Item = f64>) -> Option<RangeInclusive<f64>> {
    let finite = numbers.into_iter().filter(|x| x.is_finite());
    finite
        .map(|x| (x, x))
        .reduce(|(min, max), (x, _)| (min.min(x), max.max(x)))
        .map(|(min, max)| min..=max)
}

/// `2 400 of 1 000 000 points`.
pub(crate) fn of(drawn: u64, total: u64, what: &str) -> String {
    format!("{} of {} {what}", grouped(drawn), grouped(total))
}

/// A number with a space between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
