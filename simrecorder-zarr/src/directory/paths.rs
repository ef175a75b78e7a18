//! The paths of a recording and of the files next to it.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use simrecorder_core::backend::{open_inside, path_inside};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::is_missing;

/// The metadata of the root, which a writer replaces before it changes any other file.
pub(super) const ROOT_METADATA: &str = "zarr.json";

/// The longest path that the system supports, including the final NUL.
const PATH_LIMIT: usize = if cfg!(target_os = "linux") {
    4096
} else {
    1024
};
/// The longest name that this module creates below `.journal.tmp`.
const STAGING_ROOM: usize = 64;
/// The paths of the parts of a recording.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The recording itself. This path is canonical.
    pub(super) root: PathBuf,
    /// The folder that contains the recording.
    pub(super) parent: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) lock: PathBuf,
    /// Contains files that are being written. It is next to the recording, where other software
    /// does not list it, and is removed as a whole.
    pub(super) staging: PathBuf,
}

impl Paths {
    pub(super) fn new(parent: &Path, name: &std::ffi::OsStr) -> Result<Self> {
        let beside = |suffix: &str| {
            let mut name: OsString = name.to_owned();
            name.push(suffix);
            parent.join(name)
        };
        let paths = Self {
            root: parent.join(name),
            parent: parent.to_owned(),
            journal: beside(".journal"),
            lock: beside(".lock"),
            staging: beside(".journal.tmp"),
        };
        let longest = name.len() + ".journal.tmp".len();
        if longest > 255 || paths.staging.as_os_str().len() + STAGING_ROOM > PATH_LIMIT {
            let message = "the path is too long for the names of the files next to it";
            return Err(paths.refuse(ErrorKind::InvalidArgument, message));
        }
        Ok(paths)
    }

    /// The path of an entry's file.
    pub(super) fn entry(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Opens the file of an entry for reading. Returns the file and its metadata; `None` if there
    /// is no file.
    pub(super) fn open(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<Option<(File, Metadata)>> {
        match open_inside(&self.root, key) {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if is_missing(&error) || error.kind() == io::ErrorKind::InvalidFilename => {
                Ok(None)
            }
            Err(error) => Err(Error::io(operation, &self.entry(key), error)),
        }
    }

    /// The path of an entry that will be opened or changed. Fails if links on the way may lead out
    /// of the recording.
    pub(super) fn inside(&self, operation: &'static str, key: &str) -> Result<PathBuf> {
        path_inside(&self.root, key).map_err(|error| Error::io(operation, &self.entry(key), error))
    }

    /// The error for a recording that cannot be opened.
    pub(super) fn refuse(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, "open", message).with_key(self.root.display().to_string())
    }
}

/// Checks that a key or path stays inside the recording and that the system can store it.
pub(super) fn check_key(key: &str, name_limit: usize, root: &Path) -> Result<()> {
    let refuse =
        |rule: String| Err(Error::new(ErrorKind::InvalidKey, "commit", rule).with_key(key));
    for part in key.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
            return refuse(
                "a part of a key must be a file name: not empty, '.' or '..', and without NUL"
                    .into(),
            );
        }
        if part.len() > name_limit {
            let length = part.len();
            return refuse(format!(
                "a part of {length} bytes exceeds the limit of {name_limit} bytes for a file name"
            ));
        }
    }
    if root.as_os_str().len() + 1 + key.len() >= PATH_LIMIT {
        return refuse(format!(
            "with the recording's path it exceeds the system's limit of {PATH_LIMIT} bytes"
        ));
    }
    Ok(())
}
