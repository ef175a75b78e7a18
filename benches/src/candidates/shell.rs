//! Commands and scripts, each a process that is measured from its start to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use simrecorder::Recorder;
use tempfile::TempDir;

use crate::candidate::{Candidate, Outcome, Result, checksum, timed};
use crate::workloads::scratch;

/// An argument that is replaced by the path of the output. Without it, the output is what is
/// printed.
pub const OUTPUT: &str = "OUTPUT";

/// The property of the output that all candidates have in common.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The number of lines that contain a text.
    Lines(&'static str),
    /// The checksum of all words that are numbers, separated by commas or white space.
    Numbers,
    /// The checksum of the series of these keys.
    Recording(Vec<String>),
}

impl Answer {
    fn read(&self, path: &Path) -> Result<u64> {
        let text = || std::fs::read_to_string(path);
        Ok(match self {
            Self::Lines(part) => text()?.lines().filter(|line| line.contains(part)).count() as u64,
            Self::Numbers => {
                let text = text()?;
                let words = text.split(|c: char| c == ',' || c.is_whitespace());
                let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
                checksum(&numbers)
            }
            Self::Recording(keys) => {
                let recorder = Recorder::new(simrecorder::open(path)?);
                let mut sum = 0_u64;
                for key in keys {
                    let values = recorder.get_all(key)?.read::<f64>()?;
                    sum = sum.wrapping_add(checksum(values.as_slice().unwrap_or_default()));
                }
                sum
            }
        })
    }
}

/// A command.
#[derive(Debug)]
pub struct Shell {
    name: String,
    command: Command,
    arguments: Vec<String>,
    output: &'static str,
    answer: Answer,
    /// The folder with the recordings that it reads.
    folder: Arc<TempDir>,
    is_ours: bool,
}

impl Shell {
    /// A program with arguments, run in a folder of recordings. Its output has a name with an
    /// extension.
    pub fn new(
        program: Command,
        arguments: &[&str],
        output: &'static str,
        answer: &Answer,
        folder: &Arc<TempDir>,
    ) -> Self {
        let name = Path::new(program.get_program()).file_name();
        let name = name.unwrap_or_default().display().to_string();
        let shown = arguments.join(" ").replace(OUTPUT, output);
        Self {
            is_ours: name == "simrec",
            name: format!("{name} {shown}"),
            command: program,
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            output,
            answer: answer.clone(),
            folder: Arc::clone(folder),
        }
    }

    /// With another name.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// The command, which writes to a path.
    fn command(&self, output: &Path) -> Result<Command> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
            .current_dir(self.folder.path())
            .stderr(Stdio::piped());
        let is_output = |argument: &String| argument == OUTPUT;
        match self.arguments.iter().any(is_output) {
            true => command.stdout(Stdio::null()),
            false => command.stdout(File::create(output)?),
        };
        for argument in &self.arguments {
            match is_output(argument) {
                true => command.arg(output),
                false => command.arg(argument),
            };
        }
        Ok(command)
    }
}

impl Candidate for Shell {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_ours(&self) -> bool {
        self.is_ours
    }

    fn run(&mut self) -> Result<Outcome> {
        let folder = scratch(self.folder.path())?;
        let output: PathBuf = folder.path().join(self.output);
        let mut command = self.command(&output)?;
        let (elapsed, done) = timed(|| Ok(command.output()?))?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into());
        }
        Outcome::new(elapsed, self.answer.read(&output)?).stored_at(&output)
    }
}
