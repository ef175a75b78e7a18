//! One long recording: whether it slows down, and how much memory it takes.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use simrecorder::{OpenMode, Recorder};

use crate::candidate::Result;
use crate::candidates::simrecorder_store::Store;
use crate::data::random_walk;
use crate::workloads::scratch;

/// The default memory bound of a recorder.
const BOUND_MIB: f64 = 256.0;

/// The interval between two samples of the memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// The number of records of the bare loop. Its speed does not depend on it.
const BARE_RECORDS: u64 = 20_000_000;
/// The number of values that it keeps of each key.
const BARE_LENGTH: usize = 4096;

/// The numbers of keys for which `records` records suffice: a hundred of each.
pub fn numbers_of_keys(records: u64) -> impl Iterator<Item = usize> {
    let all = [1, 10, 100, 10_000, 100_000];
    all.into_iter()
        .filter(move |&keys| keys as u64 * 100 <= records)
}

/// The results of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LongRun {
    /// The number of keys.
    pub keys: usize,
    /// The number of records of all keys.
    pub records: u64,
    /// Million records per second, flushed and closed.
    pub speed: f64,
    /// The same for each tenth, flushed at its end.
    pub tenths: [f64; 10],
    /// The time that closing took after that.
    pub close_seconds: f64,
    /// The maximum anonymous memory of the process.
    pub peak_mib: f64,
    /// The anonymous memory during the run: the part of its time that has passed, and MiB.
    pub memory: Vec<(f64, f64)>,
    /// Million records per second of a loop that pushes as many into vectors, and discards them.
    pub bare_speed: f64,
}

impl LongRun {
    /// The speed of the last tenth relative to the second.
    pub fn last_to_second(&self) -> f64 {
        self.tenths[9] / self.tenths[1]
    }

    /// The memory bound, 64 MiB, and 2 KiB for each key.
    pub fn allowed_mib(&self) -> f64 {
        BOUND_MIB + 64.0 + self.keys as f64 * 2.0 / 1024.0
    }
}

/// Records numbers by handles into LMDB, all keys in turn.
///
/// # Errors
///
/// What the recorder reports; a system without `/proc`.
pub fn run(folder: &Path, records: u64, keys: usize) -> Result<LongRun> {
    let folder = scratch(folder)?;
    let path = folder.path().join("recording");
    let recorder = Recorder::new(Store::Lmdb.open(&path, OpenMode::CreateNew)?);
    let series = (0..keys).map(|i| recorder.series::<f64>(&format!("group_{}/{i}", i / 100)));
    let series = series.collect::<simrecorder::Result<Vec<_>>>()?;
    let values = random_walk(1 << 17);
    let mut values = values.iter().cycle();
    let steps = (records / 10 / keys as u64).max(1);
    let tenth_records = steps as f64 * keys as f64;
    let mut tenths = [0.0; 10];
    let begin = Instant::now();
    let (finish, finished) = channel::<()>();
    let sampler = thread::spawn(move || {
        sample_memory(begin, || {
            finished.recv_timeout(SAMPLE_EVERY) == Err(RecvTimeoutError::Timeout)
        })
    });
    for tenth in &mut tenths {
        let start = Instant::now();
        for _ in 0..steps {
            let value = *values.next().unwrap_or(&0.0);
            for series in &series {
                series.record(value)?;
            }
        }
        recorder.flush()?;
        *tenth = tenth_records / start.elapsed().as_secs_f64() / 1e6;
    }
    let start = Instant::now();
    recorder.close()?;
    let (close_seconds, seconds) = (start.elapsed().as_secs_f64(), begin.elapsed().as_secs_f64());
    drop(finish);
    let memory = sampler.join().map_err(|_| "the sampler panicked")??;
    let memory = memory
        .into_iter()
        .map(|(at, mib)| ((at / seconds).min(1.0), mib));
    let memory: Vec<_> = memory.collect();
    Ok(LongRun {
        keys,
        records: 10 * steps * keys as u64,
        speed: 10.0 * tenth_records / seconds / 1e6,
        tenths,
        close_seconds,
        peak_mib: memory.iter().map(|sample| sample.1).fold(0.0, f64::max),
        memory,
        // Last, because its memory does not belong to the recorder.
        bare_speed: bare_speed(records.min(BARE_RECORDS), keys),
    })
}

/// The speed of pushing a number onto the vector of each key in turn, under a lock: the maximum
/// that the processor's caches allow with this many keys.
fn bare_speed(records: u64, keys: usize) -> f64 {
    let series: Vec<_> = (0..keys)
        .map(|_| Arc::new(Mutex::new(Vec::new())))
        .collect();
    let steps = (records / keys as u64).max(1);
    let start = Instant::now();
    for step in 0..steps {
        for series in &series {
            let mut values = series.lock().unwrap_or_else(PoisonError::into_inner);
            if values.len() == BARE_LENGTH {
                values.clear();
            }
            values.push(step as f64);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(series);
    steps as f64 * keys as f64 / seconds / 1e6
}

/// The anonymous memory, even during flush and close: seconds since `begin`, and MiB.
fn sample_memory(begin: Instant, goes_on: impl Fn() -> bool) -> io::Result<Vec<(f64, f64)>> {
    let mut samples = Vec::new();
    loop {
        samples.push((begin.elapsed().as_secs_f64(), anonymous_mib()?));
        if !goes_on() {
            return Ok(samples);
        }
    }
}

fn anonymous_mib() -> io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let kib = kib.ok_or_else(|| io::Error::other("/proc has no RssAnon"))?;
    Ok(kib / 1024.0)
}

/// The table of all runs.
///
/// # Errors
/// None in practice.
pub fn table(runs: &[LongRun]) -> Result<String> {
    let mut text = "\n## Long runs\n\n`long-run`, `f64` by handle, Zarr/LMDB, memory bound \
                    256 MiB\n\n| keys | records | million records/s | bare loop | last tenth to second \
                    | close, s | anonymous MiB | allowed |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for run in runs {
        writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} |",
            run.keys,
            run.records,
            run.speed,
            run.bare_speed,
            run.last_to_second(),
            run.close_seconds,
            run.peak_mib,
            run.allowed_mib()
        )?;
    }
    Ok(text)
}
