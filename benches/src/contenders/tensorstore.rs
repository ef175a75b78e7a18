//! TensorStore, through its Python package, on the files that simrecorder wrote.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::contender::{Contender, Outcome, Result};
use crate::python::{Python, Worker};

/// Reads a whole array.
#[derive(Debug)]
pub struct TensorstoreReadAll {
    worker: Worker,
    path: PathBuf,
}

impl TensorstoreReadAll {
    /// The array in a directory.
    pub fn new(python: &Arc<Python>, path: &Path) -> Result<Self> {
        Ok(Self {
            worker: python.worker("tensorstore_worker.py")?,
            path: path.to_owned(),
        })
    }
}

impl Contender for TensorstoreReadAll {
    fn name(&self) -> String {
        "TensorStore, directory".to_owned()
    }

    fn run(&mut self) -> Result<Outcome> {
        let answer = self
            .worker
            .ask(&json!({ "work": "read_all", "path": self.path }))?;
        let seconds = answer["seconds"].as_f64().ok_or("no seconds")?;
        Ok(Outcome {
            elapsed: Duration::from_secs_f64(seconds),
            checksum: answer["checksum"].as_u64().ok_or("no checksum")?,
        })
    }
}
