//! Copies a recording into a new one, both given by URL, and shows how far it has come:
//!
//! ```text
//! cargo run --release --example copy --features zarr -- zarr:run.mdb zarr+dir:run.zarr
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;

use simrecorder::{CopyOptions, OpenMode, OpenOptions, prelude::*};

fn main() -> Result<(), Box<dyn Error>> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &urls[..] else {
        return Err("give two URLs, such as zarr:run.mdb zarr+dir:run.zarr".into());
    };
    let from = simrecorder::open(from)?;
    let to = simrecorder::open_with(to, &OpenOptions::new().mode(OpenMode::CreateNew))?;
    let options = CopyOptions::new().on_progress(|progress| {
        print!("\r{progress}\x1b[K");
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    simrecorder::copy(&from, &to, options)?;
    to.close()?;
    println!("\nwhole");
    Ok(())
}
