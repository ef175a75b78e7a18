//! What the tests of this crate share.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and helpers of tests may panic"
)]

pub(crate) mod chunks;
pub(crate) mod lmdb;

use std::process::Command;

pub(crate) use simrecorder_testkit::*;

/// The program `tests/python/NAME` of this crate.
pub(crate) fn python(name: &str) -> Command {
    simrecorder_testkit::python(&format!("simrecorder-zarr/tests/python/{name}"))
}
