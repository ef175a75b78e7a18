//! Data from fixed seeds.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The seed of everything.
pub const SEED: u64 = 20_260_801;

/// A random walk with steps uniform in ±0.5: smooth, but its low bits are noise.
pub fn random_walk(len: usize) -> Vec<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut at = 0.0;
    let step = |_| {
        at += rng.random::<f64>() - 0.5;
        at
    };
    (0..len).map(step).collect()
}

/// What the frames hold.
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

    /// Some frames, to be recorded again and again.
    pub fn make(self, count: usize) -> Vec<Vec<f32>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
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
