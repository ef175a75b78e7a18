//! A disk that becomes full while a recorder writes.

use std::path::Path;

use simrecorder_core::{DataStore, ErrorKind, OpenMode, Recorder, Result, prelude::*};

use crate::{expect, mount};

/// Records into `folder` until its disk is full, and continues when it has more room. Call it in a separate mount
/// namespace, where it mounts a small disk and leaves it mounted. Errors name `part`.
pub fn loses_nothing_that_was_flushed<S: DataStore + 'static>(
    folder: &Path,
    part: &str,
    open: impl Fn(&Path, OpenMode) -> Result<S>,
) {
    mount(&["-t", "tmpfs", "-o", "size=6m", "none"], folder);
    let path = folder.join("run");
    let recorder = Recorder::new(open(&path, OpenMode::CreateNew).unwrap());
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut flushed = 0;
    let error = loop {
        for i in 0..20_000_u64 {
            // A generator whose output does not compress (splitmix, Steele et al. 2014).
            noise = noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (noise ^ (noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            if let Err(error) = recorder.record("x", [flushed + i, mixed ^ (mixed >> 27)]) {
                expect(error, ErrorKind::StorageFull, &[part]);
            }
        }
        match recorder.flush() {
            Ok(()) => flushed += 20_000,
            Err(error) => break error,
        }
    };
    expect(error, ErrorKind::StorageFull, &[part, "full"]);
    let error = recorder.record("x", [0, 0_u64]).unwrap_err();
    expect(error, ErrorKind::StorageFull, &[]);
    expect(recorder.close().unwrap_err(), ErrorKind::StorageFull, &[]);
    drop(recorder);
    assert!(flushed > 0);

    let reader = Recorder::new(open(&path, OpenMode::Read).unwrap());
    let view = reader.get_all("x").unwrap();
    assert!(view.len() >= flushed, "{} of {flushed}", view.len());
    for (i, row) in view.read::<u64>().unwrap().outer_iter().enumerate() {
        assert_eq!(row[0], i as u64);
    }
    let records = view.len();
    drop((view, reader));
    mount(&["-o", "remount,size=64m"], folder);
    let recorder = Recorder::new(open(&path, OpenMode::Append).unwrap());
    recorder.record("x", [7, 7_u64]).unwrap();
    recorder.close().unwrap();
    let reader = Recorder::new(open(&path, OpenMode::Read).unwrap());
    let view = reader.get_all("x").unwrap();
    assert_eq!(view.len(), records + 1);
    let last = view.get(records).unwrap().array::<u64>().unwrap();
    assert_eq!(last.as_slice(), Some(&[7, 7][..]));
}
