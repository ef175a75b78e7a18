//! One way of doing a piece of work.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;

/// The result of a fallible operation in a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One way of doing a piece of work. A peer joins the comparison by implementing this trait.
pub trait Candidate {
    /// The name in the tables.
    fn name(&self) -> String;

    /// Does the work once. Preparing it and checking the result is not measured.
    ///
    /// # Errors
    ///
    /// What the candidate reports.
    fn run(&mut self) -> Result<Outcome>;

    /// Whether it is simrecorder. A separate column compares the others with the first candidate of
    /// simrecorder.
    fn is_ours(&self) -> bool {
        false
    }

    /// The part of the work that it does, if it is too slow for all of it.
    fn part(&self) -> Option<Part> {
        None
    }

    /// The process whose writes are counted, if it was started.
    fn process(&self) -> Option<u32> {
        Some(std::process::id())
    }
}

/// A part of the work, for candidates whose speed does not depend on the amount.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The fraction of the work.
    pub fraction: f64,
    /// The checksum of that part.
    pub checksum: u64,
}

/// The results of one run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The time of the work alone.
    pub elapsed: Duration,
    /// The sum of all words that were recorded or read; see [`checksum`]. It is the same for all
    /// candidates.
    pub checksum: u64,
    /// The size of what the work wrote or read.
    pub stored: Option<u64>,
}

impl Outcome {
    /// The results of a run that stored nothing.
    pub fn new(elapsed: Duration, checksum: u64) -> Self {
        Self {
            elapsed,
            checksum,
            stored: None,
        }
    }

    /// Adds the size of the file or folder at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn stored_at(self, path: &Path) -> Result<Self> {
        let stored = Some(bytes_at(path)?);
        Ok(Self { stored, ..self })
    }
}

/// The size of a file, or of all files in a folder.
///
/// # Errors
///
/// It cannot be read.
pub fn bytes_at(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = std::fs::read_dir(path)?;
    entries.map(|entry| bytes_at(&entry?.path())).sum()
}

/// Waits until everything that was written to the file system of `path` is on disk.
///
/// # Errors
///
/// The program `sync` fails.
pub fn sync_file_system(path: &Path) -> Result<()> {
    let status = std::process::Command::new("sync")
        .arg("-f")
        .arg(path)
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("sync -f {} failed", path.display()).into()),
    }
}

/// Runs `work` and measures it.
///
/// # Errors
/// Those of `work`.
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

impl Part {
    /// One of `divisor` records, and the part of the work that it is.
    pub fn of(load: &Load, divisor: usize) -> (Load, Option<Self>) {
        let part = load.part(divisor);
        let fraction = part.count as f64 / load.count as f64;
        let checksum = part.checksum();
        let of = (divisor > 1).then_some(Self { fraction, checksum });
        (part, of)
    }
}
