//! The program `simrec` and the Python package, which are measured in addition to the library.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::candidate::Result;
use crate::python::root;

/// Builds both, or only `simrec`, from the current sources and with the profile of this program.
///
/// # Errors
///
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
    // Its output is not part of the tables.
    let status = command.stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => {
            Err(format!("{command:?}, which builds what is measured, ended with {status}").into())
        }
    }
}

/// The path of `simrec`.
///
/// # Errors
///
/// The system does not report the path of this program.
pub fn simrec() -> Result<PathBuf> {
    Ok(folder()?.join("simrec"))
}

/// The folder from which the Python package is imported.
///
/// # Errors
///
/// The system does not report the path of this program.
pub fn package() -> Result<PathBuf> {
    Ok(folder()?.join("python"))
}

/// The folder into which cargo builds this program.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program
        .parent()
        .ok_or("a program without a folder")?
        .to_owned())
}
