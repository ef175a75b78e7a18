//! The commands, each with its arguments and `run`.

pub(crate) mod attr;
pub(crate) mod cat;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod drain;
pub(crate) mod export;
pub(crate) mod finish;
pub(crate) mod info;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mv;
pub(crate) mod plot;
pub(crate) mod recover;
pub(crate) mod rewind;
pub(crate) mod rm;
#[cfg(feature = "redis")]
pub(crate) mod runs;
#[cfg(feature = "serve")]
pub(crate) mod serve;
#[cfg(feature = "redis")]
pub(crate) mod server;
pub(crate) mod set;
pub(crate) mod tail;
pub(crate) mod tree;
pub(crate) mod verify;

use crate::args::Command;
use crate::exit::{Exit, Result};
use crate::output::Output;

pub(crate) fn run(command: Command, output: &mut Output) -> Result<Exit> {
    match command {
        Command::Attr(args) => attr::run(&args, output),
        Command::Completions(args) => completions::run(&args, output),
        Command::Copy(args) => copy::run(&args, output),
        Command::Diff(args) => diff::run(&args, output),
        Command::Drain(args) => drain::run(&args, output),
        Command::Export(args) => export::run(&args, output),
        Command::Finish(args) => finish::run(&args, output),
        Command::Ls(args) => ls::run(&args, output),
        Command::Tree(args) => tree::run(&args, output),
        Command::Info(args) => info::run(&args, output),
        Command::Cat(args) => cat::run(&args, output),
        Command::Tail(args) => tail::run(&args, output),
        Command::Man(args) => man::run(&args, output),
        Command::Mv(args) => mv::run(&args, output),
        Command::Plot(args) => plot::run(&args, output),
        Command::Recover(args) => recover::run(&args, output),
        Command::Rewind(args) => rewind::run(&args, output),
        Command::Rm(args) => rm::run(&args, output),
        #[cfg(feature = "redis")]
        Command::Runs(args) => runs::run(&args, output),
        #[cfg(feature = "redis")]
        Command::Server(args) => server::run(&args, output),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, output),
        Command::Set(args) => set::run(&args, output),
        Command::Verify(args) => verify::run(&args, output),
    }
}
