//! The space of removed keys.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use simrecorder_core::{DataStore, OpenMode, Recorder, RecorderOptions, Result};

/// The numbers of a record that does not compress.
const NUMBERS: usize = 100_000;
const RECORDS: u64 = 10;

/// Repeatedly records 8 MB and removes them; the recording must not grow.
pub fn removed_space_is_used_again<S: DataStore + 'static>(
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let options = RecorderOptions::new().inline(true);
    let recorder = Recorder::with_options(open(&path, OpenMode::CreateNew).unwrap(), options);
    let mut noise = 1_u64;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise ^ (noise >> 32)
    };
    let mut sizes = Vec::new();
    for round in 0..8 {
        for _ in 0..RECORDS {
            let numbers: Vec<u64> = (0..NUMBERS).map(|_| next()).collect();
            recorder.record(format!("trial/{round}"), numbers).unwrap();
        }
        recorder.checkpoint().unwrap();
        sizes.push(size_of(folder.path()));
        recorder.remove(format!("trial/{round}")).unwrap();
    }
    let written = RECORDS * NUMBERS as u64 * 8;
    assert!(sizes[0] >= written, "{sizes:?}");
    // Twice as much, since removed records exist until their removal is durable.
    assert!(
        sizes.iter().all(|&size| size < 5 * written / 2),
        "{sizes:?}"
    );
    recorder.close().unwrap();
}

/// The disk usage of a file or a folder.
pub fn size_of(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| size_of(&entry.unwrap().path())).sum()
}
