//! Tests in processes and mount namespaces of their own.

#![allow(
    dead_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and helpers of tests may panic"
)]

pub(crate) mod lmdb;
#[cfg(target_os = "linux")]
pub(crate) mod memory;
pub(crate) mod python;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The folder that this process is to work on, if it was started by [`this_test`].
pub(crate) fn role() -> Option<PathBuf> {
    std::env::var_os("SIMRECORDER_TEST_ROLE").map(PathBuf::from)
}

/// The named test, in a process of its own where [`role`] returns `path`.
pub(crate) fn this_test(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env("SIMRECORDER_TEST_ROLE", path);
    command
}

pub(crate) fn assert_success(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the named test in a mount namespace of its own, as root there.
#[cfg(target_os = "linux")]
pub(crate) fn unshare(name: &str, path: &Path) {
    let can = |flag: &str| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none \"$0\"";
        let output = command.args([flag, "sh", "-c", script]).arg(path).output();
        output.is_ok_and(|output| output.status.success())
    };
    let flag = ["-m", "-rm"].into_iter().find(|flag| can(flag));
    let flag = flag.expect(
        "this test mounts file systems of its own, and `unshare -m` is not possible here: run it \
         as root, or where user namespaces are allowed",
    );
    let test = this_test(name, path);
    let mut command = Command::new("unshare");
    command
        .arg(flag)
        .arg(test.get_program())
        .args(test.get_args());
    command.env("SIMRECORDER_TEST_ROLE", path);
    assert_success(&mut command);
}

#[cfg(target_os = "linux")]
pub(crate) fn mount(arguments: &[&str], path: &Path) {
    assert_success(Command::new("mount").args(arguments).arg(path));
}

#[cfg(target_os = "linux")]
pub(crate) fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// A child process that writes a line when it is ready and waits to be told to go on.
pub(crate) struct Partner(pub(crate) Child, pub(crate) BufReader<ChildStdout>);

impl Partner {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ready = output
            .by_ref()
            .lines()
            .any(|line| line.unwrap().contains("ready"));
        assert!(ready, "the child did not start");
        Self(child, output)
    }

    pub(crate) fn finish(mut self) {
        drop(self.0.stdin.take());
        let mut output = String::new();
        self.1.read_to_string(&mut output).unwrap();
        assert!(self.0.wait().unwrap().success(), "{output}");
    }
}

/// The other side of [`Partner`].
pub(crate) fn wait_for_parent() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}
