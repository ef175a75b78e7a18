//! One way of doing a piece of work.

use std::time::{Duration, Instant};

/// The result of anything that may fail in a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One way of doing a piece of work; a peer joins the comparison by implementing it.
pub trait Contender {
    /// What it is, as it stands in the table.
    fn name(&self) -> String;

    /// Does the work once. What prepares it, and what checks the result, is not measured.
    fn run(&mut self) -> Result<Outcome>;
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The time of the work alone.
    pub elapsed: Duration,
    /// The sum of all words that were recorded, or read; see [`checksum`]. The same for all
    /// contenders.
    pub checksum: u64,
}

/// Runs `work` and measures it.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

/// The wrapping sum of numbers as words of 64 bits, which any language computes quickly.
pub fn checksum(values: &[f64]) -> u64 {
    values
        .iter()
        .fold(0, |sum, value| sum.wrapping_add(value.to_bits()))
}

/// [`checksum`] for single precision.
pub fn checksum_f32(values: &[f32]) -> u64 {
    values
        .iter()
        .fold(0, |sum, value| sum.wrapping_add(value.to_bits().into()))
}
