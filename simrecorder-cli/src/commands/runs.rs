//! `simrec runs`: lists the recordings on a server.

use std::io::Write;

use serde_json::json;
use simrecorder::RedisDataStore;

use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec runs redis://host:6379
  for run in $(simrec runs redis://host); do simrec copy \"redis://host?run=$run\" \"$run.mdb\"; done";

/// List the recordings on a Redis server
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// URL of the server
    url: String,

    /// Write a JSON object per recording
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    for run in RedisDataStore::runs(&args.url)? {
        match args.json {
            true => output.json(&json!({"run": run}))?,
            false => writeln!(output, "{}", run.escape_debug())?,
        }
    }
    Ok(Exit::Success)
}
