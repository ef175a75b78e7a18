//! Reads a recording while another process writes it: the reader sees whole commits, and keys
//! that appear on the way.
//!
//! ```text
//! cargo run --example read_while_writing --features zarr
//! ```
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use simrecorder::ndarray::s;
use simrecorder::{
    ErrorKind, OpenMode, Recorder, RecorderOptions, Result, ZarrDataStore, prelude::*,
};

const STEPS: u64 = 2_000;

fn main() -> Result<()> {
    let path = std::env::temp_dir().join("simrecorder-read-while-writing.mdb");
    if std::env::args().any(|argument| argument == "--write") {
        return write(&path);
    }
    drop(
        ZarrDataStore::options()
            .mode(OpenMode::Truncate)
            .open(&path)?,
    );
    let program = std::env::current_exe().expect("the example starts itself again");
    let mut writer = Command::new(program)
        .arg("--write")
        .spawn()
        .expect("the writer starts");

    let recorder = Recorder::new(ZarrDataStore::open(&path)?);
    let mut seen = 0;
    while seen < STEPS {
        sleep(Duration::from_millis(100));
        // A view is a snapshot; a new one, or refresh(), shows what came since.
        let wave = match recorder.get_all("wave") {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            wave => wave?,
        };
        let new = wave.select(s![seen as usize.., 0])?.read::<f32>()?;
        seen = wave.len();
        let keys: Vec<_> = recorder.keys()?.iter().map(ToString::to_string).collect();
        println!(
            "{seen:5} records, {:4} of them new; keys: {}",
            new.len(),
            keys.join(", ")
        );
    }
    writer.wait().expect("the writer ends");
    Ok(())
}

/// Simulates a wave for about two seconds.
fn write(path: &Path) -> Result<()> {
    // What is recorded becomes visible at each flush, and at least this often.
    let options = RecorderOptions::new().with_commit_interval(Duration::from_millis(200));
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
