//! Counts the bytes that are written to the disk, and the requests to sync.

use std::process::{Command, Stdio};

use crate::candidate::Result;

/// The system calls that sync.
const CALLS: &str = "trace=fsync,fdatasync,msync,sync,syncfs";

/// The number of bytes that a process has written so far, including those still to be written to
/// disk and those of its children that have ended. Files in memory do not count.
///
/// # Errors
///
/// There is no such process, or the system does not report it.
pub fn written_bytes(process: u32) -> Result<u64> {
    let figures = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let line = figures
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("/proc has no write_bytes")?.parse()?)
}

/// Runs a command under `strace`, and counts the sync calls of it and of the processes that it
/// starts.
///
/// # Errors
///
/// `strace` is missing, may not trace, or prints something unexpected; the command fails.
pub fn syncs(command: &Command) -> Result<u64> {
    let summary = tempfile::NamedTempFile::new()?;
    let output = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-c", "-U", "calls,name", "-e", CALLS])
        .arg("-o")
        .arg(summary.path())
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("strace, which counts syncs: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    calls(&std::fs::read_to_string(summary.path())?)
}

/// The sum of the first column of a summary. Its last line already contains the sum.
fn calls(summary: &str) -> Result<u64> {
    let lines = summary.lines().map(str::trim);
    let mut sum = 0;
    for line in lines {
        if let Some((count, name)) = line.split_once(char::is_whitespace)
            && let Ok(count) = count.parse::<u64>()
            && name.trim() != "total"
        {
            sum += count;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed() {
        let summary = "    calls syscall\n--------- ----------------\n       61 fdatasync\n        \
                       2 fsync\n--------- ----------------\n       63 total\n";
        assert_eq!(calls(summary).unwrap(), 63);
        assert_eq!(calls("").unwrap(), 0);
    }

    #[test]
    fn syncs_of_a_command_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sync");
        command.arg("-f").arg(folder.path());
        assert_eq!(super::syncs(&command).unwrap(), 1);
    }
}
