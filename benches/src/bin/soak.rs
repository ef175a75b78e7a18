//! Records at a steady rate for a long time, and monitors memory, files and latency.
//!
//! At the end, it reads everything back. It fails if a record is missing or wrong, or if memory or
//! the number of open files grew.

#![allow(clippy::print_stdout, reason = "this is what the program is for")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use simrecorder::{OpenMode, OpenOptions, Recorder, RedisServer, Series, prelude::*};
use simrecorder_bench::Result;

/// Records numbers into a store, one per key at a time, and occasionally a text.
#[derive(Debug, Parser)]
struct Arguments {
    /// The URL of a new recording, or `redis-server:FOLDER` to start a server there.
    url: String,
    /// How many minutes to record.
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Records per second, of all keys together.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,
    /// Number of series.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    keys: u64,
    /// The folder for the table.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
}

/// From a second to a week.
fn minutes(text: &str) -> std::result::Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let week = 7.0 * 24.0 * 60.0;
    match (1.0 / 60.0..=week).contains(&minutes) {
        true => Ok(minutes),
        false => Err(format!("between a second and {week} minutes")),
    }
}

/// The number of lines in the table.
const SAMPLES: u32 = 20;
/// How much more memory the second half may take than the quarter before it.
const MEMORY_ROOM: u64 = 16 << 20;
/// How many more files may be open: a commit opens some for a moment.
const FILES_ROOM: u64 = 8;
/// The number of steps between two texts.
const TEXT_EVERY: u64 = 100;

/// The measurements at the end of an interval.
struct Sample {
    minutes: f64,
    /// Records per second.
    rate: f64,
    memory: u64,
    files: u64,
    journal: u64,
    stored: u64,
    latency: Latency,
}

/// Times of single calls, in buckets whose width is about one percent of their values.
struct Latency {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Latency {
    const PARTS: u32 = 6;

    fn new() -> Self {
        Self {
            buckets: vec![0; 64 << Self::PARTS],
            count: 0,
            longest: 0,
        }
    }

    fn add(&mut self, time: Duration) {
        let nanoseconds = (time.as_nanos() as u64).max(1);
        let octave = nanoseconds.ilog2();
        let shift = octave.saturating_sub(Self::PARTS);
        let part = (nanoseconds >> shift) & ((1 << Self::PARTS) - 1);
        let bucket = (u64::from(octave) << Self::PARTS) + part;
        self.buckets[bucket as usize] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    /// The time in microseconds within which this part of the calls returned.
    fn quantile(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let octave = bucket as u32 >> Self::PARTS;
                let part = bucket as u64 & ((1 << Self::PARTS) - 1);
                let shift = octave.saturating_sub(Self::PARTS);
                let top = 1_u64 << octave.min(Self::PARTS);
                return (((top | part) << shift) as f64 / 1e3).min(self.longest as f64 / 1e3);
            }
        }
        self.longest as f64 / 1e3
    }
}

/// The store that is written, and the place of its files.
struct Target {
    url: String,
    /// Files and folders with this prefix belong to it.
    place: Option<PathBuf>,
    _server: Option<RedisServer>,
}

impl Target {
    fn new(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once(':').ok_or("a URL begins with a scheme")?;
        let path = PathBuf::from(rest.split('?').next().unwrap_or_default());
        if scheme == "redis-server" {
            let server = RedisServer::start(&path)?;
            return Ok(Self {
                url: format!("{}?run=soak", server.url()),
                place: Some(path),
                _server: Some(server),
            });
        }
        let is_file = scheme.starts_with("zarr") || scheme == "hdf5";
        Ok(Self {
            url: url.to_owned(),
            place: is_file.then_some(path),
            _server: None,
        })
    }

    /// The sizes of the journals and of all files.
    fn sizes(&self) -> (u64, u64) {
        let Some(place) = &self.place else {
            return (0, 0);
        };
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let folder = place
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let (mut journal, mut all) = (0, 0);
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))
            .into_iter()
            .flatten()
        {
            let Ok(entry) = entry else { continue };
            let entry_name = entry.file_name();
            if entry_name.to_string_lossy().starts_with(&*name) {
                let size = size_of(&entry.path());
                all += size;
                if entry_name.to_string_lossy().ends_with(".journal") {
                    journal += size;
                }
            }
        }
        (journal, all)
    }
}

/// The size of a file, or of all files in a folder. Files that disappear meanwhile are ignored.
fn size_of(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| size_of(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

fn anonymous_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("/proc has no RssAnon")?.parse::<u64>()? * 1024)
}

fn open_files() -> Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64)
}

fn value(step: u64, key: u64) -> f64 {
    (step as f64).mul_add(0.001, key as f64)
}

fn text(step: u64) -> String {
    format!("step {step} of the soak")
}

/// Records until the time is over. Returns the number of steps and the measurements.
fn record(
    recorder: &Recorder,
    target: &Target,
    arguments: &Arguments,
) -> Result<(u64, Vec<Sample>)> {
    let keys = arguments.keys;
    let series = (0..keys).map(|key| recorder.series::<f64>(name(key)));
    let series: Vec<Series<f64>> = series.collect::<simrecorder::Result<_>>()?;
    let period = keys as f64 / arguments.rate as f64;
    let interval = arguments.minutes * 60.0 / f64::from(SAMPLES);
    let start = Instant::now();
    let mut samples = Vec::with_capacity(SAMPLES as usize);
    let mut step = 0;
    for number in 1..=SAMPLES {
        let (mut latency, first) = (Latency::new(), step);
        let begin = start.elapsed().as_secs_f64();
        while start.elapsed().as_secs_f64() < interval * f64::from(number) {
            let due = Duration::from_secs_f64(period * step as f64);
            if let Some(early) = due.checked_sub(start.elapsed()) {
                std::thread::sleep(early);
            }
            for (key, series) in series.iter().enumerate() {
                let before = Instant::now();
                series.record(value(step, key as u64))?;
                latency.add(before.elapsed());
            }
            if step.is_multiple_of(TEXT_EVERY) {
                recorder.record("log", text(step))?;
            }
            step += 1;
        }
        let seconds = start.elapsed().as_secs_f64() - begin;
        let (journal, stored) = target.sizes();
        samples.push(Sample {
            minutes: start.elapsed().as_secs_f64() / 60.0,
            rate: ((step - first) * keys) as f64 / seconds,
            memory: anonymous_memory()?,
            files: open_files()?,
            journal,
            stored,
            latency,
        });
    }
    Ok((step, samples))
}

fn name(key: u64) -> String {
    format!("group_{}/{key}", key / 100)
}

/// Reads everything. The error names what is missing or wrong.
fn check(recorder: &Recorder, keys: u64, steps: u64) -> Result<u64> {
    /// The number of records that are read at a time.
    const PART: usize = 1 << 20;
    for key in 0..keys {
        let view = recorder.get_all(name(key))?;
        if view.len() != steps {
            return Err(format!("{}: {} of {steps} records", name(key), view.len()).into());
        }
        for first in (0..steps as usize).step_by(PART) {
            let end = (first + PART).min(steps as usize);
            let part = view.select(first..end)?.read::<f64>()?;
            let wrong = (first..).zip(&part);
            let mut wrong = wrong.filter(|(step, x)| **x != value(*step as u64, key));
            if let Some((step, x)) = wrong.next() {
                return Err(format!("{}: record {step} is {x}", name(key)).into());
            }
        }
    }
    let log = recorder.get_all("log")?;
    for (number, found) in log.iter().enumerate() {
        let step = number as u64 * TEXT_EVERY;
        if found?.as_str()? != text(step) {
            return Err(format!("log: record {number} is wrong").into());
        }
    }
    if log.len() != steps.div_ceil(TEXT_EVERY) {
        return Err(format!("log: {} records", log.len()).into());
    }
    Ok(steps * keys + log.len())
}

/// Fails if the second half of the run took more of a resource than the quarter before it.
fn check_growth(samples: &[Sample], what: &str, room: u64, of: fn(&Sample) -> u64) -> Result<()> {
    let half = samples.len() / 2;
    let most = |part: &[Sample]| part.iter().map(of).max().unwrap_or(0);
    let (before, after) = (most(&samples[half / 2..half]), most(&samples[half..]));
    match after > before + room {
        true => Err(format!("{what} grew from {before} to {after}").into()),
        false => Ok(()),
    }
}

fn table(arguments: &Arguments, samples: &[Sample]) -> String {
    const HEAD: &str = "\
| minutes | records/s | RssAnon, MiB | open files | journal, MiB | all files, MiB | median, µs | 99.9 %, µs | longest, µs |
|---|---|---|---|---|---|---|---|---|
";
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let scheme = arguments.url.split(':').next().unwrap_or_default();
    let mut text = format!(
        "# Soak: `{scheme}:`\n\n{} series of f64, {} records a second, {} minutes; made by `soak`. \
         Latency is that of one\n`record` by handle. {}\n\n{HEAD}",
        arguments.keys,
        arguments.rate,
        arguments.minutes,
        machine(),
    );
    for sample in samples {
        let latency = &sample.latency;
        let _ = writeln!(
            text,
            "| {:.2} | {:.0} | {:.1} | {} | {:.1} | {:.1} | {:.2} | {:.1} | {:.0} |",
            sample.minutes,
            sample.rate,
            mib(sample.memory),
            sample.files,
            mib(sample.journal),
            mib(sample.stored),
            latency.quantile(0.5),
            latency.quantile(0.999),
            latency.longest as f64 / 1e3,
        );
    }
    text
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unknown processor", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Machine: {model}, {cores} cores.")
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let target = Target::new(&arguments.url)?;
    let create = OpenOptions::new().mode(OpenMode::CreateNew);
    let recorder = Recorder::new(simrecorder::open_with(&target.url, &create)?);
    let (steps, samples) = record(&recorder, &target, &arguments)?;
    let start = Instant::now();
    recorder.close()?;
    let closing = start.elapsed().as_secs_f64();
    drop(recorder);
    let mut text = table(&arguments, &samples);
    let reader = Recorder::new(simrecorder::open(&target.url)?);
    let records = check(&reader, arguments.keys, steps)?;
    let _ = writeln!(
        text,
        "\nClosing took {closing:.2} s. All {records} records were read back and compared."
    );
    let scheme = arguments.url.split(':').next().unwrap_or_default();
    let file = format!("soak-{}.md", scheme.replace('+', "-"));
    print!("{text}");
    fs::write(arguments.results.join(file), &text)?;
    check_growth(&samples, "memory", MEMORY_ROOM, |sample| sample.memory)?;
    check_growth(&samples, "open files", FILES_ROOM, |sample| sample.files)
}
