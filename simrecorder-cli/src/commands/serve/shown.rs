//! The recordings that the server shows.

use std::path::PathBuf;
use std::sync::Arc;

use simrecorder::DataStore;
use tokio::sync::Semaphore;

use super::demo::Demo;
use crate::exit::{Failure, Result};

/// How many requests read whole series at once, and how many read little. Others wait.
const READERS: usize = 4;

/// What the server shows.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) recordings: Vec<Recording>,
    pub(super) readers: Arc<Semaphore>,
}

#[derive(Debug)]
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) location: String,
    pub(super) store: Arc<dyn DataStore>,
}

impl Shown {
    pub(super) fn open(paths: &[PathBuf], demo: Option<&Demo>) -> Result<Self> {
        let mut recordings = Vec::new();
        recordings.extend(demo.map(|demo| Recording {
            name: "demo".to_owned(),
            location: "a simulation of simrec serve --demo".to_owned(),
            store: Arc::clone(&demo.store),
        }));
        for path in paths {
            recordings.push(Recording {
                name: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                location: path.display().to_string(),
                store: simrecorder::open(path)?,
            });
        }
        Ok(Self {
            recordings,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// The recording with a number.
    pub(super) fn recording(&self, number: usize) -> Result<&Recording> {
        let missing = || Failure::Refused(format!("there is no recording {number}"));
        self.recordings.get(number).ok_or_else(missing)
    }
}
