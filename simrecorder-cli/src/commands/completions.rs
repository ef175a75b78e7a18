//! `simrec completions`: writes completion scripts for shells.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec completions bash > ~/.local/share/bash-completion/completions/simrec
  simrec completions zsh > ~/.zfunc/_simrec
  simrec completions fish > ~/.config/fish/completions/simrec.fish";

/// Write the completions of a shell
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    // It panics if it cannot write, for example into a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "simrec", &mut script);
    output.write_all(&script)?;
    Ok(Exit::Success)
}
