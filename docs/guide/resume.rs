use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use simrecorder::{Coordinate, Object, OpenMode, OpenOptions, Recorder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, is_ending.clone())?;
    }
    let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
    let recorder = Recorder::new(simrecorder::open_with("walk.mdb", &options)?);
    let mut walk = recorder.timeline("walk", Coordinate::new("step"))?;
    let (mut first, mut x) = (0_i64, 0_i64);
    if let Some(state) = recorder.get("state")? {
        let (saved, position) = state.object::<(i64, i64)>()?;
        walk.rewind(saved)?; // removes the ticks after the saved state
        (first, x) = (saved + 1, position);
    }
    for step in first..2000 {
        x += if step * step % 11 < 5 { 1 } else { -1 };
        walk.tick(step, [("x", x)])?;
        if step % 100 == 99 {
            recorder.flush()?; // first the ticks, then the state
            recorder.set("state", Object(&(step, x)))?;
            recorder.flush()?;
        }
        if is_ending.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2)); // the simulation works
    }
    recorder.close()?;
    Ok(())
}
