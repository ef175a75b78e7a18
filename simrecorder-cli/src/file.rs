//! Files that commands write. They appear when they are complete.

use std::fs::File;
use std::path::Path;

use simrecorder::backend::folder_of;
use simrecorder::{Error, ErrorKind};

/// The lower-case extension of a file, which determines its format.
pub(crate) fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// Checks that a path is free, unless it may be replaced.
pub(crate) fn check_new(
    operation: &'static str,
    path: &Path,
    may_replace: bool,
) -> Result<(), Error> {
    if may_replace || !path.try_exists().is_ok_and(|exists| exists) {
        return Ok(());
    }
    let message = "this path already exists; choose another, or replace it with --force";
    let error = Error::new(ErrorKind::InvalidArgument, operation, message);
    Err(error.with_key(path.display().to_string()))
}

/// Writes a file under a temporary name, and renames it when it is complete.
pub(crate) fn write(
    operation: &'static str,
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error| Error::io(operation, path, error);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // With the permissions that the user's umask allows, like any other file.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .prefix(".simrec-")
        .tempfile_in(folder_of(path))
        .map_err(failed)?;
    write(file.as_file_mut()).map_err(|error| error.with_key(path.display().to_string()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
