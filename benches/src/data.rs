//! Data from fixed seeds.

use std::f64::consts::{PI, TAU};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The generator of all random numbers.
pub type Generator = Xoshiro256PlusPlus;

/// The seed of everything.
pub const SEED: u64 = 20_260_801;

/// A generator that begins with [`SEED`].
pub fn generator() -> Generator {
    Generator::seed_from_u64(SEED)
}

/// The number of neurons, and of walkers.
pub const NEURONS: usize = 1000;

/// A random walk with steps uniform in ±0.5: smooth, but its low bits are noise.
pub fn random_walk(len: usize) -> Vec<f64> {
    let mut rng = generator();
    let mut at = 0.0;
    let step = |_| {
        at += rng.random::<f64>() - 0.5;
        at
    };
    (0..len).map(step).collect()
}

/// Times that increase by steps uniform in [0.5, 1.5).
pub fn times(len: usize) -> Vec<f64> {
    let mut rng = generator();
    let mut at = 0.0;
    let step = |_| {
        at += rng.random::<f64>() + 0.5;
        at
    };
    (0..len).map(step).collect()
}

/// The contents of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// A wave that moves, with 1 % noise on it.
    Smooth,
    /// Uniform in [0, 1).
    Random,
}

impl Frames {
    /// The side of a frame; with single precision it takes 1 MiB.
    pub const SIDE: usize = 512;

    /// Some frames, which are recorded repeatedly.
    pub fn make(self, count: usize) -> Vec<Vec<f32>> {
        let mut rng = generator();
        let mut frame = |step: usize| {
            let pixel = |index: usize| {
                let (x, y) = (index % Self::SIDE, index / Self::SIDE);
                let phase = 0.02 * (x + 3 * step) as f32;
                let noise = rng.random::<f32>();
                match self {
                    Self::Smooth => phase.sin() * (0.015 * y as f32).cos() + 0.01 * noise,
                    Self::Random => noise,
                }
            };
            (0..Self::SIDE * Self::SIDE).map(pixel).collect()
        };
        (0..count).map(&mut frame).collect()
    }
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(rng: &mut Generator) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

/// Membrane potentials in mV of leaky integrate-and-fire neurons with noisy input, every 0.1 ms.
pub fn potentials(rng: &mut Generator, bytes: usize) -> Vec<f64> {
    const STEP: f64 = 0.1; // ms
    const TIME_CONSTANT: f64 = 20.0; // ms
    const REFRACTORY_STEPS: u32 = 20;
    let (rest, threshold, reset) = (-70.0, -50.0, -60.0);
    let (drive, noise) = (18.0, 5.0);
    let mut neurons = vec![(rest, 0_u32); NEURONS];
    let mut all = Vec::new();
    while all.len() < bytes / 8 {
        for (potential, silent) in &mut neurons {
            if *silent > 0 {
                *silent -= 1;
            } else {
                *potential += (rest + drive - *potential) * STEP / TIME_CONSTANT
                    + noise * (2.0 * STEP / TIME_CONSTANT).sqrt() * normal(rng);
                if *potential >= threshold {
                    *potential = reset;
                    *silent = REFRACTORY_STEPS;
                }
            }
            all.push(*potential);
        }
    }
    all
}

/// The length of each axis of the field.
pub const FIELD_SIDE: usize = 256;

/// Waves of amplitude 1 that move over a square, with noise of 1 %.
pub fn field(rng: &mut Generator, bytes: usize) -> Vec<f32> {
    let mut all = Vec::new();
    while all.len() < bytes / 4 {
        let time = (all.len() / (FIELD_SIDE * FIELD_SIDE)) as f64 * 0.02;
        for cell in 0..FIELD_SIDE * FIELD_SIDE {
            let x = (cell % FIELD_SIDE) as f64 / FIELD_SIDE as f64;
            let y = (cell / FIELD_SIDE) as f64 / FIELD_SIDE as f64;
            let wave = (TAU * (x + time)).sin() * (PI * (y - 0.5 * time)).cos();
            all.push((wave + 0.01 * normal(rng)) as f32);
        }
    }
    all
}

/// Walks that begin at 0, with normal steps.
pub fn walks(rng: &mut Generator, bytes: usize) -> Vec<f64> {
    let mut walkers = vec![0.0; NEURONS];
    let mut all = Vec::new();
    while all.len() < bytes / 8 {
        for walker in &mut walkers {
            *walker += normal(rng);
            all.push(*walker);
        }
    }
    all
}

/// Independent numbers between 0 and 1.
pub fn uniform(rng: &mut Generator, bytes: usize) -> Vec<f64> {
    (0..bytes / 8).map(|_| rng.random()).collect()
}

/// The number of spikes of many neurons in each step, almost always 0.
pub fn counts(rng: &mut Generator, bytes: usize) -> Vec<u32> {
    let mut count = || (0..4).map(|_| u32::from(rng.random_bool(0.005))).sum();
    (0..bytes / 4).map(|_| count()).collect()
}
