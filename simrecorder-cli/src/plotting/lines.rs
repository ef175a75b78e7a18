//! Series of numbers as lines.

use std::ops::RangeInclusive;

use simrecorder::ArrayView;

use super::figure::{Axis, Figure, Line, Marks, grouped, of, range_of};
use super::source::{Source, title, units, with_units};
use super::{Options, Window};
use crate::exit::Result;

/// The part of a plot that is left free above and below.
const MARGIN: f64 = 0.05;

/// The number of drawn points, and of all numbers.
#[derive(Default)]
struct Counts {
    drawn: u64,
    /// Records whose coordinate is not finite.
    nowhere: u64,
    total: u64,
    nan: u64,
    left_out: u64,
}

/// A line for each series. If more than two records share a column, the line shows the first, the
/// smallest, the largest and the last of them.
pub(crate) fn figure(sources: &[Source], options: &Options) -> Result<Figure> {
    let (columns, is_log) = (options.columns, options.is_log);
    let mut ranges = Vec::new();
    for source in sources {
        ranges.extend(source.x_range()?.map(RangeInclusive::into_inner));
    }
    let x_range =
        range_of(ranges.into_iter().flat_map(|(start, end)| [start, end])).unwrap_or(0.0..=1.0);
    let Window { start, end } = options.window;
    let x_range = start.unwrap_or(*x_range.start())..=end.unwrap_or(*x_range.end());
    let (mut lines, mut counts) = (Vec::new(), Counts::default());
    for source in sources {
        let points = points(source, x_range.clone(), columns, &mut counts)?;
        let mut nan: Vec<_> = points
            .iter()
            .filter(|point| !point.1.is_finite())
            .map(|point| point.0)
            .collect();
        nan.dedup();
        lines.push(Line {
            label: source.label.clone(),
            parts: parts(points, is_log, &mut counts),
            nan,
        });
    }
    let positions = lines.iter().flat_map(|line| line.parts.iter().flatten());
    let y_range = range_of(positions.map(|point| point.1)).unwrap_or(0.0..=1.0);
    let mut x = Axis::around(sources[0].x_label(), x_range.clone(), 0.0);
    if x_range.end() > x_range.start() {
        (x.start, x.end) = x_range.into_inner();
    }
    let y = Axis::around(y_label(sources), y_range, MARGIN);
    Ok(Figure {
        title: title(sources),
        note: counts.to_string(is_log),
        x,
        y: Axis { is_log, ..y },
        marks: Marks::Lines(lines),
    })
}

/// The points of a line. A non-finite number interrupts it.
fn points(
    source: &Source,
    range: RangeInclusive<f64>,
    columns: usize,
    counts: &mut Counts,
) -> Result<Vec<(f64, f64)>> {
    let len = source.view.len();
    counts.total += len;
    if len <= 2 * columns as u64 {
        let numbers = source.view.cast::<f64>()?;
        let points = source.positions(0..len)?.into_iter().zip(numbers);
        let (points, nowhere): (Vec<_>, Vec<_>) = points.partition(|(x, _)| x.is_finite());
        counts.nowhere += nowhere.len() as u64;
        counts.nan += points.iter().filter(|(_, y)| y.is_nan()).count() as u64;
        return Ok(points);
    }
    let extents = source.columns(range.clone(), columns)?;
    let width = (range.end() - range.start()) / columns as f64;
    let mut points = Vec::with_capacity(4 * columns);
    for (column, extent) in extents.iter().enumerate() {
        counts.nan += extent.nan_count;
        let x = range.start() + (column as f64 + 0.5) * width;
        // If a column contains no records, the line crosses it straight.
        if extent.count > extent.nan_count {
            let mut of_column = vec![extent.first, extent.min, extent.max, extent.last];
            of_column.dedup();
            points.extend(of_column.into_iter().map(|y| (x, y)));
        }
        if extent.nan_count > 0 {
            points.push((x, f64::NAN));
        }
    }
    Ok(points)
}

/// The parts of a line between points without a position.
fn parts(points: Vec<(f64, f64)>, is_log: bool, counts: &mut Counts) -> Vec<Vec<(f64, f64)>> {
    let mut parts = vec![Vec::new()];
    for (x, y) in points {
        let position = if is_log { y.log10() } else { y };
        if position.is_finite() {
            counts.drawn += 1;
            parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.push((x, position)));
        } else {
            counts.left_out += u64::from(!y.is_nan());
            parts.push(Vec::new());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

impl Counts {
    fn to_string(&self, is_log: bool) -> String {
        let mut note = of(self.drawn.min(self.total), self.total, "points");
        if self.drawn + self.nan + self.left_out + self.nowhere < self.total {
            note.push_str("; each column shows the smallest and the largest");
        }
        if self.nowhere > 0 {
            note.push_str(&format!(
                "; {} without a finite coordinate",
                grouped(self.nowhere)
            ));
        }
        if self.nan > 0 {
            note.push_str(&format!("; {} NaN", grouped(self.nan)));
        }
        if self.left_out > 0 {
            note.push_str(match is_log {
                true => "; values that are infinite or not above 0 are not drawn",
                false => "; infinities are not drawn",
            });
        }
        note
    }
}

/// The name and the units of the only series, or the units that all series share.
fn y_label(sources: &[Source]) -> String {
    if let [source] = sources {
        return with_units(source.view.key().name(), &source.view);
    }
    let first = units(&sources[0].view);
    match sources.iter().all(|source| units(&source.view) == first) {
        true => first.to_owned(),
        false => String::new(),
    }
}
