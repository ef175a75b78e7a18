//! One way of doing a piece of work.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;

/// The result of anything that may fail in a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One way of doing a piece of work; a peer joins the comparison by implementing it.
pub trait Candidate {
    /// What it is, as the table shows it.
    fn name(&self) -> String;

    /// Does the work once. What prepares it, and what checks the result, is not measured.
    ///
    /// # Errors
    /// What the candidate reports.
    fn run(&mut self) -> Result<Outcome>;

    /// Whether it is simrecorder. The first that is, is the one that others are compared with in
    /// a column of its own.
    fn is_ours(&self) -> bool {
        false
    }

    /// How much it does, if it is so slow that it does only a part of the work.
    fn part(&self) -> Option<Part> {
        None
    }

    /// The process whose writing is counted, if it was started.
    fn process(&self) -> Option<u32> {
        Some(std::process::id())
    }
}

/// A part of the work, for candidates whose speed does not depend on how much there is.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// How much of the work.
    pub fraction: f64,
    /// The checksum of that part.
    pub checksum: u64,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The time of the work alone.
    pub elapsed: Duration,
    /// The sum of all words that were recorded, or read; see [`checksum`]. The same for all
    /// candidates.
    pub checksum: u64,
    /// The bytes where the work wrote to, or read from.
    pub stored: Option<u64>,
}

impl Outcome {
    /// What a run gave that stored nothing.
    pub fn new(elapsed: Duration, checksum: u64) -> Self {
        Self {
            elapsed,
            checksum,
            stored: None,
        }
    }

    /// With the size of the file or folder at `path`.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn stored_at(self, path: &Path) -> Result<Self> {
        let stored = Some(bytes_at(path)?);
        Ok(Self { stored, ..self })
    }
}

/// The length of a file, or of all files in a folder.
///
/// # Errors
/// It cannot be looked at.
pub fn bytes_at(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = std::fs::read_dir(path)?;
    entries.map(|entry| bytes_at(&entry?.path())).sum()
}

/// Waits until everything written to the file system of `path` is on its disk.
///
/// # Errors
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
    /// One of `divisor` records, and what part of the work that is.
    pub fn of(load: &Load, divisor: usize) -> (Load, Option<Self>) {
        let part = load.part(divisor);
        let fraction = part.count as f64 / load.count as f64;
        let checksum = part.checksum();
        let of = (divisor > 1).then_some(Self { fraction, checksum });
        (part, of)
    }
}
