//! The commands, each with its arguments and `run`.

pub(crate) mod ls;

use crate::args::Command;
use crate::exit::{Exit, Result};
use crate::output::Output;

pub(crate) fn run(command: Command, output: &mut Output) -> Result<Exit> {
    match command {
        Command::Ls(args) => ls::run(&args, output),
    }
}
