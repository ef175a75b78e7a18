//! Python programs that read what simrecorder writes, and write what it reads.

use std::path::Path;
use std::process::Command;

/// The program `tests/python/NAME`, run by the Python that `ci/python` sets up.
pub(crate) fn python(name: &str) -> Command {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = crate_folder.join("../target/python/bin/python");
    assert!(
        interpreter.exists(),
        "this test runs Python with the packages of python/requirements.txt, and {} is missing: \
         make it with ci/python",
        interpreter.display()
    );
    let mut command = Command::new(interpreter);
    // No bytecode beside the sources, and no packages of the user.
    command.args(["-B", "-s"]);
    command.arg(crate_folder.join("tests/python").join(name));
    command.env("PYTHONPATH", crate_folder.join("../python"));
    command
}
