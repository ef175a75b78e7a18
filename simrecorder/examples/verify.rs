//! Reads a whole recording, given by path or URL, and prints what is damaged:
//!
//! ```text
//! cargo run --release --example verify --features zarr -- run.mdb
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let recording = std::env::args_os().nth(1);
    let recording = recording.ok_or("give the path or URL of a recording, such as run.mdb")?;
    let report = simrecorder::verify(&simrecorder::open(&recording)?)?;
    println!("{report}");
    Ok(match report.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
