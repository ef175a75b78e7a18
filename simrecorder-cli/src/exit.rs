//! Exit statuses of the program, and the errors that end it.

use std::fmt;
use std::io;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The exit status after an error, including wrong usage.
pub(crate) const ERROR: u8 = 2;

/// The result of a command that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Status 0.
    Success,
    /// Status 1: the answer is no, such as "damaged" or "different".
    No,
    /// Status 2: a part could not be read, so the answer is unknown.
    Unknown,
}

/// The exit status.
impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0,
            Exit::No => 1,
            Exit::Unknown => ERROR,
        }
    }
}

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why the program ends before a command is completed. `Display` prints one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments request this help, which is not an error.
    Help(StyledStr),
    /// The arguments are wrong.
    Usage(String),
    /// The command was refused or not completed.
    Refused(String),
    Library(simrecorder::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(text) => text.fmt(f),
            Self::Usage(message) | Self::Refused(message) => f.write_str(message),
            Self::Library(error) => error.fmt(f),
            Self::Output(error) => write!(f, "write to standard output: {error}"),
        }
    }
}

impl From<simrecorder::Error> for Failure {
    fn from(error: simrecorder::Error) -> Self {
        Self::Library(error)
    }
}

/// An error of standard output. Errors of files are errors of the library, which contain their
/// path.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // The crate csv wraps the error in another one, which does not show that a pipe was closed.
        let of_csv = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<csv::Error>());
        match of_csv.map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(inner)) => Self::Output(inner.kind().into()),
            _ => Self::Output(error),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render();
        let unknown = error.get(ContextKind::InvalidSubcommand);
        match error.kind() {
            // A build with this command does not get here.
            _ if matches!(unknown, Some(ContextValue::String(name)) if name == "serve") => {
                let message = "this program was built without 'serve'; in a clone, run \
                               '(cd web && npm ci && npm run build)' and \
                               'cargo install --path simrecorder-cli --features serve'";
                Self::Usage(message.to_owned())
            }
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Help(text),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Self::Usage("a command is missing; see 'simrec --help'".to_owned())
            }
            _ => Self::Usage(usage_line(&text.to_string())),
        }
    }
}

/// Joins the lines of a message of clap.
fn usage_line(text: &str) -> String {
    let end = text.find("\n\nUsage:").unwrap_or(text.len());
    let message = text[..end].trim_start_matches("error: ");
    let mut line = String::new();
    for part in message.lines().map(str::trim) {
        match part {
            "" => continue,
            _ if line.is_empty() => {}
            _ if line.ends_with(':') => line.push(' '),
            _ => line.push_str("; "),
        }
        line.push_str(part.trim_start_matches("tip: "));
    }
    let end = line.find("; For more information").unwrap_or(line.len());
    line.truncate(end);
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    if let Some(usage) = usage {
        line.push_str("; usage: ");
        line.push_str(usage);
    }
    line
}
