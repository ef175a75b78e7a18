//! The commands, each with its arguments and `run`.

pub(crate) mod cat;
pub(crate) mod ls;
pub(crate) mod tail;
pub(crate) mod tree;

use crate::args::Command;
use crate::exit::{Exit, Result};
use crate::output::Output;

pub(crate) fn run(command: Command, output: &mut Output) -> Result<Exit> {
    match command {
        Command::Ls(args) => ls::run(&args, output),
        Command::Tree(args) => tree::run(&args, output),
        Command::Cat(args) => cat::run(&args, output),
        Command::Tail(args) => tail::run(&args, output),
    }
}
