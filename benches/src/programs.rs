//! The program `simrec` and the Python package, which are measured besides the library.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::candidate::Result;
use crate::python::root;

/// Builds both, or only `simrec`, of the present sources and with the profile of this program.
///
/// # Errors
/// The build fails.
pub fn build(with_python: bool) -> Result<()> {
    let profile = match cfg!(debug_assertions) {
        true => "dev",
        false => "release",
    };
    let mut command = Command::new(root().join("ci/bench-programs"));
    command.args([&folder()?.join(".."), &PathBuf::from(profile)]);
    if !with_python {
        command.arg("simrec");
    }
    // What it prints is not part of the tables.
    let status = command.stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => {
            Err(format!("{command:?}, which builds what is measured, ended with {status}").into())
        }
    }
}

/// Where `simrec` is.
///
/// # Errors
/// The system does not say where this program is.
pub fn simrec() -> Result<PathBuf> {
    Ok(folder()?.join("simrec"))
}

/// The folder to import the Python package from.
///
/// # Errors
/// The system does not say where this program is.
pub fn package() -> Result<PathBuf> {
    Ok(folder()?.join("python"))
}

/// The folder that cargo builds this program into.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program
        .parent()
        .ok_or("a program without a folder")?
        .to_owned())
}
