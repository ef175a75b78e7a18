//! `simrec`, compared with alternative commands and scripts. Each is a process, measured from start
//! to end.

use std::process::Command;
use std::sync::Arc;

use simrecorder::{Coordinate, Recorder};
use tempfile::TempDir;

use super::{Candidates, Setting, scratch};
use crate::candidate::{Candidate, Result};
use crate::candidates::shell::{Answer, OUTPUT, Shell};
use crate::comparison::Comparison;
use crate::data::random_walk;
use crate::programs;

/// The number of series of the exported and copied timeline, without the time.
const SERIES: usize = 10;

pub(super) fn list(setting: &Setting) -> Result<Comparison> {
    let keys = setting.scaled(10_000);
    let work = Work::new(setting, "text", Answer::Lines("cell_"), |recorder| {
        many(recorder, keys)
    })?;
    let mut candidates: Candidates = vec![work.command("h5ls", &["-r", "run.h5"])];
    candidates.extend(work.script("h5py", &["list_with_h5py", "run.h5"]));
    candidates.extend(work.script("zarr-python", &["list_with_zarr", "run.zarr"]));
    for file in ["run.h5", "run.mdb", "run.zarr"] {
        candidates.push(work.simrec(&["ls", file])?);
    }
    candidates.push(work.simrec(&["ls", "--long", "run.mdb"])?);
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            &format!("List {keys} series"),
            keys as f64 / 1e3,
            "thousand keys/s",
        )
    })
}

pub(super) fn describe(setting: &Setting) -> Result<Comparison> {
    let keys = setting.scaled(10_000);
    let key = "group_0000/cell_000000";
    let work = Work::new(setting, "text", Answer::Lines("cell_000000"), |recorder| {
        many(recorder, keys)
    })?;
    let mut candidates: Candidates = vec![work.command("h5ls", &["-v", &format!("run.h5/{key}")])];
    candidates.extend(work.script("h5py", &["describe_with_h5py", "run.h5", key]));
    for file in ["run.h5", "run.mdb", "run.zarr"] {
        candidates.push(work.simrec(&["info", file, key])?);
    }
    let title = format!("Describe one of {keys} series");
    Ok(Comparison {
        candidates,
        ..Comparison::new(&title, 1.0, "commands/s")
    })
}

pub(super) fn print(setting: &Setting) -> Result<Comparison> {
    let records = setting.scaled(1_000_000);
    let work = Work::new(setting, "text", Answer::Numbers, |recorder| {
        let mut values = random_walk(records).into_iter();
        Ok(values.try_for_each(|value| recorder.record("v", value))?)
    })?;
    let arguments = [
        "-d", "/v", "-y", "-w", "1", "-m", "%.17g", "-o", OUTPUT, "run.h5",
    ];
    let mut candidates: Candidates = vec![work.command("h5dump", &arguments)];
    candidates.extend(work.script("h5py and savetxt", &["print_with_h5py", "run.h5"]));
    for file in ["run.h5", "run.mdb"] {
        candidates.push(work.simrec(&["cat", file, "v"])?);
    }
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "Print a series of f64",
            records as f64 / 1e6,
            "million records/s",
        )
    })
}

pub(super) fn export(setting: &Setting) -> Result<Comparison> {
    let ticks = setting.scaled(200_000);
    let work = Work::new(setting, "table.csv", Answer::Numbers, |recorder| {
        timeline(recorder, ticks, 1)
    })?;
    let mut candidates = Candidates::new();
    candidates.extend(work.script(
        "xarray and pandas",
        &["export_with_xarray", "run.h5", OUTPUT],
    ));
    for file in ["run.h5", "run.mdb"] {
        candidates.push(work.simrec(&["export", file, "net/*", "-o", OUTPUT])?);
    }
    let title = format!("Export a timeline of {SERIES} f64 as CSV");
    Ok(Comparison {
        candidates,
        ..Comparison::new(&title, ticks as f64 / 1e6, "million rows/s")
    })
}

pub(super) fn copy(setting: &Setting) -> Result<Comparison> {
    let (work, bytes) = vectors(setting)?;
    let candidates: Candidates = vec![
        work.command("h5repack", &["run.h5", OUTPUT]),
        work.with_output("copy.h5")
            .simrec(&["copy", "run.h5", OUTPUT])?,
        work.with_output("copy.mdb")
            .simrec(&["copy", "run.mdb", OUTPUT])?,
        work.with_output("copy.zarr")
            .simrec(&["copy", "run.zarr", OUTPUT])?,
    ];
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "Copy a recording, in the same format",
            bytes as f64 / 1e6,
            "MB/s",
        )
    }
    .of_bytes(bytes))
}

pub(super) fn convert(setting: &Setting) -> Result<Comparison> {
    let (work, bytes) = vectors(setting)?;
    let work = work.with_output("copy.zarr");
    let mut candidates = Candidates::new();
    candidates.extend(work.script(
        "h5py and zarr-python",
        &["convert_with_zarr", "run.h5", OUTPUT],
    ));
    candidates.extend(work.script("xarray", &["convert_with_xarray", "run.h5", OUTPUT]));
    candidates.push(work.simrec(&["copy", "run.h5", OUTPUT])?);
    candidates.push(
        work.with_output("copy.mdb")
            .simrec(&["copy", "run.h5", OUTPUT])?,
    );
    candidates.push(
        work.with_output("copy.h5")
            .simrec(&["copy", "run.mdb", OUTPUT])?,
    );
    Ok(Comparison {
        candidates,
        ..Comparison::new(
            "Convert a recording, HDF5 to Zarr and back",
            bytes as f64 / 1e6,
            "MB/s",
        )
    }
    .of_bytes(bytes))
}

/// Recordings with the same contents as `run.h5`, `run.mdb` and `run.zarr`, and the task.
#[derive(Clone)]
struct Work {
    setting: Setting,
    folder: Arc<TempDir>,
    output: &'static str,
    answer: Answer,
}

impl Work {
    fn new(
        setting: &Setting,
        output: &'static str,
        answer: Answer,
        record: impl Fn(&Recorder) -> Result<()>,
    ) -> Result<Self> {
        let folder = Arc::new(scratch(&setting.memory)?);
        for file in ["run.h5", "run.mdb", "run.zarr"] {
            let recorder = Recorder::new(simrecorder::create(folder.path().join(file))?);
            record(&recorder)?;
            recorder.close()?;
        }
        Ok(Self {
            setting: setting.clone(),
            folder,
            output,
            answer,
        })
    }

    fn with_output(&self, output: &'static str) -> Self {
        Self {
            output,
            ..self.clone()
        }
    }

    fn shell(&self, program: Command, arguments: &[&str]) -> Shell {
        Shell::new(program, arguments, self.output, &self.answer, &self.folder)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Box<Shell> {
        Box::new(self.shell(Command::new(program), arguments))
    }

    fn simrec(&self, arguments: &[&str]) -> Result<Box<Shell>> {
        Ok(Box::new(
            self.shell(Command::new(programs::simrec()?), arguments),
        ))
    }

    /// A function of `benches/python/shell.py`, unless Python is left out.
    fn script(&self, packages: &str, arguments: &[&str]) -> Option<Box<dyn Candidate>> {
        let python = self.setting.python.as_ref()?;
        let script = self.shell(python.command("shell.py"), arguments);
        Some(Box::new(script.called(&format!("script, {packages}"))))
    }
}

/// A few records in each of many series.
fn many(recorder: &Recorder, keys: usize) -> Result<()> {
    let values = random_walk(10);
    for index in 0..keys {
        let key = format!("group_{:04}/cell_{index:06}", index / 100);
        for &value in &values {
            recorder.record(&key, value)?;
        }
    }
    Ok(())
}

/// A timeline of [`SERIES`] series with records of `width` f64: scalars, if it is one.
fn timeline(recorder: &Recorder, ticks: usize, width: usize) -> Result<()> {
    let mut net = recorder.timeline("net", Coordinate::new("time"))?;
    let names: Vec<_> = (0..SERIES).map(|i| format!("v_{i}")).collect();
    for (tick, record) in random_walk(ticks * width).chunks_exact(width).enumerate() {
        net.advance(tick as f64)?;
        for name in &names {
            match record {
                &[value] => net.record(name, value)?,
                _ => net.record(name, record)?,
            }
        }
    }
    Ok(net.finish()?)
}

/// A timeline of vectors to copy, and its size.
fn vectors(setting: &Setting) -> Result<(Work, usize)> {
    let (ticks, width) = (setting.scaled(10_000), 100);
    let names = (0..SERIES).map(|i| format!("net/v_{i}"));
    let keys = names.chain(["net/time".to_owned()]).collect();
    let record = |recorder: &Recorder| timeline(recorder, ticks, width);
    let work = Work::new(setting, "copy.h5", Answer::Recording(keys), record)?;
    Ok((work, ticks * (SERIES * width + 1) * size_of::<f64>()))
}
