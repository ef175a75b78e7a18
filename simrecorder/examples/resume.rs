//! Resumes a simulation that was interrupted. It records a random walk in a process of its
//! own, kills that process in the middle, and goes on from the last step that is in the recording
//! whole.
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
use simrecorder::{OpenMode, Recorder, Result, Schema, ZarrDataStore, prelude::*};

/// How many steps the simulation has.
const STEPS: u64 = 2_000;
const WALKERS: usize = 1_000;
const SEED: u64 = 2026;

fn main() -> Result<()> {
    let path = std::env::temp_dir().join("simrecorder-resume.mdb");
    if std::env::args().any(|argument| argument == "--simulate") {
        return simulate(&path);
    }

    // An empty recording to begin with.
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
    assert_eq!(recorder.get_all("walk/mean")?.len(), walk.len());
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

/// Records the walk from the beginning, or from where the recording ends.
fn simulate(path: &Path) -> Result<()> {
    let recorder = Recorder::new(ZarrDataStore::append(path)?);
    let schemas = [
        ("walk/positions", Schema::array::<f64>([WALKERS as u64])),
        ("walk/mean", Schema::scalar::<f64>()),
    ];
    let mut first = u64::MAX;
    for (key, schema) in &schemas {
        recorder.declare(key, schema.clone())?;
        first = first.min(recorder.get_all(key)?.len());
    }
    // The kill may have come when a step was in the one series and not yet in the other.
    for (key, _) in &schemas {
        recorder.truncate(key, first)?;
    }
    let mut positions = match recorder.get_all("walk/positions")?.last()? {
        Some(last) => last.try_into()?,
        None => vec![0.0; WALKERS],
    };
    println!("going on at step {first} of {STEPS}");

    for step in first..STEPS {
        // A generator for each step: what comes does not depend on where the run was cut.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED + step);
        for position in &mut positions {
            *position += rng.random::<f64>() - 0.5;
        }
        recorder.record("walk/positions", &positions)?;
        recorder.record("walk/mean", positions.iter().sum::<f64>() / WALKERS as f64)?;
        if step % 100 == 99 {
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
