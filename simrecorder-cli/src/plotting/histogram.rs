//! The distribution of the numbers of series, as outlines.

use simrecorder::ArrayView;

use super::figure::{Axis, Figure, Line, Marks, of, range_of};
use super::source::{Source, title, with_units};
use crate::blocks::for_each_block;
use crate::exit::Result;

/// The maximum number of bins, unless the user asks for more.
const MAX_BINS: usize = 100;

/// Equal parts of a range of numbers.
struct Bins {
    axis: Axis,
    count: usize,
}

/// An outline for each series, all with the same bins.
pub(crate) fn figure(sources: &[Source], bins: Option<usize>, is_log: bool) -> Result<Figure> {
    let bins = Bins::of(sources, bins)?;
    let (mut lines, mut total, mut counted) = (Vec::new(), 0, 0);
    for source in sources {
        let mut counts = vec![0_u64; bins.count];
        for_each_block(&source.view, |_, records| {
            for number in source.numbers(records) {
                total += 1;
                if let Some(bin) = bins.bin(number) {
                    counts[bin] += 1;
                    counted += 1;
                }
            }
            Ok(())
        })?;
        lines.push(Line {
            label: source.label.clone(),
            parts: bins.outline(&counts, is_log),
            nan: Vec::new(),
        });
    }
    let positions = lines.iter().flat_map(|line| line.parts.iter().flatten());
    let highest = positions.map(|point| point.1).fold(0.0, f64::max);
    let mut note = of(counted, total, "elements");
    if counted < total {
        note.push_str("; NaN and infinities are not counted");
    }
    let x_label = match sources {
        [source] => with_units(source.view.key().name(), &source.view),
        _ => String::new(),
    };
    Ok(Figure {
        title: title(sources),
        note,
        x: Axis {
            label: x_label,
            ..bins.axis
        },
        y: Axis {
            label: "count".to_owned(),
            start: if is_log { -0.3 } else { 0.0 },
            end: if highest > 0.0 { highest * 1.05 } else { 1.0 },
            is_log,
        },
        marks: Marks::Lines(lines),
    })
}

impl Bins {
    /// The number of bins is the square root of the number of elements. Bins of whole numbers are
    /// not narrower than 1.
    fn of(sources: &[Source], bins: Option<usize>) -> Result<Self> {
        let (mut ends, mut most) = (Vec::new(), 0);
        for source in sources {
            let (range, count) = source.number_range()?;
            ends.extend(
                range
                    .into_iter()
                    .flat_map(|range| [*range.start(), *range.end()]),
            );
            most = most.max(count);
        }
        let (start, end) = range_of(ends).unwrap_or(0.0..=1.0).into_inner();
        let is_whole = sources.iter().all(Source::is_whole);
        let values = end - start + 1.0;
        Ok(match (bins, is_whole && values <= MAX_BINS as f64) {
            (None, true) => Self {
                axis: Axis {
                    label: String::new(),
                    start: start - 0.5,
                    end: end + 0.5,
                    is_log: false,
                },
                count: values as usize,
            },
            (bins, _) => Self {
                axis: Axis::around(String::new(), start..=end, 0.0),
                count: bins.unwrap_or(((most as f64).sqrt() as usize).clamp(10, MAX_BINS)),
            },
        })
    }

    fn bin(&self, number: f64) -> Option<usize> {
        let part = self.axis.part(number);
        let bin = (part * self.count as f64) as usize;
        (0.0..=1.0).contains(&part).then(|| bin.min(self.count - 1))
    }

    /// The outline of the bars, beginning and ending at the baseline.
    fn outline(&self, counts: &[u64], is_log: bool) -> Vec<Vec<(f64, f64)>> {
        let height = |count: u64| match is_log {
            true => (count as f64).log10().max(-0.3),
            false => count as f64,
        };
        let edge = |bin: usize| self.axis.position(bin as f64 / self.count as f64);
        let ground = height(0);
        let bars = counts.iter().enumerate();
        let bars = bars
            .flat_map(|(bin, &count)| [(edge(bin), height(count)), (edge(bin + 1), height(count))]);
        let points = [(edge(0), ground)]
            .into_iter()
            .chain(bars)
            .chain([(edge(self.count), ground)]);
        vec![points.collect()]
    }
}
