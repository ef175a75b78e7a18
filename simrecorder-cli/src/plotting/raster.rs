//! Events over time as dots, for example spikes of neurons.

use std::ops::RangeInclusive;

use simrecorder::{ArrayView, Kind};

use super::cells::Room;
use super::colour_map;
use super::figure::{Axis, Cells, Figure, Marks, of};
use super::source::{Source, with_units};
use crate::blocks::for_each_block;
use crate::exit::Result;

/// The y axis, and the number of rows of cells along it.
struct Rows {
    axis: Axis,
    count: usize,
}

/// A dot for each number in the rows of a ragged series, or for each non-zero element of an array.
pub(crate) fn figure(source: &Source, room: Room) -> Result<Figure> {
    let rows = rows(source, room.rows)?;
    let x_range = source.x_range()?.unwrap_or(0.0..=1.0);
    let mut dots = Dots::new(x_range, rows, room.columns);
    let record_len: u64 = source.view.schema().record_shape().iter().product();
    for_each_block(&source.view, |range, records| {
        let positions = source.positions(range)?;
        let numbers = source.numbers(records);
        match source.view.kind() {
            Kind::Ragged => {
                let item = source.view.schema().record_bytes().unwrap_or(1).max(1) as u64;
                let mut ends = records
                    .ends()
                    .iter()
                    .map(|end| end / item)
                    .zip(positions)
                    .peekable();
                for (index, number) in (0..).zip(numbers) {
                    while ends.next_if(|(end, _)| *end <= index).is_some() {}
                    if let Some(&(_, x)) = ends.peek() {
                        dots.add(x, number);
                    }
                }
            }
            _ => {
                let indices = (0..record_len).map(|index| index as f64).cycle();
                let positions = positions
                    .into_iter()
                    .flat_map(|x| std::iter::repeat_n(x, record_len as usize));
                for ((number, index), x) in numbers.zip(indices).zip(positions) {
                    // NaN is an event, too.
                    if number != 0.0 {
                        dots.add(x, index);
                    }
                }
            }
        }
        Ok(())
    })?;
    Ok(dots.into_figure(source))
}

fn rows(source: &Source, room: usize) -> Result<Rows> {
    let label = match source.view.kind() {
        Kind::Ragged => with_units(source.view.key().name(), &source.view),
        _ => "index".to_owned(),
    };
    let (start, end, is_whole) = match source.view.kind() {
        Kind::Ragged => {
            let range = source.number_range()?.0.unwrap_or(0.0..=0.0);
            let (start, end) = range.into_inner();
            (start, end, source.is_whole())
        }
        _ => {
            let len = source.view.schema().record_shape().iter().product::<u64>();
            (0.0, len.saturating_sub(1) as f64, true)
        }
    };
    let count = end - start + 1.0;
    // A row for each whole number, if there is room.
    Ok(match is_whole && count <= room as f64 {
        true => Rows {
            axis: Axis {
                label,
                start: start - 0.5,
                end: end + 0.5,
                is_log: false,
            },
            count: count as usize,
        },
        false => Rows {
            axis: Axis::around(label, start..=end, 0.02),
            count: room,
        },
    })
}

/// The number of events in each cell of a grid.
struct Dots {
    x: Axis,
    rows: Rows,
    columns: usize,
    counts: Vec<Vec<u64>>,
    total: u64,
    left_out: u64,
}

impl Dots {
    fn new(x_range: RangeInclusive<f64>, rows: Rows, columns: usize) -> Self {
        Self {
            x: Axis::around(String::new(), x_range, 0.005),
            counts: vec![vec![0; columns]; rows.count],
            rows,
            columns,
            total: 0,
            left_out: 0,
        }
    }

    fn add(&mut self, x: f64, y: f64) {
        self.total += 1;
        let column = self.x.part(x) * self.columns as f64;
        let row = self.rows.axis.part(y) * self.rows.count as f64;
        let cell = self
            .counts
            .get_mut(row as usize)
            .and_then(|row| row.get_mut(column as usize));
        match cell.filter(|_| row >= 0.0 && column >= 0.0) {
            Some(cell) => *cell += 1,
            None => self.left_out += 1,
        }
    }

    fn into_figure(self, source: &Source) -> Figure {
        let edges = |axis: &Axis, parts: usize| {
            let edge = |part: usize| axis.position(part as f64 / parts as f64);
            (0..=parts).map(edge).collect::<Vec<_>>()
        };
        let counts = || self.counts.iter().flatten().copied();
        let drawn = counts().filter(|count| *count > 0).count() as u64;
        let most = counts().max().unwrap_or(0);
        let mut note = of(drawn, self.total, "events");
        if drawn + self.left_out < self.total {
            note.push_str("; the darker a dot, the more of them are in it");
        }
        if self.left_out > 0 {
            note.push_str(&format!("; {} are not finite", self.left_out));
        }
        let colour = |&count: &u64| (count > 0).then(|| colour_map::dot(count, most));
        let rows = self.counts.iter();
        Figure {
            title: source.label.clone(),
            note,
            marks: Marks::Cells(Cells {
                x_edges: edges(&self.x, self.columns),
                y_edges: edges(&self.rows.axis, self.rows.count),
                colours: rows.map(|row| row.iter().map(colour).collect()).collect(),
                scale: None,
            }),
            x: Axis {
                label: source.x_label(),
                ..self.x
            },
            y: self.rows.axis,
        }
    }
}
