//! A writer that is killed, or whose disk fails, at one single call that changes a file.
//!
//! The writer is this test program again, under `strace`, which counts its calls and kills it before a given call, or
//! makes the call return an error.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::power_failure::Trace;
use crate::{ACT, output_within_a_minute, this_test_by};

/// All calls that change a file or a folder, or open one for that. Some systems do not have those with a question
/// mark.
const CALLS: [&str; 37] = [
    "?open",
    "openat",
    "openat2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "copy_file_range",
    "sendfile",
    "splice",
    "fsync",
    "fdatasync",
    "sync",
    "syncfs",
    "sync_file_range",
    "msync",
    "?truncate",
    "?ftruncate",
    "fallocate",
    "?rename",
    "?renameat",
    "renameat2",
    "?unlink",
    "unlinkat",
    "?rmdir",
    "?mkdir",
    "mkdirat",
    "?link",
    "linkat",
    "?symlink",
    "symlinkat",
    "?chmod",
    "fchmod",
    "fchmodat",
    "utimensat",
    "?creat",
];

/// The text that a traced process prints before an error of the library.
pub const FAILED: &str = "failed: ";

/// The role of a traced process.
pub fn act() -> String {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.use_current_thread().build_global().unwrap();
    std::env::var(ACT).unwrap_or_default()
}

/// A call of a process: the `count`-th one with this name.
#[derive(Clone)]
pub struct Point {
    name: String,
    count: usize,
    /// The number of previous calls with each name.
    before: BTreeMap<String, usize>,
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.count)
    }
}

/// What happens at a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strike {
    /// The process is killed before the call.
    Kill,
    /// The call does nothing and returns that the disk is full or broken, or that too many files
    /// are open.
    Fail,
    /// This call and all later ones do nothing and return that the file system is read only. A mount with files that are
    /// open for writing cannot be made read only from outside.
    ReadOnly,
}

/// The progress of a writer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The number of flushed steps.
    pub flushed: u64,
    /// The number of steps at the last checkpoint.
    pub settled: u64,
    /// Whether it reached the call at which it should be struck. Not every run makes all calls.
    pub was_struck: bool,
    /// Whether it reported a failure.
    pub has_failed: bool,
}

/// The role of a test that is traced.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// The test that runs again.
    pub test: &'a str,
    /// The value that [`act`] returns there.
    pub act: &'a str,
}

impl Traced<'_> {
    /// Returns all calls that change a file in an undisturbed run, in their order.
    pub fn points(&self, path: &Path) -> Vec<Point> {
        self.run(path, None).1
    }

    /// Runs the role, struck at `point`.
    pub fn struck(&self, path: &Path, point: &Point, strike: Strike) -> Progress {
        self.run(path, Some((point, strike))).0
    }

    /// Returns everything that an undisturbed run does to files next to `path`.
    pub(crate) fn trace(&self, path: &Path) -> Trace {
        let log = path.with_file_name("trace");
        let mut arguments = vec![
            "-f",
            "-qq",
            "-y",
            "-xx",
            "-s",
            "16777216",
            "-o",
            log.to_str().unwrap(),
        ];
        arguments.extend([
            "-e",
            Trace::CALLS,
            "-e",
            "inject=?clone,clone3:error=EAGAIN",
        ]);
        let mut command = this_test_by("strace", &arguments, self.test, path);
        let output = output_within_a_minute(command.env(ACT, self.act));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        Trace::parse(&text, path.parent().unwrap())
    }

    fn run(&self, path: &Path, strike: Option<(&Point, Strike)>) -> (Progress, Vec<Point>) {
        let trace = path.with_file_name("trace");
        let calls = format!("trace={},?clone,clone3", CALLS.join(","));
        // Threads cannot be started, so that one thread makes the same calls in each run. The test harness and the library work
        // without threads; rayon, which zarrs uses, is configured for that.
        let mut arguments = vec!["-f", "-qq", "-o", trace.to_str().unwrap()];
        arguments.extend(["-e", &calls, "-e", "inject=?clone,clone3:error=EAGAIN"]);
        let injections = strike.map(|(point, strike)| injections(point, strike));
        for injection in injections.iter().flatten() {
            arguments.extend(["-e", injection]);
        }
        let mut command = this_test_by("strace", &arguments, self.test, path);
        let output = output_within_a_minute(command.env(ACT, self.act));
        let text = String::from_utf8_lossy(&output.stdout);
        let was_killed = output.status.signal() == Some(9);
        assert!(
            was_killed || output.status.success(),
            "strace must be able to stop a process here, and the process must not fail, {strike:?}: \
             {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let calls = fs::read_to_string(&trace).unwrap();
        fs::remove_file(&trace).unwrap();
        let failed = text.lines().filter_map(|line| line.split_once(FAILED));
        let is_expected = |error: &str| match strike {
            None => false,
            Some((_, Strike::ReadOnly)) if self.act == "read" => false,
            Some((_, Strike::ReadOnly)) => error.starts_with("Error(PermissionDenied"),
            Some(_) => true,
        };
        for (_, error) in failed {
            assert!(is_expected(error), "{strike:?}: {error}");
        }
        assert!(strike.is_some() || !was_killed, "{text}");
        let progress = Progress {
            flushed: last(&text, "flushed ").max(last(&text, "settled ")),
            settled: last(&text, "settled "),
            was_struck: was_killed || has_injection(&calls),
            has_failed: text.contains(FAILED),
        };
        (progress, points_in(&calls, path.parent().unwrap()))
    }
}

/// What strace does with calls.
fn injections(point: &Point, strike: Strike) -> Vec<String> {
    let Point { name, count, .. } = point;
    let what = match (strike, name.as_str()) {
        (Strike::Kill, _) => "signal=KILL",
        (Strike::Fail, "fsync" | "fdatasync" | "sync" | "syncfs" | "msync") => "error=EIO",
        (Strike::Fail, _) if name.starts_with("open") && count % 2 == 0 => "error=EMFILE",
        (Strike::Fail, _) => "error=ENOSPC",
        (Strike::ReadOnly, _) => {
            // Opening files for reading and printing still work.
            let others = CALLS
                .iter()
                .filter(|call| !call.contains("open") && **call != "write");
            let inject = |call: &&str| {
                let before = point.before.get(call.trim_start_matches('?'));
                let next = before.map_or(1, |count| count + 1);
                format!("inject={call}:error=EROFS:when={next}+")
            };
            return others.map(inject).collect();
        }
    };
    vec![format!("inject={name}:{what}:when={count}")]
}

/// Whether strace made a call fail, except for calls that start threads.
fn has_injection(trace: &str) -> bool {
    let mut lines = trace.lines();
    lines.any(|line| line.ends_with("(INJECTED)") && !line.contains(" clone"))
}

/// The calls in the output of strace, except for those that print, and those that open a file for reading
/// or outside `folder`.
fn points_in(trace: &str, folder: &Path) -> Vec<Point> {
    let place = format!("\"{}/", folder.display());
    let mut counts = BTreeMap::new();
    let mut points = Vec::new();
    for line in trace.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        if name.starts_with("clone") || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            continue;
        }
        let before = counts.clone();
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let is_printing = arguments.starts_with("1, ") || arguments.starts_with("2, ");
        let is_other_open = name.starts_with("open")
            && !(arguments.contains(&place)
                && ["O_WRONLY", "O_RDWR", "O_CREAT"]
                    .iter()
                    .any(|flag| arguments.contains(flag)));
        if !is_printing && !is_other_open {
            points.push(Point {
                name: name.to_owned(),
                count: *count,
                before,
            });
        }
    }
    points
}

/// The last number after `word` in a line.
pub(crate) fn last(text: &str, word: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| line.split_once(word));
    let numbers = numbers.filter_map(|(_, number)| number.trim().parse().ok());
    numbers.max().unwrap_or(0)
}
