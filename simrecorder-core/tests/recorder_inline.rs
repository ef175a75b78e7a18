//! Inline mode starts no threads. This program has only one test, so that all threads are known.

use simrecorder_core::{InMemoryDataStore, Recorder, RecorderOptions, Result};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn inline_mode_starts_no_threads_and_other_threads_end_with_the_recorder() -> Result<()> {
    let before = threads();
    let inline = RecorderOptions::new().inline(true);
    let recorder = Recorder::with_options(InMemoryDataStore::new(), inline);
    recorder.record("n", 1.0)?;
    recorder.flush()?;
    assert_eq!(threads(), before);
    recorder.close()?;

    let stores = (InMemoryDataStore::new(), InMemoryDataStore::new());
    let recorder = Recorder::with_options(stores, RecorderOptions::new().encoding_threads(3));
    recorder.record("n", 1.0)?;
    if cfg!(target_os = "linux") {
        // Four for each store, and one for timed commits.
        assert_eq!(threads(), before + 9);
    }
    recorder.close()?;
    // A joined thread may still be listed for a moment.
    while threads() > before {
        std::thread::yield_now();
    }
    Ok(())
}
