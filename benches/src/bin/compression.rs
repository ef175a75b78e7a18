//! Measures every compression with data of five kinds, and prints the table of
//! `docs/compression.md`:
//!
//! ```sh
//! cargo run --release -p simrecorder-bench --bin compression [FOLDER]
//! ```
//!
//! Each data set is recorded into a Zarr directory within the folder, by default one in memory, and
//! read back. Recording is timed from opening the recorder to the end of `close`. All measurements
//! are made in turn, several times, and the medians are printed. MB are 10⁶ bytes before
//! compression.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::SeedableRng;
use simrecorder::ndarray::s;
use simrecorder::{Compression, Element, OpenMode, Recorder, ZarrDataStore, ZarrStorage};
use simrecorder_bench::data::{FIELD_SIDE, Generator, counts, field, potentials, uniform, walks};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const ROUNDS: usize = 7;
/// The size of a data set before compression.
const BYTES: usize = 64 << 20;
/// The number of bytes that are read at a time.
const BLOCK_BYTES: usize = 8 << 20;

fn main() -> Result<()> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None if Path::new("/dev/shm").is_dir() => PathBuf::from("/dev/shm"),
        None => std::env::temp_dir(),
    };
    let folder = tempfile::tempdir_in(folder)?;
    let mut rng = Generator::seed_from_u64(1);
    let sets = [
        DataSet::new(
            "membrane potentials, f64",
            1000,
            potentials(&mut rng, BYTES),
            Some(5e-3),
        ),
        DataSet::new(
            "smooth field with 1 % noise, f32",
            FIELD_SIDE * FIELD_SIDE,
            field(&mut rng, BYTES),
            Some(1e-3),
        ),
        DataSet::new(
            "random walks, f64",
            1000,
            walks(&mut rng, BYTES),
            Some(0.05),
        ),
        DataSet::new(
            "random numbers, f64",
            1000,
            uniform(&mut rng, BYTES),
            Some(3e-4),
        ),
        DataSet::new(
            "sparse spike counts, u32",
            4000,
            counts(&mut rng, BYTES),
            None,
        ),
    ];

    let mut runs: Vec<Vec<Run>> = Vec::new();
    for round in 0..ROUNDS {
        let mut next = 0;
        for set in &sets {
            for compression in set.compressions()? {
                let run = (set.run)(&folder.path().join("run.zarr"), compression)?;
                if round == 0 {
                    runs.push(Vec::new());
                }
                runs[next].push(run);
                next += 1;
            }
        }
    }

    println!("{}.\n", machine());
    println!("| data, standard deviation | compression | size | recording | reading |");
    println!("|---|---|--:|--:|--:|");
    let mut runs = runs.iter();
    for set in &sets {
        for (compression, runs) in set.compressions()?.into_iter().zip(&mut runs) {
            let of = |part: fn(&Run) -> f64| median(runs.iter().map(part).collect());
            println!(
                "| {}, {:.3} | {} | {:.3} | {:.0} MB/s | {:.0} MB/s |",
                set.name,
                set.deviation,
                label(compression),
                of(|run| run.size),
                of(|run| run.recording),
                of(|run| run.reading),
            );
        }
    }
    Ok(())
}

fn label(compression: Compression) -> String {
    match compression {
        Compression::Lossy(bound) => format!("`Lossy`, {}", bound.max_error()),
        lossless => format!("`{lossless:?}`"),
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The processor, and the number of cores that this program may use.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{model}, {cores} cores, {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// The results of one run.
struct Run {
    /// Stored bytes per recorded byte.
    size: f64,
    /// MB/s.
    recording: f64,
    /// MB/s.
    reading: f64,
}

type Measure = dyn Fn(&Path, Compression) -> Result<Run>;

struct DataSet {
    name: &'static str,
    deviation: f64,
    max_error: Option<f64>,
    run: Box<Measure>,
}

impl DataSet {
    /// Numbers that are recorded as vectors of `width`.
    fn new<T>(name: &'static str, width: usize, numbers: Vec<T>, max_error: Option<f64>) -> Self
    where
        T: Element + Into<f64>,
    {
        let count = numbers.len() as f64;
        let mean = numbers.iter().map(|&x| x.into()).sum::<f64>() / count;
        let square = |&x: &T| (x.into() - mean).powi(2);
        let deviation = (numbers.iter().map(square).sum::<f64>() / count).sqrt();
        let run = move |path: &Path, compression| run(path, &numbers, width, compression);
        Self {
            name,
            deviation,
            max_error,
            run: Box::new(run),
        }
    }

    fn compressions(&self) -> Result<Vec<Compression>> {
        let lossy = self.max_error.map(Compression::lossy).transpose()?;
        let lossless = [Compression::None, Compression::Fast, Compression::Small];
        Ok(lossless.into_iter().chain(lossy).collect())
    }
}

/// Records all numbers, reads them back, and checks them.
fn run<T>(path: &Path, numbers: &[T], width: usize, compression: Compression) -> Result<Run>
where
    T: Element + Into<f64>,
{
    let options = || ZarrDataStore::options().storage(ZarrStorage::Directory);
    let megabytes = size_of_val(numbers) as f64 / 1e6;
    let start = Instant::now();
    let store = options()
        .mode(OpenMode::Truncate)
        .compression(compression)
        .open(path)?;
    let recorder = Recorder::new(store);
    for record in numbers.chunks_exact(width) {
        recorder.record("x", record)?;
    }
    recorder.close()?;
    let recording = megabytes / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let recorder = Recorder::new(options().open(path)?);
    let view = recorder.get_all("x")?;
    let block = BLOCK_BYTES / size_of::<T>() / width;
    for first in (0..numbers.len() / width).step_by(block) {
        let end = (first + block).min(numbers.len() / width);
        std::hint::black_box(view.select(s![first..end, ..])?.read::<T>()?);
    }
    let reading = megabytes / start.elapsed().as_secs_f64();

    let max_error = match compression {
        Compression::Lossy(bound) => bound.max_error(),
        _ => 0.0,
    };
    for (read, &recorded) in view.read::<T>()?.iter().zip(numbers) {
        let error: f64 = (*read).into() - recorded.into();
        assert!(
            error.abs() <= max_error,
            "an error of {error}, with {compression}"
        );
    }
    let size = bytes_within(path)? as f64 / size_of_val(numbers) as f64;
    Ok(Run {
        size,
        recording,
        reading,
    })
}

fn bytes_within(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_within(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
