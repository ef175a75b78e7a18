//! Code that the tests of several backends share: child processes, kills and failing disks, mount namespaces, Python
//! programs, and the memory of the process.
//!
//! Its functions panic if something does not work, as tests do.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests may panic and print"
)]

pub mod allocation;
pub mod coordinates;
pub mod counting;
pub mod damage;
pub mod damaged_sizes;
pub mod dimensions;
pub mod faulty;
pub mod filled;
#[cfg(target_os = "linux")]
pub mod flush_cost;
#[cfg(target_os = "linux")]
pub mod full_disk;
#[cfg(target_os = "linux")]
pub mod kill_points;
pub mod log;
#[cfg(target_os = "linux")]
pub mod memory;
pub mod objects;
mod power_failure;
pub mod recording;
pub mod recovery;
pub mod removal;
pub mod steps;
#[cfg(target_os = "linux")]
pub mod syncs;
#[cfg(target_os = "linux")]
pub mod system_calls;
pub mod timelines;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use simrecorder_core::{Error, ErrorKind};
use tempfile::TempDir;

const ROLE: &str = "SIMRECORDER_TEST_ROLE";

/// The environment variable that tells a child process which of several roles it has.
pub(crate) const ACT: &str = "SIMRECORDER_TEST_ACT";

/// Returns the folder or file to work on, if this process was started by [`this_test`].
pub fn role() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

/// Makes the command that runs the named test of this program in another process, where [`role`] returns `path`.
pub fn this_test(name: &str, path: &Path) -> Command {
    this_test_under(Command::new(std::env::current_exe().unwrap()), name, path)
}

/// The same with a `command` that already contains another program that runs this one.
fn this_test_under(mut command: Command, name: &str, path: &Path) -> Command {
    command
        .args(["--exact", &full_name(name), "--nocapture"])
        .env(ROLE, path);
    command
}

/// Returns the full name of the test `name`, which calls this: it starts with the modules of the test.
///
/// # Panics
/// If another test or another thread of the test calls this.
pub fn full_name(name: &str) -> String {
    // The harness runs each test in a thread with that name.
    let thread = std::thread::current();
    let full = thread.name().unwrap_or_default();
    assert!(
        full == name || full.ends_with(&format!("::{name}")),
        "this is the thread '{full}', not that of the test '{name}'"
    );
    full.to_owned()
}

/// The same, run by another program, such as `strace`.
pub fn this_test_by(program: &str, arguments: &[&str], name: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(std::env::current_exe().unwrap());
    this_test_under(command, name, path)
}

/// Returns the names in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a command, and panics with its output unless it succeeds.
pub fn assert_success(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns all files below a folder, with their contents.
pub fn all_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

/// Returns how many bytes the files below a folder take on the disk.
#[cfg(unix)]
pub fn allocated_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).unwrap();
    let bytes = entries.map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => allocated_bytes(&path),
            false => path.metadata().unwrap().blocks() * 512,
        }
    });
    bytes.sum()
}

/// Makes a temporary folder, in memory if there is such a file system, for tests without power failures.
pub fn quick_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

/// Returns the output of a command that must end within a minute, so that a hang is a failure.
pub fn output_within_a_minute(command: &mut Command) -> Output {
    // Uses files, since a full pipe would stop the command.
    let [mut stdout, mut stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let read = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    Output {
        status,
        stdout: read(&mut stdout),
        stderr: read(&mut stderr),
    }
}

/// Checks the kind of an error, and that it names all of `parts`.
#[track_caller]
pub fn expect(error: Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "the error does not name '{part}': {error}"
        );
    }
}

/// Runs the named test in a separate mount namespace, as root.
#[cfg(target_os = "linux")]
pub fn unshare(name: &str, path: &Path) {
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
    assert_success(&mut this_test_by("unshare", &[flag], name, path));
}

/// Mounts a file system at `path`, in the namespace of [`unshare`].
#[cfg(target_os = "linux")]
pub fn mount(arguments: &[&str], path: &Path) {
    assert_success(Command::new("mount").args(arguments).arg(path));
}

/// Fills the file system of `path` with one file.
#[cfg(target_os = "linux")]
pub fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// A child process that writes a line when it is ready and waits to be told to continue.
#[derive(Debug)]
pub struct Partner(pub Child, pub BufReader<ChildStdout>);

impl Partner {
    /// Starts the child and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut partner = Self(child, output);
        partner.wait_for("ready");
        partner
    }

    /// Waits until the child writes a line with `word`.
    pub fn wait_for(&mut self, word: &str) {
        let found = self
            .1
            .by_ref()
            .lines()
            .any(|line| line.unwrap().contains(word));
        assert!(found, "the child ended before it wrote '{word}'");
    }

    /// Tells the child to continue, and waits until it has succeeded.
    pub fn finish(mut self) {
        drop(self.0.stdin.take());
        let mut output = String::new();
        self.1.read_to_string(&mut output).unwrap();
        assert!(self.0.wait().unwrap().success(), "{output}");
    }
}

/// The other side of [`Partner`].
pub fn wait_for_parent() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

/// Like [`python`], with zarr-python 2 instead of zarr-python 3.
pub fn python_with_zarr2(program: &str) -> Command {
    let mut command = python(program);
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python-zarr2");
    assert!(
        packages.join("zarr").exists(),
        "this test writes Zarr V2 with the packages of simrecorder-python/requirements-zarr2.txt, and {} is missing: make \
         it with ci/python",
        packages.display()
    );
    command.env("PYTHONPATH", packages);
    command
}

/// Makes the command that runs a program of the repository with the Python that `ci/python` sets up.
pub fn python(program: &str) -> Command {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let interpreter = repository.join("target/python/bin/python");
    assert!(
        interpreter.exists(),
        "this test runs Python with the packages of simrecorder-python/requirements.txt, and {} is missing: \
         make it with ci/python",
        interpreter.display()
    );
    let mut command = Command::new(interpreter);
    // Without bytecode next to the sources, and without packages of the user.
    command.args(["-B", "-s"]).arg(repository.join(program));
    let folders = ["simrecorder-python/python", "simrecorder-testkit/python"]
        .map(|folder| repository.join(folder));
    command.env("PYTHONPATH", std::env::join_paths(folders).unwrap());
    command
}
