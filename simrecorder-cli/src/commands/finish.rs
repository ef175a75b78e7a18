//! `simrec finish`: makes what a writer left readable for other software.

use crate::args::RecordingArg;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec finish run.h5      after the simulation was killed

A recording that was not closed keeps its last records where other software does not look. This moves them
to where it does, as closing the recording would have done. Nothing that was flushed is lost.";

/// Make what a killed writer left readable for other software
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let store = simrecorder::append(&args.recording.recording)?;
    store.checkpoint()?;
    store.close()?;
    Ok(Exit::Success)
}
