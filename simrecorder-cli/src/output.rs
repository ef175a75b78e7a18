//! Standard output.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use clap::builder::StyledStr;
use serde::Serialize;

use crate::exit::{Exit, Result};

/// The number of bytes that are written at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Standard output, locked and buffered.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    has_colours: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        // Not for a pipe or a file, and not with `NO_COLOR`.
        let has_colours = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self {
            stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout.lock()),
            has_colours,
        }
    }

    /// The text in a style, if colours are enabled.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        match self.has_colours {
            true => format!("{style}{text}{style:#}"),
            false => text.to_string(),
        }
    }

    pub(crate) fn has_colours(&self) -> bool {
        self.has_colours
    }

    /// Writes one line of JSON.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.stdout, object).map_err(io::Error::from)?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    pub(crate) fn write_help(&mut self, help: &StyledStr) -> Result<Exit> {
        match self.has_colours {
            true => write!(self, "{}", help.ansi())?,
            false => write!(self, "{help}")?,
        }
        Ok(Exit::Success)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Reports a problem that does not end the program to standard error.
pub(crate) fn warn(message: impl Display) {
    // It is not an error if this cannot be written.
    let _ = writeln!(io::stderr(), "simrec: {message}");
}
