//! The lock of the one writer of a recording.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{FileHandle, Lock, lock_file_within, names};
use crate::error::{Error, ErrorKind, Result};
use crate::store::errors::locked_by;

/// How long a writer waits for the lock of another. The system gives up the lock of a killed process
/// once it has cleaned up after it, which takes longer the more memory the process had.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A lock file holds a process number, and a line break.
const LONGEST_CONTENT: u64 = 32;

/// The lock of the one writer of a recording: a file that is locked as long as this value lives, and
/// names the process. The system gives up the lock when the process ends, however it ends.
#[derive(Debug)]
pub struct WriterLock {
    path: PathBuf,
    file: FileHandle,
    is_temporary: bool,
}

impl WriterLock {
    /// Locks the file at `path`, which is created if there is none, to write `recording`.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`], with the process that holds the lock, if it is not given up in two seconds;
    /// [`ErrorKind::InvalidArgument`] if the file is of other software; what the system reports.
    pub fn acquire(path: &Path, recording: &Path) -> Result<Self> {
        let failed = |error| Error::io("open", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let is_ours = |file: &File| holder(file) == Some(std::process::id());
        let file = match lock_file_within(path, &options, |file, waited| {
            // This process does not die while it waits.
            waited < LOCK_PATIENCE && !is_ours(file)
        }) {
            Ok(Lock::Taken(file)) => file,
            Ok(Lock::Held(file)) => return Err(locked_by(holder(&file), recording)),
            Err(error) => return Err(failed(error)),
        };
        if !is_lock_file(&file).map_err(failed)? {
            let message = "a file of other software has the name of the lock of the recording; \
                           move it away, or choose another path";
            return Err(Error::new(ErrorKind::InvalidArgument, "open", message)
                .with_key(path.display().to_string()));
        }
        file.set_len(0)
            .and_then(|()| (&*file).rewind())
            .and_then(|()| writeln!(&*file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_temporary: false,
        })
    }

    /// Lets the file be removed when the lock is given up.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// The file that is locked.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // The process number is only for messages, so it does not matter if it stays.
        let _ = self.file.set_len(0);
        // Removed while the lock is still held: another process that opened it before sees that it
        // is gone.
        if self.is_temporary
            && names(&self.path, &self.file).unwrap_or(false)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock file could not be removed");
        }
    }
}

/// The process that a lock file names.
pub fn holder(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(LONGEST_CONTENT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn is_lock_file(mut file: &File) -> std::io::Result<bool> {
    let mut content = Vec::new();
    file.rewind()?;
    file.take(LONGEST_CONTENT + 1).read_to_end(&mut content)?;
    let of_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'\n';
    Ok(content.len() as u64 <= LONGEST_CONTENT && content.iter().all(of_number))
}
