//! Redis servers that Python starts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use simrecorder::{RedisServer, RedisServerOptions};

use crate::error::Raise;

/// A server that runs until it is stopped.
#[pyclass(frozen, module = "simrecorder._simrecorder")]
#[derive(Debug)]
pub(crate) struct RunningServer {
    server: Mutex<Option<RedisServer>>,
    port: u16,
    url: String,
}

#[pymethods]
impl RunningServer {
    /// Starts a server on a data directory.
    #[new]
    fn new(
        py: Python<'_>,
        data_directory: PathBuf,
        port: Option<u16>,
        settings: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let start = || {
            let options = RedisServer::options();
            let options = match port {
                Some(port) => options.port(port),
                None => options,
            };
            let settings = settings.into_iter();
            let set = |options: RedisServerOptions, (name, value)| options.setting(name, value);
            settings.fold(options, set).start(data_directory)
        };
        let server = py.detach(start).raise()?;
        Ok(Self {
            port: server.port(),
            url: server.url().to_owned(),
            server: Mutex::new(Some(server)),
        })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and waits until everything is on disk.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match server {
            Some(server) => py.detach(|| server.stop()).raise(),
            None => Ok(()),
        }
    }
}
