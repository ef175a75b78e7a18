//! The number of bytes that a flush writes.

use std::fs;
use std::path::Path;

use simrecorder_core::{DataStore, Recorder, RecorderOptions};

use crate::damage::Numbers;
use crate::{quick_folder, role, this_test};

const SERIES: usize = 1000;
/// The number of records of each series before, in an unfinished chunk.
const BEFORE: usize = 500;
const FLUSHES: usize = 20;
/// The most bytes that a flush of one record of 8 bytes may write. Its series has 4000 bytes.
const BYTES: u64 = 1000;

/// Checks that flushes of one record of each of a thousand series write only the new records, and not their chunks. The
/// writer is the named test in another process.
///
/// # Panics
/// If they write more.
pub fn assert_flushes_write_what_is_new<S: DataStore + 'static>(
    test: &str,
    create: impl Fn(&Path) -> S,
) {
    const WROTE: &str = "wrote ";
    if let Some(path) = role() {
        return println!("{WROTE}{}", bytes_of_flushes(create(&path)));
    }
    let folder = quick_folder();
    let output = this_test(test, &folder.path().join("run"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text
        .lines()
        .find_map(|line| line.split_once(WROTE)?.1.parse().ok());
    let wrote: u64 = number.unwrap_or_else(|| panic!("{output:?}"));
    let each = wrote / (SERIES * FLUSHES) as u64;
    eprintln!("{each} bytes for each record");
    assert!((8..BYTES).contains(&each), "{each} bytes for each record");
}

fn bytes_of_flushes(store: impl DataStore + 'static) -> u64 {
    let recorder = Recorder::with_options(store, RecorderOptions::new().inline(true));
    let names: Vec<_> = (0..SERIES).map(|i| format!("slow/{i}")).collect();
    let mut noise = Numbers::new(1);
    let mut record = |records| {
        for name in &names {
            for _ in 0..records {
                recorder
                    .record(name, noise.below(usize::MAX) as u64)
                    .unwrap();
            }
        }
        recorder.flush().unwrap();
    };
    record(BEFORE);
    let before = written_bytes();
    (0..FLUSHES).for_each(|_| record(1));
    written_bytes() - before
}

/// The number of bytes that this process has passed to system calls that write.
fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}
