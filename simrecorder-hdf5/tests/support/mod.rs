//! Helpers that the tests of this crate share.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use std::process::Command;

pub(crate) use simrecorder_testkit::*;

/// The program `tests/python/NAME` of this crate.
pub(crate) fn python(name: &str) -> Command {
    simrecorder_testkit::python(&format!("simrecorder-hdf5/tests/python/{name}"))
}
