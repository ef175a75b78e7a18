//! The disk usage of files.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Returns how many bytes a file, or all files below a folder, take on the disk. Holes and missing files take none. It
/// does not follow links.
///
/// # Errors
/// Errors of the file system.
pub fn disk_usage(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    // A stack rather than recursion: a key may have two thousand levels.
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let failed = |error| Error::io("info", &path, error);
        match if_there(fs::symlink_metadata(&path)).map_err(failed)? {
            None => {}
            Some(metadata) if metadata.is_dir() => {
                let entries = if_there(fs::read_dir(&path)).map_err(failed)?;
                for entry in entries.into_iter().flatten() {
                    open.push(entry.map_err(failed)?.path());
                }
            }
            Some(metadata) => bytes += allocated(&metadata),
        }
    }
    Ok(bytes)
}

/// Returns how many bytes a file takes on the disk.
#[cfg(unix)]
pub fn allocated(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

/// Returns how many bytes a file takes on the disk, including holes.
#[cfg(not(unix))]
pub fn allocated(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// `None` if a writer has removed the file since it was listed.
fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
