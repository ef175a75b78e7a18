//! `simrec cat`: prints records and values.

use simrecorder::backend::Node;
use simrecorder::{ArrayView, Error, ErrorKind};

use crate::args::{RangeArgs, RecordingArg};
use crate::exit::{Exit, Result};
use crate::number_format::NumberFormat;
use crate::output::Output;
use crate::record_writer::{Form, Style};
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec cat run.mdb net/rate                          one record per line
  simrec cat run.mdb 'net/v[-10:, ::2]' -f %.3g        the last ten, every second element
  simrec cat run.mdb net/v --from 10 --to 20 --csv     by coordinate, with its column
  simrec cat run.mdb frames[3] --raw > frame           the bytes of one record
  simrec cat run.mdb meta/seed                         a value";

/// Print the records of a series, or a value
///
/// Each record is a line. A selection in brackets has the syntax of Python: indices, slices with
/// negative bounds and steps, and '...'.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Key of the series or value, and a selection: 'net/v[-10:, 0]'
    #[arg(value_name = "KEY[SELECTION]")]
    key: String,

    #[command(flatten)]
    range: RangeArgs,

    /// Print at most N records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,

    /// Format numbers as printf does: %.3g, %8.2f, %e, %d, %x
    #[arg(short, long, value_name = "FORMAT", conflicts_with_all = ["json", "raw"])]
    format: Option<NumberFormat>,

    /// Write the coordinate (time, step) of each record before it
    #[arg(short, long, conflicts_with = "raw")]
    coordinates: bool,

    /// Write CSV with a header: the coordinate, if there is one, then a column for each element
    #[arg(long, conflicts_with_all = ["json", "raw"])]
    csv: bool,

    /// Write one line of JSON per record
    #[arg(long, conflicts_with = "raw")]
    json: bool,

    /// Write the bytes of each record as in memory, without separators
    #[arg(long)]
    raw: bool,
}

impl Args {
    fn form(&self) -> Form {
        let style = match (self.csv, self.json, self.raw) {
            (true, ..) => Style::Csv,
            (_, true, _) => Style::Json,
            (.., true) => Style::Raw,
            _ => Style::Text,
        };
        Form {
            style,
            coordinates: self.coordinates,
            format: self.format.clone(),
        }
    }
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.recording)?;
    let (node, selection) = recording::find(&*store, &args.key)?;
    match node {
        Node::Series(view) => {
            let mut view = args.range.select(view)?;
            if let Some(selection) = selection {
                view = view.select(selection.resolve(&*view)?)?;
            }
            if let Some(count) = args.count.filter(|&count| count < view.len()) {
                view = view.select(..count)?;
            }
            args.form().write_view(&view, output)?;
        }
        Node::Value { value, .. } if selection.is_none() => {
            args.form().write_value(&value?, output)?;
        }
        Node::Value { .. } => {
            let message = "this is a value, which is printed whole; leave out the selection";
            let error = Error::new(ErrorKind::KindMismatch, "select", message);
            return Err(error.with_key(&args.key).into());
        }
        _ => return Err(recording::is_group(&args.key).into()),
    }
    Ok(Exit::Success)
}
