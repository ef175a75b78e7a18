//! `simrec`: working with recordings from the shell.
//!
//! The program is a library so that the Python package can contain it, too.

mod args;
mod blocks;
mod commands;
mod confirm;
mod copying;
mod element;
mod exit;
mod file;
mod interrupt;
mod json_value;
mod listing;
mod number_format;
mod output;
mod pixels;
mod plotting;
mod progress;
mod record_writer;
mod recording;
mod selection;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use crate::args::Cli;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Runs the program with its arguments, beginning with its own name, and returns its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut output = Output::new();
    let ended = Cli::try_parse_from(arguments)
        .map_err(Failure::from)
        .and_then(|cli| commands::run(cli.command, &mut output))
        .or_else(|failure| match failure {
            Failure::Help(text) => output.write_help(&text),
            failure => Err(failure),
        })
        .and_then(|exit| {
            output.flush()?;
            Ok(exit)
        });
    match ended {
        Ok(exit) => exit.into(),
        // The reader of a pipe, such as `head`, has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Exit::Success.into()
        }
        Err(failure) => {
            // If the message cannot be written, only the exit status remains.
            let _ = writeln!(io::stderr(), "simrec: {failure}");
            exit::ERROR
        }
    }
}
