//! Figures of series: the contents of a plot, independent of how it is drawn.

pub(crate) mod cells;
pub(crate) mod colour_map;
pub(crate) mod figure;
pub(crate) mod histogram;
pub(crate) mod lines;
#[cfg_attr(
    not(feature = "serve"),
    allow(dead_code, reason = "only the server keeps summaries")
)]
pub(crate) mod pyramid;
pub(crate) mod raster;
pub(crate) mod source;

use clap::ValueEnum;
use simrecorder::ndarray::s;
use simrecorder::{ArrayView, DType, Error, ErrorKind, Kind, View};

use self::cells::Room;
use self::figure::Figure;
use self::source::{Source, is_real};
use crate::exit::Result;

/// The form of a plot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Form {
    /// A line for each series
    Lines,
    /// One-dimensional records over time
    HeatMap,
    /// A record of two dimensions
    Image,
    /// A dot for each number of a ragged series, or element that is not 0
    Raster,
    /// The distribution of the numbers
    Histogram,
}

/// The requirements of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// If missing, determined by the first series.
    pub(crate) form: Option<Form>,
    /// The maximum number of columns of points of a line.
    pub(crate) columns: usize,
    /// The maximum number of cells of other forms.
    pub(crate) room: Room,
    /// Whether the y axis is logarithmic.
    pub(crate) is_log: bool,
    /// The number of bins of a histogram; if missing, determined by the numbers.
    pub(crate) bins: Option<usize>,
    /// The part of the x axis that lines show.
    pub(crate) window: Window,
    /// The numbers at the ends of the colour scale; if missing, the smallest and the largest.
    pub(crate) scale: Option<(f64, f64)>,
}

/// The beginning and the end of a part of an axis; if missing, those of the axis.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) start: Option<f64>,
    pub(crate) end: Option<f64>,
}

/// Records with up to this many elements are drawn as one line per element instead of a heat map.
pub(crate) const MAX_LINES_OF_ONE: u64 = 8;

/// The figure of some series, at least one.
pub(crate) fn figure(sources: &[Source], options: &Options) -> Result<Figure> {
    for source in sources {
        if !is_real(&source.view) {
            let message = format!(
                "the series is {}; only real numbers can be plotted",
                source.view.schema()
            );
            return Err(refuse(&message).with_key(source.view.key().as_str()).into());
        }
    }
    let form = options.form.unwrap_or_else(|| form_of(&sources[0]));
    match form {
        Form::Lines => lines::figure(&each_element(sources)?, options),
        Form::Histogram => histogram::figure(sources, options.bins, options.is_log),
        Form::HeatMap => cells::heat_map(only_one(sources, form, 2)?, options),
        Form::Image => cells::image(&last_record(only_one(sources, form, 0)?)?, options),
        Form::Raster => {
            let source = only_one(sources, form, 0)?;
            match (source.view.kind(), source.view.shape().len()) {
                (Kind::Ragged, 1) | (Kind::Array, 1 | 2) => raster::figure(source, options.room),
                _ => Err(wrong_shape(source, "a raster shows rows of numbers").into()),
            }
        }
    }
}

/// The default form of a series.
pub(crate) fn form_of(source: &Source) -> Form {
    let shape = source.view.shape();
    match (source.view.kind(), shape.len()) {
        (Kind::Ragged, _) => Form::Raster,
        (_, 0 | 1) => Form::Lines,
        (_, 2) if shape[1] <= MAX_LINES_OF_ONE && source.has_records => Form::Lines,
        (_, 2) if source.has_records => Form::HeatMap,
        _ => Form::Image,
    }
}

/// The series of scalars. Records of few elements become one series per element.
fn each_element(sources: &[Source]) -> Result<Vec<Source>> {
    let mut each = Vec::new();
    for source in sources {
        match source.view.shape() {
            [_] if source.view.kind() == Kind::Array => each.push(source.clone()),
            &[_, len] if (1..=64).contains(&len) => {
                for index in 0..len as isize {
                    each.push(Source {
                        label: format!("{}[:, {index}]", source.label),
                        view: source.view.select(s![.., index])?,
                        summary: None,
                        ..source.clone()
                    });
                }
            }
            shape => {
                let message = match shape {
                    _ if source.view.kind() == Kind::Ragged => {
                        "a ragged series is drawn alone, as a raster"
                    }
                    [] => "a single number is printed by 'simrec cat'",
                    _ => "lines show scalars; select an element, as in 'KEY[:, 3]'",
                };
                return Err(wrong_shape(source, message).into());
            }
        }
    }
    Ok(each)
}

/// Checks that there is one series, for forms that show only one.
fn only_one(sources: &[Source], form: Form, axes: usize) -> Result<&Source> {
    let [source] = sources else {
        let name = form
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        return Err(refuse(&format!(
            "a plot as {name} shows one series, and {} were given; plot one, or lines of their elements, as in \
             'KEY[:, 3]'",
            sources.len()
        ))
        .into());
    };
    match axes == 0 || source.view.shape().len() == axes {
        true => Ok(source),
        false => Err(wrong_shape(
            source,
            "a heat map shows a series of one-dimensional arrays",
        )
        .into()),
    }
}

/// The last record, if the source is a series rather than one record.
fn last_record(source: &Source) -> Result<Source> {
    let shape = source.view.shape();
    let is_image = |view: &View| match view.shape() {
        [_, _] => true,
        [_, _, 3 | 4] => view.dtype() == Some(DType::U8),
        _ => false,
    };
    // An array of two dimensions from other software is an image itself.
    if source.view.kind() == Kind::Array && shape.len() == 2
        || !source.has_records && is_image(&source.view)
    {
        return Ok(source.clone());
    }
    if source.view.kind() == Kind::Array && source.has_records && shape.len() > 2 && shape[0] > 0 {
        let view = source.view.select(s![-1, .., ..])?;
        if is_image(&view) {
            return Ok(Source {
                label: format!("{}[{}]", source.label, source.first + shape[0] - 1),
                coordinate: view.coordinate(0).unwrap_or(None),
                has_records: false,
                view,
                ..source.clone()
            });
        }
    }
    let message = "an image shows a record of two dimensions, or of uint8 with three or four colours; select one, \
                   as in 'KEY[-1, 0]'";
    Err(wrong_shape(source, message).into())
}

fn wrong_shape(source: &Source, message: &str) -> Error {
    let message = format!(
        "{message}; this one has the shape {:?}",
        source.view.shape()
    );
    refuse(&message).with_key(source.label.as_str())
}

pub(crate) fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "plot", message)
}
