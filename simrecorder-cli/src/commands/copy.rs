//! `simrec copy`: copies a recording.

use std::io::Write;

use crate::copying::CopyArgs;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec copy run.mdb run.h5                            all of it, as an HDF5 file
  simrec copy run.mdb small.mdb --compression small     encoded again
  simrec copy run.h5 part.zarr --include 'net/**' --exclude '**/spikes' --select time=10..20
  simrec copy run.mdb 'redis://host:6379?run=copy'

The new recording appears when it is complete; Ctrl-C removes the partial copy.";

/// Copy a recording, or a part of it, from any store into any other
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    copy: CopyArgs,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let copied = args.copy.run(simrecorder::copy)?;
    let (keys, records) = (copied.key_count, copied.record_count);
    writeln!(output, "{keys} keys with {records} records copied")?;
    Ok(Exit::Success)
}
