//! Plots in a terminal.

use std::io::Write;

use anstyle::{Color, RgbColor, Style};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::Line as Text;
use ratatui::widgets::{Axis as ChartAxis, Chart, Dataset, GraphType, Widget};

use crate::element::Element;
use crate::exit::Result;
use crate::number_format::NumberFormat;
use crate::output::Output;
use crate::plotting::colour_map;
use crate::plotting::figure::{Axis, Cells, Colour, Figure, Line, Marks};

/// The characters for numbers without colours, from the darkest to the brightest.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// The characters for several lines without colours.
const SYMBOLS: [char; 6] = ['•', '×', '+', 'o', '#', '*'];

/// The width of the numbers of an axis, in columns.
const LABELS_WIDTH: u16 = 12;

/// The columns and rows of characters for a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: u16,
    pub(super) height: u16,
}

impl Size {
    /// The size of the terminal, with room for the prompt after the plot; otherwise 80 columns and
    /// 24 rows.
    pub(super) fn of_terminal() -> Self {
        let (height, width) = console::Term::stdout().size_checked().unwrap_or((24, 80));
        Self {
            width: width.clamp(20, 500),
            height: height.saturating_sub(2).clamp(8, 60),
        }
    }

    /// The area for the data, in columns and rows of characters.
    pub(super) fn plot_area(self) -> (usize, usize) {
        let columns = self.width.saturating_sub(LABELS_WIDTH).max(1);
        // The title, the note and the axis take the rest.
        (columns.into(), self.height.saturating_sub(6).max(1).into())
    }
}

/// Prints a plot.
pub(super) fn print(figure: &Figure, size: Size, output: &mut Output) -> Result<()> {
    writeln!(
        output,
        "{}",
        output.paint(Style::new().bold(), &figure.title)
    )?;
    if !figure.title.ends_with(&figure.y.label) {
        writeln!(output, "{}", figure.y.label)?;
    }
    match &figure.marks {
        Marks::Lines(lines) => print_lines(figure, lines, size, output)?,
        Marks::Cells(cells) => print_cells(figure, cells, size, output)?,
    }
    writeln!(
        output,
        "{}",
        output.paint(Style::new().dimmed(), &figure.note)
    )?;
    Ok(())
}

fn print_lines(figure: &Figure, lines: &[Line], size: Size, output: &mut Output) -> Result<()> {
    let is_plain = !output.has_colours() && lines.len() > 1;
    let (y, labels) = rounded(&figure.y);
    // As parts of the axes, which cannot overflow.
    let parts = lines
        .iter()
        .enumerate()
        .flat_map(|(index, line)| line.parts.iter().map(move |part| (index, part)));
    let part_of =
        |&(position_x, position_y): &(f64, f64)| (figure.x.part(position_x), y.part(position_y));
    let parts: Vec<(usize, Vec<_>)> = parts
        .map(|(index, part)| (index, part.iter().map(part_of).collect()))
        .collect();
    let datasets = parts.iter().map(|(index, part)| {
        let [red, green, blue] = colour_map::line(*index);
        let marker = match is_plain {
            true => Marker::Custom(SYMBOLS[index % SYMBOLS.len()]),
            false => Marker::Braille,
        };
        let style = ratatui::style::Style::new().fg(ratatui::style::Color::Rgb(red, green, blue));
        Dataset::default()
            .data(part)
            .marker(marker)
            .graph_type(GraphType::Line)
            .style(style)
    });
    let chart = Chart::new(datasets.collect())
        .x_axis(chart_axis(&figure.x, 3))
        .y_axis(chart_axis(&y, labels));
    let area = Rect::new(0, 0, size.width, size.height.saturating_sub(4));
    let mut buffer = Buffer::empty(area);
    chart.render(area, &mut buffer);
    for row in 0..area.height {
        write_row(&buffer, row, output)?;
    }
    writeln!(
        output,
        "{:>width$}",
        figure.x.label,
        width = usize::from(size.width)
    )?;
    if lines.len() > 1 {
        for (index, line) in lines.iter().enumerate() {
            let symbol = if is_plain {
                SYMBOLS[index % SYMBOLS.len()]
            } else {
                '━'
            };
            let symbol = output.paint(style(colour_map::line(index)), symbol);
            write!(
                output,
                "{}{symbol} {}",
                if index > 0 { "  " } else { "" },
                line.label
            )?;
        }
        writeln!(output)?;
    }
    Ok(())
}

/// An axis that begins and ends at round numbers, and their number.
fn rounded(axis: &Axis) -> (Axis, usize) {
    let ticks = axis.ticks(5);
    let (&[first, second, ..], &[.., last]) = (&ticks[..], &ticks[..]) else {
        return (axis.clone(), 2);
    };
    let step = second - first;
    let before = if first > axis.start { step } else { 0.0 };
    let after = if last < axis.end { step } else { 0.0 };
    let rounded = Axis {
        start: first - before,
        end: last + after,
        ..axis.clone()
    };
    let added = usize::from(before > 0.0) + usize::from(after > 0.0);
    (rounded, ticks.len() + added)
}

fn chart_axis(axis: &Axis, labels: usize) -> ChartAxis<'static> {
    let at = |index: usize| {
        let part = index as f64 / (labels - 1) as f64;
        Text::from(axis.label_at(axis.position(part), 4))
    };
    ChartAxis::default()
        .bounds([0.0, 1.0])
        .labels((0..labels).map(at))
}

/// Writes the cells of a row. Cells of one colour are written together.
fn write_row(buffer: &Buffer, row: u16, output: &mut Output) -> Result<()> {
    let cells: Vec<_> = (0..buffer.area.width)
        .map(|column| &buffer[(column, row)])
        .collect();
    let end = cells
        .iter()
        .rposition(|cell| cell.symbol() != " ")
        .map_or(0, |last| last + 1);
    for cells in cells[..end].chunk_by(|a, b| a.fg == b.fg) {
        let text: String = cells.iter().map(|cell| cell.symbol()).collect();
        let text = match cells[0].fg {
            ratatui::style::Color::Rgb(red, green, blue) => {
                output.paint(style([red, green, blue]), text)
            }
            _ => text,
        };
        write!(output, "{text}")?;
    }
    writeln!(output)?;
    Ok(())
}

/// Prints two cells per character, one above the other; without colours, one.
fn print_cells(figure: &Figure, cells: &Cells, size: Size, output: &mut Output) -> Result<()> {
    let (columns, rows) = size.plot_area();
    let colour = |column: usize, row: usize, rows: usize| {
        let x = figure.x.position((column as f64 + 0.5) / columns as f64);
        let y = figure.y.position(1.0 - (row as f64 + 0.5) / rows as f64);
        cells.colour_at(x, y)
    };
    for row in 0..rows {
        let label = match row {
            0 => figure.y.label_at(figure.y.end, 4),
            _ if row + 1 == rows => figure.y.label_at(figure.y.start, 4),
            _ => String::new(),
        };
        let width = usize::from(LABELS_WIDTH) - 2;
        write!(output, "{label:>width$} ┤")?;
        let halves = |column: usize| match output.has_colours() {
            true => [2 * row, 2 * row + 1].map(|half| colour(column, half, 2 * rows)),
            false => [colour(column, row, rows); 2],
        };
        let row: Vec<_> = (0..columns).map(halves).collect();
        for same in row.chunk_by(|a, b| a == b) {
            let text = characters(same[0], same.len(), output);
            write!(output, "{text}")?;
        }
        writeln!(output)?;
    }
    let (start, end) = (
        figure.x.label_at(figure.x.start, 4),
        figure.x.label_at(figure.x.end, 4),
    );
    let indent = usize::from(LABELS_WIDTH);
    let width = columns.saturating_sub(start.chars().count());
    writeln!(output, "{:indent$}{start}{end:>width$}", "")?;
    writeln!(
        output,
        "{:>width$}",
        figure.x.label,
        width = columns + indent
    )?;
    if let Some(scale) = &cells.scale {
        let number = |x: f64| NumberFormat::shortest(4).format(Element::Double(x));
        let steps = (0..16).map(|step| {
            let colour = colour_map::colour(f64::from(step), &(0.0..=15.0));
            match output.has_colours() {
                true => output.paint(style(colour), '█'),
                false => shade(colour).to_string(),
            }
        });
        let steps: String = steps.collect();
        writeln!(
            output,
            "{} {steps} {} {}",
            number(scale.start),
            number(scale.end),
            scale.label
        )?;
    }
    Ok(())
}

/// Equal characters whose upper and lower halves have these colours.
fn characters([upper, lower]: [Option<Colour>; 2], count: usize, output: &Output) -> String {
    let text = |character: char| character.to_string().repeat(count);
    if !output.has_colours() {
        return text(upper.map_or(' ', shade));
    }
    let colour = |[red, green, blue]: Colour| Color::Rgb(RgbColor(red, green, blue));
    match (upper, lower) {
        (None, None) => text(' '),
        (Some(upper), None) => output.paint(style(upper), text('▀')),
        (None, Some(lower)) => output.paint(style(lower), text('▄')),
        (Some(upper), Some(lower)) => {
            let style = style(upper).bg_color(Some(colour(lower)));
            output.paint(style, text('▀'))
        }
    }
}

fn style([red, green, blue]: Colour) -> Style {
    Style::new().fg_color(Some(Color::Rgb(RgbColor(red, green, blue))))
}

/// A character as bright as a colour.
fn shade([red, green, blue]: Colour) -> char {
    let brightness = 0.3 * f64::from(red) + 0.59 * f64::from(green) + 0.11 * f64::from(blue);
    SHADES[(brightness / 256.0 * SHADES.len() as f64) as usize]
}
