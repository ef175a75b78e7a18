use simrecorder::{OpenMode, OpenOptions, Recorder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, worker) = (std::env::var("SWEEP_URL")?, std::env::var("WORKER")?);
    let options = OpenOptions::new().mode(OpenMode::OpenOrCreate);
    let recorder = Recorder::new(simrecorder::open_with(url, &options)?);
    for step in 0..100 {
        recorder.record(format!("energy/{worker}"), f64::from(step))?;
    }
    recorder.record("log", format!("worker {worker} is done"))?;
    recorder.close()?;
    Ok(())
}
