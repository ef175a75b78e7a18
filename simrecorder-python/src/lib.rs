//! The extension module of the Python package `simrecorder`.
//!
//! It is a thin layer over the crate simrecorder: `input` converts Python objects into records,
//! `output` does the reverse. The package `python/simrecorder` contains what is easier to write in
//! Python.

// Docstrings contain examples for Python's doctest, which are not Markdown.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    rustdoc::bare_urls
)]

mod element;
mod error;
mod input;
mod json;
mod messages;
mod objects;
mod options;
mod output;
mod reading;
mod recorder;
mod redis_server;
mod schema;
mod selection;
mod shared;
mod sinks;
mod store;
mod timeline;
mod tools;
mod view;
mod waiting;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
mod _simrecorder {
    #[pymodule_export]
    use crate::input::Ragged;
    #[pymodule_export]
    use crate::recorder::Recorder;
    #[pymodule_export]
    use crate::redis_server::RunningServer;
    #[pymodule_export]
    use crate::shared::_close_all;
    #[pymodule_export]
    use crate::store::Store;
    #[pymodule_export]
    use crate::timeline::Timeline;
    #[pymodule_export]
    use crate::tools::{_copy, _drain, _verify};
    #[pymodule_export]
    use crate::view::{_open_view, View};

    use super::*;

    /// Runs the program `simrec` with its arguments, and returns its exit status.
    #[pyfunction]
    fn _simrec(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
        py.detach(|| simrecorder_cli::run(arguments))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::messages::install();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
