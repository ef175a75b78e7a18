//! Peers in Python: their environment, and processes that do one piece of work after the other.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::contender::Result;

/// The Python environment of this repository, which `ci/python` makes.
#[derive(Debug)]
pub struct Python {
    interpreter: PathBuf,
}

impl Python {
    /// The environment, which is made, with packages from PyPI, if it is not there.
    ///
    /// # Errors
    /// Python 3 or its `venv` are not installed, or packages cannot be had.
    pub fn set_up() -> Result<Arc<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(root.join("ci").join("python"));
        // What it says is not part of the tables.
        let status = command.stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{command:?} ended with {status}").into());
        }
        let interpreter = root.join("target/python/bin/python");
        Ok(Arc::new(Self { interpreter }))
    }

    /// Starts a process that runs a script of `benches/python`.
    ///
    /// # Errors
    /// It does not start.
    pub fn worker(&self, script: &str) -> Result<Worker> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut process = Command::new(&self.interpreter)
            .arg(scripts.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        Ok(Worker {
            input: input.ok_or("no pipe to the process")?,
            output: BufReader::new(output.ok_or("no pipe from the process")?),
            process,
        })
    }
}

/// A Python process that answers each line of JSON with one.
#[derive(Debug)]
pub struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Has one piece of work done.
    ///
    /// # Errors
    /// The process ended; it says why on standard error.
    pub fn ask(&mut self, request: &Json) -> Result<Json> {
        writeln!(self.input, "{request}")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| "the Python process ended".into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nothing is lost with it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
