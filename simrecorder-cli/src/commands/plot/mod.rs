//! `simrec plot`: draws series in the terminal, or as a picture.

mod cells;
mod colour_map;
mod figure;
mod histogram;
mod lines;
mod picture;
mod raster;
mod source;
mod terminal;

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use simrecorder::ndarray::s;
use simrecorder::{ArrayView, Error, ErrorKind, Kind};

use self::cells::Room;
use self::figure::Figure;
use self::source::{Source, is_real, sources};
use crate::args::{RangeArgs, RecordingArg};
use crate::exit::{Exit, Result};
use crate::file;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec plot run.mdb net/rate                             a line in the terminal
  simrec plot run.mdb net/rate --from 10 --to 20 -o rate.svg
  simrec plot run.mdb 'net/v[:, 3]' --with other.mdb       an element, of two recordings
  simrec plot run.mdb net/v -o v.png                       a heat map of arrays over time
  simrec plot run.mdb 'frames[-1]' -o frame.png            a record as an image
  simrec plot run.mdb spikes -o spikes.svg                 the rows of a ragged series as a raster
  simrec plot run.mdb net/v --as histogram";

/// Draw series in the terminal, or as SVG or PNG
///
/// Scalars are lines, arrays a heat map over time, records of two dimensions an image of the last one, and
/// ragged series a raster. Nothing is sampled away: where there are more records than columns, each column
/// shows the smallest and the largest.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Keys of series with selections, such as 'net/v[:, 0]', groups, or globs
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,

    /// Write a picture: .svg or .png
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    /// Draw this form
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,

    /// Draw the same keys of another recording, too
    #[arg(long, value_name = "RECORDING")]
    with: Vec<PathBuf>,

    #[command(flatten)]
    range: RangeArgs,

    /// Draw over the index of the records, not over their coordinate (time, step)
    #[arg(long)]
    index: bool,

    /// Draw the y axis of lines and histograms to a logarithmic scale
    #[arg(long)]
    log: bool,

    /// Divide a histogram into so many bins
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    bins: Option<u16>,

    /// Width and height of a picture in pixels [default: 1000x600]
    #[arg(long, value_name = "WIDTHxHEIGHT", requires = "output")]
    size: Option<PictureSize>,

    /// Write what would be drawn as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What a plot looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Form {
    /// A line for each series
    Lines,
    /// One-dimensional records over time
    HeatMap,
    /// A record of two dimensions
    Image,
    /// A dot for each number of a ragged series, or element that is not 0
    Raster,
    /// How often which numbers are there
    Histogram,
}

/// `1000x600`, at most 10 000 pixels each way.
#[derive(Clone, Copy, Debug)]
struct PictureSize(picture::Size);

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').unwrap_or_default();
        let side = |text: &str| {
            text.parse()
                .ok()
                .filter(|side| (200..=10_000).contains(side))
        };
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self(picture::Size { width, height })),
            _ => {
                Err("give a width and a height from 200 to 10000 pixels, as in 1000x600".to_owned())
            }
        }
    }
}

/// Records of so few elements are a line for each, and not a heat map.
const MAX_LINES_OF_ONE: u64 = 8;

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let file = args.output.as_deref();
    let format = file.map(Format::of).transpose()?;
    if let Some(path) = file {
        file::check_new("plot", path, args.force)?;
    }
    let sources = sources(args)?;
    let size = args.size.map_or(
        picture::Size {
            width: 1000,
            height: 600,
        },
        |size| size.0,
    );
    let terminal = terminal::Size::of_terminal();
    let (columns, rows) = match file {
        Some(_) => size.plot_area(),
        None => terminal.plot_area(),
    };
    // A character has two columns and four rows of dots, and two rows of cells.
    let columns_of_lines = if file.is_some() { columns } else { 2 * columns };
    let room = match file {
        Some(_) => Room { columns, rows },
        None => Room {
            columns,
            rows: 2 * rows,
        },
    };
    let figure = figure(args, &sources, columns_of_lines, room)?;
    match (file, format) {
        (Some(path), Some(format)) => {
            let picture = match format {
                Format::Svg => picture::svg(&figure, size)?,
                Format::Png => picture::png(&figure, size)?,
            };
            file::write("plot", path, |file| {
                std::io::Write::write_all(file, &picture)
                    .map_err(|error| Error::io("plot", path, error))
            })?;
        }
        _ if args.json => output.json(&figure)?,
        _ => terminal::print(&figure, terminal, output)?,
    }
    Ok(Exit::Success)
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Svg,
    Png,
}

impl Format {
    fn of(path: &std::path::Path) -> Result<Self, Error> {
        let extension = path
            .extension()
            .map(|extension| extension.to_ascii_lowercase());
        match extension
            .as_deref()
            .and_then(|extension| extension.to_str())
        {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => {
                let message = "its extension names no picture; end it in .svg or .png";
                let error = Error::new(ErrorKind::InvalidArgument, "plot", message);
                Err(error.with_key(path.display().to_string()))
            }
        }
    }
}

fn figure(args: &Args, sources: &[Source], columns: usize, room: Room) -> Result<Figure> {
    for source in sources {
        if !is_real(&source.view) {
            let message = format!(
                "the series is {}; plots are of real numbers",
                source.view.schema()
            );
            return Err(refuse(&message).with_key(source.view.key().as_str()).into());
        }
    }
    let form = args.form.unwrap_or_else(|| form_of(&sources[0]));
    match form {
        Form::Lines => lines::figure(&each_element(sources)?, columns, args.log),
        Form::Histogram => histogram::figure(sources, args.bins.map(usize::from), args.log),
        Form::HeatMap => cells::heat_map(only_one(sources, form, 2)?, room),
        Form::Image => cells::image(&last_record(only_one(sources, form, 0)?)?, room),
        Form::Raster => {
            let source = only_one(sources, form, 0)?;
            match (source.view.kind(), source.view.shape().len()) {
                (Kind::Ragged, 1) | (Kind::Array, 1 | 2) => raster::figure(source, room),
                _ => Err(wrong_shape(source, "a raster is of rows of numbers").into()),
            }
        }
    }
}

/// What a series is drawn as by itself.
fn form_of(source: &Source) -> Form {
    let shape = source.view.shape();
    match (source.view.kind(), shape.len()) {
        (Kind::Ragged, _) => Form::Raster,
        (_, 0 | 1) => Form::Lines,
        (_, 2) if shape[1] <= MAX_LINES_OF_ONE && source.has_records => Form::Lines,
        (_, 2) if source.has_records => Form::HeatMap,
        _ => Form::Image,
    }
}

/// The series of scalars, and one for each element of records of few elements.
fn each_element(sources: &[Source]) -> Result<Vec<Source>> {
    let mut each = Vec::new();
    for source in sources {
        match source.view.shape() {
            [_] if source.view.kind() == Kind::Array => each.push(source.clone()),
            &[_, len] if len <= 64 => {
                for index in 0..len as isize {
                    each.push(Source {
                        label: format!("{}[:, {index}]", source.label),
                        view: source.view.select(s![.., index])?,
                        has_records: true,
                        coordinate: source.coordinate.clone(),
                    });
                }
            }
            _ => {
                let message = "lines are of scalars; select an element, as in 'KEY[:, 3]'";
                return Err(wrong_shape(source, message).into());
            }
        }
    }
    Ok(each)
}

/// Forms that show one series.
fn only_one(sources: &[Source], form: Form, axes: usize) -> Result<&Source> {
    let [source] = sources else {
        let name = form
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        return Err(refuse(&format!(
            "a plot as {name} is of one series; {} were given",
            sources.len()
        ))
        .into());
    };
    match axes == 0 || source.view.shape().len() == axes {
        true => Ok(source),
        false => Err(wrong_shape(
            source,
            "a heat map is of a series of one-dimensional arrays",
        )
        .into()),
    }
}

/// The last record, where a series was given and not one of its records.
fn last_record(source: &Source) -> Result<Source> {
    let shape = source.view.shape();
    let is_record = |axes: usize| axes == 2 || cells::has_channels(&source.view, axes);
    if source.view.kind() == Kind::Array && !source.has_records && is_record(shape.len()) {
        return Ok(source.clone());
    }
    if source.view.is_empty() || !matches!(shape.len(), 3 | 4) {
        return Err(wrong_shape(
            source,
            "an image is of a record of two dimensions; select one, as in 'KEY[-1]'",
        )
        .into());
    }
    let view = source.view.select(s![-1, .., ..])?;
    Ok(Source {
        label: format!("{}[{}]", source.label, shape[0] - 1),
        coordinate: view.coordinate(0)?,
        has_records: false,
        view,
    })
}

fn wrong_shape(source: &Source, message: &str) -> Error {
    let message = format!(
        "{message}; this one has the shape {:?}",
        source.view.shape()
    );
    refuse(&message).with_key(source.label.as_str())
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "plot", message)
}
