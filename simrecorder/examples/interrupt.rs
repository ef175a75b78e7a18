//! Ends a simulation on Ctrl-C or SIGTERM without losing a record. When it is started again, it continues its
//! recording.
//!
//! ```text
//! cargo run --example interrupt --features zarr -- run.mdb
//! ```
//!
//! Batch systems send SIGTERM some time before SIGKILL, which no program can handle. SLURM does so when a job is
//! cancelled or reaches its time limit, by default 30 seconds before; `sbatch --signal=TERM@120` makes it 120.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use simrecorder::{OpenMode, OpenOptions, Recorder, Schema};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1);
    let path = path.map_or_else(
        || std::env::temp_dir().join("simrecorder-interrupt.mdb"),
        PathBuf::from,
    );
    simulate(&path)
}

/// Simulates until a signal ends it.
pub(crate) fn simulate(path: &Path) -> Result<(), Box<dyn Error>> {
    let is_ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // A second signal ends the program at once, in case it hangs.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&is_ending))?;
        flag::register(signal, Arc::clone(&is_ending))?;
    }
    let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
    let recorder = Recorder::new(simrecorder::open_with(path, &options)?);
    recorder.declare("step", Schema::scalar::<u64>())?;
    let mut step = recorder.get_all("step")?.len();
    println!("recording into {}; Ctrl-C ends it", path.display());
    while !is_ending.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1)); // the simulation
        recorder.record("step", step)?;
        step += 1;
        if step % 100 == 0 {
            println!("step {step}");
        }
    }
    recorder.close()?;
    println!("recorded {step} steps");
    Ok(())
}
