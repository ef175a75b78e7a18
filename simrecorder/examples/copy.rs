//! Copies a recording into a new one, both given by path or URL, and shows how far it has come:
//!
//! ```text
//! cargo run --release --example copy --features zarr -- run.mdb run.zarr
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;

use simrecorder::{CopyOptions, prelude::*};

fn main() -> Result<(), Box<dyn Error>> {
    let recordings: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [from, to] = &recordings[..] else {
        return Err("give two paths or URLs, such as run.mdb run.zarr".into());
    };
    let from = simrecorder::open(from)?;
    let to = simrecorder::create(to)?;
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
