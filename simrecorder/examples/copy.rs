//! Copies a recording into a new one, each given by path or URL, and prints the progress. Patterns select keys; a
//! pattern after a `!` leaves keys out:
//!
//! ```text
//! cargo run --release --example copy --features zarr -- run.mdb run.zarr
//! cargo run --release --example copy --features zarr -- run.mdb net.zarr 'net/**' '!**/spikes'
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;

use simrecorder::{CopyOptions, prelude::*};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [from, to, patterns @ ..] = &arguments[..] else {
        return Err("give two paths or URLs, such as run.mdb run.zarr".into());
    };
    let from = simrecorder::open(from)?;
    let to = simrecorder::create(to)?;
    let mut options = CopyOptions::new();
    for pattern in patterns {
        let pattern = pattern.to_str().ok_or("a pattern is not UTF-8; keys are")?;
        options = match pattern.strip_prefix('!') {
            Some(pattern) => options.exclude(pattern),
            None => options.include(pattern),
        };
    }
    let options = options.on_progress(|progress| {
        print!("\r{progress}\x1b[K");
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    simrecorder::copy(&from, &to, options)?;
    to.close()?;
    println!("\ncomplete");
    Ok(())
}
