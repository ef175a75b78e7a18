//! `simrec set`: sets a value.

use simrecorder::{DType, Labeled, Recorder, Value};

use crate::args::RecordingArg;
use crate::exit::{Exit, Failure, Result};
use crate::json_value::{cast, parse_value};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec set run.mdb meta/seed 42
  simrec set run.mdb meta/tau 20 --type float64 --units ms
  simrec set run.mdb meta/weights '[[0.5, 1], [2, -1.5]]'
  simrec set run.mdb meta/note 'second attempt'
  simrec set run.mdb meta/parameters '{\"tau\": 20, \"names\": [\"E\", \"I\"]}'

A value is read as JSON: integers become int64, numbers with a point float64, objects stay objects. Anything
that is not JSON is text.";

/// Set a value; an existing one is overwritten
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Key of the value
    key: String,

    /// A number, true or false, an array of these, an object, or text
    #[arg(allow_negative_numbers = true)]
    value: String,

    /// Element type, such as float32, or text to store a number as text
    #[arg(long = "type", value_name = "TYPE")]
    dtype: Option<String>,

    /// Units, such as mV
    #[arg(long)]
    units: Option<String>,
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let value = match args.dtype.as_deref() {
        Some("text") => Value::Text(args.value.clone()),
        Some(name) => {
            let dtype: DType = name.parse()?;
            cast(&parse_value(&args.value)?, dtype)?
        }
        None => parse_value(&args.value)?,
    };
    let recorder = Recorder::new(simrecorder::append(&args.recording.recording)?);
    match &args.units {
        Some(units) if value.as_array().is_none() => {
            let message = format!(
                "set '{}': {value} is not a number; leave out --units {units}",
                args.key
            );
            return Err(Failure::Refused(message));
        }
        Some(units) => recorder.set(&args.key, Labeled::new(value, [""; 0]).units(units))?,
        None => recorder.set(&args.key, value)?,
    }
    recorder.close()?;
    Ok(Exit::Success)
}
