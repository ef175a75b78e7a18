//! h5py, as its documentation shows it, and with records brought together by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::simrecorder_store::{KEY, Places};
use crate::contender::{Contender, Outcome, Result};
use crate::data::Frames;
use crate::python::{Python, Worker};
use crate::works::{FrameWork, Scalars, Vectors, scratch};

/// One piece of work by h5py, in a process of its own.
#[derive(Debug)]
pub struct H5py {
    worker: Worker,
    name: String,
    request: Json,
    /// Where files that it writes go, in a folder that is removed after each run.
    folder: Option<PathBuf>,
}

impl H5py {
    fn new(python: &Arc<Python>, name: &str, request: Json, folder: Option<&Path>) -> Result<Self> {
        Ok(Self {
            worker: python.worker("h5py_worker.py")?,
            name: name.to_owned(),
            request,
            folder: folder.map(Path::to_owned),
        })
    }

    /// Writes frames into a dataset of whole frames, with `shuffle` and another filter.
    pub fn frames(
        python: &Arc<Python>,
        work: &FrameWork,
        filter: &str,
        folder: &Path,
    ) -> Result<Self> {
        let frames = work
            .frames
            .iter()
            .flatten()
            .flat_map(|value| value.to_le_bytes());
        let request = json!({
            "work": "frames",
            "values": numbers(&frames.collect::<Vec<_>>(), folder)?,
            "shape": [work.frames.len(), Frames::SIDE, Frames::SIDE],
            "count": work.count,
            "filter": filter,
        });
        let name = match filter {
            "gzip" => "h5py, shuffle and gzip level 1".to_owned(),
            other => format!("h5py, shuffle and {other}"),
        };
        Self::new(python, &name, request, Some(folder))
    }

    /// Records scalars, brought together by hand into whole chunks of 1 MiB.
    pub fn scalars(python: &Arc<Python>, work: &Scalars, folder: &Path) -> Result<Self> {
        let values = work.values.iter().flat_map(|value| value.to_le_bytes());
        let request = json!({
            "work": "records",
            "values": numbers(&values.collect::<Vec<_>>(), folder)?,
            "shape": [work.values.len()],
            "keys": work.keys,
            "count": work.records,
        });
        Self::new(
            python,
            "h5py, whole chunks by hand, gzip level 1",
            request,
            Some(folder),
        )
    }

    /// The same for vectors.
    pub fn vectors(python: &Arc<Python>, work: &Vectors, folder: &Path) -> Result<Self> {
        let values = work.values.iter().flat_map(|value| value.to_le_bytes());
        let request = json!({
            "work": "records",
            "values": numbers(&values.collect::<Vec<_>>(), folder)?,
            "shape": [work.values.len() / Vectors::LEN, Vectors::LEN],
            "keys": [KEY],
            "count": work.records,
        });
        Self::new(
            python,
            "h5py, whole chunks by hand, gzip level 1",
            request,
            Some(folder),
        )
    }

    /// Reads all of a file of simrecorder.
    pub fn read_all(python: &Arc<Python>, path: &Path) -> Result<Self> {
        let request = json!({ "work": "read_all", "path": path, "key": KEY });
        Self::new(python, "h5py", request, None)
    }

    /// Reads slices of a file of simrecorder.
    pub fn slices(python: &Arc<Python>, path: &Path, places: &Places) -> Result<Self> {
        let places: Vec<_> = places.iter().collect();
        let request = json!({ "work": "slices", "path": path, "key": KEY, "places": places });
        Self::new(python, "h5py", request, None)
    }
}

/// Hands numbers to the process in a file, which it keeps in memory.
fn numbers(bytes: &[u8], folder: &Path) -> Result<PathBuf> {
    let (mut file, path) = tempfile::Builder::new()
        .prefix("simrecorder-bench-")
        .tempfile_in(folder)?
        .keep()?;
    std::io::Write::write_all(&mut file, bytes)?;
    Ok(path)
}

impl Contender for H5py {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn run(&mut self) -> Result<Outcome> {
        let folder = self.folder.as_deref().map(scratch).transpose()?;
        let mut request = self.request.clone();
        if let Some(folder) = &folder {
            request["path"] = json!(folder.path().join("recording.h5"));
        }
        let answer = self.worker.ask(&request)?;
        let seconds = answer["seconds"].as_f64().ok_or("no seconds")?;
        Ok(Outcome {
            elapsed: Duration::from_secs_f64(seconds),
            checksum: answer["checksum"].as_u64().ok_or("no checksum")?,
        })
    }
}
