//! `simrec mv`: renames a key.

use simrecorder::Recorder;

use crate::args::RecordingArg;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec mv run.mdb net/v net/voltage
  simrec mv run.mdb net old/net          a group with everything in it";

/// Rename a key and everything below it
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Key of a group, value or series
    from: String,

    /// Its new key, which must be free
    to: String,
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let recorder = Recorder::new(simrecorder::append(&args.recording.recording)?);
    recorder.rename(&args.from, &args.to)?;
    recorder.close()?;
    Ok(Exit::Success)
}
