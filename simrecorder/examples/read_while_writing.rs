//! Reads a recording while another process writes it. The reader sees whole commits, and new keys as they appear.
//!
//! ```text
//! cargo run --example read_while_writing --features zarr
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use simrecorder::ndarray::s;
use simrecorder::{ErrorKind, OpenMode, Recorder, RecorderOptions, ZarrDataStore, prelude::*};

const STEPS: u64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join("simrecorder-read-while-writing.mdb");
    if std::env::args().any(|argument| argument == "--write") {
        return Ok(write(&path)?);
    }
    drop(
        ZarrDataStore::options()
            .mode(OpenMode::Truncate)
            .open(&path)?,
    );
    let mut writer = Command::new(std::env::current_exe()?)
        .arg("--write")
        .spawn()?;
    let read = follow(&path, || matches!(writer.try_wait(), Ok(None)));
    writer.wait()?;
    Ok(read?)
}

/// Reads new records until the writer has ended.
fn follow(path: &Path, mut is_written: impl FnMut() -> bool) -> simrecorder::Result<()> {
    let recorder = Recorder::new(ZarrDataStore::open(path)?);
    let mut seen = 0;
    loop {
        let is_running = is_written();
        // A view does not grow; a new view, or refresh(), has the new records.
        match recorder.get_all("wave") {
            Ok(wave) => {
                let new = wave.select(seen..)?.select(s![.., 0])?.read::<f32>()?;
                seen = wave.len();
                let keys: Vec<_> = recorder.keys()?.iter().map(ToString::to_string).collect();
                println!(
                    "{seen:5} records, {:4} new; keys: {}",
                    new.len(),
                    keys.join(", ")
                );
            }
            // The writer has not created the series yet.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !is_running {
            return Ok(());
        }
        sleep(Duration::from_millis(250));
    }
}

/// Simulates a wave for about two seconds.
fn write(path: &Path) -> simrecorder::Result<()> {
    // Records become visible at each flush, and at least this often.
    let options = RecorderOptions::new().commit_interval(Duration::from_millis(200));
    let recorder = Recorder::with_options(ZarrDataStore::append(path)?, options);
    for step in 0..STEPS {
        let wave: Vec<f32> = (0..256)
            .map(|x| (x as f32 * 0.1 - step as f32 * 0.01).sin())
            .collect();
        recorder.record("wave", &wave)?;
        if step % 400 == 0 {
            recorder.record(format!("events/{}", step / 400), format!("at step {step}"))?;
        }
        sleep(Duration::from_millis(1));
    }
    recorder.close()
}
