//! Resumes a simulation after a kill, with one line. Another process records a random walk as a timeline, this one
//! kills it, and continues from the last saved state.
//!
//! ```text
//! cargo run --example resume --features zarr
//! ```
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use simrecorder::ndarray::s;
use simrecorder::{Coordinate, Object, OpenMode, Recorder, Result, ZarrDataStore};

/// How many steps the simulation has.
const STEPS: u64 = 2_000;
const WALKERS: usize = 1_000;
const SEED: u64 = 2026;

fn main() -> Result<()> {
    let path = std::env::temp_dir().join("simrecorder-resume.mdb");
    if std::env::args().any(|argument| argument == "--simulate") {
        return simulate(&path);
    }

    // Begins with an empty recording.
    drop(
        ZarrDataStore::options()
            .mode(OpenMode::Truncate)
            .open(&path)?,
    );
    kill_in_the_middle().expect("the example starts itself again");
    println!("killed; starting it again");
    simulate(&path)?;

    let recorder = Recorder::new(ZarrDataStore::open(&path)?);
    let walk = recorder.get_all("walk/positions")?;
    let steps = recorder.get_all("walk/step")?.read::<u64>()?;
    assert!(
        steps.iter().copied().eq(0..STEPS),
        "each step was recorded once"
    );
    let last = walk.select(s![-1, ..])?.read::<f64>()?;
    println!(
        "{} steps recorded; mean square distance {:.0}, expected {:.0} ± {:.0}",
        walk.len(),
        last.iter().map(|x| x * x).sum::<f64>() / WALKERS as f64,
        // Each step adds the variance of a number between -1/2 and 1/2.
        STEPS as f64 / 12.0,
        STEPS as f64 / 12.0 * (2.0 / WALKERS as f64).sqrt()
    );
    Ok(())
}

/// The state of the simulation: its last step, and the positions of the walkers.
type State = (u64, Vec<f64>);

/// Records the walk from the beginning, or from the last saved state.
fn simulate(path: &Path) -> Result<()> {
    let recorder = Recorder::new(ZarrDataStore::append(path)?);
    let mut walk = recorder.timeline("walk", Coordinate::new("step"))?;
    let mut positions = vec![0.0; WALKERS];
    let mut first = 0;
    if let Some(state) = recorder.get("state")? {
        let (saved, saved_positions) = state.object::<State>()?;
        // Removes the steps after the saved state.
        walk.rewind(saved)?;
        (first, positions) = (saved + 1, saved_positions);
    }
    println!("continuing at step {first} of {STEPS}");

    for step in first..STEPS {
        // A generator for each step makes the walk independent of the moment of the kill.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED + step);
        for position in &mut positions {
            *position += rng.random::<f64>() - 0.5;
        }
        let mean = positions.iter().sum::<f64>() / WALKERS as f64;
        walk.tick(step, (("positions", &positions), ("mean", mean)))?;
        if step % 100 == 99 {
            // Flushes the ticks first, so that the state is never ahead of the recording.
            recorder.flush()?;
            recorder.set("state", Object(&(step, &positions)))?;
            recorder.flush()?;
            println!("step {step} is safe");
        }
    }
    recorder.close()
}

/// Starts this program again to simulate, and kills it after some steps.
fn kill_in_the_middle() -> std::io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--simulate")
        .stdout(Stdio::piped())
        .spawn()?;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line?;
        println!("  {line}");
        if line == "step 799 is safe" {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}
