//! One long recording: whether it slows down, and how much memory it takes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use simrecorder::{OpenMode, Recorder};

use crate::contender::Result;
use crate::contenders::simrecorder_store::Store;
use crate::data::random_walk;
use crate::works::scratch;

/// The default memory bound of a recorder.
const BOUND_MIB: f64 = 256.0;

/// The figures of one run. As text, they are numbers with spaces between them.
#[derive(Clone, Debug)]
pub struct LongRun {
    keys: usize,
    /// Million records a second, flushed and closed.
    pub speed: f64,
    /// The same for each tenth, flushed at its end.
    pub tenths: [f64; 10],
    /// How long closing took after that.
    pub close_seconds: f64,
    /// The most anonymous memory of the process.
    pub peak_mib: f64,
}

impl LongRun {
    /// How often the speed of the last tenth is that of the second.
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
/// What the recorder reports; a system without `/proc`.
pub fn run(folder: &Path, records: u64, keys: usize) -> Result<LongRun> {
    let folder = scratch(folder)?;
    let path = folder.path().join("recording");
    let recorder = Recorder::new(Store::Lmdb.open(&path, OpenMode::CreateNew)?);
    let series = (0..keys).map(|i| recorder.series::<f64>(&format!("group_{}/{i}", i / 100)));
    let series = series.collect::<simrecorder::Result<Vec<_>>>()?;
    let values = random_walk(1 << 20);
    let mut values = values.iter().cycle();
    let steps = records / 10 / keys as u64;
    let tenth_records = steps as f64 * keys as f64;
    let mut tenths = [0.0; 10];
    let mut peak = 0.0_f64;
    let begin = Instant::now();
    for tenth in &mut tenths {
        let start = Instant::now();
        // Sampled now and then: a look takes far less time than what is between two.
        let sample = (steps / 100).max(1);
        for step in 0..steps {
            let value = *values.next().unwrap_or(&0.0);
            for series in &series {
                series.record(value)?;
            }
            if step % sample == 0 {
                peak = peak.max(anonymous_mib()?);
            }
        }
        recorder.flush()?;
        *tenth = tenth_records / start.elapsed().as_secs_f64() / 1e6;
    }
    let start = Instant::now();
    recorder.close()?;
    peak = peak.max(anonymous_mib()?);
    Ok(LongRun {
        keys,
        speed: 10.0 * tenth_records / begin.elapsed().as_secs_f64() / 1e6,
        tenths,
        close_seconds: start.elapsed().as_secs_f64(),
        peak_mib: peak,
    })
}

fn anonymous_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("/proc has no RssAnon")?.parse::<f64>()? / 1024.0)
}

impl fmt::Display for LongRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (speed, close, peak) = (self.speed, self.close_seconds, self.peak_mib);
        write!(f, "{} {speed} {close} {peak}", self.keys)?;
        self.tenths
            .iter()
            .try_for_each(|tenth| write!(f, " {tenth}"))
    }
}

impl FromStr for LongRun {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<std::result::Result<Vec<f64>, _>>()?;
        let [keys, speed, close_seconds, peak_mib, tenths @ ..] = &numbers[..] else {
            return Err("a long run has 14 figures".into());
        };
        Ok(Self {
            keys: *keys as usize,
            speed: *speed,
            close_seconds: *close_seconds,
            peak_mib: *peak_mib,
            tenths: tenths.try_into()?,
        })
    }
}
