//! `simrec rewind`: rewinds timelines to an earlier tick.

use simrecorder::{CoordinateNumber, DataStoreExt, Key, Recorder, View};

use crate::args::{Number, RecordingArg};
use crate::confirm::confirm;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec rewind run.mdb time 12.5        removes every tick after 12.5
  simrec rewind run.mdb step 1000 --yes

All timelines with this coordinate are rewound in one commit. A program that resumes from a state it saved
at that time records the ticks after it again.";

/// Remove the ticks of timelines after a time or step
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Name of the coordinate, such as time or step
    coordinate: String,

    /// Time or step after which ticks are removed
    #[arg(allow_negative_numbers = true)]
    last: Number,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let store = simrecorder::append(&args.recording.recording)?;
    let (mut timelines, mut ticks) = (0, 0);
    for (group, name) in store.timelines_within(&Key::ROOT)? {
        if name == args.coordinate {
            timelines += 1;
            ticks += ticks_after(&store.series_view(&group.join(&name)?)?, &name, args.last.0)?;
        }
    }
    let what = format!("remove {ticks} ticks of {timelines} timelines");
    // If no timeline has this coordinate, the library reports an error, so there is nothing to
    // confirm.
    let is_agreed = ticks == 0 || confirm(&what, args.yes)?;
    let recorder = Recorder::new(store);
    if is_agreed {
        recorder.rewind(&args.coordinate, args.last.0)?;
    }
    recorder.close()?;
    Ok(match is_agreed {
        true => Exit::Success,
        false => Exit::No,
    })
}

fn ticks_after(coordinate: &View, name: &str, last: CoordinateNumber) -> Result<u64> {
    Ok(coordinate.len() - coordinate.select_by(name, ..=last)?.len())
}
