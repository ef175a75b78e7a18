//! How much memory the process takes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use simrecorder_core::{DataStore, Recorder, RecorderOptions};

/// Memory of the process that is not backed by files, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// Calls `work` and returns by how much anonymous memory was higher meanwhile than before.
pub fn peak_of(work: impl FnOnce()) -> u64 {
    let before = anonymous_bytes();
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    peak.into_inner().saturating_sub(before)
}

/// Records with one key, with a hundred and with ten thousand; returns where that took more memory
/// than the bound, 64 MiB, and 2 KiB a key. It measures the whole process: nothing else may run.
pub fn exceeded<S: DataStore + 'static>(what: &str, create: impl Fn(&Path) -> S) -> Vec<String> {
    const BOUND: u64 = 64 << 20;
    let mut failures = Vec::new();
    for (keys, records, len) in [
        (1_u64, 600_u64, 100_000),
        (100, 10, 60_000),
        (10_000, 20, 250),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let peak = peak_of(|| {
            let options = RecorderOptions::new().memory_bound(BOUND as usize);
            let recorder = Recorder::with_options(create(folder.path()), options);
            let names: Vec<_> = (0..keys).map(|key| format!("group/{key}")).collect();
            let mut data: Vec<f64> = vec![0.0; len];
            for record in 0..records {
                for (key, name) in names.iter().enumerate() {
                    data[(record as usize * 31 + key) % len] = record as f64 * 0.1;
                    recorder.record(name, &data).unwrap();
                }
            }
            recorder.close().unwrap();
        });
        let allowed = BOUND + (64 << 20) + keys * 2048;
        let what = format!("{what}, {keys} keys: {peak} bytes of {allowed}");
        eprintln!("{what}");
        failures.extend((peak > allowed).then_some(what));
    }
    failures
}
