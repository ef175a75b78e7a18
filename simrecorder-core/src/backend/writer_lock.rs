//! The lock of the one writer of a recording.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{FileHandle, Lock, lock_file_within, names};
use crate::error::{Error, ErrorKind, Result};
use crate::store::errors::locked_by;

/// How long a writer waits for the lock of another. The system releases the lock of a killed process after it has freed
/// the memory of the process, which takes longer for more memory.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The longest content of a lock file: a process number and a line break.
const LONGEST_CONTENT: u64 = 32;

/// The lock of the only writer of a recording: a file that is locked while this value exists, and that names the process.
/// The system releases the lock when the process ends in any way.
#[derive(Debug)]
pub struct WriterLock {
    path: PathBuf,
    file: FileHandle,
    is_temporary: bool,
}

impl WriterLock {
    /// Locks the file at `path` for writing `recording`; creates the file if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another writer has the lock and does not release it within two seconds; the error names
    /// the process. [`ErrorKind::InvalidArgument`] for a file of other software; errors of the system.
    pub fn acquire(path: &Path, recording: &Path) -> Result<Self> {
        let failed = |error| Error::io("open", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let is_ours = |file: &File| holder(file) == Some(std::process::id());
        let file = match lock_file_within(path, &options, |file, waited| {
            // Waiting for this process itself is pointless.
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

    /// Removes the file when the lock is released.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// Returns the locked file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // The process number is only for messages, so a failure does not matter.
        let _ = self.file.set_len(0);
        // Removes the file before it releases the lock, so that another process that has opened it notices.
        if self.is_temporary
            && names(&self.path, &self.file).unwrap_or(false)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock file could not be removed");
        }
    }
}

/// Reads the process that a lock file names.
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
