//! `simrec ls`: lists keys.

use std::io::Write;

use serde_json::json;
use simrecorder::NodeKind;

use crate::args::RecordingArg;
use crate::exit::{Exit, Result};
use crate::output::Output;
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec ls run.mdb                    every value and series
  simrec ls run.mdb net 'pop_*/rate'   those in the group net, and the rates of all populations";

/// List the values and series of a recording
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Keys, groups or globs: * matches within a level, ** any levels [default: everything]
    #[arg(value_name = "KEY")]
    keys: Vec<String>,

    /// Write one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.recording)?;
    for child in recording::select(&*store, &args.keys)? {
        match (child.kind, args.json) {
            (NodeKind::Group, _) => {}
            (kind, true) => {
                output.json(&json!({"key": child.key.as_str(), "kind": kind.as_str()}))?;
            }
            (_, false) => writeln!(output, "{}", child.key)?,
        }
    }
    Ok(Exit::Success)
}
