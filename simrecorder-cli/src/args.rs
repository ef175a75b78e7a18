//! The arguments of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::ls;

/// Everything about a recording of a simulation, from the shell.
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

/// What to do. Each command is a module of `commands`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ls(ls::Args),
}

/// The recording that a command reads.
#[derive(Args, Debug)]
pub(crate) struct RecordingArg {
    /// Path or URL of the recording
    pub(crate) recording: PathBuf,
}
