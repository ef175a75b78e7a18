//! The memory of the process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use simrecorder_core::{
    Compression, Coordinate, DataStore, IntoStores, OpenMode, Recorder, RecorderOptions, Schema,
    prelude::*,
};

use crate::{assert_success, role, this_test};

/// Returns the memory of the process that is not backed by files, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// Calls `work`, and returns by how much the peak of anonymous memory exceeded the memory before.
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

/// Returns numbers that do not compress, different for each `seed`.
pub fn noise(seed: u64, len: usize) -> Vec<u64> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    (0..len).map(|_| next()).collect()
}

/// A recording whose memory is measured.
struct Case {
    is_timeline: bool,
    keys: u64,
    records: u64,
    /// The numbers in each record.
    len: usize,
}

/// Records with one key, a hundred, ten thousand, and as many as `SIMRECORDER_KEYS` says; returns the cases that took more
/// memory than the bound, 64 MiB, and 2 KiB for each key. It measures the whole process, so no other test may run.
pub fn exceeded<S: DataStore + 'static>(what: &str, create: impl Fn(&Path) -> S) -> Vec<String> {
    let mut cases = vec![(1, 600, 100_000), (100, 10, 60_000), (10_000, 20, 250)];
    // A hundred thousand keys take minutes.
    if let Ok(keys) = std::env::var("SIMRECORDER_KEYS") {
        cases.push((keys.parse().unwrap(), 3, 10));
    }
    let case = |(keys, records, len)| Case {
        is_timeline: false,
        keys,
        records,
        len,
    };
    let exceeded = |case| exceeded_by(what, &case, &create);
    cases.into_iter().map(case).filter_map(exceeded).collect()
}

/// Checks the same bound for a timeline of ten thousand series whose records do not fill chunks. The recorder is the
/// named test in another process, which recorded nothing before.
///
/// # Panics
/// If it takes more.
pub fn assert_timeline_stays_within_the_bound<S: DataStore + 'static>(
    test: &str,
    create: impl Fn(&Path) -> S,
) {
    let Some(_) = role() else {
        return assert_success(&mut this_test(test, Path::new("child")));
    };
    let case = Case {
        is_timeline: true,
        keys: 10_000,
        records: 200,
        len: 25,
    };
    assert_eq!(exceeded_by(test, &case, create), None);
}

fn exceeded_by<S: DataStore + 'static>(
    what: &str,
    case: &Case,
    create: impl Fn(&Path) -> S,
) -> Option<String> {
    const BOUND: u64 = 64 << 20;
    let &Case {
        keys, records, len, ..
    } = case;
    let folder = tempfile::tempdir().unwrap();
    let peak = peak_of(|| {
        let options = RecorderOptions::new().memory_bound(BOUND as usize);
        let recorder = Recorder::with_options(create(folder.path()), options);
        let names: Vec<_> = (0..keys).map(|key| key.to_string()).collect();
        let value = |record, key| noise(record * keys + key, len);
        if case.is_timeline {
            let step = Coordinate::new("step");
            let mut group = recorder.timeline("group", step).unwrap();
            for record in 0..records {
                group.advance(record).unwrap();
                for (name, key) in names.iter().zip(0..) {
                    group.record(name, value(record, key)).unwrap();
                }
            }
            group.finish().unwrap();
        } else {
            let names: Vec<_> = names.iter().map(|name| format!("group/{name}")).collect();
            for record in 0..records {
                for (name, key) in names.iter().zip(0..) {
                    recorder.record(name, value(record, key)).unwrap();
                }
            }
        }
        recorder.close().unwrap();
    });
    let allowed = BOUND + (64 << 20) + keys * 2048;
    let what = format!("{what}, {keys} keys: {peak} bytes of {allowed}");
    eprintln!("{what}");
    (peak > allowed).then_some(what)
}

/// Checks that iterating over a series of 300 MB, of arrays and of ragged rows, takes at most 64 MiB of
/// memory. The reader is the named test in another process.
///
/// # Panics
/// If it takes more.
pub fn assert_iteration_is_bounded<S: DataStore + 'static>(
    test: &str,
    open: impl Fn(&Path, OpenMode) -> S,
) {
    const RECORDS: u64 = 600;
    const LEN: usize = 62_500;
    const ALLOWED: u64 = 64 << 20;
    let Some(path) = role() else {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let recorder = Recorder::new(open(&path, OpenMode::CreateNew));
        for record in 0..RECORDS {
            let data = noise(record, LEN);
            recorder.record("rows", Ragged(&data)).unwrap();
            recorder.record("arrays", data).unwrap();
        }
        recorder.close().unwrap();
        return assert_success(&mut this_test(test, &path));
    };
    let recorder = Recorder::new(open(&path, OpenMode::Read));
    for key in ["arrays", "rows"] {
        let peak = peak_of(|| {
            let view = recorder.get_all(key).unwrap();
            assert_eq!(view.len(), RECORDS);
            for (record, index) in view.iter().zip(0..) {
                let record: Vec<u64> = record.unwrap().try_into().unwrap();
                assert_eq!(record, noise(index, LEN), "{key}");
            }
        });
        assert!(peak < ALLOWED, "{key}: {peak} bytes of {ALLOWED}");
    }
}

/// The recordings of [`assert_large_records_take_the_memory_of_one`].
struct LargeRecords {
    shape: [usize; 3],
    options: RecorderOptions,
}

/// Kinds of recording, with the number of records. `small` is [`Compression::Small`].
const LARGE_CASES: [(&str, u16); 5] = [
    ("threaded", 1),
    ("threaded", 3),
    ("threaded", 6),
    ("inline", 3),
    ("small", 3),
];

/// Checks that recording compressible arrays above the memory bound takes at most the memory of one of them, 64 MiB, and
/// `constant` bytes. The recorders are the named test in other processes.
///
/// # Panics
/// If it takes more.
pub fn assert_large_records_take_the_memory_of_one<S: IntoStores>(
    test: &str,
    constant: u64,
    create: impl Fn(&Path) -> S,
) {
    assert_cases_take_the_memory_of_one(test, &LARGE_CASES, constant, create);
}

/// The same for records that do not compress.
///
/// # Panics
/// If it takes more.
pub fn assert_large_noise_takes_the_memory_of_one<S: IntoStores>(
    test: &str,
    constant: u64,
    create: impl Fn(&Path) -> S,
) {
    assert_cases_take_the_memory_of_one(test, &[("noise", 3)], constant, create);
}

fn assert_cases_take_the_memory_of_one<S: IntoStores>(
    test: &str,
    cases: &[(&str, u16)],
    constant: u64,
    create: impl Fn(&Path) -> S,
) {
    let records = LargeRecords::from_env();
    if let Some(path) = role() {
        return records.measure(&path, create);
    }
    let allowed = records.bytes() + (64 << 20) + constant;
    let mut failures = Vec::new();
    for (mode, count) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{mode}-{count}"));
        assert_success(&mut this_test(test, &path));
        let peak = std::fs::read_to_string(folder.path().join("peak")).unwrap();
        let peak: u64 = peak.parse().unwrap();
        let what = format!("{mode}, {count} records: {peak} bytes of {allowed}");
        eprintln!("{test}, {what}");
        failures.extend((peak > allowed).then_some(what));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

impl LargeRecords {
    /// Records of 192 MB with a bound of 16 MiB. `SIMRECORDER_LARGE_RECORDS=1` asks for 720 MB
    /// with the default bound.
    fn from_env() -> Self {
        let options = RecorderOptions::new();
        match std::env::var_os("SIMRECORDER_LARGE_RECORDS") {
            Some(_) => Self {
                shape: [20, 45_000, 200],
                options,
            },
            None => Self {
                shape: [20, 12_000, 200],
                options: options.memory_bound(16 << 20),
            },
        }
    }

    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * size_of::<f32>()) as u64
    }

    /// Records the case that `path` names, and writes the memory that it took to a file
    /// next to it.
    fn measure<S: IntoStores>(self, path: &Path, create: impl Fn(&Path) -> S) {
        let case = path.file_name().unwrap().to_str().unwrap();
        let (mode, count) = case.split_once('-').unwrap();
        let Self { shape, options } = self;
        let mut schema = Schema::array::<f32>(shape.map(|len| len as u64));
        if mode == "small" {
            schema = schema.with_compression(Compression::Small);
        }
        let line: Vec<f32> = (0..200).map(|column| column as f32).collect();
        let mut record = line.repeat(shape[0] * shape[1]);
        if mode == "noise" {
            let mut bits = 1_u32;
            record.fill_with(|| {
                bits ^= bits << 13;
                bits ^= bits >> 17;
                bits ^= bits << 5;
                f32::from_bits(bits)
            });
        }
        let peak = peak_of(|| {
            let recorder = Recorder::with_options(create(path), options.inline(mode == "inline"));
            recorder.declare("field", schema).unwrap();
            for number in 0..count.parse::<u16>().unwrap() {
                record[..1000].fill(f32::from(number));
                recorder.record("field", (shape, &*record)).unwrap();
            }
            recorder.close().unwrap();
        });
        std::fs::write(path.with_file_name("peak"), peak.to_string()).unwrap();
    }
}
