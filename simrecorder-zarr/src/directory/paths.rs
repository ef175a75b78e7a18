//! The paths of a recording and of the files beside it.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use simrecorder_core::backend::{open_inside, path_inside};
use simrecorder_core::{Error, ErrorKind, Result};

use super::disk::is_missing;

/// The metadata of the root, which a writer replaces before it changes any other file.
pub(super) const ROOT_METADATA: &str = "zarr.json";

/// The longest path that the system takes, with its final NUL.
const PATH_LIMIT: usize = if cfg!(target_os = "linux") {
    4096
} else {
    1024
};
/// The longest name that this module puts below `.journal.tmp`.
const STAGING_ROOM: usize = 64;
/// Where the parts of a recording are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The recording, a canonical path.
    pub(super) root: PathBuf,
    /// The folder that the recording is in.
    pub(super) parent: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) lock: PathBuf,
    /// Holds files that are being written. It lies beside the recording, where no other
    /// software lists it, and is removed as a whole.
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

    /// The file of an entry.
    pub(super) fn entry(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The file of an entry, open to read it, and what it is; `None` if there is none.
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

    /// The path of an entry, to open or change it: an error if links on the way may lead out of the recording.
    pub(super) fn inside(&self, operation: &'static str, key: &str) -> Result<PathBuf> {
        path_inside(&self.root, key).map_err(|error| Error::io(operation, &self.entry(key), error))
    }

    /// Why the recording is not opened.
    pub(super) fn refuse(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, "open", message).with_key(self.root.display().to_string())
    }
}

/// Checks that a key or a path stays inside the recording and that the system can store it.
pub(super) fn check_key(key: &str, name_limit: usize, root: &Path) -> Result<()> {
    let refuse =
        |rule: String| Err(Error::new(ErrorKind::InvalidKey, "commit", rule).with_key(key));
    for part in key.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
            return refuse(
                "a part of a key is a file name: not empty, '.', '..' or with NUL".into(),
            );
        }
        if part.len() > name_limit {
            let length = part.len();
            return refuse(format!(
                "a part of {length} bytes is too long for a file name of at most {name_limit}"
            ));
        }
    }
    if root.as_os_str().len() + 1 + key.len() >= PATH_LIMIT {
        return refuse(format!(
            "with the recording's path it exceeds the system's {PATH_LIMIT} bytes"
        ));
    }
    Ok(())
}
