//! `simrec verify`: reads a whole recording and lists the damage.

use std::io::Write;
use std::ops::ControlFlow;

use serde_json::json;
use simrecorder::{VerifiedKey, VerifyOptions};

use crate::args::RecordingArg;
use crate::exit::{Exit, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec verify run.mdb
  simrec verify --json run.mdb | jq .key

Exit status: 0 all is sound; 1 something is damaged; 2 an error.";

/// Read a whole recording, and list the damaged records by key
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Write a JSON object per damaged key
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.recording)?;
    let progress = Progress::new();
    let options = VerifyOptions::new().on_progress(|verified| {
        progress.show_verify(verified);
        ControlFlow::Continue(())
    });
    let report = simrecorder::verify_with(&store, options)?;
    drop(progress);
    match args.json {
        true => {
            for damaged in report.damaged() {
                output.json(&as_json(damaged))?;
            }
        }
        false => writeln!(output, "{report}")?,
    }
    Ok(match report.is_sound() {
        true => Exit::Success,
        false => Exit::No,
    })
}

fn as_json(verified: &VerifiedKey) -> serde_json::Value {
    let damage = verified.damage.iter().map(|damage| {
        let records = damage.records.as_ref().map(|it| [it.start, it.end]);
        json!({"records": records, "error": damage.error.to_string()})
    });
    json!({
        "key": verified.key.as_str(),
        "kind": verified.kind.as_str(),
        "records": verified.record_count,
        "damage": damage.collect::<Vec<_>>(),
    })
}
