//! Ctrl-C, and other signals that ask the program to end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use simrecorder::{Error, ErrorKind};

use crate::exit::{Failure, Result};

/// Whether the program was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Handles signals from now on: the first one is reported here, the second one ends the
    /// program.
    pub(crate) fn watch() -> Result<Self> {
        let is_requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_requested))
                .and_then(|_| flag::register(signal, Arc::clone(&is_requested)))
                .map_err(|error| {
                    Failure::Refused(format!("signal handlers cannot be installed: {error}"))
                })?;
        }
        Ok(Self(is_requested))
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if the program was asked to end.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), Error> {
        match self.is_requested() {
            true => Err(Error::new(
                ErrorKind::Cancelled,
                operation,
                "it was interrupted; nothing was written",
            )),
            false => Ok(()),
        }
    }

    /// Whether a long operation continues.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        match self.is_requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
