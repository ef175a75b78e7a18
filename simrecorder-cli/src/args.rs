//! The arguments of the program.

use std::num::ParseFloatError;
use std::ops::Bound;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use simrecorder::{CoordinateNumber, CoordinateRange, Error, ErrorKind, View};

#[cfg(feature = "serve")]
use crate::commands::serve;
use crate::commands::{
    attr, cat, completions, copy, diff, drain, export, finish, info, ls, man, mv, plot, recover,
    rewind, rm, set, tail, tree, verify,
};
#[cfg(feature = "redis")]
use crate::commands::{runs, server};
use crate::exit::Result;

/// Inspects, converts, compares and repairs recordings of simulations.
///
/// A recording is named by its path (run.mdb, run.zarr, run.h5) or URL (redis://host:6379?run=NAME). Keys
/// follow it.
#[derive(Debug, Parser)]
#[command(name = "simrec", version, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUS: &str =
    "Exit status: 0 success; 1 the answer is no (damaged, different); 2 an error.";

/// The commands. Each is a module of `commands`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ls(ls::Args),
    Tree(tree::Args),
    Info(info::Args),
    Cat(cat::Args),
    Tail(tail::Args),
    Export(export::Args),
    Plot(plot::Args),
    Copy(copy::Args),
    Drain(drain::Args),
    Finish(finish::Args),
    Verify(verify::Args),
    Recover(recover::Args),
    Diff(diff::Args),
    Set(set::Args),
    Rm(rm::Args),
    Mv(mv::Args),
    Attr(attr::Args),
    Rewind(rewind::Args),
    #[cfg(feature = "redis")]
    Runs(runs::Args),
    #[cfg(feature = "redis")]
    Server(server::Args),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The recording that a command reads.
#[derive(Args, Debug)]
pub(crate) struct RecordingArg {
    /// Path or URL of the recording
    pub(crate) recording: PathBuf,
}

/// A recording, and which of its nodes a command lists.
#[derive(Args, Debug)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    pub(crate) recording: RecordingArg,

    /// Keys, groups or globs: * matches within a level, ** any levels [default: everything]
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// A recording, and the series that a command reads.
#[derive(Args, Debug)]
pub(crate) struct SeriesArgs {
    #[command(flatten)]
    pub(crate) recording: RecordingArg,

    /// Keys of series, or globs
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
}

/// The keys to copy.
#[derive(Args, Debug)]
pub(crate) struct PatternArgs {
    /// Only keys that match: * matches within a level, ** any levels
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,

    /// No keys that match
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
}

/// A range of the coordinate of a series. Selections apply to the records in it.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct RangeArgs {
    /// Leave out records before this coordinate (time, step)
    #[arg(long, value_name = "COORDINATE", allow_negative_numbers = true)]
    from: Option<Number>,

    /// Leave out records at and after this coordinate
    #[arg(long, value_name = "COORDINATE", allow_negative_numbers = true)]
    to: Option<Number>,
}

/// A number on the command line. Integers keep all their digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) CoordinateNumber);

impl FromStr for Number {
    type Err = ParseFloatError;

    fn from_str(text: &str) -> Result<Self, ParseFloatError> {
        let signed = text.parse::<i64>().map(CoordinateNumber::from);
        let integer = signed.or_else(|_| text.parse::<u64>().map(CoordinateNumber::from));
        integer
            .or_else(|_| text.parse::<f64>().map(CoordinateNumber::from))
            .map(Self)
    }
}

impl RangeArgs {
    /// The part of a view whose coordinate is in the range.
    pub(crate) fn select(&self, view: View) -> Result<View> {
        if self.from.is_none() && self.to.is_none() {
            return Ok(view);
        }
        let Some(coordinate) = view.coordinate(0)? else {
            let message = "the series has no coordinate; select by index, as in 'KEY[100:200]'";
            let error = Error::new(ErrorKind::NotFound, "select", message);
            return Err(error.with_key(view.key().as_str()).into());
        };
        let from = self
            .from
            .map_or(Bound::Unbounded, |from| Bound::Included(from.0));
        let to = self.to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.0));
        Ok(view.select_by(coordinate.key().name(), CoordinateRange::from((from, to)))?)
    }
}
