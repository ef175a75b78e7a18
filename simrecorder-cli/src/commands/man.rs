//! `simrec man`: writes manual pages.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;
use simrecorder::Error;

use crate::args::Cli;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec man | man -l -                         reads the page of the program
  simrec man --to ~/.local/share/man/man1       writes a page for each command";

/// Write the manual pages
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write a page for each command into a folder, created if it does not exist
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    match &args.to {
        Some(folder) => {
            let io = |error| Error::io("write", folder, error);
            fs::create_dir_all(folder).map_err(io)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(io)?;
        }
        None => Man::new(Cli::command()).render(output)?,
    }
    Ok(Exit::Success)
}
