//! `simrec drain`: moves records from a server into a file.

use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use simrecorder::{DataStore, DrainOptions, DrainProgress, ErrorKind, OpenMode, OpenOptions};

use crate::args::PatternArgs;
use crate::exit::{Exit, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// The longest pause of a following drain before it checks for Ctrl-C.
const PAUSE: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
    Examples:
  simrec drain 'redis://host:6379?run=sweep' sweep.mdb
  simrec drain 'redis://host:6379?run=sweep' sweep.mdb --follow      until Ctrl-C

The server frees records once they are durable in the file. The command can be interrupted or killed,
and run again: no record is lost or stored twice.";

/// Move records from a Redis server into a file, while others record
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// URL of the recording on the server
    from: PathBuf,

    /// Path of the recording to move records into, created if it does not exist
    to: PathBuf,

    /// Keep moving new records until Ctrl-C
    #[arg(long, short)]
    follow: bool,

    /// With --follow, the seconds between two drains
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        requires = "follow"
    )]
    interval: u32,

    #[command(flatten)]
    patterns: PatternArgs,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let interrupt = Interrupt::watch()?;
    let from = simrecorder::append(&args.from)?;
    let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
    let to = simrecorder::open_with(&args.to, &options)?;
    let progress = Progress::new();
    let mut records = 0;
    loop {
        let drained = drain(&*from, &*to, args, &interrupt, &progress);
        let drained = match drained {
            Err(error) if error.kind() == ErrorKind::Cancelled => break,
            drained => drained?,
        };
        records += drained.record_count;
        if !args.follow || !wait(&interrupt, args.interval) {
            break;
        }
    }
    drop(progress);
    to.close()?;
    from.close()?;
    writeln!(output, "{records} records moved")?;
    Ok(Exit::Success)
}

fn drain(
    from: &dyn DataStore,
    to: &dyn DataStore,
    args: &Args,
    interrupt: &Interrupt,
    progress: &Progress,
) -> simrecorder::Result<DrainProgress> {
    let mut options = DrainOptions::new().on_progress(|drained| {
        progress.show_drain(drained);
        interrupt.flow()
    });
    for pattern in &args.patterns.include {
        options = options.include(pattern);
    }
    for pattern in &args.patterns.exclude {
        options = options.exclude(pattern);
    }
    simrecorder::drain(from, to, options)
}

/// Waits this many seconds. Returns whether to continue.
fn wait(interrupt: &Interrupt, seconds: u32) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end && !interrupt.is_requested() {
        thread::sleep(PAUSE);
    }
    !interrupt.is_requested()
}
