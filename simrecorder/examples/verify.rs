//! Reads all of a recording, given by URL, and says what of it is damaged:
//!
//! ```text
//! cargo run --release --example verify --features zarr -- zarr:run.mdb
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let url = std::env::args().nth(1);
    let url = url.ok_or("give the URL of a recording, such as zarr:run.mdb")?;
    let report = simrecorder::verify(&simrecorder::open(&url)?)?;
    println!("{report}");
    Ok(match report.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
