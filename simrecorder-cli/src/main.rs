//! The program `simrec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    simrecorder_cli::run(std::env::args_os()).into()
}
