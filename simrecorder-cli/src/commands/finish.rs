//! `simrec finish`: makes the recording of a killed writer readable for other software.

use std::io::Write;

use serde_json::json;

use crate::args::RecordingArg;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec finish run.h5      after the simulation was killed

If a recording was not closed, its last records are in tails and in a journal, which other software does not
read. This command moves them into the chunks, as closing the recording would have done. No flushed record is lost.";

/// Repair the recording of a killed writer, so that other software can read all of it
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Write what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let path = &args.recording.recording;
    let found = simrecorder::open(path)?.info()?;
    let tails = found.tails.unwrap_or(0);
    let journal = found.journal_bytes.unwrap_or(0);
    // A server has neither.
    let was_finished = found.is_checkpointed.unwrap_or(true);
    if !was_finished {
        simrecorder::append(path)?.close()?;
    }
    match (args.json, was_finished) {
        (true, _) => output.json(&json!({
            "was_finished": was_finished, "tails": tails, "journal_bytes": journal,
        }))?,
        (false, true) => writeln!(output, "nothing to repair")?,
        (false, false) => writeln!(
            output,
            "{tails} tails and a journal of {journal} bytes were folded, so that other software reads them"
        )?,
    }
    Ok(Exit::Success)
}
