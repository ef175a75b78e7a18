//! `simrec ls`: lists keys.

use std::io::Write;

use simrecorder::NodeKind;

use crate::args::NodesArgs;
use crate::exit::{Exit, Result};
use crate::listing::ListingArgs;
use crate::output::Output;
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec ls run.mdb                    every value and series
  simrec ls -l run.mdb net             what is in the group net, with types, shapes and units
  simrec ls --stats run.mdb '*/rate'   the range and the mean of the rates of all populations";

/// List the values and series of a recording
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodesArgs,

    #[command(flatten)]
    listing: ListingArgs,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.nodes.recording)?;
    let mut selected = recording::select(&*store, &args.nodes.keys)?;
    selected.retain(|child| child.kind != NodeKind::Group);
    if args.listing.is_short() {
        for child in selected {
            writeln!(output, "{}", child.key)?;
        }
        return Ok(Exit::Success);
    }
    let nodes = recording::nodes(&*store, selected);
    let entries = nodes.map(|(child, node)| {
        let text = child.key.to_string();
        (child, text, node)
    });
    args.listing.write(entries, output)?;
    Ok(Exit::Success)
}
