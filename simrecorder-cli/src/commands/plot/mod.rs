//! `simrec plot`: draws series in the terminal, or as a picture.

mod picture;
mod terminal;

use std::path::PathBuf;
use std::str::FromStr;

use simrecorder::{Error, ErrorKind};

use crate::args::{RangeArgs, RecordingArg};
use crate::exit::{Exit, Result};
use crate::file;
use crate::output::Output;
use crate::plotting::cells::Room;
use crate::plotting::source::Source;
use crate::plotting::{self, Form, Options, Window};

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
/// Scalars are drawn as lines, arrays as a heat map over time, records of two dimensions as an
/// image of the last one, and ragged series as a raster. No extreme value is lost: if there are
/// more records than columns, each column shows the smallest and the largest.
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

    /// Replace an existing file
    #[arg(long)]
    force: bool,

    /// Form of the plot
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,

    /// Draw the same keys of another recording, too
    #[arg(long, value_name = "RECORDING")]
    with: Vec<PathBuf>,

    #[command(flatten)]
    range: RangeArgs,

    /// Draw over the index of the records instead of their coordinate (time, step)
    #[arg(long)]
    index: bool,

    /// Use a logarithmic scale for the y axis of lines and histograms
    #[arg(long)]
    log: bool,

    /// Number of bins of a histogram
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    bins: Option<u16>,

    /// Width and height of a picture in pixels [default: 1000x600]
    #[arg(long, value_name = "WIDTHxHEIGHT", requires = "output")]
    size: Option<PictureSize>,

    /// Write the plot as one line of JSON
    #[arg(long)]
    json: bool,
}

/// `1000x600`, at most 4000 pixels in each direction.
#[derive(Clone, Copy, Debug)]
struct PictureSize(picture::Size);

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').unwrap_or_default();
        let side = |text: &str| text.parse().ok().filter(|side| (300..=4000).contains(side));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self(picture::Size { width, height })),
            _ => {
                Err("give a width and a height from 300 to 4000 pixels, as in 1000x600".to_owned())
            }
        }
    }
}

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
    let per_character = if file.is_some() { 1 } else { 2 };
    let options = Options {
        form: args.form,
        columns: per_character * columns,
        room: Room {
            columns,
            rows: per_character * rows,
        },
        is_log: args.log,
        bins: args.bins.map(usize::from),
        window: Window::default(),
        scale: None,
    };
    let figure = plotting::figure(&sources, &options)?;
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
        match file::extension(path).as_deref() {
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

/// The series of all recordings.
fn sources(args: &Args) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let recordings = std::iter::once(&args.recording.recording).chain(&args.with);
    for recording in recordings {
        let store = simrecorder::open(recording)?;
        let name = recording.file_name().unwrap_or_default().to_string_lossy();
        for key in &args.keys {
            let mut of_key = Source::all(&*store, key, &args.range, args.index)?;
            if !args.with.is_empty() {
                let labels = of_key.iter_mut().map(|source| &mut source.label);
                labels.for_each(|label| *label = format!("{name}: {label}"));
            }
            sources.extend(of_key);
        }
    }
    match sources.is_empty() {
        true => {
            let message = "the keys name no series of numbers; 'simrec ls -l' lists them";
            Err(plotting::refuse(message).into())
        }
        false => Ok(sources),
    }
}
