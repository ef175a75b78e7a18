//! Peers in Python: their environment, and processes that do one piece of work after another.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use crate::candidate::Result;
use crate::programs;

/// The Python environment of this repository, which `ci/python` makes, and a folder of packages
/// that only the benches need.
#[derive(Debug)]
pub struct Python {
    interpreter: PathBuf,
    packages: PathBuf,
    /// The Python package of simrecorder.
    simrecorder: PathBuf,
    processes: Mutex<HashMap<&'static str, Process>>,
}

impl Python {
    /// Creates the environment with packages from PyPI, if it does not exist.
    ///
    /// # Errors
    ///
    /// Python 3 or its `venv` are not installed, or packages cannot be downloaded.
    pub fn set_up() -> Result<Arc<Self>> {
        let mut command = Command::new(root().join("ci").join("python"));
        // Its output is not part of the tables.
        let status = command.stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{command:?} ended with {status}").into());
        }
        let python = Self::installed()?;
        python.install()?;
        Ok(python)
    }

    /// The existing environment.
    ///
    /// # Errors
    ///
    /// The system does not report the path of this program.
    pub fn installed() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            interpreter: root().join("target/python/bin/python"),
            packages: root().join("target/bench-python"),
            simrecorder: programs::package()?,
            processes: Mutex::default(),
        }))
    }

    /// Installs the packages of `benches/python/requirements.txt`, unless they are installed.
    fn install(&self) -> Result<()> {
        let requirements = scripts().join("requirements.txt");
        // Copied when everything is installed.
        let installed = self.packages.join("requirements.txt");
        let wanted = std::fs::read_to_string(&requirements)?;
        if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        let mut command = Command::new(&self.interpreter);
        command
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args([
                "--no-deps",
                "--only-binary",
                ":all:",
                "--upgrade",
                "--target",
            ])
            .arg(&self.packages)
            .arg("--requirement")
            .arg(&requirements);
        let status = command.stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{command:?} ended with {status}").into());
        }
        Ok(std::fs::write(installed, wanted)?)
    }

    /// The versions of Python and of each compared package.
    ///
    /// # Errors
    ///
    /// One of them is not installed.
    pub fn versions(&self) -> Result<Vec<(String, String)>> {
        let output = self.command("versions.py").output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// A command that runs a script of `benches/python`.
    pub fn command(&self, script: &str) -> Command {
        let mut path = self.packages.clone().into_os_string();
        path.push(":");
        path.push(&self.simrecorder);
        let mut command = Command::new(&self.interpreter);
        command
            .arg(scripts().join(script))
            .env("PYTHONPATH", path)
            // Creates no files in the folder of the scripts.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The process that runs a script of `benches/python`. It starts with the first request, and is
    /// shared by all that name the same script.
    pub fn worker(self: &Arc<Self>, script: &'static str) -> Worker {
        Worker {
            python: Arc::clone(self),
            script,
        }
    }

    fn start(&self, script: &str) -> Result<Process> {
        let mut child = self
            .command(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Process {
            input: input.ok_or("no pipe to the process")?,
            output: BufReader::new(output.ok_or("no pipe from the process")?),
            child,
        })
    }

    fn processes(&self) -> MutexGuard<'_, HashMap<&'static str, Process>> {
        let processes = self.processes.lock();
        processes.unwrap_or_else(PoisonError::into_inner)
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Python process that answers each line of JSON with another line.
#[derive(Clone, Debug)]
pub struct Worker {
    python: Arc<Python>,
    script: &'static str,
}

impl Worker {
    /// The id of the process, once it has started.
    pub fn process_id(&self) -> Option<u32> {
        let processes = self.python.processes();
        processes.get(self.script).map(|it| it.child.id())
    }

    /// Requests one piece of work.
    ///
    /// # Errors
    ///
    /// The work fails; the process does not start, or it ended and reports why on standard error.
    pub fn ask(&self, request: &Json) -> Result<Json> {
        let mut processes = self.python.processes();
        let process = match processes.entry(self.script) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.python.start(self.script)?),
        };
        let answer = process.ask(request);
        if answer.is_err() {
            // The next request starts it again.
            processes.remove(self.script);
        }
        let answer = answer?;
        match answer["error"].as_str() {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }
}

/// A running process.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn ask(&mut self, request: &Json) -> Result<Json> {
        writeln!(self.input, "{request}")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| "the Python process ended".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has no data that could be lost.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
