//! `simrec recover`: copies the undamaged part of a recording.

use std::io::Write;

use serde_json::json;
use simrecorder::Recovery;

use crate::copying::CopyArgs;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec recover broken.mdb run.mdb
  simrec recover broken.h5 rest.h5 --exclude net/v      keeps the ticks at which only net/v is damaged

Damaged values are left out. A series keeps its records up to the first damaged one. The records after a
damaged part are stored under a key with the index of the first of them, such as log@200.
Timelines lose the ticks at which one of their series is damaged.

Exit status: 0 nothing had to be left out; 1 something was; 2 an error.";

/// Copy the undamaged part of a recording, and list the damage
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    copy: CopyArgs,

    /// Write JSON: what was left out, stored under another key, and copied
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let recovery = args.copy.run(simrecorder::recover)?;
    match args.json {
        true => output.json(&as_json(&recovery))?,
        false => writeln!(output, "{recovery}")?,
    }
    Ok(match recovery.is_whole() {
        true => Exit::Success,
        false => Exit::No,
    })
}

fn as_json(recovery: &Recovery) -> serde_json::Value {
    let left_out = recovery.left_out.iter().map(|part| {
        let records = part.records.as_ref().map(|it| [it.start, it.end]);
        json!({"key": part.key.as_str(), "records": records, "error": part.error.to_string()})
    });
    let moved = recovery.moved.iter().map(|moved| {
        let records = [moved.records.start, moved.records.end];
        json!({"from": moved.from.as_str(), "records": records, "to": moved.to.as_str()})
    });
    json!({
        "left_out": left_out.collect::<Vec<_>>(),
        "moved": moved.collect::<Vec<_>>(),
        "keys": recovery.copied.key_count,
        "records": recovery.copied.record_count,
    })
}
