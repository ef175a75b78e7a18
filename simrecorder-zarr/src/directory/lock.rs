//! The lock of the one writer of a recording.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use simrecorder_core::backend::{Lock, lock_file, names};
use simrecorder_core::{Error, ErrorKind, Result};

/// Holds the lock file beside a recording, and removes it when dropped.
///
/// The system gives up the lock of a killed process, so a file that was left behind does not
/// matter.
#[derive(Debug)]
pub(super) struct WriterLock {
    path: PathBuf,
    file: File,
}

impl WriterLock {
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("open", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = match lock_file(path, &options).map_err(failed)? {
            Lock::Taken(file) => file,
            Lock::Held(mut file) => return Err(locked(path, &mut file)),
        };
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Removed while the lock is still held: who opened it before sees that it is gone.
        if names(&self.path, &self.file).unwrap_or(false)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock file stays behind");
        }
    }
}

fn locked(path: &Path, file: &mut File) -> Error {
    let mut content = String::new();
    let _ = file.take(32).read_to_string(&mut content);
    let holder = match content.trim().parse::<u32>() {
        Ok(process) if process == std::process::id() => format!("this process ({process})"),
        Ok(process) => format!("process {process}"),
        Err(_) => "another process".to_owned(),
    };
    let message =
        format!("{holder} is writing this recording; close it there first, or open it read only");
    Error::new(ErrorKind::Locked, "open", message).with_key(path.display().to_string())
}
