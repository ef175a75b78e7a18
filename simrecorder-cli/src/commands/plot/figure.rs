//! What is drawn, whatever draws it.

use std::ops::RangeInclusive;

use serde::Serialize;

/// A plot in the units of its data.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) title: String,
    /// How much of the data is drawn.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    #[serde(flatten)]
    pub(super) marks: Marks,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) start: f64,
    pub(super) end: f64,
    /// Whether positions are the decimal logarithms of the numbers.
    pub(super) is_log: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Marks {
    Lines(Vec<Line>),
    Cells(Cells),
}

/// A line, which is interrupted where there are no numbers.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) parts: Vec<Vec<(f64, f64)>>,
}

/// A grid of colours.
#[derive(Debug, Serialize)]
pub(super) struct Cells {
    /// Between which positions each column is.
    pub(super) x_edges: Vec<f64>,
    /// Between which positions each row is, from the bottom of the plot to its top.
    pub(super) y_edges: Vec<f64>,
    /// Row by row.
    pub(super) colours: Vec<Vec<Option<Colour>>>,
    /// The numbers that the first and the last colour of the scale mean, and what they are.
    pub(super) scale: Option<Scale>,
}

/// Red, green and blue.
pub(super) type Colour = [u8; 3];

#[derive(Debug, Serialize)]
pub(super) struct Scale {
    pub(super) label: String,
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Axis {
    /// An axis on which all of `range` has room.
    pub(super) fn around(label: String, range: RangeInclusive<f64>, margin: f64) -> Self {
        let (start, end) = range.into_inner();
        let width = end - start;
        let margin = match width > 0.0 && width.is_finite() {
            true => width * margin,
            false => (start.abs() * 0.1).max(0.5),
        };
        let may_cross_zero = start < 0.0 || width <= 0.0;
        Self {
            label,
            start: match may_cross_zero {
                true => start - margin,
                false => (start - margin).max(0.0),
            },
            end: end + margin,
            is_log: false,
        }
    }

    /// The number at a position.
    pub(super) fn number_at(&self, position: f64) -> f64 {
        match self.is_log {
            true => 10_f64.powf(position),
            false => position,
        }
    }
}

impl Cells {
    /// The colour at a position.
    pub(super) fn colour_at(&self, x: f64, y: f64) -> Option<Colour> {
        let part = |edges: &[f64], position: f64| {
            edges
                .partition_point(|&edge| edge <= position)
                .checked_sub(1)
        };
        let row = self.colours.get(part(&self.y_edges, y)?)?;
        *row.get(part(&self.x_edges, x)?)?
    }
}

/// The smallest and the largest of these numbers; NaN and infinities are left out.
pub(super) fn range_of(numbers: impl IntoIterator<Item = f64>) -> Option<RangeInclusive<f64>> {
    let finite = numbers.into_iter().filter(|x| x.is_finite());
    finite
        .map(|x| (x, x))
        .reduce(|(min, max), (x, _)| (min.min(x), max.max(x)))
        .map(|(min, max)| min..=max)
}
