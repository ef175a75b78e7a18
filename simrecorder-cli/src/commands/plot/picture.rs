//! Plots as SVG and PNG.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use simrecorder::{Error, ErrorKind};

use crate::pixels::encode;
use crate::plotting::colour_map;
use crate::plotting::figure::{Axis, Cells, Colour, Figure, Line, Marks, Scale};

const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(0x60, 0x60, 0x60);
const LIGHT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// The heights of parts of a picture in pixels: of the title with the note, of the ticks of an
/// axis, and so on.
const TITLE_HEIGHT: u32 = 54;
const X_LABELS_HEIGHT: u32 = 50;
const Y_LABELS_WIDTH: u32 = 76;
const SCALE_WIDTH: u32 = 112;
const SCALE_COLOURS_WIDTH: u32 = 40;
const MARGIN: u32 = 16;
const RIGHT_MARGIN: u32 = 2;

/// The width and the height of a picture in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// The minimum area for the data, in columns and rows of pixels. In a grid of this size, each
    /// cell has its own pixel.
    pub(super) fn plot_area(self) -> (usize, usize) {
        let beside = 2 * MARGIN + Y_LABELS_WIDTH + SCALE_WIDTH + RIGHT_MARGIN + 1;
        let height = self
            .height
            .saturating_sub(TITLE_HEIGHT + X_LABELS_HEIGHT + 1);
        let width = self.width.saturating_sub(beside);
        (width.max(1) as usize, height.max(1) as usize)
    }
}

/// A part of a picture, in pixels.
#[derive(Clone, Debug)]
struct Frame {
    x: std::ops::Range<i32>,
    y: std::ops::Range<i32>,
}

/// Cells that fill a part of a picture.
type Painted<'a> = (Frame, &'a Cells, (&'a Axis, &'a Axis));

/// The figure as a PNG file.
pub(super) fn png(figure: &Figure, size: Size) -> Result<Vec<u8>, Error> {
    use_font()?;
    let mut pixels = vec![0; 3 * size.width as usize * size.height as usize];
    let scale = scale_cells(figure);
    let painted = {
        let backend = BitMapBackend::with_buffer(&mut pixels, (size.width, size.height));
        draw(&backend.into_drawing_area(), figure, scale.as_ref())?
    };
    for (frame, cells, axes) in painted {
        for y in frame.y.clone() {
            for x in frame.x.clone() {
                if let Some(colour) = colour_at(&frame, cells, axes, x, y) {
                    let at = 3 * (y as usize * size.width as usize + x as usize);
                    pixels[at..at + 3].copy_from_slice(&colour);
                }
            }
        }
    }
    let size = (size.width, size.height);
    encode(
        "plot",
        &pixels,
        size,
        png::ColorType::Rgb,
        png::BitDepth::Eight,
    )
}

/// The figure as an SVG file. Cells are an embedded picture.
pub(super) fn svg(figure: &Figure, size: Size) -> Result<Vec<u8>, Error> {
    use_font()?;
    let mut text = String::new();
    let scale = scale_cells(figure);
    let painted = {
        let backend = SVGBackend::with_string(&mut text, (size.width, size.height));
        draw(&backend.into_drawing_area(), figure, scale.as_ref())?
    };
    let mut images = String::new();
    for (frame, cells, axes) in painted {
        let (width, height) = (frame.x.len() as u32, frame.y.len() as u32);
        let mut pixels = Vec::new();
        for y in frame.y.clone() {
            for x in frame.x.clone() {
                let colour = colour_at(&frame, cells, axes, x, y);
                pixels.extend(colour.map_or([0; 4], |[red, green, blue]| [red, green, blue, 255]));
            }
        }
        let rgba = png::ColorType::Rgba;
        let png = encode("plot", &pixels, (width, height), rgba, png::BitDepth::Eight)?;
        images.push_str(&format!(
            "<image x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>\n",
            frame.x.start,
            frame.y.start,
            STANDARD.encode(png),
        ));
    }
    let end = text.rfind("</svg>").unwrap_or(text.len());
    text.insert_str(end, &images);
    Ok(text.into_bytes())
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Io,
        "plot",
        format!("the picture cannot be drawn: {error}"),
    )
}

/// Registers the font with which text is measured, and drawn in PNG. The program contains it.
fn use_font() -> Result<(), Error> {
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| failed("its font cannot be read"))
}

/// The colour of a pixel.
fn colour_at(frame: &Frame, cells: &Cells, axes: (&Axis, &Axis), x: i32, y: i32) -> Option<Colour> {
    let part = |pixel: i32, range: &std::ops::Range<i32>| {
        (f64::from(pixel - range.start) + 0.5) / range.len() as f64
    };
    let (x, y) = (part(x, &frame.x), 1.0 - part(y, &frame.y));
    cells.colour_at(axes.0.position(x), axes.1.position(y))
}

/// The colours of a scale, from bottom to top.
fn scale_cells(figure: &Figure) -> Option<(Cells, Axis, Axis)> {
    const STEPS: usize = 256;
    let Marks::Cells(Cells {
        scale: Some(scale), ..
    }) = &figure.marks
    else {
        return None;
    };
    let Scale { label, start, end } = scale;
    let colour = |step: usize| vec![Some(colour_map::colour(step as f64, &(0.0..=255.0)))];
    let axis = |label: &str, start: f64, end: f64| Axis {
        label: label.to_owned(),
        start,
        end,
        is_log: false,
    };
    let y = match start < end {
        true => axis(label, *start, *end),
        false => Axis::around(label.clone(), *start..=*end, 0.0),
    };
    let edge = |step: usize| y.position(step as f64 / STEPS as f64);
    let cells = Cells {
        x_edges: vec![0.0, 1.0],
        y_edges: (0..=STEPS).map(edge).collect(),
        colours: (0..STEPS).map(colour).collect(),
        scale: None,
    };
    Some((cells, axis("", 0.0, 1.0), y))
}

fn draw<'a, B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    figure: &'a Figure,
    scale: Option<&'a (Cells, Axis, Axis)>,
) -> Result<Vec<Painted<'a>>, Error> {
    root.fill(&WHITE).map_err(failed)?;
    draw_title(root, figure)?;
    let mut area = root.margin(TITLE_HEIGHT, 0, MARGIN, MARGIN);
    let mut painted = Vec::new();
    if let Some((cells, x, y)) = scale {
        let (width, height) = area.dim_in_pixel();
        let (left, right) = area.split_horizontally(width.saturating_sub(SCALE_WIDTH));
        let right = right.margin(0, X_LABELS_HEIGHT.min(height), 0, 0);
        let frame = draw_axes(&right, (x, y), true, None)?;
        painted.push((frame, cells, (x, y)));
        area = left;
    }
    let lines = match &figure.marks {
        Marks::Lines(lines) => Some(&lines[..]),
        Marks::Cells(_) => None,
    };
    let axes = (&figure.x, &figure.y);
    let frame = draw_axes(&area, axes, false, lines)?;
    if let Marks::Cells(cells) = &figure.marks {
        painted.push((frame, cells, axes));
    }
    root.present().map_err(failed)?;
    Ok(painted)
}

fn draw_title<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    figure: &Figure,
) -> Result<(), Error> {
    let left = Pos::new(HPos::Left, VPos::Center);
    let title = (FONT, 18).into_text_style(root).color(&BLACK).pos(left);
    let note = (FONT, 12).into_text_style(root).color(&GREY).pos(left);
    let width = root.dim_in_pixel().0 - 2 * MARGIN;
    root.draw_text(
        &cut(&figure.title, &title, width),
        &title,
        (MARGIN as i32, 20),
    )
    .map_err(failed)?;
    root.draw_text(&cut(&figure.note, &note, width), &note, (MARGIN as i32, 40))
        .map_err(failed)
}

/// As much of a text as fits into a width.
fn cut(text: &str, style: &TextStyle<'_>, width: u32) -> String {
    let fits = |text: &str| {
        let layout = style.font.layout_box(text);
        layout.is_ok_and(|((start, _), (end, _))| end - start <= width as i32)
    };
    if fits(text) {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let cut = format!("{kept}…");
        if fits(&cut) {
            return cut;
        }
    }
    kept
}

/// Draws axes with their ticks, and lines. Returns the places of the axes of cells.
fn draw_axes<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    (x, y): (&Axis, &Axis),
    is_scale: bool,
    lines: Option<&[Line]>,
) -> Result<Frame, Error> {
    let mut builder = ChartBuilder::on(area);
    match is_scale {
        true => builder
            .right_y_label_area_size(SCALE_WIDTH - SCALE_COLOURS_WIDTH)
            .margin_left(MARGIN),
        false => builder
            .x_label_area_size(X_LABELS_HEIGHT)
            .y_label_area_size(Y_LABELS_WIDTH)
            .margin_right(RIGHT_MARGIN),
    };
    let space = if is_scale { "  " } else { "" };
    let (width, height) = area.dim_in_pixel();
    let of_x = Coordinates {
        axis: x,
        space: "",
        most_labels: (width / 100).clamp(2, 10) as usize,
    };
    let of_y = Coordinates {
        axis: y,
        space,
        most_labels: (height / 40).clamp(2, 10) as usize,
    };
    let mut chart = builder.build_cartesian_2d(of_x, of_y).map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.axis_style(GREY)
        .label_style((FONT, 12, &GREY))
        .axis_desc_style((FONT, 14, &BLACK))
        .x_desc(&x.label)
        .y_desc(&y.label)
        .light_line_style(TRANSPARENT)
        .bold_line_style(LIGHT);
    if lines.is_none() {
        mesh.disable_mesh();
    }
    if is_scale {
        mesh.x_labels(0);
    }
    mesh.draw().map_err(failed)?;
    draw_lines(&mut chart, lines.unwrap_or_default())?;
    let (x, y) = chart.plotting_area().get_pixel_range();
    Ok(Frame { x, y })
}

fn draw_lines<'a, B: DrawingBackend + 'a>(
    chart: &mut ChartContext<'a, B, Cartesian2d<Coordinates<'a>, Coordinates<'a>>>,
    lines: &[Line],
) -> Result<(), Error> {
    let has_key = lines.len() > 1;
    let columns = chart.plotting_area().dim_in_pixel().0 as usize;
    for (index, line) in lines.iter().enumerate() {
        let [red, green, blue] = colour_map::line(index);
        let colour = RGBColor(red, green, blue);
        let points: usize = line.parts.iter().map(Vec::len).sum();
        let stroke = colour.stroke_width(if points < columns { 2 } else { 1 });
        for part in &line.parts {
            let drawn = match part[..] {
                [point] => chart.draw_series([Circle::new(point, 2, colour.filled())]),
                _ => chart.draw_series(LineSeries::new(part.iter().copied(), stroke)),
            };
            drawn.map_err(failed)?;
        }
        if has_key {
            let key = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
            let none = LineSeries::new(std::iter::empty(), colour);
            chart
                .draw_series(none)
                .map_err(failed)?
                .label(&line.label)
                .legend(key);
        }
    }
    if has_key {
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(LIGHT)
            .label_font((FONT, 12))
            .position(SeriesLabelPosition::UpperRight)
            .draw()
            .map_err(failed)?;
    }
    Ok(())
}

/// An axis with its own labels.
#[derive(Clone)]
struct Coordinates<'a> {
    axis: &'a Axis,
    /// The space before each label.
    space: &'static str,
    /// The maximum number of labels.
    most_labels: usize,
}

impl Ranged for Coordinates<'_> {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, position: &f64, limit: (i32, i32)) -> i32 {
        // Drawing a line takes time in proportion to its length, so clip it.
        let part = self.axis.part(*position).clamp(-1.0, 2.0);
        let pixels = f64::from(limit.1 - limit.0) * part;
        (f64::from(limit.0) + pixels).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.axis.ticks(hint.max_num_points().min(self.most_labels))
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.axis.start..self.axis.end
    }
}

impl ValueFormatter<f64> for Coordinates<'_> {
    fn format_ext(&self, position: &f64) -> String {
        format!("{}{}", self.space, self.axis.label_at(*position, 6))
    }
}
