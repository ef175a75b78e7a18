//! Paths as users write them.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Replaces `~` at the start of a path with the home folder.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if the path is empty, or the home folder is not known.
///
/// ```
/// use simrecorder_core::expand_home;
///
/// assert_eq!(expand_home("runs/1.mdb")?, std::path::Path::new("runs/1.mdb"));
/// assert!(expand_home("").is_err());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub fn expand_home(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    if path.as_os_str().is_empty() {
        let message = "the path is empty; name a file or folder";
        return Err(Error::new(ErrorKind::InvalidArgument, "open", message));
    }
    let Ok(rest) = path.strip_prefix("~") else {
        return Ok(path.to_owned());
    };
    match std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(rest)),
        None => {
            let message = "the home folder is not known; set HOME or write the path in full";
            Err(Error::new(ErrorKind::InvalidArgument, "open", message)
                .with_key(path.display().to_string()))
        }
    }
}
