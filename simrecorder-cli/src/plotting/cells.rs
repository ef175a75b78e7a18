//! Series of arrays as heat maps over time, and records as images.

use simrecorder::ndarray::{Array2, ArrayD, Ix2, Ix3};
use simrecorder::{ArrayView, Error, ErrorKind, Extent, View};

use super::figure::{Axis, Cells, Figure, Marks, Scale, of, range_of};
use super::source::{Source, axis_name, units, with_units};
use super::{Options, colour_map};
use crate::exit::Result;

/// The maximum number of cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// An axis of a view, divided into parts.
struct Side {
    axis: Axis,
    /// The bounds of the parts, as indices.
    bounds: Vec<u64>,
    /// The positions of the bounds.
    edges: Vec<f64>,
}

/// A series of one-dimensional records over time: a column for each record, with the first element
/// at the bottom.
pub(crate) fn heat_map(source: &Source, options: &Options) -> Result<Figure> {
    let x = side(source, 0, source.coordinate.clone(), options.room.columns)?;
    let y = side(source, 1, coordinate_of_columns(source), options.room.rows)?;
    let extents = source
        .view
        .envelope(&[x.bounds.clone(), y.bounds.clone()])?;
    let values = farthest(&extents)?.reversed_axes();
    figure(source, &extents, values, x, y, options.scale)
}

/// A record of two dimensions, or of three if the last one contains colours: the first row is at
/// the top.
pub(crate) fn image(source: &Source, options: &Options) -> Result<Figure> {
    let x = side(
        source,
        1,
        coordinate_of_columns(source),
        options.room.columns,
    )?;
    let mut y = side(source, 0, source.coordinate.clone(), options.room.rows)?;
    let mut bounds = vec![y.bounds.clone(), x.bounds.clone()];
    let channels = source.view.shape().get(2).copied();
    bounds.extend(channels.map(|channels| (0..=channels).collect()));
    let extents = source.view.envelope(&bounds)?;
    // From top to bottom.
    (y.axis.start, y.axis.end) = (y.axis.end, y.axis.start);
    if channels.is_none() {
        return figure(source, &extents, farthest(&extents)?, x, y, options.scale);
    }
    let colours = extents.into_dimensionality::<Ix3>().map_err(internal)?;
    let colour = |pixel: simrecorder::ndarray::ArrayView1<'_, Extent>| {
        // The brightness is relative to the darkest and the brightest.
        let channel = |index: usize| {
            pixel
                .get(index)
                .map_or(0, |e| ((e.min + e.max) / 2.0) as u8)
        };
        Some([channel(0), channel(1), channel(2)])
    };
    let rows = colours.outer_iter();
    let rows = rows
        .map(|row| row.outer_iter().map(colour).collect())
        .collect::<Vec<_>>();
    let total: u64 = source.view.shape()[..2].iter().product();
    let drawn = rows.iter().map(Vec::len).sum::<usize>() as u64;
    Ok(Figure {
        title: source.label.clone(),
        note: of(drawn, total, "pixels"),
        x: x.axis,
        y: y.axis,
        marks: Marks::Cells(Cells {
            x_edges: x.edges,
            y_edges: y.edges,
            colours: rows,
            scale: None,
        }),
    })
}

fn figure(
    source: &Source,
    extents: &ArrayD<Extent>,
    values: Array2<f64>,
    x: Side,
    y: Side,
    scale: Option<(f64, f64)>,
) -> Result<Figure> {
    let range = match scale {
        Some((low, high)) => low..=high,
        None => range_of(values.iter().copied()).unwrap_or(0.0..=1.0),
    };
    let total: u64 = extents.iter().map(|extent| extent.count).sum();
    let nan: u64 = extents.iter().map(|extent| extent.nan_count).sum();
    let mut note = of(values.len() as u64, total, "elements");
    if (values.len() as u64) < total {
        note.push_str("; each cell shows the element farthest from the median");
    }
    if nan > 0 {
        note.push_str(&format!("; {nan} NaN, in grey"));
    }
    if values.iter().any(|value| value.is_infinite()) {
        note.push_str("; infinities have the colours of the ends of the scale");
    }
    let colour = |&value: &f64| Some(colour_map::colour(value, &range));
    let colours = values.outer_iter();
    let colours = colours
        .map(|row| row.iter().map(colour).collect())
        .collect();
    Ok(Figure {
        title: source.label.clone(),
        note,
        x: x.axis,
        y: y.axis,
        marks: Marks::Cells(Cells {
            x_edges: x.edges,
            y_edges: y.edges,
            colours,
            scale: Some(Scale {
                label: units(&source.view).to_owned(),
                start: *range.start(),
                end: *range.end(),
            }),
        }),
    })
}

/// The element of each cell that is farthest from the median, so that an outlier is visible.
fn farthest(extents: &ArrayD<Extent>) -> Result<Array2<f64>, Error> {
    let mut typical: Vec<_> = extents
        .iter()
        .map(|extent| extent.first)
        .filter(|x| x.is_finite())
        .collect();
    let middle = typical.len() / 2;
    let median = match typical.is_empty() {
        true => 0.0,
        false => *typical.select_nth_unstable_by(middle, f64::total_cmp).1,
    };
    let farthest = |extent: &Extent| match (extent.min - median).abs() > (extent.max - median).abs()
    {
        true => extent.min,
        false => extent.max,
    };
    let cells = extents.map(farthest);
    cells.into_dimensionality::<Ix2>().map_err(internal)
}

/// The coordinate of the second axis. Without a readable one, the axis is drawn by index.
fn coordinate_of_columns(source: &Source) -> Option<View> {
    source.view.coordinate(1).unwrap_or(None)
}

/// Divides an axis into at most `room` parts with the same number of elements.
fn side(source: &Source, axis: usize, coordinate: Option<View>, room: usize) -> Result<Side> {
    let view = &source.view;
    let first = if axis == 0 { source.first } else { 0 };
    let len = view.shape()[axis];
    let parts = len.min(room.max(1) as u64);
    let bounds: Vec<_> = (0..=parts)
        .map(|part| (u128::from(part) * u128::from(len) / u128::from(parts.max(1))) as u64)
        .collect();
    let by_index = || {
        let edges = bounds
            .iter()
            .map(|&bound| (first + bound) as f64 - 0.5)
            .collect();
        (edges, axis_name(view, axis))
    };
    let edges =
        coordinate.map(|coordinate| Ok::<_, Error>((edges(&coordinate, &bounds)?, coordinate)));
    let (edges, label) = match edges.transpose()? {
        // Other coordinates cannot be drawn to scale.
        Some((edges, coordinate)) if edges.is_sorted_by(|a, b| a < b) => {
            (edges, with_units(coordinate.key().name(), &coordinate))
        }
        Some(_) => (by_index().0, "index".to_owned()),
        None => by_index(),
    };
    let (start, end) = (edges[0], edges[edges.len() - 1]);
    Ok(Side {
        axis: Axis {
            label,
            start,
            end,
            is_log: false,
        },
        bounds,
        edges,
    })
}

/// The positions at which the parts of an axis meet: halfway between the coordinates on both sides
/// of each bound.
fn edges(coordinate: &View, bounds: &[u64]) -> Result<Vec<f64>, Error> {
    let extents = coordinate.envelope(&[bounds.to_vec()])?;
    let mut edges: Vec<_> = extents
        .iter()
        .zip(extents.iter().skip(1))
        .map(|(before, after)| before.last.midpoint(after.first))
        .collect();
    let (Some(first), Some(last)) = (extents.first(), extents.last()) else {
        return Ok(vec![0.0, 1.0]);
    };
    // At the ends, use the same distance as the neighbouring edge.
    let half = |edge: Option<&f64>, x: f64| edge.map_or(0.5, |edge| (edge - x).abs());
    let half_first = match bounds[1] - bounds[0] {
        1 => half(edges.first(), first.last),
        count => (first.last - first.first) / (count - 1) as f64 / 2.0,
    };
    let half_last = match bounds[bounds.len() - 1] - bounds[bounds.len() - 2] {
        1 => half(edges.last(), last.first),
        count => (last.last - last.first) / (count - 1) as f64 / 2.0,
    };
    edges.insert(0, first.first - half_first);
    edges.push(last.last + half_last);
    Ok(edges)
}

fn internal(error: simrecorder::ndarray::ShapeError) -> Error {
    Error::new(ErrorKind::Internal, "plot", error.to_string())
}
