//! Resumes a simulation that was interrupted: it records a random walk, stops in the middle as
//! if it had been killed, and goes on from what was flushed.
//!
//! ```text
//! cargo run --example resume --features zarr [-- PATH]
//! ```
//! Without a path, the first run begins anew. With one, each call goes on where the last one
//! was interrupted, be it by Ctrl-C or a power failure.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use simrecorder::ndarray::s;
use simrecorder::{
    Key, OnDivergence, OpenMode, Recorder, RecorderOptions, Result, ZarrDataStore, prelude::*,
};

/// How many steps the whole simulation has.
const STEPS: u64 = 20_000;
/// How often the state is saved, from which a run can go on.
const SAVE_EVERY: u64 = 1_000;
const WALKERS: usize = 100;

/// What a run needs to go on.
#[derive(serde::Serialize, serde::Deserialize)]
struct State {
    step: u64,
    positions: Vec<f64>,
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).map(PathBuf::from);
    match path {
        Some(path) => run(&path, STEPS),
        None => {
            let path = std::env::temp_dir().join("simrecorder-resume.mdb");
            // Makes sure that the first run begins anew.
            drop(
                ZarrDataStore::options()
                    .mode(OpenMode::Truncate)
                    .open(&path)?,
            );
            run(&path, 7_777)?;
            println!("… interrupted; calling it again:");
            run(&path, STEPS)
        }
    }
}

/// Runs from the last saved state on, up to the step `until`.
fn run(path: &Path, until: u64) -> Result<()> {
    let store = ZarrDataStore::options()
        .mode(OpenMode::OpenOrCreate)
        .open(path)?;
    // Records behind the saved state are done again, so they are taken back.
    let saved = saved_state(&store)?;
    truncate(&store, saved.step)?;
    let options = RecorderOptions::new().with_on_divergence(OnDivergence::CutToShortest);
    let recorder = Recorder::with_options(store, options);
    println!("going on at step {} of {STEPS}", saved.step);

    let State {
        step: first,
        mut positions,
    } = saved;
    for step in first..until {
        // A generator for each step: what follows does not depend on where the run was cut.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(step);
        for position in &mut positions {
            *position += rng.random::<f64>() - 0.5;
        }
        recorder.record("walk/positions", &positions)?;
        if (step + 1) % SAVE_EVERY == 0 {
            recorder.set(
                "state",
                Object(State {
                    step: step + 1,
                    positions: positions.clone(),
                }),
            )?;
            recorder.flush()?;
        }
    }
    if until < STEPS {
        // As a killed process would: without a word to the recorder.
        std::mem::forget(recorder);
        return forget_lock(path);
    }
    recorder.close()?;

    let recorder = Recorder::new(ZarrDataStore::open(path)?);
    let walk = recorder.get_all("walk/positions")?;
    let last = walk.select(s![-1, ..])?.read::<f64>()?;
    println!(
        "{} steps recorded; mean square distance {:.0}, expected {:.0}",
        walk.len(),
        last.iter().map(|x| x * x).sum::<f64>() / WALKERS as f64,
        STEPS as f64 / 12.0
    );
    Ok(())
}
